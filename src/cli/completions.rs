//! `completions`: scripts for the shells, made from the same declarations as the help.

use super::{args::Shell, help};
use clap::Command;
use std::fmt::Write as _;

/// The script for a shell.
pub fn script(shell: Shell) -> String {
    let mut command = help::command(None);
    let mut script = Vec::new();
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(generator, &mut command, "remotectl", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Fish {
        script.push_str(&fish_arguments(&command));
    }
    script
}

/// clap's script for fish knows options alone: the first argument of a command with known values is added here.
fn fish_arguments(command: &Command) -> String {
    let mut script = String::new();
    for inner in command.get_subcommands() {
        let Some(argument) = inner.get_positionals().next() else { continue };
        for value in argument.get_possible_values() {
            let about = value.get_help().map(ToString::to_string).unwrap_or_default();
            // Writing into a string does not fail.
            let _ = writeln!(
                script,
                "complete -c remotectl -n \"__fish_remotectl_using_subcommand {}; and test (count (commandline -opc)) -eq 2\" -f -a {} -d '{}'",
                inner.get_name(),
                value.get_name(),
                about.replace('\\', "\\\\").replace('\'', "\\'"),
            );
        }
    }
    script
}
