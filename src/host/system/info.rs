//! `system.info`.

use crate::{
    host::{Machine, facts, text},
    model::Outcome,
};
use serde_json::json;

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
pub fn info(machine: &Machine) -> Outcome {
    let (os, init, hostname) = (facts::os_release(machine), machine.init(), machine.system().hostname());
    let pretty = Some(facts::pretty_name(machine)).filter(|name| !name.is_empty()).unwrap_or_else(|| os.label());
    let kernel = machine.system().release();
    let uptime = uptime(&machine.text("/proc/uptime"));
    let addresses = facts::addresses(machine);
    let up = uptime.map(|seconds| format!(", up {}", text::span(seconds))).unwrap_or_default();
    let summary = format!(
        "{hostname}: {}, kernel {kernel}, {init}{up}, {}",
        if pretty.is_empty() { "an unknown system" } else { &pretty },
        if addresses.is_empty() { "no address".to_owned() } else { addresses.join(" ") }
    );
    Outcome::success(summary).with_data(json!({
        "hostname": hostname,
        "os": os,
        "pretty_name": pretty,
        "kernel": kernel,
        "arch": std::env::consts::ARCH,
        "init": init.as_str(),
        "container": container(machine),
        "package_manager": package_manager(machine),
        "uptime_seconds": uptime,
        "boot_id": facts::boot_id(machine),
        "addresses": addresses,
        "reboot_required": machine.path("/run/reboot-required").exists(),
    }))
}

/// Which package manager a machine has.
fn package_manager(machine: &Machine) -> Option<&'static str> {
    PACKAGE_MANAGERS.iter().find(|(_, program)| machine.path(program).exists()).map(|(name, _)| *name)
}

/// The kind of container that this is (`lxc`, `docker`, …), where it is one and says so.
fn container(machine: &Machine) -> Option<String> {
    let systemd = machine.text("/run/systemd/container");
    let environment = machine.text("/proc/1/environ");
    let variable = environment.split('\0').find_map(|variable| variable.strip_prefix("container="));
    let docker = machine.path("/.dockerenv").exists().then_some("docker");
    let found = Some(systemd.trim()).filter(|kind| !kind.is_empty()).or(variable).or(docker);
    found.map(text::clean)
}

fn uptime(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::init::Init, sys::files};
    use std::fs;

    #[test]
    fn a_container_is_known_by_what_it_says() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("run/systemd")).unwrap();
        files::write_atomic(&root.path().join("run/systemd/container"), b"lxc\n", 0o600).unwrap();
        assert_eq!(container(&Machine::below(root.path(), Init::Systemd)).as_deref(), Some("lxc"));
    }

    #[test]
    fn this_machine_answers() {
        let outcome = info(&Machine::here());
        assert!(outcome.succeeded());
        assert!(outcome.data["uptime_seconds"].as_f64().unwrap() > 0.0);
        assert!(uptime("").is_none());
    }
}
