//! What a simulated cluster knows beyond its inventory: settings that were changed, snapshots, what storages hold, who is
//! managed by HA. And the faults that a test or a demonstration asks for.

use super::{
    lock,
    memory::{hardware_address, later_address, stable_uuid},
};
use crate::{model::inventory::Guest, sys::clock::unix_seconds as now};
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
    /// Before the next request with this in its path is answered, somebody moves a guest.
    pub moves: Option<Elsewhere>,
    /// The nodes don't see a majority of each other: nothing can be changed.
    pub no_quorum: bool,
    /// Guests that HA's rules keep from being moved, each by another one: `ct:102`.
    pub kept_by_ha: BTreeMap<u32, String>,
    /// Guests whose nodes have not reported for a while, with what the cluster's list still says of them: `stopped`, or
    /// `unknown` of one that was made since.
    pub unreported: BTreeMap<u32, String>,
    /// The next request of this kind is passed on to its node, and the connection to that breaks.
    pub broken: Option<Broken>,
}

/// A request whose answer from another node does not come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which request: this is in its path.
    pub path: String,
    /// The HTTP status of that: 596 to 599.
    pub status: u16,
    /// Whether the node has acted upon it.
    pub acted: bool,
}

/// A guest that somebody moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Before which request.
    pub path: String,
    /// Which guest.
    pub vmid: u32,
    /// Where to.
    pub node: String,
}

/// What Proxmox says of a change in a cluster without a majority.
pub(super) const NO_QUORUM: &str = "cluster not ready - no quorum?";

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
    /// How often a vmid has been free again: whoever has it next is somebody else.
    pub births: BTreeMap<u32, u32>,
    /// How often a guest has been put back to an earlier state.
    pub rewound: BTreeMap<u32, u32>,
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

    /// How the connection to a request's node breaks, if it is to; once.
    pub fn breaks(&self, target: &str) -> Option<Broken> {
        self.faults().broken.take_if(|broken| target.contains(broken.path.as_str()))
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
    /// Snapshots that a guest has from the beginning: one a day, the newest of yesterday.
    pub fn seed(&mut self, guest: &Guest) {
        let (mut ago, mut parent) = (i64::try_from(guest.snapshots.len()).unwrap_or_default(), None);
        for name in &guest.snapshots {
            let (description, settings) = (String::new(), BTreeMap::new());
            let taken = now() - ago * 86_400;
            let snapshot = Snapshot { name: name.clone(), description, taken, parent: parent.take(), settings };
            self.snapshots.entry(guest.vmid).or_default().push(snapshot);
            (ago, parent) = (ago - 1, Some(name.clone()));
        }
    }

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
        self.identify(vmid, config);
    }

    /// What tells a guest from others: its network card's address, and a virtual machine's identifiers. Whoever has a vmid
    /// after somebody else has others, and a virtual machine that was put back to an earlier state another generation.
    fn identify(&self, vmid: u32, config: &mut BTreeMap<String, Value>) {
        let birth = self.births.get(&vmid).copied().unwrap_or_default();
        let rewound = self.rewound.get(&vmid).copied().unwrap_or_default();
        let mac = if birth == 0 { hardware_address(vmid) } else { later_address(vmid, birth) };
        if let Some(Value::String(card)) = config.get_mut("net0") {
            let bare = card.replace(&hardware_address(vmid), &mac);
            *card = match bare.split_once(',') {
                _ if bare.contains(&mac) => bare,
                Some((name, rest)) if name.starts_with("name=") => format!("{name},hwaddr={mac},{rest}"),
                Some((model, rest)) => format!("{model}={mac},{rest}"),
                None => format!("{bare}={mac}"),
            };
        }
        if birth > 0 && config.contains_key("smbios1") {
            let uuid = stable_uuid(vmid, &format!("smbios {birth}"));
            config.insert("smbios1".to_owned(), json!(format!("uuid={uuid}")));
        }
        if birth + rewound > 0 && config.contains_key("vmgenid") {
            let uuid = stable_uuid(vmid, &format!("vmgenid {birth} {rewound}"));
            config.insert("vmgenid".to_owned(), json!(uuid));
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
