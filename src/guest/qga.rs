//! Virtual machines through QEMU's guest agent. It starts programs and tells how they ended, once; it streams nothing. So a
//! file goes in parts, assembled in the guest and verified there by SHA-256, and a program that has to end is ended by
//! another one. The agent's socket is never held: every call is one of Proxmox's own.

mod answers;
mod qm;

pub use answers::{GuestCommand, Status};
pub use qm::Qm;

use super::transport::{Copying, Exec, GuestState, TRANSFER, Transport, TransportError, complaint};
use crate::{
    model::{
        digest::Digest,
        outcome::{Report, chain},
    },
    sys::{
        cancel::Cancel,
        files::{self, FileError},
        process::{Finished, Input, Run, Stream},
        random,
        text::one_line,
    },
};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What a guest agent must be able to do for us, in its own words.
pub const WANTED: [&str; 2] = ["guest-exec", "guest-exec-status"];
/// How long the first look at a program's end waits, and the longest between two looks.
const LOOK: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(500)];
/// How long a program that was ended may take to be seen to have ended.
const ENDING: Duration = Duration::from_secs(30);
/// What compressing a file may come to; executables are smaller.
const COMPRESSED: usize = 256 << 20;

/// Ends a process and all below it, in the guest: each is stopped first, so that none can start another meanwhile. It starts
/// no program on its way: a small guest has hundreds of processes to look at.
pub(super) const END: &str = r#"
end() {
    kill -STOP "$1" 2>/dev/null || return 0
    for s in /proc/[0-9]*/stat; do
        IFS= read -r l 2>/dev/null <"$s" || continue
        r=${l##*) }
        r=${r#? }
        [ "${r%% *}" != "$1" ] || (c=${s#/proc/}; end "${c%/stat}")
    done
    kill -KILL "$1" 2>/dev/null
}
end "$1"
"#;

/// Makes the directory `$2` for the parts of the file that is to become `$1`, and says by what it can be unpacked.
const BEGIN: &str = r#"
[ ! -d "$1" ] || { echo "$1 is a directory" >&2; exit 1; }
umask 077
mkdir -m 700 -- "$2" || exit 1
for u in gzip zcat busybox; do
    command -v "$u" >/dev/null 2>&1 || continue
    [ "$u" != busybox ] || busybox gzip --help >/dev/null 2>&1 || continue
    echo "$u"
    exit 0
done
echo cat
"#;

/// Makes the file `$1` with mode `$2` and SHA-256 `$3` of the parts in `$4`, unpacked by `$5`, or nothing; the parts are gone
/// either way.
const ASSEMBLE: &str = r#"set -e
umask 077
trap 'rm -rf -- "$4"' EXIT
unpack() {
    case $1 in
        gzip) gzip -dc ;;
        zcat) zcat ;;
        busybox) busybox gzip -dc ;;
        *) cat ;;
    esac
}
for p in "$4"/[0-9]*; do cat "$p" || exit 1; rm -f -- "$p"; done | unpack "$5" >"$4/whole"
s=$(sha256sum <"$4/whole")
[ "${s%% *}" = "$3" ] || { echo "arrived with SHA-256 ${s%% *}" >&2; exit 1; }
chmod "$2" "$4/whole"
mv -f -- "$4/whole" "$1"
"#;

/// Makes a directory named `$1` where there is room, and says where.
const ROOM: &str = r#"umask 077
for d in /dev/shm /run /tmp /var/tmp; do
    mkdir -m 700 -- "$d/$1" 2>/dev/null || continue
    echo "$d/$1"
    exit 0
done
exit 1
"#;

/// Runs the program that follows `$1` on the parts in there, and removes them.
const FEED: &str = r#"d=$1
shift
trap 'rm -rf -- "$d"' EXIT
cat "$d"/[0-9]* | "$@"
"#;

/// What carries single calls to a guest agent.
pub trait Line: Send + Sync {
    /// Its program or interface, for messages: `qm`.
    fn tool(&self) -> &'static str;

    /// The guest, for messages: `vm/201`.
    fn label(&self) -> String;

    /// What the hypervisor says of the guest.
    fn state(&self) -> Result<GuestState, TransportError>;

    /// What the guest agent can do, and what of it is switched off.
    fn commands(&self) -> Result<Vec<GuestCommand>, TransportError>;

    /// Whether a program can be given this to read as it is started.
    fn takes(&self, input: &[u8]) -> bool;

    /// Starts a program; gives its process id in the guest.
    fn start(&self, argv: &[String], input: &[u8]) -> Result<u64, TransportError>;

    /// How a program that was started is; its end is told once.
    fn status(&self, pid: u64) -> Result<Status, TransportError>;

    /// The largest part in bytes that `put` takes.
    fn part(&self) -> usize;

    /// Writes a new file of the guest, in a directory that is ours.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), TransportError>;
}

/// A virtual machine whose guest agent answers.
pub struct Qga {
    line: Box<dyn Line>,
    label: String,
}

impl Qga {
    /// By something that carries calls to its guest agent.
    pub fn by(line: impl Line + 'static) -> Self {
        let label = line.label();
        Self { line: Box::new(line), label }
    }

    /// `vm/201`
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether the guest agent answers and may do what is needed, else why not.
    pub fn ready(&self) -> Result<(), TransportError> {
        let commands = self.line.commands()?;
        let can = |name: &str| commands.iter().any(|command| command.name == name && command.enabled);
        match WANTED.into_iter().find(|name| !can(name)) {
            Some(name) => Err(TransportError::Blocked(name.to_owned())),
            None => Ok(()),
        }
    }

    /// Starts a program; input that is too much for one call goes ahead of it in parts.
    fn start(&self, argv: &[String], input: &[u8], cancel: &Cancel) -> Result<u64, TransportError> {
        if self.line.takes(input) {
            return self.line.start(argv, input);
        }
        let directory = self.room()?;
        self.put_all(&directory, input, cancel, &mut |_| ()).inspect_err(|_| self.clear(&directory))?;
        let mut fed: Vec<String> = ["sh", "-c", FEED, "sh", &directory].map(str::to_owned).to_vec();
        fed.extend_from_slice(argv);
        self.line.start(&fed, &[]).inspect_err(|_| self.clear(&directory))
    }

    fn room(&self) -> Result<String, TransportError> {
        let name = format!(".remotectl-{}", random::name(16).to_ascii_lowercase());
        let made = self.exec(Exec::script(ROOM, [&name]))?;
        let path = made.stdout_text().trim_end().to_owned();
        if made.success() && path.ends_with(&name) {
            return Ok(path);
        }
        Err(TransportError::Write { path: name, why: "no directory can be written to".to_owned() })
    }

    /// Writes all of it as parts that follow each other by name: at least one, for there is no `cat` of nothing.
    fn put_all(
        &self,
        directory: &str,
        bytes: &[u8],
        cancel: &Cancel,
        sent: &mut dyn FnMut(usize),
    ) -> Result<(), TransportError> {
        let parts = bytes.chunks(self.line.part()).chain(bytes.is_empty().then_some(&[][..]));
        for (number, part) in parts.enumerate() {
            if cancel.fired() {
                return Err(TransportError::Write { path: directory.to_owned(), why: "cancelled".to_owned() });
            }
            self.line.put(&format!("{directory}/{number:06}"), part)?;
            sent(part.len());
        }
        Ok(())
    }

    /// Removes a directory of ours after a failure, whose reason is what is told.
    fn clear(&self, directory: &str) {
        self.exec(Exec::new(["rm", "-rf", "--", directory])).ok();
    }

    /// Waits for a program's end; one that takes too long, or is cancelled, is ended.
    fn follow(&self, pid: u64, exec: &Exec) -> Result<(Status, bool, bool), TransportError> {
        let deadline = Instant::now() + exec.timeout;
        let mut pause = LOOK[0];
        loop {
            let status = self.line.status(pid)?;
            if status.exited {
                return Ok((status, false, false));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let cancelled = exec.cancel.wait(pause.min(left));
            if cancelled || left.is_zero() {
                return self.end(pid).map(|status| (status, !cancelled, cancelled));
            }
            pause = (pause * 2).min(LOOK[1]);
        }
    }

    /// Ends a program and all that it has started.
    fn end(&self, pid: u64) -> Result<Status, TransportError> {
        let stuck = |why: String| {
            let said = format!("a program took too long and could not be ended (process {pid}): {why}");
            TransportError::Refused { tool: self.line.tool(), said }
        };
        let argv = ["sh", "-c", END, "sh", &pid.to_string()].map(str::to_owned);
        let ending = self.line.start(&argv, &[]).map_err(|error| stuck(chain(&error)))?;
        let deadline = Instant::now() + ENDING;
        let mut pause = LOOK[0];
        loop {
            let status = self.line.status(pid).map_err(|error| stuck(chain(&error)))?;
            if status.exited {
                // Its own result is read, so that the guest agent forgets it.
                self.line.status(ending).ok();
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(stuck("it does not end".to_owned()));
            }
            Cancel::new().wait(pause);
            pause = (pause * 2).min(LOOK[1]);
        }
    }

    fn exchange(&self, mut exec: Exec<'_>) -> Result<Finished, TransportError> {
        let input = read(std::mem::take(&mut exec.input))?;
        let pid = self.start(&exec.argv, &input, &exec.cancel)?;
        let (status, timed_out, cancelled) = self.follow(pid, &exec)?;
        let mut finished = Finished {
            code: status.code,
            signal: status.signal,
            stdout: status.stdout,
            stderr: status.stderr,
            truncated: status.truncated,
            timed_out,
            cancelled,
        };
        if let Some(on_output) = exec.on_output {
            on_output(Stream::Stdout, &finished.stdout);
            on_output(Stream::Stderr, &finished.stderr);
        }
        for stream in [&mut finished.stdout, &mut finished.stderr] {
            finished.truncated |= stream.len() > exec.limit;
            stream.truncate(exec.limit);
        }
        Ok(finished)
    }
}

impl Transport for Qga {
    fn name(&self) -> &'static str {
        "qga"
    }

    fn state(&self) -> Result<GuestState, TransportError> {
        self.line.state()
    }

    fn exec(&self, exec: Exec<'_>) -> Result<Finished, TransportError> {
        self.exchange(exec)
    }

    fn push(&self, local: &Path, remote: &str, mode: u32, copying: &Copying) -> Result<(), TransportError> {
        let whole = files::read(local)?;
        let failed = |why: String| TransportError::Write { path: one_line(remote, 200), why };
        let parts = format!("{remote}.part-{}", random::name(8).to_ascii_lowercase());
        let begun = self.exec(Exec::script(BEGIN, [remote, &parts]).cancel(copying.cancel))?;
        if !begun.success() {
            self.clear(&parts);
            return Err(failed(complaint(&begun)));
        }
        let said = begun.stdout_text();
        let unpacker = ["gzip", "zcat", "busybox"].into_iter().find(|name| *name == said.trim_end());
        let packed = unpacker.and_then(|_| packed(local));
        let (content, unpacker) = match (&packed, unpacker) {
            (Some(packed), Some(unpacker)) => (packed, unpacker),
            _ => (&whole, "cat"),
        };
        let mut sent = Sent::of(content.len(), copying.report);
        self.put_all(&parts, content, copying.cancel, &mut |bytes| sent.add(bytes)).map_err(|error| {
            self.clear(&parts);
            match error {
                TransportError::Write { why, .. } => failed(why),
                error => error,
            }
        })?;
        let (mode, digest) = (format!("{mode:o}"), Digest::of(&whole));
        let words = [remote, &mode, digest.as_str(), &parts, unpacker];
        let assembled = self.exec(Exec::script(ASSEMBLE, words).timeout(TRANSFER).cancel(copying.cancel));
        match assembled {
            Ok(finished) if finished.success() => Ok(()),
            Ok(finished) => {
                // Ended from outside it had no chance to clean up.
                if finished.code.is_none() {
                    self.clear(&parts);
                }
                Err(failed(complaint(&finished)))
            }
            Err(error) => Err(error),
        }
    }
}

/// What a program reads, whole.
fn read(input: Input) -> Result<Vec<u8>, TransportError> {
    match input {
        Input::Nothing => Ok(Vec::new()),
        Input::Bytes(bytes) => Ok(bytes),
        Input::File(mut file) => {
            let mut bytes = Vec::new();
            let failed = |source| FileError { doing: "reading", path: PathBuf::from("the input"), source };
            file.read_to_end(&mut bytes).map_err(failed)?;
            Ok(bytes)
        }
    }
}

/// A file compressed by this machine's gzip, where that makes it smaller.
fn packed(local: &Path) -> Option<Vec<u8>> {
    let file = File::open(local).ok()?;
    let size = file.metadata().ok()?.len();
    let run = Run::new("gzip", ["-6c"]).input(Input::File(file)).limit(COMPRESSED);
    let finished = run.run().ok().filter(|finished| finished.success() && !finished.truncated)?;
    (u64::try_from(finished.stdout.len()).is_ok_and(|packed| packed < size)).then_some(finished.stdout)
}

/// How much has been sent, told once a second and at the end.
struct Sent<'a> {
    report: &'a dyn Report,
    total: usize,
    done: usize,
    begun: Instant,
    told: Instant,
}

impl<'a> Sent<'a> {
    fn of(total: usize, report: &'a dyn Report) -> Self {
        let now = Instant::now();
        Self { report, total, done: 0, begun: now, told: now }
    }

    fn add(&mut self, bytes: usize) {
        self.done += bytes;
        // What is over at once is not worth a line.
        if self.told.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.told = Instant::now();
        let rate = self.done as u128 * 1_000 / self.begun.elapsed().as_millis().max(1);
        let [done, total, rate] = [self.done as u128, self.total as u128, rate].map(megabytes);
        self.report.progress(&format!("sent {done} of {total} MB, {rate} MB/s"));
    }
}

/// `3.4`
fn megabytes(bytes: u128) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests;
