//! Any lines as a conversation: never a panic, whatever was said before.

#![no_main]

use libfuzzer_sys::fuzz_target;
use remotectl::llm::{Known, conversation, grammar::Grammar};
use std::sync::LazyLock;

/// The most sentences of one conversation.
const MOST: usize = 6;

static HOMELAB: LazyLock<Known> = LazyLock::new(|| {
    let inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json"));
    Known::new(inventory.expect("the fixture is an inventory"))
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut context = None;
    for line in text.lines().take(MOST) {
        let (_, next) = conversation::plan(&Grammar, context.as_ref(), line, &HOMELAB);
        context = Some(next);
    }
});
