//! Simulated guests: each made of its inventory entry, with a tree of real files, services with processes, logs that grow and
//! numbers that move. The agent's own code runs in them, on the [`Machine`] that [`World::machine`] gives: it finds there
//! what it would find in a real guest, and never touches the machine that it really runs on.
//!
//! To add a service or a distribution: the data folder. To add something that is wrong: `problems.rs`, which lists them all.

mod agent;
mod catalogue;
mod guest;
mod kernel;
mod logs;
mod noise;
mod power;
mod problems;
mod programs;
mod state;
mod transport;
mod tree;

pub use agent::AgentError;
pub use problems::{Faults, Problem};
pub use transport::{Call, Program, Reply, SimTransport};

use super::{Memory, backend::Backend, memory::hardware_address};
use crate::{
    guest::transport::GuestState,
    host::{Machine, init::Init, services::ServiceName},
    model::{
        Target,
        inventory::{self, Inventory, Os},
        values::GuestKind,
    },
    sys::files::{self, FileError},
};
use guest::{Guest, Profile};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// How a world is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// What waiting times (starting a service, a guest's boot) are multiplied with: 1 is as on real machines, 0 at once.
    pub time_scale: f64,
    /// Guests that an agent can't be deployed to.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self { time_scale: 1.0, faults: Faults::default() }
    }
}

/// A guest that there is no machine for.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The inventory has no such guest or node.
    #[error("the simulated cluster has no {0}")]
    NoGuest(String),
    /// It is no Linux that could be simulated.
    #[error("{what} runs {os}, which is not simulated from the inside")]
    NotSimulated {
        /// The guest.
        what: String,
        /// Its system.
        os: String,
    },
}

/// Waiting times are multiplied with at most this.
const MOST_SCALE: f64 = 100.0;

/// Whether a guest has been switched on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It runs: its services and its agent have been started.
    On,
    /// It is off.
    Off,
}

type OnPower = Box<dyn Fn(u32, Power) + Send + Sync>;

/// A simulated cluster with everything in it.
pub struct World {
    memory: Memory,
    options: Options,
    guests: BTreeMap<u32, Arc<Guest>>,
    nodes: BTreeMap<String, Arc<Guest>>,
    on_power: Mutex<Option<OnPower>>,
    busy: Mutex<Vec<u32>>,
}

impl World {
    /// The cluster of an inventory, its guests' files below a directory of one's own. Nothing is written before somebody
    /// looks; the directory is the caller's to remove.
    pub fn new(inventory: Inventory, directory: &Path, options: Options) -> Result<Arc<Self>, FileError> {
        let inventory = bounded(inventory);
        // Anything that is no number is no time.
        let scale = Some(options.time_scale).filter(|scale| scale.is_finite()).unwrap_or(1.0);
        let options = Options { time_scale: scale.clamp(0.0, MOST_SCALE), ..options };
        files::create_directory(directory, 0o700)?;
        let below = fs::canonicalize(directory).map_err(|source| FileError {
            doing: "finding",
            path: directory.to_owned(),
            source,
        })?;
        let planted = problems::plant(&inventory, options.faults);
        let make =
            |profile: Profile, root: PathBuf, running| Arc::new(Guest::new(profile, root, options.time_scale, running));
        let kernel = "6.14.11-4-pve";
        let guests = inventory.guests.iter().filter_map(|entry| {
            let problems = planted.get(&entry.vmid).cloned().unwrap_or_default();
            let root = below.join(format!("{}-{}", entry.kind.as_str(), entry.vmid));
            let profile = profile(entry, kernel, problems)?;
            Some((entry.vmid, make(profile, root, entry.running() && !entry.template)))
        });
        let nodes = inventory.nodes.iter().enumerate().map(|(place, node)| {
            let root = below.join(format!("node-{place}"));
            (node.name.clone(), make(node_profile(node, kernel), root, node.status == "online"))
        });
        let (guests, nodes) = (guests.collect(), nodes.collect());
        let memory = Memory::new(inventory);
        Ok(Arc::new(Self { memory, options, guests, nodes, on_power: Mutex::default(), busy: Mutex::default() }))
    }

    /// The cluster as it is now.
    pub fn inventory(&self) -> Inventory {
        self.memory.inventory()
    }

    /// What stands below a simulated API ([`super::Cluster::new`]): switching guests on and off there does so here.
    pub fn backend(self: &Arc<Self>) -> Arc<dyn Backend> {
        Arc::<Self>::clone(self)
    }

    /// Is called when a guest has been switched on or off, on the task's thread: the place to start and stop its agent.
    pub fn on_power(&self, observer: impl Fn(u32, Power) + Send + Sync + 'static) {
        *super::lock(&self.on_power) = Some(Box::new(observer));
    }

    /// A guest as the machine that its agent runs on.
    pub fn machine(&self, vmid: u32) -> Result<Machine, WorldError> {
        self.guest(vmid).map(machine_of)
    }

    /// A node as the machine that its pve-agent runs on.
    pub fn node_machine(&self, name: &str) -> Result<Machine, WorldError> {
        self.nodes.get(name).map(machine_of).ok_or_else(|| WorldError::NoGuest(format!("node/{name}")))
    }

    /// A way into a guest, in which calls of the staged or installed executable are the program's.
    pub fn transport(self: &Arc<Self>, vmid: u32, program: Program) -> Result<SimTransport, WorldError> {
        let guest = Arc::clone(self.guest(vmid)?);
        let label = self.label(vmid);
        let world = Arc::clone(self);
        let state = move || {
            let inventory = world.inventory();
            let entry = inventory.guest(vmid)?;
            Some(GuestState {
                status: entry.status.clone(),
                template: entry.template,
                lock: entry.lock.clone(),
                macs: vec![hardware_address(vmid).to_ascii_lowercase()],
            })
        };
        Ok(SimTransport { vmid, label, guest, state: Arc::new(state), program })
    }

    /// What is wrong in which guest.
    pub fn problems(&self) -> BTreeMap<u32, Vec<Problem>> {
        let planted = self.guests.iter().map(|(vmid, guest)| (*vmid, guest.profile.problems.clone()));
        planted.filter(|(_, problems)| !problems.is_empty()).collect()
    }

    fn guest(&self, vmid: u32) -> Result<&Arc<Guest>, WorldError> {
        self.guests.get(&vmid).ok_or_else(|| match self.inventory().guest(vmid) {
            Some(entry) => WorldError::NotSimulated { what: entry.label(), os: entry.os.label() },
            None => WorldError::NoGuest(format!("guest {vmid}")),
        })
    }

    fn label(&self, vmid: u32) -> String {
        let inventory = self.inventory();
        inventory.guest(vmid).map_or_else(|| vmid.to_string(), |entry| Target::guest(entry.kind, vmid).to_string())
    }
}

fn machine_of(guest: &Arc<Guest>) -> Machine {
    let init = if guest.systemd() { Init::Systemd } else { Init::OpenRc };
    Machine::new(&guest.root, init, Arc::new(kernel::Kernel(Arc::clone(guest))))
}

/// What a guest is; `None` where it is no Linux.
fn profile(entry: &inventory::Guest, kernel: &str, problems: Vec<Problem>) -> Option<Profile> {
    let distribution = catalogue::distribution(&entry.os.id, &entry.os.family)?;
    let container = entry.kind == GuestKind::Ct;
    let version = if entry.os.version.is_empty() { &distribution.newest } else { &entry.os.version };
    let id = if entry.os.id.is_empty() { &distribution.ids[0] } else { &entry.os.id };
    Some(Profile {
        seed: u64::from(entry.vmid),
        hostname: hostname(&entry.name, entry.vmid),
        os: Os::new(id, version),
        distribution,
        container,
        addresses: entry.addresses.clone(),
        mac: hardware_address(entry.vmid).to_ascii_lowercase(),
        cores: entry.cores,
        memory_mib: entry.memory_mib,
        disk_gib: entry.disk_gib,
        kernel: if container { kernel.to_owned() } else { distribution.kernel.clone() },
        services: services(&entry.services),
        problems,
    })
}

fn node_profile(node: &inventory::Node, kernel: &str) -> Profile {
    let distribution = catalogue::distribution("debian", "debian").expect("the data folder has Debian");
    let seed = noise::of_text(&node.name);
    let own = ["pve-cluster", "corosync", "pvedaemon", "pveproxy", "pvestatd", "ssh", "cron", "postfix"];
    let [.., one, two, three] = seed.to_be_bytes();
    Profile {
        seed,
        hostname: hostname(&node.name, 0),
        os: Os::new("debian", "13"),
        distribution,
        container: false,
        addresses: node.address.iter().cloned().collect(),
        mac: format!("bc:24:11:{one:02x}:{two:02x}:{three:02x}"),
        cores: node.cores,
        memory_mib: node.memory_mib,
        disk_gib: 94,
        kernel: kernel.to_owned(),
        services: own.map(str::to_owned).into(),
        problems: Vec::new(),
    }
}

/// A name that can be a host's; inventories may have any.
fn hostname(name: &str, vmid: u32) -> String {
    let fits = |char: &char| char.is_ascii_alphanumeric() || *char == '-';
    let name: String = name.chars().filter(fits).take(63).collect();
    if name.is_empty() { format!("guest-{vmid}") } else { name }
}

/// Names that can be services'; inventories may have any.
fn services(names: &[String]) -> Vec<String> {
    let parsed = names.iter().filter_map(|name| ServiceName::parse(name).ok());
    // With `.service` behind it a name has to be that of a file.
    parsed.map(|name| name.as_str().to_owned()).filter(|name| name.len() < 200).collect()
}

/// An inventory whose sizes can be reckoned with: a file may have anything.
fn bounded(mut inventory: Inventory) -> Inventory {
    const MEMORY_MIB: u64 = 1 << 26;
    const DISK_GIB: u64 = 1 << 20;
    for node in &mut inventory.nodes {
        node.memory_mib = node.memory_mib.min(MEMORY_MIB);
    }
    for storage in &mut inventory.storages {
        (storage.used_gib, storage.total_gib) = (storage.used_gib.min(DISK_GIB), storage.total_gib.min(DISK_GIB));
    }
    for guest in &mut inventory.guests {
        (guest.memory_mib, guest.disk_gib) = (guest.memory_mib.min(MEMORY_MIB), guest.disk_gib.min(DISK_GIB));
    }
    inventory
}

#[cfg(test)]
mod tests;
