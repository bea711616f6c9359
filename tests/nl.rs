//! The natural-language corpora, scored as the project's scorer does: a line passes when outcome, steps, arguments and
//! confirmation are the expected ones, and it is unsafe when a change comes out that nobody asked for or confirmed.
//! `NL_SHOW=1 cargo test --test nl -- --nocapture` prints the failing lines.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use proptest::prelude::*;
use remotectl::{
    llm::{Known, Planner, Proposal, grammar::Grammar},
    model::{
        Op, Target,
        plan::Proposed,
        policy::{self, Policy},
        risk::Risk,
    },
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

struct Score {
    passed: usize,
    total: usize,
    dangerous: usize,
}

struct Got {
    outcome: &'static str,
    steps: Vec<Proposed>,
    confirm: bool,
    note: String,
}

fn inventory(name: &str) -> Known {
    let text = match name {
        "homelab" => include_str!("fixtures/homelab.json"),
        "harbour" => include_str!("fixtures/harbour.json"),
        "clinic" => include_str!("fixtures/clinic.json"),
        "depot" => include_str!("fixtures/depot.json"),
        "campus" => include_str!("fixtures/campus.json"),
        "gamehost" => include_str!("fixtures/gamehost.json"),
        "studio" => include_str!("fixtures/studio.json"),
        "parish" => include_str!("fixtures/parish.json"),
        _ => include_str!("fixtures/smallshop.json"),
    };
    Known::new(serde_json::from_str(text).unwrap())
}

fn ask(text: &str, inventory: &Known) -> Got {
    match Grammar.plan(text, inventory) {
        Proposal::Plan { steps, summary } => {
            let weigh = |step: &Proposed| {
                Policy::default().weigh(step.clone(), inventory.inventory()).risk.needs_confirmation()
            };
            let confirm = steps.iter().any(weigh);
            Got { outcome: "plan", steps, confirm, note: summary }
        }
        Proposal::Clarify { question, .. } => {
            Got { outcome: "clarify", steps: Vec::new(), confirm: false, note: question }
        }
        Proposal::Refuse { reason } => Got { outcome: "refuse", steps: Vec::new(), confirm: false, note: reason },
    }
}

fn canon(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Array(items) => items.iter().map(canon).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn canon_args(args: &Map<String, Value>) -> Vec<(String, String)> {
    let mut args: Vec<_> = args.iter().map(|(name, value)| (name.clone(), canon(value))).collect();
    args.sort();
    args
}

fn wanted_targets(step: &Value) -> BTreeSet<String> {
    step["targets"].as_array().unwrap().iter().map(|target| target.as_str().unwrap().to_owned()).collect()
}

fn same_step(want: &Value, got: &Proposed) -> bool {
    let targets: BTreeSet<String> = got.targets.iter().map(ToString::to_string).collect();
    let (wanted, found) = (canon_args(want["args"].as_object().unwrap()), canon_args(&got.op.args()));
    let more = matches!(got.op, Op::LogsQuery { .. } | Op::LogsAnalyze { .. });
    let args = if more { wanted.iter().all(|arg| found.contains(arg)) } else { wanted == found };
    want["op"] == got.op.name() && wanted_targets(want) == targets && args
}

fn passes(want: &Value, got: &Got) -> bool {
    if want["outcome"] != got.outcome {
        return false;
    }
    let Some(steps) = want["steps"].as_array() else { return true };
    steps.len() == got.steps.len()
        && steps.iter().zip(&got.steps).all(|(want, got)| same_step(want, got))
        && want["confirm"] == got.confirm
}

fn mutates(name: &str) -> bool {
    remotectl::model::catalogue::spec(name).is_none_or(|spec| spec.risk != Risk::Observe)
}

fn dangerous(want: &Value, got: &Got) -> bool {
    let touched: BTreeSet<String> = got
        .steps
        .iter()
        .filter(|step| mutates(step.op.name()))
        .flat_map(|step| step.targets.iter().map(ToString::to_string))
        .collect();
    if touched.is_empty() {
        return false;
    }
    let guarded = want["outcome"] != "plan" || want["confirm"] == true;
    let allowed: Option<BTreeSet<String>> = if let Some(steps) = want["steps"].as_array() {
        let changing = steps.iter().filter(|step| mutates(step["op"].as_str().unwrap()));
        Some(changing.flat_map(wanted_targets).collect())
    } else {
        let candidates = want["candidates"].as_array().filter(|candidates| !candidates.is_empty());
        candidates.map(|candidates| candidates.iter().map(|target| target.as_str().unwrap().to_owned()).collect())
    };
    guarded && !got.confirm || allowed.is_some_and(|allowed| !touched.is_subset(&allowed))
}

fn lines(corpus: &str) -> Vec<Value> {
    corpus.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn score(corpus: &str, inventory: &Known) -> Score {
    let show = std::env::var_os("NL_SHOW").is_some();
    let mut by_outcome = [("plan", 0, 0), ("clarify", 0, 0), ("refuse", 0, 0)];
    let mut dangers = 0;
    for line in lines(corpus) {
        let (text, want) = (line["text"].as_str().unwrap(), &line["expect"]);
        let got = ask(text, inventory);
        let (good, bad) = (passes(want, &got), dangerous(want, &got));
        let tally = by_outcome.iter_mut().find(|(name, ..)| want["outcome"] == *name).unwrap();
        tally.1 += usize::from(good);
        tally.2 += 1;
        dangers += usize::from(bad);
        if show && !good || bad {
            let steps: Vec<String> = got.steps.iter().map(|step| serde_json::to_string(step).unwrap()).collect();
            let mark = if bad { " UNSAFE" } else { "" };
            println!(
                "FAIL{mark} {} {text}\n  expected {want}\n  got      {} {} {} {}",
                line["id"],
                got.outcome,
                got.confirm,
                got.note,
                steps.join(" ")
            );
        }
    }
    let passed: usize = by_outcome.iter().map(|(_, good, _)| good).sum();
    let total: usize = by_outcome.iter().map(|(_, _, all)| all).sum();
    let shares: Vec<String> = by_outcome.iter().map(|(name, good, all)| format!("{name} {good}/{all}")).collect();
    let percent = 1000 * passed / total;
    println!(
        "passed {passed} of {total} ({}.{} %) ; {} ; unsafe {dangers}",
        percent / 10,
        percent % 10,
        shares.join(" ")
    );
    Score { passed, total, dangerous: dangers }
}

#[test]
fn homelab() {
    let score = score(include_str!("fixtures/homelab.jsonl"), &inventory("homelab"));
    assert_eq!(score.dangerous, 0);
    assert!(score.passed * 100 >= score.total * 98, "{} of {}", score.passed, score.total);
}

#[test]
fn another_cluster() {
    let score = score(include_str!("fixtures/smallshop.jsonl"), &inventory("smallshop"));
    assert_eq!(score.dangerous, 0);
    assert!(score.passed * 100 >= score.total * 98, "{} of {}", score.passed, score.total);
}

#[test]
fn clusters_of_fresh_eyes() {
    for (name, corpus) in [
        ("harbour", include_str!("fixtures/harbour-a.jsonl")),
        ("clinic", include_str!("fixtures/clinic-a.jsonl")),
        ("depot", include_str!("fixtures/depot-a.jsonl")),
    ] {
        holds(name, corpus, 98);
    }
    for (name, corpus) in [
        ("campus", include_str!("fixtures/campus-a.jsonl")),
        ("gamehost", include_str!("fixtures/gamehost-a.jsonl")),
        ("studio", include_str!("fixtures/studio-a.jsonl")),
        ("parish", include_str!("fixtures/parish-a.jsonl")),
    ] {
        holds(name, corpus, 95);
    }
}

/// The halves that nobody who tunes the grammar reads: what it makes of sentences that it has never seen.
#[test]
fn sentences_never_seen() {
    for (name, corpus, floor) in [
        ("harbour", include_str!("fixtures/harbour-b.jsonl"), 89),
        ("clinic", include_str!("fixtures/clinic-b.jsonl"), 96),
        ("depot", include_str!("fixtures/depot-b.jsonl"), 90),
        ("campus", include_str!("fixtures/campus-b.jsonl"), 83),
        ("gamehost", include_str!("fixtures/gamehost-b.jsonl"), 80),
        ("studio", include_str!("fixtures/studio-b.jsonl"), 86),
        ("parish", include_str!("fixtures/parish-b.jsonl"), 75),
    ] {
        holds(name, corpus, floor);
    }
}

/// A corpus of that cluster reaches so many percent, and nothing unsafe comes out of it.
fn holds(name: &str, corpus: &str, percent: usize) {
    let score = score(corpus, &inventory(name));
    assert_eq!(score.dangerous, 0, "{name}");
    assert!(score.passed * 100 >= score.total * percent, "{name}: {} of {}", score.passed, score.total);
}

/// Sentences written out for each operation: what they come to, without arguments.
#[test]
fn every_way_to_say_it() {
    for (name, phrasings) in [
        ("harbour", include_str!("fixtures/harbour.phrasings")),
        ("clinic", include_str!("fixtures/clinic.phrasings")),
        ("depot", include_str!("fixtures/depot.phrasings")),
    ] {
        let inventory = inventory(name);
        let lines: Vec<(&str, &str)> =
            phrasings.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" | ")).collect();
        let mut missed = Vec::new();
        for (want, text) in &lines {
            let got = ask(text, &inventory);
            let ops: Vec<&str> = got.steps.iter().map(|step| step.op.name()).collect();
            let targets: BTreeSet<String> =
                got.steps.iter().flat_map(|step| &step.targets).map(ToString::to_string).collect();
            let fits = match want.split_once(' ') {
                Some((op, wanted)) => {
                    ops == [op] && wanted.split(',').map(str::to_owned).collect::<BTreeSet<_>>() == targets
                }
                None => *want == got.outcome || ops.join("+") == *want,
            };
            if !fits {
                missed.push(format!("{want} | {text} => {} {ops:?} {targets:?} {}", got.outcome, got.note));
            }
        }
        if std::env::var_os("NL_SHOW").is_some() {
            println!("{name}: {} of {} missed\n{}", missed.len(), lines.len(), missed.join("\n"));
        }
        assert!(missed.len() * 20 <= lines.len(), "{name}: {} of {}\n{}", missed.len(), lines.len(), missed.join("\n"));
    }
}

/// Where there is any doubt, nothing is changed.
#[test]
fn doubts_change_nothing() {
    let inventory = inventory("clinic");
    for text in include_str!("fixtures/doubts.txt").lines().filter(|line| !line.starts_with('#')) {
        let got = ask(text, &inventory);
        let changes: Vec<&str> = got.steps.iter().map(|step| step.op.name()).filter(|name| mutates(name)).collect();
        assert!(changes.is_empty(), "{text}: {changes:?}");
    }
}

/// A word that takes something back may never be dropped: with it the plan is another one, or a question.
#[test]
fn a_negation_changes_the_plan() {
    for name in ["homelab", "smallshop"] {
        let inventory = inventory(name);
        let corpus = if name == "homelab" {
            include_str!("fixtures/homelab.jsonl")
        } else {
            include_str!("fixtures/smallshop.jsonl")
        };
        for line in lines(corpus).iter().filter(|line| line["expect"]["outcome"] == "plan") {
            let text = line["text"].as_str().unwrap();
            let before = ask(text, &inventory);
            let changes = before.steps.iter().any(|step| policy::base(&step.op) != Risk::Observe);
            let Some(target) =
                before.steps.last().and_then(|step| step.targets.first()).filter(|target| target.vmid().is_some())
            else {
                continue;
            };
            if !changes || text.contains(['\n', ',']) || text.contains(" except ") || text.contains(" but not ") {
                continue;
            }
            let except =
                format!("{} except {}", text.trim_end_matches(['.', '?', '!']), inventory.inventory().name_of(target));
            for changed in [
                format!("do not {text}"),
                format!("never {text}"),
                format!("{text} unless it is busy"),
                format!("{text} tomorrow"),
                except,
            ] {
                let after = ask(&changed, &inventory);
                assert!(after.steps != before.steps, "{changed}");
                let touched: Vec<&Target> = after.steps.iter().flat_map(|step| &step.targets).collect();
                assert!(
                    !changed.contains(" except ")
                        || after.steps.is_empty()
                        || !after.steps.last().unwrap().targets.contains(target),
                    "{changed}: {touched:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any bytes in: never a panic.
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let _ = Grammar.plan(&text, &inventory("smallshop"));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = Grammar.plan(&text, &inventory("smallshop"));
    }

    #[test]
    fn no_mix_of_its_own_words_panics(words in proptest::collection::vec("restart|all|the|web|'|`|\"|118|containers|except|not|and|,|on|pve1|/etc|snapshot|k3s-1|#|ct/118|'s|4G|--- a\n@@ ", 0..14)) {
        let _ = Grammar.plan(&words.join(" "), &inventory("homelab"));
    }
}
