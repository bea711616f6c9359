//! The cluster as the API tells it, in one pass: three reads for all of it, and what a guest's configuration adds, which is
//! kept until something about the guest changes.

use super::{
    client::Client,
    error::ApiError,
    form::{Form, path},
    lenient,
    perform::fixed_addresses,
    resources::{Config, Resource, StatusLine, setting, tags},
};
use crate::{
    model::{
        inventory::{Guest, Inventory, Node, Os, Storage},
        target::{Vmid, is_name},
        values::GuestKind,
    },
    sys::{clock, text::one_line},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

/// How long details of a guest are believed while nothing about it changes, in seconds.
const FRESH: i64 = 300;

/// What is remembered between two passes.
#[derive(Debug, Default)]
pub struct Known {
    details: HashMap<(GuestKind, Vmid), Details>,
    versions: HashMap<String, String>,
}

#[derive(Debug, Clone, Default)]
struct Details {
    /// What of the guest they belong to.
    of: String,
    /// When they were read.
    read: i64,
    os: Os,
    addresses: Vec<String>,
    guest_agent: Option<bool>,
}

impl Known {
    /// Forgets a guest, so that the next pass reads it anew: after a task of ours.
    pub fn forget(&mut self, vmid: Vmid) {
        self.details.retain(|(_, known), _| *known != vmid);
    }
}

/// Reads the cluster. Guests that can't be read in detail (no right, no answer) are there without details.
pub fn inventory(client: &Client, known: &mut Known) -> Result<Inventory, ApiError> {
    let status: Vec<StatusLine> = client.get("/cluster/status", &Form::new())?;
    let resources: Vec<Resource> = client.get("/cluster/resources", &Form::new())?;
    let mut inventory = Inventory {
        cluster: label(&status),
        nodes: nodes(client, &status, &resources, known),
        storages: storages(&resources),
        guests: guests(client, &resources, known),
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
    if !known.versions.contains_key(node) {
        // A node that does not tell its version is listed without one.
        let version: Version = client.get(&path(&["nodes", node, "version"]), &Form::new()).ok()?;
        known.versions.insert(node.to_owned(), one_line(&version.version, 30));
    }
    known.versions.get(node).cloned()
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

fn guests(client: &Client, resources: &[Resource], known: &mut Known) -> Vec<Guest> {
    let lines: Vec<_> = resources.iter().filter_map(|line| Some((line, line.guest()?))).collect();
    known.details.retain(|id, _| lines.iter().any(|(_, there)| there == id));
    lines.into_iter().map(|(line, (kind, vmid))| guest(client, line, kind, vmid, known)).collect()
}

fn guest(client: &Client, line: &Resource, kind: GuestKind, vmid: Vmid, known: &mut Known) -> Guest {
    let details = details(client, line, kind, vmid, known);
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
        snapshots: Vec::new(),
        agent: None,
        services: Vec::new(),
        guest_agent: details.guest_agent,
        lock: line.lock.as_deref().map(|lock| one_line(lock, 30)),
    }
}

/// The kept details where they still hold, new ones otherwise.
fn details(client: &Client, line: &Resource, kind: GuestKind, vmid: Vmid, known: &mut Known) -> Details {
    // Its node is offline, or it has just been made: nothing is to be had, and what was known still holds.
    if line.status == "unknown" {
        return known.details.get(&(kind, vmid)).cloned().unwrap_or_default();
    }
    let now = clock::unix_seconds();
    let of = format!("{} {} {} {} {}", line.node, line.name, line.status, line.maxmem, line.tags);
    if let Some(kept) = known.details.get(&(kind, vmid))
        && kept.of == of
        && (0..FRESH).contains(&(now - kept.read))
    {
        return kept.clone();
    }
    // Without an answer, or the right to one, the guest is listed all the same, and asked for again at the next pass.
    let Ok(read) = read(client, line, kind, vmid) else { return Details::default() };
    let details = Details { of, read: now, ..read };
    known.details.insert((kind, vmid), details.clone());
    details
}

fn read(client: &Client, line: &Resource, kind: GuestKind, vmid: Vmid) -> Result<Details, ApiError> {
    let vmid = vmid.to_string();
    let base = ["nodes", line.node.as_str(), kind.api(), vmid.as_str()];
    let at = |rest: &[&str]| path(&[&base, rest].concat());
    let config: Config = client.get(&at(&["config"]), &Form::new())?;
    let running = line.status == "running";
    let mut details = Details { os: os_of(kind, &setting(&config, "ostype")), ..Details::default() };
    match kind {
        GuestKind::Ct => {
            details.addresses = fixed_addresses(&config);
            if running && details.addresses.is_empty() {
                let told: Option<Vec<Interface>> = client.get(&at(&["interfaces"]), &Form::new())?;
                details.addresses = addresses(told.unwrap_or_default());
            }
        }
        GuestKind::Vm if !running => {}
        GuestKind::Vm if agent_configured(&setting(&config, "agent")) => {
            let answer: Result<Answer<OsInfo>, _> = client.get(&at(&["agent", "get-osinfo"]), &Form::new());
            details.guest_agent = Some(answer.is_ok());
            if let Ok(Answer { result }) = answer {
                details.os = Os::new(&one_line(&result.id, 40), &one_line(&result.version, 40));
                let told: Result<Answer<Vec<Interface>>, _> =
                    client.get(&at(&["agent", "network-get-interfaces"]), &Form::new());
                details.addresses = told.map(|answer| addresses(answer.result)).unwrap_or_default();
            }
        }
        GuestKind::Vm => details.guest_agent = Some(false),
    }
    Ok(details)
}

#[derive(Deserialize)]
struct Answer<T> {
    result: T,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OsInfo {
    id: String,
    #[serde(rename = "version-id", deserialize_with = "lenient::text")]
    version: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Interface {
    name: String,
    #[serde(rename = "ip-addresses")]
    addresses: Vec<Address>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Address {
    #[serde(rename = "ip-address")]
    address: String,
}

/// The addresses that others can reach: neither loopback nor link-local.
fn addresses(interfaces: Vec<Interface>) -> Vec<String> {
    let all =
        interfaces.into_iter().filter(|interface| interface.name != "lo").flat_map(|interface| interface.addresses);
    let global = |address: &IpAddr| match address {
        IpAddr::V4(four) => !four.is_loopback() && !four.is_link_local(),
        IpAddr::V6(six) => !six.is_loopback() && !six.is_unicast_link_local(),
    };
    all.filter_map(|address| address.address.parse().ok())
        .filter(global)
        .map(|address: IpAddr| address.to_string())
        .collect()
}

/// `1`, `enabled=1,fstrim_cloned_disks=1`.
fn agent_configured(setting: &str) -> bool {
    setting.split(',').any(|part| part == "1" || part == "enabled=1")
}

/// What Proxmox's ostype says of the operating system: much for containers, little for virtual machines.
fn os_of(kind: GuestKind, ostype: &str) -> Os {
    match (kind, ostype) {
        (GuestKind::Ct, "archlinux") => Os::new("arch", ""),
        (GuestKind::Ct, "unmanaged" | "") | (GuestKind::Vm, "l24" | "l26" | "other" | "") => Os::default(),
        (GuestKind::Ct, id) => Os::new(&one_line(id, 40), ""),
        (GuestKind::Vm, "solaris") => Os::new("solaris", ""),
        (GuestKind::Vm, windows) => Os::new("windows", windows.strip_prefix("win").unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ostypes_become_os_release_words() {
        assert_eq!(os_of(GuestKind::Ct, "archlinux").family, "arch");
        assert_eq!(os_of(GuestKind::Ct, "alpine"), Os::new("alpine", ""));
        assert_eq!(os_of(GuestKind::Vm, "l26"), Os::default());
        assert_eq!(os_of(GuestKind::Vm, "win11"), Os::new("windows", "11"));
        assert_eq!(os_of(GuestKind::Vm, "w2k8").family, "windows");
    }

    #[test]
    fn the_agent_flag_has_two_spellings() {
        assert_eq!(
            ["1", "enabled=1,type=virtio", "0", "", "enabled=0"].map(agent_configured),
            [true, true, false, false, false]
        );
    }
}
