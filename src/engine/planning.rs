//! From a proposal to a plan: risk and undo from the policy, findings from the linter, a digest over all of it. Pure, and
//! the only way to a plan, with a hub or without one.

use crate::{
    llm::Proposal,
    model::{
        Answer, Inventory, Plan, Policy, Risk, Step,
        lint::lint,
        plan::{PlanBody, Proposed},
    },
};

/// What a plan carries beside its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanMeta {
    /// Short name for people: `7Q2K`.
    pub id: String,
    /// What was typed; empty for `run`.
    pub text: String,
    /// `grammar`, `model` or `run`.
    pub planner: String,
    /// Seconds since the epoch, by the hub's clock.
    pub created: i64,
}

/// A sealed plan, or the question or refusal that stands in its place.
pub fn make_plan(
    proposal: Proposal,
    meta: PlanMeta,
    inventory: &Inventory,
    policy: &Policy,
) -> Result<Plan, Box<Answer>> {
    match proposal {
        Proposal::Clarify { question, candidates } => Err(Box::new(Answer::Clarify { question, candidates })),
        Proposal::Refuse { reason } => Err(Box::new(Answer::Refuse { reason })),
        Proposal::Plan { summary, steps } => seal(summary, steps, meta, inventory, policy),
    }
}

fn seal(
    summary: String,
    proposed: Vec<Proposed>,
    meta: PlanMeta,
    inventory: &Inventory,
    policy: &Policy,
) -> Result<Plan, Box<Answer>> {
    let steps: Vec<Step> = proposed.into_iter().map(|step| policy.weigh(step, inventory)).collect();
    let Some(risk) = steps.iter().map(|step| step.risk).max() else {
        let question = "That comes to no step at all. What is to be done, and on what?".to_owned();
        return Err(Box::new(Answer::Clarify { question, candidates: Vec::new() }));
    };
    let findings = lint(&steps, inventory);
    let PlanMeta { id, text, planner, created } = meta;
    let confirm = risk.needs_confirmation();
    Ok(Plan::seal(PlanBody { id, text, planner, summary, risk, confirm, steps, created }, findings))
}

/// The names that an operator has to type before a critical plan may run, each once; empty when none is due. A target
/// without a name is typed as it is written (`ct/118`).
pub fn names_to_type(steps: &[Step], inventory: &Inventory) -> Vec<String> {
    let critical = steps.iter().filter(|step| step.risk == Risk::Critical).flat_map(|step| &step.targets);
    let mut names: Vec<String> = critical
        .map(|target| match inventory.name_of(target) {
            "" => target.to_string(),
            name => name.to_owned(),
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Whether what was typed are exactly those names, in any order, parted by commas or spaces.
pub fn typed_right(typed: &str, names: &[String]) -> bool {
    let mut words: Vec<&str> =
        typed.split(|letter: char| letter == ',' || letter.is_whitespace()).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words.dedup();
    words == names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Op, Target, lint::Kind};

    fn homelab() -> Inventory {
        serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap()
    }

    fn meta() -> PlanMeta {
        PlanMeta { id: "7Q2K".into(), text: "…".into(), planner: "grammar".into(), created: 1_795_336_719 }
    }

    fn plan(steps: Vec<(Op, Vec<Target>)>) -> Result<Plan, Box<Answer>> {
        let steps = steps.into_iter().map(|(op, targets)| Proposed { op, targets }).collect();
        let proposal = Proposal::Plan { summary: "something".into(), steps };
        make_plan(proposal, meta(), &homelab(), &Policy::default())
    }

    #[test]
    fn the_riskiest_step_decides_about_the_confirmation() {
        let restart = (Op::ServiceRestart { service: "nginx".into() }, vec![Target::ct(118)]);
        let look = (Op::SystemInfo {}, vec![Target::ct(118)]);
        let made = plan(vec![look.clone(), restart]).unwrap();
        assert_eq!((made.body.risk, made.body.confirm), (Risk::High, true));
        assert_eq!(Plan::open(made.bytes.clone(), &made.digest, Vec::new()).unwrap().body, made.body);
        let made = plan(vec![look]).unwrap();
        assert_eq!((made.body.risk, made.body.confirm), (Risk::Observe, false));
    }

    #[test]
    fn findings_come_with_the_plan_and_a_plan_without_steps_is_a_question() {
        let made = plan(vec![(Op::GuestStart {}, vec![Target::ct(999)])]).unwrap();
        assert_eq!(made.findings[0].kind, Kind::UnknownTarget);
        assert!(matches!(*plan(Vec::new()).unwrap_err(), Answer::Clarify { .. }));
    }

    #[test]
    fn questions_and_refusals_pass_through() {
        let refuse = Proposal::Refuse { reason: "no".into() };
        let answer = make_plan(refuse, meta(), &homelab(), &Policy::default()).unwrap_err();
        assert_eq!(*answer, Answer::Refuse { reason: "no".into() });
    }

    #[test]
    fn a_critical_plan_asks_for_every_name() {
        let made = plan(vec![(Op::GuestDestroy {}, vec![Target::ct(121), Target::ct(118)])]).unwrap();
        let names = names_to_type(&made.body.steps, &homelab());
        assert_eq!(names, ["web-server", "wiki"]);
        assert!(typed_right("wiki, web-server", &names));
        for wrong in ["", "wiki", "wiki web-server blog", "WIKI web-server"] {
            assert!(!typed_right(wrong, &names), "{wrong}");
        }
        let harmless = plan(vec![(Op::SystemInfo {}, vec![Target::ct(118)])]).unwrap();
        assert!(names_to_type(&harmless.body.steps, &homelab()).is_empty());
    }
}
