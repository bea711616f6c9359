//! Whether the grammar is as quick as promised: its first sentence, a sentence over 33 guests, over 10,000, and the worst
//! of arbitrary bytes (`make fuzz` asks for more of those), in time of this thread, so that others on the machine do not
//! count. Prints a table; a promise that is broken ends with an error where REMOTECTL_BENCH_STRICT is set. What each kind of
//! sentence costs tells `benches/planning.rs`.

#![allow(clippy::disallowed_methods, reason = "a bench measures time and reads what to do from the environment")]
#![allow(clippy::unwrap_used, reason = "a bench ends where something is not as it should be")]

mod inventories;

use inventories::{grown, homelab};
use remotectl::{
    llm::{Known, Planner, grammar::Grammar},
    model::Inventory,
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use std::time::Duration;

/// How many guests a large cluster has.
const MANY: usize = 10_000;
/// How many texts of arbitrary bytes are tried where nothing else is said.
const ROUNDS: usize = 300;
/// The longest text of arbitrary bytes.
const LONGEST: usize = 4096;
/// What of the language is mixed into the bytes, so that they reach the later stages.
const WORDS: &[&str] = &[
    "restart",
    " all ",
    " except ",
    " and ",
    "nginx",
    "web",
    ", ",
    " then ",
    "'s ",
    "`",
    "\"",
    " on ",
    "pve1",
    "118",
    "/etc/x ",
    " not ",
    " because ",
    "containers ",
    "4G ",
    "# ",
    "--- a\n@@ ",
    " it ",
    "last 2 hours ",
];

fn main() {
    let inventory = homelab();
    let many = grown(&inventory, MANY);
    let mut made = None;
    let first = took(|| {
        let known = Known::new(inventory.clone());
        let _ = Grammar.plan("restart nginx on web-server", &known);
        made = Some(known);
    });
    let few = made.unwrap();
    let index = took(|| made_of(&inventory));
    let sentences: Vec<String> = include_str!("../tests/fixtures/homelab.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    let small = measured(&sentences, &few);
    let large_index = took(|| made_of(&many));
    let large = measured(&sentences, &Known::new(many));
    let worst = arbitrary(&few);
    let rows = [
        ("the first sentence, lexicon and index", first, Duration::from_millis(10)),
        ("33 guests, the index", index, Duration::from_millis(1)),
        ("33 guests, p50", small.0, Duration::from_micros(300)),
        ("33 guests, p99", small.1, Duration::from_millis(10)),
        ("10,000 guests, the index", large_index, Duration::from_millis(200)),
        ("10,000 guests, p50", large.0, Duration::from_millis(10)),
        ("10,000 guests, p99", large.1, Duration::from_millis(50)),
        ("4 KiB of arbitrary bytes, worst", worst, Duration::from_millis(50)),
    ];
    let mut broken = false;
    for (what, needed, promised) in rows {
        let mark = if needed > promised { "  MORE THAN PROMISED" } else { "" };
        broken |= needed > promised;
        println!("{what:40} {needed:>12.1?}   promised {promised:?}{mark}");
    }
    assert!(!broken || std::env::var_os("REMOTECTL_BENCH_STRICT").is_none(), "a promise is broken");
}

/// How long this thread computes.
fn took(what: impl FnOnce()) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let started = now();
    what();
    now().saturating_sub(started)
}

/// An index that is put away again.
fn made_of(inventory: &Inventory) {
    std::mem::forget(Known::new(inventory.clone()));
}

/// The median and the 99th percentile of how long sentences take.
fn measured(sentences: &[String], known: &Known) -> (Duration, Duration) {
    let mut all: Vec<Duration> = sentences
        .iter()
        .map(|text| {
            took(|| {
                let _ = Grammar.plan(text, known);
            })
        })
        .collect();
    all.sort_unstable();
    (all[all.len() / 2], all[all.len() * 99 / 100])
}

/// The longest that any of many texts of arbitrary bytes takes.
fn arbitrary(known: &Known) -> Duration {
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut worst = Duration::ZERO;
    for round in 0..rounds {
        let mut bytes = Vec::new();
        while bytes.len() < LONGEST {
            let drawn = next();
            if round % 2 == 0 || drawn.is_multiple_of(8) {
                bytes.push(u8::try_from(drawn >> 56).unwrap());
            } else {
                bytes.extend(WORDS[usize::try_from(drawn >> 32).unwrap() % WORDS.len()].bytes());
            }
        }
        let length = usize::try_from(next() % 4096).unwrap();
        bytes.truncate(length + 1);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        worst = worst.max(took(|| {
            let _ = Grammar.plan(&text, known);
        }));
    }
    worst
}
