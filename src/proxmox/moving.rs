//! A guest moved to another node: a running virtual machine while it runs, a running container stopped here and started
//! there. What stands in the way is asked for before anything is done.

use super::{
    client::Client,
    error::ApiError,
    guest::{Failed, Guest, MARGIN, state, told},
    making::disks,
    requests::{guests, storage},
    resources::{Current, Resource},
    space,
    tasks::{Pace, Wait},
    upid::Upid,
};
use crate::{
    model::{Outcome, values::GuestKind},
    sys::{task::Task, text::one_line},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long the HA manager is given to move a guest: it asks the node's own manager, which moves one after the other.
const HA_MOVE: Duration = Duration::from_mins(30);

/// Within which the HA manager begins what it is going to do: it looks around every 10 s.
const HA_BEGIN: Duration = Duration::from_mins(2);

/// What Proxmox says of a move before it is made. Containers spell the names with dashes, and have it since version 9.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Conditions {
    #[serde(alias = "not-allowed-nodes", deserialize_with = "by_node")]
    not_allowed_nodes: BTreeMap<String, Value>,
    local_resources: Vec<String>,
    local_disks: Vec<LocalDisk>,
    /// What HA moves along, by its rules.
    #[serde(rename = "dependent-ha-resources")]
    dependent: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LocalDisk {
    #[serde(deserialize_with = "super::lenient::flag")]
    cdrom: bool,
    volid: String,
}

impl LocalDisk {
    /// A medium in the drive, and not what Proxmox makes for cloud-init, which moves along (`vm-101-cloudinit`).
    fn is_medium(&self) -> bool {
        self.cdrom && !self.volid.contains("-cloudinit")
    }
}

/// Perl's empty hash comes as an empty list now and then.
fn by_node<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(map) => map.into_iter().collect(),
        _ => BTreeMap::new(),
    })
}

/// guest.migrate.
pub(super) fn migrate(mut guest: Guest, to: &str, task: &Task) -> Result<Outcome, Failed> {
    if guest.node == to {
        return Ok(guest.seen(&format!("was already on {to}"), &guest.before, None));
    }
    let lines: Vec<Resource> = guest.client.ask(&super::requests::cluster::resources())?;
    if !space::nodes(&lines).iter().any(|(node, _)| *node == to) {
        let help = "`remotectl nodes` shows which are".to_owned();
        return Err(guest.reject(&format!("can't move to {}: no such node is online", one_line(to, 60)), help));
    }
    if let Some(why) = obstacle(&guest, to)? {
        let help = format!("`remotectl run guest.status {}` shows its configuration", guest.target());
        return Err(guest.reject(&format!("can't move to {to}: {why}"), help));
    }
    guest.unlocked(task)?;
    let upid = go(&guest, to, task)?;
    let now = arrived(&guest, to, task)?;
    let how = match (guest.before.running(), guest.kind) {
        (false, _) => "while it was stopped",
        (true, GuestKind::Vm) => "while it ran",
        (true, GuestKind::Ct) => "and started again there",
    };
    Ok(Outcome::success(format!("moved from {} to {to} {how}, {}", guest.node, state(&now))).with_data(json!({
        "from": guest.node, "node": to, "status": now.status, "pid": now.pid, "task": upid,
        "ha": guest.before.ha.managed,
    })))
}

/// Asks for the move and follows its task.
pub(super) fn go(guest: &Guest, to: &str, task: &Task) -> Result<Upid, Failed> {
    let running = guest.before.running();
    let conditions = conditions(guest, to)?;
    if !conditions.dependent.is_empty() {
        let along: Vec<String> = conditions.dependent.iter().map(|sid| one_line(sid, 40)).collect();
        task.report.progress(&format!("HA rules move along: {}", along.join(", ")));
    }
    let call = match guest.kind {
        GuestKind::Vm => {
            let local = !conditions.local_disks.iter().all(|disk| disk.cdrom);
            guests::move_machine(&guest.place(), to, running, local)
        }
        GuestKind::Ct => guests::move_container(&guest.place(), to, running),
    };
    guest.carry_out("migrate", &call, task)
}

/// Why it can't go there, as far as can be told before; `None` where nothing is in the way.
pub(super) fn obstacle(guest: &Guest, to: &str) -> Result<Option<String>, Failed> {
    let conditions = conditions(guest, to)?;
    if let Some(why) = conditions.not_allowed_nodes.get(to) {
        return Ok(Some(reason(why)));
    }
    if !conditions.local_resources.is_empty() {
        let names: Vec<String> = conditions.local_resources.iter().map(|name| one_line(name, 40)).collect();
        return Ok(Some(format!("it uses devices of its node: {}", names.join(", "))));
    }
    let medium = conditions.local_disks.iter().find(|disk| disk.is_medium());
    if let Some(medium) = medium {
        let name = one_line(&medium.volid, 80);
        return Ok(Some(format!("{name} is in its drive, and only this node has it")));
    }
    if guest.kind == GuestKind::Ct {
        return missing_storage(guest, to);
    }
    Ok(None)
}

fn conditions(guest: &Guest, to: &str) -> Result<Conditions, Failed> {
    match guest.client.ask(&guests::move_conditions(&guest.place(), to)) {
        // Version 8 has no such question for containers.
        Err(ApiError::Refused { status: 501, .. }) => Ok(Conditions::default()),
        answered => Ok(answered?),
    }
}

/// The storages of a container's disks have to be on the other node by the same name.
fn missing_storage(guest: &Guest, to: &str) -> Result<Option<String>, Failed> {
    let there = guest.client.ask::<Vec<super::resources::StorageLine>>(&storage::that_hold(to, "rootdir"))?;
    let config = guest.config()?;
    // A bind mount has no storage, and is not there on the other node either.
    let missing = disks(guest.kind, &config).into_iter().map(|(_, volume, _)| volume).find(|volume| {
        let storage = volume.split_once(':').map(|(storage, _)| storage);
        !there.iter().any(|line| Some(line.storage.as_str()) == storage)
    });
    Ok(missing.map(|volume| format!("{to} has no storage for {}", one_line(&volume, 80))))
}

fn reason(why: &Value) -> String {
    let words = |value: &Value| -> Vec<String> {
        let text = |item: &Value| item["sid"].as_str().or(item.as_str()).map(|text| one_line(text, 40));
        value.as_array().into_iter().flatten().filter_map(text).collect()
    };
    let storages = words(&why["unavailable_storages"]);
    let blocking = why["blocking-ha-resources"].as_array().map_or(&[][..], Vec::as_slice);
    let by_node = blocking.iter().any(|one| one["cause"] == "node-affinity");
    let others: Vec<String> = words(&why["blocking-ha-resources"]);
    match (storages.is_empty(), blocking.is_empty()) {
        (false, _) => format!("it has no storage {} there", storages.join(", ")),
        (true, false) if by_node => "HA rules keep it from that node (node affinity)".to_owned(),
        (true, false) => format!("HA rules keep it from there: {}", others.join(", ")),
        (true, true) => "Proxmox does not allow it".to_owned(),
    }
}

/// Looks for it on the other node. Under HA the task only asked for the move.
pub(super) fn arrived(guest: &Guest, to: &str, task: &Task) -> Result<Current, Failed> {
    let ran = guest.before.running();
    let patience = if guest.before.ha.managed { HA_MOVE.min(task.timeout) } else { MARGIN };
    let mut pace = Pace::new(&Task { timeout: patience, ..task.clone() });
    if guest.before.ha.managed {
        task.report.progress("requested from the HA manager");
    }
    let asked = Instant::now();
    loop {
        let there = find(guest.client, guest)?;
        if there.node == to && there.before.running() == ran {
            return Ok(there.before);
        }
        if let Some(why) = ha_refuses(guest, &there, to, asked) {
            let help = "`ha-manager status` and `ha-manager rules list` on a node show why".to_owned();
            return Err(told(Outcome::failure(why).with_help(help)));
        }
        if pace.wait() != Wait::Again {
            let outcome = Outcome::failure(format!(
                "Proxmox's task succeeded, but {} is on {}, {}",
                guest.label(),
                there.node,
                state(&there.before)
            ));
            return Err(told(
                outcome.with_help(format!("`remotectl run guest.status {}` shows it again", guest.target())),
            ));
        }
    }
}

/// Why the HA manager will not move it, as far as its state tells: it says so nowhere else.
fn ha_refuses(guest: &Guest, there: &Guest, to: &str, asked: Instant) -> Option<String> {
    let ha = &there.before.ha;
    if ha.given_up() {
        return Some(format!("the HA manager has given up on {}: its state there is `error`", guest.label()));
    }
    let idle = ha.managed && !ha.at_work() && there.node == guest.node && asked.elapsed() > HA_BEGIN;
    idle.then(|| {
        format!(
            "the HA manager was asked to move {} to {to} and has not begun: its rules may keep it here",
            guest.label()
        )
    })
}

/// The guest wherever it is; between two nodes it may be on neither for a moment.
fn find<'a>(client: &'a Client, guest: &Guest) -> Result<Guest<'a>, Failed> {
    match Guest::find(client, guest.kind, guest.vmid) {
        Err(Failed::Gone(_)) => Ok(Guest {
            client,
            kind: guest.kind,
            vmid: guest.vmid,
            node: guest.node.clone(),
            before: Current::default(),
        }),
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_told() {
        let why = json!({"unavailable_storages": ["fast", "slow"]});
        assert_eq!(reason(&why), "it has no storage fast, slow there");
        let why = json!({"blocking-ha-resources": [{"sid": "vm:101", "cause": "resource-affinity"}]});
        assert_eq!(reason(&why), "HA rules keep it from there: vm:101");
        let why = json!({"blocking-ha-resources": [{"sid": "vm:101", "cause": "node-affinity"}]});
        assert_eq!(reason(&why), "HA rules keep it from that node (node affinity)");
        assert_eq!(reason(&json!({})), "Proxmox does not allow it");
    }

    #[test]
    fn conditions_read_in_both_spellings() {
        let of = |text: &str| serde_json::from_str::<Conditions>(text).unwrap().not_allowed_nodes.len();
        assert_eq!(of(r#"{"allowed-nodes":[],"not-allowed-nodes":{"pve2":{}},"running":0}"#), 1);
        assert_eq!(of(r#"{"allowed_nodes":["pve2"],"not_allowed_nodes":{"pve3":{}},"local_disks":[]}"#), 1);
        assert_eq!(of(r#"{"not_allowed_nodes":[]}"#), 0);
    }
}
