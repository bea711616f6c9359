//! The lexicon's file as it is written: its sections, and nothing made of them yet. Texts are borrowed from the program
//! itself, so that reading copies nothing; they must therefore do without `"` and `\`, which JSON would escape.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A text of the lexicon, which is part of the program.
pub type Text = &'static str;
/// Lines with several texts each.
type Lines = BTreeMap<Text, Vec<Text>>;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub(super) struct File {
    pub fillers: Vec<Text>,
    pub grammar: Vec<Text>,
    pub to_be: Vec<Text>,
    pub background: Background,
    pub elsewhere: Elsewhere,
    pub passive: Lines,
    pub contractions: BTreeMap<Text, Text>,
    pub words: Lines,
    pub classes: Lines,
    pub states: Lines,
    pub systems: Lines,
    pub tags: Lines,
    pub services: Lines,
    pub roles: BTreeMap<Text, Text>,
    pub packages: Packages,
    pub parts: Lines,
    pub adjuncts: BTreeMap<Text, Text>,
    pub rules: Vec<RuleEntry>,
    pub refuse: Vec<RefusalEntry>,
}

/// By which words it is known that a part of a sentence only says why.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub struct Background {
    /// One has to be in it, or one of `subjects` or `reasons` has to begin it.
    pub verbs: Vec<Text>,
    /// Who or what it speaks of.
    pub subjects: Vec<Text>,
    /// With which words a reason begins.
    pub reasons: Vec<Text>,
    /// None may be in it.
    pub conditions: Vec<Text>,
}

/// By which words it is known that a sentence is about something else altogether.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub struct Elsewhere {
    /// It begins with one.
    pub verbs: Vec<Text>,
    /// It has one.
    pub words: Vec<Text>,
}

/// Packages that are known by their bare names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub(super) struct Packages {
    pub known: Vec<Text>,
}

/// One way to ask for an operation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub(super) struct RuleEntry {
    pub op: Text,
    #[serde(default)]
    pub args: Map<String, Value>,
    #[serde(default)]
    pub cost: u32,
    #[serde(default)]
    pub refuse: Option<Text>,
    #[serde(default)]
    pub machine: bool,
    pub say: Vec<Text>,
    #[serde(default)]
    pub with: Vec<Text>,
}

/// One thing that is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub(super) struct RefusalEntry {
    pub reason: Text,
    #[serde(default)]
    pub say: Vec<Text>,
    #[serde(default)]
    pub paths: Vec<Text>,
    #[serde(default)]
    pub quoted: Vec<Text>,
}
