//! What `up` and `down` tell while they work: a line a step, as soon as it is done.

use crate::model::Failure;
use serde::Serialize;
use std::time::Instant;

/// How a step came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Done now.
    Done,
    /// Nothing was to be done.
    There,
    /// Would be done, were this no dry run.
    Would,
    /// Not from here: somebody has to do it elsewhere.
    Left,
    /// It failed.
    Failed,
}

/// A step, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `hub`, `pve-agent`, `ct/101 web-server`, …
    pub what: String,
    /// How it came out.
    pub state: State,
    /// What was done and verified, or why not.
    pub told: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Step {
    /// One that took no time worth telling.
    pub fn new(what: impl Into<String>, state: State, told: impl Into<String>) -> Self {
        Self { what: what.into(), state, told: told.into(), help: None, took_ms: 0 }
    }

    /// One that failed.
    pub fn failed(what: impl Into<String>, failure: &Failure) -> Self {
        let told = [std::slice::from_ref(&failure.message), &failure.details].concat().join("; ");
        Self { help: failure.help.clone(), ..Self::new(what, State::Failed, told) }
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// With the time since it began.
    #[must_use]
    pub fn since(self, began: Instant) -> Self {
        Self { took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), ..self }
    }

    /// Whether it came to what was wanted.
    pub fn well(&self) -> bool {
        !matches!(self.state, State::Left | State::Failed)
    }
}

/// Who is told of each step.
pub type Say<'a> = dyn FnMut(Step) + 'a;
