//! Logs that grow: what a service writes comes at moments that depend on the guest and the time alone, and is written when
//! somebody is about to look.

use super::{
    guest::{Guest, now},
    noise,
    state::{Entry, State, Up},
};
use crate::sys::files::{self, FileError};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use std::{collections::BTreeMap, io::Write as _, sync::LazyLock};

/// How far back logs reach, in seconds: two days.
pub const HISTORY: i64 = 2 * 86_400;
/// The most lines that one source writes at a time: what is older would be rotated away.
const MOST: u64 = 250;
/// syslog's words for the priorities 0 to 7.
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];

static ZONE: LazyLock<TimeZone> = LazyLock::new(|| TimeZone::try_system().unwrap_or(TimeZone::UTC));

/// Writes everything that has been logged since the last time.
pub fn grow(guest: &Guest) -> Result<(), FileError> {
    let mut state = guest.state();
    let (from, to) = (state.grown, now() / 1_000_000);
    if state.boot.is_none() || to <= from {
        return Ok(());
    }
    state.grown = to;
    let (files, mut entries) = collect(guest, &state, from, to);
    entries.sort_by_key(|entry| entry.micros);
    to_syslog(guest, &entries)?;
    for entry in entries {
        state.note(entry);
    }
    // Written before anybody else looks.
    for (path, mut lines) in files {
        lines.sort_by_key(|(at, _)| *at);
        append(guest, &path, lines.into_iter().map(|(_, line)| line))?;
    }
    Ok(())
}

type Lines = BTreeMap<String, Vec<(i64, String)>>;

fn collect(guest: &Guest, state: &State, from: i64, to: i64) -> (Lines, Vec<Entry>) {
    let (mut files, mut entries) = (Lines::new(), Vec::new());
    let seed = guest.profile.seed;
    for service in state.services.values().filter(|service| matches!(service.up, Up::Running | Up::Exited)) {
        let (pid, who, since) = (service.pid().unwrap_or(1), service.comm(), service.since / 1_000_000);
        for (source, log) in service.kind.log.iter().enumerate() {
            let planted = |key: &String| guest.profile.problems.iter().any(|problem| problem.key() == key);
            if log.problem.as_ref().is_some_and(|key| !planted(key)) {
                continue;
            }
            let own = [seed, noise::of_text(&service.name), u64::try_from(source).unwrap_or_default()];
            for (number, at) in moments(&own, log.every, from.max(since), to) {
                let line = noise::pick(&[&own[..], &[number, 9]].concat(), &log.lines);
                let text = guest.fill(line.map_or("", String::as_str), &service.name, pid, at, number);
                match &log.file {
                    Some(file) => {
                        let file = guest.fill(file, &service.name, pid, at, 0);
                        files.entry(file).or_default().push((at, text));
                    }
                    None => entries.push(Entry {
                        micros: at * 1_000_000 + i64::try_from(noise::hash(&[number]) % 900_000).unwrap_or_default(),
                        priority: log.priority.unwrap_or(6),
                        unit: service.name.clone(),
                        who: who.clone(),
                        pid,
                        text,
                    }),
                }
            }
        }
    }
    (files, entries)
}

/// The moments after `from` and up to `to` at which something happens that happens once in every so many seconds, each with
/// its number.
fn moments(seed: &[u64], every: u64, from: i64, to: i64) -> impl Iterator<Item = (u64, i64)> {
    let count = |at: i64| u64::try_from(at).unwrap_or_default() / every;
    let first = count(from).max(count(to).saturating_sub(MOST));
    let seed = seed.to_vec();
    (first..=count(to)).filter_map(move |number| {
        let within = noise::hash(&[&seed[..], &[number]].concat()) % every;
        let at = i64::try_from(number * every + within).ok()?;
        (at > from && at <= to).then_some((number, at))
    })
}

/// Into syslog's file, where the guest has one.
pub fn to_syslog(guest: &Guest, entries: &[Entry]) -> Result<(), FileError> {
    let Some(path) = &guest.profile.distribution.syslog else { return Ok(()) };
    let (host, id, version) =
        (&guest.profile.hostname, guest.profile.os.id.as_str(), guest.profile.os.version.as_str());
    let line = |entry: &Entry| {
        let at = entry.micros / 1_000_000;
        let who = if entry.pid > 1 { format!("{}[{}]", entry.who, entry.pid) } else { entry.who.clone() };
        let level = LEVELS.get(usize::from(entry.priority)).copied().unwrap_or("info");
        match id {
            "alpine" => format!("{} {host} daemon.{level} {who}: {}", local(at, "%b %e %H:%M:%S"), entry.text),
            "ubuntu" if version > "23" => {
                format!("{} {host} {who}: {}", local(at, "%Y-%m-%dT%H:%M:%S.204118%:z"), entry.text)
            }
            _ => format!("{} {host} {who}: {}", local(at, "%b %e %H:%M:%S"), entry.text),
        }
    };
    if entries.is_empty() { Ok(()) } else { append(guest, path, entries.iter().map(line)) }
}

fn append(guest: &Guest, path: &str, lines: impl Iterator<Item = String>) -> Result<(), FileError> {
    let at = guest.file(path);
    if let Some(parent) = at.parent() {
        files::create_directory(parent, 0o755)?;
    }
    let text: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
    let mut file = files::open_append(&at)?;
    file.write_all(text.as_bytes()).map_err(|source| FileError { doing: "writing", path: at, source })
}

/// A moment (seconds since the epoch) in local time; empty where it is none.
pub fn local(at: i64, form: &str) -> String {
    zoned(at).map(|zoned| zoned.strftime(form).to_string()).unwrap_or_default()
}

fn zoned(at: i64) -> Option<Zoned> {
    Some(Timestamp::from_second(at).ok()?.to_zoned(ZONE.clone()))
}

/// Fills in the moments of a template, each in its program's form.
pub fn times(text: &str, at: i64) -> String {
    const FORMS: [(&str, &str); 9] = [
        ("@CLF@", "%d/%b/%Y:%H:%M:%S %z"),
        ("@SLASH@", "%Y/%m/%d %H:%M:%S"),
        ("@PHPTIME@", "%d-%b-%Y %H:%M:%S"),
        ("@APACHE@", "%a %b %d %H:%M:%S.204118 %Y"),
        ("@ISO@", "%Y-%m-%dT%H:%M:%S.204%:z"),
        ("@PG@", "%Y-%m-%d %H:%M:%S.204 %Z"),
        ("@REDIS@", "%d %b %Y %H:%M:%S.204"),
        ("@HATIME@", "%d/%b/%Y:%H:%M:%S.204"),
        ("@SYSLOG@", "%b %e %H:%M:%S"),
    ];
    let mut text = text.replace("@EPOCHS@", &at.to_string()).replace("@EPOCH@", &format!("{at}.2041"));
    for (key, form) in FORMS {
        if text.contains(key) {
            text = text.replace(key, &local(at, form));
        }
    }
    if text.contains("@HMS@") { text.replace("@HMS@", &local(at, "%H:%M:%S.204118")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_the_same_however_they_are_asked_for() {
        let all: Vec<i64> = moments(&[1], 60, 1_000_000, 1_006_000).map(|(_, at)| at).collect();
        let mut pieces = Vec::new();
        for start in (1_000_000..1_006_000).step_by(7) {
            pieces.extend(moments(&[1], 60, start, (start + 7).min(1_006_000)).map(|(_, at)| at));
        }
        assert_eq!(all, pieces);
        assert!((90..=101).contains(&all.len()), "{}", all.len());
    }

    #[test]
    fn times_have_their_programs_forms() {
        let line = times("[@CLF@] @SLASH@ @EPOCHS@", 1_795_336_719);
        assert!(line.contains("Nov/2026:") && line.contains(" 2026/11/2") && line.ends_with("1795336719"), "{line}");
    }
}
