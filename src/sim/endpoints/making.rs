//! Guests created, restored, cloned and destroyed.

use super::{
    guests::{admit, find, no_configuration, prefix, set_going},
    settings::{locked, number},
};
use crate::{
    model::{
        inventory::{Guest, Os},
        values::GuestKind,
    },
    sim::{
        answer::{Answer, Fault},
        memory::hardware_address,
        params::{Checked, Kind, Spec, optional, required},
        router::Call,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// What both kinds take.
const COMMON: &[Spec] = &[
    required("vmid", Kind::Vmid),
    optional("cores", Kind::Integer { min: 1 }),
    optional("memory", Kind::Integer { min: 16 }),
    optional("net0", Kind::Text),
    optional("onboot", Kind::Boolean),
    optional("tags", Kind::Tags),
    optional("storage", Kind::Text),
    optional("force", Kind::Boolean),
    optional("unique", Kind::Boolean),
    optional("ostype", Kind::Text),
    optional("description", Kind::Text),
    optional("pool", Kind::Text),
];
const CONTAINER: &[Spec] = &[
    required("ostemplate", Kind::Text),
    optional("hostname", Kind::Name),
    optional("rootfs", Kind::Text),
    optional("features", Kind::Text),
    optional("unprivileged", Kind::Boolean),
    optional("restore", Kind::Boolean),
    optional("swap", Kind::Integer { min: 0 }),
];
const MACHINE: &[Spec] = &[
    optional("name", Kind::Name),
    optional("scsi0", Kind::Text),
    optional("scsihw", Kind::Text),
    optional("agent", Kind::Text),
    optional("ide2", Kind::Text),
    optional("boot", Kind::Text),
    optional("archive", Kind::Text),
];

pub(super) fn create(call: &Call, node: &str, kind: GuestKind) -> Result<Answer, Fault> {
    let node = call.node(node)?;
    let specs = [COMMON, if kind == GuestKind::Ct { CONTAINER } else { MACHINE }].concat();
    let params = call.params(&specs)?;
    let vmid = params.integer("vmid").and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
    let may = call.may(&format!("/vms/{vmid}"), &["VM.Allocate"]);
    if !may {
        return Err(Fault::Message(403, "Permission check failed".to_owned()));
    }
    let inventory = call.cluster.inventory();
    let there = inventory.guest(vmid).cloned();
    let over = params.flag("force");
    if let Some(there) = there.as_ref().filter(|there| !over || there.kind != kind || there.node != node) {
        return Err(Fault::failed(exists(kind, there)));
    }
    let disk = params.text(if kind == GuestKind::Ct { "rootfs" } else { "scsi0" }).unwrap_or_default();
    let storage = disk.split_once(':').map(|(storage, _)| storage).or(params.text("storage"));
    if let Some(storage) = storage.filter(|name| !inventory.storages.iter().any(|there| there.name == *name)) {
        return Err(Fault::failed(format!("storage '{storage}' does not exist")));
    }
    let archive = if kind == GuestKind::Vm { params.text("archive") } else { params.text("ostemplate") };
    let restores = kind == GuestKind::Vm && archive.is_some() || params.flag("restore");
    let known =
        archive.is_none_or(|archive| call.cluster.details.state().volumes.iter().any(|one| one.id() == archive));
    let archive = archive.map(str::to_owned);
    let backed_up = archive.as_deref().and_then(|archive| backed_up(call, archive));
    let guest = guest(&params, kind, vmid, &node, there.or(backed_up).as_ref());
    let settings = settings(&params);
    let (details, backend) = (Arc::clone(&call.cluster.details), Arc::clone(&call.cluster.backend));
    let what = if restores { "restore" } else { "create" };
    set_going(call, &node, &format!("{}{what}", prefix(kind)), &vmid.to_string(), move |log| {
        if let Some(archive) = archive.filter(|_| !known) {
            let (word, why) = (label(kind), format!("volume '{archive}' does not exist"));
            return Err(format!("unable to {what} {word} {vmid} - {why}"));
        }
        log.line(format!("Formatting 'vm-{vmid}-disk-0' size={}", guest.disk_gib << 30));
        let mut state = details.state();
        state.forget(vmid);
        state.settings.insert(vmid, settings);
        if restores {
            *state.rewound.entry(vmid).or_default() += 1;
        }
        drop(state);
        add(backend.as_ref(), &guest)
    })
}

fn exists(kind: GuestKind, there: &Guest) -> String {
    let words = format!("{} {} already exists on node '{}'", label(there.kind), there.vmid, there.node);
    if kind == GuestKind::Ct { words } else { format!("unable to create VM {} - {words}", there.vmid) }
}

fn label(kind: GuestKind) -> &'static str {
    if kind == GuestKind::Ct { "CT" } else { "VM" }
}

fn add(backend: &dyn crate::sim::Backend, guest: &Guest) -> Result<(), String> {
    let changed = backend.adjust(&mut |inventory| {
        inventory.guests.retain(|there| there.vmid != guest.vmid);
        inventory.guests.push(guest.clone());
    });
    if changed { Ok(()) } else { Err("this simulated cluster takes no new guests".to_owned()) }
}

/// The guest that a backup is of, as it is now.
fn backed_up(call: &Call, archive: &str) -> Option<Guest> {
    let vmid = call.cluster.details.state().volumes.iter().find(|one| one.id() == archive)?.vmid?;
    call.cluster.inventory().guest(vmid).cloned()
}

fn guest(params: &Checked, kind: GuestKind, vmid: u32, node: &str, like: Option<&Guest>) -> Guest {
    let text = |name: &str| params.text(name).map(str::to_owned);
    let disk = params.text("rootfs").or_else(|| params.text("scsi0")).and_then(|disk| disk.split_once(':'));
    let disk = disk.and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
    let template = params.text("ostemplate").and_then(|volume| volume.rsplit('/').next()?.split('-').next());
    let number = |name: &str| params.integer(name).and_then(|number| u64::try_from(number).ok());
    Guest {
        vmid,
        kind,
        name: text("hostname").or_else(|| text("name")).or(like.map(|one| one.name.clone())).unwrap_or_default(),
        node: node.to_owned(),
        status: "stopped".to_owned(),
        template: false,
        tags: like.map(|one| one.tags.clone()).unwrap_or_default(),
        pool: text("pool"),
        os: like.map_or_else(|| Os::new(template.unwrap_or_default(), ""), |one| one.os.clone()),
        addresses: Vec::new(),
        cores: number("cores").and_then(|cores| u32::try_from(cores).ok()).or(like.map(|one| one.cores)).unwrap_or(1),
        memory_mib: number("memory").or(like.map(|one| one.memory_mib)).unwrap_or(512),
        disk_gib: disk.or(like.map(|one| one.disk_gib)).unwrap_or(4),
        snapshots: Vec::new(),
        agent: None,
        services: Vec::new(),
        guest_agent: (kind == GuestKind::Vm && params.given("agent")).then_some(false),
        lock: None,
        ha: None,
        incarnation: None,
    }
}

/// What the backend would make up otherwise.
fn settings(params: &Checked) -> BTreeMap<String, Value> {
    let mut settings = BTreeMap::new();
    for name in ["net0", "features", "boot", "scsihw", "ide2", "description", "ostype"] {
        if let Some(value) = params.text(name) {
            settings.insert(name.to_owned(), json!(value));
        }
    }
    for name in ["unprivileged", "onboot"].into_iter().filter(|name| params.given(name)) {
        settings.insert(name.to_owned(), json!(u8::from(params.flag(name))));
    }
    settings
}

pub(super) fn clone(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let name = if kind == GuestKind::Ct { "hostname" } else { "name" };
    let specs = [
        required("newid", Kind::Vmid),
        optional(name, Kind::Name),
        optional("full", Kind::Boolean),
        optional("target", Kind::Text),
        optional("storage", Kind::Text),
        optional("description", Kind::Text),
        optional("pool", Kind::Text),
        optional("snapname", Kind::Text),
    ];
    let (node, params) = admit(call, node, id, &["VM.Clone"], &specs)?;
    let newid = params.integer("newid").and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
    call.need(&format!("/vms/{newid}"), &["VM.Allocate"])?;
    let source = find(call, &node, kind, id).ok_or_else(|| Fault::failed(no_configuration(&node, kind, id)))?;
    let inventory = call.cluster.inventory();
    if let Some(target) = params.text("target").filter(|name| inventory.node(name).is_none()) {
        return Err(Fault::failed(format!("no such cluster node '{target}'")));
    }
    if let Some(there) = inventory.guest(newid).filter(|_| kind == GuestKind::Ct) {
        return Err(Fault::failed(exists(kind, there)));
    }
    // A template's clone is linked, anything else's is whole, unless the request says so.
    let full = if params.given("full") { params.flag("full") } else { !source.template };
    refuse_clone(call, &source, full)?;
    let taken = inventory.guest(newid).is_some();
    let copy = Guest {
        vmid: newid,
        name: params.text(name).map_or_else(|| format!("Copy-of-{}", source.name), str::to_owned),
        node: params.text("target").unwrap_or(&node).to_owned(),
        status: "stopped".to_owned(),
        template: false,
        snapshots: Vec::new(),
        addresses: Vec::new(),
        agent: None,
        ..source.clone()
    };
    let (details, backend) = (Arc::clone(&call.cluster.details), Arc::clone(&call.cluster.backend));
    let vmid = source.vmid;
    set_going(call, &node, &format!("{}clone", prefix(kind)), id, move |log| {
        log.line(format!("creating a clone of {} {vmid} with ID {newid}", label(kind)));
        if let Some(locked) = locked(&source) {
            return Err(locked);
        }
        if taken {
            return Err(format!(
                "close (rename) atomic file '/etc/pve/nodes/pve1/qemu-server/{newid}.conf' failed: File exists"
            ));
        }
        let mut state = details.state();
        let mut settings = state.settings.get(&vmid).cloned().unwrap_or_default();
        // A clone is somebody else: its own name and network card.
        for key in ["hostname", "name", "net0"] {
            settings.remove(key);
        }
        state.settings.insert(newid, settings);
        if !full {
            state.linked.insert(newid, vmid);
        }
        drop(state);
        log.line(format!("its network card is {}", hardware_address(newid)));
        add(backend.as_ref(), &copy)
    })
}

fn refuse_clone(call: &Call, source: &Guest, full: bool) -> Result<(), Fault> {
    let config = call.cluster.config(source);
    let key = if source.kind == GuestKind::Ct { "rootfs" } else { "scsi0" };
    let value = config.get(key).and_then(Value::as_str).unwrap_or_default();
    let volume = value.split(',').next().unwrap_or_default();
    if source.kind == GuestKind::Ct && source.running() {
        return Err(Fault::failed("Full clone of a running container is only possible from a snapshot"));
    }
    let linkable = source.template && !volume.contains(".raw");
    if !full && !linkable {
        return Err(Fault::failed(match source.kind {
            GuestKind::Ct => format!("Linked clone feature for '{volume}' is not available"),
            GuestKind::Vm => format!("Linked clone feature is not supported for '{volume}' ({key})"),
        }));
    }
    Ok(())
}

pub(super) fn destroy(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let force = optional("force", Kind::Boolean);
    let specs = [optional("purge", Kind::Boolean), optional("destroy-unreferenced-disks", Kind::Boolean), force];
    let specs = if kind == GuestKind::Ct { &specs[..] } else { &specs[..2] };
    let (node, params) = admit(call, node, id, &["VM.Allocate"], specs)?;
    let guest = find(call, &node, kind, id).ok_or_else(|| Fault::failed(no_configuration(&node, kind, id)))?;
    let config = call.cluster.config(&guest);
    let purge = params.flag("purge");
    if config.get("protection").and_then(Value::as_u64) == Some(1) {
        return Err(Fault::failed(format!("can't remove {} {id} - protection mode enabled", label(kind))));
    }
    if !purge && call.cluster.details.state().managed.contains_key(&number(id)) {
        let why = "used in HA resources and purge parameter not set.";
        return Err(Fault::failed(format!("unable to remove {} {id} - {why}", label(kind))));
    }
    if guest.running() && !params.flag("force") {
        return Err(Fault::failed(match kind {
            GuestKind::Ct => format!("unable to destroy CT {id} - container is running"),
            GuestKind::Vm => format!("VM {id} is running - destroy failed"),
        }));
    }
    if let Some(locked) = locked(&guest) {
        return Err(Fault::failed(locked));
    }
    let (details, backend) = (Arc::clone(&call.cluster.details), Arc::clone(&call.cluster.backend));
    let vmid = guest.vmid;
    set_going(call, &node, &format!("{}destroy", prefix(kind)), id, move |log| {
        if guest.running() {
            log.line(format!("forced to stop CT {vmid} before destroying!"));
        }
        let changed = backend.adjust(&mut |inventory| inventory.guests.retain(|there| there.vmid != vmid));
        if !changed {
            return Err("this simulated cluster keeps its guests".to_owned());
        }
        let mut state = details.state();
        state.forget(vmid);
        *state.births.entry(vmid).or_default() += 1;
        drop(state);
        if purge {
            log.line(format!("purging {} {vmid} from related configurations..", label(kind)));
        }
        Ok(())
    })
}
