//! Misspellings: which known words a word may have been meant as. Words lie in buckets by what a misspelling leaves as it
//! is, so that a look-up compares with a handful of them, however many there are.

use std::collections::HashMap;

/// The shortest word that can be misspelt, in bytes: below, everything is near everything.
pub const SHORTEST: usize = 4;
/// The most letters by which a word and its misspelling differ.
const FARTHEST: usize = 2;
/// The length from which on so many may differ.
const LONG: usize = 8;

/// Words that a misspelling may be corrected to.
#[derive(Debug, Default)]
pub struct Spellings(HashMap<Bucket, Vec<Box<str>>>);

/// What a word and its misspelling have in common, and how long the word is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Bucket {
    first: u8,
    length: usize,
    digits: Box<[u8]>,
}

impl Spellings {
    /// Adds a lower-case word.
    pub fn learn(&mut self, word: &str) {
        let Some(first) = word.bytes().next().filter(|_| word.len() >= SHORTEST) else { return };
        let bucket = self.0.entry(Bucket { first, length: word.len(), digits: digits(word).collect() }).or_default();
        if !bucket.iter().any(|known| **known == *word) {
            bucket.push(word.into());
        }
    }

    /// The words that this one is a misspelling of, with how far they are from it.
    pub fn near(&self, word: &str) -> Vec<(usize, &str)> {
        let &[first, second, ..] = word.as_bytes() else { return Vec::new() };
        let mut bucket = Bucket { first, length: 0, digits: digits(word).collect() };
        let mut found = Vec::new();
        let mut look = |first: u8, length: usize| {
            (bucket.first, bucket.length) = (first, length);
            let known = self.0.get(&bucket).into_iter().flatten();
            found.extend(known.filter_map(|known| Some((distance(word, known)?, &**known))));
        };
        for length in word.len().saturating_sub(FARTHEST)..=word.len() + FARTHEST {
            look(first, length);
            if second != first {
                look(second, length);
            }
        }
        found
    }
}

impl<'w> FromIterator<&'w str> for Spellings {
    fn from_iter<I: IntoIterator<Item = &'w str>>(words: I) -> Self {
        let mut new = Self::default();
        words.into_iter().for_each(|word| new.learn(word));
        new
    }
}

/// How far apart a word and what it may have meant are; `None` where they are no misspelling of one another. Digits and
/// one-letter parts tell names apart, so they have to be the same.
fn distance(word: &str, known: &str) -> Option<usize> {
    let (shorter, longer) = (word.len().min(known.len()), word.len().max(known.len()));
    let allowed = if shorter >= LONG { FARTHEST } else { 1 };
    if known.len() < SHORTEST
        || longer - shorter > allowed
        || !same_start(word.as_bytes(), known.as_bytes())
        || !same_marks(word, known)
    {
        return None;
    }
    let distance = strsim::osa_distance(word, known);
    let mut letters = (word.as_bytes().to_vec(), known.as_bytes().to_vec());
    letters.0.sort_unstable();
    letters.1.sort_unstable();
    // Four letters are too few to tell `note` from `node`: there only letters that changed places or went missing count.
    let sure = longer > SHORTEST || letters.0 == letters.1;
    (distance > 0 && distance <= allowed && sure).then_some(distance)
}

fn same_start(word: &[u8], known: &[u8]) -> bool {
    word[0] == known[0] || (word.len() > 1 && word[0] == known[1] && word[1] == known[0])
}

fn same_marks(word: &str, known: &str) -> bool {
    digits(word).eq(digits(known)) && short(word).eq(short(known))
}

/// The parts of a name that are too short to be misspelt otherwise than with their letters turned round.
fn short(text: &str) -> impl Iterator<Item = [u8; 2]> {
    let parts = text.split(|c: char| !c.is_alphanumeric()).map(str::as_bytes);
    parts.filter_map(|part| match *part {
        [one] => Some([0, one]),
        [one, other] => Some([one.min(other), one.max(other)]),
        _ => None,
    })
}

fn digits(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_are_near_and_keep_digits() {
        for (word, known) in [
            ("ngnix", "nginx"),
            ("restrat", "restart"),
            ("dokcer-host", "docker-host"),
            ("grafna", "grafana"),
            ("shwo", "show"),
            ("hsow", "show"),
            ("postgrsql-mastr", "postgresql-master"),
            ("koha-bd", "koha-db"),
        ] {
            assert!(distance(word, known).is_some(), "{word} {known}");
        }
        for (word, known) in [
            ("pve9", "pve1"),
            ("note", "node"),
            ("db-a", "db-b"),
            ("k3s-4", "k3s-3"),
            ("phone", "drone"),
            ("blog", "block"),
        ] {
            assert!(distance(word, known).is_none(), "{word} {known}");
        }
    }

    #[test]
    fn the_buckets_hide_nothing_that_is_near() {
        let known = ["nginx", "show", "shown", "web-12", "web-13", "postgresql", "postgres", "übung", "restart"];
        let spellings: Spellings = known.into_iter().collect();
        for word in ["ngnix", "shwo", "hsow", "wbe-12", "ewb-13", "postgrsql", "opstgres", "restrat", "x", "", "ab"] {
            let mut near = spellings.near(word);
            let all = known.into_iter().filter(|_| word.len() > 1);
            let mut compared: Vec<(usize, &str)> =
                all.filter_map(|known| Some((distance(word, known)?, known))).collect();
            near.sort_unstable();
            compared.sort_unstable();
            assert_eq!(near, compared, "{word}");
        }
    }
}
