//! Operators' tokens as they are used: when last, and from where wrong ones come. Whoever guesses waits longer each time.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
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
/// So many addresses are remembered. Where they are all of late, a further one waits longest: somebody has very many.
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
        let known = wrong.contains_key(&network(from));
        if wrong.len() >= ADDRESSES && !known {
            return LONGEST;
        }
        let (count, last) = wrong.entry(network(from)).or_default();
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

/// Who has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_guesser_and_the_table_has_an_end() {
        let tokens = Tokens::default();
        let six = |end: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, end]);
        let waits: Vec<bool> = (0..7).map(|end| tokens.wrong(six(end), 1000).is_zero()).collect();
        assert_eq!(waits, [true, true, true, true, true, false, false]);
        for number in 0..u32::try_from(ADDRESSES).unwrap() {
            tokens.wrong(IpAddr::from(number.to_be_bytes()), 1000);
        }
        assert_eq!(tokens.wrong(IpAddr::from([192, 0, 2, 1]), 1000), LONGEST, "a stranger more");
        assert!(tokens.wrong.lock().unwrap().len() <= ADDRESSES);
        assert!(tokens.wrong(IpAddr::from([192, 0, 2, 1]), 1000 + FORGOTTEN_AFTER).is_zero());
    }

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
