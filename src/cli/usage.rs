//! What is said to somebody who has called the program wrongly: what clap found, the usage, and an example to go by.

use super::help;
use crate::model::Failure;
use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::ffi::OsString;

/// clap's error in the words and the shape of every other error. `words`: the command line, the program's name first.
pub fn failure(error: &clap::Error, words: &[OsString]) -> Failure {
    let mut command = help::command(None);
    command.build();
    let (typed, inner) = meant(&command, words);
    let rendered = error.render().to_string();
    let mut lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("For more "));
    let message = lines.next().unwrap_or_default().trim_start_matches("error: ");
    let mut failure = Failure::usage(message);
    let mut tip = None;
    for line in lines {
        match line.strip_prefix("tip: ") {
            Some(text) => tip = tip.or(Some(text)),
            None => failure.details.push(line.replacen("Usage: ", "usage: ", 1)),
        }
    }
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            let missing = texts(error, ContextKind::InvalidArg);
            let verb = if missing.len() == 1 { "is" } else { "are" };
            failure.message = format!("{typed}: {} {verb} missing", missing.join(" and "));
            failure.details.retain(|line| line.starts_with("usage:"));
            failure.help(go_by(inner, &typed))
        }
        ErrorKind::InvalidSubcommand => unknown_command(error, &typed, words),
        // `--` before a value that begins with a dash is what clap thinks of first, and seldom what was meant.
        _ if let Some(tip) = tip.filter(|tip| tip.starts_with("a similar")) => {
            failure.help(format!("{tip}; `{typed} --help`"))
        }
        _ => failure.help(go_by(inner, &typed)),
    }
}

/// The innermost command that was typed, with its words.
fn meant<'a>(command: &'a Command, words: &[OsString]) -> (String, &'a Command) {
    let (mut typed, mut inner) = (command.get_name().to_owned(), command);
    for word in words.iter().skip(1) {
        let Some(next) = word.to_str().and_then(|word| inner.find_subcommand(word)) else { break };
        (typed, inner) = (format!("{typed} {}", next.get_name()), next);
    }
    (typed, inner)
}

fn unknown_command(error: &clap::Error, typed: &str, words: &[OsString]) -> Failure {
    let wrong = texts(error, ContextKind::InvalidSubcommand).concat();
    let failure = Failure::usage(format!("there is no command `{typed} {wrong}`"));
    let rest: Vec<_> = words.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let rest = rest.join(" ");
    if let Some(about) = rest.strip_prefix("help").filter(|about| about.is_empty() || about.starts_with(' ')) {
        return failure.help(format!("`remotectl{about} --help`"));
    }
    let similar = texts(error, ContextKind::SuggestedSubcommand);
    if let Some(similar) = similar.first() {
        return failure.help(format!("`{typed} {similar}`? `{typed} --help` lists the commands"));
    }
    // Several words without an option are a sentence.
    if typed == "remotectl" && rest.contains(' ') && !rest.contains(" -") {
        return failure.help(format!("`remotectl ask \"{rest}\"`, if that is to be done"));
    }
    failure.help(format!("`{typed} --help` lists the commands"))
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// The first example of a command's help.
fn go_by(command: &Command, typed: &str) -> String {
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    match examples.lines().nth(1) {
        Some(example) => format!("such as `{}`; `{typed} --help` says more", example.trim()),
        None => format!("`{typed} --help`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> String {
        let words: Vec<OsString> = std::iter::once(&"remotectl").chain(words).map(OsString::from).collect();
        let error = help::command(None).try_get_matches_from(&words).unwrap_err();
        let failure = failure(&error, &words);
        assert_eq!(failure.exit, crate::model::Exit::Usage);
        format!("{}\n{}\nhelp: {}", failure.message, failure.details.join("\n"), failure.help.unwrap_or_default())
    }

    #[test]
    fn wrong_calls_are_told_with_an_example() {
        insta::assert_snapshot!(told(&["ask"]));
        insta::assert_snapshot!(told(&["hub", "operator", "add"]));
        insta::assert_snapshot!(told(&["hub", "join-token", "--role", "king"]));
        insta::assert_snapshot!(told(&["ask", "--yess", "x"]));
        insta::assert_snapshot!(told(&["history", "--limit", "-1"]));
        insta::assert_snapshot!(told(&["asc", "x"]));
        insta::assert_snapshot!(told(&["restart", "the", "web", "server"]));
        insta::assert_snapshot!(told(&["hub", "frob"]));
        insta::assert_snapshot!(told(&["help", "ask"]));
        insta::assert_snapshot!(told(&["is nginx up on ct 118"]));
    }
}
