//! A guest's snapshots: listed, taken, gone back to, deleted; each time looked for in the list again.

use super::{
    guest::{Failed, Guest, told},
    lenient,
    requests::snapshots,
};
use crate::{
    model::Outcome,
    sys::{clock, task::Task, text::one_line},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How long a snapshot's name may be.
const LONGEST_NAME: usize = 40;

/// One snapshot, as listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Snapshot {
    name: String,
    #[serde(default, deserialize_with = "lenient::maybe_number", rename(deserialize = "snaptime"))]
    taken: Option<u64>,
    #[serde(default, deserialize_with = "lenient::text")]
    description: String,
    #[serde(default)]
    parent: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Feature {
    #[serde(rename = "hasFeature", default, deserialize_with = "lenient::flag")]
    there: bool,
}

/// guest.snapshots.
pub(super) fn list(guest: &Guest) -> Result<Outcome, Failed> {
    let there = all(guest)?;
    let newest = there.iter().max_by_key(|snapshot| snapshot.taken);
    let summary = match (there.len(), newest) {
        (0, _) | (_, None) => "no snapshots".to_owned(),
        (1, Some(only)) => format!("1 snapshot: {}", only.name),
        (count, Some(newest)) => format!("{count} snapshots, the newest: {}", newest.name),
    };
    Ok(Outcome::success(summary).with_data(there))
}

/// guest.snapshot.
pub(super) fn take(mut guest: Guest, name: Option<&str>, task: &Task) -> Result<Outcome, Failed> {
    let unnamed = name.is_none();
    let name = name.map_or_else(fresh_name, str::to_owned);
    valid(&guest, &name)?;
    if all(&guest)?.iter().any(|snapshot| snapshot.name == name) {
        let help = format!("`remotectl run guest.snapshots {}` lists them; give another name", guest.target());
        return Err(guest.reject(&format!("has a snapshot {name} already"), help));
    }
    let feature: Feature = guest.client.ask(&snapshots::possible(&guest.place()))?;
    if !feature.there {
        let help = format!("its storage has no snapshots: `remotectl run guest.backup {}` backs it up", guest.target());
        return Err(guest.reject("can't be snapshotted where its disks are", help));
    }
    guest.unlocked(task)?;
    let call = snapshots::take(&guest.place(), &name, "taken by remotectl");
    let upid = guest.carry_out("snapshot", &call, task)?;
    let seen = all(&guest)?.into_iter().find(|snapshot| snapshot.name == name);
    let Some(seen) = seen else { return Err(told(unseen(&guest, &name, "is not in its list"))) };
    let outcome = Outcome::success(format!("snapshot {name} taken"))
        .with_data(json!({"snapshot": seen, "node": guest.node, "task": upid}));
    // The plan could not tell how to take this back: the name is of this moment.
    let undo = format!("`remotectl run guest.delete_snapshot {} snapshot={name}` deletes it again", guest.target());
    Ok(if unnamed { outcome.with_help(undo) } else { outcome })
}

/// guest.rollback.
pub(super) fn rollback(mut guest: Guest, name: &str, task: &Task) -> Result<Outcome, Failed> {
    let there = existing(&guest, name)?;
    if guest.before.ha.managed && guest.before.running() {
        task.report.progress("it is managed by HA, which will start it again");
    }
    guest.unlocked(task)?;
    // A running guest is cut off by a rollback. It ran, so it is to run afterwards.
    let ran = guest.before.running();
    let call = snapshots::rollback(&guest.place(), name, ran);
    let upid = guest.carry_out("rollback", &call, task)?;
    let now = guest.await_state(task, |now| !ran || now.running())?;
    let since = there.iter().find(|snapshot| snapshot.name == name).and_then(|snapshot| snapshot.taken);
    let state = if now.running() { "running again" } else { "stopped" };
    Ok(Outcome::success(format!("back at {name}, {state}"))
        .with_data(json!({"snapshot": name, "taken": since, "status": now.status, "node": guest.node, "task": upid})))
}

/// guest.delete_snapshot.
pub(super) fn delete(mut guest: Guest, name: &str, task: &Task) -> Result<Outcome, Failed> {
    existing(&guest, name)?;
    guest.unlocked(task)?;
    let upid = guest.carry_out("delete_snapshot", &snapshots::delete(&guest.place(), name), task)?;
    let left = all(&guest)?;
    if left.iter().any(|snapshot| snapshot.name == name) {
        return Err(told(unseen(&guest, name, "is still in its list")));
    }
    let summary = format!("snapshot {name} deleted, {} left", left.len());
    Ok(Outcome::success(summary).with_data(json!({"left": left, "node": guest.node, "task": upid})))
}

fn unseen(guest: &Guest, name: &str, what: &str) -> Outcome {
    let outcome =
        Outcome::failure(format!("Proxmox's task succeeded, but snapshot {name} of {} {what}", guest.label()));
    outcome.with_help(format!("`remotectl run guest.snapshots {}` shows them again", guest.target()))
}

/// All of a guest's snapshots, without the `current` that Proxmox lists as one.
fn all(guest: &Guest) -> Result<Vec<Snapshot>, Failed> {
    let mut there: Vec<Snapshot> = guest.client.ask(&snapshots::list(&guest.place()))?;
    there.retain(|snapshot| snapshot.name != "current");
    for snapshot in &mut there {
        snapshot.description = one_line(&snapshot.description, 200);
    }
    Ok(there)
}

fn existing(guest: &Guest, name: &str) -> Result<Vec<Snapshot>, Failed> {
    let there = all(guest)?;
    if there.iter().any(|snapshot| snapshot.name == name) {
        return Ok(there);
    }
    let names: Vec<&str> = there.iter().map(|snapshot| snapshot.name.as_str()).collect();
    let help = match names[..] {
        [] => format!("it has none: `remotectl run guest.snapshot {}` takes one", guest.target()),
        _ => format!("it has {}", names.join(", ")),
    };
    Err(guest.reject(&format!("has no snapshot {}", one_line(name, LONGEST_NAME)), help))
}

/// Proxmox's rule for configuration ids, and its one reserved name.
fn valid(guest: &Guest, name: &str) -> Result<(), Failed> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let letter = name.starts_with(|first: char| first.is_ascii_alphabetic());
    if plain && letter && (2..=LONGEST_NAME).contains(&name.len()) && !name.eq_ignore_ascii_case("current") {
        return Ok(());
    }
    let help = "a letter, then letters, digits, `-` and `_`: 2 to 40 of them, and not `current`".to_owned();
    Err(guest.reject(&format!("can't have a snapshot called {}", one_line(name, LONGEST_NAME)), help))
}

/// A name that tells when, for whoever gives none.
fn fresh_name() -> String {
    let now = clock::rfc3339(clock::unix_seconds());
    let digits: String = now.chars().filter(char::is_ascii_digit).take(14).collect();
    format!("remotectl-{digits}")
}

#[cfg(test)]
mod tests {
    use super::fresh_name;

    #[test]
    fn a_fresh_name_is_one_that_proxmox_takes() {
        let name = fresh_name();
        assert!(name.len() == 24 && name.starts_with("remotectl-2"), "{name}");
    }
}
