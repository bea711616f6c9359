//! Which names are most like a word that nothing is called, for "closest: …". Names that differ in their digits alone lie
//! together, and pairs of letters lead to them, so that ten thousand names are not compared one by one.

use rustc_hash::FxHashMap;

/// So many groups of names are looked at, those that share the most pairs of letters with the word.
const MOST_GROUPS: usize = 48;
/// So many names of a group are looked at, on either side of where the word itself would stand.
const MOST_NEIGHBOURS: usize = 64;
/// Below this, names are not alike (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.6;

/// Names by what they have in common.
#[derive(Debug, Default)]
pub struct Likeness {
    groups: Vec<Group>,
    /// Groups by each pair of letters that is in their names; a mark stands before the first letter.
    pairs: FxHashMap<[u8; 2], Vec<u32>>,
}

/// Names that differ in their digits alone: those, the name in lower case, the name; sorted.
type Group = Vec<(String, String, String)>;

impl Likeness {
    /// Over these names.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut new = Self::default();
        let mut known: FxHashMap<String, usize> = FxHashMap::default();
        for name in names {
            let lower = name.to_ascii_lowercase();
            let letters = letters(&lower);
            let group = known.get(&letters).copied().unwrap_or_else(|| {
                let number = new.groups.len();
                let group = u32::try_from(number).unwrap_or(u32::MAX);
                for pair in pairs(&letters) {
                    new.pairs.entry(pair).or_default().push(group);
                }
                new.groups.push(Group::new());
                known.insert(letters, number);
                number
            });
            new.groups[group].push((digits(&lower), lower, name.to_owned()));
        }
        new.groups.iter_mut().for_each(|group| group.sort_unstable());
        new
    }

    /// The names that are most like a word, best first, at most `count`.
    pub fn closest(&self, word: &str, count: usize) -> Vec<String> {
        let word = word.to_ascii_lowercase();
        let groups = self.groups_like(&letters(&word));
        let number = digits(&word);
        let names = groups.into_iter().flat_map(|group| neighbours(&self.groups[group], &number));
        let scored = names.map(|(_, lower, name)| (strsim::jaro_winkler(&word, lower), name));
        let mut scored: Vec<(f64, &String)> = scored.filter(|(score, _)| *score > ALIKE).collect();
        scored.sort_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(right.1)));
        scored.into_iter().take(count).map(|(_, name)| name.clone()).collect()
    }

    /// Groups that share pairs of letters with some letters, those that share the most first.
    fn groups_like(&self, letters: &str) -> Vec<usize> {
        let mut shared = vec![0_u16; self.groups.len()];
        for pair in pairs(letters) {
            for group in self.pairs.get(&pair).into_iter().flatten() {
                shared[*group as usize] += 1;
            }
        }
        let mut groups: Vec<usize> = (0..shared.len()).filter(|group| shared[*group] > 0).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(shared[*group]));
        groups.truncate(MOST_GROUPS);
        groups
    }
}

/// The names of a group around the place where one with these digits would stand.
fn neighbours<'g>(group: &'g Group, number: &str) -> impl Iterator<Item = &'g (String, String, String)> {
    let at = group.partition_point(|(digits, ..)| digits.as_str() < number);
    group[at.saturating_sub(MOST_NEIGHBOURS)..(at + MOST_NEIGHBOURS).min(group.len())].iter()
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// The pairs of neighbouring letters, each once.
fn pairs(letters: &str) -> Vec<[u8; 2]> {
    let bytes = letters.bytes();
    let mut pairs: Vec<[u8; 2]> = std::iter::once(b'^').chain(bytes.clone()).zip(bytes).map(Into::into).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_names_come_first() {
        let names = ["web-server", "web-staging", "wiki", "Blog", "db-1", "db-2", "db-3"];
        let likeness = Likeness::new(names.into_iter());
        assert_eq!(likeness.closest("web-servre", 1), ["web-server"]);
        assert_eq!(likeness.closest("bolg", 1), ["Blog"]);
        assert_eq!(likeness.closest("db-4", 3), ["db-1", "db-2", "db-3"]);
        assert!(likeness.closest("", 3).is_empty() && likeness.closest("qqq", 3).is_empty());
    }

    #[test]
    fn many_numbered_names_hide_no_other() {
        let numbered: Vec<String> = (0..5000).map(|number| format!("worker-{number}")).collect();
        let names = numbered.iter().map(String::as_str).chain(["walker", "worker-main"]);
        let likeness = Likeness::new(names);
        assert_eq!(likeness.closest("worker-mian", 1), ["worker-main"]);
        assert_eq!(likeness.closest("wlaker", 1), ["walker"]);
        assert_eq!(likeness.closest("workr-4711", 1), ["worker-4711"]);
    }
}
