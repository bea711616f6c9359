//! Agents that are not who they were: clones, and guests that went back in time.

use super::common::{Agent, Hub};
use remotectl::{
    link::{
        PROTOCOL,
        runtime::LinkError,
        wire::{AgentRole, PollRequest, Told},
    },
    model::{
        Inventory,
        messages::{AgentRow, JoinToken},
    },
};
use serde_json::json;

fn poll(process: &str, high_water: u64, kept: u64) -> PollRequest {
    PollRequest {
        protocol: PROTOCOL,
        version: "test".to_owned(),
        high_water,
        kept,
        process: process.to_owned(),
        running: Vec::new(),
        capabilities: Vec::new(),
        trial: false,
        epoch: 0,
    }
}

fn status(polled: Result<remotectl::link::wire::PollReply, LinkError>) -> u16 {
    match polled {
        Ok(_) => 200,
        Err(LinkError::Refused { status, .. }) => status,
        Err(error) => panic!("{error:?}"),
    }
}

fn row(hub: &Hub, target: &str) -> AgentRow {
    let rows: Vec<AgentRow> = hub.get("/api/v1/agents").unwrap();
    rows.into_iter().find(|row| row.target.to_string() == target).unwrap()
}

/// The agent in this process polls by itself; another one with its key does too.
#[test]
fn two_processes_with_one_key_are_quarantined() {
    let hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    let twin = agent.link();
    for (process, answer) in [("one", 200), ("two", 200), ("one", 200), ("two", 200)] {
        // Those of before are answered at once, and told nothing.
        assert_eq!(status(twin.poll(&poll(process, 0, 0))), answer, "{process}");
        if row(&hub, "host/box").status == "quarantined" {
            break;
        }
    }
    super::common::wait_until("it is quarantined", || {
        let _ = twin.poll(&poll("one", 0, 0));
        row(&hub, "host/box").status == "quarantined"
    });
    let row = row(&hub, "host/box");
    assert_eq!(row.why.as_deref(), Some("two processes speak with its key: one is a clone"));
    assert_eq!(row.help.as_deref(), Some("remotectl agents attest host/box"));
    let events = hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
    let said = serde_json::to_string(&events).unwrap();
    assert!(said.contains("the agent of host/box is quarantined") && agent.performed().is_empty(), "{said}");
}

/// A journal that ends before what was kept in it: no crash does that. Only an agent vouched for anew is heard again, and
/// its twin is left behind with the generation before.
#[test]
fn a_journal_that_went_back_is_quarantined_until_it_joins_anew() {
    let mut hub = Hub::start();
    let agent = Agent::admitted(&hub.join_string("agent"), AgentRole::Agent, "host/box").unwrap();
    let link = agent.link();
    assert_eq!(status(link.poll(&poll("one", 9, 7))), 200);
    super::common::wait_until("the mark is on record", || {
        let database = rusqlite::Connection::open(hub.root().join("lib/hub/hub.db")).unwrap();
        database.query_row("SELECT kept FROM agents", [], |row| row.get::<_, i64>(0)).unwrap() == 7
    });
    hub.restart();
    assert_eq!(status(link.poll(&poll("two", 7, 7))), 200, "a power cut takes what only reads");
    link.poll(&poll("three", 6, 6)).ok();
    assert_eq!(status(link.poll(&poll("three", 9, 7))), 403);
    let held = row(&hub, "host/box");
    assert_eq!(held.status, "quarantined");
    assert!(held.why.unwrap().contains("went back in time"));
    let refused = hub.post::<AgentRow>("/api/v1/agents/unlock", &json!({"target": "host/box"})).unwrap_err();
    assert_eq!(refused.help.as_deref(), Some("remotectl agents attest host/box"));

    // A host without a node: an administrator's new join string vouches for it.
    let request = json!({"role": "agent", "target": "host/box"});
    let token: JoinToken = hub.post("/api/v1/join-tokens", &request).unwrap();
    agent.join_again(&token.join_string).unwrap();
    assert_eq!(status(link.poll(&poll("three", 9, 7))), 401, "the generation before is over");
    assert_eq!(status(agent.link_of(2).poll(&poll("four", 6, 6))), 200);
    assert!(row(&hub, "host/box").why.is_none());
    assert_eq!(status(link.poll(&poll("three", 9, 7))), 401, "the twin does not disturb the one that is heard");
    assert!(row(&hub, "host/box").why.is_none());
}

/// What the hypervisor knows of the guest is not what it was when the agent joined.
#[test]
fn the_agent_of_a_guest_whose_vmid_another_one_has_is_quarantined() {
    let hub = Hub::start();
    let node = Agent::join(&hub, AgentRole::PveAgent, "node/pve1");
    hub.wait_online(&node.target);
    let token: JoinToken = hub.post("/api/v1/join-tokens", &json!({"role": "agent", "target": "ct/101"})).unwrap();
    let agent = Agent::join_with(&token.join_string, AgentRole::Agent, "ct/101").unwrap();
    hub.wait_online(&agent.target);
    let tell = |macs: &[&str]| {
        let inventory: Inventory = serde_json::from_value(json!({
            "cluster": "lab",
            "nodes": [{"name": "pve1", "status": "online"}],
            "guests": [{
                "vmid": 101, "kind": "ct", "name": "web", "node": "pve1", "status": "running", "incarnation": {"macs": macs},
            }],
        }))
        .unwrap();
        node.link().tell(Told::Inventory { inventory: Box::new(inventory) }).unwrap();
    };
    tell(&["BC:24:11:00:00:01"]);
    tell(&["BC:24:11:00:00:01", "BC:24:11:00:00:02"]);
    assert_eq!(row(&hub, "ct/101").status, "online", "a network card more makes no other guest of it");
    tell(&["BC:24:11:00:00:09"]);
    let held = row(&hub, "ct/101");
    assert_eq!(held.status, "quarantined");
    assert!(held.why.unwrap().contains("another guest has its vmid now"));
    // What needs no agent goes on; what needs it is refused.
    assert!(
        hub.plan("service.list", "ct/101", &[]).findings.iter().any(|finding| finding.message.contains("quarantined"))
    );
    assert!(
        !hub.plan("guest.status", "ct/101", &[]).findings.iter().any(|finding| finding.message.contains("quarantined"))
    );
    // Attesting it anew is the node's work, by a command of its own.
    hub.begin(&hub.plan("agent.deploy", "ct/101", &[]));
    super::common::wait_until("the node was told", || node.performed().contains(&"attest ct/101".to_owned()));
}

#[test]
fn a_key_of_one_guest_is_not_attested_for_another() {
    let hub = Hub::start();
    let node = Agent::join(&hub, AgentRole::PveAgent, "node/pve1");
    hub.wait_online(&node.target);
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    let refused = node.attest_key(agent.key().public(), "ct/101", "none", "none").unwrap_err();
    assert!(refused.contains("ct/101 is a clone of it"), "{refused}");
    assert_eq!(row(&hub, "host/box").id, agent.key().public().agent_id());
}
