//! A compiled expression: operations on a stack of values, with jumps over what AND and OR need not look at.
//!
//! No recursion, so no expression can exhaust the stack of the shard that evaluates it; no allocation for expressions with up to
//! eight properties and values on the stack.
//!
//! ```text
//!   price > 10 AND NOT colour IN ('red')
//!   Property price · Constant 10 · Ordered > · SkipIfFalse 4 · Property colour · In (red) · Not · And
//!                                              ╰──────────────────────────────────────────────────▶ end
//! ```

use std::cmp::Ordering;

use ringmq_remoting::record::properties;
use smallvec::SmallVec;

use super::error::EvaluationError;
use super::value::{Constant, Value, equal, order};

/// Properties and stacked values that evaluation keeps without an allocation.
const INLINE: usize = 8;

/// Which order a comparison accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Accepts {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where a text must stand in another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Anywhere,
    Start,
    End,
}

/// One operation. What it takes off the stack and puts there is said as `taken → put`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    /// `→ value` of the property of that number.
    Property(u16),
    /// `→ value` of the constant of that number.
    Constant(u16),
    /// `number → number`; anything else becomes missing.
    Negate,
    /// `condition → condition`.
    Not,
    /// `value → condition`: a property on its own. Its text is never TRUE.
    AsCondition,
    /// `value value → condition`.
    Equal,
    /// `value value → condition`.
    Ordered(Accepts),
    /// `value → condition`.
    IsNull,
    /// `value → condition`: one of the texts of that list (or none of them).
    In { list: u16, is_negated: bool },
    /// `value → condition`: contains the constant text, which is not empty (or does not).
    Has { text: u16, place: Place, is_negated: bool },
    /// A left side of AND that is false decides: over that many operations.
    SkipIfFalse(u16),
    /// A left side of OR that is true decides.
    SkipIfTrue(u16),
    /// A left side of an order that is missing decides.
    SkipIfMissing(u16),
    /// `condition condition → condition`.
    And,
    /// `condition condition → condition`.
    Or,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) operations: Box<[Operation]>,
    pub(super) constants: Box<[Constant]>,
    /// Each sorted.
    pub(super) lists: Box<[Box<[Box<str>]>]>,
    /// Properties by name, with their numbers; sorted.
    pub(super) names: Box<[(Box<str>, u16)]>,
}

type Stack<'v> = SmallVec<[Option<Value<'v>>; INLINE]>;

impl Program {
    /// `None`: unknown.
    pub(super) fn run(&self, properties: &str) -> Result<Option<bool>, EvaluationError> {
        let texts = self.pick(properties);
        let mut stack = Stack::new();
        let mut next = 0;
        while let Some(&operation) = self.operations.get(next) {
            next += 1;
            match operation {
                Operation::Property(number) => stack.push(texts[usize::from(number)].map(Value::Text)),
                Operation::Constant(number) => stack.push(self.constants[usize::from(number)].value()),
                Operation::SkipIfFalse(count) if top(&stack) == Some(false) => next += usize::from(count),
                Operation::SkipIfTrue(count) if top(&stack) == Some(true) => next += usize::from(count),
                Operation::SkipIfMissing(count) if stack.last() == Some(&None) => next += usize::from(count),
                Operation::SkipIfFalse(_) | Operation::SkipIfTrue(_) | Operation::SkipIfMissing(_) => {}
                Operation::Negate => {
                    let value = pop(&mut stack).and_then(Value::negated);
                    stack.push(value);
                }
                other => {
                    let condition = self.condition(other, &mut stack)?;
                    stack.push(condition.map(Value::Condition));
                }
            }
        }
        Ok(condition_of(pop(&mut stack)))
    }

    /// The operations that end in a condition.
    fn condition(
        &self,
        operation: Operation,
        stack: &mut Stack<'_>,
    ) -> Result<Option<bool>, EvaluationError> {
        let right = pop(stack);
        Ok(match operation {
            Operation::Not => condition_of(right).map(|condition| !condition),
            Operation::AsCondition => right.map(|value| value == Value::Condition(true)),
            Operation::IsNull => Some(right.is_none()),
            Operation::Equal => equal(pop(stack), right)?,
            Operation::Ordered(accepts) => match (pop(stack), right) {
                (Some(left), Some(right)) => Some(accepts.order(order(left, right)?)),
                _ => None,
            },
            Operation::In { list, is_negated } => match right {
                Some(Value::Text(text)) => {
                    let list = &self.lists[usize::from(list)];
                    Some(list.binary_search_by(|item| (**item).cmp(text)).is_ok() != is_negated)
                }
                _ => None,
            },
            // What is no text has nothing in it, and nothing is in no text: false in both forms.
            Operation::Has { text, place, is_negated } => match (&self.constants[usize::from(text)], right) {
                (Constant::Text(wanted), Some(Value::Text(text))) => {
                    Some(place.holds(text, wanted) != is_negated)
                }
                _ => Some(false),
            },
            Operation::And => match (condition_of(pop(stack)), condition_of(right)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Operation::Or => match (condition_of(pop(stack)), condition_of(right)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            other => unreachable!("{other:?} is handled by its caller"),
        })
    }

    /// The values of the properties that the expression names, by number: one walk over the text, whatever their count.
    fn pick<'v>(&self, properties: &'v str) -> SmallVec<[Option<&'v str>; INLINE]> {
        let mut texts = SmallVec::from_elem(None, self.names.len());
        if texts.is_empty() {
            return texts;
        }
        for (name, value) in properties::iter(properties) {
            if let Ok(place) = self.names.binary_search_by(|(known, _)| (**known).cmp(name)) {
                texts[usize::from(self.names[place].1)] = Some(value);
            }
        }
        texts
    }
}

fn pop<'v>(stack: &mut Stack<'v>) -> Option<Value<'v>> {
    stack.pop().expect("the parser puts a value there for everything that takes one")
}

fn top(stack: &Stack<'_>) -> Option<bool> {
    condition_of(*stack.last().expect("a jump follows a condition"))
}

fn condition_of(value: Option<Value<'_>>) -> Option<bool> {
    match value {
        None => None,
        Some(Value::Condition(condition)) => Some(condition),
        Some(other) => unreachable!("{other:?} where the parser let only conditions through"),
    }
}

impl Accepts {
    fn order(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Place {
    fn holds(self, text: &str, wanted: &str) -> bool {
        match self {
            Self::Anywhere => text.contains(wanted),
            Self::Start => text.starts_with(wanted),
            Self::End => text.ends_with(wanted),
        }
    }
}
