//! How this floor runs programs: with a PATH of its own (a guest's may be minimal), in English, without colours or pagers,
//! within the task's time. A trait, so that the parts that decide can be tested without the programs.

use super::Task;
use crate::{
    model::{Outcome, outcome::Ending},
    sys::{
        cancel::Cancel,
        env,
        files::FileError,
        process::{Finished, ProcessError, Run, Stream},
    },
};
use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

/// Where programs are looked for, whatever PATH the agent was started with.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Output that is kept of one program: 4 MiB (all unit files of a large machine are some 100 KiB).
const LIMIT: usize = 4 << 20;

/// A program that did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file of the init system could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It ran longer than the task may, and was killed.
    #[error("`{command}` did not end in time and was killed")]
    TimedOut {
        /// What was run.
        command: String,
    },
    /// The task was cancelled while it ran.
    #[error("`{command}` was cancelled")]
    Cancelled {
        /// What was run.
        command: String,
    },
    /// It ended with another code than 0.
    #[error("`{command}`: {complaint}")]
    Failed {
        /// What was run.
        command: String,
        /// The last line that it wrote, or its exit code.
        complaint: String,
        /// All that it wrote.
        output: String,
    },
}

impl CommandError {
    /// How the operation ended that ran the program.
    pub fn outcome(&self) -> Outcome {
        let ending = match self {
            Self::TimedOut { .. } => Ending::TimedOut,
            Self::Cancelled { .. } => Ending::Cancelled,
            Self::Process(_) | Self::File(_) | Self::Failed { .. } => Ending::Failed,
        };
        Outcome { ending, ..Outcome::of_error(self) }
    }
}

/// What runs programs.
pub trait Commands {
    /// Runs one to its end, whatever its exit code.
    fn run(&self, argv: &[&str]) -> Result<Finished, CommandError>;

    /// Runs one and hands over each line of its standard output (no newline) until told to break: then it is killed.
    fn lines(
        &self,
        argv: &[&str],
        on_line: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Finished, CommandError> {
        let finished = self.run(argv)?;
        let mut splitter = Splitter::default();
        if splitter.feed(&finished.stdout, on_line).is_continue() {
            splitter.finish(on_line);
        }
        Ok(finished)
    }

    /// Hands a text to the machine's shell. Output is handed over as it comes and kept up to a limit; that it took too long
    /// or was cancelled stands in the answer.
    fn shell(&self, command: &str, limit: usize, on_output: &mut dyn FnMut(&[u8])) -> Result<Finished, CommandError> {
        let mut finished = self.run(&["sh", "-c", command])?;
        for stream in [&mut finished.stdout, &mut finished.stderr] {
            on_output(stream);
            finished.truncated |= stream.len() > limit;
            stream.truncate(limit);
        }
        Ok(finished)
    }

    /// Runs one that has to end with code 0.
    fn succeed(&self, argv: &[&str]) -> Result<Finished, CommandError> {
        let finished = self.run(argv)?;
        if finished.success() {
            return Ok(finished);
        }
        let output = format!("{}{}", finished.stdout_text(), String::from_utf8_lossy(&finished.stderr));
        Err(CommandError::Failed { command: argv.join(" "), complaint: finished.complaint(), output })
    }
}

/// Runs programs on this machine until the task's time is up.
pub struct ThisMachine {
    deadline: Instant,
    cancel: Cancel,
}

impl ThisMachine {
    /// For one task: what it runs ends with it.
    pub fn of(task: &Task) -> Self {
        Self { deadline: Instant::now() + task.timeout, cancel: task.cancel.clone() }
    }

    /// For so long at most, without a task.
    pub fn within(time: Duration) -> Self {
        Self { deadline: Instant::now() + time, cancel: Cancel::new() }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn prepare<'a>(&self, words: &[&str]) -> Run<'a> {
        let (program, args) = words.split_first().expect("every caller names a program");
        Run::new(program, args)
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("SYSTEMD_COLORS", "0")
            .env("SYSTEMD_PAGER", "")
            .timeout(self.left())
            .cancel(self.cancel.clone())
    }
}

impl Commands for ThisMachine {
    fn run(&self, argv: &[&str]) -> Result<Finished, CommandError> {
        ended(argv, self.prepare(argv).limit(LIMIT).run()?)
    }

    fn lines(
        &self,
        argv: &[&str],
        on_line: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Finished, CommandError> {
        let (enough, mut splitter, mut flow) = (Cancel::new(), Splitter::default(), ControlFlow::Continue(()));
        let stop = enough.clone();
        self.cancel.on_fire(move || stop.fire());
        let run = self.prepare(argv).limit(64 << 10).cancel(enough.clone()).on_output(|stream, bytes| {
            if stream == Stream::Stdout && flow.is_continue() {
                flow = splitter.feed(bytes, on_line);
                if flow.is_break() {
                    enough.fire();
                }
            }
        });
        let finished = run.run()?;
        if flow.is_break() {
            return Ok(finished);
        }
        splitter.finish(on_line);
        ended(argv, finished)
    }

    /// In the agent's own surroundings: they are the operator's to see.
    fn shell(&self, command: &str, limit: usize, on_output: &mut dyn FnMut(&[u8])) -> Result<Finished, CommandError> {
        let run = Run::new("sh", ["-c", command]).env("PATH", completed_path()).timeout(self.left()).limit(limit);
        Ok(run.cancel(self.cancel.clone()).on_output(|_, bytes| on_output(bytes)).run()?)
    }
}

/// The agent's PATH with what is missing from the usual one behind it.
fn completed_path() -> String {
    let own = env::text("PATH").unwrap_or_default();
    let usual = PATH.split(':').filter(|part| !own.split(':').any(|known| known == *part));
    own.split(':').filter(|part| part.starts_with('/')).chain(usual).collect::<Vec<_>>().join(":")
}

fn ended(argv: &[&str], finished: Finished) -> Result<Finished, CommandError> {
    let command = || argv.join(" ");
    match finished {
        Finished { timed_out: true, .. } => Err(CommandError::TimedOut { command: command() }),
        Finished { cancelled: true, .. } => Err(CommandError::Cancelled { command: command() }),
        finished => Ok(finished),
    }
}

/// Cuts a stream of bytes into lines; a line longer than 256 KiB is cut there.
#[derive(Default)]
struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    const LONGEST: usize = 256 << 10;

    fn feed(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = Self::LONGEST.saturating_sub(self.rest.len());
            self.rest.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.rest);
                on_line(line.strip_suffix(b"\n").unwrap_or(&line))?;
            }
        }
        ControlFlow::Continue(())
    }

    fn finish(self, on_line: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        if !self.rest.is_empty() {
            // It was the last line: whether more is wanted changes nothing.
            let _ = on_line(&self.rest);
        }
    }
}

#[cfg(test)]
pub mod fake {
    //! Commands that answer from a script and remember what they were asked.

    use super::*;
    use std::sync::Mutex;

    type Reply = Box<dyn FnMut(&[&str]) -> (i32, String) + Send>;

    /// Answers through a closure: argv → exit code and standard output (standard error where the code is not 0).
    pub struct Scripted {
        reply: Mutex<Reply>,
        asked: Mutex<Vec<String>>,
    }

    impl Scripted {
        pub fn new(reply: impl FnMut(&[&str]) -> (i32, String) + Send + 'static) -> Self {
            Self { reply: Mutex::new(Box::new(reply)), asked: Mutex::default() }
        }

        /// Every argv so far, joined with spaces.
        pub fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }
    }

    impl Commands for Scripted {
        fn run(&self, argv: &[&str]) -> Result<Finished, CommandError> {
            self.asked.lock().unwrap().push(argv.join(" "));
            let (code, text) = (self.reply.lock().unwrap())(argv);
            let (stdout, stderr) = if code == 0 { (text, String::new()) } else { (String::new(), text) };
            Ok(Finished {
                code: Some(code),
                signal: None,
                stdout: stdout.into_bytes(),
                stderr: stderr.into_bytes(),
                truncated: false,
                timed_out: false,
                cancelled: false,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one_and_enough_is_enough() {
        let machine = ThisMachine::within(Duration::from_secs(20));
        let mut lines = Vec::new();
        let finished = machine.lines(&["yes", "again"], &mut |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
            if lines.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(finished.is_ok());
        assert_eq!(lines, ["again"; 3]);
    }

    #[test]
    fn a_last_line_without_newline_counts() {
        let mut lines = Vec::new();
        let machine = ThisMachine::within(Duration::from_secs(20));
        machine
            .lines(&["printf", "one\\ntwo"], &mut |line| {
                lines.push(line.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(lines, [b"one".to_vec(), b"two".to_vec()]);
    }

    #[test]
    fn time_and_failure_are_told_apart() {
        let machine = ThisMachine::within(Duration::from_millis(50));
        let late = machine.run(&["sleep", "100"]).unwrap_err();
        assert_eq!(late.outcome().ending, Ending::TimedOut);
        let machine = ThisMachine::within(Duration::from_secs(20));
        let failed = machine.succeed(&["ls", "/no/such/place"]).unwrap_err().outcome();
        assert_eq!(failed.ending, Ending::Failed);
        assert!(failed.summary.contains("No such file"), "{}", failed.summary);
    }
}
