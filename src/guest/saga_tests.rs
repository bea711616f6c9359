use super::*;
use crate::model::outcome::Silent;

/// What is there.
#[derive(Default)]
struct There {
    done: Vec<&'static str>,
    settled: u32,
}

impl Subject for There {
    fn keep(&self) -> Value {
        Value::Null
    }
    fn touched(&self) -> bool {
        !self.done.is_empty()
    }
    fn settle(&mut self) {
        self.settled += 1;
    }
}

fn step(name: &'static str, act: fn(&mut There) -> Result<String, StepError>) -> Step<There> {
    Step { name, act, undo: Some(|there| if there.done.pop() == Some("stuck") { stuck(there) } else { Ok(()) }) }
}

fn stuck(there: &mut There) -> Result<(), String> {
    there.done.push("stuck");
    Err("held".into())
}

fn push(what: &'static str, there: &mut There) -> String {
    there.done.push(what);
    String::new()
}

fn break_at(what: &'static str, there: &mut There) -> Result<String, StepError> {
    there.done.push(what);
    Err(StepError::new("no", "help"))
}

fn running<'a>(log: &'a dyn SagaLog, report: &'a dyn Report) -> Running<'a> {
    Running { command: "c", log, report, wanted: true }
}

#[test]
fn a_failure_takes_back_everything_in_reverse() {
    let log = MemoryLog::default();
    let fails = step("two", |there| break_at("half", there));
    let steps = [step("one", |there| Ok(push("one", there))), fails, step("three", |there| Ok(push("three", there)))];
    let mut there = There::default();
    let broken = running(&log, &Silent).run(&steps, &mut there).unwrap_err();
    let told = (broken.step.as_str(), broken.error.why.as_str(), broken.stuck.len(), there.done.len());
    assert_eq!(told, ("two", "no", 0, 0));
    let rows = ["c begin one", "c done one", "c begin two", "c break", "c undone two", "c undone one"];
    assert_eq!(log.rows(), rows);
}

#[test]
fn what_can_not_be_taken_back_is_named_and_the_rest_goes_on() {
    let steps = [step("one", |there| Ok(push("one", there))), step("two", |there| break_at("stuck", there))];
    let mut there = There::default();
    let broken = running(&MemoryLog::default(), &Silent).run(&steps, &mut there).unwrap_err();
    assert_eq!((broken.stuck[0].as_str(), there.settled), ("two: held", 2), "each was tried once more");
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Report for Lines {
    fn progress(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn output(&self, _: &[u8]) {}
}

#[test]
fn nothing_is_said_to_be_taken_back_where_nothing_was_done() {
    let refuses = [step("one", |_| Err(StepError::new("no", "help")))];
    let lines = Lines::default();
    running(&MemoryLog::default(), &lines).run(&refuses, &mut There::default()).unwrap_err();
    let breaks = [step("one", |there| break_at("half", there))];
    running(&MemoryLog::default(), &lines).run(&breaks, &mut There::default()).unwrap_err();
    assert_eq!(*lines.0.lock().unwrap(), ["one: no", "one: no; taking it all back"]);
}

#[test]
fn what_was_interrupted_goes_on_where_it_stopped_or_is_taken_back() {
    let steps = [
        step("one", |_| panic!("that is done")),
        step("two", |there| Ok(push("two", there))),
        step("three", |there| Ok(push("three", there))),
    ];
    let interrupted = || {
        let log = MemoryLog::default();
        let moves = [SagaMove::Begin("one"), SagaMove::Done("one"), SagaMove::Begin("two")];
        log.write("c", &Value::Null, &moves).unwrap();
        (log, There { done: vec!["one", "half"], ..There::default() })
    };
    let (log, mut there) = interrupted();
    running(&log, &Silent).run(&steps, &mut there).unwrap();
    assert_eq!((there.done, there.settled), (vec!["one", "two", "three"], 1));
    let (log, mut there) = interrupted();
    let late = Running { wanted: false, ..running(&log, &Silent) };
    let broken = late.run(&steps, &mut there).unwrap_err();
    assert!(there.done.is_empty() && broken.error.why.contains("stopped"), "{broken:?}");
    let (log, mut there) = interrupted();
    let why = Broken { step: "two".into(), error: StepError::new("no", "help"), stuck: Vec::new() };
    let moves = [SagaMove::Break(serde_json::to_value(&why).unwrap()), SagaMove::Undone("two")];
    log.write("c", &Value::Null, &moves).unwrap();
    there.done.pop();
    assert_eq!(running(&log, &Silent).run(&steps, &mut there).unwrap_err(), why);
    assert!(there.done.is_empty(), "the way back has been gone on");
}

struct Full;

impl SagaLog for Full {
    fn read(&self, _: &str) -> Result<Option<Saga>, SagaLogError> {
        Ok(None)
    }
    fn write(&self, _: &str, _: &Value, moves: &[SagaMove]) -> Result<(), SagaLogError> {
        if moves.contains(&SagaMove::Begin("two")) { Err(SagaLogError("disk full".into())) } else { Ok(()) }
    }
}

#[test]
fn a_step_without_a_row_does_not_begin() {
    let steps = [step("one", |there| Ok(push("one", there))), step("two", |_| panic!("begun without a row"))];
    let broken = running(&Full, &Silent).run(&steps, &mut There::default()).unwrap_err();
    assert_eq!(broken.error.why, "the record of a saga: disk full");
}
