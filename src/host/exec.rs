//! `exec.run`: the operator's own command, through the guest's shell. The only place that hands text to a shell, and the
//! text is the operator's, as the approved plan has it.

use super::{
    Machine, Task,
    text::{clean, span},
};
use crate::{
    model::{Outcome, outcome::Ending, values::Span},
    sys::process::Finished,
};
use serde_json::json;
use std::time::{Duration, Instant};

/// What is kept of each stream for the result; all of it is streamed.
const KEPT: usize = 64 << 10;

/// Runs `sh -c COMMAND`; fails where it does not end with code 0. Takes the shorter of its own and the task's time.
pub fn run(command: &str, timeout: Option<&Span>, machine: &Machine, task: &Task) -> Outcome {
    if command.trim().is_empty() {
        return Outcome::rejected("an empty command does nothing");
    }
    if command.contains('\0') {
        return Outcome::rejected("a command can't contain a NUL character");
    }
    let time = timeout.map_or(task.timeout, |timeout| Duration::from_secs(timeout.seconds()).min(task.timeout));
    let began = Instant::now();
    let commands = machine.commands(&Task { timeout: time, ..task.clone() });
    match commands.shell(command, KEPT, &mut |bytes| task.report.output(bytes)) {
        Ok(finished) => outcome(&finished, began.elapsed(), time),
        Err(error) => error.outcome(),
    }
}

fn outcome(finished: &Finished, took: Duration, time: Duration) -> Outcome {
    let ending = match finished {
        Finished { timed_out: true, .. } => Ending::TimedOut,
        Finished { cancelled: true, .. } => Ending::Cancelled,
        finished if finished.success() => Ending::Succeeded,
        _ => Ending::Failed,
    };
    let summary = match ending {
        Ending::TimedOut => format!("killed after {}, with what it had started", span(time.as_secs_f64())),
        Ending::Cancelled => "cancelled: killed, with what it had started".to_owned(),
        Ending::Succeeded => "exit code 0".to_owned(),
        _ if finished.stdout.is_empty() && finished.stderr.is_empty() => finished.ending(),
        _ => format!("{}: {}", finished.ending(), clean(&finished.complaint())),
    };
    let data = json!({
        "exit_code": finished.code,
        "signal": finished.signal,
        "stdout": finished.stdout_text(),
        "stderr": String::from_utf8_lossy(&finished.stderr),
        "truncated": finished.truncated,
        "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    });
    Outcome { ending, ..Outcome::success(summary) }.with_data(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::outcome::Report, sys::cancel::Cancel};
    use std::sync::Mutex;

    fn run(command: &str, task: &Task) -> Outcome {
        super::run(command, None, &Machine::here(), task)
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<u8>>);

    impl Report for Heard {
        fn progress(&self, _line: &str) {}
        fn output(&self, bytes: &[u8]) {
            self.0.lock().unwrap().extend_from_slice(bytes);
        }
    }

    #[test]
    fn output_is_streamed_and_the_code_decides() {
        let heard = Heard::default();
        let task = Task { report: &heard, ..Task::default() };
        let good = run("echo out; echo err >&2", &task);
        assert!(good.succeeded());
        assert_eq!(
            (&good.data["exit_code"], &good.data["stdout"], &good.data["stderr"]),
            (&json!(0), &json!("out\n"), &json!("err\n"))
        );
        assert_eq!(heard.0.lock().unwrap().len(), 8);
        let bad = run("echo no luck >&2; exit 7", &task);
        assert_eq!((bad.ending, bad.summary.as_str()), (Ending::Failed, "exit code 7: no luck"));
    }

    #[test]
    fn it_ends_in_time_and_on_request() {
        let slow = Task { timeout: Duration::from_millis(50), ..Task::default() };
        assert_eq!(run("sleep 100", &slow).ending, Ending::TimedOut);
        let cancel = Cancel::new();
        cancel.fire();
        assert_eq!(run("sleep 100", &Task { cancel, ..Task::default() }).ending, Ending::Cancelled);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let outcome = run("head -c 200000 /dev/zero", &Task::default());
        assert_eq!(outcome.data["stdout"].as_str().unwrap().len(), KEPT);
        assert_eq!(outcome.data["truncated"], json!(true));
    }

    #[test]
    fn nothing_is_no_command() {
        assert_eq!(run(" \n", &Task::default()).ending, Ending::Rejected);
        assert_eq!(run("a\0b", &Task::default()).ending, Ending::Rejected);
    }
}
