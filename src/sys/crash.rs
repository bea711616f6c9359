//! Points at which a test can have a process die, as SIGKILL ends it: between one thing that is on record and the next. A
//! build without debug assertions has none of them.

use super::env;
use rustix::process::{Signal, getpid, kill_process};
use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

/// Every point there is: those of the hub, and those of an agent, in the order of a command's life.
pub const HUB: [&str; 7] =
    ["plan-begun", "command-stored", "command-handed", "result-arrived", "result-stored", "committing", "plan-ended"];
/// As above.
pub const AGENT: [&str; 6] = ["command-came", "accepted", "started", "performed", "finished", "told"];

/// Dies here, where `REMOTECTL_CRASH_AT` names this point and as many passes before (`accepted`, `accepted:3`).
pub fn point(name: &str) {
    static WANTED: OnceLock<Option<(String, usize)>> = OnceLock::new();
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    if !cfg!(debug_assertions) {
        return;
    }
    let Some((wanted, nth)) = WANTED.get_or_init(|| env::text(env::CRASH_AT).map(|text| parse(&text))) else { return };
    if wanted == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *nth {
        // Nothing comes after it, not even an error.
        kill_process(getpid(), Signal::KILL).ok();
    }
}

fn parse(text: &str) -> (String, usize) {
    let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
    (name.to_owned(), nth.parse().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_point_is_a_name_and_a_number() {
        assert_eq!(super::parse("accepted"), ("accepted".to_owned(), 1));
        assert_eq!(super::parse("told:3"), ("told".to_owned(), 3));
    }
}
