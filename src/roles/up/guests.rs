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
mod tests {
    use super::*;
    use crate::{
        engine::planning::{PlanMeta, make_plan},
        llm::Proposal,
        model::{Inventory, Op, Policy, plan::Proposed, state::PlanState},
        roles::client::fake::FakeHub,
    };
    use serde_json::json;

    fn agent(target: Target) -> Known {
        let label = format!("{target} guest");
        Known { target, label, role: "agent".into(), node: "pve1".into(), why_not: None }
    }

    fn homelab() -> Inventory {
        let mut inventory: Inventory =
            serde_json::from_str(include_str!("../../../tests/fixtures/homelab.json")).unwrap();
        for node in &mut inventory.nodes {
            node.pve_agent = Some(AgentInfo { version: "1".into(), status: "online".into() });
        }
        inventory
    }

    fn view(targets: &[Target]) -> PlanView {
        let meta = PlanMeta { id: "7Q2K".into(), text: String::new(), planner: "run".into(), created: 0 };
        let steps = vec![Proposed { op: Op::AgentRemove {}, targets: targets.to_vec() }];
        let proposal = Proposal::Plan { summary: "x".into(), steps };
        PlanView::of(&make_plan(proposal, meta, &homelab(), &Policy::default()).unwrap())
    }

    fn result(target: Target, state: &str, summary: &str) -> TargetResult {
        TargetResult {
            step: 0,
            target,
            state: state.into(),
            summary: summary.into(),
            help: None,
            data: serde_json::Value::Null,
            took_ms: 900,
        }
    }

    fn removed(hub: &FakeHub, agents: &[Known]) -> Vec<Step> {
        let mut steps = Vec::new();
        remove(&hub.hub(), agents, &mut |step| steps.push(step));
        steps
    }

    #[test]
    fn each_agent_is_told_and_what_fails_is_named_with_its_command() {
        let (good, bad) = (Target::ct(118), Target::ct(110));
        let view = view(&[good.clone(), bad.clone()]);
        let results = vec![
            result(good.clone(), "succeeded", "removed, nothing left"),
            result(bad.clone(), "failed", "no answer"),
        ];
        let mut events: Vec<Event> =
            results.iter().map(|result| Event::Result { plan: view.id.clone(), result: result.clone() }).collect();
        let answer = Answer::Plan(PlanView { results, ..view.clone() });
        events.push(Event::Ended { plan: view.id.clone(), state: PlanState::PartlyFailed, answer });
        let hub = FakeHub::default()
            .answering("POST /api/v1/plans/7Q2K/approve", Ok(serde_json::Value::Null))
            .answering("POST /api/v1/plans", Ok(serde_json::to_value(Answer::Plan(view)).unwrap()))
            .streaming(&events);
        let stopped = Known { why_not: Some("it is stopped".into()), ..agent(Target::ct(121)) };
        let steps = removed(&hub, &[agent(good), agent(bad), stopped]);
        let told: Vec<(&str, State)> = steps.iter().map(|step| (step.what.as_str(), step.state)).collect();
        assert_eq!(
            told,
            [
                ("agent ct/121 guest", State::Left),
                ("agent ct/118 guest", State::Done),
                ("agent ct/110 guest", State::Left)
            ]
        );
        assert_eq!(
            steps[2].help.as_deref(),
            Some("on pve1, when it runs: pct exec 110 -- /usr/local/bin/remotectl agent uninstall --purge")
        );
    }

    #[test]
    fn what_the_linter_holds_against_one_guest_leaves_the_others() {
        let refused = FakeHub::default()
            .answering("POST /api/v1/plans", Ok(serde_json::to_value(Answer::Plan(view(&[Target::ct(999)]))).unwrap()));
        let steps = removed(&refused, &[agent(Target::ct(999))]);
        assert_eq!((steps.len(), steps[0].state), (1, State::Left));
        assert!(steps[0].told.contains("there is no ct/999"), "{steps:?}");
    }

    #[test]
    fn a_hub_that_goes_away_leaves_every_agent_named() {
        let hub = FakeHub::default();
        let steps = removed(&hub, &[agent(Target::ct(118)), agent(Target::vm(201))]);
        assert!(steps.iter().all(|step| step.state == State::Left && step.help.is_some()), "{steps:?}");
        assert_eq!(steps.len(), 2);
    }

    #[test]
    fn who_can_be_reached_is_known_before() {
        let row = |target: Target, role: &str| json!({"id": "a", "target": target, "name": "x", "role": role, "version": "1", "status": "online", "joined": "token"});
        let guest = |vmid: u32, status: &str, node: &str| json!({"vmid": vmid, "type": "ct", "name": "x", "node": node, "status": status});
        let online = json!({"version": "1", "status": "online"});
        let hub = FakeHub::default()
            .answering(
                "GET /api/v1/agents",
                Ok(json!([
                    row(Target::node("pve1"), "pve-agent"),
                    row(Target::node("pve2"), "pve-agent"),
                    row(Target::ct(101), "agent"),
                    row(Target::ct(105), "agent"),
                    row(Target::ct(103), "agent"),
                    row(Target::ct(109), "agent")
                ])),
            )
            .answering(
                "GET /api/v1/guests",
                Ok(json!([guest(101, "running", "pve1"), guest(105, "stopped", "pve1"), guest(103, "running", "pve2")])),
            )
            .answering(
                "GET /api/v1/nodes",
                Ok(json!([
                    {"name": "pve1", "status": "online", "cores": 1, "memory_mib": 1, "pve_agent": online, "guests": 2, "running": 1},
                    {"name": "pve2", "status": "online", "cores": 1, "memory_mib": 1, "guests": 1, "running": 1}
                ])),
            );
        let known = known(&hub.hub(), "pve1").unwrap();
        let told: Vec<(&str, &str)> =
            known.iter().map(|agent| (agent.label.as_str(), agent.why_not.as_deref().unwrap_or("-"))).collect();
        assert_eq!(
            told,
            [
                ("node/pve2", "the hub can't take it away"),
                ("ct/101 x", "-"),
                ("ct/105 x", "it is stopped"),
                ("ct/103 x", "no pve-agent answers on pve2"),
                ("ct/109 x", "there is no such guest any more")
            ]
        );
        assert_eq!(known[0].by_hand(), "on pve2: remotectl pve-agent uninstall --purge");
    }
}
