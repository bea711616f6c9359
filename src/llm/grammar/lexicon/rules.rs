//! How operations are asked for: rules with their phrasings, and which of them a run of words can have any use for.

use super::{super::pattern::Node, file::Text};
use serde_json::{Map, Value};

/// How one operation is asked for.
#[derive(Debug)]
pub struct Rule {
    /// The operation.
    pub op: Text,
    /// Arguments that the phrasing itself says.
    pub args: Map<String, Value>,
    /// Tenths by which it stands behind others that explain the same words.
    pub cost: u32,
    /// Why what is asked for can't be done, where it can't.
    pub refuse: Option<Text>,
    /// Whether it can't be meant of a service: `install htop and reboot it`.
    pub machine: bool,
    /// The phrasings.
    pub say: Vec<Phrasing>,
    /// What may stand around them, by its number among the adjuncts, which rules share.
    pub with: Vec<usize>,
    /// Whether the operation only reads.
    pub reads: bool,
}

/// A phrasing with what it can't do without.
#[derive(Debug)]
pub struct Phrasing {
    /// Its top-level elements.
    pub elements: Vec<Node>,
    /// Whether they may stand in any order, with prepositions and the like between them.
    pub any_order: bool,
    /// Concepts without which it can't match: one of each group has to occur.
    pub needs: Vec<Vec<usize>>,
}

/// What is refused whatever else is said.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Text,
    /// Phrases outside quotes.
    pub say: Vec<Phrasing>,
    /// Globs of paths.
    pub paths: Vec<Text>,
    /// Texts inside quotes, lower case.
    pub quoted: Vec<Text>,
}

/// Some concepts.
#[derive(Debug, Default)]
pub struct Concepts {
    marked: Vec<bool>,
    all: Vec<usize>,
}

impl Phrasing {
    /// Of one pattern, whose parts stand in its order.
    pub(super) fn ordered(node: Node) -> Self {
        let elements = match node {
            Node::Seq(elements) => elements,
            other => vec![other],
        };
        Self::of(elements, false)
    }

    pub(super) fn of(elements: Vec<Node>, any_order: bool) -> Self {
        let mut needs = Vec::new();
        for node in &elements {
            node.needs(&mut needs);
        }
        Self { elements, any_order, needs }
    }

    /// The concept with which an ordered phrasing begins.
    pub(super) fn opening(&self) -> Option<usize> {
        match self.elements.first() {
            Some(Node::Concept(concept)) if !self.any_order => Some(*concept),
            _ => None,
        }
    }

    /// Whether nothing that has to be said is missing.
    pub fn is_complete(&self, parts: u64) -> bool {
        if !self.any_order {
            return usize::try_from(parts).is_ok_and(|parts| parts == self.elements.len());
        }
        let needed = |node: &Node| !matches!(node, Node::Opt(_));
        self.elements.iter().enumerate().all(|(index, node)| parts & (1 << index) != 0 || !needed(node))
    }
}

impl Concepts {
    /// Those of these numbers, of so many that there are.
    pub fn new(size: usize, concepts: impl Iterator<Item = usize>) -> Self {
        let mut new = Self { marked: vec![false; size], all: Vec::new() };
        for concept in concepts {
            if !std::mem::replace(&mut new.marked[concept], true) {
                new.all.push(concept);
            }
        }
        new
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.all.iter().copied()
    }

    /// Whether one of each group is among them.
    pub fn satisfy(&self, needs: &[Vec<usize>]) -> bool {
        needs.iter().all(|group| group.iter().any(|concept| self.marked[*concept]))
    }
}
