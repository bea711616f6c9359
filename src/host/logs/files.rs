//! Log files: only regular files below the allowed roots, only their tail, only what is asked for.

use super::{Wanted, journal::Entry, times};
use crate::{
    host::{
        Machine,
        text::{amount, printable},
    },
    model::Outcome,
    sys::clock,
};
use rustix::fs::OFlags;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

/// Where log files may be read.
pub const ROOTS: &[&str] = &["/var/log"];
/// How much of a file's end is looked at.
const WINDOW: u64 = 8 << 20;
/// Where syslog writes, by distribution.
const SYSLOGS: [&str; 2] = ["/var/log/messages", "/var/log/syslog"];
/// How many of a service's own files are named.
const MOST_NAMED: usize = 8;

/// What was found in a file.
#[derive(Debug, Default)]
pub struct Tail {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// What the reader should know about them.
    pub notes: Vec<String>,
}

/// syslog's file on a machine, as it calls it.
pub fn syslog(machine: &Machine) -> Option<PathBuf> {
    SYSLOGS.iter().map(PathBuf::from).find(|path| machine.path(path).is_file())
}

/// The last lines of a program: syslog's, or those of its own files where syslog has none. `None` where there is neither.
pub fn lines_of(machine: &Machine, name: &str, since: Option<i64>, lines: usize) -> Option<Vec<String>> {
    let wanted = Wanted { since, lines, ..Wanted::default() };
    let syslog = syslog(machine).and_then(|path| tail(machine, &path, &wanted, Some(name)).ok());
    let tail = syslog.filter(|tail| !tail.entries.is_empty()).or_else(|| tail_own(machine, name, &wanted))?;
    Some(tail.entries.into_iter().map(|entry| entry.text).collect())
}

/// The newest lines of all the files that a service writes itself, in the order of their times.
pub fn tail_own(machine: &Machine, service: &str, wanted: &Wanted) -> Option<Tail> {
    let mut whole = Tail::default();
    for path in own_files(machine, service) {
        let tail = tail(machine, Path::new(&path), wanted, None);
        // A file that is compressed or has gone meanwhile has nothing for us; the others may.
        let Ok(tail) = tail else { continue };
        whole.entries.extend(tail.entries.into_iter().map(|entry| Entry { who: path.clone(), ..entry }));
        whole.notes.extend(tail.notes.into_iter().map(|note| format!("{path}: {note}")));
    }
    whole.entries.sort_by(|one, other| one.time.cmp(&other.time));
    whole.entries.drain(..whole.entries.len().saturating_sub(wanted.lines));
    (!whole.entries.is_empty()).then_some(whole)
}

/// The log files that a service writes itself, as far as their names tell.
pub fn own_files(machine: &Machine, service: &str) -> Vec<String> {
    let name = service.split('@').next().unwrap_or(service);
    let logs = machine.path("/var/log");
    let mut files: Vec<PathBuf> = fs::read_dir(logs.join(name))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .chain([logs.join(format!("{name}.log"))])
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() > 0))
        .collect();
    files.sort();
    files.truncate(MOST_NAMED);
    files.iter().map(|path| printable(&machine.inside(path).to_string_lossy())).collect()
}

/// The newest lines of a file that fit; with a tag, only what syslog has from that program.
pub fn tail(machine: &Machine, path: &Path, wanted: &Wanted, tag: Option<&str>) -> Result<Tail, Box<Outcome>> {
    let (mut file, size) = open(machine, path)?;
    let start = size.saturating_sub(WINDOW);
    let read = || {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(WINDOW).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let bytes =
        { read }().map_err(|error| Box::new(Outcome::failure(format!("reading {}: {error}", path.display()))))?;
    if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0xfd, b'7', b'z']) || bytes.starts_with(&[0x28, 0xb5]) {
        let compressed = Outcome::failure(format!("{} is compressed", path.display()));
        return Err(Box::new(compressed.with_help("exec.run reads it with zcat, where that is installed")));
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = if start > 0 { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    let mut tail = choose(text, wanted, tag);
    if start > 0 && tail.entries.len() < wanted.lines {
        tail.notes.push(format!("only the last {} of {} were looked at", amount(WINDOW), amount(size)));
    }
    Ok(tail)
}

/// Opens a file whose name and whose real place are both below a root. The real place is asked of the open file itself:
/// nobody can change it in between.
fn open(machine: &Machine, path: &Path) -> Result<(File, u64), Box<Outcome>> {
    let shown = printable(&path.to_string_lossy());
    let below = |path: &Path| ROOTS.iter().any(|root| path.starts_with(root) && path != Path::new(root));
    let refused = || {
        let why = format!("{shown} is not below {}: logs are read there alone", ROOTS.join(" or "));
        let help = "config.show reads configuration; exec.run reads anything, with your confirmation";
        Box::new(Outcome::rejected(why).with_help(help))
    };
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) || !below(path) {
        return Err(refused());
    }
    // Non-blocking, so that a pipe that somebody put there does not hold us.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let at = machine.path(path);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&at);
    let file = file.map_err(|error| Box::new(missing(&at, &shown, &error)))?;
    let meta = file.metadata().map_err(|error| Box::new(Outcome::failure(format!("reading {shown}: {error}"))))?;
    let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
    if !below(&machine.inside(&real)) {
        return Err(refused());
    }
    if !meta.is_file() {
        return Err(Box::new(Outcome::rejected(format!("{shown} is no regular file"))));
    }
    Ok((file, meta.len()))
}

fn missing(path: &Path, shown: &str, error: &io::Error) -> Outcome {
    let outcome = Outcome::failure(format!("reading {shown}: {error}"));
    if error.kind() != io::ErrorKind::NotFound {
        return outcome;
    }
    let near = path.parent().into_iter().flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten());
    let mut names: Vec<String> = near.map(|entry| printable(&entry.file_name().to_string_lossy())).collect();
    names.sort();
    names.truncate(MOST_NAMED);
    if names.is_empty() { outcome } else { outcome.with_help(format!("there are {}", names.join(", "))) }
}

fn choose(text: &str, wanted: &Wanted, tag: Option<&str>) -> Tail {
    let (now, mut last, mut timed) = (clock::unix_seconds(), None, false);
    let bounded = wanted.since.is_some() || wanted.until.is_some();
    let mut entries = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        // A line without a time belongs to the one before it: traces have many lines.
        last = times::of_line(line, now).or(last);
        timed |= last.is_some();
        let in_time = last.is_none_or(|time| {
            wanted.since.is_none_or(|since| time >= since) && wanted.until.is_none_or(|until| time <= until)
        });
        let early = last.is_none() && bounded;
        if in_time
            && !(early && timed)
            && tag.is_none_or(|tag| has_tag(line, tag))
            && wanted.grep.as_ref().is_none_or(|grep| grep.is_in(line))
        {
            let time = last.map(clock::rfc3339).unwrap_or_default();
            entries.push(Entry { time, priority: String::new(), who: String::new(), text: printable(line) });
        }
    }
    let notes = if bounded && !timed && !entries.is_empty() {
        vec!["its lines have no time that can be read, so it is not narrowed by time".to_owned()]
    } else {
        Vec::new()
    };
    entries.drain(..entries.len().saturating_sub(wanted.lines));
    Tail { entries, notes }
}

/// Whether a syslog line is from that program: `… host nginx[812]: …`, `… host nginx: …`, `… daemon.info nginx: …`.
fn has_tag(line: &str, tag: &str) -> bool {
    line.split_whitespace().take(7).any(|word| {
        let word = word.trim_end_matches(':');
        word.split('[').next() == Some(tag) && word.len() < line.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::{init::Init, logs::Needle},
        model::outcome::Ending,
        sys::files,
    };

    fn wanted(lines: usize) -> Wanted {
        Wanted { lines, ..Wanted::default() }
    }

    /// A machine with an empty /var/log, and where that is.
    fn machine(root: &tempfile::TempDir) -> (Machine, PathBuf) {
        let root = fs::canonicalize(root.path()).unwrap();
        fs::create_dir_all(root.join("var/log")).unwrap();
        (Machine::below(&root, Init::OpenRc), root.join("var/log"))
    }

    fn read(machine: &Machine, name: &str, wanted: &Wanted) -> Result<Tail, Box<Outcome>> {
        tail(machine, &Path::new("/var/log").join(name), wanted, None)
    }

    #[test]
    fn the_newest_lines_come_and_grep_is_plain() {
        let root = tempfile::tempdir().unwrap();
        let (machine, logs) = machine(&root);
        files::write_atomic(&logs.join("app.log"), b"one\ntwo a.b\nthree axb\nfour a.b\n", 0o600).unwrap();
        let texts = |wanted: &Wanted| -> Vec<String> {
            read(&machine, "app.log", wanted).unwrap().entries.into_iter().map(|entry| entry.text).collect()
        };
        assert_eq!(texts(&wanted(2)), ["three axb", "four a.b"]);
        assert_eq!(texts(&Wanted { grep: Some(Needle::new("a.b")), ..wanted(9) }), ["two a.b", "four a.b"]);
    }

    #[test]
    fn ways_out_of_the_root_are_closed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (machine, logs) = machine(&root);
        files::write_atomic(&outside.path().join("secret"), b"x", 0o600).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), logs.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), logs.join("dir")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, logs.join("pipe"), 0o600.into()).unwrap();
        for way in ["link", "dir/secret", "pipe", "../x", "."] {
            assert_eq!(read(&machine, way, &wanted(1)).unwrap_err().ending, Ending::Rejected, "{way}");
        }
        let missing = read(&machine, "nothing", &wanted(1)).unwrap_err();
        assert!(missing.help.unwrap().contains("pipe"));
    }

    #[test]
    fn times_narrow_and_traces_stay_together() {
        let text = "2026-11-22T10:00:00Z old\n  trace of old\n2026-11-22T11:00:00Z new\n  trace of new\n";
        let since = "2026-11-22T10:30:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
        let tail = choose(text, &Wanted { since: Some(since), ..wanted(9) }, None);
        let texts: Vec<&str> = tail.entries.iter().map(|entry| entry.text.as_str()).collect();
        assert_eq!(texts, ["2026-11-22T11:00:00Z new", "trace of new"]);
        let untimed = choose("a\nb\n", &Wanted { since: Some(since), ..wanted(9) }, None);
        assert_eq!((untimed.entries.len(), untimed.notes.len()), (2, 1));
    }

    #[test]
    fn tags_are_programs() {
        assert!(has_tag("Nov 22 10:00:00 web nginx[812]: started", "nginx"));
        assert!(has_tag("Nov 22 10:00:00 web daemon.info nginx: started", "nginx"));
        assert!(!has_tag("Nov 22 10:00:00 web cron[1]: (root) CMD (restart nginx )", "ngin"));
    }

    #[test]
    fn a_services_own_files_are_found() {
        let root = tempfile::tempdir().unwrap();
        let (machine, logs) = machine(&root);
        fs::create_dir_all(logs.join("nginx")).unwrap();
        for name in ["nginx/error.log", "nginx/error.log.1", "nginx.log"] {
            files::write_atomic(&logs.join(name), b"x", 0o600).unwrap();
        }
        assert_eq!(own_files(&machine, "nginx"), ["/var/log/nginx/error.log", "/var/log/nginx.log"]);
    }
}
