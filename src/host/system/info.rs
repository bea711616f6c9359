//! `system.info`.

use crate::{
    host::{Task, facts, init::Init, proc, text},
    model::Outcome,
};
use serde_json::json;
use std::{fs, path::Path};

/// Package managers and the program that shows each, the one that a distribution prefers first.
const PACKAGE_MANAGERS: [(&str, &str); 7] = [
    ("apt", "usr/bin/apt-get"),
    ("dnf", "usr/bin/dnf"),
    ("yum", "usr/bin/yum"),
    ("zypper", "usr/bin/zypper"),
    ("pacman", "usr/bin/pacman"),
    ("apk", "sbin/apk"),
    ("xbps", "usr/bin/xbps-install"),
];

/// OS, kernel, init system, package manager, uptime, addresses.
pub fn info(_task: &Task) -> Outcome {
    let root = Path::new("/");
    let (os, uname, init) = (facts::os_release(root), rustix::system::uname(), Init::here());
    let pretty = Some(facts::pretty_name(root)).filter(|name| !name.is_empty()).unwrap_or_else(|| os.label());
    let kernel = uname.release().to_string_lossy().into_owned();
    let uptime = uptime(&proc::text("/proc/uptime"));
    let addresses = facts::addresses();
    let up = uptime.map(|seconds| format!(", up {}", text::span(seconds))).unwrap_or_default();
    let summary = format!(
        "{}: {}, kernel {kernel}, {init}{up}, {}",
        facts::hostname(),
        if pretty.is_empty() { "an unknown system" } else { &pretty },
        if addresses.is_empty() { "no address".to_owned() } else { addresses.join(" ") }
    );
    Outcome::success(summary).with_data(json!({
        "hostname": facts::hostname(),
        "os": os,
        "pretty_name": pretty,
        "kernel": kernel,
        "arch": std::env::consts::ARCH,
        "init": init.as_str(),
        "container": container(root),
        "package_manager": package_manager(root),
        "uptime_seconds": uptime,
        "boot_id": facts::boot_id(),
        "addresses": addresses,
        "reboot_required": root.join("run/reboot-required").exists(),
    }))
}

/// Which package manager the system below `root` has.
fn package_manager(root: &Path) -> Option<&'static str> {
    PACKAGE_MANAGERS.iter().find(|(_, program)| root.join(program).exists()).map(|(name, _)| *name)
}

/// The kind of container that this is (`lxc`, `docker`, …), where it is one and says so.
fn container(root: &Path) -> Option<String> {
    let systemd = proc::text(root.join("run/systemd/container"));
    let environment = fs::read(root.join("proc/1/environ")).unwrap_or_default();
    let environment = String::from_utf8_lossy(&environment);
    let variable = environment.split('\0').find_map(|variable| variable.strip_prefix("container="));
    let docker = root.join(".dockerenv").exists().then_some("docker");
    let found = Some(systemd.trim()).filter(|kind| !kind.is_empty()).or(variable).or(docker);
    found.map(text::clean)
}

fn uptime(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files;

    #[test]
    fn a_container_is_known_by_what_it_says() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(container(root.path()), None);
        fs::create_dir_all(root.path().join("proc/1")).unwrap();
        files::write_atomic(&root.path().join("proc/1/environ"), b"TERM=x\0container=lxc\0", 0o600).unwrap();
        assert_eq!(container(root.path()).as_deref(), Some("lxc"));
    }

    #[test]
    fn this_machine_answers() {
        let outcome = info(&Task::default());
        assert!(outcome.succeeded());
        assert!(outcome.data["uptime_seconds"].as_f64().unwrap() > 0.0);
        assert!(uptime("").is_none());
    }
}
