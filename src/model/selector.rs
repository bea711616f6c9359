//! Selectors: which members of an inventory a text such as `tag=production and type=ct and not name=blog` takes. The
//! text becomes an expression before anything is matched, and an error points at the byte that it is about.

use super::failure::Failure;
use super::{
    inventory::{AgentInfo, Guest, Inventory, Node},
    target::{Target, Vmid, What},
};
use std::fmt;

mod parse;

/// A text that is no selector, or names what the inventory does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorError {
    /// The whole text.
    pub text: String,
    /// Where it goes wrong: a byte offset into `text`, at most its length.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// The keys that a comparison can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The guest's or node's name.
    Name,
    /// The guest's id.
    Vmid,
    /// `ct`, `vm` or `node`.
    Type,
    /// The node that the guest is on, or the node itself.
    Node,
    /// One of the guest's tags.
    Tag,
    /// The guest's pool.
    Pool,
    /// os-release's ID, or ID and version joined by a hyphen (`ubuntu-24.04`).
    Os,
    /// The OS family.
    Family,
    /// `running`, `stopped`, …; `online` or `offline` for a node.
    Status,
    /// `none`, `any`, `online`, `offline` or a version.
    Agent,
    /// One of the guest's services.
    Service,
    /// `true` or `false`.
    Template,
}

/// What a comparison compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The text, without quotes.
    pub text: String,
    /// Whether `*` and `?` stand for themselves, because the text was quoted.
    pub literal: bool,
}

/// A selector's expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `key=pattern`, or `key!=pattern` where `equal` is false.
    Compare {
        /// What of the guest or node.
        key: Key,
        /// Whether it has to match, or must not.
        equal: bool,
        /// With what.
        pattern: Pattern,
    },
    /// `not …`
    Not(Box<Expression>),
    /// `… and …`
    And(Box<Expression>, Box<Expression>),
    /// `… or …`
    Or(Box<Expression>, Box<Expression>),
}

/// An expression over the members of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The expression.
    pub expression: Expression,
}

/// What a command line's SELECTOR stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// `all`: every guest that is no template.
    All,
    /// An expression.
    Matching(Selector),
    /// Targets, names and vmids, in the order of the text.
    Named(Vec<Item>),
}

/// One member of a list such as `ct/118,blog,201`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// As it was written.
    pub text: String,
    /// Its byte offset.
    pub column: usize,
}

/// The targets that a text takes of an inventory, sorted and without doubles. Templates only where the text speaks of
/// templates or names one. An expression that matches nothing gives nothing; an unknown name is an error.
pub fn select(text: &str, inventory: &Inventory) -> Result<Vec<Target>, SelectorError> {
    let mut targets = Selection::parse(text)?.targets(text, inventory)?;
    targets.sort();
    targets.dedup();
    Ok(targets)
}

impl Selection {
    /// Reads an expression, a list of targets, names and vmids, or `all`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::selection(text)
    }

    /// What it takes of an inventory; `text` is what it was parsed from, for errors.
    pub fn targets(&self, text: &str, inventory: &Inventory) -> Result<Vec<Target>, SelectorError> {
        match self {
            Self::All => Ok(inventory.guests.iter().filter(|guest| !guest.template).map(Guest::target).collect()),
            Self::Matching(selector) => Ok(selector.targets(inventory)),
            Self::Named(items) => {
                let found: Result<Vec<_>, _> = items.iter().map(|item| named(item, text, inventory)).collect();
                Ok(found?.concat())
            }
        }
    }
}

impl Selector {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Ok(Self { expression: parse::expression(text)? })
    }

    /// Whether a guest is taken.
    pub fn matches(&self, guest: &Guest) -> bool {
        (!guest.template || self.expression.speaks_of_template(guest)) && self.expression.holds(&Member::Guest(guest))
    }

    /// Whether a node is taken; never unless the text says `type=node`.
    pub fn matches_node(&self, node: &Node) -> bool {
        self.expression.speaks_of_nodes() && self.expression.holds(&Member::Node(node))
    }

    /// Everything that is taken.
    pub fn targets(&self, inventory: &Inventory) -> Vec<Target> {
        let nodes = inventory.nodes.iter().filter(|node| self.matches_node(node)).map(|node| Target::node(&node.name));
        nodes.chain(inventory.guests.iter().filter(|guest| self.matches(guest)).map(Guest::target)).collect()
    }
}

impl Key {
    /// Every key with its name.
    pub const ALL: [(&'static str, Self); 12] = [
        ("name", Self::Name),
        ("vmid", Self::Vmid),
        ("type", Self::Type),
        ("node", Self::Node),
        ("tag", Self::Tag),
        ("pool", Self::Pool),
        ("os", Self::Os),
        ("family", Self::Family),
        ("status", Self::Status),
        ("agent", Self::Agent),
        ("service", Self::Service),
        ("template", Self::Template),
    ];

    /// The key as it is written.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, key)| *key == self).map_or("", |(name, _)| name)
    }
}

impl Pattern {
    /// Whether a value is meant, letters' case aside.
    pub fn matches(&self, value: &str) -> bool {
        if self.literal { self.text.eq_ignore_ascii_case(value) } else { glob(self.text.as_bytes(), value.as_bytes()) }
    }
}

enum Member<'a> {
    Guest(&'a Guest),
    Node(&'a Node),
}

impl Expression {
    fn holds(&self, member: &Member<'_>) -> bool {
        match self {
            Self::Compare { key, equal, pattern } => member.has(*key, pattern) == *equal,
            Self::Not(inner) => !inner.holds(member),
            Self::And(left, right) => left.holds(member) && right.holds(member),
            Self::Or(left, right) => left.holds(member) || right.holds(member),
        }
    }

    fn speaks_of_nodes(&self) -> bool {
        self.any(&|key, equal, pattern| key == Key::Type && equal && pattern.matches("node"))
    }

    fn speaks_of_template(&self, guest: &Guest) -> bool {
        self.any(&|key, equal, pattern| match key {
            Key::Template => true,
            Key::Name => equal && pattern.text.eq_ignore_ascii_case(&guest.name),
            Key::Vmid => equal && pattern.text == guest.vmid.to_string(),
            _ => false,
        })
    }

    fn any(&self, test: &dyn Fn(Key, bool, &Pattern) -> bool) -> bool {
        match self {
            Self::Compare { key, equal, pattern } => test(*key, *equal, pattern),
            Self::Not(inner) => inner.any(test),
            Self::And(left, right) | Self::Or(left, right) => left.any(test) || right.any(test),
        }
    }
}

impl Member<'_> {
    fn has(&self, key: Key, pattern: &Pattern) -> bool {
        match self {
            Self::Guest(guest) => guest_has(guest, key, pattern),
            Self::Node(node) => match key {
                Key::Name | Key::Node => pattern.matches(&node.name),
                Key::Type => pattern.matches("node"),
                Key::Status => pattern.matches(&node.status),
                Key::Agent => agent_is(node.pve_agent.as_ref(), pattern),
                Key::Template => pattern.matches("false"),
                Key::Vmid | Key::Tag | Key::Pool | Key::Os | Key::Family | Key::Service => false,
            },
        }
    }
}

fn guest_has(guest: &Guest, key: Key, pattern: &Pattern) -> bool {
    match key {
        Key::Name => pattern.matches(&guest.name),
        Key::Vmid => pattern.matches(&guest.vmid.to_string()),
        Key::Type => pattern.matches(guest.kind.as_str()),
        Key::Node => pattern.matches(&guest.node),
        Key::Tag => guest.tags.iter().any(|tag| pattern.matches(tag)),
        Key::Pool => pattern.matches(guest.pool.as_deref().unwrap_or_default()),
        Key::Os => pattern.matches(&guest.os.id) || pattern.matches(&format!("{}-{}", guest.os.id, guest.os.version)),
        Key::Family => pattern.matches(&guest.os.family),
        Key::Status => pattern.matches(&guest.status),
        Key::Agent => agent_is(guest.agent.as_ref(), pattern),
        Key::Service => guest.services.iter().any(|service| pattern.matches(service)),
        Key::Template => pattern.matches(if guest.template { "true" } else { "false" }),
    }
}

fn agent_is(agent: Option<&AgentInfo>, pattern: &Pattern) -> bool {
    match (agent, pattern.text.to_ascii_lowercase().as_str()) {
        (None, word) => word == "none",
        (Some(_), "none") => false,
        (Some(_), "any") => true,
        (Some(agent), "online") => agent.online(),
        (Some(agent), word @ ("offline" | "locked" | "quarantined")) => agent.status == word,
        (Some(agent), _) => pattern.matches(&agent.version),
    }
}

/// Whether a value fits a glob: `*` any run of characters, `?` one byte, letters' case aside.
pub fn fits(pattern: &str, value: &str) -> bool {
    glob(pattern.as_bytes(), value.as_bytes())
}

/// `*` any run of bytes, `?` one byte; case aside. Linear in the value for each `*`.
fn glob(pattern: &[u8], value: &[u8]) -> bool {
    let (mut at, mut reading) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while reading < value.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, reading));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted.eq_ignore_ascii_case(&value[reading]) => {
                at += 1;
                reading += 1;
            }
            _ => {
                let Some((after, from)) = retry else { return false };
                retry = Some((after, from + 1));
                (at, reading) = (after, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

fn named(item: &Item, text: &str, inventory: &Inventory) -> Result<Vec<Target>, SelectorError> {
    let word = item.text.as_str();
    if let Ok(target) = word.parse::<Target>() {
        return of_target(target, inventory).map(|target| vec![target]).ok_or_else(|| unknown(item, text, inventory));
    }
    if let Ok(vmid) = word.parse::<Vmid>() {
        let guest = inventory.guest(vmid).ok_or_else(|| unknown(item, text, inventory))?;
        return Ok(vec![guest.target()]);
    }
    let pattern = Pattern { text: word.to_owned(), literal: false };
    let globs = word.contains(['*', '?']);
    let guests = inventory.guests.iter().filter(|guest| pattern.matches(&guest.name) && !(globs && guest.template));
    let nodes = inventory.nodes.iter().filter(|node| !globs && pattern.matches(&node.name));
    let found: Vec<Target> = nodes.map(|node| Target::node(&node.name)).chain(guests.map(Guest::target)).collect();
    match found[..] {
        [] => Err(unknown(item, text, inventory)),
        [_] => Ok(found),
        _ if globs => Ok(found),
        _ => {
            let names: Vec<String> = found.iter().map(ToString::to_string).collect();
            let message = format!("several are called `{word}`");
            Err(error(text, item.column, message, format!("name one of {}", names.join(", "))))
        }
    }
}

/// The target as this inventory knows it, without its cluster's label.
fn of_target(target: Target, inventory: &Inventory) -> Option<Target> {
    let ours = target.cluster.as_ref().is_none_or(|cluster| *cluster == inventory.cluster);
    let bare = Target { cluster: None, ..target };
    let there = match &bare.what {
        What::Cluster | What::Host(_) => true,
        What::Node(name) => inventory.node(name).is_some(),
        What::Guest(..) => inventory.guest_of(&bare).is_some(),
    };
    (ours && there).then_some(bare)
}

fn unknown(item: &Item, text: &str, inventory: &Inventory) -> SelectorError {
    let closest = inventory.closest(&item.text, 3);
    let help = if closest.is_empty() {
        "`remotectl guests` lists them all".to_owned()
    } else {
        format!("closest: {}; `remotectl guests` lists them all", closest.join(", "))
    };
    error(text, item.column, format!("no guest or node is called `{}`", item.text), help)
}

impl Inventory {
    /// The names of guests and nodes that are most like a word, best first, at most `count`.
    pub fn closest(&self, word: &str, count: usize) -> Vec<String> {
        let word = word.to_ascii_lowercase();
        let names = self.guests.iter().map(|guest| &guest.name).chain(self.nodes.iter().map(|node| &node.name));
        let mut scored: Vec<(f64, &String)> = names
            .map(|name| (strsim::jaro_winkler(&word, &name.to_ascii_lowercase()), name))
            .filter(|(score, _)| *score > 0.6)
            .collect();
        scored.sort_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(right.1)));
        scored.into_iter().take(count).map(|(_, name)| name.clone()).collect()
    }
}

fn error(text: &str, column: usize, message: impl Into<String>, help: impl Into<String>) -> SelectorError {
    SelectorError { text: text.to_owned(), column, message: message.into(), help: help.into() }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One space for each character before the column, control characters shown as a dot so that the caret stands right.
        let shown: String = self.text.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
        let before = self.text.get(..self.column).unwrap_or(&self.text).chars().count();
        write!(f, "{}\n  {shown}\n  {:before$}^\n  help: {}", self.message, "", self.help)
    }
}

impl std::error::Error for SelectorError {}

/// Message, the text with a caret under the place, and what to write instead.
impl From<SelectorError> for Failure {
    fn from(error: SelectorError) -> Self {
        let whole = error.to_string();
        let place = whole.lines().skip(1).take(2).map(|line| line.strip_prefix("  ").unwrap_or(line));
        place.fold(Self::usage(error.message), Self::detail).help(error.help)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.literal || !parse::is_bare(&self.text) {
            write!(f, "\"{}\"", self.text.replace('\\', "\\\\").replace('"', "\\\""))
        } else {
            f.write_str(&self.text)
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare { key, equal, pattern } => {
                write!(f, "{}{}{pattern}", key.as_str(), if *equal { "=" } else { "!=" })
            }
            Self::Not(inner) => match **inner {
                Self::And(..) | Self::Or(..) => write!(f, "not ({inner})"),
                _ => write!(f, "not {inner}"),
            },
            Self::And(left, right) => {
                let group = |side: &Self, f: &mut fmt::Formatter<'_>, right: bool| match side {
                    Self::Or(..) => write!(f, "({side})"),
                    Self::And(..) if right => write!(f, "({side})"),
                    _ => write!(f, "{side}"),
                };
                group(left, f, false)?;
                f.write_str(" and ")?;
                group(right, f, true)
            }
            Self::Or(left, right) => match **right {
                Self::Or(..) => write!(f, "{left} or ({right})"),
                _ => write!(f, "{left} or {right}"),
            },
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt(f)
    }
}

#[cfg(test)]
mod tests;
