//! Tokens with every phrase of the lexicon that begins at each: what the later stages read.

use super::{
    lexicon::{Concepts, FILLER, Lexicon, Text},
    token::{Kind, Token},
    vocabulary::Vocabulary,
};

/// A phrase of the lexicon in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phrase {
    /// Which line of the lexicon.
    pub concept: usize,
    /// The token after its last.
    pub end: usize,
    /// Whether a word of it is misspelt.
    pub corrected: bool,
}

/// A text ready to be read.
#[derive(Debug)]
pub struct Sentence<'a> {
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// The lexicon.
    pub lexicon: &'a Lexicon,
    /// The inventory's words.
    pub vocabulary: &'a Vocabulary<'a>,
    phrases: Vec<Vec<Phrase>>,
}

impl<'a> Sentence<'a> {
    /// Finds the phrases in tokens that are corrected already.
    pub fn new(tokens: Vec<Token>, lexicon: &'a Lexicon, vocabulary: &'a Vocabulary<'a>) -> Self {
        let phrases = (0..tokens.len()).map(|at| phrases_at(&tokens, at, lexicon)).collect();
        Self { tokens, lexicon, vocabulary, phrases }
    }

    /// The phrases that begin at a token.
    pub fn phrases(&self, at: usize) -> &[Phrase] {
        self.phrases.get(at).map_or(&[], Vec::as_slice)
    }

    /// The concepts of the phrases within some tokens.
    pub fn concepts(&self, from: usize, to: usize) -> Concepts {
        let within = (from..to).flat_map(|at| self.phrases(at)).filter(|phrase| phrase.end <= to);
        Concepts::new(self.lexicon.size(), within.map(|phrase| phrase.concept))
    }

    /// Where a concept's phrases that begin at a token end, and whether they are misspelt.
    pub fn concept(&self, at: usize, concept: usize) -> impl Iterator<Item = &Phrase> {
        self.phrases(at).iter().filter(move |phrase| phrase.concept == concept)
    }

    /// Where each filler that begins at a token ends.
    pub fn fillers(&self, at: usize) -> impl Iterator<Item = usize> {
        let longest = self.filler(at);
        let words = self.concept(at, FILLER).filter(|phrase| !phrase.corrected).map(|phrase| phrase.end);
        words.filter(move |end| Some(*end) != longest).chain(longest)
    }

    /// Where the longest filler that begins at a token ends.
    pub fn filler(&self, at: usize) -> Option<usize> {
        let words = self.concept(at, FILLER).filter(|phrase| !phrase.corrected).map(|phrase| phrase.end).max();
        // `the last like 20 lines`
        let like = self.is(at, "like") && self.token(at + 1).is_some_and(|token| token.kind == Kind::Number);
        let words = words.or(like.then_some(at + 1));
        let passes =
            |token: &&Token| matches!(token.kind, Kind::Comma | Kind::Stop | Kind::Question) || self.is_adverb(token);
        words.or_else(|| self.tokens.get(at).filter(passes).map(|_| at + 1))
    }

    /// An adverb that nobody knows (`gently`), which says nothing of what is to be done; words of time are known.
    fn is_adverb(&self, token: &Token) -> bool {
        token.kind == Kind::Word
            && token.lower.len() > 5
            && token.lower.ends_with("ly")
            && token.meant.is_empty()
            && !self.lexicon.knows(&token.lower)
            && !self.vocabulary.knows(&token.lower)
    }

    /// Whether it is about something that is no business of a cluster.
    pub fn is_elsewhere(&self) -> bool {
        let elsewhere = &self.lexicon.elsewhere;
        let first = self.tokens.iter().find(|token| self.filler_word(token).is_none());
        let of = |token: &Token, list: &[&str]| list.iter().any(|word| token.is(word));
        let named = |token: &Token| self.vocabulary.knows(&token.lower);
        first.is_some_and(|token| of(token, &elsewhere.verbs) && !named(token))
            || self.tokens.iter().any(|token| of(token, &elsewhere.words) && !named(token))
    }

    /// Whether a word is none of the language, of the trade or of this inventory, and can't be the name of anything.
    pub fn is_foreign(&self, at: usize) -> bool {
        self.token(at).is_some_and(|token| {
            token.kind == Kind::Word
                && token.lower.bytes().all(|byte| byte.is_ascii_alphabetic())
                && token.meant.is_empty()
                && !self.lexicon.knows(&token.lower)
                && !self.vocabulary.knows(&token.lower)
        })
    }

    /// Whether a word of the language names nothing, forbids, limits and orders nothing: a question may do without it.
    pub fn is_idle(&self, at: usize) -> bool {
        let plain = |token: &&Token| {
            token.kind == Kind::Word
                && token.lower.len() > 2
                && token.lower.bytes().all(|byte| byte.is_ascii_lowercase())
                && self.lexicon.knows(&token.lower)
                && !self.lexicon.binds(&token.lower)
                && !self.vocabulary.knows(&token.lower)
        };
        let names = |concept: usize| {
            let lexicon = self.lexicon;
            lexicon.actions.contains(&concept)
                || lexicon.classes.contains_key(&concept)
                || lexicon.states.contains_key(&concept)
                || lexicon.systems.contains_key(&concept)
                || lexicon.services.contains_key(&concept)
                || lexicon.parts.contains_key(&concept)
                || lexicon.roles.contains_key(&concept)
        };
        self.token(at).as_ref().is_some_and(plain) && !self.phrases(at).iter().any(|phrase| names(phrase.concept))
    }

    /// Whether a token by itself is a filler or punctuation.
    pub fn filler_word(&self, token: &Token) -> Option<()> {
        let punctuation = matches!(token.kind, Kind::Comma | Kind::Stop | Kind::Question);
        let filler = self.lexicon.beginning(&token.lower).iter().any(|(id, rest)| *id == FILLER && rest.is_empty());
        (punctuation || filler).then_some(())
    }

    /// Whether a phrase begins there that asks for something to be done.
    pub fn begins_action(&self, at: usize) -> bool {
        self.phrases(at).iter().any(|phrase| self.lexicon.actions.contains(&phrase.concept))
    }

    /// Where the longest phrase ends that asks for something to be done.
    pub fn action_end(&self, at: usize) -> Option<usize> {
        let actions = self.phrases(at).iter().filter(|phrase| self.lexicon.actions.contains(&phrase.concept));
        actions.map(|phrase| phrase.end).max()
    }

    /// Whether a question or an order to show something begins there.
    pub fn begins_question(&self, at: usize) -> bool {
        const WORDS: &[&str] = &[
            "is", "are", "was", "were", "does", "do", "did", "has", "have", "had", "can", "will", "what", "which",
            "who", "how", "when", "where", "why", "any", "show", "list", "check", "give", "tell",
        ];
        self.is_any(at, WORDS)
    }

    /// The token at a place.
    pub fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at)
    }

    /// Whether the token there is exactly this word.
    pub fn is(&self, at: usize, word: &str) -> bool {
        self.token(at).is_some_and(|token| token.is(word))
    }

    /// Whether it is one of these words.
    pub fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    /// The text of some tokens, for messages.
    pub fn text(&self, from: usize, to: usize) -> String {
        self.tokens[from..to].iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")
    }
}

fn phrases_at(tokens: &[Token], at: usize, lexicon: &Lexicon) -> Vec<Phrase> {
    let mut out = Vec::new();
    found(tokens, at, false, |word| lexicon.beginning(word), &mut out);
    // `has to be restarted` asks for what `restart` does.
    let requests: Vec<Phrase> = out.iter().filter(|phrase| lexicon.makes_requests(phrase.concept)).copied().collect();
    for phrase in requests {
        found(tokens, phrase.end, phrase.corrected, |word| lexicon.participles(word), &mut out);
    }
    out
}

/// Adds the phrases that begin at a token; `corrected` tells whether what stands before it is misspelt.
fn found<'l>(
    tokens: &[Token],
    at: usize,
    corrected: bool,
    beginning: impl Fn(&str) -> &'l [(usize, Vec<Text>)],
    out: &mut Vec<Phrase>,
) {
    let Some(token) = tokens.get(at).filter(|token| matches!(token.kind, Kind::Word | Kind::Number)) else { return };
    let readings = std::iter::once((&token.lower, corrected)).chain(token.meant.iter().map(|meant| (meant, true)));
    for (word, corrected) in readings {
        for (concept, rest) in beginning(word) {
            let mut corrected = corrected;
            let all = rest.iter().enumerate().all(|(index, word)| {
                let read = tokens.get(at + 1 + index).and_then(|token| token.reads(word));
                corrected |= read == Some(true);
                read.is_some()
            });
            let phrase = Phrase { concept: *concept, end: at + 1 + rest.len(), corrected };
            if all && !out.contains(&phrase) {
                out.push(phrase);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::llm::grammar::testing::read;

    #[test]
    fn phrases_of_several_words_and_misspelt_ones_are_found() {
        read("shut down teh grafna", |sentence| {
            let shutdown = sentence.lexicon.id("shutdown");
            assert_eq!(sentence.concept(0, shutdown).map(|phrase| phrase.end).max(), Some(2));
            assert_eq!(sentence.tokens[3].meant, ["grafana"]);
        });
        read("restrat it", |sentence| {
            let restart = sentence.lexicon.id("restart");
            assert_eq!(sentence.concept(0, restart).map(|phrase| phrase.corrected).next(), Some(true));
        });
        read("please, now", |sentence| {
            assert_eq!((sentence.filler(0), sentence.filler(1), sentence.filler(2)), (Some(1), Some(2), Some(3)));
        });
    }
}
