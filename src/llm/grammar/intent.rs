//! The third stage: which operation a clause asks for. A rule reads a clause only when its phrasing, its adjuncts and
//! fillers together account for every word, so nothing that was said is dropped.

use super::{
    lexicon::{Phrasing, Rule},
    noun::Hit,
    pattern::Node,
    sentence::Sentence,
    token::{Kind, Token},
    values::Value,
};
use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
};

/// How many partial readings of one clause are followed before the clause counts as unreadable.
const MOST_STEPS: u32 = 60_000;

/// Filled slots, in the order of the text.
pub type Slots<'l> = Vec<(&'l str, Value)>;

/// One way to read a clause.
#[derive(Debug, Clone)]
pub struct Reading<'l> {
    /// The rule that reads it.
    pub rule: &'l Rule,
    /// Its arguments.
    pub slots: Slots<'l>,
    /// How far-fetched, in tenths.
    pub cost: u32,
}

/// Hits of a piece of a phrasing that begin at one token.
type Found<'l> = Rc<Vec<Hit<Slots<'l>>>>;
/// Readings of a slot by its kind and the token that it begins at.
type Filled<'l> = HashMap<(&'l str, usize), Rc<Vec<Hit<Value>>>>;

/// Matches the lexicon's phrasings against one clause.
pub struct Matcher<'s, 'l> {
    sentence: &'s Sentence<'l>,
    memo: RefCell<HashMap<(*const Node, usize), Found<'l>>>,
    slots: RefCell<Filled<'l>>,
    steps: Cell<u32>,
}

/// How far a rule has got.
struct State<'l> {
    at: usize,
    element: usize,
    used: u64,
    slots: Slots<'l>,
    cost: u32,
}

impl<'s, 'l> Matcher<'s, 'l> {
    /// For one clause.
    pub fn new(sentence: &'s Sentence<'l>) -> Self {
        Self { sentence, memo: RefCell::default(), slots: RefCell::default(), steps: Cell::new(0) }
    }

    /// All readings of the whole clause, the best first, rules in the lexicon's order where equal.
    pub fn readings(&self) -> Vec<Reading<'l>> {
        let length = self.sentence.tokens.len();
        let present: HashSet<usize> =
            (0..length).flat_map(|at| self.sentence.phrases(at)).map(|phrase| phrase.concept).collect();
        let mut out = Vec::new();
        if self.only_fillers() {
            return out;
        }
        for rule in &self.sentence.lexicon.rules {
            for phrasing in &rule.say {
                if self.possible(phrasing, &present) {
                    let start = State { at: 0, element: 0, used: 0, slots: Vec::new(), cost: rule.cost };
                    self.walk(rule, phrasing, start, &mut out);
                }
            }
        }
        out.sort_by_key(|reading| reading.cost);
        out.dedup_by(|right, left| {
            left.rule.op == right.rule.op && left.rule.args == right.rule.args && left.slots == right.slots
        });
        out
    }

    fn only_fillers(&self) -> bool {
        let mut at = 0;
        while let Some(end) = self.sentence.filler(at) {
            at = end;
        }
        at >= self.sentence.tokens.len()
    }

    fn possible(&self, phrasing: &Phrasing, present: &HashSet<usize>) -> bool {
        let said = |word: &String| self.sentence.tokens.iter().any(|token| reads(token, word).is_some());
        phrasing.concepts.iter().all(|concept| present.contains(concept)) && phrasing.words.iter().all(said)
    }

    fn walk(&self, rule: &'l Rule, phrasing: &'l Phrasing, state: State<'l>, out: &mut Vec<Reading<'l>>) {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MOST_STEPS {
            return;
        }
        let length = self.sentence.tokens.len();
        if state.at == length && state.element == phrasing.elements.len() {
            if !doubled(&state.slots) {
                out.push(Reading { rule, slots: state.slots, cost: state.cost });
            }
            return;
        }
        if let Some(end) = self.sentence.filler(state.at) {
            let joint = self.sentence.is_any(state.at, &["and", "so", "also"]);
            let next = State { at: end, slots: state.slots.clone(), cost: state.cost + u32::from(joint), ..state };
            self.walk(rule, phrasing, next, out);
        }
        for (index, adjunct) in rule.with.iter().enumerate() {
            let bit = 1 << index.min(63);
            if state.used & bit != 0 || state.at >= length {
                continue;
            }
            for hit in self.node(adjunct, state.at).iter().filter(|hit| hit.end > state.at) {
                let mut slots = state.slots.clone();
                slots.extend(hit.value.iter().cloned());
                let next = State {
                    at: hit.end,
                    element: state.element,
                    used: state.used | bit,
                    slots,
                    cost: state.cost + hit.cost,
                };
                self.walk(rule, phrasing, next, out);
            }
        }
        let Some(element) = phrasing.elements.get(state.element) else { return };
        for hit in self.node(element, state.at).iter() {
            let mut slots = state.slots.clone();
            slots.extend(hit.value.iter().cloned());
            let next =
                State { at: hit.end, element: state.element + 1, used: state.used, slots, cost: state.cost + hit.cost };
            self.walk(rule, phrasing, next, out);
        }
    }

    /// Where a piece of a phrasing that begins at a token can end.
    pub fn node(&self, node: &'l Node, at: usize) -> Found<'l> {
        let key = (std::ptr::from_ref(node), at);
        if let Some(found) = self.memo.borrow().get(&key) {
            return Rc::clone(found);
        }
        let found = Rc::new(self.find(node, at));
        self.memo.borrow_mut().insert(key, Rc::clone(&found));
        found
    }

    fn find(&self, node: &'l Node, at: usize) -> Vec<Hit<Slots<'l>>> {
        let empty = |end: usize, cost: u32| Hit { end, value: Vec::new(), cost };
        match node {
            Node::Word(word) => {
                let read = self.sentence.token(at).and_then(|token| reads(token, word));
                read.map(|corrected| empty(at + 1, u32::from(corrected) * 10)).into_iter().collect()
            }
            Node::Concept(concept) => self
                .sentence
                .concept(at, *concept)
                .map(|phrase| empty(phrase.end, u32::from(phrase.corrected) * 10))
                .collect(),
            Node::Slot(slot) => {
                let found = self.slot(&slot.kind, at);
                found
                    .iter()
                    .map(|hit| Hit {
                        end: hit.end,
                        value: vec![(slot.name.as_str(), hit.value.clone())],
                        cost: hit.cost,
                    })
                    .collect()
            }
            Node::Opt(inner) => {
                let mut found = self.node(inner, at).to_vec();
                found.push(empty(at, 0));
                found
            }
            Node::Alt(ways) => ways.iter().flat_map(|way| self.node(way, at).to_vec()).collect(),
            Node::Seq(parts) => self.sequence(parts, at),
        }
    }

    fn slot(&self, kind: &'l str, at: usize) -> Rc<Vec<Hit<Value>>> {
        let known = self.slots.borrow().get(&(kind, at)).cloned();
        known.unwrap_or_else(|| {
            let found = Rc::new(self.sentence.slot(kind, at));
            self.slots.borrow_mut().insert((kind, at), Rc::clone(&found));
            found
        })
    }

    fn sequence(&self, parts: &'l [Node], at: usize) -> Vec<Hit<Slots<'l>>> {
        let mut open = vec![Hit { end: at, value: Vec::new(), cost: 0 }];
        for (index, part) in parts.iter().enumerate() {
            let mut next: Vec<Hit<Slots<'l>>> = Vec::new();
            for state in &open {
                for from in self.past_fillers(state.end, index > 0) {
                    for hit in self.node(part, from).iter() {
                        // Fillers belong to what follows them: a part left out takes none.
                        if hit.end == from && from != state.end {
                            continue;
                        }
                        let mut value = state.value.clone();
                        value.extend(hit.value.iter().cloned());
                        let reached = Hit { end: hit.end, value, cost: state.cost + hit.cost };
                        if !next.contains(&reached) {
                            next.push(reached);
                        }
                    }
                }
            }
            open = next;
        }
        open
    }

    /// The place itself, and those behind the filler words there.
    fn past_fillers(&self, at: usize, inside: bool) -> Vec<usize> {
        let mut places = vec![at];
        let mut end = at;
        while inside
            && self.sentence.token(end).is_some_and(|token| token.kind == Kind::Word)
            && !self.sentence.is(end, "and")
        {
            let Some(next) = self.sentence.filler(end) else { break };
            places.push(next);
            end = next;
        }
        places
    }
}

/// Whether a token is that word of a phrasing, and whether that takes a correction.
fn reads(token: &Token, word: &str) -> Option<bool> {
    if token.kind == Kind::Possessive { (word == "'s").then_some(false) } else { token.reads(word) }
}

fn doubled(slots: &Slots<'_>) -> bool {
    slots.iter().enumerate().any(|(index, (name, _))| slots[..index].iter().any(|(earlier, _)| earlier == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::testing::read;

    fn best(text: &str) -> String {
        read(text, |sentence| {
            let readings = Matcher::new(sentence).readings();
            readings.first().map_or_else(|| "none".to_owned(), |reading| reading.rule.op.clone())
        })
    }

    #[test]
    fn the_likeliest_rule_comes_first() {
        for (text, op) in [
            ("restart nginx on web-server", "service.restart"),
            ("reboot web-server", "guest.reboot"),
            ("install htop on blog", "package.install"),
            ("install the agent on blog", "agent.deploy"),
            ("snapshots of 118", "guest.snapshots"),
            ("take a snapshot of 118", "guest.snapshot"),
            ("last 2 hours of nginx errors on web-server", "logs.query"),
        ] {
            assert_eq!(best(text), op, "{text}");
        }
    }

    #[test]
    fn a_word_too_many_leaves_no_reading() {
        for text in [
            "do not restart nginx on web-server",
            "restart nginx on web-server tomorrow",
            "restart nginx on web-server if it hangs",
            "can I restart nginx",
            "restart nginx on web-server twice",
        ] {
            assert_eq!(best(text), "none", "{text}");
        }
    }
}
