//! A guest's snapshots.

use super::{Call, Place};

/// All of them, and `current`, which is none.
pub fn list(guest: &Place) -> Call {
    guest.call("GET", &["snapshot"])
}

/// Whether its disks can be snapshotted.
pub fn possible(guest: &Place) -> Call {
    guest.call("GET", &["feature"]).with("feature", "snapshot")
}

/// Takes one of its disks; memory is left out.
pub fn take(guest: &Place, name: &str, description: &str) -> Call {
    guest
        .call("POST", &["snapshot"])
        .with("snapname", name)
        .with("description", description)
        .starts(&["vzsnapshot", "qmsnapshot"])
}

/// Goes back to one, starting the guest afterwards where it is to run.
pub fn rollback(guest: &Place, name: &str, start: bool) -> Call {
    guest.call("POST", &["snapshot", name, "rollback"]).flag("start", start).starts(&["vzrollback", "qmrollback"])
}

/// Deletes one.
pub fn delete(guest: &Place, name: &str) -> Call {
    guest.call("DELETE", &["snapshot", name]).starts(&["vzdelsnapshot", "qmdelsnapshot"])
}
