//! The third stage: which operation a clause asks for. A rule reads a clause only when its phrasing, its adjuncts and
//! fillers together account for every word, so nothing that was said is dropped.

use super::{
    lexicon::{Phrasing, Rule},
    mention::{Mention, Mentions},
    noun::Hit,
    pattern::Node,
    sentence::Sentence,
    token::Kind,
    values::Value,
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::{
    cell::{Cell, RefCell},
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
/// What it costs to pass over an `only`, so that a phrasing that says it comes first.
const ONLY: u32 = 3;
/// What it costs to pass over a word that nobody knows, where nothing is changed.
pub(super) const FOREIGN: u32 = 25;
/// What it costs to pass over a word that names nothing, where nothing is changed: more than a comment and a request
/// (`nginx is stuck, restart it`).
const IDLE: u32 = 36;
/// How many such words are passed over: with more of them it is anybody's guess what is asked.
const MOST_FOREIGN: u32 = 2;

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
    /// What each run of words was taken for, where that was asked for.
    pub trace: Vec<Step<'l>>,
}

/// Some words of a reading, and what they were taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'l> {
    /// The first token.
    pub from: usize,
    /// The token after the last.
    pub to: usize,
    /// What they are.
    pub role: Role<'l>,
}

/// What words are in a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role<'l> {
    /// They say which operation is asked for.
    Says,
    /// They fill these arguments.
    Fills(Vec<&'l str>),
    /// They add nothing: politeness, prepositions, punctuation.
    Nothing,
    /// Nobody knows them, and the question can be answered without.
    Unknown,
}

/// Hits of a piece of a phrasing that begin at one token.
type Found<'l> = Rc<Vec<Hit<Slots<'l>>>>;

/// The readings of one clause, the best first.
pub type Readings<'l> = Rc<Vec<Reading<'l>>>;

/// Matches the lexicon's phrasings against the clauses of one sentence.
pub struct Matcher<'s, 'l> {
    sentence: &'s Sentence<'l>,
    memo: RefCell<FxHashMap<(*const Node, usize), Found<'l>>>,
    /// What is found where nothing is.
    nothing: Found<'l>,
    mentions: Mentions<'s, 'l>,
    read: RefCell<FxHashMap<(usize, usize), Readings<'l>>>,
    /// How many partial readings were followed, in the parts that were looked at by themselves too.
    steps: Rc<Cell<u32>>,
    /// Whether the sentence is about something else altogether.
    elsewhere: bool,
    /// Whether readings are to tell what each word was taken for.
    traces: bool,
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
    trace: Vec<Step<'l>>,
}

/// One attempt to read some tokens with one phrasing.
struct Attempt<'l> {
    rule: &'l Rule,
    phrasing: &'l Phrasing,
    /// Its first token that says something.
    start: usize,
    end: usize,
    limit: u32,
    /// Places, with what was matched before them, from which the end can't be reached.
    dead: FxHashSet<(usize, u64, u64)>,
    out: Vec<Reading<'l>>,
}

impl<'s, 'l> Matcher<'s, 'l> {
    /// For one sentence.
    pub fn new(sentence: &'s Sentence<'l>) -> Self {
        Self {
            sentence,
            memo: RefCell::default(),
            nothing: Rc::default(),
            mentions: Mentions::new(sentence),
            read: RefCell::default(),
            steps: Rc::default(),
            elsewhere: sentence.is_elsewhere(),
            traces: false,
        }
    }

    /// For one sentence whose readings are to tell what each word was taken for.
    pub fn tracing(sentence: &'s Sentence<'l>) -> Self {
        Self { traces: true, ..Self::new(sentence) }
    }

    /// For a part of the same sentence: together they follow no more readings than one.
    pub fn of_part<'p>(&self, part: &'p Sentence<'l>) -> Matcher<'p, 'l> {
        Matcher { steps: Rc::clone(&self.steps), ..Matcher::new(part) }
    }

    /// What the words of the sentence can be.
    pub fn mentions(&self) -> &Mentions<'s, 'l> {
        &self.mentions
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
        let present = self.sentence.concepts(from, to);
        let begin = self.begin(from, to);
        let limit = (self.steps.get() + MOST_STEPS).min(MOST_STEPS_IN_ALL);
        for (rule, phrasing) in self.sentence.lexicon.possible(&present) {
            let cost = rule.cost + if phrasing.any_order { UNORDERED } else { 0 };
            let start = State { at: from, parts: 0, used: 0, slots: Vec::new(), cost, trace: Vec::new() };
            let mut attempt =
                Attempt { rule, phrasing, start: begin, end: to, limit, dead: FxHashSet::default(), out: Vec::new() };
            self.walk(&mut attempt, start);
            out.append(&mut attempt.out);
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
        self.begin(from, to) >= to
    }

    /// The first token that is no filler.
    fn begin(&self, from: usize, to: usize) -> usize {
        let mut at = from;
        while at < to
            && let Some(end) = self.sentence.filler(at)
        {
            at = end;
        }
        at
    }

    fn is_question(&self, end: usize) -> bool {
        [end.saturating_sub(1), end]
            .iter()
            .any(|at| self.sentence.token(*at).is_some_and(|token| token.kind == Kind::Question))
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
                attempt.out.push(Reading {
                    rule: attempt.rule,
                    slots: state.slots,
                    cost: state.cost,
                    trace: state.trace,
                });
            }
            return true;
        }
        let key = (state.at, state.parts, state.used);
        let mut reached = false;
        for (end, cost) in self.passed_over(&state, attempt) {
            let mut next = State { at: end, cost: state.cost + cost, ..state.clone() };
            if self.traces {
                let role = if cost == FOREIGN || cost == IDLE { Role::Unknown } else { Role::Nothing };
                next.trace.push(Step { from: state.at, to: end, role });
            }
            reached |= self.walk(attempt, next);
        }
        for (index, number) in attempt.rule.with.iter().enumerate() {
            let adjunct = &self.sentence.lexicon.adjuncts[*number];
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
            if self.traces && hit.end > state.at {
                let names: Vec<&str> = hit.value.iter().map(|(name, _)| *name).collect();
                let role = if names.is_empty() { Role::Says } else { Role::Fills(names) };
                next.trace.push(Step { from: state.at, to: hit.end, role });
            }
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
        // `I` as well as `I need`, whose verb the phrasing may want.
        for end in self.sentence.fillers(state.at).filter(|end| *end <= attempt.end) {
            let joint = u32::from(self.sentence.is_any(state.at, &["and", "so", "also"]));
            out.push((end, if self.sentence.is(state.at, "only") { ONLY } else { joint }));
        }
        if attempt.phrasing.any_order {
            let concepts = self.sentence.lexicon.glue(attempt.rule.reads);
            // A preposition with nothing behind it leaves open what was meant: `reboot a and so on`.
            // BIND's unit is called `named`.
            let token = self.sentence.token(state.at);
            let service = token.is_some_and(|token| self.sentence.vocabulary.service(&token.lower).is_some());
            let glued = self.sentence.phrases(state.at).iter().filter(|phrase| {
                let ends = phrase.end < attempt.end || attempt.rule.reads && phrase.end == attempt.end;
                concepts.contains(&phrase.concept) && !phrase.corrected && ends && !service
            });
            out.extend(glued.map(|phrase| (phrase.end, GLUE)));
            // `web-1 has to start at boot`; at the beginning such a verb asks.
            if state.at > attempt.start && !self.is_question(attempt.end) {
                let modal = self.sentence.concept(state.at, self.sentence.lexicon.id("modal"));
                out.extend(modal.filter(|phrase| phrase.end < attempt.end).map(|phrase| (phrase.end, GLUE)));
            }
            if self.sentence.token(state.at).is_some_and(|token| token.kind == Kind::Possessive) {
                out.push((state.at + 1, GLUE));
            }
            let few = state.cost < MOST_FOREIGN * FOREIGN;
            if few && attempt.rule.reads && !self.elsewhere {
                if self.sentence.is_foreign(state.at) {
                    out.push((state.at + 1, FOREIGN));
                } else if self.sentence.is_idle(state.at) {
                    out.push((state.at + 1, IDLE));
                }
            }
            out.sort_unstable();
            out.dedup_by_key(|(end, _)| *end);
        }
        out
    }

    /// Where a piece of a phrasing that begins at a token can end.
    pub fn node(&self, node: &'l Node, at: usize) -> Found<'l> {
        if !node.may_begin(&|concept| self.sentence.concept(at, concept).next().is_some()) {
            return Rc::clone(&self.nothing);
        }
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
                let mentions = self.mentions.of_kind(slot.kind, at);
                let filled = |mention: &Mention| Hit {
                    end: mention.span.end,
                    value: vec![(slot.name, mention.value.clone())],
                    cost: mention.cost,
                };
                mentions.iter().map(filled).collect()
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
            readings.first().map_or_else(|| "none".to_owned(), |reading| reading.rule.op.to_owned())
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
