//! Agents that are known, and want what is not theirs; and those that want to become known.

use super::common::{Agent, Hub, wait_until};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use remotectl::{
    link::{
        PROTOCOL,
        runtime::LinkError,
        wire::{AgentRole, PollRequest, ResultRequest, Told},
    },
    model::{Outcome, messages::AgentRow},
};
use serde_json::json;
use std::{
    thread,
    time::{Duration, Instant},
};

#[test]
fn an_agent_tells_nothing_of_anothers_command() {
    let hub = Hub::start();
    let (one, two) = (Agent::join(&hub, AgentRole::Agent, "host/one"), Agent::join(&hub, AgentRole::Agent, "host/two"));
    hub.wait_online(&one.target);
    hub.wait_online(&two.target);
    let held = one.hold();
    hub.begin(&hub.plan("exec.run", "host/one", &[("command", "/bin/true")]));
    wait_until("the command is under way", || one.commands().len() == 1);
    let command = one.commands().remove(0);
    let forged = ResultRequest { protocol: PROTOCOL, command: command.clone(), outcome: Outcome::success("forged") };
    let refused = two.link().result(&forged).unwrap_err();
    assert!(matches!(refused, LinkError::Refused { status: 404, .. }), "{refused:?}");
    // Output is telemetry: what does not belong to the teller is dropped, whatever is answered.
    let output = Told::Output { command, offset: 0, data: BASE64.encode("forged") };
    let told = two.link().tell(output);
    assert!(hub.history().iter().all(|plan| !plan.state.terminal()), "{told:?}");
    drop(held);
    wait_until("the plan has ended", || hub.history()[0].state.terminal());
    let shown = serde_json::to_string(&hub.history()[0]).unwrap();
    assert!(shown.contains("recorded") && !shown.contains("forged"), "{shown}");
}

/// Answers get lost, and what they answered is sent again; whatever is said the second time, the first counts.
#[test]
fn a_result_that_comes_twice_is_stored_once() {
    let hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
    let command = agent.commands().remove(0);
    let link = agent.link();
    for outcome in [Outcome::failure("it failed after all"), Outcome::success("recorded"), Outcome::rejected("no")] {
        link.result(&ResultRequest { protocol: PROTOCOL, command: command.clone(), outcome }).expect("acknowledged");
    }
    let shown = serde_json::to_string(&hub.history()[0]).unwrap();
    assert!(shown.contains("recorded") && !shown.contains("after all"), "{shown}");
    assert!(hub.history()[0].state.terminal() && agent.performed().len() == 1);
}

#[test]
fn of_a_hundred_joins_at_once_one_wins() {
    let hub = Hub::start();
    let string = hub.join_string("agent");
    let joined = |n| Agent::join_with(&string, AgentRole::Agent, &format!("host/n{n}"));
    // The hub takes 32 unauthenticated connections from an address: more at once are turned away at the door.
    let joins: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..100).map(|n| scope.spawn(move || joined(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let won = joins.iter().filter(|joined| joined.is_ok()).count();
    let agents: Vec<AgentRow> = hub.get("/api/v1/agents").unwrap();
    assert_eq!((won, agents.len()), (1, 1));
}

/// An agent that is locked while its poll is held and a command of it is under way.
#[test]
fn a_locked_agent_is_cut_off_and_told_nothing() {
    let hub = Hub::start();
    let (agent, other) =
        (Agent::join(&hub, AgentRole::Agent, "host/box"), Agent::join(&hub, AgentRole::Agent, "host/other"));
    hub.wait_online(&agent.target);
    hub.wait_online(&other.target);
    // A poll of its own, which the hub holds.
    let (link, begun) = (agent.link(), Instant::now());
    let polling = thread::spawn(move || link.poll(&poll(0)).map(|reply| reply.commands.len()));
    let locked: AgentRow = hub.post("/api/v1/agents/lock", &json!({"target": "host/box", "why": "odd"})).unwrap();
    assert_eq!((locked.status.as_str(), locked.why.as_deref()), ("locked", Some("odd")));
    assert_eq!(locked.help.as_deref(), Some("remotectl agents unlock host/box"));
    let cut = polling.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "cut after {:?}", begun.elapsed());
    assert!(matches!(cut, Ok(0) | Err(LinkError::Refused { status: 403, .. })), "{cut:?}");
    let refused = agent.link().poll(&poll(0)).unwrap_err();
    assert!(
        matches!(&refused, LinkError::Refused { status: 403, why } if why == "this agent is locked: odd"),
        "{refused:?}"
    );
    let told = agent.link().tell(Told::Progress { command: "x".into(), line: "y".into() }).unwrap_err();
    assert!(matches!(told, LinkError::Refused { status: 403, .. }), "{told:?}");
    assert!(agent.join_again(&hub.join_string("agent")).unwrap_err().contains("this agent is locked"));

    let events = hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
    let said = serde_json::to_string(&events).unwrap();
    assert!(said.contains("the agent of host/box is locked: odd") && agent.performed().is_empty(), "{said}");
    hub.run("exec.run", "host/other", &[("command", "/bin/true")]).unwrap();
    assert_eq!(other.performed().len(), 1, "the other one is not concerned");

    let _: AgentRow = hub.post("/api/v1/agents/unlock", &json!({"target": "host/box"})).unwrap();
    assert_eq!(agent.link().poll(&poll(0)).map(|reply| reply.commands.len()).unwrap(), 0);
}

/// A lock that outlives the hub, and one that somebody has taken out of the database.
#[test]
fn a_lock_is_on_record_and_sealed() {
    let mut hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    let _: AgentRow = hub.post("/api/v1/agents/lock", &json!({"target": "host/box"})).unwrap();
    hub.restart();
    let refused = agent.link().poll(&poll(0)).unwrap_err();
    assert!(matches!(refused, LinkError::Refused { status: 403, .. }), "{refused:?}");
    hub.restart_after(|database| assert_eq!(database.execute("UPDATE agents SET hold = NULL", []).unwrap(), 1));
    let refused = agent.link().poll(&poll(0)).unwrap_err();
    assert!(matches!(refused, LinkError::Refused { status: 401, .. }), "{refused:?}");
    assert!(hub.log().contains("did not join here"));
}

#[test]
fn an_evicted_agent_needs_another_key() {
    let mut hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    for typed in [json!({"target": "host/box"}), json!({"target": "host/box", "typed": "box"})] {
        let refused = hub.post::<AgentRow>("/api/v1/agents/evict", &typed).unwrap_err();
        assert_eq!(refused.help.as_deref(), Some("remotectl agents evict host/box --confirm host/box"));
    }
    let _: AgentRow = hub.post("/api/v1/agents/evict", &json!({"target": "host/box", "typed": "host/box"})).unwrap();
    let refused = agent.link().poll(&poll(0)).unwrap_err();
    assert!(matches!(refused, LinkError::Refused { status: 401, .. }), "{refused:?}");
    hub.restart();
    let refused = agent.join_again(&hub.join_string("agent")).unwrap_err();
    assert!(refused.contains("was evicted"), "{refused}");
    let anew = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&anew.target);
}

fn poll(high_water: u64) -> PollRequest {
    PollRequest {
        protocol: PROTOCOL,
        version: "test".to_owned(),
        high_water,
        kept: 0,
        process: String::new(),
        running: Vec::new(),
        capabilities: Vec::new(),
        trial: false,
        epoch: 0,
    }
}
