//! The steps of an update on a machine that is only a list of what was done to it, with each step failing once.

use super::*;
use crate::model::outcome::Ending;
use std::sync::Mutex;

struct Fake {
    running: Mutex<String>,
    fails: &'static str,
    done: Mutex<Vec<String>>,
}

impl Fake {
    fn failing(fails: &'static str) -> Self {
        Self { running: Mutex::new("0.9.4".into()), fails, done: Mutex::default() }
    }

    fn step(&self, name: &str) -> Result<(), Stopped> {
        self.done.lock().unwrap().push(name.to_owned());
        let words = Stopped::new(format!("{name} failed")).help("try again");
        if self.fails.split(' ').any(|failing| failing == name) { Err(words) } else { Ok(()) }
    }

    /// The whole way, as a runtime goes it: the outcome, and which steps there were.
    fn update(&self, version: &str) -> (Outcome, Vec<String>) {
        let order = UpdateOrder { version: version.into(), arch: "x86_64".into(), artifact: None };
        let outcome = match prepare(&order, self, &Task::default()) {
            Ok(()) => replace("c", &order, self),
            Err(outcome) => outcome,
        };
        (outcome, self.done.lock().unwrap().clone())
    }
}

impl Place for Fake {
    fn running(&self) -> String {
        self.running.lock().unwrap().clone()
    }
    fn arch(&self) -> String {
        "x86_64".to_owned()
    }
    fn fetch(&self, _: &UpdateOrder, _: &Task) -> Result<(), Stopped> {
        self.step("fetch")
    }
    fn try_out(&self, _: &str, _: &Task) -> Result<(), Stopped> {
        self.step("try")
    }
    fn switch(&self, _: &str, _: &UpdateOrder) -> Result<(), Stopped> {
        self.step("switch")
    }
    fn restart(&self) -> Result<(), Stopped> {
        self.step("restart")
    }
    fn switch_back(&self) -> Result<(), Stopped> {
        self.step("back")
    }
}

#[test]
fn all_steps_in_order_come_to_another_version() {
    let (outcome, done) = Fake::failing("").update("0.10.0");
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Succeeded, "0.9.4 → 0.10.0"));
    assert_eq!(done, ["fetch", "try", "switch", "restart"]);
}

#[test]
fn each_failing_step_leaves_the_running_version() {
    for (fails, says, last) in [
        ("fetch", "fetch failed; still at 0.9.4", "fetch"),
        ("try", "try failed; still at 0.9.4", "try"),
        ("switch", "switch failed; still at 0.9.4", "switch"),
        ("restart", "restart failed; still at 0.9.4", "back"),
        ("restart back", "restart failed, and back failed; still at 0.9.4", "back"),
    ] {
        let (outcome, done) = Fake::failing(fails).update("0.10.0");
        assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Failed, says), "{fails}");
        assert_eq!(done.last().map(String::as_str), Some(last), "{fails}");
    }
}

#[test]
fn what_makes_no_sense_here_begins_nothing() {
    let (outcome, done) = Fake::failing("").update("0.9.4");
    assert_eq!((outcome.succeeded(), outcome.summary.as_str(), done.len()), (true, "already at 0.9.4", 0));
    let (outcome, done) = Fake::failing("").update("../../tmp/x");
    assert_eq!((outcome.ending, done.len()), (Ending::Rejected, 0));
    let fake = Fake::failing("");
    let order = UpdateOrder { version: "0.10.0".into(), arch: "aarch64".into(), artifact: None };
    let outcome = prepare(&order, &fake, &Task::default()).unwrap_err();
    assert!(outcome.summary.contains("is for aarch64, and this machine is x86_64"), "{outcome:?}");
}

#[test]
fn a_cancelled_update_says_so() {
    let (fake, task) = (Fake::failing("fetch"), Task::default());
    task.cancel.fire();
    let order = UpdateOrder { version: "0.10.0".into(), arch: "x86_64".into(), artifact: None };
    assert_eq!(prepare(&order, &fake, &task).unwrap_err().ending, Ending::Cancelled);
}
