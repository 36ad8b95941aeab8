//! Cuts the text of an expression into tokens, one when the parser asks for one.
//!
//! The longest token wins, a keyword over a name of the same length. As in the reference, `--` begins a comment only if the line
//! ends (else it is two minus signs), `0x1F` is the number 0 and a name, and `01` is two numbers.

use super::error::ExpressionError;

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
    /// Digits, perhaps with an `L` behind them.
    Integer,
    /// With a point or an exponent.
    Float,
    /// With its quotes, `''` inside for one quote.
    Text,
    Name,
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Open,
    Comma,
    Close,
    Plus,
    Minus,
    /// Nothing follows.
    End,
}

/// A piece of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Where it starts, bytes.
    pub(super) at: usize,
}

/// Reserved words, in any case.
const KEYWORDS: [(&str, Kind); 12] = [
    ("NOT", Kind::Not),
    ("AND", Kind::And),
    ("OR", Kind::Or),
    ("BETWEEN", Kind::Between),
    ("IN", Kind::In),
    ("TRUE", Kind::True),
    ("FALSE", Kind::False),
    ("NULL", Kind::Null),
    ("IS", Kind::Is),
    ("CONTAINS", Kind::Contains),
    ("STARTSWITH", Kind::StartsWith),
    ("ENDSWITH", Kind::EndsWith),
];

/// See the module's text.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token; [`Kind::End`] again and again behind the last one.
    pub(super) fn next(&mut self) -> Result<Token<'a>, ExpressionError> {
        self.skip_space();
        let at = self.at;
        let rest = &self.text[at..];
        let Some(&first) = rest.as_bytes().first() else {
            return Ok(Token { kind: Kind::End, text: "", at });
        };
        let (kind, bytes) = match first {
            b'=' => (Kind::Equal, 1),
            b'<' if rest.starts_with("<>") => (Kind::NotEqual, 2),
            b'<' if rest.starts_with("<=") => (Kind::LessEqual, 2),
            b'<' => (Kind::Less, 1),
            b'>' if rest.starts_with(">=") => (Kind::GreaterEqual, 2),
            b'>' => (Kind::Greater, 1),
            b'(' => (Kind::Open, 1),
            b',' => (Kind::Comma, 1),
            b')' => (Kind::Close, 1),
            b'+' => (Kind::Plus, 1),
            b'-' => (Kind::Minus, 1),
            b'\'' => (Kind::Text, text_bytes(rest).ok_or(ExpressionError::UnterminatedText { at })?),
            b'0'..=b'9' | b'.' => {
                let (kind, bytes) = number(rest.as_bytes());
                if bytes == 0 {
                    return Err(unexpected(rest, at));
                }
                (kind, bytes)
            }
            _ if is_name_start(first) => {
                let bytes = rest.bytes().take_while(|&byte| is_name_part(byte)).count();
                (keyword(&rest[..bytes]).unwrap_or(Kind::Name), bytes)
            }
            _ => return Err(unexpected(rest, at)),
        };
        self.at += bytes;
        Ok(Token { kind, text: &rest[..bytes], at })
    }

    /// Steps over white space and comments. A comment that does not end is none.
    fn skip_space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let skipped = match rest.as_bytes() {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0c, ..] => 1,
                [b'-', b'-', ..] => rest.find(['\n', '\r']).map_or(0, |end| end + 1),
                [b'/', b'*', inside @ ..] => {
                    inside.windows(2).position(|pair| pair == b"*/").map_or(0, |end| end + 4)
                }
                _ => 0,
            };
            if skipped == 0 {
                return;
            }
            self.at += skipped;
        }
    }
}

fn unexpected(rest: &str, at: usize) -> ExpressionError {
    ExpressionError::Character { at, found: rest.chars().next().unwrap_or_default() }
}

fn keyword(name: &str) -> Option<Kind> {
    KEYWORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name)).map(|&(_, kind)| kind)
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$'
}

fn is_name_part(byte: u8) -> bool {
    is_name_start(byte) || byte.is_ascii_digit()
}

/// Length of the string at the start of `rest`, both quotes included. `None`: it does not end.
fn text_bytes(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    loop {
        at += bytes[at..].iter().position(|&byte| byte == b'\'')?;
        if bytes.get(at + 1) != Some(&b'\'') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// What a string token stands for.
pub(super) fn unquote(token: &str) -> String {
    token[1..token.len() - 1].replace("''", "'")
}

/// Kind and length of the number at the start of `rest`; length 0: a point that begins none.
fn number(rest: &[u8]) -> (Kind, usize) {
    let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    let mut is_float = false;
    if rest.get(whole) == Some(&b'.') {
        let fraction = digits(whole + 1);
        if whole + fraction == 0 {
            return (Kind::Float, 0);
        }
        is_float = true;
        end = whole + 1 + fraction;
    }
    if matches!(rest.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            is_float = true;
            end += 1 + sign + exponent;
        }
    }
    if is_float {
        return (Kind::Float, end);
    }
    if rest[0] == b'0' {
        return (Kind::Integer, 1);
    }
    (Kind::Integer, end + usize::from(matches!(rest.get(end), Some(b'l' | b'L'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<(Kind, &str)>, ExpressionError> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next()?;
            if token.kind == Kind::End {
                return Ok(tokens);
            }
            tokens.push((token.kind, token.text));
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &[(Kind, &str)]) {
        assert_eq!(tokens(text).as_deref(), Ok(expected), "{text:?}");
    }

    #[test]
    fn numbers_are_cut_where_the_reference_cuts_them() {
        use Kind::{Float, Integer, Name};
        check("0 7 42L 42l", &[(Integer, "0"), (Integer, "7"), (Integer, "42L"), (Integer, "42l")]);
        check("5. .5 5.5E10 5e+1", &[(Float, "5."), (Float, ".5"), (Float, "5.5E10"), (Float, "5e+1")]);
        check("01", &[(Integer, "0"), (Integer, "1")]);
        check("00.5 00e1", &[(Float, "00.5"), (Float, "00e1")]);
        check("0L 0x1F", &[(Integer, "0"), (Name, "L"), (Integer, "0"), (Name, "x1F")]);
        check("1e 1.5E+", &[(Integer, "1"), (Name, "e"), (Float, "1.5"), (Name, "E"), (Kind::Plus, "+")]);
        check("1.2.3", &[(Float, "1.2"), (Float, ".3")]);
    }

    #[test]
    fn comments_must_end_to_be_comments() {
        use Kind::{Minus, Name};
        check("a -- b\n c", &[(Name, "a"), (Name, "c")]);
        check("a -- b", &[(Name, "a"), (Minus, "-"), (Minus, "-"), (Name, "b")]);
        check("/**/a/* * / ** */b/***/", &[(Name, "a"), (Name, "b")]);
        assert_eq!(tokens("a /* b"), Err(ExpressionError::Character { at: 2, found: '/' }));
        assert_eq!(tokens("/*/"), Err(ExpressionError::Character { at: 0, found: '/' }));
    }

    #[test]
    fn words_and_strings() {
        use Kind::{And, Name, Text};
        check("aNd ands $_1", &[(And, "aNd"), (Name, "ands"), (Name, "$_1")]);
        check("'it''s' '' '订\n单'", &[(Text, "'it''s'"), (Text, "''"), (Text, "'订\n单'")]);
        assert_eq!(unquote("'it''s'''"), "it's'");
        assert_eq!(tokens("a 'b''"), Err(ExpressionError::UnterminatedText { at: 2 }));
        assert_eq!(tokens("a.b"), Err(ExpressionError::Character { at: 1, found: '.' }));
        assert_eq!(tokens("订"), Err(ExpressionError::Character { at: 0, found: '订' }));
    }
}
