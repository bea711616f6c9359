//! Guests moved to another node, and what is said before. The recording knows no second node: the words are those of
//! Proxmox's description of these requests.

use super::{
    data,
    guests::{admit, find, no_configuration, prefix, set_going},
    pausing,
    settings::locked,
};
use crate::{
    model::{
        inventory::{Guest, Inventory},
        values::GuestKind,
    },
    sim::{
        answer::{Answer, Fault},
        params::{Kind, optional, required},
        router::Call,
        shapes,
        tasks::TaskLog,
    },
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) fn dispatch(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    match call.method {
        "GET" => conditions(call, node, kind, id),
        "POST" => migrate(call, node, kind, id),
        _ => Err(call.unknown()),
    }
}

/// The storages of a guest's disks, with the disks' volumes.
fn volumes(call: &Call, guest: &Guest) -> Vec<(String, String)> {
    let config = call.cluster.config(guest);
    let texts = config.values().filter_map(Value::as_str).filter(|value| value.contains(",size="));
    let volume = |text: &str| {
        let volume = text.split(',').next()?;
        Some((volume.split_once(':')?.0.to_owned(), volume.to_owned()))
    };
    texts.filter_map(volume).collect()
}

/// The storages of a guest that a node does not have.
fn unavailable(call: &Call, guest: &Guest, node: &str) -> Vec<String> {
    let inventory = call.cluster.inventory();
    let has = |name: &str| {
        inventory.storages.iter().any(|storage| storage.name == name && storage.nodes.iter().any(|there| there == node))
    };
    volumes(call, guest).into_iter().map(|(storage, _)| storage).filter(|storage| !has(storage)).collect()
}

fn conditions(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let (node, _) = admit(call, node, id, &["VM.Migrate"], &[optional("target", Kind::Text)])?;
    let guest = find(call, &node, kind, id).ok_or_else(|| Fault::failed(no_configuration(&node, kind, id)))?;
    let inventory = call.cluster.inventory();
    let (mut allowed, mut refused) = (Vec::new(), Map::new());
    let kept = call.cluster.faults().kept_by_ha.get(&guest.vmid).cloned();
    for other in inventory.nodes.iter().filter(|other| other.name != node) {
        let missing = unavailable(call, &guest, &other.name);
        if let Some(sid) = &kept {
            let blocking = json!([{"sid": sid, "cause": "resource-affinity"}]);
            refused.insert(other.name.clone(), json!({"blocking-ha-resources": blocking}));
        } else if missing.is_empty() || kind == GuestKind::Ct {
            allowed.push(other.name.clone());
        } else {
            refused.insert(other.name.clone(), json!({"unavailable_storages": missing}));
        }
    }
    let running = u8::from(guest.running());
    if kind == GuestKind::Ct {
        return data(json!({"allowed-nodes": allowed, "not-allowed-nodes": refused, "running": running}));
    }
    let local = volumes(call, &guest).into_iter().filter(|(storage, _)| local_only(&inventory, storage));
    let local: Vec<Value> = local.map(|(_, volume)| json!({"cdrom": 0, "is_unused": 0, "volid": volume})).collect();
    data(json!({
        "allowed_nodes": allowed, "has-dbus-vmstate": 1, "local_disks": local, "local_resources": [],
        "mapped-resource-info": {}, "mapped-resources": [], "not_allowed_nodes": refused, "running": running,
    }))
}

/// Whether each node has a storage of that name to itself.
fn local_only(inventory: &Inventory, name: &str) -> bool {
    !inventory.storages.iter().any(|storage| storage.name == name && shapes::shared(storage))
}

fn migrate(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let flag = |name| optional(name, Kind::Boolean);
    let specs = if kind == GuestKind::Vm {
        vec![required("target", Kind::Text), flag("online"), flag("with-local-disks"), flag("force")]
    } else {
        vec![
            required("target", Kind::Text),
            flag("online"),
            flag("restart"),
            optional("timeout", Kind::Integer { min: 0 }),
        ]
    };
    let (node, params) = admit(call, node, id, &["VM.Migrate"], &specs)?;
    let target = params.text("target").unwrap_or_default().to_owned();
    if target == node {
        return Err(Fault::parameter("target", "target is local node."));
    }
    let inventory = call.cluster.inventory();
    let Some(there) = inventory.node(&target) else {
        return Err(Fault::failed(format!("no such cluster node '{target}'")));
    };
    if there.status != "online" || call.cluster.faults().offline.contains(&target) {
        return Err(Fault::failed(format!("migration target {target} is not online")));
    }
    let guest = find(call, &node, kind, id).ok_or_else(|| Fault::failed(no_configuration(&node, kind, id)))?;
    let live = params.flag("online") || params.flag("restart");
    if guest.running() && !live {
        return Err(Fault::failed(match kind {
            GuestKind::Ct => "can't migrate running container without --online or --restart".to_owned(),
            GuestKind::Vm => "can't migrate running VM without --online".to_owned(),
        }));
    }
    let missing = unavailable(call, &guest, &target);
    let (backend, vmid, from) = (Arc::clone(&call.cluster.backend), guest.vmid, node.clone());
    let task = if kind == GuestKind::Ct { format!("{}migrate", prefix(kind)) } else { "qmigrate".to_owned() };
    let label = if kind == GuestKind::Ct { "CT" } else { "VM" };
    let order = target.clone();
    let restarts = kind == GuestKind::Ct && guest.running();
    let kept = kind == GuestKind::Vm
        && guest.running()
        && !params.flag("with-local-disks")
        && volumes(call, &guest).iter().any(|(name, _)| local_only(&inventory, name));
    let deed = move |log: &TaskLog| {
        if let Some(locked) = locked(&guest) {
            return Err(locked);
        }
        log.line(format!("starting migration of {label} {vmid} to node '{target}'"));
        if kept {
            log.line("can't live migrate attached local disks without with-local-disks option");
            log.line("ERROR: Problem found while scanning volumes - can't migrate VM - check log");
            return Err("migration aborted".to_owned());
        }
        if let Some(storage) = missing.first() {
            log.line(format!(
                "ERROR: Problem found while scanning volumes - storage '{storage}' is not available on node '{target}'"
            ));
            return Err("migration aborted".to_owned());
        }
        let put = |status: Option<&str>| {
            backend.adjust(&mut |inventory| {
                if let Some(guest) = inventory.guests.iter_mut().find(|one| one.vmid == vmid) {
                    match status {
                        Some(status) => status.clone_into(&mut guest.status),
                        None => target.clone_into(&mut guest.node),
                    }
                }
            })
        };
        if restarts {
            log.line(format!("shutdown CT {vmid}"));
            put(Some("stopped"));
        }
        if !put(None) {
            return Err(format!("this simulated cluster keeps its guests on {from}"));
        }
        if restarts {
            log.line("start container on target node");
            put(Some("running"));
        }
        log.line("migration finished successfully");
        Ok(())
    };
    if call.cluster.details.state().managed.contains_key(&vmid) {
        return pausing::ask_ha_to_move(call, &node, kind, id, &order, deed);
    }
    set_going(call, &node, &task, id, deed)
}
