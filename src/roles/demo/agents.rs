//! The demo's agents: real ones, with keys and journals of their own, that join and poll over TLS as any other, in threads
//! of this process instead of processes of their own machines. Starting one is what its init system would do, stopping
//! one is what happens to a process whose machine goes down: its connections break off.

use crate::{
    link::{
        PROTOCOL,
        envelope::Command,
        join::Pointer,
        runtime::{Recovered, Worker},
        wire::{JoinRequest, Told},
    },
    model::{Failure, Outcome, Target, messages::JoinTokenRequest, outcome::Report},
    roles::{
        client,
        membership::{Home, Settings},
    },
    sys::cancel::Cancel,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long the hub may take to know everybody, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An agent that is to run.
pub struct Member {
    /// What it looks after.
    pub target: Target,
    /// Where its key, configuration and journal are.
    pub home: Home,
    /// What it does.
    pub worker: Arc<dyn Worker>,
}

/// Those that run.
#[derive(Default)]
pub struct Agents(Mutex<BTreeMap<Target, Running>>);

struct Running {
    stop: Cancel,
    thread: JoinHandle<()>,
}

impl Agents {
    /// Starts an agent that is installed in its home; one that runs for that target is stopped first. What comes back tells
    /// when the hub has answered it and has taken what it had to tell.
    pub fn start(&self, member: Member) -> Result<Arrival, Failure> {
        self.stop(&member.target);
        let stop = Cancel::new();
        let (link, party) = member.home.link_until(&stop)?;
        let (present, arrival) = mpsc::channel();
        let Member { target, home, worker } = member;
        let seen = Seen { connected: false, told: false, present: Some(present) };
        let worker = Arc::new(Present { worker, seen: Mutex::new(seen) });
        let stopping = stop.clone();
        let run = move || {
            if let Err(failure) = home.run_until(link, party, worker, &stopping) {
                tracing::error!(error = %failure, "an agent of the demo has ended");
            }
        };
        let thread = thread::Builder::new()
            .name(target.to_string())
            .spawn(run)
            .map_err(|error| Failure::of("starting an agent of the demo", &error))?;
        self.running().insert(target.clone(), Running { stop, thread });
        Ok(Arrival { target, arrival })
    }

    /// Stops a target's agent, if it runs.
    pub fn stop(&self, target: &Target) {
        let running = self.running().remove(target);
        if let Some(running) = running {
            end(running);
        }
    }

    /// Stops all of them.
    pub fn stop_all(&self) {
        let all = std::mem::take(&mut *self.running());
        for running in all.values() {
            running.stop.fire();
        }
        all.into_values().for_each(end);
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Target, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(running: Running) {
    running.stop.fire();
    if running.thread.join().is_err() {
        tracing::error!("an agent of the demo has ended in a panic");
    }
}

/// Tells when an agent is there.
pub struct Arrival {
    target: Target,
    arrival: Receiver<()>,
}

impl Arrival {
    /// Waits until the hub knows the agent and what it tells.
    pub fn wait(&self) -> Result<(), Failure> {
        self.arrival.recv_timeout(PATIENCE).map_err(|_| {
            Failure::new(format!("starting the demo: the hub has heard nothing of {} within 30 s", self.target))
                .help("REMOTECTL_LOG=info remotectl demo says more")
        })
    }
}

/// Becomes known to the hub as somebody does who has been given a join string.
pub fn join(home: &Home, target: &Target, version: &str, hub: &client::Hub) -> Result<(), Failure> {
    let doing = format!("{target} joins the demo's hub");
    let request = JoinTokenRequest { role: home.role.as_str().to_owned(), target: Some(target.clone()) };
    let mut pointer: Pointer =
        hub.join_token(&request)?.join_string.parse().map_err(|error| Failure::of(&doing, &error))?;
    let token = pointer.token.take();
    let public_key = home.key()?.public();
    home.configure(&Settings { hub: pointer.to_string(), generation: 1, proxmox: None })?;
    let (link, _) = home.link()?;
    let request = JoinRequest {
        protocol: PROTOCOL,
        public_key,
        role: home.role,
        target: target.clone(),
        version: version.to_owned(),
        token,
        attestation: None,
    };
    link.join(&request).map(drop).map_err(|error| Failure::of(&doing, &error))
}

/// A worker that says when it has arrived.
struct Present {
    worker: Arc<dyn Worker>,
    seen: Mutex<Seen>,
}

struct Seen {
    connected: bool,
    told: bool,
    present: Option<Sender<()>>,
}

impl Present {
    fn see(&self, what: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        what(&mut seen);
        if seen.connected && seen.told {
            // Nobody may be waiting.
            if let Some(present) = seen.present.take() {
                present.send(()).ok();
            }
        }
    }
}

impl Worker for Present {
    fn perform(&self, command: &Command, report: &dyn Report, cancel: &Cancel) -> Outcome {
        self.worker.perform(command, report, cancel)
    }

    fn replace(&self, command: &Command) -> Option<Outcome> {
        self.worker.replace(command)
    }

    fn abandon(&self, command: &Command) {
        self.worker.abandon(command);
    }

    fn recover(&self, command: &Command) -> Recovered {
        self.worker.recover(command)
    }

    fn news(&self) -> Vec<Told> {
        self.worker.news()
    }

    fn not_told(&self) {
        self.worker.not_told();
    }

    fn told(&self) {
        self.worker.told();
        self.see(|seen| seen.told = true);
    }

    fn version(&self) -> String {
        self.worker.version()
    }

    fn news_every(&self) -> Duration {
        self.worker.news_every()
    }

    fn capabilities(&self) -> Vec<String> {
        self.worker.capabilities()
    }

    fn connected(&self) {
        self.worker.connected();
        self.see(|seen| seen.connected = true);
    }
}
