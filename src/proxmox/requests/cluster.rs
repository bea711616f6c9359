//! The cluster, its nodes and their tasks.

use super::Call;
use crate::{model::target::Vmid, proxmox::upid::Upid};

/// Members and quorum.
pub fn status() -> Call {
    Call::get(&["cluster", "status"])
}

/// Everything that there is: guests, nodes, storages.
pub fn resources() -> Call {
    Call::get(&["cluster", "resources"])
}

/// Guests alone.
pub fn guests() -> Call {
    resources().with("type", "vm")
}

/// The lowest vmid that is free.
pub fn next_id() -> Call {
    Call::get(&["cluster", "nextid"])
}

/// A node's version of Proxmox VE.
pub fn version(node: &str) -> Call {
    Call::get(&["nodes", node, "version"])
}

/// A node's load, memory and versions.
pub fn node_status(node: &str) -> Call {
    Call::get(&["nodes", node, "status"])
}

/// A node's bridges, those of software-defined networks included.
pub fn bridges(node: &str) -> Call {
    Call::get(&["nodes", node, "network"]).with("type", "any_bridge")
}

/// A node's tasks, the newest first.
pub fn tasks(node: &str, limit: u64, errors: bool) -> Call {
    let call = Call::get(&["nodes", node, "tasks"]).with("limit", limit).with("source", "all");
    if errors { call.flag("errors", true) } else { call }
}

/// The last tasks of all nodes, about 25 of each.
pub fn recent_tasks() -> Call {
    Call::get(&["cluster", "tasks"])
}

/// A node's tasks since a moment (seconds since the epoch), about one guest where that is given.
pub fn tasks_since(node: &str, since: i64, vmid: Option<Vmid>) -> Call {
    Call::get(&["nodes", node, "tasks"]).with("source", "all").with("since", since).maybe("vmid", vmid)
}

/// How a task is or ended.
pub fn task_status(upid: &Upid) -> Call {
    Call::get(&["nodes", upid.node(), "tasks", upid.as_str(), "status"])
}

/// A page of a task's log.
pub fn task_log(upid: &Upid, start: usize, limit: usize) -> Call {
    Call::get(&["nodes", upid.node(), "tasks", upid.as_str(), "log"]).with("start", start).with("limit", limit)
}

/// Aborts a task.
pub fn task_stop(upid: &Upid) -> Call {
    Call::delete(&["nodes", upid.node(), "tasks", upid.as_str()])
}
