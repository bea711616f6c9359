//! `agents --coverage`: every guest with its agent, its version, whether it answers and by which route; or why not, and the
//! command that would mend it, whole, however narrow the terminal.

use super::{listing::ago, screen::Screen, table::Table};
use crate::{
    model::{Exit, Failure, Target, messages::GuestRow},
    roles::client::Hub,
};
use serde_json::json;
use std::collections::BTreeMap;

/// Guests that one command names at most.
const TOGETHER: usize = 20;

/// Prints it.
pub fn coverage(screen: &mut Screen, hub: &Hub, selector: &str, json: bool) -> Result<Exit, Failure> {
    let rows = hub.guests(selector)?;
    if json {
        screen.json(&rows.iter().map(as_json).collect::<Vec<_>>());
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        screen.note("no guest".to_owned());
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[("GUEST", 0), ("NAME", 2), ("NODE", 4), ("AGENT", 0), ("ANSWERS", 0), ("ROUTE", 3)]);
    for row in &rows {
        table.row(cells(row));
    }
    screen.table(&table);
    let answering = rows.iter().filter(|row| answers(row)).count();
    screen.note(format!("{answering} of {} guests have an agent that answers", rows.len()));
    for command in commands(&rows) {
        screen.help(&command);
    }
    Ok(Exit::Done)
}

fn answers(row: &GuestRow) -> bool {
    row.guest.agent.as_ref().is_some_and(crate::model::inventory::AgentInfo::online)
}

fn cells(row: &GuestRow) -> Vec<String> {
    let guest = &row.guest;
    let version = guest.agent.as_ref().map_or_else(|| "none".to_owned(), |agent| agent.version.clone());
    let standing = match (&row.why, row.last_seen) {
        (Some(why), _) => why.clone(),
        (None, Some(seconds)) if answers(row) => format!("yes, {} ago", ago(seconds)),
        (None, _) if answers(row) => "yes".to_owned(),
        (None, _) => String::new(),
    };
    vec![guest.target().to_string(), guest.name.clone(), guest.node.clone(), version, standing, row.route.clone()]
}

fn as_json(row: &GuestRow) -> serde_json::Value {
    let guest = &row.guest;
    json!({
        "target": guest.target(), "name": guest.name, "node": guest.node, "status": guest.status,
        "agent": guest.agent.as_ref().map(|agent| &agent.version), "answers": answers(row), "route": row.route,
        "last_seen": row.last_seen, "why": row.why, "help": row.help,
    })
}

/// What mends what is missing: those that take the same command together.
pub fn commands(rows: &[GuestRow]) -> Vec<String> {
    let mut targets: BTreeMap<String, Vec<Target>> = BTreeMap::new();
    for row in rows {
        let target = row.guest.target();
        if let Some(help) = &row.help {
            let (command, own) = match help.strip_suffix(&format!(" {target}")) {
                Some(command) => (command.to_owned(), Some(target)),
                None => (help.clone(), None),
            };
            targets.entry(command).or_default().extend(own);
        }
    }
    let together = |(command, targets): (String, Vec<Target>)| {
        let several = |some: &[Target]| {
            let names: Vec<String> = some.iter().map(Target::to_string).collect();
            format!("{command} {}", names.join(","))
        };
        if targets.is_empty() { vec![command] } else { targets.chunks(TOGETHER).map(several).collect() }
    };
    targets.into_iter().flat_map(together).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inventory::{AgentInfo, Guest};

    fn row(vmid: u32, why: Option<&str>, help: Option<&str>) -> GuestRow {
        let homelab: crate::model::Inventory =
            serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap();
        let guest: Guest = homelab.guests.into_iter().find(|guest| guest.vmid == vmid).unwrap();
        let own = |text: &str| text.to_owned();
        GuestRow { guest, route: String::new(), last_seen: None, why: why.map(own), help: help.map(own) }
    }

    #[test]
    fn those_that_take_the_same_command_stand_together() {
        let rows = [
            row(118, None, None),
            row(110, None, Some("remotectl deploy ct/110")),
            row(119, None, Some("remotectl deploy ct/119")),
            row(121, Some("stopped"), Some("remotectl run guest.start ct/121")),
            row(201, Some("no pve-agent on pve3"), Some("remotectl deploy node/pve3")),
        ];
        let wanted =
            ["remotectl deploy ct/110,ct/119", "remotectl deploy node/pve3", "remotectl run guest.start ct/121"];
        assert_eq!(commands(&rows), wanted);
    }

    #[test]
    fn a_row_says_whether_it_answers_or_why_not() {
        let mut web = row(118, None, None);
        web.guest.agent = Some(AgentInfo { version: "1.0.0".into(), status: "online".into() });
        web.last_seen = Some(2);
        assert_eq!(cells(&web)[3..5], ["1.0.0", "yes, 2 s ago"]);
        assert_eq!(as_json(&web)["answers"], true);
        web.guest.agent = None;
        assert_eq!(as_json(&web)["agent"], serde_json::Value::Null);
        assert_eq!(cells(&row(121, Some("stopped"), None))[4], "stopped");
    }
}
