//! Tables of expressions. `golden.rs` beside the crate compares with the reference's own answers; here is what must be seen at a glance.

use proptest::prelude::*;
use ringmq_remoting::record::properties::PropertiesWriter;

use super::*;

fn properties(pairs: &[(&str, &str)]) -> String {
    let mut writer = PropertiesWriter::new();
    for (name, value) in pairs {
        writer.push(name, value);
    }
    writer.into_text()
}

/// Of a message with `a=5`, `b=x`, `t=true`, `big=3000000000`; `none` and `other` are missing.
#[track_caller]
fn check(expression: &str, expected: Result<Option<bool>, EvaluationError>) {
    let message = properties(&[("a", "5"), ("b", "x"), ("t", "true"), ("big", "3000000000")]);
    let compiled = Expression::compile(expression).unwrap_or_else(|error| panic!("{expression:?}: {error}"));
    assert_eq!(compiled.evaluate(&message), expected, "{expression:?}");
}

#[track_caller]
fn refuse(expression: &str, expected: ExpressionError) {
    assert_eq!(Expression::compile(expression).err(), Some(expected), "{expression:?}");
}

const YES: Result<Option<bool>, EvaluationError> = Ok(Some(true));
const NO: Result<Option<bool>, EvaluationError> = Ok(Some(false));
const UNKNOWN: Result<Option<bool>, EvaluationError> = Ok(None);
const NOT_A_NUMBER: Result<Option<bool>, EvaluationError> = Err(EvaluationError::NotANumber);

#[test]
fn comparisons() {
    for (expression, expected) in [
        ("a = 5", YES),
        ("a = '5'", YES),
        ("a <> 5", NO),
        ("5 = a", YES),
        ("a > 4 AND a < 6 AND a >= 5 AND a <= 5", YES),
        ("a > 4.5", YES),
        ("a = -5", NO),
        ("-a = 5", UNKNOWN),
        ("big > 2999999999", YES),
        ("big > 1", NOT_A_NUMBER),
        ("big > 1.0", YES),
        ("b > 1", NOT_A_NUMBER),
        ("b > a", NOT_A_NUMBER),
        ("a < big", YES),
        ("t = TRUE", YES),
        ("b = TRUE", NO),
        ("TRUE = t", Err(EvaluationError::ConditionWithText)),
        ("(a = 5) = TRUE", YES),
        ("1 = TRUE", NO),
    ] {
        check(expression, expected);
    }
}

#[test]
fn missing_properties() {
    for (expression, expected) in [
        ("none = 1", UNKNOWN),
        ("1 = none", NO),
        ("none <> 1", UNKNOWN),
        ("1 <> none", YES),
        ("none = other", YES),
        ("none > 1", UNKNOWN),
        ("none BETWEEN 1 AND 2", UNKNOWN),
        ("none IN ('x')", UNKNOWN),
        ("none NOT IN ('x')", UNKNOWN),
        ("none IS NULL", YES),
        ("none IS NOT NULL", NO),
        ("a IS NULL", NO),
        ("none CONTAINS 'x'", NO),
        ("none NOT CONTAINS 'x'", NO),
        ("none", UNKNOWN),
        ("NULL", UNKNOWN),
        ("a", NO),
        ("NOT a", YES),
        ("NOT none", UNKNOWN),
    ] {
        check(expression, expected);
    }
}

#[test]
fn and_or_not_with_three_values() {
    let values = [("TRUE", Some(true)), ("FALSE", Some(false)), ("NULL", None)];
    for (left_text, left) in values {
        check(&format!("NOT {left_text}"), Ok(left.map(|left| !left)));
        for (right_text, right) in values {
            let and = match (left, right) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
            let or = match (left, right) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
            check(&format!("{left_text} AND {right_text}"), Ok(and));
            check(&format!("{left_text} OR {right_text}"), Ok(or));
        }
    }
}

#[test]
fn the_side_that_decides_hides_a_failure_behind_it() {
    check("a = 5 OR b > 1", YES);
    check("b > 1 OR a = 5", NOT_A_NUMBER);
    check("a = 6 AND b > 1", NO);
    check("none = 1 AND b > 1", NOT_A_NUMBER);
    check("a BETWEEN 6 AND 7 OR b = 'x'", YES);
    check("a = 6 OR a = 7 OR a = 5 OR b > 1", YES);
    check("(a = 5 OR b > 1) AND (a = 6 AND b > 1 OR b = 'x')", YES);
}

#[test]
fn ranges_lists_and_parts() {
    for (expression, expected) in [
        ("a BETWEEN 5 AND 5", YES),
        ("a NOT BETWEEN 1 AND 4", YES),
        ("a BETWEEN -1 AND none", UNKNOWN),
        ("a BETWEEN 6 AND none", NO),
        ("b IN ('y', 'x', 'x')", YES),
        ("b NOT IN ('y', 'z')", YES),
        ("a IN ('5')", YES),
        ("(b) IN ('x')", YES),
        ("big CONTAINS '00'", YES),
        ("big STARTSWITH '30'", YES),
        ("big NOT STARTSWITH '30'", NO),
        ("big ENDSWITH '30'", NO),
        ("big NOT ENDSWITH '30'", YES),
        ("big CONTAINS ''", NO),
        ("big NOT CONTAINS ''", NO),
        ("5 CONTAINS '5'", NO),
        ("'abc' CONTAINS 'b'", YES),
    ] {
        check(expression, expected);
    }
}

#[test]
fn the_grammar_binds_as_in_the_reference() {
    // (NOT a) = 1: a property on its own is false.
    check("NOT a = 5", NO);
    check("NOT (a = 6)", YES);
    check("a = 5 AND a = 6 OR b = 'x'", YES);
    check("b = 'x' OR a = 5 AND a = 6", YES);
    check("a = 5 = TRUE", YES);
    check("+ + a = 5 and not not t is not null", YES);
    check("a = 5 whatever comes ? here", YES);
    check("a /* five */ = -- or so\n 5", YES);
    check("a = 05", NO);
}

#[test]
fn errors_say_what_and_where() {
    use ExpressionError as E;
    let unexpected = |at, found: &str, expected| E::Unexpected { at, found: found.to_owned(), expected };
    for (expression, error) in [
        ("", unexpected(0, "the end", "a property, a constant or (")),
        ("a = ", unexpected(4, "the end", "a property, a constant or (")),
        ("(a = 5", unexpected(6, "the end", "an operator or )")),
        ("a IS 5", unexpected(5, "5", "NULL or NOT NULL")),
        ("a IN ()", unexpected(6, ")", "a string in single quotes")),
        ("a IN (1)", unexpected(6, "1", "a string in single quotes")),
        ("a NOT = 5", unexpected(6, "=", "CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN")),
        ("a BETWEEN 1 OR 2", unexpected(12, "OR", "AND")),
        ("a = 5 #", E::Character { at: 6, found: '#' }),
        ("a = 'x", E::UnterminatedText { at: 4 }),
        ("a = 9223372036854775808", E::Number { at: 4 }),
        ("a = 0.0", E::Number { at: 4 }),
        ("a = 1e400", E::Number { at: 4 }),
        ("1", E::NotACondition { at: 0 }),
        ("a = 5 AND 'x'", E::NotACondition { at: 10 }),
        ("NOT -a", E::NotACondition { at: 4 }),
        ("a > 'x'", E::NotOrdered { at: 4 }),
        ("NOT a > 1", E::NotOrdered { at: 0 }),
        ("a > b > 1", E::NotOrdered { at: 0 }),
        ("a = NULL", E::NotComparable { at: 4 }),
        ("TRUE = 1", E::NotComparable { at: 0 }),
        ("5 IN ('5')", E::NotAProperty { at: 0 }),
        ("a BETWEEN 2 AND 1", E::EmptyRange { at: 10 }),
        ("a BETWEEN 'x' AND 'y'", E::NotOrdered { at: 10 }),
    ] {
        refuse(expression, error);
    }
    check("a BETWEEN -1 AND -2", NO);
    check("a NOT BETWEEN 2 AND 1", YES);
}

#[test]
fn hostile_expressions_meet_a_limit() {
    let nested = |depth: usize| format!("{}a = 5{}", "(".repeat(depth), ")".repeat(depth));
    check(&nested(DEPTH_MAX), YES);
    refuse(&nested(DEPTH_MAX + 1), ExpressionError::TooDeep { at: DEPTH_MAX });
    refuse(&"NOT ".repeat(10_000), ExpressionError::TooDeep { at: 4 * DEPTH_MAX });
    refuse(&"-".repeat(10_000), ExpressionError::TooDeep { at: DEPTH_MAX });

    check(&format!("a = 6{}", " OR a = 5".repeat(800)), YES);
    let error = Expression::compile(&format!("a = 6{}", " OR a = 5".repeat(1_000))).err();
    assert!(matches!(error, Some(ExpressionError::TooComplex { .. })), "{error:?}");
    // Each BETWEEN evaluates its value twice.
    let doubling = format!("{}a{} > 1", "-(-".repeat(15), " BETWEEN 1 AND 2)".repeat(15));
    let error = Expression::compile(&doubling).err();
    assert!(matches!(error, Some(ExpressionError::TooComplex { .. })), "{error:?}");

    let long = format!("a = '{}'", "x".repeat(EXPRESSION_BYTES_MAX));
    refuse(&long, ExpressionError::TooLong { bytes: long.len() });
}

/// A shard's stack is larger.
#[test]
#[allow(clippy::disallowed_methods, reason = "a stack of known size")]
fn the_deepest_expression_needs_little_stack() {
    let deepest = format!("{}a{}", "(".repeat(DEPTH_MAX), ")".repeat(DEPTH_MAX));
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    let compiled = thread.spawn(move || Expression::compile(&deepest).is_ok()).expect("a thread");
    assert!(compiled.join().expect("no overflow"));
}

#[test]
fn properties_are_found_as_everywhere() {
    let expression = Expression::compile("k = 'new' AND other IS NULL").expect("an expression");
    assert!(expression.matches("k\u{1}old\u{2}k\u{1}new\u{2}"), "of duplicates the last one counts");
    assert!(!expression.matches(""));
    let many: Vec<String> = (0..40).map(|number| format!("p{number} = '{number}'")).collect();
    let expression = Expression::compile(&many.join(" AND ")).expect("an expression");
    let values: Vec<(String, String)> =
        (0..40).map(|number| (format!("p{number}"), number.to_string())).collect();
    let pairs: Vec<(&str, &str)> = values.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert!(expression.matches(&properties(&pairs)));
    assert!(!expression.matches(&properties(&pairs[1..])));
}

/// An expression out of the grammar, well-typed or not.
fn expressions() -> impl Strategy<Value = String> {
    let operand = prop_oneof![
        "[abn]",
        "-?[0-9]{1,3}",
        "[0-9]\\.[0-9]",
        "'[x5]{0,2}'",
        Just("TRUE".to_owned()),
        Just("NULL".to_owned()),
    ];
    operand.prop_recursive(6, 40, 3, |inner| {
        let pair = (inner.clone(), inner.clone());
        let operator = prop_oneof![Just("="), Just("<>"), Just("<"), Just(">="), Just("AND"), Just("OR")];
        prop_oneof![
            (pair.clone(), operator)
                .prop_map(|((left, right), operator)| format!("{left} {operator} {right}")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.clone().prop_map(|inner| format!("NOT {inner}")),
            inner.clone().prop_map(|inner| format!("({inner}) IS NULL")),
            inner.clone().prop_map(|inner| format!("{inner} NOT STARTSWITH 'x'")),
            pair.prop_map(|(low, high)| format!("a BETWEEN {low} AND {high}")),
        ]
    })
}

proptest! {
    #[test]
    fn anything_may_be_asked(text in "\\PC{0,40}", message in "\\PC{0,40}") {
        if let Ok(expression) = Expression::compile(&text) {
            let _ = expression.evaluate(&message);
        }
    }

    /// Laws of the three-valued logic, for expressions that are conditions.
    #[test]
    fn logic_keeps_its_laws(text in expressions()) {
        let message = properties(&[("a", "5"), ("b", "x")]);
        let asked = |text: String| Expression::compile(&text).map(|it| it.evaluate(&message));
        if let Ok(whole) = asked(format!("({text})")) {
            let twice = asked(format!("NOT NOT ({text})")).expect("a condition");
            prop_assert_eq!(twice, whole);
            prop_assert_eq!(asked(format!("({text}) AND TRUE")).expect("a condition"), whole);
            prop_assert_eq!(asked(format!("({text}) OR FALSE")).expect("a condition"), whole);
            let never = asked(format!("({text}) AND NOT ({text})")).expect("a condition");
            prop_assert_ne!(never, Ok(Some(true)));
        }
    }
}
