//! From sentence to clauses and back: where one request ends and the next begins, what a pronoun refers to, and which of
//! several readings counts.

use super::{
    class::{Problem, Scope, ask},
    comment::{Spoken, spoken_of},
    cut::{Cut, Piece, Sense, part},
    intent::{FOREIGN, Matcher, Reading},
    keeping,
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
    let comments = pieces.iter().filter(|piece| piece.sense == Sense::Says);
    talk.background = comments.map(|piece| spoken_of(sentence, piece.from..piece.to)).collect();
    // What is named before nothing that is asked for would be dropped: `restart a (ct 119), do not touch b`.
    let asks = |piece: &Piece| matches!(piece.sense, Sense::Asks { .. });
    if pieces.windows(2).any(|pair| pair[0].sense == Sense::Names && !asks(&pair[1])) {
        return Err(talk.unclear_topic());
    }
    for piece in &pieces {
        talk.part(&matcher, *piece)?;
    }
    for piece in pieces.iter().filter(|piece| piece.sense == Sense::Keeps) {
        talk.keep(&matcher, *piece)?;
    }
    Ok(talk.steps)
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
    /// Those that a class took, in all that was asked for.
    by_class: Vec<Target>,
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
            by_class: Vec::new(),
        }
    }

    /// Takes in one part of the sentence.
    fn part(&mut self, matcher: &Matcher<'_, '_>, piece: Piece) -> Result<(), Problem> {
        match piece.sense {
            Sense::Says | Sense::Names => {
                self.comment(&spoken_of(self.sentence, piece.from..piece.to))?;
                self.topic = piece.sense == Sense::Names;
                Ok(())
            }
            // Looked at in the end, when it is known what would be done.
            Sense::Keeps => Ok(()),
            Sense::Asks { verb: Some(_), .. } => self.clause(&Matcher::new(&piece.completed(self.sentence)).readings()),
            Sense::Asks { verb: None, ahead } => {
                let before = self.steps.len();
                self.clause(&matcher.readings_of(piece.from, piece.to))?;
                if ahead {
                    self.steps.rotate_left(before);
                }
                Ok(())
            }
        }
    }

    /// Leaves out what is to stay as it is; a question where that contradicts what is asked for.
    fn keep(&mut self, matcher: &Matcher<'_, 's>, piece: Piece) -> Result<(), Problem> {
        let kept = keeping::kept(self.sentence, matcher, piece.from..piece.to);
        let kept = kept.ok_or_else(|| ask("I did not understand what is to stay as it is.", Vec::new()))?;
        let negated = match &kept {
            keeping::Kept::Doing(readings) => choose(readings, &self.scope())?.steps,
            _ => Vec::new(),
        };
        let steps = keeping::leave(&kept, &negated, self.steps.clone(), &self.by_class, &self.scope())?;
        self.steps = steps;
        Ok(())
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
        let mut doubt = spoken.doubt;
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
        self.still_there(&resolved)?;
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
        self.by_class.extend(resolved.by_class);
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

    /// `delete a and its backups`: what is destroyed has nothing more that could be looked at or changed.
    fn still_there(&self, resolved: &Resolved) -> Result<(), Problem> {
        let destroys = |step: &&Proposed| step.op.name() == "guest.destroy";
        let gone: Vec<&Target> = self.steps.iter().filter(destroys).flat_map(|step| &step.targets).collect();
        let about =
            |step: &&Proposed| step.op.name() != "guest.restore" && step.targets.iter().any(|t| gone.contains(&t));
        match resolved.steps.iter().find(about) {
            Some(step) => Err(ask(
                format!("After guest.destroy nothing is left for {}. What is meant?", step.op.name()),
                step.targets.clone(),
            )),
            None => Ok(()),
        }
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

/// The one thing that the likeliest readings come to; where they differ and something would change, a question.
fn choose(readings: &[Reading<'_>], scope: &Scope<'_>) -> Result<Resolved, Problem> {
    let Some(best) = readings.first() else { return Err(ask("I did not understand that.", Vec::new())) };
    let likely = || readings.iter().filter(|reading| reading.cost <= best.cost + 1);
    // Where nothing is changed the first that can be answered counts.
    if likely().all(|reading| reading.rule.reads) {
        // Unless that passes over a word which a change would take for something that is not there: `back up a to nowhere`.
        let strange = |reading: &&Reading<'_>| {
            !reading.rule.reads && reading.slots.iter().any(|(_, value)| matches!(value, Value::Stranger { .. }))
        };
        if best.cost >= FOREIGN
            && let Some(Err(problem)) = readings.iter().find(strange).map(|reading| resolve(reading, scope))
        {
            return Err(problem);
        }
        let mut problem = None;
        for reading in likely() {
            match resolve(reading, scope) {
                Ok(resolved) => return Ok(resolved),
                Err(other) => _ = problem.get_or_insert(other),
            }
        }
        return Err(problem.unwrap_or_else(|| ask("I did not understand that.", Vec::new())));
    }
    let mut found: Vec<Resolved> = Vec::new();
    let mut problem = None;
    for reading in likely() {
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
            "back up blog to nowhere",
            "backup blog to nosuchstorage",
            "delete container blog and its backups",
        ] {
            assert!(steps(text)[0].contains("Ask") || steps(text)[0].contains("Unknown"), "{text}: {:?}", steps(text));
        }
    }
}
