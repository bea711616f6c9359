//! The demo: hub, pve-agents and agents, each of them real, around a cluster that is simulated. All of it is one process
//! of an ordinary user; they speak over TLS on loopback as they would across machines. This is where what is simulated is
//! put in the place of what is real: the Proxmox API, the guests' machines, the way into guests. Everything else is the
//! product.

mod agents;
mod cluster;
mod ending;
mod ground;
mod installed;
mod machines;
mod setting;
mod worker;

pub use setting::inventory;

use super::{client, hub, logging};
use crate::{
    model::{Failure, Inventory, Policy, inventory::Guest},
    proxmox::Client,
    sys::{env, limits},
};
use agents::Agents;
use cluster::Proxmox;
use ending::Ending;
use ground::Ground;
use machines::Machines;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::timeout,
};

/// What to do where nothing can be listened on.
const NO_LOOPBACK: &str = "the demo talks to itself over 127.0.0.1: `ip link set lo up`, as root, where that is down";
/// How many agents join at a time: the hub lets 32 connections of one address in on which nobody has been believed yet.
const AT_ONCE: usize = 6;
/// How long the hub may take to end what is open.
const STOPPING: Duration = Duration::from_secs(1);

/// A demo that runs.
pub struct Demo {
    ending: Ending,
    /// Is there until the end.
    runtime: Option<Runtime>,
    handle: Handle,
    socket: PathBuf,
    inventory: Inventory,
    clues: Vec<String>,
    took: Duration,
}

impl Demo {
    /// Starts everything, and returns when the hub knows everybody. Signals that end a process end the demo in good order
    /// from now on.
    pub fn start(inventory: &Inventory) -> Result<Self, Failure> {
        if env::text(env::LOG).is_some() {
            logging::begin();
        }
        let begun = Instant::now();
        tracing::debug!(open_files = limits::raise_open_files(), "limits");
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failure::of("starting the demo", &error))?;
        let ending = Ending::default();
        let handle = runtime.handle().clone();
        ending.on_signals(&handle)?;
        let ground = Ground::make()?;
        let socket = ground.path().join("hub.sock");
        let path = ground.path().to_owned();
        ending.then(move || {
            ground.clear().map_err(|error| Failure::of("taking the demo's files away", &error).help("rm -r it"))
        });
        // What has begun by the time that something fails ends when this is dropped.
        let mut demo = Self {
            ending,
            runtime: Some(runtime),
            handle,
            socket,
            inventory: inventory.clone(),
            clues: Vec::new(),
            took: Duration::ZERO,
        };
        let started = demo.serve(&path).and_then(|()| demo.populate(&path));
        demo.ending.started();
        demo.wait_if_ending();
        demo.took = begun.elapsed();
        started.map(|()| demo)
    }

    /// The demo's hub, as a client.
    pub fn client(&self) -> Result<client::Hub, Failure> {
        client::at_socket(&self.socket)
    }

    /// The hub's socket: what `REMOTECTL_HUB` is set to in another terminal.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What is simulated.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Sentences that lead to what is wrong in it.
    pub fn clues(&self) -> &[String] {
        &self.clues
    }

    /// How long it took to start.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Where the demo is ending already, waits for the process to end.
    pub fn wait_if_ending(&self) {
        while self.ending.begun() {
            thread::park();
        }
    }

    /// Ends it: no agent, no socket and no file is left.
    pub fn end(self) -> Result<(), Failure> {
        self.ending.run();
        self.ending.failure().map_or(Ok(()), Err)
    }

    /// The hub, on a free port of loopback and on a socket.
    fn serve(&self, ground: &Path) -> Result<(), Failure> {
        let (data, _) = hub::Data::make(&ground.join("hub"))?;
        let listener = hub::bind("127.0.0.1:0").map_err(|failure| failure.help(NO_LOOPBACK))?;
        let hosting = hub::Hosting {
            data,
            listeners: vec![listener],
            advertise: Vec::new(),
            socket: self.socket.clone(),
            policy: Policy::default(),
        };
        let guard = self.handle.enter();
        let mut hub = hub::Hub::start(hosting)?;
        drop(guard);
        let held = self.handle.block_on(hub.holds_own());
        let runtime = self.handle.clone();
        self.ending.then(move || match runtime.block_on(async { timeout(STOPPING, hub.stop()).await }) {
            Ok(stopped) => stopped,
            // What is cut off here is of no use to anybody any more.
            Err(_) => Ok(()),
        });
        held
    }

    /// The cluster, the machines, and the agents that the inventory names.
    fn populate(&mut self, ground: &Path) -> Result<(), Failure> {
        let agents = Arc::new(Agents::default());
        let machines = Machines::make(&self.inventory, &ground.join("machines"), Arc::clone(&agents))?;
        self.clues = machines.clues();
        let mut proxmox = Proxmox::new(&self.inventory.cluster, machines.backend(), ground)?;
        let nodes = self.inventory.nodes.iter().filter(|node| node.pve_agent.is_some());
        let clients: Vec<(&str, Client)> = nodes
            .map(|node| Ok((node.name.as_str(), proxmox.serve(&node.name, &self.handle)?)))
            .collect::<Result<_, Failure>>()?;
        let runtime = self.handle.clone();
        self.ending.then(move || {
            runtime.block_on(proxmox.stop());
            Ok(())
        });
        self.ending.then(move || {
            agents.stop_all();
            Ok(())
        });
        let guests = self.inventory.guests.iter().filter(|guest| guest.agent.is_some());
        let members = clients.into_iter().map(|(name, client)| Joining::Node(name, Box::new(client)));
        let members = Mutex::new(members.chain(guests.map(Joining::Guest)));
        let next = || members.lock().unwrap_or_else(PoisonError::into_inner).next();
        let join_all = || {
            let hub = self.client()?;
            while let Some(joining) = next().filter(|_| !self.ending.begun()) {
                let arrival = match joining {
                    Joining::Node(name, client) => Some(machines.join_node(name, *client, &hub)?),
                    Joining::Guest(guest) => machines.join_guest(guest, &hub)?,
                };
                arrival.map_or(Ok(()), |arrival| arrival.wait())?;
            }
            Ok(())
        };
        let panicked = |_| Failure::new("starting the demo: an agent has ended in a panic");
        thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(join_all)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(panicked)?)
        })
        .map_err(|failure: Failure| if failure.help.is_some() { failure } else { failure.help(NO_LOOPBACK) })
    }
}

/// What becomes known to the hub.
enum Joining<'a> {
    Node(&'a str, Box<Client>),
    Guest(&'a Guest),
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.ending.run();
        if let Some(runtime) = self.runtime.take() {
            // What still runs serves nobody any more.
            runtime.shutdown_background();
        }
    }
}
