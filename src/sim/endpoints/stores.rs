//! What storages hold, the templates that can be fetched, backups, bridges.

use super::{data, guests::set_going, settings::locked};
use crate::{
    model::{inventory::Guest, values::GuestKind},
    sim::{
        answer::{Answer, Fault},
        details::Volume,
        params::{Kind, optional, required},
        router::Call,
    },
    sys::clock::{rfc3339, unix_seconds as now},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Container templates that can be fetched: file, operating system, headline.
const APPLIANCES: &[(&str, &str, &str)] = &[
    ("alpine-3.22-default_20250617_amd64.tar.xz", "alpine", "LXC default image for alpine 3.22"),
    ("debian-12-standard_12.12-1_amd64.tar.zst", "debian-12", "Debian 12 Bookworm (standard)"),
    ("debian-13-standard_13.1-2_amd64.tar.zst", "debian-13", "Debian 13 Trixie (standard)"),
    ("ubuntu-24.04-standard_24.04-2_amd64.tar.zst", "ubuntu-24.04", "Ubuntu 24.04 Noble (standard)"),
];
/// How large a simulated template or backup is.
const SIZE: u64 = 126 << 20;

pub(super) fn content(call: &Call, node: &str, storage: &str) -> Result<Answer, Fault> {
    let node = call.node(node)?;
    call.need(&format!("/storage/{storage}"), &["Datastore.Audit", "Datastore.AllocateSpace"])?;
    let params = call.params(&[optional("content", Kind::Text), optional("vmid", Kind::Vmid)])?;
    let inventory = call.cluster.inventory();
    if !inventory.storages.iter().any(|there| there.name == storage && there.nodes.contains(&node)) {
        return Err(Fault::failed(format!("storage '{storage}' does not exist")));
    }
    let state = call.cluster.details.state();
    let held = state.volumes.iter().filter(|volume| volume.storage == storage);
    let mut lines: Vec<Value> = held.map(line).collect();
    for guest in inventory.guests.iter().filter(|guest| guest.node == node) {
        let base = state.linked.get(&guest.vmid).copied();
        lines.extend(disk(call, &state, guest, base).filter(|(on, _)| on == storage).map(|(_, line)| line));
    }
    lines.retain(|line| {
        let content = params.text("content").is_none_or(|wanted| line["content"] == wanted);
        content && params.integer("vmid").is_none_or(|vmid| line["vmid"] == vmid)
    });
    lines.sort_by_key(|line| line["volid"].as_str().map(str::to_owned));
    data(lines.into())
}

fn line(volume: &Volume) -> Value {
    let mut line = json!({
        "content": volume.content, "ctime": volume.made, "format": volume.file.rsplit('.').next().unwrap_or_default(),
        "size": volume.size, "volid": volume.id(),
    });
    if let Some(vmid) = volume.vmid {
        line["vmid"] = json!(vmid);
        line["notes"] = json!(volume.notes);
    }
    line
}

/// A guest's disk as a storage lists it, a linked one with what it builds on.
fn disk<'a>(
    call: &Call,
    state: &crate::sim::details::State,
    guest: &'a Guest,
    base: Option<u32>,
) -> impl Iterator<Item = (String, Value)> + use<'a> {
    let mut config = call.cluster.backend.config(guest);
    state.overlay(guest.vmid, &mut config);
    let content = if guest.kind == GuestKind::Ct { "rootdir" } else { "images" };
    let found = config.into_values().filter_map(move |value| {
        let text = value.as_str()?;
        let (volume, _) = text.split_once(",size=")?;
        let (storage, _) = volume.split_once(':')?;
        let parent =
            base.map(|base| format!("{}-{base}-disk-0", if guest.kind == GuestKind::Ct { "basevol" } else { "base" }));
        let size = guest.disk_gib << 30;
        let line = json!({
            "content": content, "ctime": 0, "format": "raw", "parent": parent, "size": size, "vmid": guest.vmid,
            "volid": volume,
        });
        Some((storage.to_owned(), line))
    });
    found.collect::<Vec<_>>().into_iter()
}

pub(super) fn network(call: &Call, node: &str) -> Result<Answer, Fault> {
    call.node(node)?;
    call.params(&[optional("type", Kind::Text)])?;
    data(json!([{
        "active": 1, "autostart": 1, "bridge_fd": "0", "bridge_ports": "eno1", "bridge_stp": "off",
        "families": ["inet"], "iface": "vmbr0", "method": "static", "method6": "manual", "priority": 4, "type": "bridge",
    }]))
}

pub(super) fn appliances(call: &Call, node: &str) -> Result<Answer, Fault> {
    call.node(node)?;
    call.params(&[])?;
    let line = |(file, os, headline): &(&str, &str, &str)| json!({"headline": headline, "os": os, "section": "system", "template": file, "type": "lxc"});
    data(APPLIANCES.iter().map(line).collect())
}

pub(super) fn download(call: &Call, node: &str) -> Result<Answer, Fault> {
    let node = call.node(node)?;
    let params = call.params(&[required("storage", Kind::Text), required("template", Kind::Text)])?;
    let storage = params.text("storage").unwrap_or_default().to_owned();
    call.need(&format!("/storage/{storage}"), &["Datastore.AllocateTemplate"])?;
    let file = params.text("template").unwrap_or_default().to_owned();
    if !APPLIANCES.iter().any(|(known, ..)| *known == file) {
        return Err(Fault::parameter("template", "no such template"));
    }
    let details = Arc::clone(&call.cluster.details);
    set_going(call, &node, "download", "", move |log| {
        log.line(format!("downloading {file} to {storage}"));
        log.line("download finished");
        let volume =
            Volume { storage, content: "vztmpl", file, size: SIZE, made: now(), vmid: None, notes: String::new() };
        details.state().volumes.push(volume);
        Ok(())
    })
}

pub(super) fn back_up(call: &Call, node: &str) -> Result<Answer, Fault> {
    let node = call.node(node)?;
    let params = call.params(&[
        optional("vmid", Kind::Vmid),
        optional("storage", Kind::Text),
        optional("mode", Kind::Choice(&["snapshot", "suspend", "stop"])),
        optional("compress", Kind::Choice(&["0", "1", "gzip", "lzo", "zstd"])),
        optional("notes-template", Kind::Text),
        optional("remove", Kind::Boolean),
    ])?;
    let vmid = params.integer("vmid").and_then(|id| u32::try_from(id).ok());
    let vmid = vmid.ok_or_else(|| Fault::parameter("vmid", "property is missing"))?;
    let storage = params.text("storage").unwrap_or("local").to_owned();
    call.need(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    call.need(&format!("/vms/{vmid}"), &["VM.Backup"])?;
    let inventory = call.cluster.inventory();
    let may_hold = inventory
        .storages
        .iter()
        .any(|there| there.name == storage && there.content.iter().any(|content| content == "backup"));
    let guest = inventory.guest(vmid).filter(|guest| guest.node == node).cloned();
    let details = Arc::clone(&call.cluster.details);
    set_going(call, &node, "vzdump", &vmid.to_string(), move |log| {
        if !may_hold {
            return Err(format!("could not get storage information for '{storage}': it can't hold backups"));
        }
        let Some(guest) = guest else { return Err(format!("no such guest {vmid}")) };
        if let Some(locked) = locked(&guest) {
            log.line(format!("ERROR: Backup of VM {vmid} failed - {locked}"));
            return Err("job errors".to_owned());
        }
        log.line(format!("INFO: Starting Backup of VM {vmid} ({})", guest.kind.api()));
        log.line(format!("INFO: status = {}", guest.status));
        let volume = backup(&guest, storage);
        log.line(format!("INFO: creating vzdump archive '{}'", volume.id()));
        log.line(format!("INFO: Finished Backup of VM {vmid}"));
        details.state().volumes.push(volume);
        Ok(())
    })
}

fn backup(guest: &Guest, storage: String) -> Volume {
    let made = now();
    let moment = rfc3339(made).replace('-', "_").replace('T', "-").replace(':', "_").replace('Z', "");
    let ending = if guest.kind == GuestKind::Ct { "tar.zst" } else { "vma.zst" };
    let file = format!("vzdump-{}-{}-{moment}.{ending}", guest.kind.api(), guest.vmid);
    let notes = guest.name.clone();
    Volume { storage, content: "backup", file, size: SIZE, made, vmid: Some(guest.vmid), notes }
}
