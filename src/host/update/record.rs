//! The record of an update under way: written before the link is turned, read by whichever version starts next. It says
//! whose turn it is, and how the command that asked for it has ended.

use super::updated;
use crate::{
    link::runtime::Recovered,
    model::Outcome,
    sys::files::{self, FileError},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{path::Path, time::Duration};

/// How long a new version may take to try whether it could do: 60 s.
pub const TRIAL: Duration = Duration::from_mins(1);
/// How long it may take, once in place, until the hub has answered it: 80 s.
pub const PROBATION: Duration = Duration::from_secs(80);
/// When somebody else puts the old version back that has not gone back by itself: after 85 s. With the trial before and
/// stopping the service after it that is less than 180 s.
pub const GUARD: Duration = Duration::from_secs(85);
/// How often it may be started until then: what ends by itself so often is no good.
const STARTS: u32 = 3;

/// An update under way, or the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The command that asked for it.
    pub command: String,
    /// The version that ran, and runs again if this comes to nothing.
    pub from: String,
    /// The version that is to run.
    pub to: String,
    /// The version that was kept for going back to before `from` was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// When it was switched to, or started first after a reboot, in seconds since the epoch by this machine's clock.
    pub since: i64,
    /// In which boot of this machine.
    pub boot: String,
    /// How often the new version was started on probation.
    pub starts: u32,
    /// How far it is.
    #[serde(flatten)]
    pub phase: Phase,
}

/// How far an update is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// The new version is on probation.
    Probation,
    /// The hub has answered it: it stays.
    Confirmed,
    /// The old version is to run, or runs, again.
    Back {
        /// Why.
        why: String,
    },
}

/// What a version that starts has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Nothing: it is not on probation.
    Settled,
    /// It is: the hub has to answer it within so long.
    Probation(Duration),
    /// It was for too long or too often.
    GoBack(String),
}

impl Record {
    /// The record in a file; `None` where there is none or none that reads: then nothing is under way.
    pub fn load(path: &Path) -> Option<Self> {
        let text = files::read_text_if_there(path).ok().flatten()?;
        serde_json::from_str(&text).ok()
    }

    /// Keeps it. Durable when it returns.
    pub fn store(&self, path: &Path) -> Result<(), FileError> {
        let text = serde_json::to_vec(self).expect("a record is made of strings and numbers");
        files::write_atomic(path, &text, 0o600)
    }

    /// Notes that version `own` starts now in that boot. Only a start on probation changes anything.
    pub fn started(&mut self, own: &str, now: i64, boot: &str) -> Start {
        if self.to != own {
            return Start::Settled;
        }
        match &self.phase {
            Phase::Confirmed => return Start::Settled,
            // It was on its way back.
            Phase::Back { why } => return Start::GoBack(why.clone()),
            Phase::Probation => {}
        }
        if self.boot != boot {
            // The machine has started anew: its network may take as long as the new version does.
            boot.clone_into(&mut self.boot);
            (self.since, self.starts) = (now, 0);
        }
        self.starts += 1;
        if self.starts > STARTS {
            return Start::GoBack(format!("it ended by itself {STARTS} times before the hub had answered it"));
        }
        // A clock that was set back meanwhile says nothing.
        let passed = Duration::from_secs(u64::try_from(now - self.since).unwrap_or_default());
        match PROBATION.checked_sub(passed) {
            Some(left) if !left.is_zero() => Start::Probation(left),
            _ => Start::GoBack(unanswered()),
        }
    }

    /// How the command ended, as version `own` can tell.
    pub fn tell(&self, own: &str) -> Recovered {
        let Self { from, to, .. } = self;
        match &self.phase {
            Phase::Confirmed if to == own => Recovered::Ended(updated(from, to)),
            Phase::Probation if to == own => Recovered::Later,
            Phase::Back { why } if to == own => {
                let why = format!("{to} did not work: {why}; and {from} does not start any more");
                Recovered::Ended(Outcome::failure(why))
            }
            Phase::Back { why } => {
                let outcome = Outcome::failure(format!("{to} did not work: {why}; back at {own}"));
                Recovered::Ended(outcome.with_data(json!({"from": from, "to": own, "tried": to})))
            }
            Phase::Probation | Phase::Confirmed => {
                Recovered::Ended(Outcome::failure(format!("stopped before the switch to {to}; still at {own}")))
            }
        }
    }
}

/// Why a version goes back that runs and is not heard.
pub fn unanswered() -> String {
    format!("the hub did not answer it within {} s", PROBATION.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            command: "c".into(),
            from: "0.9.4".into(),
            to: "0.10.0".into(),
            before: None,
            since: 1000,
            boot: "b".into(),
            starts: 0,
            phase: Phase::Probation,
        }
    }

    #[test]
    fn the_new_version_has_so_long_and_so_often() {
        let mut under_way = record();
        assert_eq!(under_way.started("0.9.4", 1000, "b"), Start::Settled);
        assert_eq!(under_way.started("0.10.0", 1001, "b"), Start::Probation(Duration::from_secs(79)));
        assert_eq!(under_way.started("0.10.0", 1011, "b"), Start::Probation(Duration::from_secs(69)));
        assert_eq!(under_way.started("0.10.0", 990, "b"), Start::Probation(PROBATION), "the clock was set back");
        assert!(matches!(under_way.started("0.10.0", 1013, "b"), Start::GoBack(why) if why.contains("3 times")));
        assert!(matches!(record().started("0.10.0", 1080, "b"), Start::GoBack(why) if why.contains("80 s")));
        let mut going = Record { phase: Phase::Back { why: "x".into() }, ..record() };
        assert_eq!(going.started("0.10.0", 1001, "b"), Start::GoBack("x".into()), "killed on its way back");
        assert_eq!(going.started("0.9.4", 1001, "b"), Start::Settled);
    }

    #[test]
    fn a_reboot_begins_probation_anew() {
        let mut under_way = Record { starts: 3, ..record() };
        assert_eq!(under_way.started("0.10.0", 5000, "another"), Start::Probation(PROBATION));
        assert_eq!((under_way.starts, under_way.since), (1, 5000));
    }

    #[test]
    fn whoever_runs_in_the_end_tells_how_it_ended() {
        let summary = |phase, own| match (Record { phase, ..record() }).tell(own) {
            Recovered::Ended(outcome) => Some((outcome.succeeded(), outcome.summary)),
            Recovered::Later => None,
            Recovered::Unknown | Recovered::Resume => panic!("the record knows"),
        };
        assert_eq!(summary(Phase::Probation, "0.10.0"), None);
        assert_eq!(summary(Phase::Confirmed, "0.10.0"), Some((true, "0.9.4 → 0.10.0".into())));
        let back = Phase::Back { why: "it fell".into() };
        assert_eq!(summary(back, "0.9.4"), Some((false, "0.10.0 did not work: it fell; back at 0.9.4".into())));
        assert_eq!(
            summary(Phase::Probation, "0.9.4"),
            Some((false, "stopped before the switch to 0.10.0; still at 0.9.4".into()))
        );
    }

    #[test]
    fn it_comes_back_from_disk_and_a_damaged_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("update.json");
        assert_eq!(Record::load(&path), None);
        let back = Record { phase: Phase::Back { why: "x".into() }, before: Some("0.9.3".into()), ..record() };
        back.store(&path).unwrap();
        assert_eq!(Record::load(&path), Some(back));
        files::write_atomic(&path, b"{\"command\":", 0o600).unwrap();
        assert_eq!(Record::load(&path), None);
    }
}
