//! What only a guest's configuration, its guest agent or its list of snapshots tells: read once, and kept until something
//! about the guest changes. Tasks that change such things are seen in the cluster's list of tasks, whoever began them.

use super::{
    client::Client,
    error::ApiError,
    lenient,
    requests::{Place, cluster, guests, snapshots},
    resources::{Config, Current, Resource, fixed_addresses, incarnation, setting},
};
use crate::{
    model::{
        inventory::{Incarnation, Os},
        target::Vmid,
        values::GuestKind,
    },
    sys::{clock, text::one_line},
};
use serde::Deserialize;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

/// How long details of a guest are believed while nothing about it changes, in seconds.
const FRESH: i64 = 300;

/// How many guests that nothing has happened to are read anew in one pass: many at once would make one pass a long one.
const RENEWED: usize = 100;

/// How long Proxmox's list of guests may be behind a task, in seconds: each node reports every 10 s.
const REPORTED: i64 = 20;

/// Parts of the types of tasks after which a guest is read anew: `qmrollback`, `vzrestore`, `resize`, …
const CHANGING: &[&str] =
    &["rollback", "restore", "create", "clone", "snapshot", "template", "config", "resize", "migrate", "move"];

/// What is remembered between two passes.
#[derive(Debug, Default)]
pub struct Known {
    renewed: usize,
    /// How many were looked at in this pass because something was done to them.
    looked: usize,
    up: HashSet<String>,
    /// Guests that something was done to, and until when the list may not tell of it yet.
    recent: HashMap<Vmid, i64>,
    details: HashMap<(GuestKind, Vmid), Details>,
    /// Tasks of the cluster's list that have ended and been taken note of; `None` before the first pass.
    tasks: Option<HashSet<String>>,
    pub(super) versions: HashMap<String, String>,
}

/// What is kept of one guest.
#[derive(Debug, Clone, Default)]
pub(super) struct Details {
    /// What of the guest they belong to; empty where they are to be read anew.
    of: String,
    /// When they were read.
    read: i64,
    /// For how long the guest had run when it was last seen, in seconds.
    uptime: u64,
    pub os: Os,
    pub addresses: Vec<String>,
    pub guest_agent: Option<bool>,
    pub incarnation: Option<Incarnation>,
    pub snapshots: Vec<String>,
}

/// A line of the cluster's list of tasks.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskLine {
    upid: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::maybe_number")]
    endtime: Option<u64>,
}

/// A line of a guest's list of snapshots.
#[derive(Deserialize)]
pub(super) struct SnapshotLine {
    name: String,
}

impl Known {
    /// Has the next pass read a guest anew: after a task of ours.
    pub fn forget(&mut self, vmid: Vmid) {
        self.recent.insert(vmid, clock::unix_seconds() + REPORTED);
        for (_, details) in self.details.iter_mut().filter(|((_, known), _)| *known == vmid) {
            details.of.clear();
        }
    }

    /// Has guests read anew that a task has changed since the last pass, somebody else's tasks too.
    pub(super) fn notice_tasks(&mut self, client: &Client) {
        // Without the list, details are as old as they may be.
        let Ok(lines) = client.ask::<Vec<TaskLine>>(&cluster::recent_tasks()) else { return };
        let before = self.tasks.take();
        let mut now = HashSet::new();
        for line in lines.into_iter().filter(|line| line.endtime.is_some()) {
            let new = before.as_ref().is_some_and(|before| !before.contains(&line.upid));
            match line.id.parse::<Vmid>().ok().filter(|_| new) {
                Some(vmid) if CHANGING.iter().any(|word| line.kind.contains(word)) => self.forget(vmid),
                Some(vmid) => drop(self.recent.insert(vmid, clock::unix_seconds() + REPORTED)),
                None => {}
            }
            now.insert(line.upid);
        }
        self.tasks = Some(now);
    }

    /// A pass over these guests begins, with these nodes up.
    pub(super) fn begin_pass(&mut self, there: &HashSet<(GuestKind, Vmid)>, up: HashSet<String>) {
        self.up = up;
        self.details.retain(|id, _| there.contains(id));
        let now = clock::unix_seconds();
        self.recent.retain(|_, until| (now..=now + REPORTED).contains(until));
        self.renewed = 0;
        self.looked = 0;
    }

    /// A guest's line as it would be if its node had reported since the last task: the guest itself is asked for a while.
    pub(super) fn as_it_is(&mut self, client: &Client, line: &Resource, kind: GuestKind, vmid: Vmid) -> Resource {
        let mut line = line.clone();
        // Just made: its node is up, and has not reported it yet.
        let new = line.status == "unknown" && self.up.contains(&line.node);
        if !(new || self.recent.contains_key(&vmid)) || self.looked >= RENEWED {
            return line;
        }
        self.looked += 1;
        // Without an answer the list is the best there is.
        if let Ok(now) = client.ask::<Current>(&guests::current(&Place { node: &line.node, kind, vmid })) {
            line.take_over(now);
        }
        line
    }

    /// The kept details where they still hold, new ones otherwise.
    pub(super) fn details(&mut self, client: &Client, line: &Resource, kind: GuestKind, vmid: Vmid) -> Details {
        let kept = self.details.get_mut(&(kind, vmid));
        // Its node is offline, or it has just been made: nothing is to be had, and what was known still holds.
        if line.status == "unknown" {
            return kept.map(|kept| kept.clone()).unwrap_or_default();
        }
        let now = clock::unix_seconds();
        let of = format!("{} {} {} {} {}", line.node, line.name, line.status, line.maxmem, line.tags);
        let had_snapshots = kept.as_ref().is_some_and(|kept| !kept.snapshots.is_empty());
        // Who has run for a shorter time than a moment ago has been started in between.
        if let Some(kept) = kept.filter(|kept| kept.of == of && kept.uptime <= line.uptime) {
            kept.uptime = line.uptime;
            let fresh = (0..FRESH).contains(&(now - kept.read));
            if fresh || self.renewed >= RENEWED {
                return kept.clone();
            }
            self.renewed += 1;
        }
        // Without an answer, or the right to one, the guest is listed all the same, and asked for again at the next pass.
        let Ok(read) = read(client, line, kind, vmid, had_snapshots) else { return Details::default() };
        let details = Details { of, read: now, uptime: line.uptime, ..read };
        self.details.insert((kind, vmid), details.clone());
        details
    }
}

fn read(
    client: &Client,
    line: &Resource,
    kind: GuestKind,
    vmid: Vmid,
    had_snapshots: bool,
) -> Result<Details, ApiError> {
    let place = Place { node: &line.node, kind, vmid };
    let config: Config = client.ask(&guests::config(&place))?;
    let running = line.status == "running";
    let mut details = Details {
        os: os_of(kind, &setting(&config, "ostype")),
        incarnation: Some(incarnation(kind, &config)),
        ..Details::default()
    };
    // A guest with snapshots stands on one of them, until that one is deleted.
    if had_snapshots || config.contains_key("parent") {
        let told: Vec<SnapshotLine> = client.ask(&snapshots::list(&place))?;
        let names = told.into_iter().filter(|line| line.name != "current").map(|line| one_line(&line.name, 40));
        details.snapshots = names.collect();
    }
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
pub(super) struct Answer<T> {
    result: T,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OsInfo {
    id: String,
    #[serde(rename = "version-id", deserialize_with = "lenient::text")]
    version: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Interface {
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
            Token, inventory,
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
        tasks: Arc<Mutex<Vec<u8>>>,
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
            let tasks = Arc::new(Mutex::new(br#"{"data":[]}"#.to_vec()));
            Self { resources: json!({ "data": data }).to_string().into_bytes(), tasks, asked: Arc::default() }
        }
    }

    impl Wire for Large {
        fn exchange(&self, request: &Request, _: &[(&str, &str)]) -> Result<Response, HttpError> {
            let answer = |body: &[u8]| Response { status: 200, reason: String::new(), body: body.to_vec() };
            let mut asked = self.asked.lock().unwrap();
            Ok(match request.path.as_str() {
                "/api2/json/cluster/resources" => answer(&self.resources),
                "/api2/json/cluster/tasks" => answer(&self.tasks.lock().unwrap()),
                "/api2/json/cluster/status" => answer(br#"{"data":[{"type":"cluster","name":"large"}]}"#),
                path if path.ends_with("/status/current") => answer(
                    br#"{"data":{"status":"running","name":"guest-107","maxmem":536870912,"uptime":17,"tags":"prod;web"}}"#,
                ),
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
        let (asked, tasks) = (Arc::clone(&large.asked), Arc::clone(&large.tasks));
        let count = || *asked.lock().unwrap();
        let client = Client::new(large, &Token { id: "a@pve!b".into(), secret: Secret::new("c") });
        assert_eq!(inventory(&client, &mut known).unwrap().guests.len(), 5_000);
        assert_eq!(count(), 5_000, "each is read once");
        let begun = Instant::now();
        let refreshed = inventory(&client, &mut known).unwrap();
        let took = begun.elapsed();
        assert_eq!((refreshed.guests.len(), refreshed.guests[7].addresses.join(" ")), (5_000, "10.0.0.5".into()));
        assert_eq!(count(), 5_000, "none is read again");
        println!("a refresh of 5,000 guests took {took:?} of client time, without optimisation");
        assert!(took < Duration::from_secs(1), "a refresh took {took:?}");
        // Somebody else's rollback is noticed by its task, when that has ended; each once.
        let task =
            |end: &str| format!(r#"{{"data":[{{"upid":"UPID:1","type":"vzrollback","id":"107"{end}}}]}}"#).into_bytes();
        for (list, reads) in [(task(""), 0), (task(r#","endtime":17"#), 1), (task(r#","endtime":17"#), 0)] {
            let before = count();
            *tasks.lock().unwrap() = list;
            inventory(&client, &mut known).unwrap();
            assert_eq!(count() - before, reads);
        }
        // Once they are old they are read again, a few at a time.
        known.details.values_mut().for_each(|details| details.read -= FRESH);
        inventory(&client, &mut known).unwrap();
        assert_eq!(count(), 5_001 + RENEWED);
    }

    #[test]
    fn the_agent_flag_has_two_spellings() {
        assert_eq!(
            ["1", "enabled=1,type=virtio", "0", "", "enabled=0"].map(agent_configured),
            [true, true, false, false, false]
        );
    }
}
