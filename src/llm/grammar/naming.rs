//! How one thing or class is named: by number, by its whole name, by words of its name, by a class with words before it.

use super::{
    noun::{Class, Determiner, Filter, Hit, Noun, Property},
    sentence::Sentence,
    token::Kind,
    vocabulary::{Named, name_parts, name_words},
};
use crate::model::{Target, target::Vmid};

impl Sentence<'_> {
    /// The class noun at a token: its end, class, and whether it is in the plural.
    pub(super) fn class_noun(&self, at: usize) -> Vec<(usize, Class, bool)> {
        let phrases = self.phrases(at).iter().filter_map(|phrase| {
            let class = match *self.lexicon.classes.get(&phrase.concept)? {
                "ct" => Class::Ct,
                "vm" => Class::Vm,
                "guest" => Class::Guest,
                "node" => Class::Node,
                "template" => Class::Template,
                "all" => Class::All,
                _ => Class::Any,
            };
            let last = &self.tokens[phrase.end - 1];
            let word = if phrase.corrected { last.meant.first().unwrap_or(&last.lower) } else { &last.lower };
            let many = word.ends_with('s') || class == Class::All || class == Class::Any && word != "one";
            Some((phrase.end, class, many))
        });
        phrases.collect()
    }

    pub(super) fn numbered(&self, at: usize, inherited: Option<Class>, out: &mut Vec<Hit<Noun>>) {
        let mut starts = vec![(at, inherited, if inherited.is_some() { 0 } else { 2 })];
        starts.extend(self.class_noun(at).into_iter().map(|(end, class, _)| (end, Some(class), 0)));
        for (start, class, cost) in starts {
            let mut number_at = start;
            while self.is_any(number_at, &["with", "id", "vmid", "number", "ids", "vmids", "#", "guest"]) {
                number_at += 1;
            }
            let cost = if number_at > start { 0 } else { cost };
            let Some(token) = self.token(number_at).filter(|token| token.is_wordlike()) else { continue };
            let class = class.filter(|class| !matches!(class, Class::Any | Class::All));
            if let Some((vmid, written)) = vmid_of(&token.lower) {
                let class = written.or(class);
                if let Some((end, last)) =
                    self.range_end(number_at + 1).filter(|(_, last)| self.are_guests(vmid, *last))
                {
                    let filters = vec![Filter::is(Property::Vmids(vmid, last))];
                    let value = Noun::of_class(class.unwrap_or(Class::Any), filters);
                    out.push(Hit { end, value, cost });
                }
                let cost = if written.is_some() || token.lower.starts_with('#') { 0 } else { cost };
                out.push(Hit { end: number_at + 1, value: Noun::Vmid { vmid, class, filters: Vec::new() }, cost });
            } else if let Some((first, last)) =
                vmid_range(&token.lower).filter(|(first, last)| class.is_some() || self.are_guests(*first, *last))
            {
                let filters = vec![Filter::is(Property::Vmids(first, last))];
                let value = Noun::of_class(class.unwrap_or(Class::Any), filters);
                out.push(Hit { end: number_at + 1, value, cost });
            } else if token.kind == Kind::Number && class.is_some() {
                out.push(Hit { end: number_at + 1, value: Noun::Unknown { text: token.text.clone() }, cost: 20 });
            } else if let Ok(target) = token.lower.parse::<Target>() {
                self.written(&target, number_at + 1, out);
            }
        }
    }

    /// `to 121`, `- 121`, `through 121` after a number.
    fn range_end(&self, at: usize) -> Option<(usize, Vmid)> {
        let dash = self.token(at).is_some_and(|token| matches!(token.text.as_str(), "-" | "–"));
        let joined = dash || self.is_any(at, &["to", "through", "thru", "till", "until", "bis"]);
        let token = self.token(at + 1).filter(|token| joined && token.kind == Kind::Number)?;
        Some((at + 2, vmid_of(&token.lower)?.0))
    }

    /// Whether guests have these numbers, so that they are the ends of a range of guests.
    fn are_guests(&self, first: Vmid, last: Vmid) -> bool {
        let inventory = self.vocabulary.inventory;
        first < last && inventory.guest(first).is_some() && inventory.guest(last).is_some()
    }

    /// A target as plans write it: `ct/118`, `node/pve1`.
    pub(super) fn written(&self, target: &Target, end: usize, out: &mut Vec<Hit<Noun>>) {
        let text = target.to_string();
        let noun = match target.node_name() {
            Some(name) => self.vocabulary.node(name).map(|_| Noun::Named {
                text: text.clone(),
                named: self
                    .vocabulary
                    .named(name)
                    .iter()
                    .copied()
                    .filter(|named| matches!(named, Named::Node(_)))
                    .collect(),
                class: Some(Class::Node),
                filters: Vec::new(),
            }),
            None => None,
        };
        if target.to_string() != "cluster" {
            out.push(Hit { end, value: noun.unwrap_or(Noun::Unknown { text }), cost: 0 });
        }
    }

    pub(super) fn exact(&self, at: usize, out: &mut Vec<Hit<Noun>>) {
        let mut starts: Vec<(usize, Option<Class>)> = vec![(at, None)];
        starts.extend(
            self.class_noun(at)
                .into_iter()
                .filter(|(_, class, _)| !matches!(class, Class::Any | Class::All))
                .map(|(end, class, _)| (end, Some(class))),
        );
        for (start, before) in starts {
            let start = if before.is_some() && self.is_any(start, &["called", "named"]) { start + 1 } else { start };
            if before.is_none() {
                self.apposed(start, out);
            }
            for (end, text, named, cost) in self.names(start) {
                let noun = |class| Noun::Named { text: text.clone(), named: named.clone(), class, filters: Vec::new() };
                out.push(Hit { end, value: noun(before), cost });
                for (after, class, many) in self.class_noun(end) {
                    if !many && !matches!(class, Class::Any | Class::All) && before.is_none() {
                        out.push(Hit { end: after, value: noun(Some(class)), cost });
                    }
                }
            }
        }
    }

    /// `the phone system voip`, `both terminal servers ts-01 and ts-02`: what it is before what it is called.
    pub(super) fn apposed(&self, at: usize, out: &mut Vec<Hit<Noun>>) {
        // `the load balancer lb-1`: the name itself says so too.
        for (end, words) in self.alike(at) {
            let says = |named: &Named| {
                let parts = name_words(self.name(*named));
                words.iter().any(|word| parts.contains(word))
            };
            let names = self.names(end).into_iter().filter(|(.., named, cost)| *cost == 0 && named.iter().all(says));
            out.extend(names.map(|(end, text, named, _)| Hit {
                end,
                value: Noun::Named { text, named, class: None, filters: Vec::new() },
                cost: 1,
            }));
        }
        for noun_at in at + 1..=at + 2 {
            // Only words that can be no others: a `not` or `other` before the noun is never passed over.
            let describes = |at: usize| {
                let token = self.token(at).filter(|token| token.kind == Kind::Word);
                let alike = self.alike(at).next().is_some();
                token.is_some_and(|token| alike || self.is_foreign(at) || self.vocabulary.knows(&token.lower))
            };
            if !(at..noun_at).all(describes) {
                return;
            }
            let classes = self.class_noun(noun_at).into_iter();
            for (end, class, _) in classes.filter(|(_, class, _)| !matches!(class, Class::Any | Class::All)) {
                out.extend(self.names(end).into_iter().filter(|(.., cost)| *cost == 0).map(|(end, text, named, _)| {
                    Hit { end, value: Noun::Named { text, named, class: Some(class), filters: Vec::new() }, cost: 3 }
                }));
            }
        }
    }

    /// Whole names that begin at a token, of one word or of several.
    pub(super) fn names(&self, at: usize) -> Vec<(usize, String, Vec<Named>, u32)> {
        let mut out = Vec::new();
        let mut joined = String::new();
        for end in at + 1..=(at + 5).min(self.tokens.len()) {
            let token = &self.tokens[end - 1];
            if !token.is_wordlike() || token.text.len() > 80 {
                break;
            }
            joined.push_str(&token.lower);
            let named = self.vocabulary.named(&joined);
            if named.is_empty() {
                if end == at + 1 {
                    for meant in &token.meant {
                        let named = self.vocabulary.named(meant);
                        if !named.is_empty() {
                            out.push((end, meant.clone(), named.to_vec(), 10));
                        }
                    }
                }
                continue;
            }
            let text = self.text(at, end);
            let spelled = named.iter().any(|named| self.name(*named).eq_ignore_ascii_case(&text));
            // Words of the language that are a name only when written together are rather those words.
            out.push((end, text, named.to_vec(), if spelled { 0 } else { 3 }));
        }
        out
    }

    pub(super) fn name(&self, named: Named) -> &str {
        match named {
            Named::Guest(index) => &self.vocabulary.inventory.guests[index].name,
            Named::Node(index) => &self.vocabulary.inventory.nodes[index].name,
        }
    }

    pub(super) fn partial(&self, at: usize, out: &mut Vec<Hit<Noun>>) {
        let mut open = vec![(at, Vec::<String>::new(), 6)];
        for _ in 0..3 {
            let mut next = Vec::new();
            for (end, words, cost) in open {
                for (end, mut said, more) in self.name_words(end) {
                    let words = [words.clone(), std::mem::take(&mut said)].concat();
                    if self.vocabulary.with_parts(&words).next().is_some() {
                        let noun = Noun::Partial { words: words.clone(), filters: Vec::new() };
                        out.push(Hit { end, value: noun, cost: cost + more });
                    }
                    next.push((end, words, cost + more));
                }
            }
            open = next;
        }
    }

    /// Words of names at a place, as the inventory has them: the word itself, or what stands for it in names.
    fn name_words(&self, at: usize) -> Vec<(usize, Vec<String>, u32)> {
        let mut out = Vec::new();
        if let Some(token) = self.token(at).filter(|token| matches!(token.kind, Kind::Word | Kind::Number)) {
            let parts = name_parts(&token.lower);
            if !parts.is_empty() && parts.iter().all(|part| self.vocabulary.is_part(part)) {
                out.push((at + 1, parts, 0));
            }
        }
        let known = out.len();
        for (end, words) in self.alike(at).filter(|(end, _)| known == 0 || *end > at + 1) {
            out.extend(
                words.iter().filter(|word| self.vocabulary.is_part(word)).map(|word| (end, vec![word.clone()], 2)),
            );
        }
        out
    }

    /// Phrases at a place that other words may stand for in names and tags: `load balancer`, with `lb` and the like.
    pub(super) fn alike(&self, at: usize) -> impl Iterator<Item = (usize, &[String])> {
        // What is a kind of service, such as `database`, is looked for among services.
        let (services, roles) = (&self.lexicon.services, &self.lexicon.roles);
        let served = move |end: usize| {
            let kinds = self.phrases(at).iter().filter(|phrase| phrase.end == end);
            kinds.map(|phrase| phrase.concept).any(|id| services.contains_key(&id) || roles.contains_key(&id))
        };
        let phrases = self.phrases(at).iter().filter(move |phrase| !phrase.corrected && !served(phrase.end));
        phrases.filter_map(|phrase| Some((phrase.end, self.lexicon.parts.get(&phrase.concept)?.as_slice())))
    }

    /// `both pacs`, `all portals`: every guest with those words in its name.
    pub(super) fn all_called(&self, at: usize, determiner: Determiner, out: &mut Vec<Hit<Noun>>) {
        let mut found = Vec::new();
        self.partial(at, &mut found);
        out.extend(found.into_iter().filter_map(|hit| {
            let Noun::Partial { words, .. } = hit.value else { return None };
            let noun = Noun::Class {
                class: Class::Any,
                mods: 0,
                filters: words.iter().map(|word| Filter::is(Property::Part(word.clone()))).collect(),
                words: Vec::new(),
                many: true,
                any: determiner.any,
                all: true,
                count: determiner.count,
            };
            Some(Hit { end: hit.end, value: noun, cost: 4 })
        }));
    }

    /// `restart nginx in prod`: an environment stands for what is in it.
    pub(super) fn environment(&self, at: usize, out: &mut Vec<Hit<Noun>>) {
        let Some(token) = self.token(at).filter(|token| token.kind == Kind::Word) else { return };
        let known = self.lexicon.tags.iter().any(|group| group.contains(&token.lower.as_str()));
        let tags = self.vocabulary.tags_for(&token.lower, self.lexicon);
        if known && !tags.is_empty() && at > 0 && self.is(at - 1, "in") {
            let noun = Noun::Class {
                class: Class::Any,
                words: Vec::new(),
                filters: vec![Filter::is(Property::Tag(tags))],
                mods: 0,
                many: true,
                any: false,
                all: true,
                count: None,
            };
            out.push(Hit { end: at + 1, value: noun, cost: 4 });
        }
    }

    /// `workers`, where guests have `worker` in their names: that part. `load balancers`, where they have `lb`.
    fn several_called(&self, at: usize) -> Vec<(usize, Property)> {
        let Some(token) = self.token(at).filter(|token| token.kind == Kind::Word) else { return Vec::new() };
        let fits = |one: &&str| {
            one.len() >= 2
                && self.vocabulary.is_part(one)
                && !self.vocabulary.is_part(&token.lower)
                && self.class_noun(at).is_empty()
        };
        let one = token.lower.strip_suffix('s').filter(fits).map(|one| (at + 1, Property::Part(one.to_owned())));
        // `dns` is no plural.
        let plural = |end: usize, words: &[String]| {
            let last = &self.tokens[end - 1].lower;
            let one =
                last.strip_suffix("ies").map(|one| format!("{one}y")).or(last.strip_suffix('s').map(str::to_owned));
            one.is_some_and(|one| end > at + 1 || words.contains(&one))
        };
        let alike = self.alike(at).filter(|(end, words)| one.is_none() && plural(*end, words));
        let alike = alike.filter_map(|(end, words)| Some((end, self.alike_property(words)?)));
        alike.chain(one.clone()).collect()
    }

    /// What words that stand for one another ask of a member of a class.
    pub(super) fn alike_property(&self, words: &[String]) -> Option<Property> {
        let tags: Vec<String> = words.iter().filter(|word| self.vocabulary.has_tag(word)).cloned().collect();
        if !tags.is_empty() {
            return Some(Property::Tag(tags));
        }
        let mut parts = words.iter().filter(|word| self.vocabulary.is_part(word)).cloned();
        parts.next().filter(|_| parts.next().is_none()).map(Property::Part)
    }

    pub(super) fn class(&self, at: usize, determiner: Determiner, out: &mut Vec<Hit<Noun>>) {
        let mut open = vec![(at, Vec::<Filter>::new(), Vec::<String>::new(), 0)];
        for _ in 0..5 {
            let mut next = Vec::new();
            for (end, filters, words, cost) in open {
                for (after, class, plural) in self.class_noun(end) {
                    if class == Class::All && end != at {
                        continue;
                    }
                    // `the nginx server` is rather the service than a machine.
                    let served = !words.is_empty() && self.tokens[after - 1].is("server");
                    // `the intranet container` is rather the one of that very name than all that have it in theirs.
                    let named = !words.is_empty() && !self.vocabulary.named(&words.concat()).is_empty();
                    let cost = cost + if served { 4 } else { 0 } + if named { 3 } else { 0 };
                    let many = determiner.all || determiner.any || plural;
                    let noun = Noun::Class {
                        class,
                        words: words.clone(),
                        mods: filters.len(),
                        filters: filters.clone(),
                        many,
                        any: determiner.any,
                        all: determiner.all || class == Class::All,
                        count: determiner.count,
                    };
                    out.push(Hit { end: after, value: noun, cost });
                }
                for (after, property) in self.several_called(end) {
                    let mut filters = filters.clone();
                    filters.push(Filter::is(property));
                    let noun = Noun::Class {
                        class: Class::Any,
                        words: Vec::new(),
                        filters,
                        mods: 0,
                        many: true,
                        any: determiner.any,
                        all: determiner.all,
                        count: determiner.count,
                    };
                    out.push(Hit { end: after, value: noun, cost: cost + 2 });
                }
                if let Some((after, pool)) = self.pool(end) {
                    let mut filters = filters.clone();
                    filters.push(Filter::is(Property::Pool(pool)));
                    let noun = Noun::Class {
                        class: Class::Any,
                        words: Vec::new(),
                        filters,
                        mods: 0,
                        many: true,
                        any: false,
                        all: true,
                        count: None,
                    };
                    out.push(Hit { end: after, value: noun, cost });
                }
                for (after, filter, mut said, more) in self.modifier(end) {
                    let (mut filters, mut words) = (filters.clone(), words.clone());
                    filters.push(filter);
                    words.append(&mut said);
                    next.push((after, filters, words, cost + more));
                }
            }
            if next.is_empty() {
                break;
            }
            open = next;
            open.truncate(12);
        }
    }

    pub(super) fn unknown(&self, at: usize, out: &mut Vec<Hit<Noun>>) {
        let classed = self.class_noun(at).into_iter().map(|(end, ..)| end).next();
        let start = classed.unwrap_or(at);
        let Some(token) = self.token(start).filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted)) else {
            return;
        };
        let strange = token.kind == Kind::Quoted || !self.lexicon.knows(&token.lower);
        if strange && token.lower.starts_with(char::is_alphanumeric) {
            let mut end = start + 1;
            end = self.class_noun(end).into_iter().map(|(end, ..)| end).next().unwrap_or(end);
            out.push(Hit { end, value: Noun::Unknown { text: token.text.clone() }, cost: 100 });
        }
    }
}

/// `118`, `#118`, `ct118`, `ct/118`, `vm-201`.
fn vmid_of(word: &str) -> Option<(Vmid, Option<Class>)> {
    let (rest, class) = ["lxc", "ct", "vm", "qemu"]
        .iter()
        .find_map(|prefix| {
            Some((
                word.strip_prefix(prefix)?,
                Some(if matches!(*prefix, "vm" | "qemu") { Class::Vm } else { Class::Ct }),
            ))
        })
        .unwrap_or((word, None));
    let digits = rest.trim_start_matches(if class.is_some() { ['/', '-', '#', ':'] } else { ['#'; 4] });
    let plain = (3..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let vmid = plain.then(|| digits.parse::<Vmid>().ok())??;
    (vmid >= 100).then_some((vmid, class))
}

fn vmid_range(word: &str) -> Option<(Vmid, Vmid)> {
    let (first, last) = word.split_once('-')?;
    let (first, last) = (vmid_of(first)?.0, vmid_of(last)?.0);
    (first <= last).then_some((first, last))
}
