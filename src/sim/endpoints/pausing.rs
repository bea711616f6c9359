//! Pausing and going on; and what HA does with a request: it notes what is wanted, and does it a little later.

use super::guests::{admit, find, prefix, set_going};
use crate::{
    model::{inventory::Guest, values::GuestKind},
    sim::{
        answer::{Answer, Fault},
        backend::Action,
        params::{Kind, optional, vmid},
        router::Call,
        tasks::TaskLog,
    },
};
use std::{sync::Arc, time::Duration};

/// How long the HA manager takes to see what is wanted: some seconds in real life.
const HA_ROUND: Duration = Duration::from_millis(300);

pub(super) fn act(call: &Call, node: &str, kind: GuestKind, id: &str, word: &str) -> Result<Answer, Fault> {
    let skiplock = [optional("skiplock", Kind::Boolean)];
    let specs = if kind == GuestKind::Vm { &skiplock[..] } else { &[] };
    let (node, _) = admit(call, node, id, &["VM.PowerMgmt"], specs)?;
    let guest = find(call, &node, kind, id);
    let running = guest.as_ref().is_some_and(Guest::running);
    match (kind, word) {
        (GuestKind::Vm, _) if !running => return Err(Fault::failed(format!("VM {id} not running"))),
        (GuestKind::Ct, "resume") if running => return Err(Fault::failed(format!("CT {id} already running"))),
        (GuestKind::Ct, "suspend") if !running => return Err(Fault::failed(format!("CT {id} not running"))),
        _ => {}
    }
    let kind_of_task = match (kind, word) {
        (GuestKind::Vm, "suspend") => "qmpause".to_owned(),
        _ => format!("{}{word}", prefix(kind)),
    };
    let (details, wanted, vmid) = (Arc::clone(&call.cluster.details), word == "suspend", vmid(id).unwrap_or_default());
    set_going(call, &node, &kind_of_task, id, move |_| {
        if kind == GuestKind::Ct {
            // As on the recorded node, which has no CRIU.
            return Err("command 'lxc-checkpoint' failed: exit code 1".to_owned());
        }
        let mut state = details.state();
        if wanted {
            state.paused.insert(vmid);
        } else {
            state.paused.remove(&vmid);
        }
        Ok(())
    })
}

/// What HA is asked for by an action, where HA manages the guest.
pub(super) fn wanted_of_ha(call: &Call, id: &str, action: &Action) -> Option<&'static str> {
    let managed = call.cluster.details.state().managed.contains_key(&vmid(id)?);
    match action {
        _ if !managed => None,
        Action::Start => Some("started"),
        Action::Stop | Action::Shutdown { .. } => Some("stopped"),
        Action::Reboot { .. } => None,
    }
}

/// Asks HA: the task ends at once, the deed comes later.
pub(super) fn ask_ha(
    call: &Call,
    node: &str,
    kind: GuestKind,
    id: &str,
    wanted: &'static str,
    deed: impl FnOnce(&TaskLog) -> Result<(), String> + Send + 'static,
) -> Result<Answer, Fault> {
    let word = if wanted == "started" { "start" } else { "stop" };
    let line = format!("Requesting HA {word} for {} {id}", if kind == GuestKind::Ct { "CT" } else { "VM" });
    let (details, vmid) = (Arc::clone(&call.cluster.details), vmid(id).unwrap_or_default());
    set_going(call, node, &format!("ha{word}"), id, move |log| {
        log.line(line);
        details.state().managed.insert(vmid, wanted.to_owned());
        let log = log.clone();
        std::thread::spawn(move || {
            if !log.aborted_within(HA_ROUND) {
                // The manager tries again and again; one deed is enough here.
                deed(&log).unwrap_or_default();
            }
        });
        Ok(())
    })
}

/// Asks HA to move a guest: the task ends at once, the guest is on its way a little later and over there in the end.
pub(super) fn ask_ha_to_move(
    call: &Call,
    node: &str,
    kind: GuestKind,
    id: &str,
    target: &str,
    deed: impl FnOnce(&TaskLog) -> Result<(), String> + Send + 'static,
) -> Result<Answer, Fault> {
    let label = if kind == GuestKind::Ct { "CT" } else { "VM" };
    let line = format!("Requesting HA migration for {label} {id} to node {target}");
    let (details, vmid) = (Arc::clone(&call.cluster.details), vmid(id).unwrap_or_default());
    set_going(call, node, "hamigrate", id, move |log| {
        log.line(line);
        let wanted = details.state().managed.insert(vmid, "migrate".to_owned());
        let log = log.clone();
        std::thread::spawn(move || {
            if !log.aborted_within(HA_ROUND) {
                // A move that fails leaves the guest where it is: the manager tells nobody.
                deed(&log).unwrap_or_default();
            }
            details.state().managed.extend(wanted.map(|wanted| (vmid, wanted)));
        });
        Ok(())
    })
}
