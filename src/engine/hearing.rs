//! What agents tell beside results: joining, facts, the cluster's inventory, progress, output.

use super::{Engine, quarantine::AGAIN, roster::Agent, seal::Row};
use crate::{
    link::{
        OUTPUT_LIMIT, PROTOCOL,
        join::Pointer,
        wire::{AgentRole, JoinReply, JoinRequest, Told},
    },
    model::{
        Target,
        digest::{Digest, hex},
        hold::HoldKind,
        messages::Event,
    },
    store::{AgentRecord, JoinTokenRecord, StoreError},
    sys::{clock, files, random},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::io::Write as _;

/// A request that is well-formed and yet not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The asker may not do that.
    #[error("{0}")]
    Forbidden(String),
    /// The store says no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How long a join token is good, in seconds.
const JOIN_TOKEN_LIFE: i64 = 600;

/// The generation of whoever joins, and since when it counts as joined: a key that is known already goes on from the one
/// before, and its twins stay behind. Where it is not to be known again, why.
fn again(request: &JoinRequest, known: Option<&AgentRecord>, now: i64) -> Result<(u64, i64), Refused> {
    let Some(known) = known else { return Ok((1, now)) };
    let held = known.hold.as_ref();
    if let Some(hold) = held.filter(|hold| hold.kind == HoldKind::Locked) {
        return Err(Refused::Forbidden(format!("this agent is {hold}")));
    }
    match &request.attestation {
        Some(_) if known.target != request.target => Err(Refused::Forbidden(format!(
            "its key is that of {}: {} is a clone of it; `remotectl remove {}` takes the key away, and another may be deployed",
            known.target, request.target, request.target
        ))),
        // The store takes it only as the nonce of a running command.
        Some(attestation) if attestation.nonce.starts_with(AGAIN) => Ok((known.generation + 1, known.joined_at)),
        Some(_) if known.generation > 1 || held.is_some() => {
            Err(Refused::Forbidden(format!("its key is known already: `remotectl agents attest {}`", known.target)))
        }
        Some(_) => Ok((1, now)),
        None => Ok((known.generation + u64::from(held.is_some()), now)),
    }
}

impl Engine {
    /// Registers a new agent, by a token of its own or by the word of the pve-agent that deploys it.
    pub async fn join(&self, request: JoinRequest, attested_by: Option<Agent>) -> Result<JoinReply, Refused> {
        let now = clock::unix_seconds();
        let _membership = self.membership.lock().await;
        let known = self.roster.get(&request.public_key.agent_id()).map(|known| known.record);
        let (generation, joined_at) = again(&request, known.as_ref(), now)?;
        let mut record = AgentRecord {
            id: request.public_key.agent_id(),
            public_key: request.public_key.into(),
            role: request.role.as_str().to_owned(),
            target: request.target,
            version: request.version,
            generation,
            joined: if attested_by.is_some() { "attested" } else { "token" }.to_owned(),
            joined_at,
            facts: None,
            hold: None,
            seal: String::new(),
        };
        record.seal = self.identity.seal(&Row::Agent(&record));
        match (attested_by, request.attestation, request.token) {
            (Some(node), Some(attestation), None) if request.role == AgentRole::Agent => {
                let (command, nonce) = (attestation.command, attestation.nonce);
                self.store.join_by_attestation(record.clone(), node.record.id, command, nonce).await?;
            }
            (None, None, Some(token)) => {
                let (hash, hub) = (Digest::of(token.as_bytes()), self.identity.key.public());
                let of = hash.clone();
                let sealed = move |role: &str, target: &str, expires, seal: &str| {
                    Row::JoinToken { hash: &of, role, target, expires }.sealed_by(&hub, seal)
                };
                self.store.join_by_token(record.clone(), hash, now, sealed).await?;
            }
            _ => return Err(Refused::Forbidden("a join has either a token or a node's attestation".to_owned())),
        }
        tracing::info!(agent = record.id, target = %record.target, joined = record.joined, "an agent joined");
        let reply =
            JoinReply { protocol: PROTOCOL, agent: record.id.clone(), generation: record.generation, time: now };
        // A poll that is held for who was known before would not see what is queued for who is known now.
        let id = record.id.clone();
        self.delivery.begin_anew(&id);
        self.roster.insert(record, now).iter().chain([&id]).for_each(|id| self.cut(id));
        Ok(reply)
    }

    /// A pointer with a token by which an agent of that role may join once, and until when that is good.
    pub async fn make_join_token(
        &self,
        role: String,
        target: Option<Target>,
        by: String,
    ) -> Result<(Pointer, i64), StoreError> {
        let (token, now) = (hex(&random::bytes::<32>()), clock::unix_seconds());
        let expires = now + JOIN_TOKEN_LIFE;
        let hash = Digest::of(token.as_bytes());
        let named = target.as_ref().map(ToString::to_string).unwrap_or_default();
        let seal = self.identity.seal(&Row::JoinToken { hash: &hash, role: &role, target: &named, expires });
        self.store.add_join_token(JoinTokenRecord { hash, role, target, expires, seal }, by, now).await?;
        Ok((Pointer { token: Some(token), ..self.identity.pointer.clone() }, expires))
    }

    /// Takes what an agent tells.
    pub async fn hear(&self, agent: &Agent, told: Told) -> Result<(), Refused> {
        let id = &agent.record.id;
        match told {
            Told::Facts { facts } => {
                if self.roster.set_facts(id, &facts) {
                    self.store.set_facts(id.clone(), agent.record.version.clone(), facts).await?;
                }
            }
            Told::Inventory { inventory } => {
                if agent.record.role != AgentRole::PveAgent.as_str() {
                    return Err(Refused::Forbidden("only a pve-agent tells of a cluster".to_owned()));
                }
                let news = self.hear_inventory(id, &inventory).map_err(|other| {
                    Refused::Forbidden(format!(
                        "this hub looks after cluster {other}; a hub for {} is another one",
                        inventory.cluster
                    ))
                })?;
                self.bind(agent, &inventory).await?;
                if news {
                    self.store.set_inventory(id.clone(), *inventory).await?;
                }
            }
            Told::Progress { command, line } => {
                if let Some(about) = self.about(id, &command) {
                    self.publish(Event::Progress { plan: about.plan, step: about.step, target: about.target, line });
                }
            }
            Told::Output { command, offset, data } => self.keep_output(id, &command, offset, &data)?,
        }
        Ok(())
    }

    /// Output goes to a file for each command, and to whoever listens. What is beyond the limit, or there already, is dropped.
    fn keep_output(&self, agent: &str, command: &str, offset: u64, data: &str) -> Result<(), Refused> {
        let Some(about) = self.about(agent, command) else { return Ok(()) };
        let bytes = STANDARD.decode(data).map_err(|_| Refused::Forbidden("output is base64".to_owned()))?;
        // The id is one that this hub has made, so it is a safe file name.
        let path = self.output.join(format!("{command}.log"));
        let kept = path.metadata().map(|meta| meta.len()).unwrap_or_default();
        if offset == kept && kept + bytes.len() as u64 <= OUTPUT_LIMIT as u64 {
            let written = files::open_append(&path).map(|mut file| file.write_all(&bytes));
            if let Ok(Err(error)) = written {
                tracing::warn!(%error, command, "output was not kept");
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.publish(Event::Output { plan: about.plan, step: about.step, target: about.target, text });
        Ok(())
    }
}
