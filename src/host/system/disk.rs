//! `system.disk`: filesystems, and the largest directories below a path, without ever waiting for a network filesystem.

use super::percent;
use crate::{
    host::{
        Machine, Task,
        machine::Filesystem,
        text::{amount, clean},
    },
    model::Outcome,
};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    time::Instant,
};

/// Kinds of filesystem that hold data on a disk (or in memory) of this machine; of all others the kernel alone knows.
const LOCAL: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "vfat", "exfat", "ntfs3",
    "overlay", "tmpfs",
];
/// Kinds that may hang for ever when their server is gone: named, never asked.
const REMOTE: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "glusterfs", "fuse.sshfs", "fuse.glusterfs"];
/// Directories that are named.
const NAMED: usize = 15;
/// How far below the path directories are told apart; deeper ones count into these.
const DEPTH: usize = 3;
/// How deep the walk goes at all.
const DEEPEST: usize = 100;
/// The share of the task's time that the walk may take: one in this many.
const SHARE: u32 = 2;

/// How full a filesystem is, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Usage {
    total: u64,
    used: u64,
    /// What an ordinary user may still fill.
    pub free: u64,
    /// Used, of what an ordinary user may use, as df counts.
    pub percent: f64,
    inodes_percent: f64,
    read_only: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    source: String,
    at: PathBuf,
    kind: String,
}

/// Filesystems and the largest directories.
pub fn disk(path: Option<&str>, machine: &Machine, task: &Task) -> Outcome {
    let top = PathBuf::from(path.unwrap_or("/"));
    let shown = clean(&top.to_string_lossy());
    if !top.is_absolute() || top.components().any(|part| part == Component::ParentDir) {
        return Outcome::rejected(format!("`{shown}` is no absolute path"));
    }
    // The path may be a link; what is below it is not followed.
    let real = fs::canonicalize(machine.path(&top)).ok().filter(|real| real.starts_with(machine.root()));
    let (Some(at), Some(real)) = (usage(machine, &top), real) else {
        return Outcome::failure(format!("there is no {shown} here, or it can't be looked at"));
    };
    let mut walk = Walk::new(machine, task);
    walk.walk(&real, 0);
    let directories = walk.largest();
    let largest: Vec<String> =
        directories.iter().skip(1).take(3).map(|(path, bytes)| format!("{path} {}", amount(*bytes))).collect();
    let mut summary = format!("{shown} is on a filesystem {} % full, {} free", at.percent, amount(at.free));
    if !largest.is_empty() {
        summary = format!("{summary}; largest: {}", largest.join(", "));
    }
    if !walk.complete {
        summary.push_str("; not every directory was counted: there was no time or no right to");
    }
    let directories: Vec<_> = directories.iter().map(|(path, bytes)| json!({ "path": path, "bytes": bytes })).collect();
    Outcome::success(summary).with_data(json!({
        "filesystems": filesystems(machine),
        "path": shown, "usage": at, "directories": directories, "complete": walk.complete,
    }))
}

/// How full the filesystem is that a path is on.
pub fn usage(machine: &Machine, path: &Path) -> Option<Usage> {
    machine.system().filesystem(path).as_ref().map(Usage::of)
}

impl Usage {
    fn of(found: &Filesystem) -> Self {
        Self {
            total: found.total,
            used: found.used,
            free: found.free,
            percent: percent(found.used, found.used + found.free),
            inodes_percent: percent(found.inodes_used, found.inodes),
            read_only: found.read_only,
        }
    }
}

fn filesystems(machine: &Machine) -> Vec<serde_json::Value> {
    let mut seen = HashMap::new();
    for mount in parse(&machine.text("/proc/self/mounts")) {
        // Bind mounts show the same filesystem again and again; its first place is its own.
        let remote = REMOTE.contains(&mount.kind.as_str());
        let found = if remote { None } else { machine.system().filesystem(&mount.at) };
        let found = found.filter(|found| found.total > 0);
        let order = seen.len();
        if remote || found.is_some() {
            let device = found.as_ref().and_then(|found| found.device);
            let usage = found.as_ref().map(Usage::of);
            let key = device.map_or_else(|| mount.at.display().to_string(), |device| device.to_string());
            seen.entry(key).or_insert_with(|| (order, json!({
                "source": clean(&mount.source), "path": clean(&mount.at.to_string_lossy()), "type": mount.kind, "usage": usage,
            })));
        }
    }
    let mut found: Vec<_> = seen.into_values().collect();
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().map(|(_, filesystem)| filesystem).collect()
}

/// The mounts of /proc/self/mounts that hold data.
fn parse(mounts: &str) -> Vec<Mount> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (source, at, kind) = (unescape(fields.next()?), unescape(fields.next()?), fields.next()?.to_owned());
            Some(Mount { source, at: PathBuf::from(at), kind })
        })
        .filter(|mount| LOCAL.contains(&mount.kind.as_str()) || REMOTE.contains(&mount.kind.as_str()))
        .collect()
}

/// The kernel writes blanks in paths as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Adds up what is allocated, on one filesystem, for as long as the task allows.
struct Walk<'a> {
    machine: &'a Machine,
    task: &'a Task<'a>,
    began: Instant,
    device: Option<u64>,
    sizes: HashMap<PathBuf, u64>,
    complete: bool,
}

impl<'a> Walk<'a> {
    fn new(machine: &'a Machine, task: &'a Task<'a>) -> Self {
        Self { machine, task, began: Instant::now(), device: None, sizes: HashMap::new(), complete: true }
    }

    fn over(&self) -> bool {
        self.task.cancel.fired() || self.began.elapsed() > self.task.timeout / SHARE
    }

    fn walk(&mut self, directory: &Path, depth: usize) -> u64 {
        let Ok(meta) = directory.symlink_metadata() else { return 0 };
        if *self.device.get_or_insert(meta.dev()) != meta.dev() || !meta.is_dir() {
            return 0;
        }
        let mut bytes = self.machine.system().allocated(&meta);
        let Ok(entries) = fs::read_dir(directory) else {
            self.complete = false;
            return bytes;
        };
        for entry in entries.flatten() {
            if depth >= DEEPEST || self.over() {
                self.complete = false;
                break;
            }
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => bytes += self.walk(&entry.path(), depth + 1),
                Ok(meta) => bytes += self.machine.system().allocated(&meta),
                Err(_) => {}
            }
        }
        if depth <= DEPTH {
            self.sizes.insert(directory.to_owned(), bytes);
        }
        bytes
    }

    fn largest(&self) -> Vec<(String, u64)> {
        let mut sizes: Vec<(&PathBuf, u64)> = self.sizes.iter().map(|(path, bytes)| (path, *bytes)).collect();
        sizes.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        let shown = |path: &Path| clean(&self.machine.inside(path).to_string_lossy());
        sizes.into_iter().take(NAMED).map(|(path, bytes)| (shown(path), bytes)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::outcome::Ending, sys::files};

    #[test]
    fn the_largest_directory_is_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("small")).unwrap();
        fs::create_dir_all(root.path().join("large/er")).unwrap();
        files::write_atomic(&root.path().join("large/er/file"), &vec![1; 1 << 20], 0o600).unwrap();
        let (here, task) = (Machine::here(), Task::default());
        let mut walk = Walk::new(&here, &task);
        assert!(walk.walk(root.path(), 0) >= 1 << 20);
        let largest = walk.largest();
        assert!(largest[0].0 == root.path().to_str().unwrap() && largest[1].0.ends_with("/large"), "{largest:?}");
        assert!(walk.complete);
    }

    #[test]
    fn a_cancelled_walk_says_that_it_is_not_complete() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("x")).unwrap();
        let (here, task) = (Machine::here(), Task::default());
        task.cancel.fire();
        let mut walk = Walk::new(&here, &task);
        walk.walk(root.path(), 0);
        assert!(!walk.complete);
    }

    #[test]
    fn mounts_that_hold_data_are_told_from_the_kernels_own() {
        let text = "proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\nnas:/x /mnt/my\\040nas nfs4 rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[1].at, Path::new("/mnt/my nas"));
    }

    #[test]
    fn paths_are_absolute() {
        assert_eq!(disk(Some("etc"), &Machine::here(), &Task::default()).ending, Ending::Rejected);
        assert_eq!(disk(Some("/etc/../root"), &Machine::here(), &Task::default()).ending, Ending::Rejected);
        assert_eq!(disk(Some("/no/such/place"), &Machine::here(), &Task::default()).ending, Ending::Failed);
    }
}
