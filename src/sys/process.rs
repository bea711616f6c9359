//! Other programs: argv only, never a shell string; with a deadline, capped output, cancellation, and the whole process
//! group killed when it has to end.

#![allow(clippy::disallowed_methods, reason = "this is the one file that starts processes")]

use super::cancel::Cancel;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// How long output may still come after the program itself has ended (a daemon may hold its pipes open for ever).
const OUTPUT_GRACE: Duration = Duration::from_millis(200);
/// Output that is kept of each stream, unless told otherwise: 1 MiB.
const DEFAULT_LIMIT: usize = 1 << 20;

/// The longest that a program may run, whatever was asked: a week.
const LONGEST: Duration = Duration::from_hours(168);

/// Which of a program's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a program is given to read.
#[derive(Debug, Default)]
pub enum Input {
    /// Nothing: /dev/null.
    #[default]
    Nothing,
    /// These bytes.
    Bytes(Vec<u8>),
    /// This open file, from where it stands.
    File(File),
}

type OnOutput<'a> = Box<dyn FnMut(Stream, &[u8]) + 'a>;

impl Input {
    /// The same once more, for another try of a program that has read nothing of it.
    pub fn again(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Nothing => Self::Nothing,
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Self::File(file) => Self::File(file.try_clone()?),
        })
    }
}

/// A program to be run.
pub struct Run<'a> {
    program: OsString,
    args: Vec<OsString>,
    input: Input,
    env: Vec<(OsString, OsString)>,
    clear_env: bool,
    timeout: Duration,
    limit: usize,
    cancel: Cancel,
    on_output: Option<OnOutput<'a>>,
}

/// How it ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code, where it exited by itself.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// What it wrote, up to the limit.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, up to the limit.
    pub stderr: Vec<u8>,
    /// Whether output beyond the limit was dropped.
    pub truncated: bool,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
    /// Whether it was killed because it was cancelled.
    pub cancelled: bool,
}

/// A program that could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such program.
    #[error("there is no program `{0}` here")]
    Missing(String),
    /// It could not be started.
    #[error("starting `{program}`")]
    Start {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

enum Event {
    Output(Stream, Vec<u8>),
    Closed,
    Exited(io::Result<ExitStatus>),
    Cancelled,
}

impl<'a> Run<'a> {
    /// A program (looked up in PATH unless it has a slash) and its arguments; 60 s, no input, this environment.
    pub fn new<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: args.into_iter().map(|arg| arg.as_ref().to_owned()).collect(),
            input: Input::Nothing,
            env: Vec::new(),
            clear_env: false,
            timeout: Duration::from_mins(1),
            limit: DEFAULT_LIMIT,
            cancel: Cancel::new(),
            on_output: None,
        }
    }

    /// What it reads on standard input.
    #[must_use]
    pub fn input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives it only the variables set with `env`.
    #[must_use]
    pub fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// How long it may take before its process group is killed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many bytes of each stream are kept.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// What ends it early.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Is called with each piece of output as it comes, beside its being kept.
    #[must_use]
    pub fn on_output(mut self, on_output: impl FnMut(Stream, &[u8]) + 'a) -> Self {
        self.on_output = Some(Box::new(on_output));
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Result<Finished, ProcessError> {
        let mut child = self.start()?;
        let group = Pid::from_child(&child);
        let (sender, events) = mpsc::channel();
        if let (Input::Bytes(bytes), Some(mut stdin)) = (std::mem::take(&mut self.input), child.stdin.take()) {
            // A program that does not read to the end closes the pipe: that is its right.
            thread::spawn(move || drop(stdin.write_all(&bytes)));
        }
        if let Some(stdout) = child.stdout.take() {
            pump(stdout, Stream::Stdout, sender.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            pump(stderr, Stream::Stderr, sender.clone());
        }
        let cancelled = sender.clone();
        self.cancel.on_fire(move || drop(cancelled.send(Event::Cancelled)));
        thread::spawn(move || drop(sender.send(Event::Exited(child.wait()))));
        let program = self.program.to_string_lossy().into_owned();
        self.follow(&events, group).map_err(|source| ProcessError::Start { program, source })
    }

    fn start(&mut self) -> Result<Child, ProcessError> {
        let stdin = match &self.input {
            Input::Nothing => Stdio::null(),
            Input::Bytes(_) => Stdio::piped(),
            Input::File(_) => match std::mem::take(&mut self.input) {
                Input::File(file) => Stdio::from(file),
                _ => Stdio::null(),
            },
        };
        let mut command = Command::new(&self.program);
        if self.clear_env {
            command.env_clear();
        }
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let program = self.program.to_string_lossy().into_owned();
        command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ProcessError::Missing(program),
            _ => ProcessError::Start { program, source },
        })
    }

    fn follow(&mut self, events: &Receiver<Event>, group: Pid) -> io::Result<Finished> {
        let mut finished = Finished {
            code: None,
            signal: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            truncated: false,
            timed_out: false,
            cancelled: false,
        };
        let mut deadline = Instant::now() + self.timeout.min(LONGEST);
        let (mut open, mut status) = (2, None);
        while open > 0 || status.is_none() {
            match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Output(stream, bytes)) => self.keep(&mut finished, stream, &bytes),
                Ok(Event::Closed) => open -= 1,
                Ok(Event::Exited(exited)) => {
                    status = Some(exited?);
                    deadline = deadline.min(Instant::now() + OUTPUT_GRACE);
                }
                Ok(Event::Cancelled) => {
                    finished.cancelled = status.is_none();
                    kill(group);
                }
                Err(_) if status.is_some() => break,
                Err(RecvTimeoutError::Timeout) => {
                    finished.timed_out = true;
                    deadline = Instant::now() + Duration::from_secs(5);
                    kill(group);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        finished.code = status.and_then(|status| status.code());
        finished.signal = status.and_then(|status| status.signal());
        Ok(finished)
    }

    fn keep(&mut self, finished: &mut Finished, stream: Stream, bytes: &[u8]) {
        if let Some(on_output) = &mut self.on_output {
            on_output(stream, bytes);
        }
        let kept = match stream {
            Stream::Stdout => &mut finished.stdout,
            Stream::Stderr => &mut finished.stderr,
        };
        let room = self.limit.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
        finished.truncated |= room < bytes.len();
    }
}

impl Finished {
    /// Whether it exited with code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output as text, invalid UTF-8 replaced.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last line that is not empty of standard error, else of standard output: what programs give as their reason.
    pub fn complaint(&self) -> String {
        let last = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
        };
        last(&self.stderr).or_else(|| last(&self.stdout)).unwrap_or_else(|| self.ending())
    }

    /// `exit code 3`, `killed by signal 9`, `timed out`.
    pub fn ending(&self) -> String {
        match (self.timed_out, self.cancelled, self.code, self.signal) {
            (true, ..) => "timed out".to_owned(),
            (_, true, ..) => "cancelled".to_owned(),
            (_, _, Some(code), _) => format!("exit code {code}"),
            (_, _, _, Some(signal)) => format!("killed by signal {signal}"),
            _ => "ended in an unknown way".to_owned(),
        }
    }
}

/// This process's executable, as it runs: the file that it was started from may be another by now.
pub const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// Replaces this process by another program; returns only when that fails.
pub fn replace<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> io::Error {
    Command::new(program).args(args).exec()
}

/// Starts a program that goes on when this process has ended, with no input and nobody who reads what it says.
pub fn detach<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).spawn().map(drop)
}

/// Waits until a process (of anybody's) has ended, so long at most: whether it has. An error where it can't be watched
/// (no such process, or a kernel before 5.3).
pub fn ends_within(pid: u32, time: Duration) -> io::Result<bool> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec::try_from(time).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit))? > 0)
}

fn kill(group: Pid) {
    // It may have ended by itself in between.
    kill_process_group(group, Signal::KILL).ok();
}

fn pump(mut from: impl Read + Send + 'static, stream: Stream, to: Sender<Event>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read) = from.read(&mut buffer) {
            if read == 0 || to.send(Event::Output(stream, buffer[..read].to_vec())).is_err() {
                break;
            }
        }
        drop(to.send(Event::Closed));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Run<'static> {
        Run::new("sh", ["-c", script])
    }

    #[test]
    fn output_codes_and_input_come_through() {
        let finished = sh("cat; echo err >&2; exit 7").input(Input::Bytes(b"in".to_vec())).run().unwrap();
        assert_eq!((finished.code, &finished.stdout[..], &finished.stderr[..]), (Some(7), &b"in"[..], &b"err\n"[..]));
        assert_eq!(sh("kill -9 $$").run().unwrap().signal, Some(9));
    }

    #[test]
    fn a_program_that_takes_too_long_ends_with_its_children() {
        let finished = sh("sleep 1000 & sleep 1000").timeout(Duration::from_millis(50)).run().unwrap();
        assert!(finished.timed_out);
        assert_eq!(finished.ending(), "timed out");
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_does_not_keep_us() {
        let started = Instant::now();
        assert!(sh("sleep 30 & exit 0").run().unwrap().success());
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn output_is_capped_and_cancel_ends_it() {
        let finished = sh("head -c 100000 /dev/zero").limit(10).run().unwrap();
        assert_eq!((finished.stdout.len(), finished.truncated), (10, true));
        let cancel = Cancel::new();
        cancel.fire();
        assert!(sh("sleep 1000").cancel(cancel).run().unwrap().cancelled);
    }

    #[test]
    fn a_process_is_watched_until_it_ends_or_the_time_is_up() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        assert!(!ends_within(child.id(), Duration::from_millis(20)).unwrap());
        child.kill().unwrap();
        assert!(ends_within(child.id(), Duration::from_secs(20)).unwrap());
        child.wait().unwrap();
        assert!(ends_within(child.id(), Duration::from_secs(20)).is_err(), "it is no more");
    }

    #[test]
    fn a_missing_program_is_said_to_be_missing() {
        let error = Run::new("no-such-program", [""; 0]).run().unwrap_err();
        assert_eq!(error.to_string(), "there is no program `no-such-program` here");
    }
}
