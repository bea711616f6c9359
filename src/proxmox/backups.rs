//! Backups: taken with vzdump while the guest runs, listed, put back.

use super::{
    guest::{Failed, Guest, told},
    making::{destroyable, made, set_going},
    nodes,
    requests::{Place, cluster, making, storage},
    resources::{Resource, Volume, setting},
    space,
};
use crate::{
    model::{Outcome, target::Vmid, values::GuestKind},
    sys::{clock, task::Task, text::one_line},
};
use serde::Serialize;
use serde_json::json;

/// One backup, as listed.
#[derive(Debug, Clone, Serialize)]
struct Backup {
    #[serde(rename = "backup")]
    volume: String,
    taken: u64,
    size: u64,
    notes: String,
    protected: bool,
}

/// guest.backup.
pub(super) fn back_up(mut guest: Guest, named: Option<&str>, task: &Task) -> Result<Outcome, Failed> {
    // How large it will be nobody knows before.
    let storage = space::storage(guest.client, &guest.node, "backup", named, 0)?;
    guest.unlocked(task)?;
    let before = all(&guest)?;
    let upid = guest.carry_out("backup", &storage::back_up(&guest.place(), &storage.storage), task)?;
    let new = all(&guest)?.into_iter().find(|now| !before.iter().any(|old| old.volume == now.volume));
    let Some(new) = new else {
        let outcome = Outcome::failure(format!("Proxmox's task succeeded, but {} has no new backup", storage.storage));
        return Err(told(outcome.with_help(format!("`remotectl run guest.backups {}` lists them", guest.target()))));
    };
    let summary = format!("backed up to {}, {} MiB", storage.storage, new.size.div_ceil(1 << 20));
    Ok(Outcome::success(summary).with_data(json!({"backup": new, "node": guest.node, "task": upid})))
}

/// guest.backups.
pub(super) fn list(guest: &Guest) -> Result<Outcome, Failed> {
    let there = all(guest)?;
    let summary = match there.first() {
        None => "no backup".to_owned(),
        Some(newest) => {
            let now = u64::try_from(clock::unix_seconds()).unwrap_or_default();
            let ago = nodes::span(now.saturating_sub(newest.taken));
            let count = if there.len() == 1 { "1 backup".to_owned() } else { format!("{} backups", there.len()) };
            format!("{count}, the newest {ago} old")
        }
    };
    Ok(Outcome::success(summary).with_data(there))
}

/// guest.restore.
pub(super) fn restore(
    guest: Guest,
    backup: &str,
    storage: Option<&str>,
    newid: Option<u64>,
    task: &Task,
) -> Result<Outcome, Failed> {
    let there = all(&guest)?;
    let found = match backup {
        "newest" | "latest" => there.first(),
        named => there.iter().find(|one| one.volume == named || space::file(&one.volume) == named),
    };
    let Some(found) = found else {
        let help = format!("`remotectl run guest.backups {}` lists them", guest.target());
        return Err(guest.reject(&format!("has no backup {}", one_line(backup, 120)), help));
    };
    let content = if guest.kind == GuestKind::Ct { "rootdir" } else { "images" };
    if let Some(name) = storage {
        space::storage(guest.client, &guest.node, content, Some(name), 0)?;
    }
    task.report.progress(&format!("from {}", found.volume));
    match newid {
        Some(newid) if newid != u64::from(guest.vmid) => aside(&guest, &found.volume, storage, newid, task),
        _ => over(guest, &found.volume.clone(), storage, task),
    }
}

/// Beside the guest, as a new one.
fn aside(guest: &Guest, archive: &str, storage: Option<&str>, newid: u64, task: &Task) -> Result<Outcome, Failed> {
    let lines: Vec<Resource> = guest.client.ask(&cluster::resources())?;
    let vmid: Vmid = space::vmid(guest.client, &lines, Some(newid))?;
    let place = Place { vmid, ..guest.place() };
    let call = making::restore(&place, archive, storage, false);
    let upid = set_going(guest.client, &call, &guest.node, vmid, task, "restore")?;
    made(guest.client, guest.kind, vmid, &upid, "restored").map(destroyable)
}

/// Over the guest itself: what it holds now is lost.
fn over(mut guest: Guest, archive: &str, storage: Option<&str>, task: &Task) -> Result<Outcome, Failed> {
    if guest.before.template {
        let help = "give a `newid` to restore it beside this one".to_owned();
        return Err(guest.reject("is a template, and clones may build on it: nothing is restored over it", help));
    }
    if guest.before.running() {
        let help = format!("`remotectl run guest.shutdown {}` first, or give a `newid`", guest.target());
        return Err(guest.reject("is running: only a stopped guest is restored over", help));
    }
    if setting(&guest.config()?, "protection") == "1" {
        let help = "give a `newid` to restore it beside this one".to_owned();
        return Err(guest.reject("is protected: nothing is restored over it", help));
    }
    guest.unlocked(task)?;
    let upid = guest.carry_out("restore", &making::restore(&guest.place(), archive, storage, true), task)?;
    made(guest.client, guest.kind, guest.vmid, &upid, "restored")
}

/// A guest's backups on all storages of its node, the newest first.
fn all(guest: &Guest) -> Result<Vec<Backup>, Failed> {
    let mut there: Vec<Volume> = Vec::new();
    for line in space::storages(guest.client, &guest.node, "backup")? {
        let call = storage::content(&guest.node, &line.storage, "backup", Some(guest.vmid));
        there.extend(guest.client.ask::<Vec<Volume>>(&call)?);
    }
    there.sort_by(|one, other| other.ctime.cmp(&one.ctime).then_with(|| other.volid.cmp(&one.volid)));
    there.dedup_by(|one, other| one.volid == other.volid);
    let backup = |volume: Volume| Backup {
        volume: volume.volid,
        taken: volume.ctime,
        size: volume.size,
        notes: one_line(&volume.notes, 120),
        protected: volume.protected,
    };
    // The guest that had this id before may have been of the other kind; its backups are not this one's.
    let word = if guest.kind == GuestKind::Ct { ["-lxc-", "/ct/"] } else { ["-qemu-", "/vm/"] };
    there.retain(|volume| word.iter().any(|word| volume.volid.contains(word)));
    Ok(there.into_iter().map(backup).collect())
}
