//! What is said around a request and only says why: `the dashboards won't load again, could you …`, `… because it
//! hangs`. It may hold neither a condition nor an exception, and what it speaks of is remembered: a pronoun may mean it,
//! and where the request takes a guest of it by a class, somebody has to ask.

use super::{
    noun::{Expr, Noun},
    sentence::Sentence,
    service::ServiceWord,
    token::{Kind, Token},
    values::Value,
};
use crate::model::{Target, inventory::Guest};
use std::ops::Range;

/// What a comment speaks of.
#[derive(Debug, Clone, Default)]
pub struct Spoken {
    /// Noun phrases, in the order of the text.
    pub nouns: Vec<Expr>,
    /// A service, where one is named that is no guest's name.
    pub service: Option<ServiceWord>,
    /// Whether it speaks of agents.
    pub agent: bool,
    /// Whether it speaks of something that guests have: a snapshot, a backup, a disk.
    pub part: bool,
    /// A snapshot.
    pub snapshot: Option<String>,
    /// A file.
    pub path: Option<String>,
    /// The guests that it names.
    pub guests: Vec<Target>,
    /// Whether it has a word for something that would change a guest.
    pub acts: bool,
}

/// Whether some tokens only say why.
pub fn is_comment(sentence: &Sentence<'_>, span: Range<usize>) -> bool {
    let words = &sentence.tokens[span.clone()];
    let background = &sentence.lexicon.background;
    let one_of = |token: &Token, list: &[String]| list.iter().any(|word| token.is(word));
    let subject = |at: usize| words.get(at).is_some_and(|token| one_of(token, &background.subjects));
    let reason = words.first().is_some_and(|token| one_of(token, &background.reasons)) && words.len() > 2;
    let skipped = usize::from(reason || words[0].is("before") && subject(1));
    let content = |token: &Token| sentence.filler_word(token).is_none();
    let Some(first) = words[skipped..].iter().position(content).map(|at| at + skipped) else { return false };
    let conditional = words[skipped..].iter().any(|token| one_of(token, &background.conditions));
    let data = words.iter().any(|token| matches!(token.kind, Kind::Quoted | Kind::Patch | Kind::Question));
    let denial = ["do", "not", "never", "no"].iter().any(|word| words[first].is(word));
    if conditional || data || denial && !subject(0) {
        return false;
    }
    let verb = |token: &Token| {
        let inflected = token.lower.len() > 3 && (token.lower.ends_with('s') || token.lower.ends_with("ed"));
        let unknown = !sentence.lexicon.knows(&token.lower) && !sentence.vocabulary.knows(&token.lower);
        one_of(token, &background.verbs) || token.kind == Kind::Word && inflected && unknown
    };
    let states = words.iter().skip(1).any(verb) || subject(first) || subject(0) || reason || skipped > 0;
    let acts = sentence.begins_action(span.start + first);
    let finite_next = words[first + 1..].iter().take(3).any(|token| one_of(token, &background.verbs));
    let asks = sentence.begins_question(span.start + first) && !subject(0);
    states && !asks && (!acts || finite_next || subject(0) || subject(skipped) || skipped > 0 && words[0].is("before"))
}

/// What some tokens speak of.
pub fn spoken_of(sentence: &Sentence<'_>, span: Range<usize>) -> Spoken {
    let mut spoken = Spoken::default();
    let mut at = span.start;
    while at < span.end {
        spoken.acts |= sentence.begins_action(at);
        spoken.agent |= sentence.concept(at, sentence.lexicon.id("agent")).next().is_some();
        let parts = ["snapshots", "backups", "disk", "packages", "alerts", "config", "logs"];
        spoken.part |= parts.iter().any(|line| sentence.concept(at, sentence.lexicon.id(line)).next().is_some());
        let token = &sentence.tokens[at];
        if let Some(name) = sentence.vocabulary.snapshot(&token.lower) {
            spoken.snapshot = Some(name.to_owned());
        }
        if token.kind == Kind::Path {
            spoken.path = Some(token.text.clone());
        }
        let service = sentence.services(at, true).into_iter().filter(|hit| hit.end <= span.end && hit.cost <= 4);
        if let Some(Value::Services(words)) =
            service.max_by_key(|hit| (hit.end, u32::MAX - hit.cost)).map(|hit| hit.value)
        {
            spoken.service = spoken.service.or_else(|| words.first().cloned());
        }
        let hits = sentence.targets(at).into_iter().filter(|hit| hit.end <= span.end && hit.cost < 10);
        let best = hits
            .filter(|hit| hit.value.include.iter().all(is_concrete))
            .max_by_key(|hit| (hit.end, u32::MAX - hit.cost));
        match best {
            Some(hit) => {
                spoken.guests.extend(hit.value.include.iter().flat_map(|noun| named(sentence, noun)));
                spoken.nouns.push(hit.value);
                at = hit.end;
            }
            None => at += 1,
        }
    }
    // Beside a name, words that may be a part of names are just words.
    let whole = |expr: &Expr| expr.include.iter().all(|noun| matches!(noun, Noun::Named { .. } | Noun::Vmid { .. }));
    if spoken.nouns.iter().any(whole) {
        spoken.nouns.retain(whole);
    }
    spoken.guests.retain(|target| target.vmid().is_some());
    spoken
}

/// Whether a noun phrase says which thing it means.
fn is_concrete(noun: &Noun) -> bool {
    match noun {
        Noun::Named { .. } | Noun::Vmid { .. } | Noun::Partial { .. } => true,
        Noun::Class { filters, .. } => !filters.is_empty(),
        Noun::Pronoun | Noun::Unknown { .. } => false,
    }
}

fn named(sentence: &Sentence<'_>, noun: &Noun) -> Vec<Target> {
    let vocabulary = sentence.vocabulary;
    match noun {
        Noun::Named { named, .. } => named.iter().map(|named| vocabulary.target(*named)).collect(),
        Noun::Vmid { vmid, .. } => vocabulary.inventory.guest(*vmid).map(Guest::target).into_iter().collect(),
        Noun::Partial { words, .. } => {
            vocabulary.with_parts(words).into_iter().map(|index| vocabulary.guest(index).target()).collect()
        }
        Noun::Class { .. } | Noun::Pronoun | Noun::Unknown { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::testing::read;

    fn comments(text: &str) -> bool {
        read(text, |sentence| is_comment(sentence, 0..sentence.tokens.len()))
    }

    #[test]
    fn statements_are_comments() {
        for text in [
            "the site is slow",
            "blog throws 502s",
            "users complain",
            "because it hangs",
            "I want to tidy up",
            "we changed a vhost",
            "before I touch anything",
            "the exhibition opens in ten",
        ] {
            assert!(comments(text), "{text}");
        }
    }

    #[test]
    fn requests_conditions_and_prohibitions_are_not() {
        for text in [
            "if it is slow",
            "do not touch wiki",
            "frobnicate the flux",
            "because only wiki is up",
            "reboot wiki",
            "wiki too",
            "leave wiki alone",
            "after the backup",
            "why is it slow?",
        ] {
            assert!(!comments(text), "{text}");
        }
    }

    #[test]
    fn what_is_spoken_of_is_remembered() {
        read("imap is stuck on mail", |sentence| {
            let spoken = spoken_of(sentence, 0..sentence.tokens.len());
            assert_eq!(spoken.service.unwrap().text, "imap");
            assert_eq!(spoken.guests.len(), 1);
        });
    }
}
