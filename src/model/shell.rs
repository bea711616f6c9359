//! Whether a shell command only reads. A parser takes it apart; only what consists wholly of plain calls of programs that
//! are known to only read (`readers`), joined by `|`, `&&`, `||` and `;`, does. Everything else changes something.

mod readers;
#[cfg(test)]
mod tests;

use deno_task_shell::parser::{
    self, Command, CommandInner, PipeSequenceOperator, PipelineInner, Sequence, Word, WordPart,
};

/// The longest command that is looked at, in bytes.
const LONGEST: usize = 1024;
/// The most calls that are joined: the parser goes as deep as there are joints.
const MOST_JOINTS: usize = 15;
/// What a command with any of them is never understood for, in quotes or not: shells differ in it, or it does more than read.
const NEVER: &[char] = &['$', '`', '\\', '(', ')', '{', '}', '<', '>', '!', '#', '~'];
/// What may stand in a word outside quotes beside letters and digits.
const PLAIN: &str = "_-./:,@+%";

/// True only when the command is made of plain calls of programs that are known to only read what is no secret.
pub fn only_reads(command: &str) -> bool {
    let strange = |c: char| NEVER.contains(&c) || c.is_ascii_control() || !c.is_ascii();
    let joints = command.matches(['|', '&', ';']).count();
    if command.len() > LONGEST || joints > MOST_JOINTS || command.contains(strange) {
        return false;
    }
    parser::parse(command).is_ok_and(|list| list.items.iter().all(|item| !item.is_async && sequence(&item.sequence)))
}

fn sequence(one: &Sequence) -> bool {
    match one {
        Sequence::ShellVar(_) => false,
        Sequence::Pipeline(whole) => !whole.negated && pipeline(&whole.inner, false),
        Sequence::BooleanList(list) => sequence(&list.current) && sequence(&list.next),
    }
}

/// `fed`: whether something is piped into the first of them.
fn pipeline(inner: &PipelineInner, fed: bool) -> bool {
    match inner {
        PipelineInner::Command(command) => call(command, fed),
        PipelineInner::PipeSequence(pipe) => {
            pipe.op == PipeSequenceOperator::Stdout && call(&pipe.current, fed) && pipeline(&pipe.next, true)
        }
    }
}

fn call(command: &Command, fed: bool) -> bool {
    let CommandInner::Simple(simple) = &command.inner else { return false };
    let plain = command.redirect.is_none() && simple.env_vars.is_empty();
    let Some((program, words)) = simple.args.split_first().filter(|_| plain) else { return false };
    // A program's name in quotes or in pieces is an attempt to hide it.
    let [WordPart::Text(program)] = &program.parts()[..] else { return false };
    let words: Option<Vec<String>> = words.iter().map(text).collect();
    words.is_some_and(|words| readers::reads(program, &words.iter().map(String::as_str).collect::<Vec<_>>(), fed))
}

/// The text that a word stands for; `None` where a shell would make something of it.
fn text(word: &Word) -> Option<String> {
    let mut out = String::new();
    for part in word.parts() {
        match part {
            WordPart::Text(text) if is_plain(text) => out.push_str(text),
            WordPart::Quoted(parts) => {
                for part in parts {
                    let WordPart::Text(text) = part else { return None };
                    out.push_str(text);
                }
            }
            _ => return None,
        }
    }
    Some(out)
}

/// `=` only behind an option's name: elsewhere it makes a variable.
fn is_plain(text: &str) -> bool {
    let option = text.starts_with("--");
    let plain = |c: char| c.is_ascii_alphanumeric() || PLAIN.contains(c) || c == '=' && option;
    !text.starts_with('%') && text.chars().all(plain)
}
