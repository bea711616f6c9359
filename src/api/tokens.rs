//! Operators' tokens as they are used: when last, and from where wrong ones come. Whoever guesses waits longer each time.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// So many wrong tokens from an address are answered at once.
const FREE: u32 = 5;
/// The first wait after them; each is twice the one before.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(2);
/// So long after its last wrong token an address is as good as new, in seconds.
const FORGOTTEN_AFTER: i64 = 600;
/// Addresses are looked through for those that are as good as new when there are so many.
const ADDRESSES: usize = 1024;
/// That a token was used is kept once in so many seconds.
const NOTED_EVERY: i64 = 60;

/// What is remembered of tokens, as long as the hub runs.
#[derive(Default)]
pub struct Tokens {
    /// How many wrong ones have come from an address, and when the last one did.
    wrong: Mutex<HashMap<IpAddr, (u32, i64)>>,
    /// When it was kept last that an operator's token was used.
    noted: Mutex<HashMap<String, i64>>,
}

impl Tokens {
    /// A wrong token has come from there: how long its answer has to wait.
    pub fn wrong(&self, from: IpAddr, now: i64) -> Duration {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= ADDRESSES {
            wrong.retain(|_, (_, last)| now - *last < FORGOTTEN_AFTER);
        }
        let (count, last) = wrong.entry(from).or_default();
        if now - *last >= FORGOTTEN_AFTER {
            *count = 0;
        }
        (*count, *last) = (count.saturating_add(1), now);
        match count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(more) => FIRST.saturating_mul(1 << more.min(10)).min(LONGEST),
        }
    }

    /// An operator's token was used: whether that is to be kept.
    pub fn used(&self, name: &str, now: i64) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.get_mut(name) {
            Some(last) if (0..NOTED_EVERY).contains(&(now - *last)) => false,
            Some(last) => {
                *last = now;
                true
            }
            None => noted.insert(name.to_owned(), now).is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_guesses_waits_longer_each_time() {
        let tokens = Tokens::default();
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let waits: Vec<u128> = (0..14).map(|_| tokens.wrong(one, 1000).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 50, 100, 200, 400, 800, 1600, 2000, 2000, 2000]);
        assert_eq!(tokens.wrong(two, 1000), Duration::ZERO, "another address");
        assert_eq!(tokens.wrong(one, 1000 + FORGOTTEN_AFTER), Duration::ZERO, "long ago");
    }

    #[test]
    fn that_a_token_was_used_is_kept_once_a_minute() {
        let tokens = Tokens::default();
        let kept: Vec<bool> = [0, 1, 59, 60, 61, -9].iter().map(|now| tokens.used("ann", *now)).collect();
        assert_eq!(kept, [true, false, false, true, false, true], "a clock that was put back is no reason not to");
        assert!(tokens.used("bob", 61));
    }
}
