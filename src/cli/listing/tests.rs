//! The tables as they are seen: on a wide terminal, on narrow ones, and where nobody looks.

use super::*;
use crate::{
    cli::screen::tests::screen,
    model::{
        Inventory,
        inventory::{AgentInfo, Guest},
    },
    roles::client::fake::FakeHub,
};
use serde_json::{Value, json};

fn homelab() -> Inventory {
    serde_json::from_str(include_str!("../../../tests/fixtures/homelab.json")).unwrap()
}

/// A few guests of the homelab, as a hub would list them, with names that are hard to print.
fn hub() -> FakeHub {
    let mut inventory = homelab();
    inventory.guests.retain(|guest| [110, 118, 119, 121, 201].contains(&guest.vmid));
    let rename = |guest: &mut Guest| match guest.vmid {
        110 => guest.name = "逆プロキシ-と-とても長い名前-東京".into(),
        121 => guest.name = "wi\u{1b}[2J\u{202e}ki".into(),
        201 => guest.name = "a-name-that-is-as-long-as-a-host-name-may-be-at-most-which-is-63".into(),
        _ => {}
    };
    inventory.guests.iter_mut().for_each(rename);
    let guests: Vec<GuestRow> = inventory.guests.iter().map(|guest| guest_row(guest.clone())).collect();
    let nodes: Vec<Value> = inventory
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            let mut row = serde_json::to_value(node).unwrap();
            let more = json!({"guests": 7, "running": 6, "last_seen": (index == 0).then_some(2)});
            row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            row
        })
        .collect();
    let agents = json!([
        {"id": "a7f3k2m9", "target": "ct/118", "name": "web-server", "role": "agent", "version": "1.0.0", "status": "online", "joined": "attested", "last_seen": 1},
        {"id": "b2c4d6e8", "target": "ct/110", "name": "逆プロキシ-と-とても長い名前-東京", "role": "agent", "version": "0.9.0", "status": "offline", "joined": "token", "last_seen": 90_000},
    ]);
    FakeHub::default()
        .answering("GET /api/v1/guests", Ok(serde_json::to_value(guests).unwrap()))
        .answering("GET /api/v1/nodes", Ok(Value::Array(nodes)))
        .answering("GET /api/v1/agents", Ok(agents))
}

fn guest_row(guest: Guest) -> GuestRow {
    let online = guest.agent.as_ref().is_some_and(AgentInfo::online);
    let (why, help) = match (&guest.agent, guest.running()) {
        (Some(_), _) => (None, None),
        (None, true) => (None, Some(format!("remotectl deploy {}", guest.target()))),
        (None, false) => (Some("stopped".to_owned()), None),
    };
    let route = if online { "direct".to_owned() } else { String::new() };
    GuestRow { guest, route, last_seen: online.then_some(65), why, help }
}

type List = fn(&mut Screen, &Hub, &str, bool) -> Result<Exit, Failure>;

fn shown(list: List, width: Option<usize>) -> String {
    let (mut screen, out, err) = screen("");
    screen.width = width;
    assert_eq!(list(&mut screen, &hub().hub(), "", false), Ok(Exit::Done));
    screen.flush();
    let said = err.text();
    assert!(said.lines().all(|line| line.starts_with("help: remotectl deploy ct/")), "{said}");
    for line in out.text().lines() {
        assert!(width.is_none_or(|width| table::width(line) <= width), "{line}");
    }
    format!("\n{}", out.text())
}

#[test]
fn tables_on_terminals_of_all_widths() {
    for (name, list) in [("guests", guests as List), ("nodes", nodes), ("agents", agents)] {
        for (wide, width) in [("40", Some(40)), ("80", Some(80)), ("pipe", None)] {
            insta::assert_snapshot!(format!("{name}_{wide}"), shown(list, width));
        }
    }
}

#[test]
fn nothing_to_list_is_said_and_is_no_failure() {
    let empty = FakeHub::default().answering("GET /api/v1/guests", Ok(json!([])));
    for (selector, says) in [("", "no guest yet\n"), ("tag=web", "no guest fits `tag=web`\n")] {
        let (mut screen, out, err) = screen("");
        assert_eq!(guests(&mut screen, &empty.hub(), selector, false), Ok(Exit::Done));
        assert_eq!((out.text().as_str(), err.text().as_str()), ("", says));
    }
}
