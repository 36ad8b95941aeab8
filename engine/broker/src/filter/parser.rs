//! From text to program, in one pass: recursive descent that writes operations as it goes.
//!
//! ```text
//!   or         := and (OR and)*
//!   and        := equality (AND equality)*
//!   equality   := comparison ( = comparison | <> comparison | IS [NOT] NULL )*
//!   comparison := unary ( (> | >= | < | <=) unary
//!                       | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) string
//!                       | [NOT] BETWEEN unary AND unary
//!                       | [NOT] IN ( string (, string)* ) )*
//!   unary      := (+ | - | NOT) unary | primary
//!   primary    := string | number | TRUE | FALSE | NULL | name | ( or )
//! ```
//!
//! NOT binds as tightly as a sign: `NOT a = 1` is `(NOT a) = 1`. As in the reference, what follows a whole expression is not looked
//! at, as long as it begins with a token that cannot go on with it: `a = 1 b ?` is `a = 1`.
//!
//! Bounds: recursion by [`DEPTH_MAX`], the program by [`OPERATIONS_MAX`], the lists by the length of the text.

use rustc_hash::FxHashMap;

use super::error::ExpressionError;
use super::lexer::{Kind, Lexer, Token, unquote};
use super::program::{Accepts, Operation, Place, Program};
use super::value::{Constant, order};
use super::{DEPTH_MAX, OPERATIONS_MAX};

/// Characters of a token that an error shows.
const SHOWN_MAX: usize = 32;

/// What an operand is known to be. Its operations are the last ones written, from `start` on.
#[derive(Clone, Copy)]
struct Operand {
    sort: Sort,
    start: usize,
    /// Where it stands in the text.
    at: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Property,
    /// Number of the constant.
    Constant(u16),
    Condition,
    /// The negative of anything: a number or missing.
    Negated,
}

/// See the module's text.
pub(super) fn parse(text: &str) -> Result<Program, ExpressionError> {
    let mut lexer = Lexer::new(text);
    let token = lexer.next()?;
    let mut parser = Parser {
        lexer,
        token,
        depth: 0,
        operations: Vec::new(),
        constants: Vec::new(),
        lists: Vec::new(),
        names: FxHashMap::default(),
    };
    let whole = parser.or()?;
    parser.require_condition(whole)?;
    Ok(parser.finish())
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next one.
    token: Token<'a>,
    depth: usize,
    operations: Vec<Operation>,
    constants: Vec<Constant>,
    lists: Vec<Box<[Box<str>]>>,
    /// Property → its number.
    names: FxHashMap<&'a str, u16>,
}

impl<'a> Parser<'a> {
    fn finish(self) -> Program {
        let mut names: Vec<(Box<str>, u16)> =
            self.names.into_iter().map(|(name, number)| (name.into(), number)).collect();
        names.sort_unstable();
        Program {
            operations: self.operations.into(),
            constants: self.constants.into(),
            lists: self.lists.into(),
            names: names.into(),
        }
    }

    // --- the grammar

    fn or(&mut self) -> Result<Operand, ExpressionError> {
        let mut left = self.and()?;
        while self.token.kind == Kind::Or {
            self.advance()?;
            left = self.joined(left, Operation::SkipIfTrue, Operation::Or, Self::and)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Operand, ExpressionError> {
        let mut left = self.equality()?;
        while self.token.kind == Kind::And {
            self.advance()?;
            left = self.joined(left, Operation::SkipIfFalse, Operation::And, Self::equality)?;
        }
        Ok(left)
    }

    /// The right side of AND or OR, and the jump over it.
    fn joined(
        &mut self,
        left: Operand,
        skip: fn(u16) -> Operation,
        join: Operation,
        right: fn(&mut Self) -> Result<Operand, ExpressionError>,
    ) -> Result<Operand, ExpressionError> {
        self.require_condition(left)?;
        let jump = self.write(skip(0))?;
        let right = right(self)?;
        self.require_condition(right)?;
        self.write(join)?;
        self.land(jump, skip);
        Ok(Operand { sort: Sort::Condition, ..left })
    }

    fn equality(&mut self) -> Result<Operand, ExpressionError> {
        let mut left = self.comparison()?;
        loop {
            match self.token.kind {
                kind @ (Kind::Equal | Kind::NotEqual) => {
                    self.advance()?;
                    let right = self.comparison()?;
                    self.check_comparable(left, right)?;
                    self.write(Operation::Equal)?;
                    self.write_not_if(kind == Kind::NotEqual)?;
                }
                Kind::Is => {
                    self.advance()?;
                    let is_negated = self.take(Kind::Not)?;
                    self.expect(Kind::Null, if is_negated { "NULL" } else { "NULL or NOT NULL" })?;
                    self.write(Operation::IsNull)?;
                    self.write_not_if(is_negated)?;
                }
                _ => return Ok(left),
            }
            left.sort = Sort::Condition;
        }
    }

    fn comparison(&mut self) -> Result<Operand, ExpressionError> {
        let mut left = self.unary()?;
        loop {
            let accepts = match self.token.kind {
                Kind::Greater => Some(Accepts::Greater),
                Kind::GreaterEqual => Some(Accepts::GreaterOrEqual),
                Kind::Less => Some(Accepts::Less),
                Kind::LessEqual => Some(Accepts::LessOrEqual),
                Kind::Not | Kind::Contains | Kind::StartsWith | Kind::EndsWith | Kind::Between | Kind::In => {
                    None
                }
                _ => return Ok(left),
            };
            match accepts {
                Some(accepts) => {
                    self.advance()?;
                    let right = self.unary()?;
                    self.check_ordered(left)?;
                    self.check_ordered(right)?;
                    self.write_ordered(right, accepts)?;
                }
                None => self.worded_comparison(left)?,
            }
            left.sort = Sort::Condition;
        }
    }

    /// The comparisons that are words and may have NOT before them.
    fn worded_comparison(&mut self, left: Operand) -> Result<(), ExpressionError> {
        let is_negated = self.take(Kind::Not)?;
        match self.token.kind {
            Kind::Contains => self.has(left, Place::Anywhere, is_negated),
            Kind::StartsWith => self.has(left, Place::Start, is_negated),
            Kind::EndsWith => self.has(left, Place::End, is_negated),
            Kind::Between => self.between(left, is_negated),
            Kind::In => self.within(left, is_negated),
            _ => Err(self.unexpected("CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN")),
        }
    }

    fn has(&mut self, left: Operand, place: Place, is_negated: bool) -> Result<(), ExpressionError> {
        self.advance()?;
        let wanted = self.text()?;
        if wanted.is_empty() {
            // False in both forms, whatever stands to the left: that is not even evaluated.
            self.operations.truncate(left.start);
            let never = self.keep(Constant::Condition(false))?;
            return self.write(Operation::Constant(never)).map(drop);
        }
        let text = self.keep(Constant::Text(wanted.into()))?;
        self.write(Operation::Has { text, place, is_negated }).map(drop)
    }

    /// `x BETWEEN a AND b` is `x >= a AND x <= b`, `x NOT BETWEEN a AND b` is `x < a OR x > b`, each x evaluated anew.
    fn between(&mut self, value: Operand, is_negated: bool) -> Result<(), ExpressionError> {
        self.advance()?;
        let value_operations = value.start..self.operations.len();
        let (first, second, join, skip): (_, _, _, fn(u16) -> Operation) = if is_negated {
            (Accepts::Less, Accepts::Greater, Operation::Or, Operation::SkipIfTrue)
        } else {
            (Accepts::GreaterOrEqual, Accepts::LessOrEqual, Operation::And, Operation::SkipIfFalse)
        };
        let low = self.unary()?;
        self.write_ordered(low, first)?;
        self.expect(Kind::And, "AND")?;
        let jump = self.write(skip(0))?;
        // Jumps are relative, so that operations may be repeated elsewhere.
        for place in value_operations {
            self.write(self.operations[place])?;
        }
        let high = self.unary()?;
        self.write_ordered(high, second)?;
        self.write(join)?;
        self.land(jump, skip);
        for operand in [value, low, high] {
            self.check_ordered(operand)?;
        }
        match (low.sort, high.sort) {
            (Sort::Constant(from), Sort::Constant(to)) if !is_negated && self.is_empty_range(from, to) => {
                Err(ExpressionError::EmptyRange { at: low.at })
            }
            _ => Ok(()),
        }
    }

    /// Of two numbers.
    fn is_empty_range(&self, from: u16, to: u16) -> bool {
        let value = |number: u16| self.constants[usize::from(number)].value();
        let (Some(from), Some(to)) = (value(from), value(to)) else { return false };
        order(to, from).is_ok_and(std::cmp::Ordering::is_lt)
    }

    fn within(&mut self, left: Operand, is_negated: bool) -> Result<(), ExpressionError> {
        if left.sort != Sort::Property {
            return Err(ExpressionError::NotAProperty { at: left.at });
        }
        self.advance()?;
        self.expect(Kind::Open, "(")?;
        let mut list = vec![self.text()?.into_boxed_str()];
        while self.take(Kind::Comma)? {
            list.push(self.text()?.into());
        }
        self.expect(Kind::Close, "a comma or )")?;
        list.sort_unstable();
        list.dedup();
        let number = self.number_of(self.lists.len())?;
        self.lists.push(list.into());
        self.write(Operation::In { list: number, is_negated }).map(drop)
    }

    fn unary(&mut self) -> Result<Operand, ExpressionError> {
        let Token { kind, at, .. } = self.token;
        if !matches!(kind, Kind::Plus | Kind::Minus | Kind::Not) {
            return self.primary();
        }
        self.advance()?;
        self.enter(at)?;
        let operand = self.unary()?;
        self.depth -= 1;
        let sort = match kind {
            Kind::Minus => {
                self.write(Operation::Negate)?;
                Sort::Negated
            }
            Kind::Not => {
                self.require_condition(operand)?;
                self.write(Operation::Not)?;
                Sort::Condition
            }
            _ => operand.sort,
        };
        Ok(Operand { sort, at, ..operand })
    }

    fn primary(&mut self) -> Result<Operand, ExpressionError> {
        let Token { kind, text, at } = self.token;
        let out_of_range = ExpressionError::Number { at };
        let constant = match kind {
            Kind::Name => return self.property(text, at),
            Kind::Open => {
                self.advance()?;
                self.enter(at)?;
                let inside = self.or()?;
                self.depth -= 1;
                self.expect(Kind::Close, "an operator or )")?;
                return Ok(Operand { at, ..inside });
            }
            Kind::Text => Constant::Text(unquote(text).into()),
            Kind::Integer => integer(text).ok_or(out_of_range)?,
            Kind::Float => float(text).ok_or(out_of_range)?,
            Kind::True => Constant::Condition(true),
            Kind::False => Constant::Condition(false),
            Kind::Null => Constant::Null,
            _ => return Err(self.unexpected("a property, a constant or (")),
        };
        self.advance()?;
        let number = self.keep(constant)?;
        let start = self.write(Operation::Constant(number))?;
        Ok(Operand { sort: Sort::Constant(number), start, at })
    }

    fn property(&mut self, name: &'a str, at: usize) -> Result<Operand, ExpressionError> {
        self.advance()?;
        let number = match self.names.get(name) {
            Some(&number) => number,
            None => {
                let number = self.number_of(self.names.len())?;
                self.names.insert(name, number);
                number
            }
        };
        let start = self.write(Operation::Property(number))?;
        Ok(Operand { sort: Sort::Property, start, at })
    }

    fn text(&mut self) -> Result<String, ExpressionError> {
        let token = self.token;
        self.expect(Kind::Text, "a string in single quotes")?;
        Ok(unquote(token.text))
    }

    // --- what operands may be

    /// The operand just written stands where a condition must stand.
    fn require_condition(&mut self, operand: Operand) -> Result<(), ExpressionError> {
        match operand.sort {
            Sort::Condition => Ok(()),
            Sort::Property => self.write(Operation::AsCondition).map(drop),
            Sort::Constant(number) => match self.constants[usize::from(number)] {
                Constant::Null | Constant::Condition(_) => Ok(()),
                _ => Err(ExpressionError::NotACondition { at: operand.at }),
            },
            Sort::Negated => Err(ExpressionError::NotACondition { at: operand.at }),
        }
    }

    fn check_ordered(&self, operand: Operand) -> Result<(), ExpressionError> {
        let is_ordered = match operand.sort {
            Sort::Property | Sort::Negated => true,
            Sort::Condition => false,
            Sort::Constant(number) => matches!(
                self.constants[usize::from(number)],
                Constant::Int(_) | Constant::Long(_) | Constant::Double(_)
            ),
        };
        if is_ordered { Ok(()) } else { Err(ExpressionError::NotOrdered { at: operand.at }) }
    }

    fn check_comparable(&self, left: Operand, right: Operand) -> Result<(), ExpressionError> {
        let constant = |operand: Operand| match operand.sort {
            Sort::Constant(number) => Some(&self.constants[usize::from(number)]),
            _ => None,
        };
        for operand in [left, right] {
            if constant(operand) == Some(&Constant::Null) {
                return Err(ExpressionError::NotComparable { at: operand.at });
            }
        }
        match (constant(left), constant(right)) {
            (Some(Constant::Condition(_)), Some(Constant::Condition(_))) => Ok(()),
            (Some(Constant::Condition(_)), Some(_)) => Err(ExpressionError::NotComparable { at: left.at }),
            _ => Ok(()),
        }
    }

    // --- tokens

    fn advance(&mut self) -> Result<(), ExpressionError> {
        self.token = self.lexer.next()?;
        Ok(())
    }

    /// Steps over a token of that kind, if there is one.
    fn take(&mut self, kind: Kind) -> Result<bool, ExpressionError> {
        let is_there = self.token.kind == kind;
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    fn expect(&mut self, kind: Kind, expected: &'static str) -> Result<(), ExpressionError> {
        if self.take(kind)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&self, expected: &'static str) -> ExpressionError {
        let Token { kind, text, at } = self.token;
        let found = match kind {
            Kind::End => "the end".to_owned(),
            _ => text.chars().take(SHOWN_MAX).collect(),
        };
        ExpressionError::Unexpected { at, found, expected }
    }

    // --- what is written

    fn enter(&mut self, at: usize) -> Result<(), ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(ExpressionError::TooDeep { at }) } else { Ok(()) }
    }

    /// Its place.
    fn write(&mut self, operation: Operation) -> Result<usize, ExpressionError> {
        let place = self.operations.len();
        if place >= OPERATIONS_MAX {
            return Err(ExpressionError::TooComplex { at: self.token.at });
        }
        self.operations.push(operation);
        Ok(place)
    }

    /// The comparison of what was written last with what stands before it. A missing left side decides: a right side that can fail
    /// (the negative of a condition, which is missing in the end) is then not evaluated.
    fn write_ordered(&mut self, right: Operand, accepts: Accepts) -> Result<(), ExpressionError> {
        let can_fail = |operation: &Operation| matches!(operation, Operation::Equal | Operation::Ordered(_));
        if self.operations[right.start..].iter().any(can_fail) {
            let jump = self.write(Operation::SkipIfMissing(0))?;
            self.operations[right.start..].rotate_right(1);
            let count = u16::try_from(jump - right.start + 1).expect("at most OPERATIONS_MAX");
            self.operations[right.start] = Operation::SkipIfMissing(count);
        }
        self.write(Operation::Ordered(accepts)).map(drop)
    }

    fn write_not_if(&mut self, is_negated: bool) -> Result<(), ExpressionError> {
        if is_negated {
            self.write(Operation::Not)?;
        }
        Ok(())
    }

    /// Lets the jump at `place` lead behind what is written now.
    fn land(&mut self, place: usize, skip: fn(u16) -> Operation) {
        let count = self.operations.len() - place - 1;
        self.operations[place] = skip(u16::try_from(count).expect("at most OPERATIONS_MAX"));
    }

    fn keep(&mut self, constant: Constant) -> Result<u16, ExpressionError> {
        let number = self.number_of(self.constants.len())?;
        self.constants.push(constant);
        Ok(number)
    }

    /// The number of what is kept behind `count` others.
    fn number_of(&self, count: usize) -> Result<u16, ExpressionError> {
        u16::try_from(count).map_err(|_| ExpressionError::TooComplex { at: self.token.at })
    }
}

/// The narrowest type that holds it; an `L` behind it does not widen it.
fn integer(token: &str) -> Option<Constant> {
    let number: i64 = token.trim_end_matches(['l', 'L']).parse().ok()?;
    Some(i32::try_from(number).map_or(Constant::Long(number), Constant::Int))
}

/// Neither infinite nor zero: the reference takes the smallest positive double for the least one.
fn float(token: &str) -> Option<Constant> {
    let number: f64 = token.parse().ok()?;
    (number.is_finite() && number > 0.0).then_some(Constant::Double(number))
}
