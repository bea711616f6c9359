//! The listings: guests, nodes, agents, plans, operators.

use super::{
    args::{SettleArgs, Settled},
    book::{self, Book},
    plan_view, results,
    screen::{Line, Look, Screen},
    table::{self, Table},
};
use crate::{
    model::{
        Answer, Exit, Failure, Target,
        inventory::Guest,
        messages::{AgentRow, CredentialRow, GuestRow, NodeRow, OperatorRow, PlanRecord, SettleRequest},
        state::PlanState,
    },
    roles::client::Hub,
    sys::clock,
};

/// So many guests that don't run are named below a list.
const MOST_NAMED: usize = 6;

/// `guests`.
pub fn guests(screen: &mut Screen, hub: &Hub, selector: &str, json: bool) -> Result<Exit, Failure> {
    let rows = hub.guests(selector)?;
    if json {
        screen.json(&rows);
        return Ok(Exit::Done);
    }
    print(screen, &GUEST_COLUMNS, rows.iter().map(guest), "no guest", selector);
    // Whole, however narrow the terminal: a table would cut it.
    match &super::coverage::commands(&rows)[..] {
        [] => {}
        [one] => screen.help(one),
        [first, more @ ..] => {
            screen.help(&format!("{first}; `remotectl agents --coverage` shows {} more", more.len()));
        }
    }
    Ok(Exit::Done)
}

const GUEST_COLUMNS: [(&str, u8); 8] =
    [("GUEST", 0), ("NAME", 0), ("NODE", 5), ("STATE", 2), ("OS", 6), ("AGENT", 3), ("ROUTE", 7), ("LAST SEEN", 4)];

/// Guests as `guests` shows them.
pub fn guest_table(rows: &[GuestRow]) -> Table {
    table_of(&GUEST_COLUMNS, rows.iter().map(guest))
}

/// `18 of 20 running; stopped: wiki, sonarr.`: who is not comes by name, as far as that reads well.
pub fn running(rows: &[GuestRow]) -> String {
    let guests: Vec<_> = rows.iter().map(|row| &row.guest).filter(|guest| !guest.template).collect();
    let still: Vec<_> = guests.iter().filter(|guest| !guest.running()).collect();
    let said = format!("{} of {} running", guests.len() - still.len(), guests.len());
    let (Some(first), true) = (still.first(), still.len() <= MOST_NAMED && still.len() < guests.len()) else {
        return format!("{said}.");
    };
    let alike = still.iter().all(|guest| guest.status == first.status);
    let name = |guest: &&&Guest| if alike { guest.name.clone() } else { format!("{} ({})", guest.name, guest.status) };
    let names: Vec<String> = still.iter().map(name).collect();
    format!("{said}; {}: {}.", if alike { &first.status } else { "not" }, names.join(", "))
}

fn guest(row: &GuestRow) -> Vec<String> {
    let guest = &row.guest;
    let agent = match (&guest.agent, &row.why) {
        (Some(agent), None) => agent.version.clone(),
        (Some(agent), Some(why)) => format!("{}: {why}", agent.version),
        (None, Some(why)) => format!("none: {why}"),
        (None, None) => "none".to_owned(),
    };
    let seen = row.last_seen.map(ago).unwrap_or_default();
    let state = if guest.template { "template".to_owned() } else { guest.status.clone() };
    vec![
        guest.target().to_string(),
        guest.name.clone(),
        guest.node.clone(),
        state,
        guest.os.label(),
        agent,
        row.route.clone(),
        seen,
    ]
}

/// `nodes`.
pub fn nodes(screen: &mut Screen, hub: &Hub, selector: &str, json: bool) -> Result<Exit, Failure> {
    let rows = hub.nodes(selector)?;
    if json {
        screen.json(&rows);
        return Ok(Exit::Done);
    }
    print(screen, &NODE_COLUMNS, rows.iter().map(node), "no node", selector);
    Ok(Exit::Done)
}

const NODE_COLUMNS: [(&str, u8); 9] = [
    ("NODE", 0),
    ("STATE", 1),
    ("GUESTS", 2),
    ("CORES", 6),
    ("MEMORY", 7),
    ("PROXMOX", 4),
    ("ADDRESS", 5),
    ("AGENT", 3),
    ("LAST SEEN", 3),
];

/// Nodes as `nodes` shows them.
pub fn node_table(rows: &[NodeRow]) -> Table {
    table_of(&NODE_COLUMNS, rows.iter().map(node))
}

fn node(row: &NodeRow) -> Vec<String> {
    let node = &row.node;
    let seen = row.last_seen.map(ago).or_else(|| row.help.clone()).unwrap_or_default();
    let number = |number: u64, unit: &str| if number == 0 { String::new() } else { format!("{number}{unit}") };
    vec![
        node.name.clone(),
        node.status.clone(),
        format!("{} of {} run", row.running, row.guests),
        number(node.cores.into(), ""),
        number(node.memory_mib / 1024, " GiB"),
        node.version.clone().unwrap_or_default(),
        node.address.clone().unwrap_or_default(),
        node.pve_agent.as_ref().map_or_else(|| "none".to_owned(), |agent| agent.version.clone()),
        seen,
    ]
}

/// `agents`.
pub fn agents(screen: &mut Screen, hub: &Hub, selector: &str, json: bool) -> Result<Exit, Failure> {
    let rows = hub.agents(selector)?;
    if json {
        screen.json(&rows);
        return Ok(Exit::Done);
    }
    let columns = [
        ("TARGET", 0),
        ("NAME", 1),
        ("ROLE", 3),
        ("VERSION", 4),
        ("STATE", 1),
        ("LAST SEEN", 2),
        ("JOINED", 5),
        ("ID", 6),
    ];
    print(screen, &columns, rows.iter().map(agent), "no agent", selector);
    for row in rows.iter().filter(|row| row.help.is_some()) {
        let why = row.why.as_deref().filter(|why| !why.is_empty()).map_or_else(String::new, |why| format!(": {why}"));
        screen.note(format!("{} is {}{why}", row.target, row.status));
        screen.help(row.help.as_deref().unwrap_or_default());
    }
    Ok(Exit::Done)
}

fn agent(row: &AgentRow) -> Vec<String> {
    vec![
        row.target.to_string(),
        row.name.clone(),
        row.role.clone(),
        row.version.clone(),
        row.status.clone(),
        row.last_seen.map(ago).unwrap_or_default(),
        row.joined.clone(),
        row.id.clone(),
    ]
}

/// `history`.
pub fn history(screen: &mut Screen, hub: &Hub, limit: u32, json: bool) -> Result<Exit, Failure> {
    let rows = hub.history(limit)?;
    if json {
        screen.json(&rows);
        return Ok(Exit::Done);
    }
    let columns = [("PLAN", 0), ("WHEN", 4), ("STATE", 1), ("RISK", 3), ("WHO", 5), ("WHAT", 0)];
    let now = clock::unix_seconds();
    print(screen, &columns, rows.iter().map(|record| plan(record, now)), "no plan", "");
    Ok(Exit::Done)
}

fn plan(record: &PlanRecord, now: i64) -> Vec<String> {
    let (id, risk, summary) = match &record.answer {
        Answer::Plan(view) => (view.id.clone(), view.risk.to_string(), view.summary.clone()),
        _ => Default::default(),
    };
    let what = if record.text.is_empty() { summary } else { record.text.clone() };
    let when = format!("{} ago", ago(u64::try_from(now - record.created).unwrap_or_default()));
    vec![id, when, record.state.to_string(), risk, record.operator.clone(), what]
}

/// `settle`.
pub fn settle(screen: &mut Screen, hub: &Hub, args: &SettleArgs) -> Result<Exit, Failure> {
    let target = args.target.as_deref().map(str::parse::<Target>).transpose();
    let target = target.map_err(|error| Failure::usage(error.to_string()).help("--target ct/118"))?;
    let request = SettleRequest { done: args.how == Settled::Done, reason: args.reason.clone(), target };
    let record = hub.settle(&args.id, &request)?;
    if args.json {
        screen.json(&record);
    } else {
        screen.line(format!("Plan {} is {}.", args.id.to_ascii_uppercase(), record.state));
    }
    Ok(Exit::Done)
}

/// `show`.
pub fn show(screen: &mut Screen, hub: &Hub, id: &str, json: bool) -> Result<Exit, Failure> {
    let record = hub.record(id)?;
    if json {
        screen.json(&record);
        return Ok(Exit::Done);
    }
    let Answer::Plan(view) = &record.answer else {
        return Ok(super::flow::answer(screen, &record.answer, &Book::default(), None, false));
    };
    // A plan reads well enough without names.
    let rows = book::selector(&view.steps).and_then(|selector| hub.guests(&selector).ok()).unwrap_or_default();
    let book = Book::of_rows(&rows);
    screen.line(
        Line::new()
            .and(Look::Bold, format!("plan {}", view.id))
            .plain(format!("    {}    {}", record.state, record.text)),
    );
    let approved = record.approved_by.as_ref().map(|who| format!(", approved by {who}")).unwrap_or_default();
    let ended = record.ended.map(|time| format!(", over {}", clock::rfc3339(time))).unwrap_or_default();
    screen.line(format!("  asked by {} {}{approved}{ended}", record.operator, clock::rfc3339(record.created)));
    for line in plan_view::plan(view, &book, true) {
        screen.line(line);
    }
    let wide = view.results.iter().map(|result| table::width(&book.label(&result.target))).max().unwrap_or_default();
    for result in &view.results {
        screen.line(results::line(result, &book.label(&result.target), wide));
    }
    if record.state == PlanState::Proposed {
        screen.help(&format!("`remotectl approve {id}` carries it out, `remotectl deny {id}` puts it aside"));
    }
    for help in view.results.iter().filter_map(|result| result.help.as_deref()) {
        screen.help(help);
    }
    Ok(Exit::Done)
}

/// `hub operator list`.
pub fn operators(screen: &mut Screen, rows: &[OperatorRow], json: bool) {
    if json {
        screen.json(&rows);
        return;
    }
    let time = |at: Option<i64>, none: &str| at.map_or_else(|| none.to_owned(), clock::rfc3339);
    let row = |row: &OperatorRow| {
        let until = time(row.expires, "removed");
        vec![
            row.name.clone(),
            row.role.clone(),
            clock::rfc3339(row.created),
            if row.expired { format!("{until}, over") } else { until },
            time(row.last_used, "never"),
        ]
    };
    let columns = [("OPERATOR", 0), ("ROLE", 0), ("SINCE", 1), ("UNTIL", 1), ("LAST USED", 1)];
    print(screen, &columns, rows.iter().map(row), "no operator", "");
}

/// `credential list`.
pub fn credentials(screen: &mut Screen, rows: &[CredentialRow], json: bool) {
    if json {
        screen.json(&rows);
        return;
    }
    print(screen, &CREDENTIAL_COLUMNS, rows.iter().map(credential), "no credential", "");
    if let Some(row) = rows.iter().find(|row| !row.readable) {
        screen.help(&format!("the vault's key does not open {0}: `remotectl credential rotate {0}`", row.name));
    }
}

const CREDENTIAL_COLUMNS: [(&str, u8); 7] =
    [("CREDENTIAL", 0), ("KIND", 2), ("USER", 1), ("TO", 0), ("NOW", 3), ("SINCE", 4), ("LAST USE", 5)];

fn credential(row: &CredentialRow) -> Vec<String> {
    let targets: Vec<String> = row.targets.iter().map(ToString::to_string).collect();
    let kind = if row.readable { row.kind.as_str().to_owned() } else { format!("{}: unreadable", row.kind.as_str()) };
    let since = clock::rfc3339(row.rotated.unwrap_or(row.created));
    let used = row.used.map(clock::rfc3339).unwrap_or_default();
    vec![row.name.clone(), kind, row.user.clone(), row.selector.clone(), targets.join(", "), since, used]
}

fn print(
    screen: &mut Screen,
    columns: &[(&'static str, u8)],
    rows: impl Iterator<Item = Vec<String>>,
    none: &str,
    selector: &str,
) {
    let table = table_of(columns, rows);
    match (table.is_empty(), selector) {
        (false, _) => screen.table(&table),
        (true, "") => screen.note(format!("{none} yet")),
        (true, selector) => screen.note(format!("{none} fits `{selector}`")),
    }
}

fn table_of(columns: &[(&'static str, u8)], rows: impl Iterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new(columns);
    rows.for_each(|row| table.row(row));
    table
}

/// `2 s`, `5 min`, `3 h`, `12 d`.
pub fn ago(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
