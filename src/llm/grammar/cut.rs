//! Where a sentence is cut: which parts of it ask for something, which only say why, which name what the next is about,
//! and which say what is to stay as it is. The cheapest way to cut that explains every word counts.

use super::{
    comment::{is_comment, is_topic, needed_packages, recounts},
    intent::Matcher,
    keeping,
    sentence::Sentence,
    token::{Kind, Token},
};

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
/// The most words that are left out besides a verb.
const MOST_LEFT_OUT: usize = 1;
/// The most places where a clause may begin that are tried.
const MOST_BREAKS: usize = 24;
/// What it costs to take some words for what is to stay as it is.
const KEPT: u32 = 8;

/// What a part of a sentence is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// It asks for something.
    Asks {
        /// The words of an earlier part that it leaves out: `restart a on x and b on y`.
        verb: Option<(usize, usize)>,
        /// Whether it is to be done before what was asked for so far: `…, but take a snapshot first`.
        ahead: bool,
    },
    /// It only says why.
    Says,
    /// It names what the next part is about: `nginx on web-1: restart it`.
    Names,
    /// It says what is to stay as it is.
    Keeps,
}

/// A part of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its first token.
    pub from: usize,
    /// The token after its last.
    pub to: usize,
    /// What it is there for.
    pub sense: Sense,
}

/// What asks for something in words of its own.
const PLAINLY: Sense = Sense::Asks { verb: None, ahead: false };

/// A way to cut, with what it costs.
type Way = Option<(u32, Vec<Piece>)>;

impl Piece {
    /// The piece as a sentence, with the verb that it leaves out.
    pub fn completed<'a>(&self, sentence: &Sentence<'a>) -> Sentence<'a> {
        let verb = match self.sense {
            Sense::Asks { verb: Some((from, to)), .. } => &sentence.tokens[from..to],
            _ => &[],
        };
        part(sentence, &[verb, &sentence.tokens[self.from..self.to]].concat())
    }
}

/// Some of a sentence's tokens as a sentence of their own.
pub fn part<'a>(sentence: &Sentence<'a>, tokens: &[Token]) -> Sentence<'a> {
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
        if self.hides_a_request(from, to) {
            return None;
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
            // `set cores of a to 4 and of b to 8` leaves out `cores` too.
            (end..=end + MOST_LEFT_OUT).take_while(|end| *end < from).find_map(|end| {
                let piece = Piece { from, to, sense: Sense::Asks { verb: Some((at, end)), ahead: false } };
                let completed = piece.completed(self.sentence);
                let readings = self.matcher.of_part(&completed).readings();
                let reading = readings.first().filter(|reading| reading.cost < PLAIN)?;
                Some(((at, end), reading.cost))
            })
        })
    }

    /// Whether words that may say why ask for something too, which must not be lost: a reason ends where a request begins.
    fn hides_a_request(&self, from: usize, to: usize) -> bool {
        let sentence = self.sentence;
        let polite = |at: usize| {
            sentence.is_any(at, &["please", "pls", "plz", "kindly", "bitte"])
                || sentence.is_any(at, &["can", "could", "would", "will"]) && sentence.is_any(at + 1, &["you", "u"])
        };
        let begins = |start: &usize| {
            let mut at = *start;
            while at < to
                && let Some(end) = sentence.filler(at)
            {
                at = end;
            }
            let end = self.ends.iter().copied().find(|end| *end > at).map_or(to, |end| end.min(to));
            sentence.begins_action(at) && !is_comment(sentence, *start..end)
        };
        (from..to).any(polite) || self.starts.iter().filter(|start| from < **start && **start < to).any(begins)
    }

    /// `…, but take a snapshot first`: what is asked for without that word, and what that costs.
    fn ahead(&self, from: usize, to: usize) -> Option<(Piece, u32)> {
        const FIRST: &[&str] = &["first", "beforehand"];
        let behind = self.sentence.is_any(to - 1, FIRST).then_some((from, to - 1));
        let before = self.sentence.is_any(from, FIRST).then_some((from + 1, to));
        let (from, to) = behind.or(before).filter(|(from, to)| from < to)?;
        let cost = self.cost(from, to).filter(|cost| *cost < PLAIN)?;
        Some((Piece { from, to, sense: Sense::Asks { verb: None, ahead: true } }, cost))
    }

    /// What a part can be, each with what that costs.
    fn senses(&self, first: usize, to: usize) -> Vec<(Piece, u32)> {
        let (from, end) = (self.starts[first], self.sentence.tokens.len());
        let piece = |sense: Sense| Piece { from, to, sense };
        if first > 0 && keeping::is_kept(self.sentence, self.matcher, from..to) {
            return vec![(piece(Sense::Keeps), KEPT)];
        }
        let mut out = Vec::new();
        let said = self.comment_cost(from, to);
        out.extend(said.map(|cost| (piece(Sense::Says), cost)));
        let topic = said.is_none() && to < end && is_topic(self.sentence, from..to);
        if topic {
            out.push((piece(Sense::Names), TOPIC));
        }
        // `all web containers, please reboot them` asks for no list.
        let doubt = if said.is_some() { STATEMENT } else { 0 } + if topic { TOPIC } else { 0 };
        let asked = self.cost(from, to).map(|cost| (piece(PLAINLY), cost + doubt));
        let ahead = if first > 0 && asked.is_none() { self.ahead(from, to) } else { None };
        let elided = || {
            let (verb, cost) = self.elided(first, to).filter(|_| said.is_none())?;
            Some((piece(Sense::Asks { verb: Some(verb), ahead: false }), cost + ELIDED))
        };
        out.extend(asked.or(ahead).or_else(elided));
        out
    }

    /// The cheapest way to cut that explains every word; few parts before many.
    pub fn pieces(&self) -> Option<Vec<Piece>> {
        let (start, end) = (self.starts[0], self.sentence.tokens.len());
        let whole = vec![Piece { from: start, to: end, sense: PLAINLY }];
        let whole_cost = self.cost(start, end);
        if whole_cost.is_some_and(|cost| cost < PLAIN) || self.ends.len() == 1 {
            return whole_cost.map(|_| whole);
        }
        // best[i]: the cheapest reading of everything before the i-th break, without a request in it and with one.
        let mut best: Vec<[Way; 2]> = Vec::new();
        for (index, to) in self.ends.iter().enumerate() {
            let mut here: [Way; 2] = [None, None];
            for first in (0..=index).rev().filter(|first| self.starts[*first] < *to) {
                let earlier = [Some((0, Vec::new())), None];
                let earlier = if first == 0 { &earlier } else { &best[first - 1] };
                for (piece, cost) in self.senses(first, *to) {
                    let cost = cost + if first == 0 { 0 } else { ANOTHER };
                    extend(&mut here, earlier, piece, cost);
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

/// Adds a part to the ways to read what stands before it, where that is cheaper than what is known.
fn extend(here: &mut [Way; 2], earlier: &[Way; 2], piece: Piece, cost: u32) {
    let asks = matches!(piece.sense, Sense::Asks { .. });
    for (asked, so_far) in earlier.iter().enumerate() {
        let Some((so_far, pieces)) = so_far else { continue };
        let total = so_far + cost;
        let slot = &mut here[usize::from(asked == 1 || asks)];
        if slot.as_ref().is_none_or(|(known, _)| total < *known) {
            let mut pieces = pieces.clone();
            pieces.push(piece);
            *slot = Some((total, pieces));
        }
    }
}

/// Where a clause may end and the next begin: before and after a joint, and before a reason.
fn breaks(sentence: &Sentence<'_>) -> Vec<(usize, usize)> {
    let tokens = &sentence.tokens;
    let mut out = Vec::new();
    let mut at = 1;
    while at < tokens.len() {
        if let Some(next) = joint_end(sentence, at) {
            if next < tokens.len() {
                out.push((at, next));
            }
            at = next;
        } else {
            if begins_without_joint(sentence, at) {
                out.push((at, at));
            }
            at += 1;
        }
    }
    out
}

/// Where the words end that join the next clause to the one before, which they follow.
fn joint_end(sentence: &Sentence<'_>, at: usize) -> Option<usize> {
    const BEGIN: &[&str] = &["and", "then", "afterwards", "finally", "anyway"];
    const GO_ON: &[&str] =
        &["and", "then", "afterwards", "finally", "next", "also", "after", "that", "uh", "um", "anyway"];
    const TURN: &[&str] = &["leave", "do", "first", "keep", "never", "without"];
    let punctuation = |at: usize| {
        let kind = sentence.token(at).map(|token| token.kind);
        matches!(kind, Some(Kind::Comma | Kind::Stop | Kind::Question))
    };
    // `once it is running`: what was asked for before is done first anyway.
    let sequel = |at: usize| {
        let ends = sentence.concept(at, sentence.lexicon.id("sequel")).map(|phrase| phrase.end);
        ends.max()
    };
    // `but take a snapshot first`, `but leave wiki alone`
    let turn = |at: usize| sentence.is(at, "but") && (sentence.begins_action(at + 1) || sentence.is_any(at + 1, TURN));
    let mut next =
        sequel(at).or_else(|| (punctuation(at) || sentence.is_any(at, BEGIN) || turn(at)).then_some(at + 1))?;
    loop {
        if let Some(end) = sequel(next) {
            next = end;
        } else if punctuation(next) || sentence.is_any(next, GO_ON) || turn(next) {
            next += 1;
        } else {
            return Some(next);
        }
    }
}

/// Whether a clause or a comment can begin at a word that nothing joins to the one before.
fn begins_without_joint(sentence: &Sentence<'_>, at: usize) -> bool {
    let background = &sentence.lexicon.background;
    // `she asks which ports are open`
    let asked = sentence.is_any(at - 1, &["asks", "asked", "asking", "wonders", "wondering", "know"]);
    if asked && sentence.is_any(at, &["which", "what", "how", "whether", "who", "when", "if"]) {
        return true;
    }
    let before = sentence.is_any(at, &["before", "while"]) && sentence.is_any(at + 1, &["i", "we"]);
    let reason = background.reasons.iter().any(|word| sentence.is(at, word));
    // `nginx hangs please restart it`
    let polite = sentence.is_any(at, &["please", "pls", "plz"]) && sentence.begins_action(at + 1);
    before || reason || polite || complains(sentence, at)
}

/// `it is stuck`, `they keep crashing`: a statement about what was spoken of, which needs nothing before it.
fn complains(sentence: &Sentence<'_>, at: usize) -> bool {
    const BE: &[&str] =
        &["is", "are", "has", "have", "keeps", "keep", "seems", "seem", "feels", "looks", "got", "gets", "does", "do"];
    let background = &sentence.lexicon.background;
    let told = |at: usize| {
        let verb = !sentence.is_any(at, BE) && background.verbs.iter().any(|word| sentence.is(at, word));
        verb || sentence.is(at, "not")
    };
    let past = at
        + 2
        + usize::from(sentence.is_any(at + 2, &["totally", "completely", "just", "so", "really", "like", "very"]));
    sentence.is_any(at, &["it", "they", "she", "he"]) && (sentence.is_any(at + 1, BE) && told(past) || told(at + 1))
}
