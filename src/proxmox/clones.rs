//! Guests cloned and destroyed. The two know of each other: what linked clones build on is not destroyed under them.

use super::{
    guest::{Failed, Guest, told},
    making::{destroyable, made, named, unused},
    requests::{cluster, making, storage},
    resources::{Config, Resource, Volume, setting},
    space,
};
use crate::{
    model::{Outcome, Target, target::Vmid, values::GuestKind},
    sys::{task::Task, text::one_line},
};
use serde_json::json;

/// guest.clone.
pub(super) fn clone(
    mut guest: Guest,
    name: &str,
    newid: Option<u64>,
    node: Option<&str>,
    task: &Task,
) -> Result<Outcome, Failed> {
    named(name)?;
    let lines: Vec<Resource> = guest.client.ask(&cluster::resources())?;
    unused(&lines, name)?;
    if guest.kind == GuestKind::Ct && guest.before.running() {
        let help = format!("`remotectl run guest.shutdown {}` first", guest.target());
        return Err(guest.reject("runs: a container is cloned while it is stopped", help));
    }
    let elsewhere = node.filter(|node| *node != guest.node);
    if let Some(other) = elsewhere
        && !space::nodes(&lines).iter().any(|(node, _)| *node == other)
    {
        let help = "`remotectl nodes` lists them all".to_owned();
        return Err(guest.reject(&format!("can't be cloned to {}: no such node is online", one_line(other, 60)), help));
    }
    guest.unlocked(task)?;
    let newid = space::vmid(guest.client, &lines, newid)?;
    let linked = guest.before.template && elsewhere.is_none();
    if linked {
        let call = making::clone(&guest.place(), newid, name, None, false);
        match guest.carry_out("clone", &call, task) {
            Ok(upid) => return made(guest.client, guest.kind, newid, &upid, "cloned").map(destroyable),
            // Directories can't link a container's disk: that is refused before anything is made.
            Err(Failed::Api(error)) if error.reason().contains("Linked clone feature") => {
                task.report.progress("its storage can't link clones: copying it whole");
            }
            Err(failed) => return Err(failed),
        }
    }
    let upid = guest.carry_out("clone", &making::clone(&guest.place(), newid, name, elsewhere, true), task)?;
    made(guest.client, guest.kind, newid, &upid, "cloned").map(destroyable)
}

/// guest.destroy.
pub(super) fn destroy(mut guest: Guest, task: &Task) -> Result<Outcome, Failed> {
    if guest.before.running() {
        let help = format!("`remotectl run guest.shutdown {}` first", guest.target());
        return Err(guest.reject("is running: only a stopped guest is destroyed", help));
    }
    let config = guest.config()?;
    if setting(&config, "protection") == "1" {
        let help = "take the protection away in Proxmox (Options, Protection) if it is really to go".to_owned();
        return Err(guest.reject("is protected", help));
    }
    if guest.before.template {
        let clones = linked_clones(&guest, &config)?;
        if !clones.is_empty() {
            let help = "destroy those first, or clone them whole".to_owned();
            return Err(guest.reject(&format!("has linked clones: {}", clones.join(", ")), help));
        }
    }
    guest.unlocked(task)?;
    let upid = guest.carry_out("destroy", &making::destroy(&guest.place()), task)?;
    let left: Vec<Resource> = guest.client.ask(&cluster::guests())?;
    if left.iter().any(|line| line.guest().is_some_and(|(_, vmid)| vmid == guest.vmid)) {
        let outcome = Outcome::failure(format!("Proxmox's task succeeded, but {} is still listed", guest.label()));
        return Err(told(outcome.with_help("`remotectl guests` shows it again")));
    }
    Ok(Outcome::success(format!("{} is gone, its disks with it", guest.label()))
        .with_data(json!({"node": guest.node, "task": upid})))
}

/// The guests whose disks build on this template's. Proxmox itself destroys some templates under them.
fn linked_clones(guest: &Guest, config: &Config) -> Result<Vec<String>, Failed> {
    let content = if guest.kind == GuestKind::Ct { "rootdir" } else { "images" };
    // ZFS calls a container's base `basevol`.
    let bases = [format!("base-{}-", guest.vmid), format!("basevol-{}-", guest.vmid)];
    let on_base = |text: &str| bases.iter().any(|base| text.contains(base.as_str()));
    let disks = config.keys().map(|key| setting(config, key)).filter(|value| on_base(value));
    let mut storages: Vec<String> = disks.filter_map(|value| Some(value.split_once(':')?.0.to_owned())).collect();
    storages.sort_unstable();
    storages.dedup();
    let mut clones = Vec::new();
    for name in storages {
        let held: Vec<Volume> = guest.client.ask(&storage::content(&guest.node, &name, content, None))?;
        let built = held.iter().filter(|volume| volume.vmid != u64::from(guest.vmid));
        let on_it = built.filter(|volume| on_base(&volume.parent) || on_base(&volume.volid));
        clones.extend(on_it.filter_map(|volume| Vmid::try_from(volume.vmid).ok()));
    }
    clones.sort_unstable();
    clones.dedup();
    Ok(clones.into_iter().map(|vmid| Target::guest(guest.kind, vmid).to_string()).collect())
}
