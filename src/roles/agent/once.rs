//! `agent once`: one operation on a guest that has no agent. The pve-agent brings the executable, feeds it this, reads the
//! answer and takes it away again.

use crate::{
    guest::answers::OnceLine,
    host::{self, Machine, Task},
    model::{Failure, Op, outcome::Report},
    sys::cancel::Cancel,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

/// The longest request, in bytes.
const LIMIT: u64 = 1 << 20;

/// What stands on standard input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    op: String,
    #[serde(default)]
    args: Map<String, Value>,
    /// Seconds.
    #[serde(default = "minute")]
    timeout: u64,
}

fn minute() -> u64 {
    60
}

/// One operation as JSON on standard input; progress, output and outcome as lines of JSON on standard output.
pub fn once() -> Result<(), Failure> {
    let mut text = String::new();
    std::io::stdin()
        .take(LIMIT)
        .read_to_string(&mut text)
        .map_err(|error| Failure::of("reading standard input", &error))?;
    once_on(&text, &Machine::here(), &|line| {
        // Whoever reads may be gone; there is nobody else to tell.
        writeln!(std::io::stdout().lock(), "{line}").ok();
    })
}

/// The same on any machine: `say` is given the lines.
pub fn once_on(text: &str, machine: &Machine, say: &(dyn Fn(&str) + Sync)) -> Result<(), Failure> {
    let request: Request = serde_json::from_str(text)
        .map_err(|error| Failure::usage(format!("standard input is no operation: {error}")))?;
    let op = Op::from_parts(&request.op, request.args).map_err(|error| Failure::usage(error.to_string()))?;
    let lines = Lines(say);
    let task = Task { report: &lines, cancel: Cancel::new(), timeout: Duration::from_secs(request.timeout) };
    lines.say(&OnceLine::Outcome(host::perform(&op, machine, &task)));
    Ok(())
}

struct Lines<'a>(&'a (dyn Fn(&str) + Sync));

impl Lines<'_> {
    fn say(&self, line: &OnceLine) {
        (self.0)(&serde_json::to_string(line).expect("a line is made of strings and numbers"));
    }
}

impl Report for Lines<'_> {
    fn progress(&self, line: &str) {
        self.say(&OnceLine::Progress(line.to_owned()));
    }

    fn output(&self, bytes: &[u8]) {
        self.say(&OnceLine::Output(String::from_utf8_lossy(bytes).into_owned()));
    }
}
