//! /access/users: users and their API tokens.

use super::{data, done};
use crate::{
    sim::{
        access::{Token, User},
        answer::{Answer, Fault},
        params::{Kind, optional, required},
        router::Call,
    },
    sys::random,
};
use serde_json::{Map, Value, json};

pub(super) fn dispatch(call: &Call, rest: &[&str]) -> Result<Answer, Fault> {
    match (call.method, rest) {
        ("GET", []) => list(call),
        ("POST", []) => create(call),
        ("GET", [user]) => show(call, user),
        ("PUT", [user]) => change(call, user),
        ("DELETE", [user]) => delete(call, user),
        ("GET", [user, "token"]) => list_tokens(call, user),
        ("GET", [user, "token", id]) => show_token(call, user, id),
        ("POST", [user, "token", id]) if is_token_id(id) => create_token(call, user, id),
        ("DELETE", [user, "token", id]) => delete_token(call, user, id),
        _ => Err(call.unknown()),
    }
}

fn is_token_id(id: &str) -> bool {
    id.starts_with(|first: char| first.is_ascii_alphabetic())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn realm(user: &str) -> Option<&str> {
    user.rsplit_once('@').filter(|(name, realm)| !name.is_empty() && !realm.is_empty()).map(|(_, realm)| realm)
}

fn describe(name: &str, user: &User) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("enable".to_owned(), json!(u8::from(user.enabled)));
    line.insert("expire".to_owned(), json!(0));
    if let Some(comment) = &user.comment {
        line.insert("comment".to_owned(), json!(comment));
        line.insert("email".to_owned(), json!(""));
    }
    if let Some(realm @ ("pam" | "pve")) = realm(name) {
        line.insert("realm-type".to_owned(), json!(realm));
    }
    line.insert("userid".to_owned(), json!(name));
    line
}

fn list(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[optional("full", Kind::Boolean), optional("enabled", Kind::Boolean)])?;
    let all = call.may("/access/groups", &["User.Modify", "Sys.Audit"]);
    let access = call.cluster.access();
    let seen = access.users.iter().filter(|(name, _)| all || **name == call.who.user);
    let lines = seen.map(|(name, user)| {
        let mut line = describe(name, user);
        if params.flag("full") {
            line.insert("groups".to_owned(), json!(""));
            let tokens: Vec<Value> = user.tokens.iter().map(|(id, token)| describe_token(Some(id), token)).collect();
            line.insert("tokens".to_owned(), if tokens.is_empty() { Value::Null } else { tokens.into() });
        }
        Value::Object(line)
    });
    data(lines.collect())
}

fn create(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[
        required("userid", Kind::Text),
        optional("password", Kind::Text),
        optional("comment", Kind::Text),
        optional("email", Kind::Text),
        optional("enable", Kind::Boolean),
        optional("expire", Kind::Integer { min: 0 }),
    ])?;
    let name = params.text("userid").unwrap_or_default();
    if realm(name).is_none() {
        let message = format!("invalid format - value '{name}' does not look like a valid user name\n");
        return Err(Fault::parameter("userid", &message));
    }
    if params.text("password").is_some_and(|password| password.len() < 8) {
        return Err(Fault::parameter("password", "value must be at least 8 characters long"));
    }
    call.need("/access/realm", &["Realm.AllocateUser"])?;
    let mut access = call.cluster.access();
    if access.users.contains_key(name) {
        return Err(Fault::failed(format!("create user failed: user '{name}' already exists")));
    }
    let user = User {
        password: params.text("password").map(str::to_owned),
        comment: params.text("comment").map(str::to_owned),
        enabled: !params.given("enable") || params.flag("enable"),
        ..User::default()
    };
    access.users.insert(name.to_owned(), user);
    done()
}

fn show(call: &Call, name: &str) -> Result<Answer, Fault> {
    let access = call.cluster.access();
    let user = access.users.get(name).ok_or_else(|| Fault::failed(format!("no such user ('{name}')")))?;
    let tokens: Map<String, Value> =
        user.tokens.iter().map(|(id, token)| (id.clone(), describe_token(None, token))).collect();
    let mut line = describe(name, user);
    line.remove("userid");
    line.remove("realm-type");
    line.insert("groups".to_owned(), json!([]));
    line.insert("tokens".to_owned(), Value::Object(tokens));
    data(Value::Object(line))
}

fn change(call: &Call, name: &str) -> Result<Answer, Fault> {
    let params = call.params(&[
        optional("comment", Kind::Text),
        optional("email", Kind::Text),
        optional("enable", Kind::Boolean),
    ])?;
    call.need("/access/groups", &["User.Modify"])?;
    let mut access = call.cluster.access();
    let missing = || Fault::failed(format!("update user failed: no such user ('{name}')"));
    let user = access.users.get_mut(name).ok_or_else(missing)?;
    if let Some(comment) = params.text("comment") {
        user.comment = Some(comment.to_owned());
    }
    if params.given("enable") {
        user.enabled = params.flag("enable");
    }
    done()
}

/// Deleting a user who isn't there succeeds, as recorded.
fn delete(call: &Call, name: &str) -> Result<Answer, Fault> {
    call.need("/access/groups", &["User.Modify"])?;
    let mut access = call.cluster.access();
    access.users.remove(name);
    access.entries.retain(|entry| entry.subject.split('!').next() != Some(name));
    done()
}

fn describe_token(id: Option<&str>, token: &Token) -> Value {
    let mut line = Map::new();
    line.insert("expire".to_owned(), json!(token.expire));
    line.insert("privsep".to_owned(), json!(u8::from(token.separated)));
    if let Some(comment) = &token.comment {
        line.insert("comment".to_owned(), json!(comment));
    }
    if let Some(id) = id {
        line.insert("tokenid".to_owned(), json!(id));
    }
    Value::Object(line)
}

fn missing_token(user: &str, id: &str) -> Fault {
    Fault::failed(format!("no such token '{id}' for user '{user}'"))
}

fn list_tokens(call: &Call, name: &str) -> Result<Answer, Fault> {
    let access = call.cluster.access();
    let user = access.users.get(name).ok_or_else(|| Fault::failed(format!("no such user ('{name}')")))?;
    data(user.tokens.iter().map(|(id, token)| describe_token(Some(id), token)).collect())
}

fn show_token(call: &Call, name: &str, id: &str) -> Result<Answer, Fault> {
    let access = call.cluster.access();
    let token = access.users.get(name).and_then(|user| user.tokens.get(id));
    data(describe_token(None, token.ok_or_else(|| missing_token(name, id))?))
}

fn create_token(call: &Call, name: &str, id: &str) -> Result<Answer, Fault> {
    if call.who.user != name && !call.may("/access/groups", &["User.Modify"]) {
        return Err(Fault::Message(403, "Permission check failed".to_owned()));
    }
    let params = call.params(&[
        optional("privsep", Kind::Boolean),
        optional("expire", Kind::Integer { min: 0 }),
        optional("comment", Kind::Text),
    ])?;
    let secret = uuid();
    let token = Token {
        secret: secret.clone(),
        separated: !params.given("privsep") || params.flag("privsep"),
        expire: params.integer("expire").unwrap_or(0),
        comment: params.text("comment").map(str::to_owned),
    };
    let mut access = call.cluster.access();
    let wrong = |message| Fault::parameter("tokenid", message);
    let user = access.users.get_mut(name).ok_or_else(|| wrong("value does not match the regex pattern"))?;
    if user.tokens.contains_key(id) {
        return Err(wrong("Token already exists."));
    }
    // What was given comes back as text, the default of privsep as a number.
    let mut info = Map::new();
    let separated = u8::from(token.separated);
    let shown = if params.given("privsep") { json!(separated.to_string()) } else { json!(separated) };
    info.insert("privsep".to_owned(), shown);
    if params.given("expire") {
        info.insert("expire".to_owned(), json!(token.expire.to_string()));
    }
    if let Some(comment) = &token.comment {
        info.insert("comment".to_owned(), json!(comment));
    }
    user.tokens.insert(id.to_owned(), token);
    data(json!({"full-tokenid": format!("{name}!{id}"), "info": info, "value": secret}))
}

fn delete_token(call: &Call, name: &str, id: &str) -> Result<Answer, Fault> {
    if call.who.user != name && !call.may("/access/groups", &["User.Modify"]) {
        return Err(Fault::Message(403, "Permission check failed".to_owned()));
    }
    let mut access = call.cluster.access();
    let full = format!("{name}!{id}");
    access.entries.retain(|entry| entry.subject != full);
    let removed = access.users.get_mut(name).and_then(|user| user.tokens.remove(id));
    removed.map(|_| Answer::Data(Value::Null)).ok_or_else(|| missing_token(name, id))
}

/// A random UUID, as tokens' secrets are.
fn uuid() -> String {
    let mut bytes: [u8; 16] = random::bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = crate::model::digest::hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
