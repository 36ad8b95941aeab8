//! An SQL92 expression and a message's properties text, cut at the first NUL.
//!
//! Beyond "no panic": limits hold, errors point into the text, the same question gets the same answer, and signs, comments, what stands
//! behind the end, parentheses and double negation change nothing.

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
    let mut same = vec![format!("+{text}"), format!("/**/ {text}"), format!("{text} )")];
    // What follows a whole expression is not looked at; a parenthesis in it would close ours.
    if !text.contains(')') {
        same.extend([format!("({text})"), format!("NOT NOT ({text})")]);
    }
    for same in same {
        // One parenthesis or sign more may be one too many.
        if let Ok(again) = Expression::compile(&same) {
            assert_eq!(again.evaluate(&message), answer, "{same}");
        }
    }
});
