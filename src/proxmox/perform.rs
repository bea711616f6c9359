//! The operations that need nothing but the API, each in its family's file. What is asked is looked at first, done, then
//! looked at again: the summary says what was seen, not what was requested.

use super::{
    backups, changing,
    client::Client,
    clones, drain,
    guest::{Failed, Guest},
    making, moving, nodes, power, snapshots, templates,
};
use crate::{
    model::{
        Op, Outcome, Target, catalogue,
        target::{Vmid, What},
        values::GuestKind,
    },
    sys::task::Task,
};

/// Whether `perform` can do the operation of that name: what a pve-agent may tell as its capabilities.
pub fn can(name: &str) -> bool {
    catalogue::spec(name).is_some_and(|spec| spec.runs == catalogue::Runs::Pve) && !name.starts_with("agent.")
}

/// Carries out one operation of those that run in a pve-agent over the Proxmox API alone.
pub fn perform(client: &Client, op: &Op, target: &Target, task: &Task) -> Outcome {
    if !can(op.name()) {
        return Outcome::rejected(format!("{} can't be done on {target} by the Proxmox API", op.name()));
    }
    let done = match (&target.what, op) {
        (What::Cluster, Op::GuestCreate { .. }) => making::create(client, op, task),
        (What::Guest(kind, vmid), _) => on_guest(client, op, *kind, *vmid, task),
        (What::Node(node), Op::NodeStatus {}) => nodes::status(client, node).map_err(Failed::Api),
        (What::Node(node), Op::NodeTasks { limit, errors }) => {
            nodes::tasks(client, node, *limit, errors.unwrap_or(false)).map_err(Failed::Api)
        }
        (What::Node(node), Op::NodeDrain { to }) => drain::drain(client, node, to.as_deref(), task),
        (What::Cluster | What::Node(_), Op::TemplateList {}) => templates::list(client, target.node_name()),
        (What::Cluster | What::Node(_), Op::TemplateDownload { template, storage }) => {
            templates::download(client, target.node_name(), template, storage.as_deref(), task)
        }
        _ => Ok(Outcome::rejected(format!("{} can't be done on {target} by the Proxmox API", op.name()))),
    };
    done.unwrap_or_else(|failed| failed.outcome(target))
}

fn on_guest(client: &Client, op: &Op, kind: GuestKind, vmid: Vmid, task: &Task) -> Result<Outcome, Failed> {
    let done = Guest::find(client, kind, vmid).and_then(|guest| with_guest(guest, op, task));
    if !matches!(done, Err(Failed::Gone(_))) {
        return done;
    }
    // It went elsewhere between a look and a request. Nothing was done, so that it is done over there, once.
    let guest = Guest::find(client, kind, vmid)?;
    task.report.progress(&format!("it is on {} now", guest.node));
    with_guest(guest, op, task)
}

fn with_guest(guest: Guest, op: &Op, task: &Task) -> Result<Outcome, Failed> {
    match op {
        Op::GuestStatus {} => power::status(&guest),
        Op::GuestStart {} => power::start(guest, task),
        Op::GuestShutdown { timeout } => power::shutdown(guest, timeout.as_ref(), task),
        Op::GuestStop {} => power::stop(guest, task),
        Op::GuestReboot {} => power::reboot(guest, task),
        Op::GuestSuspend {} => power::suspend(guest, task),
        Op::GuestResume {} => power::resume(guest, task),
        Op::GuestSnapshots {} => snapshots::list(&guest),
        Op::GuestSnapshot { name } => snapshots::take(guest, name.as_deref(), task),
        Op::GuestRollback { snapshot } => snapshots::rollback(guest, snapshot, task),
        Op::GuestDeleteSnapshot { snapshot } => snapshots::delete(guest, snapshot, task),
        Op::GuestMigrate { node } => moving::migrate(guest, node, task),
        Op::GuestClone { name, newid, node } => clones::clone(guest, name, *newid, node.as_deref(), task),
        Op::GuestDestroy {} => clones::destroy(guest, task),
        Op::GuestResize { disk, size } => changing::resize(guest, disk, size, task),
        Op::GuestConfigure { .. } => changing::configure(guest, op, task),
        Op::GuestBackup { storage } => backups::back_up(guest, storage.as_deref(), task),
        Op::GuestBackups {} => backups::list(&guest),
        Op::GuestRestore { backup, storage, newid } => {
            backups::restore(guest, backup, storage.as_deref(), *newid, task)
        }
        _ => Ok(Outcome::rejected(format!("{} can't be done on {} by the Proxmox API", op.name(), guest.target()))),
    }
}
