//! UPIDs: the names of Proxmox tasks, `UPID:node:pid:pstart:starttime:type:id:user:`, numbers in hexadecimal.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A task's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Upid {
    text: String,
    node: String,
    kind: String,
    id: String,
    started: u64,
}

/// A text that is no UPID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a UPID")]
pub struct UpidError(String);

impl Upid {
    /// The node that it runs on.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// `vzstart`, `qmshutdown`, `vzdump`, …
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it is about: a vmid mostly; may be empty.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When it began, in seconds since the epoch by the node's clock.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Upid {
    type Err = UpidError;

    fn from_str(text: &str) -> Result<Self, UpidError> {
        let error = || UpidError(crate::sys::text::one_line(text, 80));
        let parts: Vec<&str> = text.splitn(9, ':').collect();
        let ["UPID", node, pid, pstart, started, kind, id, user, _] = parts[..] else { return Err(error()) };
        let words = [node, kind, user].iter().all(|word| !word.is_empty());
        let plain = text.chars().all(|character| !character.is_control() && !character.is_whitespace());
        let numbers = [pid, pstart, started].map(hexadecimal);
        let ([Some(_), Some(_), Some(started)], true, true) = (numbers, words, plain) else { return Err(error()) };
        let [node, kind, id] = [node, kind, id].map(str::to_owned);
        Ok(Self { text: text.to_owned(), node, kind, id, started })
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    let right = (8..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    right.then(|| u64::from_str_radix(text, 16).ok())?
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl TryFrom<String> for Upid {
    type Error = UpidError;
    fn try_from(text: String) -> Result<Self, UpidError> {
        text.parse()
    }
}

impl From<Upid> for String {
    fn from(upid: Upid) -> Self {
        upid.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upids_parse_and_print_the_same() {
        let text = "UPID:pve1:00000333:000B7BCF:6B02A8A2:vzstart:101:root@pam!full:";
        let upid: Upid = text.parse().unwrap();
        assert_eq!((upid.node(), upid.kind(), upid.id(), upid.started()), ("pve1", "vzstart", "101", 1_795_336_354));
        assert_eq!(upid.to_string(), text);
        assert_eq!("UPID:a-b:0000033F:000B7BCF:6B02A8A2:aptupdate::root@pam:".parse::<Upid>().unwrap().id(), "");
    }

    #[test]
    fn others_do_not() {
        for bad in [
            "",
            "UPID",
            "upid:pve1:00000333:000B7BCF:6B02A8A2:vzstart:101:root@pam:",
            "UPID:pve1:333:000B7BCF:6B02A8A2:vzstart:101:root@pam:",
            "UPID::00000333:000B7BCF:6B02A8A2:vzstart:101:root@pam:",
            "UPID:pve1:00000333:000B7BCF:6B02A8A2:vzstart:101:root@pam",
            "UPID:pve1:00000333:000B7BCF:6B02A8AG:vzstart:101:root@pam:",
            "UPID:pve1:00000333:000B7BCF:6B02A8A2:vz\u{1b}start:101:root@pam:",
        ] {
            assert!(bad.parse::<Upid>().is_err(), "{bad:?}");
        }
    }
}
