//! What the operators' API under /api/v1 takes and gives: shared by the hub that serves it and the client that calls it.

use super::{
    answer::{Answer, TargetResult},
    credential::CredentialKind,
    digest::Digest,
    inventory::{Guest, Node},
    secret::{Secret, revealed},
    state::PlanState,
    target::Target,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `POST /api/v1/plans`: make a plan; answered with an `Answer`. Exactly one of `text`, `run` and `undo`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// A sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// An operation without language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRequest>,
    /// The plan that is to be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// `auto`, `grammar` or `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planner: Option<String>,
    /// Which conversation the sentence belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// Guests that are stopped are started first, where the operation needs them running.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start: bool,
    /// Only show: nothing is kept, so it can't be approved or executed.
    #[serde(default)]
    pub dry_run: bool,
}

/// An operation on what a selector takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The operation's name.
    pub op: String,
    /// A target (`ct/118`), several with commas, or a selector (`tag=web and type=ct`).
    pub selector: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Map<String, Value>,
}

/// `POST /api/v1/plans/{id}/approve`: an operator's yes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// To exactly this.
    pub digest: Digest,
    /// The target's name, typed; a critical plan needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
}

/// `POST /api/v1/plans/{id}/execute`: begin; answered with a stream of `Event`s that ends with `Ended`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecuteRequest {
    /// Exactly this.
    pub digest: Digest,
}

/// What happens to plans, as server-sent events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A step begins.
    Step {
        /// The plan.
        plan: String,
        /// Index of the step.
        step: usize,
        /// On what.
        targets: Vec<Target>,
    },
    /// A line of progress from a target.
    Progress {
        /// The plan.
        plan: String,
        /// Index of the step.
        step: usize,
        /// From which target.
        target: Target,
        /// For people.
        line: String,
    },
    /// A piece of output from a target.
    Output {
        /// The plan.
        plan: String,
        /// Index of the step.
        step: usize,
        /// From which target.
        target: Target,
        /// Invalid UTF-8 replaced.
        text: String,
    },
    /// A target is done.
    Result {
        /// The plan.
        plan: String,
        /// How it ended.
        result: TargetResult,
    },
    /// The plan is over.
    Ended {
        /// The plan.
        plan: String,
        /// How.
        state: PlanState,
        /// The plan with its results.
        answer: Answer,
    },
}

impl Event {
    /// The plan that it is about.
    pub fn plan(&self) -> &str {
        match self {
            Self::Step { plan, .. }
            | Self::Progress { plan, .. }
            | Self::Output { plan, .. }
            | Self::Result { plan, .. }
            | Self::Ended { plan, .. } => plan,
        }
    }
}

/// A plan on record: `GET /api/v1/plans/{id}`, and each line of `GET /api/v1/plans`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Where it stands.
    pub state: PlanState,
    /// What was typed.
    pub text: String,
    /// Who asked.
    pub operator: String,
    /// When, in seconds since the epoch.
    pub created: i64,
    /// When it was over.
    #[serde(default)]
    pub ended: Option<i64>,
    /// Who approved it, where somebody had to.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// The plan, with its results so far.
    pub answer: Answer,
}

/// A guest with what the hub knows of its agent: `GET /api/v1/guests?selector=…`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuestRow {
    /// The guest.
    #[serde(flatten)]
    pub guest: Guest,
    /// `direct`, or empty.
    #[serde(default)]
    pub route: String,
    /// Seconds since its agent was last heard of.
    #[serde(default)]
    pub last_seen: Option<u64>,
    /// Why it has no agent, or why that does not answer.
    #[serde(default)]
    pub why: Option<String>,
    /// The command that would mend it.
    #[serde(default)]
    pub help: Option<String>,
}

/// A node: `GET /api/v1/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeRow {
    /// The node.
    #[serde(flatten)]
    pub node: Node,
    /// How many guests are on it, templates aside.
    pub guests: usize,
    /// How many of those run.
    pub running: usize,
    /// Seconds since its pve-agent was last heard of.
    #[serde(default)]
    pub last_seen: Option<u64>,
    /// The command that would mend a missing pve-agent.
    #[serde(default)]
    pub help: Option<String>,
}

/// An agent: `GET /api/v1/agents?selector=…`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentRow {
    /// Its id, made from its key.
    pub id: String,
    /// What it looks after.
    pub target: Target,
    /// That target's name.
    pub name: String,
    /// `agent` or `pve-agent`.
    pub role: String,
    /// Its remotectl version.
    pub version: String,
    /// `online`, `offline`, `locked` or `quarantined`.
    pub status: String,
    /// How it joined: `token` or `attested`.
    pub joined: String,
    /// Seconds since it was last heard of.
    #[serde(default)]
    pub last_seen: Option<u64>,
    /// Why it is locked or quarantined.
    #[serde(default)]
    pub why: Option<String>,
    /// The command that would mend that.
    #[serde(default)]
    pub help: Option<String>,
}

/// `POST /api/v1/agents/{lock,unlock,quarantine,evict}`: about the agent of one target; answered with its `AgentRow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// What it looks after.
    pub target: Target,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The target again, typed; evicting needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
}

/// `POST /api/v1/plans/{id}/settle`: an operator has looked, and says how what is unknown ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleRequest {
    /// Whether it was done.
    pub done: bool,
    /// How they know.
    pub reason: String,
    /// On which target; on all where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// `POST /api/v1/join-tokens`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// What may join with it: `agent` or `pve-agent`.
    pub role: String,
    /// As which target, where that is fixed beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinToken {
    /// What to give to `remotectl agent install --join`.
    pub join_string: String,
    /// When it ends, in seconds since the epoch.
    pub expires: i64,
}

/// `POST /api/v1/operators`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOperator {
    /// Their name.
    pub name: String,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    /// How long their token is good, in seconds; until they are removed where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// The answer to it: shown once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorToken {
    /// Their name.
    pub name: String,
    /// What to give to `remotectl login`: addresses, hub id, fingerprint and token in one string.
    pub login_string: String,
    /// When the token ends, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// `GET /api/v1/operators`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorRow {
    /// Their name.
    pub name: String,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    /// When their token was made, in seconds since the epoch.
    pub created: i64,
    /// When it ends, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Whether it has ended.
    #[serde(default)]
    pub expired: bool,
    /// When it was used last, to the minute, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<i64>,
}

/// `POST /api/v1/credentials`: a way to log in to guests; answered with its `CredentialRow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCredential {
    /// Its name.
    pub name: String,
    /// By what.
    pub kind: CredentialKind,
    /// As whom.
    pub user: String,
    /// To which guests: a selector.
    pub selector: String,
    /// Where to, where that is not the guest's own address or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// On which port, where that is not SSH's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Through which machine, that the node's own root can log in to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// The private key or password: told this once, and never given back.
    #[serde(serialize_with = "revealed")]
    pub secret: Secret,
}

/// `POST /api/v1/credentials/{name}/rotate`: another secret in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateCredential {
    /// By what.
    pub kind: CredentialKind,
    /// The private key or password.
    #[serde(serialize_with = "revealed")]
    pub secret: Secret,
}

/// `GET /api/v1/credentials`: all but the secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CredentialRow {
    /// Its name.
    pub name: String,
    /// By what.
    pub kind: CredentialKind,
    /// As whom.
    pub user: String,
    /// To which guests.
    pub selector: String,
    /// Where to, where that is not the guest's own address or name.
    #[serde(default)]
    pub address: Option<String>,
    /// On which port.
    pub port: u16,
    /// Through which machine.
    #[serde(default)]
    pub jump: Option<String>,
    /// When it was added, in seconds since the epoch.
    pub created: i64,
    /// When its secret was last replaced.
    #[serde(default)]
    pub rotated: Option<i64>,
    /// When a node was last given it.
    #[serde(default)]
    pub used: Option<i64>,
    /// Whether the hub's vault key opens it.
    pub readable: bool,
    /// The guests that it is for now.
    pub targets: Vec<Target>,
}

/// `POST /api/v1/host-keys`: an operator's yes to the key that a guest shows over SSH; answered with nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustRequest {
    /// Whose.
    pub target: Target,
    /// `SHA256:…`.
    pub fingerprint: String,
}

/// `GET /api/v1/hub`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HubInfo {
    /// The hub's id; its certificate is for `ID.remotectl`.
    pub id: String,
    /// Its remotectl version.
    pub version: String,
    /// The protocol that it speaks with agents.
    pub protocol: u32,
    /// SHA-256 of its CA certificate.
    pub fingerprint: Digest,
    /// Where it listens, `host:port`.
    pub addresses: Vec<String>,
    /// Its clock, in seconds since the epoch.
    pub time: i64,
}

/// Every answer of the API that is not 2xx.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiError {
    /// What was being done, to what, and why it failed.
    pub error: String,
    /// More lines, where there are any.
    #[serde(default)]
    pub details: Vec<String>,
    /// What to do next.
    #[serde(default)]
    pub help: Option<String>,
    /// The exit code that the client ends with.
    pub exit: u8,
}
