//! Small readers of /proc and /sys: each takes only the fields that it needs, because containers, gVisor and old kernels
//! leave out others. Pure functions on text, and thin readers around them.

use std::{collections::HashMap, fs, path::Path};

/// A file of /proc as text; empty where it is not there or not ours to read.
pub fn text(path: impl AsRef<Path>) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Whether there is such a process.
pub fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).is_dir()
}

/// Clock ticks a second, in which /proc counts.
pub fn ticks() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

/// So many units as seconds.
#[expect(clippy::cast_precision_loss, reason = "times since boot fit well into 53 bits")]
pub fn seconds(count: u64, a_second: u64) -> f64 {
    count as f64 / a_second as f64
}

/// `key: value kB` (meminfo) and `key value` (cgroup files) as numbers, by key.
pub fn table(text: &str) -> HashMap<&str, u64> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.trim_end_matches(':'), words.next()?.parse().ok()?))
        })
        .collect()
}

/// What /proc/PID/stat tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The command's name, which may contain anything.
    pub name: String,
    /// `R`, `S`, `D`, `Z`, …
    pub state: char,
    /// User and system time in ticks.
    pub cpu: u64,
    /// When it started, in ticks since boot.
    pub started: u64,
    /// Resident memory in pages.
    pub resident: u64,
}

impl Stat {
    /// Reads the line; the name in parentheses may itself contain parentheses and spaces.
    pub fn parse(line: &str) -> Option<Self> {
        let (start, end) = (line.find('(')?, line.rfind(')')?);
        let name = line.get(start + 1..end)?.to_owned();
        let fields: Vec<&str> = line.get(end + 1..)?.split_whitespace().collect();
        // Counted from the state, which is field 3 of proc(5).
        let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
        Some(Self {
            name,
            state: fields.first()?.chars().next()?,
            cpu: number(14)? + number(15)?,
            started: number(22)?,
            resident: number(24)?,
        })
    }
}

/// Every process that there is.
pub fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Busy and total time of all processors in ticks, from /proc/stat's first line.
pub fn cpu_times(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<u64> = line.split_whitespace().filter_map(|time| time.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what follows is counted in user and nice already.
    let total = times.iter().take(8).sum::<u64>();
    let idle = times.get(3)? + times.get(4).copied().unwrap_or_default();
    Some((total - idle, total))
}

/// The user that a process acts as, from /proc/PID/status's text.
pub fn user(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// Names of users by their numbers, from /etc/passwd's text.
pub fn users(passwd: &str) -> HashMap<u32, &str> {
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            Some((fields.nth(1)?.parse().ok()?, name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let line = "812 (we ird) (name)) S 1 812 812 0 -1 4194560 100 0 0 0 120 30 0 0 20 0 1 0 5000 1000000 256 1 2";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.cpu), ("we ird) (name)", 'S', 150));
        assert_eq!((stat.started, stat.resident), (5000, 256));
        assert_eq!(Stat::parse("812 (x) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn busy_time_is_what_is_not_idle() {
        assert_eq!(cpu_times("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 …"), Some((20, 100)));
        assert_eq!(cpu_times("cpu  10 0 10 70\n"), Some((20, 90)));
        assert_eq!(cpu_times(""), None);
    }

    #[test]
    fn tables_read_with_and_without_colons() {
        let table = table("MemTotal:       2048 kB\nusage_usec 77\nbroken\n");
        assert_eq!((table["MemTotal"], table["usage_usec"], table.len()), (2048, 77, 2));
    }

    #[test]
    fn this_process_is_there() {
        let own = std::process::id();
        assert!(exists(own) && pids().contains(&own));
        assert_eq!(user("Name:\tx\nUid:\t1000\t33\t33\t33\n"), Some(33));
        assert_eq!(users("root:x:0:0::/root:/bin/sh\nbad\n").get(&0), Some(&"root"));
    }
}
