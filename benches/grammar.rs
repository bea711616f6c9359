//! How long the grammar takes: its first sentence, a sentence over 33 guests, over 10,000, and the worst of arbitrary bytes
//! (`make fuzz` asks for more of those). Prints a table; a promise that is broken ends with an error.

#![allow(clippy::disallowed_methods, reason = "a bench measures time and reads what to do from the environment")]
#![allow(clippy::unwrap_used, reason = "a bench ends where something is not as it should be")]

use remotectl::{
    llm::{Planner, grammar::Grammar},
    model::Inventory,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

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
    let homelab: Inventory = serde_json::from_str(include_str!("../tests/fixtures/homelab.json")).unwrap();
    let started = Instant::now();
    let _ = Grammar.plan("restart nginx on web-server", &homelab);
    let first = started.elapsed();
    let sentences: Vec<String> = include_str!("../tests/fixtures/homelab.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    let small = measured(&sentences, &homelab);
    let large = measured(&sentences[..60.min(sentences.len())], &grown(&homelab, 10_000));
    let worst = arbitrary(&homelab);
    let rows = [
        ("the first sentence, with the lexicon", first, Duration::from_millis(10)),
        ("33 guests, p50", small.0, Duration::from_micros(300)),
        ("33 guests, p99", small.1, Duration::from_millis(10)),
        ("10,000 guests, p50", large.0, Duration::from_millis(10)),
        ("4 KiB of arbitrary bytes, worst", worst, Duration::from_millis(50)),
    ];
    let mut broken = false;
    for (what, took, promised) in rows {
        let mark = if took > promised { "  MORE THAN PROMISED" } else { "" };
        broken |= took > promised;
        println!("{what:40} {took:>12.1?}   promised {promised:?}{mark}");
    }
    assert!(!broken || std::env::var_os("REMOTECTL_BENCH_STRICT").is_none(), "a promise is broken");
}

/// The median and the 99th percentile of how long sentences take.
fn measured(sentences: &[String], inventory: &Inventory) -> (Duration, Duration) {
    let mut took: Vec<Duration> = sentences
        .iter()
        .map(|text| {
            let started = Instant::now();
            let _ = Grammar.plan(text, inventory);
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

/// The inventory with as many guests as that.
fn grown(inventory: &Inventory, guests: usize) -> Inventory {
    let mut value: Value = serde_json::to_value(inventory).unwrap();
    let had = value["guests"].as_array().unwrap().clone();
    let more = (0..guests.saturating_sub(had.len())).map(|index| {
        let mut guest = had[index % had.len()].clone();
        guest["vmid"] = json!(100_000 + index);
        guest["name"] = json!(format!("{}-x{index}", guest["name"].as_str().unwrap()));
        guest
    });
    let all: Vec<Value> = had.iter().cloned().chain(more).collect();
    value["guests"] = Value::Array(all);
    serde_json::from_value(value).unwrap()
}

/// The longest that any of many texts of arbitrary bytes takes.
fn arbitrary(inventory: &Inventory) -> Duration {
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
        let started = Instant::now();
        let _ = Grammar.plan(&text, inventory);
        worst = worst.max(started.elapsed());
    }
    worst
}
