//! Every route there is, by whoever may not use it, and by paths that are almost a route's. What is not let in changes nothing.

use super::{PATIENCE, common::Hub};
use remotectl::{
    api::{self, Class},
    link::join::Pointer,
    model::messages::OperatorToken,
    sys::http::Http,
};
use rusqlite::types::Value;
use serde_json::json;
use std::fmt::Write as _;

/// A token of an operator with that role.
fn token(hub: &Hub, name: &str, role: &str) -> String {
    let made: OperatorToken = hub.post("/api/v1/operators", &json!({"name": name, "role": role})).unwrap();
    format!("Bearer {}", made.login_string.parse::<Pointer>().unwrap().token.unwrap())
}

/// All that the hub has on record, when operators were heard last aside.
fn record(hub: &Hub) -> String {
    let database = rusqlite::Connection::open(hub.root().join("lib/hub/hub.db")).unwrap();
    database.execute("UPDATE operators SET last_used = NULL", []).unwrap();
    let mut tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut all = String::new();
    for table in tables {
        let mut query = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = query.column_count();
        let rows = query.query_map([], |row| (0..columns).map(|at| row.get(at)).collect::<Result<Vec<Value>, _>>());
        for row in rows.unwrap() {
            writeln!(all, "{table} {:?}", row.unwrap()).unwrap();
        }
    }
    all
}

/// What would do something, if it were let in.
fn body(path: &str) -> String {
    match path {
        "/api/v1/join-tokens" => json!({"role": "pve-agent"}),
        "/api/v1/operators" => json!({"name": "mallory", "role": "admin"}),
        "/api/v1/plans" => json!({"run": {"op": "exec.run", "selector": "host/box", "args": {"command": "/bin/true"}}}),
        _ if path.starts_with("/api/v1/agents/") => json!({"target": "host/box", "typed": "host/box"}),
        _ if path.starts_with("/api/v1/credentials") || path.ends_with("host-keys") => json!({"name": "x"}),
        _ if path.ends_with("/settle") => json!({"done": true, "reason": "x"}),
        _ => json!({"digest": "0".repeat(64)}),
    }
    .to_string()
}

struct Caller {
    http: Http,
}

impl Caller {
    fn status(&self, method: &str, path: &str, body: &str, token: Option<&str>) -> u16 {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(token.map(|token| ("authorization", token)));
        let body = if method == "POST" { body.as_bytes() } else { b"" };
        let send = || self.http.send(method, path, &headers, body, PATIENCE);
        // Behind a refusal the connection may be closed, while the next request is on its way.
        send().or_else(|_| send()).unwrap().status
    }
}

#[test]
fn no_route_lets_in_who_may_not_use_it() {
    let mut hub = Hub::start();
    let _agent = super::common::Agent::join(&hub, remotectl::link::wire::AgentRole::Agent, "host/box");
    let plan = hub.plan("exec.run", "host/box", &[("command", "touch /nowhere/x")]);
    let [admin, operator, viewer, forged] =
        [("amy", "admin"), ("otto", "operator"), ("vic", "viewer"), ("eve", "admin")]
            .map(|(name, role)| token(&hub, name, role));
    // A token that is over: only this hub can make one, and only by letting time pass.
    let of: OperatorToken =
        hub.post("/api/v1/operators", &json!({"name": "old", "role": "admin", "expires": 1})).unwrap();
    let old = format!("Bearer {}", of.login_string.parse::<Pointer>().unwrap().token.unwrap());
    let caller = Caller { http: hub.tls() };
    super::common::wait_until("it is over", || caller.status("GET", "/api/v1/hub", "", Some(&old)) == 401);
    // One whose row says that it is good for longer than its seal does.
    hub.restart_after(|database| {
        let sql = "UPDATE operators SET expires = 9999999999 WHERE name = 'eve'";
        assert_eq!(database.execute(sql, []).unwrap(), 1);
    });
    let caller = Caller { http: hub.tls() };
    assert_eq!(caller.status("GET", "/api/v1/operators", "", Some(&admin)), 200, "the control is let in");
    assert_eq!(caller.status("GET", "/api/v1/hub", "", Some(&forged)), 401, "its row was written by somebody else");
    let before = record(&hub);
    let (mut asked, mut classes) = (0, std::collections::BTreeSet::new());
    let mut expect = |method: &str, path: &str, body: &str, token: Option<&str>, wanted: &[u16]| {
        let status = caller.status(method, path, body, token);
        assert!(wanted.contains(&status), "{method} {path} with {token:?}: {status}, not {wanted:?}");
        asked += 1;
    };
    for (method, pattern, class) in api::table() {
        classes.insert(class);
        let path = pattern.replace("{id}", &plan.id).replace("{name}", "vic").replace("{sha256}", &"0".repeat(64));
        let (method, body) = (method.as_str(), body(pattern));
        // Neither nobody, nor a token that is over, nor an operator in an agent's place.
        let nobody: &[u16] = if class == Class::Joining { &[400, 401] } else { &[401] };
        expect(method, &path, &body, None, nobody);
        expect(method, &path, &body, Some(&old), nobody);
        let lower: &[&str] = match class {
            Class::Joining | Class::Agent => &[&admin],
            Class::Viewer => &[],
            Class::Operator => &[&viewer],
            Class::Admin => &[&viewer, &operator],
        };
        let refused: &[u16] = if class < Class::Viewer { nobody } else { &[403] };
        for token in lower {
            expect(method, &path, &body, Some(token), refused);
        }
        // What is almost its path is nowhere, for an administrator too.
        let segments: Vec<&str> = path.rsplitn(2, '/').collect();
        for near in [
            format!("{path}/"),
            format!("/{path}"),
            path.replace("/api/", "/API/").replace("/agent/", "/Agent/"),
            format!("{}%2f{}", segments[1], segments[0]),
            path.replace("/v1/", "/v1/./"),
            path.replace("/v1/", "/v1/%2e%2e/v1/"),
            path.replace("/v1/", "/v2/"),
        ] {
            // Nothing but a name may be in the place of a name.
            expect(method, &near, &body, Some(&admin), &[404, 405]);
        }
        // Another method is none of its own.
        let other = if method == "PUT" { "PATCH" } else { "PUT" };
        expect(other, &path, &body, None, &[401, 405, 400]);
    }
    assert_eq!(classes.len(), 5, "every class is there");
    assert!(asked > 27 * 10, "{asked}");
    assert_eq!(record(&hub), before, "nothing has changed");
    println!("{asked} requests to {} routes", api::table().len());
}

/// A token is shown once and kept as its hash; it ends when it is to, and when it is taken away.
#[test]
fn an_operators_token_is_kept_as_a_hash_and_ends() {
    let hub = Hub::start();
    let made = hub.client(&["hub", "operator", "add", "ann", "--role", "viewer", "--expires", "30d"]);
    let string = String::from_utf8(made.stdout).unwrap();
    let pointer: Pointer = string.trim().parse().unwrap();
    assert!(String::from_utf8(made.stderr).unwrap().contains("Good until 2"));
    let secret = pointer.token.unwrap();
    let token = format!("Bearer {secret}");
    assert_eq!(hub.over_tls("GET", "/api/v1/hub", Some(&token)), 200);
    assert!(!record(&hub).contains(&secret) && !hub.log().contains(&secret), "only its hash is kept");
    assert_eq!(hub.over_tls("GET", "/api/v1/hub", Some(&token)), 200);
    let listed = String::from_utf8(hub.client(&["hub", "operator", "list", "--json"]).stdout).unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let (created, expires) = (listed[0]["created"].as_i64().unwrap(), listed[0]["expires"].as_i64().unwrap());
    assert_eq!(expires - created, 30 * 86_400);
    assert_eq!(listed[0]["expired"], false);
    assert!(!listed.to_string().contains(&secret));
    for wrong in ["0d", "30", "-1d", "9999d", "1w", "d"] {
        let refused = hub.client(&["hub", "operator", "add", "bob", "--expires", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{wrong}");
    }
    assert!(hub.client(&["hub", "operator", "remove", "ann"]).status.success());
    assert_eq!(hub.over_tls("GET", "/api/v1/hub", Some(&token)), 401, "it has ended at once");
}

/// Wrong tokens wait, longer each time; right ones from the same place do not.
#[test]
fn whoever_guesses_tokens_waits_and_holds_nobody_up() {
    let hub = Hub::start();
    let right = token(&hub, "ann", "viewer");
    let caller = Caller { http: hub.tls() };
    let timed = |token: &str| {
        let begun = std::time::Instant::now();
        (caller.status("GET", "/api/v1/hub", "", Some(token)), begun.elapsed().as_millis())
    };
    let wrong: Vec<u128> = (0..10)
        .map(|n| {
            let (status, took) = timed(&format!("Bearer guess-{n}"));
            assert_eq!(status, 401);
            took
        })
        .collect();
    assert!(wrong[9] >= 800 && wrong[8] >= 400, "{wrong:?}");
    let (status, took) = timed(&right);
    assert!(status == 200 && took < wrong[9], "{status} after {took} ms");
}
