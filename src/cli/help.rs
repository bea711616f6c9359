//! The help: what a newcomer needs first comes first. The top help sorts the commands into groups, which clap does not know
//! of; `run --help` lists the catalogue.

use super::{args::LowArgs, table, text};
use crate::{
    engine,
    model::{Op, catalogue},
};
use clap::{Command, CommandFactory as _};
use std::fmt::Write as _;

/// The groups of the top help, with the commands of each in order. A name that is no command is passed over.
const GROUPS: &[(&str, &[&str])] = &[
    ("Everyday", &["demo", "up", "ask", "guests", "doctor"]),
    ("Plans", &["plan", "run", "approve", "deny", "cancel", "settle", "undo", "show", "history", "audit"]),
    ("Fleet", &["nodes", "agents", "deploy", "update", "remove", "credential"]),
    ("Hub", &["hub", "login", "logout", "down"]),
    ("Roles", &["agent", "pve-agent"]),
    ("Other", &["completions", "man", "version"]),
];

/// Help is never wider than this, however wide the terminal.
const WIDEST: usize = 100;

/// The whole command line with its help, for a terminal of this width.
pub fn command(width: Option<usize>) -> Command {
    let width = width.unwrap_or(WIDEST).min(WIDEST);
    let command = LowArgs::command().term_width(width);
    let heading = command.get_styles().get_header();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{{before-help}}{heading}Options:{heading:#}\n{{options}}{{after-help}}"
    );
    let (short, long) = (brief(&command, width), full(&command, width));
    let command = command.before_help(short).before_long_help(long).help_template(template);
    command.mut_subcommand("run", |run| {
        let examples = run.get_after_help().map(ToString::to_string).unwrap_or_default();
        run.after_long_help(format!("{examples}\n\n{}", operations(width)))
    })
}

/// The first group with what its commands are for, the others by name.
fn brief(command: &Command, width: usize) -> String {
    let mut groups = groups(command).into_iter();
    let mut help = groups.next().map(|(name, members)| described(command, name, &members, width)).unwrap_or_default();
    // Writing into a string does not fail.
    let _ = writeln!(help, "\n{}", heading(command, "More, each with its own --help"));
    let groups: Vec<_> = groups.collect();
    let wide = groups.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, members) in groups {
        let members: Vec<&str> = members.iter().map(|member| member.get_name()).collect();
        entry(&mut help, name, wide, &members.join(", "), width);
    }
    help.trim_end().to_owned()
}

/// Every group with what its commands are for.
fn full(command: &Command, width: usize) -> String {
    let groups: Vec<String> =
        groups(command).iter().map(|(name, members)| described(command, name, members, width)).collect();
    groups.join("\n").trim_end().to_owned()
}

/// The groups that have commands; what is in no group is in the last.
fn groups(command: &Command) -> Vec<(&'static str, Vec<&Command>)> {
    let known = |name: &str| GROUPS.iter().any(|(_, members)| members.contains(&name));
    let mut groups: Vec<(&str, Vec<&Command>)> = GROUPS
        .iter()
        .map(|(name, members)| (*name, members.iter().filter_map(|member| command.find_subcommand(member)).collect()))
        .collect();
    if let Some((_, last)) = groups.last_mut() {
        last.extend(command.get_subcommands().filter(|member| !known(member.get_name()) && !member.is_hide_set()));
    }
    groups.retain(|(_, members)| !members.is_empty());
    groups
}

fn described(command: &Command, name: &str, members: &[&Command], width: usize) -> String {
    let wide = command.get_subcommands().map(|member| member.get_name().len()).max().unwrap_or_default();
    let mut help = format!("{}\n", heading(command, name));
    for member in members {
        let about = member.get_about().map(ToString::to_string).unwrap_or_default();
        entry(&mut help, member.get_name(), wide, &about, width);
    }
    help
}

fn heading(command: &Command, name: &str) -> String {
    let style = command.get_styles().get_header();
    format!("{style}{name}:{style:#}")
}

/// `  name  text`, the text's further lines below its first.
fn entry(help: &mut String, name: &str, wide: usize, about: &str, width: usize) {
    let indent = 2 + wide + 2;
    for (index, line) in text::wrapped(about, width.saturating_sub(indent).max(16)).iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        let _ = writeln!(help, "  {}  {line}", table::padded(name, wide));
    }
}

/// The catalogue by groups, with what each operation takes.
fn operations(width: usize) -> String {
    let mut help = "Operations:\n".to_owned();
    for (name, _) in Op::ALL {
        let Some(spec) = catalogue::spec(name) else { continue };
        let takes = super::operation::takes(spec);
        let takes = if spec.args.is_empty() { String::new() } else { format!(" {takes}") };
        let yet = if engine::is_built(name) { "" } else { "; not built yet" };
        for (index, line) in text::wrapped(&format!("{name}{takes}"), width.saturating_sub(4)).iter().enumerate() {
            let _ = writeln!(help, "{}{line}", if index == 0 { "  " } else { "    " });
        }
        for line in text::wrapped(&format!("{} ({}{yet})", spec.doc, spec.risk), width.saturating_sub(6)) {
            let _ = writeln!(help, "      {line}");
        }
    }
    help.push_str("[…] may be left out. A list is written with commas.");
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command below this one, itself first, as it is typed.
    fn all<'a>(command: &'a Command, typed: &str) -> Vec<(String, &'a Command)> {
        let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set());
        let inner = inner.flat_map(|inner| all(inner, &format!("{typed} {}", inner.get_name())));
        std::iter::once((typed.to_owned(), command)).chain(inner).collect()
    }

    /// The words of an example as a shell would split it: the part behind a pipe where that is ours, without redirections.
    fn words(example: &str) -> Vec<String> {
        let ours = example.split(" | ").find(|part| part.trim_start().starts_with("remotectl")).unwrap_or(example);
        let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
        for letter in ours.trim().split(" > ").next().unwrap_or_default().chars() {
            match letter {
                '"' => quoted = !quoted,
                ' ' if !quoted => words.push(std::mem::take(&mut word)),
                other => word.push(other),
            }
        }
        words.push(word);
        words
    }

    #[test]
    fn every_command_has_an_example_that_is_right() {
        let mut command = command(None);
        command.build();
        for (typed, inner) in all(&command, "remotectl") {
            let help = inner.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = help.lines().skip(1).collect();
            assert!(help.starts_with("Example") && !examples.is_empty(), "`{typed}` shows no example: {help:?}");
            assert!(inner.get_about().is_some(), "`{typed}` does not say what it is for");
            for example in examples {
                assert!(example.contains(&typed), "{example} is no example of `{typed}`");
                let parsed = super::command(None).try_get_matches_from(words(example));
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn every_command_is_in_one_group() {
        let command = LowArgs::command();
        for member in command.get_subcommands() {
            let name = member.get_name();
            let groups = GROUPS.iter().filter(|(_, members)| members.contains(&name)).count();
            assert_eq!(groups, 1, "`{name}` belongs into one of GROUPS");
        }
    }

    #[test]
    fn no_line_of_the_groups_is_wider_than_the_terminal() {
        for width in [40, 80, 100] {
            let mut command = command(Some(width));
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                // What clap itself does not break is a single word: an example is shown as it is typed.
                let described = help.split("Options:").next().unwrap_or_default();
                for line in described.lines() {
                    assert!(table::width(line) <= width, "{width}: {line}");
                }
            }
        }
    }
}
