//! A saga on record: rows of do and undo, and what is needed to go on with them, or to take them back, in another process.

use super::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowState {
    /// It may have been done, all of it or a part.
    Begun,
    /// It has been done.
    Done,
    /// It has been taken back.
    Undone,
}

impl RowState {
    /// The word as in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<Self> {
        serde_json::from_value(Value::from(word)).ok()
    }
}

/// What can happen to a saga.
#[derive(Debug, Clone, PartialEq)]
pub enum SagaMove<'a> {
    /// A step begins, perhaps anew: from here on its undo may be needed.
    Begin(&'a str),
    /// A step is done.
    Done(&'a str),
    /// A step is undone.
    Undone(&'a str),
    /// A step has failed, and all of it is to be taken back: the reason.
    Break(Value),
    /// It is over.
    End(Outcome),
}

/// A move that a saga does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a saga's row `{row}` can't be {wanted} now")]
pub struct IllegalSagaMove {
    /// Which row.
    pub row: String,
    /// What it was to be.
    pub wanted: &'static str,
}

/// A saga as it is on record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Saga {
    /// Its rows in the order in which they were begun first.
    pub rows: Vec<(String, RowState)>,
    /// What its steps need to know of each other.
    pub kept: Value,
    /// Why it is being taken back, where it is.
    pub broken: Option<Value>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl Saga {
    /// Where a row stands; `None` where it was never begun.
    pub fn state(&self, row: &str) -> Option<RowState> {
        self.rows.iter().find(|(name, _)| name == row).map(|(_, state)| *state)
    }

    /// Makes a move.
    pub fn make(&mut self, next: &SagaMove) -> Result<(), IllegalSagaMove> {
        use RowState::{Begun, Done, Undone};
        let (row, wanted) = match next {
            SagaMove::Begin(row) => (*row, Begun),
            SagaMove::Done(row) => (*row, Done),
            SagaMove::Undone(row) => (*row, Undone),
            SagaMove::Break(why) => {
                self.broken = Some(why.clone());
                return Ok(());
            }
            SagaMove::End(outcome) => {
                self.outcome = Some(outcome.clone());
                return Ok(());
            }
        };
        let illegal = || IllegalSagaMove { row: row.to_owned(), wanted: wanted.as_str() };
        if self.outcome.is_some() {
            return Err(illegal());
        }
        match (self.state(row), wanted) {
            (None, Begun) => self.rows.push((row.to_owned(), Begun)),
            (Some(Begun | Undone), Begun) | (Some(Begun), Done) | (Some(_), Undone) => {
                self.rows.iter_mut().filter(|(name, _)| name == row).for_each(|(_, state)| *state = wanted);
            }
            _ => return Err(illegal()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_begun_done_and_undone_and_nothing_else() {
        let mut saga = Saga::default();
        for (next, legal) in [
            (SagaMove::Done("a"), false),
            (SagaMove::Undone("a"), false),
            (SagaMove::Begin("a"), true),
            (SagaMove::Begin("a"), true),
            (SagaMove::Done("a"), true),
            (SagaMove::Begin("a"), false),
            (SagaMove::Undone("a"), true),
            (SagaMove::Undone("a"), true),
            (SagaMove::Done("a"), false),
            (SagaMove::Begin("a"), true),
            (SagaMove::End(Outcome::success("")), true),
            (SagaMove::Undone("a"), false),
        ] {
            assert_eq!(saga.make(&next).is_ok(), legal, "{next:?}");
        }
        assert_eq!(saga.state("a"), Some(RowState::Begun));
        for state in [RowState::Begun, RowState::Done, RowState::Undone] {
            assert_eq!(RowState::parse(state.as_str()), Some(state));
        }
    }
}
