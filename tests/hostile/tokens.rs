//! JWTs that are not what they should be.

use super::{BODY, HEADER, PATIENCE, claims, common, encoded, signed, with};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use common::{Agent, Hub};
use remotectl::{
    link::{
        keys::SigningKey,
        wire::{AgentRole, path},
    },
    model::digest::Digest,
    sys::clock,
};
use serde_json::{Value, json};

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
