//! What there is, put together: what the nodes' pve-agents tell of the cluster, and what each agent tells of its guest.

use super::{Engine, roster::Agent};
use crate::{
    link::wire::AgentRole,
    llm::Known,
    model::{
        Inventory, Target,
        inventory::{AgentInfo, Guest, Incarnation, Os},
        messages::{AgentRow, GuestRow, NodeRow},
        target::Vmid,
        values::GuestKind,
    },
    sys::clock,
};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// How long what a pve-agent tells can be of before another's task: as long as it takes from one pass to the next, in
/// seconds.
const BEHIND: i64 = 12;

/// What pve-agents have told.
pub struct Overview(RwLock<Heard>);

struct Heard {
    by_agent: HashMap<String, Inventory>,
    latest: Option<String>,
    /// Who has changed something of the cluster last, and until when the others may be behind it, in seconds since the epoch.
    acted: Option<(String, i64)>,
    /// Operating systems with their version: only the pve-agent of a container's own node can tell that.
    systems: HashMap<(Vmid, Option<Incarnation>), Os>,
}

impl Heard {
    fn learn(&mut self, inventory: &Inventory) {
        let told = inventory.guests.iter().filter(|guest| !guest.os.version.is_empty());
        let told = told.map(|guest| ((guest.vmid, guest.incarnation.clone()), guest.os.clone()));
        self.systems.extend(told);
        if self.systems.len() > 2 * inventory.guests.len() {
            let there: HashMap<Vmid, &Guest> = inventory.guests.iter().map(|guest| (guest.vmid, guest)).collect();
            self.systems.retain(|(vmid, of), _| there.get(vmid).is_some_and(|guest| guest.incarnation == *of));
        }
    }
}

impl Overview {
    /// From what is on record.
    pub fn new(stored: Vec<(String, Inventory)>) -> Self {
        let by_agent: HashMap<_, _> = stored.into_iter().collect();
        let latest = by_agent.keys().next().cloned();
        let mut heard = Heard { by_agent: HashMap::new(), latest, acted: None, systems: HashMap::new() };
        for inventory in by_agent.values() {
            heard.learn(inventory);
        }
        Self(RwLock::new(Heard { by_agent, ..heard }))
    }

    /// An agent has changed something of the cluster, and has told of it: what others tell may be of before, for a while.
    pub fn acted(&self, agent: &str, now: i64) {
        let mut heard = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if heard.by_agent.contains_key(agent) {
            heard.latest = Some(agent.to_owned());
            heard.acted = Some((agent.to_owned(), now + BEHIND));
        }
    }

    /// Keeps what a pve-agent tells; whether that is news. The cluster's name where another pve-agent has told of another
    /// cluster: vmids would mean two things.
    pub fn hear(&self, agent: &str, inventory: &Inventory, now: i64) -> Result<bool, String> {
        let mut heard = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut others = heard.by_agent.iter().filter(|(id, _)| *id != agent).map(|(_, known)| &known.cluster);
        if let Some(other) = others.find(|other| **other != inventory.cluster) {
            return Err(other.clone());
        }
        let behind = |(by, until): &(String, i64)| by != agent && (now..=now + BEHIND).contains(until);
        if !heard.acted.as_ref().is_some_and(behind) {
            heard.latest = Some(agent.to_owned());
        }
        let news = heard.by_agent.get(agent) != Some(inventory);
        if news {
            heard.learn(inventory);
            heard.by_agent.insert(agent.to_owned(), inventory.clone());
        }
        Ok(news)
    }

    /// Forgets what an agent has told.
    pub fn forget(&self, agent: &str) {
        let mut heard = self.0.write().unwrap_or_else(PoisonError::into_inner);
        heard.by_agent.remove(agent);
        if heard.latest.as_deref() == Some(agent) {
            heard.latest = heard.by_agent.keys().next().cloned();
        }
    }

    fn tellers(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_agent.keys().cloned().collect()
    }

    fn latest(&self) -> Inventory {
        let heard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let latest = heard.latest.as_ref().and_then(|agent| heard.by_agent.get(agent));
        let mut inventory = latest.cloned().unwrap_or_default();
        for guest in inventory.guests.iter_mut().filter(|guest| guest.os.version.is_empty()) {
            let told = heard.systems.get(&(guest.vmid, guest.incarnation.clone()));
            // A container in which another distribution was installed meanwhile is not what it was.
            if let Some(os) = told.filter(|os| guest.os.id.is_empty() || guest.os.family == os.family) {
                guest.os = os.clone();
            }
        }
        // Sorted, looking one up is quick.
        inventory.guests.sort_by_key(|guest| guest.vmid);
        inventory
    }
}

impl Engine {
    /// Keeps what a pve-agent tells of its cluster; whether that is news. What agents that are no more have told is forgotten.
    pub fn hear_inventory(&self, agent: &str, inventory: &Inventory) -> Result<bool, String> {
        for gone in self.overview.tellers().into_iter().filter(|id| self.roster.get(id).is_none()) {
            self.overview.forget(&gone);
        }
        self.overview.hear(agent, inventory, clock::unix_seconds())
    }

    /// Everything that is known now, agents included.
    pub fn inventory(&self) -> Inventory {
        let now = clock::unix_seconds();
        let mut inventory = self.overview.latest();
        // Each is looked up: thousands of agents of other machines are nothing to a cluster of three guests.
        for node in &mut inventory.nodes {
            node.pve_agent = self.roster.of_target(&Target::node(node.name.clone())).map(|agent| info(&agent, now));
        }
        for guest in &mut inventory.guests {
            if let Some(agent) = self.roster.of_target(&guest.target()) {
                fill(guest, &agent, now);
            }
        }
        inventory
    }

    /// The same as the planner reads it: what was indexed for the request before, unless something has changed.
    pub fn known(&self) -> Arc<Known> {
        let inventory = self.inventory();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if *known.inventory() != inventory {
            *known = Arc::new(Known::new(inventory));
        }
        Arc::clone(&known)
    }

    /// The guests among these targets, with what is known of their agents.
    pub fn guest_rows(&self, inventory: &Inventory, targets: &[Target]) -> Vec<GuestRow> {
        let guests = targets.iter().filter_map(|target| inventory.guest_of(target));
        guests.map(|guest| self.guest_row(inventory, guest)).collect()
    }

    fn guest_row(&self, inventory: &Inventory, guest: &Guest) -> GuestRow {
        let agent = self.roster.of_target(&guest.target());
        let hold = agent.as_ref().and_then(|agent| agent.record.hold.as_ref());
        let (why, mend) = match hold {
            Some(hold) => (Some(hold.to_string()), Some(hold.kind.help(&guest.target()))),
            None => lack(inventory, guest),
        };
        GuestRow {
            route: guest.agent.as_ref().map_or_else(String::new, |_| "direct".to_owned()),
            last_seen: agent.as_ref().and_then(ago),
            guest: guest.clone(),
            why,
            help: mend,
        }
    }

    /// All nodes.
    pub fn node_rows(&self, inventory: &Inventory) -> Vec<NodeRow> {
        let row = |node: &crate::model::inventory::Node| {
            let guests: Vec<&Guest> =
                inventory.guests.iter().filter(|guest| guest.node == node.name && !guest.template).collect();
            let agent = self.roster.of_target(&Target::node(node.name.clone()));
            NodeRow {
                guests: guests.len(),
                running: guests.iter().filter(|guest| guest.running()).count(),
                last_seen: agent.as_ref().and_then(ago),
                help: node.pve_agent.is_none().then(|| format!("remotectl deploy node/{}", node.name)),
                node: node.clone(),
            }
        };
        inventory.nodes.iter().map(row).collect()
    }

    /// All agents.
    pub fn agent_rows(&self, inventory: &Inventory) -> Vec<AgentRow> {
        let now = clock::unix_seconds();
        let row = |agent: Agent| AgentRow {
            name: match &agent.record.target.what {
                crate::model::target::What::Host(name) => name.clone(),
                _ => inventory.name_of(&agent.record.target).to_owned(),
            },
            last_seen: ago(&agent),
            status: agent.status(now).to_owned(),
            why: agent.record.hold.as_ref().map(|hold| hold.why.clone()),
            help: agent.record.hold.as_ref().map(|hold| hold.kind.help(&agent.record.target)),
            id: agent.record.id,
            target: agent.record.target,
            role: agent.record.role,
            version: agent.record.version,
            joined: agent.record.joined,
        };
        self.roster.all().into_iter().map(row).collect()
    }

    /// The pve-agent that is to do something with a target: its node's own, else any of the cluster that answers.
    pub fn pve_agent_for(&self, inventory: &Inventory, target: &Target) -> Option<Agent> {
        let now = clock::unix_seconds();
        let node = target.node_name().or_else(|| inventory.guest_of(target).map(|guest| guest.node.as_str()));
        let own = node.and_then(|node| self.roster.of_target(&Target::node(node)));
        let is_pve = |agent: &Agent| agent.record.role == AgentRole::PveAgent.as_str() && agent.online(now);
        own.filter(is_pve).or_else(|| self.roster.all().into_iter().find(is_pve))
    }
}

/// What an agent tells is nearer to the truth than what Proxmox tells of a guest from outside.
fn fill(guest: &mut Guest, agent: &Agent, now: i64) {
    guest.agent = Some(info(agent, now));
    let Some(facts) = &agent.record.facts else { return };
    if !facts.os.id.is_empty() {
        guest.os = facts.os.clone();
    }
    guest.services.clone_from(&facts.services);
    if !facts.addresses.is_empty() {
        guest.addresses.clone_from(&facts.addresses);
    }
}

fn info(agent: &Agent, now: i64) -> AgentInfo {
    AgentInfo { version: agent.record.version.clone(), status: agent.status(now).to_owned() }
}

fn ago(agent: &Agent) -> Option<u64> {
    (agent.last_seen > 0).then(|| u64::try_from(clock::unix_seconds() - agent.last_seen).unwrap_or_default())
}

/// Why a guest has no agent that answers, and the command that would mend it.
fn lack(inventory: &Inventory, guest: &Guest) -> (Option<String>, Option<String>) {
    let target = guest.target();
    let deploy = Some(format!("remotectl deploy {target}"));
    let on_node = inventory.node(&guest.node).is_some_and(|node| node.pve_agent.is_some());
    match &guest.agent {
        Some(agent) if agent.online() => (None, None),
        Some(_) => (Some("does not answer".to_owned()), deploy),
        None if guest.template => (Some("template".to_owned()), None),
        None if !guest.os.takes_agent() => (Some(format!("no agent for {} yet", guest.os.label())), None),
        None if guest.status == "stopped" => {
            (Some("stopped".to_owned()), Some(format!("remotectl run guest.start {target}")))
        }
        None if !on_node => {
            (Some(format!("no pve-agent on {}", guest.node)), Some(format!("remotectl deploy node/{}", guest.node)))
        }
        None if guest.kind == GuestKind::Vm && guest.guest_agent == Some(false) => {
            (Some("no guest agent answers".to_owned()), Some(format!("qm set {} --agent 1", guest.vmid)))
        }
        None => (None, deploy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_changed_something_is_not_contradicted_by_those_who_looked_before() {
        let homelab: Inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap();
        let mut moved = homelab.clone();
        moved.guests.iter_mut().find(|guest| guest.vmid == 118).unwrap().node = "pve2".into();
        let overview = Overview::new(vec![("a".into(), homelab.clone()), ("b".into(), homelab.clone())]);
        let node = || overview.latest().guest(118).unwrap().node.clone();
        overview.hear("a", &moved, 100).unwrap();
        overview.acted("a", 100);
        overview.hear("b", &homelab, 101).unwrap();
        assert_eq!(node(), "pve2", "b looked before it");
        overview.hear("b", &homelab, 101 + BEHIND).unwrap();
        assert_eq!(node(), homelab.guest(118).unwrap().node, "by now it knows");
        overview.acted("stranger", 200);
        overview.hear("a", &moved, 201).unwrap();
        assert_eq!(node(), "pve2");
    }

    #[test]
    fn what_is_lacking_comes_with_the_command_that_mends_it() {
        let homelab: Inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap();
        let said = |vmid: u32| {
            let (why, help) = lack(&homelab, homelab.guest(vmid).unwrap());
            (why.unwrap_or_default(), help.unwrap_or_default())
        };
        let own = |why: &str, help: &str| (why.to_owned(), help.to_owned());
        assert_eq!(said(151), own("", "remotectl deploy ct/151"));
        assert_eq!(said(102), own("no pve-agent on pve2", "remotectl deploy node/pve2"));
        assert_eq!(said(121), own("stopped", "remotectl run guest.start ct/121"));
        assert_eq!(said(230), own("no guest agent answers", "qm set 230 --agent 1"));
        assert_eq!(said(210), own("no agent for Windows 2022 yet", ""));
        assert_eq!(said(900), own("template", ""));
    }
}
