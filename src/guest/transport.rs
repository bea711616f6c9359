//! What reaches into a guest: running a program there, and, built of that, putting a file in and taking one out.

use crate::{
    model::{
        digest::Digest,
        outcome::{Report, Silent},
    },
    sys::{
        cancel::Cancel,
        files::{self, FileError},
        process::{Finished, Input, ProcessError, Stream},
        text::one_line,
    },
};
use std::{fs::File, path::Path, time::Duration};

/// How long a short command may take.
pub const SHORT: Duration = Duration::from_secs(30);
/// How long the transfer of a file may take.
pub(super) const TRANSFER: Duration = Duration::from_mins(5);
/// Where a node's ways to log in to guests are.
pub const LOGINS: &str = "/etc/remotectl/ssh.toml";
/// A file that is taken out of a guest at most: 64 MiB.
const PULL_LIMIT: usize = 64 << 20;

/// Writes standard input to `$1` with mode `$2` in one step, provided that it has SHA-256 `$3`.
pub(super) const PUSH: &str = r#"set -e
[ ! -d "$1" ] || { echo "$1 is a directory" >&2; exit 1; }
t="$1.part$$"
umask 077
trap 'rm -f -- "$t"' EXIT
cat >"$t"
s=$(sha256sum <"$t")
[ "${s%% *}" = "$3" ] || { echo "arrived with SHA-256 ${s%% *}" >&2; exit 1; }
chmod "$2" "$t"
mv -f -- "$t" "$1"
"#;

/// What is called with output as it comes.
pub type OnOutput<'a> = dyn FnMut(Stream, &[u8]) + 'a;

/// A program to be run in a guest.
pub struct Exec<'a> {
    /// The program and its arguments; no shell in between.
    pub argv: Vec<String>,
    /// What it reads.
    pub input: Input,
    /// How long it may take.
    pub timeout: Duration,
    /// What ends it early.
    pub cancel: Cancel,
    /// How many bytes of each output are kept.
    pub limit: usize,
    /// Is called with output as it comes.
    pub on_output: Option<&'a mut OnOutput<'a>>,
}

impl<'a> Exec<'a> {
    /// A program with its arguments: no input, 30 s, 1 MiB of each output.
    pub fn new<S: AsRef<str>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(|word| word.as_ref().to_owned()).collect(),
            input: Input::Nothing,
            timeout: SHORT,
            cancel: Cancel::new(),
            limit: 1 << 20,
            on_output: None,
        }
    }

    /// A constant script for `sh -c` with its arguments as `$1`, `$2`, …: data never becomes part of the script.
    pub fn script<S: AsRef<str>>(script: &'static str, args: impl IntoIterator<Item = S>) -> Self {
        let mut exec = Self::new(["sh", "-c", script, "sh"]);
        exec.argv.extend(args.into_iter().map(|word| word.as_ref().to_owned()));
        exec
    }

    /// What it reads.
    #[must_use]
    pub fn input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What ends it early.
    #[must_use]
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// How many bytes of each output are kept.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Is called with output as it comes.
    #[must_use]
    pub fn on_output(mut self, on_output: &'a mut OnOutput<'a>) -> Self {
        self.on_output = Some(on_output);
        self
    }

    /// The program's name, for messages.
    pub fn program(&self) -> String {
        self.argv.first().map(|program| one_line(program, 100)).unwrap_or_default()
    }
}

/// What the hypervisor says of a guest before anything is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestState {
    /// `running`, `stopped`, …
    pub status: String,
    /// Whether it is a template.
    pub template: bool,
    /// The lock that is held on it.
    pub lock: Option<String>,
    /// The MAC addresses of its configuration, lower case.
    pub macs: Vec<String>,
}

/// What surrounds the copying of a file.
#[derive(Clone, Copy)]
pub struct Copying<'a> {
    /// What ends it early.
    pub cancel: &'a Cancel,
    /// Who hears how far it is, where that takes a while.
    pub report: &'a dyn Report,
}

impl<'a> Copying<'a> {
    /// Until that fires, telling nobody.
    pub fn quietly(cancel: &'a Cancel) -> Self {
        Self { cancel, report: &Silent }
    }
}

/// A way into one guest.
pub trait Transport: Send + Sync {
    /// `pct`, `local`, …
    fn name(&self) -> &'static str;

    /// What the hypervisor says of the guest.
    fn state(&self) -> Result<GuestState, TransportError>;

    /// Runs a program. A program that ran is `Ok`, whatever its exit code.
    fn exec(&self, exec: Exec<'_>) -> Result<Finished, TransportError>;

    /// Puts a file of this machine to an absolute path in the guest, with this mode: whole, verified and in one step, or not
    /// at all. Streamed over `exec`, which tells what went wrong (pct's own push exits 0 when it fails).
    fn push(&self, local: &Path, remote: &str, mode: u32, copying: &Copying) -> Result<(), TransportError> {
        let digest = Digest::of(&files::read(local)?);
        let file =
            File::open(local).map_err(|source| FileError { doing: "opening", path: local.to_owned(), source })?;
        let mode = format!("{mode:o}");
        let exec = Exec::script(PUSH, [remote, mode.as_str(), digest.as_str()])
            .input(Input::File(file))
            .timeout(TRANSFER)
            .cancel(copying.cancel);
        let finished = self.exec(exec)?;
        if finished.success() {
            return Ok(());
        }
        Err(TransportError::Write { path: one_line(remote, 200), why: complaint(&finished) })
    }

    /// Takes a file of at most 64 MiB out of the guest, to a file of this machine with mode 0600.
    fn pull(&self, remote: &str, local: &Path, cancel: &Cancel) -> Result<(), TransportError> {
        let failed = |why: String| TransportError::Read { path: one_line(remote, 200), why };
        let finished =
            self.exec(Exec::new(["cat", "--", remote]).timeout(TRANSFER).cancel(cancel).limit(PULL_LIMIT))?;
        match (finished.success(), finished.truncated) {
            (true, false) => Ok(files::write_atomic(local, &finished.stdout, 0o600)?),
            (true, true) => Err(failed("it is larger than 64 MiB".to_owned())),
            (false, _) => Err(failed(complaint(&finished))),
        }
    }
}

/// Why a guest could not be reached into, or not all the way.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The transport's own program is missing here.
    #[error("there is no `{0}` on this machine")]
    NoTool(String),
    /// The transport's own program could not be started.
    #[error("reaching into the guest")]
    Start(#[source] ProcessError),
    /// This node has no such guest.
    #[error("{0} is not on this node")]
    NoGuest(String),
    /// It does not run.
    #[error("{0} is not running")]
    NotRunning(String),
    /// The guest has no such program.
    #[error("there is no program `{0}` in the guest")]
    NotFound(String),
    /// The guest can't execute it: no permission, wrong format, a noexec mount.
    #[error("`{0}` can't be executed in the guest")]
    NotExecutable(String),
    /// A virtual machine's configuration has no guest agent.
    #[error("the guest agent of {0} is not enabled")]
    NoGuestAgent(String),
    /// Its guest agent does not answer.
    #[error("the guest agent of {0} does not answer")]
    Silent(String),
    /// Its guest agent may not do what is needed.
    #[error("its guest agent does not allow {0}")]
    Blocked(String),
    /// Nobody has said yes to its host key.
    #[error("the host key of {target} is not known: {fingerprint}")]
    UnknownHostKey {
        /// `vm/203`.
        target: String,
        /// `SHA256:…`
        fingerprint: String,
    },
    /// Its host key is not the one that was said yes to.
    #[error("the host key of {target} is not the one that is known: it shows {fingerprint}, known is {known}")]
    OtherHostKey {
        /// `vm/203`.
        target: String,
        /// What it shows: `SHA256:…`
        fingerprint: String,
        /// What was said yes to.
        known: String,
    },
    /// The transport's own complaint.
    #[error("{tool}: {said}")]
    Refused {
        /// `pct`.
        tool: &'static str,
        /// Its words.
        said: String,
    },
    /// A file could not be put into the guest.
    #[error("writing {path} in the guest: {why}")]
    Write {
        /// There.
        path: String,
        /// In the guest's words.
        why: String,
    },
    /// A file could not be taken out of the guest.
    #[error("reading {path} in the guest: {why}")]
    Read {
        /// There.
        path: String,
        /// In the guest's words.
        why: String,
    },
    /// A file of this machine.
    #[error("on this machine")]
    Local(#[from] FileError),
}

impl TransportError {
    /// What to do next about this target.
    pub fn help(&self, target: &str) -> String {
        let id = target.rsplit('/').next().unwrap_or(target);
        match self {
            Self::NoTool(_) => "this works on a Proxmox VE node; is this one?".to_owned(),
            Self::NoGuest(_) => "`remotectl guests` lists them all, with their nodes".to_owned(),
            Self::NotRunning(_) => format!("`remotectl run guest.start {target}`, then again"),
            Self::Write { why, .. } if is_full(why) => format!("free space on {target}, then again"),
            Self::Write { why, .. } if is_read_only(why) => {
                format!("{target} has nothing writable there; its file systems are read-only")
            }
            Self::NoGuestAgent(_) => format!(
                "on its node: `qm set {id} --agent 1`; in it: install qemu-guest-agent; then stop and start it; or log in: \
                 `remotectl credential add NAME --to {target} --user USER --key FILE`"
            ),
            Self::Silent(_) => {
                format!(
                    "in it: install qemu-guest-agent and start it; or log in: \
                     `remotectl credential add NAME --to {target} --user USER --key FILE`"
                )
            }
            Self::Blocked(name) => format!(
                "in it: take {name} out of what qemu-ga blocks (/etc/sysconfig/qemu-ga or --block-rpcs), and restart it; or log \
                 in: `remotectl credential add NAME --to {target} --user USER --key FILE`"
            ),
            Self::UnknownHostKey { fingerprint, .. } => format!(
                "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` in {target}; if it is the same: \
                 `remotectl credential trust {target} {fingerprint}`, then again"
            ),
            Self::OtherHostKey { fingerprint, .. } => format!(
                "was {target} made anew, or is it another machine? If you know why: \
                 `remotectl credential trust {target} {fingerprint}`, then again"
            ),
            Self::Refused { tool: "ssh", .. } => {
                format!("`remotectl credential list` shows the ways to log in to {target}")
            }
            Self::NotFound(_) | Self::NotExecutable(_) | Self::Write { .. } | Self::Read { .. } => {
                format!("what {target} is like: `remotectl run guest.status {target}`")
            }
            Self::Start(_) | Self::Refused { .. } | Self::Local(_) => {
                "`remotectl pve-agent probe` on the node checks what it needs".to_owned()
            }
        }
    }
}

/// A program's reason, fit for a line of ours.
pub(super) fn complaint(finished: &Finished) -> String {
    if finished.timed_out || finished.cancelled {
        return finished.ending();
    }
    one_line(&finished.complaint(), 300)
}

/// Whether a reason is that of a full file system.
pub(super) fn is_full(why: &str) -> bool {
    ["No space left", "no space left", "Disk quota exceeded"].iter().any(|words| why.contains(words))
}

/// Whether a reason is that of a read-only file system.
pub(super) fn is_read_only(why: &str) -> bool {
    why.contains("Read-only file system")
}
