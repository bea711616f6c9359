//! /nodes and what is below a node but guests and tasks, and /storage.

use super::{data, guests, index, stores, tasks};
use crate::{
    model::values::GuestKind,
    sim::{
        RELEASE, REPOID, VERSION,
        answer::{Answer, Fault},
        params::{Kind, optional, required},
        router::Call,
        shapes,
    },
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};

pub(super) fn dispatch(call: &Call, rest: &[&str]) -> Result<Answer, Fault> {
    match (call.method, rest) {
        ("GET", []) => list(call),
        ("GET", [_node]) => index("name", BELOW),
        ("GET", [node, "version"]) => {
            call.node(node)?;
            data(json!({"release": RELEASE, "repoid": REPOID, "version": VERSION}))
        }
        ("GET", [node, "status"]) => status(call, node),
        ("POST", [node, "status"]) => power(call, node),
        ("GET", [node, "storage"]) => storages(call, node),
        ("GET", [node, "storage", storage, "content"]) => stores::content(call, node, storage),
        ("GET", [node, "network"]) => stores::network(call, node),
        ("GET", [node, "aplinfo"]) => stores::appliances(call, node),
        ("POST", [node, "aplinfo"]) => stores::download(call, node),
        ("POST", [node, "vzdump"]) => stores::back_up(call, node),
        (_, [node, "tasks", rest @ ..]) => tasks::dispatch(call, node, rest),
        (_, [node, "lxc", rest @ ..]) => guests::dispatch(call, node, GuestKind::Ct, rest),
        (_, [node, "qemu", rest @ ..]) => guests::dispatch(call, node, GuestKind::Vm, rest),
        _ => Err(call.unknown()),
    }
}

/// What the simulator has below a node; the real list is longer.
const BELOW: &[&str] = &["lxc", "qemu", "status", "storage", "tasks", "version"];

fn list(call: &Call) -> Result<Answer, Fault> {
    call.params(&[])?;
    let inventory = call.cluster.inventory();
    let lines = inventory
        .nodes
        .iter()
        .map(|node| call.cluster.node_line(node, call.may(&format!("/nodes/{}", node.name), &["Sys.Audit"])));
    data(lines.collect())
}

fn status(call: &Call, node: &str) -> Result<Answer, Fault> {
    let name = call.node(node)?;
    call.need(&format!("/nodes/{name}"), &["Sys.Audit"])?;
    call.params(&[])?;
    let inventory = call.cluster.inventory();
    let node = inventory.node(&name).ok_or_else(|| call.unknown())?;
    data(call.cluster.node_status(node))
}

/// Rebooting a node is checked, and then left undone.
fn power(call: &Call, node: &str) -> Result<Answer, Fault> {
    let name = call.node(node)?;
    call.need(&format!("/nodes/{name}"), &["Sys.PowerMgmt"])?;
    call.params(&[required("command", Kind::Choice(&["reboot", "shutdown"]))])?;
    Err(Fault::failed("simulated nodes don't go down"))
}

fn storages(call: &Call, node: &str) -> Result<Answer, Fault> {
    let name = call.node(node)?;
    let params = call.params(&[
        optional("content", Kind::Text),
        optional("storage", Kind::Text),
        optional("enabled", Kind::Boolean),
    ])?;
    let inventory = call.cluster.inventory();
    let seen = inventory.storages.iter().filter(|storage| {
        storage.nodes.contains(&name)
            && call.may(&format!("/storage/{}", storage.name), &["Datastore.Audit", "Datastore.AllocateSpace"])
            && params.text("content").is_none_or(|content| storage.content.iter().any(|have| have == content))
            && params.text("storage").is_none_or(|only| storage.name == only)
    });
    data(seen.map(shapes::storage_line).collect())
}

/// /storage: the cluster's storage.cfg.
pub(super) fn storage_configuration(call: &Call) -> Result<Answer, Fault> {
    call.params(&[optional("type", Kind::Text)])?;
    let inventory = call.cluster.inventory();
    let text: Vec<&str> = inventory.storages.iter().map(|storage| storage.name.as_str()).collect();
    let digest = sha1(&text.join(","));
    let seen = inventory.storages.iter().filter(|storage| {
        call.may(&format!("/storage/{}", storage.name), &["Datastore.Audit", "Datastore.AllocateSpace"])
    });
    let line = |storage: &crate::model::inventory::Storage| {
        let mut line = json!({
            "content": storage.content.join(","), "digest": digest, "storage": storage.name, "type": storage.kind,
        });
        if storage.kind == "dir" {
            line["path"] = Value::from("/var/lib/vz");
        }
        if shapes::shared(storage) {
            line["shared"] = json!(1);
        }
        line
    };
    data(seen.map(line).collect())
}

/// What configuration files are compared by.
pub(super) fn sha1(text: &str) -> String {
    crate::model::digest::hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}
