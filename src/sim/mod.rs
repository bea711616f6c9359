//! A Proxmox VE API that is not one: what pveproxy answers, over TLS, with tickets, tokens, permissions, UPIDs and tasks
//! as recorded from a genuine node, on top of any [`Backend`]. The demo puts a cluster in memory under it, the lab puts
//! real containers under it; the product above can't tell either from the real thing, and that is what tests need.
//!
//! Nothing above this floor is imported: the simulator knows the inventory's words and no more.

pub mod access;
pub mod answer;
pub mod backend;
pub mod certificates;
mod details;
mod endpoints;
pub mod guests;
pub mod memory;
mod params;
mod router;
pub mod server;
mod shapes;
pub mod tasks;
mod tickets;

pub use access::{Access, AccessError, Identity};
pub use backend::{Action, Backend, NodeUsage, Usage};
pub use details::{Broken, Elsewhere, Faults, Volume};
pub use guests::World;
pub use memory::Memory;
pub use router::Request;
pub use tasks::TaskLog;

use crate::model::inventory::{Guest, Inventory};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What the recorded node calls itself.
pub const VERSION: &str = "9.2.11";
/// Its release, the first two numbers.
pub const RELEASE: &str = "9.2";
/// Its build.
pub const REPOID: &str = "14a22df3";

/// One simulated cluster: the state that all its nodes' API servers share.
pub struct Cluster {
    backend: Arc<dyn Backend>,
    access: Mutex<Access>,
    tasks: tasks::Tasks,
    tickets: tickets::Tickets,
    pools: Mutex<BTreeMap<String, Pool>>,
    fingerprints: Mutex<BTreeMap<String, String>>,
    authentication_delay: Duration,
    details: Arc<details::Details>,
}

/// A resource pool.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    /// What it is for.
    pub comment: Option<String>,
    /// Its members' vmids.
    pub members: Vec<u32>,
}

impl Cluster {
    /// A cluster over a backend. The pools are those that the inventory's guests name.
    pub fn new(backend: Arc<dyn Backend>, access: Access) -> Self {
        let mut pools: BTreeMap<String, Pool> = BTreeMap::new();
        let details = details::Details::default();
        for guest in backend.inventory().guests {
            details.state().seed(&guest);
            if let Some(pool) = guest.pool {
                pools.entry(pool).or_default().members.push(guest.vmid);
            }
        }
        Self {
            backend,
            access: Mutex::new(access),
            tasks: tasks::Tasks::default(),
            tickets: tickets::Tickets::new(),
            pools: Mutex::new(pools),
            fingerprints: Mutex::default(),
            authentication_delay: Duration::from_secs(3),
            details: Arc::new(details),
        }
    }

    /// How long a refused log-in is held back: 3 s on a real node; tests that ask for many refusals set it to nothing.
    #[must_use]
    pub fn with_authentication_delay(mut self, delay: Duration) -> Self {
        self.authentication_delay = delay;
        self
    }

    /// Tells what `/nodes` shows as a node's certificate.
    pub fn set_fingerprint(&self, node: &str, fingerprint: &str) {
        lock(&self.fingerprints).insert(node.to_owned(), fingerprint.to_owned());
    }

    /// Users, roles, tokens and rights, to look at or to change.
    pub fn access(&self) -> MutexGuard<'_, Access> {
        lock(&self.access)
    }

    /// The tasks of all nodes.
    pub fn tasks(&self) -> &tasks::Tasks {
        &self.tasks
    }

    /// What goes wrong from now on.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.details.faults()
    }

    /// Has somebody move a guest, where a fault says that this is the moment.
    fn surprise(&self, target: &str) {
        let mut faults = self.faults();
        let Some(moved) = faults.moves.take_if(|moved| target.contains(&moved.path)) else { return };
        drop(faults);
        self.backend.adjust(&mut |inventory| {
            if let Some(guest) = inventory.guests.iter_mut().find(|guest| guest.vmid == moved.vmid) {
                guest.node.clone_from(&moved.node);
            }
        });
    }

    /// Puts a file onto a storage.
    pub fn put(&self, volume: Volume) {
        self.details.state().volumes.push(volume);
    }

    /// Changes one setting of a guest's configuration, as somebody else would.
    pub fn set(&self, vmid: u32, key: &str, value: serde_json::Value) {
        self.details.state().settings.entry(vmid).or_default().insert(key.to_owned(), value);
    }

    /// Gives a guest to the HA manager, which wants it to be `started` or `stopped`.
    pub fn manage(&self, vmid: u32, wanted: &str) {
        self.details.state().managed.insert(vmid, wanted.to_owned());
    }

    /// A guest's configuration as it was changed.
    fn config(&self, guest: &Guest) -> BTreeMap<String, serde_json::Value> {
        let mut config = self.backend.config(guest);
        self.details.state().overlay(guest.vmid, &mut config);
        config
    }

    fn inventory(&self) -> Inventory {
        let mut inventory = self.backend.inventory();
        let pools = lock(&self.pools);
        for guest in &mut inventory.guests {
            guest.pool = pool_of(&pools, guest);
        }
        inventory
    }
}

fn pool_of(pools: &BTreeMap<String, Pool>, guest: &Guest) -> Option<String> {
    pools.iter().find(|(_, pool)| pool.members.contains(&guest.vmid)).map(|(name, _)| name.clone())
}

/// A poisoned lock only means that some task panicked; the simulated state is still what it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
