//! Disks without room, and clocks that jump, under a real hub and a real agent.

use super::common::{Agent, Hub, wait_until};
use remotectl::{
    link::{
        PROTOCOL,
        join::Pointer,
        keys::SigningKey,
        runtime::Link,
        wire::{AgentRole, JoinRequest},
    },
    model::{
        Answer,
        answer::PlanView,
        messages::{AgentRow, JoinToken, PlanRecord},
        state::PlanState,
    },
    sys::{clock::Clock, files},
};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

/// No file of the hub may grow over 400 KiB: its database can't either.
const ROOM: u32 = 800;

#[test]
fn a_hub_without_room_says_so_keeps_what_it_has_acknowledged_and_goes_on_when_there_is_some() {
    let mut hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.restart_under(&format!("trap '' XFSZ; ulimit -f {ROOM}"));
    hub.wait_online(&agent.target);
    let held = agent.hold();
    let under_way = approved(&hub, "touch /nowhere/x");
    hub.begin(&under_way);
    wait_until("it is under way", || agent.performed().len() == 1);
    let request = serde_json::json!({"run": {"op": "agent.check", "selector": "host/box", "args": {}}});
    let mut kept = vec![under_way.id.clone()];
    let refused = loop {
        match hub.post::<Answer>("/api/v1/plans", &request) {
            Ok(Answer::Plan(plan)) => kept.push(plan.id),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => break failure,
        }
        assert!(kept.len() < 5000, "there is room for ever");
    };
    assert!(refused.help.clone().unwrap_or_default().contains("free disk space"), "{refused:?}");
    // Smaller things may fit for a while.
    let small = |_: &u32| hub.post::<JoinToken>("/api/v1/join-tokens", &serde_json::json!({"role": "agent"})).is_err();
    assert!((0..5000).any(|number| small(&number)), "there is room for ever");
    // It lives, answers, and is asked in vain again. A result that it can't keep it does not acknowledge.
    assert!(hub.post::<Answer>("/api/v1/plans", &request).is_err());
    assert_eq!(hub.get::<PlanRecord>(&format!("/api/v1/plans/{}", under_way.id)).unwrap().state, PlanState::Running);
    drop(held);

    hub.restart();
    let all: Vec<PlanRecord> = hub.get("/api/v1/plans?limit=1000").unwrap();
    let there: Vec<&str> = all.iter().filter_map(id).collect();
    let lost: Vec<&String> = kept.iter().rev().take(900).filter(|id| !there.contains(&id.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged, and lost: {lost:?}");
    let state = || hub.get::<PlanRecord>(&format!("/api/v1/plans/{}", under_way.id)).unwrap().state;
    wait_until("the result has come after all", || state() == PlanState::Done);
    assert_eq!(agent.performed().len(), 1, "it was started once");
    wait_until("nothing is left untold", || agent.undelivered().is_empty());
}

fn id(record: &PlanRecord) -> Option<&str> {
    if let Answer::Plan(plan) = &record.answer { Some(&plan.id) } else { None }
}

fn approved(hub: &Hub, command: &str) -> PlanView {
    let plan = hub.plan("exec.run", "host/box", &[("command", command)]);
    if plan.confirm {
        hub.approve(&plan).unwrap();
    }
    plan
}

/// A real agent, no file of which may grow over 8 KiB.
struct Narrow(Child);

impl Narrow {
    fn start(hub: &Hub, place: &Path) -> Self {
        let mut pointer: Pointer = hub.join_string("agent").parse().unwrap();
        let token = pointer.token.take();
        for directory in ["etc", "lib/agent"] {
            fs::create_dir_all(place.join(directory)).unwrap();
        }
        let key = Arc::new(SigningKey::load_or_make(&place.join("lib/agent/key")).unwrap());
        let link = Link::new(&pointer, Arc::clone(&key), 1, Clock::new()).unwrap();
        let request = JoinRequest {
            protocol: PROTOCOL,
            public_key: key.public(),
            role: AgentRole::Agent,
            target: "host/box".parse().unwrap(),
            version: "test".to_owned(),
            token,
            attestation: None,
        };
        link.join(&request).unwrap();
        let settings = format!("hub = \"{pointer}\"\n");
        files::write_atomic(&place.join("etc/agent.toml"), settings.as_bytes(), 0o600).unwrap();
        let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" agent run";
        #[allow(clippy::disallowed_methods, reason = "a test starts the program that it tests")]
        let mut agent = Command::new("sh");
        agent.args(["-c", script, env!("CARGO_BIN_EXE_remotectl")]).env("REMOTECTL_ROOT", place);
        Self(agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn an_agent_without_room_refuses_what_it_cant_record_and_does_the_rest() {
    let hub = Hub::start();
    let place = tempfile::tempdir().unwrap();
    let _agent = Narrow::start(&hub, place.path());
    hub.wait_online(&"host/box".parse().unwrap());
    let done = |name: &str| place.path().join(name).exists();
    let run = |name: &str, padding: usize| {
        let command = format!("touch {}; : {}", place.path().join(name).display(), "x".repeat(padding));
        let plan = approved(&hub, &command);
        hub.execute(&plan).unwrap();
        let record: PlanRecord = hub.get(&format!("/api/v1/plans/{}", plan.id)).unwrap();
        let Answer::Plan(view) = record.answer else { panic!("no plan") };
        view.results[0].clone()
    };
    // More than fits between two of its compactions: room is made when there is none.
    for number in 0..20 {
        let name = format!("small-{number}");
        let result = run(&name, 300);
        assert_eq!(result.state, "succeeded", "{result:?}");
        assert!(done(&name));
    }
    let large = run("large", 9000);
    assert_eq!(large.state, "rejected", "{large:?}");
    assert!(large.summary.contains("what is not on record is not started") && !done("large"), "{large:?}");
    assert_eq!(run("after", 10).state, "succeeded");
    assert!(done("after"));
}

/// The hub's own clock jumps a day ahead and back under it: agents are heard again at once, nobody is let in by an approval
/// or a join string of a time that has not come yet, and what is ordered is done.
#[test]
fn a_hub_whose_clock_jumps_goes_on() {
    let mut hub = Hub::start();
    let clock = hub.root().join("clock");
    hub.restart_with_clock(&clock);
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    for (number, shift) in [86_400, -86_400, 0, 3600].into_iter().enumerate() {
        let ahead = hub.plan("exec.run", "host/box", &[("command", "touch /nowhere/x")]);
        hub.approve(&ahead).unwrap();
        let string = hub.join_string("agent");
        files::write_atomic(&clock, format!("{shift}").as_bytes(), 0o644).unwrap();
        let late = hub.execute(&ahead).unwrap_err();
        assert!(late.message.contains("older than 10 minutes"), "{late:?}");
        // Of the second in which the clock was set nothing is believed.
        wait_until("the join string is over", || {
            let refused = Agent::join_with(&string, AgentRole::Agent, "host/late").map(|_| ()).unwrap_err();
            assert!(refused.contains("the join token has expired") || refused.contains("from a clock"), "{refused}");
            refused.contains("the join token has expired")
        });
        let plan = approved(&hub, "touch /nowhere/x");
        // Whatever the hub has to say ends the poll that is held; else it ends by itself within 25 s.
        for what in ["lock", "unlock"] {
            let body = serde_json::json!({"target": "host/box"});
            let _: AgentRow = hub.post(&format!("/api/v1/agents/{what}"), &body).unwrap();
        }
        hub.wait_online(&agent.target);
        hub.execute(&plan).unwrap();
        assert_eq!(agent.performed().len(), number + 1, "{shift}");
    }
}
