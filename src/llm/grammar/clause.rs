//! From sentence to clauses and back: where one request ends and the next begins, what a pronoun refers to, and which of
//! several readings counts.

use super::{
    class::{Problem, Scope, ask},
    intent::{Matcher, Reading},
    noun::Noun,
    resolve::{Resolved, resolve},
    sentence::Sentence,
    token::{Kind, Token},
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
    let (tokens, background) = without_background(sentence);
    let clauses = clauses(sentence, &tokens).ok_or_else(|| unreadable(sentence))?;
    let mut before: Vec<Target> = Vec::new();
    let mut steps = Vec::new();
    for clause in &clauses {
        let part = part(sentence, &tokens[clause.0..clause.1]);
        let scope = Scope { vocabulary: sentence.vocabulary, before: &before };
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

fn part<'a>(sentence: &Sentence<'a>, tokens: &[Token]) -> Sentence<'a> {
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

/// Words before a request that only say why: `the dashboards won't load again, could you …`. They may not hold a
/// condition or an exception. Gives the rest, and what guests were spoken of.
fn without_background(sentence: &Sentence<'_>) -> (Vec<Token>, Vec<Target>) {
    const CONDITIONS: &[&str] = &[
        "if",
        "unless",
        "until",
        "except",
        "only",
        "when",
        "after",
        "before",
        "but",
        "never",
        "once",
        "while",
        "leave",
        "untouched",
        "skip",
        "exclude",
        "instead",
        "should",
        "must",
        "whenever",
        "without",
        "keep",
    ];
    const VERBS: &[&str] = &[
        "is", "are", "was", "were", "will", "has", "have", "keeps", "seems", "looks", "does", "do", "feels", "got",
        "went", "had", "can",
    ];
    const REQUESTS: &[&str] = &["so", "could", "can", "please", "would", "pls", "therefore", "hence"];
    let tokens = &sentence.tokens;
    let ends = (1..tokens.len().saturating_sub(1)).filter(|at| {
        let request = REQUESTS.iter().any(|word| tokens[at + 1].is(word));
        (matches!(tokens[*at].kind, Kind::Comma | Kind::Stop) && tokens[*at].text != ":") && request
    });
    let is_background = |end: &usize| {
        let words = &tokens[..*end];
        let conditional = words.iter().any(|token| CONDITIONS.iter().any(|word| token.is(word)));
        let verb = words.iter().skip(1).any(|token| VERBS.iter().any(|word| token.is(word)));
        let command = words.first().is_some_and(|token| token.is("do") || token.is("not"));
        verb && !conditional && !command && Matcher::new(&part(sentence, words)).readings().is_empty()
    };
    let Some(end) = ends.filter(is_background).last() else { return (tokens.clone(), Vec::new()) };
    let spoken =
        (0..end).flat_map(|at| sentence.targets(at)).filter(|hit| hit.end <= end).flat_map(|hit| hit.value.include);
    let named = spoken.flat_map(|noun| match noun {
        Noun::Named { named, .. } => named.iter().map(|named| sentence.vocabulary.target(*named)).collect(),
        Noun::Vmid { vmid, .. } => {
            sentence.vocabulary.inventory.guest(vmid).map(|guest| guest.target()).into_iter().collect()
        }
        Noun::Partial { words, .. } => sentence
            .vocabulary
            .with_parts(&words)
            .into_iter()
            .map(|index| sentence.vocabulary.guest(index).target())
            .collect(),
        _ => Vec::new(),
    });
    let guests = named.filter(|target| target.vmid().is_some()).collect();
    (tokens[end + 1..].to_vec(), guests)
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
