//! What the agent does with commands: the operations of the machine that it runs on.

use crate::{
    host::{self, Machine, Task},
    link::{
        envelope::{Command, Work},
        runtime::Worker,
        wire::Told,
    },
    model::{Op, Outcome, facts::Facts, outcome::Report},
    sys::cancel::Cancel,
};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How often the machine's facts are looked at for changes.
const NEWS_EVERY: Duration = Duration::from_mins(1);

/// The operations of the machine itself: this one unless told otherwise.
#[derive(Default)]
pub struct HostWorker {
    machine: Machine,
    told: Mutex<Option<Facts>>,
}

impl HostWorker {
    /// Of another machine than this one.
    pub fn of(machine: Machine) -> Self {
        Self { machine, told: Mutex::default() }
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The facts, if they are not those that were told last.
    pub fn changed_facts(&self) -> Option<Facts> {
        let facts = host::facts(&self.machine);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = told.as_ref() != Some(&facts);
        changed.then(|| told.insert(facts).clone())
    }
}

impl Worker for HostWorker {
    fn perform(&self, command: &Command, report: &dyn Report, cancel: &Cancel) -> Outcome {
        let task = Task { report, cancel: cancel.clone(), timeout: Duration::from_secs(command.timeout) };
        match &command.work {
            Work::Perform { op } => host::perform(op, &self.machine, &task),
            Work::Echo => Outcome::success("the agent answers"),
            Work::Once { .. } | Work::Deploy { .. } | Work::Attest { .. } => {
                Outcome::rejected("that is for a pve-agent")
            }
            Work::Update { .. } => Outcome::rejected("only an agent that runs as a service can be updated"),
        }
    }

    fn news(&self) -> Vec<Told> {
        self.changed_facts().map(|facts| Told::Facts { facts }).into_iter().collect()
    }

    fn not_told(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn news_every(&self) -> Duration {
        NEWS_EVERY
    }

    fn capabilities(&self) -> Vec<String> {
        Op::ALL.iter().map(|(name, _)| *name).filter(|name| host::can(name)).map(str::to_owned).collect()
    }
}
