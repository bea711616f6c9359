//! What a simulated cluster stands on: who is there, how it is configured, and how a guest is started and stopped.
//! Everything that a caller can see of Proxmox itself (errors, tasks, rights) is decided above this trait, so that a
//! cluster in memory and one of real containers answer alike.

use super::tasks::TaskLog;
use crate::model::inventory::{Guest, Inventory};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// The guests under a simulated API. Calls may block: the server runs them off its event loop.
pub trait Backend: Send + Sync + 'static {
    /// The cluster as it is now.
    fn inventory(&self) -> Inventory;

    /// A guest's configuration file as the API shows it, without the digest.
    fn config(&self, guest: &Guest) -> BTreeMap<String, Value>;

    /// What a guest uses now.
    fn usage(&self, guest: &Guest) -> Usage;

    /// What a node uses now.
    fn node_usage(&self, node: &str) -> NodeUsage;

    /// Changes what there is: guests that are made, moved, renamed, taken away. `false` where nothing can be changed.
    fn adjust(&self, _change: &mut dyn FnMut(&mut Inventory)) -> bool {
        false
    }

    /// A task's body. The error is the task's exit status; lines for its log go to `log`.
    fn carry_out(&self, guest: &Guest, action: &Action, log: &TaskLog) -> Result<(), String>;
}

/// What can be done to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Power on.
    Start,
    /// Pull the plug.
    Stop,
    /// Ask it to go down.
    Shutdown {
        /// How long to wait for that.
        timeout: Duration,
        /// Whether to pull the plug afterwards.
        force: bool,
    },
    /// Ask it to go down, and start it again.
    Reboot {
        /// How long to wait for it to be down.
        timeout: Duration,
    },
}

impl Action {
    /// The word in the path and in the task's type: `start`, `stop`, `shutdown`, `reboot`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Shutdown { .. } => "shutdown",
            Self::Reboot { .. } => "reboot",
        }
    }
}

/// A guest's figures, all zero for a stopped one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// The init process or the QEMU process.
    pub pid: Option<u32>,
    /// Seconds since its start.
    pub uptime: u64,
    /// Part of its cores, 0 to 1.
    pub cpu: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of its root file system (containers).
    pub disk: u64,
    /// Bytes received.
    pub net_in: u64,
    /// Bytes sent.
    pub net_out: u64,
}

/// A node's figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeUsage {
    /// Seconds since its start.
    pub uptime: u64,
    /// Part of its cores, 0 to 1.
    pub cpu: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of its root file system.
    pub disk: u64,
    /// The size of its root file system.
    pub max_disk: u64,
    /// Its kernel, as `uname -r` says.
    pub kernel: String,
}
