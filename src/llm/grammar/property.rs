//! What can be said of the members of a class, before the noun (`stopped`, `Debian`, `web server`) and after it (`on pve2`,
//! `tagged web`, `in the data pool`, `that run nginx`, `without an agent`).

use super::{
    noun::{Class, Filter, Hit, Noun, Property},
    sentence::Sentence,
    token::Kind,
    vocabulary::name_parts,
};

impl Sentence<'_> {
    /// `k3s pool`, `pool k3s`.
    pub(super) fn pool(&self, at: usize) -> Option<(usize, String)> {
        let at = if self.is(at, "the") { at + 1 } else { at };
        let word = |at: usize| {
            self.token(at).filter(|token| token.is_wordlike()).and_then(|token| self.pool_named(at, &token.lower))
        };
        if self.is(at, "pool") || self.is(at, "resource") && self.is(at + 1, "pool") {
            let at = at + if self.is(at, "pool") { 1 } else { 2 };
            return word(at).map(|pool| (at + 1, pool));
        }
        let end = if self.is(at + 1, "resource") { at + 2 } else { at + 1 };
        word(at).filter(|_| self.is(end, "pool")).map(|pool| (end + 1, pool))
    }

    pub(super) fn pool_named(&self, at: usize, word: &str) -> Option<String> {
        let meant = || self.tokens[at].meant.iter().find_map(|meant| self.vocabulary.pool(meant));
        self.vocabulary.pool(word).or_else(meant).map(str::to_owned)
    }

    /// A word before a class noun: where it ends, what it asks, as which words of a name it counts, its cost.
    pub(super) fn modifier(&self, at: usize) -> Vec<(usize, Filter, Vec<String>, u32)> {
        let mut out = Vec::new();
        let negated = self.is(at, "non");
        let start = at + usize::from(negated);
        if let Some((end, pool)) = self.pool(start) {
            out.push((end, Filter { what: Property::Pool(pool), not: negated }, Vec::new(), 0));
        }
        for (end, what, cost) in self.property(start) {
            let words = self.tokens[start..end].iter().map(|token| token.lower.clone()).collect();
            let cost = cost + if matches!(what, Property::Units(_)) { 4 } else { 0 };
            let mut filter = Filter { what, not: negated };
            let mut end = end;
            while self.is_any(end, &["and", "or"]) {
                let Some((after, other, _)) = self.property(end + 1).into_iter().next() else { break };
                if self.class_noun(after).is_empty() {
                    break;
                }
                filter = Filter::is(Property::AnyOf(vec![filter, Filter::is(other)]));
                end = after;
            }
            out.push((end, filter, words, cost));
        }
        out
    }

    /// What a word can ask of a member of a class, the likeliest meaning first; at most one meaning for each end.
    pub(super) fn property(&self, at: usize) -> Vec<(usize, Property, u32)> {
        if let Some(version) = self.version(at) {
            return vec![(at + 1, Property::SystemVersion(version), 0)];
        }
        let Some(token) = self.token(at).filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted)) else {
            return Vec::new();
        };
        let mut out: Vec<(usize, Property, u32)> = Vec::new();
        for phrase in self.phrases(at) {
            let cost = u32::from(phrase.corrected) * 10;
            if let Some(state) = self.lexicon.states.get(&phrase.concept) {
                out.push((phrase.end, Property::State((*state).to_owned()), cost));
            } else if let Some(system) = self.lexicon.systems.get(&phrase.concept) {
                out.push((phrase.end, Property::System((*system).to_owned()), cost));
            } else if let Some(tag) = self.lexicon.roles.get(&phrase.concept) {
                let tags = self.vocabulary.tags_for(tag, self.lexicon);
                if !tags.is_empty() {
                    out.push((phrase.end, Property::Tag(tags), cost));
                }
            }
        }
        if let Some(rest) = token.lower.strip_prefix("non-") {
            let tags = self.vocabulary.tags_for(rest, self.lexicon);
            if !tags.is_empty() {
                out.push((at + 1, Property::AnyOf(vec![Filter { what: Property::Tag(tags), not: true }]), 0));
            }
        }
        let single = !out.iter().any(|(end, ..)| *end == at + 1);
        let readings =
            std::iter::once((token.lower.as_str(), 0)).chain(token.meant.iter().map(|meant| (meant.as_str(), 10)));
        for (word, cost) in readings.filter(|_| single) {
            if let Some(property) = self.word_property(word) {
                out.push((at + 1, property, cost));
                break;
            }
        }
        if out.is_empty() {
            let alike = self.alike(at).filter_map(|(end, words)| Some((end, self.alike_property(words)?, 2)));
            out.extend(alike.max_by_key(|(end, ..)| *end));
        }
        if out.is_empty() {
            let units = self
                .phrases(at)
                .iter()
                .find_map(|phrase| Some((phrase.end, self.lexicon.services.get(&phrase.concept)?)));
            out.extend(units.map(|(end, units)| (end, Property::Units(units.clone()), 1)));
        }
        out
    }

    pub(super) fn word_property(&self, word: &str) -> Option<Property> {
        let vocabulary = self.vocabulary;
        let tags = vocabulary.tags_for(word, self.lexicon);
        if !tags.is_empty() {
            return Some(Property::Tag(tags));
        }
        let tags = format!("{word}s");
        if vocabulary.has_tag(&tags) {
            return Some(Property::Tag(vec![tags]));
        }
        if let Some(pool) = vocabulary.pool(word) {
            return Some(Property::Pool(pool.to_owned()));
        }
        if let Some(node) = vocabulary.node(word) {
            return Some(Property::Node(node.to_owned()));
        }
        if let Some(service) = vocabulary.service(word) {
            return Some(Property::Units(vec![service.to_owned()]));
        }
        let parts = name_parts(word);
        let called = vocabulary.is_part(word) || parts.len() > 1 && vocabulary.with_parts(&parts).next().is_some();
        called.then(|| Property::Part(word.to_owned()))
    }

    /// A version after the name of a system.
    pub(super) fn version(&self, at: usize) -> Option<String> {
        let token = self.token(at)?;
        let numeric = token.lower.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let after_system = at > 0
            && self
                .phrases(at - 1)
                .iter()
                .any(|phrase| phrase.end == at && self.lexicon.systems.contains_key(&phrase.concept));
        (numeric && after_system).then(|| token.lower.clone())
    }

    /// The reading itself, and with each run of what stands after a noun: `on pve2`, `tagged web`, `that are stopped`.
    pub(super) fn with_properties(&self, hit: Hit<Noun>, out: &mut Vec<Hit<Noun>>) {
        let mut current = hit;
        loop {
            out.push(current.clone());
            let full = matches!(current.value, Noun::Class { .. });
            let Some((end, filters)) = self.properties_after(current.end, full) else { return };
            let value = match current.value {
                Noun::Class { class, words, filters: mut had, mods, many, any, all, count } => {
                    had.extend(filters);
                    Noun::Class { class, words, filters: had, mods, many, any, all, count }
                }
                Noun::Vmid { vmid, class, filters: mut had } => {
                    had.extend(filters);
                    Noun::Vmid { vmid, class, filters: had }
                }
                Noun::Named { text, named, class, filters: mut had } => {
                    had.extend(filters);
                    Noun::Named { text, named, class, filters: had }
                }
                Noun::Partial { words, filters: mut had } => {
                    had.extend(filters);
                    Noun::Partial { words, filters: had }
                }
                Noun::Pronoun | Noun::Unknown { .. } => return,
            };
            current = Hit { end, value, cost: current.cost };
        }
    }

    /// One property after a noun. A named thing takes a place alone.
    pub(super) fn properties_after(&self, at: usize, full: bool) -> Option<(usize, Vec<Filter>)> {
        let mut at = at;
        let relative = self.is_any(at, &["that", "which", "who"]);
        at += usize::from(relative);
        // `which guests are on pve2` asks for those, `which guests are up` does not.
        let predicate = full && self.is_any(at + 1, &["on", "in", "tagged"]);
        let be = self.is_any(at, &["is", "are"]) && (relative || predicate);
        at += usize::from(be);
        while relative && self.is_any(at, &["currently", "still", "now", "already"]) {
            at += 1;
        }
        let tagged = self.is(at, "not") && self.is_any(at + 1, &["tagged", "on", "in", "running"]) && full;
        let not =
            tagged || relative && (self.is(at, "not") || self.is_any(at, &["do", "does"]) && self.is(at + 1, "not"));
        if not {
            at += if self.is(at, "not") { 1 } else { 2 };
        }
        let (end, mut filters) = self.place(at).or_else(|| self.property_after(at, full, relative))?;
        if not {
            filters = vec![negation(filters)];
        }
        Some((end, filters))
    }

    /// `on pve2`, `on node pve2`.
    pub(super) fn place(&self, at: usize) -> Option<(usize, Vec<Filter>)> {
        const VERBS: &[&str] = &[
            "living", "running", "located", "hosted", "live", "lives", "sit", "sits", "sitting", "reside", "resides",
            "residing",
        ];
        if !self.is_any(at, &["on", "at"]) && !self.is_any(at, VERBS) {
            return None;
        }
        let mut next = at + 1;
        if !self.is_any(at, &["on", "at"]) {
            if !self.is(next, "on") {
                return None;
            }
            next += 1;
        }
        if self.is(next, "the") {
            next += 1;
        }
        next =
            self.class_noun(next).into_iter().find(|(_, class, _)| *class == Class::Node).map_or(next, |(end, ..)| end);
        let mut nodes = Vec::new();
        let mut end = next;
        while let Some(node) = self.node_at(end) {
            nodes.push(Filter::is(Property::Node(node)));
            end += 1;
            if !(self.is_any(end, &["and", "or"]) && self.node_at(end + 1).is_some()) {
                break;
            }
            end += 1;
        }
        match nodes.len() {
            0 => None,
            1 => Some((end, nodes)),
            _ => Some((end, vec![Filter::is(Property::AnyOf(nodes))])),
        }
    }

    pub(super) fn node_at(&self, at: usize) -> Option<String> {
        let token = self.token(at).filter(|token| token.is_wordlike())?;
        let found = self
            .vocabulary
            .node(&token.lower)
            .or_else(|| token.meant.iter().find_map(|meant| self.vocabulary.node(meant)));
        found.map(str::to_owned)
    }

    pub(super) fn property_after(&self, at: usize, full: bool, relative: bool) -> Option<(usize, Vec<Filter>)> {
        if !full {
            return None;
        }
        if self.is(at, "tagged")
            || self.is_any(at, &["with", "having", "carrying"]) && self.tag_word(at + 1).is_some()
            || self.is_any(at, &["has", "have", "carry", "carries"]) && relative && self.tag_word(at + 1).is_some()
        {
            let start = if self.is(at, "tagged") { at + 1 } else { self.tag_word(at + 1).unwrap_or(at + 1) };
            return self.tag_list(if self.is_any(start, &["as", "with"]) { start + 1 } else { start });
        }
        if self.is(at, "without") && self.tag_word(at + 1).is_some() {
            let (end, filters) = self.tag_list(self.tag_word(at + 1).unwrap_or(at + 1))?;
            return Some((end, vec![negation(filters)]));
        }
        let belongs = self.is_any(at, &["belong", "belongs", "belonging"]) && self.is(at + 1, "to");
        let at = at + usize::from(belongs);
        if belongs || self.is_any(at, &["in", "of", "from"]) {
            if let Some((end, pool)) = self.pool(at + 1) {
                return Some((end, vec![Filter::is(Property::Pool(pool))]));
            }
            let token = self.token(at + 1)?;
            let tags = self.vocabulary.tags_for(&token.lower, self.lexicon);
            let environment = self.lexicon.tags.iter().any(|group| group.contains(&token.lower.as_str()));
            return (self.is(at, "in") && environment && !tags.is_empty())
                .then(|| (at + 2, vec![Filter::is(Property::Tag(tags))]));
        }
        self.agent_after(at, relative)
            .or_else(|| self.running_after(at, relative || self.is_any(at, &["run", "runs"])))
            .or_else(|| self.state_after(at, relative))
    }

    /// Past `the tag`, `tags`.
    pub(super) fn tag_word(&self, at: usize) -> Option<usize> {
        let at = if self.is_any(at, &["the", "a"]) { at + 1 } else { at };
        self.is_any(at, &["tag", "tags"]).then_some(at + 1)
    }

    pub(super) fn tag_list(&self, at: usize) -> Option<(usize, Vec<Filter>)> {
        let negated = self.is(at, "not");
        let mut end = at + usize::from(negated);
        let mut tags = Vec::new();
        let mut any = false;
        loop {
            let token = self.token(end).filter(|token| token.is_wordlike())?;
            let reading = std::iter::once(&token.lower)
                .chain(&token.meant)
                .map(|word| self.vocabulary.tags_for(word, self.lexicon))
                .find(|tags| !tags.is_empty());
            let what = reading.map_or_else(|| Property::Strange(token.text.clone()), Property::Tag);
            tags.push(Filter { what, not: negated });
            end += 1;
            let next_is_tag = self.token(end + 1).is_some_and(|token| {
                self.vocabulary.has_tag(&token.lower) && self.vocabulary.named(&token.lower).is_empty()
            });
            if !(self.is_any(end, &["and", "or"]) && next_is_tag) {
                break;
            }
            any |= self.is(end, "or");
            end += 1;
        }
        if any { Some((end, vec![Filter::is(Property::AnyOf(tags))])) } else { Some((end, tags)) }
    }

    /// `without an agent`, `still on 0.9.4`.
    pub(super) fn agent_after(&self, at: usize, relative: bool) -> Option<(usize, Vec<Filter>)> {
        let agent = self.lexicon.id("agent");
        let noun = |at: usize| {
            let at = if self.is_any(at, &["the", "an", "a", "any", "no"]) { at + 1 } else { at };
            self.concept(at, agent).map(|phrase| phrase.end).max()
        };
        let have = self.is_any(at, &["has", "have"]) && relative;
        if self.is(at, "without")
            || self.is_any(at, &["lack", "lacks", "miss"]) && relative
            || have && self.is(at + 1, "no")
        {
            return noun(at + 1).map(|end| (end, vec![Filter { what: Property::Agent, not: true }]));
        }
        if self.is(at, "with") || have {
            return noun(at + 1).map(|end| (end, vec![Filter::is(Property::Agent)]));
        }
        self.agent_version(at)
    }

    /// `still on 0.9.4`: a version after `on`, `at` or `running`.
    pub fn agent_version(&self, at: usize) -> Option<(usize, Vec<Filter>)> {
        let mut at = at;
        while self.is_any(
            at,
            &[
                "still", "that", "which", "is", "are", "stuck", "at", "on", "running", "version", "of", "with", "runs",
                "run",
            ],
        ) {
            at += 1;
        }
        let token = self.token(at).filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted))?;
        let version = token.lower.trim_start_matches('v');
        let dotted = version.contains('.') && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        dotted.then(|| (at + 1, vec![Filter::is(Property::AgentVersion(version.to_owned()))]))
    }

    /// `running nginx`, `that run Ubuntu`, `with nginx installed`.
    pub(super) fn running_after(&self, at: usize, relative: bool) -> Option<(usize, Vec<Filter>)> {
        let verb = self.is_any(at, &["running", "with", "having"])
            || relative && self.is_any(at, &["run", "runs", "have", "has", "use", "uses", "host", "hosts"]);
        if !verb {
            return None;
        }
        let token = self.token(at + 1).filter(|token| token.is_wordlike())?;
        let end = |end: usize| if self.is_any(end, &["installed", "running"]) { end + 1 } else { end };
        for phrase in self.phrases(at + 1) {
            if let Some(system) = self.lexicon.systems.get(&phrase.concept) {
                return Some((phrase.end, vec![Filter::is(Property::System((*system).to_owned()))]));
            }
        }
        if let Some(service) = self.vocabulary.service(&token.lower) {
            return Some((end(at + 2), vec![Filter::is(Property::Units(vec![service.to_owned()]))]));
        }
        let alias = self
            .phrases(at + 1)
            .iter()
            .filter_map(|phrase| Some((phrase.end, self.lexicon.services.get(&phrase.concept)?)))
            .max_by_key(|(end, _)| *end);
        alias.map(|(after, units)| (end(after), vec![Filter::is(Property::Units(units.clone()))]))
    }

    /// `that are stopped`.
    pub(super) fn state_after(&self, at: usize, relative: bool) -> Option<(usize, Vec<Filter>)> {
        let phrase = self
            .phrases(at)
            .iter()
            .find(|phrase| self.lexicon.states.contains_key(&phrase.concept))
            .filter(|_| relative)?;
        Some((phrase.end, vec![Filter::is(Property::State(self.lexicon.states[&phrase.concept].to_owned()))]))
    }
}

fn negation(filters: Vec<Filter>) -> Filter {
    if let [filter] = &filters[..] {
        return Filter { what: filter.what.clone(), not: !filter.not };
    }
    // Not (a and b) is not-a or not-b.
    let each = filters.into_iter().map(|filter| Filter { what: filter.what, not: !filter.not });
    Filter::is(Property::AnyOf(each.collect()))
}
