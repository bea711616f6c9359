//! The lexicon (`lexicon.toml`, turned into JSON by the build), read once: the words of English and of the trade, and the
//! phrasings of each operation.

mod file;
mod making;
mod rules;

pub use file::Text;
pub use rules::{Concepts, Phrasing, Refusal, Rule};

use super::pattern::Node;
use crate::llm::spelling::Spellings;
use file::{Background, Elsewhere};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::OnceLock;

/// The number of the concept that fillers are.
pub const FILLER: usize = 0;

/// Phrases by their first word: the concept and the words after the first.
type Phrases = FxHashMap<Text, Vec<(usize, Vec<Text>)>>;

/// Everything that is known without an inventory.
#[derive(Debug, Default)]
pub struct Lexicon {
    phrases: Phrases,
    /// Participles, which need what makes a request of them before them (`has to be`).
    participles: Phrases,
    /// The concept of what makes a request of a participle.
    to_be: usize,
    /// Contractions, spelled out.
    contractions: FxHashMap<Text, Vec<Text>>,
    /// Single words of the language: nothing that is one of them is taken for a misspelling.
    known: FxHashSet<Text>,
    /// Words that say how others belong together, or how many, when and whether.
    grammar: FxHashSet<Text>,
    /// Words that a misspelling may be corrected to; made when the first word is misspelt.
    spellings: OnceLock<Spellings>,
    /// What each concept is, by its number: the section and the line.
    names: Vec<(Text, Text)>,
    /// Lines of words by their names.
    lines: FxHashMap<Text, usize>,
    /// Prepositions, then words of questions.
    glue: [usize; 2],
    /// Classes (`ct`, `vm`, `guest`, `node`, `any`, `template`) by their concept.
    pub classes: FxHashMap<usize, Text>,
    /// States by their concept.
    pub states: FxHashMap<usize, Text>,
    /// Systems by their concept: an os-release ID, or `family:` and a family.
    pub systems: FxHashMap<usize, Text>,
    /// Groups of tags that mean the same.
    pub tags: Vec<Vec<Text>>,
    /// Service names and kinds by their concept, with the units that they can be.
    pub services: FxHashMap<usize, Vec<String>>,
    /// Words of which any may stand in a name for the others (`load balancer` and `lb`), by their concept.
    pub parts: FxHashMap<usize, Vec<String>>,
    /// Packages that are known by their bare names.
    pub packages: FxHashSet<Text>,
    /// What classes of machines a service stands for, as the tag that they have, by the concept.
    pub roles: FxHashMap<usize, Text>,
    /// What is said around a request.
    pub background: Background,
    /// What is no business of this program.
    pub elsewhere: Elsewhere,
    /// Concepts with which phrasings begin that ask for a change.
    pub actions: FxHashSet<usize>,
    /// What may stand around phrasings.
    pub adjuncts: Vec<Node>,
    /// The rules, in the file's order.
    pub rules: Vec<Rule>,
    /// Phrasings by the concepts of which they need one, as the number of their rule and their own in it.
    needing: Vec<Vec<(usize, usize)>>,
    /// Phrasings that need none.
    needless: Vec<(usize, usize)>,
    /// What is refused.
    pub refusals: Vec<Refusal>,
}

impl Lexicon {
    /// The compiled-in lexicon.
    pub fn get() -> &'static Self {
        static LEXICON: OnceLock<Lexicon> = OnceLock::new();
        LEXICON.get_or_init(|| {
            let json = include_str!(concat!(env!("OUT_DIR"), "/lexicon.json"));
            Self::parse(json).expect("the compiled-in lexicon parses: a test reads it")
        })
    }

    /// How many concepts there are.
    pub fn size(&self) -> usize {
        self.names.len()
    }

    /// The phrasings that can do with these concepts, in the file's order.
    pub fn possible(&self, present: &Concepts) -> Vec<(&Rule, &Phrasing)> {
        let needing = present.iter().flat_map(|concept| &self.needing[concept]);
        let mut found: Vec<(usize, usize)> = needing.chain(&self.needless).copied().collect();
        found.sort_unstable();
        found.dedup();
        let phrasing = |(rule, phrasing): (usize, usize)| (&self.rules[rule], &self.rules[rule].say[phrasing]);
        found.into_iter().map(phrasing).filter(|(_, phrasing)| present.satisfy(&phrasing.needs)).collect()
    }

    /// How a contraction is spelled out.
    pub fn contraction(&self, word: &str) -> Option<&[Text]> {
        self.contractions.get(word).map(Vec::as_slice)
    }

    /// Whether a lower-case word is one of the language.
    pub fn knows(&self, word: &str) -> bool {
        self.known.contains(word)
    }

    /// Whether a word says how others belong together, or how many, when and whether: it is never passed over.
    pub fn binds(&self, word: &str) -> bool {
        self.grammar.contains(word) || self.background.conditions.contains(&word)
    }

    /// The words of the language that a misspelling may have meant.
    pub fn spellings(&self) -> &Spellings {
        let plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        self.spellings.get_or_init(|| self.known.iter().copied().filter(plain).collect())
    }

    /// Phrases that begin with a word: concept and further words.
    pub fn beginning(&self, word: &str) -> &[(usize, Vec<Text>)] {
        self.phrases.get(word).map_or(&[], Vec::as_slice)
    }

    /// Participles that begin with a word; they count where `makes_requests` stands before them.
    pub fn participles(&self, word: &str) -> &[(usize, Vec<Text>)] {
        self.participles.get(word).map_or(&[], Vec::as_slice)
    }

    /// Whether a concept makes a request of the participle behind it: `has to be` restarted.
    pub fn makes_requests(&self, concept: usize) -> bool {
        concept == self.to_be
    }

    /// What an unordered phrasing passes over: prepositions, and where nothing is changed auxiliaries and question words.
    pub fn glue(&self, reads: bool) -> &[usize] {
        if reads { &self.glue } else { &self.glue[..1] }
    }

    /// What a concept is: the section of the file, empty for lines of words, and the line there.
    pub fn name_of(&self, concept: usize) -> (Text, Text) {
        self.names.get(concept).copied().unwrap_or_default()
    }

    /// A concept's number; panics where the lexicon lacks a line that the code relies on, which a test finds.
    pub fn id(&self, name: &str) -> usize {
        *self.lines.get(name).unwrap_or_else(|| panic!("the lexicon has no line `{name}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Op, catalogue};

    /// What the build makes of the file.
    fn json(text: &str) -> Text {
        serde_json::to_string(&text.parse::<toml::Table>().unwrap()).unwrap().leak()
    }

    #[test]
    fn the_file_reads_and_is_the_one_compiled_in() {
        if let Err(error) = Lexicon::parse(json(include_str!("lexicon.toml"))) {
            panic!("{error}");
        }
        assert_eq!(json(include_str!("lexicon.toml")), include_str!(concat!(env!("OUT_DIR"), "/lexicon.json")));
    }

    #[test]
    fn every_rule_is_of_an_operation_and_names_its_arguments() {
        for rule in &Lexicon::get().rules {
            let spec = catalogue::spec(rule.op).unwrap_or_else(|| panic!("no operation {}", rule.op));
            for argument in rule.args.keys() {
                assert!(spec.args.iter().any(|arg| arg.name == *argument), "{} takes no {argument}", rule.op);
            }
        }
    }

    #[test]
    fn every_operation_can_be_asked_for() {
        let unasked: Vec<&str> = Op::ALL
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| !Lexicon::get().rules.iter().any(|rule| rule.op == *name))
            .collect();
        assert_eq!(unasked, Vec::<&str>::new());
    }

    #[test]
    fn a_lexicon_with_a_mistake_says_where() {
        let broken = include_str!("lexicon.toml").replacen("<restart> {service}", "<restat> {service}", 1);
        assert!(Lexicon::parse(json(&broken)).unwrap_err().contains("no words <restat>"));
    }
}
