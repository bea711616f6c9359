//! A node emptied for maintenance: each guest is moved, or named with the reason why it stays. Where they went is told, so
//! that they can be sent back.

use super::{
    client::Client,
    guest::{Failed, Guest, told},
    moving,
    requests::cluster,
    resources::Resource,
    space,
};
use crate::{
    model::{Outcome, Target, outcome::Ending},
    sys::{task::Task, text::one_line},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// A guest that was moved.
#[derive(Serialize)]
struct Moved {
    target: Target,
    name: String,
    to: String,
}

/// A guest that is still there.
#[derive(Serialize)]
struct Stayed {
    target: Target,
    name: String,
    why: String,
}

/// node.drain.
pub(super) fn drain(client: &Client, node: &str, to: Option<&str>, task: &Task) -> Result<Outcome, Failed> {
    let lines: Vec<Resource> = client.ask(&cluster::resources())?;
    let mut free: BTreeMap<String, u64> = space::nodes(&lines)
        .into_iter()
        .filter(|(name, _)| *name != node)
        .map(|(name, free)| (name.to_owned(), free))
        .collect();
    if let Some(to) = to {
        free.retain(|name, _| name == to);
    }
    if free.is_empty() {
        let outcome = match to {
            Some(to) => Outcome::rejected(format!("{} is no other node that is online", one_line(to, 60))),
            None => Outcome::rejected(format!("no other node is online that could take the guests of {node}")),
        };
        return Err(told(outcome.with_help("`remotectl nodes` shows which are")));
    }
    let mut here: Vec<&Resource> = lines.iter().filter(|line| line.node == node && line.guest().is_some()).collect();
    // What runs is what maintenance would interrupt: it goes first, the largest before the smaller ones.
    here.sort_by_key(|line| (line.status != "running", std::cmp::Reverse(line.maxmem), line.vmid));
    let (mut moved, mut stayed) = (Vec::new(), Vec::new());
    let mut cancelled = false;
    for line in here {
        let Some((kind, vmid)) = line.guest() else { continue };
        let (target, name) = (Target::guest(kind, vmid), one_line(&line.name, 80));
        if line.template {
            stayed.push(Stayed { target, name, why: "a template: nothing runs in it".to_owned() });
            continue;
        }
        if task.cancel.fired() {
            cancelled = true;
            stayed.push(Stayed { target, name, why: "cancelled".to_owned() });
            continue;
        }
        match send_away(client, line, &mut free, task) {
            Ok(to) => moved.push(Moved { target, name, to }),
            Err(why) => stayed.push(Stayed { target, name, why }),
        }
    }
    Ok(account(node, &moved, &stayed, cancelled))
}

/// Moves one guest to the roomiest node that will have it; says why not, otherwise.
fn send_away(
    client: &Client,
    line: &Resource,
    free: &mut BTreeMap<String, u64>,
    task: &Task,
) -> Result<String, String> {
    let (kind, vmid) = line.guest().ok_or("no guest")?;
    let why = |failed: Failed| failed.outcome(&Target::guest(kind, vmid)).summary;
    let mut guest = Guest::find(client, kind, vmid).map_err(why)?;
    if guest.node != line.node {
        return Ok(guest.node);
    }
    guest.unlocked(task).map_err(why)?;
    let needs = if guest.before.running() { line.maxmem } else { 0 };
    let mut by_room: Vec<(String, u64)> = free.iter().map(|(name, free)| (name.clone(), *free)).collect();
    by_room.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let mut reasons = Vec::new();
    for (to, room) in by_room {
        if room < needs {
            reasons.push(format!("{to} has {} MiB of memory left of the {} that it needs", room >> 20, needs >> 20));
            continue;
        }
        if let Some(obstacle) = moving::obstacle(&guest, &to).map_err(why)? {
            reasons.push(obstacle);
            continue;
        }
        task.report.progress(&format!("{} goes to {to}", guest.label()));
        moving::go(&guest, &to, task).map_err(why)?;
        moving::arrived(&guest, &to, task).map_err(why)?;
        if let Some(free) = free.get_mut(&to) {
            *free = free.saturating_sub(needs);
        }
        return Ok(to);
    }
    reasons.dedup();
    Err(reasons.join("; "))
}

fn account(node: &str, moved: &[Moved], stayed: &[Stayed], cancelled: bool) -> Outcome {
    let templates = stayed.iter().filter(|guest| guest.why.starts_with("a template")).count();
    let stuck: Vec<&Stayed> = stayed.iter().filter(|guest| !guest.why.starts_with("a template")).collect();
    let mut parts = vec![match moved.len() {
        0 if stuck.is_empty() => format!("nothing was left to move off {node}"),
        1 => "1 guest moved".to_owned(),
        count => format!("{count} guests moved"),
    }];
    if templates > 0 {
        parts.push(if templates == 1 { "1 template stays".to_owned() } else { format!("{templates} templates stay") });
    }
    if !stuck.is_empty() {
        let list: Vec<String> =
            stuck.iter().map(|guest| format!("{} {} ({})", guest.target, guest.name, guest.why)).collect();
        parts.push(format!("still on {node}: {}", list.join(", ")));
    }
    let data = serde_json::json!({"node": node, "moved": moved, "stayed": stayed});
    let outcome = Outcome::success(one_line(&parts.join("; "), 1_000)).with_data(data);
    let targets: Vec<String> = moved.iter().map(|guest| guest.target.to_string()).collect();
    let back = format!("`remotectl run guest.migrate {} node={node}` brings them back", targets.join(","));
    match (stuck.is_empty(), moved.is_empty()) {
        (true, true) => outcome,
        (true, false) => outcome.with_help(back),
        (false, _) => {
            let ending = if cancelled { Ending::Cancelled } else { Ending::Failed };
            let help = "shut down what can't move, then drain again".to_owned();
            Outcome { ending, ..outcome }.with_help(help)
        }
    }
}
