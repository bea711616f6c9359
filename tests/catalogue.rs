//! The operation catalogue against the `Op` enum, both ways: names, arguments, their types, and which may be left out.

use remotectl::model::{Op, catalogue, risk::Risk};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, fs, path::Path};

/// The catalogue's word for a type, the Rust type that stands for it, and a value of it.
const TYPES: &[(&str, &str, &str)] = &[
    ("string", "String", "\"x\""),
    ("integer", "u64", "7"),
    ("bool", "bool", "true"),
    ("list", "Vec<String>", "[\"a\",\"b\"]"),
    ("duration", "Span", "\"30m\""),
    ("time", "Time", "\"2026-01-15T06:00:00Z\""),
    ("size", "Size", "\"4G\""),
    ("range", "LineRange", "\"10-25\""),
    ("unified diff", "Patch", "\"@@ -1 +1 @@\\n-a\\n+b\\n\""),
    ("cpu|memory", "SortBy", "\"cpu\""),
    ("ct|vm", "GuestKind", "\"ct\""),
];

fn rust_type(word: &str) -> Option<&'static str> {
    TYPES.iter().find(|(known, ..)| *known == word).map(|(_, rust, _)| *rust)
}

#[test]
fn catalogue_and_enum_have_the_same_operations() {
    let listed: BTreeSet<&str> = catalogue::all().keys().map(String::as_str).collect();
    let typed: BTreeSet<&str> = Op::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, typed);
    assert_eq!(Op::ALL.len(), typed.len(), "an operation is declared twice");
}

#[test]
fn arguments_agree_in_name_type_and_whether_they_may_be_left_out() {
    for (name, arguments) in Op::ALL {
        let spec = catalogue::spec(name).expect("the names agree");
        let listed: Vec<(&str, Option<&str>, bool)> =
            spec.args.iter().map(|arg| (arg.name.as_str(), rust_type(&arg.kind), arg.optional)).collect();
        let typed: Vec<(&str, Option<&str>, bool)> = arguments
            .iter()
            .map(|(argument, rust, optional)| (argument.trim_start_matches("r#"), Some(*rust), *optional))
            .collect();
        assert_eq!(listed, typed, "{name}");
    }
}

#[test]
fn every_operation_reads_its_arguments_with_and_without_the_optional_ones() {
    for spec in catalogue::all().values() {
        let value = |kind: &str| -> Value {
            let (.., text) = TYPES.iter().find(|(known, ..)| *known == kind).expect("the types are known");
            serde_json::from_str(text).expect("a sample is JSON")
        };
        for optional in [false, true] {
            let wanted = spec.args.iter().filter(|arg| optional || !arg.optional);
            let args: Map<String, Value> = wanted.map(|arg| (arg.name.clone(), value(&arg.kind))).collect();
            let op = Op::from_parts(&spec.name, args.clone()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((op.name(), op.args()), (spec.name.as_str(), args));
        }
        let stranger = Map::from_iter([("stranger".to_owned(), Value::from(1))]);
        assert!(Op::from_parts(&spec.name, stranger).is_err(), "{} takes anything", spec.name);
    }
}

#[test]
fn what_undoes_an_operation_is_an_operation_and_observing_needs_none() {
    for spec in catalogue::all().values() {
        if let Some(undo) = &spec.undo {
            assert!(catalogue::spec(undo).is_some(), "{}: there is no {undo}", spec.name);
            assert!(spec.risk > Risk::Observe, "{} only reads, and has an undo", spec.name);
        }
        assert!(!spec.doc.is_empty(), "{} says nothing of itself", spec.name);
    }
}

/// The project's copies of what others rely on, against the originals where these are at hand.
#[test]
fn copies_are_the_originals() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = root.join("../shared");
    for (copy, original) in [
        ("src/model/operations.toml", "contract/operations.toml"),
        ("tests/fixtures/homelab.json", "fixtures/homelab.json"),
        ("tests/fixtures/homelab.jsonl", "nl/homelab.jsonl"),
    ] {
        let Ok(wanted) = fs::read(shared.join(original)) else { continue };
        let found = fs::read(root.join(copy)).expect("the copy is there");
        assert!(found == wanted, "{copy} is not {original} any more");
    }
}
