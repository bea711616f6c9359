//! `up` and `down`: a line a step as it is done, the question before anything is taken away, and what to do next.

use super::{
    args::DownArgs,
    results::seconds,
    screen::{Line, Look, Screen},
    table,
};
use crate::{
    model::{Exit, Failure},
    roles::up::{
        self, Up, UpOptions,
        lower::Survey,
        step::{State, Step},
    },
};
use serde_json::json;

/// What a step is called has so much room; longer ones take more.
const WIDE: usize = 12;
/// A step that took less than this is not worth its time, in milliseconds.
const WORTH_TELLING: u64 = 100;

/// `up`.
pub fn up(screen: &mut Screen, options: &UpOptions, json: bool) -> Result<Exit, Failure> {
    let mut steps = Vec::new();
    let raised = up::up(options, &mut |step| tell(screen, step, WIDE, json, &mut steps));
    if json && let Ok(up) = &raised {
        screen.json(&json!({"outcome": "up", "dry_run": options.dry_run, "steps": steps, "up": up}));
    }
    match raised? {
        Some(up) if !json => told(screen, &up),
        None if !json => screen.help("`remotectl up` does it"),
        _ => {}
    }
    Ok(Exit::Done)
}

fn told(screen: &mut Screen, up: &Up) {
    screen.line(format!("Hub {} answers at {}.", up.hub, up.addresses.join(", ")));
    if let Some(path) = &up.recovery_key {
        screen.line(format!(
            "Its recovery key is in {}: move it off this machine. Only with it can agents be led to a new hub.",
            path.display()
        ));
    }
    let (shown, more): (Vec<_>, Vec<_>) = up.others.iter().partition(|other| other.command.is_some());
    if !shown.is_empty() {
        screen.line("The other nodes join by these, typed here within 10 minutes (`remotectl up` makes new ones):");
    }
    for command in shown.iter().filter_map(|other| other.command.as_ref()) {
        screen.line(format!("  {command}"));
    }
    if !more.is_empty() {
        let names: Vec<&str> = more.iter().map(|other| other.node.as_str()).collect();
        screen.line(format!("And {}: `remotectl up` again, when those have joined.", names.join(", ")));
    }
    screen.help("`remotectl guests`, then `remotectl ask \"deploy the agent to all Ubuntu containers\"`");
}

/// `down`.
pub fn down(screen: &mut Screen, args: &DownArgs) -> Result<Exit, Failure> {
    let survey = Survey::look(args.purge)?;
    let lines = survey.lines();
    if survey.nothing() || lines.is_empty() {
        return Ok(nothing(screen, &survey, args.json));
    }
    if args.dry_run && args.json {
        screen.json(&json!({"outcome": "down", "dry_run": true, "steps": lines}));
        return Ok(Exit::Done);
    }
    if !args.json {
        show(screen, &survey, lines, args.dry_run);
    }
    if args.dry_run {
        screen.help(if args.purge { "`remotectl down --purge` does it" } else { "`remotectl down` does it" });
        return Ok(Exit::Done);
    }
    up::this_machine()?;
    if !args.yes {
        consent(screen, &survey)?;
    }
    let mut steps = Vec::new();
    survey.carry_out(&mut |step| tell(screen, step, WIDE, args.json, &mut steps));
    let well = steps.iter().all(Step::well);
    if args.json {
        screen.json(&json!({"outcome": "down", "dry_run": false, "steps": steps}));
    } else if well {
        screen.line(if args.purge { "Nothing of remotectl is left here." } else { "remotectl is down." });
    } else {
        screen.line("Down, but for what is named above.");
    }
    Ok(if well { Exit::Done } else { Exit::Partly })
}

fn nothing(screen: &mut Screen, survey: &Survey, json: bool) -> Exit {
    if json {
        screen.json(&json!({"outcome": "down", "dry_run": false, "steps": []}));
    } else if survey.nothing() {
        screen.line(format!("There is nothing of remotectl on {}.", survey.name));
    } else {
        screen.line("Only data and configuration are left here.");
        screen.help("`remotectl down --purge` takes them away too");
    }
    Exit::Done
}

fn show(screen: &mut Screen, survey: &Survey, lines: Vec<Step>, result: bool) {
    let mut put = |line: Line| if result { screen.line(line) } else { screen.note(line) };
    put(Line::new().plain(format!("On {}, this is taken away:", survey.name)));
    let wide = lines.iter().map(|line| table::width(&line.what)).max().unwrap_or(WIDE);
    for step in lines {
        let help = step.help.clone();
        put(line(&step, wide));
        if let Some(help) = help {
            put(Line::new().and(Look::Dim, format!("      {help}")));
        }
    }
}

/// The operator's yes; the machine's name typed where a hub's identity goes for good.
fn consent(screen: &mut Screen, survey: &Survey) -> Result<(), Failure> {
    let denied = || Failure::new("not confirmed; nothing was done").exit(Exit::Denied);
    if !screen.interactive {
        let failure = Failure::new("taking it away needs a yes, and nobody can be asked here");
        return Err(failure.help("--yes says it beforehand; --dry-run only looks").exit(Exit::Denied));
    }
    let said = match survey.destroys() {
        Some(hub) => {
            let name = &survey.name;
            let question = format!("Hub {hub} is gone for good then. Type {name} to carry it out:");
            screen.ask(&question).is_some_and(|typed| typed == *name)
        }
        None => screen.ask("Carry out? [y/N]").is_some_and(|said| matches!(&*said.to_ascii_lowercase(), "y" | "yes")),
    };
    if said { Ok(()) } else { Err(denied()) }
}

/// Prints a step as soon as it is there, and keeps it.
fn tell(screen: &mut Screen, step: Step, wide: usize, json: bool, steps: &mut Vec<Step>) {
    if !json {
        screen.line(line(&step, wide));
        if let Some(help) = &step.help {
            screen.line(Line::new().and(Look::Dim, format!("      {help}")));
        }
        screen.flush();
    }
    steps.push(step);
}

fn line(step: &Step, wide: usize) -> Line {
    let (look, mark) = match step.state {
        State::Done => (Look::Good, "✓"),
        State::There => (Look::Dim, "✓"),
        State::Would => (Look::Plain, "·"),
        State::Left => (Look::Warn, "!"),
        State::Failed => (Look::Bad, "✗"),
    };
    let line = Line::new().plain("  ").and(look, mark).plain(format!(" {}    ", table::padded(&step.what, wide)));
    let line = line.plain(step.told.clone());
    if step.took_ms < WORTH_TELLING {
        return line;
    }
    line.and(Look::Dim, format!("    {}", seconds(step.took_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::tests::screen;

    fn up_result() -> Up {
        Up {
            node: "pve1".into(),
            hub: "h1".into(),
            addresses: vec!["10.0.0.5:8443".into()],
            fingerprint: crate::model::digest::Digest::of(b"ca"),
            recovery_key: Some("/var/lib/remotectl/hub/recovery.key".into()),
            others: vec![
                up::Other { node: "pve2".into(), command: Some("scp … pve2".into()) },
                up::Other { node: "pve9".into(), command: None },
            ],
        }
    }

    #[test]
    fn what_is_up_says_where_and_what_next() {
        let (mut screen, out, err) = screen("");
        told(&mut screen, &up_result());
        screen.flush();
        insta::assert_snapshot!(out.text(), @"
        Hub h1 answers at 10.0.0.5:8443.
        Its recovery key is in /var/lib/remotectl/hub/recovery.key: move it off this machine. Only with it can agents be led to a new hub.
        The other nodes join by these, typed here within 10 minutes (`remotectl up` makes new ones):
          scp … pve2
        And pve9: `remotectl up` again, when those have joined.
        ");
        insta::assert_snapshot!(err.text(), @r#"help: `remotectl guests`, then `remotectl ask "deploy the agent to all Ubuntu containers"`"#);
    }

    #[test]
    fn steps_are_lines_with_their_helps() {
        let (mut screen, out, _) = screen("");
        let mut steps = Vec::new();
        let done = Step { took_ms: 449, ..Step::new("hub", State::Done, "installed\u{1b}[2J") };
        let left = Step::new("agent ct/105 old", State::Left, "it is stopped").help("pct exec 105 …");
        for step in [done, left] {
            tell(&mut screen, step, WIDE, false, &mut steps);
        }
        tell(&mut screen, Step::new("x", State::There, "y"), WIDE, true, &mut steps);
        insta::assert_snapshot!(out.text(), @"
          ✓ hub             installed    0.4 s
          ! agent ct/105 old    it is stopped
              pct exec 105 …
        ");
        assert_eq!(steps.len(), 3);
    }
}
