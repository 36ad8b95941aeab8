use super::*;

fn json_frame(header: &str, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
    frame.extend_from_slice(&(header.len() as u32).to_be_bytes());
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(body);
    frame
}

/// Code and fields of a header, or the text of the error.
type Expected<'a> = Result<(i32, &'a [(&'a str, &'a str)]), &'a str>;

/// Parses a JSON header and compares the text of its fields.
#[track_caller]
fn check(header: &str, expected: Expected<'_>) {
    let frame = json_frame(header, b"");
    match (Command::parse(&frame), expected) {
        (Ok(command), Ok((code, fields))) => {
            assert_eq!(command.code, code);
            let read: Vec<_> = command.fields().map(|field| (field.key(), field.value())).collect();
            let read: Vec<_> = read.iter().map(|(key, value)| (&**key, &**value)).collect();
            assert_eq!(read, fields);
        }
        (Err(error), Err(text)) => assert_eq!(error.to_string(), text),
        (read, expected) => panic!("{header}: read {read:?}, expected {expected:?}"),
    }
}

#[test]
fn reads_a_java_header() {
    let header = r#"{"code":105,"extFields":{"topic":"T"},"flag":0,"language":"JAVA","opaque":1,"serializeTypeCurrentRPC":"JSON","version":477}"#;
    let frame = json_frame(header, b"body");
    let command = Command::parse(&frame).expect("a Java header");
    assert_eq!(
        (command.code, command.language, command.version, command.opaque, command.flag),
        (105, Language::Java, 477, 1, 0)
    );
    assert_eq!(command.field("topic").as_deref(), Some("T"));
    assert_eq!(command.field("nothing"), None);
    assert_eq!(command.body, b"body");
    assert_eq!(command.serialize, SerializeType::Json);
    assert!(!command.is_response() && !command.is_oneway() && command.remark.is_none());
}

#[test]
fn accepts_every_form_that_readers_must() {
    check("{}", Ok((0, &[])));
    check(r#" { "extFields" : { "b" : "2" , "a":"1"}, "code" : 5 } "#, Ok((5, &[("b", "2"), ("a", "1")])));
    check(r#"{"code":"10","extFields":null,"remark":null}"#, Ok((10, &[])));
    check(
        r#"{"code":10,"extFields":{"n":3,"t":true,"z":null,"o":{"x":[1,"]"]}},"new":[{"a":1}]}"#,
        Ok((10, &[("n", "3"), ("t", "true"), ("o", r#"{"x":[1,"]"]}"#)])),
    );
    check(r#"{"code":1,"language":"KOTLIN"}"#, Ok((1, &[])));
    check(r#"{"extFields":{"e":"\u0001\u8BA2\ud83d\ude00\n\/\"\\"}}"#, Ok((0, &[("e", "\u{1}订😀\n/\"\\")])));
    check(r#"{"extFields":{"\u0061":"x"}}"#, Ok((0, &[("a", "x")])));
    check(r#"{"extFields":{"s":"\ud800x"}}"#, Ok((0, &[("s", "\u{fffd}x")])));
}

#[test]
fn refuses_with_the_place_and_the_reason() {
    check("", Err("JSON header, byte 0: a header object must start here"));
    check("[]", Err("JSON header, byte 0: a header object must start here"));
    check(r#"{"code":1"#, Err("JSON header, byte 9: a comma or the end of the object must follow"));
    check(r#"{"code":1}x"#, Err("JSON header, byte 10: the header object has ended"));
    check(r#"{"code":1,}"#, Err("JSON header, byte 10: a quoted string must start here"));
    check(r#"{"code":3000000000}"#, Err("JSON header, byte 18: a 32-bit number must stand before this"));
    check(r#"{"code":1.5}"#, Err("JSON header, byte 11: a 32-bit number must stand before this"));
    check(r#"{"code":nul}"#, Err("JSON header, byte 8: unknown word"));
    check(r#"{"extFields":{"a":"\x"}}"#, Err("JSON header, byte 19: bad escape"));
    check(r#"{"extFields":{"a":"\u12"}}"#, Err("JSON header, byte 19: bad escape"));
    check(r#"{"extFields":{"a":"b}}"#, Err("JSON header, byte 18: the string does not end"));
    check(r#"{"extFields":5}"#, Err("JSON header, byte 14: extFields must be an object"));
    let deep = format!(r#"{{"a":{}"#, "[".repeat(40));
    check(&deep, Err("JSON header, byte 37: nested too deeply"));
    let many: String = (0..=FIELDS_MAX).map(|i| format!(r#""k{i}":"v","#)).collect();
    check(&format!(r#"{{"extFields":{{{}"x":"y"}}}}"#, many), Err("more than 256 header fields"));
}

#[test]
fn later_duplicates_win() {
    let frame = json_frame(r#"{"extFields":{"a":"1","a":"2","b":"1","b":null}}"#, b"");
    let command = Command::parse(&frame).expect("duplicates are legal");
    assert_eq!(command.field("a").as_deref(), Some("2"));
    assert_eq!(command.field("b"), None);
}

#[test]
fn many_fields_spill_and_are_found() {
    let fields: Vec<String> = (0..60).map(|i| format!(r#""key{i}":"{i}""#)).collect();
    let frame = json_frame(&format!(r#"{{"extFields":{{{}}}}}"#, fields.join(",")), b"");
    let command = Command::parse(&frame).expect("sixty fields");
    for i in 0..60 {
        assert_eq!(command.int(&format!("key{i}")), Ok(Some(i)));
    }
    assert_eq!(command.fields().count(), 60);
}

#[test]
fn typed_getters_follow_java() {
    let frame = json_frame(
        r#"{"extFields":{"i":"-5","p":"+7","l":"-9223372036854775808","t":"TRUE","f":"yes","x":"12a","big":"3000000000","e":""}}"#,
        b"",
    );
    let command = Command::parse(&frame).expect("header");
    assert_eq!(command.int("i"), Ok(Some(-5)));
    assert_eq!(command.int("p"), Ok(Some(7)));
    assert_eq!(command.long("l"), Ok(Some(i64::MIN)));
    assert_eq!(command.boolean("t"), Ok(Some(true)));
    assert_eq!(command.boolean("f"), Ok(Some(false)));
    assert_eq!(command.boolean("none"), Ok(None));
    assert_eq!(command.int("none"), Ok(None));
    assert_eq!(command.int("x").expect_err("letters").to_string(), "header field x: \"12a\" is not a number");
    assert!(command.int("big").is_err() && command.long("big") == Ok(Some(3_000_000_000)));
    assert!(command.int("e").is_err());
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_not_refused() {
    let mut frame = json_frame(r#"{"extFields":{"i":"k~"}}"#, b"");
    let position = frame.iter().position(|byte| *byte == b'~').expect("the mark");
    frame[position] = 0xFF;
    let command = Command::parse(&frame).expect("any bytes inside strings");
    assert_eq!(command.field("i").as_deref(), Some("k\u{fffd}"));
}

#[test]
fn frames_that_contradict_themselves_are_refused() {
    let whole = json_frame("{}", b"");
    assert_eq!(
        Command::parse(&whole[..whole.len() - 1]).expect_err("cut"),
        FrameError::Truncated { announced: 10, given: 9 }
    );
    assert_eq!(Command::parse(&[0, 0]).expect_err("cut"), FrameError::Truncated { announced: 8, given: 2 });
    assert_eq!(
        Command::parse(&[0, 0, 0, 6, 0, 0, 0, 3, b'{', b'}']).expect_err("header beyond the frame"),
        FrameError::HeaderTooLong { header: 3, available: 2 }
    );
    assert_eq!(Command::parse(&[0, 0, 0, 4, 7, 0, 0, 0]).expect_err("type"), FrameError::SerializeType(7));
}

fn binary_frame(header: &[u8]) -> Vec<u8> {
    let mut frame = ((4 + header.len()) as u32).to_be_bytes().to_vec();
    frame.push(1);
    frame.extend_from_slice(&(header.len() as u32).to_be_bytes()[1..]);
    frame.extend_from_slice(header);
    frame
}

#[test]
fn reads_a_binary_header() {
    let mut header = vec![0x0D, 0x72, 9, 1, 0x3D, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 2, b'o', b'k'];
    let fields = [0u8, 1, b'a', 0, 0, 0, 2, b'P', b'G', 0, 1, b'b', 0, 0, 0, 0];
    header.extend_from_slice(&(fields.len() as u32).to_be_bytes());
    header.extend_from_slice(&fields);
    let frame = binary_frame(&header);
    let command = Command::parse(&frame).expect("binary header");
    assert_eq!(command.code, crate::code::request::POP_MESSAGE, "3442 is a cut 200050");
    assert_eq!((command.language, command.version, command.opaque), (Language::Go, 317, 7));
    assert!(command.is_oneway());
    assert_eq!(command.remark.as_deref(), Some("ok"));
    assert_eq!(command.field("a").as_deref(), Some("PG"));
    assert_eq!(command.field("b"), None, "an empty value is null in this encoding");

    for cut in 0..header.len() {
        let frame = binary_frame(&header[..cut]);
        let parsed = Command::parse(&frame);
        // Ending right behind the remark is a header without fields; every other cut is an error.
        assert_eq!(parsed.is_ok(), cut == 19, "cut at {cut}: {parsed:?}");
    }
}

#[test]
fn negative_lengths_in_a_binary_header_are_refused() {
    let header = [0, 10, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    assert_eq!(
        Command::parse(&binary_frame(&header)).expect_err("remark of -1 bytes").to_string(),
        "ROCKETMQ header, byte 17: remark is longer than the header"
    );
}
