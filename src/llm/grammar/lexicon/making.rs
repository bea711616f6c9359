//! From the file to the lexicon: lines become concepts, phrasings trees over them. This runs once in every program that
//! reads a sentence, so it copies no text, and what rules share is made once.

use super::{
    super::pattern::{self, Node, Words},
    Lexicon, Phrases,
    file::{File, RefusalEntry, RuleEntry, Text},
    rules::{Phrasing, Refusal, Rule},
};
use crate::model::{Risk, catalogue};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

impl Lexicon {
    /// Reads a lexicon, which the build has turned from TOML into JSON; the error names the phrasing.
    pub fn parse(text: Text) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut making = Making::default();
        making.line("filler", &file.fillers);
        making.lexicon.to_be = making.line("to be", &file.to_be);
        for (name, phrases) in &file.words {
            making.line(name, phrases);
        }
        for (name, participles) in &file.passive {
            let concept = making.line(name, &[]);
            for phrase in participles {
                enter(&mut making.lexicon.participles, phrase, concept);
            }
        }
        making.tables(&file);
        let mut numbers = BTreeMap::new();
        for (name, text) in &file.adjuncts {
            numbers.insert(*name, making.lexicon.adjuncts.len());
            let node = making.compile(text)?;
            making.lexicon.adjuncts.push(node);
        }
        for entry in file.rules {
            let rule = making.rule(entry, &numbers)?;
            making.lexicon.actions.extend(rule.say.iter().filter(|_| !rule.reads).filter_map(Phrasing::opening));
            making.lexicon.rules.push(rule);
        }
        for entry in file.refuse {
            let refusal = making.refusal(entry)?;
            making.lexicon.refusals.push(refusal);
        }
        let mut lexicon = making.lexicon;
        lexicon.glue = [lexicon.id("between"), lexicon.id("asking")];
        lexicon.packages = file.packages.known.into_iter().collect();
        lexicon.tags = file.tags.into_values().collect();
        lexicon.background = file.background;
        lexicon.elsewhere = file.elsewhere;
        let spelled = file.contractions.iter().map(|(short, long)| (*short, long.split_whitespace().collect()));
        lexicon.contractions = spelled.collect();
        lexicon.learn_words(&file.grammar);
        lexicon.grammar = file.grammar.into_iter().collect();
        lexicon.learn_needs();
        Ok(lexicon)
    }

    fn learn_words(&mut self, grammar: &[Text]) {
        let phrases = self.phrases.iter().chain(&self.participles);
        let words = phrases.flat_map(|(first, rest)| {
            std::iter::once(*first).chain(rest.iter().flat_map(|(_, rest)| rest.iter().copied()))
        });
        self.known = words.chain(grammar.iter().copied()).collect();
    }

    fn learn_needs(&mut self) {
        self.needing = vec![Vec::new(); self.names.len()];
        for (rule, entry) in self.rules.iter().enumerate() {
            for (phrasing, say) in entry.say.iter().enumerate() {
                match say.needs.iter().min_by_key(|group| group.len()) {
                    Some(group) => group.iter().for_each(|concept| self.needing[*concept].push((rule, phrasing))),
                    None => self.needless.push((rule, phrasing)),
                }
            }
        }
    }
}

/// A lexicon that is being made.
#[derive(Default)]
struct Making {
    lexicon: Lexicon,
    /// The concepts of literal words.
    literals: FxHashMap<Text, usize>,
}

impl Making {
    fn concept(&mut self, kind: Text, name: Text) -> usize {
        self.lexicon.names.push((kind, name));
        self.lexicon.names.len() - 1
    }

    /// Takes phrases in under a line of words and gives its number.
    fn line(&mut self, name: Text, phrases: &[Text]) -> usize {
        let known = self.lexicon.lines.get(name).copied();
        let concept = known.unwrap_or_else(|| self.concept("", name));
        self.lexicon.lines.insert(name, concept);
        for phrase in phrases {
            enter(&mut self.lexicon.phrases, phrase, concept);
        }
        concept
    }

    /// Takes phrases in under a concept of their own.
    fn own(&mut self, kind: Text, name: Text, phrases: &[Text]) -> usize {
        let concept = self.concept(kind, name);
        for phrase in phrases {
            enter(&mut self.lexicon.phrases, phrase, concept);
        }
        concept
    }

    /// Classes, states, systems, services and parts of names.
    fn tables(&mut self, file: &File) {
        for (name, phrases) in &file.classes {
            let concept = self.own("class", name, phrases);
            self.lexicon.classes.insert(concept, name);
        }
        for (name, phrases) in &file.states {
            let concept = self.own("state", name, phrases);
            self.lexicon.states.insert(concept, name);
        }
        for (name, phrases) in &file.systems {
            let concept = self.own("system", name, phrases);
            self.lexicon.systems.insert(concept, name);
        }
        for (phrase, units) in &file.services {
            let concept = self.own("service", phrase, &[phrase]);
            self.lexicon.services.insert(concept, units.iter().map(|unit| (*unit).to_owned()).collect());
        }
        for (phrase, tag) in &file.roles {
            let concept = self.own("role", phrase, &[phrase]);
            self.lexicon.roles.insert(concept, tag);
        }
        for (name, words) in &file.parts {
            let concept = self.own("part", name, words);
            let single = words.iter().filter(|word| !word.contains(' ')).map(|word| (*word).to_owned());
            self.lexicon.parts.insert(concept, single.collect());
        }
    }

    fn compile(&mut self, phrasing: Text) -> Result<Node, String> {
        pattern::compile(phrasing, self).map_err(|error| error.to_string())
    }

    fn rule(&mut self, entry: RuleEntry, adjuncts: &BTreeMap<Text, usize>) -> Result<Rule, String> {
        let say: Result<Vec<_>, String> = entry.say.iter().map(|text| self.phrasing(text)).collect();
        let missing = |name: &str| format!("{}: there is no adjunct `{name}`", entry.op);
        let number = |name: &Text| adjuncts.get(name).copied().ok_or_else(|| missing(name));
        let with: Result<Vec<usize>, String> = entry.with.iter().chain([&"except"]).map(number).collect();
        Ok(Rule {
            op: entry.op,
            cost: entry.cost,
            refuse: entry.refuse,
            machine: entry.machine,
            say: say?,
            with: with?,
            reads: catalogue::spec(entry.op).is_some_and(|spec| spec.risk == Risk::Observe),
            args: entry.args,
        })
    }

    /// One phrasing: parts in order, or joined by `&` in any order.
    fn phrasing(&mut self, text: Text) -> Result<Phrasing, String> {
        if !text.contains(" & ") {
            return Ok(Phrasing::ordered(self.compile(text)?));
        }
        let elements = text.split(" & ").map(|part| self.compile(part)).collect::<Result<_, _>>()?;
        Ok(Phrasing::of(elements, true))
    }

    fn refusal(&mut self, entry: RefusalEntry) -> Result<Refusal, String> {
        let say = entry.say.iter().map(|text| Ok(Phrasing::of(vec![self.compile(text)?], false)));
        let say: Result<Vec<_>, String> = say.collect();
        Ok(Refusal { reason: entry.reason, say: say?, paths: entry.paths, quoted: entry.quoted })
    }
}

impl Words for Making {
    fn line_of(&self, name: &str) -> Option<usize> {
        self.lexicon.lines.get(name).copied()
    }

    fn literal(&mut self, word: Text) -> usize {
        if let Some(known) = self.literals.get(word) {
            return *known;
        }
        let concept = self.own("word", word, &[word]);
        self.literals.insert(word, concept);
        concept
    }
}

/// Takes a phrase in under its first word.
fn enter(phrases: &mut Phrases, phrase: Text, concept: usize) {
    let mut words = phrase.split_whitespace();
    if let Some(first) = words.next() {
        phrases.entry(first).or_default().push((concept, words.collect()));
    }
}
