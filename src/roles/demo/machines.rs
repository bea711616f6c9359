//! The simulated machines with what the demo adds to them: agents that run in them. A machine that goes down takes its
//! agent with it, one that comes up starts the agent that is installed in it, as its init system would.

use super::{
    agents::{Agents, Arrival, Member, join},
    installed::Executable,
    setting::NEWEST,
    worker::GuestWorker,
};
use crate::{
    guest::{saga::MemoryLog, transport::Transport},
    host::Machine,
    link::wire::AgentRole,
    model::{
        Failure, Inventory, Outcome, Target,
        inventory::{AgentInfo, Guest},
        outcome::chain,
        target::{Vmid, What},
    },
    proxmox::Client,
    roles::{
        agent::HostWorker,
        client,
        membership::Home,
        pve_agent::{PveParts, PveWorker},
    },
    sim::{
        Backend,
        guests::{AgentError, Options, Power, Problem, World, WorldError},
    },
    sys::{env::Places, process},
};
use std::{
    path::Path,
    sync::{Arc, Weak},
};

/// All of them.
pub struct Machines {
    world: Arc<World>,
    agents: Arc<Agents>,
}

impl Machines {
    /// Those of an inventory, their files below a directory.
    pub fn make(inventory: &Inventory, directory: &Path, agents: Arc<Agents>) -> Result<Arc<Self>, Failure> {
        let world = World::new(inventory.clone(), directory, Options::default())
            .map_err(|error| Failure::of("making the simulated machines", &error))?;
        let machines = Arc::new(Self { world, agents });
        let watching = Arc::downgrade(&machines);
        machines.world.on_power(move |vmid, power| {
            if let Some(machines) = Weak::upgrade(&watching) {
                machines.switched(vmid, power);
            }
        });
        Ok(machines)
    }

    /// What stands below the simulated API.
    pub fn backend(&self) -> Arc<dyn Backend> {
        self.world.backend()
    }

    /// Sentences that lead to what is wrong in this cluster, the plainest first.
    pub fn clues(&self) -> Vec<String> {
        let inventory = self.world.inventory();
        let planted = self.world.problems();
        let having = |problem| {
            let vmid = planted.iter().find(|(_, problems)| problems.contains(&problem)).map(|(vmid, _)| *vmid);
            vmid.and_then(|vmid| inventory.guest(vmid))
        };
        let fpm = |guest: &&Guest| guest.services.iter().find(|service| service.ends_with("-fpm")).cloned();
        let workers = having(Problem::OutOfWorkers)
            .and_then(|guest| Some(format!("show the logs of {} on {}", fpm(&guest)?, guest.name)));
        let disk = having(Problem::DiskNearlyFull).map(|guest| format!("how full is the disk of {}", guest.name));
        let failed = having(Problem::FailedAtBoot).map(|guest| format!("which services failed on {}", guest.name));
        [workers, disk, failed].into_iter().flatten().collect()
    }

    /// A node's pve-agent joins and starts.
    pub fn join_node(self: &Arc<Self>, name: &str, client: Client, hub: &client::Hub) -> Result<Arrival, Failure> {
        let node = Target::node(name);
        let machine = self.world.node_machine(name).map_err(|error| no_machine(&error))?;
        let home = home(&machine, AgentRole::PveAgent);
        join(&home, &node, NEWEST, hub)?;
        let (attesting, _) = home.link()?;
        let reaching = Arc::clone(self);
        let worker = PveWorker::new(PveParts {
            client,
            attesting,
            reach: Box::new(move |target, _| reaching.reach(target)),
            executable: Box::new(|| process::OWN_EXECUTABLE.into()),
            nodes: None,
            fetched: home.state.join("fetched"),
            sagas: Box::new(MemoryLog::default()),
            host: HostWorker::of(machine),
        });
        self.agents.start(Member { target: node, home, worker: Arc::new(worker) })
    }

    /// A guest's agent joins, and starts where the guest runs.
    pub fn join_guest(&self, guest: &Guest, hub: &client::Hub) -> Result<Option<Arrival>, Failure> {
        let Some(agent) = &guest.agent else { return Ok(None) };
        // What is not simulated from the inside has no agent to be seen.
        let Ok(home) = self.home(guest.vmid) else { return Ok(None) };
        self.install(guest.vmid, &agent.version)?;
        join(&home, &guest.target(), &agent.version, hub)?;
        if guest.running() && AgentInfo::online(agent) { self.start(guest.vmid).map(Some) } else { Ok(None) }
    }

    /// Leaves in a guest what an installation leaves; its configuration comes after.
    pub fn install(&self, vmid: Vmid, version: &str) -> Result<(), Failure> {
        self.world.install_agent(vmid, version).map_err(|error| in_guest(&error))
    }

    /// Starts the agent that is installed in a guest.
    pub fn start(&self, vmid: Vmid) -> Result<Arrival, Failure> {
        let (target, machine) = (self.target(vmid)?, self.machine(vmid)?);
        let home = home(&machine, AgentRole::Agent);
        let worker = Arc::new(GuestWorker::new(Arc::clone(&self.world), vmid, machine, home.clone()));
        self.world.start_agent(vmid).map_err(|error| in_guest(&error))?;
        self.agents.start(Member { target, home, worker })
    }

    /// Stops a guest's agent and takes it out of there.
    pub fn remove(&self, vmid: Vmid) -> Result<(), Failure> {
        self.agents.stop(&self.target(vmid)?);
        self.world.remove_agent(vmid).map_err(|error| in_guest(&error))
    }

    /// A guest as a machine.
    pub fn machine(&self, vmid: Vmid) -> Result<Machine, Failure> {
        self.world.machine(vmid).map_err(|error| no_machine(&error))
    }

    /// Where a guest's agent lives.
    pub fn home(&self, vmid: Vmid) -> Result<Home, Failure> {
        Ok(home(&self.machine(vmid)?, AgentRole::Agent))
    }

    fn target(&self, vmid: Vmid) -> Result<Target, Failure> {
        let inventory = self.world.inventory();
        let guest = inventory.guest(vmid).ok_or_else(|| Failure::new(format!("there is no guest {vmid}")))?;
        Ok(guest.target())
    }

    /// The way into a guest, as its node's pve-agent has it.
    fn reach(self: &Arc<Self>, target: &Target) -> Result<Box<dyn Transport>, Box<Outcome>> {
        let What::Guest(_, vmid) = &target.what else {
            return Err(Box::new(Outcome::rejected(format!("{target} is no guest"))));
        };
        let executable = Executable::new(Arc::clone(self));
        let transport = self.world.transport(*vmid, Arc::new(move |call| executable.called(call)));
        let transport = transport.map_err(|error| Box::new(Outcome::rejected(error.to_string())))?;
        Ok(Box::new(transport))
    }

    /// What a guest's init system does, and what becomes of its processes.
    fn switched(&self, vmid: Vmid, power: Power) {
        let done = match power {
            Power::Off => self.target(vmid).map(|target| self.agents.stop(&target)),
            Power::On if self.world.agent_version(vmid).is_some() => self.start(vmid).map(drop),
            Power::On => Ok(()),
        };
        if let Err(failure) = done {
            tracing::error!(error = %failure, vmid, "a simulated guest and its agent");
        }
    }
}

/// An agent's places in a machine.
fn home(machine: &Machine, role: AgentRole) -> Home {
    let places = Places {
        config: machine.path("/etc/remotectl"),
        state: machine.path("/var/lib/remotectl"),
        run: machine.path("/run/remotectl"),
    };
    Home::at(role, &places)
}

fn no_machine(error: &WorldError) -> Failure {
    Failure::new(chain(error))
}

fn in_guest(error: &AgentError) -> Failure {
    Failure::new(chain(error))
}
