//! A guest's power and state: looked at, changed, looked at again.

use super::{
    guest::{Failed, Guest, MARGIN, state},
    requests::power,
    resources::{Current, tags},
};
use crate::{
    model::{
        Outcome,
        values::{GuestKind, Span},
    },
    sys::{task::Task, text::one_line},
};
use serde_json::json;
use std::time::Duration;

/// How long a clean shutdown may take when nobody says otherwise: Proxmox's own default.
const SHUTDOWN: Duration = Duration::from_mins(1);

/// guest.status.
pub(super) fn status(guest: &Guest) -> Result<Outcome, Failed> {
    let config = guest.config()?;
    let now = &guest.before;
    let mut parts = vec![if now.template { "template".to_owned() } else { state(now) }];
    parts.push(format!("on {}", guest.node));
    parts.push(if now.cpus > 1 { format!("{} cores", now.cpus) } else { "1 core".to_owned() });
    parts.push(format!("{} of {} MiB memory", now.mem >> 20, now.maxmem >> 20));
    parts.extend(now.lock.as_ref().map(|lock| format!("locked ({})", one_line(lock, 30))));
    parts.extend(now.ha.state.as_ref().map(|wanted| format!("HA wants it {}", one_line(wanted, 30))));
    Ok(Outcome::success(parts.join(", ")).with_data(json!({
        "name": now.name, "status": now.status, "node": guest.node, "uptime": now.uptime, "pid": now.pid,
        "lock": now.lock, "template": now.template, "cores": now.cpus, "memory_mib": now.maxmem >> 20,
        "memory_used_mib": now.mem >> 20, "tags": tags(&now.tags), "ha": now.ha.state, "config": config,
    })))
}

/// guest.start.
pub(super) fn start(mut guest: Guest, task: &Task) -> Result<Outcome, Failed> {
    if guest.before.template {
        let help = format!("`remotectl run guest.clone {} name=NAME` makes a guest of it", guest.target());
        return Err(guest.reject("is a template: it can't be started", help));
    }
    if guest.before.running() {
        return Ok(guest.seen(&format!("was already {}", state(&guest.before)), &guest.before, None));
    }
    // A machine that sleeps on disk holds this lock itself; starting is what wakes it.
    if guest.before.lock.as_deref() != Some("suspended") {
        guest.unlocked(task)?;
    }
    let upid = guest.carry_out("start", &power::start(&guest.place()), task)?;
    let now = guest.await_state(task, Current::running)?;
    Ok(guest.seen(&state(&now), &now, Some(&upid)))
}

/// guest.shutdown.
pub(super) fn shutdown(mut guest: Guest, timeout: Option<&Span>, task: &Task) -> Result<Outcome, Failed> {
    if !guest.before.running() {
        return Ok(guest.seen("was already stopped", &guest.before, None));
    }
    guest.unlocked(task)?;
    let given = timeout.map_or(SHUTDOWN, |span| Duration::from_secs(span.seconds()));
    let call = power::shutdown(&guest.place(), given.as_secs());
    let upid = guest.carry_out("shutdown", &call, &extended(task, given))?;
    let now = guest.await_state(task, |now| !now.running())?;
    Ok(guest.seen("shut down cleanly", &now, Some(&upid)))
}

/// guest.stop.
pub(super) fn stop(mut guest: Guest, task: &Task) -> Result<Outcome, Failed> {
    if !guest.before.running() {
        return Ok(guest.seen("was already stopped", &guest.before, None));
    }
    // A virtual machine's plug can be pulled whatever lock is held.
    if guest.kind == GuestKind::Ct {
        guest.unlocked(task)?;
    }
    let upid = guest.carry_out("stop", &power::stop(&guest.place()), task)?;
    let now = guest.await_state(task, |now| !now.running())?;
    Ok(guest.seen("stopped", &now, Some(&upid)))
}

/// guest.reboot.
pub(super) fn reboot(mut guest: Guest, task: &Task) -> Result<Outcome, Failed> {
    if !guest.before.running() {
        let help = format!("`remotectl run guest.start {}` starts it", guest.target());
        return Err(guest.reject("is not running: there is nothing to reboot", help));
    }
    guest.unlocked(task)?;
    let call = power::reboot(&guest.place(), SHUTDOWN.as_secs());
    let upid = guest.carry_out("reboot", &call, &extended(task, SHUTDOWN))?;
    let before = &guest.before;
    let anew = |now: &Current| now.running() && (now.pid != before.pid || now.uptime < before.uptime);
    let now = guest.await_state(task, anew)?;
    Ok(guest.seen(&format!("rebooted, {}", state(&now)), &now, Some(&upid)))
}

/// guest.suspend.
pub(super) fn suspend(mut guest: Guest, task: &Task) -> Result<Outcome, Failed> {
    if !guest.before.running() {
        let help = format!("`remotectl run guest.status {}` shows its state", guest.target());
        return Err(guest.reject("is not running: there is nothing to suspend", help));
    }
    if guest.before.paused() {
        return Ok(guest.seen("was already paused", &guest.before, None));
    }
    guest.unlocked(task)?;
    let upid = guest.carry_out("suspend", &power::suspend(&guest.place()), task)?;
    // A container is written to disk and ends; a machine stays in memory, paused.
    let now = guest.await_state(task, |now| now.paused() || !now.running())?;
    Ok(guest.seen(if now.paused() { "paused" } else { "suspended" }, &now, Some(&upid)))
}

/// guest.resume.
pub(super) fn resume(mut guest: Guest, task: &Task) -> Result<Outcome, Failed> {
    if guest.before.running() && !guest.before.paused() {
        return Ok(guest.seen(&format!("was already {}", state(&guest.before)), &guest.before, None));
    }
    // A machine that sleeps on disk is woken by resuming; one that is off has nothing to resume.
    let asleep = guest.before.lock.as_deref() == Some("suspended");
    if guest.kind == GuestKind::Vm && !guest.before.running() && !asleep {
        let help = format!("`remotectl run guest.start {}` starts it", guest.target());
        return Err(guest.reject("is stopped: there is nothing to resume", help));
    }
    if !asleep {
        guest.unlocked(task)?;
    }
    let upid = guest.carry_out("resume", &power::resume(&guest.place()), task)?;
    let now = guest.await_state(task, |now| now.running() && !now.paused())?;
    Ok(guest.seen(&state(&now), &now, Some(&upid)))
}

/// The same task with time enough for Proxmox to keep its own time-out.
fn extended<'a>(task: &Task<'a>, given: Duration) -> Task<'a> {
    Task { timeout: task.timeout.max(given + MARGIN), ..task.clone() }
}
