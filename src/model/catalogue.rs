//! The operation catalogue, compiled in: what each operation is for, where it runs, what it takes, how risky it is.

use super::risk::Risk;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::OnceLock};

/// The catalogue's text: the project's own copy of the contract.
pub const TEXT: &str = include_str!("operations.toml");

/// Who carries an operation out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// The agent inside the guest (or on a node's host).
    Agent,
    /// The pve-agent of a Proxmox node.
    Pve,
    /// The hub, from its own store.
    Hub,
}

/// One operation's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// `service.restart`.
    pub name: String,
    /// One line for people.
    pub doc: String,
    /// Who carries it out.
    pub runs: Runs,
    /// Its arguments, in order.
    pub args: Vec<ArgSpec>,
    /// The base risk.
    pub risk: Risk,
    /// The operation that reverses it.
    pub undo: Option<String>,
}

/// One argument's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgSpec {
    /// Its name.
    pub name: String,
    /// The catalogue's word for its type: `string`, `duration`, `cpu|memory`, …
    pub kind: String,
    /// Whether it may be left out.
    pub optional: bool,
}

/// A `key=value` that the operation does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgError {
    /// The operation has no such argument.
    #[error("{op} takes no `{arg}`; it takes {takes}")]
    Unknown {
        /// The operation.
        op: String,
        /// What was given.
        arg: String,
        /// What there is.
        takes: String,
    },
    /// The text does not fit the argument's type.
    #[error("{op}: `{arg}` wants {wants}, not `{text}`")]
    Type {
        /// The operation.
        op: String,
        /// The argument.
        arg: String,
        /// Its type's name.
        wants: String,
        /// What was given.
        text: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    doc: String,
    runs: Runs,
    args: String,
    risk: Risk,
    undo: String,
}

/// Every operation, by name.
pub fn all() -> &'static BTreeMap<String, Spec> {
    static SPECS: OnceLock<BTreeMap<String, Spec>> = OnceLock::new();
    SPECS.get_or_init(|| parse(TEXT).expect("the compiled-in catalogue parses: a test reads it"))
}

/// One operation's entry; every `Op` has one (`tests/catalogue.rs`).
pub fn spec(name: &str) -> Option<&'static Spec> {
    all().get(name)
}

/// Reads a catalogue.
pub fn parse(text: &str) -> Result<BTreeMap<String, Spec>, toml::de::Error> {
    let entries: BTreeMap<String, Entry> = toml::from_str(text)?;
    Ok(entries.into_iter().map(|(name, entry)| (name.clone(), Spec::new(name, entry))).collect())
}

impl Spec {
    fn new(name: String, entry: Entry) -> Self {
        let args = entry.args.split(',').filter(|arg| !arg.trim().is_empty()).map(ArgSpec::new).collect();
        let undo = (entry.undo != "none").then_some(entry.undo);
        Self { name, doc: entry.doc, runs: entry.runs, args, risk: entry.risk, undo }
    }

    /// Turns `key=value` texts into JSON arguments by the declared types; a list is written with commas.
    pub fn arguments<'a>(
        &self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Map<String, Value>, ArgError> {
        pairs.into_iter().map(|(name, text)| Ok((name.to_owned(), self.argument(name, text)?))).collect()
    }

    fn argument(&self, name: &str, text: &str) -> Result<Value, ArgError> {
        let Some(arg) = self.args.iter().find(|arg| arg.name == name) else {
            let names: Vec<&str> = self.args.iter().map(|arg| arg.name.as_str()).collect();
            let takes = if names.is_empty() { "no arguments".to_owned() } else { names.join(", ") };
            return Err(ArgError::Unknown { op: self.name.clone(), arg: name.to_owned(), takes });
        };
        let error = || ArgError::Type {
            op: self.name.clone(),
            arg: name.to_owned(),
            wants: arg.kind.clone(),
            text: text.to_owned(),
        };
        match arg.kind.as_str() {
            "integer" => text.parse::<u64>().map(Value::from).map_err(|_| error()),
            "bool" => text.parse::<bool>().map(Value::from).map_err(|_| error()),
            "list" => Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
            _ => Ok(Value::from(text)),
        }
    }
}

impl ArgSpec {
    fn new(text: &str) -> Self {
        let (name, kind) = text.split_once(':').unwrap_or((text, "string"));
        let name = name.trim();
        Self {
            name: name.trim_end_matches('?').to_owned(),
            kind: kind.trim().to_owned(),
            optional: name.ends_with('?'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_typed_arguments() {
        let tasks = spec("node.tasks").unwrap();
        let args = tasks.arguments([("limit", "10"), ("errors", "true")]).unwrap();
        assert_eq!(Value::Object(args), serde_json::json!({"limit": 10, "errors": true}));
        assert_eq!(
            tasks.arguments([("limit", "ten")]).unwrap_err().to_string(),
            "node.tasks: `limit` wants integer, not `ten`"
        );
        assert_eq!(
            tasks.arguments([("max", "1")]).unwrap_err().to_string(),
            "node.tasks takes no `max`; it takes limit, errors"
        );
    }
}
