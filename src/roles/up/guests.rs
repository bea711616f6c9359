//! Agents that a hub knows, and taking them out of their guests by a plan of the hub's own: on record, weighed and
//! approved like any other. Who does not answer is named, with the command to run there.

use super::step::{State, Step};
use crate::{
    model::{
        Answer, Failure, Target,
        answer::{PlanView, TargetResult},
        inventory::AgentInfo,
        lint::{Severity, blocks},
        messages::{AgentRow, ApproveRequest, Event, ExecuteRequest, GuestRow, NodeRow, PlanRequest, RunRequest},
        target::What,
        values::GuestKind,
    },
    roles::client::Hub,
    store::AgentRecord,
};
use std::collections::BTreeMap;

/// An agent, and whether it can be taken away from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it looks after.
    pub target: Target,
    /// `ct/101 web-server`, `node/pve2`.
    pub label: String,
    /// `agent` or `pve-agent`.
    pub role: String,
    /// The node that the guest is on; empty where unknown.
    pub node: String,
    /// Why it can't, where it can't.
    pub why_not: Option<String>,
}

impl Known {
    /// What takes it away by hand.
    pub fn by_hand(&self) -> String {
        let uninstall = format!("remotectl {} uninstall --purge", self.role);
        match &self.target.what {
            What::Guest(GuestKind::Ct, vmid) => {
                let on = if self.node.is_empty() { String::new() } else { format!("on {}, ", self.node) };
                format!("{on}when it runs: pct exec {vmid} -- /usr/local/bin/{uninstall}")
            }
            What::Guest(GuestKind::Vm, _) => format!("in it: {uninstall}"),
            What::Node(name) | What::Host(name) => format!("on {name}: {uninstall}"),
            What::Cluster => uninstall,
        }
    }

    fn left(&self, why: &str) -> Step {
        Step::new(format!("{} {}", self.role, self.label), State::Left, why).help(self.by_hand())
    }
}

/// The agents of a hub that answers, but this node's own pve-agent.
pub fn known(hub: &Hub, own: &str) -> Result<Vec<Known>, Failure> {
    let (agents, guests, nodes) = (hub.agents("")?, hub.guests("")?, hub.nodes("")?);
    let others = agents.into_iter().filter(|row| !is_own(&row.target, &row.role, own));
    Ok(others.map(|row| of_row(row, &guests, &nodes)).collect())
}

/// The agents on record of a hub that does not answer.
pub fn on_record(agents: Vec<AgentRecord>, own: &str) -> Vec<Known> {
    let others = agents.into_iter().filter(|record| !is_own(&record.target, &record.role, own));
    let known = |AgentRecord { target, role, .. }: AgentRecord| Known {
        label: target.to_string(),
        target,
        role,
        node: String::new(),
        why_not: Some("the hub does not answer".to_owned()),
    };
    others.map(known).collect()
}

fn is_own(target: &Target, role: &str, own: &str) -> bool {
    role == "pve-agent" && target.node_name() == Some(own)
}

fn of_row(row: AgentRow, guests: &[GuestRow], nodes: &[NodeRow]) -> Known {
    let AgentRow { target, name, role, .. } = row;
    let guest = guests.iter().map(|row| &row.guest).find(|guest| guest.target() == target);
    let answers = |name: &str| {
        let node = nodes.iter().find(|row| row.node.name == name);
        node.is_some_and(|row| row.node.pve_agent.as_ref().is_some_and(AgentInfo::online))
    };
    let why_not = match guest {
        None if target.vmid().is_some() => Some("there is no such guest any more".to_owned()),
        // From beside: by this node's own pve-agent, mostly.
        None if role == "pve-agent"
            && nodes.iter().any(|row| !is_own(&target, &role, &row.node.name) && answers(&row.node.name)) =>
        {
            None
        }
        None => Some("the hub can't take it away".to_owned()),
        Some(guest) if guest.status == "stopped" => Some("it is stopped".to_owned()),
        Some(guest) if !answers(&guest.node) => Some(format!("no pve-agent answers on {}", guest.node)),
        Some(_) => None,
    };
    let label =
        if target.vmid().is_none() || name.is_empty() { target.to_string() } else { format!("{target} {name}") };
    Known { label, role, node: guest.map(|guest| guest.node.clone()).unwrap_or_default(), why_not, target }
}

/// Takes the agents away that can be; a step each, the others named.
pub fn remove(hub: &Hub, agents: &[Known], say: &mut dyn FnMut(Step)) {
    let mut open: BTreeMap<Target, &Known> = BTreeMap::new();
    for agent in agents {
        match &agent.why_not {
            Some(why) => say(agent.left(why)),
            None => drop(open.insert(agent.target.clone(), agent)),
        }
    }
    let ended = carry_out(hub, &mut open, say);
    let why = ended.err().map_or_else(|| "its end was not told".to_owned(), |failure| failure.message);
    for agent in open.into_values() {
        say(agent.left(&why));
    }
}

fn carry_out(hub: &Hub, open: &mut BTreeMap<Target, &Known>, say: &mut dyn FnMut(Step)) -> Result<(), Failure> {
    let Some(view) = plan(hub, open, say)? else { return Ok(()) };
    if view.confirm {
        hub.approve(&view.id, &ApproveRequest { digest: view.digest.clone(), typed: None })?;
    }
    let mut take = |result: &TargetResult, open: &mut BTreeMap<Target, &Known>| {
        if let Some(agent) = open.remove(&result.target) {
            say(step_of(agent, result));
        }
    };
    for event in hub.execute(&view.id, &ExecuteRequest { digest: view.digest.clone() })? {
        match event? {
            Event::Result { plan, result } if plan == view.id => take(&result, open),
            Event::Ended { plan, answer: Answer::Plan(ended), .. } if plan == view.id => {
                ended.results.iter().for_each(|result| take(result, open));
                return Ok(());
            }
            _ => {}
        }
    }
    Ok(())
}

fn step_of(agent: &Known, result: &TargetResult) -> Step {
    let what = format!("{} {}", agent.role, agent.label);
    let step = if result.succeeded() {
        Step::new(what, State::Done, &*result.summary)
    } else {
        Step::new(what, State::Left, &*result.summary).help(agent.by_hand())
    };
    Step { took_ms: result.took_ms, ..step }
}

/// A plan that may run: what the linter holds against single targets takes those out of it, not the others.
fn plan(
    hub: &Hub,
    open: &mut BTreeMap<Target, &Known>,
    say: &mut dyn FnMut(Step),
) -> Result<Option<PlanView>, Failure> {
    while !open.is_empty() {
        let selector = open.keys().map(Target::to_string).collect::<Vec<_>>().join(",");
        let run = RunRequest { op: "agent.remove".to_owned(), selector, args: serde_json::Map::new() };
        let view = match hub.plan(&PlanRequest { run: Some(run), ..PlanRequest::default() })? {
            Answer::Plan(view) if !blocks(&view.findings) => return Ok(Some(view)),
            Answer::Plan(view) => view,
            Answer::Clarify { question, .. } => return Err(Failure::new(question)),
            Answer::Refuse { reason } => return Err(Failure::new(reason)),
        };
        let before = open.len();
        for finding in view.findings.iter().filter(|finding| finding.severity == Severity::Error) {
            if let Some(agent) = finding.target.as_ref().and_then(|target| open.remove(target)) {
                say(agent.left(&finding.message));
            }
        }
        if open.len() == before {
            return Err(Failure::new("the hub's plan can't be carried out"));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
