//! One guest: what it is, its configuration, where it may go.

use super::{Call, Place};

/// Its state now.
pub fn current(guest: &Place) -> Call {
    guest.call("GET", &["status", "current"])
}

/// Its configuration, with what waits for a restart.
pub fn config(guest: &Place) -> Call {
    guest.call("GET", &["config"])
}

/// Its configuration key by key, with what waits beside what holds.
pub fn pending(guest: &Place) -> Call {
    guest.call("GET", &["pending"])
}

/// A container's interfaces and their addresses.
pub fn interfaces(guest: &Place) -> Call {
    guest.call("GET", &["interfaces"])
}

/// What the guest agent says of the operating system.
pub fn agent_os(guest: &Place) -> Call {
    guest.call("GET", &["agent", "get-osinfo"])
}

/// What the guest agent says of the interfaces.
pub fn agent_interfaces(guest: &Place) -> Call {
    guest.call("GET", &["agent", "network-get-interfaces"])
}

/// Settings to change; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Cores.
    pub cores: Option<u64>,
    /// Memory in MiB.
    pub memory: Option<u64>,
    /// All tags, `;` between them.
    pub tags: Option<String>,
    /// Whether it starts with its node.
    pub onboot: Option<bool>,
    /// A container's `hostname`, a virtual machine's `name`.
    pub name: Option<String>,
}

/// Changes settings, if the configuration is still the one with that digest.
pub fn configure(guest: &Place, changes: &Changes, digest: &str) -> Call {
    let name = if guest.kind == crate::model::values::GuestKind::Ct { "hostname" } else { "name" };
    guest
        .call("PUT", &["config"])
        .maybe("cores", changes.cores)
        .maybe("memory", changes.memory)
        .maybe("tags", changes.tags.as_ref())
        .maybe("onboot", changes.onboot.map(u8::from))
        .maybe(name, changes.name.as_ref())
        .with("digest", digest)
}

/// Grows a disk to a size in bytes, if the configuration is still the one with that digest.
pub fn resize(guest: &Place, disk: &str, bytes: u64, digest: &str) -> Call {
    let size = if bytes.is_multiple_of(1 << 10) { format!("{}K", bytes >> 10) } else { bytes.to_string() };
    guest.call("PUT", &["resize"]).with("disk", disk).with("size", size).with("digest", digest).starts(&["resize"])
}

/// What stands in the way of a move. For containers there is no such question before version 9.
pub fn move_conditions(guest: &Place, target: &str) -> Call {
    guest.call("GET", &["migrate"]).with("target", target)
}

/// Moves a virtual machine, running where `online`, its local disks with it where `local_disks`.
pub fn move_machine(guest: &Place, target: &str, online: bool, local_disks: bool) -> Call {
    let call = guest.call("POST", &["migrate"]).with("target", target).flag("online", online);
    let call = if local_disks { call.flag("with-local-disks", true) } else { call };
    call.starts(&["qmigrate", "hamigrate"])
}

/// Moves a container; a running one is stopped, and started again over there.
pub fn move_container(guest: &Place, target: &str, restart: bool) -> Call {
    guest.call("POST", &["migrate"]).with("target", target).flag("restart", restart).starts(&["vzmigrate", "hamigrate"])
}
