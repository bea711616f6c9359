//! The one story that every transport has to live through: fakes, this machine, real containers.

use super::transport::{Copying, Exec, Transport, TransportError};
use crate::sys::{
    cancel::Cancel,
    files,
    process::{Input, Stream},
    random,
};
use std::{path::PathBuf, time::Duration};

/// Runs the story in a directory of the guest that exists and is empty; says at which sentence it goes wrong.
pub fn story(transport: &dyn Transport, directory: &str) -> Result<(), String> {
    let here = std::env::temp_dir().join(format!("remotectl-story-{}", random::name(10)));
    files::create_directory(&here, 0o700).map_err(|error| error.to_string())?;
    let told = Story { transport, there: directory.to_owned(), here: here.clone() }.tell();
    files::remove_tree(&here).map_err(|error| error.to_string())?;
    told
}

struct Story<'a> {
    transport: &'a dyn Transport,
    there: String,
    here: PathBuf,
}

fn sentence(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("it does not hold that {what}")) }
}

impl Story<'_> {
    fn tell(&self) -> Result<(), String> {
        self.programs()?;
        self.files()?;
        self.ends()
    }

    fn run(&self, argv: &[&str]) -> Result<(Option<i32>, String), String> {
        let finished = self.transport.exec(Exec::new(argv)).map_err(|error| format!("{argv:?}: {error}"))?;
        Ok((finished.code, finished.stdout_text()))
    }

    fn programs(&self) -> Result<(), String> {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(200_000).collect();
        let mut streamed = 0;
        // Sudo and shells have something to say on standard error now and then.
        let mut count = |stream, piece: &[u8]| streamed += if stream == Stream::Stdout { piece.len() } else { 0 };
        let exec = Exec::new(["cat"]).input(Input::Bytes(bytes.clone())).on_output(&mut count);
        let finished = self.transport.exec(exec).map_err(|error| error.to_string())?;
        sentence(
            finished.stdout == bytes && streamed == bytes.len(),
            "any bytes go in and come out, and are streamed",
        )?;
        sentence(self.run(&["false"])?.0 == Some(1), "exit codes come through")?;
        sentence(self.run(&["sh", "-c", "exit 255"])?.0 == Some(255), "a program's own 255 is its own")?;
        let argv = ["printf", "[%s]\n", "a b", "", "$x", "q'q", "--foo", "--"];
        let printed = "[a b]\n[]\n[$x]\n[q'q]\n[--foo]\n[--]\n";
        sentence(self.run(&argv)?.1 == printed, "arguments arrive as they are")?;
        sentence(!self.run(&["env"])?.1.contains("CARGO"), "our environment stays here")?;
        let missing = self.transport.exec(Exec::new(["/nonexistent/program"]));
        sentence(matches!(missing, Err(TransportError::NotFound(_))), "a missing program is said to be missing")
    }

    fn files(&self) -> Result<(), String> {
        let cancel = Cancel::new();
        let (one, two, out) = (self.here.join("one"), self.here.join("two"), self.here.join("out"));
        let write = |path, content: &[u8]| files::write_atomic(path, content, 0o600).map_err(|error| error.to_string());
        write(&one, b"#!/bin/sh\n\0\xff one\n")?;
        write(&two, b"two")?;
        let there = format!("{}/a file", self.there);
        let push =
            |local: &PathBuf, remote: &str, mode| self.transport.push(local, remote, mode, &Copying::quietly(&cancel));
        push(&one, &there, 0o640).map_err(|error| error.to_string())?;
        sentence(self.run(&["stat", "-c", "%a", &there])?.1 == "640\n", "a pushed file has its mode")?;
        let refused = self.transport.exec(Exec::new([there.as_str()]));
        sentence(matches!(refused, Err(TransportError::NotExecutable(_))), "what is not executable is said to be so")?;
        self.transport.pull(&there, &out, &cancel).map_err(|error| error.to_string())?;
        let same = files::read(&out).ok() == files::read(&one).ok();
        sentence(same, "what was pushed is what is pulled")?;
        push(&two, &there, 0o600).map_err(|error| error.to_string())?;
        sentence(self.run(&["cat", &there])?.1 == "two", "a push replaces what was there")?;
        let nowhere = format!("{}/nowhere/x", self.there);
        sentence(push(&two, &nowhere, 0o600).is_err(), "a push into a missing directory fails")?;
        sentence(push(&two, &self.there, 0o600).is_err(), "a push onto a directory fails")?;
        let missing = self.transport.pull(&nowhere, &out, &cancel);
        sentence(missing.is_err(), "a missing file can't be pulled")?;
        sentence(self.run(&["ls", "-A", &self.there])?.1 == "a file\n", "failures leave nothing behind")?;
        sentence(self.run(&["rm", "-rf", "--", &there])?.0 == Some(0), "files can be removed")?;
        sentence(self.run(&["ls", "-A", &self.there])?.1.is_empty(), "nothing is left in the end")
    }

    fn ends(&self) -> Result<(), String> {
        let long = || Exec::new(["sleep", "1000"]);
        let finished =
            self.transport.exec(long().timeout(Duration::from_millis(200))).map_err(|error| error.to_string())?;
        sentence(finished.timed_out, "what takes too long is ended")?;
        let cancel = Cancel::new();
        cancel.fire();
        let finished = self.transport.exec(long().cancel(&cancel)).map_err(|error| error.to_string())?;
        sentence(finished.cancelled, "what is cancelled is ended")
    }
}
