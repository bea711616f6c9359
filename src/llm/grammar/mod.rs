//! The embedded planner: no network, no model, deterministic. A sentence goes through stages, each a file and a type:
//! tokens (`token`) → mentions (`mention`: spans, alternatives, scores) → readings of the parts of a sentence (`cut`,
//! `intent`) → resolved steps (`resolve`) → the plan (`clause`). A rule reads a part only when it accounts for every word; what is left over, contradicts or fits several things becomes a question.

mod class;
mod clause;
mod comment;
mod cut;
mod explain;
mod fit;
mod guard;
mod intent;
mod keeping;
mod lexicon;
mod mention;
mod naming;
mod noun;
mod pattern;
mod property;
mod resolve;
mod sentence;
mod service;
mod token;
mod values;
mod vocabulary;

pub use explain::{Explanation, explain};

use super::{Known, Planner, Proposal};
use crate::model::{Inventory, Op, Target, plan::Proposed};
use class::Problem;
use lexicon::Lexicon;
use sentence::Sentence;
use vocabulary::Vocabulary;

/// The longest sentence that is read, in bytes; a patch may be longer.
const LONGEST: usize = 16 << 10;
/// The most tokens that are read.
const MOST_TOKENS: usize = 120;

/// The grammar planner.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grammar;

impl Planner for Grammar {
    fn name(&self) -> &'static str {
        "grammar"
    }

    fn plan_about(&self, text: &str, known: &Known, about: &[Target]) -> Proposal {
        let lexicon = Lexicon::get();
        let vocabulary = Vocabulary::new(known);
        let mut tokens = token::tokens(text, lexicon);
        if text.len() > LONGEST || tokens.len() > MOST_TOKENS {
            return clarify("That is too long for one request. What is to be done first?", Vec::new());
        }
        vocabulary.prepare(&mut tokens, lexicon);
        let sentence = Sentence::new(tokens, lexicon, &vocabulary);
        if let Some(reason) = guard::refusal(&sentence) {
            return Proposal::Refuse { reason };
        }
        match clause::plan(&sentence, about) {
            Ok(steps) => Proposal::Plan { summary: summary(&steps, known.inventory()), steps },
            Err(Problem::Ask { candidates, .. }) if candidates.is_empty() && sentence.is_elsewhere() => {
                Proposal::Refuse { reason: "that is nothing that this system can do".to_owned() }
            }
            Err(Problem::Ask { question, candidates }) => clarify(&question, candidates),
            Err(Problem::Refuse(reason)) => Proposal::Refuse { reason },
            Err(Problem::Unknown(text)) => Proposal::Refuse { reason: stranger(&text, known) },
        }
    }
}

fn clarify(question: &str, candidates: Vec<Target>) -> Proposal {
    Proposal::Clarify { question: question.to_owned(), candidates }
}

fn stranger(text: &str, known: &Known) -> String {
    let closest = known.closest(text, 3);
    let hint = if closest.is_empty() { String::new() } else { format!("; closest: {}", closest.join(", ")) };
    format!("no guest or node is called {text}{hint}")
}

/// `restart nginx on web-server, then reboot blog`.
fn summary(steps: &[Proposed], inventory: &Inventory) -> String {
    let parts: Vec<String> = steps.iter().map(|step| phrase(step, inventory)).collect();
    parts.join(", then ")
}

fn phrase(step: &Proposed, inventory: &Inventory) -> String {
    let (group, verb) = step.op.name().split_once('.').unwrap_or(("", step.op.name()));
    let what = match (&step.op, group) {
        (Op::ExecRun { .. }, _) => "run a command on".to_owned(),
        (op, "service") => {
            op.service().map_or_else(|| "list services of".to_owned(), |service| format!("{verb} {service} on"))
        }
        (_, "guest" | "node") => verb.replace('_', " "),
        (_, "agent") => format!("{verb} the agent:"),
        (_, group) => format!("{group} {verb}:"),
    };
    let names: Vec<String> = step.targets.iter().take(4).map(|target| called(target, inventory)).collect();
    let more = step.targets.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{what} {}{more}", names.join(", "))
}

fn called(target: &Target, inventory: &Inventory) -> String {
    let name = inventory.name_of(target);
    if name.is_empty() { target.to_string() } else { name.to_owned() }
}

/// What the stages' tests share.
#[cfg(test)]
mod testing {
    use super::{Known, Lexicon, Sentence, Vocabulary, token};
    use std::sync::OnceLock;

    /// The homelab inventory.
    pub fn homelab() -> &'static Known {
        static HOMELAB: OnceLock<Known> = OnceLock::new();
        HOMELAB.get_or_init(|| {
            Known::new(serde_json::from_str(include_str!("../../../tests/fixtures/homelab.json")).unwrap())
        })
    }

    /// A text as the stages after the tokens see it.
    pub fn read<T>(text: &str, use_it: impl FnOnce(&Sentence<'_>) -> T) -> T {
        let vocabulary = Vocabulary::new(homelab());
        let mut tokens = token::tokens(text, Lexicon::get());
        vocabulary.prepare(&mut tokens, Lexicon::get());
        use_it(&Sentence::new(tokens, Lexicon::get(), &vocabulary))
    }
}
