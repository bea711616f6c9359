//! The way into a simulated guest: the scripts of the deployment work on its files, and the staged executable is whatever
//! the caller says it is.

use super::{
    guest::{Guest, now},
    kernel,
    problems::Problem,
};
use crate::{
    guest::{
        answers::{HubReach, Reach},
        fake::{Store, answer, interpret},
        transport::{Exec, GuestState, Transport, TransportError},
    },
    sys::{files, process::Finished},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// A call of the executable that was put into a guest.
pub struct Call<'a> {
    /// Of which guest.
    pub vmid: u32,
    /// `["agent", "install", "--no-start", …]`.
    pub args: &'a [String],
    /// What it reads.
    pub input: &'a [u8],
}

/// What a call came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// What the executable does in a guest.
pub type Program = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

/// Tells what the hypervisor says of the guest.
pub(super) type State = Arc<dyn Fn() -> Option<GuestState> + Send + Sync>;

/// A way into one simulated guest.
pub struct SimTransport {
    pub(super) vmid: u32,
    pub(super) label: String,
    pub(super) guest: Arc<Guest>,
    pub(super) state: State,
    pub(super) program: Program,
}

impl Transport for SimTransport {
    fn name(&self) -> &'static str {
        if self.guest.profile.container { "pct" } else { "qga" }
    }

    fn state(&self) -> Result<GuestState, TransportError> {
        (self.state)().ok_or_else(|| TransportError::NoGuest(self.label.clone()))
    }

    fn exec(&self, exec: Exec<'_>) -> Result<Finished, TransportError> {
        if self.guest.state().boot.is_none() {
            return Err(TransportError::NotRunning(self.label.clone()));
        }
        self.guest.write_once()?;
        let program = |args: &[String], input: &[u8], _: &mut Disk| self.called(args, input);
        answer(exec, |argv, input| interpret(argv, input, &mut Disk(&self.guest), &|| self.probe(), &program))
    }
}

impl SimTransport {
    fn called(&self, args: &[String], input: &[u8]) -> (i32, String, String) {
        let probes = args.starts_with(&["agent".to_owned(), "probe".to_owned()]);
        if probes && self.guest.has(Problem::NoRoute) {
            return (0, unreachable_hubs(args), String::new());
        }
        let Reply { code, stdout, stderr } = (self.program)(&Call { vmid: self.vmid, args, input });
        (code, stdout, stderr)
    }

    /// What the probe prints in this guest.
    fn probe(&self) -> String {
        let (guest, profile) = (&self.guest, &self.guest.profile);
        let release = files::read_text(&guest.file("/usr/lib/os-release")).unwrap_or_default();
        let told = release.lines().filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_ID="));
        let mut lines: Vec<String> = told.map(|line| format!("os.{line}")).collect();
        let (pid1, run) =
            if guest.systemd() { ("systemd", "run.systemd=1") } else { ("init", "run.openrc=1\ninittab=1") };
        let exe = if guest.systemd() { "/usr/lib/systemd/systemd" } else { "/bin/busybox" };
        lines.push(format!(
            "arch={}\nuid=0\nclock={}\npid1={pid1}\npid1.exe={exe}\n{run}\nsha256sum=1",
            std::env::consts::ARCH,
            now() / 1_000_000
        ));
        let (total, used) = kernel::root_size(guest);
        let (disk, memory) = (total.saturating_sub(used) >> 10, profile.memory_mib << 9);
        lines.extend(["/opt", "/var/lib", "/var/tmp", "/root", "/tmp"].map(|path| format!("place={disk} exec {path}")));
        lines.extend(["/run", "/dev/shm"].map(|path| format!("place={memory} exec {path}")));
        lines.extend(guest.state().agent.as_ref().map(|version| format!("agent=remotectl {version}")));
        lines.push("probe.end=1\n".to_owned());
        lines.join("\n")
    }
}

/// A guest from which no packet comes back.
fn unreachable_hubs(args: &[String]) -> String {
    let asked = args.windows(2).filter(|pair| pair[0] == "--hub").map(|pair| HubReach {
        address: pair[1].clone(),
        reached: false,
        ms: 3_000,
        why: Some("connection timed out".to_owned()),
    });
    serde_json::to_string(&Reach { hubs: asked.collect() }).unwrap_or_default()
}

/// The guest's files on this machine's disk.
struct Disk<'a>(&'a Guest);

impl Disk<'_> {
    /// Where a path is; `None` for one that would lead out of the guest.
    fn at(&self, path: &str) -> Option<PathBuf> {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let at = inside.then(|| self.0.file(path))?;
        let parent = fs::canonicalize(at.parent()?).ok()?;
        let real = fs::canonicalize(&at).ok();
        (parent.starts_with(&self.0.root) && real.is_none_or(|real| real.starts_with(&self.0.root))).then_some(at)
    }
}

impl Store for Disk<'_> {
    fn look(&self, path: &str) -> Option<(bool, u32)> {
        let at = self.at(path)?;
        // A link that leads nowhere is there all the same.
        let meta = fs::metadata(&at).or_else(|_| fs::symlink_metadata(&at)).ok()?;
        Some((meta.is_dir(), meta.permissions().mode() & 0o7777))
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.at(path)?).ok()
    }

    fn write(&mut self, path: &str, content: &[u8], mode: u32) -> Result<(), String> {
        if self.0.has(Problem::DiskFull) && !path.starts_with("/run/") && !path.starts_with("/dev/shm/") {
            return Err("cat: write error: No space left on device".to_owned());
        }
        let at = self.at(path).ok_or_else(|| format!("cannot create {path}: Directory nonexistent"))?;
        files::write_atomic(&at, content, mode).map_err(|error| format!("cannot create {path}: {}", error.source))
    }

    fn make(&mut self, path: &str) -> Result<(), String> {
        let at = self
            .at(path)
            .ok_or_else(|| format!("mkdir: cannot create directory '{path}': No such file or directory"))?;
        fs::create_dir(at).map_err(|_| format!("mkdir: cannot create directory '{path}': File exists"))
    }

    fn remove(&mut self, path: &str) {
        let Some(at) = self.at(path).filter(|at| *at != self.0.root) else { return };
        // What is not there need not be removed, and `rm -f` tells of nothing else.
        let gone = if at.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir_all(at)
        } else {
            fs::remove_file(at)
        };
        gone.ok();
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let entries = self.at(directory).and_then(|at| fs::read_dir(at).ok());
        let names = entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}
