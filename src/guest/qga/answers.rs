//! What a guest agent answers, as Proxmox hands it on: JSON whose texts are bytes, one character each (U+0000 to U+00FF).

use crate::sys::text::one_line;
use serde::{Deserialize, Deserializer};

/// How a program in the guest is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it has ended.
    pub exited: bool,
    /// Its exit code, where it exited by itself.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Its standard output: the first 16 MiB.
    pub stdout: Vec<u8>,
    /// Its standard error: the first 16 MiB.
    pub stderr: Vec<u8>,
    /// Whether there was more of either.
    pub truncated: bool,
}

/// One command of a guest agent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GuestCommand {
    /// `guest-exec`.
    pub name: String,
    /// Whether it may be called.
    #[serde(deserialize_with = "truth")]
    pub enabled: bool,
}

/// `info`
#[derive(Deserialize)]
pub(super) struct Info {
    supported_commands: Vec<GuestCommand>,
}

impl Info {
    /// Its commands, their names made printable.
    pub fn commands(self) -> Vec<GuestCommand> {
        let named = |command: GuestCommand| GuestCommand { name: one_line(&command.name, 60), ..command };
        self.supported_commands.into_iter().map(named).collect()
    }
}

/// `exec`
#[derive(Deserialize)]
pub(super) struct Started {
    pub pid: u64,
}

/// `exec-status`
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Told {
    #[serde(deserialize_with = "truth")]
    exited: bool,
    exitcode: Option<i32>,
    signal: Option<i32>,
    out_data: String,
    err_data: String,
    #[serde(deserialize_with = "truth")]
    out_truncated: bool,
    #[serde(deserialize_with = "truth")]
    err_truncated: bool,
}

impl Told {
    /// The same with bytes for characters; `None` where a character is none.
    pub fn status(self) -> Option<Status> {
        Some(Status {
            exited: self.exited,
            code: self.exitcode,
            signal: self.signal,
            stdout: bytes(&self.out_data)?,
            stderr: bytes(&self.err_data)?,
            truncated: self.out_truncated || self.err_truncated,
        })
    }
}

/// A text whose characters are bytes.
fn bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

/// Bytes as such a text.
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Perl's and JSON's: 1, 0, `"1"`, true.
fn truth<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value == true || value == 1 || value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bytes() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(bytes(&text(&all)).unwrap(), all);
        assert_eq!(bytes("☃"), None);
    }

    #[test]
    fn ends_of_programs_read_as_recorded() {
        let told = |text| serde_json::from_str::<Told>(text).unwrap().status().unwrap();
        let ended = told(r#"{"err-data":"err\n","err-truncated":0,"exitcode":3,"exited":1,"out-data":"GÃ¤"}"#);
        assert_eq!((ended.code, ended.stdout, ended.stderr), (Some(3), "Gä".into(), b"err\n".to_vec()));
        assert!(!told(r#"{"exited":0}"#).exited && told(r#"{"exited":1,"signal":9}"#).signal == Some(9));
    }
}
