//! A cluster that exists in memory only: built from an inventory file, its guests start and stop by a change of a word.
//! The demo's cluster, and what the API's behaviour is tested on.

use super::{
    backend::{Action, Backend, NodeUsage, Usage},
    lock,
    tasks::TaskLog,
};
use crate::model::{
    inventory::{Guest, Inventory},
    values::GuestKind,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Guests in memory.
pub struct Memory {
    inventory: Mutex<Inventory>,
    started: Mutex<BTreeMap<u32, Instant>>,
    deaf: Mutex<Vec<u32>>,
    since: Instant,
}

impl Memory {
    /// A cluster as the inventory describes it.
    pub fn new(inventory: Inventory) -> Self {
        let since = Instant::now();
        let running = inventory.guests.iter().filter(|guest| guest.running()).map(|guest| (guest.vmid, since));
        let started = Mutex::new(running.collect());
        Self { inventory: Mutex::new(inventory), started, deaf: Mutex::default(), since }
    }

    /// Changes what there is: locks, tags, new guests.
    pub fn change<T>(&self, change: impl FnOnce(&mut Inventory) -> T) -> T {
        change(&mut lock(&self.inventory))
    }

    /// From now on this guest ignores being asked to shut down.
    pub fn deafen(&self, vmid: u32) {
        lock(&self.deaf).push(vmid);
    }

    fn set_status(&self, vmid: u32, status: &str) {
        let mut started = lock(&self.started);
        if status == "running" {
            started.insert(vmid, Instant::now());
        } else {
            started.remove(&vmid);
        }
        if let Some(guest) = lock(&self.inventory).guests.iter_mut().find(|guest| guest.vmid == vmid) {
            status.clone_into(&mut guest.status);
        }
    }

    fn shut_down(&self, guest: &Guest, timeout: Duration, force: bool, log: &TaskLog) -> Result<(), String> {
        if lock(&self.deaf).contains(&guest.vmid) {
            let failed =
                format!("command 'lxc-stop -n {} --nokill --timeout {}' failed", guest.vmid, timeout.as_secs());
            if log.aborted_within(timeout) {
                log.line(format!("{failed}: received interrupt"));
                return Err("received interrupt".to_owned());
            }
            match (force, guest.kind) {
                (true, GuestKind::Vm) => log.line("VM still running - terminating now with SIGTERM"),
                (true, GuestKind::Ct) => {}
                (false, GuestKind::Vm) => return Err("VM quit/powerdown failed - got timeout".to_owned()),
                (false, GuestKind::Ct) => {
                    log.line(format!("{failed}: exit code 1"));
                    return Err("container did not stop".to_owned());
                }
            }
        }
        self.set_status(guest.vmid, "stopped");
        Ok(())
    }
}

impl Backend for Memory {
    fn inventory(&self) -> Inventory {
        lock(&self.inventory).clone()
    }

    fn config(&self, guest: &Guest) -> BTreeMap<String, Value> {
        let mut config = BTreeMap::from([("ostype".to_owned(), json!(os_type(guest)))]);
        let mut set = |key: &str, value: Value| drop(config.insert(key.to_owned(), value));
        set("cores", json!(guest.cores.max(1)));
        match guest.kind {
            GuestKind::Ct => {
                set("arch", json!("amd64"));
                set("hostname", json!(guest.name));
                set("memory", json!(guest.memory_mib));
                set("swap", json!(0));
                set(
                    "rootfs",
                    json!(format!(
                        "local-zfs:{}-{}-disk-0,size={}G",
                        if guest.template { "basevol" } else { "subvol" },
                        guest.vmid,
                        guest.disk_gib
                    )),
                );
                set("net0", json!(container_network(guest)));
            }
            GuestKind::Vm => {
                set("name", json!(guest.name));
                set("memory", json!(guest.memory_mib.to_string()));
                set(
                    "scsi0",
                    json!(format!(
                        "local-zfs:{}-{}-disk-0,size={}G",
                        if guest.template { "base" } else { "vm" },
                        guest.vmid,
                        guest.disk_gib
                    )),
                );
                set("net0", json!(format!("virtio={},bridge=vmbr0", hardware_address(guest.vmid))));
                set("smbios1", json!(format!("uuid={}", stable_uuid(guest.vmid, "smbios"))));
                set("vmgenid", json!(stable_uuid(guest.vmid, "vmgenid")));
                if guest.guest_agent.is_some() {
                    set("agent", json!("1"));
                }
            }
        }
        if !guest.tags.is_empty() {
            set("tags", json!(guest.tags.join(";")));
        }
        if guest.template {
            set("template", json!(1));
        }
        if let Some(held) = &guest.lock {
            set("lock", json!(held));
        }
        config
    }

    fn usage(&self, guest: &Guest) -> Usage {
        let Some(start) = lock(&self.started).get(&guest.vmid).copied() else { return Usage::default() };
        Usage {
            // Another start, another process.
            pid: u32::try_from(start.duration_since(self.since).as_millis())
                .ok()
                .map(|later| 1_000 + guest.vmid + later),
            uptime: start.elapsed().as_secs(),
            cpu: 0.01,
            memory: guest.memory_mib * (1 << 20) / 3,
            disk: if guest.kind == GuestKind::Ct { guest.disk_gib * (1 << 30) / 4 } else { 0 },
            net_in: 4_096,
            net_out: 2_048,
        }
    }

    fn node_usage(&self, node: &str) -> NodeUsage {
        let inventory = lock(&self.inventory);
        let memory = inventory.node(node).map_or(0, |node| node.memory_mib * (1 << 20) / 4);
        NodeUsage {
            uptime: 7_200 + self.since.elapsed().as_secs(),
            cpu: 0.03,
            memory,
            disk: 8 << 30,
            max_disk: 94 << 30,
            kernel: "6.14.0-1-pve".to_owned(),
        }
    }

    fn adjust(&self, change: &mut dyn FnMut(&mut Inventory)) -> bool {
        let mut inventory = lock(&self.inventory);
        change(&mut inventory);
        let mut started = lock(&self.started);
        let running: Vec<u32> =
            inventory.guests.iter().filter(|guest| guest.running()).map(|guest| guest.vmid).collect();
        started.retain(|vmid, _| running.contains(vmid));
        for vmid in running {
            started.entry(vmid).or_insert_with(Instant::now);
        }
        true
    }

    fn carry_out(&self, guest: &Guest, action: &Action, log: &TaskLog) -> Result<(), String> {
        match action {
            Action::Start => self.set_status(guest.vmid, "running"),
            Action::Stop => self.set_status(guest.vmid, "stopped"),
            Action::Shutdown { timeout, force } => self.shut_down(guest, *timeout, *force, log)?,
            Action::Reboot { timeout } => {
                self.shut_down(guest, *timeout, false, log)?;
                self.set_status(guest.vmid, "running");
            }
        }
        Ok(())
    }
}

fn os_type(guest: &Guest) -> &str {
    match (guest.kind, guest.os.id.as_str()) {
        (GuestKind::Vm, _) if guest.os.family == "windows" => "win11",
        (GuestKind::Vm, _) => "l26",
        (GuestKind::Ct, "") => "unmanaged",
        (GuestKind::Ct, "rocky" | "almalinux") => "centos",
        (GuestKind::Ct, "arch") => "archlinux",
        (GuestKind::Ct, id) => id,
    }
}

fn container_network(guest: &Guest) -> String {
    let address = guest.addresses.first().map_or_else(|| "dhcp".to_owned(), |address| format!("{address}/24"));
    format!("name=eth0,bridge=vmbr0,hwaddr={},ip={address},type=veth", hardware_address(guest.vmid))
}

/// Proxmox's prefix and the vmid: the same at every start of the simulator.
pub(crate) fn hardware_address(vmid: u32) -> String {
    let [_, high, middle, low] = vmid.to_be_bytes();
    format!("BC:24:11:{high:02X}:{middle:02X}:{low:02X}")
}

/// The same for whoever has a vmid after somebody else has had it.
pub(crate) fn later_address(vmid: u32, birth: u32) -> String {
    let digest = crate::model::digest::Digest::of(format!("{vmid}/{birth}").as_bytes());
    let hex = digest.as_str().to_ascii_uppercase();
    format!("BC:24:11:{}:{}:{}", &hex[..2], &hex[2..4], &hex[4..6])
}

pub(super) fn stable_uuid(vmid: u32, what: &str) -> String {
    let digest = crate::model::digest::Digest::of(format!("{what}/{vmid}").as_bytes());
    let hex = digest.as_str();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
