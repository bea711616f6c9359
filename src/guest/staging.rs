//! The executable in the guest for a while: in a private directory that nobody else can have prepared, verified, and gone
//! again afterwards.

use super::{
    probe::{LEFT, PLACES, Probe},
    saga::StepError,
    transport::{Exec, SHORT, Transport, TransportError, complaint, is_full},
};
use crate::sys::{cancel::Cancel, process::Finished, random, text::one_line};
use std::{fs, path::Path, time::Duration};

/// The executable that is put into guests: this process's own, mostly.
#[derive(Debug, Clone, Copy)]
pub struct Executable<'a> {
    /// Where it is here.
    pub path: &'a Path,
    /// Its remotectl version.
    pub version: &'a str,
    /// What it runs on, as the kernel calls it: `x86_64`, `aarch64`.
    pub arch: &'a str,
}

/// The executable, in a guest.
#[derive(Debug)]
pub struct Staged {
    directory: String,
}

/// Makes a directory that did not exist, for root alone.
pub(super) const MAKE: &str = r#"umask 077; exec mkdir -m 700 -- "$1""#;

impl Executable<'_> {
    /// Its size in bytes.
    pub fn bytes(&self) -> Result<u64, StepError> {
        let failed = |error| {
            let why = format!("reading {} on this node: {error}", self.path.display());
            StepError::new(why, "was remotectl updated just now? try again")
        };
        fs::metadata(self.path).map(|metadata| metadata.len()).map_err(failed)
    }

    /// Whether a guest can run it.
    pub fn fits(&self, probe: &Probe) -> Result<(), StepError> {
        if probe.arch == self.arch {
            return Ok(());
        }
        let why = format!("the guest is {}, and this remotectl is for {}", named(&probe.arch), self.arch);
        Err(StepError::rejected(why, "an executable for that architecture is needed; the hub holds none yet"))
    }

    /// Puts it into a new directory below `place`.
    pub fn stage(&self, transport: &dyn Transport, place: &str, cancel: &Cancel) -> Result<Staged, TransportError> {
        let staged = Staged { directory: format!("{place}/.remotectl-{}", random::name(16).to_ascii_lowercase()) };
        let made = transport.exec(Exec::script(MAKE, [&staged.directory]).cancel(cancel))?;
        if !made.success() {
            return Err(TransportError::Write { path: staged.directory, why: complaint(&made) });
        }
        match transport.push(self.path, &staged.program(), 0o700, cancel) {
            Ok(()) => Ok(staged),
            Err(error) => {
                // The error that matters is the first; the caller checks that nothing is left.
                staged.remove(transport).ok();
                Err(error)
            }
        }
    }
}

impl Staged {
    /// The executable's path in the guest.
    pub fn program(&self) -> String {
        format!("{}/remotectl", self.directory)
    }

    /// Its directory in the guest.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Runs it there.
    pub fn run(
        &self,
        transport: &dyn Transport,
        args: &[&str],
        timeout: Duration,
        cancel: &Cancel,
    ) -> Result<Finished, TransportError> {
        let program = self.program();
        transport.exec(Exec::new([&[program.as_str()], args].concat()).timeout(timeout).cancel(cancel))
    }

    /// Takes it away again.
    pub fn remove(&self, transport: &dyn Transport) -> Result<(), String> {
        let gone = transport.exec(Exec::new(["rm", "-rf", "--", &self.directory]).timeout(SHORT));
        match gone {
            Ok(finished) if finished.success() => Ok(()),
            Ok(finished) => Err(format!("removing {}: {}", self.directory, complaint(&finished))),
            Err(error) => Err(format!("removing {}: {}", self.directory, crate::model::outcome::chain(&error))),
        }
    }
}

/// What of an agent, and of `more`, is in the guest, processes included; an error where it can't be found out.
pub fn left(transport: &dyn Transport, more: &[String]) -> Result<Vec<String>, String> {
    let places = PLACES.iter().copied().chain(more.iter().map(String::as_str));
    let finished = transport
        .exec(Exec::script(LEFT, places).timeout(SHORT))
        .map_err(|error| crate::model::outcome::chain(&error))?;
    let text = finished.stdout_text();
    if !text.lines().any(|line| line == "left.end=1") {
        return Err(complaint(&finished));
    }
    let found = text.lines().filter_map(|line| line.strip_prefix("there=").or_else(|| line.strip_prefix("process=")));
    Ok(found.map(|found| one_line(found, 200)).collect())
}

/// A failed transfer as the reason of a step.
pub(super) fn explained(error: &TransportError, target: &str) -> StepError {
    let why = match error {
        TransportError::Write { path, why } if is_full(why) => {
            format!("no space left while writing {path}")
        }
        other => crate::model::outcome::chain(other),
    };
    StepError::new(why, error.help(target))
}

/// A failed command of the staged executable, in its own words: it ends with `error: …` and `help: …` lines.
pub(super) fn refused(finished: &Finished, target: &str) -> StepError {
    let stderr = String::from_utf8_lossy(&finished.stderr);
    let said =
        |word: &str| stderr.lines().find_map(|line| line.trim().strip_prefix(word)).map(|text| one_line(text, 300));
    let why = said("error: ").unwrap_or_else(|| complaint(finished));
    StepError::new(
        why,
        said("help: ").unwrap_or_else(|| format!("what {target} is like: `remotectl run guest.status {target}`")),
    )
}

fn named(arch: &str) -> &str {
    if arch.is_empty() { "of an unknown architecture" } else { arch }
}
