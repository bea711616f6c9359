//! An inventory as planners read it: who has which name, word of a name, tag, pool, node and service. It is made once and
//! serves every sentence until the inventory changes, so that a sentence costs what it names and not what there is.

use super::{likeness::Likeness, spelling::Spellings};
use crate::model::{Inventory, Target, inventory::Guest, target::Vmid};
use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::OnceLock,
};

/// Something with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// A guest, by its index in the inventory.
    Guest(usize),
    /// A node, by its index in the inventory.
    Node(usize),
}

/// Indices of guests, rising.
type Members = Vec<usize>;

/// An inventory with its index. Words are in lower case.
#[derive(Debug, Default)]
pub struct Known {
    inventory: Inventory,
    squeezed: HashMap<String, Vec<Named>>,
    parts: HashMap<String, Members>,
    tags: BTreeMap<String, Members>,
    /// As they are written, by their word.
    pools: HashMap<String, String>,
    in_pool: HashMap<String, Members>,
    on_node: HashMap<String, Members>,
    /// As they are written, by their word.
    storages: HashMap<String, String>,
    with_service: BTreeMap<String, Members>,
    /// Services by the words that they can be meant by.
    services: HashMap<String, Vec<String>>,
    /// As they are written, by their word.
    snapshots: HashMap<String, String>,
    by_vmid: BTreeMap<Vmid, usize>,
    templates: Members,
    /// Made when the first word is misspelt.
    spellings: OnceLock<Spellings>,
    /// Made when nothing is called by a word.
    likeness: OnceLock<Likeness>,
}

impl Known {
    /// Reads an inventory, and sorts its guests by vmid, which makes looking one up quick.
    pub fn new(mut inventory: Inventory) -> Self {
        inventory.guests.sort_by_key(|guest| guest.vmid);
        let storages = written(inventory.storages.iter().map(|storage| &storage.name));
        let mut new = Self { storages, ..Self::default() };
        for (index, node) in inventory.nodes.iter().enumerate() {
            new.squeezed.entry(squeeze(&node.name)).or_default().push(Named::Node(index));
        }
        for (index, guest) in inventory.guests.iter().enumerate() {
            new.learn(index, guest);
        }
        for service in new.with_service.keys() {
            for word in service_words(service) {
                new.services.entry(word).or_default().push(service.clone());
            }
        }
        new.inventory = inventory;
        new
    }

    fn learn(&mut self, index: usize, guest: &Guest) {
        if !guest.name.is_empty() {
            self.squeezed.entry(squeeze(&guest.name)).or_default().push(Named::Guest(index));
        }
        for part in name_words(&guest.name) {
            join(self.parts.entry(part).or_default(), index);
        }
        for tag in &guest.tags {
            join(self.tags.entry(tag.to_lowercase()).or_default(), index);
        }
        if let Some(pool) = &guest.pool {
            self.pools.insert(pool.to_lowercase(), pool.clone());
            join(entry(&mut self.in_pool, pool), index);
        }
        join(entry(&mut self.on_node, &guest.node), index);
        for service in &guest.services {
            if let Some(members) = self.with_service.get_mut(service) {
                join(members, index);
            } else {
                self.with_service.insert(service.clone(), vec![index]);
            }
        }
        self.snapshots.extend(guest.snapshots.iter().map(|name| (name.to_lowercase(), name.clone())));
        self.by_vmid.entry(guest.vmid).or_insert(index);
        if guest.template {
            self.templates.push(index);
        }
    }

    /// The inventory itself.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The guest of an index.
    pub fn guest(&self, index: usize) -> &Guest {
        &self.inventory.guests[index]
    }

    /// The target of something named.
    pub fn target(&self, named: Named) -> Target {
        match named {
            Named::Guest(index) => self.inventory.guests[index].target(),
            Named::Node(index) => Target::node(&self.inventory.nodes[index].name),
        }
    }

    /// What is called so, hyphens and letters' case aside.
    pub fn named(&self, word: &str) -> &[Named] {
        self.squeezed.get(&squeeze(word)).map_or(&[], Vec::as_slice)
    }

    /// Guests that have all these words as parts of their names.
    pub fn with_parts<'k>(&'k self, words: &[String]) -> impl Iterator<Item = usize> + use<'k> {
        let all: Option<Vec<&[usize]>> = words.iter().map(|word| self.parts.get(word).map(Vec::as_slice)).collect();
        let mut all = all.unwrap_or_default();
        all.sort_by_key(|members| members.len());
        let fewest = all.first().copied().unwrap_or_default();
        let rest = all.split_off(all.len().min(1));
        fewest.iter().copied().filter(move |index| rest.iter().all(|members| members.binary_search(index).is_ok()))
    }

    /// Whether a word is part of a guest's name.
    pub fn is_part(&self, word: &str) -> bool {
        self.parts.contains_key(word)
    }

    /// Guests with that tag.
    pub fn tagged(&self, tag: &str) -> &[usize] {
        self.tags.get(tag).map_or(&[], Vec::as_slice)
    }

    /// Guests in the pool that is written so.
    pub fn in_pool(&self, pool: &str) -> &[usize] {
        self.in_pool.get(pool).map_or(&[], Vec::as_slice)
    }

    /// Guests on the node that is written so.
    pub fn on_node(&self, node: &str) -> &[usize] {
        self.on_node.get(node).map_or(&[], Vec::as_slice)
    }

    /// Guests that have a service of whose name this holds; rising.
    pub fn serving(&self, holds: impl Fn(&str) -> bool) -> Vec<usize> {
        let fitting = self.with_service.iter().filter(|(service, _)| holds(service));
        let mut members: Vec<usize> = fitting.flat_map(|(_, members)| members).copied().collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Guests whose vmids are among these.
    pub fn numbered(&self, vmids: RangeInclusive<Vmid>) -> impl Iterator<Item = usize> {
        self.by_vmid.range(vmids).map(|(_, index)| *index)
    }

    /// Guests that are templates.
    pub fn templates(&self) -> impl Iterator<Item = &Guest> {
        self.templates.iter().map(|index| self.guest(*index))
    }

    /// Whether some guest has that tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.contains_key(tag)
    }

    /// The pool of that name, as it is written.
    pub fn pool(&self, word: &str) -> Option<&str> {
        self.pools.get(word).map(String::as_str)
    }

    /// The storage of that name, as it is written.
    pub fn storage(&self, word: &str) -> Option<&str> {
        self.storages.get(word).map(String::as_str)
    }

    /// The node of that name.
    pub fn node(&self, word: &str) -> Option<&str> {
        self.named(word).iter().find_map(|named| match named {
            Named::Node(index) => Some(self.inventory.nodes[*index].name.as_str()),
            Named::Guest(_) => None,
        })
    }

    /// The snapshot of that name, as it is written.
    pub fn snapshot(&self, word: &str) -> Option<&str> {
        self.snapshots.get(word).map(String::as_str)
    }

    /// Services that a word is the name of, or the beginning of the name: `grafana` of `grafana-server`.
    pub fn services(&self, word: &str) -> &[String] {
        self.services.get(word).map_or(&[], Vec::as_slice)
    }

    /// Whether anything here is called by that word.
    pub fn knows(&self, word: &str) -> bool {
        self.squeezed.contains_key(&squeeze(word))
            || self.parts.contains_key(word)
            || self.tags.contains_key(word)
            || self.pools.contains_key(word)
            || self.storages.contains_key(word)
            || self.services.contains_key(word)
            || self.snapshots.contains_key(word)
    }

    /// The names of guests and nodes that are most like a word, best first, at most `count`.
    pub fn closest(&self, word: &str, count: usize) -> Vec<String> {
        let likeness = self.likeness.get_or_init(|| {
            let guests = self.inventory.guests.iter().map(|guest| guest.name.as_str());
            Likeness::new(guests.chain(self.inventory.nodes.iter().map(|node| node.name.as_str())))
        });
        likeness.closest(word, count)
    }

    /// The words here that a misspelling may have meant.
    pub fn spellings(&self) -> &Spellings {
        self.spellings.get_or_init(|| {
            let guests = self.inventory.guests.iter().map(|guest| guest.name.to_lowercase());
            let nodes = self.inventory.nodes.iter().map(|node| node.name.to_lowercase());
            let mut spellings = Spellings::default();
            guests.chain(nodes).for_each(|name| spellings.learn(&name));
            let keys = self.tags.keys().chain(self.pools.keys()).chain(self.storages.keys());
            keys.chain(self.services.keys()).chain(self.snapshots.keys()).for_each(|word| spellings.learn(word));
            spellings
        })
    }
}

/// Appends an index unless it is there already; indices come rising.
fn join(members: &mut Members, index: usize) {
    if members.last() != Some(&index) {
        members.push(index);
    }
}

fn entry<'m>(map: &'m mut HashMap<String, Members>, name: &str) -> &'m mut Members {
    map.entry(name.to_owned()).or_default()
}

fn written<'n>(names: impl Iterator<Item = &'n String>) -> HashMap<String, String> {
    names.map(|name| (name.to_lowercase(), name.clone())).collect()
}

/// The words of a name: `web-server` → `web`, `server`.
pub fn name_parts(name: &str) -> Vec<String> {
    name.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The words of a name, and those that a number ends also without it: `dc01` → `dc01`, `dc`.
pub fn name_words(name: &str) -> Vec<String> {
    let mut words = name_parts(name);
    let stem = |word: &String| {
        let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let letters = stem.len() >= 2 && stem.chars().all(char::is_alphabetic);
        (letters && stem.len() < word.len()).then(|| stem.to_owned())
    };
    words.extend(words.iter().filter_map(stem).collect::<Vec<_>>());
    words
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

    fn homelab() -> Known {
        Known::new(serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap())
    }

    fn vmids(known: &Known, indices: impl IntoIterator<Item = usize>) -> Vec<Vmid> {
        indices.into_iter().map(|index| known.guest(index).vmid).collect()
    }

    #[test]
    fn the_index_finds_what_a_search_would() {
        let known = homelab();
        let searched = |holds: &dyn Fn(&Guest) -> bool| -> Vec<usize> {
            (0..known.inventory().guests.len()).filter(|index| holds(known.guest(*index))).collect()
        };
        for node in ["pve1", "pve2", "pve9"] {
            assert_eq!(known.on_node(node), searched(&|guest| guest.node == node), "{node}");
        }
        for tag in ["web", "production", "none"] {
            assert_eq!(known.tagged(tag), searched(&|guest| guest.tags.iter().any(|known| known == tag)), "{tag}");
        }
        for pool in ["k3s", "data", "none"] {
            assert_eq!(known.in_pool(pool), searched(&|guest| guest.pool.as_deref() == Some(pool)), "{pool}");
        }
        let has_nginx = searched(&|guest| guest.services.iter().any(|service| service == "nginx"));
        assert_eq!(known.serving(|service| service == "nginx"), has_nginx);
        assert_eq!(vmids(&known, known.numbered(118..=120)), [118, 119, 120]);
    }

    #[test]
    fn words_of_a_name_in_any_order_find_it() {
        let known = homelab();
        let with = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            vmids(&known, known.with_parts(&words))
        };
        assert_eq!(with(&["web", "server"]), with(&["server", "web"]));
        assert_eq!(with(&["web", "staging"]), [119]);
        assert!(with(&["web", "nonsense"]).is_empty() && with(&[]).is_empty());
    }

    #[test]
    fn names_are_found_with_and_without_hyphens() {
        let known = homelab();
        assert_eq!(known.named("Web-Server"), known.named("webserver"));
        assert_eq!(known.target(known.named("web-server")[0]), Target::ct(118));
        assert_eq!(known.services("grafana"), ["grafana-server"]);
    }
}
