//! Numbers that look like chance and are none: the same guest at the same moment is always the same.

/// A number that depends on all of these and on nothing else.
pub fn hash(seed: &[u64]) -> u64 {
    // SplitMix64's finaliser over each part in turn.
    seed.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut mixed = state ^ part.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A text as a part of a seed.
pub fn of_text(text: &str) -> u64 {
    let bytes: Vec<u64> = text.bytes().map(u64::from).collect();
    hash(&bytes)
}

/// A number from `low` to `high`, both included.
pub fn between(seed: &[u64], low: u64, high: u64) -> u64 {
    low + hash(seed) % (high.saturating_sub(low) + 1)
}

/// One of them; `None` where there are none.
pub fn pick<'a, T>(seed: &[u64], of: &'a [T]) -> Option<&'a T> {
    let count = u64::try_from(of.len()).ok().filter(|count| *count > 0)?;
    of.get(usize::try_from(hash(seed) % count).ok()?)
}

/// How far a thing that goes up and down around an even pace has come after so many seconds: never backwards, and
/// about as far as those seconds. Two waves, of a minute and of a quarter of an hour, make the pace.
pub fn progress(seed: &[u64], seconds: f64) -> f64 {
    let wave = |number: u64, share: f64, period: f64| {
        let turn = std::f64::consts::TAU / period;
        let start = f64::from(u32::try_from(hash(&[seed, &[number]].concat()) % 6_283).unwrap_or_default()) / 1_000.0;
        share / turn * ((turn * seconds + start).sin() - start.sin())
    };
    seconds + wave(1, 0.45, 61.0) + wave(2, 0.35, 907.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_number_and_another_another() {
        assert_eq!(hash(&[118, 1]), hash(&[118, 1]));
        assert_ne!(hash(&[118, 1]), hash(&[1, 118]));
        assert_ne!(of_text("nginx"), of_text("nginy"));
        let numbers: Vec<u64> = (0..200).map(|number| between(&[number], 3, 5)).collect();
        assert!((3..=5).all(|wanted| numbers.contains(&wanted)) && numbers.iter().all(|number| *number <= 5));
        assert_eq!(pick::<u8>(&[1], &[]), None);
    }

    #[test]
    fn progress_is_never_lost() {
        let mut last = 0.0;
        for second in 1..5_000 {
            let now = progress(&[118], f64::from(second));
            assert!(now > last, "at {second}");
            last = now;
        }
        assert!((4_500.0..5_500.0).contains(&last), "{last}");
    }
}
