//! A guest's snapshots. Names are checked by the request; everything else that can go wrong is the task's to tell.

use super::{
    data,
    guests::{admit, find, no_configuration, prefix, set_going},
    nodes::sha1,
    settings::{KEPT, locked},
};
use crate::{
    model::{inventory::Guest, values::GuestKind},
    sim::{
        answer::{Answer, Fault},
        backend::Backend,
        details::{Details, Snapshot},
        params::{Kind, optional, required},
        router::Call,
    },
    sys::clock::unix_seconds as now,
};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn dispatch(call: &Call, node: &str, kind: GuestKind, id: &str, rest: &[&str]) -> Result<Answer, Fault> {
    match (call.method, rest) {
        ("GET", []) => list(call, node, kind, id),
        ("POST", []) => take(call, node, kind, id),
        ("DELETE", [name]) => delete(call, node, kind, id, name),
        ("POST", [name, "rollback"]) => rollback(call, node, kind, id, name),
        _ => Err(call.unknown()),
    }
}

fn list(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let (node, _) = admit(call, node, id, &["VM.Audit"], &[])?;
    let guest = find(call, &node, kind, id).ok_or_else(|| Fault::failed(no_configuration(&node, kind, id)))?;
    let digest = sha1(&json!(call.cluster.config(&guest)).to_string());
    let state = call.cluster.details.state();
    let all = state.snapshots.get(&guest.vmid).map_or(&[][..], Vec::as_slice);
    let line = |snapshot: &Snapshot| {
        let mut line = json!({
            "description": snapshot.description, "name": snapshot.name, "snaptime": snapshot.taken,
        });
        if let Some(parent) = &snapshot.parent {
            line["parent"] = json!(parent);
        }
        if kind == GuestKind::Vm {
            line["vmstate"] = json!(0);
        }
        line
    };
    let mut lines: Vec<Value> = all.iter().map(line).collect();
    let mut current = json!({
        "description": "You are here!", "digest": digest, "name": "current", "running": u8::from(guest.running()),
    });
    if let Some(last) = all.last() {
        current["parent"] = json!(last.name);
    }
    lines.push(current);
    data(lines.into())
}

fn take(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let vmstate = optional("vmstate", Kind::Boolean);
    let specs = [required("snapname", Kind::Text), optional("description", Kind::Text), vmstate];
    let specs = if kind == GuestKind::Vm { &specs[..] } else { &specs[..2] };
    let (node, params) = admit(call, node, id, &["VM.Snapshot"], specs)?;
    let name = params.text("snapname").unwrap_or_default().to_owned();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !plain || name.len() < 2 || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(Fault::parameter("snapname", &format!("invalid format - invalid configuration ID '{name}'\n")));
    }
    if name == "current" {
        return Err(Fault::failed("unable to use snapshot name 'current' (reserved name)"));
    }
    let mut description = params.text("description").unwrap_or_default().to_owned();
    if kind == GuestKind::Ct && !description.is_empty() {
        description.push('\n');
    }
    let work = Work::of(call, &node, kind, id);
    let config = work.guest.as_ref().map(|guest| call.cluster.config(guest)).unwrap_or_default();
    set_going(call, &node, &format!("{}snapshot", prefix(kind)), id, move |_| {
        let guest = work.free()?;
        if config.values().filter_map(Value::as_str).any(|value| value.contains(".raw,size=")) {
            return Err("snapshot feature is not available".to_owned());
        }
        let mut state = work.details.state();
        let settings = state.settings.get(&guest.vmid).cloned().unwrap_or_default();
        let all = state.snapshots.entry(guest.vmid).or_default();
        if all.iter().any(|snapshot| snapshot.name == name) {
            return Err(format!("snapshot name '{name}' already used"));
        }
        let parent = all.last().map(|last| last.name.clone());
        all.push(Snapshot { name: name.clone(), description, taken: now(), parent, settings });
        drop(state);
        work.names(guest.vmid, |names| names.push(name))
    })
}

fn delete(call: &Call, node: &str, kind: GuestKind, id: &str, name: &str) -> Result<Answer, Fault> {
    let (node, _) = admit(call, node, id, &["VM.Snapshot"], &[optional("force", Kind::Boolean)])?;
    let (work, name) = (Work::of(call, &node, kind, id), name.to_owned());
    set_going(call, &node, &format!("{}delsnapshot", prefix(kind)), id, move |_| {
        let guest = work.free()?;
        let mut state = work.details.state();
        let all = state.snapshots.entry(guest.vmid).or_default();
        let at = all.iter().position(|snapshot| snapshot.name == name);
        let at = at.ok_or_else(|| format!("snapshot '{name}' does not exist"))?;
        let gone = all.remove(at);
        for snapshot in all.iter_mut().filter(|snapshot| snapshot.parent.as_ref() == Some(&gone.name)) {
            snapshot.parent.clone_from(&gone.parent);
        }
        drop(state);
        work.names(guest.vmid, |names| names.retain(|known| *known != name))
    })
}

fn rollback(call: &Call, node: &str, kind: GuestKind, id: &str, name: &str) -> Result<Answer, Fault> {
    let any = ["VM.Snapshot", "VM.Snapshot.Rollback"];
    let (node, params) = admit(call, node, id, &any, &[optional("start", Kind::Boolean)])?;
    let (work, name, start) = (Work::of(call, &node, kind, id), name.to_owned(), params.flag("start"));
    set_going(call, &node, &format!("{}rollback", prefix(kind)), id, move |_| {
        let guest = work.free()?;
        let mut state = work.details.state();
        let all = state.snapshots.entry(guest.vmid).or_default();
        let settings = all.iter().find(|snapshot| snapshot.name == name).map(|snapshot| snapshot.settings.clone());
        let settings = settings.ok_or_else(|| format!("snapshot '{name}' does not exist"))?;
        state.settings.insert(guest.vmid, settings);
        state.paused.remove(&guest.vmid);
        *state.rewound.entry(guest.vmid).or_default() += 1;
        drop(state);
        let changed = work.backend.adjust(&mut |inventory| {
            if let Some(guest) = inventory.guests.iter_mut().find(|one| one.vmid == guest.vmid) {
                (if start { "running" } else { "stopped" }).clone_into(&mut guest.status);
            }
        });
        if changed { Ok(()) } else { Err(KEPT.to_owned()) }
    })
}

/// What a task needs to have at hand.
struct Work {
    guest: Option<Guest>,
    missing: String,
    details: Arc<Details>,
    backend: Arc<dyn Backend>,
}

impl Work {
    fn of(call: &Call, node: &str, kind: GuestKind, id: &str) -> Self {
        Self {
            guest: find(call, node, kind, id),
            missing: no_configuration(node, kind, id),
            details: Arc::clone(&call.cluster.details),
            backend: Arc::clone(&call.cluster.backend),
        }
    }

    /// The guest, if nobody holds a lock on it.
    fn free(&self) -> Result<&Guest, String> {
        let guest = self.guest.as_ref().ok_or_else(|| self.missing.clone())?;
        locked(guest).map_or(Ok(guest), Err)
    }

    /// Changes the names that the inventory lists.
    fn names(&self, vmid: u32, change: impl FnOnce(&mut Vec<String>)) -> Result<(), String> {
        let mut change = Some(change);
        let changed = self.backend.adjust(&mut |inventory| {
            let guest = inventory.guests.iter_mut().find(|one| one.vmid == vmid);
            if let (Some(guest), Some(change)) = (guest, change.take()) {
                change(&mut guest.snapshots);
            }
        });
        if changed { Ok(()) } else { Err(KEPT.to_owned()) }
    }
}
