//! The machine that the agent runs on: its services, logs, metrics and commands, and putting the agent itself onto it.

use crate::{
    model::{
        Op, Outcome,
        outcome::{Report, Silent},
    },
    sys::cancel::Cancel,
};
use std::time::Duration;

/// What surrounds one operation while it runs.
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

/// Carries out one operation of those that run in an agent.
pub fn perform(op: &Op, _task: &Task) -> Outcome {
    Outcome::rejected(format!("this agent can't do {} yet", op.name()))
}

/// This machine's global addresses.
pub fn addresses() -> Vec<std::net::IpAddr> {
    Vec::new()
}

/// What this machine is.
pub fn facts() -> crate::model::facts::Facts {
    crate::model::facts::Facts::default()
}
