//! The executable in the guest for a while: in a private directory that nobody else can have prepared, verified, and gone
//! again afterwards.

use super::{
    probe::{LEFT, PLACES, Probe},
    saga::StepError,
    transport::{Copying, Exec, SHORT, Transport, TransportError, complaint, is_full},
};
use crate::{
    model::outcome::{Ending, chain},
    sys::{
        cancel::Cancel,
        process::{Finished, Input},
        text::one_line,
    },
};
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

    /// The one at that path, where there is one, in this one's place.
    pub fn or<'b>(&'b self, other: Option<&'b Path>) -> Executable<'b> {
        other.map_or(*self, |path| Executable { path, ..*self })
    }

    /// Whether a guest can run it.
    pub fn fits(&self, probe: &Probe) -> Result<(), StepError> {
        if probe.arch == self.arch {
            return Ok(());
        }
        let why = format!("the guest is {}, and this remotectl is for {}", named(&probe.arch), self.arch);
        Err(StepError::rejected(
            why,
            "on the hub: `remotectl hub artifact add FILE`, with the executable for that architecture",
        ))
    }

    /// Puts it into a directory that does not exist yet.
    pub fn stage(
        &self,
        transport: &dyn Transport,
        directory: &str,
        copying: &Copying,
    ) -> Result<Staged, TransportError> {
        let staged = Staged::in_directory(directory);
        let made = transport.exec(Exec::script(MAKE, [directory]).cancel(copying.cancel))?;
        if !made.success() {
            return Err(TransportError::Write { path: staged.directory, why: complaint(&made) });
        }
        match transport.push(self.path, &staged.program(), 0o700, copying) {
            Ok(()) => Ok(staged),
            Err(error) => {
                // The error that matters is the first; the caller checks that nothing is left.
                Staged::remove(transport, &[directory]).ok();
                Err(error)
            }
        }
    }
}

impl Staged {
    /// The one in that directory of the guest.
    pub fn in_directory(directory: &str) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The executable's path in the guest.
    pub fn program(&self) -> String {
        format!("{}/remotectl", self.directory)
    }

    /// Its directory in the guest.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Runs a program there.
    pub fn call(
        transport: &dyn Transport,
        argv: &[&str],
        timeout: Duration,
        cancel: &Cancel,
    ) -> Result<Finished, TransportError> {
        transport.exec(Exec::new(argv).timeout(timeout).cancel(cancel))
    }

    /// Takes directories away again, those that are there.
    pub fn remove<S: AsRef<str>>(transport: &dyn Transport, directories: &[S]) -> Result<(), String> {
        let argv = ["rm", "-rf", "--"].into_iter().chain(directories.iter().map(AsRef::as_ref));
        match transport.exec(Exec::new(argv).timeout(SHORT)) {
            Ok(finished) if finished.success() => Ok(()),
            Ok(finished) => Err(format!("removing the staged executable: {}", complaint(&finished))),
            Err(error) => Err(format!("removing the staged executable: {}", chain(&error))),
        }
    }
}

/// Waits until no program with the name that comes in is under way any more, and ends what does not end by itself within
/// half a minute. Its own shells don't have the name among their arguments: it is read.
pub(super) const SETTLE: &str = r#"IFS= read -r n || exit 0
[ -n "$n" ] || exit 0
i=0
while :; do
    f=
    for p in /proc/[0-9]*; do
        case $(tr '\0' ' ' 2>/dev/null <"$p/cmdline") in
            *"$n"*)
                f=1
                if [ "$i" -ge 30 ]; then kill -9 "${p#/proc/}" 2>/dev/null; fi
                ;;
        esac
    done
    if [ -z "$f" ] || [ "$i" -ge 32 ]; then exit 0; fi
    i=$((i + 1))
    sleep 1
done
"#;

/// Sees to it that nothing which a former process has started in a staged directory of that name is under way. What comes
/// of it shows when the directory is used or removed.
pub fn settle(transport: &dyn Transport, name: &str) {
    let exec = Exec::script(SETTLE, [""; 0]).input(Input::Bytes(format!("{name}\n").into_bytes())).timeout(SHORT * 2);
    if let Err(error) = transport.exec(exec) {
        tracing::warn!(error = chain(&error), "whether programs are under way in a guest could not be looked up");
    }
}

/// What of an agent, and of `more`, is in the guest, processes included; an error where it can't be found out.
pub fn left(transport: &dyn Transport, more: &[String]) -> Result<Vec<String>, String> {
    let places = PLACES.iter().copied().chain(more.iter().map(String::as_str));
    let finished = transport.exec(Exec::script(LEFT, places).timeout(SHORT)).map_err(|error| chain(&error))?;
    let text = finished.stdout_text();
    if !text.lines().any(|line| line == "left.end=1") {
        return Err(complaint(&finished));
    }
    let found = text.lines().filter_map(|line| line.strip_prefix("there=").or_else(|| line.strip_prefix("process=")));
    Ok(found.map(|found| one_line(found, 200)).collect())
}

/// Which of these places there are; an error where that can't be found out.
pub fn there(transport: &dyn Transport, places: &[&str]) -> Result<Vec<String>, String> {
    let finished = transport.exec(Exec::script(LEFT, places).timeout(SHORT)).map_err(|error| chain(&error))?;
    let text = finished.stdout_text();
    if !text.lines().any(|line| line == "left.end=1") {
        return Err(complaint(&finished));
    }
    let known = |place: &&str| text.lines().any(|line| line.strip_prefix("there=") == Some(place));
    Ok(places.iter().copied().filter(known).map(str::to_owned).collect())
}

/// Whether a deployment is still wanted.
pub(super) fn go_on(cancel: &Cancel, target: &str) -> Result<(), StepError> {
    if !cancel.fired() {
        return Ok(());
    }
    let help = format!("`remotectl deploy {target}` starts anew");
    Err(StepError { ending: Ending::Cancelled, ..StepError::new("cancelled", help) })
}

/// A failed transfer as the reason of a step.
pub(super) fn explained(error: &TransportError, target: &str) -> StepError {
    let why = match error {
        TransportError::Write { path, why } if is_full(why) => {
            format!("no space left while writing {path}")
        }
        other => chain(other),
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
