//! The lexicon (`lexicon.toml`, turned into JSON by the build), read once: the words of English and of the trade, and the phrasings of each operation.

use super::pattern::{self, Node};
use crate::{
    llm::spelling::Spellings,
    model::{Risk, catalogue},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::OnceLock,
};

/// The number of the concept that fillers are.
pub const FILLER: usize = 0;

/// What makes a request of a participle. `should x be …` is a question, so these stand directly before it.
const PASSIVE: [&str; 30] = [
    "to be",
    "must be",
    "should be",
    "shall be",
    "has to be",
    "have to be",
    "needs to be",
    "need to be",
    "wants to be",
    "needs",
    "need",
    "get",
    "can be",
    "may be",
    "ought to be",
    "is to be",
    "are to be",
    "wants",
    "should get",
    "has got to be",
    "have got to be",
    "would have to be",
    "will have to be",
    "could be",
    "want to be",
    "should all be",
    "must all be",
    "needs to get",
    "has to get",
    "is supposed to be",
];

/// Everything that is known without an inventory.
#[derive(Debug)]
pub struct Lexicon {
    /// Phrases by their first word: the concept and the words after the first.
    phrases: HashMap<String, Vec<(usize, Vec<String>)>>,
    /// Contractions, spelled out.
    contractions: HashMap<String, Vec<String>>,
    /// Single words of the language: nothing that is one of them is taken for a misspelling.
    known: HashSet<String>,
    /// Words that a misspelling may be corrected to; made when the first word is misspelt.
    spellings: OnceLock<Spellings>,
    /// Concepts by name.
    concepts: HashMap<String, usize>,
    /// Prepositions, then words of questions.
    glue: [usize; 2],
    /// Classes (`ct`, `vm`, `guest`, `node`, `any`, `template`) by their concept.
    pub classes: HashMap<usize, String>,
    /// States by their concept.
    pub states: HashMap<usize, String>,
    /// Systems by their concept: an os-release ID, or `family:` and a family.
    pub systems: HashMap<usize, String>,
    /// Groups of tags that mean the same.
    pub tags: Vec<Vec<String>>,
    /// Service names and kinds by their concept, with the units that they can be.
    pub services: HashMap<usize, Vec<String>>,
    /// Words of which any may stand in a name for the others (`load balancer` and `lb`), by their concept.
    pub parts: HashMap<usize, Vec<String>>,
    /// Packages that are known by their bare names.
    pub packages: HashSet<String>,
    /// What classes of machines a service stands for, as the tag that they have, by the concept.
    pub roles: HashMap<usize, String>,
    /// What is said around a request.
    pub background: Background,
    /// What is no business of this program.
    pub elsewhere: Elsewhere,
    /// Concepts with which phrasings begin that ask for a change.
    pub actions: HashSet<usize>,
    /// The rules, in the file's order.
    pub rules: Vec<Rule>,
    /// Phrasings by the concepts of which they need one, as the number of their rule and their own in it.
    needing: Vec<Vec<(usize, usize)>>,
    /// Phrasings that need none.
    needless: Vec<(usize, usize)>,
    /// What is refused.
    pub refusals: Vec<Refusal>,
}

/// By which words it is known that a part of a sentence only says why.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// One has to be in it, or one of `subjects` or `reasons` has to begin it.
    pub verbs: Vec<String>,
    /// Who or what it speaks of.
    pub subjects: Vec<String>,
    /// With which words a reason begins.
    pub reasons: Vec<String>,
    /// None may be in it.
    pub conditions: Vec<String>,
}

/// By which words it is known that a sentence is about something else altogether.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// It begins with one.
    pub verbs: Vec<String>,
    /// It has one.
    pub words: Vec<String>,
}

/// How one operation is asked for.
#[derive(Debug)]
pub struct Rule {
    /// The operation.
    pub op: String,
    /// Arguments that the phrasing itself says.
    pub args: Map<String, Value>,
    /// Tenths by which it stands behind others that explain the same words.
    pub cost: u32,
    /// Why what is asked for can't be done, where it can't.
    pub refuse: Option<String>,
    /// The phrasings.
    pub say: Vec<Phrasing>,
    /// What may stand around them.
    pub with: Vec<Node>,
    /// Whether the operation only reads.
    pub reads: bool,
}

/// A phrasing with what it can't do without.
#[derive(Debug)]
pub struct Phrasing {
    /// Its top-level elements.
    pub elements: Vec<Node>,
    /// Whether they may stand in any order, with prepositions and the like between them.
    pub any_order: bool,
    /// Concepts without which it can't match: one of each group has to occur.
    pub needs: Vec<Vec<usize>>,
}

/// Some concepts.
#[derive(Debug, Default)]
pub struct Concepts {
    marked: Vec<bool>,
    all: Vec<usize>,
}

impl Concepts {
    /// Those of these numbers, of so many that there are.
    pub fn new(size: usize, concepts: impl Iterator<Item = usize>) -> Self {
        let mut new = Self { marked: vec![false; size], all: Vec::new() };
        for concept in concepts {
            if !std::mem::replace(&mut new.marked[concept], true) {
                new.all.push(concept);
            }
        }
        new
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.all.iter().copied()
    }

    /// Whether one of each group is among them.
    pub fn satisfy(&self, needs: &[Vec<usize>]) -> bool {
        needs.iter().all(|group| group.iter().any(|concept| self.marked[*concept]))
    }
}

/// What is refused whatever else is said.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub reason: String,
    /// Phrases outside quotes.
    pub say: Vec<Phrasing>,
    /// Globs of paths.
    pub paths: Vec<String>,
    /// Texts inside quotes, lower case.
    pub quoted: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    fillers: Vec<String>,
    grammar: Vec<String>,
    background: Background,
    elsewhere: Elsewhere,
    passive: BTreeMap<String, Vec<String>>,
    contractions: BTreeMap<String, String>,
    words: BTreeMap<String, Vec<String>>,
    classes: BTreeMap<String, Vec<String>>,
    states: BTreeMap<String, Vec<String>>,
    systems: BTreeMap<String, Vec<String>>,
    tags: BTreeMap<String, Vec<String>>,
    services: BTreeMap<String, Vec<String>>,
    roles: BTreeMap<String, String>,
    packages: Packages,
    parts: BTreeMap<String, Vec<String>>,
    adjuncts: BTreeMap<String, String>,
    rules: Vec<RuleEntry>,
    refuse: Vec<RefusalEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Packages {
    known: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    op: String,
    #[serde(default)]
    args: Map<String, Value>,
    #[serde(default)]
    cost: u32,
    #[serde(default)]
    refuse: Option<String>,
    say: Vec<String>,
    #[serde(default)]
    with: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusalEntry {
    reason: String,
    #[serde(default)]
    say: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    quoted: Vec<String>,
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

    /// Reads a lexicon, which the build has turned from TOML into JSON; the error names the phrasing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut lexicon = Self::empty(&file);
        lexicon.concept("filler", &file.fillers);
        for (name, phrases) in &file.words {
            lexicon.concept(name, phrases);
        }
        for (name, participles) in &file.passive {
            let to_be = |participle: &String| PASSIVE.map(|be| format!("{be} {participle}"));
            let phrases: Vec<String> = participles.iter().flat_map(to_be).collect();
            lexicon.concept(name, &phrases);
        }
        lexicon.glue = [lexicon.id("between"), lexicon.id("asking")];
        lexicon.classes = lexicon.table("class", &file.classes);
        lexicon.states = lexicon.table("state", &file.states);
        lexicon.systems = lexicon.table("system", &file.systems);
        for (phrase, units) in &file.services {
            let concept = lexicon.concept(&format!("service:{phrase}"), std::slice::from_ref(phrase));
            lexicon.services.insert(concept, units.clone());
        }
        for (phrase, tag) in &file.roles {
            let concept = lexicon.concept(&format!("role:{phrase}"), std::slice::from_ref(phrase));
            lexicon.roles.insert(concept, tag.clone());
        }
        for (name, words) in &file.parts {
            let concept = lexicon.concept(&format!("part:{name}"), words);
            lexicon.parts.insert(concept, words.iter().filter(|word| !word.contains(' ')).cloned().collect());
        }
        let said =
            file.rules.iter().flat_map(|entry| &entry.say).chain(file.refuse.iter().flat_map(|entry| &entry.say));
        for word in said.chain(file.adjuncts.values()).flat_map(|text| pattern::literals(text)) {
            let name = pattern::literal(word);
            if !lexicon.concepts.contains_key(&name) {
                lexicon.concept(&name, &[word.to_owned()]);
            }
        }
        for entry in &file.rules {
            let rule = lexicon.rule(entry, &file.adjuncts)?;
            lexicon.actions.extend(rule.say.iter().filter(|_| !rule.reads).filter_map(Phrasing::opening));
            lexicon.rules.push(rule);
        }
        for entry in &file.refuse {
            let refusal = lexicon.refusal(entry)?;
            lexicon.refusals.push(refusal);
        }
        lexicon.learn_words(&file.grammar);
        lexicon.learn_needs();
        Ok(lexicon)
    }

    fn empty(file: &File) -> Self {
        let spelled = |text: &String| text.split_whitespace().map(str::to_owned).collect();
        Self {
            phrases: HashMap::new(),
            contractions: file.contractions.iter().map(|(short, long)| (short.clone(), spelled(long))).collect(),
            known: HashSet::new(),
            spellings: OnceLock::new(),
            concepts: HashMap::new(),
            glue: [FILLER; 2],
            classes: HashMap::new(),
            states: HashMap::new(),
            systems: HashMap::new(),
            tags: file.tags.values().cloned().collect(),
            services: HashMap::new(),
            roles: HashMap::new(),
            parts: HashMap::new(),
            packages: file.packages.known.iter().cloned().collect(),
            background: file.background.clone(),
            elsewhere: file.elsewhere.clone(),
            actions: HashSet::new(),
            rules: Vec::new(),
            needing: Vec::new(),
            needless: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Takes phrases in under a concept and gives its number.
    fn concept(&mut self, name: &str, phrases: &[String]) -> usize {
        let next = self.concepts.len();
        let id = *self.concepts.entry(name.to_owned()).or_insert(next);
        for phrase in phrases {
            let mut words = phrase.split_whitespace().map(str::to_owned);
            if let Some(first) = words.next() {
                self.phrases.entry(first).or_default().push((id, words.collect()));
            }
        }
        id
    }

    fn table(&mut self, prefix: &str, lines: &BTreeMap<String, Vec<String>>) -> HashMap<usize, String> {
        lines.iter().map(|(name, phrases)| (self.concept(&format!("{prefix}:{name}"), phrases), name.clone())).collect()
    }

    fn compile(&self, phrasing: &str) -> Result<Node, String> {
        pattern::compile(phrasing, &self.concepts).map_err(|error| error.to_string())
    }

    fn rule(&self, entry: &RuleEntry, adjuncts: &BTreeMap<String, String>) -> Result<Rule, String> {
        let say: Result<Vec<_>, String> = entry.say.iter().map(|text| self.phrasing(text)).collect();
        let with = entry.with.iter().map(|name| {
            let text = adjuncts.get(name).ok_or_else(|| format!("{}: there is no adjunct `{name}`", entry.op))?;
            self.compile(text)
        });
        let mut with: Vec<Node> = with.collect::<Result<_, _>>()?;
        with.push(self.compile(adjuncts.get("except").ok_or("the adjunct `except` is missing")?)?);
        Ok(Rule {
            op: entry.op.clone(),
            args: entry.args.clone(),
            cost: entry.cost,
            refuse: entry.refuse.clone(),
            say: say?,
            with,
            reads: catalogue::spec(&entry.op).is_some_and(|spec| spec.risk == Risk::Observe),
        })
    }

    /// One phrasing: parts in order, or joined by `&` in any order.
    fn phrasing(&self, text: &str) -> Result<Phrasing, String> {
        if !text.contains(" & ") {
            return Ok(Phrasing::new(self.compile(text)?));
        }
        let elements = text.split(" & ").map(|part| self.compile(part)).collect::<Result<_, _>>()?;
        Ok(Phrasing::of(elements, true))
    }

    fn refusal(&self, entry: &RefusalEntry) -> Result<Refusal, String> {
        let say: Result<Vec<_>, String> =
            entry.say.iter().map(|text| Ok(Phrasing::of(vec![self.compile(text)?], false))).collect();
        Ok(Refusal {
            reason: entry.reason.clone(),
            say: say?,
            paths: entry.paths.clone(),
            quoted: entry.quoted.clone(),
        })
    }

    /// How many concepts there are.
    pub fn size(&self) -> usize {
        self.concepts.len()
    }

    fn learn_needs(&mut self) {
        self.needing = vec![Vec::new(); self.concepts.len()];
        for (rule, phrasing, needs) in self.rules.iter().enumerate().flat_map(|(rule, entry)| {
            entry.say.iter().enumerate().map(move |(phrasing, say)| (rule, phrasing, &say.needs))
        }) {
            match needs.iter().min_by_key(|group| group.len()) {
                Some(group) => group.iter().for_each(|concept| self.needing[*concept].push((rule, phrasing))),
                None => self.needless.push((rule, phrasing)),
            }
        }
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

    fn learn_words(&mut self, grammar: &[String]) {
        let mut words = grammar.to_vec();
        for (first, rest) in &self.phrases {
            words.push(first.clone());
            words.extend(rest.iter().flat_map(|(_, rest)| rest.clone()));
        }
        self.known = words.into_iter().collect();
    }

    /// How a contraction is spelled out.
    pub fn contraction(&self, word: &str) -> Option<&[String]> {
        self.contractions.get(word).map(Vec::as_slice)
    }

    /// Whether a lower-case word is one of the language.
    pub fn knows(&self, word: &str) -> bool {
        self.known.contains(word)
    }

    /// The words of the language that a misspelling may have meant.
    pub fn spellings(&self) -> &Spellings {
        let plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        self.spellings.get_or_init(|| self.known.iter().map(String::as_str).filter(plain).collect())
    }

    /// Phrases that begin with a word: concept and further words.
    pub fn beginning(&self, word: &str) -> &[(usize, Vec<String>)] {
        self.phrases.get(word).map_or(&[], Vec::as_slice)
    }

    /// What an unordered phrasing passes over: prepositions, and where nothing is changed auxiliaries and question words.
    pub fn glue(&self, reads: bool) -> &[usize] {
        if reads { &self.glue } else { &self.glue[..1] }
    }

    /// The line of a concept, as the file calls it.
    pub fn name_of(&self, concept: usize) -> &str {
        self.concepts.iter().find(|(_, id)| **id == concept).map_or("", |(name, _)| name)
    }

    /// A concept's number; panics where the lexicon lacks a line that the code relies on, which a test finds.
    pub fn id(&self, name: &str) -> usize {
        *self.concepts.get(name).unwrap_or_else(|| panic!("the lexicon has no line `{name}`"))
    }
}

impl Phrasing {
    fn new(node: Node) -> Self {
        let elements = match node {
            Node::Seq(elements) => elements,
            other => vec![other],
        };
        Self::of(elements, false)
    }

    fn of(elements: Vec<Node>, any_order: bool) -> Self {
        let mut needs = Vec::new();
        for node in &elements {
            node.needs(&mut needs);
        }
        Self { elements, any_order, needs }
    }

    /// The concept with which an ordered phrasing begins.
    fn opening(&self) -> Option<usize> {
        match self.elements.first() {
            Some(Node::Concept(concept)) if !self.any_order => Some(*concept),
            _ => None,
        }
    }

    /// Whether nothing that has to be said is missing.
    pub fn is_complete(&self, parts: u64) -> bool {
        if !self.any_order {
            return usize::try_from(parts).is_ok_and(|parts| parts == self.elements.len());
        }
        let needed = |node: &Node| !matches!(node, Node::Opt(_));
        self.elements.iter().enumerate().all(|(index, node)| parts & (1 << index) != 0 || !needed(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Op, catalogue};

    /// What the build makes of the file.
    fn json(text: &str) -> String {
        serde_json::to_string(&text.parse::<toml::Table>().unwrap()).unwrap()
    }

    #[test]
    fn the_file_reads_and_is_the_one_compiled_in() {
        if let Err(error) = Lexicon::parse(&json(include_str!("lexicon.toml"))) {
            panic!("{error}");
        }
        assert_eq!(json(include_str!("lexicon.toml")), include_str!(concat!(env!("OUT_DIR"), "/lexicon.json")));
    }

    #[test]
    fn every_rule_is_of_an_operation_and_names_its_arguments() {
        for rule in &Lexicon::get().rules {
            let spec = catalogue::spec(&rule.op).unwrap_or_else(|| panic!("no operation {}", rule.op));
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
        assert!(Lexicon::parse(&json(&broken)).unwrap_err().contains("no words <restat>"));
    }
}
