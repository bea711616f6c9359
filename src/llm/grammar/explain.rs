//! How a sentence was read, for people: each word with what it can mean, each part with the readings that were weighed.

use super::{
    Lexicon, Sentence, Vocabulary,
    clause::{Cut, Piece},
    intent::{Matcher, Reading},
    noun::{Expr, Noun},
    token::{self, Kind},
    values::Value,
};
use crate::model::Inventory;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// The most readings of a part that are told.
const MOST_READINGS: usize = 3;

/// How a sentence was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Its words.
    pub words: Vec<Word>,
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
    /// What it is a phrase of, or begins one of: lines of the lexicon, and what the inventory has of that name.
    pub as_what: Vec<String>,
}

/// A clause or a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The words.
    pub text: String,
    /// Whether it only says why.
    pub comment: bool,
    /// The likeliest readings, best first.
    pub readings: Vec<Way>,
}

/// One reading of a clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// The operation.
    pub op: String,
    /// Its arguments as they were read, in the order of the text.
    pub arguments: Vec<String>,
    /// How far-fetched it is, in tenths.
    pub cost: u32,
}

/// Reads a sentence as the planner does and tells how.
pub fn explain(text: &str, inventory: &Inventory) -> Explanation {
    let lexicon = Lexicon::get();
    let vocabulary = Vocabulary::new(inventory);
    let mut tokens = token::tokens(text, lexicon);
    tokens.truncate(super::MOST_TOKENS);
    vocabulary.correct(&mut tokens, lexicon);
    let sentence = Sentence::new(tokens, lexicon, &vocabulary);
    let matcher = Matcher::new(&sentence);
    let pieces = Cut::new(&sentence, &matcher).pieces().unwrap_or_default();
    Explanation {
        words: (0..sentence.tokens.len()).map(|at| word(&sentence, at)).collect(),
        parts: pieces.iter().map(|piece| part(&sentence, &matcher, *piece)).collect(),
    }
}

fn word(sentence: &Sentence<'_>, at: usize) -> Word {
    let token = &sentence.tokens[at];
    let vocabulary = sentence.vocabulary;
    let mut as_what: Vec<String> = sentence
        .phrases(at)
        .iter()
        .filter(|phrase| !sentence.lexicon.name_of(phrase.concept).starts_with("word:"))
        .map(|phrase| {
            let name = sentence.lexicon.name_of(phrase.concept);
            if phrase.end > at + 1 { format!("{name} ({})", sentence.text(at, phrase.end)) } else { name.to_owned() }
        })
        .collect();
    as_what.extend(vocabulary.named(&token.lower).iter().map(|named| vocabulary.target(*named).to_string()));
    let known = [
        (vocabulary.has_tag(&token.lower), "tag"),
        (vocabulary.pool(&token.lower).is_some(), "pool"),
        (vocabulary.storage(&token.lower).is_some(), "storage"),
        (vocabulary.service(&token.lower).is_some(), "service here"),
        (vocabulary.is_part(&token.lower), "part of a name"),
        (vocabulary.snapshot(&token.lower).is_some(), "snapshot"),
        (matches!(token.kind, Kind::Quoted | Kind::Path | Kind::Patch), "data"),
    ];
    as_what.extend(known.iter().filter(|(is, _)| *is).map(|(_, what)| (*what).to_owned()));
    as_what.dedup();
    Word { text: token.text.clone(), meant: token.meant.clone(), as_what }
}

fn part(sentence: &Sentence<'_>, matcher: &Matcher<'_, '_>, piece: Piece) -> Part {
    let completed = piece.verb.map(|_| piece.completed(sentence));
    let readings = match &completed {
        _ if piece.comment => Vec::new(),
        Some(completed) => Matcher::new(completed).readings().to_vec(),
        None => matcher.readings_of(piece.from, piece.to).to_vec(),
    };
    Part {
        text: sentence.text(piece.from, piece.to),
        comment: piece.comment,
        readings: readings.iter().take(MOST_READINGS).map(|reading| way(sentence, reading)).collect(),
    }
}

fn way(sentence: &Sentence<'_>, reading: &Reading<'_>) -> Way {
    let said = reading.rule.args.iter().map(|(name, value)| format!("{name}={value}"));
    let slots = reading.slots.iter().map(|(name, value)| format!("{name}={}", shown(sentence, value)));
    Way { op: reading.rule.op.clone(), arguments: said.chain(slots).collect(), cost: reading.cost }
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
            let filters: Vec<String> = filters
                .iter()
                .map(|filter| format!("{}{:?}", if filter.not { "not " } else { "" }, filter.what))
                .collect();
            format!(
                "{} {class:?}{}{}",
                if *many { "every" } else { "the one" },
                if filters.is_empty() { "" } else { " with " },
                filters.join(", ")
            )
        }
        Noun::Pronoun => "what was spoken of".to_owned(),
        Noun::Unknown { text } => format!("unknown `{text}`"),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.words.iter().map(|word| word.text.chars().count().min(24)).max().unwrap_or(0);
        for word in &self.words {
            let text: String = word.text.chars().take(24).collect();
            let meant =
                if word.meant.is_empty() { String::new() } else { format!("read as {}; ", word.meant.join(" or ")) };
            let what = if word.as_what.is_empty() { "not known".to_owned() } else { word.as_what.join(", ") };
            writeln!(f, "  {text:width$}  {meant}{what}")?;
        }
        if self.parts.is_empty() {
            writeln!(f, "no way to read this explains every word")?;
        }
        for part in &self.parts {
            writeln!(f, "{}: {}", if part.comment { "comment" } else { "request" }, part.text)?;
            for way in &part.readings {
                writeln!(f, "  {:>3}  {} {}", way.cost, way.op, way.arguments.join(" "))?;
            }
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
        assert!(text.contains("comment: the site is slow"), "{text}");
        assert!(text.contains("targets=ct/118"), "{text}");
    }
}
