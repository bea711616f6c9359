//! A question that was asked, and the answer to it: a number, a name or a target of those that were offered. The sentence
//! is then planned again with the chosen one in it; which wording says that, the planner itself tells.

use crate::{
    model::{Answer, Failure, Target, messages::PlanRequest},
    roles::client::Hub,
};

/// What is waiting for a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    sentence: String,
    question: String,
    offered: Vec<(Target, String)>,
}

impl Choice {
    /// The choice that an answer asks for, if it offers something.
    pub fn of(sentence: &str, answer: &Answer, hub: &Hub) -> Result<Option<Self>, Failure> {
        let Answer::Clarify { question, candidates } = answer else { return Ok(None) };
        if candidates.is_empty() {
            return Ok(None);
        }
        let rows = hub.guests("")?;
        let name = |target: &Target| {
            let row = rows.iter().find(|row| row.guest.target() == *target);
            row.map_or_else(|| target.node_name().unwrap_or_default().to_owned(), |row| row.guest.name.clone())
        };
        let offered = candidates.iter().map(|target| (target.clone(), name(target))).collect();
        Ok(Some(Self { sentence: sentence.to_owned(), question: question.clone(), offered }))
    }

    /// The one that is meant by what was typed, if that is a choice at all.
    pub fn chosen(&self, typed: &str) -> Option<&Target> {
        let typed = typed.trim().trim_end_matches('.');
        if let Ok(number) = typed.parse::<usize>() {
            let vmid = |target: &Target| target.vmid().is_some_and(|vmid| usize::try_from(vmid) == Ok(number));
            let by_number = number.checked_sub(1).and_then(|index| self.offered.get(index));
            return by_number
                .or_else(|| self.offered.iter().find(|(target, _)| vmid(target)))
                .map(|(target, _)| target);
        }
        let fits = |(target, name): &&(Target, String)| {
            typed.eq_ignore_ascii_case(&target.to_string()) || (!name.is_empty() && typed.eq_ignore_ascii_case(name))
        };
        self.offered.iter().find(fits).map(|(target, _)| target)
    }

    /// The sentence with the chosen one in it: the first wording that is planned for just that target.
    pub fn reworded(&self, target: &Target, hub: &Hub) -> Result<String, Failure> {
        for wording in self.wordings(target) {
            let request = PlanRequest { text: Some(wording.clone()), dry_run: true, ..PlanRequest::default() };
            if let Answer::Plan(view) = hub.plan(&request)?
                && view.steps.iter().all(|step| step.targets == [target.clone()])
            {
                return Ok(wording);
            }
        }
        Err(Failure::new(format!("the sentence can't be said for {target} by itself"))
            .help(format!("say it again with its name in it: \"… on {target}\"")))
    }

    /// Wordings, the likeliest first. A word that the question is about, and that names or tags what is offered, stands for
    /// it; any other is a service or the like, and what is offered is where that is.
    fn wordings(&self, target: &Target) -> Vec<String> {
        let appended = format!("{} on {target}", self.sentence);
        let Some(word) = self.question.split('`').nth(1).filter(|word| !word.is_empty()) else { return vec![appended] };
        let lower = self.sentence.to_lowercase();
        let Some(at) = lower.find(&word.to_lowercase()).filter(|_| lower.len() == self.sentence.len()) else {
            return vec![appended];
        };
        let (before, after) = (&self.sentence[..at], &self.sentence[at + word.len()..]);
        let before = before.strip_suffix("the ").unwrap_or(before);
        let replaced = format!("{before}{target}{after}");
        // `the web box`: the noun belongs to the word.
        let rest = after.trim_start().split_once(' ').map_or("", |(_, rest)| rest);
        let noun_too = format!("{before}{target} {rest}").trim_end().to_owned();
        let named = self.offered.iter().any(|(_, name)| name.to_lowercase().contains(&word.to_lowercase()));
        if named { vec![replaced, noun_too, appended] } else { vec![appended, noun_too, replaced] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(sentence: &str, question: &str, offered: &[(Target, &str)]) -> Choice {
        let offered = offered.iter().map(|(target, name)| (target.clone(), (*name).to_owned())).collect();
        Choice { sentence: sentence.to_owned(), question: question.to_owned(), offered }
    }

    #[test]
    fn a_number_a_name_or_a_target_chooses() {
        let k3s = [(Target::vm(202), "k3s-1"), (Target::vm(203), "k3s-2")];
        let choice = choice("reboot k3s", "Which one?", &k3s);
        for (typed, target) in [
            ("2", Some(203)),
            ("202", Some(202)),
            ("K3S-1", Some(202)),
            (" vm/203. ", Some(203)),
            ("0", None),
            ("all", None),
        ] {
            assert_eq!(choice.chosen(typed).cloned(), target.map(Target::vm), "{typed}");
        }
    }

    #[test]
    fn what_names_the_offered_is_replaced_and_what_does_not_is_kept() {
        let web = [(Target::ct(118), "web-server"), (Target::ct(119), "web-staging")];
        let fits = |word: &str| format!("Which one? `{word}` fits ct/118 web-server, ct/119 web-staging.");
        let first =
            |sentence: &str, word: &str| choice(sentence, &fits(word), &web).wordings(&Target::ct(118)).remove(0);
        assert_eq!(first("show logs of nginx", "nginx"), "show logs of nginx on ct/118");
        assert_eq!(first("stop Web", "web"), "stop ct/118");
        assert_eq!(
            choice("stop the web box now", &fits("web"), &web).wordings(&Target::ct(118)),
            ["stop ct/118 box now", "stop ct/118 now", "stop the web box now on ct/118"]
        );
    }
}
