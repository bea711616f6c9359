//! What changes in a simulated guest: whether it runs, its services with their processes, its journal, its packages.

use super::{
    catalogue::{self, Kind},
    noise,
};
use std::collections::BTreeMap;

/// The most journal entries that are kept; the oldest go first.
const JOURNAL: usize = 20_000;

/// The state of one guest. All times are microseconds since the epoch.
#[derive(Debug, Default)]
pub struct State {
    /// When it was started; `None` while it is off.
    pub boot: Option<i64>,
    /// How often it was started: its boot id depends on it.
    pub boots: u64,
    /// Its services by name.
    pub services: BTreeMap<String, Service>,
    /// The journal, oldest first.
    pub journal: Vec<Entry>,
    /// Until when logs have been written, in seconds since the epoch.
    pub grown: i64,
    /// Core-seconds of processes that have ended since the boot.
    pub spent: f64,
    /// Packages with a newer version.
    pub updates: Vec<Update>,
    /// Whether its files have been written.
    pub written: bool,
    /// The agent in it: its version.
    pub agent: Option<String>,
    pub(super) next_pid: u32,
}

/// What a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up {
    /// Its processes run.
    Running,
    /// It did its work and counts as active.
    Exited,
    /// It does not run.
    Stopped,
    /// It ended badly.
    Failed,
}

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Without `.service`.
    pub name: String,
    /// What is known of it.
    pub kind: Kind,
    /// What it is doing.
    pub up: Up,
    /// Whether it starts at boot.
    pub enabled: bool,
    /// Its processes, the main one first.
    pub processes: Vec<Process>,
    /// Since when.
    pub since: i64,
}

/// A process.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// The kernel's short name of it.
    pub comm: String,
    /// Its command line.
    pub command: String,
    /// Whom it runs as.
    pub user: String,
    /// MiB.
    pub memory: u64,
    /// Cores that it takes on average.
    pub share: f64,
    /// When it started.
    pub started: i64,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub micros: i64,
    /// 0 to 7.
    pub priority: u8,
    /// The service that it is of or about.
    pub unit: String,
    /// Who wrote it.
    pub who: String,
    /// As which process.
    pub pid: u32,
    /// What.
    pub text: String,
}

/// A package with a newer version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its name.
    pub name: String,
    /// The version that is there.
    pub installed: String,
    /// The newer one.
    pub newer: String,
    /// Where that comes from.
    pub archive: String,
}

impl Service {
    /// One that does not run.
    pub fn new(name: &str, enabled: bool) -> Self {
        let kind = catalogue::kind(name);
        Self { name: name.to_owned(), kind, up: Up::Stopped, enabled, processes: Vec::new(), since: 0 }
    }

    /// Its main process.
    pub fn pid(&self) -> Option<u32> {
        self.processes.first().map(|process| process.pid)
    }

    /// Whether it does something once instead of staying.
    pub fn once(&self) -> bool {
        self.kind.form.as_deref() == Some("oneshot")
    }

    /// `enabled`, `disabled` or `static`.
    pub fn startup(&self) -> &str {
        match (&self.kind.startup, self.enabled) {
            (Some(fixed), _) => fixed,
            (None, true) => "enabled",
            (None, false) => "disabled",
        }
    }

    /// Its description, with its instance's name in it.
    pub fn description(&self) -> String {
        let instance = self.name.split_once('@').map_or("", |(_, instance)| instance);
        self.kind.description.replace("@INSTANCE@", instance)
    }

    /// The name that its main process has in logs and in `ps`.
    pub fn comm(&self) -> String {
        let program = self.kind.command.split([' ', ':']).next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default();
        let told = self.kind.comm.as_deref().unwrap_or(program);
        told.replace("@NAME@", &self.name).replace("@PHP@", &php(&self.name)).chars().take(15).collect()
    }
}

/// `8.3` of `php8.3-fpm`, and of others the version that their distributions have.
pub fn php(service: &str) -> String {
    let version = service.strip_prefix("php").and_then(|rest| rest.strip_suffix("-fpm")).unwrap_or_default();
    if version.is_empty() { "8.3".to_owned() } else { version.to_owned() }
}

impl State {
    /// A number for a new process.
    pub fn pid(&mut self, seed: u64) -> u32 {
        let step = noise::between(&[seed, u64::from(self.next_pid), self.boots], 1, 9);
        self.next_pid = self.next_pid.saturating_add(u32::try_from(step).unwrap_or(1));
        self.next_pid
    }

    /// Every process but the first, which is the init system's.
    pub fn processes(&self) -> impl Iterator<Item = (&Service, &Process)> {
        self.services.values().flat_map(|service| service.processes.iter().map(move |process| (service, process)))
    }

    /// Adds to the journal.
    pub fn note(&mut self, entry: Entry) {
        self.journal.push(entry);
        if self.journal.len() > JOURNAL {
            self.journal.drain(..JOURNAL / 4);
        }
    }
}
