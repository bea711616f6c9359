//! Parameters: where they come from (path, query, form or JSON body) and what the API says of wrong ones. The messages
//! are the recorded ones, because people read them.

use super::answer::Fault;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Integer {
        min: i64,
    },
    /// 1, 0, on, off; in JSON true and false too.
    Boolean,
    Choice(&'static [&'static str]),
    Vmid,
    /// A DNS name.
    Name,
    /// Tags, parted by `;`, `,` or blanks.
    Tags,
}

/// One parameter of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
}

pub(super) const fn optional(name: &'static str, kind: Kind) -> Spec {
    Spec { name, kind, required: false }
}

pub(super) const fn required(name: &'static str, kind: Kind) -> Spec {
    Spec { name, kind, required: true }
}

/// What was sent, unchecked.
#[derive(Debug, Clone, Default)]
pub(super) struct Raw(BTreeMap<String, Value>);

/// What was sent, checked against an endpoint's specification.
#[derive(Debug, Clone, Default)]
pub(super) struct Checked(BTreeMap<String, Value>);

impl Raw {
    /// `a=1&b=2`, as queries and forms have it; split at `;` too, cut at a raw `=`.
    pub fn add_form(&mut self, form: &str) {
        for pair in form.split(['&', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.splitn(3, '=');
            let name = percent_decode(parts.next().unwrap_or_default(), true);
            let value = Value::String(percent_decode(parts.next().unwrap_or_default(), true));
            match self.0.get_mut(&name) {
                None => drop(self.0.insert(name, value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
    }

    /// A JSON object as the body.
    pub fn add_json(&mut self, body: &[u8]) -> Result<(), Fault> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => {
                self.0.extend(map);
                Ok(())
            }
            Ok(_) | Err(_) => Err(Fault::failed("unable to parse parameters (JSON)")),
        }
    }

    /// Holds what was sent against what the endpoint takes.
    pub fn check(&self, specs: &[Spec]) -> Result<Checked, Fault> {
        let mut errors = BTreeMap::new();
        let mut checked = BTreeMap::new();
        for (name, value) in &self.0 {
            match specs.iter().find(|spec| spec.name == name) {
                None => drop(errors.insert(name.clone(), UNKNOWN.to_owned())),
                Some(spec) => match verify(spec.kind, value) {
                    Ok(value) => drop(checked.insert(name.clone(), value)),
                    Err(message) => drop(errors.insert(name.clone(), message)),
                },
            }
        }
        for spec in specs.iter().filter(|spec| spec.required && !self.0.contains_key(spec.name)) {
            errors.insert(spec.name.to_owned(), MISSING.to_owned());
        }
        if errors.is_empty() { Ok(Checked(checked)) } else { Err(Fault::Parameters(errors)) }
    }
}

const UNKNOWN: &str = "property is not defined in schema and the schema does not allow additional properties";
const MISSING: &str = "property is missing and it is not optional";
/// What is said of a vmid that can't be one.
pub(super) const NO_VMID: &str = "invalid format - value does not look like a valid VM ID\n";

impl Checked {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Value::as_i64)
    }

    pub fn count(&self, name: &str) -> Option<usize> {
        self.integer(name).and_then(|number| usize::try_from(number).ok())
    }

    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn given(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn verify(kind: Kind, value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Array(_) => return Err(format!("type check ('{}') failed - got ARRAY", type_name(kind))),
        Value::Object(_) => return Err(format!("type check ('{}') failed - got HASH", type_name(kind))),
        Value::Null => String::new(),
    };
    match kind {
        Kind::Text => Ok(Value::String(text)),
        Kind::Integer { min } => match text.parse::<i64>() {
            Err(_) => Err(format!("type check ('integer') failed - got '{text}'")),
            Ok(number) if number < min => Err(format!("value must have a minimum value of {min}")),
            Ok(number) => Ok(number.into()),
        },
        Kind::Boolean => match text.as_str() {
            "1" | "on" => Ok(true.into()),
            "0" | "off" => Ok(false.into()),
            _ => Err(format!("type check ('boolean') failed - got '{text}'")),
        },
        Kind::Choice(words) if words.contains(&text.as_str()) => Ok(Value::String(text)),
        Kind::Choice(words) => {
            Err(format!("value '{text}' does not have a value in the enumeration '{}'", words.join(", ")))
        }
        Kind::Vmid => vmid(&text).map(Value::from).ok_or_else(|| NO_VMID.to_owned()),
        Kind::Name if dns_name(&text) => Ok(Value::String(text)),
        Kind::Name => Err("invalid format - value does not look like a valid DNS name\n".to_owned()),
        Kind::Tags if text.split([';', ',', ' ']).all(tag) => Ok(Value::String(text)),
        Kind::Tags => Err("invalid format - invalid characters in tag\n".to_owned()),
    }
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Choice(_) | Kind::Name | Kind::Tags => "string",
        Kind::Integer { .. } | Kind::Vmid => "integer",
        Kind::Boolean => "boolean",
    }
}

fn dns_name(text: &str) -> bool {
    let plain = |label: &str| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let label = |label: &str| !label.is_empty() && plain(label) && !label.starts_with('-') && !label.ends_with('-');
    text.split('.').all(label)
}

fn tag(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+.".contains(&byte);
    text.bytes().all(plain) && !text.starts_with(['-', '+', '.'])
}

/// A vmid as Proxmox takes it: 100 to 999999999, no leading zero.
pub(super) fn vmid(text: &str) -> Option<u32> {
    let plain = text.len() <= 9 && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    let vmid: u32 = plain.then(|| text.parse().ok())??;
    (vmid >= 100).then_some(vmid)
}

/// Percent decoding, in forms with `+` for a blank.
pub(super) fn percent_decode(text: &str, form: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(hex_byte);
        bytes.push(escaped.unwrap_or(if form && *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(text, 16).ok())?
}
