//! QEMU's monitor, as far as machines are saved, gone on with and ended by it.

use serde_json::{Value, json};
use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long QEMU may take for what is asked of it.
const PATIENCE: Duration = Duration::from_mins(2);

/// A connection to a monitor.
pub struct Monitor {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

/// Connects, as soon as the socket is there.
pub fn connect(socket: &Path) -> io::Result<Monitor> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut monitor = Monitor { reader: BufReader::new(stream.try_clone()?), writer: stream };
    monitor.line()?;
    monitor.ask("qmp_capabilities", &json!({}))?;
    Ok(monitor)
}

impl Monitor {
    fn line(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(io::Error::other)
    }

    /// Asks for something; events in between are passed over.
    pub fn ask(&mut self, command: &str, arguments: &Value) -> io::Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        self.writer.write_all(format!("{request}\n").as_bytes())?;
        loop {
            let answer = self.line()?;
            if let Some(error) = answer.get("error") {
                return Err(io::Error::other(format!("{command}: {error}")));
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }

    /// Saves the machine to a file, as QEMU sees it, and ends it.
    pub fn save(&mut self, file: &Path) -> io::Result<()> {
        self.ask("stop", &json!({}))?;
        self.ask("migrate-set-parameters", &json!({"max-bandwidth": 10_u64 << 30}))?;
        self.ask("migrate", &json!({"uri": format!("exec:cat >{}", file.display())}))?;
        self.until("query-migrate", |status| match status {
            "completed" => Ok(true),
            "failed" => Err(io::Error::other("the state could not be saved")),
            _ => Ok(false),
        })?;
        // It may be gone before it has said so.
        self.ask("quit", &json!({})).ok();
        Ok(())
    }

    /// Lets a machine go on that has been read from a file.
    pub fn go_on(&mut self) -> io::Result<()> {
        self.until("query-status", |status| Ok(status != "inmigrate"))?;
        self.ask("cont", &json!({})).map(drop)
    }

    fn until(&mut self, question: &str, mut reached: impl FnMut(&str) -> io::Result<bool>) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !reached(self.ask(question, &json!({}))?["status"].as_str().unwrap_or_default())? {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{question}: it takes too long")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
