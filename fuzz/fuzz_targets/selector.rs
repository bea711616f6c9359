//! Any bytes as a selector: never a panic, and what it selects is there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use remotectl::model::{Inventory, selector};
use std::sync::LazyLock;

static HOMELAB: LazyLock<Inventory> = LazyLock::new(|| {
    let inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json"));
    inventory.expect("the fixture is an inventory")
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match selector::select(&text, &HOMELAB) {
        Ok(targets) => assert!(targets.iter().all(|target| target.to_string() == "cluster"
            || !HOMELAB.name_of(target).is_empty()), "{targets:?}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
