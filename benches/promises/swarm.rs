//! Many agents of one hub: the real executable as so many processes, which share its pages; each has a home and a name of
//! its own, and is made known to the hub by the product's own link. (In one process they would wait for one allocator.)

use crate::fleet::spawn;
use remotectl::{
    link::{
        PROTOCOL,
        join::Pointer,
        keys::SigningKey,
        runtime::Link,
        wire::{AgentRole, JoinRequest},
    },
    model::messages::JoinToken,
    sys::{
        clock::Clock,
        http::{Endpoint, Http},
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    sync::Arc,
    time::Duration,
};

const TIME: Duration = Duration::from_secs(30);

/// Agents of one hub; they end when it is dropped.
pub struct Swarm {
    exe: PathBuf,
    api: Http,
    agents: Vec<Child>,
    place: tempfile::TempDir,
}

impl Swarm {
    /// None yet; `hub` is that hub's root.
    pub fn new(exe: &Path, hub: &Path) -> Self {
        let api = Http::new(&Endpoint::Unix(hub.join("run/hub.sock"))).unwrap();
        Self { exe: exe.to_owned(), api, agents: Vec::new(), place: tempfile::tempdir().unwrap() }
    }

    /// Joins and starts further agents, until there are so many.
    pub fn grow_to(&mut self, count: usize) {
        for number in self.agents.len()..count {
            let home = format!("m{number}");
            join(self.token(), number, &self.place.path().join(&home));
            self.agents.push(spawn(&self.exe, self.place.path(), &home, &["agent", "run"]));
        }
    }

    /// All of them, as a selector.
    pub fn targets(&self) -> String {
        (0..self.agents.len()).map(name).collect::<Vec<_>>().join(",")
    }

    fn token(&self) -> Pointer {
        let headers = [("content-type", "application/json")];
        let reply = self.api.send("POST", "/api/v1/join-tokens", &headers, br#"{"role":"agent"}"#, TIME).unwrap();
        assert!(reply.success(), "{}", String::from_utf8_lossy(&reply.body));
        let token: JoinToken = serde_json::from_slice(&reply.body).unwrap();
        token.join_string.parse().unwrap()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            agent.kill().ok();
            agent.wait().ok();
        }
    }
}

fn name(number: usize) -> String {
    format!("host/m{number}")
}

/// What `agent install` does, under a name that is not this machine's.
fn join(mut pointer: Pointer, number: usize, home: &Path) {
    let token = pointer.token.take();
    for directory in ["etc", "lib/agent"] {
        fs::create_dir_all(home.join(directory)).unwrap();
    }
    let key = Arc::new(SigningKey::load_or_make(&home.join("lib/agent/key")).unwrap());
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
    fs::write(home.join("etc/agent.toml"), format!("hub = \"{pointer}\"\n")).unwrap();
}
