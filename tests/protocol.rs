//! Hub and agents over the real protocol: real TLS, real JWTs, real SQLite, in one process.

mod common;

use common::{Agent, Hub, wait_until};
use remotectl::{
    link::wire::{AgentRole, Told},
    model::{
        Answer, Exit, Failure, Inventory, Target,
        messages::{Event, GuestRow},
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

#[test]
fn an_agent_joins_by_a_string_and_does_what_was_planned() {
    let hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    let events = hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
    let Some(Event::Ended { answer: Answer::Plan(view), .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(view.results.len(), 1);
    assert_eq!(view.results[0].state, "succeeded", "{:?}", view.results[0]);
    assert_eq!(agent.performed(), ["exec.run host/box"]);
}

#[test]
fn a_join_string_counts_once() {
    let hub = Hub::start();
    let string = hub.join_string("agent");
    Agent::join_with(&string, AgentRole::Agent, "host/one").unwrap();
    let error = Agent::join_with(&string, AgentRole::Agent, "host/two").map(|_| ()).unwrap_err();
    assert!(error.contains("the join token has been used already"), "{error}");
    let error = Agent::join_with(&hub.join_string("agent"), AgentRole::PveAgent, "node/pve1").map(|_| ()).unwrap_err();
    assert!(error.contains("the join token is for a agent"), "{error}");
}

#[test]
fn a_hub_with_another_ca_gets_no_token() {
    let (hub, other) = (Hub::start(), Hub::start());
    let mut pointer: remotectl::link::join::Pointer = hub.join_string("agent").parse().unwrap();
    pointer.addresses = vec![other.address.clone()];
    let error = Agent::join_with(&pointer.to_string(), AgentRole::Agent, "host/one").map(|_| ()).unwrap_err();
    assert!(error.contains("fingerprint"), "{error}");
    assert_eq!(other.requests_seen(), 0, "not a byte of the request was sent");
}

#[test]
fn what_needs_an_approval_does_not_run_without_one() {
    let hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    let plan = hub.plan("exec.run", "host/box", &[("command", "touch /nowhere/x")]);
    assert!(plan.confirm);
    let failure: Failure = hub.execute(&plan).unwrap_err();
    assert_eq!(
        (failure.exit, failure.help.as_deref()),
        (Exit::Denied, Some(&*format!("remotectl approve {}", plan.id)))
    );
    assert!(agent.performed().is_empty());
    hub.approve(&plan).unwrap();
    hub.execute(&plan).unwrap();
    assert_eq!(agent.performed(), ["exec.run host/box"]);
    assert_eq!(hub.execute(&plan).unwrap_err().message, format!("plan {} is done", plan.id));
}

/// The homelab, with ct/121 in this state.
fn homelab(state: &str) -> Told {
    let mut inventory: Inventory = serde_json::from_str(include_str!("fixtures/homelab.json")).expect("an inventory");
    let guest = inventory.guests.iter_mut().find(|guest| guest.vmid == 121).expect("it is there");
    state.clone_into(&mut guest.status);
    Told::Inventory { inventory: Box::new(inventory) }
}

#[test]
fn whoever_reads_a_result_is_answered_by_what_came_of_it() {
    let hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::PveAgent, "node/pve1");
    hub.wait_online(&agent.target);
    agent.link().tell(homelab("stopped")).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    agent.tell(move || {
        count.fetch_add(1, Ordering::SeqCst);
        vec![homelab("running")]
    });
    let plan = hub.plan("guest.start", "ct/121", &[]);
    assert!(plan.steps[0].undo.is_some(), "it is stopped: there will be something to undo");
    hub.approve(&plan).ok();
    hub.execute(&plan).unwrap();
    let rows: Vec<GuestRow> = hub.get("/api/v1/guests?selector=ct/121").unwrap();
    assert_eq!((rows[0].guest.status.as_str(), asked.load(Ordering::SeqCst)), ("running", 1));
    // The plan after it knows that it runs: whoever stops it can start it again.
    assert_eq!(hub.plan("guest.start", "ct/121", &[]).steps[0].undo, None, "it runs already");
}

#[test]
fn results_survive_the_hubs_restart_and_nothing_runs_twice() {
    let mut hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
    hub.restart();
    hub.wait_online(&Target { cluster: None, what: agent.target.what.clone() });
    assert_eq!(hub.history().len(), 1);
    hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
    assert_eq!(agent.performed().len(), 2);
}

#[test]
fn strangers_get_nothing_and_change_nothing() {
    let hub = Hub::start();
    for (method, path) in [
        ("GET", "/api/v1/hub"),
        ("POST", "/api/v1/plans"),
        ("GET", "/api/v1/plans"),
        ("GET", "/api/v1/plans/ABCD"),
        ("POST", "/api/v1/plans/ABCD/approve"),
        ("POST", "/api/v1/plans/ABCD/execute"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/inventory"),
        ("GET", "/api/v1/agents"),
        ("POST", "/api/v1/join-tokens"),
        ("GET", "/api/v1/operators"),
        ("POST", "/api/v1/operators"),
        ("DELETE", "/api/v1/operators/root"),
        ("POST", "/agent/v1/poll"),
        ("POST", "/agent/v1/result"),
        ("POST", "/agent/v1/output"),
        ("GET", "/agent/v1/artifact/0000000000000000000000000000000000000000000000000000000000000000"),
    ] {
        // More of them, and every route there is: tests/hostile/routes.rs.
        for token in [None, Some("Bearer a.b.c")] {
            let status = hub.over_tls(method, path, token);
            assert_eq!(status, 401, "{method} {path} with {token:?}");
        }
    }
    for path in [
        "/",
        "/api/v1",
        "/API/v1/hub",
        "/api/v1/hub/",
        "/agent/v1/poll/",
        "/api/v1/%2e%2e/hub",
        "/agent/v1/artifact/../x",
    ] {
        assert_eq!(hub.over_tls("GET", path, None), 404, "{path}");
    }
    assert!(hub.history().is_empty());
}

#[test]
fn an_attestation_counts_only_inside_a_running_deployment() {
    let hub = Hub::start();
    let node = Agent::join(&hub, AgentRole::PveAgent, "node/pve1");
    hub.wait_online(&node.target);
    let error = node.attest("ct/101", "no-such-command", "no-nonce").unwrap_err();
    assert!(error.contains("no deployment of ct/101 is running there with that nonce"), "{error}");
    let guest = Agent::join(&hub, AgentRole::Agent, "host/box");
    let error = guest.attest("ct/101", "no-such-command", "no-nonce").unwrap_err();
    assert!(error.contains("no deployment"), "{error}");
}

#[test]
fn what_was_under_way_when_the_hub_was_killed_ends_once() {
    let mut hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    let plan = hub.plan("exec.run", "host/box", &[("command", "/bin/true")]);
    let held = agent.hold();
    hub.begin(&plan);
    wait_until("the command is under way", || agent.performed().len() == 1);
    hub.restart();
    drop(held);
    wait_until("the plan has ended", || hub.history()[0].state.terminal());
    let Answer::Plan(view) = &hub.history()[0].answer else { panic!("no plan") };
    assert_eq!((view.results.len(), view.results[0].state.as_str()), (1, "succeeded"));
    assert_eq!(agent.performed().len(), 1, "it was started once");
}

#[test]
fn an_agent_that_joins_again_goes_on_where_its_journal_stands() {
    let hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
    agent.join_again(&hub.join_string("agent")).unwrap();
    hub.wait_online(&agent.target);
    let events = hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
    let Some(Event::Ended { answer: Answer::Plan(view), .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(view.results[0].state, "succeeded", "{:?}", view.results[0]);
    assert_eq!(agent.performed().len(), 2);
}

#[test]
fn a_join_string_without_a_target_takes_nobodys_place() {
    let hub = Hub::start();
    let _first = Agent::join(&hub, AgentRole::Agent, "host/box");
    let refused =
        |target| Agent::join_with(&hub.join_string("agent"), AgentRole::Agent, target).map(|_| ()).unwrap_err();
    assert!(refused("host/box").contains("host/box has an agent already"), "{}", refused("host/box"));
    assert!(refused("ct/101").contains("is not for ct/101"), "{}", refused("ct/101"));
    assert!(refused("node/pve1").contains("is not for node/pve1"), "{}", refused("node/pve1"));
}

#[test]
fn the_client_finds_every_listing_where_the_hub_serves_it() {
    let hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
    for (args, has) in [
        (["history", "--json"], "exec.run"),
        (["agents", "--json"], "host/box"),
        (["guests", "--json"], "[]"),
        (["nodes", "--json"], "[]"),
    ] {
        let output = hub.client(&args);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(has), "{args:?}: {output:?}");
    }
}
