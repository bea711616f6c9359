//! Agents taken out of guests, against a fake hub: who is told, who is named, and with which command.

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
        serde_json::from_str(include_str!("../../../../tests/fixtures/homelab.json")).unwrap();
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
    let results =
        vec![result(good.clone(), "succeeded", "removed, nothing left"), result(bad.clone(), "failed", "no answer")];
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
        [("agent ct/121 guest", State::Left), ("agent ct/118 guest", State::Done), ("agent ct/110 guest", State::Left)]
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
    let guest = |vmid: u32, status: &str, node: &str| json!({"vmid": vmid, "kind": "ct", "name": "x", "node": node, "status": status});
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
            ("node/pve2", "-"),
            ("ct/101 x", "-"),
            ("ct/105 x", "it is stopped"),
            ("ct/103 x", "no pve-agent answers on pve2"),
            ("ct/109 x", "there is no such guest any more")
        ]
    );
    assert_eq!(known[0].by_hand(), "on pve2: remotectl pve-agent uninstall --purge");
}
