//! What a newcomer reads first: what runs, that nothing real is touched, what to try, how to leave. Fits 80 columns by 24
//! lines, and wraps where there are fewer columns.

use crate::{
    cli::{
        screen::{Line, Look},
        table,
    },
    model::{Inventory, inventory::Guest, values::GuestKind},
    roles::demo::Demo,
};

/// The line above the answers of `--ask`.
pub fn opening(demo: &Demo) -> Vec<Line> {
    vec![Line::new().and(Look::Dim, format!("demo: {}; nothing real is touched", what_runs(demo.inventory())))]
}

/// The whole of it.
pub fn tour(demo: &Demo, width: Option<usize>) -> Vec<Line> {
    let mut lines = vec![
        Line::new()
            .and(Look::Bold, "remotectl demo")
            .plain(format!(" (started in {:.1} s)", demo.took().as_secs_f64())),
    ];
    let text = format!(
        "{}. Hub and agents are the real ones, speaking their real protocol on loopback; Proxmox and its guests are \
         simulated. Nothing real is touched, and nothing is left when you leave.",
        what_runs(demo.inventory())
    );
    lines.extend(wrapped(&text, width).into_iter().map(Line::from));
    lines.push(Line::new());
    lines.extend(help(demo, width));
    lines
}

/// What can be typed.
pub fn help(demo: &Demo, width: Option<usize>) -> Vec<Line> {
    let indented = |text: &str| wrapped(text, width.map(|width| width.saturating_sub(2)));
    let shown = |text: &str| indented(text).into_iter().map(|line| Line::from(format!("  {line}"))).collect::<Vec<_>>();
    let mut lines = vec![Line::new().and(Look::Bold, "Type a sentence, such as")];
    lines.extend(sentences(demo.inventory()).iter().flat_map(|sentence| shown(sentence)));
    if let Some(clue) = demo.clues().first() {
        let heading = wrapped("Something is wrong in this cluster. A place to look:", width);
        lines.extend(heading.into_iter().map(|line| Line::new().and(Look::Bold, line)));
        lines.extend(shown(clue));
    }
    lines.push(Line::new());
    let text = "Or a command: guests, guests tag=web, nodes, agents, history, show PLAN; help shows this again. \
                Ctrl-C, Ctrl-D or quit leaves.";
    lines.extend(wrapped(text, width).into_iter().map(Line::from));
    lines.push(Line::from("From another terminal:"));
    lines.push(Line::from(format!("  REMOTECTL_HUB={} remotectl guests", demo.socket().display())));
    lines
}

fn what_runs(inventory: &Inventory) -> String {
    let of = |kind| inventory.guests.iter().filter(|guest| guest.kind == kind && !guest.template).count();
    let agents = inventory.guests.iter().filter(|guest| guest.running() && guest.agent.is_some()).count();
    format!(
        "cluster {}: {} nodes, {} containers, {} VMs, {agents} of them with an agent",
        inventory.cluster,
        inventory.nodes.len(),
        of(GuestKind::Ct),
        of(GuestKind::Vm),
    )
}

/// Sentences that do something in this very inventory, the first things first.
fn sentences(inventory: &Inventory) -> Vec<String> {
    let containers = || inventory.guests.iter().filter(|guest| guest.kind == GuestKind::Ct && guest.running());
    let with_agent = || containers().filter(|guest| guest.agent.is_some());
    let web = |guest: &&Guest| web_service(guest).is_some();
    let mut sentences = Vec::new();
    if let Some(guest) = with_agent().find(|guest| guest.name == "web-server").or_else(|| with_agent().find(web)) {
        sentences.push(match guest.name.as_str() {
            "web-server" => "restart the web server".to_owned(),
            name => format!("restart {} on {name}", web_service(guest).unwrap_or("ssh")),
        });
    }
    let bare = |guest: &&Guest| guest.agent.is_none();
    if containers().filter(bare).any(|guest| guest.os.id == "ubuntu") {
        sentences.push("deploy the agent to all Ubuntu containers".to_owned());
    } else if let Some(guest) = containers().find(bare) {
        sentences.push(format!("deploy the agent to {}", guest.name));
    }
    if inventory.guests.iter().any(|guest| guest.kind == GuestKind::Vm && !guest.template) {
        sentences.push("check which VMs have agents installed".to_owned());
    }
    if with_agent().count() > 1 {
        sentences.push("update all agents in containers to latest version".to_owned());
    }
    sentences
}

fn web_service(guest: &Guest) -> Option<&str> {
    let known = ["nginx", "apache2", "caddy", "httpd", "lighttpd"];
    guest.services.iter().map(String::as_str).find(|service| known.contains(service))
}

/// A text in lines as wide as the terminal, at most 78 columns.
fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let most = width.unwrap_or(80).clamp(20, 80) - 2;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if table::width(line) + 1 + table::width(word) <= most {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
