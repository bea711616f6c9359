//! What this machine is: told to the hub when the agent starts and when it changes, and by `agent probe`.

use super::{Machine, Task, proc, services};
use crate::model::{facts::Facts, inventory::Os};
use std::{fs, path::Path, time::Duration};

/// How long the init system may take to list its services.
const TIME: Duration = Duration::from_secs(10);
/// Interfaces that containers, bridges and virtual networks of this machine make: their addresses lead nowhere from outside.
const INNER: &[&str] =
    &["lo", "docker", "br-", "veth", "virbr", "lxcbr", "cni", "flannel", "cali", "fwbr", "fwln", "fwpr", "tap"];

/// The facts of a machine. What can't be found out is empty: a half-known machine is better than none.
pub fn facts(machine: &Machine) -> Facts {
    Facts {
        hostname: machine.system().hostname(),
        os: os_release(machine),
        init: machine.init().to_string(),
        arch: std::env::consts::ARCH.to_owned(),
        boot_id: boot_id(machine),
        addresses: addresses(machine),
        services: running_services(machine),
        macs: macs(&machine.path("/sys/class/net")),
        previous: String::new(),
    }
}

/// This machine's name.
pub fn hostname() -> String {
    Machine::here().system().hostname()
}

/// The kernel's random id of this boot; of a container it is its node's.
pub fn boot_id(machine: &Machine) -> String {
    machine.text("/proc/sys/kernel/random/boot_id").trim().to_owned()
}

/// A machine's operating system, from its os-release; empty where there is none.
pub fn os_release(machine: &Machine) -> Os {
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().map(|path| machine.text(path));
    os_of(&text.into_iter().find(|text| !text.is_empty()).unwrap_or_default())
}

/// The operating system that an os-release tells of.
pub fn os_of(text: &str) -> Os {
    let version = value(text, "VERSION_ID").unwrap_or_default();
    let mut os = Os::new(&value(text, "ID").unwrap_or_default(), &version);
    if os.version.is_empty() && value(text, "BUILD_ID").is_some_and(|build| build == "rolling") {
        "rolling".clone_into(&mut os.version);
    }
    // A distribution that we have not heard of says whom it is like.
    let like = value(text, "ID_LIKE").unwrap_or_default();
    if os.family.is_empty() || os.family == os.id {
        let family = like.split_whitespace().map(|like| Os::new(like, "").family).find(|family| !family.is_empty());
        os.family = family.unwrap_or(os.family);
    }
    os
}

/// os-release's own name for people: `Debian GNU/Linux 12 (bookworm)`.
pub fn pretty_name(machine: &Machine) -> String {
    value(&machine.text("/etc/os-release"), "PRETTY_NAME").unwrap_or_default()
}

/// Global addresses of the interfaces that lead outside, without prefix lengths.
pub fn addresses(machine: &Machine) -> Vec<String> {
    let outer = machine.system().interfaces().into_iter().filter(|(name, _)| !is_inner(name));
    let mut addresses: Vec<std::net::IpAddr> =
        outer.map(|(_, ip)| ip).filter(|ip| !ip.is_loopback() && !ip.is_unspecified()).collect();
    addresses.sort_by_key(|ip| (ip.is_ipv6(), *ip));
    addresses.dedup();
    addresses.iter().map(ToString::to_string).collect()
}

fn macs(net: &Path) -> Vec<String> {
    let interfaces = fs::read_dir(net).into_iter().flatten().flatten();
    let mut macs: Vec<String> = interfaces
        .filter(|entry| !is_inner(&entry.file_name().to_string_lossy()))
        .map(|entry| proc::text(entry.path().join("address")).trim().to_ascii_lowercase())
        .filter(|mac| is_mac(mac) && mac != "00:00:00:00:00:00")
        .collect();
    macs.sort();
    macs.dedup();
    macs
}

fn is_mac(text: &str) -> bool {
    let mut bytes = 0;
    text.split(':').all(|byte| {
        bytes += 1;
        byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit())
    }) && bytes == 6
}

fn is_inner(interface: &str) -> bool {
    INNER.iter().any(|prefix| interface == *prefix || (*prefix != "lo" && interface.starts_with(prefix)))
}

fn running_services(machine: &Machine) -> Vec<String> {
    let commands = machine.commands(&Task { timeout: TIME, ..Task::default() });
    let Ok(manager) = services::manager(machine, commands.as_ref()) else { return Vec::new() };
    // An init system that does not answer now is asked again with the next facts.
    services::noteworthy(manager.as_ref()).unwrap_or_default()
}

/// A value of os-release: `KEY=value`, `KEY="value"` or `KEY='value'`, with the shell's backslashes in double quotes.
fn value(text: &str, key: &str) -> Option<String> {
    let raw = text.lines().rev().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    let raw = raw.trim();
    if let Some(inner) = raw.strip_prefix('\'').and_then(|raw| raw.strip_suffix('\'')) {
        return Some(inner.to_owned());
    }
    let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
    let (mut text, mut escaped) = (String::new(), false);
    for char in inner.chars() {
        if char == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            text.push(char);
        }
    }
    Some(super::text::clean(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::init::Init, sys::files};

    fn os(text: &str) -> Os {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        files::write_atomic(&root.path().join("etc/os-release"), text.as_bytes(), 0o644).unwrap();
        os_release(&Machine::below(root.path(), Init::Unknown))
    }

    #[test]
    fn os_releases_read_as_they_are_written() {
        let debian = os("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n");
        assert_eq!((debian.id.as_str(), debian.version.as_str(), debian.family.as_str()), ("debian", "12", "debian"));
        let rocky = os("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\n");
        assert_eq!((rocky.id.as_str(), rocky.family.as_str()), ("rocky", "rhel"));
        let arch = os("NAME=\"Arch Linux\"\nID=arch\nBUILD_ID=rolling\n");
        assert_eq!((arch.version.as_str(), arch.family.as_str()), ("rolling", "arch"));
        let unheard = os("ID='mylinux'\nID_LIKE='ubuntu debian'\n");
        assert_eq!((unheard.id.as_str(), unheard.family.as_str()), ("mylinux", "debian"));
        assert_eq!(os("").id, "");
    }

    #[test]
    fn quotes_backslashes_and_escapes_do_not_come_through() {
        assert_eq!(value("A=\"a \\\"b\\\" \\$c\"", "A").unwrap(), "a \"b\" $c");
        assert_eq!(value("VERSION_ID=1\nID=x", "ID").unwrap(), "x");
        assert_eq!(value("ID=\u{1b}[31mx", "ID").unwrap(), "x");
        assert_eq!(value("", "ID"), None);
    }

    #[test]
    fn inner_interfaces_do_not_count() {
        let net = tempfile::tempdir().unwrap();
        for (name, mac) in [
            ("eth0", "BC:24:11:00:00:01"),
            ("lo", "00:00:00:00:00:00"),
            ("docker0", "02:42:00:00:00:01"),
            ("wg0", ""),
            ("tunl0", "0.0.0.0"),
        ] {
            fs::create_dir(net.path().join(name)).unwrap();
            files::write_atomic(&net.path().join(name).join("address"), mac.as_bytes(), 0o644).unwrap();
        }
        assert_eq!(macs(net.path()), ["bc:24:11:00:00:01"]);
        assert!(is_inner("lo") && !is_inner("lovely0") && is_inner("br-0123") && !is_inner("vmbr0"));
    }

    #[test]
    fn this_machine_has_facts() {
        let here = Machine::here();
        let facts = facts(&here);
        assert!(!facts.hostname.is_empty() && !facts.boot_id.is_empty());
        assert_eq!(facts.init, here.init().to_string());
    }
}
