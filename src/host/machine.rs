//! The machine that operations are carried out on. All that this floor wants to know of one goes through here: its files
//! below a root, its init system, and what only a running system can answer. There is one real machine, this one; the
//! simulator makes others, and the same code runs on them without ever touching this one.

use super::{
    Task,
    commands::{Commands, ThisMachine},
    init::Init,
    proc,
};
use crate::sys::{clock, process};
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::{
    fmt,
    fs::{self, Metadata},
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

/// A machine; clones are the same one.
#[derive(Clone)]
pub struct Machine {
    root: PathBuf,
    init: Init,
    system: Arc<dyn System>,
}

/// What a machine answers beside its files: its kernel and its programs.
pub trait System: Send + Sync {
    /// Is told before a file of the machine is looked at: what is simulated is written when somebody wants to see it.
    fn prepare(&self, _inside: &Path) {}
    /// A file of /proc or /sys as text; empty where it is not there or not ours to read.
    fn text(&self, path: &str) -> String;
    /// Every process that there is.
    fn pids(&self) -> Vec<u32>;
    /// The inodes of the sockets that a process holds; those of others are seen only as root.
    fn sockets(&self, pid: u32) -> Vec<u64>;
    /// Whether a process ends within this time; `false` too where it can't be watched.
    fn ends_within(&self, pid: u32, time: Duration) -> bool;
    /// The kernel's name of the machine.
    fn hostname(&self) -> String;
    /// The kernel's version: `6.12.48+deb13-amd64`.
    fn release(&self) -> String;
    /// Processors that may be used: affinity and the control group's quota counted.
    fn cores(&self) -> usize;
    /// The addresses by the names of their interfaces, those of the machine's own networks included.
    fn interfaces(&self) -> Vec<(String, IpAddr)>;
    /// Microseconds of the kernel's monotonic clock, which init systems stamp starts with.
    fn monotonic_micros(&self) -> u64;
    /// Microseconds since the kernel's boot, in which /proc stamps processes' starts.
    fn boot_micros(&self) -> u64;
    /// The filesystem that a path of the machine is on; `None` where there is no such path.
    fn filesystem(&self, path: &Path) -> Option<Filesystem>;
    /// Bytes that a file takes on its disk.
    fn allocated(&self, meta: &Metadata) -> u64;
    /// What runs the machine's programs for one task: they end with it.
    fn commands(&self, task: &Task) -> Box<dyn Commands>;
}

/// How full a filesystem is, in bytes and inodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// What tells it from others, where known.
    pub device: Option<u64>,
    /// Its size.
    pub total: u64,
    /// What is used.
    pub used: u64,
    /// What an ordinary user may still fill.
    pub free: u64,
    /// How many inodes it has; 0 where it does not count them.
    pub inodes: u64,
    /// How many of them are used.
    pub inodes_used: u64,
    /// Whether nothing can be written.
    pub read_only: bool,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let root = PathBuf::from("/");
        Self { init: Init::detect(&root), root, system: Arc::new(Here) }
    }

    /// This machine's kernel and programs over another root: an installation into a directory.
    pub fn below(root: &Path, init: Init) -> Self {
        Self { root: root.to_owned(), init, system: Arc::new(Here) }
    }

    /// Another machine, whose files are below a real directory and have no links that lead out of it.
    pub fn new(root: &Path, init: Init, system: Arc<dyn System>) -> Self {
        Self { root: root.to_owned(), init, system }
    }

    /// What runs its services.
    pub fn init(&self) -> Init {
        self.init
    }

    /// Where its files are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file of it is: `/etc/hostname` below its root.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        self.system.prepare(inside);
        self.root.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// How the machine itself calls one of its files.
    pub fn inside(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest))
    }

    /// A file of it as text; empty where it is not there. Those of /proc and /sys are its system's to tell.
    pub fn text(&self, inside: &str) -> String {
        if inside.starts_with("/proc/") || inside.starts_with("/sys/") {
            return self.system.text(inside);
        }
        proc::text(self.path(inside))
    }

    /// Whether there is such a process.
    pub fn has_process(&self, pid: u32) -> bool {
        !self.text(&format!("/proc/{pid}/stat")).is_empty()
    }

    /// For how long a process has been running, in seconds.
    pub fn age_seconds(&self, pid: u32) -> Option<f64> {
        let stat = proc::Stat::parse(&self.text(&format!("/proc/{pid}/stat")))?;
        let started = proc::seconds(stat.started, proc::ticks());
        Some((proc::seconds(self.system.boot_micros(), 1_000_000) - started).max(0.0))
    }

    /// What it answers beside its files.
    pub fn system(&self) -> &dyn System {
        self.system.as_ref()
    }

    /// What runs its programs for one task.
    pub fn commands(&self, task: &Task) -> Box<dyn Commands> {
        self.system.commands(task)
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::here()
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("root", &self.root).field("init", &self.init).finish_non_exhaustive()
    }
}

/// This machine's kernel and programs.
struct Here;

impl System for Here {
    fn text(&self, path: &str) -> String {
        proc::text(path)
    }

    fn pids(&self) -> Vec<u32> {
        proc::pids()
    }

    fn sockets(&self, pid: u32) -> Vec<u64> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
    }

    fn ends_within(&self, pid: u32, time: Duration) -> bool {
        // A process that can't be watched is looked at afterwards all the same.
        process::ends_within(pid, time).unwrap_or(false)
    }

    fn hostname(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    fn release(&self) -> String {
        rustix::system::uname().release().to_string_lossy().into_owned()
    }

    fn cores(&self) -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }

    fn interfaces(&self) -> Vec<(String, IpAddr)> {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let global = interfaces.into_iter().filter(|interface| !interface.is_link_local());
        global.map(|interface| (interface.name.clone(), interface.ip())).collect()
    }

    fn monotonic_micros(&self) -> u64 {
        clock::monotonic_micros()
    }

    fn boot_micros(&self) -> u64 {
        clock::boot_micros()
    }

    fn filesystem(&self, path: &Path) -> Option<Filesystem> {
        let found = statvfs(path).ok()?;
        let (total, free) = (found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize);
        Some(Filesystem {
            device: fs::metadata(path).map(|meta| meta.dev()).ok(),
            total,
            used: total.saturating_sub(found.f_bfree * found.f_frsize),
            free,
            inodes: found.f_files,
            inodes_used: found.f_files.saturating_sub(found.f_ffree),
            read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    fn allocated(&self, meta: &Metadata) -> u64 {
        meta.blocks() * 512
    }

    fn commands(&self, task: &Task) -> Box<dyn Commands> {
        Box::new(ThisMachine::of(task))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_below_the_root_and_back() {
        let machine = Machine::below(Path::new("/srv/guest"), Init::Systemd);
        assert_eq!(machine.path("/etc/hostname"), Path::new("/srv/guest/etc/hostname"));
        assert_eq!(machine.inside(Path::new("/srv/guest/etc/hostname")), Path::new("/etc/hostname"));
        let here = Machine::here();
        assert_eq!((here.path("/etc"), here.inside(Path::new("/etc"))), ("/etc".into(), "/etc".into()));
        assert_eq!(here.init(), Init::here());
    }

    #[test]
    fn this_process_is_there() {
        let (here, own) = (Machine::here(), std::process::id());
        assert!(here.has_process(own) && here.system().pids().contains(&own));
        assert!(here.age_seconds(own).unwrap() < 3600.0);
    }
}
