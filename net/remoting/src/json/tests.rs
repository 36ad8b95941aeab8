use super::*;

/// Reads a text and writes it again in the reference's form; `Err` holds the error's text.
#[track_caller]
fn check(text: &str, expected: Result<&str, &str>) {
    let written = parse(text.as_bytes()).map(|value| to_text(&value)).map_err(|error| error.to_string());
    assert_eq!(written.as_deref().map_err(|error| error.as_str()), expected, "{text}");
}

#[test]
fn reads_the_reference_dialect() {
    check("{}", Ok("{}"));
    check(
        r#"{"brokerAddrs":{0:"10.0.0.1:10911",1:"b"}}"#,
        Ok(r#"{"brokerAddrs":{0:"10.0.0.1:10911",1:"b"}}"#),
    );
    check(
        r#"{"offsetTable":{{"brokerName":"a","queueId":0,"topic":"T"}:{"maxOffset":5}}}"#,
        Ok(r#"{"offsetTable":{{"brokerName":"a","queueId":0,"topic":"T"}:{"maxOffset":5}}}"#),
    );
    check("{'single':'it\\'s',word:1,}", Ok(r#"{"single":"it's","word":1}"#));
    check("[1,,2L, 3.5F,-0.25,1e3,]", Ok("[1,2,3.5,-0.25,1000.0]"));
    check(r#"["\u0001\u8ba2\ud83d\ude00\x41\v\/"]"#, Ok("[\"\\u0001订😀A\\u000b/\"]"));
    check("Set[1]", Ok("[1]"));
    check("[null,NaN,true,false]", Ok("[null,null,true,false]"));
    let doubles = "[0.0,1.0,0.001,1.0E-4,9999999.0,1.0E7,1.23456789E7,0.3333333333333333,1.0E21,-1.5E300]";
    check(doubles, Ok(doubles));
    check("\"raw\ttab\"", Ok(r#""raw\ttab""#));
}

#[test]
fn refuses_with_the_place_and_the_reason() {
    check("", Err("byte 0: a value is missing"));
    check("{\"a\":1", Err("byte 6: a comma or the end must follow"));
    check("{\"a\" 1}", Err("byte 5: a colon must follow the key"));
    check("[1 2]", Err("byte 3: a comma or the end must follow"));
    check("{}x", Err("byte 2: the value has ended"));
    check("\"abc", Err("byte 4: the string does not end"));
    check(r#""\q""#, Err("byte 1: bad escape"));
    check(r#""\u12""#, Err("byte 1: bad escape"));
    check("[1.2.3]", Err("byte 1: not a number"));
    check("nothing", Err("byte 7: no value"));
    check(&"[".repeat(10_000), Err("byte 64: nested too deeply"));
    check(&"{{".repeat(10_000), Err("byte 64: nested too deeply"));
}

#[test]
fn typed_getters_convert_as_the_reference_does() {
    let value = parse(br#"{"n":"12","t":7,"b":"TRUE","z":null,"f":3.9,"dup":1,"dup":2}"#).expect("JSON");
    assert_eq!(value.get("n").and_then(Value::as_long), Some(12));
    assert_eq!(value.get("t").and_then(Value::as_text).as_deref(), Some("7"));
    assert_eq!(value.get("b").and_then(Value::as_bool), Some(true));
    assert_eq!(value.get("f").and_then(Value::as_long), Some(3));
    assert_eq!(value.get("dup").and_then(Value::as_long), Some(2));
    assert_eq!(value.get("z"), None);
}

#[test]
fn the_standard_style_is_ascii_with_quoted_keys() {
    let value = parse("{1:\"订😀\\n\u{7f}\"}".as_bytes()).expect("JSON");
    assert_eq!(Writer::text_of(&value, Style::Standard), r#"{"1":"\u8BA2\uD83D\uDE00\n\u007F"}"#);
}
