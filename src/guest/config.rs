//! What `pct config`, `qm config` and their `status` say of a guest: `key: value` lines.

use super::transport::GuestState;
use crate::sys::text::one_line;

/// A key's value.
pub(super) fn value<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    config.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// A guest's state from both.
pub(super) fn state(status: &str, config: &str) -> GuestState {
    GuestState {
        status: one_line(status.trim().strip_prefix("status: ").unwrap_or_default(), 30),
        template: value(config, "template") == Some("1"),
        lock: value(config, "lock").map(|lock| one_line(lock, 30)),
        macs: macs(config),
    }
}

/// The MAC addresses of `net0: name=eth0,hwaddr=…` and `net0: virtio=…,bridge=…` lines.
fn macs(config: &str) -> Vec<String> {
    let nets = config.lines().filter_map(|line| line.strip_prefix("net")?.split_once(": "));
    let parts = nets.flat_map(|(_, net)| net.split(',')).filter_map(|part| part.split_once('='));
    let macs = parts.filter(|(key, value)| *key == "hwaddr" || (value.len() == 17 && value.matches(':').count() == 5));
    macs.map(|(_, mac)| one_line(mac, 17).to_ascii_lowercase()).collect()
}

/// Whether a virtual machine's `agent: …` line switches its guest agent on: `1`, `1,fstrim_cloned_disks=1`, `enabled=1`.
pub(super) fn guest_agent(config: &str) -> bool {
    let enabled = |part: &str| matches!(part.strip_prefix("enabled=").unwrap_or(part), "1" | "yes" | "on" | "true");
    value(config, "agent").is_some_and(|agent| agent.split(',').any(enabled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_machine_s_lines_are_read() {
        let config = "agent: enabled=1,fstrim_cloned_disks=1\nlock: backup\nname: app\n\
                      net0: virtio=BC:24:11:0C:74:AD,bridge=vmbr0\nnet1: e1000=BC:24:11:0C:74:AE,bridge=vmbr0\n";
        let state = state("status: running\n", config);
        assert_eq!((state.status.as_str(), state.lock.as_deref()), ("running", Some("backup")));
        assert_eq!(state.macs, ["bc:24:11:0c:74:ad", "bc:24:11:0c:74:ae"]);
        assert!(guest_agent(config) && guest_agent("agent: 1\n"));
        assert!(
            !guest_agent("agent: 0\n") && !guest_agent("agent: enabled=0,type=virtio\n") && !guest_agent("name: a\n")
        );
    }
}
