//! Storages, what they hold, and what puts backups and templates there.

use super::{Call, Place};
use crate::model::target::Vmid;

/// A node's storages that may hold something of that kind: `rootdir`, `images`, `backup`, `vztmpl`, `iso`.
pub fn that_hold(node: &str, content: &str) -> Call {
    Call::get(&["nodes", node, "storage"]).with("content", content).flag("enabled", true)
}

/// What a storage holds of that kind, of one guest where that is given.
pub fn content(node: &str, storage: &str, content: &str, vmid: Option<Vmid>) -> Call {
    Call::get(&["nodes", node, "storage", storage, "content"]).with("content", content).maybe("vmid", vmid)
}

/// The container templates that can be downloaded.
pub fn appliances(node: &str) -> Call {
    Call::get(&["nodes", node, "aplinfo"])
}

/// Downloads one of them.
pub fn download(node: &str, storage: &str, template: &str) -> Call {
    Call::post(&["nodes", node, "aplinfo"]).with("storage", storage).with("template", template).starts(&["download"])
}

/// Backs a guest up while it runs. Older backups stay: Proxmox would prune them by the storage's rule, unasked.
pub fn back_up(guest: &Place, storage: &str) -> Call {
    Call::post(&["nodes", guest.node, "vzdump"])
        .with("vmid", guest.vmid)
        .with("storage", storage)
        .with("mode", "snapshot")
        .with("compress", "zstd")
        .flag("remove", false)
        .with("notes-template", "{{guestname}}")
        .starts(&["vzdump"])
}
