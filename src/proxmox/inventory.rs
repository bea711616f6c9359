//! The cluster as the API tells it, in one pass: four reads for all of it, and what a guest's configuration adds, which is
//! kept until something about the guest changes.

use super::{
    client::Client,
    details::Details,
    error::ApiError,
    requests::cluster,
    resources::{Resource, StatusLine, tags},
};
use crate::{
    model::{
        inventory::{Guest, Inventory, Node, Storage},
        target::{Vmid, is_name},
        values::GuestKind,
    },
    sys::text::one_line,
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

pub use super::details::Known;

/// Reads the cluster. Guests that can't be read in detail (no right, no answer) are there without details.
pub fn inventory(client: &Client, known: &mut Known) -> Result<Inventory, ApiError> {
    let status: Vec<StatusLine> = client.ask(&cluster::status())?;
    // Before the guests: what a task does after this look is seen at the next one.
    known.notice_tasks(client);
    let resources: Vec<Resource> = client.ask(&cluster::resources())?;
    let mut inventory = Inventory {
        cluster: label(&status),
        nodes: nodes(client, &status, &resources, known),
        storages: storages(&resources),
        guests: read_guests(client, &resources, known),
    };
    inventory.nodes.sort_by(|one, other| one.name.cmp(&other.name));
    inventory.guests.sort_by_key(|guest| guest.vmid);
    Ok(inventory)
}

/// The cluster's name; a single node goes by its own.
fn label(status: &[StatusLine]) -> String {
    let name = |kind: &str| status.iter().find(|line| line.kind == kind).map(|line| line.name.clone());
    name("cluster").or_else(|| name("node")).filter(|name| is_name(name)).unwrap_or_default()
}

fn nodes(client: &Client, status: &[StatusLine], resources: &[Resource], known: &mut Known) -> Vec<Node> {
    let lines = resources.iter().filter(|line| line.kind == "node" && is_name(&line.node));
    lines
        .map(|line| {
            // What corosync says of a node is fresher than its last report.
            let member = status.iter().find(|member| member.kind == "node" && member.name == line.node);
            let state = match member {
                Some(member) if member.online => "online",
                Some(_) => "offline",
                None => known_state(&line.status),
            };
            Node {
                name: line.node.clone(),
                status: state.to_owned(),
                address: member.and_then(|member| member.ip.clone()).filter(|ip| ip.parse::<IpAddr>().is_ok()),
                cores: u32::try_from(line.maxcpu).unwrap_or(u32::MAX),
                memory_mib: line.maxmem >> 20,
                version: (state == "online").then(|| version(client, &line.node, known)).flatten(),
                pve_agent: None,
            }
        })
        .collect()
}

fn known_state(status: &str) -> &'static str {
    match status {
        "online" => "online",
        "offline" => "offline",
        _ => "unknown",
    }
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

fn version(client: &Client, node: &str, known: &mut Known) -> Option<String> {
    if let Some(version) = known.versions.get(node) {
        return Some(version.clone());
    }
    // A node that does not tell its version is listed without one.
    let version: Version = client.ask(&cluster::version(node)).ok()?;
    let version = one_line(&version.version, 30);
    known.versions.insert(node.to_owned(), version.clone());
    Some(version)
}

/// Storages by name: a shared one counts once, the same name on several nodes adds up.
fn storages(resources: &[Resource]) -> Vec<Storage> {
    let mut storages: BTreeMap<&str, (Storage, u64, u64)> = BTreeMap::new();
    for line in resources.iter().filter(|line| line.kind == "storage" && !line.storage.is_empty()) {
        let content = || {
            let mut content: Vec<String> =
                line.content.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
            content.sort_unstable();
            content
        };
        let (storage, used, total) = storages.entry(&line.storage).or_insert_with(|| {
            let (name, kind) = (one_line(&line.storage, 100), one_line(&line.plugintype, 30));
            (Storage { name, kind, content: content(), used_gib: 0, total_gib: 0, nodes: Vec::new() }, 0, 0)
        });
        storage.nodes.push(line.node.clone());
        (*used, *total) = if line.shared {
            (line.disk.max(*used), line.maxdisk.max(*total))
        } else {
            (*used + line.disk, *total + line.maxdisk)
        };
    }
    let finish = |(storage, used, total): (Storage, u64, u64)| Storage {
        used_gib: used >> 30,
        total_gib: total >> 30,
        ..storage
    };
    storages.into_values().map(finish).collect()
}

fn read_guests(client: &Client, resources: &[Resource], known: &mut Known) -> Vec<Guest> {
    let lines: Vec<_> = resources.iter().filter_map(|line| Some((line, line.guest()?))).collect();
    let there: HashSet<(GuestKind, Vmid)> = lines.iter().map(|(_, id)| *id).collect();
    let up = resources.iter().filter(|line| line.kind == "node" && line.status == "online");
    known.begin_pass(&there, up.map(|line| line.node.clone()).collect());
    lines
        .into_iter()
        .map(|(line, (kind, vmid))| {
            let line = known.as_it_is(client, line, kind, vmid);
            guest(&line, kind, vmid, known.details(client, &line, kind, vmid))
        })
        .collect()
}

fn guest(line: &Resource, kind: GuestKind, vmid: Vmid, details: Details) -> Guest {
    Guest {
        vmid,
        kind,
        name: one_line(&line.name, 253),
        node: line.node.clone(),
        status: if line.status.is_empty() { "unknown".to_owned() } else { one_line(&line.status, 30) },
        template: line.template,
        tags: tags(&line.tags),
        pool: line.pool.clone(),
        os: details.os,
        addresses: details.addresses,
        cores: u32::try_from(line.maxcpu).unwrap_or(u32::MAX),
        memory_mib: line.maxmem >> 20,
        disk_gib: line.maxdisk >> 30,
        snapshots: details.snapshots,
        agent: None,
        services: Vec::new(),
        guest_agent: details.guest_agent,
        lock: line.lock.as_deref().map(|lock| one_line(lock, 30)),
        ha: line.hastate.as_deref().map(|state| one_line(state, 30)),
        incarnation: details.incarnation,
    }
}
