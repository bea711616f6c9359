//! The systemd journal, through journalctl's JSON: newest first and only as far back as needed.

use crate::{
    host::{
        commands::{CommandError, Commands},
        text::{clean, printable},
    },
    sys::clock,
};
use serde::Serialize;
use serde_json::Value;
use std::ops::ControlFlow;

/// The journal's priorities, most urgent first; their place is their number.
pub const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub struct Query<'a> {
    /// Of this unit, with what systemd says about it.
    pub unit: Option<&'a str>,
    /// Not older than this (milliseconds since the epoch).
    pub since: Option<i64>,
    /// Not newer than this (seconds since the epoch).
    pub until: Option<i64>,
    /// At least as urgent as this one of `PRIORITIES`.
    pub priority: Option<&'a str>,
    /// Containing this.
    pub grep: Option<&'a super::Needle>,
    /// The newest so many.
    pub lines: usize,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// RFC 3339; empty where unknown.
    pub time: String,
    /// One of `PRIORITIES`; empty where unknown.
    pub priority: String,
    /// `nginx[812]`.
    pub who: String,
    /// What was logged, in one line, control characters taken out.
    pub text: String,
}

impl Entry {
    /// `nginx: cannot bind …`.
    pub fn brief(&self) -> String {
        let name = self.who.split('[').next().unwrap_or_default();
        if name.is_empty() { self.text.clone() } else { format!("{name}: {}", self.text) }
    }
}

/// The newest entries that fit, oldest of them first.
pub fn read(commands: &dyn Commands, query: &Query) -> Result<Vec<Entry>, CommandError> {
    let mut argv: Vec<String> = [
        "journalctl",
        "--no-pager",
        "--quiet",
        "--reverse",
        "--output=json",
        "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM,_PID",
    ]
    .map(str::to_owned)
    .into();
    argv.extend(query.unit.map(|unit| format!("--unit={unit}")));
    argv.extend(query.since.map(|since| format!("--since=@{}", since / 1000)));
    argv.extend(query.until.map(|until| format!("--until=@{until}")));
    argv.extend(query.priority.map(|priority| format!("--priority={priority}")));
    if query.grep.is_none() {
        argv.push(format!("--lines={}", query.lines));
    }
    let mut entries = Vec::new();
    let mut argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let mut finished = collect(commands, &argv, query, &mut entries)?;
    if !finished.success() && String::from_utf8_lossy(&finished.stderr).contains("output-fields") {
        // Before systemd 236 every field comes.
        argv.retain(|arg| !arg.starts_with("--output-fields"));
        finished = collect(commands, &argv, query, &mut entries)?;
    }
    if entries.is_empty() && finished.code.is_some_and(|code| code != 0) {
        let complaint = finished.complaint();
        return Err(CommandError::Failed { command: argv.join(" "), output: complaint.clone(), complaint });
    }
    entries.reverse();
    Ok(entries)
}

fn collect(
    commands: &dyn Commands,
    argv: &[&str],
    query: &Query,
    entries: &mut Vec<Entry>,
) -> Result<crate::sys::process::Finished, CommandError> {
    let earliest = query.since.unwrap_or(i64::MIN);
    commands.lines(argv, &mut |line| {
        // journalctl takes whole seconds; what was logged in the same second before is none of ours.
        match entry(line) {
            Some((millis, entry)) if millis >= earliest && query.grep.is_none_or(|grep| grep.is_in(&entry.text)) => {
                entries.push(entry);
            }
            _ => {}
        }
        if entries.len() >= query.lines { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

/// An entry from a line of JSON with its time in milliseconds since the epoch; `None` for a line that is none.
fn entry(line: &[u8]) -> Option<(i64, Entry)> {
    let fields: Value = serde_json::from_slice(line).ok()?;
    let text = |key: &str| match &fields[key] {
        Value::String(text) => text.clone(),
        // What is not UTF-8 comes as an array of bytes.
        Value::Array(bytes) => {
            let bytes: Vec<u8> = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => String::new(),
    };
    let millis = text("__REALTIME_TIMESTAMP").parse::<i64>().ok().map(|micros| micros / 1_000);
    let priority = text("PRIORITY").parse::<usize>().ok().and_then(|number| PRIORITIES.get(number));
    let who = Some(text("SYSLOG_IDENTIFIER")).filter(|who| !who.is_empty()).unwrap_or_else(|| text("_COMM"));
    let pid = text("_PID");
    let entry = Entry {
        time: millis.map(|millis| clock::rfc3339(millis / 1000)).unwrap_or_default(),
        priority: priority.map(|priority| (*priority).to_owned()).unwrap_or_default(),
        who: clean(&if pid.is_empty() { who } else { format!("{who}[{pid}]") }),
        text: printable(&text("MESSAGE")),
    };
    Some((millis.unwrap_or(i64::MAX), entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{commands::fake::Scripted, logs::Needle};

    const LINES: &str = concat!(
        r#"{"MESSAGE":"second error","PRIORITY":"3","SYSLOG_IDENTIFIER":"nginx","_PID":"812","__REALTIME_TIMESTAMP":"1795336720000000"}"#,
        "\n",
        r#"{"MESSAGE":[104,105,255],"PRIORITY":"6","_COMM":"cron","__REALTIME_TIMESTAMP":"1795336719000000"}"#,
        "\nnot json\n",
    );

    #[test]
    fn entries_read_and_come_oldest_first() {
        let commands = Scripted::new(|_| (0, LINES.to_owned()));
        let entries = read(&commands, &Query { lines: 10, ..Query::default() }).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].who.as_str(), entries[0].text.as_str()), ("cron", "hi\u{fffd}"));
        assert_eq!((entries[1].priority.as_str(), entries[1].who.as_str()), ("err", "nginx[812]"));
        assert_eq!(entries[1].brief(), "nginx: second error");
    }

    #[test]
    fn what_is_asked_is_argv_and_grep_is_ours() {
        let commands = Scripted::new(|_| (0, LINES.to_owned()));
        let needle = Needle::new("error");
        let query = Query {
            unit: Some("nginx.service"),
            since: Some(1_795_336_719_500),
            priority: Some("err"),
            grep: Some(&needle),
            lines: 3,
            ..Query::default()
        };
        assert_eq!(read(&commands, &query).unwrap().len(), 1);
        assert_eq!(
            commands.asked(),
            ["journalctl --no-pager --quiet --reverse --output=json \
              --output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM,_PID --unit=nginx.service --since=@1795336719 \
              --priority=err"]
        );
    }

    #[test]
    fn a_journal_that_can_not_be_read_is_an_error() {
        let commands = Scripted::new(|_| (1, "No journal files were opened due to insufficient permissions.".into()));
        let error = read(&commands, &Query { lines: 1, ..Query::default() }).unwrap_err();
        assert!(error.to_string().contains("insufficient permissions"));
    }
}
