//! An error for people: what was being done, to what, why it failed, and what to do next; with its exit code.

use super::{messages::ApiError, outcome::chain};
use std::{error::Error, fmt};

/// The program's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Called wrongly.
    Usage = 2,
    /// Needs a confirmation, or was denied.
    Denied = 3,
    /// A question has to be answered first.
    Clarify = 4,
    /// Refused.
    Refused = 5,
    /// The hub does not answer.
    Unreachable = 6,
    /// Some targets failed.
    Partly = 7,
}

impl Exit {
    /// The code of that number; anything unknown is `Failed`.
    pub fn of(code: u8) -> Self {
        [
            Self::Done,
            Self::Failed,
            Self::Usage,
            Self::Denied,
            Self::Clarify,
            Self::Refused,
            Self::Unreachable,
            Self::Partly,
        ]
        .into_iter()
        .find(|exit| *exit as u8 == code)
        .unwrap_or(Self::Failed)
    }
}

/// Why the program (or a request) ends without having done what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What, to what, why.
    pub message: String,
    /// Further lines.
    pub details: Vec<String>,
    /// What to do next.
    pub help: Option<String>,
    /// The exit code.
    pub exit: Exit,
}

impl Failure {
    /// A plain failure.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), details: Vec::new(), help: None, exit: Exit::Failed }
    }

    /// A failure of a wrong call.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(message).exit(Exit::Usage)
    }

    /// A failure told by an error and its sources, after what was being done: `starting the hub: binding …: address in use`.
    pub fn of(doing: &str, error: &dyn Error) -> Self {
        Self::new(format!("{doing}: {}", chain(error)))
    }

    /// With what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a further line.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// With another exit code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        Self { error: failure.message, details: failure.details, help: failure.help, exit: failure.exit as u8 }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { message: error.error, details: error.details, help: error.help, exit: Exit::of(error.exit) }
    }
}
