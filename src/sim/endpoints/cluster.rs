//! /cluster: what there is in the whole cluster.

use super::{data, tasks};
use crate::sim::{
    answer::{Answer, Fault},
    params::{Kind, NO_VMID, optional, vmid},
    router::Call,
    shapes,
};
use serde_json::{Value, json};

pub(super) fn dispatch(call: &Call, rest: &[&str]) -> Result<Answer, Fault> {
    match (call.method, rest) {
        ("GET", ["resources"]) => resources(call),
        ("GET", ["status"]) => status(call),
        ("GET", ["nextid"]) => next_id(call),
        ("GET", ["tasks"]) => tasks::of_cluster(call),
        _ => Err(call.unknown()),
    }
}

fn resources(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[optional("type", Kind::Choice(&["vm", "storage", "node", "sdn"]))])?;
    let wanted = |kind: &str| params.text("type").is_none_or(|only| only == kind);
    let inventory = call.cluster.inventory();
    let mut lines: Vec<Value> = Vec::new();
    if wanted("vm") {
        let seen = inventory.guests.iter().filter(|guest| call.may(&format!("/vms/{}", guest.vmid), &["VM.Audit"]));
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by_key(|guest| guest.vmid);
        let state = call.cluster.details.state();
        let unreported = call.cluster.faults().unreported.clone();
        lines.extend(seen.into_iter().map(|guest| {
            let mut line = shapes::guest_resource(guest, &call.cluster.backend.usage(guest));
            if let Some(wanted) = state.managed.get(&guest.vmid) {
                line["hastate"] = json!(wanted);
            }
            if let Some(status) = unreported.get(&guest.vmid) {
                shapes::as_reported(&mut line, status);
            }
            line
        }));
    }
    if wanted("node") {
        let line = |node: &crate::model::inventory::Node| {
            call.cluster.node_resource(node, call.may(&format!("/nodes/{}", node.name), &["Sys.Audit"]))
        };
        lines.extend(inventory.nodes.iter().map(line));
    }
    if wanted("storage") {
        for storage in &inventory.storages {
            if call.may(&format!("/storage/{}", storage.name), &["Datastore.Audit", "Datastore.AllocateSpace"]) {
                lines.extend(storage.nodes.iter().map(|node| shapes::storage_resource(storage, node)));
            }
        }
    }
    data(lines.into())
}

fn status(call: &Call) -> Result<Answer, Fault> {
    call.need("/", &["Sys.Audit"])?;
    call.params(&[])?;
    let inventory = call.cluster.inventory();
    let alone = inventory.nodes.len() == 1;
    let mut lines = Vec::new();
    if !alone {
        lines.push(json!({
            "id": "cluster", "name": inventory.cluster, "nodes": inventory.nodes.len(),
            "quorate": u8::from(!call.cluster.faults().no_quorum), "type": "cluster",
            "version": inventory.nodes.len(),
        }));
    }
    for (place, node) in inventory.nodes.iter().enumerate() {
        lines.push(json!({
            "id": format!("node/{}", node.name), "ip": node.address, "level": "",
            "local": u8::from(node.name == call.local), "name": node.name, "nodeid": if alone { 0 } else { place + 1 },
            "online": u8::from(node.status == "online"), "type": "node",
        }));
    }
    data(lines.into())
}

fn next_id(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[optional("vmid", Kind::Text)])?;
    let inventory = call.cluster.inventory();
    if let Some(text) = params.text("vmid") {
        let wanted = vmid(text).ok_or_else(|| Fault::parameter("vmid", NO_VMID))?;
        if inventory.guest(wanted).is_some() {
            return Err(Fault::parameter("vmid", &format!("VM {wanted} already exists")));
        }
        return data(json!(wanted.to_string()));
    }
    let free = (100..1_000_000_000).find(|id| inventory.guest(*id).is_none()).unwrap_or(100);
    data(json!(free.to_string()))
}
