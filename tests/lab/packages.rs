//! What the lab needs of the machine: root, apt, and some packages, which are installed where they are missing.

use super::run::cache;
use std::{
    fs,
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

/// A file that each package brings, and the package.
const NEEDED: &[(&str, &str)] = &[
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
    ("/usr/bin/ssh-keygen", "openssh-client"),
    ("/sbin/ip", "iproute2"),
    ("/sbin/mkfs.ext4", "e2fsprogs"),
    ("/usr/bin/nsenter", "util-linux"),
];

/// Makes the machine fit for the lab, or says why it can't be.
pub fn provide() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root (real containers, network namespaces)".to_owned());
    }
    if !Path::new("/etc/debian_version").exists() || !Path::new("/usr/bin/apt-get").exists() {
        return Err("it needs a Debian-like machine (apt, mmdebstrap)".to_owned());
    }
    if missing().is_empty() {
        return namespaces();
    }
    // One at a time: apt refuses to run beside itself, and a test runner may start many of this at once.
    let folder = cache();
    let lock = fs::create_dir_all(&folder).and_then(|()| File::create(folder.join("packages.lock")));
    let lock = lock.and_then(|lock| lock.lock().map(|()| lock));
    let _lock = lock.map_err(|error| format!("cannot lock {}: {error}", folder.display()))?;
    let missing = missing();
    if missing.is_empty() {
        return namespaces();
    }
    eprintln!("lab: installing {}", missing.join(" "));
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat())?;
    namespaces()
}

/// Root within a container may be root without these.
fn namespaces() -> Result<(), String> {
    let tried = Command::new("unshare")
        .args([
            "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "mount", "-t", "tmpfs", "tmpfs",
            "/mnt",
        ])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run unshare: {error}"))?;
    let allowed = tried.status.success();
    if allowed { Ok(()) } else { Err("this machine's root may not make namespaces and mount in them".to_owned()) }
}

fn missing() -> Vec<&'static str> {
    NEEDED.iter().filter(|(program, _)| !Path::new(program).exists()).map(|(_, package)| *package).collect()
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("apt-get")
        .arg("--quiet=2")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run apt-get: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("apt-get {} failed: {}", arguments.join(" "), errors.lines().last().unwrap_or_default()))
}
