//! Parameters and paths as Proxmox reads them: percent-encoded to the last byte (it splits forms at `;` too, and cuts
//! values at a raw `=`), booleans as 1 and 0.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The parameters of a request, in order.
#[derive(Debug, Clone, Default)]
pub struct Form(Vec<(&'static str, String)>);

impl Form {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a parameter; a number or a text.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.0.push((name, format!("{value}")));
        self
    }

    /// With a boolean.
    #[must_use]
    pub fn flag(self, name: &'static str, value: bool) -> Self {
        self.with(name, u8::from(value))
    }

    /// Names and values, in order.
    #[cfg(test)]
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// `a=1&b=x%3By`; empty without parameters.
    pub fn encode(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        pairs.join("&")
    }
}

/// One text as part of a path or of a form.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A path below /api2/json from its parts, each of them encoded: `["nodes", "pve1"]` is `/nodes/pve1`.
pub fn path(parts: &[&str]) -> String {
    parts.iter().fold(String::new(), |path, part| path + "/" + &encode(part))
}

/// A part of a path as it was before it was encoded.
#[cfg(test)]
pub fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_values_are_encoded() {
        let form = Form::new().with("tags", "a;b=c&d").flag("purge", true).with("timeout", 20);
        assert_eq!(form.encode(), "tags=a%3Bb%3Dc%26d&purge=1&timeout=20");
    }

    #[test]
    fn a_name_can_not_leave_its_place_in_the_path() {
        assert_eq!(path(&["nodes", "../access", "lxc"]), "/nodes/..%2Faccess/lxc");
    }
}
