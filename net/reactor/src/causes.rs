//! Errors for people.

use std::error::Error;

/// An error and what caused it, in one line. A cause whose text is part of what stands before it is not repeated.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let described = error.to_string();
        if !text.contains(&described) {
            text.push_str(": ");
            text.push_str(&described);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn causes_follow_and_are_not_repeated() {
        let chain = ["disk full", "cannot write a: disk full", "cannot start"];
        let error = chain.into_iter().fold(None, |source, text| Some(Box::new(Link { text, source })));
        let text = with_causes(&*error.expect("three links"));
        assert_eq!(text, "cannot start: cannot write a: disk full");
    }
}
