//! What an agent and a pve-agent have in common: their place on disk, their key, their hub, and the file in which a
//! running one tells how it stands.

use super::{agent::Updates, config, pve_agent::ProxmoxAccess};
use crate::{
    host::Task,
    link::{
        OFFLINE_AFTER,
        envelope::{Command, Party, Work},
        join::Pointer,
        journal::Journal,
        keys::SigningKey,
        runtime::{Link, Recovered, Runtime, Worker},
        wire::{AgentRole, Told},
    },
    model::{Failure, Outcome, facts::Facts, outcome::Report},
    sys::{
        cancel::Cancel,
        clock::{self, Clock},
        env::Places,
        files,
    },
};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// An agent's configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A join string without its token: where the hub is and by what it is known.
    pub hub: String,
    /// The generation that the hub has given.
    #[serde(default = "first")]
    pub generation: u64,
    /// Another way to the Proxmox API than the token that `pve-agent install` makes: of a pve-agent alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxmox: Option<ProxmoxAccess>,
}

fn first() -> u64 {
    1
}

/// What a running agent tells of itself, for `agent status` and for whoever waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its id.
    pub agent: String,
    /// Its hub's id.
    pub hub: String,
    /// Its remotectl version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When the hub last answered a poll, in seconds since the epoch; 0 for never.
    pub connected_at: i64,
}

/// Where one agent lives.
#[derive(Debug, Clone)]
pub struct Home {
    /// Which kind.
    pub role: AgentRole,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its key and journal.
    pub state: PathBuf,
    /// Its standing.
    pub standing: PathBuf,
}

impl Home {
    /// The usual places, with another configuration file where one is named.
    pub fn find(role: AgentRole, config: Option<PathBuf>) -> Self {
        let home = Self::at(role, &Places::find());
        match config {
            Some(config) => Self { config, ..home },
            None => home,
        }
    }

    /// At these places.
    pub fn at(role: AgentRole, places: &Places) -> Self {
        let name = role.as_str();
        Self {
            role,
            config: places.config.join(format!("{name}.toml")),
            state: places.state.join(name),
            standing: places.run.join(format!("{name}.json")),
        }
    }

    /// The agent's key; made where there is none.
    pub fn key(&self) -> Result<SigningKey, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::of("making the agent's key", error).help(self.help());
        files::create_directory(&self.state, 0o700).map_err(|error| failed(&error))?;
        SigningKey::load_or_make(&self.state.join("key")).map_err(|error| failed(&error))
    }

    /// Writes the configuration.
    pub fn configure(&self, settings: &Settings) -> Result<(), Failure> {
        let failed =
            |error: &dyn std::error::Error| Failure::of("writing the agent's configuration", error).help(self.help());
        if let Some(directory) = self.config.parent() {
            files::create_directory(directory, 0o755).map_err(|error| failed(&error))?;
        }
        let text = toml::to_string(settings).map_err(|error| failed(&error))?;
        files::write_atomic(&self.config, text.as_bytes(), 0o600).map_err(|error| failed(&error))
    }

    /// Takes configuration, key, journal and standing away.
    pub fn forget(&self) -> Result<(), files::FileError> {
        files::remove(&self.config)?;
        self.forget_standing()?;
        files::remove_tree(&self.state)
    }

    /// Takes the standing away, and its directory where nobody else uses that.
    pub fn forget_standing(&self) -> Result<(), files::FileError> {
        files::remove(&self.standing)?;
        self.standing.parent().map_or(Ok(()), |directory| files::remove_if_empty(directory).map(|_| ()))
    }

    /// Reads the configuration.
    pub fn settings(&self) -> Result<(Settings, Pointer), Failure> {
        let help = format!("remotectl {} install --join STRING", self.role.as_str());
        if !self.config.exists() {
            let message = format!("no {} is installed here: there is no {}", self.role.as_str(), self.config.display());
            return Err(Failure::new(message).help(help));
        }
        let settings: Settings = config::required(&self.config, &help)?;
        if self.role == AgentRole::Agent && settings.proxmox.is_some() {
            let message = format!("{}: [proxmox] is of pve-agents alone", self.config.display());
            return Err(Failure::new(message).help(format!("take it out of {}", self.config.display())));
        }
        let pointer = settings
            .hub
            .parse()
            .map_err(|error| Failure::of(&format!("{}: hub", self.config.display()), &error).help(help))?;
        Ok((settings, pointer))
    }

    /// A link to the hub, by the configuration.
    pub fn link(&self) -> Result<(Link, Party), Failure> {
        self.link_until(&Cancel::new())
    }

    /// A link to the hub that breaks off when `stop` fires.
    pub fn link_until(&self, stop: &Cancel) -> Result<(Link, Party), Failure> {
        let (settings, pointer) = self.settings()?;
        let key = Arc::new(self.key()?);
        let mut party = Party::new(&pointer, key.public().agent_id(), settings.generation);
        let link = Link::until(&pointer, key, settings.generation, Clock::new(), stop)
            .map_err(|error| Failure::of("setting up the link to the hub", &error))?;
        let announced = Journal::announced_in(&self.state.join("journal"))
            .map_err(|error| Failure::of("reading the agent's journal", &error).help(self.help()))?;
        // What is on record was believed once; it counts only as long as the configuration has the recovery key.
        if let Some(Ok(Some((after, announced)))) = announced.map(|signed| party.follow(&signed)) {
            link.follow(&announced);
            party = after;
        }
        Ok((link, party))
    }

    /// Polls and works as long as the process lives.
    pub fn run(&self, link: Link, party: Party, worker: Arc<dyn Worker>) -> Result<(), Failure> {
        let updates = Updates::begin(self)?;
        let worker = Arc::new(Updating { worker, updates });
        self.run_until(link, party, worker, &Cancel::new())
    }

    /// Polls and works until `stop` fires. What runs so is no process of its own: its updates are the worker's affair.
    pub fn run_until(&self, link: Link, party: Party, worker: Arc<dyn Worker>, stop: &Cancel) -> Result<(), Failure> {
        let journal = Journal::open(&self.state.join("journal"))
            .map_err(|error| Failure::of("opening the agent's journal", &error).help(self.help()))?;
        let standing = Standing {
            agent: party.agent.clone(),
            hub: party.hub.clone(),
            version: worker.version(),
            pid: std::process::id(),
            connected_at: 0,
        };
        self.tell_standing(&standing);
        let worker =
            Arc::new(Telling { worker, home: self.clone(), standing, told_at: std::sync::atomic::AtomicI64::new(0) });
        tracing::info!(agent = party.agent, hub = party.hub, "{} {}", self.role.as_str(), worker.version());
        Runtime::run(link, party, journal, worker, stop);
        Ok(())
    }

    /// How the running agent stands; `None` where none has told.
    pub fn standing(&self) -> Result<Option<Standing>, Failure> {
        let text = files::read_text_if_there(&self.standing)
            .map_err(|error| Failure::of("reading the agent's standing", &error))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).filter(|standing: &Standing| alive(standing.pid)))
    }

    /// Waits until the running agent has had an answer of the hub.
    pub fn wait_connected(&self, seconds: u64) -> Result<Standing, Failure> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let pause = Cancel::new();
        loop {
            match self.standing()? {
                Some(standing) if standing.connected_at > 0 => return Ok(standing),
                _ if Instant::now() > deadline => {
                    let failure = Failure::new(format!("the hub has not answered the agent within {seconds} s"));
                    return Err(failure.help(format!("its log: journalctl -u remotectl-{}", self.role.as_str())));
                }
                // Another process writes the file: there is nothing to await but its next state.
                _ => pause.wait(Duration::from_millis(20)),
            };
        }
    }

    fn tell_standing(&self, standing: &Standing) {
        let told = serde_json::to_vec(standing).map_err(|error| error.to_string()).and_then(|text| {
            let directory = self.standing.parent().unwrap_or(Path::new("/"));
            files::create_directory(directory, 0o755).map_err(|error| error.to_string())?;
            files::write_atomic(&self.standing, &text, 0o644).map_err(|error| crate::model::outcome::chain(&error))
        });
        if let Err(error) = told {
            tracing::warn!(error, "the standing could not be told");
        }
    }

    fn help(&self) -> String {
        format!("is {} writable, and its disk not full? run as root", self.state.display())
    }
}

/// A worker that also keeps its executable up to date.
struct Updating {
    worker: Arc<dyn Worker>,
    updates: Arc<Updates>,
}

impl Worker for Updating {
    fn perform(&self, command: &Command, report: &dyn Report, cancel: &Cancel) -> Outcome {
        let Work::Update { order } = &command.work else { return self.worker.perform(command, report, cancel) };
        let task = Task { report, cancel: cancel.clone(), timeout: Duration::from_secs(command.timeout) };
        self.updates.perform(command, order, &task)
    }

    fn replace(&self, command: &Command) -> Option<Outcome> {
        self.updates.replace(command)
    }

    fn abandon(&self, command: &Command) {
        self.updates.abandon(command);
    }

    fn recover(&self, command: &Command) -> Recovered {
        match &command.work {
            Work::Update { .. } => self.updates.recover(command),
            _ => self.worker.recover(command),
        }
    }

    fn news(&self) -> Vec<Told> {
        let news = self.worker.news().into_iter();
        let with_previous = |told| match told {
            Told::Facts { facts } => Told::Facts { facts: Facts { previous: self.updates.previous(), ..facts } },
            other => other,
        };
        news.map(with_previous).collect()
    }

    fn not_told(&self) {
        self.worker.not_told();
    }

    fn told(&self) {
        self.worker.told();
    }

    fn news_every(&self) -> Duration {
        self.worker.news_every()
    }

    fn capabilities(&self) -> Vec<String> {
        let mut capabilities = self.worker.capabilities();
        capabilities.push("agent.update".to_owned());
        capabilities
    }

    fn version(&self) -> String {
        self.worker.version()
    }

    fn connected(&self) {
        self.updates.connected();
        self.worker.connected();
    }
}

/// A worker that also keeps the standing up to date.
struct Telling {
    worker: Arc<dyn Worker>,
    home: Home,
    standing: Standing,
    told_at: std::sync::atomic::AtomicI64,
}

impl Worker for Telling {
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
    }

    fn news_every(&self) -> Duration {
        self.worker.news_every()
    }

    fn capabilities(&self) -> Vec<String> {
        self.worker.capabilities()
    }

    fn version(&self) -> String {
        self.worker.version()
    }

    fn connected(&self) {
        let now = clock::unix_seconds();
        let before = self.told_at.swap(now, std::sync::atomic::Ordering::Relaxed);
        if now - before > OFFLINE_AFTER / 2 {
            self.home.tell_standing(&Standing { connected_at: now, ..self.standing.clone() });
        }
        self.worker.connected();
    }
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
