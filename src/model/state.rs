//! The life of a command and of a plan, as `next(state, event)`: an illegal move is an error, never a shrug.

use super::outcome::Ending;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a command stands, as the hub knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandState {
    /// On record, not yet in the agent's journal.
    Queued,
    /// In the agent's journal: it will run once.
    Accepted,
    /// Done.
    Succeeded,
    /// Not done.
    Failed,
    /// Its time was up.
    TimedOut,
    /// Cancelled by an operator.
    Cancelled,
    /// The agent refused it.
    Rejected,
    /// Its validity ended before an agent had accepted it.
    Expired,
    /// It may have run; nobody knows.
    Unknown,
}

/// What can happen to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEvent {
    /// The agent's high-water mark has passed it.
    Accepted,
    /// The agent has told how it ended.
    Finished(Ending),
    /// An operator cancelled it before the agent had it.
    CancelledUnsent,
    /// Its validity is over.
    ValidityOver,
    /// The agent is gone for good (evicted, or its journal lost), or does not know of it any more.
    AgentLost,
    /// An operator has looked, and says how it ended.
    Settled(Ending),
}

/// A move that the machine does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {state} command can't take {event:?}")]
pub struct IllegalMove {
    /// Where it stood.
    pub state: CommandState,
    /// What was to happen.
    pub event: CommandEvent,
}

impl CommandState {
    /// Whether nothing more can happen, `Unknown` aside, which a late result still resolves.
    pub fn terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Accepted)
    }

    /// The state after an event.
    pub fn next(self, event: CommandEvent) -> Result<Self, IllegalMove> {
        use CommandEvent as E;
        match (self, event) {
            (Self::Queued | Self::Accepted, E::Accepted) => Ok(Self::Accepted),
            // A result may overtake the poll that would have told of the acceptance, and tells the truth about the unknown.
            (Self::Queued | Self::Accepted | Self::Unknown, E::Finished(ending))
            | (Self::Unknown, E::Settled(ending @ (Ending::Succeeded | Ending::Failed))) => Ok(ending.into()),
            (Self::Queued, E::CancelledUnsent) => Ok(Self::Cancelled),
            (Self::Queued, E::ValidityOver) => Ok(Self::Expired),
            (Self::Queued | Self::Accepted, E::AgentLost) | (Self::Accepted, E::ValidityOver) => Ok(Self::Unknown),
            _ => Err(IllegalMove { state: self, event }),
        }
    }

    /// The word as in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Accepted => "accepted",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::from(word)).ok()
    }
}

impl From<Ending> for CommandState {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Succeeded => Self::Succeeded,
            Ending::Failed => Self::Failed,
            Ending::TimedOut => Self::TimedOut,
            Ending::Cancelled => Self::Cancelled,
            Ending::Rejected => Self::Rejected,
            Ending::Unknown => Self::Unknown,
        }
    }
}

impl fmt::Display for CommandState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanState {
    /// Made, nothing done.
    Proposed,
    /// Under way.
    Running,
    /// Every step succeeded on every target.
    Done,
    /// Some targets succeeded, some did not.
    PartlyFailed,
    /// No target succeeded.
    Failed,
    /// An operator said no.
    Denied,
    /// An operator stopped it.
    Cancelled,
}

/// What can happen to a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanEvent {
    /// Execution begins.
    Started,
    /// It ended, so many targets having succeeded and so many not.
    Ended {
        /// Succeeded.
        succeeded: usize,
        /// Everything else, skipped ones included.
        failed: usize,
    },
    /// An operator said no.
    Denied,
    /// An operator stopped it.
    Cancelled,
    /// What was unknown of it is no more: the same count again.
    Settled {
        /// Succeeded.
        succeeded: usize,
        /// Everything else.
        failed: usize,
    },
}

impl PlanState {
    /// The state after an event; `None` for a move that there is not.
    pub fn next(self, event: PlanEvent) -> Option<Self> {
        use PlanEvent as E;
        match (self, event) {
            (Self::Proposed, E::Started) => Some(Self::Running),
            (Self::Proposed, E::Denied) => Some(Self::Denied),
            // What was stopped stays so, whatever came of its parts.
            (Self::Proposed | Self::Running, E::Cancelled) | (Self::Cancelled, E::Settled { .. }) => {
                Some(Self::Cancelled)
            }
            (Self::Running, E::Ended { succeeded, failed })
            | (Self::PartlyFailed | Self::Failed, E::Settled { succeeded, failed }) => {
                Some(match (succeeded, failed) {
                    (_, 0) => Self::Done,
                    (0, _) => Self::Failed,
                    _ => Self::PartlyFailed,
                })
            }
            _ => None,
        }
    }

    /// Whether nothing more can happen.
    pub fn terminal(self) -> bool {
        !matches!(self, Self::Proposed | Self::Running)
    }

    /// The word as in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Running => "running",
            Self::Done => "done",
            Self::PartlyFailed => "partly-failed",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::from(word)).ok()
    }
}

impl fmt::Display for PlanState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{CommandState as C, PlanState as P, *};

    #[test]
    fn words_and_states_are_the_same_both_ways() {
        for state in [
            C::Queued,
            C::Accepted,
            C::Succeeded,
            C::Failed,
            C::TimedOut,
            C::Cancelled,
            C::Rejected,
            C::Expired,
            C::Unknown,
        ] {
            assert_eq!(C::parse(state.as_str()), Some(state));
        }
        for state in [P::Proposed, P::Running, P::Done, P::PartlyFailed, P::Failed, P::Denied, P::Cancelled] {
            assert_eq!(P::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn a_terminal_command_stays_what_it_is() {
        let done = CommandState::Succeeded;
        assert!(done.next(CommandEvent::Finished(Ending::Failed)).is_err());
        assert!(done.next(CommandEvent::Accepted).is_err());
        assert_eq!(CommandState::Unknown.next(CommandEvent::Finished(Ending::Succeeded)), Ok(CommandState::Succeeded));
        assert_eq!(CommandState::Accepted.next(CommandEvent::ValidityOver), Ok(CommandState::Unknown));
        let settled = CommandEvent::Settled(Ending::Failed);
        assert_eq!(CommandState::Unknown.next(settled), Ok(CommandState::Failed));
        assert!(CommandState::Accepted.next(settled).is_err() && done.next(settled).is_err());
    }

    #[test]
    fn a_plan_runs_once() {
        let running = PlanState::Proposed.next(PlanEvent::Started).unwrap();
        assert_eq!(running.next(PlanEvent::Started), None);
        assert_eq!(running.next(PlanEvent::Ended { succeeded: 1, failed: 1 }), Some(PlanState::PartlyFailed));
        assert_eq!(PlanState::Denied.next(PlanEvent::Started), None);
        let settled = |succeeded, failed| PlanState::Failed.next(PlanEvent::Settled { succeeded, failed });
        assert_eq!([settled(1, 0), settled(1, 1)], [Some(PlanState::Done), Some(PlanState::PartlyFailed)]);
        assert_eq!(running.next(PlanEvent::Settled { succeeded: 1, failed: 0 }), None);
    }
}
