//! The second stage as a table: what the words at each place can be, with alternatives and scores. Each is found out once,
//! however many phrasings ask for it, and `--explain` prints the same table.

use super::{noun::Noun, sentence::Sentence, values::Value};
use rustc_hash::FxHashMap;
use std::{cell::RefCell, ops::Range, rc::Rc};

/// The most alternatives of one place that are told.
const MOST_TOLD: usize = 3;
/// From this cost on, in tenths, a mention is too far-fetched to be told.
const FAR_FETCHED: u32 = 45;

/// Some words, and one thing that they can stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct Mention {
    /// The tokens.
    pub span: Range<usize>,
    /// What they stand for.
    pub value: Value,
    /// How far-fetched, in tenths of a misspelt word.
    pub cost: u32,
}

/// Mentions by the kind of slot that they can fill and the token that they begin at.
type Filled<'l> = FxHashMap<(&'l str, usize), Rc<Vec<Mention>>>;

/// The mentions of one sentence.
pub struct Mentions<'s, 'l> {
    sentence: &'s Sentence<'l>,
    filled: RefCell<Filled<'l>>,
}

impl<'s, 'l> Mentions<'s, 'l> {
    /// Of a sentence; nothing is looked at yet.
    pub fn new(sentence: &'s Sentence<'l>) -> Self {
        Self { sentence, filled: RefCell::default() }
    }

    /// Every way to fill a slot of that kind with the words that begin at a token.
    pub fn of_kind(&self, kind: &'l str, at: usize) -> Rc<Vec<Mention>> {
        let known = self.filled.borrow().get(&(kind, at)).cloned();
        known.unwrap_or_else(|| {
            let hits = self.sentence.slot(kind, at).into_iter();
            let found = hits.map(|hit| Mention { span: at..hit.end, value: hit.value, cost: hit.cost });
            let found = Rc::new(found.collect());
            self.filled.borrow_mut().insert((kind, at), Rc::clone(&found));
            found
        })
    }

    /// What is named in the sentence, place by place: the longest run of words that names guests, nodes or services, with
    /// what it can stand for, the likeliest first.
    pub fn told(&self) -> Vec<Vec<Mention>> {
        let mut out: Vec<Vec<Mention>> = Vec::new();
        let mut at = 0;
        while at < self.sentence.tokens.len() {
            let kinds = ["targets", "service"].map(|kind| self.of_kind(kind, at));
            let mut found: Vec<Mention> =
                kinds.iter().flat_map(|found| found.iter()).filter(|one| tells(one)).cloned().collect();
            let Some(end) = found.iter().map(|mention| mention.span.end).max() else {
                at += 1;
                continue;
            };
            found.retain(|mention| mention.span.end == end);
            found.sort_by_key(|mention| mention.cost);
            found.dedup_by(|one, other| one.value == other.value);
            found.truncate(MOST_TOLD);
            out.push(found);
            at = end;
        }
        out
    }
}

/// Whether a mention says something by itself: a pronoun does not, nor does a word that nothing is called.
fn tells(mention: &Mention) -> bool {
    let concrete = |noun: &Noun| !matches!(noun, Noun::Pronoun | Noun::Unknown { .. });
    let something = match &mention.value {
        Value::Targets(expr) => expr.include.iter().all(concrete),
        Value::Services(words) => !words.iter().any(super::service::ServiceWord::is_pronoun),
        Value::Arg(_) | Value::Stranger { .. } => false,
    };
    something && mention.cost < FAR_FETCHED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::testing::read;

    #[test]
    fn words_have_alternatives_with_scores() {
        read("restart nginx on web-server and all debian containers", |sentence| {
            let told = Mentions::new(sentence).told();
            let spans: Vec<Range<usize>> = told.iter().map(|found| found[0].span.clone()).collect();
            assert_eq!(spans, [1..2, 3..8]);
            assert!(matches!(&told[0][0].value, Value::Services(words) if words[0].text == "nginx"));
            assert!(told.iter().all(|found| found.is_sorted_by_key(|mention| mention.cost)));
        });
    }

    #[test]
    fn a_kind_is_looked_for_once() {
        read("reboot blog", |sentence| {
            let mentions = Mentions::new(sentence);
            assert!(Rc::ptr_eq(&mentions.of_kind("targets", 1), &mentions.of_kind("targets", 1)));
            assert!(mentions.of_kind("size", 1).is_empty());
        });
        read("reboot it", |sentence| assert!(Mentions::new(sentence).told().is_empty()));
    }
}
