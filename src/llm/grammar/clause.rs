//! From sentence to clauses and back: where one request ends and the next begins, what a pronoun refers to, and which of
//! several readings counts.

use super::{
    background::request,
    class::{Problem, Scope, ask},
    intent::{Matcher, Reading},
    noun::Noun,
    resolve::{Resolved, resolve},
    sentence::Sentence,
    token::{Kind, Token},
    values::FAR,
};
use crate::model::{Target, plan::Proposed, policy, risk::Risk};

/// A reading of at least this cost has a word in it that nothing is called.
const STRANGE: u32 = 80;
/// What beginning another clause costs, in tenths.
const ANOTHER: u32 = 6;
/// The most places where a clause may begin that are tried.
const MOST_BREAKS: usize = 24;

/// The steps of a whole sentence.
pub fn plan(sentence: &Sentence<'_>) -> Result<Vec<Proposed>, Problem> {
    let (tokens, background) = request(sentence);
    // `first snapshot a, then reboot it`
    let opening = tokens.first().is_some_and(|token| token.is("first"));
    let counted = tokens.get(1).is_some_and(|token| token.kind == Kind::Number);
    let tokens = tokens[usize::from(opening && !counted)..].to_vec();
    let cut =
        clauses(sentence, &tokens).map(|cut| cut.into_iter().map(|(from, to)| tokens[from..to].to_vec()).collect());
    let clauses: Vec<Vec<Token>> =
        cut.or_else(|| shared_object(sentence, &tokens)).ok_or_else(|| unreadable(sentence))?;
    let mut before: Vec<Target> = Vec::new();
    let mut steps: Vec<Proposed> = Vec::new();
    for clause in &clauses {
        let part = part(sentence, clause);
        let scope = Scope { vocabulary: sentence.vocabulary, before: &before, step: steps.last() };
        let resolved = choose(&Matcher::new(&part).readings(), &scope)?;
        if let Some(target) =
            resolved.by_class.iter().find(|target| background.contains(target)).filter(|_| !observes(&resolved.steps))
        {
            return Err(ask(
                format!("Is {} meant too? It was spoken of apart.", scope.label(target)),
                resolved.by_class,
            ));
        }
        if !resolved.about.is_empty() {
            before = resolved.about;
        }
        steps.extend(resolved.steps);
    }
    Ok(steps)
}

/// Some of a sentence's tokens as a sentence of their own.
pub fn part<'a>(sentence: &Sentence<'a>, tokens: &[Token]) -> Sentence<'a> {
    Sentence::new(tokens.to_vec(), sentence.lexicon, sentence.vocabulary)
}

/// The cheapest way to cut the tokens into clauses that can each be read; few clauses before many.
fn clauses(sentence: &Sentence<'_>, tokens: &[Token]) -> Option<Vec<(usize, usize)>> {
    let cost = |from: usize, to: usize| {
        Matcher::new(&part(sentence, &tokens[from..to])).readings().first().map(|reading| reading.cost)
    };
    let whole = cost(0, tokens.len());
    let breaks = breaks(tokens);
    if whole.is_some_and(|cost| cost < STRANGE) || breaks.is_empty() || breaks.len() > MOST_BREAKS {
        return whole.map(|_| vec![(0, tokens.len())]);
    }
    // best[i]: the cheapest reading of everything before the i-th break, with where its last clause began.
    let mut starts = vec![0];
    starts.extend(breaks.iter().map(|(_, next)| *next));
    let mut ends: Vec<usize> = breaks.iter().map(|(end, _)| *end).collect();
    ends.push(tokens.len());
    let mut best: Vec<Option<(u32, usize)>> = Vec::new();
    for (index, end) in ends.iter().enumerate() {
        let ways = (0..=index).filter_map(|first| {
            let so_far = if first == 0 { 0 } else { best[first - 1]?.0 + ANOTHER };
            let from = starts[first];
            let this = (from < *end).then(|| cost(from, *end))??;
            Some((so_far + this, first))
        });
        best.push(ways.min_by_key(|(cost, first)| (*cost, *first)));
    }
    let cut = best.last().copied().flatten();
    if let Some(whole) = whole
        && cut.is_none_or(|(cost, _)| cost >= whole)
    {
        return Some(vec![(0, tokens.len())]);
    }
    cut?;
    let mut out = Vec::new();
    let mut last = Some(ends.len() - 1);
    while let Some(index) = last {
        let (_, first) = best[index]?;
        out.push((starts[first], ends[index]));
        last = first.checked_sub(1);
    }
    out.reverse();
    Some(out)
}

/// `stop and disable nginx on web`: two verbs with one object are two clauses.
fn shared_object(sentence: &Sentence<'_>, tokens: &[Token]) -> Option<Vec<Vec<Token>>> {
    let joint = (1..tokens.len().min(4)).find(|at| tokens[*at].is("and"))?;
    let readable = |clause: &Vec<Token>| {
        let readings = Matcher::new(&part(sentence, clause)).readings();
        readings.first().is_some_and(|reading| reading.cost < STRANGE)
    };
    let lengths = (1..=2).map(|length| joint + 1 + length).filter(|object| *object < tokens.len());
    lengths
        .map(|object| vec![[&tokens[..joint], &tokens[object..]].concat(), tokens[joint + 1..].to_vec()])
        .find(|clauses| clauses.iter().all(readable))
}

/// Where a clause may end and the next begin: before and after a joint.
fn breaks(tokens: &[Token]) -> Vec<(usize, usize)> {
    let joins = |token: &Token| {
        matches!(token.kind, Kind::Comma | Kind::Stop)
            || ["and", "then", "afterwards", "finally", "next", "also", "after", "that"]
                .iter()
                .any(|word| token.is(word))
    };
    let mut out = Vec::new();
    let mut at = 1;
    while at < tokens.len() {
        let token = &tokens[at];
        let begins = matches!(token.kind, Kind::Comma | Kind::Stop)
            || ["and", "then", "afterwards", "finally"].iter().any(|word| token.is(word));
        if !begins {
            at += 1;
            continue;
        }
        let mut next = at + 1;
        while next < tokens.len() && joins(&tokens[next]) {
            next += 1;
        }
        if next < tokens.len() {
            out.push((at, next));
        }
        at = next;
    }
    out
}

/// The one thing that the likeliest readings come to; where they differ and something would change, a question.
fn choose(readings: &[Reading<'_>], scope: &Scope<'_>) -> Result<Resolved, Problem> {
    let Some(best) = readings.first() else { return Err(ask("I did not understand that.", Vec::new())) };
    let likely = readings.iter().filter(|reading| reading.cost <= best.cost + 1);
    let mut found: Vec<Resolved> = Vec::new();
    let mut problem = None;
    for reading in likely {
        match resolve(reading, scope) {
            Ok(resolved) if found.iter().any(|known| known.steps == resolved.steps) => {}
            Ok(resolved) => found.push(resolved),
            Err(other) => {
                problem.get_or_insert(other);
            }
        }
    }
    let changes = found.iter().any(|resolved| !observes(&resolved.steps));
    if let Some(Problem::Ask { candidates, .. }) = &problem
        && changes
        && !candidates.is_empty()
    {
        // One reading would change something, an equally likely one leaves open what: that is a doubt too.
        return Err(problem.unwrap_or_else(|| ask("I did not understand that.", Vec::new())));
    }
    if changes && (FAR..STRANGE).contains(&best.cost) {
        let about = found.iter().flat_map(|resolved| resolved.about.clone()).collect();
        let ways: Vec<String> = found.iter().map(|resolved| names(&resolved.steps)).collect();
        return Err(ask(format!("Is this meant: {}? If so, put names in quotes.", ways.join(" or ")), about));
    }
    match found.len() {
        0 => Err(problem.unwrap_or_else(|| ask("I did not understand that.", Vec::new()))),
        1 => Ok(found.remove(0)),
        _ if found.iter().all(|resolved| observes(&resolved.steps)) => Ok(found.remove(0)),
        _ => {
            let mut candidates: Vec<Target> = found.iter().flat_map(|resolved| resolved.about.clone()).collect();
            candidates.sort();
            candidates.dedup();
            let ways: Vec<String> = found.iter().map(|resolved| names(&resolved.steps)).collect();
            Err(ask(format!("That can mean {}. Which?", ways.join(" or ")), candidates))
        }
    }
}

fn names(steps: &[Proposed]) -> String {
    let name = |step: &Proposed| {
        let targets: Vec<String> = step.targets.iter().take(4).map(ToString::to_string).collect();
        format!("{} on {}", step.op.name(), targets.join(", "))
    };
    steps.iter().map(name).collect::<Vec<_>>().join(" and ")
}

fn observes(steps: &[Proposed]) -> bool {
    steps.iter().all(|step| policy::base(&step.op) == Risk::Observe)
}

/// What nobody can read: out of scope where it has words from elsewhere and nothing from here, else a question.
fn unreadable(sentence: &Sentence<'_>) -> Problem {
    let foreign = |token: &&Token| {
        token.kind == Kind::Word
            && token.meant.is_empty()
            && !sentence.lexicon.knows(&token.lower)
            && !sentence.vocabulary.knows(&token.lower)
    };
    let strangers: Vec<&str> = sentence.tokens.iter().filter(foreign).map(|token| token.text.as_str()).collect();
    let here = |at: usize| {
        let nouns = sentence.targets(at);
        nouns.iter().any(|hit| {
            hit.value
                .include
                .iter()
                .any(|noun| matches!(noun, Noun::Named { .. } | Noun::Vmid { .. } | Noun::Partial { .. }))
        }) || !sentence.services(at, false).is_empty()
    };
    let known = (0..sentence.tokens.len()).any(here);
    match strangers.first() {
        Some(_) if !known => Problem::Refuse("that is nothing that this system can do".to_owned()),
        Some(word) => {
            ask(format!("I do not understand `{word}`. Say it in other words, one request at a time."), Vec::new())
        }
        None => ask("I do not understand all of that. Say it in other words, one request at a time.", Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::testing::read;

    fn steps(text: &str) -> Vec<String> {
        read(text, |sentence| {
            plan(sentence).map_or_else(
                |problem| vec![format!("{problem:?}")],
                |steps| steps.iter().map(|step| format!("{} {}", step.op.name(), step.targets[0])).collect(),
            )
        })
    }

    #[test]
    fn requests_come_apart_and_keep_their_order() {
        assert_eq!(
            steps("back up blog, then reboot it and start wiki"),
            ["guest.backup ct/120", "guest.reboot ct/120", "guest.start ct/121"]
        );
        assert_eq!(steps("stop and disable nginx on web-staging"), ["service.stop ct/119", "service.disable ct/119"]);
        assert_eq!(
            steps("stop nginx on web-server and start it again"),
            ["service.stop ct/118", "service.start ct/118"]
        );
        assert_eq!(steps("snapshot web-server and restart nginx"), ["guest.snapshot ct/118", "service.restart ct/118"]);
    }

    #[test]
    fn one_unreadable_clause_stops_the_whole() {
        for text in [
            "reboot blog and frobnicate the flux",
            "reboot blog, but only after a backup",
            "do not reboot wiki and reboot blog",
        ] {
            assert!(steps(text)[0].contains("Ask") || steps(text)[0].contains("Unknown"), "{text}: {:?}", steps(text));
        }
    }
}
