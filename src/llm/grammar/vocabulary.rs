//! The words of the inventory at hand, as a sentence meets them. Also the place where misspellings are found, since a word
//! is one only when neither language nor inventory knows it.

use super::{
    lexicon::Lexicon,
    token::{ARROW, Kind, Token},
};
use crate::{
    llm::{known::Known, spelling::SHORTEST},
    model::Inventory,
};
use std::ops::Deref;

pub use crate::llm::known::{Named, name_parts, name_words};

/// The longest word that is taken for a misspelling, in bytes.
const LONGEST: usize = 64;
/// The most words that one is taken for.
const MOST_MEANT: usize = 4;

/// The words of one inventory. All are in lower case.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    /// The inventory itself.
    pub inventory: &'a Inventory,
    known: &'a Known,
}

impl<'a> Vocabulary<'a> {
    /// Over an inventory.
    pub fn new(known: &'a Known) -> Self {
        Self { inventory: known.inventory(), known }
    }

    /// The tags that a word stands for: itself where it exists, else those that mean the same.
    pub fn tags_for(&self, word: &str, lexicon: &Lexicon) -> Vec<String> {
        if self.has_tag(word) {
            return vec![word.to_owned()];
        }
        let group = lexicon.tags.iter().find(|group| group.contains(&word));
        group.map_or_else(Vec::new, |group| {
            group.iter().filter(|tag| self.has_tag(tag)).map(|tag| (*tag).to_owned()).collect()
        })
    }

    /// The services with exactly that name, letters' case and `.service` aside.
    pub fn service(&self, word: &str) -> Option<&'a str> {
        let plain = word.strip_suffix(".service").unwrap_or(word);
        let names = self.known.services(plain);
        names.iter().find(|name| name.eq_ignore_ascii_case(plain)).map(String::as_str)
    }

    /// Takes a ticket's label off, and finds out what misspelt words may have meant.
    pub fn prepare(&self, tokens: &mut Vec<Token>, lexicon: &Lexicon) {
        tokens.drain(..self.label(tokens, lexicon));
        for at in 1..tokens.len() {
            let mut meanings = lexicon.beginning(&tokens[at].lower).iter();
            if tokens[at - 1].text == ARROW && meanings.any(|(concept, _)| lexicon.actions.contains(concept)) {
                tokens[at - 1].kind = Kind::Comma;
            }
        }
        self.correct(tokens, lexicon);
    }

    /// Where the label ends that a request begins with: `CHG-88:`, `REQ:`, `[INC 4711]`, `ticket #12:`. Only what nothing is
    /// called, here or in the language, can be one.
    fn label(&self, tokens: &[Token], lexicon: &Lexicon) -> usize {
        const LABELS: &[&str] = &[
            "ticket", "todo", "task", "request", "change", "incident", "note", "job", "ops", "req", "chg", "inc",
            "reminder", "action",
        ];
        let text = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
        let bracketed = text(0) == "[";
        let first = usize::from(bracketed);
        let Some(token) = tokens.get(first).filter(|token| token.kind == Kind::Word) else { return 0 };
        let stem = token.lower.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['-', '#', '_']);
        let letters = stem.len() >= 2 && stem.bytes().all(|byte| byte.is_ascii_lowercase());
        let stranger = !lexicon.knows(stem) && !self.knows(stem) && !self.knows(&token.lower);
        let shouted = letters && stranger && token.text == token.text.to_uppercase();
        let labelled = shouted || LABELS.contains(&stem) && !self.knows(&token.lower);
        if !labelled {
            return 0;
        }
        let number =
            |at: usize| text(at).trim_start_matches('#').bytes().all(|b| b.is_ascii_digit()) && !text(at).is_empty();
        let mut at = first + 1;
        at += usize::from(number(at));
        at += usize::from(bracketed && text(at) == "]");
        let marked = matches!(text(at), ":" | "-" | "–" | "—");
        if marked {
            at + 1
        } else if bracketed && text(at - 1) == "]" {
            at
        } else {
            0
        }
    }

    /// Marks the tokens that look like misspellings with what they may have meant.
    fn correct(&self, tokens: &mut [Token], lexicon: &Lexicon) {
        for token in tokens
            .iter_mut()
            .filter(|token| token.kind == Kind::Word && (SHORTEST..=LONGEST).contains(&token.lower.len()))
        {
            let word = &token.lower;
            let plausible = word.is_ascii()
                && !lexicon.knows(word)
                && !self.knows(word)
                && word.bytes().any(|b| b.is_ascii_alphabetic());
            if plausible {
                token.meant = self.nearest(word, lexicon);
            }
        }
    }

    fn nearest(&self, word: &str, lexicon: &Lexicon) -> Vec<String> {
        let mut found = self.spellings().near(word);
        found.extend(lexicon.spellings().near(word));
        found.sort_unstable();
        found.dedup();
        let best = found.first().map_or(0, |(distance, _)| *distance);
        let nearest = found.into_iter().take_while(|(distance, _)| *distance == best);
        nearest.map(|(_, known)| known.to_owned()).take(MOST_MEANT).collect()
    }
}

impl Deref for Vocabulary<'_> {
    type Target = Known;

    fn deref(&self) -> &Known {
        self.known
    }
}
