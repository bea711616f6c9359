//! Attacks on a real hub by whoever can reach its port, each with what has to come of it. docs/security.md lists them.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "../common/mod.rs"]
mod common;

mod bodies;
mod envelopes;
mod faults;
mod full;
mod members;
mod routes;
mod rows;
mod scripted;
mod sockets;
mod tokens;
mod twins;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use remotectl::{
    link::{keys::SigningKey, wire::path},
    model::digest::Digest,
    sys::clock,
};
use serde_json::{Value, json};
use std::time::Duration;

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
