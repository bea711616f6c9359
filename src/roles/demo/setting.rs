//! What the demo plays in: an inventory file, the homelab that is compiled in unless another is named, made ready for it.
//!
//! Two things differ from the file, so that there is something to do. Every node that is online has a pve-agent: where
//! there is none, a plan can only say so. And versions are told as this executable sees them: agents of the newest version
//! in the file run this one, older ones stay older.

use crate::{
    model::{
        Failure, Inventory,
        inventory::{AgentInfo, Guest},
        target::is_name,
    },
    sys::files,
};
use std::{collections::BTreeSet, path::Path};

/// The cluster that is simulated where no other is named.
const HOMELAB: &str = include_str!("../../../tests/fixtures/homelab.json");
/// This executable's version: the newest that the demo knows.
pub const NEWEST: &str = env!("CARGO_PKG_VERSION");
/// What an older agent is told as whose version in the file is not older than this executable's.
const OLDER: &str = "0.0.9";

/// The inventory to simulate.
pub fn inventory(file: Option<&Path>) -> Result<Inventory, Failure> {
    let Some(path) = file else { return ready(parse(HOMELAB, "the built-in inventory")?, "the built-in inventory") };
    let name = format!("the inventory {}", path.display());
    let text = files::read_text(path).map_err(|error| {
        Failure::of("starting the demo", &error)
            .help("--inventory wants a file of JSON with nodes, storages and guests; without it there is a homelab")
    })?;
    ready(parse(&text, &name)?, &name)
}

fn parse(text: &str, name: &str) -> Result<Inventory, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::of(&format!("reading {name}"), &error)
            .help("an inventory is one JSON object with nodes, storages and guests")
    })
}

fn ready(mut inventory: Inventory, name: &str) -> Result<Inventory, Failure> {
    if let Some(why) = fault(&inventory) {
        return Err(Failure::new(format!("simulating {name}: {why}")).help("mend the file, or leave --inventory away"));
    }
    if inventory.cluster.is_empty() {
        "demo".clone_into(&mut inventory.cluster);
    }
    let newest = newest(&inventory);
    for node in inventory.nodes.iter_mut().filter(|node| node.status == "online") {
        node.pve_agent = Some(AgentInfo { version: NEWEST.to_owned(), status: "online".to_owned() });
    }
    for agent in inventory.guests.iter_mut().filter_map(|guest| guest.agent.as_mut()) {
        agent.version = told(&agent.version, &newest);
    }
    Ok(inventory)
}

/// Why a cluster can't be as the inventory says.
fn fault(inventory: &Inventory) -> Option<String> {
    if !inventory.nodes.iter().any(|node| node.status == "online") {
        return Some("it has no node that is online".to_owned());
    }
    if !inventory.cluster.is_empty() && !is_name(&inventory.cluster) {
        return Some(format!("`{}` is no name of a cluster", inventory.cluster));
    }
    if let Some(node) = inventory.nodes.iter().find(|node| !is_name(&node.name)) {
        return Some(format!("`{}` is no name of a node", node.name));
    }
    let mut vmids = BTreeSet::new();
    let wrong = |guest: &Guest| match inventory.node(&guest.node) {
        None => Some(format!("{} is on {}, which is no node of it", guest.label(), guest.node)),
        Some(_) if !is_name(&guest.name) => Some(format!("`{}` is no name of a guest", guest.name)),
        Some(_) => None,
    };
    inventory.guests.iter().find_map(|guest| {
        if vmids.insert(guest.vmid) { wrong(guest) } else { Some(format!("vmid {} is there twice", guest.vmid)) }
    })
}

/// The newest version that an agent has.
fn newest(inventory: &Inventory) -> String {
    let of_guests = inventory.guests.iter().filter_map(|guest| guest.agent.as_ref());
    let of_nodes = inventory.nodes.iter().filter_map(|node| node.pve_agent.as_ref());
    let versions = of_guests.chain(of_nodes).map(|agent| agent.version.as_str());
    versions.max_by_key(|version| numbers(version)).unwrap_or(NEWEST).to_owned()
}

/// What a version of the file is in the demo.
fn told(version: &str, newest: &str) -> String {
    if numbers(version) >= numbers(newest) {
        NEWEST.to_owned()
    } else if numbers(version) < numbers(NEWEST) {
        version.to_owned()
    } else {
        OLDER.to_owned()
    }
}

/// `0.9.4` as numbers that compare; what is no number counts as 0.
fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_homelab_has_something_to_deploy_to_and_something_to_update() {
        let inventory = inventory(None).unwrap();
        assert!(inventory.nodes.iter().all(|node| node.pve_agent.is_some()));
        let versions: BTreeSet<&str> = inventory
            .guests
            .iter()
            .filter_map(|guest| guest.agent.as_ref())
            .map(|agent| agent.version.as_str())
            .collect();
        assert_eq!(versions.len(), 2, "{versions:?}");
        assert!(versions.contains(NEWEST));
        assert!(versions.iter().all(|version| numbers(version) <= numbers(NEWEST)));
    }

    #[test]
    fn an_inventory_that_can_not_be_is_told() {
        let says = |text: &str| {
            let failure = parse(text, "x.json").and_then(|inventory| ready(inventory, "x.json")).unwrap_err();
            assert!(failure.help.is_some());
            failure.message
        };
        let node = r#"{"name": "n", "status": "online"}"#;
        let guest = |vmid: u32, node: &str| {
            format!(r#"{{"vmid": {vmid}, "kind": "ct", "name": "g", "node": "{node}", "status": "running"}}"#)
        };
        assert_eq!(says("{}"), "simulating x.json: it has no node that is online");
        assert!(says("{\"nodes\": 3}").starts_with("reading x.json: invalid type: integer `3`"));
        let text = format!(r#"{{"nodes": [{node}], "guests": [{}, {}]}}"#, guest(1, "n"), guest(1, "n"));
        assert_eq!(says(&text), "simulating x.json: vmid 1 is there twice");
        let text = format!(r#"{{"nodes": [{node}], "guests": [{}]}}"#, guest(1, "m"));
        assert_eq!(says(&text), "simulating x.json: ct/1 g is on m, which is no node of it");
    }
}
