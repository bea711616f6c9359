//! A guest's power.

use super::{Call, Place};

/// Powers it on.
pub fn start(guest: &Place) -> Call {
    guest.call("POST", &["status", "start"]).starts(&["vzstart", "qmstart", "hastart"])
}

/// Asks it to go down, within so many seconds; never with force.
pub fn shutdown(guest: &Place, timeout: u64) -> Call {
    guest.call("POST", &["status", "shutdown"]).with("timeout", timeout).starts(&["vzshutdown", "qmshutdown", "hastop"])
}

/// Cuts its power.
pub fn stop(guest: &Place) -> Call {
    guest.call("POST", &["status", "stop"]).starts(&["vzstop", "qmstop", "hastop"])
}

/// Asks it to go down, within so many seconds, and starts it again.
pub fn reboot(guest: &Place, timeout: u64) -> Call {
    guest.call("POST", &["status", "reboot"]).with("timeout", timeout).starts(&["vzreboot", "qmreboot"])
}

/// Freezes it where it stands; its memory stays in use.
pub fn suspend(guest: &Place) -> Call {
    guest.call("POST", &["status", "suspend"]).starts(&["vzsuspend", "qmpause", "qmsuspend"])
}

/// Lets it go on.
pub fn resume(guest: &Place) -> Call {
    guest.call("POST", &["status", "resume"]).starts(&["vzresume", "qmresume"])
}
