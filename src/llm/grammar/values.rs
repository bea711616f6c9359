//! The second stage, for arguments: which words can be a number, a size, a length of time, a name, and how likely.

use super::{
    noun::{Class, Expr, Hit, Noun},
    sentence::Sentence,
    service::ServiceWord,
    token::{Kind, Token},
    vocabulary::name_parts,
};
use crate::model::values::{Size, Time};
use serde_json::Value as Json;

/// What a slot was filled with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// What to act on.
    Targets(Expr),
    /// Services.
    Services(Vec<ServiceWord>),
    /// An argument as it goes into the plan.
    Arg(Json),
    /// A node or storage that the inventory does not have.
    Stranger {
        /// `node` or `storage`.
        what: &'static str,
        /// As it was written.
        text: String,
    },
}

/// What a word of the language costs where a name was expected: enough for a question.
pub const FAR: u32 = 45;

const NUMBERS: &[(&str, u64)] = &[
    ("zero", 0),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("dozen", 12),
    ("fifteen", 15),
    ("sixteen", 16),
    ("twenty", 20),
    ("thirty", 30),
    ("forty", 40),
    ("fifty", 50),
    ("sixty", 60),
    ("eighty", 80),
    ("ninety", 90),
    ("hundred", 100),
    ("thousand", 1000),
];

/// What a word costs that is rather a misspelt one of the language than the name of something new.
const MISSPELT: u32 = 14;
/// What it costs to look for a word that is there to ask for something.
const GRAMMATICAL: u32 = 30;

/// Lengths of time that are said without a number, the longer phrase first.
const SPANS: &[(&[&str], &str)] = &[
    (&["three", "quarters", "of", "an", "hour"], "45m"),
    (&["quarter", "of", "an", "hour"], "15m"),
    (&["quarter", "of", "a", "day"], "6h"),
    (&["quarter", "hour"], "15m"),
    (&["half", "an", "hour"], "30m"),
    (&["half", "a", "day"], "12h"),
    (&["half", "hour"], "30m"),
    (&["half", "day"], "12h"),
    (&["hour", "and", "a", "half"], "90m"),
    (&["couple", "of", "minutes"], "2m"),
    (&["couple", "of", "hours"], "2h"),
    (&["couple", "of", "days"], "2d"),
    (&["couple", "of", "weeks"], "2w"),
    (&["couple", "hours"], "2h"),
    (&["couple", "days"], "2d"),
    (&["fortnight"], "2w"),
];

/// The most that counts as memory where a size is given without a word for it, in bytes.
const MOST_MEMORY: u64 = 32 << 30;

type Hits = Vec<Hit<Value>>;

impl Sentence<'_> {
    /// Every reading of the words at a place as a slot of that kind.
    pub fn slot(&self, kind: &str, at: usize) -> Hits {
        if self.token(at).is_none() {
            return Vec::new();
        }
        match kind {
            "targets" | "owner" | "its" | "bare" | "single" | "unplaced" | "nodes" | "thatnode" | "class"
            | "anyclass" | "nodeclass" | "allnodes" | "where" | "agentclass" | "it" => self.target_slot(kind, at),
            "service" => self.services(at, false),
            "sureservice" => self.services(at, true),
            "number" => one(self.number(at).map(|(end, number)| (end, Json::from(number), 0))),
            "firstlines" => {
                one(self.number(at).filter(|(_, n)| *n > 0).map(|(end, n)| (end, Json::from(format!("1-{n}")), 0)))
            }
            "range" => one(self.range(at).map(|(end, range)| (end, Json::from(range), 0))),
            "size" => one(self.size(at).map(|(end, size)| (end, Json::from(size), 0))),
            "memorysize" => one(self.memory_size(at).map(|(end, size)| (end, Json::from(size), 0))),
            "span" => one(self.span(at).map(|(end, span)| (end, Json::from(span), 0))),
            "dayword" => one(self.day_word(at)),
            "time" => one(self.time(at).map(|time| (at + 1, Json::from(time), 0))),
            "version" => one(self.version_word(at).map(|version| (at + 1, Json::from(version), 0))),
            "path" => self.of_kind(at, Kind::Path, |token| if is_log(&token.lower) { 4 } else { 0 }),
            "logfile" => self.of_kind(at, Kind::Path, |token| if is_log(&token.lower) { 0 } else { 12 }),
            "command" => self.of_kind(at, Kind::Quoted, |_| 0),
            "patch" => self.of_kind(at, Kind::Patch, |_| 0),
            "backupid" => self.backup_slot(at),
            "node" => self.node_slot(at),
            "storage" => self.storage_slot(at),
            "snapshot" => self.snapshot_slot(at),
            "disk" => self.disk_slot(at),
            "template" => self.template_slot(at),
            "priority" => one(self.priority(at).map(|word| (at + 1, Json::from(word), 0))),
            "kind" => self.kind_slot(at),
            "knownsnapshot" => {
                let token = self.token(at).filter(|token| token.is_wordlike());
                let name = token.and_then(|token| self.vocabulary.snapshot(&token.lower));
                one(name.map(|name| (at + 1, Json::from(name), 0)))
            }
            "thosepackages" => self.spoken_packages(at),
            "isofile" => one(self
                .token(at)
                .filter(|token| token.is_wordlike() && token.lower.rsplit('.').next() == Some("iso"))
                .map(|token| (at + 1, Json::from(token.text.clone()), 0))),
            "bootword" => one(self.boot_word(at)),
            "quotedpattern" => self.of_kind(at, Kind::Quoted, |_| 0),
            "packages" | "surepackages" | "knownpackages" | "tags" => self.list_slot(kind, at),
            "pattern" => self.pattern(at),
            "rule" => self.rule_slot(at),
            "key" => self.free(at, 2, 10, 15),
            "value" => self.value_slot(at),
            "newname" => self
                .free(at, 0, 12, 30)
                .into_iter()
                .filter(|hit| matches!(&hit.value, Value::Arg(Json::String(name)) if is_new_name(name)))
                .collect(),
            _ => self.free(at, 1, FAR, 5),
        }
    }

    fn target_slot(&self, kind: &str, at: usize) -> Hits {
        let at = if kind == "where" {
            match self.concept(at, self.lexicon.id("at")).map(|phrase| phrase.end).max() {
                Some(end) => end,
                None => return Vec::new(),
            }
        } else {
            at
        };
        if kind == "it" {
            let expr = Expr { include: vec![Noun::Pronoun], ..Expr::default() };
            let it = self.is_any(at, &["it", "them", "that"]);
            return it.then(|| Hit { end: at + 1, value: Value::Targets(expr), cost: 0 }).into_iter().collect();
        }
        if kind == "its" {
            let expr = Expr { include: vec![Noun::Pronoun], ..Expr::default() };
            let its = self.is_any(at, &["its", "their"]);
            return its.then(|| Hit { end: at + 1, value: Value::Targets(expr), cost: 0 }).into_iter().collect();
        }
        if kind == "agentclass" {
            return self.agent_class(at);
        }
        let fits = |hit: &Hit<Expr>| match kind {
            "nodes" => hit.value.include.iter().all(|noun| self.is_node(noun)),
            "thatnode" => hit.value.include.iter().all(|noun| self.is_node(noun) || *noun == Noun::Pronoun),
            "class" => {
                is_class(&hit.value, true)
                    && !hit.value.include.iter().any(|noun| matches!(noun, Noun::Class { class: Class::Template, .. }))
            }
            "anyclass" => is_class(&hit.value, false),
            "bare" => hit
                .value
                .include
                .iter()
                .all(|noun| matches!(noun, Noun::Named { .. } | Noun::Vmid { .. } | Noun::Class { many: true, .. })),
            "unplaced" => {
                hit.value.exclude.is_empty()
                    && matches!(&hit.value.include[..], [Noun::Named { filters, .. } | Noun::Vmid { filters, .. }] if filters.is_empty())
            }
            "single" => !hit.value.include.iter().any(|noun| matches!(noun, Noun::Class { .. } | Noun::Pronoun)),
            "allnodes" => {
                hit.value.exclude.is_empty()
                    && matches!(&hit.value.include[..], [Noun::Class { class: Class::Node, filters, many: true, .. }] if filters.is_empty())
            }
            "nodeclass" => matches!(&hit.value.include[..], [noun] if self.is_node(noun)),
            _ => true,
        };
        // A target without a word such as `on` before it is a little less likely to be one.
        let terse = if kind == "bare" { 3 } else { 0 };
        let value = |hit: Hit<Expr>| Hit {
            end: hit.end,
            value: if kind == "nodeclass" { self.guests_on(hit.value) } else { Value::Targets(hit.value) },
            cost: hit.cost + terse,
        };
        self.targets(at).into_iter().filter(fits).map(value).collect()
    }

    /// `what is on pve1`: the guests there.
    fn guests_on(&self, expr: Expr) -> Value {
        let names = expr.include.iter().filter_map(|noun| match noun {
            Noun::Named { named, .. } => {
                named.iter().find_map(|named| self.vocabulary.target(*named).node_name().map(str::to_owned))
            }
            _ => None,
        });
        let filters =
            names.map(|name| super::noun::Filter { what: super::noun::Property::Node(name), not: false }).collect();
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
        Value::Targets(Expr { include: vec![noun], ..expr })
    }

    /// `that is still on 0.9.4` after "agents": whoever has one of that version.
    fn agent_class(&self, at: usize) -> Hits {
        let found = self.agent_version(at).map(|(end, filters)| {
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
            Hit { end, value: Value::Targets(Expr { include: vec![noun], ..Expr::default() }), cost: 0 }
        });
        found.into_iter().collect()
    }

    fn is_node(&self, noun: &Noun) -> bool {
        match noun {
            Noun::Named { named, class, .. } => {
                class.is_none_or(|class| matches!(class, Class::Node | Class::Guest))
                    && named.iter().all(|named| self.vocabulary.target(*named).is_node())
            }
            Noun::Class { class, .. } => *class == Class::Node,
            _ => false,
        }
    }

    fn number(&self, at: usize) -> Option<(usize, u64)> {
        let token = self.token(at)?;
        let hundred = token.is("a") && self.is_any(at + 1, &["hundred", "dozen", "thousand"]);
        if hundred {
            return self.number(at + 1);
        }
        let word = NUMBERS.iter().find(|(word, _)| token.is(word)).map(|(_, number)| *number);
        let digits = (token.kind == Kind::Number).then(|| token.lower.parse().ok()).flatten();
        digits.or(word).map(|number| (at + 1, number))
    }

    fn range(&self, at: usize) -> Option<(usize, String)> {
        let token = self.token(at).filter(|token| token.is_wordlike())?;
        if let Some((first, last)) = token.lower.split_once('-') {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            return (digits(first) && digits(last)).then(|| (at + 1, token.lower.clone()));
        }
        let (next, first) = self.number(at)?;
        let dash = self.token(next).is_some_and(|token| matches!(token.text.as_str(), "-" | "–"));
        let joined = dash || self.is_any(next, &["to", "through", "thru", "until", "till", "and", "bis"]);
        let (end, last) = self.number(next + 1).filter(|_| joined)?;
        Some((end, format!("{first}-{last}")))
    }

    /// `4G`, `4 GB`, `512mb`: as Proxmox writes it.
    fn size(&self, at: usize) -> Option<(usize, String)> {
        self.amount(at, |unit| match unit {
            "k" | "kb" | "kib" => Some("K"),
            "m" | "mb" | "mib" | "megs" | "meg" | "megabyte" | "megabytes" => Some("M"),
            "g" | "gb" | "gib" | "gigs" | "gig" | "gigabyte" | "gigabytes" => Some("G"),
            "t" | "tb" | "tib" | "terabyte" | "terabytes" => Some("T"),
            _ => None,
        })
    }

    /// A size that can only be one of memory; more may as well be a disk's.
    fn memory_size(&self, at: usize) -> Option<(usize, String)> {
        let memory = |text: &str| text.parse::<Size>().is_ok_and(|size| size.bytes() <= MOST_MEMORY);
        self.size(at).filter(|(_, size)| memory(size))
    }

    /// `30m`, `30 minutes`, `an hour`, `hour`.
    fn span(&self, at: usize) -> Option<(usize, String)> {
        let unit = |unit: &str| match unit {
            "s" | "sec" | "secs" | "second" | "seconds" => Some("s"),
            "m" | "min" | "mins" | "minute" | "minutes" => Some("m"),
            "h" | "hr" | "hrs" | "hour" | "hours" => Some("h"),
            "d" | "day" | "days" => Some("d"),
            "w" | "week" | "weeks" | "wk" => Some("w"),
            _ => None,
        };
        if let Some(found) = self.amount(at, unit) {
            return Some(found);
        }
        let one = if self.is_any(at, &["a", "an", "the", "one"]) { at + 1 } else { at };
        let said =
            |from: usize, words: &[&str]| words.iter().enumerate().all(|(index, word)| self.is(from + index, word));
        let found = [at, one]
            .into_iter()
            .find_map(|from| SPANS.iter().find(|(words, _)| said(from, words)).map(|span| (from, span)));
        if let Some((from, (words, span))) = found {
            return Some((from + words.len(), (*span).to_owned()));
        }
        let word = self.token(one).filter(|token| token.lower.len() > 2)?;
        unit(&word.lower).map(|letter| (one + 1, format!("1{letter}")))
    }

    /// `today`, `since yesterday`, `this morning`: how far back that reaches at the most.
    fn day_word(&self, at: usize) -> Option<(usize, Json, u32)> {
        const DAYS: &[(&[&str], &str)] = &[
            (&["today"], "1d"),
            (&["yesterday"], "1d"),
            (&["overnight"], "12h"),
            (&["last", "night"], "12h"),
            (&["this", "morning"], "12h"),
            (&["this", "week"], "1w"),
            (&["this", "hour"], "1h"),
        ];
        let said = |words: &[&str]| words.iter().enumerate().all(|(index, word)| self.is(at + index, word));
        let (words, span) = DAYS.iter().find(|(words, _)| said(words))?;
        Some((at + words.len(), Json::from(*span), 0))
    }

    fn amount(&self, at: usize, unit: impl Fn(&str) -> Option<&'static str>) -> Option<(usize, String)> {
        let token = self.token(at).filter(|token| token.is_wordlike())?;
        let digits = token.lower.len() - token.lower.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 && digits < token.lower.len() {
            return unit(&token.lower[digits..]).map(|letter| (at + 1, format!("{}{letter}", &token.lower[..digits])));
        }
        let (next, number) = self.number(at)?;
        let letter = self.token(next).and_then(|token| unit(&token.lower))?;
        Some((next + 1, format!("{number}{letter}")))
    }

    fn time(&self, at: usize) -> Option<String> {
        let token = self.token(at).filter(|token| token.is_wordlike())?;
        token.text.parse::<Time>().is_ok().then(|| token.text.clone())
    }

    fn version_word(&self, at: usize) -> Option<String> {
        let token = self.token(at).filter(|token| token.is_wordlike())?;
        let version = token.lower.trim_start_matches('v');
        let dotted = version.contains('.') && version.starts_with(|c: char| c.is_ascii_digit());
        dotted.then(|| version.to_owned())
    }

    fn of_kind(&self, at: usize, kind: Kind, cost: impl Fn(&Token) -> u32) -> Hits {
        let token = self.token(at).filter(|token| token.kind == kind);
        one(token.map(|token| (at + 1, Json::from(token.text.clone()), cost(token))))
    }

    fn node_slot(&self, at: usize) -> Hits {
        let at = if self.is(at, "the") { at + 1 } else { at };
        let Some(token) = self.token(at).filter(|token| token.is_wordlike()) else { return Vec::new() };
        let mut readings = std::iter::once((&token.lower, 0)).chain(token.meant.iter().map(|meant| (meant, 10)));
        let found = readings.find_map(|(word, cost)| Some((self.vocabulary.node(word)?, cost)));
        match found {
            Some((name, cost)) => one(Some((at + 1, Json::from(name), cost))),
            None => self.stranger(at, "node"),
        }
    }

    fn storage_slot(&self, at: usize) -> Hits {
        let at = if self.is(at, "the") { at + 1 } else { at };
        let Some(token) = self.token(at).filter(|token| token.is_wordlike()) else { return Vec::new() };
        let mut readings = std::iter::once((&token.lower, 0)).chain(token.meant.iter().map(|meant| (meant, 10)));
        let found = readings.find_map(|(word, cost)| Some((self.vocabulary.storage(word)?, cost)));
        match found {
            Some((name, cost)) => one(Some((at + 1, Json::from(name), cost))),
            None => self.stranger(at, "storage"),
        }
    }

    fn stranger(&self, at: usize, what: &'static str) -> Hits {
        let token = self.token(at).filter(|token| token.kind != Kind::Number && !self.lexicon.knows(&token.lower));
        token
            .map(|token| Hit { end: at + 1, value: Value::Stranger { what, text: token.text.clone() }, cost: 90 })
            .into_iter()
            .collect()
    }

    fn snapshot_slot(&self, at: usize) -> Hits {
        let Some(token) = self.token(at).filter(|token| token.is_wordlike()) else { return Vec::new() };
        if let Some(name) = self.vocabulary.snapshot(&token.lower) {
            return one(Some((at + 1, Json::from(name), 0)));
        }
        if let Some(name) = token.meant.iter().find_map(|meant| self.vocabulary.snapshot(meant)) {
            return one(Some((at + 1, Json::from(name), 10)));
        }
        self.free(at, 4, FAR, 10)
    }

    /// What vzdump calls a backup, with or without its storage.
    fn backup_slot(&self, at: usize) -> Hits {
        let token = self.token(at).filter(|token| token.is_wordlike() || token.kind == Kind::Path);
        let named = token.filter(|token| token.lower.contains("vzdump-") || token.lower.contains(":backup/"));
        one(named.map(|token| (at + 1, Json::from(token.text.clone()), 0)))
    }

    /// A template's file name, or a word of a template guest: its name, a part of it, its system.
    fn template_slot(&self, at: usize) -> Hits {
        let Some(token) = self.token(at).filter(|token| token.is_wordlike()) else { return Vec::new() };
        let mut templates = self.vocabulary.templates();
        let known = templates.any(|guest| guest.os.id == token.lower || name_parts(&guest.name).contains(&token.lower));
        if known { one(Some((at + 1, Json::from(token.text.clone()), 1))) } else { self.free(at, 1, FAR, 5) }
    }

    /// `no autostart`, `onboot on`: whether a guest is to start with its node.
    fn boot_word(&self, at: usize) -> Option<(usize, Json, u32)> {
        let no = self.is_any(at, &["no", "without"]);
        let word = at + usize::from(no);
        let known = self.is_any(word, &["autostart", "auto-start", "onboot", "autoboot"]);
        let off = self.is_any(word + 1, &["off", "disabled", "no", "false"]);
        let on = self.is_any(word + 1, &["on", "enabled", "yes", "true"]);
        let end = word + 1 + usize::from(off || on);
        (known && !(no && (off || on))).then(|| (end, Json::from(!(no || off)), 0))
    }

    /// Syslog's word for a priority.
    fn priority(&self, at: usize) -> Option<&'static str> {
        let word = match self.token(at)?.lower.as_str() {
            "emerg" | "emergency" | "panic" => "emerg",
            "alert" => "alert",
            "crit" | "critical" => "crit",
            "err" | "error" | "errors" => "err",
            "warn" | "warning" | "warnings" => "warning",
            "notice" => "notice",
            "info" | "informational" => "info",
            "debug" => "debug",
            _ => return None,
        };
        Some(word)
    }

    fn disk_slot(&self, at: usize) -> Hits {
        let Some(token) = self.token(at).filter(|token| token.is_wordlike()) else { return Vec::new() };
        let bus = ["scsi", "virtio", "sata", "ide", "mp", "efidisk", "tpmstate"];
        let numbered = bus.iter().any(|bus| {
            token
                .lower
                .strip_prefix(bus)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
        });
        if numbered || token.lower == "rootfs" {
            let end = if self.is_any(at + 1, &["disk", "volume"]) { at + 2 } else { at + 1 };
            return one(Some((end, Json::from(token.lower.clone()), 0)));
        }
        let root = self.is(at, "root");
        let noun = if root { at + 1 } else { at };
        let disk = self.is_any(noun, &["disk", "filesystem", "fs", "volume", "storage", "drive"]);
        // `disk` alone: what it is depends on the guest.
        one(disk.then(|| (noun + 1, Json::from("disk"), 1)))
    }

    fn kind_slot(&self, at: usize) -> Hits {
        let found = self.phrases(at).iter().find_map(|phrase| match *self.lexicon.classes.get(&phrase.concept)? {
            kind @ ("ct" | "vm") => Some((phrase.end, Json::from(kind), u32::from(phrase.corrected) * 10)),
            _ => None,
        });
        one(found)
    }

    /// `install them`: what a comment before said is needed, which resolving fills in.
    fn spoken_packages(&self, at: usize) -> Hits {
        let them = self.is_any(at, &["it", "them", "that", "those", "these", "this", "both"]);
        one(them.then_some((at + 1, Json::Null, 0)))
    }

    /// Words joined by commas and `and`; every beginning of the list is a reading.
    fn list_slot(&self, kind: &str, at: usize) -> Hits {
        let mut out = Vec::new();
        let (mut items, mut cost, mut next) = (Vec::new(), 0, at);
        while let Some((text, more)) = self.token(next).and_then(|token| self.item(kind, token)) {
            items.push(Json::from(text));
            cost += more;
            let end = next + 1;
            out.push(Hit { end, value: Value::Arg(Json::Array(items.clone())), cost });
            next = if self.token(end).is_some_and(|token| token.kind == Kind::Comma && token.text == ",") {
                end + 1
            } else {
                end
            };
            next += usize::from(self.is_any(next, &["and", "plus"]));
            if next == end {
                break;
            }
        }
        out
    }

    fn item(&self, kind: &str, token: &Token) -> Option<(String, u32)> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | ':' | '~');
        let valid = token.is_wordlike()
            && token.text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && token.text.chars().all(plain);
        let word = token.lower.as_str();
        if kind == "knownpackages" {
            return (valid && self.lexicon.packages.contains(word)).then(|| (token.text.clone(), 0));
        }
        let known = self.lexicon.knows(word)
            && !self.lexicon.packages.contains(word)
            && self.vocabulary.service(word).is_none()
            && !self.is_package(word);
        let cost = if kind == "tags" || kind == "surepackages" && !matches!(word, "on" | "in" | "to" | "from" | "and") {
            0
        } else if known || self.vocabulary.snapshot(word).is_some() {
            FAR
        } else {
            u32::from(
                (!self.vocabulary.named(word).is_empty()
                    || self.vocabulary.is_part(word)
                    || self.vocabulary.has_tag(word))
                    && !self.is_package(word)
                    && self.vocabulary.service(word).is_none(),
            ) * FAR
        };
        // `instal the agnet`
        let misspelt =
            token.meant.iter().any(|word| self.lexicon.knows(word) && !self.lexicon.packages.contains(word.as_str()));
        let cost = if misspelt && kind != "tags" { cost.max(MISSPELT) } else { cost };
        valid.then(|| (token.text.clone(), cost))
    }

    /// Whether a word of the language is the name of some service, and so most likely of a package.
    fn is_package(&self, word: &str) -> bool {
        self.lexicon
            .beginning(word)
            .iter()
            .any(|(concept, rest)| rest.is_empty() && self.lexicon.services.contains_key(concept))
    }

    /// What to look for in a log; a misspelt word of the language is rather that.
    fn pattern(&self, at: usize) -> Hits {
        let misspelt = self.token(at).is_some_and(|token| token.meant.iter().any(|word| self.lexicon.knows(word)));
        // `let me have the last fifty lines`: what belongs to the request is not looked for.
        let lines = ["last", "show", "list", "make", "filler", "between", "during", "asking"];
        let asks = |concept: usize| lines.iter().any(|line| self.lexicon.id(line) == concept);
        let quoted = self.token(at).is_some_and(|token| token.kind == Kind::Quoted);
        let grammatical = !quoted && self.phrases(at).iter().any(|phrase| !phrase.corrected && asks(phrase.concept));
        let more = if misspelt { MISSPELT } else { 0 } + if grammatical { GRAMMATICAL } else { 0 };
        let mut hits = self.free(at, 3, 15, 10);
        for hit in &mut hits {
            hit.cost += more;
        }
        hits
    }

    fn rule_slot(&self, at: usize) -> Hits {
        let Some(token) = self.token(at).filter(|token| token.is_wordlike() && token.kind != Kind::Number) else {
            return Vec::new();
        };
        let camel = token.kind == Kind::Quoted || token.text.chars().skip(1).any(char::is_uppercase);
        self.free(at, if camel { 0 } else { 8 }, FAR, 20)
    }

    fn value_slot(&self, at: usize) -> Hits {
        let token =
            self.token(at).filter(|token| matches!(token.kind, Kind::Word | Kind::Number | Kind::Quoted | Kind::Path));
        one(token.map(|token| (at + 1, Json::from(token.text.clone()), 0)))
    }

    /// A free word: dearer where it means something else.
    fn free(&self, at: usize, base: u32, known: u32, named: u32) -> Hits {
        let Some(token) = self.token(at).filter(|token| token.is_wordlike()) else { return Vec::new() };
        let mut cost = base;
        if token.kind == Kind::Quoted {
            cost = 0;
        } else if self.lexicon.knows(&token.lower) {
            cost += known;
        }
        if !self.vocabulary.named(&token.lower).is_empty() {
            cost += named;
        }
        one(Some((at + 1, Json::from(token.text.clone()), cost)))
    }
}

fn one(found: Option<(usize, Json, u32)>) -> Hits {
    found.map(|(end, value, cost)| Hit { end, value: Value::Arg(value), cost }).into_iter().collect()
}

/// A host name that is no number.
fn is_new_name(name: &str) -> bool {
    crate::model::target::is_name(name) && !name.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_class(expr: &Expr, many: bool) -> bool {
    expr.include.iter().all(|noun| matches!(noun, Noun::Class { many: is_many, .. } if *is_many || !many))
}

fn is_log(path: &str) -> bool {
    path.contains("/log/")
        || path.rsplit('.').next() == Some("log")
        || path.ends_with("/syslog")
        || path.contains("/logs/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::testing::read;

    fn whole(kind: &str, text: &str) -> Option<Json> {
        read(text, |sentence| {
            let hits = sentence.slot(kind, 0).into_iter().filter(|hit| hit.end == sentence.tokens.len());
            hits.min_by_key(|hit| hit.cost).and_then(|hit| match hit.value {
                Value::Arg(json) => Some(json),
                _ => None,
            })
        })
    }

    #[test]
    fn amounts_keep_their_unit() {
        for (kind, text, value) in [
            ("span", "30 minutes", "30m"),
            ("span", "2h", "2h"),
            ("span", "an hour", "1h"),
            ("span", "half an hour", "30m"),
            ("span", "day", "1d"),
            ("size", "4 GB", "4G"),
            ("size", "512mb", "512M"),
            ("range", "10 to 25", "10-25"),
            ("firstlines", "40", "1-40"),
            ("version", "v1.0.0", "1.0.0"),
            ("disk", "root disk", "disk"),
            ("node", "pve2", "pve2"),
            ("storage", "nas-bakcup", "nas-backup"),
        ] {
            assert_eq!(whole(kind, text), Some(Json::from(value)), "{kind} {text}");
        }
        assert_eq!(whole("number", "three"), Some(Json::from(3)));
        assert_eq!(whole("packages", "htop, tmux and curl"), Some(serde_json::json!(["htop", "tmux", "curl"])));
    }

    #[test]
    fn what_is_none_is_none() {
        for (kind, text) in
            [("span", "soon"), ("size", "4 apples"), ("time", "noon"), ("node", "pve9"), ("newname", "118")]
        {
            assert_eq!(whole(kind, text), None, "{kind} {text}");
        }
    }
}
