//! How a sentence was read, for people who do not know the program: for each part what every word was taken for, in plain
//! words, and which other readings were weighed; where no reading accounts for every word, what each word can mean.

use super::{
    Lexicon, Sentence, Vocabulary,
    cut::{Cut, Piece, Sense},
    intent::{Matcher, Reading, Role, Step},
    mention::Mention,
    noun::{Class, Expr, Filter, Noun, Property},
    token::{self, Kind},
    values::Value,
};
use crate::{llm::Known, model::catalogue};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// The most readings of a part that are told.
const MOST_READINGS: usize = 3;

/// How a sentence was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Its words.
    pub words: Vec<Word>,
    /// What it names, each with what that can be, the likeliest first.
    pub names: Vec<Name>,
    /// Its clauses and comments; empty where nobody can read it.
    pub parts: Vec<Part>,
}

/// One word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Word {
    /// As it was written.
    pub text: String,
    /// What it was taken to be a misspelling of.
    pub meant: Vec<String>,
    /// What it can be: words of the lexicon, and what the inventory has of that name.
    pub as_what: Vec<String>,
}

/// Some words that name something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Name {
    /// The words.
    pub text: String,
    /// What they can be, and how far-fetched that is, in tenths of a misspelt word.
    pub can_be: Vec<(String, u32)>,
}

/// A clause or a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The words.
    pub text: String,
    /// Whether it only says why, or what the next part is about.
    pub comment: bool,
    /// Whether it says what is to stay as it is.
    pub kept: bool,
    /// What each run of words was taken for in the likeliest reading.
    pub pieces: Vec<Taken>,
    /// The likeliest readings, best first.
    pub readings: Vec<Way>,
}

/// Some words and what they were taken for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The words.
    pub text: String,
    /// What for, in words.
    pub what: String,
}

/// One reading of a clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// The operation.
    pub op: String,
    /// Its arguments as they were read, in the order of the text.
    pub arguments: Vec<String>,
    /// How far-fetched it is, in tenths of a misspelt word.
    pub cost: u32,
}

/// Reads a sentence as the planner does and tells how.
pub fn explain(text: &str, known: &Known) -> Explanation {
    let lexicon = Lexicon::get();
    let vocabulary = Vocabulary::new(known);
    let mut tokens = token::tokens(text, lexicon);
    tokens.truncate(super::MOST_TOKENS);
    vocabulary.prepare(&mut tokens, lexicon);
    let sentence = Sentence::new(tokens, lexicon, &vocabulary);
    let matcher = Matcher::tracing(&sentence);
    let pieces = Cut::new(&sentence, &matcher).pieces().unwrap_or_default();
    Explanation {
        words: (0..sentence.tokens.len()).map(|at| word(&sentence, at)).collect(),
        names: matcher.mentions().told().iter().map(|found| name(&sentence, found)).collect(),
        parts: pieces.iter().map(|piece| part(&sentence, &matcher, *piece)).collect(),
    }
}

fn name(sentence: &Sentence<'_>, found: &[Mention]) -> Name {
    let span = found.first().map_or(0..0, |mention| mention.span.clone());
    let can_be = found.iter().map(|mention| (shown(sentence, &mention.value), mention.cost));
    let mut name = Name { text: sentence.text(span.start, span.end), can_be: can_be.collect() };
    name.can_be.dedup_by(|one, other| one.0 == other.0);
    name
}

fn word(sentence: &Sentence<'_>, at: usize) -> Word {
    let token = &sentence.tokens[at];
    let vocabulary = sentence.vocabulary;
    let mut as_what: Vec<String> =
        vocabulary.named(&token.lower).iter().map(|named| vocabulary.target(*named).to_string()).collect();
    let known = [
        (vocabulary.service(&token.lower).is_some(), "a service here"),
        (vocabulary.has_tag(&token.lower), "a tag"),
        (vocabulary.pool(&token.lower).is_some(), "a pool"),
        (vocabulary.storage(&token.lower).is_some(), "a storage"),
        (vocabulary.snapshot(&token.lower).is_some(), "a snapshot"),
        (vocabulary.is_part(&token.lower), "part of a name"),
        (matches!(token.kind, Kind::Quoted | Kind::Path | Kind::Patch), "text that is taken as it is"),
        (matches!(token.kind, Kind::Comma | Kind::Stop | Kind::Question), "punctuation"),
    ];
    as_what.extend(known.iter().filter(|(is, _)| *is).map(|(_, what)| (*what).to_owned()));
    for phrase in sentence.phrases(at) {
        let Some(meaning) = meaning(sentence.lexicon.name_of(phrase.concept)) else { continue };
        let several = phrase.end > at + 1;
        let meaning = if several { format!("{meaning} (\"{}\")", sentence.text(at, phrase.end)) } else { meaning };
        if !as_what.contains(&meaning) {
            as_what.push(meaning);
        }
    }
    if as_what.is_empty() && sentence.lexicon.knows(&token.lower) {
        as_what.push("a word of the language that no request accounts for here".to_owned());
    }
    Word { text: token.text.clone(), meant: token.meant.clone(), as_what }
}

/// What a line of the lexicon is, in words; nothing for lines that only hold words of phrasings.
fn meaning((section, line): (&str, &str)) -> Option<String> {
    Some(match (section, line) {
        ("word", _) | ("", "asking" | "to be") => return None,
        ("", "filler") => "says nothing by itself".to_owned(),
        ("", "at" | "between") => "a preposition".to_owned(),
        ("class", name) => format!("{} in general", class_name(name)),
        ("state", name) => format!("the state {name}"),
        ("system", name) => format!("the system {}", name.trim_start_matches("family:")),
        ("service", name) => format!("the service {name}"),
        ("role" | "part", name) => format!("machines for {name}"),
        (_, name) => format!("\"{name}\""),
    })
}

fn class_name(class: &str) -> &str {
    match class {
        "ct" => "containers",
        "vm" => "VMs",
        "node" => "nodes",
        "template" => "templates",
        "all" => "everything",
        _ => "guests",
    }
}

fn part(sentence: &Sentence<'_>, matcher: &Matcher<'_, '_>, piece: Piece) -> Part {
    let asks = matches!(piece.sense, Sense::Asks { .. });
    let completed = matches!(piece.sense, Sense::Asks { verb: Some(_), .. }).then(|| piece.completed(sentence));
    let read = completed.as_ref().unwrap_or(sentence);
    let readings = match &completed {
        _ if !asks => Vec::new(),
        Some(completed) => Matcher::tracing(completed).readings().to_vec(),
        None => matcher.readings_of(piece.from, piece.to).to_vec(),
    };
    Part {
        text: sentence.text(piece.from, piece.to),
        comment: !asks,
        kept: piece.sense == Sense::Keeps,
        pieces: readings.first().map_or_else(Vec::new, |best| pieces(read, best)),
        readings: ways(sentence, &readings),
    }
}

/// What the words of a reading were taken for, words that add nothing together.
fn pieces(sentence: &Sentence<'_>, reading: &Reading<'_>) -> Vec<Taken> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for step in &reading.trace {
        match steps.last_mut() {
            Some(last) if last.role == step.role && !matches!(step.role, Role::Fills(_)) => last.to = step.to,
            _ => steps.push(step.clone()),
        }
    }
    let first = steps.iter().position(|step| step.role == Role::Says);
    let row = |(index, step): (usize, &Step<'_>)| match step.role {
        Role::Says if Some(index) != first => {
            Taken { text: sentence.text(step.from, step.to), what: "belongs to that".to_owned() }
        }
        _ => taken(sentence, reading, step),
    };
    steps.iter().enumerate().map(row).collect()
}

fn taken(sentence: &Sentence<'_>, reading: &Reading<'_>, step: &Step<'_>) -> Taken {
    let what = match &step.role {
        Role::Nothing => "adds nothing".to_owned(),
        Role::Unknown => "not known here; the question can be answered without".to_owned(),
        Role::Says => says(reading.rule.op),
        Role::Fills(names) => {
            let filled = |name: &&str| {
                let slot = reading.slots.iter().find(|(known, _)| known == name);
                slot.map(|(name, value)| argument(sentence, name, value))
            };
            names.iter().filter_map(filled).collect::<Vec<_>>().join(", ")
        }
    };
    let meant: Vec<&str> = sentence.tokens[step.from..step.to]
        .iter()
        .filter_map(|token| token.meant.first().filter(|_| step.role != Role::Unknown).map(String::as_str))
        .collect();
    let meant = if meant.is_empty() { String::new() } else { format!("misspelt {}: ", meant.join(" ")) };
    Taken { text: sentence.text(step.from, step.to), what: format!("{meant}{what}") }
}

/// What an operation is, as the catalogue says it.
fn says(op: &str) -> String {
    let doc = catalogue::spec(op).map(|spec| format!(" ({})", spec.doc)).unwrap_or_default();
    format!("asks for {op}{doc}")
}

fn argument(sentence: &Sentence<'_>, name: &str, value: &Value) -> String {
    match (name, value) {
        ("targets" | "all", value) => format!("what it is about: {}", shown(sentence, value)),
        ("except", value) => format!("what is left out: {}", shown(sentence, value)),
        ("old", value) => format!("what it is now: {}", shown(sentence, value)),
        (name, value) => format!("{}: {}", name.replace('_', " "), shown(sentence, value)),
    }
}

/// The likeliest readings, each once: some differ in nothing that can be told.
fn ways(sentence: &Sentence<'_>, readings: &[Reading<'_>]) -> Vec<Way> {
    let mut out: Vec<Way> = Vec::new();
    for way in readings.iter().map(|reading| way(sentence, reading)) {
        if out.len() < MOST_READINGS && !out.iter().any(|known| known.op == way.op && known.arguments == way.arguments)
        {
            out.push(way);
        }
    }
    out
}

fn way(sentence: &Sentence<'_>, reading: &Reading<'_>) -> Way {
    let said = reading.rule.args.iter().map(|(name, value)| format!("{name}={value}"));
    let slots = reading.slots.iter().map(|(name, value)| format!("{name}={}", shown(sentence, value)));
    Way { op: reading.rule.op.to_owned(), arguments: said.chain(slots).collect(), cost: reading.cost }
}

fn shown(sentence: &Sentence<'_>, value: &Value) -> String {
    match value {
        Value::Targets(expr) => expression(sentence, expr),
        Value::Services(words) => words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" and "),
        Value::Arg(json) => json.to_string(),
        Value::Stranger { what, text } => format!("no {what} `{text}`"),
    }
}

fn expression(sentence: &Sentence<'_>, expr: &Expr) -> String {
    let list = |nouns: &[Noun]| nouns.iter().map(|one| noun(sentence, one)).collect::<Vec<_>>().join(" and ");
    let mut out = list(&expr.include);
    if !expr.exclude.is_empty() {
        let _ = write!(out, " except {}", list(&expr.exclude));
    }
    out
}

fn noun(sentence: &Sentence<'_>, noun: &Noun) -> String {
    match noun {
        Noun::Vmid { vmid, .. } => format!("vmid {vmid}"),
        Noun::Named { named, .. } => {
            named.iter().map(|named| sentence.vocabulary.target(*named).to_string()).collect::<Vec<_>>().join(" or ")
        }
        Noun::Partial { words, .. } => format!("the one whose name has `{}`", words.join(" ")),
        Noun::Class { class, filters, many, .. } => {
            let filters: Vec<String> = filters.iter().map(filter).collect();
            let (every, kind) = if *many { ("all ", plural(*class)) } else { ("the one of the ", plural(*class)) };
            let with = if filters.is_empty() { "" } else { " " };
            format!("{every}{kind}{with}{}", filters.join(", "))
        }
        Noun::Pronoun => "what was spoken of".to_owned(),
        Noun::Unknown { text } => format!("unknown `{text}`"),
    }
}

fn plural(class: Class) -> &'static str {
    match class {
        Class::Ct => "containers",
        Class::Vm => "VMs",
        Class::Node => "nodes",
        Class::Template => "templates",
        Class::Guest | Class::Any | Class::All => "guests",
    }
}

/// What a property asks, in words.
fn filter(filter: &Filter) -> String {
    let not = if filter.not { "not " } else { "" };
    let what = match &filter.what {
        Property::State(state) => state.clone(),
        Property::System(system) => format!("with the system {}", system.trim_start_matches("family:")),
        Property::SystemVersion(version) => format!("of version {version}"),
        Property::Tag(tags) => format!("tagged {}", tags.join(" or ")),
        Property::Pool(pool) => format!("in the pool {pool}"),
        Property::Node(node) => format!("on {node}"),
        Property::Units(units) => format!("that have {}", units.join(" or ")),
        Property::Agent => "with an agent".to_owned(),
        Property::AgentVersion(version) => format!("with an agent {version}"),
        Property::Part(word) => format!("with `{word}` in their name"),
        Property::Vmids(first, last) => format!("from {first} to {last}"),
        Property::AnyOf(filters) => filters.iter().map(self::filter).collect::<Vec<_>>().join(" or "),
        Property::Strange(word) => format!("tagged `{word}`, which nothing is"),
    };
    format!("{not}{what}")
}

/// The longest text of one row's first column, in characters.
const WIDEST: usize = 44;

fn rows(f: &mut fmt::Formatter<'_>, rows: &[(String, String)]) -> fmt::Result {
    let shortened =
        |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WIDEST).collect::<String>();
    let width = rows.iter().map(|(text, _)| shortened(text).chars().count()).max().unwrap_or(0);
    rows.iter().try_for_each(|(text, what)| writeln!(f, "  {:width$}  {what}", shortened(text)))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parts.is_empty() {
            writeln!(f, "no way to read this accounts for every word; each by itself:")?;
            let row = |word: &Word| {
                let meant = match &word.meant[..] {
                    [] => String::new(),
                    meant => format!("perhaps {}; ", meant.join(" or ")),
                };
                let what = if word.as_what.is_empty() { "not known".to_owned() } else { word.as_what.join(", ") };
                (word.text.clone(), format!("{meant}{what}"))
            };
            return rows(f, &self.words.iter().map(row).collect::<Vec<_>>());
        }
        for part in &self.parts {
            let kind = match part {
                Part { kept: true, .. } => "what is to stay as it is",
                Part { comment: true, .. } => "said beside, nothing is done for it",
                _ => "a request",
            };
            writeln!(f, "\"{}\": {kind}", part.text)?;
            rows(f, &part.pieces.iter().map(|taken| (taken.text.clone(), taken.what.clone())).collect::<Vec<_>>())?;
            if let Some((best, others)) = part.readings.split_first() {
                writeln!(f, "  → {} {} [{}]", best.op, best.arguments.join(" "), best.cost)?;
                for way in others {
                    writeln!(f, "  not {} {} [{}]", way.op, way.arguments.join(" "), way.cost)?;
                }
            }
        }
        if self.parts.iter().any(|part| !part.comment) {
            if !self.names.is_empty() {
                writeln!(f, "names:")?;
            }
            let row = |name: &Name| {
                let can_be: Vec<String> = name.can_be.iter().map(|(what, cost)| format!("{what} [{cost}]")).collect();
                (name.text.clone(), can_be.join(" or "))
            };
            rows(f, &self.names.iter().map(row).collect::<Vec<_>>())?;
            writeln!(
                f,
                "in [ ]: how far-fetched; 0 is word for word, a misspelt word adds 10, the lowest is taken, and from 45 on it is asked"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::testing::homelab;

    #[test]
    fn words_and_parts_are_told() {
        let told = explain("the site is slow, restrat nginx on web-server", homelab());
        let restart = told.words.iter().find(|word| word.text == "restrat").unwrap();
        assert_eq!(restart.meant, ["restart"]);
        assert_eq!(told.parts.iter().map(|part| part.comment).collect::<Vec<_>>(), [true, false]);
        assert_eq!(told.parts[1].readings[0].op, "service.restart");
        let text = told.to_string();
        assert!(text.contains("\"the site is slow\": said beside"), "{text}");
        assert!(text.contains("misspelt restart: asks for service.restart"), "{text}");
        assert!(text.contains("targets=ct/118"), "{text}");
    }
}
