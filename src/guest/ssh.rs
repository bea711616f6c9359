//! Guests and nodes over SSH, by the machine's own `ssh`: one connection that every call goes through. What the user's
//! own configuration, agent or known hosts say is heeded in nothing: the key is the one that was given, the host key the
//! one that was pinned, and an unknown one is told by its fingerprint instead of being trusted.
//!
//! A password is asked for by ssh through `SSH_ASKPASS`, which is this executable (`askpass`): it stands on no command line
//! and in no environment.
//!
//! The far side of SSH is a shell, so words are quoted for it, and a small script around the program says how it ended:
//! SSH's own failures and a program's 255 would look the same otherwise.

use super::{
    qga::{END, Line, Qm},
    transport::{Exec, GuestState, Transport, TransportError, complaint},
};
use crate::sys::{
    env,
    files::{self, FileError},
    process::{Finished, Input, ProcessError, Run, Stream},
    random,
    secret::Secret,
    text::one_line,
};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(20);
/// Runs the program that follows `$1`, and says by `$1` on standard error which process it is and how it ended.
const AROUND: &str = r#"m=$1 e=
shift
case $1 in
    */*) if [ ! -e "$1" ]; then e=missing; elif [ -d "$1" ] || [ ! -x "$1" ]; then e=noexec; fi ;;
    *) command -v "$1" >/dev/null 2>&1 || e=missing ;;
esac
if [ -n "$e" ]; then printf '%s %s\n' "$m" "$e" >&2; exit 0; fi
printf '%s pid %s\n' "$m" "$$" >&2
"$@"
printf '%s end %s\n' "$m" "$?" >&2
"#;

/// Who logs in where.
#[derive(Debug, Clone)]
pub struct Login {
    /// What it is the way into, for messages: `vm/203`.
    pub label: String,
    /// `10.0.0.5` or a name.
    pub address: String,
    /// 22, mostly.
    pub port: u16,
    /// `root`, or one who may become it by sudo without a password.
    pub user: String,
    /// By what.
    pub proof: Proof,
    /// The fingerprint of the host key that an operator has said yes to: `SHA256:…`.
    pub pinned: Option<String>,
    /// Through which machine, that our own root can log in to: `pve2`.
    pub jump: Option<String>,
}

/// By what somebody logs in.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A private key, as ssh-keygen writes it.
    Key(Secret),
    /// A password.
    Password(Secret),
}

/// A connection.
#[derive(Debug)]
pub struct Ssh {
    login: Login,
    program: OsString,
    scan: OsString,
    /// What the hypervisor says of it, where it is a virtual machine.
    machine: Option<Qm>,
    /// Key, known host, and the connection's socket; gone with it.
    directory: PathBuf,
}

/// How the directories of connections are called.
const PREFIX: &str = "ssh-";

/// Takes away what connections have left whose process was killed: their keys outlive them otherwise. For a process that has
/// no connection yet.
pub fn forget(below: &Path) -> Result<(), FileError> {
    let ours =
        |path: &Path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
    let entries = std::fs::read_dir(below).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| ours(path)).try_for_each(|path| files::remove_tree(&path))
}

impl Ssh {
    /// Connects. The directory, which only root can see into, holds the key as long as the connection lasts.
    pub fn connect(login: Login, machine: Option<Qm>, below: &Path) -> Result<Self, TransportError> {
        Self::by(Path::new(""), login, machine, below)
    }

    /// By the `ssh` and `ssh-keyscan` of that folder.
    pub fn by(programs: &Path, login: Login, machine: Option<Qm>, below: &Path) -> Result<Self, TransportError> {
        let directory = below.join(format!("{PREFIX}{}", random::name(8).to_ascii_lowercase()));
        files::create_directory(&directory, 0o700)?;
        let [program, scan] = ["ssh", "ssh-keyscan"].map(|name| programs.join(name).into_os_string());
        let ssh = Self { login, program, scan, machine, directory };
        let host = ssh.host_key()?;
        ssh.keep("known_hosts", &format!("remotectl {host}"))?;
        let master = ["-M", "-N", "-f"].map(str::to_owned);
        let mut run = Run::new(&ssh.program, ssh.words(&master)).timeout(CONNECT);
        // Only now, when it is known whom it is shown to.
        match &ssh.login.proof {
            Proof::Key(key) => ssh.keep("key", key.reveal().trim_end())?,
            Proof::Password(password) => {
                ssh.keep("password", password.reveal())?;
                let own = format!("/proc/{}/exe", std::process::id());
                // DISPLAY is for OpenSSH before 8.4, which knows no SSH_ASKPASS_REQUIRE.
                run = run.env("SSH_ASKPASS", own).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", "none");
                run = run.env(env::ASKPASS, ssh.directory.join("password"));
            }
        }
        let finished = run.run().map_err(failed)?;
        files::remove(&ssh.directory.join("password"))?;
        if finished.success() { Ok(ssh) } else { Err(ssh.refused(&complaint(&finished))) }
    }

    /// The fingerprint of a line of known hosts: `HOST TYPE KEY`.
    pub fn fingerprint(line: &str) -> Option<String> {
        scanned_key(line).map(|(fingerprint, _)| fingerprint)
    }

    fn keep(&self, name: &str, content: &str) -> Result<(), FileError> {
        files::write_atomic(&self.directory.join(name), format!("{content}\n").as_bytes(), 0o600)
    }

    fn refused(&self, why: &str) -> TransportError {
        TransportError::Refused { tool: "ssh", said: format!("{}@{}: {why}", self.login.user, self.login.address) }
    }

    /// The host's key that has the pinned fingerprint. It is only asked for here; that it is the host's is proved when the
    /// connection is made.
    fn host_key(&self) -> Result<String, TransportError> {
        let port = self.login.port.to_string();
        let words = ["-T", "10", "-t", "ed25519,ecdsa,rsa", "-p", &port, "--", &self.login.address];
        let scanned = match &self.login.jump {
            None => Run::new(&self.scan, words).timeout(CONNECT).run(),
            Some(jump) => {
                let there = [&["-o", "BatchMode=yes", "--", jump, "ssh-keyscan"], &words[..6], &words[7..]].concat();
                Run::new(&self.program, there).timeout(CONNECT).run()
            }
        };
        let text = scanned.map_err(failed)?.stdout_text();
        let mut keys: Vec<(String, String)> = text.lines().filter_map(scanned_key).collect();
        // They come in any order; one and the same is shown each time.
        keys.sort_by_key(|(_, key)| !key.starts_with("ssh-ed25519 "));
        let Some((offered, _)) = keys.first() else { return Err(self.refused("no SSH server answers")) };
        let label = self.login.label.clone();
        match &self.login.pinned {
            None => Err(TransportError::UnknownHostKey { target: label, fingerprint: offered.clone() }),
            Some(pinned) => match keys.iter().find(|(fingerprint, _)| fingerprint == pinned) {
                Some((_, key)) => Ok(key.clone()),
                None => Err(TransportError::OtherHostKey {
                    target: label,
                    fingerprint: offered.clone(),
                    known: one_line(pinned, 60),
                }),
            },
        }
    }

    fn words(&self, rest: &[String]) -> Vec<String> {
        let at = |name: &str| self.directory.join(name).display().to_string();
        let mut words: Vec<String> = ["-F", "/dev/null", "-T"].map(str::to_owned).to_vec();
        let mut option = |name: &str, value: &str| words.extend(["-o".to_owned(), format!("{name}={value}")]);
        option("IdentitiesOnly", "yes");
        option("IdentityAgent", "none");
        match &self.login.proof {
            Proof::Key(_) => {
                option("BatchMode", "yes");
                option("IdentityFile", &at("key"));
                option("PreferredAuthentications", "publickey");
            }
            Proof::Password(_) => {
                option("IdentityFile", "none");
                option("PreferredAuthentications", "password,keyboard-interactive");
                option("NumberOfPasswordPrompts", "1");
            }
        }
        option("UserKnownHostsFile", &at("known_hosts"));
        option("GlobalKnownHostsFile", "/dev/null");
        option("HostKeyAlias", "remotectl");
        option("StrictHostKeyChecking", "yes");
        option("UpdateHostKeys", "no");
        option("ControlPath", &at("control"));
        option("ConnectTimeout", "10");
        option("ServerAliveInterval", "10");
        option("ServerAliveCountMax", "3");
        option("LogLevel", "ERROR");
        if let Some(jump) = &self.login.jump {
            option("ProxyCommand", &format!("ssh -o BatchMode=yes -W %h:%p -- {}", quote(jump)));
        }
        words.extend(["-p".to_owned(), self.login.port.to_string(), "-l".to_owned(), self.login.user.clone()]);
        words.extend_from_slice(rest);
        words.extend(["--".to_owned(), self.login.address.clone()]);
        words
    }

    /// The command line for the far side's shell.
    fn line(&self, mark: &str, argv: &[String]) -> String {
        let around = ["sh", "-c", AROUND, "sh", mark].map(str::to_owned);
        let sudo: &[&str] = if self.login.user == "root" { &[] } else { &["sudo", "-n", "--"] };
        let words = sudo.iter().map(|word| (*word).to_owned()).chain(around).chain(argv.iter().cloned());
        words.map(|word| quote(&word)).collect::<Vec<_>>().join(" ")
    }

    /// Ends what a call has left running over there.
    fn end(&self, pid: u64) {
        let mark = random::name(20);
        let argv = ["sh", "-c", END, "sh", &pid.to_string()].map(str::to_owned);
        let mut words = self.words(&[]);
        words.push(self.line(&mark, &argv));
        // The call has ended either way; what it has left is not what is told.
        Run::new(&self.program, words).timeout(CONNECT).run().ok();
    }
}

/// Connects by the first of these that lets in. An unknown or another host key ends it: nothing is shown to a stranger.
pub fn connect_first(logins: Vec<Login>, machine: &Qm, below: &Path) -> Result<Ssh, TransportError> {
    let mut refused = None;
    for login in logins {
        match Ssh::connect(login, Some(machine.clone()), below) {
            Err(error @ TransportError::Refused { .. }) => refused = Some(error),
            ended => return ended,
        }
    }
    Err(refused.unwrap_or_else(|| TransportError::Refused { tool: "ssh", said: "no way to log in".to_owned() }))
}

/// What this executable does where ssh asks it for a password: says the one in the file that the environment names. Whether it
/// was asked.
pub fn askpass() -> Option<Result<(), FileError>> {
    let file = PathBuf::from(env::text(env::ASKPASS)?);
    Some(files::read(&file).and_then(|password| {
        io::stdout().write_all(&password).map_err(|source| FileError { doing: "telling", path: file, source })
    }))
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let words = self.words(&["-O".to_owned(), "exit".to_owned()]);
        Run::new(&self.program, words).timeout(CONNECT).run().ok();
        files::remove_tree(&self.directory).ok();
    }
}

impl Transport for Ssh {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn state(&self) -> Result<GuestState, TransportError> {
        let here = || GuestState { status: "running".to_owned(), template: false, lock: None, macs: Vec::new() };
        self.machine.as_ref().map_or_else(|| Ok(here()), Line::state)
    }

    fn exec(&self, mut exec: Exec<'_>) -> Result<Finished, TransportError> {
        let program = exec.program();
        let mark = random::name(20);
        let mut words = self.words(&[]);
        words.push(self.line(&mark, &exec.argv));
        let mut filter = Filter::new(mark);
        let input = std::mem::replace(&mut exec.input, Input::Nothing);
        let (limit, mut on_output) = (exec.limit, exec.on_output.take());
        let mut kept = Vec::new();
        let mut hear = |stream: Stream, piece: &[u8]| {
            let shown = if stream == Stream::Stderr { filter.take(piece) } else { piece.to_vec() };
            if stream == Stream::Stderr {
                kept.extend_from_slice(&shown[..shown.len().min(limit.saturating_sub(kept.len()))]);
            }
            if let Some(on_output) = &mut on_output {
                on_output(stream, &shown);
            }
        };
        let run = Run::new(&self.program, words).input(input).timeout(exec.timeout).cancel(exec.cancel).limit(limit);
        let mut finished = run.on_output(&mut hear).run().map_err(failed)?;
        kept.extend(filter.rest());
        finished.stderr = kept;
        if finished.timed_out || finished.cancelled {
            if let Some(pid) = filter.pid {
                self.end(pid);
            }
            return Ok(finished);
        }
        match filter.end {
            Some(End::Code(code)) => Ok(Finished { code: Some(code), signal: None, ..finished }),
            Some(End::Missing) => Err(TransportError::NotFound(program)),
            Some(End::NoExec) => Err(TransportError::NotExecutable(program)),
            None => Err(self.refused(&complaint(&finished))),
        }
    }
}

fn failed(error: ProcessError) -> TransportError {
    match error {
        ProcessError::Missing(program) => TransportError::NoTool(program),
        error @ ProcessError::Start { .. } => TransportError::Start(error),
    }
}

/// A word for the far side's shell, which takes nothing in it for its own.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Fingerprint and `type key` of a line of ssh-keyscan.
fn scanned_key(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace().filter(|_| !line.starts_with('#')).skip(1);
    let (kind, key) = (words.next()?, words.next()?);
    let blob = base64::prelude::BASE64_STANDARD.decode(key).ok()?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &blob);
    let fingerprint = format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(digest.as_ref()));
    Some((fingerprint, format!("{} {key}", one_line(kind, 40))))
}

/// How a program ended, as the script around it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Code(i32),
    Missing,
    NoExec,
}

/// Takes the script's own lines out of standard error, wherever they are cut.
struct Filter {
    mark: Vec<u8>,
    held: Vec<u8>,
    pid: Option<u64>,
    end: Option<End>,
}

impl Filter {
    fn new(mark: String) -> Self {
        Self { mark: mark.into_bytes(), held: Vec::new(), pid: None, end: None }
    }

    /// What of it is the program's.
    fn take(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let mut shown = Vec::new();
        while let Some(at) = find(&self.held, &self.mark) {
            shown.extend(self.held.drain(..at));
            let Some(end) = self.held.iter().position(|byte| *byte == b'\n') else { return shown };
            let line: Vec<u8> = self.held.drain(..=end).collect();
            self.heed(&String::from_utf8_lossy(&line[self.mark.len()..]));
        }
        // The beginning of a mark may be at the end of a piece.
        let ready = self.held.len().saturating_sub(self.mark.len());
        shown.extend(self.held.drain(..ready));
        shown
    }

    fn heed(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("pid"), Some(pid)) => self.pid = pid.parse().ok(),
            (Some("end"), Some(code)) => self.end = code.parse().ok().map(End::Code),
            (Some("missing"), _) => self.end = Some(End::Missing),
            (Some("noexec"), _) => self.end = Some(End::NoExec),
            _ => {}
        }
    }

    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words_for_the_far_side() {
        for word in ["a b", "", "$x", "q'q", "--foo", "`id`", "a\nb", "\\"] {
            let line = format!("printf %s {}", quote(word));
            let printed = Run::new("sh", ["-c", line.as_str()]).run().unwrap().stdout_text();
            assert_eq!(printed, word);
        }
    }

    #[test]
    fn what_a_killed_process_has_left_is_taken_away() {
        let below = tempfile::tempdir().unwrap();
        for name in ["ssh-abc", "other"] {
            files::create_directory(&below.path().join(name), 0o700).unwrap();
            files::write_atomic(&below.path().join(name).join("key"), b"secret", 0o600).unwrap();
        }
        forget(below.path()).unwrap();
        assert!(!below.path().join("ssh-abc").exists() && below.path().join("other/key").exists());
        forget(&below.path().join("not there")).unwrap();
    }

    #[test]
    fn marks_are_taken_out_wherever_they_are_cut() {
        let text = b"MARK pid 77\nfirst\nsecond, without an endMARK end 3\n";
        for size in 1..text.len() {
            let mut filter = Filter::new("MARK".to_owned());
            let mut shown: Vec<u8> = text.chunks(size).flat_map(|piece| filter.take(piece)).collect();
            shown.extend(filter.rest());
            assert_eq!(shown, b"first\nsecond, without an end", "{size}");
            assert_eq!((filter.pid, filter.end), (Some(77), Some(End::Code(3))));
        }
    }

    #[test]
    fn fingerprints_are_those_that_ssh_keygen_shows() {
        let line = "host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGTqsUyOVmONXOrDrNpPc9dKDYI1MqRVxzF1a/bpIXGu";
        let (fingerprint, key) = scanned_key(line).unwrap();
        assert!(fingerprint.starts_with("SHA256:") && fingerprint.len() == 50, "{fingerprint}");
        assert!(key.starts_with("ssh-ed25519 AAAA"));
        assert_eq!(scanned_key("# host:22 SSH-2.0-OpenSSH_9.2"), None);
    }
}
