//! The second stage, for what is acted on: noun phrases such as `all running debian containers on pve2 except blog`
//! become expressions over the inventory. Several readings of the same words come out side by side, each with a cost.

use super::{sentence::Sentence, token::Kind, vocabulary::Named};
use crate::model::{Target, target::Vmid, values::GuestKind};

/// A reading of some words.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit<T> {
    /// The token after its last.
    pub end: usize,
    /// What they are read as.
    pub value: T,
    /// How far-fetched, in tenths.
    pub cost: u32,
}

/// Targets, and what is left out of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expr {
    /// What is taken.
    pub include: Vec<Noun>,
    /// What of it is not.
    pub exclude: Vec<Noun>,
}

/// One noun phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noun {
    /// A guest by number.
    Vmid {
        /// The number.
        vmid: Vmid,
        /// `container`, `vm`, where it was said.
        class: Option<Class>,
        /// Where it has to be, and the like.
        filters: Vec<Filter>,
    },
    /// Something by its whole name.
    Named {
        /// As it was written.
        text: String,
        /// What is called so.
        named: Vec<Named>,
        /// `container`, `node`, where it was said.
        class: Option<Class>,
        /// Where it has to be, and the like.
        filters: Vec<Filter>,
    },
    /// A guest by words of its name.
    Partial {
        /// The words.
        words: Vec<String>,
        /// Where it has to be, and the like.
        filters: Vec<Filter>,
    },
    /// Members of a class.
    Class {
        /// Of what kind.
        class: Class,
        /// The words before the noun, for a guest that is called so.
        words: Vec<String>,
        /// What they have to be.
        filters: Vec<Filter>,
        /// How many of those were said before the noun, by the words above.
        mods: usize,
        /// All of them; otherwise the one there is.
        many: bool,
        /// Whether `any` was said.
        any: bool,
    },
    /// What was spoken of before.
    Pronoun,
    /// A word that nothing is called.
    Unknown {
        /// As it was written.
        text: String,
    },
}

/// Kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Containers.
    Ct,
    /// Virtual machines.
    Vm,
    /// Both.
    Guest,
    /// Nodes.
    Node,
    /// Guests, where nothing was said of the kind.
    Any,
    /// Templates.
    Template,
}

/// A property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Which.
    pub what: Property,
    /// Whether it must not be had.
    pub not: bool,
}

/// What a member of a class can be asked to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    /// A state.
    State(String),
    /// An os-release ID, or `family:` and a family.
    System(String),
    /// The version of the system.
    SystemVersion(String),
    /// Any of these tags.
    Tag(Vec<String>),
    /// In this pool.
    Pool(String),
    /// On this node.
    Node(String),
    /// Has one of these services (globs).
    Units(Vec<String>),
    /// Has an agent.
    Agent,
    /// Has an agent of this version.
    AgentVersion(String),
    /// Has this word in its name.
    Part(String),
    /// Its vmid is one of these, both ends included.
    Vmids(Vmid, Vmid),
    /// One of them holds.
    AnyOf(Vec<Filter>),
    /// Nothing known is meant by this word.
    Strange(String),
}

impl Filter {
    fn is(what: Property) -> Self {
        Self { what, not: false }
    }
}

const QUANTIFIERS: &[&str] = &["all", "every", "each", "both"];
const ARTICLES: &[&str] = &[
    "the",
    "a",
    "an",
    "my",
    "our",
    "your",
    "these",
    "those",
    "this",
    "that",
    "of",
    "its",
    "some",
    "another",
    "remaining",
    "other",
    "us",
];
const PRONOUNS: &[&str] = &["it", "them", "they", "that", "this", "these", "those"];

/// What stands before a noun.
#[derive(Debug, Clone, Copy, Default)]
struct Determiner {
    all: bool,
    any: bool,
}

impl Sentence<'_> {
    /// Readings of a list of noun phrases, with what is excepted.
    pub fn targets(&self, at: usize) -> Vec<Hit<Expr>> {
        let lists = self.noun_list(at);
        let mut out = Vec::new();
        for list in lists {
            let include = distributed(list.value);
            for (end, exclude, cost) in self.exception(list.end) {
                let expr = Expr { include: include.clone(), exclude };
                out.push(Hit { end, value: expr, cost: list.cost + cost });
            }
            out.push(Hit { end: list.end, value: Expr { include, exclude: Vec::new() }, cost: list.cost });
        }
        out
    }

    fn exception(&self, at: usize) -> Vec<(usize, Vec<Noun>, u32)> {
        let at = if self.token(at).is_some_and(|token| token.kind == Kind::Comma) { at + 1 } else { at };
        let except = self.lexicon.id("except");
        let starts: Vec<_> = self.concept(at, except).map(|phrase| (phrase.end, phrase.corrected)).collect();
        let mut out = Vec::new();
        for (start, corrected) in starts {
            // The longest list that can be excepted; a shorter one would leave a name out of the exception.
            let lists = self.noun_list(start);
            let longest = lists.iter().map(|list| list.end).max();
            let best = lists.into_iter().filter(|list| Some(list.end) == longest).min_by_key(|list| list.cost);
            out.extend(best.map(|list| (list.end, list.value, list.cost + u32::from(corrected) * 10)));
        }
        out
    }

    /// Noun phrases joined by commas and `and`; every beginning of the list is a reading too.
    fn noun_list(&self, at: usize) -> Vec<Hit<Vec<Noun>>> {
        let mut out: Vec<Hit<Vec<Noun>>> = Vec::new();
        let first =
            self.noun(at, None).into_iter().map(|hit| Hit { end: hit.end, value: vec![hit.value], cost: hit.cost });
        let mut open: Vec<Hit<Vec<Noun>>> = first.collect();
        for _ in 0..40 {
            let mut next = Vec::new();
            for list in &open {
                let Some(after) = self.joint(list.end) else { continue };
                let class = match list.value.last() {
                    Some(Noun::Vmid { class, .. }) => *class,
                    _ => None,
                };
                for hit in self.noun(after, class) {
                    // A stranger after a joint is more likely a new clause than a target.
                    let mut value = list.value.clone();
                    value.push(hit.value);
                    next.push(Hit { end: hit.end, value, cost: list.cost + hit.cost });
                }
            }
            out.append(&mut open);
            if next.is_empty() {
                break;
            }
            next.sort_by_key(|hit| hit.cost);
            next.truncate(24);
            open = next;
        }
        out.append(&mut open);
        out
    }

    /// Where the next noun phrase of a list begins.
    fn joint(&self, at: usize) -> Option<usize> {
        let comma = self.token(at).is_some_and(|token| token.kind == Kind::Comma && token.text != ":");
        let mut next = at + usize::from(comma);
        let joined = self.is_any(next, &["and", "plus", "or", "then"]) && !self.is(next, "then");
        next += usize::from(joined);
        if self.is(next, "as") && self.is(next + 1, "well") && self.is(next + 2, "as") {
            next += 3;
        } else if !comma && !joined {
            return None;
        }
        if self.is_any(next, &["also", "both"]) {
            next += 1;
        }
        if self.is_any(next, &["on", "in", "of", "from", "for", "inside", "to", "onto", "into", "at"]) {
            next += 1;
        }
        Some(next)
    }

    /// Readings of one noun phrase. `class` is what a list of numbers began with.
    fn noun(&self, at: usize, class: Option<Class>) -> Vec<Hit<Noun>> {
        let mut out = Vec::new();
        if PRONOUNS.iter().any(|word| self.is(at, word)) {
            out.push(Hit { end: at + 1, value: Noun::Pronoun, cost: 1 });
        }
        if self.is(at, "the") && self.is(at + 1, "same") {
            out.push(Hit { end: at + 2, value: Noun::Pronoun, cost: 1 });
        }
        let (start, determiner) = self.determiner(at);
        if !determiner.all && !determiner.any {
            self.numbered(start, class, &mut out);
            self.exact(start, &mut out);
            self.partial(start, &mut out);
        }
        self.class(start, determiner, &mut out);
        if determiner.all && out.is_empty() {
            let noun = Noun::Class {
                class: Class::Any,
                words: Vec::new(),
                filters: Vec::new(),
                mods: 0,
                many: true,
                any: false,
            };
            out.push(Hit { end: start, value: noun, cost: 6 });
        }
        if out.is_empty() {
            self.unknown(start, &mut out);
        }
        let mut placed = Vec::new();
        for hit in out {
            self.with_properties(hit, &mut placed);
        }
        placed
    }

    fn determiner(&self, at: usize) -> (usize, Determiner) {
        let mut determiner = Determiner::default();
        let mut end = at;
        while let Some(token) = self.token(end).filter(|token| token.kind == Kind::Word) {
            let word = token.lower.as_str();
            // A guest may be called `all` or `some`; then the name wins only with its class.
            determiner.all |= QUANTIFIERS.contains(&word);
            determiner.any |= word == "any";
            if !QUANTIFIERS.contains(&word) && !ARTICLES.contains(&word) && word != "any" {
                break;
            }
            end += 1;
        }
        (end, determiner)
    }

    /// The class noun at a token: its end, class, and whether it is in the plural.
    fn class_noun(&self, at: usize) -> Vec<(usize, Class, bool)> {
        let phrases = self.phrases(at).iter().filter_map(|phrase| {
            let class = match self.lexicon.classes.get(&phrase.concept)?.as_str() {
                "ct" => Class::Ct,
                "vm" => Class::Vm,
                "guest" => Class::Guest,
                "node" => Class::Node,
                "template" => Class::Template,
                _ => Class::Any,
            };
            let last = &self.tokens[phrase.end - 1];
            let word = if phrase.corrected { last.meant.first().unwrap_or(&last.lower) } else { &last.lower };
            let many = word.ends_with('s') || class == Class::Any && word != "one";
            Some((phrase.end, class, many))
        });
        phrases.collect()
    }

    fn numbered(&self, at: usize, inherited: Option<Class>, out: &mut Vec<Hit<Noun>>) {
        let mut starts = vec![(at, inherited, if inherited.is_some() { 0 } else { 2 })];
        starts.extend(self.class_noun(at).into_iter().map(|(end, class, _)| (end, Some(class), 0)));
        for (start, class, cost) in starts {
            let mut number_at = start;
            while self.is_any(number_at, &["with", "id", "vmid", "number", "no", "ids", "vmids", "#", "guest"]) {
                number_at += 1;
            }
            let cost = if number_at > start { 0 } else { cost };
            let Some(token) = self.token(number_at).filter(|token| token.is_wordlike()) else { continue };
            let class = class.filter(|class| *class != Class::Any);
            if let Some((vmid, written)) = vmid_of(&token.lower) {
                let class = written.or(class);
                let cost = if written.is_some() || token.lower.starts_with('#') { 0 } else { cost };
                out.push(Hit { end: number_at + 1, value: Noun::Vmid { vmid, class, filters: Vec::new() }, cost });
            } else if let Some((first, last)) = vmid_range(&token.lower).filter(|_| class.is_some()) {
                let filters = vec![Filter::is(Property::Vmids(first, last))];
                let class = class.unwrap_or(Class::Any);
                out.push(Hit {
                    end: number_at + 1,
                    value: Noun::Class { class, words: Vec::new(), filters, mods: 0, many: true, any: false },
                    cost,
                });
            } else if token.kind == Kind::Number && class.is_some() {
                out.push(Hit { end: number_at + 1, value: Noun::Unknown { text: token.text.clone() }, cost: 20 });
            } else if let Ok(target) = token.lower.parse::<Target>() {
                self.written(&target, number_at + 1, out);
            }
        }
    }

    /// A target as plans write it: `ct/118`, `node/pve1`.
    fn written(&self, target: &Target, end: usize, out: &mut Vec<Hit<Noun>>) {
        let text = target.to_string();
        let noun = match target.node_name() {
            Some(name) => self.vocabulary.node(name).map(|_| Noun::Named {
                text: text.clone(),
                named: self
                    .vocabulary
                    .named(name)
                    .iter()
                    .copied()
                    .filter(|named| matches!(named, Named::Node(_)))
                    .collect(),
                class: Some(Class::Node),
                filters: Vec::new(),
            }),
            None => None,
        };
        if target.to_string() != "cluster" {
            out.push(Hit { end, value: noun.unwrap_or(Noun::Unknown { text }), cost: 0 });
        }
    }

    fn exact(&self, at: usize, out: &mut Vec<Hit<Noun>>) {
        let mut starts: Vec<(usize, Option<Class>)> = vec![(at, None)];
        starts.extend(
            self.class_noun(at)
                .into_iter()
                .filter(|(_, class, _)| *class != Class::Any)
                .map(|(end, class, _)| (end, Some(class))),
        );
        for (start, before) in starts {
            let start = if before.is_some() && self.is_any(start, &["called", "named"]) { start + 1 } else { start };
            for (end, text, named, cost) in self.names(start) {
                let noun = |class| Noun::Named { text: text.clone(), named: named.clone(), class, filters: Vec::new() };
                out.push(Hit { end, value: noun(before), cost });
                for (after, class, many) in self.class_noun(end) {
                    if !many && class != Class::Any && before.is_none() {
                        out.push(Hit { end: after, value: noun(Some(class)), cost });
                    }
                }
            }
        }
    }

    /// Whole names that begin at a token, of one word or of several.
    fn names(&self, at: usize) -> Vec<(usize, String, Vec<Named>, u32)> {
        let mut out = Vec::new();
        let mut joined = String::new();
        for end in at + 1..=(at + 5).min(self.tokens.len()) {
            let token = &self.tokens[end - 1];
            if !token.is_wordlike() || token.text.len() > 80 {
                break;
            }
            joined.push_str(&token.lower);
            let named = self.vocabulary.named(&joined);
            if named.is_empty() {
                if end == at + 1 {
                    for meant in &token.meant {
                        let named = self.vocabulary.named(meant);
                        if !named.is_empty() {
                            out.push((end, meant.clone(), named.to_vec(), 10));
                        }
                    }
                }
                continue;
            }
            let text = self.text(at, end);
            let spelled = named.iter().any(|named| self.name(*named).eq_ignore_ascii_case(&text));
            // Words of the language that are a name only when written together are rather those words.
            out.push((end, text, named.to_vec(), if spelled { 0 } else { 3 }));
        }
        out
    }

    fn name(&self, named: Named) -> &str {
        match named {
            Named::Guest(index) => &self.vocabulary.inventory.guests[index].name,
            Named::Node(index) => &self.vocabulary.inventory.nodes[index].name,
        }
    }

    fn partial(&self, at: usize, out: &mut Vec<Hit<Noun>>) {
        let mut words = Vec::new();
        for end in at + 1..=(at + 3).min(self.tokens.len()) {
            let token = &self.tokens[end - 1];
            if !matches!(token.kind, Kind::Word | Kind::Number) || !self.vocabulary.is_part(&token.lower) {
                break;
            }
            words.push(token.lower.clone());
            if !self.vocabulary.with_parts(&words).is_empty() {
                let noun = Noun::Partial { words: words.clone(), filters: Vec::new() };
                out.push(Hit { end, value: noun, cost: 6 });
            }
        }
    }

    fn class(&self, at: usize, determiner: Determiner, out: &mut Vec<Hit<Noun>>) {
        let mut open = vec![(at, Vec::<Filter>::new(), Vec::<String>::new(), 0)];
        for _ in 0..5 {
            let mut next = Vec::new();
            for (end, filters, words, cost) in open {
                for (after, class, plural) in self.class_noun(end) {
                    let many = determiner.all || determiner.any || plural;
                    let noun = Noun::Class {
                        class,
                        words: words.clone(),
                        mods: filters.len(),
                        filters: filters.clone(),
                        many,
                        any: determiner.any,
                    };
                    out.push(Hit { end: after, value: noun, cost });
                }
                if let Some((after, pool)) = self.pool(end) {
                    let mut filters = filters.clone();
                    filters.push(Filter::is(Property::Pool(pool)));
                    let noun =
                        Noun::Class { class: Class::Any, words: Vec::new(), filters, mods: 0, many: true, any: false };
                    out.push(Hit { end: after, value: noun, cost });
                }
                for (after, filter, mut said, more) in self.modifier(end) {
                    let (mut filters, mut words) = (filters.clone(), words.clone());
                    filters.push(filter);
                    words.append(&mut said);
                    next.push((after, filters, words, cost + more));
                }
            }
            if next.is_empty() {
                break;
            }
            open = next;
            open.truncate(12);
        }
    }

    /// `k3s pool`, `pool k3s`.
    fn pool(&self, at: usize) -> Option<(usize, String)> {
        let at = if self.is(at, "the") { at + 1 } else { at };
        let word = |at: usize| {
            self.token(at).filter(|token| token.is_wordlike()).and_then(|token| self.pool_named(at, &token.lower))
        };
        if self.is(at, "pool") || self.is(at, "resource") && self.is(at + 1, "pool") {
            let at = at + if self.is(at, "pool") { 1 } else { 2 };
            return word(at).map(|pool| (at + 1, pool));
        }
        let end = if self.is(at + 1, "resource") { at + 2 } else { at + 1 };
        word(at).filter(|_| self.is(end, "pool")).map(|pool| (end + 1, pool))
    }

    fn pool_named(&self, at: usize, word: &str) -> Option<String> {
        let meant = || self.tokens[at].meant.iter().find_map(|meant| self.vocabulary.pool(meant));
        self.vocabulary.pool(word).or_else(meant).map(str::to_owned)
    }

    /// A word before a class noun: where it ends, what it asks, as which words of a name it counts, its cost.
    fn modifier(&self, at: usize) -> Vec<(usize, Filter, Vec<String>, u32)> {
        let mut out = Vec::new();
        let negated = self.is_any(at, &["non", "not"]);
        let start = at + usize::from(negated);
        for (end, what, cost) in self.property(start) {
            let words = self.tokens[start..end].iter().map(|token| token.lower.clone()).collect();
            let mut filter = Filter { what, not: negated };
            let mut end = end;
            while self.is_any(end, &["and", "or"]) {
                let Some((after, other, _)) = self.property(end + 1).into_iter().next() else { break };
                if self.class_noun(after).is_empty() {
                    break;
                }
                filter = Filter::is(Property::AnyOf(vec![filter, Filter::is(other)]));
                end = after;
            }
            out.push((end, filter, words, cost));
        }
        out
    }

    /// What a word can ask of a member of a class, the likeliest meaning first; at most one meaning for each end.
    fn property(&self, at: usize) -> Vec<(usize, Property, u32)> {
        let Some(token) = self.token(at).filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted)) else {
            return Vec::new();
        };
        let mut out: Vec<(usize, Property, u32)> = Vec::new();
        for phrase in self.phrases(at) {
            let cost = u32::from(phrase.corrected) * 10;
            if let Some(state) = self.lexicon.states.get(&phrase.concept) {
                out.push((phrase.end, Property::State(state.clone()), cost));
            } else if let Some(system) = self.lexicon.systems.get(&phrase.concept) {
                out.push((phrase.end, Property::System(system.clone()), cost));
            } else if let Some(tag) = self.lexicon.roles.get(&phrase.concept) {
                let tags = self.vocabulary.tags_for(tag, self.lexicon);
                if !tags.is_empty() {
                    out.push((phrase.end, Property::Tag(tags), cost));
                }
            }
        }
        if let Some(version) = self.version(at) {
            out.push((at + 1, Property::SystemVersion(version), 0));
        }
        if let Some(rest) = token.lower.strip_prefix("non-") {
            let tags = self.vocabulary.tags_for(rest, self.lexicon);
            if !tags.is_empty() {
                out.push((at + 1, Property::AnyOf(vec![Filter { what: Property::Tag(tags), not: true }]), 0));
            }
        }
        let single = !out.iter().any(|(end, ..)| *end == at + 1);
        let readings =
            std::iter::once((token.lower.as_str(), 0)).chain(token.meant.iter().map(|meant| (meant.as_str(), 10)));
        for (word, cost) in readings.filter(|_| single) {
            if let Some(property) = self.word_property(word) {
                out.push((at + 1, property, cost));
                break;
            }
        }
        if out.is_empty() {
            let units = self
                .phrases(at)
                .iter()
                .find_map(|phrase| Some((phrase.end, self.lexicon.services.get(&phrase.concept)?)));
            out.extend(units.map(|(end, units)| (end, Property::Units(units.clone()), 1)));
        }
        out
    }

    fn word_property(&self, word: &str) -> Option<Property> {
        let vocabulary = self.vocabulary;
        let tags = vocabulary.tags_for(word, self.lexicon);
        if !tags.is_empty() {
            return Some(Property::Tag(tags));
        }
        if let Some(pool) = vocabulary.pool(word) {
            return Some(Property::Pool(pool.to_owned()));
        }
        if let Some(node) = vocabulary.node(word) {
            return Some(Property::Node(node.to_owned()));
        }
        if let Some(service) = vocabulary.service(word) {
            return Some(Property::Units(vec![service.to_owned()]));
        }
        vocabulary.is_part(word).then(|| Property::Part(word.to_owned()))
    }

    /// A version after the name of a system.
    fn version(&self, at: usize) -> Option<String> {
        let token = self.token(at)?;
        let numeric = token.lower.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let after_system = at > 0
            && self
                .phrases(at - 1)
                .iter()
                .any(|phrase| phrase.end == at && self.lexicon.systems.contains_key(&phrase.concept));
        (numeric && after_system).then(|| token.lower.clone())
    }

    fn unknown(&self, at: usize, out: &mut Vec<Hit<Noun>>) {
        let classed = self.class_noun(at).into_iter().map(|(end, ..)| end).next();
        let start = classed.unwrap_or(at);
        let Some(token) = self.token(start).filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted)) else {
            return;
        };
        let strange = token.kind == Kind::Quoted || !self.lexicon.knows(&token.lower);
        if strange && token.lower.starts_with(char::is_alphanumeric) {
            let mut end = start + 1;
            end = self.class_noun(end).into_iter().map(|(end, ..)| end).next().unwrap_or(end);
            out.push(Hit { end, value: Noun::Unknown { text: token.text.clone() }, cost: 100 });
        }
    }

    /// The reading itself, and with each run of what stands after a noun: `on pve2`, `tagged web`, `that are stopped`.
    fn with_properties(&self, hit: Hit<Noun>, out: &mut Vec<Hit<Noun>>) {
        let mut current = hit;
        loop {
            out.push(current.clone());
            let full = matches!(current.value, Noun::Class { .. });
            let Some((end, filters)) = self.properties_after(current.end, full) else { return };
            let value = match current.value {
                Noun::Class { class, words, filters: mut had, mods, many, any } => {
                    had.extend(filters);
                    Noun::Class { class, words, filters: had, mods, many, any }
                }
                Noun::Vmid { vmid, class, filters: mut had } => {
                    had.extend(filters);
                    Noun::Vmid { vmid, class, filters: had }
                }
                Noun::Named { text, named, class, filters: mut had } => {
                    had.extend(filters);
                    Noun::Named { text, named, class, filters: had }
                }
                Noun::Partial { words, filters: mut had } => {
                    had.extend(filters);
                    Noun::Partial { words, filters: had }
                }
                Noun::Pronoun | Noun::Unknown { .. } => return,
            };
            current = Hit { end, value, cost: current.cost };
        }
    }

    /// One property after a noun. A named thing takes a place alone.
    fn properties_after(&self, at: usize, full: bool) -> Option<(usize, Vec<Filter>)> {
        let mut at = at;
        let relative = self.is_any(at, &["that", "which", "who"]);
        at += usize::from(relative);
        let be = self.is_any(at, &["is", "are"]) && relative;
        at += usize::from(be);
        while relative && self.is_any(at, &["currently", "still", "now", "already"]) {
            at += 1;
        }
        let not = relative && (self.is(at, "not") || self.is_any(at, &["do", "does"]) && self.is(at + 1, "not"));
        if not {
            at += if self.is(at, "not") { 1 } else { 2 };
        }
        let (end, mut filters) = self.place(at).or_else(|| self.property_after(at, full, relative))?;
        if not {
            filters = vec![negation(filters)];
        }
        Some((end, filters))
    }

    /// `on pve2`, `on node pve2`.
    fn place(&self, at: usize) -> Option<(usize, Vec<Filter>)> {
        if !self.is_any(at, &["on", "at", "living", "running", "located", "hosted"]) {
            return None;
        }
        let mut next = at + 1;
        if !self.is_any(at, &["on", "at"]) {
            if !self.is(next, "on") {
                return None;
            }
            next += 1;
        }
        if self.is(next, "the") {
            next += 1;
        }
        next =
            self.class_noun(next).into_iter().find(|(_, class, _)| *class == Class::Node).map_or(next, |(end, ..)| end);
        let mut nodes = Vec::new();
        let mut end = next;
        while let Some(node) = self.node_at(end) {
            nodes.push(Filter::is(Property::Node(node)));
            end += 1;
            if !(self.is_any(end, &["and", "or"]) && self.node_at(end + 1).is_some()) {
                break;
            }
            end += 1;
        }
        match nodes.len() {
            0 => None,
            1 => Some((end, nodes)),
            _ => Some((end, vec![Filter::is(Property::AnyOf(nodes))])),
        }
    }

    fn node_at(&self, at: usize) -> Option<String> {
        let token = self.token(at).filter(|token| token.is_wordlike())?;
        let found = self
            .vocabulary
            .node(&token.lower)
            .or_else(|| token.meant.iter().find_map(|meant| self.vocabulary.node(meant)));
        found.map(str::to_owned)
    }

    fn property_after(&self, at: usize, full: bool, relative: bool) -> Option<(usize, Vec<Filter>)> {
        if !full {
            return None;
        }
        if self.is(at, "tagged")
            || self.is_any(at, &["with", "having", "carrying"]) && self.tag_word(at + 1).is_some()
            || self.is_any(at, &["has", "have", "carry", "carries"]) && relative && self.tag_word(at + 1).is_some()
        {
            let start = if self.is(at, "tagged") { at + 1 } else { self.tag_word(at + 1).unwrap_or(at + 1) };
            return self.tag_list(if self.is_any(start, &["as", "with"]) { start + 1 } else { start });
        }
        if self.is(at, "without") && self.tag_word(at + 1).is_some() {
            let (end, filters) = self.tag_list(self.tag_word(at + 1).unwrap_or(at + 1))?;
            return Some((end, vec![negation(filters)]));
        }
        if self.is_any(at, &["in", "of", "from"]) {
            if let Some((end, pool)) = self.pool(at + 1) {
                return Some((end, vec![Filter::is(Property::Pool(pool))]));
            }
            let token = self.token(at + 1)?;
            let tags = self.vocabulary.tags_for(&token.lower, self.lexicon);
            let environment = self.lexicon.tags.iter().any(|group| group.iter().any(|tag| *tag == token.lower));
            return (self.is(at, "in") && environment && !tags.is_empty())
                .then(|| (at + 2, vec![Filter::is(Property::Tag(tags))]));
        }
        self.agent_after(at, relative)
            .or_else(|| self.running_after(at, relative))
            .or_else(|| self.state_after(at, relative))
    }

    /// Past `the tag`, `tags`.
    fn tag_word(&self, at: usize) -> Option<usize> {
        let at = if self.is_any(at, &["the", "a"]) { at + 1 } else { at };
        self.is_any(at, &["tag", "tags"]).then_some(at + 1)
    }

    fn tag_list(&self, at: usize) -> Option<(usize, Vec<Filter>)> {
        let negated = self.is(at, "not");
        let mut end = at + usize::from(negated);
        let mut tags = Vec::new();
        let mut any = false;
        loop {
            let token = self.token(end).filter(|token| token.is_wordlike())?;
            let reading = std::iter::once(&token.lower)
                .chain(&token.meant)
                .map(|word| self.vocabulary.tags_for(word, self.lexicon))
                .find(|tags| !tags.is_empty());
            let what = reading.map_or_else(|| Property::Strange(token.text.clone()), Property::Tag);
            tags.push(Filter { what, not: negated });
            end += 1;
            let next_is_tag = self.token(end + 1).is_some_and(|token| {
                self.vocabulary.has_tag(&token.lower) && self.vocabulary.named(&token.lower).is_empty()
            });
            if !(self.is_any(end, &["and", "or"]) && next_is_tag) {
                break;
            }
            any |= self.is(end, "or");
            end += 1;
        }
        if any { Some((end, vec![Filter::is(Property::AnyOf(tags))])) } else { Some((end, tags)) }
    }

    /// `without an agent`, `still on 0.9.4`.
    fn agent_after(&self, at: usize, relative: bool) -> Option<(usize, Vec<Filter>)> {
        let agent = self.lexicon.id("agent");
        let noun = |at: usize| {
            let at = if self.is_any(at, &["the", "an", "a", "any", "no"]) { at + 1 } else { at };
            self.concept(at, agent).map(|phrase| phrase.end).max()
        };
        let have = self.is_any(at, &["has", "have"]) && relative;
        if self.is(at, "without")
            || self.is_any(at, &["lack", "lacks", "miss"]) && relative
            || have && self.is(at + 1, "no")
        {
            return noun(at + 1).map(|end| (end, vec![Filter { what: Property::Agent, not: true }]));
        }
        if self.is(at, "with") || have {
            return noun(at + 1).map(|end| (end, vec![Filter::is(Property::Agent)]));
        }
        self.agent_version(at)
    }

    /// `still on 0.9.4`: a version after `on`, `at` or `running`.
    pub fn agent_version(&self, at: usize) -> Option<(usize, Vec<Filter>)> {
        let mut at = at;
        while self.is_any(
            at,
            &[
                "still", "that", "which", "is", "are", "stuck", "at", "on", "running", "version", "of", "with", "runs",
                "run",
            ],
        ) {
            at += 1;
        }
        let token = self.token(at).filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted))?;
        let version = token.lower.trim_start_matches('v');
        let dotted = version.contains('.') && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        dotted.then(|| (at + 1, vec![Filter::is(Property::AgentVersion(version.to_owned()))]))
    }

    /// `running nginx`, `that run Ubuntu`, `with nginx installed`.
    fn running_after(&self, at: usize, relative: bool) -> Option<(usize, Vec<Filter>)> {
        let verb = self.is_any(at, &["running", "with", "having"])
            || relative && self.is_any(at, &["run", "runs", "have", "has", "use", "uses", "host", "hosts"]);
        if !verb {
            return None;
        }
        let token = self.token(at + 1).filter(|token| token.is_wordlike())?;
        let end = |end: usize| if self.is_any(end, &["installed", "running"]) { end + 1 } else { end };
        for phrase in self.phrases(at + 1) {
            if let Some(system) = self.lexicon.systems.get(&phrase.concept) {
                return Some((phrase.end, vec![Filter::is(Property::System(system.clone()))]));
            }
        }
        if let Some(service) = self.vocabulary.service(&token.lower) {
            return Some((end(at + 2), vec![Filter::is(Property::Units(vec![service.to_owned()]))]));
        }
        let alias = self
            .phrases(at + 1)
            .iter()
            .filter_map(|phrase| Some((phrase.end, self.lexicon.services.get(&phrase.concept)?)))
            .max_by_key(|(end, _)| *end);
        alias.map(|(after, units)| (end(after), vec![Filter::is(Property::Units(units.clone()))]))
    }

    /// `that are stopped`.
    fn state_after(&self, at: usize, relative: bool) -> Option<(usize, Vec<Filter>)> {
        let phrase = self
            .phrases(at)
            .iter()
            .find(|phrase| self.lexicon.states.contains_key(&phrase.concept))
            .filter(|_| relative)?;
        Some((phrase.end, vec![Filter::is(Property::State(self.lexicon.states[&phrase.concept].clone()))]))
    }
}

fn negation(filters: Vec<Filter>) -> Filter {
    if let [filter] = &filters[..] {
        return Filter { what: filter.what.clone(), not: !filter.not };
    }
    // Not (a and b) is not-a or not-b.
    let each = filters.into_iter().map(|filter| Filter { what: filter.what, not: !filter.not });
    Filter::is(Property::AnyOf(each.collect()))
}

/// `stopped containers and VMs`, `containers and VMs on pve1`: what is said of one member of a list of bare classes is
/// meant of the others too, since leaving it off would widen what the sentence reaches.
fn distributed(mut nouns: Vec<Noun>) -> Vec<Noun> {
    let classes = nouns.iter().all(|noun| matches!(noun, Noun::Class { many: true, .. }));
    if nouns.len() < 2 || !classes {
        return nouns;
    }
    let filters_of = |noun: &Noun| match noun {
        Noun::Class { filters, .. } => filters.clone(),
        _ => Vec::new(),
    };
    let (first, last) = (filters_of(&nouns[0]), filters_of(&nouns[nouns.len() - 1]));
    let shared = if last.is_empty() { first } else { last };
    for noun in &mut nouns {
        if let Noun::Class { filters, .. } = noun
            && filters.is_empty()
        {
            filters.clone_from(&shared);
        }
    }
    nouns
}

/// `118`, `#118`, `ct118`, `ct/118`, `vm-201`.
fn vmid_of(word: &str) -> Option<(Vmid, Option<Class>)> {
    let (rest, class) = ["lxc", "ct", "vm", "qemu"]
        .iter()
        .find_map(|prefix| {
            Some((
                word.strip_prefix(prefix)?,
                Some(if matches!(*prefix, "vm" | "qemu") { Class::Vm } else { Class::Ct }),
            ))
        })
        .unwrap_or((word, None));
    let digits = rest.trim_start_matches(if class.is_some() { ['/', '-', '#', ':'] } else { ['#'; 4] });
    let plain = (3..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let vmid = plain.then(|| digits.parse::<Vmid>().ok())??;
    (vmid >= 100).then_some((vmid, class))
}

fn vmid_range(word: &str) -> Option<(Vmid, Vmid)> {
    let (first, last) = word.split_once('-')?;
    let (first, last) = (vmid_of(first)?.0, vmid_of(last)?.0);
    (first <= last).then_some((first, last))
}

impl Class {
    /// Whether a guest of that kind belongs to it.
    pub fn takes(self, kind: GuestKind) -> bool {
        match self {
            Self::Ct => kind == GuestKind::Ct,
            Self::Vm => kind == GuestKind::Vm,
            Self::Guest | Self::Any | Self::Template => true,
            Self::Node => false,
        }
    }
}
