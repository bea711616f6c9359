//! The guest agent's own protocol, over the socket that QEMU has for it: one caller at a time, synchronised first.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long a caller waits for an answer before it asks to be synchronised again.
const AGAIN: Duration = Duration::from_millis(500);

/// A synchronised guest agent.
pub struct GuestAgent {
    stream: UnixStream,
    rest: Vec<u8>,
}

/// How a program ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
}

/// What a guest agent refuses, in its words, or an answer that does not come.
#[derive(Debug)]
pub enum Refused {
    /// It says why.
    Said(String),
    /// There is no answer.
    Silent,
}

impl From<io::Error> for Refused {
    fn from(_: io::Error) -> Self {
        Self::Silent
    }
}

impl GuestAgent {
    /// Connects and waits until it answers, so long at most.
    pub fn connect(socket: &Path, patience: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + patience;
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(AGAIN))?;
        let mut agent = Self { stream, rest: Vec::new() };
        let mut id = u64::from(std::process::id()) << 16;
        while Instant::now() < deadline {
            id += 1;
            let request = json!({"execute": "guest-sync-delimited", "arguments": {"id": id}});
            agent.stream.write_all(format!("\u{1}{request}\n").replace('\u{1}', "").as_bytes())?;
            while let Ok(answer) = agent.line() {
                if answer["return"] == id {
                    return Ok(agent);
                }
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// A line of it; what is left of older answers is passed over.
    fn line(&mut self) -> io::Result<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let start = line.iter().rposition(|byte| *byte == 0xff).map_or(0, |at| at + 1);
                match serde_json::from_slice(&line[start..]) {
                    Ok(value) => return Ok(value),
                    Err(_) => continue,
                }
            }
            let mut buffer = vec![0; 64 << 10];
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.rest.extend_from_slice(&buffer[..read]);
        }
    }

    /// Asks for something.
    pub fn ask(&mut self, command: &str, arguments: &Value, patience: Duration) -> Result<Value, Refused> {
        self.stream.set_read_timeout(Some(patience))?;
        let request = json!({"execute": command, "arguments": arguments});
        self.stream.write_all(format!("{request}\n").as_bytes())?;
        let answer = self.line()?;
        match answer.get("error") {
            Some(error) => Err(Refused::Said(error["desc"].as_str().unwrap_or_default().to_owned())),
            None => Ok(answer["return"].clone()),
        }
    }

    /// Runs a program to its end.
    pub fn run(&mut self, argv: &[&str], patience: Duration) -> Result<Ended, Refused> {
        let call = Duration::from_secs(20);
        let arguments = json!({"path": argv[0], "arg": argv[1..], "capture-output": true});
        let pid = self.ask("guest-exec", &arguments, call)?["pid"].clone();
        let deadline = Instant::now() + patience;
        loop {
            let status = self.ask("guest-exec-status", &json!({"pid": pid}), call)?;
            if status["exited"] == true {
                let code = status["exitcode"].as_i64().and_then(|code| code.try_into().ok());
                return Ok(Ended { code, stdout: decoded(&status["out-data"]) });
            }
            if Instant::now() > deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Base64 that may be absent.
pub fn decoded(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default()
}
