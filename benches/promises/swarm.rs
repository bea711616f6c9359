//! Many agents in this process: the product's own link, runtime and operations, without the hundred processes.

use remotectl::{
    host::{self, Task},
    link::{
        PROTOCOL,
        envelope::{Command, Party, Work},
        join::Pointer,
        journal::Journal,
        keys::SigningKey,
        runtime::{Link, Runtime, Worker},
        wire::{AgentRole, JoinRequest, Told},
    },
    model::{Outcome, messages::JoinToken, outcome::Report},
    sys::{
        cancel::Cancel,
        clock::Clock,
        http::{Endpoint, Http},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

const TIME: Duration = Duration::from_secs(30);

/// Agents of one hub; they end when it is dropped.
pub struct Swarm {
    hub: PathBuf,
    api: Http,
    agents: Vec<Cancel>,
    place: tempfile::TempDir,
}

impl Swarm {
    /// None yet; `hub` is that hub's root.
    pub fn new(hub: PathBuf) -> Self {
        let api = Http::new(&Endpoint::Unix(hub.join("run/hub.sock"))).unwrap();
        Self { hub, api, agents: Vec::new(), place: tempfile::tempdir().unwrap() }
    }

    /// Joins further agents, until there are so many.
    pub fn grow_to(&mut self, count: usize) {
        for number in self.agents.len()..count {
            let place = self.place.path().join(number.to_string());
            std::fs::create_dir(&place).unwrap();
            self.agents.push(join(self.token(), number, &place));
        }
    }

    /// All of them, as a selector.
    pub fn targets(&self) -> String {
        (0..self.agents.len()).map(name).collect::<Vec<_>>().join(",")
    }

    fn token(&self) -> Pointer {
        let headers = [("content-type", "application/json")];
        let reply = self.api.send("POST", "/api/v1/join-tokens", &headers, br#"{"role":"agent"}"#, TIME).unwrap();
        assert!(reply.success(), "{} at {}", reply.status, self.hub.display());
        let token: JoinToken = serde_json::from_slice(&reply.body).unwrap();
        token.join_string.parse().unwrap()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.agents.iter().for_each(Cancel::fire);
    }
}

fn name(number: usize) -> String {
    format!("host/m{number}")
}

fn join(mut pointer: Pointer, number: usize, place: &Path) -> Cancel {
    let token = pointer.token.take();
    let key = Arc::new(SigningKey::load_or_make(&place.join("key")).unwrap());
    let party = Party { hub: pointer.hub.clone(), key: pointer.key, agent: key.public().agent_id(), generation: 1 };
    let link = Link::new(&pointer, Arc::clone(&key), 1, Clock::new()).unwrap();
    let request = JoinRequest {
        protocol: PROTOCOL,
        public_key: key.public(),
        role: AgentRole::Agent,
        target: name(number).parse().unwrap(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        token,
        attestation: None,
    };
    link.join(&request).unwrap();
    let journal = Journal::open(&place.join("journal")).unwrap();
    let stop = Cancel::new();
    let stopping = stop.clone();
    thread::spawn(move || Runtime::run(link, party, journal, Arc::new(Silent), &stopping));
    stop
}

/// Does what the agent does, and has no news: a hundred of these share one machine.
struct Silent;

impl Worker for Silent {
    fn perform(&self, command: &Command, report: &dyn Report, cancel: &Cancel) -> Outcome {
        match &command.work {
            Work::Perform { op } => host::perform(
                op,
                &host::Machine::here(),
                &Task { report, cancel: cancel.clone(), timeout: Duration::from_secs(command.timeout) },
            ),
            _ => Outcome::rejected("not in this bench"),
        }
    }

    fn news(&self) -> Vec<Told> {
        Vec::new()
    }

    fn news_every(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn capabilities(&self) -> Vec<String> {
        vec!["exec.run".to_owned()]
    }
}
