//! `logs.query`: from the journal where there is one, from syslog's files elsewhere, or from a file that is named. Reads
//! only, and only below the allowed roots.

pub mod files;
pub mod journal;
mod times;

use super::{
    Machine, Task,
    commands::Commands,
    init::Init,
    services::{self, ServiceName},
};
use crate::{
    model::{
        Op, Outcome,
        values::{Span, Time},
    },
    sys::clock,
};
use journal::{Entry, PRIORITIES};
use serde_json::json;
use std::path::Path;

/// Lines unless told otherwise.
const DEFAULT_LINES: u64 = 100;
/// Lines at most.
const MOST_LINES: u64 = 5_000;
/// Bytes of entries as JSON at most, so that the whole result stays below its 1 MiB.
const BUDGET: usize = 900 << 10;

/// What the source is called where it is several files.
const OWN: &str = "its own files";

/// A plain text that is looked for: in any case where it is written in lower case alone, exactly otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    text: String,
    any_case: bool,
}

impl Needle {
    /// Looks for this text; nothing in it is special.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), any_case: !text.chars().any(char::is_uppercase) }
    }

    /// Whether a line has it.
    pub fn is_in(&self, line: &str) -> bool {
        if self.any_case { line.to_lowercase().contains(&self.text) } else { line.contains(&self.text) }
    }
}

/// What is wanted, wherever it is found.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Not older than this (seconds since the epoch).
    pub since: Option<i64>,
    /// Not newer than this (seconds since the epoch).
    pub until: Option<i64>,
    /// Containing this.
    pub grep: Option<Needle>,
    /// The newest so many.
    pub lines: usize,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    source: String,
    entries: Vec<Entry>,
    notes: Vec<String>,
}

/// Carries out `logs.query`.
pub fn perform(op: &Op, machine: &Machine, task: &Task) -> Outcome {
    let Op::LogsQuery { service, path, since, until, priority, grep, lines } = op else {
        return Outcome::rejected(format!("this agent can't do {} yet", op.name()));
    };
    let wanted = wanted(since.as_ref(), until.as_ref(), grep.as_deref(), *lines);
    let priority = match priority.as_deref().map(priority_word) {
        Some(Err(why)) => return Outcome::rejected(why),
        Some(Ok(word)) => Some(word),
        None => None,
    };
    let service = match service.as_deref().map(ServiceName::parse) {
        Some(Err(error)) => return Outcome::rejected(error.to_string()),
        Some(Ok(name)) => Some(name),
        None => None,
    };
    let commands = machine.commands(task);
    let found = match (path, service.as_ref()) {
        (Some(path), _) => from_file(machine, path, &wanted, priority),
        (None, service) if machine.init() == Init::Systemd => {
            from_journal(machine, commands.as_ref(), service, &wanted, priority)
        }
        (None, service) => from_syslog(machine, service, &wanted, priority),
    };
    match found {
        Ok(found) => answer(machine, found, service.as_ref()),
        Err(outcome) => *outcome,
    }
}

fn wanted(since: Option<&Span>, until: Option<&Time>, grep: Option<&str>, lines: Option<u64>) -> Wanted {
    let ago = |span: &Span| clock::unix_seconds().saturating_sub_unsigned(span.seconds());
    Wanted {
        since: since.map(ago),
        until: until.map(Time::unix_seconds),
        grep: grep.filter(|text| !text.is_empty()).map(Needle::new),
        lines: usize::try_from(lines.unwrap_or(DEFAULT_LINES).clamp(1, MOST_LINES)).unwrap_or(1),
    }
}

fn priority_word(text: &str) -> Result<&'static str, String> {
    let lower = text.to_lowercase();
    let word = match lower.as_str() {
        "error" | "errors" => "err",
        "warn" | "warnings" => "warning",
        "critical" => "crit",
        "emergency" | "panic" => "emerg",
        other => other,
    };
    let by_number = word.parse::<usize>().ok().and_then(|number| PRIORITIES.get(number));
    let known = by_number.or_else(|| PRIORITIES.iter().find(|known| **known == word));
    known
        .copied()
        .ok_or_else(|| format!("`{}` is no priority; they are {}", text.escape_debug(), PRIORITIES.join(", ")))
}

fn from_journal(
    machine: &Machine,
    commands: &dyn Commands,
    service: Option<&ServiceName>,
    wanted: &Wanted,
    priority: Option<&str>,
) -> Result<Found, Box<Outcome>> {
    let unit = service.map(services::unit);
    let query = journal::Query {
        unit: unit.as_deref(),
        since: wanted.since.map(|since| since * 1000),
        until: wanted.until,
        priority,
        grep: wanted.grep.as_ref(),
        lines: wanted.lines,
    };
    match journal::read(commands, &query) {
        Ok(entries) => Ok(Found { source: "the journal".to_owned(), entries, notes: Vec::new() }),
        Err(error) => match from_syslog(machine, service, wanted, priority) {
            Ok(mut found) => {
                found.notes.push(format!("the journal could not be read: {error}"));
                Ok(found)
            }
            Err(_) => Err(Box::new(error.outcome())),
        },
    }
}

fn from_syslog(
    machine: &Machine,
    service: Option<&ServiceName>,
    wanted: &Wanted,
    priority: Option<&str>,
) -> Result<Found, Box<Outcome>> {
    let tag = service.map(ServiceName::as_str);
    let syslog = files::syslog(machine);
    let mut found = Found::default();
    if let Some(path) = &syslog {
        let tail = files::tail(machine, path, wanted, tag)?;
        found = Found { source: path.display().to_string(), entries: tail.entries, notes: tail.notes };
    }
    if found.entries.is_empty()
        && let Some(own) = tag.and_then(|tag| files::tail_own(machine, tag, wanted))
    {
        found = Found { source: OWN.to_owned(), entries: own.entries, notes: own.notes };
    } else if syslog.is_none() {
        let why = "there is neither a journal nor /var/log/messages or /var/log/syslog here";
        return Err(Box::new(Outcome::failure(why).with_help("logs.query path=/var/log/… reads a file")));
    }
    Ok(without_priority(found, priority))
}

fn from_file(machine: &Machine, path: &str, wanted: &Wanted, priority: Option<&str>) -> Result<Found, Box<Outcome>> {
    let tail = files::tail(machine, Path::new(path), wanted, None)?;
    Ok(without_priority(Found { source: path.to_owned(), entries: tail.entries, notes: tail.notes }, priority))
}

fn without_priority(mut found: Found, priority: Option<&str>) -> Found {
    if priority.is_some() {
        found.notes.push("files carry no priorities: lines of every priority are shown".to_owned());
    }
    found
}

fn answer(machine: &Machine, mut found: Found, service: Option<&ServiceName>) -> Outcome {
    let dropped = fit(&mut found.entries);
    if dropped > 0 {
        found.notes.push(format!("{dropped} older lines left out: the answer would be too large"));
    }
    let also = service.filter(|_| found.source != OWN).map(|name| files::own_files(machine, name.as_str()));
    let also = also.unwrap_or_default();
    let mut summary = match found.entries.len() {
        0 => format!("no such lines in {}", found.source),
        1 => format!("1 line from {}", found.source),
        count => format!("{count} lines from {}", found.source),
    };
    for note in &found.notes {
        summary = format!("{summary}; {note}");
    }
    if !also.is_empty() {
        summary = format!("{summary}; it also writes {}", also.join(", "));
    }
    let Found { source, entries, notes } = found;
    Outcome::success(summary).with_data(
        json!({ "source": source, "lines": entries, "notes": notes, "also": also, "truncated": dropped > 0 }),
    )
}

/// Drops the oldest entries until the rest fits into the budget; how many those were.
fn fit(entries: &mut Vec<Entry>) -> usize {
    let mut size = 0;
    let fits = entries.iter().rev().take_while(|entry| {
        size += serde_json::to_string(entry).map_or(BUDGET, |json| json.len() + 1);
        size <= BUDGET
    });
    let dropped = entries.len() - fits.count();
    entries.drain(..dropped);
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_plain_text() {
        assert!(Needle::new("error.*").is_in("x error.* y"));
        assert!(!Needle::new("error.*").is_in("an error occurred"));
        assert!(Needle::new("error").is_in("ERROR: disk"));
        assert!(!Needle::new("Error").is_in("error: disk"));
    }

    #[test]
    fn priorities_are_words_or_numbers() {
        assert_eq!(priority_word("error"), Ok("err"));
        assert_eq!(priority_word("4"), Ok("warning"));
        for bad in ["loud", "8", "-1", "err..crit"] {
            assert!(priority_word(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_never_gets_too_large() {
        let entry = |text: &str| Entry {
            time: String::new(),
            priority: String::new(),
            who: String::new(),
            text: text.to_owned(),
        };
        let mut entries = vec![entry(&"\"".repeat(8000)); 100];
        entries.push(entry("newest"));
        assert!(fit(&mut entries) > 0);
        assert_eq!(entries.last().unwrap().text, "newest");
        assert!(serde_json::to_string(&entries).unwrap().len() <= BUDGET + 2);
    }

    #[test]
    fn bad_arguments_are_refused_before_anything_runs() {
        let query = |json: serde_json::Value| {
            let op = Op::from_parts("logs.query", json.as_object().unwrap().clone()).unwrap();
            perform(&op, &Machine::here(), &Task::default())
        };
        for bad in [
            json!({"priority": "loud"}),
            json!({"service": "--file=/etc/shadow"}),
            json!({"path": "/etc/shadow"}),
            json!({"path": "/var/log/../../etc/shadow"}),
            json!({"path": "var/log/messages"}),
        ] {
            assert!(!query(bad.clone()).succeeded(), "{bad}");
        }
    }
}
