//! What goes over the wire between hub and agents, as JSON. Fields are only ever added, with a default.

use super::{envelope::Signed, keys::PublicKey};
use crate::model::{Inventory, Outcome, Target, facts::Facts};
use serde::{Deserialize, Serialize};

/// The paths of the agents' endpoint, frozen for ever.
pub mod path {
    /// Becoming known.
    pub const JOIN: &str = "/agent/v1/join";
    /// Asking for commands.
    pub const POLL: &str = "/agent/v1/poll";
    /// Telling how a command ended.
    pub const RESULT: &str = "/agent/v1/result";
    /// Output, progress and telemetry.
    pub const OUTPUT: &str = "/agent/v1/output";
    /// An executable by its SHA-256.
    pub const ARTIFACT: &str = "/agent/v1/artifact";
}

/// What kind of agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentRole {
    /// In a guest, or on a host.
    Agent,
    /// On a Proxmox node.
    PveAgent,
}

impl AgentRole {
    /// `agent` or `pve-agent`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::PveAgent => "pve-agent",
        }
    }
}

/// `POST /agent/v1/join`. Its JWT is signed by the offered key, or for an attestation by the attesting pve-agent's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The protocol.
    pub protocol: u32,
    /// The key that is to be known.
    pub public_key: PublicKey,
    /// What it is for.
    pub role: AgentRole,
    /// What it looks after: `node/pve1`, `host/nas`; the target of the deployment for an attestation.
    pub target: Target,
    /// The agent's remotectl version.
    pub version: String,
    /// A token from a join string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Or a node's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
}

/// A pve-agent's word for a key that it has read out of a guest of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// The running agent.deploy, or attestation.
    pub command: String,
    /// Its nonce.
    pub nonce: String,
}

/// The answer to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinReply {
    /// The protocol.
    pub protocol: u32,
    /// The agent's id, as its key makes it.
    pub agent: String,
    /// Its generation.
    pub generation: u64,
    /// The hub's clock.
    pub time: i64,
}

/// `POST /agent/v1/poll`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PollRequest {
    /// The protocol.
    pub protocol: u32,
    /// The agent's remotectl version.
    pub version: String,
    /// Everything up to this sequence number is in the journal.
    pub high_water: u64,
    /// The part of that which no crash of the agent's machine lowers; 0 where an agent does not tell.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept: u64,
    /// Which process polls, by a name that it has drawn when it began; empty where an agent does not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub process: String,
    /// Commands under way, and those whose result the hub has not acknowledged yet.
    #[serde(default)]
    pub running: Vec<String>,
    /// What this agent can do: operations' names.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Whether this is a version that only tries whether it would be answered, while another one runs: it takes no command.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trial: bool,
    /// The hub's epoch as the agent knows it; 0 where an agent does not tell.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// The answer to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PollReply {
    /// The protocol.
    pub protocol: u32,
    /// The hub's clock.
    pub time: i64,
    /// In order, all above the high-water mark.
    #[serde(default)]
    pub commands: Vec<Signed>,
    /// Commands to be cancelled.
    #[serde(default)]
    pub cancel: Vec<String>,
    /// What the hub says of itself, by the recovery key, to agents of an epoch before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement: Option<Signed>,
}

/// `POST /agent/v1/result`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResultRequest {
    /// The protocol.
    pub protocol: u32,
    /// The command's id.
    pub command: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// `POST /agent/v1/output`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputRequest {
    /// The protocol.
    pub protocol: u32,
    /// What is told.
    pub told: Told,
}

/// What an agent tells beside results.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a handful are under way at any time")]
pub enum Told {
    /// A piece of a command's output.
    Output {
        /// The command.
        command: String,
        /// Where in the output it begins, in bytes.
        offset: u64,
        /// Base64.
        data: String,
    },
    /// A line of progress.
    Progress {
        /// The command.
        command: String,
        /// For people.
        line: String,
    },
    /// About the machine that it runs on.
    Facts {
        /// The facts.
        facts: Facts,
    },
    /// About the cluster (a pve-agent).
    Inventory {
        /// What there is.
        inventory: Box<Inventory>,
    },
}

/// The answer to results and output, and to everything that is refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The hub's clock.
    pub time: i64,
    /// Why it was refused; empty where it was not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_has_the_form_that_is_frozen() {
        let old = r#"{"protocol":1,"version":"0.1.0","high_water":7,"running":[],"capabilities":[]}"#;
        let poll: PollRequest = serde_json::from_str(old).unwrap();
        assert!(!poll.trial);
        assert_eq!(serde_json::to_string(&poll).unwrap(), old);
        let trial = serde_json::to_string(&PollRequest { trial: true, ..poll }).unwrap();
        assert!(trial.ends_with(r#","trial":true}"#), "{trial}");
    }
}
