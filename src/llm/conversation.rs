//! Conversations: a sentence that only makes sense after another. The answer to a question (`the second one`, `ct 119`,
//! `both`), the same again elsewhere (`and web-staging too`), taking it back (`undo that`), and pronouns. A pure function
//! of what was said before and what is said now; whoever keeps the conversation keeps the `Context`.

use super::{Planner, Proposal};
use crate::model::{Inventory, Op, Policy, Target, plan::Proposed};

/// What the sentence before came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The sentence whose meaning counts: a question's answer does not replace what was asked for.
    text: String,
    last: Last,
}

#[derive(Debug, Clone, PartialEq)]
enum Last {
    /// It became a plan, with what takes each step back as things were.
    Planned(Vec<(Proposed, Option<Op>)>),
    /// Somebody has to say which of these.
    Asked(Vec<Target>),
    /// Nothing that can be spoken of.
    Nothing,
}

/// Reads a sentence in a conversation; gives what it comes to and what to remember.
pub fn plan(planner: &dyn Planner, before: Option<&Context>, text: &str, inventory: &Inventory) -> (Proposal, Context) {
    let words = words(text);
    let followed = match before.map(|context| &context.last) {
        Some(Last::Asked(candidates)) => {
            let asked = before.map_or("", |context| context.text.as_str());
            answered(planner, asked, &words, candidates, inventory).map(|proposal| (proposal, asked.to_owned()))
        }
        Some(Last::Planned(steps)) if takes_back(&words) => Some((undone(steps), text.to_owned())),
        Some(Last::Planned(steps)) => {
            repeated(planner, &words, steps, inventory).map(|proposal| (proposal, text.to_owned()))
        }
        Some(Last::Nothing) | None => None,
    };
    let (proposal, text) = followed.unwrap_or_else(|| {
        let about: Vec<Target> = match before.map(|context| &context.last) {
            Some(Last::Planned(steps)) => steps.last().map(|(step, _)| step.targets.clone()).unwrap_or_default(),
            _ => Vec::new(),
        };
        (planner.plan_about(text, inventory, &about), text.to_owned())
    });
    let last = remembered(&proposal, inventory);
    (proposal, Context { text, last })
}

fn remembered(proposal: &Proposal, inventory: &Inventory) -> Last {
    match proposal {
        Proposal::Plan { steps, .. } => {
            let weighed = |step: &Proposed| (step.clone(), Policy::default().weigh(step.clone(), inventory).undo);
            Last::Planned(steps.iter().map(weighed).collect())
        }
        Proposal::Clarify { candidates, .. } if !candidates.is_empty() => Last::Asked(candidates.clone()),
        _ => Last::Nothing,
    }
}

/// Lower-case words without punctuation and without those that only join.
fn words(text: &str) -> Vec<String> {
    let plain = |word: &str| word.trim_matches(|c: char| ",.;!?\"'`".contains(c)).to_lowercase();
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
fn answered(
    planner: &dyn Planner,
    asked: &str,
    words: &[String],
    candidates: &[Target],
    inventory: &Inventory,
) -> Option<Proposal> {
    let chosen = chosen(words, candidates, inventory)?;
    let mut merged: Vec<Proposed> = Vec::new();
    let mut summaries = Vec::new();
    for target in &chosen {
        let mut narrowed = inventory.clone();
        narrowed.guests.retain(|guest| guest.target() == *target || !candidates.contains(&guest.target()));
        match planner.plan(asked, &narrowed) {
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

fn undone(steps: &[(Proposed, Option<Op>)]) -> Proposal {
    let mut back = Vec::new();
    for (step, undo) in steps.iter().rev() {
        match undo {
            Some(op) => back.push(Proposed { op: op.clone(), targets: step.targets.clone() }),
            None => {
                return Proposal::Clarify {
                    question: format!("Nothing takes {} back. What is to be done instead?", step.op.name()),
                    candidates: step.targets.clone(),
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
    steps: &[(Proposed, Option<Op>)],
    inventory: &Inventory,
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
    let named = said(&words[start..end]);
    let targets = match planner.plan(&format!("status of {named}"), inventory) {
        Proposal::Plan { steps: found, .. } if found.len() == 1 => found.into_iter().next()?.targets,
        Proposal::Clarify { question, candidates } if !candidates.is_empty() => {
            return Some(Proposal::Clarify { question, candidates });
        }
        _ => return None,
    };
    if targets == [Target::cluster()] {
        return None;
    }
    let mut again = Vec::new();
    for (step, _) in steps {
        let lacking = targets.iter().find(|target| {
            let guest = inventory.guest_of(target);
            let service = step.op.service().zip(guest);
            service.is_some_and(|(service, guest)| !guest.services.iter().any(|known| known == service))
        });
        if let Some(target) = lacking {
            let question = format!("{} has no {}. Which service there?", inventory.name_of(target), step.op.service()?);
            return Some(Proposal::Clarify { question, candidates: vec![target.clone()] });
        }
        again.push(Proposed { op: step.op.clone(), targets: targets.clone() });
    }
    let ops: Vec<&str> = again.iter().map(|step| step.op.name()).collect();
    Some(Proposal::Plan { summary: format!("{} on {named}", ops.join(", then ")), steps: again })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::Grammar;

    fn homelab() -> Inventory {
        serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap()
    }

    /// What the last of some sentences comes to.
    fn talk(sentences: &[&str]) -> String {
        let inventory = homelab();
        let mut context = None;
        let mut told = String::new();
        for text in sentences {
            let (proposal, next) = plan(&Grammar, context.as_ref(), text, &inventory);
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
    }

    #[test]
    fn pronouns_mean_what_was_last_spoken_of() {
        assert_eq!(talk(&["snapshot blog", "reboot it"]), "guest.reboot ct/120");
        assert_eq!(talk(&["reboot it"]), "ask");
        assert_eq!(talk(&["is wiki running?", "start it"]), "guest.start ct/121");
    }
}
