//! The API's paths. A path that isn't here answers 501, like one that Proxmox doesn't have.

mod access;
mod agent;
mod cluster;
mod guests;
mod making;
mod moving;
mod nodes;
mod pausing;
mod pools;
mod settings;
mod snapshots;
mod stores;
mod tasks;
mod users;

use super::{
    RELEASE, REPOID, VERSION,
    answer::{Answer, Fault},
    router::Call,
};
use serde_json::{Value, json};

pub(super) fn dispatch(call: &Call) -> Result<Answer, Fault> {
    let path = call.path.clone();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        [] if call.method == "GET" => index("subdir", &["version", "cluster", "nodes", "storage", "access", "pools"]),
        ["version"] if call.method == "GET" => version(call),
        ["access", rest @ ..] => access::dispatch(call, rest),
        ["cluster", rest @ ..] => cluster::dispatch(call, rest),
        ["nodes", rest @ ..] => nodes::dispatch(call, rest),
        ["pools", rest @ ..] => pools::dispatch(call, rest),
        ["storage"] if call.method == "GET" => nodes::storage_configuration(call),
        _ => Err(call.unknown()),
    }
}

fn version(call: &Call) -> Result<Answer, Fault> {
    call.params(&[])?;
    data(json!({"release": RELEASE, "repoid": REPOID, "version": VERSION}))
}

#[expect(clippy::unnecessary_wraps, reason = "endpoints end with it")]
fn data(value: Value) -> Result<Answer, Fault> {
    Ok(Answer::Data(value))
}

fn done() -> Result<Answer, Fault> {
    data(Value::Null)
}

fn index(key: &str, names: &[&str]) -> Result<Answer, Fault> {
    data(names.iter().map(|name| json!({ key: name })).collect())
}
