//! Guests made and taken away.

use super::{Call, Place};
use crate::model::{target::Vmid, values::GuestKind};

/// A guest that is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct New<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where its disk goes.
    pub storage: &'a str,
    /// Its disk in GiB, at least 1.
    pub disk: u64,
    /// Its cores.
    pub cores: u64,
    /// Its memory in MiB.
    pub memory: u64,
    /// The bridge that it is connected to.
    pub bridge: &'a str,
}

/// Creates a container from a template: unprivileged, its address by DHCP.
pub fn container(place: &Place, new: &New, template: &str) -> Call {
    Call::post(&["nodes", place.node, GuestKind::Ct.api()])
        .with("vmid", place.vmid)
        .with("ostemplate", template)
        .with("hostname", new.name)
        .with("rootfs", format!("{}:{}", new.storage, new.disk))
        .with("cores", new.cores)
        .with("memory", new.memory)
        .with("net0", format!("name=eth0,bridge={},ip=dhcp", new.bridge))
        .with("features", "nesting=1")
        .flag("unprivileged", true)
        .starts(&["vzcreate"])
}

/// Creates a virtual machine with an empty disk, an installation medium in its drive where one is given.
pub fn machine(place: &Place, new: &New, iso: Option<&str>) -> Call {
    let boot = if iso.is_some() { "order=scsi0;ide2;net0" } else { "order=scsi0;net0" };
    Call::post(&["nodes", place.node, GuestKind::Vm.api()])
        .with("vmid", place.vmid)
        .with("name", new.name)
        .with("scsi0", format!("{}:{}", new.storage, new.disk))
        .with("scsihw", "virtio-scsi-single")
        .with("cores", new.cores)
        .with("memory", new.memory)
        .with("net0", format!("virtio,bridge={}", new.bridge))
        .with("ostype", "l26")
        .with("agent", 1)
        .maybe("ide2", iso.map(|iso| format!("{iso},media=cdrom")))
        .with("boot", boot)
        .starts(&["qmcreate"])
}

/// Copies a guest: a template's disks are linked where its storage can, anything else's are copied.
pub fn clone(guest: &Place, newid: Vmid, name: &str, target: Option<&str>, full: bool) -> Call {
    let call = guest.call("POST", &["clone"]).with("newid", newid);
    let call = call.with(if guest.kind == GuestKind::Ct { "hostname" } else { "name" }, name).maybe("target", target);
    let call = if full { call.flag("full", true) } else { call };
    call.starts(&["vzclone", "qmclone"])
}

/// Deletes a guest with the disks of its configuration, and from jobs, pools and HA too. Disks that only carry its vmid stay:
/// on a storage that clusters share they may be those of another one's guest.
pub fn destroy(guest: &Place) -> Call {
    guest
        .call("DELETE", &[])
        .flag("purge", true)
        .flag("destroy-unreferenced-disks", false)
        .starts(&["vzdestroy", "qmdestroy"])
}

/// Restores a backup: over the guest that has that vmid, or as a new one with identities of its own.
pub fn restore(place: &Place, archive: &str, storage: Option<&str>, over: bool) -> Call {
    let call = Call::post(&["nodes", place.node, place.kind.api()]).with("vmid", place.vmid).maybe("storage", storage);
    let call = match place.kind {
        GuestKind::Ct => call.with("ostemplate", archive).flag("restore", true),
        GuestKind::Vm => call.with("archive", archive),
    };
    let call = if over { call.flag("force", true) } else { call.flag("unique", true) };
    call.starts(&["vzrestore", "qmrestore"])
}
