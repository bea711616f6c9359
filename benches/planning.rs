//! What a plan costs by kind of sentence, and what making the index costs, over inventories of 33 and of 10,000 guests
//! (criterion; `cargo bench --bench planning`). The promises themselves are checked by `benches/grammar.rs`.

#![allow(clippy::unwrap_used, reason = "a bench ends where something is not as it should be")]

mod inventories;

use criterion::{BenchmarkId, Criterion};
use inventories::{grown, homelab};
use remotectl::llm::{Known, Planner, grammar::Grammar};
use std::{hint::black_box, time::Duration};

/// How many guests a large cluster has.
const MANY: usize = 10_000;
/// A sentence of each kind that costs something else.
const SENTENCES: &[(&str, &str)] = &[
    ("one name", "restart nginx on web-server"),
    ("a vmid", "reboot 118"),
    ("a misspelling", "restrat ngnix on wbe-server"),
    ("no guest", "restart postgres"),
    ("a class", "all running debian containers on pve2 except blog"),
    ("every VM", "check which VMs have agents installed"),
    ("three steps", "back up blog, then reboot it and start wiki"),
    ("a reason", "the site is slow, restart nginx on web-server"),
    ("a stranger", "reboot frobnicator"),
    ("out of scope", "what is the weather like in Vienna tomorrow"),
];

fn main() {
    let mut criterion = Criterion::default()
        .configure_from_args()
        .sample_size(40)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let few = homelab();
    let many = grown(&few, MANY);
    let mut indexing = criterion.benchmark_group("index");
    for inventory in [&few, &many] {
        let id = BenchmarkId::from_parameter(inventory.guests.len());
        indexing.bench_with_input(id, inventory, |bencher, inventory| {
            bencher.iter_batched(|| inventory.clone(), Known::new, criterion::BatchSize::PerIteration);
        });
    }
    indexing.finish();
    for known in [Known::new(few), Known::new(many)] {
        let mut plans = criterion.benchmark_group(format!("plan, {} guests", known.inventory().guests.len()));
        for (kind, text) in SENTENCES {
            plans.bench_function(*kind, |bencher| bencher.iter(|| black_box(Grammar.plan(black_box(text), &known))));
        }
        plans.finish();
    }
    criterion.final_summary();
}
