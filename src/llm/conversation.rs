//! Conversations: a sentence that only makes sense after another. The answer to a question (`the second one`, `ct 119`,
//! `both`), the same again elsewhere (`and web-staging too`), taking it back (`undo that`), and pronouns. A pure function
//! of what was said before and what is said now; whoever keeps the conversation keeps the `Context`.

use super::{Known, Planner, Proposal};
use crate::model::{Inventory, Policy, Target, plan::Proposed};

/// The most candidates that an answer can choose: each is planned for by itself.
const MOST_CHOSEN: usize = 32;
/// So many targets are named in a summary.
const MOST_NAMED: usize = 4;

/// What was said before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Context {
    /// The plan that was made last, with what takes each step back as things were then.
    planned: Vec<(Proposed, Option<Proposed>)>,
    /// What somebody still has to say.
    open: Option<Question>,
}

/// Which of several was meant.
#[derive(Debug, Clone, PartialEq)]
struct Question {
    about: About,
    candidates: Vec<Target>,
}

/// What an answer completes.
#[derive(Debug, Clone, PartialEq)]
enum About {
    /// A sentence.
    Sentence(String),
    /// The last plan once more, elsewhere.
    Again,
}

/// Reads a sentence in a conversation; gives what it comes to and what to remember.
pub fn plan(planner: &dyn Planner, before: Option<&Context>, text: &str, known: &Known) -> (Proposal, Context) {
    let words = words(text);
    let mut context = before.cloned().unwrap_or_default();
    let (proposal, about) = context
        .answered(planner, &words, known)
        .or_else(|| context.followed(planner, &words, known))
        .unwrap_or_else(|| (context.read(planner, text, known), About::Sentence(text.to_owned())));
    context.open = None;
    match &proposal {
        Proposal::Plan { steps, .. } => context.planned = with_undo(steps, known.inventory()),
        Proposal::Clarify { candidates, .. } if !candidates.is_empty() => {
            context.open = Some(Question { about, candidates: candidates.clone() });
        }
        // What was not understood does not make forgotten what was said before.
        Proposal::Clarify { .. } | Proposal::Refuse { .. } => {}
    }
    (proposal, context)
}

/// Whether a sentence only takes back what was done last.
pub fn is_undo(text: &str) -> bool {
    takes_back(&words(text))
}

/// What to remember after a proposal that came about without a planner.
pub fn after(before: Option<&Context>, proposal: &Proposal, known: &Known) -> Context {
    let planned = match proposal {
        Proposal::Plan { steps, .. } => with_undo(steps, known.inventory()),
        _ => before.map(|context| context.planned.clone()).unwrap_or_default(),
    };
    Context { planned, open: None }
}

impl Context {
    /// The answer to the open question, if it is one.
    fn answered(&self, planner: &dyn Planner, words: &[String], known: &Known) -> Option<(Proposal, About)> {
        let Question { about, candidates } = self.open.as_ref()?;
        let chosen = chosen(words, candidates, known.inventory())?;
        let proposal = match about {
            About::Sentence(asked) => completed(planner, asked, &chosen, candidates, known)?,
            About::Again => again(&self.planned, &chosen, known.inventory()),
        };
        Some((proposal, about.clone()))
    }

    /// What is said of the last plan: taking it back, or the same elsewhere.
    fn followed(&self, planner: &dyn Planner, words: &[String], known: &Known) -> Option<(Proposal, About)> {
        if self.planned.is_empty() {
            return None;
        }
        let proposal =
            if takes_back(words) { undone(&self.planned) } else { repeated(planner, words, &self.planned, known)? };
        Some((proposal, About::Again))
    }

    /// A sentence of its own. What was spoken of before is what a pronoun means, and where a guest is missing; it takes the
    /// place of none that the sentence finds by itself.
    fn read(&self, planner: &dyn Planner, text: &str, known: &Known) -> Proposal {
        let alone = planner.plan(text, known);
        let Proposal::Clarify { candidates, .. } = &alone else { return alone };
        let Some((before, _)) = self.planned.last() else { return alone };
        match planner.plan_about(text, known, &before.targets) {
            Proposal::Plan { steps, summary }
                if candidates.is_empty()
                    || steps.iter().flat_map(|step| &step.targets).all(|target| candidates.contains(target)) =>
            {
                Proposal::Plan { steps, summary }
            }
            _ => alone,
        }
    }
}

fn with_undo(steps: &[Proposed], inventory: &Inventory) -> Vec<(Proposed, Option<Proposed>)> {
    let weighed = |step: &Proposed| (step.clone(), Policy::default().weigh(step.clone(), inventory).reversed());
    steps.iter().map(weighed).collect()
}

/// Lower-case words without punctuation and without those that only join.
fn words(text: &str) -> Vec<String> {
    let plain = |word: &str| word.trim_matches(|c: char| ",.;!?\"'`#".contains(c)).to_lowercase();
    text.split_whitespace().map(plain).filter(|word| !word.is_empty()).collect()
}

fn said(words: &[String]) -> String {
    words.join(" ")
}

/// The candidates that an answer chooses; `None` where it is no answer.
fn chosen(words: &[String], candidates: &[Target], inventory: &Inventory) -> Option<Vec<Target>> {
    const ORDINALS: [&[&str]; 5] =
        [&["first", "1st"], &["second", "2nd"], &["third", "3rd"], &["fourth", "4th"], &["fifth", "5th"]];
    const AROUND: &[&str] = &[
        "the",
        "one",
        "please",
        "of",
        "them",
        "i",
        "mean",
        "meant",
        "it",
        "is",
        "that",
        "on",
        "number",
        "container",
        "vm",
        "ct",
        "lxc",
        "guest",
        "node",
        "yes",
        "just",
        "take",
        "use",
        "vmid",
    ];
    let core: Vec<&str> = words.iter().map(String::as_str).filter(|word| !AROUND.contains(word)).collect();
    let [word] = core[..] else { return None };
    if matches!(word, "both" | "all" | "each" | "every") {
        return (word != "both" || candidates.len() == 2).then(|| candidates.to_vec());
    }
    if word == "last" {
        return candidates.last().cloned().map(|target| vec![target]);
    }
    if let Some(index) = ORDINALS.iter().position(|names| names.contains(&word)) {
        return candidates.get(index).cloned().map(|target| vec![target]);
    }
    let digits = word.trim_start_matches(|c: char| !c.is_ascii_digit());
    let called = |target: &&Target| {
        let name = inventory.name_of(target);
        name.eq_ignore_ascii_case(word)
            || target.to_string() == word
            || target.vmid().is_some_and(|vmid| vmid.to_string() == digits && word.len() <= digits.len() + 3)
    };
    let exact: Vec<Target> = candidates.iter().filter(called).cloned().collect();
    if !exact.is_empty() {
        return Some(exact);
    }
    // The number of one in the list.
    if let Some(target) = word.parse::<usize>().ok().and_then(|number| candidates.get(number.checked_sub(1)?)) {
        return Some(vec![target.clone()]);
    }
    // A word of which one candidate's name or tags have it: `staging`.
    let has = |target: &&Target| {
        let guest = inventory.guest_of(target);
        guest.is_some_and(|guest| {
            guest.name.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|part| part == word)
                || guest.tags.iter().any(|tag| tag.eq_ignore_ascii_case(word))
        })
    };
    let fitting: Vec<Target> = candidates.iter().filter(has).cloned().collect();
    (fitting.len() == 1).then_some(fitting)
}

/// Plans the earlier sentence again over an inventory that has only the chosen of the candidates, one after the other.
fn completed(
    planner: &dyn Planner,
    asked: &str,
    chosen: &[Target],
    candidates: &[Target],
    known: &Known,
) -> Option<Proposal> {
    if chosen.len() > MOST_CHOSEN {
        let question = format!("Those are {}. Ask for all of them in one sentence: \"… on all …\".", chosen.len());
        return Some(Proposal::Clarify { question, candidates: candidates.to_vec() });
    }
    let mut merged: Vec<Proposed> = Vec::new();
    let mut summaries = Vec::new();
    for target in chosen {
        let mut narrowed = known.inventory().clone();
        narrowed.guests.retain(|guest| guest.target() == *target || !candidates.contains(&guest.target()));
        match planner.plan(asked, &Known::new(narrowed)) {
            Proposal::Plan { steps, summary } if touches(&steps, target, candidates) => {
                summaries.push(summary);
                for step in steps {
                    match merged.iter_mut().find(|known| known.op == step.op) {
                        Some(known) => known.targets.extend(step.targets),
                        None => merged.push(step),
                    }
                }
            }
            Proposal::Plan { .. } => return None,
            other => return Some(other),
        }
    }
    for step in &mut merged {
        step.targets.sort();
        step.targets.dedup();
    }
    Some(Proposal::Plan { summary: summaries.join(", "), steps: merged })
}

/// Whether the steps are about the chosen one, and about no other candidate.
fn touches(steps: &[Proposed], chosen: &Target, candidates: &[Target]) -> bool {
    let targets = || steps.iter().flat_map(|step| &step.targets);
    targets().any(|target| target == chosen) && targets().all(|target| target == chosen || !candidates.contains(target))
}

/// `undo that`, `take it back`.
fn takes_back(words: &[String]) -> bool {
    const WAYS: &[&str] = &[
        "undo",
        "undo that",
        "undo it",
        "undo this",
        "undo the last one",
        "undo the last step",
        "revert that",
        "take that back",
        "take it back",
        "please undo that",
        "undo that please",
        "undo it please",
        "never mind undo that",
        "reverse that",
    ];
    WAYS.contains(&said(words).as_str())
}

fn undone(steps: &[(Proposed, Option<Proposed>)]) -> Proposal {
    let mut back = Vec::new();
    for (step, undo) in steps.iter().rev() {
        match undo {
            Some(undo) => back.push(undo.clone()),
            None => {
                return Proposal::Clarify {
                    question: format!("Nothing takes {} back. What is to be done instead?", step.op.name()),
                    candidates: Vec::new(),
                };
            }
        }
    }
    let names: Vec<&str> = back.iter().map(|step| step.op.name()).collect();
    Proposal::Plan { summary: format!("undo: {}", names.join(", then ")), steps: back }
}

/// `and web-staging too`, `same for wiki`: the earlier steps on what is named now.
fn repeated(
    planner: &dyn Planner,
    words: &[String],
    steps: &[(Proposed, Option<Proposed>)],
    known: &Known,
) -> Option<Proposal> {
    const BEFORE: &[&[&str]] = &[
        &["and", "also", "on"],
        &["and", "also"],
        &["and", "on"],
        &["and"],
        &["also", "on"],
        &["also"],
        &["same", "for"],
        &["the", "same", "for"],
        &["same", "on"],
        &["the", "same", "on"],
        &["do", "the", "same", "for"],
        &["do", "the", "same", "on"],
        &["now"],
    ];
    const BEHIND: &[&[&str]] = &[&["as", "well"], &["too"], &["also"], &["please"]];
    let begins =
        |start: &&&[&str]| words.len() > start.len() && words.iter().zip(**start).all(|(word, said)| word == said);
    let start = BEFORE.iter().filter(begins).map(|start| start.len()).max().unwrap_or(0);
    let ends = |end: &&&[&str]| {
        words.len() > start + end.len()
            && words[words.len() - end.len()..].iter().zip(**end).all(|(word, said)| word == said)
    };
    let end = words.len() - BEHIND.iter().filter(ends).map(|end| end.len()).max().unwrap_or(0);
    if start == 0 && end == words.len() {
        return None;
    }
    let inventory = known.inventory();
    let named = said(&words[start..end]);
    let targets = match planner.plan(&format!("status of {named}"), known) {
        Proposal::Plan { steps: found, .. } if found.len() == 1 => found.into_iter().next()?.targets,
        Proposal::Clarify { question, candidates } if !candidates.is_empty() => {
            return Some(Proposal::Clarify { question, candidates });
        }
        _ => return None,
    };
    if targets == [Target::cluster()] {
        return None;
    }
    Some(again(steps, &targets, inventory))
}

/// The earlier steps on other targets.
fn again(steps: &[(Proposed, Option<Proposed>)], targets: &[Target], inventory: &Inventory) -> Proposal {
    let mut again = Vec::new();
    for (step, _) in steps {
        // A guest that has told of no services may have it.
        let lacks = |target: &&Target, service: &str| {
            inventory
                .guest_of(target)
                .is_some_and(|guest| !guest.services.is_empty() && !guest.services.iter().any(|known| known == service))
        };
        let lacking = step
            .op
            .service()
            .and_then(|service| Some((service, targets.iter().find(|target| lacks(target, service))?)));
        if let Some((service, target)) = lacking {
            let question = format!("{} has no {service}. What is to be done there instead?", inventory.name_of(target));
            return Proposal::Clarify { question, candidates: Vec::new() };
        }
        again.push(Proposed { op: step.op.clone(), targets: targets.to_vec() });
    }
    let names: Vec<String> = targets.iter().take(MOST_NAMED).map(|target| called(target, inventory)).collect();
    let more = targets.len().checked_sub(names.len()).filter(|more| *more > 0);
    let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
    let ops: Vec<&str> = again.iter().map(|step| step.op.name()).collect();
    Proposal::Plan { summary: format!("{} on {}{more}", ops.join(", then "), names.join(", ")), steps: again }
}

fn called(target: &Target, inventory: &Inventory) -> String {
    match inventory.name_of(target) {
        "" => target.to_string(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::Grammar;

    fn homelab() -> Known {
        Known::new(serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap())
    }

    /// What the last of some sentences comes to.
    fn talk(sentences: &[&str]) -> String {
        let known = homelab();
        let mut context = None;
        let mut told = String::new();
        for text in sentences {
            let (proposal, next) = plan(&Grammar, context.as_ref(), text, &known);
            told = match &proposal {
                Proposal::Plan { steps, .. } => {
                    let one = |step: &Proposed| {
                        let targets: Vec<String> = step.targets.iter().map(ToString::to_string).collect();
                        format!("{} {}", step.op.name(), targets.join(" "))
                    };
                    steps.iter().map(one).collect::<Vec<_>>().join("; ")
                }
                Proposal::Clarify { .. } => "ask".to_owned(),
                Proposal::Refuse { .. } => "refuse".to_owned(),
            };
            context = Some(next);
        }
        told
    }

    #[test]
    fn a_question_is_answered() {
        for (answer, outcome) in [
            ("the second one", "service.restart ct/119"),
            ("ct 119", "service.restart ct/119"),
            ("119", "service.restart ct/119"),
            ("web-staging", "service.restart ct/119"),
            ("the staging one please", "service.restart ct/119"),
            ("both", "service.restart ct/118 ct/119"),
            ("2", "service.restart ct/119"),
            ("#1", "service.restart ct/118"),
            ("the third one", "ask"),
        ] {
            let got = talk(&["restart nginx", answer]);
            assert!(got == outcome || outcome == "ask" && got != "service.restart ct/118", "{answer}: {got}");
        }
        assert_eq!(talk(&["restart nginx", "reboot wiki"]), "guest.reboot ct/121");
    }

    #[test]
    fn what_was_done_is_repeated_elsewhere_and_taken_back() {
        assert_eq!(talk(&["restart nginx on web-server", "and web-staging too"]), "service.restart ct/119");
        assert_eq!(talk(&["restart nginx on web-server", "same for blog"]), "ask");
        assert_eq!(talk(&["start wiki", "undo that"]), "guest.shutdown ct/121");
        assert_eq!(talk(&["reboot blog", "undo that"]), "ask");
        assert_eq!(talk(&["restart nginx on web-server", "and the staging one too"]), "service.restart ct/119");
        assert_eq!(talk(&["reboot blog", "and dns too", "the second one"]), "guest.reboot ct/102");
    }

    #[test]
    fn what_was_spoken_of_takes_the_place_of_nothing_that_was_said() {
        assert_eq!(talk(&["start wiki", "restart postgres"]), "service.restart ct/130");
        assert_eq!(talk(&["start wiki", "restart nginx"]), "ask");
        assert_eq!(talk(&["is web-staging running?", "restart nginx"]), "service.restart ct/119");
        assert_eq!(talk(&["start wiki", "restart nginx", "the first one"]), "service.restart ct/118");
    }

    #[test]
    fn what_was_not_understood_makes_nothing_forgotten() {
        assert_eq!(talk(&["reboot blog", "undo that", "show its logs"]), "logs.query ct/120");
        assert_eq!(talk(&["reboot blog", "frobnicate the flux", "and wiki too"]), "guest.reboot ct/121");
        assert_eq!(talk(&["restart nginx", "frobnicate", "the second one"]), "ask");
    }

    #[test]
    fn pronouns_mean_what_was_last_spoken_of() {
        assert_eq!(talk(&["snapshot blog", "reboot it"]), "guest.reboot ct/120");
        assert_eq!(talk(&["reboot it"]), "ask");
        assert_eq!(talk(&["is wiki running?", "start it"]), "guest.start ct/121");
    }
}
