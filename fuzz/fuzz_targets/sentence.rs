//! Any bytes as a sentence: never a panic, and a plan acts on nothing that the inventory does not have.

#![no_main]

use libfuzzer_sys::fuzz_target;
use remotectl::{
    llm::{Known, Planner as _, Proposal, grammar::Grammar},
    model::Target,
};
use std::sync::LazyLock;

static HOMELAB: LazyLock<Known> = LazyLock::new(|| {
    let inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json"));
    Known::new(inventory.expect("the fixture is an inventory"))
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let Proposal::Plan { steps, .. } = Grammar.plan(&text, &HOMELAB) else { return };
    assert!(!steps.is_empty(), "a plan without a step");
    let there = |target: &Target| *target == Target::cluster() || !HOMELAB.inventory().name_of(target).is_empty();
    for step in &steps {
        assert!(!step.targets.is_empty() && step.targets.iter().all(there), "{step:?}");
        assert!(step.targets.is_sorted(), "{step:?}");
    }
});
