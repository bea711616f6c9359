//! The hub's mind: who the agents are, what there is, what may be done, and carrying it out exactly as approved.

pub mod approved;
pub mod artifacts;
pub mod asking;
mod built;
pub mod credentials;
pub mod deciding;
pub mod delivery;
pub mod executor;
pub mod from_store;
pub mod hearing;
pub mod holding;
pub mod overview;
pub mod planning;
pub mod quarantine;
pub mod roster;
pub mod seal;
mod undoing;
pub mod updates;

pub use built::is_built;

use crate::{
    link::{envelope::Signed, join::Pointer, keys::SigningKey},
    llm::{Known, Planner},
    model::{Policy, messages::Event},
    store::{Store, StoreError},
    sys::{aead::AeadKey, clock, random},
};
use artifacts::Artifacts;
use asking::Talk;
use delivery::Delivery;
use overview::Overview;
use quarantine::Incarnations;
use roster::Roster;
use seal::Row;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::sync::{broadcast, watch};

/// Events that a slow listener may be behind before it misses some.
const EVENTS: usize = 4096;

/// Who the hub is.
pub struct Identity {
    /// How agents and clients find it; without a token.
    pub pointer: Pointer,
    /// Rises when it is restored from a backup.
    pub epoch: u64,
    /// Signs commands; kept in a file outside the database.
    pub key: Arc<SigningKey>,
    /// By which agents of an epoch before are led to this one; none in the first.
    pub announcement: Option<Signed>,
}

/// What the engine is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Who the hub is.
    pub identity: Identity,
    /// Seals credentials; kept in another file outside the database.
    pub vault: AeadKey,
    /// What turns sentences into proposals.
    pub planner: Box<dyn Planner>,
    /// What weighs them.
    pub policy: Policy,
    /// Where commands' output is kept.
    pub output: PathBuf,
    /// Where executables for agents are kept.
    pub artifacts: PathBuf,
}

/// The hub's mind.
pub struct Engine {
    /// The database.
    pub store: Store,
    /// Who the hub is.
    pub identity: Identity,
    /// What weighs plans.
    pub policy: Policy,
    /// The agents.
    pub roster: Roster,
    /// The executables for them.
    pub artifacts: Artifacts,
    vault: AeadKey,
    planner: Box<dyn Planner>,
    /// What was last said in each conversation.
    talks: Mutex<HashMap<String, Talk>>,
    /// Held while who an agent is, or whether it is listened to, changes.
    membership: tokio::sync::Mutex<()>,
    /// Rises with each of those changes.
    changes: watch::Sender<u64>,
    overview: Overview,
    incarnations: Incarnations,
    /// What there was when last somebody asked for a plan, as the planner reads it.
    known: Mutex<Arc<Known>>,
    delivery: Delivery,
    events: broadcast::Sender<Event>,
    output: PathBuf,
    stopping: watch::Sender<bool>,
}

impl Engine {
    /// Wakes up: reads agents, inventories and open commands from the store.
    pub fn new(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let Parts { store, identity, vault, planner, policy, output, artifacts } = parts;
        let artifacts = Artifacts::new(artifacts);
        let (known, forged): (Vec<_>, Vec<_>) =
            store.agents()?.into_iter().partition(|agent| identity.sealed(&Row::Agent(agent), &agent.seal));
        for agent in forged {
            tracing::error!(agent = agent.id, target = %agent.target, "this agent is on record, but did not join here");
        }
        // Nobody has shown a new hub a token yet that could be shown again.
        let since = clock::unix_seconds() - i64::from(known.is_empty());
        let roster = Roster::new(known, identity.pointer.hub.clone(), since);
        let incarnations = Incarnations::new(store.incarnations()?);
        let overview = Overview::new(store.inventories()?);
        let delivery = Delivery::new(store.open_commands()?, store.kept_marks()?, &identity.key.public());
        let (events, _) = broadcast::channel(EVENTS);
        let (stopping, _) = watch::channel(false);
        let talks = Mutex::default();
        let (changes, _) = watch::channel(0);
        let engine = Self {
            store,
            identity,
            policy,
            roster,
            artifacts,
            vault,
            planner,
            talks,
            membership: tokio::sync::Mutex::default(),
            changes,
            overview,
            incarnations,
            known: Mutex::default(),
            delivery,
            events,
            output,
            stopping,
        };
        Ok(Arc::new(engine))
    }

    /// What happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Ends polls and streams, so that connections can close.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Becomes true when the hub is stopping.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Tells listeners; nobody may be listening.
    fn publish(&self, event: Event) {
        self.events.send(event).ok();
    }

    /// A short name that no plan has yet, as far as four random letters tell; a clash is refused by the store.
    fn plan_id() -> String {
        random::name(4)
    }
}
