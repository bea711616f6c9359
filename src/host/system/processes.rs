//! `system.processes`: the busiest, by processor time over a short interval or by memory.

use super::{INTERVAL, percent};
use crate::{
    host::{
        Machine, Task, proc,
        text::{amount, clean},
    },
    model::{Outcome, outcome::Ending, values::SortBy},
};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;

/// Processes unless told otherwise.
const DEFAULT_LIMIT: u64 = 15;
/// Processes at most.
const MOST: u64 = 200;

#[derive(Debug, Serialize)]
struct Process {
    pid: u32,
    name: String,
    user: String,
    /// Of one core.
    cpu_percent: f64,
    memory_bytes: u64,
    state: char,
    age_seconds: u64,
    command: String,
}

/// The busiest processes.
pub fn processes(sort: Option<SortBy>, limit: Option<u64>, machine: &Machine, task: &Task) -> Outcome {
    let sort = sort.unwrap_or(SortBy::Cpu);
    let limit = usize::try_from(limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MOST)).unwrap_or(1);
    let now = || machine.system().monotonic_micros();
    let (before, began) = (stats(machine), now());
    if !task.pass(INTERVAL) {
        return Outcome { ending: Ending::Cancelled, ..Outcome::success("cancelled") };
    }
    let (after, micros) = (stats(machine), now().saturating_sub(began));
    let total = after.len();
    let interval_ticks = micros * proc::ticks() / 1_000_000;
    let mut ranked: Vec<(u64, u32, proc::Stat)> = after
        .into_iter()
        .map(|(pid, stat)| {
            let earlier = before.get(&pid).filter(|earlier| earlier.started == stat.started);
            (stat.cpu - earlier.map_or(stat.cpu, |earlier| earlier.cpu.min(stat.cpu)), pid, stat)
        })
        .collect();
    match sort {
        SortBy::Cpu => ranked.sort_by_key(|(cpu, pid, stat)| (std::cmp::Reverse((*cpu, stat.resident)), *pid)),
        SortBy::Memory => ranked.sort_by_key(|(_, pid, stat)| (std::cmp::Reverse(stat.resident), *pid)),
    }
    let passwd = machine.text("/etc/passwd");
    let users = proc::users(&passwd);
    let processes: Vec<Process> = ranked
        .into_iter()
        .take(limit)
        .map(|(cpu, pid, stat)| process(machine, pid, &stat, percent(cpu, interval_ticks), &users))
        .collect();
    let first = processes.first().map_or_else(String::new, |process| match sort {
        SortBy::Cpu => {
            format!(", busiest {} (pid {}) with {} % of a core", process.name, process.pid, process.cpu_percent)
        }
        SortBy::Memory => {
            format!(", largest {} (pid {}) with {}", process.name, process.pid, amount(process.memory_bytes))
        }
    });
    Outcome::success(format!("{total} processes{first}")).with_data(json!({ "total": total, "processes": processes }))
}

fn stats(machine: &Machine) -> HashMap<u32, proc::Stat> {
    let stat = |pid| Some((pid, proc::Stat::parse(&machine.text(&format!("/proc/{pid}/stat")))?));
    machine.system().pids().into_iter().filter_map(stat).collect()
}

fn process(machine: &Machine, pid: u32, stat: &proc::Stat, cpu_percent: f64, users: &HashMap<u32, &str>) -> Process {
    let uid = proc::user(&machine.text(&format!("/proc/{pid}/status")));
    let command = machine.text(&format!("/proc/{pid}/cmdline")).replace('\0', " ");
    let age = machine.system().boot_micros() / 1_000_000;
    Process {
        pid,
        name: clean(&stat.name),
        user: uid.map(|uid| users.get(&uid).map_or_else(|| uid.to_string(), |name| clean(name))).unwrap_or_default(),
        cpu_percent,
        memory_bytes: stat.resident * u64::try_from(rustix::param::page_size()).unwrap_or(4096),
        state: stat.state,
        age_seconds: age.saturating_sub(stat.started / proc::ticks()),
        command: clean(&command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_among_the_largest_or_the_list_is_full() {
        let outcome = processes(Some(SortBy::Memory), Some(MOST), &Machine::here(), &Task::default());
        assert!(outcome.succeeded());
        let list = outcome.data["processes"].as_array().unwrap();
        let own = list.iter().any(|process| process["pid"] == std::process::id());
        assert!(own || list.len() == 200, "{}", outcome.summary);
        let sizes: Vec<u64> = list.iter().map(|process| process["memory_bytes"].as_u64().unwrap()).collect();
        assert!(sizes.is_sorted_by(|one, next| one >= next));
    }

    #[test]
    fn the_limit_holds() {
        let outcome = processes(None, Some(1), &Machine::here(), &Task::default());
        assert_eq!(outcome.data["processes"].as_array().unwrap().len(), 1);
    }
}
