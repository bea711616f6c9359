//! What a simulated cluster knows beyond its inventory: settings that were changed, snapshots, what storages hold, who is
//! managed by HA. And the faults that a test or a demonstration asks for.

use super::lock;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// A file on a storage: a backup, a container template, an ISO image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The storage's name.
    pub storage: String,
    /// `backup`, `vztmpl` or `iso`.
    pub content: &'static str,
    /// The file's name.
    pub file: String,
    /// In bytes.
    pub size: u64,
    /// When it was made, in seconds since the epoch.
    pub made: i64,
    /// The guest that it is of.
    pub vmid: Option<u32>,
    /// Free text.
    pub notes: String,
}

impl Volume {
    /// `local:vztmpl/x.tar.zst`.
    pub fn id(&self) -> String {
        format!("{}:{}/{}", self.storage, self.content, self.file)
    }
}

/// What goes wrong on demand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Tasks of this type (`vzstart`) fail with these words.
    pub tasks: BTreeMap<String, String>,
    /// Every answer is held back so long.
    pub latency: Duration,
    /// Nodes that don't answer the others.
    pub offline: BTreeSet<String>,
    /// The next answer to a request with this in its path is not sent: it was acted upon, and the connection breaks.
    pub lost_answer: Option<String>,
}

/// A snapshot.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub name: String,
    pub description: String,
    pub taken: i64,
    pub parent: Option<String>,
    pub settings: BTreeMap<String, Value>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// By guest: what its configuration says other than the backend does.
    pub settings: BTreeMap<u32, BTreeMap<String, Value>>,
    /// By guest: what holds until its next start instead of what its configuration says.
    pub holds: BTreeMap<u32, BTreeMap<String, Value>>,
    pub snapshots: BTreeMap<u32, Vec<Snapshot>>,
    /// The template that a guest's disks build on.
    pub linked: BTreeMap<u32, u32>,
    pub paused: BTreeSet<u32>,
    /// What HA wants of a guest.
    pub managed: BTreeMap<u32, String>,
    pub volumes: Vec<Volume>,
}

/// All of it, behind one lock.
#[derive(Debug, Default)]
pub(super) struct Details {
    state: Mutex<State>,
    faults: Mutex<Faults>,
}

impl Details {
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    /// Whether the answer to this request gets lost; once.
    pub fn loses(&self, target: &str) -> bool {
        let mut faults = self.faults();
        let lost = faults.lost_answer.as_ref().is_some_and(|part| target.contains(part.as_str()));
        if lost {
            faults.lost_answer = None;
        }
        lost
    }
}

impl State {
    /// Puts a guest's changed settings over what the backend says.
    pub fn overlay(&self, vmid: u32, config: &mut BTreeMap<String, Value>) {
        for (key, value) in self.settings.get(&vmid).into_iter().flatten() {
            if value.is_null() {
                config.remove(key);
            } else {
                config.insert(key.clone(), value.clone());
            }
        }
        if let Some(last) = self.snapshots.get(&vmid).and_then(|all| all.last()) {
            config.insert("parent".to_owned(), json!(last.name));
        }
    }

    /// A guest that isn't there any more.
    pub fn forget(&mut self, vmid: u32) {
        self.settings.remove(&vmid);
        self.holds.remove(&vmid);
        self.snapshots.remove(&vmid);
        self.linked.remove(&vmid);
        self.paused.remove(&vmid);
        self.managed.remove(&vmid);
    }
}
