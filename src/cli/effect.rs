//! What a step comes to, in a sentence for people: what it interrupts or destroys, and what would put it back.

use super::book::Book;
use crate::model::{Op, Risk, Step, Target, target::What, undo, values::GuestKind};

/// The arguments of an operation as one reads them: `nginx`, `max_connections = 200 in postgresql.conf`.
pub fn arguments(op: &Op) -> String {
    match op {
        Op::ExecRun { command, timeout: None } => command.clone(),
        Op::ConfigSet { path, key, value, .. } => format!("{key} = {value} in {path}"),
        Op::ConfigEdit { path, .. } => path.clone(),
        op => {
            let args = op.args();
            let single = args.len() == 1;
            let shown: Vec<String> = args
                .iter()
                .map(|(name, value)| {
                    let text = plain(value);
                    // A word that stands for itself needs no name before it.
                    let speaks = matches!(
                        name.as_str(),
                        "service" | "path" | "packages" | "snapshot" | "template" | "name" | "node"
                    );
                    if speaks || (single && value.is_string()) { text } else { format!("{name}={text}") }
                })
                .collect();
            shown.join(" ")
        }
    }
}

/// A JSON value as people write it.
pub fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What the step does to people who use its targets, and what would undo it; empty for one that only reads.
pub fn sentence(step: &Step, book: &Book) -> String {
    if step.risk == Risk::Observe {
        return String::new();
    }
    let who = names(&step.targets, book);
    let effect = effect(&step.op, &step.targets, &who);
    let undo = match &step.undo {
        Some(op) => {
            let what = [op.name(), &arguments(op)].join(" ").trim_end().to_owned();
            let whom = match &step.undo_targets[..] {
                [] => String::new(),
                others => format!(" of {}", names(others, book)),
            };
            format!("Undo: {what}{whom}.")
        }
        None => match (undo::told_after(&step.op), undo::lasting(&step.op)) {
            (Some(what), _) => format!("Undo: afterwards, `remotectl undo PLAN` {what}."),
            (None, _) if step.risk == Risk::Critical => "Can't be undone.".to_owned(),
            (None, Some(why)) => format!("Can't be undone by remotectl: {why}."),
            (None, None) => "Nothing to undo.".to_owned(),
        },
    };
    format!("{effect} {undo}").trim_start().to_owned()
}

fn effect(op: &Op, targets: &[Target], who: &str) -> String {
    match op {
        Op::ServiceRestart { service } => format!("Interrupts {service} on {who} for a moment."),
        Op::ServiceStop { service } => format!("{service} on {who} is gone until it is started again."),
        Op::ServiceDisable { service } => format!("{service} stays off at the next boot of {who}."),
        Op::SystemReboot {} | Op::GuestReboot {} => format!("Interrupts {who} for the time of a boot."),
        Op::GuestShutdown { .. } => format!("{who}: off until started again."),
        Op::GuestSuspend {} => format!("{who}: paused in memory until resumed."),
        Op::GuestStop {} => format!("Cuts the power of {who}: what was not written is lost."),
        Op::GuestDestroy {} => format!("Deletes {who} with all disks."),
        Op::GuestRollback { snapshot } => format!("What {who} wrote since {snapshot} is lost."),
        Op::GuestRestore { newid: None, .. } => format!("Overwrites {who}."),
        Op::GuestDeleteSnapshot { snapshot } => format!("Deletes the snapshot {snapshot} of {who}."),
        Op::GuestResize { disk, size } => format!("Grows {disk} of {who} to {size}."),
        Op::GuestMigrate { node } if machines(targets) => format!("Moves {who} to {node}; what runs goes on running."),
        Op::GuestMigrate { node } => format!("Moves {who} to {node}; a running container restarts there."),
        Op::NodeDrain { .. } => format!("Moves every guest off {who}."),
        Op::ConfigSet { .. } | Op::ConfigEdit { .. } | Op::ConfigRestore { .. } => {
            format!("Backed up on {who}, checked by its owner's own checker, put back where that fails.")
        }
        Op::PackageUpgrade { .. } => format!("May restart services of {who}."),
        Op::PackageRemove { packages } => format!("Takes {} off {who}.", packages.join(", ")),
        Op::AgentRemove {} => format!("{who}: no agent, nothing left behind."),
        _ => String::new(),
    }
}

fn machines(targets: &[Target]) -> bool {
    targets.iter().all(|target| matches!(target.what, What::Guest(GuestKind::Vm, _)))
}

/// `web-server`, `web-server and blog`, `6 targets`.
pub fn names(targets: &[Target], book: &Book) -> String {
    let called: Vec<String> = targets.iter().map(|target| book.called(target)).collect();
    match &called[..] {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] if called.len() <= 3 => format!("{} and {last}", first.join(", ")),
        many => count(many.len(), targets),
    }
}

/// `3 containers`, `1 node`, `5 targets`.
pub fn count(number: usize, targets: &[Target]) -> String {
    let all = |kind: fn(&What) -> bool| targets.iter().all(|target| kind(&target.what));
    let what = if all(|what| matches!(what, What::Guest(GuestKind::Ct, _))) {
        "container"
    } else if machines(targets) {
        "VM"
    } else if all(|what| matches!(what, What::Guest(..))) {
        "guest"
    } else if all(|what| matches!(what, What::Node(_))) {
        "node"
    } else {
        "target"
    };
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
