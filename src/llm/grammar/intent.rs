//! The third stage: which operation a clause asks for. A rule reads a clause only when its phrasing, its adjuncts and
//! fillers together account for every word, so nothing that was said is dropped.

use super::{
    lexicon::{Phrasing, Rule},
    noun::Hit,
    pattern::Node,
    sentence::Sentence,
    token::Kind,
    values::Value,
};
use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
};

/// How many partial readings of one clause are followed before the clause counts as unreadable.
const MOST_STEPS: u32 = 20_000;
/// How many partial readings of a whole sentence are followed.
const MOST_STEPS_IN_ALL: u32 = 150_000;
/// What a phrasing costs, in tenths, that says nothing of the order of its parts.
const UNORDERED: u32 = 4;
/// What a preposition or the like costs that such a phrasing does not explain.
const GLUE: u32 = 1;
/// What it costs to pass over a word that nobody knows, where nothing is changed.
const FOREIGN: u32 = 25;

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

/// The readings of one clause, the best first.
pub type Readings<'l> = Rc<Vec<Reading<'l>>>;

/// Matches the lexicon's phrasings against the clauses of one sentence.
pub struct Matcher<'s, 'l> {
    sentence: &'s Sentence<'l>,
    memo: RefCell<HashMap<(*const Node, usize), Found<'l>>>,
    slots: RefCell<Filled<'l>>,
    read: RefCell<HashMap<(usize, usize), Readings<'l>>>,
    steps: Cell<u32>,
    /// Whether the sentence is about something else altogether.
    elsewhere: bool,
}

/// How far a phrasing has got.
#[derive(Clone)]
struct State<'l> {
    at: usize,
    /// The parts that are matched: how many of an ordered phrasing, which (a bit each) of an unordered one.
    parts: u64,
    /// The adjuncts that are matched, a bit each.
    used: u64,
    slots: Slots<'l>,
    cost: u32,
}

/// One attempt to read some tokens with one phrasing.
struct Attempt<'l> {
    rule: &'l Rule,
    phrasing: &'l Phrasing,
    end: usize,
    limit: u32,
    /// Places, with what was matched before them, from which the end can't be reached.
    dead: HashSet<(usize, u64, u64)>,
    out: Vec<Reading<'l>>,
}

impl<'s, 'l> Matcher<'s, 'l> {
    /// For one sentence.
    pub fn new(sentence: &'s Sentence<'l>) -> Self {
        Self {
            sentence,
            memo: RefCell::default(),
            slots: RefCell::default(),
            read: RefCell::default(),
            steps: Cell::new(0),
            elsewhere: sentence.is_elsewhere(),
        }
    }

    /// All readings of the whole sentence as one clause.
    pub fn readings(&self) -> Readings<'l> {
        self.readings_of(0, self.sentence.tokens.len())
    }

    /// All readings of some tokens as one clause, the best first, rules in the lexicon's order where equal.
    pub fn readings_of(&self, from: usize, to: usize) -> Readings<'l> {
        if let Some(known) = self.read.borrow().get(&(from, to)) {
            return Rc::clone(known);
        }
        let found = Rc::new(self.read(from, to));
        self.read.borrow_mut().insert((from, to), Rc::clone(&found));
        found
    }

    fn read(&self, from: usize, to: usize) -> Vec<Reading<'l>> {
        let mut out = Vec::new();
        if self.only_fillers(from, to) {
            return out;
        }
        let mut present = vec![false; self.sentence.lexicon.size()];
        for phrase in (from..to).flat_map(|at| self.sentence.phrases(at)).filter(|phrase| phrase.end <= to) {
            present[phrase.concept] = true;
        }
        let possible = |phrasing: &Phrasing| phrasing.needs.iter().all(|group| group.iter().any(|id| present[*id]));
        let limit = (self.steps.get() + MOST_STEPS).min(MOST_STEPS_IN_ALL);
        for rule in &self.sentence.lexicon.rules {
            for phrasing in &rule.say {
                if possible(phrasing) {
                    let cost = rule.cost + if phrasing.any_order { UNORDERED } else { 0 };
                    let start = State { at: from, parts: 0, used: 0, slots: Vec::new(), cost };
                    let mut attempt = Attempt { rule, phrasing, end: to, limit, dead: HashSet::new(), out: Vec::new() };
                    self.walk(&mut attempt, start);
                    out.append(&mut attempt.out);
                }
            }
        }
        out.sort_by_key(|reading| reading.cost);
        let mut kept: Vec<Reading<'l>> = Vec::new();
        for reading in out {
            let same = |known: &Reading<'l>| {
                known.rule.op == reading.rule.op && known.rule.args == reading.rule.args && known.slots == reading.slots
            };
            if !kept.iter().any(same) {
                kept.push(reading);
            }
        }
        kept
    }

    fn only_fillers(&self, from: usize, to: usize) -> bool {
        let mut at = from;
        while at < to
            && let Some(end) = self.sentence.filler(at)
        {
            at = end;
        }
        at >= to
    }

    /// Follows every way to read on; tells whether any of them reached the end.
    fn walk(&self, attempt: &mut Attempt<'l>, state: State<'l>) -> bool {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > attempt.limit || attempt.dead.contains(&(state.at, state.parts, state.used)) {
            return false;
        }
        let phrasing = attempt.phrasing;
        if state.at == attempt.end && phrasing.is_complete(state.parts) {
            if !doubled(&state.slots) {
                attempt.out.push(Reading { rule: attempt.rule, slots: state.slots, cost: state.cost });
            }
            return true;
        }
        let key = (state.at, state.parts, state.used);
        let mut reached = false;
        for (end, cost) in self.passed_over(&state, attempt) {
            let next = State { at: end, cost: state.cost + cost, ..state.clone() };
            reached |= self.walk(attempt, next);
        }
        for (index, adjunct) in attempt.rule.with.iter().enumerate() {
            let bit = 1 << index.min(63);
            if state.used & bit == 0 && state.at < attempt.end {
                reached |= self.step(attempt, &state, adjunct, false, |next| next.used |= bit);
            }
        }
        if phrasing.any_order {
            for (index, element) in phrasing.elements.iter().enumerate() {
                if state.parts & (1 << index) == 0 && state.at < attempt.end {
                    reached |= self.step(attempt, &state, element, false, |next| next.parts |= 1 << index);
                }
            }
        } else if let Some(element) = usize::try_from(state.parts).ok().and_then(|part| phrasing.elements.get(part)) {
            reached |= self.step(attempt, &state, element, true, |next| next.parts += 1);
        }
        if !reached {
            attempt.dead.insert(key);
        }
        reached
    }

    /// Matches one piece at a place and goes on behind it.
    fn step(
        &self,
        attempt: &mut Attempt<'l>,
        state: &State<'l>,
        node: &'l Node,
        empty: bool,
        mark: impl Fn(&mut State<'l>),
    ) -> bool {
        let mut reached = false;
        for hit in self.node(node, state.at).iter() {
            if hit.end > attempt.end || hit.end == state.at && !empty {
                continue;
            }
            let mut next = state.clone();
            next.at = hit.end;
            next.cost += hit.cost;
            next.slots.extend(hit.value.iter().cloned());
            mark(&mut next);
            reached |= self.walk(attempt, next);
        }
        reached
    }

    /// Where words end that say nothing here: fillers, and in an unordered phrasing prepositions and the like.
    fn passed_over(&self, state: &State<'l>, attempt: &Attempt<'l>) -> Vec<(usize, u32)> {
        let mut out = Vec::new();
        if state.at >= attempt.end {
            return out;
        }
        if let Some(end) = self.sentence.filler(state.at).filter(|end| *end <= attempt.end) {
            out.push((end, u32::from(self.sentence.is_any(state.at, &["and", "so", "also"]))));
        }
        if attempt.phrasing.any_order {
            let concepts = self.sentence.lexicon.glue(attempt.rule.reads);
            // A preposition with nothing behind it leaves open what was meant: `reboot a and so on`.
            let glued = self.sentence.phrases(state.at).iter().filter(|phrase| {
                let ends = phrase.end < attempt.end || attempt.rule.reads && phrase.end == attempt.end;
                concepts.contains(&phrase.concept) && !phrase.corrected && ends
            });
            out.extend(glued.map(|phrase| (phrase.end, GLUE)));
            if self.sentence.token(state.at).is_some_and(|token| token.kind == Kind::Possessive) {
                out.push((state.at + 1, GLUE));
            }
            if attempt.rule.reads && !self.elsewhere && self.sentence.is_foreign(state.at) {
                out.push((state.at + 1, FOREIGN));
            }
            out.sort_unstable();
            out.dedup_by_key(|(end, _)| *end);
        }
        out
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
            Node::Possessive => {
                let there = self.sentence.token(at).is_some_and(|token| token.kind == Kind::Possessive);
                there.then(|| empty(at + 1, 0)).into_iter().collect()
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
            ("on web-server nginx needs a restart", "service.restart"),
            ("6 gigs of ram for blog", "guest.configure"),
            ("journal of blog, last hour", "logs.query"),
            ("blog up?", "guest.status"),
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
            "reboot blog and so on",
            "has blog been rebooted",
        ] {
            assert_eq!(best(text), "none", "{text}");
        }
    }
}
