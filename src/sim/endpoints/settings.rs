//! A guest's settings and disks: what holds, what waits, changes guarded by the digest, disks that grow.

use super::{
    data, done,
    guests::{admit, find, no_configuration, set_going},
    nodes::sha1,
};
use crate::{
    model::{inventory::Guest, values::GuestKind},
    sim::{
        answer::{Answer, Fault},
        details::NO_QUORUM,
        params::{Checked, Kind, optional, required, vmid},
        router::Call,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// What changing any setting of a guest asks for.
const CHANGE: &[&str] =
    &["VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options"];

/// What a cluster says that stands on something unchangeable.
pub(super) const KEPT: &str = "this simulated cluster keeps its guests as they are";

pub(super) fn dispatch(call: &Call, node: &str, kind: GuestKind, id: &str, what: &str) -> Result<Answer, Fault> {
    match (call.method, what) {
        ("GET", "pending") => pending(call, node, kind, id),
        ("GET", "feature") => feature(call, node, kind, id),
        ("PUT", "config") => change(call, node, kind, id),
        ("PUT", "resize") => resize(call, node, kind, id),
        _ => Err(call.unknown()),
    }
}

/// A guest and its configuration with the digest, or the recorded refusal.
fn guest(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<(Guest, BTreeMap<String, Value>), Fault> {
    let guest = find(call, node, kind, id).ok_or_else(|| Fault::failed(no_configuration(node, kind, id)))?;
    let mut config = call.cluster.config(&guest);
    let digest = sha1(&json!(config).to_string());
    config.insert("digest".to_owned(), json!(digest));
    Ok((guest, config))
}

/// What keeps a guest's configuration from being changed.
pub(super) fn locked(guest: &Guest) -> Option<String> {
    let held = guest.lock.as_ref()?;
    Some(format!("{} is locked ({held})", if guest.kind == GuestKind::Ct { "CT" } else { "VM" }))
}

fn pending(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let (node, _) = admit(call, node, id, &["VM.Audit"], &[])?;
    let (guest, config) = guest(call, &node, kind, id)?;
    let state = call.cluster.details.state();
    let holds = state.holds.get(&guest.vmid);
    let line = |(key, value): (String, Value)| match holds.and_then(|holds| holds.get(&key)) {
        Some(now) => json!({"key": key, "value": now, "pending": value}),
        None => json!({"key": key, "value": value}),
    };
    data(config.into_iter().map(line).collect())
}

fn feature(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let specs = [required("feature", Kind::Choice(&["snapshot", "clone", "copy"])), optional("snapname", Kind::Text)];
    let (node, _) = admit(call, node, id, &["VM.Audit"], &specs)?;
    let (_, config) = guest(call, &node, kind, id)?;
    // Raw files in a directory can't be snapshotted; everything else that the simulator has can.
    let raw = config.values().filter_map(Value::as_str).any(|value| value.contains(".raw,size="));
    data(json!({"hasFeature": u8::from(!raw)}))
}

fn change(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let name = if kind == GuestKind::Ct { "hostname" } else { "name" };
    let specs = [
        optional("cores", Kind::Integer { min: 1 }),
        optional("memory", Kind::Integer { min: 16 }),
        optional("tags", Kind::Tags),
        optional("onboot", Kind::Boolean),
        optional("protection", Kind::Boolean),
        optional("description", Kind::Text),
        optional(name, Kind::Name),
        optional("digest", Kind::Text),
    ];
    let (node, params) = admit(call, node, id, CHANGE, &specs)?;
    let (guest, config) = guest(call, &node, kind, id)?;
    let digest = config.get("digest").and_then(Value::as_str);
    if params.text("digest").is_some_and(|given| Some(given) != digest) {
        return Err(Fault::failed(match kind {
            GuestKind::Ct => "detected modified configuration - file changed by other user? Try again.",
            GuestKind::Vm => "checksum mismatch (file change by other user?)",
        }));
    }
    if call.cluster.faults().no_quorum {
        return Err(Fault::failed(NO_QUORUM));
    }
    if let Some(locked) = locked(&guest) {
        return Err(Fault::failed(locked));
    }
    let wanted = wanted(kind, &params, name);
    if wanted.is_empty() {
        return Err(Fault::failed("no options specified"));
    }
    let mut state = call.cluster.details.state();
    // A machine's cores and memory are what it was started with; a container's change at once.
    let waits = |key: &str| kind == GuestKind::Vm && guest.running() && matches!(key, "cores" | "memory");
    for (key, value) in &wanted {
        if let Some(now) = config.get(key).filter(|now| waits(key) && *now != value) {
            state.holds.entry(guest.vmid).or_default().entry(key.clone()).or_insert_with(|| now.clone());
        }
    }
    state.settings.entry(guest.vmid).or_default().extend(wanted.clone());
    drop(state);
    if apply(call, guest.vmid, &wanted) { done() } else { Err(Fault::failed(KEPT)) }
}

/// The settings that were given, as configurations have them.
fn wanted(kind: GuestKind, params: &Checked, name: &str) -> BTreeMap<String, Value> {
    let mut wanted = BTreeMap::new();
    for key in ["cores", "memory"] {
        if let Some(number) = params.integer(key) {
            let text = kind == GuestKind::Vm && key == "memory";
            wanted.insert(key.to_owned(), if text { json!(number.to_string()) } else { json!(number) });
        }
    }
    for key in ["onboot", "protection"].into_iter().filter(|key| params.given(key)) {
        wanted.insert(key.to_owned(), json!(u8::from(params.flag(key))));
    }
    for key in ["description", name] {
        if let Some(text) = params.text(key) {
            wanted.insert(key.to_owned(), json!(text));
        }
    }
    if let Some(tags) = params.text("tags") {
        let mut tags: Vec<String> =
            tags.split([';', ',', ' ']).filter(|tag| !tag.is_empty()).map(str::to_lowercase).collect();
        tags.sort_unstable();
        tags.dedup();
        wanted.insert("tags".to_owned(), if tags.is_empty() { Value::Null } else { json!(tags.join(";")) });
    }
    wanted
}

/// Puts a changed configuration into what the listings show; whether the backend lets it be changed.
fn apply(call: &Call, vmid: u32, wanted: &BTreeMap<String, Value>) -> bool {
    let number = |key: &str| match wanted.get(key)? {
        Value::String(text) => text.parse::<u64>().ok(),
        other => other.as_u64(),
    };
    let text = |key: &str| wanted.get(key).map(|value| value.as_str().unwrap_or_default().to_owned());
    call.cluster.backend.adjust(&mut |inventory| {
        let Some(guest) = inventory.guests.iter_mut().find(|guest| guest.vmid == vmid) else { return };
        if let Some(cores) = number("cores").and_then(|cores| u32::try_from(cores).ok()) {
            guest.cores = cores;
        }
        if let Some(memory) = number("memory") {
            guest.memory_mib = memory;
        }
        if let Some(name) = text("hostname").or_else(|| text("name")) {
            guest.name = name;
        }
        if let Some(tags) = text("tags") {
            guest.tags = tags.split(';').filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        }
    })
}

fn resize(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let specs = [required("disk", Kind::Text), required("size", Kind::Text), optional("digest", Kind::Text)];
    let (node, params) = admit(call, node, id, &["VM.Config.Disk"], &specs)?;
    let size = params.text("size").unwrap_or_default();
    let given = bytes(size).ok_or_else(|| Fault::parameter("size", "value does not match the regex pattern"))?;
    let (guest, config) = guest(call, &node, kind, id)?;
    let disk = params.text("disk").unwrap_or_default().to_owned();
    let value = config.get(&disk).and_then(Value::as_str).unwrap_or_default().to_owned();
    let now = value.split(',').find_map(|part| bytes(part.strip_prefix("size=")?)).unwrap_or_default();
    let wanted = if size.starts_with('+') { now + given } else { given };
    if kind == GuestKind::Ct && wanted < now {
        return Err(Fault::failed("unable to shrink disk size"));
    }
    let (details, backend) = (Arc::clone(&call.cluster.details), Arc::clone(&call.cluster.backend));
    set_going(call, &node, "resize", id, move |log| {
        if let Some(locked) = locked(&guest) {
            return Err(locked);
        }
        if value.is_empty() {
            return Err(format!("disk '{disk}' does not exist"));
        }
        if wanted < now {
            return Err("shrinking disks is not supported".to_owned());
        }
        let volume = value.split(',').next().unwrap_or_default();
        let entry = json!(format!("{volume},size={}M", wanted >> 20));
        details.state().settings.entry(guest.vmid).or_default().insert(disk.clone(), entry);
        let changed = backend.adjust(&mut |inventory| {
            if let Some(guest) = inventory.guests.iter_mut().find(|one| one.vmid == guest.vmid) {
                guest.disk_gib = wanted >> 30;
            }
        });
        if !changed {
            return Err(KEPT.to_owned());
        }
        log.line("Image resized.");
        Ok(())
    })
}

/// `+512M`, `8G`, `1073741824`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The number of a path that has been looked at already.
pub(super) fn number(id: &str) -> u32 {
    vmid(id).unwrap_or_default()
}
