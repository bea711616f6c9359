//! An agent's own update on the machine that it runs on: what `host::update` asks for, done to files and to this process.
//! Serves both kinds of agent, around whatever else they do.

mod guard;
mod here;
mod trial;

pub use guard::guard;
pub use trial::{trial, trial_of};

use crate::{
    host::{
        Machine, Task, facts,
        install::{InstallError, Role, versions::Versions},
        update::{Phase, Record, Start, prepare, replace, unanswered},
    },
    link::{
        envelope::{Command, UpdateOrder, Work},
        runtime::Recovered,
        wire::AgentRole,
    },
    model::{Failure, Outcome, outcome::chain, version::version},
    roles::membership::Home,
    sys::{cancel::Cancel, clock, env, files},
};
use here::Here;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// The updates of the agent that this process is.
pub struct Updates {
    place: Here,
    /// The update that was under way when this process began, or the last one.
    record: Mutex<Option<Record>>,
    /// The command that has prepared a version, or is about to.
    under_way: Mutex<Option<String>>,
    answered: Cancel,
}

impl Updates {
    /// Begins: a version on probation is watched from here on, and goes back where it was so for too long or too often.
    pub fn begin(home: &Home) -> Result<Arc<Self>, Failure> {
        let (link, _) = home.link()?;
        let place = Here { home: home.clone(), link, versions: versions(home.role) };
        let record = Record::load(&record_file(&place.home));
        let updates =
            Arc::new(Self { place, record: Mutex::new(record), under_way: Mutex::default(), answered: Cancel::new() });
        let start = updates.note_start();
        match start {
            Start::Settled => {}
            Start::GoBack(why) => updates.go_back(why),
            Start::Probation(left) => {
                tracing::info!(seconds = left.as_secs(), "{} is on probation until the hub answers", version());
                let watching = Arc::clone(&updates);
                thread::spawn(move || {
                    if !watching.answered.wait(left) {
                        watching.go_back(unanswered());
                    }
                });
            }
        }
        Ok(updates)
    }

    /// Carries an update out as far as this process can: up to the switch.
    pub fn perform(&self, command: &Command, order: &UpdateOrder, task: &Task) -> Outcome {
        if let Some(other) = self.under_way().as_ref() {
            return Outcome::rejected(format!("another update is under way (command {other})"));
        }
        *self.under_way() = Some(command.id.clone());
        match prepare(order, &self.place, task) {
            Ok(()) => Outcome::success("ready"),
            Err(outcome) => {
                *self.under_way() = None;
                outcome
            }
        }
    }

    /// Switches to what `perform` has prepared.
    pub fn replace(&self, command: &Command) -> Option<Outcome> {
        let Work::Update { order } = &command.work else { return None };
        let prepared = self.under_way().take().is_some_and(|under_way| under_way == command.id);
        prepared.then(|| replace(&command.id, order, &self.place))
    }

    /// Lets go of what `perform` has prepared.
    pub fn abandon(&self, command: &Command) {
        self.under_way().take_if(|under_way| *under_way == command.id);
    }

    /// How an update ended that a former process had begun.
    pub fn recover(&self, command: &Command) -> Recovered {
        let Work::Update { order } = &command.work else { return Recovered::Unknown };
        match self.record().as_ref().filter(|record| record.command == command.id) {
            Some(record) => record.tell(version()),
            None => Recovered::Ended(Outcome::failure(format!(
                "the agent was stopped before the switch to {}; still at {}",
                order.version,
                version()
            ))),
        }
    }

    /// The hub has answered: a version on probation stays.
    pub fn connected(&self) {
        self.answered.fire();
        let mut record = self.record();
        let Some(record) = record.as_mut().filter(|record| on_probation(record)) else { return };
        record.phase = Phase::Confirmed;
        let kept = record.store(&record_file(&self.place.home)).map_err(|error| chain(&error));
        let versions = &self.place.versions;
        let tidy = versions.point_command(&record.from, &record.to).and_then(|()| versions.prune());
        for error in [kept.err(), tidy.err().map(|error| chain(&error))].into_iter().flatten() {
            tracing::warn!(error, "the update to {} stays, and left something undone", record.to);
        }
    }

    /// The version that is kept for going back to; empty where there is none.
    pub fn previous(&self) -> String {
        self.place.versions.previous().unwrap_or_default()
    }

    fn note_start(&self) -> Start {
        let mut record = self.record();
        let Some(record) = record.as_mut() else { return Start::Settled };
        let start = record.started(version(), clock::unix_seconds(), &facts::boot_id(&Machine::here()));
        if start != Start::Settled
            && let Err(error) = record.store(&record_file(&self.place.home))
        {
            tracing::warn!(error = chain(&error), "a start on probation was not counted");
        }
        start
    }

    /// Gives the place back to the version before. Returns only where that can't be started: then this one goes on, which
    /// is better than none.
    fn go_back(&self, why: String) {
        let from = {
            let mut record = self.record();
            let Some(record) = record.as_mut().filter(|record| record.phase != Phase::Confirmed) else { return };
            if !self.place.versions.executable(&record.from).exists() {
                // The links are left alone: one that leads nowhere would be worse.
                return tracing::error!(
                    why,
                    "{} should give way to {}, which is not here any more",
                    record.to,
                    record.from
                );
            }
            tracing::error!(why, "{} goes back to {}", record.to, record.from);
            record.phase = Phase::Back { why };
            let pointed = record
                .store(&record_file(&self.place.home))
                .map_err(|error| chain(&error))
                .and_then(|()| point_back(&self.place.versions, record).map_err(|error| chain(&error)));
            if let Err(error) = pointed {
                tracing::error!(error, "the way back is not kept");
            }
            record.from.clone()
        };
        let executable = self.place.versions.executable(&from);
        let error = self.place.become_version(executable);
        tracing::error!(%error, "{from} does not start");
    }

    fn record(&self) -> MutexGuard<'_, Option<Record>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, Option<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn on_probation(record: &Record) -> bool {
    record.phase == Phase::Probation && record.to == version()
}

/// A role's versions here.
fn versions(kind: AgentRole) -> Versions {
    Versions::new(&env::root(), role(kind))
}

fn role(role: AgentRole) -> Role {
    match role {
        AgentRole::Agent => Role::Agent,
        AgentRole::PveAgent => Role::PveAgent,
    }
}

/// Forgets how the last update went: what is installed by hand from here on is on no probation.
pub fn forget(home: &Home) -> Result<(), files::FileError> {
    files::remove(&record_file(home))
}

/// Where the record is kept.
fn record_file(home: &Home) -> PathBuf {
    home.state.join("update.json")
}

/// Turns the links back to what they were before the switch.
fn point_back(versions: &Versions, record: &Record) -> Result<(), InstallError> {
    versions.point(&record.from, record.before.as_deref())
}

#[cfg(test)]
mod tests {
    use crate::host::update::{GUARD, PROBATION, TRIAL};
    use std::time::Duration;

    #[test]
    fn a_bad_version_is_gone_from_in_time() {
        assert!(TRIAL + GUARD < Duration::from_secs(165) && PROBATION < GUARD && super::trial::ASKING < TRIAL);
    }
}
