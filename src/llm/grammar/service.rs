//! Services: which words name one, and which unit they are on a guest. The exact name always comes from the guest's own
//! services where those are known.

use super::{
    class::{Problem, Scope, ask, unit_matches},
    noun::Hit,
    sentence::Sentence,
    token::Kind,
    values::Value,
    vocabulary::name_parts,
};
use crate::model::{Target, inventory::Guest};
use rustc_hash::FxHashSet;

/// A service as it was spoken of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceWord {
    /// As it was written.
    pub text: String,
    /// What its unit can be called, the likeliest first; globs.
    pub units: Vec<String>,
    /// Whether several were meant (`all web servers`).
    pub many: bool,
}

impl Sentence<'_> {
    /// Readings of a list of services. `sure` takes only what is no guest's name or is called a service.
    pub fn services(&self, at: usize, sure: bool) -> Vec<Hit<Value>> {
        let mut out = Vec::new();
        let mut open: Vec<Hit<Vec<ServiceWord>>> = self
            .service(at, sure)
            .into_iter()
            .map(|hit| Hit { end: hit.end, value: vec![hit.value], cost: hit.cost })
            .collect();
        while !open.is_empty() {
            let mut next = Vec::new();
            for list in &open {
                let comma = self.token(list.end).is_some_and(|token| token.kind == Kind::Comma);
                let after = list.end + usize::from(comma);
                let joined = self.is_any(after, &["and", "plus"]);
                if !comma && !joined {
                    continue;
                }
                for hit in self.service(after + usize::from(joined), sure) {
                    let mut value = list.value.clone();
                    value.push(hit.value);
                    next.push(Hit { end: hit.end, value, cost: list.cost + hit.cost });
                }
            }
            out.extend(open.into_iter().map(|hit| Hit {
                end: hit.end,
                value: Value::Services(hit.value),
                cost: hit.cost,
            }));
            next.truncate(16);
            open = next;
        }
        out
    }

    fn service(&self, at: usize, sure: bool) -> Vec<Hit<ServiceWord>> {
        if !sure && self.is_any(at, &["it", "them"]) {
            return vec![Hit { end: at + 1, value: ServiceWord::pronoun(), cost: 4 }];
        }
        let noun = self.lexicon.id("service");
        let all = self.is_any(at, &["all", "every", "each", "both"]);
        let article = at + usize::from(all);
        let article = article + usize::from(self.is_any(article, &["the", "a", "its", "my", "our"]));
        let before = self.concept(article, noun).map(|phrase| phrase.end).max();
        let starts = [Some((article, false)), before.map(|end| (end, true))];
        let mut out = Vec::new();
        for (start, called) in starts.into_iter().flatten() {
            for (end, mut word, cost) in self.service_words(start) {
                word.many = all || self.tokens[end - 1].lower.ends_with("servers") || self.is(end - 1, "databases");
                let after = self.concept(end, noun).map(|phrase| phrase.end).max();
                let named =
                    !self.vocabulary.named(&word.text).is_empty() || self.vocabulary.is_part(&word.text.to_lowercase());
                if !sure || called || !named {
                    out.push(Hit { end, value: word.clone(), cost: cost + u32::from(sure) * 2 });
                }
                if let Some(after) = after {
                    out.push(Hit { end: after, value: word, cost });
                }
            }
            // A word that nobody knows is a service where it is called one.
            let Some(token) = self.token(start).filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted)) else {
                continue;
            };
            let after = self.concept(start + 1, noun).map(|phrase| phrase.end).max();
            if out.is_empty() && (called || after.is_some()) && !self.lexicon.knows(&token.lower) {
                let word = ServiceWord { text: token.text.clone(), units: vec![token.text.clone()], many: false };
                out.push(Hit { end: after.unwrap_or(start + 1), value: word, cost: 20 });
            }
        }
        out
    }

    /// Words that name a service, without what says that it is one.
    fn service_words(&self, at: usize) -> Vec<(usize, ServiceWord, u32)> {
        let Some(token) = self.token(at).filter(|token| token.is_wordlike() && token.kind != Kind::Number) else {
            return Vec::new();
        };
        let mut out: Vec<(usize, ServiceWord, u32)> = Vec::new();
        for phrase in self.phrases(at) {
            if let Some(units) = self.lexicon.services.get(&phrase.concept) {
                let text = self.text(at, phrase.end);
                let text = if phrase.corrected { token.meant.first().cloned().unwrap_or(text) } else { text };
                let mut all: Vec<String> =
                    self.vocabulary.service(&text.to_lowercase()).map(str::to_owned).into_iter().collect();
                all.extend(units.clone());
                out.push((phrase.end, ServiceWord { text, units: all, many: false }, u32::from(phrase.corrected) * 10));
            }
        }
        for end in at + 1..=(at + 3).min(self.tokens.len()) {
            let joined = self.tokens[at..end].iter().map(|token| token.lower.as_str()).collect::<Vec<_>>().join("-");
            if let Some(service) =
                self.vocabulary.service(&joined).filter(|_| !out.iter().any(|(known, ..)| *known == end))
            {
                out.push((
                    end,
                    ServiceWord { text: service.to_owned(), units: vec![service.to_owned()], many: false },
                    0,
                ));
            }
        }
        let readings =
            std::iter::once((token.lower.as_str(), 0)).chain(token.meant.iter().map(|meant| (meant.as_str(), 10)));
        for (word, cost) in readings {
            let units = self.vocabulary.services(word).to_vec();
            if !units.is_empty() && !out.iter().any(|(end, ..)| *end == at + 1) {
                let exact = units.iter().any(|unit| unit.eq_ignore_ascii_case(word));
                out.push((
                    at + 1,
                    ServiceWord { text: word.to_owned(), units, many: false },
                    cost + if exact { 0 } else { 4 },
                ));
            }
        }
        if token.kind == Kind::Quoted && out.is_empty() {
            out.push((
                at + 1,
                ServiceWord { text: token.text.clone(), units: vec![token.text.clone()], many: false },
                12,
            ));
        }
        out
    }
}

/// What a service is on one guest.
enum Unit {
    /// Exactly this.
    Is(String),
    /// One of several.
    Several,
    /// Nothing that the guest has.
    No,
    /// The guest has told of no services, and the word is no unit's name.
    Unsaid,
}

impl ServiceWord {
    /// What was spoken of before.
    fn pronoun() -> Self {
        Self { text: "it".to_owned(), units: Vec::new(), many: false }
    }

    /// Whether it stands for what was spoken of before.
    pub fn is_pronoun(&self) -> bool {
        self.units.is_empty()
    }

    fn on(&self, guest: &Guest) -> Unit {
        if let Some(exact) = guest.services.iter().find(|service| service.eq_ignore_ascii_case(self.plain())) {
            return Unit::Is(exact.clone());
        }
        if guest.services.is_empty() {
            return self.unseen(guest);
        }
        let mut found: Vec<&String> =
            guest.services.iter().filter(|service| self.units.iter().any(|unit| unit_matches(unit, service))).collect();
        found.dedup();
        match found[..] {
            [] => Unit::No,
            [unit] => Unit::Is(unit.clone()),
            _ => Unit::Several,
        }
    }

    /// Whether a service's name is one that it goes by.
    pub fn may_be(&self, service: &str) -> bool {
        service.eq_ignore_ascii_case(self.plain()) || self.units.iter().any(|unit| unit_matches(unit, service))
    }

    fn plain(&self) -> &str {
        self.text.strip_suffix(".service").unwrap_or(&self.text)
    }

    /// On a guest whose services nobody knows: a unit's own name, or the one name that a word stands for.
    fn unseen(&self, guest: &Guest) -> Unit {
        let text = self.text.to_lowercase();
        if self.units.iter().any(|unit| unit == "ssh") && self.units.iter().any(|unit| unit == "sshd") {
            return Unit::Is(if guest.os.family == "debian" { "ssh" } else { "sshd" }.to_owned());
        }
        if self.units.iter().any(|unit| *unit == text || *unit == self.text) {
            return Unit::Is(self.units.iter().find(|unit| **unit == self.text).cloned().unwrap_or(text));
        }
        match &self.units[..] {
            [unit] if !unit.trim_end_matches('*').contains('*') => Unit::Is(unit.trim_end_matches('*').to_owned()),
            _ => Unit::Unsaid,
        }
    }

    /// The words by which a guest may be called after it.
    fn words(&self) -> Vec<String> {
        name_parts(&self.text)
    }
}

impl Scope<'_> {
    /// The unit on each target. Targets of a class that do not have it are left out; a named one becomes a question.
    pub fn units(
        &self,
        word: &ServiceWord,
        targets: &[Target],
        by_class: &[Target],
    ) -> Result<Vec<(Target, String)>, Problem> {
        let mut out = Vec::new();
        let told = |target: &Target| {
            self.vocabulary.inventory.guest_of(target).is_some_and(|guest| !guest.services.is_empty())
        };
        let some_told = targets.iter().any(told);
        let by_class: FxHashSet<&Target> = by_class.iter().collect();
        for target in targets {
            let Some(guest) = self.vocabulary.inventory.guest_of(target) else {
                self.rather_inside(word, target)?;
                let unit = word.units.iter().find(|unit| !unit.contains('*') && **unit == word.text.to_lowercase());
                let unit = unit.ok_or_else(|| {
                    ask(format!("What is the unit of `{}` called on {target}?", word.text), vec![target.clone()])
                })?;
                out.push((target.clone(), unit.clone()));
                continue;
            };
            // Where some of a class have told what they have, those that have told nothing are left out.
            if some_told && guest.services.is_empty() && by_class.contains(target) {
                continue;
            }
            match word.on(guest) {
                Unit::Is(unit) => out.push((target.clone(), unit)),
                Unit::No if by_class.contains(target) => {}
                Unit::No => {
                    let has = guest.services.join(", ");
                    return Err(ask(
                        format!("{} has no {}; it has {has}. Which service?", guest.label(), word.text),
                        vec![target.clone()],
                    ));
                }
                Unit::Several => {
                    return Err(ask(
                        format!("{} has several that `{}` fits. Which service?", guest.label(), word.text),
                        vec![target.clone()],
                    ));
                }
                Unit::Unsaid => {
                    return Err(ask(
                        format!("What is `{}` called on {}?", word.text, guest.label()),
                        vec![target.clone()],
                    ));
                }
            }
        }
        if out.is_empty() {
            return Err(ask(format!("None of them has {}. Which guests?", word.text), Vec::new()));
        }
        Ok(out)
    }

    /// `restart nginx on pve1`: where guests on the node have it, one of them may be meant. Every machine has ssh and cron.
    fn rather_inside(&self, word: &ServiceWord, node: &Target) -> Result<(), Problem> {
        let everywhere = ["ssh", "sshd", "cron", "crond"];
        if word.units.iter().any(|unit| everywhere.contains(&unit.as_str())) {
            return Ok(());
        }
        let there = node.node_name().map_or(&[][..], |name| self.vocabulary.on_node(name)).iter();
        let there = there.map(|index| self.vocabulary.guest(*index)).filter(|guest| !guest.services.is_empty());
        let mut with: Vec<Target> =
            there.filter(|guest| !matches!(word.on(guest), Unit::No)).map(Guest::target).collect();
        if with.is_empty() {
            return Ok(());
        }
        with.push(node.clone());
        Err(ask(self.which(&word.text, &with), with))
    }

    /// The guest that a service without a guest means: the one whose name has all its words, else the one that has it.
    pub fn home(&self, word: &ServiceWord) -> Result<(Target, String), Problem> {
        let has =
            |guest: &&Guest| matches!(word.on(guest), Unit::Is(_)) && !guest.services.is_empty() && !guest.template;
        let named = self.vocabulary.with_parts(&word.words()).map(|index| self.vocabulary.guest(index));
        let named: Vec<&Guest> = named.filter(|guest| !guest.template).collect();
        let unit = |guest: &Guest| match word.on(guest) {
            Unit::Is(unit) => Some((guest.target(), unit)),
            _ => None,
        };
        // Called so and nothing told of it: the machine may be meant as well as a service in it.
        if let [guest] = named[..]
            && guest.services.is_empty()
            && name_parts(&guest.name) == word.words()
        {
            return Err(ask(
                format!("Is {} itself meant, or a service in it? Name the service and the guest.", guest.label()),
                vec![guest.target()],
            ));
        }
        if let [guest] = named[..]
            && !word.many
            && let Some(found) = unit(guest)
        {
            return Ok(found);
        }
        let several =
            |guest: &&Guest| !guest.template && !guest.services.is_empty() && !matches!(word.on(guest), Unit::No);
        let serving = self.vocabulary.serving(|service| word.may_be(service)).into_iter();
        let all: Vec<&Guest> = serving.map(|index| self.vocabulary.guest(index)).filter(several).collect();
        // Several are called so, and yet another one has it: who knows which was meant.
        let elsewhere = |guest: &Guest| named.len() > 1 && !named.iter().any(|named| named.vmid == guest.vmid);
        if let [guest] = all[..]
            && !word.many
            && has(&guest)
            && !elsewhere(guest)
            && let Some(found) = unit(guest)
        {
            return Ok(found);
        }
        let mut candidates: Vec<Target> = all.iter().chain(&named).map(|guest| guest.target()).collect();
        candidates.sort();
        candidates.dedup();
        let question = if candidates.is_empty() {
            format!("On which guest is {}?", word.text)
        } else {
            self.which(&word.text, &candidates)
        };
        Err(ask(question, candidates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::{testing::read, values::Value};

    fn home(text: &str) -> String {
        read(text, |sentence| {
            let hits = sentence.services(0, false).into_iter().filter(|hit| hit.end == sentence.tokens.len());
            let Some(Value::Services(words)) = hits.min_by_key(|hit| hit.cost).map(|hit| hit.value) else {
                return "unread".to_owned();
            };
            let scope = Scope {
                vocabulary: sentence.vocabulary,
                before: &[],
                doubt: false,
                aside: false,
                spoken: None,
                step: None,
            };
            match scope.home(&words[0]) {
                Ok((target, unit)) => format!("{unit} {target}"),
                Err(Problem::Ask { candidates, .. }) => format!("ask {}", candidates.len()),
                Err(_) => "no".to_owned(),
            }
        })
    }

    #[test]
    fn services_find_their_guest_and_their_exact_name() {
        assert_eq!(home("the web server"), "nginx ct/118");
        assert_eq!(home("postgres"), "postgresql ct/130");
        assert_eq!(home("redis"), "redis ct/131");
        assert_eq!(home("wireguard"), "wg-quick@wg0 ct/180");
        assert_eq!(home("the imap server"), "dovecot vm/220");
        assert_eq!(home("nginx"), "ask 2");
        assert_eq!(home("all web servers"), "ask 7");
    }

    #[test]
    fn a_guest_that_told_nothing_takes_a_units_own_name() {
        let mut guest = crate::llm::grammar::testing::homelab().guest(0).clone();
        guest.services.clear();
        let word = |text: &str, units: &[&str]| ServiceWord {
            text: text.to_owned(),
            units: units.iter().map(|unit| (*unit).to_owned()).collect(),
            many: false,
        };
        assert!(matches!(word("nginx", &["nginx"]).on(&guest), Unit::Is(unit) if unit == "nginx"));
        assert!(matches!(word("ssh", &["ssh", "sshd"]).on(&guest), Unit::Is(unit) if unit == "ssh"));
        assert!(matches!(word("postgres", &["postgresql*"]).on(&guest), Unit::Is(unit) if unit == "postgresql"));
        assert!(matches!(word("web server", &["nginx", "apache2"]).on(&guest), Unit::Unsaid));
    }
}
