//! The cluster as the API tells it, in one pass: three reads for all of it, and what a guest's configuration adds, which is
//! kept until something about the guest changes.

use super::{
    client::Client,
    error::ApiError,
    lenient,
    requests::{Place, cluster, guests},
    resources::{Config, Resource, StatusLine, fixed_addresses, setting, tags},
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
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

/// How long details of a guest are believed while nothing about it changes, in seconds.
const FRESH: i64 = 300;

/// How many guests that nothing has happened to are read anew in one pass: many at once would make one pass a long one.
const RENEWED: usize = 100;

/// What is remembered between two passes.
#[derive(Debug, Default)]
pub struct Known {
    renewed: usize,
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
    let status: Vec<StatusLine> = client.ask(&cluster::status())?;
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
    if !known.versions.contains_key(node) {
        // A node that does not tell its version is listed without one.
        let version: Version = client.ask(&cluster::version(node)).ok()?;
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

fn read_guests(client: &Client, resources: &[Resource], known: &mut Known) -> Vec<Guest> {
    let lines: Vec<_> = resources.iter().filter_map(|line| Some((line, line.guest()?))).collect();
    let there: HashSet<(GuestKind, Vmid)> = lines.iter().map(|(_, id)| *id).collect();
    known.details.retain(|id, _| there.contains(id));
    known.renewed = 0;
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
    {
        let fresh = (0..FRESH).contains(&(now - kept.read));
        if fresh || known.renewed >= RENEWED {
            return kept.clone();
        }
        known.renewed += 1;
    }
    // Without an answer, or the right to one, the guest is listed all the same, and asked for again at the next pass.
    let Ok(read) = read(client, line, kind, vmid) else { return Details::default() };
    let details = Details { of, read: now, ..read };
    known.details.insert((kind, vmid), details.clone());
    details
}

fn read(client: &Client, line: &Resource, kind: GuestKind, vmid: Vmid) -> Result<Details, ApiError> {
    let place = Place { node: &line.node, kind, vmid };
    let config: Config = client.ask(&guests::config(&place))?;
    let running = line.status == "running";
    let mut details = Details { os: os_of(kind, &setting(&config, "ostype")), ..Details::default() };
    match kind {
        GuestKind::Ct => {
            details.addresses = fixed_addresses(&config);
            if running && details.addresses.is_empty() {
                let told: Option<Vec<Interface>> = client.ask(&guests::interfaces(&place))?;
                details.addresses = addresses(told.unwrap_or_default());
            }
        }
        GuestKind::Vm if !running => {}
        GuestKind::Vm if agent_configured(&setting(&config, "agent")) => {
            let answer: Result<Answer<OsInfo>, _> = client.ask(&guests::agent_os(&place));
            details.guest_agent = Some(answer.is_ok());
            if let Ok(Answer { result }) = answer {
                details.os = Os::new(&one_line(&result.id, 40), &one_line(&result.version, 40));
                let told: Result<Answer<Vec<Interface>>, _> = client.ask(&guests::agent_interfaces(&place));
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
    use crate::{
        proxmox::{
            Token,
            wire::{Request, Response, Wire},
        },
        sys::{http::HttpError, secret::Secret},
    };
    use serde_json::json;
    use std::{
        sync::{Arc, Mutex},
        time::{Duration, Instant},
    };

    #[test]
    fn ostypes_become_os_release_words() {
        assert_eq!(os_of(GuestKind::Ct, "archlinux").family, "arch");
        assert_eq!(os_of(GuestKind::Ct, "alpine"), Os::new("alpine", ""));
        assert_eq!(os_of(GuestKind::Vm, "l26"), Os::default());
        assert_eq!(os_of(GuestKind::Vm, "win11"), Os::new("windows", "11"));
        assert_eq!(os_of(GuestKind::Vm, "w2k8").family, "windows");
    }

    /// A cluster of 5,000 containers, and how often each kind of request was made to it.
    struct Large {
        resources: Vec<u8>,
        asked: Arc<Mutex<usize>>,
    }

    impl Large {
        fn new() -> Self {
            let guest = |vmid: usize| {
                json!({
                    "id": format!("lxc/{vmid}"), "type": "lxc", "vmid": vmid, "node": format!("pve{}", vmid % 20),
                    "name": format!("guest-{vmid}"), "status": "running", "maxcpu": 2, "maxmem": 536_870_912, "mem": 1,
                    "maxdisk": 8_589_934_592_u64, "disk": 1, "uptime": 17, "tags": "prod;web", "template": 0,
                    "cpu": 0.017, "netin": 1, "netout": 2, "diskread": 3, "diskwrite": 4, "memhost": 5,
                })
            };
            let nodes = (0..20).map(|node| json!({"type": "node", "node": format!("pve{node}"), "status": "online"}));
            let data: Vec<_> = nodes.chain((100..5_100).map(guest)).collect();
            Self { resources: json!({ "data": data }).to_string().into_bytes(), asked: Arc::default() }
        }
    }

    impl Wire for Large {
        fn exchange(&self, request: &Request, _: &[(&str, &str)]) -> Result<Response, HttpError> {
            let answer = |body: &[u8]| Response { status: 200, reason: String::new(), body: body.to_vec() };
            let mut asked = self.asked.lock().unwrap();
            Ok(match request.path.as_str() {
                "/api2/json/cluster/resources" => answer(&self.resources),
                "/api2/json/cluster/status" => answer(br#"{"data":[{"type":"cluster","name":"large"}]}"#),
                path if path.ends_with("/version") => answer(br#"{"data":{"version":"9.2.11"}}"#),
                _ => {
                    *asked += 1;
                    answer(br#"{"data":{"ostype":"debian","net0":"name=eth0,ip=10.0.0.5/24"}}"#)
                }
            })
        }
    }

    #[test]
    fn five_thousand_guests_are_refreshed_within_a_second_of_ours() {
        let (large, mut known) = (Large::new(), Known::default());
        let asked = Arc::clone(&large.asked);
        let client = Client::new(large, &Token { id: "a@pve!b".into(), secret: Secret::new("c") });
        assert_eq!(inventory(&client, &mut known).unwrap().guests.len(), 5_000);
        assert_eq!(*asked.lock().unwrap(), 5_000, "each is read once");
        let begun = Instant::now();
        let refreshed = inventory(&client, &mut known).unwrap();
        let took = begun.elapsed();
        assert_eq!((refreshed.guests.len(), refreshed.guests[7].addresses.join(" ")), (5_000, "10.0.0.5".into()));
        assert_eq!(*asked.lock().unwrap(), 5_000, "none is read again");
        assert!(took < Duration::from_secs(1), "a refresh took {took:?}");
        // Once they are old they are read again, a few at a time.
        known.details.values_mut().for_each(|details| details.read -= FRESH);
        inventory(&client, &mut known).unwrap();
        assert_eq!(*asked.lock().unwrap(), 5_000 + RENEWED);
    }

    #[test]
    fn the_agent_flag_has_two_spellings() {
        assert_eq!(
            ["1", "enabled=1,type=virtio", "0", "", "enabled=0"].map(agent_configured),
            [true, true, false, false, false]
        );
    }
}
