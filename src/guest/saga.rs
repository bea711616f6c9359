//! Sagas: steps of do and undo. When a step fails, its own undo and those of all steps before it run in reverse, so that a
//! failure leaves the guest as it was. Each move is a row, on record before it is made: whatever process comes after this
//! one goes on where it stopped, or takes everything back.

use crate::{
    model::{
        Outcome,
        outcome::{Ending, Report, chain},
        saga::{RowState, Saga, SagaMove},
    },
    store::Sagas,
    sys::{clock, text::one_line},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Where the rows go.
pub trait SagaLog: Send + Sync {
    /// What is on record of a command's saga.
    fn read(&self, command: &str) -> Result<Option<Saga>, SagaLogError>;
    /// Puts moves on record, all of them or none, with what the steps need to know of each other.
    fn write(&self, command: &str, kept: &Value, moves: &[SagaMove]) -> Result<(), SagaLogError>;
}

/// Rows that could not be read or written: nothing that depends on them is begun.
#[derive(Debug, thiserror::Error)]
#[error("the record of a saga: {0}")]
pub struct SagaLogError(pub String);

impl SagaLog for Sagas {
    fn read(&self, command: &str) -> Result<Option<Saga>, SagaLogError> {
        Self::read(self, command).map_err(|error| SagaLogError(chain(&error)))
    }

    fn write(&self, command: &str, kept: &Value, moves: &[SagaMove]) -> Result<(), SagaLogError> {
        Self::write(self, command, kept, moves, clock::unix_seconds()).map_err(|error| SagaLogError(chain(&error)))
    }
}

/// Rows in memory, for where nothing outlives the process.
#[derive(Debug, Default)]
pub struct MemoryLog(Mutex<(BTreeMap<String, Saga>, Vec<String>)>);

impl MemoryLog {
    /// The moves so far: `command begin stage`, …
    pub fn rows(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

impl SagaLog for MemoryLog {
    fn read(&self, command: &str) -> Result<Option<Saga>, SagaLogError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).0.get(command).cloned())
    }

    fn write(&self, command: &str, kept: &Value, moves: &[SagaMove]) -> Result<(), SagaLogError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for next in moves {
            let saga = all.0.entry(command.to_owned()).or_default();
            saga.make(next).map_err(|error| SagaLogError(error.to_string()))?;
            saga.kept = kept.clone();
            let (what, row) = match next {
                SagaMove::Begin(row) => ("begin", *row),
                SagaMove::Done(row) => ("done", *row),
                SagaMove::Undone(row) => ("undone", *row),
                SagaMove::Break(_) => ("break", ""),
                SagaMove::End(_) => ("end", ""),
            };
            all.1.push(format!("{command} {what} {row}").trim_end().to_owned());
        }
        Ok(())
    }
}

/// What a saga works on.
pub trait Subject {
    /// What its steps need to know of each other, for a process that comes after this one.
    fn keep(&self) -> Value;
    /// Whether anything has been changed that would have to be taken back.
    fn touched(&self) -> bool;
    /// Sees to it that nothing which was started before is still under way there: a step that is taken back meanwhile would
    /// be taken back in part.
    fn settle(&mut self);
}

/// Takes a step back; an error says what is in the way.
pub type Undo<C> = fn(&mut C) -> Result<(), String>;

/// One step. Its undo must hold for a step that failed half-way, and for one that has been undone already; its act, for one
/// that was begun before and undone.
pub struct Step<C> {
    /// Its name: the row's, and the word before the reason when it fails.
    pub name: &'static str,
    /// Does it; gives a line of progress, which may be empty.
    pub act: fn(&mut C) -> Result<String, StepError>,
    /// Takes it back; `None` where the step changes nothing.
    pub undo: Option<Undo<C>>,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// How the operation ends.
    pub ending: Ending,
    /// Why.
    pub why: String,
    /// What to do next.
    pub help: String,
}

impl StepError {
    /// A plain failure.
    pub fn new(why: impl Into<String>, help: impl Into<String>) -> Self {
        Self { ending: Ending::Failed, why: why.into(), help: help.into() }
    }

    /// Refused before anything was done.
    pub fn rejected(why: impl Into<String>, help: impl Into<String>) -> Self {
        Self { ending: Ending::Rejected, ..Self::new(why, help) }
    }

    fn of_log(error: &SagaLogError) -> Self {
        Self::new(error.to_string(), "is the disk of the node full? `remotectl doctor` there looks")
    }
}

/// A saga that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// At which step.
    pub step: String,
    /// Why.
    pub error: StepError,
    /// What could not be taken back, and why.
    #[serde(skip)]
    pub stuck: Vec<String>,
}

/// What a step took.
#[derive(Debug, Clone, Serialize)]
pub struct Took {
    /// Its name.
    pub step: &'static str,
    /// Milliseconds.
    pub ms: u64,
}

/// How one saga is carried out.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    /// The command that it is for: its rows go by it.
    pub command: &'a str,
    /// Where its rows are.
    pub log: &'a dyn SagaLog,
    /// Where its progress goes.
    pub report: &'a dyn Report,
    /// Whether a saga that was interrupted is still wanted; where not, it is taken back.
    pub wanted: bool,
}

impl Running<'_> {
    /// Runs the steps in order, from where the record ends; when one fails, takes back what was begun, in reverse.
    pub fn run<C: Subject>(&self, steps: &[Step<C>], context: &mut C) -> Result<Vec<Took>, Broken> {
        let saga = self.log.read(self.command);
        let saga =
            saga.map_err(|error| broken(steps.first().map_or("", |step| step.name), StepError::of_log(&error)))?;
        let from = match saga {
            Some(saga) => self.pick_up(&saga, steps, context)?,
            None => 0,
        };
        let mut took = Vec::new();
        let mut before = None;
        for (index, step) in steps.iter().enumerate().skip(from) {
            let started = Instant::now();
            let mut moves: Vec<SagaMove> = before.map(SagaMove::Done).into_iter().collect();
            moves.push(SagaMove::Begin(step.name));
            let begun = self.write(context, &moves).map_err(|error| StepError::of_log(&error));
            match begun.and_then(|()| (step.act)(context)) {
                Ok(line) if line.is_empty() => {}
                Ok(line) => self.report.progress(&one_line(&format!("{}: {line}", step.name), 300)),
                Err(error) => return Err(self.break_off(broken(step.name, error), &steps[..=index], context)),
            }
            before = Some(step.name);
            took.push(Took { step: step.name, ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) });
        }
        // That the last step is done need not be on record: the end follows, and to do it once more does no harm.
        Ok(took)
    }

    /// Puts the end on record. What can't be is no reason to tell another end: the command's own record has it as well.
    pub fn end<C: Subject>(&self, context: &C, outcome: &Outcome) {
        if let Err(error) = self.write(context, &[SagaMove::End(outcome.clone())]) {
            tracing::warn!(command = self.command, %error, "a saga's end is not on record");
        }
    }

    /// Picks up what a former process has left: from which step on to go, unless it is all taken back.
    fn pick_up<C: Subject>(&self, saga: &Saga, steps: &[Step<C>], context: &mut C) -> Result<usize, Broken> {
        context.settle();
        if let Some(why) = &saga.broken {
            let why = serde_json::from_value(why.clone());
            let why = why.unwrap_or_else(|_| broken("", StepError::new("it was being taken back", "try again")));
            self.report.progress(&one_line(&format!("{}: {}; taking the rest back", why.step, why.error.why), 300));
            return Err(self.take_back(why, saga, steps, context));
        }
        let open = steps.iter().position(|step| saga.state(step.name) != Some(RowState::Done));
        let Some((from, step)) = open.and_then(|from| Some((from, steps.get(from)?))) else { return Ok(steps.len()) };
        // All but the last is done: to go on is the shorter way, whoever waits.
        if !self.wanted && from + 1 < steps.len() {
            let why = StepError::new("the pve-agent was stopped in the middle, and its time is over", "the same again");
            return Err(self.break_off(broken(step.name, why), &steps[..=from], context));
        }
        self.report.progress(&format!("{}: the pve-agent was stopped in the middle; going on", step.name));
        if saga.state(step.name) == Some(RowState::Begun)
            && let Err(why) = self.undo(step, context)
        {
            let why = StepError::new(format!("interrupted, and not to be begun anew: {why}"), "the same again");
            return Err(self.break_off(broken(step.name, why), &steps[..=from], context));
        }
        Ok(from)
    }

    fn break_off<C: Subject>(&self, why: Broken, begun: &[Step<C>], context: &mut C) -> Broken {
        let what = if context.touched() { "; taking it all back" } else { "" };
        self.report.progress(&one_line(&format!("{}: {}{what}", why.step, why.error.why), 300));
        // Where this can't be written the undos are tried all the same: a guest counts more than its record.
        if let Err(error) = self.write(context, &[SagaMove::Break(serde_json::to_value(&why).unwrap_or_default())]) {
            tracing::warn!(command = self.command, %error, "that a saga is taken back is not on record");
        }
        let rows = begun.iter().map(|step| (step.name.to_owned(), RowState::Begun)).collect();
        self.take_back(why, &Saga { rows, ..Saga::default() }, begun, context)
    }

    fn take_back<C: Subject>(&self, why: Broken, saga: &Saga, steps: &[Step<C>], context: &mut C) -> Broken {
        let open = |step: &&Step<C>| matches!(saga.state(step.name), Some(RowState::Begun | RowState::Done));
        let mut stuck = Vec::new();
        for step in steps.iter().rev().filter(open) {
            if let Err(why) = self.undo(step, context) {
                stuck.push(one_line(&format!("{}: {why}", step.name), 300));
            }
        }
        Broken { stuck, ..why }
    }

    /// Undoes a step; once more when that fails, after whatever was in the way has come to its end.
    fn undo<C: Subject>(&self, step: &Step<C>, context: &mut C) -> Result<(), String> {
        let Some(undo) = step.undo else { return Ok(()) };
        undo(context).or_else(|_| {
            context.settle();
            undo(context)
        })?;
        if let Err(error) = self.write(context, &[SagaMove::Undone(step.name)]) {
            tracing::warn!(command = self.command, step = step.name, %error, "that a step is undone is not on record");
        }
        Ok(())
    }

    fn write<C: Subject>(&self, context: &C, moves: &[SagaMove]) -> Result<(), SagaLogError> {
        self.log.write(self.command, &context.keep(), moves)
    }
}

fn broken(step: &str, error: StepError) -> Broken {
    Broken { step: step.to_owned(), error, stuck: Vec::new() }
}

#[cfg(test)]
#[path = "saga_tests.rs"]
mod tests;
