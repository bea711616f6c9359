//! Why an agent that is known is not listened to: an operator has locked it, or it may not be the one that it was.

use super::{catalogue::Runs, op::Op, policy, target::Target};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What keeps an agent from being listened to, and from being told anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Of what kind.
    pub kind: HoldKind,
    /// For people: what was seen, or what the operator said.
    pub why: String,
    /// Since when, in seconds since the epoch.
    pub since: i64,
    /// The operator, or `hub`.
    pub by: String,
    /// Why it is quarantined too, and stays so when the lock is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneath: Option<String>,
}

/// The two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldKind {
    /// By an operator, until an operator takes it back.
    Locked,
    /// It may be a clone, or back in time, until its node says that it is the right one.
    Quarantined,
}

impl HoldKind {
    /// `locked` or `quarantined`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Quarantined => "quarantined",
        }
    }

    /// The one of that name.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Locked, Self::Quarantined].into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether an operation is not done while its target's agent is held so. What Proxmox does needs no agent; a quarantined
    /// one can be attested anew, and either be taken away.
    pub fn keeps(self, op: &Op) -> bool {
        match op {
            Op::AgentRemove {} => false,
            Op::AgentDeploy {} => self == Self::Locked,
            _ => policy::runs(op) == Runs::Agent,
        }
    }

    /// What an operator does to end it for the agent of a target.
    pub fn help(self, target: &Target) -> String {
        match self {
            Self::Locked => format!("remotectl agents unlock {target}"),
            Self::Quarantined => format!("remotectl agents attest {target}"),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why) }
    }
}
