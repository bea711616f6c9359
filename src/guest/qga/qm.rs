//! A guest agent through the `qm` of its node. Every call is a process of its own and takes about as long as Perl takes to
//! start; a megabyte goes with each.
//!
//! What a program printed comes as JSON, and depending on the version of Proxmox its characters beyond ASCII come as UTF-8
//! or as single bytes. Which, is asked for once, by printing some.

use super::{
    Line,
    answers::{GuestCommand, Info, Started, Status, Told, text},
};
use crate::{
    guest::{
        config,
        transport::{GuestState, SHORT, TransportError},
    },
    model::target::Vmid,
    sys::{
        cancel::Cancel,
        process::{Finished, Input, ProcessError, Run},
        text::one_line,
    },
};
use serde::de::DeserializeOwned;
use std::{ffi::OsString, sync::OnceLock, thread, time::Duration};

/// The largest input of one call.
const MOST: usize = 1 << 20;
/// What an answer may be: 16 MiB of each output, six characters a byte at worst.
const ANSWER: usize = 256 << 20;
/// How long a call may take: a guest agent that hangs is given up by Proxmox itself within seconds.
const CALL: Duration = Duration::from_mins(1);
/// Two bytes that tell the encodings apart.
const TEST: [u8; 2] = [0xc3, 0xa4];

/// A virtual machine of this node, by its guest agent.
#[derive(Debug, Clone)]
pub struct Qm {
    program: OsString,
    vmid: Vmid,
    /// Whether answers are UTF-8, once that is known.
    utf8: OnceLock<bool>,
}

impl Qm {
    /// By the `qm` of this node.
    pub fn new(vmid: Vmid) -> Self {
        Self::by("qm", vmid)
    }

    /// By another program that behaves like it.
    pub fn by(program: impl Into<OsString>, vmid: Vmid) -> Self {
        Self { program: program.into(), vmid, utf8: OnceLock::new() }
    }

    /// Whether its configuration has a guest agent.
    pub fn configured(&self) -> Result<bool, TransportError> {
        let config = self.call(&["config", &self.vmid.to_string()], &[])?;
        Ok(config::guest_agent(&String::from_utf8_lossy(&config)))
    }

    /// Runs qm; its output, or its own complaint.
    fn call<S: AsRef<str>>(&self, words: &[S], input: &[u8]) -> Result<Vec<u8>, TransportError> {
        let words = words.iter().map(AsRef::as_ref);
        let run = Run::new(&self.program, words).input(Input::Bytes(input.to_vec())).timeout(CALL).limit(ANSWER);
        let finished = run.run().map_err(|error| match error {
            ProcessError::Missing(program) => TransportError::NoTool(program),
            error @ ProcessError::Start { .. } => TransportError::Start(error),
        })?;
        if finished.success() { Ok(finished.stdout) } else { Err(self.judge(&finished)) }
    }

    /// What qm's complaint means.
    fn judge(&self, finished: &Finished) -> TransportError {
        let said = one_line(&finished.complaint(), 300);
        let has = |words: &str| said.contains(words);
        let refused = || TransportError::Refused { tool: "qm", said: said.clone() };
        match () {
            () if finished.timed_out => TransportError::Silent(self.label()),
            () if has("qemu-server") && has("does not exist") => TransportError::NoGuest(self.label()),
            () if said == format!("VM {} is not running", self.vmid) => TransportError::NotRunning(self.label()),
            () if said == format!("VM {} not running", self.vmid) => TransportError::NotRunning(self.label()),
            () if has("No QEMU guest agent configured") => TransportError::NoGuestAgent(self.label()),
            () if has("QEMU guest agent is not running") || has("got timeout") => TransportError::Silent(self.label()),
            () if has("has been disabled") => TransportError::Blocked(blocked(&said)),
            () => refused(),
        }
    }

    fn guest(&self, what: &[&str], input: &[u8]) -> Result<Vec<u8>, TransportError> {
        self.call(&[&["guest"], what].concat(), input)
    }

    /// What an answer says. One that is nothing but ASCII reads the same either way.
    fn parse<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, TransportError> {
        let utf8 = answer.is_ascii() || self.is_utf8()?;
        parse(answer, utf8).map_err(unread)
    }

    fn is_utf8(&self) -> Result<bool, TransportError> {
        if let Some(known) = self.utf8.get() {
            return Ok(*known);
        }
        let vmid = self.vmid.to_string();
        let answer = self.guest(&["exec", &vmid, "--timeout", "10", "--", "printf", r"\303\244"], &[])?;
        let says = |utf8| {
            let told: Option<Status> = parse::<Told>(&answer, utf8).ok().and_then(Told::status);
            told.is_some_and(|status| status.stdout == TEST)
        };
        let utf8 = match (says(true), says(false)) {
            (true, false) => true,
            (false, true) => false,
            _ => return Err(unread("its encoding can't be told")),
        };
        Ok(*self.utf8.get_or_init(|| utf8))
    }
}

fn parse<T: DeserializeOwned>(answer: &[u8], utf8: bool) -> Result<T, serde_json::Error> {
    if utf8 { serde_json::from_slice(answer) } else { serde_json::from_str(&text(answer)) }
}

fn unread(why: impl std::fmt::Display) -> TransportError {
    TransportError::Refused { tool: "qm", said: format!("its answer does not read: {why}") }
}

/// The command in `Agent error: Command guest-exec has been disabled`, in the words of any version.
fn blocked(said: &str) -> String {
    let word = said.split([' ', '\'', '"']).find(|word| word.starts_with("guest-"));
    word.unwrap_or("what is needed").to_owned()
}

/// A program that could not be started, from the guest agent's words.
fn not_started(said: &str, program: &str) -> Option<TransportError> {
    if !said.contains("Failed to execute child process") {
        return None;
    }
    let program = one_line(program, 100);
    let missing = said.contains("No such file or directory");
    Some(if missing { TransportError::NotFound(program) } else { TransportError::NotExecutable(program) })
}

impl Line for Qm {
    fn tool(&self) -> &'static str {
        "qm"
    }

    fn label(&self) -> String {
        format!("vm/{}", self.vmid)
    }

    fn state(&self) -> Result<GuestState, TransportError> {
        let vmid = self.vmid.to_string();
        // Each of them takes a noticeable while to start; together they take one.
        let (status, config) = thread::scope(|scope| {
            let config = scope.spawn(|| self.call(&["config", &vmid], &[]));
            (self.call(&["status", &vmid], &[]), config.join())
        });
        let config =
            config.map_err(|_| TransportError::Refused { tool: "qm", said: "config: panicked".to_owned() })??;
        Ok(config::state(&String::from_utf8_lossy(&status?), &String::from_utf8_lossy(&config)))
    }

    fn commands(&self) -> Result<Vec<GuestCommand>, TransportError> {
        let answer = self.guest(&["cmd", &self.vmid.to_string(), "info"], &[])?;
        self.parse(&answer).map(Info::commands)
    }

    fn takes(&self, input: &[u8]) -> bool {
        input.len() <= MOST
    }

    fn start(&self, argv: &[String], input: &[u8]) -> Result<u64, TransportError> {
        let vmid = self.vmid.to_string();
        let mut words = vec!["exec", &vmid, "--synchronous", "0"];
        if !input.is_empty() {
            words.extend(["--pass-stdin", "1"]);
        }
        words.push("--");
        words.extend(argv.iter().map(String::as_str));
        let program = argv.first().map_or("", String::as_str);
        let answer = self.guest(&words, input).map_err(|error| match &error {
            TransportError::Refused { said, .. } => not_started(said, program).unwrap_or(error),
            _ => error,
        })?;
        self.parse::<Started>(&answer).map(|started| started.pid)
    }

    fn status(&self, pid: u64) -> Result<Status, TransportError> {
        let answer = self.guest(&["exec-status", &self.vmid.to_string(), &pid.to_string()], &[])?;
        self.parse::<Told>(&answer)?.status().ok_or_else(|| unread("a character that is no byte"))
    }

    fn part(&self) -> usize {
        MOST
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), TransportError> {
        let failed = |why: String| TransportError::Write { path: one_line(path, 200), why };
        let argv = ["sh", "-c", r#"umask 077; cat >"$1""#, "sh", path].map(str::to_owned);
        let pid = self.start(&argv, bytes)?;
        let deadline = std::time::Instant::now() + SHORT;
        loop {
            let status = self.status(pid)?;
            match (status.exited, status.code) {
                (true, Some(0)) => return Ok(()),
                (true, _) => return Err(failed(one_line(&String::from_utf8_lossy(&status.stderr), 300))),
                _ if std::time::Instant::now() > deadline => return Err(failed("it takes too long".to_owned())),
                _ => drop(Cancel::new().wait(Duration::from_millis(20))),
            }
        }
    }
}
