//! The agent of a simulated guest: the operations of its machine, and its own update, which fetches the real artifact from
//! the hub, checks it, has the hub answer a trial, and then is the new version.

use super::setting::NEWEST;
use crate::{
    host::{
        Machine, Task,
        update::{Place, Stopped, prepare, replace},
    },
    link::{
        PROTOCOL,
        envelope::{Command, UpdateOrder, Work},
        journal::Journal,
        runtime::Worker,
        wire::{PollRequest, Told},
    },
    model::{
        Failure, Outcome,
        digest::Digesting,
        outcome::{Report, chain},
        target::Vmid,
    },
    roles::{agent::HostWorker, membership::Home},
    sim::guests::World,
    sys::cancel::Cancel,
};
use std::{
    io::Read as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What the agent of one guest does.
pub struct GuestWorker {
    host: HostWorker,
    place: Simulated,
    /// The command that has prepared a version.
    prepared: Mutex<Option<String>>,
}

impl GuestWorker {
    /// For a guest's machine, with the agent's home in it.
    pub fn new(world: Arc<World>, vmid: Vmid, machine: Machine, home: Home) -> Self {
        let place = Simulated { world, vmid, home, before: Mutex::default() };
        Self { host: HostWorker::of(machine), place, prepared: Mutex::default() }
    }

    /// The first poll of the new version, as one that has just been started would send it: from there on the hub knows. It
    /// is answered at once, as another version's first is.
    fn begin_again(&self, command: &Command) {
        let Ok(high_water) = Journal::peek(&self.place.home.state.join("journal")) else {
            tracing::debug!("the hub hears of the new version with the next poll");
            return;
        };
        let request = PollRequest {
            protocol: PROTOCOL,
            version: self.version(),
            high_water,
            kept: 0,
            process: String::new(),
            running: vec![command.id.clone()],
            capabilities: self.capabilities(),
            trial: false,
            epoch: 0,
        };
        let polled = self.place.home.link().map(|(link, _)| link.poll(&request).map(drop));
        if !matches!(polled, Ok(Ok(()))) {
            tracing::debug!("the hub hears of the new version with the next poll");
        }
    }

    fn prepared(&self) -> MutexGuard<'_, Option<String>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker for GuestWorker {
    fn perform(&self, command: &Command, report: &dyn Report, cancel: &Cancel) -> Outcome {
        let Work::Update { order } = &command.work else { return self.host.perform(command, report, cancel) };
        let task = Task { report, cancel: cancel.clone(), timeout: Duration::from_secs(command.timeout) };
        match prepare(order, &self.place, &task) {
            Ok(()) => {
                *self.prepared() = Some(command.id.clone());
                Outcome::success("ready")
            }
            Err(outcome) => outcome,
        }
    }

    fn abandon(&self, command: &Command) {
        self.prepared().take_if(|prepared| *prepared == command.id);
    }

    fn replace(&self, command: &Command) -> Option<Outcome> {
        let Work::Update { order } = &command.work else { return None };
        let prepared = self.prepared().take().is_some_and(|prepared| prepared == command.id);
        let outcome = prepared.then(|| replace(&command.id, order, &self.place))?;
        if outcome.succeeded() {
            self.begin_again(command);
        }
        Some(outcome)
    }

    fn news(&self) -> Vec<Told> {
        self.host.news()
    }

    fn not_told(&self) {
        self.host.not_told();
    }

    fn news_every(&self) -> Duration {
        self.host.news_every()
    }

    fn capabilities(&self) -> Vec<String> {
        let mut capabilities = self.host.capabilities();
        capabilities.push("agent.update".to_owned());
        capabilities
    }

    fn version(&self) -> String {
        self.place.running()
    }
}

/// A simulated guest as the place of an update.
struct Simulated {
    world: Arc<World>,
    vmid: Vmid,
    home: Home,
    /// The version that ran before a switch.
    before: Mutex<Option<String>>,
}

impl Simulated {
    /// Makes a version the one that runs. The configuration stays what it is.
    fn run(&self, version: &str) -> Result<(), Stopped> {
        let failed = |failure: Failure| Stopped::new(format!("switching to {version}: {failure}"));
        let (settings, _) = self.home.settings().map_err(failed)?;
        self.world
            .install_agent(self.vmid, version)
            .map_err(|error| Stopped::new(format!("switching to {version}: {}", chain(&error))))?;
        self.home.configure(&settings).map_err(failed)
    }
}

impl Place for Simulated {
    fn running(&self) -> String {
        self.world.agent_version(self.vmid).unwrap_or_else(|| NEWEST.to_owned())
    }

    fn arch(&self) -> String {
        std::env::consts::ARCH.to_owned()
    }

    /// Fetches every byte; what is kept is that they were right: the guest runs none of them.
    fn fetch(&self, order: &UpdateOrder, task: &Task) -> Result<(), Stopped> {
        let Some(artifact) = &order.artifact else {
            return Err(Stopped::rejected(format!("{} is not kept here", order.version)));
        };
        let (link, _) = self.home.link_until(&task.cancel).map_err(|failure| Stopped::new(failure.to_string()))?;
        let failed = |why: String| Stopped::new(format!("fetching the executable: {why}"));
        let mut body = link.artifact(&artifact.sha256, task.timeout).map_err(|error| failed(chain(&error)))?;
        let (mut digest, mut piece) = (Digesting::begin(), vec![0; 64 << 10]);
        loop {
            match body.read(&mut piece).map_err(|error| failed(error.to_string()))? {
                0 => break,
                read => digest.add(&piece[..read]),
            }
        }
        let right = digest.end() == artifact.sha256;
        if right { Ok(()) } else { Err(failed(format!("what arrived is not {}", order.version))) }
    }

    fn try_out(&self, version: &str, task: &Task) -> Result<(), Stopped> {
        let failed = |why: String| Stopped::new(format!("{version} is no good here: {why}"));
        let (link, _) = self.home.link_until(&task.cancel).map_err(|failure| failed(failure.to_string()))?;
        let high_water = Journal::peek(&self.home.state.join("journal")).map_err(|error| failed(chain(&error)))?;
        let request = PollRequest {
            protocol: PROTOCOL,
            version: version.to_owned(),
            high_water,
            kept: 0,
            process: String::new(),
            running: Vec::new(),
            capabilities: Vec::new(),
            trial: true,
            epoch: 0,
        };
        link.poll(&request).map(drop).map_err(|error| failed(chain(&error)))
    }

    fn switch(&self, _: &str, order: &UpdateOrder) -> Result<(), Stopped> {
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.running());
        self.run(&order.version)
    }

    /// From the switch on it tells the hub that it is the new version: there is no process to be replaced.
    fn restart(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn switch_back(&self) -> Result<(), Stopped> {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).take();
        before.map_or(Ok(()), |version| self.run(&version))
    }
}
