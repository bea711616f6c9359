//! From sentence to clauses and back: where one request ends and the next begins, what a pronoun refers to, and which of
//! several readings counts.

use super::{
    class::{Problem, Scope, ask},
    comment::{Spoken, is_comment, is_topic, needed_packages, recounts, spoken_of},
    intent::{Matcher, Reading},
    noun::Noun,
    resolve::{Resolved, resolve},
    sentence::Sentence,
    token::{Kind, Token},
    values::{FAR, Value},
};
use crate::model::{Op, Target, catalogue, plan::Proposed, policy, risk::Risk};
use serde_json::Value as Json;

/// A reading of at least this cost has a word in it that nothing is called.
const STRANGE: u32 = 80;
/// Below this, a reading of the whole is taken without looking for clauses in it.
const PLAIN: u32 = 20;
/// What beginning another clause costs, in tenths.
const ANOTHER: u32 = 6;
/// What it costs to take some words as a comment.
const COMMENT: u32 = 24;
/// What it costs to take for a request what may as well say why: `nginx is stuck, restart it`.
const STATEMENT: u32 = 40;
/// What it costs to take some words for what the next request is about: `nginx on web-1: restart it`.
const TOPIC: u32 = 10;
/// What it costs to take over the verb of an earlier clause.
const ELIDED: u32 = 6;
/// The most places where a clause may begin that are tried.
const MOST_BREAKS: usize = 24;

/// A part of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its first token.
    pub from: usize,
    /// The token after its last.
    pub to: usize,
    /// Whether it only says why.
    pub comment: bool,
    /// Whether it only names what the next clause is about; a comment too.
    pub topic: bool,
    /// The words of an earlier clause that it leaves out: `restart a on x and b on y`.
    pub verb: Option<(usize, usize)>,
}

/// The steps of a whole sentence; `about` is what the sentence before was about.
pub fn plan(sentence: &Sentence<'_>, about: &[Target]) -> Result<Vec<Proposed>, Problem> {
    let matcher = Matcher::new(sentence);
    let Some(pieces) = Cut::new(sentence, &matcher).pieces() else {
        let clauses = shared_object(sentence).ok_or_else(|| unreadable(sentence))?;
        let parts: Vec<Sentence<'_>> = clauses.iter().map(|tokens| part(sentence, tokens)).collect();
        let mut talk = Talk::new(sentence, about);
        for part in &parts {
            talk.clause(&Matcher::new(part).readings())?;
        }
        return Ok(talk.steps);
    };
    let mut talk = Talk::new(sentence, about);
    let comments = pieces.iter().filter(|piece| piece.comment && !piece.topic);
    talk.background = comments.map(|piece| spoken_of(sentence, piece.from..piece.to)).collect();
    for piece in &pieces {
        if piece.comment {
            talk.comment(&spoken_of(sentence, piece.from..piece.to))?;
            talk.topic = piece.topic;
        } else if piece.verb.is_some() {
            talk.clause(&Matcher::new(&piece.completed(sentence)).readings())?;
        } else {
            talk.clause(&matcher.readings_of(piece.from, piece.to))?;
        }
    }
    Ok(talk.steps)
}

/// A way to cut, with what it costs.
type Way = Option<(u32, Vec<Piece>)>;

impl Piece {
    /// The piece as a sentence, with the verb that it leaves out.
    pub fn completed<'a>(&self, sentence: &Sentence<'a>) -> Sentence<'a> {
        let verb = self.verb.map_or(&[][..], |(from, to)| &sentence.tokens[from..to]);
        part(sentence, &[verb, &sentence.tokens[self.from..self.to]].concat())
    }
}

/// What was said and done so far, while the parts of a sentence are gone through.
struct Talk<'s> {
    sentence: &'s Sentence<'s>,
    steps: Vec<Proposed>,
    before: Vec<Target>,
    /// Whether it is open which of those was meant.
    doubt: bool,
    /// Whether those were named in a comment alone.
    aside: bool,
    /// What the comment before speaks of.
    spoken: Option<Spoken>,
    /// What the comments speak of.
    background: Vec<Spoken>,
    /// Whether the part before named what this one is about.
    topic: bool,
}

impl<'s> Talk<'s> {
    fn new(sentence: &'s Sentence<'s>, about: &[Target]) -> Self {
        Self {
            sentence,
            steps: Vec::new(),
            before: about.to_vec(),
            doubt: false,
            aside: false,
            spoken: None,
            background: Vec::new(),
            topic: false,
        }
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            vocabulary: self.sentence.vocabulary,
            before: &self.before,
            doubt: self.doubt,
            aside: self.aside,
            spoken: self.spoken.as_ref(),
            step: self.steps.last(),
        }
    }

    /// A comment changes only what a pronoun means. Behind a request it may not bring in another guest: `…, b could use one`.
    fn comment(&mut self, spoken: &Spoken) -> Result<(), Problem> {
        let meant = |target: &&Target| self.steps.iter().any(|step| step.targets.contains(target));
        let other = spoken.guests.iter().find(|target| !meant(target));
        if let Some(target) = other.filter(|_| !observes(&self.steps)) {
            let question = format!("Is {} meant too? Say what is to be done with it.", self.scope().label(target));
            return Err(ask(question, vec![target.clone()]));
        }
        let mut doubt = false;
        let mut found = Vec::new();
        for expr in &spoken.nouns {
            match self.scope().resolve(expr) {
                Ok(taken) => found.extend(taken.targets),
                Err(Problem::Ask { candidates, .. }) => {
                    doubt = true;
                    found.extend(candidates);
                }
                Err(_) => {}
            }
        }
        if !found.is_empty() {
            found.sort();
            found.dedup();
            self.before = found;
            self.doubt = doubt;
            self.aside = true;
        }
        self.spoken = Some(spoken.clone());
        Ok(())
    }

    fn clause(&mut self, readings: &[Reading<'_>]) -> Result<(), Problem> {
        let chosen = choose(readings, &self.scope());
        if chosen.is_err() && self.asked_for_again(readings) {
            return Ok(());
        }
        let mut resolved = chosen?;
        if std::mem::take(&mut self.topic) {
            self.about_the_topic(&mut resolved)?;
        }
        if self.told_already(&resolved.steps)
            || self.shown_already(readings, &resolved.steps)
            || self.said_more_closely(readings, &resolved.steps)
        {
            return Ok(());
        }
        if !observes(&resolved.steps) {
            self.not_spoken_of_apart(&resolved)?;
            self.packages_are_seen_to(&resolved)?;
        }
        if !resolved.about.is_empty() {
            self.before = resolved.about;
            self.doubt = false;
            self.aside = false;
        }
        self.spoken = None;
        self.steps.extend(resolved.steps);
        Ok(())
    }

    /// `what happened on a? show the log`: the same question again.
    fn shown_already(&self, readings: &[Reading<'_>], steps: &[Proposed]) -> bool {
        let same = |step: &Proposed| {
            self.steps.last().is_some_and(|last| last.op.name() == step.op.name() && last.targets == step.targets)
        };
        let equal = |step: &Proposed| self.steps.last() == Some(step);
        let told = observes(steps) && steps.iter().all(same) || steps.iter().all(equal);
        told && self.asked_for_again(readings)
    }

    /// `something is off with a, go through its logs of today`: the second says the same more closely.
    fn said_more_closely(&mut self, readings: &[Reading<'_>], steps: &[Proposed]) -> bool {
        let it = |value: &Value| matches!(value, Value::Targets(expr) if expr.include == [Noun::Pronoun]);
        let by_pronoun = readings.first().is_some_and(|reading| reading.slots.iter().any(|(_, value)| it(value)));
        let ([step], Some(last)) = (steps, self.steps.last_mut()) else { return false };
        let closer = by_pronoun && observes(steps) && last.op.name() == step.op.name() && last.targets == step.targets;
        let (before, after) = (last.op.args(), step.op.args());
        let closer = closer && before.iter().all(|(name, value)| after.get(name) == Some(value));
        if closer {
            last.op = step.op.clone();
        }
        closer
    }

    /// `a should live on pve2, please migrate it`: the second says nothing that the first did not.
    fn asked_for_again(&self, readings: &[Reading<'_>]) -> bool {
        let again = |reading: &Reading<'_>, step: &Proposed| {
            let only_it = |value: &Value| matches!(value, Value::Targets(expr) if expr.include == [Noun::Pronoun] && expr.exclude.is_empty());
            reading.rule.op == step.op.name() && reading.slots.iter().all(|(_, value)| only_it(value))
        };
        readings.first().zip(self.steps.last()).is_some_and(|(reading, step)| again(reading, step))
    }

    /// What was named before a request has to be what the request is about: `nginx on web-1: show its logs`.
    fn about_the_topic(&self, resolved: &mut Resolved) -> Result<(), Problem> {
        let Some(spoken) = &self.spoken else { return Ok(()) };
        let done = |target: &Target| resolved.steps.iter().any(|step| step.targets.contains(target));
        let Some(service) = spoken.service.as_ref().filter(|_| self.before.iter().all(done)) else {
            return if self.before.iter().all(done) { Ok(()) } else { Err(self.unclear_topic()) };
        };
        for step in &mut resolved.steps {
            if step.op.service().is_none() {
                let units = self.scope().units(service, &step.targets, &[])?;
                let unit = units.first().filter(|(_, unit)| units.iter().all(|(_, other)| other == unit));
                let of_service = unit.and_then(|(_, unit)| with_service(step, unit));
                *step = of_service.ok_or_else(|| self.unclear_topic())?;
            }
        }
        Ok(())
    }

    fn unclear_topic(&self) -> Problem {
        ask("What is to be done with what? Say it in one sentence.", self.before.clone())
    }

    /// `web-1 needs htop, reboot it`: what is to become of the package was said of nothing else.
    fn packages_are_seen_to(&self, resolved: &Resolved) -> Result<(), Problem> {
        let Some(spoken) = self.spoken.as_ref().filter(|spoken| !spoken.packages.is_empty()) else { return Ok(()) };
        let wanted = Json::from(spoken.packages.clone());
        let seen_to = |step: &Proposed| step.op.args().get("packages").is_some_and(|packages| *packages == wanted);
        if resolved.steps.iter().all(seen_to) || resolved.steps.iter().all(|step| step.op.name() == "agent.deploy") {
            return Ok(());
        }
        Err(ask(format!("What is to be done with {}?", spoken.packages.join(", ")), resolved.about.clone()))
    }

    /// `list the nodes, and are they up?`: the list tells that too.
    fn told_already(&self, steps: &[Proposed]) -> bool {
        let lists = ["guest.list", "node.list"];
        let listed = self.steps.last().is_some_and(|step| lists.contains(&step.op.name()));
        let asked = |step: &Proposed| {
            (lists.contains(&step.op.name()) || ["guest.status", "node.status"].contains(&step.op.name()))
                && (step.targets == self.before || step.targets == [Target::cluster()])
        };
        listed && steps.iter().all(asked)
    }

    /// A guest that a comment names and a class takes, or that the comment would have changed too, may be meant or not.
    fn not_spoken_of_apart(&self, resolved: &Resolved) -> Result<(), Problem> {
        for spoken in &self.background {
            let done = |target: &&Target| {
                resolved.about.contains(target) || self.steps.iter().any(|step| step.targets.contains(target))
            };
            if let Some(target) = spoken.exact.iter().find(|target| !done(target)) {
                return Err(ask(
                    format!("Is something to be done with {} too? Say what.", self.scope().label(target)),
                    vec![target.clone()],
                ));
            }
            let all = resolved.by_class.iter().all(|target| spoken.guests.contains(target));
            let doubtful = |target: &&Target| {
                resolved.by_class.contains(target) && !all || spoken.acts && !resolved.about.contains(target)
            };
            if let Some(target) = spoken.guests.iter().find(doubtful) {
                return Err(ask(
                    format!("Is {} meant too? It was spoken of apart.", self.scope().label(target)),
                    vec![target.clone()],
                ));
            }
        }
        Ok(())
    }
}

/// A step narrowed to one service, where its operation can be.
fn with_service(step: &Proposed, unit: &str) -> Option<Proposed> {
    let takes = catalogue::spec(step.op.name())?.args.iter().any(|arg| arg.name == "service");
    let mut args = step.op.args();
    args.insert("service".to_owned(), unit.into());
    let op = Op::from_parts(step.op.name(), args).ok().filter(|_| takes)?;
    Some(Proposed { op, targets: step.targets.clone() })
}

/// Some of a sentence's tokens as a sentence of their own.
fn part<'a>(sentence: &Sentence<'a>, tokens: &[Token]) -> Sentence<'a> {
    Sentence::new(tokens.to_vec(), sentence.lexicon, sentence.vocabulary)
}

/// How a sentence is cut into clauses and comments.
pub struct Cut<'m, 's, 'l> {
    sentence: &'s Sentence<'l>,
    matcher: &'m Matcher<'s, 'l>,
    starts: Vec<usize>,
    ends: Vec<usize>,
}

impl<'m, 's, 'l> Cut<'m, 's, 'l> {
    /// Finds the places where it may be cut.
    pub fn new(sentence: &'s Sentence<'l>, matcher: &'m Matcher<'s, 'l>) -> Self {
        let tokens = &sentence.tokens;
        // `first snapshot a, then reboot it`
        let opening = tokens.first().is_some_and(|token| token.is("first"));
        let counted = tokens.get(1).is_some_and(|token| token.kind == Kind::Number);
        let mut starts = vec![usize::from(opening && !counted)];
        let mut ends = Vec::new();
        for (end, next) in breaks(sentence).into_iter().take(MOST_BREAKS) {
            ends.push(end);
            starts.push(next);
        }
        ends.push(tokens.len());
        Self { sentence, matcher, starts, ends }
    }

    fn cost(&self, from: usize, to: usize) -> Option<u32> {
        if recounts(self.sentence, from..to) {
            return None;
        }
        self.matcher.readings_of(from, to).first().map(|reading| reading.cost)
    }

    /// What it costs to pass over some words: nothing where they say nothing at all.
    fn comment_cost(&self, from: usize, to: usize) -> Option<u32> {
        let mut at = from;
        while at < to
            && let Some(end) = self.sentence.filler(at)
        {
            at = end;
        }
        if at >= to {
            return Some(0);
        }
        // `web-1 needs htop and git, install them`: the list goes on behind its joint.
        let needed = needed_packages(self.sentence, &(from..to)).len();
        let all = needed_packages(self.sentence, &(from..self.sentence.tokens.len())).len();
        (needed == all && is_comment(self.sentence, from..to)).then_some(COMMENT)
    }

    /// `move a to x and b to y`: the nearest verb before that makes a request of a part without one, and what that costs.
    fn elided(&self, start: usize, to: usize) -> Option<((usize, usize), u32)> {
        let from = self.starts[start];
        if self.sentence.begins_action(from) || self.sentence.begins_question(from) {
            return None;
        }
        self.starts[..start].iter().rev().find_map(|earlier| {
            let mut at = *earlier;
            while let Some(end) = self.sentence.filler(at).filter(|end| *end < from) {
                at = end;
            }
            let end = self.sentence.action_end(at).filter(|end| *end < from)?;
            let piece = Piece { from, to, comment: false, topic: false, verb: Some((at, end)) };
            let completed = piece.completed(self.sentence);
            let readings = self.matcher.of_part(&completed).readings();
            let reading = readings.first().filter(|reading| reading.cost < PLAIN)?;
            Some(((at, end), reading.cost))
        })
    }

    /// The cheapest way to cut that explains every word; few parts before many.
    pub fn pieces(&self) -> Option<Vec<Piece>> {
        let (start, end) = (self.starts[0], self.sentence.tokens.len());
        let whole = vec![Piece { from: start, to: end, comment: false, topic: false, verb: None }];
        let whole_cost = self.cost(start, end);
        if whole_cost.is_some_and(|cost| cost < PLAIN) || self.ends.len() == 1 {
            return whole_cost.map(|_| whole);
        }
        // best[i]: the cheapest reading of everything before the i-th break, without a request in it and with one.
        let mut best: Vec<[Way; 2]> = Vec::new();
        for (index, to) in self.ends.iter().enumerate() {
            let mut here: [Way; 2] = [None, None];
            for first in (0..=index).rev() {
                let from = self.starts[first];
                if from >= *to {
                    continue;
                }
                let comment = self.comment_cost(from, *to);
                let topic = comment.is_none() && *to < end && is_topic(self.sentence, from..*to);
                let doubt = if comment.is_some() { STATEMENT } else { 0 };
                let request = self.cost(from, *to).map(|cost| cost + doubt);
                let elided = if comment.is_none() && request.is_none() { self.elided(first, *to) } else { None };
                let verb = elided.map(|(verb, _)| verb);
                let request = request.or_else(|| elided.map(|(_, cost)| cost + ELIDED));
                let comment = comment.or(topic.then_some(TOPIC));
                for (comment, cost) in [(true, comment), (false, request)] {
                    let Some(cost) = cost else { continue };
                    let earlier = [Some((0, Vec::new())), None];
                    let earlier = if first == 0 { &earlier } else { &best[first - 1] };
                    for (asked, so_far) in earlier.iter().enumerate() {
                        let Some((so_far, pieces)) = so_far else { continue };
                        let total = so_far + cost + if first == 0 { 0 } else { ANOTHER };
                        let slot = &mut here[usize::from(asked == 1 || !comment)];
                        if slot.as_ref().is_none_or(|(known, _)| total < *known) {
                            let mut pieces = pieces.clone();
                            pieces.push(Piece { from, to: *to, comment, topic: comment && topic, verb });
                            *slot = Some((total, pieces));
                        }
                    }
                }
            }
            best.push(here);
        }
        let cut = best.pop().and_then(|[_, asked]| asked);
        match (whole_cost, cut) {
            (Some(cost), Some((cut, _))) if cost <= cut => Some(whole),
            (Some(_), None) => Some(whole),
            (_, cut) => cut.map(|(_, pieces)| pieces),
        }
    }
}

/// `stop and disable nginx on web`: two verbs with one object are two clauses.
fn shared_object(sentence: &Sentence<'_>) -> Option<Vec<Vec<Token>>> {
    let tokens = &sentence.tokens;
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

/// Where a clause may end and the next begin: before and after a joint, and before a reason.
fn breaks(sentence: &Sentence<'_>) -> Vec<(usize, usize)> {
    let tokens = &sentence.tokens;
    let joins = |token: &Token| {
        matches!(token.kind, Kind::Comma | Kind::Stop | Kind::Question)
            || ["and", "then", "afterwards", "finally", "next", "also", "after", "that"]
                .iter()
                .any(|word| token.is(word))
    };
    let reasons = &sentence.lexicon.background.reasons;
    let mut out = Vec::new();
    let mut at = 1;
    while at < tokens.len() {
        let token = &tokens[at];
        let begins = matches!(token.kind, Kind::Comma | Kind::Stop | Kind::Question)
            || ["and", "then", "afterwards", "finally"].iter().any(|word| token.is(word));
        if !begins {
            // `she asks which ports are open`
            let asked =
                ["asks", "asked", "asking", "wonders", "wondering", "know"].iter().any(|word| tokens[at - 1].is(word));
            let question =
                asked && ["which", "what", "how", "whether", "who", "when", "if"].iter().any(|word| token.is(word));
            if question {
                out.push((at, at));
            }
            let before =
                !question && token.is("before") && tokens.get(at + 1).is_some_and(|next| next.is("i") || next.is("we"));
            if before || !question && reasons.iter().any(|word| token.is(word)) {
                out.push((at, at));
            }
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
    if sentence.is_elsewhere() {
        return Problem::Refuse("that is nothing that this system can do".to_owned());
    }
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
            plan(sentence, &[]).map_or_else(
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
