//! The programs that a simulated guest has: those that the agent calls, and a few that people type. Each answers from the
//! guest's state in the program's own words; what is not here is not there, and says so.

mod journalctl;
mod openrc;
mod packages;
mod shell;
mod systemctl;
mod texts;

use super::guest::{Guest, Refusal};
use crate::{
    host::{
        Task,
        commands::{CommandError, Commands},
    },
    sys::{cancel::Cancel, process::Finished},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a service takes to start unless its kind says, and to stop.
const START: Duration = Duration::from_millis(350);
const STOP: Duration = Duration::from_millis(180);

/// What a program wrote and how it ended.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// It worked, and wrote this.
    pub fn good(out: impl Into<String>) -> Self {
        Self { code: 0, out: out.into(), err: String::new() }
    }

    /// It did not, and said why.
    pub fn bad(code: i32, err: impl Into<String>) -> Self {
        Self { code, out: String::new(), err: format!("{}\n", err.into()) }
    }

    /// The same with another exit code.
    pub fn with_code(self, code: i32) -> Self {
        Self { code, ..self }
    }
}

/// A guest's programs, for one task.
pub struct Programs {
    guest: Arc<Guest>,
    cancel: Cancel,
    deadline: Instant,
}

/// A service that a program can do something to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
}

impl Programs {
    /// For one task: they end with it.
    pub fn new(guest: Arc<Guest>, task: &Task) -> Self {
        Self { guest, cancel: task.cancel.clone(), deadline: Instant::now() + task.timeout }
    }

    /// Runs a program with its input.
    fn call(&self, argv: &[&str], input: &str) -> Result<Output, CommandError> {
        let (program, rest) = argv.split_first().unwrap_or((&"", &[]));
        let program = program.rsplit('/').next().unwrap_or_default();
        if program == "sh" {
            return match rest {
                ["-c", text, ..] => shell::run(self, text),
                _ => Ok(missing("sh without -c")),
            };
        }
        if self.guest.systemd() {
            match program {
                "systemctl" => return systemctl::run(self, rest),
                "journalctl" => return Ok(journalctl::run(&self.guest, rest)),
                _ => {}
            }
        } else {
            match program {
                "rc-service" => return openrc::service(self, rest),
                "rc-update" => return Ok(openrc::update(&self.guest, rest)),
                "rc-status" => return Ok(openrc::status(&self.guest)),
                _ => {}
            }
        }
        if let Some(output) = packages::run(self, program, rest)? {
            return Ok(output);
        }
        Ok(texts::run(&self.guest, program, rest, input).unwrap_or_else(|| missing(program)))
    }

    /// Lets a simulated time pass; an error where the task ends before.
    fn pass(&self, time: Duration, argv: &[&str]) -> Result<(), CommandError> {
        let (time, left) = (self.guest.scaled(time), self.deadline.saturating_duration_since(Instant::now()));
        let command = || argv.join(" ");
        if self.cancel.wait(time.min(left)) {
            return Err(CommandError::Cancelled { command: command() });
        }
        if time > left { Err(CommandError::TimedOut { command: command() }) } else { Ok(()) }
    }

    /// Does something to a service, in the time that it takes.
    fn act(&self, verb: Verb, name: &str, argv: &[&str]) -> Result<Result<(), Refusal>, CommandError> {
        let own = self.guest.state().services.get(name).and_then(|service| service.kind.start_ms);
        let start = own.map_or(START, Duration::from_millis);
        match verb {
            Verb::Start => {
                self.pass(start, argv)?;
                Ok(self.guest.start(name))
            }
            Verb::Stop => {
                self.pass(STOP, argv)?;
                self.guest.stop(name);
                Ok(Ok(()))
            }
            Verb::Restart => {
                self.pass(STOP, argv)?;
                self.guest.stop(name);
                self.pass(start, argv)?;
                Ok(self.guest.start(name))
            }
            Verb::Reload => {
                self.pass(STOP, argv)?;
                Ok(self.guest.reload(name))
            }
        }
    }
}

impl Commands for Programs {
    fn run(&self, argv: &[&str]) -> Result<Finished, CommandError> {
        let command = || argv.join(" ");
        if self.cancel.fired() {
            return Err(CommandError::Cancelled { command: command() });
        }
        let off = self.guest.state().boot.is_none();
        let output = if off { Output::bad(255, "the guest is not running") } else { self.call(argv, "")? };
        Ok(Finished {
            code: Some(output.code),
            signal: None,
            stdout: output.out.into_bytes(),
            stderr: output.err.into_bytes(),
            truncated: false,
            timed_out: false,
            cancelled: false,
        })
    }
}

/// What is not simulated.
fn missing(program: &str) -> Output {
    let program: String = program.chars().take(80).collect();
    Output::bad(127, format!("this guest is simulated: {program} is not there"))
}
