//! One operation in a guest without an agent: the executable goes in, runs it once, and is gone again.

use super::{
    answers::OnceLine,
    probe::Probe,
    saga::StepError,
    staging::{Executable, Staged, explained, refused},
    transport::{Copying, Exec, Transport},
};
use crate::{
    model::{Op, Outcome, Target, outcome::Ending},
    sys::{
        process::{Finished, Input, Stream},
        random,
        task::Task,
        text::one_line,
    },
};
use serde_json::json;
use std::time::Duration;

/// What the operation's own time is extended by, so that it is the agent that ends it and tells about it.
const MARGIN: Duration = Duration::from_secs(10);
/// Runs `$1/remotectl agent once` and removes `$1` whatever comes of it.
pub(super) const ONCE: &str = r#"trap 'rm -rf -- "$1"' EXIT
trap 'exit 143' HUP INT TERM
"$1/remotectl" agent once
"#;
/// A line that the executable may print: an outcome with its data.
const LINE: usize = 2 << 20;

/// Carries out one operation of those that run in an agent. `missing` is why there is no agent, for the offer of one.
pub fn once(transport: &dyn Transport, executable: &Executable, op: &Op, target: &Target, task: &Task) -> Outcome {
    let name = target.to_string();
    let failed = |error: StepError| {
        let outcome = Outcome::failure(error.why).with_help(error.help);
        Outcome { ending: error.ending, ..outcome }
    };
    let staged = match stage(transport, executable, &name, task) {
        Ok(staged) => staged,
        Err(error) => return failed(error),
    };
    let done = operate(transport, &staged, op, &name, task);
    // Gone already, as a rule; where the transport broke down this is the second chance.
    let gone = if done.is_ok() { Ok(()) } else { Staged::remove(transport, &[staged.directory()]) };
    match (done, gone) {
        (Ok(outcome), _) => outcome,
        (Err(error), Ok(())) => failed(error),
        (Err(error), Err(why)) => failed(StepError { why: format!("{}; left behind: {why}", error.why), ..error }),
    }
}

fn stage(transport: &dyn Transport, executable: &Executable, target: &str, task: &Task) -> Result<Staged, StepError> {
    let explained = |error| explained(&error, target);
    let probe = Probe::of(transport, &task.cancel).map_err(explained)?;
    executable.fits(&probe)?;
    let bytes = executable.bytes()?;
    let room = probe.room(bytes);
    let room =
        room.map_err(|why| StepError::new(format!("staging: {why}"), format!("free space on {target}, then again")))?;
    let directory = format!("{}/.remotectl-{}", room.path.trim_end_matches('/'), random::name(16).to_ascii_lowercase());
    let copying = Copying { cancel: &task.cancel, report: task.report };
    executable.stage(transport, &directory, &copying).map_err(explained)
}

fn operate(
    transport: &dyn Transport,
    staged: &Staged,
    op: &Op,
    target: &str,
    task: &Task,
) -> Result<Outcome, StepError> {
    let request = json!({"op": op.name(), "args": op.args(), "timeout": task.timeout.as_secs().max(1)});
    let mut lines = Lines::default();
    let mut on_output = |stream, piece: &[u8]| {
        if stream == Stream::Stdout {
            lines.take(piece, task);
        }
    };
    let exec = Exec::script(ONCE, [staged.directory()])
        .input(Input::Bytes(request.to_string().into_bytes()))
        .timeout(task.timeout + MARGIN)
        .cancel(&task.cancel)
        .limit(64 << 10)
        .on_output(&mut on_output);
    let finished = transport.exec(exec).map_err(|error| explained(&error, target))?;
    lines.end(task);
    match lines.outcome {
        Some(outcome) if !finished.timed_out && !finished.cancelled => Ok(outcome),
        _ => Err(unfinished(&finished, target)),
    }
}

/// Without an outcome the operation may have been done or not, and nobody knows.
fn unfinished(finished: &Finished, target: &str) -> StepError {
    let ending = match (finished.timed_out, finished.cancelled) {
        (true, _) => Ending::TimedOut,
        (_, true) => Ending::Cancelled,
        _ => Ending::Unknown,
    };
    let error = refused(finished, target);
    StepError { ending, why: format!("the operation told no outcome: {}", error.why), help: error.help }
}

/// JSON lines as they come in pieces.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    outcome: Option<Outcome>,
}

impl Lines {
    fn take(&mut self, piece: &[u8], task: &Task) {
        self.rest.extend_from_slice(piece);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.line(&line, task);
        }
        // A line without an end is nothing that the agent prints.
        if self.rest.len() > LINE {
            self.rest.clear();
        }
    }

    fn end(&mut self, task: &Task) {
        let rest = std::mem::take(&mut self.rest);
        self.line(&rest, task);
    }

    fn line(&mut self, line: &[u8], task: &Task) {
        match serde_json::from_slice(line) {
            Ok(OnceLine::Progress(text)) => task.report.progress(&one_line(&text, 300)),
            Ok(OnceLine::Output(text)) => task.report.output(text.as_bytes()),
            Ok(OnceLine::Outcome(outcome)) => self.outcome = Some(outcome),
            // Noise of the guest's shell is none of our business.
            Err(_) => {}
        }
    }
}
