//! `make scale`: what one hub needs for thousands of agents. The hub is the real static executable; the agents are in this
//! process, thin, with real TLS, real JWTs and a network address for each 250 of them. Prints a table, writes scale.json.

#![allow(clippy::disallowed_methods, reason = "a bench starts what it measures")]
#![allow(clippy::unwrap_used, reason = "a bench ends where something is not as it should be")]

mod agents;
mod hub;

use agents::Swarm;
use hub::Hub;
use serde_json::{Map, Value, json};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

/// How long idling is looked at: each agent polls once in 25 s.
const IDLE: Duration = Duration::from_secs(50);
/// How long durable commands are counted.
const COUNTED: Duration = Duration::from_secs(15);
/// Commands that are under way at once.
const IN_FLIGHT: usize = 16;
/// Targets of one plan.
const A_PLAN: usize = 300;

fn main() {
    let Some(exe) = std::env::var_os("REMOTECTL_BENCH_EXE").map(PathBuf::from) else {
        return println!("scale: skipped, REMOTECTL_BENCH_EXE is not set (use `make scale`)");
    };
    let wanted =
        std::env::var("REMOTECTL_SCALE_AGENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000_usize);
    let files = remotectl::sys::limits::raise_open_files().map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
    let count = wanted.min(files.saturating_sub(500) / 2 * 2);
    let mut figures = Map::new();
    let mut told = |name: &str, value: f64, unit: &str| {
        println!("  {name:<58} {value:>10.1} {unit}");
        figures.insert(name.to_owned(), json!({"value": value, "unit": unit}));
    };
    let mut hub = Hub::start(&exe);
    let swarm = Swarm::new(hub.pointer());
    let few = count / 10;
    let begun = Instant::now();
    swarm.grow_to(few, &hub);
    hub.wait_online(few);
    let least = hub.resident_kib();
    swarm.grow_to(count, &hub);
    hub.wait_online(count);
    told("agents", cast(count), "");
    told("all of them joined and polling after", begun.elapsed().as_secs_f64(), "s");
    let busy = hub.cpu();
    thread::sleep(IDLE);
    let most = hub.resident_kib();
    told("hub, resident, all idle", cast(most) / 1024.0, "MiB");
    told("hub, for each further idle agent", cast(most.saturating_sub(least)) / cast(count - few), "KiB");
    told("hub, CPU while all idle", (hub.cpu() - busy) / IDLE.as_secs_f64() * 100.0, "% of a core");
    one_to_all(&hub, &swarm, count, &mut told);
    durable(&hub, count, &mut told);
    let begun = Instant::now();
    hub.restart();
    hub.wait_online(count);
    told("hub killed and started: all agents back after", begun.elapsed().as_secs_f64(), "s");
    told("hub, resident, after that", cast(hub.resident_kib()) / 1024.0, "MiB");
    println!("  on {} cores that are shared with the agents", thread::available_parallelism().map_or(1, usize::from));
    let out = std::env::var_os("REMOTECTL_SCALE_OUT").map_or_else(|| PathBuf::from("scale.json"), PathBuf::from);
    std::fs::write(&out, serde_json::to_string_pretty(&Value::Object(figures)).unwrap()).unwrap();
}

/// Plans of one step that have every agent for a target between them: a selector has 4 KiB.
fn one_to_all(hub: &Hub, swarm: &Swarm, count: usize, told: &mut impl FnMut(&str, f64, &str)) {
    let names: Vec<String> = (0..count).map(agents::name).collect();
    let plans: Vec<String> = names.chunks(A_PLAN).map(|names| names.join(",")).collect();
    let (begun, busy, done) = (Instant::now(), hub.cpu(), swarm.done.load(Relaxed));
    thread::scope(|scope| {
        for targets in &plans {
            scope.spawn(move || hub.run(targets));
        }
    });
    let (took, cpu) = (begun.elapsed().as_secs_f64(), hub.cpu() - busy);
    assert_eq!(swarm.done.load(Relaxed) - done, count, "each has done it once");
    told("one command to all, from the request to its end", took, "s");
    told("one command to all, commands", cast(count) / took, "/s");
    told("one command to all, hub's CPU for each command", cpu * 1e6 / cast(count), "µs");
}

/// Plans of one command each, so many of them under way at any time.
fn durable(hub: &Hub, count: usize, told: &mut impl FnMut(&str, f64, &str)) {
    let (ended, begun, busy) = (AtomicUsize::new(0), Instant::now(), hub.cpu());
    thread::scope(|scope| {
        for lane in 0..IN_FLIGHT {
            let ended = &ended;
            scope.spawn(move || {
                let mut turn = lane;
                while begun.elapsed() < COUNTED {
                    hub.run(&agents::name(turn % count));
                    ended.fetch_add(1, Relaxed);
                    turn += IN_FLIGHT;
                }
            });
        }
    });
    let took = begun.elapsed().as_secs_f64();
    let ended = cast(ended.load(Relaxed));
    told("plans of one durable command, 16 in flight", ended / took, "/s");
    told("plans of one durable command, hub's CPU for each", (hub.cpu() - busy) * 1e6 / ended, "µs");
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn cast(number: usize) -> f64 {
    number as f64
}
