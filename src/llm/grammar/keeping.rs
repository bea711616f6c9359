//! What is to stay as it is: `…, but leave wiki alone`, `don't touch the database`, `…, mariadb stays untouched`,
//! `…, but do not disable it`. Nothing is done for such a part of a sentence, yet it may be left out of what is done, and
//! where it contradicts the request somebody has to ask.

use super::{
    class::{Problem, Scope, ask},
    intent::{Matcher, Readings},
    noun::Expr,
    sentence::Sentence,
    service::ServiceWord,
    token::Kind,
    values::Value,
};
use crate::model::{Target, inventory::Guest, plan::Proposed, policy, risk::Risk};
use std::ops::Range;

/// What is to stay as it is.
#[derive(Debug, Clone)]
pub enum Kept<'l> {
    /// Guests or nodes.
    Targets(Expr),
    /// Services.
    Services(Vec<ServiceWord>),
    /// What must not be done besides: `stop it, but do not disable it`.
    Doing(Readings<'l>),
    /// Everything: `…, do not install anything yet`.
    Everything,
}

/// Words behind what is left alone.
const ALONE: &[&str] = &[
    "alone",
    "untouched",
    "be",
    "off",
    "on",
    "running",
    "stopped",
    "up",
    "down",
    "out",
    "unchanged",
    "there",
    "online",
    "alive",
    "as",
    "it",
    "is",
    "are",
    "they",
    "where",
    "of",
    "this",
    "that",
    "going",
    "in",
    "peace",
    "please",
    "for",
    "now",
    "intact",
];
/// What must not be done to it.
const TOUCH: &[&str] = &[
    "touch",
    "change",
    "bother",
    "disturb",
    "harm",
    "affect",
    "alter",
    "hurt",
    "disrupt",
    "touching",
    "changing",
    "affecting",
    "disturbing",
];

/// Whether some words say what is to stay as it is.
pub fn is_kept(sentence: &Sentence<'_>, matcher: &Matcher<'_, '_>, span: Range<usize>) -> bool {
    kept(sentence, matcher, span).is_some()
}

/// What some words say is to stay as it is.
pub fn kept<'l>(sentence: &Sentence<'_>, matcher: &Matcher<'_, 'l>, span: Range<usize>) -> Option<Kept<'l>> {
    let mut at = span.start;
    while sentence.is_any(at, &["but", "and", "please", "pls", "just", "only", "also", "though"]) {
        at += 1;
    }
    if sentence.is_any(at, &["leave", "keep"]) {
        return thing(sentence, at + 1, |end| all_of(sentence, end..span.end, ALONE));
    }
    let not = sentence.is(at, "do") && sentence.is(at + 1, "not");
    let without = sentence.is(at, "without");
    if not || without || sentence.is(at, "never") {
        let verb = at + if not { 2 } else { 1 };
        if sentence.is_any(verb, TOUCH) {
            return thing(sentence, verb + 1, |end| all_of(sentence, end..span.end, &["please", "at", "all", "yet"]));
        }
        let anything = sentence.is_any(verb + 1, &["anything", "something"]) && sentence.begins_action(verb);
        if anything && all_of(sentence, verb + 2..span.end, &["yet", "now", "there", "else", "please", "for"]) {
            return Some(Kept::Everything);
        }
        let readings = matcher.readings_of(verb, span.end);
        return (!readings.is_empty() && sentence.begins_action(verb)).then_some(Kept::Doing(readings));
    }
    // `mariadb stays untouched`, `wiki must keep running`
    thing(sentence, at, |end| {
        let modal = sentence.is_any(end, &["should", "must", "shall", "may", "can", "has", "needs"]);
        let verb = end + usize::from(modal);
        let verb = verb + usize::from(sentence.is(verb, "to"));
        let stays = sentence.is_any(verb, &["stay", "stays", "remain", "remains"]) && verb + 1 < span.end;
        let goes_on = sentence.is_any(verb, &["keep", "keeps"]) && sentence.is_any(verb + 1, &["running", "going"]);
        (stays || goes_on) && all_of(sentence, verb + 1..span.end, ALONE)
    })
}

/// Whether there are only these words, and punctuation.
fn all_of(sentence: &Sentence<'_>, mut span: Range<usize>, words: &[&str]) -> bool {
    span.all(|at| {
        let kind = sentence.token(at).map(|token| token.kind);
        matches!(kind, Some(Kind::Comma | Kind::Stop)) || sentence.is_any(at, words)
    })
}

/// What is named at a place, where the words behind it fit; guests before services.
fn thing<'l>(sentence: &Sentence<'_>, at: usize, fits: impl Fn(usize) -> bool) -> Option<Kept<'l>> {
    let targets = sentence.targets(at).into_iter().filter(|hit| hit.cost < 10 && fits(hit.end));
    let services = sentence.services(at, false).into_iter().filter(|hit| hit.cost < 10 && fits(hit.end));
    let target = targets.min_by_key(|hit| hit.cost);
    let service = services.min_by_key(|hit| hit.cost);
    match (target, service) {
        (Some(target), Some(service)) if service.cost + 3 < target.cost => of_services(service.value),
        (Some(target), _) => Some(Kept::Targets(target.value)),
        (None, Some(service)) => of_services(service.value),
        (None, None) => None,
    }
}

fn of_services<'l>(value: Value) -> Option<Kept<'l>> {
    match value {
        Value::Services(words) if !words.iter().any(ServiceWord::is_pronoun) => Some(Kept::Services(words)),
        _ => None,
    }
}

/// The steps without what is to stay as it is. `negated` are those that must not be made.
pub fn leave(
    kept: &Kept<'_>,
    negated: &[Proposed],
    steps: Vec<Proposed>,
    by_class: &[Target],
    scope: &Scope<'_>,
) -> Result<Vec<Proposed>, Problem> {
    let changes = |step: &Proposed| policy::base(&step.op) != Risk::Observe;
    match kept {
        Kept::Targets(expr) => without(&scope.resolve(expr)?.targets, steps, by_class, scope),
        Kept::Services(words) => {
            for step in steps.iter().filter(|step| changes(step)) {
                spares(step, words, scope)?;
            }
            Ok(steps)
        }
        Kept::Everything => match steps.iter().find(|step| changes(step)) {
            Some(step) => Err(ask("Something is to be done, and nothing. What is meant?", step.targets.clone())),
            None => Ok(steps),
        },
        Kept::Doing(_) => {
            let both =
                |one: &Proposed, other: &Proposed| one.targets.iter().any(|target| other.targets.contains(target));
            for not in negated {
                let against = steps.iter().filter(|step| changes(step) && both(step, not));
                if let Some(step) = against.clone().find(|step| !goes_without(step, not)) {
                    let question = format!("{} may do what is not to be done. What is meant?", step.op.name());
                    return Err(ask(question, step.targets.clone()));
                }
            }
            Ok(steps)
        }
    }
}

/// The steps without some targets: taken off where a class took them, a question where each was named.
fn without(
    kept: &[Target],
    mut steps: Vec<Proposed>,
    by_class: &[Target],
    scope: &Scope<'_>,
) -> Result<Vec<Proposed>, Problem> {
    let homes = |target: &Target| {
        let guest = scope.vocabulary.inventory.guest_of(target)?;
        Some(Target::node(&guest.node))
    };
    let nodes: Vec<Target> = kept.iter().filter_map(homes).collect();
    for step in &mut steps {
        let named = step
            .targets
            .iter()
            .find(|target| kept.contains(target) && !by_class.contains(target) || nodes.contains(target));
        if let Some(target) = named {
            let question = format!("{} is to be left alone and yet to be changed. What is meant?", scope.label(target));
            return Err(ask(question, kept.to_vec()));
        }
        step.targets.retain(|target| !kept.contains(target));
        if step.targets.is_empty() {
            return Err(ask("Nothing is left of that. Which guests or nodes?", kept.to_vec()));
        }
    }
    Ok(steps)
}

/// Whether a step leaves services alone: it is about another service, or on guests that have none of them.
fn spares(step: &Proposed, words: &[ServiceWord], scope: &Scope<'_>) -> Result<(), Problem> {
    let meant = |service: &str| words.iter().any(|word| word.may_be(service));
    let has = |guest: &Guest| guest.services.is_empty() || guest.services.iter().any(|service| meant(service));
    let there = |target: &Target| target.is_node() || scope.vocabulary.inventory.guest_of(target).is_some_and(has);
    let another = step.op.service().is_some_and(|service| !meant(service));
    if another || !step.targets.iter().any(there) {
        return Ok(());
    }
    let said: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    Err(ask(format!("{} would touch {} too. What is meant?", step.op.name(), said.join(", ")), step.targets.clone()))
}

/// Whether an operation does nothing of what another one does, so that "the one, but not the other" is no contradiction.
fn goes_without(step: &Proposed, not: &Proposed) -> bool {
    const BOOT: &[&str] = &["service.enable", "service.disable"];
    const NOW: &[&str] = &["service.start", "service.stop", "service.restart", "service.reload"];
    const POWER: &[&str] =
        &["guest.reboot", "guest.shutdown", "guest.stop", "guest.start", "system.reboot", "service.restart"];
    const MORE: &[&str] = &["guest.destroy", "package.upgrade", "package.install", "package.remove", "guest.migrate"];
    let (does, spared) = (step.op.name(), not.op.name());
    let safe =
        ["guest.snapshot", "guest.backup", "agent.deploy", "alert.silence", "alert.unsilence", "template.download"];
    safe.contains(&does) && does != spared
        || NOW.contains(&does) && BOOT.contains(&spared)
        || BOOT.contains(&does) && NOW.contains(&spared)
        || does == "service.reload" && POWER.contains(&spared)
        || ["package.install", "package.upgrade"].contains(&does) && POWER[..5].contains(&spared)
        || does == "config.set" && !step.op.args().contains_key("service") && POWER.contains(&spared)
        || does == "guest.configure" && POWER[..5].contains(&spared)
        || POWER[..5].contains(&does) && MORE.contains(&spared)
}

#[cfg(test)]
mod tests {
    use crate::llm::{Planner, Proposal, grammar::Grammar, grammar::testing::homelab};

    fn outcome(text: &str) -> String {
        match Grammar.plan(text, homelab()) {
            Proposal::Plan { steps, .. } => {
                let one = |step: &super::Proposed| {
                    let targets: Vec<String> = step.targets.iter().map(ToString::to_string).collect();
                    format!("{} {}", step.op.name(), targets.join(" "))
                };
                steps.iter().map(one).collect::<Vec<_>>().join("; ")
            }
            Proposal::Clarify { .. } => "ask".to_owned(),
            Proposal::Refuse { .. } => "refuse".to_owned(),
        }
    }

    #[test]
    fn what_is_kept_is_left_out_where_a_class_took_it() {
        for (text, expected) in [
            ("reboot web-staging but leave blog alone", "guest.reboot ct/119"),
            ("restart nginx on all web containers, leave web-server alone", "service.restart ct/119"),
            ("restart nginx on web-server, postgresql stays untouched", "service.restart ct/118"),
            ("stop nginx on web-server but do not disable it", "service.stop ct/118"),
            ("which updates are there for blog? do not install anything yet", "package.updates ct/120"),
            ("reboot blog, but take a snapshot of it first", "guest.snapshot ct/120; guest.reboot ct/120"),
        ] {
            assert_eq!(outcome(text), expected, "{text}");
        }
    }

    #[test]
    fn what_contradicts_is_asked_about() {
        for text in [
            "reboot blog but leave blog alone",
            "restart nginx on web-server but do not stop it",
            "reboot web-server but leave nginx alone",
            "reboot pve1 but leave web-server alone",
            "install htop on blog, do not install anything yet",
            "leave blog alone",
            "migrate blog to pve3 but do not restart it",
        ] {
            assert_eq!(outcome(text), "ask", "{text}");
        }
    }
}
