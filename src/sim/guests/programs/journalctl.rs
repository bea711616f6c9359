//! journalctl, as the agent calls it and as people do.

use super::Output;
use crate::sim::guests::{
    guest::{Guest, now},
    logs,
    state::Entry,
};
use serde_json::json;

/// Lines that people see unless they say how many.
const LINES: usize = 1_000;
const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

#[derive(Default)]
struct Query {
    unit: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    priority: Option<u8>,
    grep: Option<String>,
    lines: Option<usize>,
    reverse: bool,
    json: bool,
    boot: bool,
}

pub(super) fn run(guest: &Guest, args: &[&str]) -> Output {
    let query = match Query::parse(args) {
        Ok(query) => query,
        Err(output) => return output,
    };
    if let Err(error) = guest.write_once().and_then(|()| logs::grow(guest)) {
        return Output::bad(1, format!("Failed to open the journal: {error}"));
    }
    let state = guest.state();
    let boot = state.boot.unwrap_or_default();
    let fits = |entry: &&Entry| {
        query.unit.as_ref().is_none_or(|unit| *unit == entry.unit)
            && query.since.is_none_or(|since| entry.micros / 1_000_000 >= since)
            && query.until.is_none_or(|until| entry.micros / 1_000_000 <= until)
            && query.priority.is_none_or(|priority| entry.priority <= priority)
            && query.grep.as_ref().is_none_or(|text| entry.text.to_lowercase().contains(&text.to_lowercase()))
            && (!query.boot || entry.micros >= boot)
    };
    let mut entries: Vec<&Entry> = state.journal.iter().filter(fits).collect();
    entries.sort_by_key(|entry| entry.micros);
    let wanted = query.lines.unwrap_or(if query.json { usize::MAX } else { LINES });
    entries.drain(..entries.len().saturating_sub(wanted));
    if query.reverse {
        entries.reverse();
    }
    let host = &guest.profile.hostname;
    let lines = entries.iter().map(|entry| if query.json { machine_line(entry) } else { line(host, entry) });
    let text: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
    if text.is_empty() && !query.json { Output::good("-- No entries --\n") } else { Output::good(text) }
}

fn machine_line(entry: &Entry) -> String {
    json!({
        "MESSAGE": entry.text, "PRIORITY": entry.priority.to_string(), "SYSLOG_IDENTIFIER": entry.who, "_COMM": entry.who,
        "_PID": entry.pid.to_string(), "__REALTIME_TIMESTAMP": entry.micros.to_string(),
    })
    .to_string()
}

fn line(host: &str, entry: &Entry) -> String {
    let at = logs::local(entry.micros / 1_000_000, "%b %d %H:%M:%S");
    format!("{at} {host} {}[{}]: {}", entry.who, entry.pid, entry.text)
}

impl Query {
    fn parse(args: &[&str]) -> Result<Self, Output> {
        let mut query = Self::default();
        let mut args = args.iter().copied();
        while let Some(arg) = args.next() {
            let (name, given) = arg.split_once('=').map_or((arg, None), |(name, value)| (name, Some(value)));
            let mut value = || given.or_else(|| args.next()).unwrap_or_default();
            match name {
                "--unit" | "-u" => query.unit = Some(value().trim_end_matches(".service").to_owned()),
                "--since" | "-S" => query.since = Some(moment(value())?),
                "--until" | "-U" => query.until = Some(moment(value())?),
                "--priority" | "-p" => query.priority = Some(priority(value())?),
                "--grep" | "-g" => query.grep = Some(value().to_owned()),
                "--lines" | "-n" => query.lines = Some(value().parse().unwrap_or(10)),
                "--output" | "-o" => query.json = value() == "json",
                "--reverse" | "-r" => query.reverse = true,
                "--boot" | "-b" | "-xe" | "-e" => query.boot = true,
                "-xeu" | "-eu" => {
                    (query.boot, query.unit) = (true, Some(value().trim_end_matches(".service").to_owned()));
                }
                "--follow" | "-f" => {
                    return Err(Output::bad(1, "this guest is simulated: its journal can't be followed"));
                }
                "--no-pager" | "--quiet" | "-q" | "--output-fields" | "-x" | "--all" | "-a" | "--no-hostname" => {}
                other => return Err(Output::bad(1, format!("journalctl: unrecognized option '{other}'"))),
            }
        }
        Ok(query)
    }
}

fn priority(text: &str) -> Result<u8, Output> {
    let named = PRIORITIES.iter().position(|known| *known == text).or_else(|| (text == "error").then_some(3));
    let number =
        named.and_then(|place| u8::try_from(place).ok()).or_else(|| text.parse().ok().filter(|number| *number < 8));
    number.ok_or_else(|| Output::bad(1, format!("Unknown log level {text}")))
}

/// `@1795336719`, `1 hour ago`, `-10min`, `today`, `yesterday`.
fn moment(text: &str) -> Result<i64, Output> {
    let now = now() / 1_000_000;
    let wrong = || Output::bad(1, format!("Failed to parse timestamp: {text}"));
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds.parse().map_err(|_| wrong());
    }
    let day = now - now.rem_euclid(86_400);
    match text {
        "now" => return Ok(now),
        "today" => return Ok(day),
        "yesterday" => return Ok(day - 86_400),
        _ => {}
    }
    let span = text.strip_prefix('-').or_else(|| text.strip_suffix(" ago")).ok_or_else(wrong)?.trim();
    let digits = span.len() - span.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (number, unit) = span.split_at(digits);
    let unit = match unit.trim().trim_end_matches('s') {
        "" | "ec" | "second" | "sec" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" | "hr" => 3_600,
        "d" | "day" => 86_400,
        _ => return Err(wrong()),
    };
    Ok(now - number.parse::<i64>().map_err(|_| wrong())?.saturating_mul(unit))
}
