//! What the staged executable prints inside a guest, as this node reads it: the agent's role prints these very types.

use serde::{Deserialize, Serialize};

/// `agent probe --hub … --json`: which of the addresses answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// One for each address asked for.
    #[serde(default)]
    pub hubs: Vec<HubReach>,
}

/// One hub address as seen from the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubReach {
    /// `10.0.0.5:8443`.
    pub address: String,
    /// Whether it answered.
    #[serde(default)]
    pub reached: bool,
    /// After how many milliseconds.
    #[serde(default)]
    pub ms: u64,
    /// Why not.
    #[serde(default)]
    pub why: Option<String>,
}

/// `agent install --no-start --json`: what was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The agent's id, made from its key.
    pub agent_id: String,
    /// Its Ed25519 public key, base64.
    pub public_key: String,
    /// Its remotectl version.
    #[serde(default)]
    pub version: String,
    /// The init system that will run it.
    #[serde(default)]
    pub init: String,
}

/// A line that `agent once` prints: progress and output as they come, the outcome last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnceLine {
    /// A line for people.
    Progress(String),
    /// A piece of a program's output.
    Output(String),
    /// How it ended.
    Outcome(crate::model::Outcome),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;

    #[test]
    fn once_lines_have_their_form() {
        let line = |line| serde_json::to_string(&line).unwrap();
        assert_eq!(line(OnceLine::Progress("a".into())), r#"{"progress":"a"}"#);
        assert_eq!(line(OnceLine::Output("b".into())), r#"{"output":"b"}"#);
        assert_eq!(
            line(OnceLine::Outcome(Outcome::success("c"))),
            r#"{"outcome":{"ending":"succeeded","summary":"c"}}"#
        );
    }
}
