//! Guests, nodes and storages in the API's words. The same guest looks different in every listing; these are the
//! recorded differences.

use super::{
    Cluster, REPOID, VERSION,
    backend::{NodeUsage, Usage},
    lock,
};
use crate::model::{
    inventory::{Guest, Node, Storage},
    values::GuestKind,
};
use serde_json::{Map, Value, json};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A container has at least one core, as `cores` is optional there.
fn cores(guest: &Guest) -> u32 {
    guest.cores.max(1)
}

fn tags(line: &mut Map<String, Value>, guest: &Guest) {
    if !guest.tags.is_empty() {
        line.insert("tags".to_owned(), json!(guest.tags.join(";")));
    }
    if let Some(held) = &guest.lock {
        line.insert("lock".to_owned(), json!(held));
    }
}

/// A line of /cluster/resources.
pub(super) fn guest_resource(guest: &Guest, usage: &Usage) -> Value {
    let api = guest.kind.api();
    let mut line = object(json!({
        "cpu": number(usage.cpu), "disk": usage.disk, "diskread": 0, "diskwrite": 0, "id": format!("{api}/{}", guest.vmid),
        "maxcpu": cores(guest), "maxdisk": guest.disk_gib * GIB, "maxmem": guest.memory_mib * MIB, "mem": usage.memory,
        "memhost": 0, "name": guest.name, "netin": usage.net_in, "netout": usage.net_out, "node": guest.node,
        "status": guest.status, "template": u8::from(guest.template), "type": api, "uptime": usage.uptime,
        "vmid": guest.vmid,
    }));
    tags(&mut line, guest);
    if let Some(pool) = &guest.pool {
        line.insert("pool".to_owned(), json!(pool));
    }
    Value::Object(line)
}

/// The same line before its node has reported: an earlier status, and of a guest that was made since not even a name.
pub(super) fn as_reported(line: &mut Value, status: &str) {
    line["status"] = json!(status);
    line["uptime"] = json!(0);
    if let (Some(line), "unknown") = (line.as_object_mut(), status) {
        line.remove("name");
    }
}

/// A line of /nodes/N/lxc or /nodes/N/qemu.
pub(super) fn guest_line(guest: &Guest, usage: &Usage) -> Value {
    let mut line = object(json!({
        "cpu": number(usage.cpu), "cpus": cores(guest), "disk": usage.disk, "maxdisk": guest.disk_gib * GIB,
        "maxmem": guest.memory_mib * MIB, "mem": usage.memory, "name": guest.name, "netin": usage.net_in,
        "netout": usage.net_out, "status": guest.status, "uptime": usage.uptime, "vmid": guest.vmid,
    }));
    tags(&mut line, guest);
    if guest.template {
        line.insert("template".to_owned(), json!(1));
    }
    if let Some(pid) = usage.pid {
        line.insert("pid".to_owned(), json!(pid));
    }
    let container = guest.kind == GuestKind::Ct;
    let more = if container {
        json!({"diskread": 0, "diskwrite": 0, "maxswap": 0, "swap": 0, "type": "lxc"})
    } else {
        json!({"memhost": 0})
    };
    line.extend(object(more));
    if usage.pid.is_some() {
        line.extend(pressure(container));
        line.extend(object(json!({"diskread": 0, "diskwrite": 0})));
    }
    Value::Object(line)
}

/// Containers report pressure as text, virtual machines as numbers.
fn pressure(container: bool) -> Map<String, Value> {
    let names = ["cpufull", "cpusome", "iofull", "iosome", "memoryfull", "memorysome"];
    let zero = if container { json!("0.00") } else { json!(0) };
    names.iter().map(|name| (format!("pressure{name}"), zero.clone())).collect()
}

/// status/current: the line, what HA says, and QEMU's own word.
pub(super) fn guest_status(guest: &Guest, usage: &Usage) -> Value {
    let mut line = object(guest_line(guest, usage));
    line.insert("ha".to_owned(), json!({"managed": 0}));
    if guest.kind == GuestKind::Vm {
        line.insert("qmpstatus".to_owned(), json!(guest.status));
        if guest.guest_agent.is_some() {
            line.insert("agent".to_owned(), json!(1));
        }
        if guest.running() {
            line.insert("running-machine".to_owned(), json!("pc-i440fx-7.2"));
            line.insert("running-qemu".to_owned(), json!("7.2.22"));
            line.insert("proxmox-support".to_owned(), json!({}));
        }
    }
    Value::Object(line)
}

/// Proxmox writes 0, not 0.0.
fn number(value: f64) -> Value {
    if value == 0.0 { json!(0) } else { json!(value) }
}

fn node_base(node: &Node) -> Map<String, Value> {
    object(json!({
        "id": format!("node/{}", node.name), "level": "", "node": node.name, "status": node.status, "type": "node",
    }))
}

fn node_figures(node: &Node, usage: &NodeUsage) -> Map<String, Value> {
    object(json!({
        "cpu": number(usage.cpu), "disk": usage.disk, "maxcpu": node.cores, "maxdisk": usage.max_disk,
        "maxmem": node.memory_mib * MIB, "mem": usage.memory, "uptime": usage.uptime,
    }))
}

impl Cluster {
    /// A node's line of /cluster/resources; without the right to look only that it exists.
    pub(super) fn node_resource(&self, node: &Node, audit: bool) -> Value {
        let mut line = node_base(node);
        line.insert("cgroup-mode".to_owned(), json!(2));
        if audit && node.status == "online" {
            line.extend(node_figures(node, &self.backend.node_usage(&node.name)));
        }
        Value::Object(line)
    }

    /// A node's line of /nodes.
    pub(super) fn node_line(&self, node: &Node, audit: bool) -> Value {
        let mut line = node_base(node);
        if let Some(fingerprint) = lock(&self.fingerprints).get(&node.name) {
            line.insert("ssl_fingerprint".to_owned(), json!(fingerprint));
        }
        if audit && node.status == "online" {
            line.extend(node_figures(node, &self.backend.node_usage(&node.name)));
        }
        Value::Object(line)
    }

    /// /nodes/N/status.
    pub(super) fn node_status(&self, node: &Node) -> Value {
        let usage = self.backend.node_usage(&node.name);
        let total = node.memory_mib * MIB;
        let free = total.saturating_sub(usage.memory);
        let disk_free = usage.max_disk.saturating_sub(usage.disk);
        json!({
            "boot-info": {"mode": "legacy-bios"},
            "cpu": number(usage.cpu),
            "cpuinfo": {
                "cores": node.cores, "cpus": node.cores, "family": "25", "flags": "fpu vme de pse tsc msr", "hvm": "",
                "mhz": "2600.000", "model": "Simulated", "sockets": 1, "user_hz": 100, "vendor": "AuthenticAMD",
            },
            "current-kernel": {"machine": "x86_64", "release": usage.kernel, "sysname": "Linux", "version": "#1 SMP"},
            "idle": 0,
            "ksm": {"shared": 0},
            "kversion": format!("Linux {} #1 SMP", usage.kernel),
            "loadavg": ["0.10", "0.20", "0.30"],
            "memory": {"available": free, "free": free, "total": total, "used": usage.memory},
            "pveversion": format!("pve-manager/{}/{REPOID}", node.version.as_deref().unwrap_or(VERSION)),
            "rootfs": {"avail": disk_free, "free": disk_free, "total": usage.max_disk, "used": usage.disk},
            "swap": {"free": 0, "total": 0, "used": 0},
            "uptime": usage.uptime,
            "wait": 0,
        })
    }
}

/// A storage's line of /cluster/resources.
pub(super) fn storage_resource(storage: &Storage, node: &str) -> Value {
    json!({
        "content": storage.content.join(","), "disk": storage.used_gib * GIB, "id": format!("storage/{node}/{}", storage.name),
        "maxdisk": storage.total_gib * GIB, "node": node, "plugintype": storage.kind, "shared": u8::from(shared(storage)),
        "status": "available", "storage": storage.name, "type": "storage",
    })
}

/// A storage's line of /nodes/N/storage.
pub(super) fn storage_line(storage: &Storage) -> Value {
    let (used, total) = (storage.used_gib * GIB, storage.total_gib * GIB);
    #[expect(clippy::cast_precision_loss, reason = "a fraction for people")]
    let fraction = if total == 0 { 0.0 } else { used as f64 / total as f64 };
    json!({
        "active": 1, "avail": total.saturating_sub(used), "content": storage.content.join(","), "enabled": 1,
        "shared": u8::from(shared(storage)), "storage": storage.name, "total": total, "type": storage.kind, "used": used,
        "used_fraction": number(fraction),
    })
}

/// Whether all nodes see the same files.
pub(super) fn shared(storage: &Storage) -> bool {
    matches!(storage.kind.as_str(), "nfs" | "cifs" | "rbd" | "cephfs" | "pbs" | "iscsi")
}
