//! What a line means that is typed at the demo's prompt: a sentence, or one of the program's own commands with or without
//! its name before it. Only what the demo's hub does is done; nothing that is typed here reaches this machine.

use crate::{
    cli::{
        args::LowArgs,
        calls::{Administer, Client, HiArgs},
    },
    model::{Failure, Target},
};
use clap::{CommandFactory as _, Parser as _};

/// What was typed.
#[derive(Debug)]
pub enum Line {
    /// Nothing.
    Empty,
    /// The tour once more.
    Help,
    /// Leaving.
    Quit,
    /// Something to ask.
    Sentence(String),
    /// A command for the hub.
    Client(Client),
    /// A command of the hub's administration.
    Administer(Administer),
    /// A command's help, or what is wrong with how it was typed.
    Said(String),
}

/// Reads a line.
pub fn meaning(line: &str) -> Result<Line, Failure> {
    let line = line.trim();
    let words = words(line);
    let (named, rest) = match words.split_first() {
        Some((first, rest)) if first == "remotectl" => (true, rest),
        _ => (false, &words[..]),
    };
    match rest {
        [] => return Ok(if named { Line::Help } else { Line::Empty }),
        [word] if matches!(word.as_str(), "help" | "?" | "--help" | "-h") => return Ok(Line::Help),
        [word] if matches!(word.as_str(), "quit" | "exit" | "q") => return Ok(Line::Quit),
        rest if !named && !is_command(rest) => return Ok(Line::Sentence(line.to_owned())),
        _ => {}
    }
    match LowArgs::try_parse_from(std::iter::once("remotectl").chain(rest.iter().map(String::as_str))) {
        Ok(low) => command(HiArgs::try_from(low)?, &rest[0]),
        // `show logs of ct/118` begins like a command and is none.
        Err(error) if error.use_stderr() && !named && !rest.iter().any(|word| word.starts_with('-')) => {
            Ok(Line::Sentence(line.to_owned()))
        }
        Err(error) => Ok(Line::Said(error.render().to_string())),
    }
}

fn command(high: HiArgs, name: &str) -> Result<Line, Failure> {
    match high {
        HiArgs::Client(call) => Ok(Line::Client(call)),
        HiArgs::Administer(call) => Ok(Line::Administer(call)),
        _ => Err(Failure::usage(format!("`{name}` is not for the demo's hub, and nothing else is touched from here"))
            .help("type it at your shell, once you have left the demo")),
    }
}

/// Whether words that begin with a command's name are meant as one: alone, or with something that no sentence has.
fn is_command(words: &[String]) -> bool {
    let Some((name, rest)) = words.split_first() else { return false };
    let known = LowArgs::command().get_subcommands().any(|command| command.get_name() == name);
    known
        && match name.as_str() {
            "ask" | "plan" => true,
            // `run df -h on web-server` is a sentence.
            "run" => rest.first().is_none_or(|operation| crate::model::catalogue::spec(operation).is_some()),
            "show" | "approve" | "deny" | "cancel" | "undo" if matches!(rest, [plan] if is_name(plan)) => true,
            _ => rest.is_empty() || rest.iter().any(|word| technical(word)),
        }
}

/// An option, a selector, a target or a plan's name.
fn technical(word: &str) -> bool {
    word.starts_with("--") || word.contains('=') || is_target(word) || is_plan(word)
}

fn is_target(word: &str) -> bool {
    word.split(',').all(|part| part.contains('/') && part.parse::<Target>().is_ok())
}

/// Four of the letters and digits that plans' names are made of, one of them a digit.
fn is_plan(word: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() && !"ILOU".contains(letter.to_ascii_uppercase());
    word.len() == 4 && word.chars().all(letter) && word.chars().any(|letter| letter.is_ascii_digit())
}

/// A plan's name as it is printed, or what is meant to be one: four capitals and digits.
fn is_name(word: &str) -> bool {
    word.len() == 4 && word.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit())
}

/// Words as a shell would split them, quotes taken off; a quote that is not closed is a letter.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let mut word = String::new();
        while let Some(letter) = rest.chars().next().filter(|letter| !letter.is_whitespace()) {
            let after = &rest[letter.len_utf8()..];
            let quoted = matches!(letter, '"' | '\'').then(|| after.split_once(letter)).flatten();
            if let Some((inside, behind)) = quoted {
                word.push_str(inside);
                rest = behind;
            } else {
                word.push(letter);
                rest = after;
            }
        }
        words.push(word);
        rest = rest.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_may_begin_like_commands() {
        for sentence in [
            "restart the web server",
            "deploy the agent to all Ubuntu containers",
            "deploy the agent to ct/119",
            "show logs of nginx on web-server",
            "show logs of ct/118",
            "show logs",
            "show disk",
            "undo that",
            "run df -h on web-server",
            "remove the agent from grafana",
            "it's not \"working",
        ] {
            let Line::Sentence(text) = meaning(sentence).unwrap() else { panic!("{sentence}") };
            assert_eq!(text, sentence);
        }
    }

    #[test]
    fn commands_need_not_be_named() {
        for command in [
            "guests",
            "guests tag=web and not node=pve3",
            "nodes --json",
            "deploy ct/119",
            "deploy \"os=ubuntu and type=ct\"",
            "show 7Q2K",
            "remotectl show WEBB",
            "show ZZZZ",
            "approve 7q2k",
            "run service.restart ct/118 service=nginx",
            "remotectl ask restart the web server",
        ] {
            assert!(matches!(meaning(command).unwrap(), Line::Client(_)), "{command}");
        }
        assert!(matches!(meaning("remotectl hub join-token").unwrap(), Line::Administer(_)));
        assert!(matches!(meaning("guests --help").unwrap(), Line::Said(text) if text.contains("Usage")));
        assert!(matches!(meaning("guests --jsn").unwrap(), Line::Said(text) if text.contains("--jsn")));
        assert!(matches!(meaning("  ").unwrap(), Line::Empty));
        assert!(matches!(meaning("help").unwrap(), Line::Help));
        assert!(matches!(meaning("exit").unwrap(), Line::Quit));
    }

    #[test]
    fn what_is_for_a_real_machine_is_refused() {
        for command in ["remotectl agent uninstall --purge", "remotectl hub serve", "logout", "remotectl demo"] {
            let failure = meaning(command).unwrap_err();
            assert!(failure.message.contains("is not for the demo's hub"), "{command}: {failure}");
        }
    }

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(words(r#" a "b c" d'e f'g  "h"#), ["a", "b c", "de fg", "\"h"]);
    }
}
