//! Sagas: steps of do and undo. When a step fails, its own undo and those of all steps before it run in reverse, so that a
//! failure leaves the guest as it was. Each move is a row, written before it is made, so that after a crash somebody can see
//! how far it came. The rows live in memory now; the pve-agent's own SQLite takes them over with a later issue.

use crate::{
    model::outcome::{Ending, Report},
    sys::text::one_line,
};
use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Where the rows go.
pub trait SagaLog: Send + Sync {
    /// A step begins: from here on its undo may be needed.
    fn begin(&self, command: &str, row: &str) -> Result<(), SagaLogError>;
    /// A step is done.
    fn done(&self, command: &str, row: &str) -> Result<(), SagaLogError>;
    /// A step is undone.
    fn undone(&self, command: &str, row: &str) -> Result<(), SagaLogError>;
}

/// A row that could not be written: the step is not begun.
#[derive(Debug, thiserror::Error)]
#[error("writing down a step: {0}")]
pub struct SagaLogError(pub String);

/// Rows in memory: `command begin stage`, …
#[derive(Debug, Default)]
pub struct MemoryLog(Mutex<Vec<String>>);

impl MemoryLog {
    /// The rows so far.
    pub fn rows(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, command: &str, what: &str, row: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{command} {what} {row}"));
    }
}

impl SagaLog for MemoryLog {
    fn begin(&self, command: &str, row: &str) -> Result<(), SagaLogError> {
        self.write(command, "begin", row);
        Ok(())
    }

    fn done(&self, command: &str, row: &str) -> Result<(), SagaLogError> {
        self.write(command, "done", row);
        Ok(())
    }

    fn undone(&self, command: &str, row: &str) -> Result<(), SagaLogError> {
        self.write(command, "undone", row);
        Ok(())
    }
}

/// Takes a step back; an error says what is in the way.
pub type Undo<C> = fn(&mut C) -> Result<(), String>;

/// One step. Its undo must hold for a step that failed half-way, and for one that has been undone already.
pub struct Step<C> {
    /// Its name: the row's, and the word before the reason when it fails.
    pub name: &'static str,
    /// Does it; gives a line of progress, which may be empty.
    pub act: fn(&mut C) -> Result<String, StepError>,
    /// Takes it back; `None` where the step changes nothing.
    pub undo: Option<Undo<C>>,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// A saga that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// At which step.
    pub step: &'static str,
    /// Why.
    pub error: StepError,
    /// What could not be taken back, and why.
    pub stuck: Vec<String>,
}

/// What a step took.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Took {
    /// Its name.
    pub step: &'static str,
    /// Milliseconds.
    pub ms: u64,
}

/// Runs the steps in order; when one fails, takes back what was begun, in reverse.
pub fn run<C>(
    command: &str,
    log: &dyn SagaLog,
    steps: &[Step<C>],
    context: &mut C,
    report: &dyn Report,
) -> Result<Vec<Took>, Broken> {
    let mut took = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let started = Instant::now();
        let rows = |error: SagaLogError| StepError::new(error.to_string(), "is the disk of the node full?");
        let begun = log.begin(command, step.name).map_err(rows);
        let done = begun.and_then(|()| (step.act)(context)).and_then(|line| {
            log.done(command, step.name).map_err(rows)?;
            Ok(line)
        });
        match done {
            Ok(line) if line.is_empty() => {}
            Ok(line) => report.progress(&one_line(&format!("{}: {line}", step.name), 300)),
            Err(error) => {
                report.progress(&one_line(&format!("{}: {}; taking it all back", step.name, error.why), 300));
                let stuck = take_back(command, log, &steps[..=index], context);
                return Err(Broken { step: step.name, error, stuck });
            }
        }
        took.push(Took { step: step.name, ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) });
    }
    Ok(took)
}

fn take_back<C>(command: &str, log: &dyn SagaLog, begun: &[Step<C>], context: &mut C) -> Vec<String> {
    let mut stuck = Vec::new();
    for step in begun.iter().rev() {
        let undone = step
            .undo
            .map_or(Ok(()), |undo| undo(context))
            .and_then(|()| log.undone(command, step.name).map_err(|error| error.to_string()));
        if let Err(why) = undone {
            stuck.push(one_line(&format!("{}: {why}", step.name), 300));
        }
    }
    stuck
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::Silent;

    fn step(
        name: &'static str,
        act: fn(&mut Vec<&'static str>) -> Result<String, StepError>,
    ) -> Step<Vec<&'static str>> {
        Step { name, act, undo: Some(|done| if done.pop() == Some("stuck") { Err("held".into()) } else { Ok(()) }) }
    }

    fn push(what: &'static str, done: &mut Vec<&'static str>) -> String {
        done.push(what);
        String::new()
    }

    fn break_at(what: &'static str, done: &mut Vec<&'static str>) -> Result<String, StepError> {
        done.push(what);
        Err(StepError::new("no", "help"))
    }

    #[test]
    fn a_failure_takes_back_everything_in_reverse() {
        let log = MemoryLog::default();
        let fails = step("two", |done| break_at("half", done));
        let steps = [step("one", |done| Ok(push("one", done))), fails, step("three", |done| Ok(push("three", done)))];
        let mut done = Vec::new();
        let broken = run("c", &log, &steps, &mut done, &Silent).unwrap_err();
        assert_eq!((broken.step, broken.error.why.as_str(), broken.stuck.len(), done.len()), ("two", "no", 0, 0));
        assert_eq!(log.rows(), ["c begin one", "c done one", "c begin two", "c undone two", "c undone one"]);
    }

    #[test]
    fn what_can_not_be_taken_back_is_named_and_the_rest_goes_on() {
        let steps = [step("one", |done| Ok(push("one", done))), step("two", |done| break_at("stuck", done))];
        let mut done = Vec::new();
        let broken = run("c", &MemoryLog::default(), &steps, &mut done, &Silent).unwrap_err();
        assert_eq!((broken.stuck, done.len()), (vec!["two: held".to_owned()], 0));
    }

    struct Full;

    impl SagaLog for Full {
        fn begin(&self, _: &str, row: &str) -> Result<(), SagaLogError> {
            if row == "two" { Err(SagaLogError("disk full".into())) } else { Ok(()) }
        }
        fn done(&self, _: &str, _: &str) -> Result<(), SagaLogError> {
            Ok(())
        }
        fn undone(&self, _: &str, _: &str) -> Result<(), SagaLogError> {
            Ok(())
        }
    }

    #[test]
    fn a_step_without_a_row_does_not_begin() {
        let steps = [step("one", |done| Ok(push("one", done))), step("two", |_| panic!("begun without a row"))];
        let broken = run("c", &Full, &steps, &mut Vec::new(), &Silent).unwrap_err();
        assert_eq!(broken.error.why, "writing down a step: disk full");
    }
}
