//! What carrying an operation out on one target comes to, and how it reports on the way. Agent, pve-agent and hub all
//! answer with this.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Done, and verified where there is something to verify.
    Succeeded,
    /// Not done.
    Failed,
    /// Its time was up; what it had started was killed.
    TimedOut,
    /// Cancelled by an operator.
    Cancelled,
    /// Refused before anything was started.
    Rejected,
    /// Nobody knows: it had started, and its end was not recorded.
    Unknown,
}

impl Ending {
    /// The word as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The result of an operation on one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// One line for people: what was verified, or what failed and why.
    pub summary: String,
    /// What to do next, where something is to be done: a command to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The operation's own data, for programs and for tables.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

impl Outcome {
    /// Done.
    pub fn success(summary: impl Into<String>) -> Self {
        Self { ending: Ending::Succeeded, summary: summary.into(), help: None, data: Value::Null }
    }

    /// Not done.
    pub fn failure(summary: impl Into<String>) -> Self {
        Self { ending: Ending::Failed, ..Self::success(summary) }
    }

    /// Refused before anything was started.
    pub fn rejected(summary: impl Into<String>) -> Self {
        Self { ending: Ending::Rejected, ..Self::success(summary) }
    }

    /// A failure told by an error and its sources.
    pub fn of_error(error: &dyn std::error::Error) -> Self {
        Self::failure(chain(error))
    }

    /// With the operation's data.
    #[must_use]
    pub fn with_data(mut self, data: impl Serialize) -> Self {
        self.data = serde_json::to_value(data).unwrap_or_default();
        self
    }

    /// Says that nothing was to be done, so that nobody takes back what was not done: `"changed": false`.
    #[must_use]
    pub fn unchanged(mut self) -> Self {
        if self.data.is_null() {
            self.data = serde_json::json!({});
        }
        self.data["changed"] = false.into();
        self
    }

    /// With what to do next.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it did what was asked.
    pub fn succeeded(&self) -> bool {
        self.ending == Ending::Succeeded
    }
}

/// Where an operation reports to while it is under way.
pub trait Report: Sync {
    /// A line of progress for people.
    fn progress(&self, line: &str);
    /// A piece of a program's output.
    fn output(&self, bytes: &[u8]);
}

/// Reports to nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Report for Silent {
    fn progress(&self, _line: &str) {}
    fn output(&self, _bytes: &[u8]) {}
}

/// An error and its sources in one line: `installing: writing /opt/x: no space left on device`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
