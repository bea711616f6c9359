//! The simulated machines with what the demo adds to them: agents that run in them. A machine that goes down takes its
//! agent with it, one that comes up starts the agent that is installed in it.

use super::{
    agents::{Agents, Arrival, Member, join},
    setting::NEWEST,
};
use crate::{
    host::Machine,
    link::wire::AgentRole,
    model::{Failure, Inventory, Outcome, Target, inventory::Guest},
    proxmox::Client,
    roles::{
        agent::HostWorker,
        client,
        membership::Home,
        pve_agent::{PveParts, PveWorker},
    },
    sim::{Backend, Memory},
    sys::env::Places,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// All of them.
pub struct Machines {
    agents: Arc<Agents>,
    backend: Arc<Memory>,
    ground: PathBuf,
}

impl Machines {
    pub fn make(inventory: &Inventory, ground: &Path, agents: Arc<Agents>) -> Result<Self, Failure> {
        Ok(Self { agents, backend: Arc::new(Memory::new(inventory.clone())), ground: ground.to_owned() })
    }

    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend) as Arc<dyn Backend>
    }

    fn machine(&self, target: &Target) -> Machine {
        let root = self.ground.join(target.to_string());
        crate::sys::files::create_directory(&root.join("etc"), 0o755).unwrap();
        Machine::new(&root, crate::host::init::Init::Unknown, Arc::new(Blank(target.to_string())))
    }

    fn home(machine: &Machine, role: AgentRole) -> Home {
        let places = Places {
            config: machine.path("/etc/remotectl"),
            state: machine.path("/var/lib/remotectl"),
            run: machine.path("/run/remotectl"),
        };
        Home::at(role, &places)
    }

    /// A node's pve-agent joins and starts.
    pub fn join_node(&self, node: &Target, client: Client, hub: &client::Hub) -> Result<Arrival, Failure> {
        let machine = self.machine(node);
        let home = Self::home(&machine, AgentRole::PveAgent);
        join(&home, node, NEWEST, hub)?;
        let (attesting, _) = home.link()?;
        let worker = PveWorker::new(PveParts {
            client,
            attesting,
            reach: Box::new(|target| Err(Box::new(Outcome::rejected(format!("{target}: not yet"))))),
            executable: Box::new(|| PathBuf::from("/proc/self/exe")),
            host: HostWorker::of(machine),
        });
        let version = NEWEST.to_owned();
        self.agents.start(Member { target: node.clone(), home, worker: Arc::new(worker), version })
    }

    /// A guest's agent joins, and starts where the guest runs.
    pub fn join_guest(&self, guest: &Guest, hub: &client::Hub) -> Result<Option<Arrival>, Failure> {
        let target = guest.target();
        let version = guest.agent.as_ref().map_or(NEWEST, |agent| agent.version.as_str());
        let machine = self.machine(&target);
        let home = Self::home(&machine, AgentRole::Agent);
        join(&home, &target, version, hub)?;
        let online = guest.running() && guest.agent.as_ref().is_some_and(crate::model::inventory::AgentInfo::online);
        if !online {
            return Ok(None);
        }
        let worker = Arc::new(HostWorker::of(machine));
        self.agents.start(Member { target, home, worker, version: version.to_owned() }).map(Some)
    }
}

struct Blank(String);
impl crate::host::machine::System for Blank {
    fn text(&self, _: &str) -> String {
        String::new()
    }
    fn pids(&self) -> Vec<u32> {
        vec![]
    }
    fn sockets(&self, _: u32) -> Vec<u64> {
        vec![]
    }
    fn ends_within(&self, _: u32, _: std::time::Duration) -> bool {
        false
    }
    fn hostname(&self) -> String {
        self.0.clone()
    }
    fn release(&self) -> String {
        String::new()
    }
    fn cores(&self) -> usize {
        1
    }
    fn interfaces(&self) -> Vec<(String, std::net::IpAddr)> {
        vec![]
    }
    fn monotonic_micros(&self) -> u64 {
        0
    }
    fn boot_micros(&self) -> u64 {
        0
    }
    fn filesystem(&self, _: &Path) -> Option<crate::host::machine::Filesystem> {
        None
    }
    fn allocated(&self, _: &std::fs::Metadata) -> u64 {
        0
    }
    fn commands(&self, task: &crate::host::Task) -> Box<dyn crate::host::commands::Commands> {
        Box::new(crate::host::commands::ThisMachine::of(task))
    }
}
