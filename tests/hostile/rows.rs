//! Rows forged into the hub's database.

use super::common::{Agent, Hub};
use remotectl::{
    link::{join::Pointer, keys::SigningKey, wire::AgentRole},
    model::{digest::Digest, messages::AgentRow},
};
use serde_json::json;

/// Whoever can write the hub's database, and has not its key, lets nobody in and sets nothing going.
#[test]
fn rows_forged_into_the_database_order_nothing() {
    let mut hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    let plan = hub.plan("exec.run", "host/box", &[("command", "touch /nowhere/x")]);
    assert!(plan.confirm);
    let intruder = SigningKey::make().0;
    let strings = ["agent", "agent"].map(|role| hub.join_string(role).parse::<Pointer>().unwrap());
    let [copied, own] = strings.map(|pointer| pointer.token.unwrap());
    hub.restart_after(|database| {
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| assert_eq!(database.execute(sql, values).unwrap(), 1, "{sql}");
        let hash = |text: &str| Digest::of(text.as_bytes()).as_str().to_owned();
        // A plan that nobody approved.
        run("UPDATE plans SET state = 'running', approved_by = 'root', approved_at = 0, approved_digest = digest", &[]);
        // An administrator.
        run("INSERT INTO operators (name, role, token_hash, created, seal) VALUES ('mallory', 'admin', ?1, 0, ?2)", &[&hash("secret"), &"x".repeat(86)]);
        // A command, signed by another key.
        let payload = format!(r#"{{"agent":"{}","seq":99}}"#, agent.key().public().agent_id());
        let signature = intruder.sign(payload.as_bytes());
        let signed = json!({"payload": payload, "signature": signature}).to_string();
        let id = agent.key().public().agent_id();
        run(
            "INSERT INTO commands SELECT 'forged', id, 0, 'host/box', ?1, 99, ?2, 'queued', 9999999999, NULL, NULL FROM plans",
            &[&id, &signed],
        );
        // A join string for agents that becomes one for nodes, and one that is used again.
        run("UPDATE join_tokens SET role = 'pve-agent' WHERE hash = ?1", &[&hash(&copied)]);
        run("UPDATE join_tokens SET expires = 9999999999 WHERE hash = ?1", &[&hash(&own)]);
        // An agent in the place of another.
        let (id, key) = (intruder.public().agent_id(), serde_json::to_value(intruder.public()).unwrap());
        let sql = "INSERT INTO agents (id, public_key, role, target, version, generation, joined, joined_at, seal)
                   VALUES (?1, ?2, 'pve-agent', 'node/pve1', '1', 1, 'token', 0, '')";
        run(sql, &[&id, &key.as_str().unwrap()]);
    });
    hub.wait_online(&agent.target);
    assert_eq!(hub.over_tls("GET", "/api/v1/hub", Some("Bearer secret")), 401, "the forged administrator");
    let agents: Vec<AgentRow> = hub.get("/api/v1/agents").unwrap();
    assert_eq!(agents.len(), 1, "{agents:?}");
    for (token, role, target) in [(copied, AgentRole::PveAgent, "node/pve1"), (own, AgentRole::Agent, "host/other")] {
        let string = Pointer { token: Some(token), ..hub.pointer() }.to_string();
        let refused = Agent::join_with(&string, role, target).map(|_| ()).unwrap_err();
        assert!(refused.contains("was not made by this hub"), "{refused}");
    }
    // What is genuine goes on behind what is not.
    hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
    assert_eq!(agent.performed(), ["exec.run host/box"], "neither the plan nor the command");
    let log = hub.log();
    for said in
        ["this hub did not begin it", "this hub did not give it", "did not join here", "was not added by this hub"]
    {
        assert!(log.contains(said), "{said}");
    }
}
