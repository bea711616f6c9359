//! The words of the inventory at hand: names, their parts, tags, pools, storages, services, snapshots. Also the place
//! where misspellings are found, since a word is one only when neither language nor inventory knows it.

use super::{
    lexicon::Lexicon,
    token::{Kind, Token},
};
use crate::model::{Inventory, Target, inventory::Guest};
use std::collections::{BTreeSet, HashMap};

/// Something with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// A guest, by its index in the inventory.
    Guest(usize),
    /// A node, by its index in the inventory.
    Node(usize),
}

/// An index over one inventory. All keys are in lower case.
#[derive(Debug)]
pub struct Vocabulary<'a> {
    /// The inventory itself.
    pub inventory: &'a Inventory,
    squeezed: HashMap<String, Vec<Named>>,
    parts: HashMap<String, Vec<usize>>,
    tags: BTreeSet<String>,
    pools: HashMap<String, &'a str>,
    storages: HashMap<String, &'a str>,
    services: BTreeSet<&'a str>,
    service_words: HashMap<String, Vec<&'a str>>,
    snapshots: HashMap<String, &'a str>,
}

impl<'a> Vocabulary<'a> {
    /// Reads an inventory.
    pub fn new(inventory: &'a Inventory) -> Self {
        let mut new = Self {
            inventory,
            squeezed: HashMap::new(),
            parts: HashMap::new(),
            tags: BTreeSet::new(),
            pools: HashMap::new(),
            storages: inventory
                .storages
                .iter()
                .map(|storage| (storage.name.to_lowercase(), storage.name.as_str()))
                .collect(),
            services: BTreeSet::new(),
            service_words: HashMap::new(),
            snapshots: HashMap::new(),
        };
        for (index, node) in inventory.nodes.iter().enumerate() {
            new.squeezed.entry(squeeze(&node.name)).or_default().push(Named::Node(index));
        }
        for (index, guest) in inventory.guests.iter().enumerate() {
            new.learn(index, guest);
        }
        let words = new
            .services
            .iter()
            .flat_map(|service| service_words(service).into_iter().map(move |word| (word, *service)));
        for (word, service) in words.collect::<Vec<_>>() {
            new.service_words.entry(word).or_default().push(service);
        }
        new
    }

    fn learn(&mut self, index: usize, guest: &'a Guest) {
        if guest.name.is_empty() {
            return;
        }
        self.squeezed.entry(squeeze(&guest.name)).or_default().push(Named::Guest(index));
        for part in name_parts(&guest.name) {
            let with_part = self.parts.entry(part).or_default();
            if with_part.last() != Some(&index) {
                with_part.push(index);
            }
        }
        self.tags.extend(guest.tags.iter().map(|tag| tag.to_lowercase()));
        if let Some(pool) = &guest.pool {
            self.pools.insert(pool.to_lowercase(), pool);
        }
        self.services.extend(guest.services.iter().map(String::as_str));
        self.snapshots.extend(guest.snapshots.iter().map(|name| (name.to_lowercase(), name.as_str())));
    }

    /// What is called so, hyphens and letters' case aside.
    pub fn named(&self, word: &str) -> &[Named] {
        self.squeezed.get(&squeeze(word)).map_or(&[], Vec::as_slice)
    }

    /// Guests that have all these words as parts of their names.
    pub fn with_parts(&self, words: &[String]) -> Vec<usize> {
        let Some((first, rest)) = words.split_first() else { return Vec::new() };
        let has_rest = |index: &&usize| {
            let parts = name_parts(&self.inventory.guests[**index].name);
            rest.iter().all(|word| parts.contains(word))
        };
        self.parts.get(first).map_or_else(Vec::new, |with_first| with_first.iter().filter(has_rest).copied().collect())
    }

    /// Whether a word is part of a guest's name.
    pub fn is_part(&self, word: &str) -> bool {
        self.parts.contains_key(word)
    }

    /// Whether some guest has that tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.contains(tag)
    }

    /// The tags that a word stands for: itself where it exists, else those that mean the same.
    pub fn tags_for(&self, word: &str, lexicon: &Lexicon) -> Vec<String> {
        if self.has_tag(word) {
            return vec![word.to_owned()];
        }
        let group = lexicon.tags.iter().find(|group| group.iter().any(|tag| tag == word));
        group.map_or_else(Vec::new, |group| group.iter().filter(|tag| self.has_tag(tag)).cloned().collect())
    }

    /// The pool of that name, as it is written.
    pub fn pool(&self, word: &str) -> Option<&'a str> {
        self.pools.get(word).copied()
    }

    /// The storage of that name, as it is written.
    pub fn storage(&self, word: &str) -> Option<&'a str> {
        self.storages.get(word).copied()
    }

    /// The node of that name.
    pub fn node(&self, word: &str) -> Option<&'a str> {
        self.named(word).iter().find_map(|named| match named {
            Named::Node(index) => Some(self.inventory.nodes[*index].name.as_str()),
            Named::Guest(_) => None,
        })
    }

    /// The snapshot of that name, as it is written.
    pub fn snapshot(&self, word: &str) -> Option<&'a str> {
        self.snapshots.get(word).copied()
    }

    /// The services with exactly that name, letters' case and `.service` aside.
    pub fn service(&self, word: &str) -> Option<&'a str> {
        let plain = word.strip_suffix(".service").unwrap_or(word);
        self.service_words
            .get(plain)
            .and_then(|names| names.iter().find(|name| name.eq_ignore_ascii_case(plain)).copied())
    }

    /// Services of whose name a word is the beginning: `grafana` of `grafana-server`.
    pub fn services_beginning(&self, word: &str) -> Vec<String> {
        self.service_words
            .get(word)
            .map_or_else(Vec::new, |names| names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Whether the inventory knows the word at all.
    pub fn knows(&self, word: &str) -> bool {
        self.squeezed.contains_key(&squeeze(word))
            || self.parts.contains_key(word)
            || self.tags.contains(word)
            || self.pools.contains_key(word)
            || self.storages.contains_key(word)
            || self.service_words.contains_key(word)
            || self.snapshots.contains_key(word)
    }

    /// Marks the tokens that look like misspellings with what they may have meant.
    pub fn correct(&self, tokens: &mut [Token], lexicon: &Lexicon) {
        for token in tokens
            .iter_mut()
            .filter(|token| token.kind == Kind::Word && token.lower.len() >= 4 && token.lower.len() <= 64)
        {
            let word = &token.lower;
            let plausible = word.is_ascii()
                && !lexicon.knows(word)
                && !self.knows(word)
                && word.bytes().any(|b| b.is_ascii_alphabetic());
            if plausible {
                token.meant = self.nearest(word, lexicon);
            }
        }
    }

    fn nearest(&self, word: &str, lexicon: &Lexicon) -> Vec<String> {
        let guests = self.inventory.guests.iter().map(|guest| guest.name.to_lowercase());
        let nodes = self.inventory.nodes.iter().map(|node| node.name.to_lowercase());
        let others = self.tags.iter().cloned().chain(self.pools.keys().cloned()).chain(self.storages.keys().cloned());
        let services = self.service_words.keys().cloned();
        let language = lexicon.correct.iter().cloned();
        let all =
            guests.chain(nodes).chain(others).chain(services).chain(self.snapshots.keys().cloned()).chain(language);
        let mut found: Vec<(usize, String)> =
            all.filter_map(|known| Some((misspelling(word, &known)?, known))).collect();
        found.sort_unstable();
        found.dedup();
        let best = found.first().map_or(0, |(distance, _)| *distance);
        found.into_iter().take_while(|(distance, _)| *distance == best).map(|(_, known)| known).take(4).collect()
    }

    /// The guest of an index.
    pub fn guest(&self, index: usize) -> &'a Guest {
        &self.inventory.guests[index]
    }

    /// The target of something named.
    pub fn target(&self, named: Named) -> Target {
        match named {
            Named::Guest(index) => self.inventory.guests[index].target(),
            Named::Node(index) => Target::node(&self.inventory.nodes[index].name),
        }
    }
}

/// How far apart a word and what it may have meant are; `None` where they are no misspelling of one another. Digits and
/// one-letter parts tell names apart, so they have to be the same.
fn misspelling(word: &str, known: &str) -> Option<usize> {
    let (shorter, longer) = (word.len().min(known.len()), word.len().max(known.len()));
    let allowed = if shorter >= 8 { 2 } else { 1 };
    if known.len() < 4
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
    let sure = longer > 4 || letters.0 == letters.1;
    (distance > 0 && distance <= allowed && sure).then_some(distance)
}

fn same_start(word: &[u8], known: &[u8]) -> bool {
    word[0] == known[0] || (word.len() > 1 && word[0] == known[1] && word[1] == known[0])
}

fn same_marks(word: &str, known: &str) -> bool {
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
    let short = |text: &str| {
        let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|part| part.len() <= 2).map(str::to_owned);
        parts.collect::<Vec<_>>()
    };
    digits(word) == digits(known) && short(word) == short(known)
}

/// The words of a name: `web-server` → `web`, `server`.
pub fn name_parts(name: &str) -> Vec<String> {
    name.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn squeeze(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// The words by which a service can be meant: its name, its name with spaces for hyphens squeezed, and its first word.
fn service_words(service: &str) -> Vec<String> {
    let lower = service.to_lowercase();
    let first = lower.split(['-', '@', '_', '.']).next().unwrap_or_default().to_owned();
    let mut words = vec![lower.clone()];
    if first.len() >= 3 && first != lower {
        words.push(first);
    }
    words
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
        ] {
            assert!(misspelling(word, known).is_some(), "{word} {known}");
        }
        for (word, known) in [
            ("pve9", "pve1"),
            ("note", "node"),
            ("db-a", "db-b"),
            ("k3s-4", "k3s-3"),
            ("phone", "drone"),
            ("blog", "block"),
        ] {
            assert!(misspelling(word, known).is_none(), "{word} {known}");
        }
    }
}
