//! What the printers know of targets beside their numbers: names come before numbers.

use crate::model::{Inventory, Step, Target, inventory::Guest, messages::GuestRow, target::What};
use std::collections::BTreeMap;

/// Names and whereabouts by target.
#[derive(Debug, Clone, Default)]
pub struct Book(BTreeMap<Target, Entry>);

#[derive(Debug, Clone, Default)]
struct Entry {
    name: String,
    node: String,
    os: String,
    tags: Vec<String>,
}

impl Book {
    /// What an inventory tells.
    pub fn of_inventory(inventory: &Inventory) -> Self {
        let guests = inventory.guests.iter().map(|guest| (guest.target(), Entry::of(guest)));
        Self(guests.collect())
    }

    /// What the hub's listing tells.
    pub fn of_rows(guests: &[GuestRow]) -> Self {
        Self(guests.iter().map(|row| (row.guest.target(), Entry::of(&row.guest))).collect())
    }

    /// `ct/118 web-server`, or only what is known.
    pub fn label(&self, target: &Target) -> String {
        match self.name(target) {
            "" => target.to_string(),
            name => format!("{target} {name}"),
        }
    }

    /// The target's own name; empty where there is none beside the target itself.
    pub fn name(&self, target: &Target) -> &str {
        self.0.get(target).map_or("", |entry| entry.name.as_str())
    }

    /// What people call it: its name, a node's name, else the target as it is written.
    pub fn called(&self, target: &Target) -> String {
        match (&target.what, self.name(target)) {
            (What::Node(name) | What::Host(name), _) => name.clone(),
            (What::Cluster, _) => "the cluster".to_owned(),
            (What::Guest(..), "") => target.to_string(),
            (What::Guest(..), name) => name.to_owned(),
        }
    }

    /// The node that it is on; empty where unknown.
    pub fn node(&self, target: &Target) -> &str {
        self.0.get(target).map_or("", |entry| entry.node.as_str())
    }

    /// Its operating system; empty where unknown.
    pub fn os(&self, target: &Target) -> &str {
        self.0.get(target).map_or("", |entry| entry.os.as_str())
    }

    /// Its tags.
    pub fn tags(&self, target: &Target) -> &[String] {
        self.0.get(target).map_or(&[], |entry| &entry.tags)
    }
}

impl Entry {
    fn of(guest: &Guest) -> Self {
        Self { name: guest.name.clone(), node: guest.node.clone(), os: guest.os.label(), tags: guest.tags.clone() }
    }
}

/// The selector that takes exactly the guests of these steps, or every guest (empty) where they are too many to name;
/// `None` where there are none.
pub fn selector(steps: &[Step]) -> Option<String> {
    const MOST: usize = 40;
    let mut guests: Vec<&Target> =
        steps.iter().flat_map(|step| &step.targets).filter(|target| target.vmid().is_some()).collect();
    guests.sort();
    guests.dedup();
    match guests.len() {
        0 => None,
        1..=MOST => Some(guests.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        _ => Some(String::new()),
    }
}
