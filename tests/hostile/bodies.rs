//! Bodies and names that are too much.

use super::{
    HEADER, PATIENCE, claims,
    common::{Agent, Hub, wait_until},
    signed, with,
};
use remotectl::{
    link::{
        PROTOCOL,
        join::Pointer,
        keys::SigningKey,
        wire::{AgentRole, path},
    },
    model::{digest::Digest, messages::AgentRow},
};
use serde_json::json;

#[test]
fn bodies_and_names_that_are_too_much_are_refused_and_leave_no_trace() {
    let hub = Hub::start();
    let (key, http, hub_id) = (SigningKey::make().0, hub.tls(), hub.pointer().hub);
    let id = key.public().agent_id();
    let join = |body: &[u8], more: &[(&str, &str)]| {
        let mut claims = with(claims(&id, &hub_id), "path", json!(path::JOIN));
        claims["body"] = json!(Digest::of(body));
        let token = format!("Bearer {}", signed(&key, HEADER, &claims));
        let mut headers = vec![("content-type", "application/json"), ("authorization", token.as_str())];
        headers.extend(more);
        http.send("POST", path::JOIN, &headers, body, PATIENCE).unwrap().status
    };
    let token = |target: &str| {
        let string: Pointer = hub.join_string("agent").parse().unwrap();
        json!({
            "protocol": PROTOCOL, "public_key": key.public(), "role": "agent", "target": target, "version": "test",
            "token": string.token,
        })
        .to_string()
    };
    let padded = format!("{}{}", token("host/box"), " ".repeat(5000));
    assert_eq!(join(padded.as_bytes(), &[]), 413, "more than 4 KiB");
    assert_eq!(join("[".repeat(4000).as_bytes(), &[]), 400, "deeply nested");
    assert_eq!(join(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", &[("content-encoding", "gzip")]), 400, "compressed");
    assert_eq!(join(&[0xff; 64], &[]), 400, "not UTF-8");
    let long = format!("host/{}", "x".repeat(2000));
    for target in
        ["host/../../etc/x", "host/", "host/a/b", "host/a\0b", "host/a b", "ct/../1", "host/\u{202e}x", long.as_str()]
    {
        let status = join(token(target).as_bytes(), &[]);
        assert!((400..500).contains(&status), "{target:?}: {status}");
    }
    let agents: Vec<AgentRow> = hub.get("/api/v1/agents").unwrap();
    assert!(agents.is_empty(), "{agents:?}");
    assert_eq!(join(token("host/box").as_bytes(), &[]), 200, "the control joins");
}

/// A known agent, whose requests are read: what it says is still bounded.
#[test]
fn what_a_known_agent_says_is_bounded_too() {
    let hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    let held = agent.hold();
    hub.begin(&hub.plan("exec.run", "host/box", &[("command", "/bin/true")]));
    wait_until("the command is under way", || agent.commands().len() == 1);
    let (http, hub_id, id) = (hub.tls(), hub.pointer().hub, agent.key().public().agent_id());
    let status = |path: &str, body: &[u8], more: &[(&str, &str)]| {
        let mut claims = with(claims(&id, &hub_id), "path", json!(path));
        claims["body"] = json!(Digest::of(body));
        let token = format!("Bearer {}", signed(agent.key(), HEADER, &claims));
        let mut headers = vec![("content-type", "application/json"), ("authorization", token.as_str())];
        headers.extend(more);
        http.send("POST", path, &headers, body, PATIENCE).map(|reply| reply.status)
    };
    let outcome = |summary: &str| {
        let outcome = json!({"ending": "succeeded", "summary": summary});
        json!({"protocol": PROTOCOL, "command": agent.commands()[0], "outcome": outcome}).to_string()
    };
    let giant = outcome(&"x".repeat(1 << 20));
    // It may be cut off before it has said everything.
    let refused = status(path::RESULT, giant.as_bytes(), &[]);
    assert!(matches!(refused, Ok(413) | Err(_)), "{refused:?}");
    let nested = format!(r#"{{"protocol":{PROTOCOL},"command":"x","outcome":{}"#, "[".repeat(500_000));
    assert_eq!(status(path::RESULT, nested.as_bytes(), &[]).unwrap(), 400, "deeply nested");
    let bomb: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03";
    assert_eq!(status(path::RESULT, bomb, &[("content-encoding", "gzip")]).unwrap(), 400, "compressed");
    let polled = status(path::POLL, " ".repeat((16 << 10) + 1).as_bytes(), &[]);
    assert!(matches!(polled, Ok(413) | Err(_)), "{polled:?}");
    assert!(!hub.history()[0].state.terminal(), "nothing of that has ended it");
    drop(held);
    wait_until("its own result has", || hub.history()[0].state.terminal());
}
