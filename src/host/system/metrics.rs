//! `system.metrics`: now, the processor over a short interval. In a container the limits and use of its control group count,
//! not the node's, wherever they are readable.

use super::{INTERVAL, percent};
use crate::{
    host::{Machine, Task, proc, text::amount},
    model::Outcome,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where a container finds its own control group (version 2).
const GROUP: &str = "/sys/fs/cgroup";

/// CPU, memory, swap, load, disk, network.
pub fn metrics(machine: &Machine, task: &Task) -> Outcome {
    let cores = machine.system().cores();
    let before = Sample::take(machine);
    if !task.pass(INTERVAL) {
        return Outcome { ending: crate::model::outcome::Ending::Cancelled, ..Outcome::success("cancelled") };
    }
    let after = Sample::take(machine);
    let cpu = before.cpu_percent(&after, cores);
    let memory = Memory::of(&machine.text("/proc/meminfo"), &Group::read(machine));
    let load = load(&machine.text("/proc/loadavg"));
    let root = super::disk::usage(machine, "/".as_ref());
    let summary = format!(
        "CPU {cpu} % of {cores} cores, memory {} % of {}, load {}, / {}",
        percent(memory.used, memory.total),
        amount(memory.total),
        load.map_or_else(|| "unknown".to_owned(), |load| load[0].to_string()),
        root.as_ref().map_or_else(
            || "unknown".to_owned(),
            |usage| format!("{} % full, {} free", usage.percent, amount(usage.free))
        ),
    );
    Outcome::success(summary).with_data(json!({
        "cpu_percent": cpu,
        "cores": cores,
        "load": load,
        "memory": memory,
        "disk": root,
        "network": before.network(&after),
        "interval_seconds": proc::seconds(after.at - before.at, 1_000_000),
    }))
}

/// Counters at one moment.
struct Sample {
    /// Microseconds.
    at: u64,
    /// Busy and total ticks.
    times: Option<(u64, u64)>,
    /// Microseconds of processor time that the container has used.
    group_usage: Option<u64>,
    /// Received and sent bytes by interface.
    interfaces: BTreeMap<String, (u64, u64)>,
}

impl Sample {
    fn take(machine: &Machine) -> Self {
        Self {
            at: machine.system().monotonic_micros(),
            times: proc::cpu_times(&machine.text("/proc/stat")),
            group_usage: Group::read(machine).usage,
            interfaces: interfaces(&machine.text("/proc/net/dev")),
        }
    }

    fn cpu_percent(&self, after: &Self, cores: usize) -> f64 {
        let time = after.at.saturating_sub(self.at);
        if let (Some(before), Some(now)) = (self.group_usage, after.group_usage) {
            return percent(now.saturating_sub(before), time * u64::try_from(cores).unwrap_or(1)).min(100.0);
        }
        match (self.times, after.times) {
            (Some((busy, total)), Some((busy_now, total_now))) => {
                percent(busy_now.saturating_sub(busy), total_now.saturating_sub(total))
            }
            _ => 0.0,
        }
    }

    fn network(&self, after: &Self) -> Vec<Value> {
        let seconds = proc::seconds(after.at.saturating_sub(self.at).max(1), 1_000_000);
        let rate = |before: u64, after: u64| (proc::seconds(after.saturating_sub(before), 1) / seconds).round();
        let both = after.interfaces.iter().filter_map(|(name, now)| Some((name, self.interfaces.get(name)?, now)));
        both.map(|(name, before, now)| {
            json!({
                "interface": name, "received_bytes": now.0, "sent_bytes": now.1,
                "receiving_per_second": rate(before.0, now.0), "sending_per_second": rate(before.1, now.1),
            })
        })
        .collect()
    }
}

/// What a container's control group says of it; nothing outside of containers, where the group is the machine.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    /// Microseconds.
    usage: Option<u64>,
    /// Bytes, without what the page cache could give back.
    memory: Option<u64>,
    /// Bytes; none where unlimited.
    memory_limit: Option<u64>,
}

impl Group {
    fn read(machine: &Machine) -> Self {
        Self::parse(|file| machine.text(&format!("{GROUP}/{file}")))
    }

    fn parse(text: impl Fn(&str) -> String) -> Self {
        // The root group of a machine has no memory.max: that there is one shows a container's.
        let limit = text("memory.max");
        if limit.is_empty() {
            return Self::default();
        }
        let stat = text("memory.stat");
        let cache = proc::table(&stat).get("inactive_file").copied().unwrap_or_default();
        let current = text("memory.current").trim().parse::<u64>().ok();
        Self {
            usage: proc::table(&text("cpu.stat")).get("usage_usec").copied(),
            memory: current.map(|current| current.saturating_sub(cache)),
            memory_limit: limit.trim().parse().ok(),
        }
    }
}

/// In bytes.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Memory {
    total: u64,
    used: u64,
    available: u64,
    swap_total: u64,
    swap_used: u64,
}

impl Memory {
    fn of(meminfo: &str, group: &Group) -> Self {
        let table = proc::table(meminfo);
        let get = |key| table.get(key).copied().unwrap_or_default() * 1024;
        let whole = get("MemTotal");
        let total = group.memory_limit.filter(|limit| *limit < whole).unwrap_or(whole);
        // Before Linux 3.14 there is no MemAvailable.
        let available = if table.contains_key("MemAvailable") {
            get("MemAvailable")
        } else {
            get("MemFree") + get("Buffers") + get("Cached")
        };
        let used = group.memory.unwrap_or_else(|| whole.saturating_sub(available)).min(total);
        let swap_total = get("SwapTotal");
        Self { total, used, available: total - used, swap_total, swap_used: swap_total.saturating_sub(get("SwapFree")) }
    }
}

/// The averages of 1, 5 and 15 minutes.
fn load(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map_while(|number| number.parse::<f64>().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

fn interfaces(dev: &str) -> BTreeMap<String, (u64, u64)> {
    dev.lines()
        .filter_map(|line| {
            let (name, counters) = line.split_once(':')?;
            let counters: Vec<u64> = counters.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            Some((name.trim().to_owned(), (*counters.first()?, *counters.get(8)?)))
        })
        .filter(|(name, _)| name != "lo")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        4096 kB\nMemFree:          100 kB\nMemAvailable:    1024 kB\n\
        SwapTotal:       1000 kB\nSwapFree:         400 kB\n";

    #[test]
    fn memory_is_the_machines_or_the_containers() {
        let machine = Memory::of(MEMINFO, &Group::default());
        assert_eq!((machine.total, machine.used, machine.swap_used), (4096 << 10, 3072 << 10, 600 << 10));
        let group = Group { usage: None, memory: Some(512 << 10), memory_limit: Some(2048 << 10) };
        let container = Memory::of(MEMINFO, &group);
        assert_eq!((container.total, container.used, container.available), (2048 << 10, 512 << 10, 1536 << 10));
        let unlimited = Memory::of(MEMINFO, &Group { memory: Some(1 << 20), ..Group::default() });
        assert_eq!((unlimited.total, unlimited.used), (4096 << 10, 1 << 20));
        assert_eq!(Memory::of("", &Group::default()).used, 0);
    }

    #[test]
    fn a_control_group_reads_without_its_cache() {
        assert_eq!(Group::parse(|_| String::new()), Group::default());
        let text = |name: &str| match name {
            "memory.max" => "max\n",
            "memory.current" => "5000\n",
            "memory.stat" => "anon 1\ninactive_file 2000\n",
            _ => "usage_usec 77\nuser_usec 1\n",
        };
        let wanted = Group { usage: Some(77), memory: Some(3000), memory_limit: None };
        assert_eq!(Group::parse(|name| text(name).to_owned()), wanted);
    }

    #[test]
    fn network_counters_read() {
        let dev = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n    lo: 1 2 3 4 5 6 7 8 9 0\n\
            eth0:1000 2 0 0 0 0 0 0 500 3 0 0 0 0 0 0\n";
        assert_eq!(interfaces(dev), BTreeMap::from([("eth0".to_owned(), (1000, 500))]));
    }

    #[test]
    fn this_machine_answers() {
        let outcome = metrics(&Machine::here(), &Task::default());
        assert!(outcome.succeeded());
        assert!(outcome.data["memory"]["total"].as_u64().unwrap() > 0);
        assert!((0.0..=100.0).contains(&outcome.data["cpu_percent"].as_f64().unwrap()));
    }
}
