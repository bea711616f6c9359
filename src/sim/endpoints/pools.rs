//! /pools.

use super::{data, done};
use crate::sim::{
    Pool,
    answer::{Answer, Fault},
    lock,
    params::{Kind, optional, required},
    router::Call,
    shapes,
};
use serde_json::{Value, json};

pub(super) fn dispatch(call: &Call, rest: &[&str]) -> Result<Answer, Fault> {
    match (call.method, rest) {
        ("GET", []) => list(call),
        ("GET", [pool]) => data(describe(call, pool)?),
        ("POST", []) => create(call),
        ("PUT", []) => change(call),
        ("DELETE", []) => delete(call),
        _ => Err(call.unknown()),
    }
}

fn missing(pool: &str) -> Fault {
    Fault::failed(format!("pool '{pool}' does not exist"))
}

fn line(name: &str, pool: &Pool) -> Value {
    let mut line = json!({ "poolid": name });
    if let Some(comment) = &pool.comment {
        line["comment"] = json!(comment);
    }
    line
}

fn list(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[optional("poolid", Kind::Text), optional("type", Kind::Text)])?;
    if let Some(name) = params.text("poolid") {
        return data(json!([describe(call, name)?]));
    }
    let pools = lock(&call.cluster.pools);
    let seen = pools.iter().filter(|(name, _)| call.may(&format!("/pool/{name}"), &["Pool.Audit"]));
    data(seen.map(|(name, pool)| line(name, pool)).collect())
}

fn describe(call: &Call, name: &str) -> Result<Value, Fault> {
    let pool = lock(&call.cluster.pools).get(name).cloned().ok_or_else(|| missing(name))?;
    call.need(&format!("/pool/{name}"), &["Pool.Audit"])?;
    let inventory = call.cluster.backend.inventory();
    let mut members: Vec<_> = pool.members.iter().filter_map(|vmid| inventory.guest(*vmid)).collect();
    members.sort_by_key(|guest| guest.vmid);
    let mut answer = line(name, &pool);
    let member = |guest: &&crate::model::inventory::Guest| {
        let mut line = shapes::guest_resource(guest, &call.cluster.backend.usage(guest));
        if let Value::Object(map) = &mut line {
            map.remove("tags");
        }
        line
    };
    answer["members"] = members.iter().map(member).collect();
    Ok(answer)
}

fn create(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[required("poolid", Kind::Text), optional("comment", Kind::Text)])?;
    let name = params.text("poolid").unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    if !name.bytes().all(fits) {
        let message = format!("invalid format - pool name '{name}' contains invalid characters\n");
        return Err(Fault::parameter("poolid", &message));
    }
    call.need(&format!("/pool/{name}"), &["Pool.Allocate"])?;
    let mut pools = lock(&call.cluster.pools);
    if pools.contains_key(name) {
        return Err(Fault::failed(format!("create pool failed: pool '{name}' already exists")));
    }
    let comment = params.text("comment").map(str::to_owned);
    pools.insert(name.to_owned(), Pool { comment, members: Vec::new() });
    done()
}

fn change(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[
        required("poolid", Kind::Text),
        optional("comment", Kind::Text),
        optional("vms", Kind::Text),
        optional("delete", Kind::Boolean),
    ])?;
    let name = params.text("poolid").unwrap_or_default();
    call.need(&format!("/pool/{name}"), &["Pool.Allocate"])?;
    let mut pools = lock(&call.cluster.pools);
    let pool = pools.get_mut(name).ok_or_else(|| missing(name))?;
    for vmid in params.text("vms").unwrap_or_default().split(',').filter_map(|text| text.trim().parse().ok()) {
        match (pool.members.contains(&vmid), params.flag("delete")) {
            (true, false) => {
                return Err(Fault::failed(format!("update pools failed: VM {vmid} is already a pool member")));
            }
            (_, true) => pool.members.retain(|member| *member != vmid),
            (false, false) => pool.members.push(vmid),
        }
    }
    if let Some(comment) = params.text("comment") {
        pool.comment = Some(comment.to_owned());
    }
    done()
}

fn delete(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[required("poolid", Kind::Text)])?;
    let name = params.text("poolid").unwrap_or_default();
    call.need(&format!("/pool/{name}"), &["Pool.Allocate"])?;
    let inventory = call.cluster.backend.inventory();
    let mut pools = lock(&call.cluster.pools);
    let absent = || Fault::failed(format!("delete pool failed: pool '{name}' does not exist"));
    let pool = pools.get(name).ok_or_else(absent)?;
    if let Some(vmid) = pool.members.iter().filter(|vmid| inventory.guest(**vmid).is_some()).min() {
        return Err(Fault::failed(format!("delete pool failed: pool '{name}' is not empty (contains VM {vmid})")));
    }
    pools.remove(name);
    done()
}
