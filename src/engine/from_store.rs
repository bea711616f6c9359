//! Operations that the hub answers by itself, from what it knows.

use super::Engine;
use crate::model::{Inventory, Op, Outcome, Target, inventory::AgentInfo, target::What};
use serde_json::json;

/// Whether the hub can answer the operation of that name.
pub fn can(name: &str) -> bool {
    matches!(name, "guest.list" | "node.list" | "cluster.status" | "storage.list" | "agent.check")
}

impl Engine {
    /// Answers one.
    pub(super) fn answer(&self, op: &Op, target: &Target, inventory: &Inventory) -> Outcome {
        match op {
            Op::GuestList {} => guest_list(self, target, inventory),
            Op::NodeList {} => {
                let rows = self.node_rows(inventory);
                let online = rows.iter().filter(|row| row.node.status == "online").count();
                Outcome::success(format!("{online} of {} nodes online", rows.len())).with_data(rows)
            }
            Op::ClusterStatus {} => cluster_status(inventory),
            Op::StorageList {} => storage_list(target, inventory),
            Op::AgentCheck {} => agent_check(self, target, inventory),
            Op::AlertList {} => Outcome::rejected("this hub has no alerts yet"),
            _ => Outcome::rejected(format!("this hub can't do {} yet", op.name())),
        }
    }
}

fn guest_list(engine: &Engine, target: &Target, inventory: &Inventory) -> Outcome {
    let targets: Vec<Target> = match target.what {
        What::Guest(..) => vec![target.clone()],
        _ => inventory.guests.iter().map(crate::model::inventory::Guest::target).collect(),
    };
    let rows = engine.guest_rows(inventory, &targets);
    let running = rows.iter().filter(|row| row.guest.running()).count();
    let summary = match &rows[..] {
        [row] => format!("{} on {}", row.guest.status, row.guest.node),
        _ => format!("{running} of {} guests running", rows.len()),
    };
    Outcome::success(summary).with_data(rows)
}

fn cluster_status(inventory: &Inventory) -> Outcome {
    let online = inventory.nodes.iter().filter(|node| node.status == "online").count();
    let quorate = 2 * online > inventory.nodes.len();
    let word = if quorate { "quorate" } else { "no quorum" };
    let summary = format!("{}: {word}, {online} of {} nodes online", inventory.cluster, inventory.nodes.len());
    Outcome::success(summary)
        .with_data(json!({"cluster": inventory.cluster, "quorate": quorate, "nodes": inventory.nodes}))
}

fn storage_list(target: &Target, inventory: &Inventory) -> Outcome {
    let here = |storage: &&crate::model::inventory::Storage| {
        target.node_name().is_none_or(|node| storage.nodes.iter().any(|has| has == node))
    };
    let storages: Vec<_> = inventory.storages.iter().filter(here).collect();
    let fullest = storages
        .iter()
        .filter(|storage| storage.total_gib > 0)
        .max_by_key(|storage| storage.used_gib * 100 / storage.total_gib);
    let summary = match fullest {
        Some(fullest) => {
            let share = fullest.used_gib * 100 / fullest.total_gib;
            format!("{} storages; fullest: {} at {share} %", storages.len(), fullest.name)
        }
        None => format!("{} storages", storages.len()),
    };
    Outcome::success(summary).with_data(storages)
}

fn agent_check(engine: &Engine, target: &Target, inventory: &Inventory) -> Outcome {
    let told = |agent: Option<&AgentInfo>| match agent {
        Some(agent) if agent.online() => format!("agent {}, answers", agent.version),
        Some(agent) => format!("agent {}, does not answer", agent.version),
        None => "no agent".to_owned(),
    };
    match &target.what {
        What::Guest(..) => {
            let Some(row) = engine.guest_rows(inventory, std::slice::from_ref(target)).pop() else {
                return Outcome::rejected(format!("there is no {target}"));
            };
            let why = row.why.as_ref().filter(|_| row.guest.agent.is_none());
            let summary = told(row.guest.agent.as_ref()) + &why.map(|why| format!(": {why}")).unwrap_or_default();
            let outcome = Outcome::success(summary);
            match row.help.clone() {
                Some(help) => outcome.with_help(help).with_data(row),
                None => outcome.with_data(row),
            }
        }
        What::Node(name) => {
            let agent = inventory.node(name).and_then(|node| node.pve_agent.as_ref());
            Outcome::success(told(agent)).with_data(json!({"pve_agent": agent}))
        }
        _ => {
            let rows = engine.agent_rows(inventory);
            let online = rows.iter().filter(|row| row.status == "online").count();
            Outcome::success(format!("{online} of {} agents answer", rows.len())).with_data(rows)
        }
    }
}
