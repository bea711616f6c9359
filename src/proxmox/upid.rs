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
    user: String,
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

    /// Whose it is: a user, or `user!token`.
    pub fn user(&self) -> &str {
        &self.user
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
        let [node, kind, id, user] = [node, kind, id, user].map(str::to_owned);
        Ok(Self { text: text.to_owned(), node, kind, id, user, started })
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

    proptest::proptest! {
        #[test]
        fn every_upid_prints_as_it_was_read(
            node in "[a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?", pid in 0_u32.., pstart in 0_u64..1 << 40,
            started in 0_u32.., kind in "[a-z]{2,12}", id in "([1-9][0-9]{2,8}|[a-z]{1,9})?",
            user in "[a-z]{1,12}@(pam|pve)(![a-z][a-z0-9_-]{0,12})?",
        ) {
            let text = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{started:08X}:{kind}:{id}:{user}:");
            let upid: Upid = text.parse().unwrap();
            proptest::prop_assert_eq!(upid.to_string(), text);
            proptest::prop_assert_eq!((upid.node(), upid.kind()), (node.as_str(), kind.as_str()));
            proptest::prop_assert_eq!((upid.id(), upid.user()), (id.as_str(), user.as_str()));
            proptest::prop_assert_eq!(upid.started(), u64::from(started));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,120}", upid in "UPID(:\\PC{0,12}){0,10}") {
            // Either it is one, and prints the same, or it is refused.
            for text in [text, upid] {
                if let Ok(read) = text.parse::<Upid>() {
                    proptest::prop_assert_eq!(read.to_string(), text);
                }
            }
        }
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
