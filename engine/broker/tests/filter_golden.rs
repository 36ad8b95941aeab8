//! Our answers about SQL92 filters beside those of the reference's own filter module: see `tests/golden/filter`.

use std::path::{Path, PathBuf};

use ringmq_broker::filter::Expression;
use ringmq_remoting::json::{self, Value};
use ringmq_remoting::record::properties::PropertiesWriter;

/// A file of further answers to compare with.
const FURTHER: &str = "FILTER_GOLDEN";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/filter")
}

#[allow(clippy::disallowed_methods, reason = "a test reads its own files")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn properties_of(line: &str) -> String {
    let Ok(Value::Object(members)) = json::parse(line.as_bytes()) else { panic!("no message: {line}") };
    let mut properties = PropertiesWriter::new();
    for (name, value) in &members {
        let (Value::Str(name), Value::Str(value)) = (name, value) else { panic!("no text in {line}") };
        properties.push(name, value);
    }
    properties.into_text()
}

fn expression_of(line: &str) -> String {
    let Ok(Value::Str(text)) = json::parse(line.as_bytes()) else { panic!("no expression: {line}") };
    text.into_owned()
}

fn answers(text: &str, messages: &[String]) -> String {
    let Ok(expression) = Expression::compile(text) else { return "refused".to_owned() };
    let letter = |message: &String| match expression.evaluate(message) {
        Ok(Some(true)) => 'T',
        Ok(Some(false)) => 'F',
        Ok(None) => '?',
        Err(_) => '!',
    };
    messages.iter().map(letter).collect()
}

/// Compares all lines; the number of expressions.
fn check(path: &Path) -> usize {
    let (mut messages, mut count, mut wrong) = (Vec::new(), 0, Vec::new());
    for line in read(path).lines() {
        if line.starts_with('{') {
            messages.push(properties_of(line));
            continue;
        }
        let (expected, expression) = line.split_once(' ').expect("answers, then the expression");
        let found = answers(&expression_of(expression), &messages);
        count += 1;
        if found != expected {
            wrong.push(format!("{expression}\n  the reference {expected}\n  ours          {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    count
}

#[test]
fn every_case_is_answered_as_by_the_reference() {
    let path = folder().join("answers/cases");
    let is_case = |line: &&str| line.starts_with(['{', '"']);
    let asked: Vec<String> =
        read(&folder().join("cases")).lines().filter(is_case).map(str::to_owned).collect();
    let answered = |line: &str| line.find('"').filter(|_| !line.starts_with('{')).map_or(0, |at| at);
    let known: Vec<String> = read(&path).lines().map(|line| line[answered(line)..].to_owned()).collect();
    assert_eq!(asked, known, "run tests/golden/filter/make: cases have changed");
    assert!(check(&path) > 600);
}

#[test]
fn random_expressions_are_answered_as_by_the_reference() {
    assert!(check(&folder().join("answers/random")) >= 1_500);
    if let Some(further) = std::env::var_os(FURTHER) {
        println!("{} further expressions", check(Path::new(&further)));
    }
}
