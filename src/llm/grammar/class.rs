//! From expressions over the inventory to targets. Nothing is widened here: what fits several where one was meant, or
//! contradicts the inventory, becomes a question, and what nothing is called becomes a refusal.

use super::{
    comment::Spoken,
    noun::{Class, Expr, Filter, Noun, Property},
    service::ServiceWord,
    vocabulary::{Named, Vocabulary, name_parts, name_words},
};
use crate::model::{
    Target,
    inventory::{Guest, Node},
    plan::Proposed,
    selector,
};
use rustc_hash::FxHashSet;

/// Why something can't be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Nothing is called so.
    Unknown(String),
    /// One has to ask.
    Ask {
        /// What.
        question: String,
        /// What it might have meant.
        candidates: Vec<Target>,
    },
    /// It can't or must not be done.
    Refuse(String),
}

/// Targets, and how they were named.
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that was or was not said")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// Sorted, without doubles.
    pub targets: Vec<Target>,
    /// In the order of the text, one group for each noun phrase.
    pub groups: Vec<Vec<Target>>,
    /// Those that were named by a class rather than each.
    pub by_class: Vec<Target>,
    /// Whether a class was narrowed by nothing but its kind (`all containers`, `everything`).
    pub unbounded: bool,
    /// Whether nothing but a place narrowed a class of every kind (`everything on pve1`).
    pub whole_nodes: bool,
    /// Whether a class of guests and nodes alike, with no word about either, was meant (`everything`).
    pub everything: bool,
    /// Whether `any` was said.
    pub any: bool,
    /// Whether a bare plural was all that was said: `reboot containers`.
    pub bare: bool,
}

/// What resolving needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The inventory's words.
    pub vocabulary: &'a Vocabulary<'a>,
    /// What the clause before was about.
    pub before: &'a [Target],
    /// Whether it is open which of those was meant.
    pub doubt: bool,
    /// Whether those were named in a comment alone.
    pub aside: bool,
    /// What else was spoken of in a comment.
    pub spoken: Option<&'a Spoken>,
    /// The step before, for a pronoun that means its service.
    pub step: Option<&'a Proposed>,
}

/// A question.
pub fn ask(question: impl Into<String>, candidates: Vec<Target>) -> Problem {
    Problem::Ask { question: question.into(), candidates }
}

impl Scope<'_> {
    /// The service that a pronoun means.
    pub fn spoken_service(&self) -> Option<ServiceWord> {
        let of_step = || {
            let name = self.step?.op.service()?;
            Some(ServiceWord { text: name.to_owned(), units: vec![name.to_owned()], many: false })
        };
        self.spoken.and_then(|spoken| spoken.service.clone()).or_else(of_step)
    }

    /// The targets of an expression.
    pub fn resolve(&self, expr: &Expr) -> Result<Taken, Problem> {
        let mut taken = Taken::default();
        let mut excluded = Vec::new();
        let mut removed = 0;
        for noun in &expr.exclude {
            excluded.extend(self.noun(noun, true)?);
        }
        let gone: FxHashSet<&Target> = excluded.iter().collect();
        let empty: Vec<&str> = excluded.iter().filter_map(Target::node_name).collect();
        for noun in &expr.include {
            let mut group = self.noun(noun, false)?;
            let before = group.len();
            group.retain(|target| !gone.contains(target) && !self.is_on(target, &empty));
            removed += before - group.len();
            if let Noun::Class { many: true, any, all, .. } = noun {
                taken.by_class.extend(group.iter().cloned());
                taken.any |= any;
                taken.bare |= !all && is_unbounded(noun);
                taken.unbounded |= is_unbounded(noun) && expr.exclude.is_empty();
                taken.whole_nodes |= matches!(noun, Noun::Class { class: Class::Any | Class::All | Class::Guest, filters, .. }
                    if filters.iter().all(|filter| matches!(filter.what, Property::Node(_))));
                taken.everything |= matches!(noun, Noun::Class { class: Class::Any | Class::All | Class::Guest, .. })
                    && is_unbounded(noun);
            }
            taken.targets.extend(group.iter().cloned());
            taken.groups.push(group);
        }
        // An exception that takes nothing away was meant otherwise; one named beside a name (`a, not b`) is clear.
        let by_class = |noun: &Noun| matches!(noun, Noun::Class { .. });
        if removed == 0 && !excluded.is_empty() && expr.include.iter().any(by_class) {
            let gone: Vec<String> = excluded.iter().take(8).map(|target| self.label(target)).collect();
            return Err(ask(format!("{} is not among them. What is to be left out?", gone.join(", ")), excluded));
        }
        taken.targets.sort();
        taken.targets.dedup();
        if taken.targets.is_empty() {
            return Err(ask("Nothing in the inventory fits that. Which guests or nodes?", Vec::new()));
        }
        self.agrees(&taken, &expr.gloss)?;
        Ok(taken)
    }

    /// What is said once more in parentheses has to be the same: `201 (dc02)`.
    fn agrees(&self, taken: &Taken, gloss: &[Noun]) -> Result<(), Problem> {
        let mut said = Vec::new();
        for noun in gloss {
            said.extend(self.noun(noun, false)?);
        }
        said.sort();
        said.dedup();
        if gloss.is_empty() || said == taken.targets {
            return Ok(());
        }
        let inside: Vec<String> = said.iter().take(8).map(|target| self.label(target)).collect();
        said.extend(taken.targets.iter().cloned());
        said.sort();
        said.dedup();
        Err(ask(
            format!("The parentheses name {}, the words before them do not. Which is meant?", inside.join(", ")),
            said,
        ))
    }

    /// Whether a guest is on one of these nodes.
    fn is_on(&self, target: &Target, nodes: &[&str]) -> bool {
        !nodes.is_empty()
            && self.vocabulary.inventory.guest_of(target).is_some_and(|guest| nodes.contains(&guest.node.as_str()))
    }

    fn noun(&self, noun: &Noun, excepted: bool) -> Result<Vec<Target>, Problem> {
        match noun {
            Noun::Pronoun if self.before.is_empty() => Err(ask("Which one? Name a guest or node.", Vec::new())),
            Noun::Pronoun if self.doubt => Err(ask(self.which("it", self.before), self.before.to_vec())),
            Noun::Pronoun => Ok(self.before.to_vec()),
            Noun::Unknown { text } => Err(Problem::Unknown(text.clone())),
            Noun::Vmid { vmid, class, filters } => {
                let guest = self.vocabulary.inventory.guest(*vmid).ok_or_else(|| Problem::Unknown(vmid.to_string()))?;
                self.one(&[guest], &[], *class, filters, &vmid.to_string())
            }
            Noun::Named { text, named, class, filters } => {
                let guests: Vec<&Guest> = named.iter().filter_map(|named| self.guest(*named)).collect();
                let nodes: Vec<&Node> = named.iter().filter_map(|named| self.node(*named)).collect();
                self.one(&guests, &nodes, *class, filters, text)
            }
            Noun::Partial { words, filters } => {
                let guests = self.vocabulary.with_parts(words).map(|index| self.vocabulary.guest(index));
                let guests: Vec<&Guest> = guests.filter(|guest| !guest.template).collect();
                self.one(&guests, &[], None, filters, &words.join(" "))
            }
            Noun::Class { many: true, class, filters, count, .. } => {
                let members = self.members(*class, filters)?;
                match count {
                    Some(count) if members.len() != *count => {
                        let question =
                            format!("{count} were spoken of, and {} fit that. Which ones? Name them.", members.len());
                        Err(ask(question, members))
                    }
                    _ => Ok(members),
                }
            }
            Noun::Class { class, words, filters, .. }
                if words.is_empty() && filters.is_empty() && !self.doubt && self.spoken_of_as(*class) =>
            {
                Ok(self.before.to_vec())
            }
            Noun::Class { class, words, filters, mods, .. } => {
                let mut all = self.members(*class, filters).or_else(|problem| match problem {
                    Problem::Ask { .. } => Ok(Vec::new()),
                    other => Err(other),
                })?;
                all.extend(self.called(*class, words, &filters[*mods..]));
                all.sort();
                all.dedup();
                match all[..] {
                    [_] => Ok(all),
                    _ if excepted && !all.is_empty() => Ok(all),
                    [] => Err(ask("Nothing in the inventory fits that. Which guest or node?", all)),
                    _ => Err(ask(self.which(&words.join(" "), &all), all)),
                }
            }
        }
    }

    /// `the container` after one was named: whether that one is such.
    fn spoken_of_as(&self, class: Class) -> bool {
        let [target] = self.before else { return false };
        match self.vocabulary.inventory.guest_of(target) {
            Some(guest) => class.takes(guest.kind) && class != Class::Template,
            None => class == Class::Node && target.is_node(),
        }
    }

    /// Guests of a class whose names have all the words.
    fn called(&self, class: Class, words: &[String], filters: &[Filter]) -> Vec<Target> {
        let guests = self.vocabulary.with_parts(words).map(|index| self.vocabulary.guest(index));
        let fits = |guest: &&Guest| {
            class.takes(guest.kind)
                && guest.template == (class == Class::Template)
                && filters.iter().all(|filter| holds(filter, guest))
        };
        guests.filter(fits).map(Guest::target).collect()
    }

    /// The one thing that was meant, its class and place being right.
    fn one(
        &self,
        guests: &[&Guest],
        nodes: &[&Node],
        class: Option<Class>,
        filters: &[Filter],
        text: &str,
    ) -> Result<Vec<Target>, Problem> {
        let all: Vec<Target> = guests
            .iter()
            .map(|guest| guest.target())
            .chain(nodes.iter().map(|node| Target::node(&node.name)))
            .collect();
        let of_class = |guest: &&&Guest| class.is_none_or(|class| class.takes(guest.kind));
        let right: Vec<&&Guest> = guests.iter().filter(of_class).collect();
        let right_nodes: Vec<&&Node> =
            nodes.iter().filter(|_| class.is_none_or(|class| matches!(class, Class::Node | Class::Guest))).collect();
        if right.is_empty() && right_nodes.is_empty() {
            let what = all.iter().map(|target| self.label(target)).collect::<Vec<_>>().join(", ");
            return Err(ask(format!("`{text}` is {what}, not what the sentence calls it. Is that the one?"), all));
        }
        let fitting =
            right.iter().filter(|guest| filters.iter().all(|filter| holds(filter, guest))).map(|guest| guest.target());
        let fitting_nodes = right_nodes.iter().filter(|_| filters.is_empty()).map(|node| Target::node(&node.name));
        let fitting: Vec<Target> = fitting.chain(fitting_nodes).collect();
        match fitting[..] {
            [_] => Ok(fitting),
            [] => {
                let place = right.first().map_or_else(String::new, |guest| format!(" on {}", guest.node));
                Err(ask(format!("`{text}` is{place}, not where the sentence says. Is that the one?"), all))
            }
            _ => Err(ask(self.which(text, &fitting), fitting)),
        }
    }

    /// Every member of a class that has all the properties. Templates only where they are asked for.
    pub fn members(&self, class: Class, filters: &[Filter]) -> Result<Vec<Target>, Problem> {
        if let Some(word) = filters.iter().find_map(strange) {
            return Err(ask(format!("No guest is tagged `{word}`. Which tag?"), Vec::new()));
        }
        let inventory = self.vocabulary.inventory;
        if class == Class::Node {
            let fits = |node: &&Node| filters.iter().all(|filter| node_holds(filter, node));
            let mut nodes: Vec<Target> =
                inventory.nodes.iter().filter(fits).map(|node| Target::node(&node.name)).collect();
            nodes.sort();
            return Ok(nodes);
        }
        let fits = |guest: &&Guest| {
            class.takes(guest.kind)
                && guest.template == (class == Class::Template)
                && filters.iter().all(|filter| holds(filter, guest))
        };
        let fewest = filters.iter().filter_map(|filter| self.having(filter)).min_by_key(Vec::len);
        let mut guests: Vec<Target> = match fewest {
            Some(members) => {
                members.into_iter().map(|index| self.vocabulary.guest(index)).filter(fits).map(Guest::target).collect()
            }
            None => inventory.guests.iter().filter(fits).map(Guest::target).collect(),
        };
        guests.sort();
        guests.dedup();
        if guests.is_empty() {
            return Err(ask("Nothing in the inventory fits that. Which guests?", Vec::new()));
        }
        Ok(guests)
    }

    /// The guests that have a property, and perhaps others, where the index knows them.
    fn having(&self, filter: &Filter) -> Option<Vec<usize>> {
        let known = self.vocabulary;
        match &filter.what {
            _ if filter.not => None,
            Property::Tag(tags) => {
                Some(tags.iter().flat_map(|tag| known.tagged(&tag.to_lowercase())).copied().collect())
            }
            Property::Pool(pool) => Some(known.in_pool(pool).to_vec()),
            Property::Node(node) => Some(known.on_node(node).to_vec()),
            Property::Units(units) => {
                Some(known.serving(|service| units.iter().any(|unit| unit_matches(unit, service))))
            }
            Property::Part(word) => Some(known.with_parts(&name_parts(word)).collect()),
            Property::Vmids(first, last) => Some(known.numbered(*first..=*last).collect()),
            _ => None,
        }
    }

    /// The node that a noun names.
    pub fn node_named(&self, noun: &Noun) -> Option<String> {
        match noun {
            Noun::Named { named, .. } => named.iter().find_map(|named| self.node(*named)).map(|node| node.name.clone()),
            _ => None,
        }
    }

    fn guest(&self, named: Named) -> Option<&Guest> {
        match named {
            Named::Guest(index) => Some(self.vocabulary.guest(index)),
            Named::Node(_) => None,
        }
    }

    fn node(&self, named: Named) -> Option<&Node> {
        match named {
            Named::Guest(_) => None,
            Named::Node(index) => self.vocabulary.inventory.nodes.get(index),
        }
    }

    /// `ct/118 web-server`, for questions.
    pub fn label(&self, target: &Target) -> String {
        let name = self.vocabulary.inventory.name_of(target);
        if name.is_empty() || target.is_node() { target.to_string() } else { format!("{target} {name}") }
    }

    /// `Which one? … fits`.
    pub fn which(&self, text: &str, candidates: &[Target]) -> String {
        let shown: Vec<String> = candidates.iter().take(8).map(|target| self.label(target)).collect();
        let more = if candidates.len() > 8 { format!(" and {} more", candidates.len() - 8) } else { String::new() };
        format!("Which one? `{text}` fits {}{more}. Name one, or say \"all\".", shown.join(", "))
    }
}

/// Whether a class takes everything of its kind.
fn is_unbounded(noun: &Noun) -> bool {
    matches!(noun, Noun::Class { filters, .. } if filters.is_empty())
}

fn strange(filter: &Filter) -> Option<String> {
    match &filter.what {
        Property::Strange(word) => Some(word.clone()),
        Property::AnyOf(filters) => filters.iter().find_map(strange),
        _ => None,
    }
}

/// Whether a guest has a property.
pub fn holds(filter: &Filter, guest: &Guest) -> bool {
    let has = match &filter.what {
        Property::State(state) => guest.status == *state || state == "paused" && guest.status == "suspended",
        Property::System(system) => match system.strip_prefix("family:") {
            Some(family) => guest.os.family == family,
            None => beginning(&guest.os.id, system, '-'),
        },
        Property::SystemVersion(version) => beginning(&guest.os.version, version, '.'),
        Property::Tag(tags) => guest.tags.iter().any(|tag| tags.iter().any(|wanted| tag.eq_ignore_ascii_case(wanted))),
        Property::Pool(pool) => guest.pool.as_deref() == Some(pool),
        Property::Node(node) => guest.node == *node,
        Property::Units(units) => {
            guest.services.iter().any(|service| units.iter().any(|unit| unit_matches(unit, service)))
        }
        Property::Agent => guest.agent.is_some(),
        Property::AgentVersion(version) => guest.agent.as_ref().is_some_and(|agent| agent.version == *version),
        Property::Part(word) => {
            let parts = name_words(&guest.name);
            name_parts(word).iter().all(|word| parts.contains(word))
        }
        Property::Vmids(first, last) => (*first..=*last).contains(&guest.vmid),
        Property::AnyOf(filters) => filters.iter().any(|filter| holds(filter, guest)),
        Property::Strange(_) => false,
    };
    has != filter.not
}

/// Whether a text is this, or begins with it and the mark.
fn beginning(text: &str, with: &str, mark: char) -> bool {
    text.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with(mark))
}

fn node_holds(filter: &Filter, node: &Node) -> bool {
    let has = match &filter.what {
        Property::State(state) => {
            node.status == *state
                || state == "running" && node.status == "online"
                || state == "stopped" && node.status == "offline"
        }
        Property::Node(name) => node.name == *name,
        Property::Agent => node.pve_agent.is_some(),
        Property::AgentVersion(version) => node.pve_agent.as_ref().is_some_and(|agent| agent.version == *version),
        Property::AnyOf(filters) => filters.iter().any(|filter| node_holds(filter, node)),
        _ => return false,
    };
    has != filter.not
}

/// Whether a unit's name fits what the lexicon says of it (globs, letters' case aside).
pub fn unit_matches(unit: &str, service: &str) -> bool {
    selector::fits(unit, service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::{lexicon::Lexicon, sentence::Sentence, testing::homelab, token::tokens};

    fn taken(text: &str) -> String {
        let vocabulary = Vocabulary::new(homelab());
        let mut tokens = tokens(text, Lexicon::get());
        vocabulary.prepare(&mut tokens, Lexicon::get());
        let sentence = Sentence::new(tokens, Lexicon::get(), &vocabulary);
        let scope =
            Scope { vocabulary: &vocabulary, before: &[], doubt: false, aside: false, spoken: None, step: None };
        let hits = sentence.targets(0).into_iter().filter(|hit| hit.end == sentence.tokens.len());
        let Some(best) = hits.min_by_key(|hit| hit.cost) else { return "unread".to_owned() };
        let list = |targets: &[Target]| targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match scope.resolve(&best.value) {
            Ok(taken) => list(&taken.targets),
            Err(Problem::Ask { candidates, .. }) => format!("ask {}", list(&candidates)),
            Err(Problem::Unknown(text)) => format!("unknown {text}"),
            Err(Problem::Refuse(_)) => "refuse".to_owned(),
        }
    }

    #[test]
    fn noun_phrases_take_what_they_say() {
        for (text, targets) in [
            ("web-server", "ct/118"),
            ("the home assistant VM", "vm/200"),
            ("container 118 on pve1", "ct/118"),
            ("#118", "ct/118"),
            ("lxc 180", "ct/180"),
            ("vm 201 and vm 202", "vm/201 vm/202"),
            ("containers 118, 119 and 120", "ct/118 ct/119 ct/120"),
            ("all running debian containers on pve2", "ct/102 ct/120 ct/130"),
            ("every VM in the k3s pool", "vm/202 vm/203 vm/204"),
            ("containers tagged 'production'", "ct/110 ct/118 ct/130 ct/131 ct/190"),
            ("all web server VMs", "vm/230"),
            ("all k3s VMs but not k3s-1", "vm/203 vm/204"),
            ("every container that runs nginx", "ct/118 ct/119"),
            ("stopped containers and VMs", "ct/121 ct/171 vm/211"),
            ("the data pool", "ct/130 ct/131 ct/132"),
            ("grafna", "ct/150"),
            ("ubuntu 22.04 containers", "ct/119 ct/150 ct/171"),
            ("blog and on nextcloud", "ct/120 ct/190"),
        ] {
            assert_eq!(taken(text), targets, "{text}");
        }
    }

    #[test]
    fn doubts_become_questions_and_strangers_are_named() {
        for (text, targets) in [
            ("container 118 on pve2", "ask ct/118"),
            ("container 200", "ask vm/200"),
            ("dns", "ask ct/101 ct/102"),
            ("the windows vm", "ask vm/210 vm/211"),
            ("container 555", "unknown 555"),
            ("pve9", "unknown pve9"),
            ("it", "ask "),
            ("all containers except billing", "unknown billing"),
        ] {
            assert_eq!(taken(text), targets, "{text}");
        }
    }
}
