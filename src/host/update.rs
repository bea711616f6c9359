//! `agent.update`: another version takes the running one's place, and gives it back when it is no good.
//!
//! The running version fetches the new one and has it *try*: read the same configuration, use the same key, get an answer
//! of the hub, all while the running one goes on. What starts at all and reaches its hub is then switched to: the role's
//! link is turned and the process replaces itself (same pid, so neither systemd nor OpenRC has anything to restart). From
//! there on the new version is on probation (`record.rs`): without an answer of the hub within 80 s, or after too many
//! starts, it turns the link back and gives its place back. One that can't even do that is taken back by a guard, which is
//! the old version in a process of its own. Which end it took is on disk, so that the command's result is told by whoever
//! runs in the end.
//!
//! The steps are written against `Place`, so that a simulated guest goes through the same ones.

mod record;

pub use record::{GUARD, PROBATION, Phase, Record, Start, TRIAL, unanswered};

use super::Task;
use crate::{
    link::envelope::UpdateOrder,
    model::{Outcome, outcome::Ending, version::is_version},
};
use serde_json::json;

/// Where an update takes place: this machine, or a simulated guest's.
pub trait Place: Sync {
    /// The version that runs now.
    fn running(&self) -> String;

    /// The architecture of what can run here, in Rust's words: `x86_64`, `aarch64`.
    fn arch(&self) -> String;

    /// Puts the executable beside those that are here, whole and with the digest that was ordered; what is here already
    /// is not fetched again.
    fn fetch(&self, order: &UpdateOrder, task: &Task) -> Result<(), Stopped>;

    /// Has that version try whether it could take the running one's place. Within `TRIAL`.
    fn try_out(&self, version: &str, task: &Task) -> Result<(), Stopped>;

    /// Makes that version the one that is started from now on, on probation.
    fn switch(&self, command: &str, order: &UpdateOrder) -> Result<(), Stopped>;

    /// Puts the version that was switched to in this one's place. Where that is this very process it does not return, and
    /// the new version tells how it went; a simulated guest returns when it runs the new version.
    fn restart(&self) -> Result<(), Stopped>;

    /// Undoes `switch`, after `restart` has failed.
    fn switch_back(&self) -> Result<(), Stopped>;
}

/// Why an update did not go on. The version that runs is the one that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// For people.
    pub why: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Whether nothing had been begun.
    pub rejected: bool,
}

impl Stopped {
    /// Something failed.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), help: None, rejected: false }
    }

    /// It can't be begun.
    pub fn rejected(why: impl Into<String>) -> Self {
        Self { rejected: true, ..Self::new(why) }
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn outcome(self, running: &str) -> Outcome {
        let ending = if self.rejected { Ending::Rejected } else { Ending::Failed };
        let outcome = Outcome { ending, ..Outcome::failure(format!("{}; still at {running}", self.why)) };
        match self.help {
            Some(help) => outcome.with_help(help),
            None => outcome,
        }
    }
}

/// Fetches the version that is ordered and has it try. `Ok` where it can be switched to; the outcome where that is the
/// command's end already.
pub fn prepare(order: &UpdateOrder, place: &dyn Place, task: &Task) -> Result<(), Outcome> {
    let running = place.running();
    if running == order.version {
        return Err(already(&running));
    }
    let steps = || {
        if !is_version(&order.version) {
            return Err(Stopped::rejected("what the hub calls a version is none"));
        }
        if order.arch != place.arch() {
            let why = format!("the executable is for {}, and this machine is {}", order.arch, place.arch());
            return Err(Stopped::rejected(why));
        }
        task.report.progress(&format!("fetching {}", order.version));
        place.fetch(order, task)?;
        task.report.progress(&format!("{} tries to reach the hub", order.version));
        place.try_out(&order.version, task)
    };
    match steps() {
        Err(_) if task.cancel.fired() => Err(Outcome {
            ending: Ending::Cancelled,
            ..Outcome::failure(format!("cancelled before the switch; still at {running}"))
        }),
        ended => ended.map_err(|stopped| stopped.outcome(&running)),
    }
}

/// Switches to what was prepared. Where it returns, the command has ended.
pub fn replace(command: &str, order: &UpdateOrder, place: &dyn Place) -> Outcome {
    let from = place.running();
    if let Err(stopped) = place.switch(command, order) {
        return stopped.outcome(&from);
    }
    match place.restart() {
        Ok(()) => updated(&from, &order.version),
        Err(stopped) => match place.switch_back() {
            Ok(()) => stopped.outcome(&from),
            Err(left) => Stopped::new(format!("{}, and {}", stopped.why, left.why)).outcome(&from),
        },
    }
}

/// The end of a command that had nothing to do.
pub fn already(version: &str) -> Outcome {
    Outcome::success(format!("already at {version}")).with_data(json!({"from": version, "to": version}))
}

fn updated(from: &str, to: &str) -> Outcome {
    Outcome::success(format!("{from} → {to}")).with_data(json!({"from": from, "to": to}))
}

#[cfg(test)]
mod tests;
