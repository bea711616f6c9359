//! What is said around a request and only says why: `the dashboards won't load again, could you …`, `… because it
//! hangs`. It may hold neither a condition nor an exception, and what it speaks of is remembered: a pronoun may mean it,
//! and where the request takes a guest of it by a class, somebody has to ask.

use super::{
    noun::{Expr, Noun},
    sentence::Sentence,
    service::ServiceWord,
    token::{Kind, Token},
    values::Value,
};
use crate::model::{Target, inventory::Guest};
use std::ops::Range;

/// What a comment speaks of.
#[derive(Debug, Clone, Default)]
pub struct Spoken {
    /// Noun phrases, in the order of the text.
    pub nouns: Vec<Expr>,
    /// A service, where one is named that is no guest's name.
    pub service: Option<ServiceWord>,
    /// Packages that it says are needed, or no longer.
    pub packages: Vec<String>,
    /// Whether it speaks of agents.
    pub agent: bool,
    /// Whether it speaks of something that guests have: a snapshot, a backup, a disk.
    pub part: bool,
    /// A snapshot.
    pub snapshot: Option<String>,
    /// A file.
    pub path: Option<String>,
    /// The guests that it names.
    pub guests: Vec<Target>,
    /// Those of them that it names by their whole name or number.
    pub exact: Vec<Target>,
    /// Whether it has a word for something that would change a guest.
    pub acts: bool,
    /// Whether a word of a name may as well belong to the words before it: `the domain controller`.
    pub doubt: bool,
}

/// Whether a part of a name stands behind a word that is neither explained by it nor a word of the language.
fn belongs_to_more(sentence: &Sentence<'_>, at: usize, expr: &Expr) -> bool {
    let partial = expr.include.iter().any(|noun| matches!(noun, Noun::Partial { .. }));
    partial && at > 0 && sentence.is_foreign(at - 1)
}

/// Whether some tokens only say why.
pub fn is_comment(sentence: &Sentence<'_>, span: Range<usize>) -> bool {
    let words = &sentence.tokens[span.clone()];
    let background = &sentence.lexicon.background;
    let one_of = |token: &Token, list: &[&str]| list.iter().any(|word| token.is(word));
    let subject = |at: usize| words.get(at).is_some_and(|token| one_of(token, &background.subjects));
    let reason = words.first().is_some_and(|token| one_of(token, &background.reasons)) && words.len() > 2;
    let skipped = usize::from(reason || words[0].is("before") && subject(1));
    let content = |token: &Token| sentence.filler_word(token).is_none();
    let Some(first) = words[skipped..].iter().position(content).map(|at| at + skipped) else { return false };
    if announces(sentence, span.clone()) || names_an_occasion(sentence, span.clone()) {
        return true;
    }
    let needed = !needed_packages(sentence, &span).is_empty();
    let wish = |token: &Token| needed && (token.is("should") || token.is("must"));
    if aside(sentence, &span) || tells_a_state(sentence, &span) {
        return true;
    }
    // `calls keep dropping` keeps nothing as it is, and what happens soon is no condition.
    let harmless = |at: usize| {
        let next = words.get(at + 1);
        let we = |token: Option<&Token>| token.is_some_and(|token| token.is("i") || token.is("we"));
        let wants = next.is_some_and(|token| ["want", "need", "mean", "meant"].iter().any(|word| token.is(word)));
        // `while I look at the invoices`, `we only use smbd nowadays`
        if words[at].is("while") && at == 0 && we(next)
            || words[at].is("only") && at > 0 && we(words.get(at - 1)) && !wants
        {
            return true;
        }
        words[at].is("keep") && next.is_some_and(|token| token.lower.ends_with("ing"))
            || words[at].is("soon") && (at == 0 || !words[at - 1].is("as"))
            || wish(&words[at])
    };
    let conditional = (skipped..words.len()).any(|at| one_of(&words[at], &background.conditions) && !harmless(at));
    let data = words.iter().any(|token| matches!(token.kind, Kind::Quoted | Kind::Patch | Kind::Question));
    let denial = ["do", "not", "never", "no"].iter().any(|word| words[first].is(word));
    if conditional || data || denial && !subject(0) && !reason {
        return false;
    }
    let verb = |token: &Token| {
        let inflected = token.lower.len() > 3 && (token.lower.ends_with('s') || token.lower.ends_with("ed"));
        let unknown = !sentence.lexicon.knows(&token.lower) && !sentence.vocabulary.knows(&token.lower);
        one_of(token, &background.verbs) || token.kind == Kind::Word && inflected && unknown
    };
    let states = words.iter().skip(1).any(verb) || subject(first) || subject(0) || reason || skipped > 0;
    let acts = sentence.begins_action(span.start + first);
    let finite_next = words[first + 1..].iter().take(3).any(|token| one_of(token, &background.verbs));
    let asks = sentence.begins_question(span.start + first) && !subject(0) && !subject(skipped);
    states && !asks && (!acts || finite_next || subject(0) || subject(skipped) || skipped > 0 && words[0].is("before"))
}

/// What stands in parentheses and names nothing that could be acted on: `(ticket 4711)`, `(urgent!)`.
fn aside(sentence: &Sentence<'_>, span: &Range<usize>) -> bool {
    let mark = |at: usize, mark: &str| sentence.token(at).is_some_and(|token| token.text == mark);
    let enclosed = span.start > 0 && mark(span.start - 1, "(") && mark(span.end, ")");
    enclosed && is_idle(sentence, span)
}

/// `APs offline since 7`: a word that nobody knows, and a state that it is in.
fn tells_a_state(sentence: &Sentence<'_>, span: &Range<usize>) -> bool {
    let state =
        |at: usize| sentence.phrases(at).iter().any(|phrase| sentence.lexicon.states.contains_key(&phrase.concept));
    let first = span.clone().find(|at| sentence.filler(*at).is_none()).unwrap_or(span.end);
    // `nginx down @ web-1`
    let named = sentence.services(first, false).into_iter().filter(|hit| hit.cost < 5).map(|hit| hit.end);
    let placed = |end: usize| {
        end == span.end
            || sentence.concept(end, sentence.lexicon.id("at")).any(|phrase| is_topic(sentence, phrase.end..span.end))
    };
    let down = |at: usize| {
        let phrases = sentence.phrases(at).iter();
        let states = phrases
            .filter(|phrase| sentence.lexicon.states.get(&phrase.concept).is_some_and(|state| *state == "stopped"));
        states.map(|phrase| phrase.end).max()
    };
    if named.filter_map(down).any(placed) {
        return true;
    }
    first < span.end
        && sentence.is_foreign(first)
        && span.len() <= 6
        && (first + 1..span.end).any(state)
        && is_idle(sentence, span)
}

/// Whether some words ask for nothing, name nothing, and neither forbid nor condition anything.
fn is_idle(sentence: &Sentence<'_>, span: &Range<usize>) -> bool {
    let background = &sentence.lexicon.background;
    let limits = |at: usize| {
        let condition = background.conditions.iter().any(|word| sentence.is(at, word));
        condition || sentence.is_any(at, &["not", "no", "all", "every", "or", "and", "with", "to", "from"])
    };
    let data = |at: usize| !matches!(sentence.tokens[at].kind, Kind::Word | Kind::Number | Kind::Stop | Kind::Comma);
    let names = |at: usize| {
        let targets = sentence.targets(at).into_iter().filter(|hit| hit.cost < 10);
        let guest = targets
            .flat_map(|hit| hit.value.include)
            .any(|noun| is_concrete(&noun) || matches!(noun, Noun::Class { .. }));
        guest || sentence.services(at, false).iter().any(|hit| hit.cost < 10)
    };
    span.clone().all(|at| !limits(at) && !data(at) && !names(at) && !sentence.begins_action(at))
}

/// `before tonight's update`: what the request behind it is for. What is to be done before it can be done now.
fn announces(sentence: &Sentence<'_>, span: Range<usize>) -> bool {
    const WHAT: &[&str] = &[
        "update",
        "upgrade",
        "migration",
        "change",
        "changes",
        "maintenance",
        "work",
        "deploy",
        "deployment",
        "release",
        "relaunch",
        "cleanup",
        "test",
        "tests",
        "import",
        "patching",
        "exam",
        "exams",
        "demo",
        "audit",
        "move",
        "launch",
    ];
    let words = &sentence.tokens[span.clone()];
    let before = ["before", "ahead", "prior", "for"].iter().any(|word| words[0].is(word));
    let plain = |token: &Token| matches!(token.kind, Kind::Word | Kind::Number | Kind::Possessive);
    let others = ["if", "unless", "until", "only", "not", "when", "after", "and", "but", "or"];
    let conditional = words.iter().any(|token| others.iter().any(|word| token.is(word)));
    let acts = (span.start + 1..span.end - 1).any(|at| sentence.begins_action(at) && !sentence.is_any(at, WHAT));
    before
        && words.len() > 1
        && WHAT.iter().any(|word| words[words.len() - 1].is(word))
        && words.iter().all(plain)
        && !conditional
        && !acts
}

/// `exam tomorrow`: words without a verb that nobody knows, and when that is. What is asked for is for now.
fn names_an_occasion(sentence: &Sentence<'_>, span: Range<usize>) -> bool {
    const TIMES: &[&str] = &[
        "tomorrow",
        "tonight",
        "today",
        "soon",
        "next",
        "this",
        "week",
        "month",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "morning",
        "afternoon",
        "evening",
        "weekend",
        "again",
        "over",
    ];
    let (first, rest) = (span.start, span.start + 1..span.end);
    let part = sentence.token(first).is_some_and(|token| sentence.vocabulary.is_part(&token.lower));
    // `new certificate on web-1`
    let news = sentence.is(first, "new") && sentence.is_foreign(first + 1) && first + 1 < span.end;
    let placed = first + 2 == span.end
        || sentence
            .concept(first + 2, sentence.lexicon.id("at"))
            .any(|phrase| is_topic(sentence, phrase.end..span.end));
    if news && placed {
        return true;
    }
    (sentence.is_foreign(first) || part)
        && sentence.is_any(span.end - 1, TIMES)
        && span.len() <= 4
        && rest.into_iter().all(|at| sentence.is_foreign(at) || sentence.is_any(at, TIMES))
}

/// The packages that some words say are needed, lacking or no longer needed: `web-1 needs htop and tmux`.
pub fn needed_packages(sentence: &Sentence<'_>, span: &Range<usize>) -> Vec<String> {
    const NEED: &[&str] = &[
        "need", "needs", "have", "want", "wants", "lacks", "lack", "misses", "require", "requires", "get", "use", "run",
    ];
    let package = |at: usize| {
        let token = sentence.token(at).filter(|token| token.kind == Kind::Word && at < span.end)?;
        let unknown = !sentence.lexicon.knows(&token.lower) && sentence.vocabulary.named(&token.lower).is_empty();
        let service = sentence.vocabulary.service(&token.lower).is_some();
        (unknown && !service || sentence.lexicon.packages.contains(token.lower.as_str())).then(|| token.text.clone())
    };
    let list_from = |at: usize| {
        let mut found = Vec::new();
        let mut at = at;
        while let Some(name) = package(at) {
            found.push(name);
            at += 1;
            let comma = sentence.token(at).is_some_and(|token| token.kind == Kind::Comma && token.text == ",");
            let next = at + usize::from(comma);
            let next = next + usize::from(sentence.is_any(next, &["and", "plus"]));
            if next == at {
                break;
            }
            at = next;
        }
        found
    };
    for at in span.clone() {
        if sentence.is_any(at, NEED) {
            let articles = (at + 1..span.end)
                .find(|at| !sentence.is_any(*at, &["the", "a", "all", "some", "both", "package", "packages"]));
            let list = list_from(articles.unwrap_or(span.end));
            if !list.is_empty() {
                return list;
            }
        }
        let lacking = sentence.is_any(at, &["is", "are"]) && sentence.is(at + 1, "missing")
            || sentence.is(at, "would") && sentence.is(at + 1, "be")
            || sentence.is_any(at, &["is", "are"])
                && sentence.is(at + 1, "not")
                && sentence.is_any(at + 2, &["installed", "needed", "there", "used", "required"])
            || sentence.is_any(at, &["is", "are"]) && sentence.is(at + 1, "no") && sentence.is(at + 2, "longer")
            || sentence.is_any(at, &["is", "are"]) && sentence.is_any(at + 1, &["obsolete", "superfluous"]);
        if lacking && at > span.start {
            return list_from(span.start);
        }
    }
    Vec::new()
}

/// Whether some tokens only name a service, a file or guests, and where: `php on web-1`. What follows says what to do.
pub fn is_topic(sentence: &Sentence<'_>, span: Range<usize>) -> bool {
    let past_fillers = |mut at: usize| {
        while at < span.end
            && let Some(end) = sentence.filler(at)
        {
            at = end;
        }
        at
    };
    let place = |at: usize| sentence.concept(at, sentence.lexicon.id("at")).map(|phrase| phrase.end).max();
    let named = |at: usize| {
        let hits = sentence.targets(at).into_iter().filter(|hit| hit.cost < 10 && hit.value.exclude.is_empty());
        hits.filter(|hit| hit.value.include.iter().all(is_concrete)).map(|hit| past_fillers(hit.end)).collect()
    };
    let start = past_fillers(span.start);
    let path = sentence.token(start).filter(|token| token.kind == Kind::Path).map(|_| start + 1);
    let services = sentence.services(start, false).into_iter().filter(|hit| hit.cost <= 4 && !is_pronoun(&hit.value));
    let things = services.map(|hit| hit.end).chain(path);
    let ends: Vec<usize> = named(start);
    let placed = things.filter_map(place).flat_map(|at| -> Vec<usize> { named(past_fillers(at)) });
    start < span.end && ends.into_iter().chain(placed).any(|end| end == span.end)
}

fn is_pronoun(value: &Value) -> bool {
    matches!(value, Value::Services(words) if words.iter().any(ServiceWord::is_pronoun))
}

/// `loki on mon-loki`: a service with the guest that it is on, which makes it no part of a guest's name.
fn placed_service(sentence: &Sentence<'_>, at: usize, end: usize) -> Option<ServiceWord> {
    let vocabulary = sentence.vocabulary;
    let is_guest = |noun: &Noun| match noun {
        Noun::Named { named, .. } => named.iter().all(|named| vocabulary.target(*named).vmid().is_some()),
        Noun::Vmid { .. } => true,
        _ => false,
    };
    // `is not running on …`, `hangs on …`, `on …`
    let past_verb = |after: usize| {
        let not = sentence.is_any(after, &["is", "does"]) && sentence.is(after + 1, "not");
        let verb = after + if not { 2 } else { usize::from(sentence.is(after, "is")) };
        let known = |line: &str| sentence.concept(verb, sentence.lexicon.id(line)).next().is_some();
        if verb > after { verb + usize::from(known("up") || known("answers")) } else { after }
    };
    let placed = |after: usize| {
        sentence.concept(past_verb(after), sentence.lexicon.id("at")).any(|phrase| {
            let guests = sentence.targets(phrase.end).into_iter();
            guests.filter(|hit| hit.cost < 6 && hit.end <= end).any(|hit| hit.value.include.iter().all(is_guest))
        })
    };
    let services = sentence.services(at, false).into_iter();
    let service = services.filter(|hit| hit.cost <= 4 && !is_pronoun(&hit.value)).find(|hit| placed(hit.end))?;
    match service.value {
        Value::Services(words) => words.into_iter().next(),
        _ => None,
    }
}

/// Whether a clause tells what somebody did: `we restarted nginx`, which asks for nothing.
pub fn recounts(sentence: &Sentence<'_>, span: Range<usize>) -> bool {
    const DID: &[&str] =
        &["took", "made", "did", "ran", "had", "put", "shut", "gave", "went", "brought", "sent", "set", "was", "were"];
    let subject = |at: usize| {
        sentence.token(at).is_some_and(|token| sentence.lexicon.background.subjects.iter().any(|word| token.is(word)))
    };
    let Some(who) = (span.start..span.end.min(span.start + 3)).find(|at| subject(*at)) else { return false };
    let mut at = who + 1;
    while sentence.is_any(at, &["just", "already", "also", "now", "have", "has", "then", "only"])
        && !sentence.is(at + 1, "to")
    {
        at += 1;
    }
    let past = |token: &Token| {
        token.kind == Kind::Word && token.lower.len() > 4 && token.lower.ends_with("ed") && !token.is("need")
    };
    sentence.token(at).is_some_and(|token| at < span.end && (past(token) || DID.iter().any(|word| token.is(word))))
}

/// What some tokens speak of.
pub fn spoken_of(sentence: &Sentence<'_>, span: Range<usize>) -> Spoken {
    let mut spoken = Spoken { packages: needed_packages(sentence, &span), ..Spoken::default() };
    let mut at = span.start;
    while at < span.end {
        spoken.acts |= sentence.begins_action(at);
        spoken.agent |= sentence.concept(at, sentence.lexicon.id("agent")).next().is_some();
        let parts = ["snapshots", "backups", "disk", "packages", "alerts", "config", "logs"];
        spoken.part |= parts.iter().any(|line| sentence.concept(at, sentence.lexicon.id(line)).next().is_some());
        let token = &sentence.tokens[at];
        if let Some(name) = sentence.vocabulary.snapshot(&token.lower) {
            spoken.snapshot = Some(name.to_owned());
        }
        if token.kind == Kind::Path {
            spoken.path = Some(token.text.clone());
        }
        if let Some(service) = placed_service(sentence, at, span.end) {
            spoken.service = spoken.service.or(Some(service));
            at += 1;
            continue;
        }
        let service = sentence.services(at, true).into_iter().filter(|hit| hit.end <= span.end && hit.cost <= 4);
        if let Some(Value::Services(words)) =
            service.max_by_key(|hit| (hit.end, u32::MAX - hit.cost)).map(|hit| hit.value)
        {
            spoken.service = spoken.service.or_else(|| words.first().cloned());
        }
        let hits = sentence.targets(at).into_iter().filter(|hit| hit.end <= span.end && hit.cost < 10);
        // `customers can not upload anything`, where a guest is called upload.
        let verb = at > span.start
            && sentence.token(at).is_some_and(|token| token.text.bytes().all(|byte| byte.is_ascii_lowercase()))
            && sentence.is_any(at - 1, &["not", "can", "could", "to", "will", "would", "cannot"]);
        let best = hits
            .filter(|hit| hit.value.include.iter().all(is_concrete) && !(verb && hit.end == at + 1))
            .max_by_key(|hit| (hit.end, u32::MAX - hit.cost));
        match best {
            Some(hit) => {
                spoken.doubt |= belongs_to_more(sentence, at, &hit.value);
                spoken.guests.extend(hit.value.include.iter().flat_map(|noun| named(sentence, noun)));
                spoken.nouns.push(hit.value);
                at = hit.end;
            }
            None => at += 1,
        }
    }
    // Beside a name, words that may be a part of names are just words.
    let whole = |expr: &Expr| expr.include.iter().all(|noun| matches!(noun, Noun::Named { .. } | Noun::Vmid { .. }));
    let occasion = announces(sentence, span.clone()) || names_an_occasion(sentence, span);
    if occasion {
        spoken.guests = spoken
            .nouns
            .iter()
            .filter(|expr| whole(expr))
            .flat_map(|expr| expr.include.iter().flat_map(|noun| named(sentence, noun)))
            .collect();
    }
    if occasion || spoken.nouns.iter().any(whole) {
        spoken.nouns.retain(whole);
    }
    spoken.guests.retain(|target| target.vmid().is_some());
    let exact = spoken.nouns.iter().filter(|expr| whole(expr)).flat_map(|expr| &expr.include);
    spoken.exact = exact.flat_map(|noun| named(sentence, noun)).filter(|target| target.vmid().is_some()).collect();
    spoken
}

/// Whether a noun phrase says which thing it means.
fn is_concrete(noun: &Noun) -> bool {
    match noun {
        Noun::Named { .. } | Noun::Vmid { .. } | Noun::Partial { .. } => true,
        Noun::Class { filters, .. } => !filters.is_empty(),
        Noun::Pronoun | Noun::Unknown { .. } => false,
    }
}

fn named(sentence: &Sentence<'_>, noun: &Noun) -> Vec<Target> {
    let vocabulary = sentence.vocabulary;
    match noun {
        Noun::Named { named, .. } => named.iter().map(|named| vocabulary.target(*named)).collect(),
        Noun::Vmid { vmid, .. } => vocabulary.inventory.guest(*vmid).map(Guest::target).into_iter().collect(),
        Noun::Partial { words, .. } => {
            vocabulary.with_parts(words).map(|index| vocabulary.guest(index).target()).collect()
        }
        Noun::Class { .. } | Noun::Pronoun | Noun::Unknown { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::testing::read;

    fn comments(text: &str) -> bool {
        read(text, |sentence| is_comment(sentence, 0..sentence.tokens.len()))
    }

    #[test]
    fn statements_are_comments() {
        for text in [
            "the site is slow",
            "blog throws 502s",
            "users complain",
            "because it hangs",
            "I want to tidy up",
            "we changed a vhost",
            "before I touch anything",
            "the exhibition opens in ten",
        ] {
            assert!(comments(text), "{text}");
        }
    }

    #[test]
    fn requests_conditions_and_prohibitions_are_not() {
        for text in [
            "if it is slow",
            "do not touch wiki",
            "frobnicate the flux",
            "because only wiki is up",
            "reboot wiki",
            "wiki too",
            "leave wiki alone",
            "after the backup",
            "why is it slow?",
        ] {
            assert!(!comments(text), "{text}");
        }
    }

    #[test]
    fn what_is_spoken_of_is_remembered() {
        read("imap is stuck on mail", |sentence| {
            let spoken = spoken_of(sentence, 0..sentence.tokens.len());
            assert_eq!(spoken.service.unwrap().text, "imap");
            assert_eq!(spoken.guests.len(), 1);
        });
    }
}
