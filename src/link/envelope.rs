//! Commands as envelopes, signed by a hub key that is kept outside the database: a row forged into the database orders
//! nothing. The signature is over the payload's very bytes.

use super::{
    join::Pointer,
    keys::{PublicKey, SigningKey},
    sealed::Sealed,
};
use crate::model::{Op, Target, credential::Way, digest::Digest};
use serde::{Deserialize, Serialize};

/// An order to one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The hub that orders.
    pub hub: String,
    /// The hub's epoch: rises when it is restored from a backup.
    pub epoch: u64,
    /// The agent that is ordered.
    pub agent: String,
    /// That agent's generation.
    pub generation: u64,
    /// Rising without reuse for each agent and epoch.
    pub seq: u64,
    /// The command's id.
    pub id: String,
    /// The plan that was approved.
    pub plan: Digest,
    /// On what.
    pub target: Target,
    /// What.
    pub work: Work,
    /// The ways to log in that it needs, sealed to this agent: a JSON list of `model::credential::Way`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Sealed>,
    /// Since when, in seconds since the epoch by the hub's clock.
    pub issued: i64,
    /// It must not be started later.
    pub expires: i64,
    /// How long it may run, in seconds.
    pub timeout: u64,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// An operation: in the agent itself, or by the pve-agent on its cluster.
    Perform {
        /// Which.
        op: Op,
    },
    /// An operation inside a guest without an agent, by the pve-agent: bring the executable, run it once, take it away.
    Once {
        /// Which.
        op: Op,
    },
    /// Install the agent into the target, by the pve-agent.
    Deploy {
        /// What the new agent needs to know of the hub, and the nonce by which its joining counts.
        order: DeployOrder,
    },
    /// Vouch for the agent in the target again, by the pve-agent; where there is none any more, install it.
    Attest {
        /// What the agent needs to know of the hub, and the nonce by which its registration counts.
        order: DeployOrder,
    },
    /// Another version of itself in the agent's place. Frozen for ever: an agent of any age can be brought up by it.
    Update {
        /// Which, and how to know it.
        order: UpdateOrder,
    },
    /// Answer: the end of a deployment, and of `agent.check`.
    Echo,
}

/// What a deployment needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployOrder {
    /// The attested join counts only with it.
    pub nonce: String,
    /// A join string without a token: addresses, hub id, fingerprint, hub key.
    pub join: String,
    /// The hub's addresses, `host:port`, to try from inside.
    pub addresses: Vec<String>,
    /// Executables that the hub holds, for targets that can't run the deploying agent's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<Build>,
    /// How long a guest that was started a moment ago may take to let anybody in and to have a network, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub patience: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like that")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An executable for one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// What it runs on, as the kernel calls it: `x86_64`, `aarch64`.
    pub arch: String,
    /// What it is fetched and known by.
    pub artifact: Artifact,
}

/// What an update needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateOrder {
    /// The version that is to run.
    pub version: String,
    /// What its executable runs on, in Rust's words: `x86_64`, `aarch64`.
    pub arch: String,
    /// The executable that the hub holds; none where it holds none and the agent has kept that version itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
}

/// An executable that can be fetched from the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is fetched and known by.
    pub sha256: Digest,
    /// In bytes.
    pub size: u64,
}

/// A signed command as it is transported and journalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The command's JSON, as text: these bytes are signed.
    pub payload: String,
    /// Ed25519, base64url.
    pub signature: String,
}

/// Why an envelope is not obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The signature is not the hub's.
    #[error("the command is not signed by this agent's hub")]
    Signature,
    /// The payload is no command.
    #[error("the command does not read: {0}")]
    Malformed(String),
    /// It is for somebody else, or from before a restore.
    #[error("the command is for another {0}")]
    Party(&'static str),
    /// It came too late.
    #[error("the command was good until {0}")]
    Expired(String),
}

/// Whom an agent obeys, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The hub's id.
    pub hub: String,
    /// The hub's key.
    pub key: PublicKey,
    /// The one before that, which has signed what is in the journal from then.
    pub former: Option<PublicKey>,
    /// By which another key, authority or epoch of the hub is believed.
    pub recovery: Option<PublicKey>,
    /// The hub's epoch: nothing of another one is taken.
    pub epoch: u64,
    /// The agent's id.
    pub agent: String,
    /// The agent's generation.
    pub generation: u64,
}

impl Party {
    /// This agent of the hub that a pointer leads to.
    pub fn new(pointer: &Pointer, agent: String, generation: u64) -> Self {
        let Pointer { hub, key, recovery, epoch, .. } = pointer.clone();
        Self { hub, key, former: None, recovery, epoch, agent, generation }
    }
}

/// What the ways to log in are sealed about: they are good for this one command.
pub fn about_access(command: &str, agent: &str, target: &Target) -> Vec<u8> {
    serde_json::to_vec(&("remotectl access", command, agent, target)).expect("names read as JSON")
}

impl Command {
    /// The ways to log in that came with it; none where there are none, or where they are not sealed to this key.
    pub fn ways(&self, key: &SigningKey) -> Vec<Way> {
        let Some(sealed) = &self.access else { return Vec::new() };
        let plain = key.open(&about_access(&self.id, &self.agent, &self.target), sealed);
        plain.and_then(|plain| serde_json::from_slice(&plain).ok()).unwrap_or_default()
    }

    /// Seals it.
    pub fn sign(&self, key: &SigningKey) -> Signed {
        let payload = serde_json::to_string(self).expect("a command is made of strings and numbers");
        let signature = key.sign(payload.as_bytes());
        Signed { payload, signature }
    }
}

impl Signed {
    /// What it says, if the hub with this key has signed it, for whomever.
    pub fn signed_by(&self, hub: &PublicKey) -> Option<Command> {
        let signed = hub.verifies(self.payload.as_bytes(), &self.signature);
        signed.then(|| serde_json::from_str(&self.payload).ok()).flatten()
    }

    /// Opens it, if it is the hub's order to this very agent. Whether its time is over is the caller's to ask: a command
    /// that was accepted in time may be opened again from the journal.
    pub fn open(&self, party: &Party) -> Result<Command, EnvelopeError> {
        if !party.key.verifies(self.payload.as_bytes(), &self.signature) {
            return Err(EnvelopeError::Signature);
        }
        let command: Command =
            serde_json::from_str(&self.payload).map_err(|error| EnvelopeError::Malformed(error.to_string()))?;
        let wrong = [
            (command.hub != party.hub, "hub"),
            (command.agent != party.agent, "agent"),
            (command.generation != party.generation, "generation of this agent"),
            (command.epoch != party.epoch, "epoch of the hub"),
        ];
        match wrong.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, what)) => Err(EnvelopeError::Party(what)),
            None => Ok(command),
        }
    }

    /// Opens what was taken already and is on record: it may be of a generation, an epoch or a key before.
    pub fn reopen(&self, party: &Party) -> Result<Command, EnvelopeError> {
        let command = [Some(party.key), party.former].into_iter().flatten().find_map(|key| self.signed_by(&key));
        let command = command.ok_or(EnvelopeError::Signature)?;
        match (command.hub == party.hub, command.agent == party.agent) {
            (true, true) => Ok(command),
            (false, _) => Err(EnvelopeError::Party("hub")),
            _ => Err(EnvelopeError::Party("agent")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command {
            hub: "h".into(),
            epoch: 1,
            agent: "a".into(),
            generation: 1,
            seq: 7,
            id: "c".into(),
            plan: Digest::of(b"plan"),
            target: Target::ct(118),
            work: Work::Perform { op: Op::ServiceRestart { service: "nginx".into() } },
            access: None,
            issued: 1000,
            expires: 1600,
            timeout: 60,
        }
    }

    #[test]
    fn an_update_has_the_form_that_is_frozen() {
        let artifact = Artifact { sha256: Digest::of(b"executable"), size: 10 };
        let order = UpdateOrder { version: "0.10.0".into(), arch: "x86_64".into(), artifact: Some(artifact) };
        let golden = format!(
            r#"{{"kind":"update","order":{{"version":"0.10.0","arch":"x86_64","artifact":{{"sha256":"{}","size":10}}}}}}"#,
            Digest::of(b"executable")
        );
        let work = Work::Update { order };
        assert_eq!(serde_json::to_string(&work).unwrap(), golden);
        assert_eq!(serde_json::from_str::<Work>(&golden).unwrap(), work);
        let kept = r#"{"kind":"update","order":{"version":"0.9.4","arch":"aarch64"}}"#;
        let Work::Update { order } = serde_json::from_str(kept).unwrap() else { panic!() };
        assert_eq!(order.artifact, None);
    }

    #[test]
    fn only_the_hubs_own_order_to_this_agent_opens() {
        let (key, _) = SigningKey::make();
        let party = Party {
            hub: "h".into(),
            key: key.public(),
            former: None,
            recovery: None,
            epoch: 1,
            agent: "a".into(),
            generation: 1,
        };
        let signed = command().sign(&key);
        assert_eq!(signed.open(&party).unwrap(), command());
        let tampered = Signed { payload: signed.payload.replace("nginx", "nginy"), ..signed.clone() };
        assert_eq!(tampered.open(&party), Err(EnvelopeError::Signature));
        assert_eq!(signed.open(&Party { agent: "b".into(), ..party.clone() }), Err(EnvelopeError::Party("agent")));
        assert_eq!(
            signed.open(&Party { generation: 2, ..party.clone() }),
            Err(EnvelopeError::Party("generation of this agent"))
        );
        assert_eq!(command().sign(&SigningKey::make().0).open(&party), Err(EnvelopeError::Signature));
        for epoch in [0, 2] {
            let other = Party { epoch, ..party.clone() };
            assert_eq!(signed.open(&other), Err(EnvelopeError::Party("epoch of the hub")));
            assert_eq!(signed.reopen(&Party { generation: 2, ..other }).unwrap(), command(), "it was taken then");
        }
        let rotated = Party { key: SigningKey::make().0.public(), former: Some(key.public()), ..party };
        assert_eq!(signed.open(&rotated), Err(EnvelopeError::Signature));
        assert_eq!(signed.reopen(&rotated).unwrap(), command());
    }
}
