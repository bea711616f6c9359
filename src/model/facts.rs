//! What an agent tells about the machine that it runs on, at its start and when it changes.

use super::inventory::Os;
use serde::{Deserialize, Serialize};

/// The facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The host's name.
    #[serde(default)]
    pub hostname: String,
    /// From /etc/os-release.
    #[serde(default)]
    pub os: Os,
    /// `systemd`, `openrc`, `sysvinit`, `runit`, `busybox` or `unknown`.
    #[serde(default)]
    pub init: String,
    /// `x86_64`, `aarch64`, …
    #[serde(default)]
    pub arch: String,
    /// The kernel's random id of this boot.
    #[serde(default)]
    pub boot_id: String,
    /// Global addresses, without prefix lengths.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Names of services that are running or enabled, without `.service`.
    #[serde(default)]
    pub services: Vec<String>,
    /// MAC addresses of its interfaces, lower case, by which a container is told from another.
    #[serde(default)]
    pub macs: Vec<String>,
    /// The remotectl version that the agent has kept for going back to; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub previous: String,
}
