//! What surrounds one operation while it runs: where it reports to, what ends it early, how long it may take.

use super::cancel::Cancel;
use crate::model::outcome::{Report, Silent};
use std::time::Duration;

/// The surroundings of one operation.
#[derive(Clone)]
pub struct Task<'a> {
    /// Where progress and output go.
    pub report: &'a dyn Report,
    /// What ends it early.
    pub cancel: Cancel,
    /// How long it may take at most.
    pub timeout: Duration,
}

impl Default for Task<'_> {
    fn default() -> Self {
        Self { report: &Silent, cancel: Cancel::new(), timeout: Duration::from_mins(1) }
    }
}

impl Task<'_> {
    /// Lets a measuring interval pass; `false` where the task was cancelled meanwhile.
    pub fn pass(&self, interval: Duration) -> bool {
        !self.cancel.wait(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_ends_early_when_the_task_does() {
        let task = Task::default();
        assert!(task.pass(Duration::from_millis(1)));
        task.cancel.fire();
        assert!(!task.pass(Duration::from_mins(1)));
    }
}
