//! The second stage, for what is acted on: noun phrases such as `all running debian containers on pve2 except blog`
//! become expressions over the inventory. Several readings of the same words come out side by side, each with a cost.

use super::{sentence::Sentence, token::Kind, vocabulary::Named};
use crate::model::{target::Vmid, values::GuestKind};

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
    /// Whether one or another of those taken was said to be meant: enough to look at all of them, not to change any.
    pub either: bool,
    /// The same once more in parentheses: `the web servers (web-1, web-2)`.
    pub gloss: Vec<Noun>,
}

/// Noun phrases joined by commas, `and` and the like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct List {
    nouns: Vec<Noun>,
    /// Whether one joint was an `or`.
    either: bool,
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
        /// Whether `all`, `every` or the like was said.
        all: bool,
        /// How many there have to be, where that was said.
        count: Option<usize>,
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
    /// Guests, where nothing was said of the kind: `the stopped ones`.
    Any,
    /// Every guest: `everything`, which takes no word before it.
    All,
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

impl Noun {
    /// Every member of a class that has these properties.
    pub(super) fn of_class(class: Class, filters: Vec<Filter>) -> Self {
        Self::Class { class, words: Vec::new(), filters, mods: 0, many: true, any: false, all: true, count: None }
    }
}

impl Noun {
    /// Asks for a property more.
    pub(super) fn narrow(&mut self, filter: &Filter) {
        match self {
            Self::Vmid { filters, .. }
            | Self::Named { filters, .. }
            | Self::Partial { filters, .. }
            | Self::Class { filters, .. } => {
                filters.push(filter.clone());
            }
            Self::Pronoun | Self::Unknown { .. } => {}
        }
    }
}

impl Filter {
    pub(super) fn is(what: Property) -> Self {
        Self { what, not: false }
    }
}

/// From this cost on nothing is called by a word.
const STRANGER: u32 = 80;
const QUANTIFIERS: &[&str] = &["all", "every", "each", "both"];
const ARTICLES: &[&str] = &["the", "a", "an", "my", "our", "your", "these", "those", "this", "that", "of", "us"];
const COUNTS: &[&str] = &["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
const PRONOUNS: &[&str] = &["it", "them", "they", "that", "this", "these", "those", "its", "their"];

/// What stands before a noun.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Determiner {
    pub(super) all: bool,
    pub(super) any: bool,
    /// How many there have to be: `the two`, `all three`.
    pub(super) count: Option<usize>,
}

impl Sentence<'_> {
    /// Readings of a list of noun phrases, with what is excepted.
    pub fn targets(&self, at: usize) -> Vec<Hit<Expr>> {
        let lists = self.noun_list(at);
        let mut out = Vec::new();
        for list in lists {
            let List { nouns, either } = list.value;
            let plain = Expr { include: distributed(nouns), either, ..Expr::default() };
            let gloss = self.gloss(list.end);
            let glossed =
                gloss.map(|(end, gloss)| Hit { end, value: Expr { gloss, ..plain.clone() }, cost: list.cost });
            for said in glossed.into_iter().chain([Hit { end: list.end, value: plain, cost: list.cost }]) {
                for (end, exclude, cost) in self.exception(said.end) {
                    out.push(Hit { end, value: Expr { exclude, ..said.value.clone() }, cost: said.cost + cost });
                }
                out.push(said);
            }
        }
        out
    }

    /// `(web-1, web-2)` behind what they are: noun phrases that fill a pair of parentheses.
    fn gloss(&self, at: usize) -> Option<(usize, Vec<Noun>)> {
        let mark =
            |at: usize, mark: &str| self.token(at).is_some_and(|token| token.kind == Kind::Comma && token.text == mark);
        if !mark(at, "(") {
            return None;
        }
        let lists = self.noun_list(at + 1).into_iter().filter(|list| mark(list.end, ")") && list.cost < STRANGER);
        let named = |noun: &Noun| matches!(noun, Noun::Named { .. } | Noun::Vmid { .. });
        let list = lists.filter(|list| list.value.nouns.iter().all(named)).min_by_key(|list| list.cost)?;
        Some((list.end + 1, list.value.nouns))
    }

    fn exception(&self, at: usize) -> Vec<(usize, Vec<Noun>, u32)> {
        let comma = self.token(at).is_some_and(|token| token.kind == Kind::Comma);
        let at = at + usize::from(comma);
        let except = self.lexicon.id("except");
        let mut starts: Vec<_> = self.concept(at, except).map(|phrase| (phrase.end, phrase.corrected)).collect();
        if comma && self.is(at, "not") {
            starts.push((at + 1, false));
        }
        let mut out = Vec::new();
        if comma {
            // `every VM on pve2, web-1 and web-2 excepted`
            let behind = |list: &Hit<List>| self.is_any(list.end, &["excepted", "excluded", "aside", "exempt"]);
            let lists = self.noun_list(at).into_iter().filter(behind);
            out.extend(lists.min_by_key(|list| list.cost).map(|list| (list.end + 1, list.value.nouns, list.cost)));
        }
        for (start, corrected) in starts {
            let start = start + usize::from(self.is_any(start, &["on", "in", "for", "from"]));
            // The longest list that can be excepted; a shorter one would leave a name out of the exception.
            let lists = self.noun_list(start);
            let longest = lists.iter().map(|list| list.end).max();
            let best = lists.into_iter().filter(|list| Some(list.end) == longest).min_by_key(|list| list.cost);
            // `but leave wiki alone`
            let past = |end: usize| end + usize::from(self.is_any(end, &["alone", "untouched", "be", "out", "aside"]));
            out.extend(best.map(|list| (past(list.end), list.value.nouns, list.cost + u32::from(corrected) * 10)));
        }
        out
    }

    /// Noun phrases joined by commas and `and`; every beginning of the list is a reading too.
    fn noun_list(&self, at: usize) -> Vec<Hit<List>> {
        let mut out: Vec<Hit<List>> = Vec::new();
        let of_one = |hit: Hit<Noun>| {
            let value = List { nouns: vec![hit.value], either: false };
            Hit { end: hit.end, value, cost: hit.cost }
        };
        let mut open: Vec<Hit<List>> = self.noun(at, None).into_iter().map(of_one).collect();
        for _ in 0..40 {
            let mut next = Vec::new();
            for list in &open {
                if let Some(hit) = self.names_up_to(list) {
                    next.push(hit);
                }
                let Some((after, or)) = self.joint(list.end) else { continue };
                let class = match list.value.nouns.last() {
                    Some(Noun::Vmid { class, .. }) => *class,
                    _ => None,
                };
                let shared = list.value.nouns.last().and_then(|noun| self.same_name(after, noun));
                for hit in shared.into_iter().chain(self.noun(after, class)) {
                    // A stranger after a joint is more likely a new clause than a target.
                    let mut value = list.value.clone();
                    value.nouns.push(hit.value);
                    value.either |= or;
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

    /// `web-1 and 2`, `web-1, -2`: another of the same name by its number.
    fn same_name(&self, at: usize, noun: &Noun) -> Option<Hit<Noun>> {
        let Noun::Named { named, class, .. } = noun else { return None };
        let token = self.token(at).filter(|token| matches!(token.kind, Kind::Word | Kind::Number))?;
        let number = token.lower.trim_start_matches('-');
        let stem = self.name(*named.first()?).trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let other = self.vocabulary.named(&format!("{stem}{number}"));
        (digits && stem.ends_with('-') && !other.is_empty()).then(|| Hit {
            end: at + 1,
            value: Noun::Named {
                text: format!("{stem}{number}"),
                named: other.to_vec(),
                class: *class,
                filters: Vec::new(),
            },
            cost: 0,
        })
    }

    /// `web-1 to 3`, `web-1 through web-3`: every guest of that name from one number to the other.
    fn names_up_to(&self, list: &Hit<List>) -> Option<Hit<List>> {
        let Some(Noun::Named { named, class, .. }) = list.value.nouns.last() else { return None };
        let Named::Guest(first) = *named.first()? else { return None };
        let dash = self.token(list.end).is_some_and(|token| matches!(token.text.as_str(), "-" | "–"));
        let joined = dash || self.is_any(list.end, &["to", "through", "thru", "till", "bis"]);
        let token = self.token(list.end + 1).filter(|token| joined && token.is_wordlike())?;
        let (stem, from) = numbered_name(&self.vocabulary.guest(first).name)?;
        let (other, to) = numbered_name(&token.lower)?;
        let same = other.is_empty() || other == "-" || other == stem;
        let mut value = list.value.clone();
        for number in (from.1 + 1..=to.1).filter(|_| same && to.1.saturating_sub(from.1) < 100) {
            let text = format!("{stem}{number:0width$}", width = from.0);
            let named = self.vocabulary.named(&text).to_vec();
            if !named.is_empty() {
                value.nouns.push(Noun::Named { text, named, class: *class, filters: Vec::new() });
            } else if number == to.1 {
                return None;
            }
        }
        (value.nouns.len() > list.value.nouns.len()).then_some(Hit { end: list.end + 2, value, cost: list.cost })
    }

    /// Where the next noun phrase of a list begins, and whether an `or` leads to it.
    fn joint(&self, at: usize) -> Option<(usize, bool)> {
        let comma = self
            .token(at)
            .is_some_and(|token| token.kind == Kind::Comma && !matches!(token.text.as_str(), ":" | "(" | ")"));
        let mut next = at + usize::from(comma);
        let or = self.is(next, "or");
        let joined = or || self.is_any(next, &["and", "plus"]);
        next += usize::from(joined);
        if self.is(next, "as") && self.is(next + 1, "well") && self.is(next + 2, "as") {
            next += 3;
        } else if !comma && !joined {
            return None;
        }
        if self.is_any(next, &["also", "both"]) {
            next += 1;
        }
        if self.is(next, "the") && self.is_any(next + 1, &["one", "ones"]) && self.is_any(next + 2, &["on", "in", "of"])
        {
            next += 2;
        }
        if self.is_any(next, &["on", "in", "of", "from", "for", "inside", "to", "onto", "into", "at"]) {
            next += 1;
        }
        Some((next, or))
    }

    /// Readings of one noun phrase. `class` is what a list of numbers began with.
    fn noun(&self, at: usize, class: Option<Class>) -> Vec<Hit<Noun>> {
        let mut out = Vec::new();
        if PRONOUNS.iter().any(|word| self.is(at, word)) {
            out.push(Hit { end: at + 1, value: Noun::Pronoun, cost: 1 });
        }
        // `her container`, `its machine`: that of what was spoken of.
        if self.is_any(at, &["his", "her", "its", "their"]) {
            let ends =
                self.class_noun(at + 1).into_iter().filter(|(_, class, _)| !matches!(class, Class::Any | Class::All));
            out.extend(ends.map(|(end, ..)| Hit { end, value: Noun::Pronoun, cost: 1 }));
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
        if determiner.all {
            self.apposed(start, &mut out);
            self.all_called(start, determiner, &mut out);
        }
        self.environment(start, &mut out);
        if determiner.all && out.is_empty() {
            let noun = Noun::Class {
                class: Class::Any,
                words: Vec::new(),
                filters: Vec::new(),
                mods: 0,
                many: true,
                any: false,
                all: false,
                count: determiner.count,
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
            if matches!(word, "those" | "these")
                && self.is_any(end + 1, &["tagged", "on", "in", "with", "without", "that", "which", "running"])
            {
                break;
            }
            // A guest may be called `all` or `some`; then the name wins only with its class.
            determiner.all |= QUANTIFIERS.contains(&word);
            determiner.any |= word == "any";
            if let Some(count) = COUNTS.iter().position(|known| *known == word)
                && end > at
                && determiner.count.is_none()
            {
                determiner.count = Some(count + 2);
                end += 1;
                continue;
            }
            if !QUANTIFIERS.contains(&word) && !ARTICLES.contains(&word) && word != "any" {
                break;
            }
            end += 1;
        }
        (end, determiner)
    }
}

/// A name's words and the number that it ends with, with the number's digits.
fn numbered_name(name: &str) -> Option<(String, (usize, u32))> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[stem.len()..];
    let number = digits.parse().ok().filter(|_| digits.len() <= 6)?;
    Some((stem.to_lowercase(), (digits.len(), number)))
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

impl Expr {
    /// What is asked of agents does not narrow who is asked about: takes it off, and tells whether there was any.
    pub fn drop_agents(&mut self) -> bool {
        let mut dropped = false;
        for noun in &mut self.include {
            if let Noun::Class { filters, .. } = noun {
                let had = filters.len();
                filters.retain(|filter| filter.what != Property::Agent);
                dropped |= filters.len() < had;
            }
        }
        dropped
    }
}

impl Class {
    /// Whether a guest of that kind belongs to it.
    pub fn takes(self, kind: GuestKind) -> bool {
        match self {
            Self::Ct => kind == GuestKind::Ct,
            Self::Vm => kind == GuestKind::Vm,
            Self::Guest | Self::Any | Self::All | Self::Template => true,
            Self::Node => false,
        }
    }
}
