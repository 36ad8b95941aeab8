//! Texts as Apache's tool prints them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Local time of milliseconds since 1970: `2026-11-21 12:30:05,123`, or without the milliseconds.
#[must_use]
pub fn local_time(ms: i64, with_millis: bool) -> String {
    let Ok(time) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
    let zoned = time.to_zoned(TimeZone::system());
    let text = zoned.strftime("%Y-%m-%d %H:%M:%S").to_string();
    if with_millis { format!("{text},{:03}", ms.rem_euclid(1000)) } else { text }
}

/// The first `length` characters.
#[must_use]
pub fn front(text: &str, length: usize) -> &str {
    text.char_indices().nth(length).map_or(text, |(end, _)| &text[..end])
}

/// `RWX` form of a permission.
#[must_use]
pub fn perm(bits: i32) -> String {
    [(4, 'R'), (2, 'W'), (1, 'X')].iter().map(|&(bit, c)| if bits & bit != 0 { c } else { '-' }).collect()
}

/// JSON text without white space, spread over lines and indented by tabs.
#[must_use]
pub fn pretty_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut previous = ' ';
    for c in text.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            previous = c;
            continue;
        }
        match c {
            '"' => in_string = true,
            '{' | '[' => depth += 1,
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !matches!(previous, '{' | '[') {
                    new_line(&mut out, depth);
                }
            }
            _ => {}
        }
        if matches!(previous, '{' | '[') && !matches!(c, '}' | ']') {
            new_line(&mut out, depth - usize::from(matches!(c, '{' | '[')));
        }
        out.push(c);
        if c == ',' {
            new_line(&mut out, depth);
        }
        previous = c;
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n('\t', depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_read_as_in_java() {
        assert_eq!(perm(6), "RW-");
        assert_eq!(perm(7), "RWX");
        assert_eq!(perm(4), "R--");
    }

    #[test]
    fn text_is_cut_at_characters() {
        assert_eq!(front("ääb", 2), "ää");
        assert_eq!(front("ab", 5), "ab");
    }

    #[test]
    fn json_is_spread_over_lines_without_touching_strings() {
        let text = r#"{"a":[{"b":"x,{\"y"}],"c":{},"d":1}"#;
        let expected =
            "{\n\t\"a\":[\n\t\t{\n\t\t\t\"b\":\"x,{\\\"y\"\n\t\t}\n\t],\n\t\"c\":{},\n\t\"d\":1\n}";
        assert_eq!(pretty_json(text), expected);
    }
}
