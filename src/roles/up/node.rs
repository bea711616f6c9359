//! Whether this machine is a Proxmox VE node that something can be set up on. Looked at before anything is changed.

use crate::{
    host::{commands::PATH, facts},
    model::{Failure, target::is_name},
    sys::{env, process::Run},
};
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What a pve-agent works with.
const PROGRAMS: [&str; 3] = ["pveversion", "pveum", "pct"];

/// A Proxmox VE node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its version of Proxmox VE.
    pub version: String,
}

impl Node {
    /// This machine, or why it won't do.
    pub fn here() -> Result<Self, Failure> {
        if !env::is_root() {
            return Err(Failure::new("setting up a Proxmox node is for root").help("sudo remotectl up"));
        }
        let root = Path::new("/");
        is_proxmox(root)?;
        writable(root)?;
        let name = facts::hostname();
        if !is_name(&name) {
            return Err(Failure::new(format!("`{name}` is no name that the hub could call this node by"))
                .help("hostnamectl set-hostname NAME"));
        }
        let told = Run::new("pveversion", [""; 0]).run();
        let told = told.map_err(|error| Failure::of("asking for the version of Proxmox VE", &error))?;
        Ok(Self { name, version: version(&told.stdout_text()) })
    }
}

/// `pve-manager/9.2.11/14a22df3 (running kernel: …)` → `9.2.11`; empty for anything else.
fn version(told: &str) -> String {
    let word = told.split('/').nth(1).unwrap_or_default();
    if word.bytes().all(|byte| byte.is_ascii_digit() || b".~-".contains(&byte)) {
        word.to_owned()
    } else {
        String::new()
    }
}

/// Where a program is, below `root`.
pub fn program(root: &Path, name: &str) -> Option<PathBuf> {
    let folders = PATH.split(':').map(|folder| root.join(folder.trim_start_matches('/')));
    folders.map(|folder| folder.join(name)).find(|path| path.exists())
}

fn is_proxmox(root: &Path) -> Result<(), Failure> {
    let mut missing: Vec<&str> = PROGRAMS.into_iter().filter(|name| program(root, name).is_none()).collect();
    missing.extend((!root.join("etc/pve").is_dir()).then_some("/etc/pve"));
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new("this is no Proxmox VE node")
        .detail(format!("there is no {}", missing.join(", no ")))
        .help("`remotectl demo` shows it without a Proxmox; `remotectl hub install` puts a hub onto any machine"))
}

/// Refuses where users and tokens can't be made: the cluster's file system is not mounted, or read-only.
fn writable(root: &Path) -> Result<(), Failure> {
    let pve = root.join("etc/pve");
    if !pve.join("nodes").is_dir() {
        return Err(Failure::new("/etc/pve is empty: the cluster's file system is not mounted")
            .help("`systemctl status pve-cluster` says why"));
    }
    // Without a quorum the cluster's file system takes the owner's right to write off what it shows; root's own access
    // tells nothing. A node without a cluster always has it.
    let shown = pve.join("local").symlink_metadata().or_else(|_| pve.symlink_metadata());
    let shown = shown.map_err(|error| Failure::of("looking at /etc/pve", &error))?;
    if shown.mode() & 0o200 == 0 {
        return Err(Failure::new("/etc/pve is read-only: this node's cluster has no quorum")
            .help("`pvecm status` shows which nodes are missing; bring a majority of them back"));
    }
    if statvfs(&pve).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return Err(Failure::new("/etc/pve is mounted read-only").help("`findmnt -T /etc/pve` shows how"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files;
    use std::fs;

    fn node(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            files::write_atomic(&path, b"", 0o755).unwrap();
        }
        root
    }

    const WHOLE: [&str; 4] = ["usr/bin/pveversion", "usr/sbin/pveum", "usr/sbin/pct", "etc/pve/nodes/pve1/x"];

    #[test]
    fn a_machine_without_proxmox_is_told_what_else_there_is() {
        let failure = is_proxmox(node(&["usr/sbin/pct"]).path()).unwrap_err();
        assert_eq!(failure.details, ["there is no pveversion, no pveum, no /etc/pve"]);
        let help = failure.help.unwrap();
        assert!(help.contains("`remotectl demo`") && help.contains("`remotectl hub install`"), "{help}");
        is_proxmox(node(&WHOLE).path()).unwrap();
    }

    #[test]
    fn a_cluster_without_quorum_is_seen_though_root_may_write_everywhere() {
        let alone = node(&WHOLE);
        writable(alone.path()).unwrap();
        files::write_atomic(&alone.path().join("etc/pve/local"), b"", 0o555).unwrap();
        let failure = writable(alone.path()).unwrap_err();
        assert!(
            failure.message.contains("no quorum") && failure.help.unwrap().contains("pvecm"),
            "{}",
            failure.message
        );
        let unmounted = node(&WHOLE[..3]);
        fs::create_dir_all(unmounted.path().join("etc/pve")).unwrap();
        assert!(writable(unmounted.path()).unwrap_err().message.contains("not mounted"));
    }

    #[test]
    fn versions_read() {
        assert_eq!(version("pve-manager/9.2.11/14a22df3 (running kernel: 6.14)\n"), "9.2.11");
        assert_eq!(version("pve-manager/8.0.0~7/x"), "8.0.0~7");
        assert_eq!(version("what?"), "");
    }
}
