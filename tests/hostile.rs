//! Attacks on a real hub by whoever can reach its port, each with what has to come of it. docs/security.md lists them.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod common;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use common::{Agent, Hub, wait_until};
use remotectl::{
    link::{
        PROTOCOL,
        join::Pointer,
        keys::SigningKey,
        runtime::LinkError,
        wire::{AgentRole, ResultRequest, Told, path},
    },
    model::{Outcome, digest::Digest, messages::AgentRow},
    sys::clock,
};
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);
const HEADER: &str = r#"{"alg":"EdDSA","typ":"remotectl-agent+jwt"}"#;
/// A result of a command that nobody has: whoever is believed gets 404, everybody else 401.
const BODY: &str = r#"{"protocol":1,"command":"none","outcome":{"ending":"succeeded","summary":"x"}}"#;

/// The claims of a good request at this moment.
fn claims(agent: &str, hub: &str) -> Value {
    let now = clock::unix_seconds();
    json!({
        "iss": agent, "sub": agent, "aud": hub, "jti": remotectl::sys::random::id(), "iat": now, "exp": now + 60,
        "method": "POST", "path": path::RESULT, "body": Digest::of(BODY.as_bytes()), "generation": 1,
    })
}

fn encoded(header: &str, claims: &[u8]) -> String {
    format!("{}.{}", BASE64.encode(header), BASE64.encode(claims))
}

fn signed(key: &SigningKey, header: &str, claims: &Value) -> String {
    let signed = encoded(header, &serde_json::to_vec(claims).unwrap());
    format!("{signed}.{}", key.sign(signed.as_bytes()))
}

/// The good claims with one of them changed; `null` takes it away.
fn with(mut claims: Value, name: &str, value: Value) -> Value {
    let map = claims.as_object_mut().unwrap();
    match value {
        Value::Null => drop(map.remove(name)),
        value => drop(map.insert(name.to_owned(), value)),
    }
    claims
}

#[test]
fn no_mutation_of_a_token_is_believed() {
    let hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    let (key, http, hub_id) = (agent.key(), hub.tls(), hub.pointer().hub);
    let id = key.public().agent_id();
    let status = |token: &str, path: &str, body: &str| {
        let token = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", token.as_str())];
        http.send("POST", path, &headers, body.as_bytes(), PATIENCE).unwrap().status
    };
    let good = || claims(&id, &hub_id);
    let now = clock::unix_seconds();

    let replayed = signed(key, HEADER, &good());
    assert_eq!(status(&replayed, path::RESULT, BODY), 404, "the control is believed");
    assert_eq!(status(&replayed, path::RESULT, BODY), 401, "replayed");
    let fresh = signed(key, HEADER, &good());
    assert_eq!(status(&fresh, path::OUTPUT, BODY), 401, "other path");
    assert_eq!(status(&fresh, path::RESULT, &BODY.replace('x', "y")), 401, "other body");
    assert_eq!(status(&fresh, path::RESULT, BODY), 404, "what was refused has not used it up");

    for (name, value) in [
        ("iss", json!("a-stranger")),
        ("sub", json!("a-stranger")),
        ("aud", json!("another-hub")),
        ("aud", json!([hub_id])),
        ("jti", json!("")),
        ("jti", json!("x".repeat(65))),
        ("jti", json!(7)),
        ("iat", json!(now + 3600)),
        ("iat", json!(now - 86_400)),
        ("iat", json!(i64::MIN)),
        ("exp", json!((now + 60).to_string())),
        ("exp", json!(now + 86_400)),
        ("exp", json!(now - 1)),
        ("exp", json!(i64::MAX)),
        ("method", json!("GET")),
        ("path", json!("/agent/v1/result?x=1")),
        ("body", json!(Digest::of(b"other"))),
        ("generation", json!(2)),
        ("generation", json!("1")),
        ("admin", json!(true)),
    ] {
        let token = signed(key, HEADER, &with(good(), name, value.clone()));
        assert_eq!(status(&token, path::RESULT, BODY), 401, "{name}: {value}");
    }
    for name in good().as_object().unwrap().keys() {
        let token = signed(key, HEADER, &with(good(), name, Value::Null));
        assert_eq!(status(&token, path::RESULT, BODY), 401, "without {name}");
    }
    for header in [
        r#"{"alg":"none","typ":"remotectl-agent+jwt"}"#,
        r#"{"alg":"HS256","typ":"remotectl-agent+jwt"}"#,
        r#"{"alg":"EdDSA","typ":"JWT"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"typ":"remotectl-agent+jwt","alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","typ":"remotectl-agent+jwt","jwk":{}}"#,
        "",
    ] {
        assert_eq!(status(&signed(key, header, &good()), path::RESULT, BODY), 401, "header {header}");
    }

    let unsigned = encoded(HEADER, &serde_json::to_vec(&good()).unwrap());
    let public = serde_json::to_value(key.public()).unwrap();
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public.as_str().unwrap().as_bytes());
    let hs256 = encoded(r#"{"alg":"HS256","typ":"remotectl-agent+jwt"}"#, &serde_json::to_vec(&good()).unwrap());
    let tag = BASE64.encode(ring::hmac::sign(&secret, hs256.as_bytes()));
    let array = encoded(HEADER, b"[1,2,3]");
    let deep = encoded(HEADER, "[".repeat(1000).as_bytes());
    for (what, token) in [
        ("no signature", format!("{unsigned}.")),
        ("two parts", unsigned.clone()),
        ("four parts", format!("{}.x", signed(key, HEADER, &good()))),
        ("padding", format!("{}=", signed(key, HEADER, &good()))),
        ("another's key", signed(&SigningKey::make().0, HEADER, &good())),
        ("HMAC with the public key", format!("{hs256}.{tag}")),
        ("an array of claims", format!("{array}.{}", key.sign(array.as_bytes()))),
        ("deeply nested claims", format!("{deep}.{}", key.sign(deep.as_bytes()))),
        ("4 KiB of it", signed(key, HEADER, &with(good(), "jti", json!("x".repeat(4096))))),
        ("nothing", String::new()),
    ] {
        assert_eq!(status(&token, path::RESULT, BODY), 401, "{what}");
    }
}

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
        run("INSERT INTO operators VALUES ('mallory', 'admin', ?1, 0, ?2)", &[&hash("secret"), &"x".repeat(86)]);
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

#[test]
fn many_headers_and_slow_ones_are_cut_off() {
    let hub = Hub::start();
    let address: SocketAddr = hub.address.parse().unwrap();
    // Not TLS at all: the handshake ends it.
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"GET /api/v1/hub HTTP/1.1\r\n\r\n").unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).ok();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let names: Vec<String> = (0..80).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let status = hub.tls().send("GET", "/api/v1/hub", &many, b"", PATIENCE).map(|reply| reply.status);
    assert!(matches!(status, Ok(431 | 400) | Err(_)), "{status:?}");
}

/// 2,000 connections that say nothing, from 63 addresses, on a hub that was started with room for 1,024 files: it makes
/// room, and whoever has something to say is served meanwhile.
#[test]
fn two_thousand_idle_sockets_hold_nobody_up() {
    let hub = Hub::start_with_open_files(1024);
    assert!(hub.open_files() > 4096, "it may open {} files", hub.open_files());
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    let to: SocketAddr = hub.address.parse().unwrap();
    let idle: Vec<TcpStream> = (0..2000)
        .filter_map(|n: u32| connect_from(Ipv4Addr::new(127, 0, 1, u8::try_from(n % 63).unwrap() + 1), to))
        .collect();
    assert!(idle.len() >= 1900, "{} connections", idle.len());
    let mut took: Vec<Duration> = (0..100)
        .map(|_| {
            let start = Instant::now();
            hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
            start.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[98] < Duration::from_secs(1), "p99 is {:?}", took[98]);
    // A newcomer gets through too.
    let late = Agent::join(&hub, AgentRole::Agent, "host/late");
    hub.wait_online(&late.target);
    drop(idle);
}

fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    bind(&socket, &SocketAddr::from((from, 0))).ok()?;
    connect(&socket, &to).ok()?;
    Some(TcpStream::from(socket))
}
