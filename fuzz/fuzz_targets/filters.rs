//! An SQL92 expression and a message's properties text, cut at the first NUL.
//!
//! Beyond "no panic": limits hold, errors point into the text, the same question gets the same answer, and parentheses and double
//! negation change nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq_broker::filter::{EXPRESSION_BYTES_MAX, Expression, OPERATIONS_MAX};

fuzz_target!(|input: &[u8]| {
    let (text, message) = input.split_at(input.iter().position(|&byte| byte == 0).unwrap_or(input.len()));
    let (text, message) = (String::from_utf8_lossy(text), String::from_utf8_lossy(message));
    let expression = match Expression::compile(&text) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(error.at().is_none_or(|at| at <= text.len()), "{error}");
            let _ = error.to_string();
            return;
        }
    };
    assert!(text.len() <= EXPRESSION_BYTES_MAX && expression.operations() <= OPERATIONS_MAX);
    let answer = expression.evaluate(&message);
    assert_eq!(expression.evaluate(&message), answer);
    assert_eq!(expression.matches(&message), answer == Ok(Some(true)));
    for around in [format!("({text})"), format!("NOT NOT ({text})")] {
        // What follows a whole expression is not looked at, but nothing may follow it inside parentheses.
        if let Ok(same) = Expression::compile(&around) {
            assert_eq!(same.evaluate(&message), answer, "{around}");
        }
    }
});
