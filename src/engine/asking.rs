//! From a request to a plan on record: language or a plain operation, the same policy, the same linter.

use super::{
    Engine,
    deciding::find_plan,
    planning::{PlanMeta, make_plan},
};
use crate::{
    llm::{
        Known, Proposal,
        conversation::{self, Context},
    },
    model::{
        Answer, Exit, Failure, Inventory, Op, Plan, Target,
        answer::PlanView,
        catalogue,
        messages::{PlanRequest, RunRequest},
        plan::Proposed,
        selector,
    },
    store::StoreError,
    sys::clock,
};
use std::sync::PoisonError;

/// How many short names are tried for a plan.
const NAMES: u32 = 8;
/// So many targets are named in a summary.
const NAMED: usize = 3;
/// The most conversations that are remembered.
const CONVERSATIONS: usize = 1000;
/// The longest sentence that is read, in bytes.
const LONGEST_TEXT: usize = 16 << 10;

/// A conversation: what was said last, and the plan that came of it.
#[derive(Default)]
pub(super) struct Talk {
    context: Context,
    plan: Option<String>,
}

impl Engine {
    /// Makes a plan, and keeps it unless it is only to be shown.
    pub async fn make(&self, request: PlanRequest, operator: &str) -> Result<Answer, Failure> {
        let (dry_run, conversation) = (request.dry_run, request.conversation.clone());
        let mut tries = 0;
        loop {
            let plan = match self.plan(request.clone()) {
                Ok(plan) => plan,
                Err(Refusal::Answer(answer)) => return Ok(*answer),
                Err(Refusal::Failure(failure)) => return Err(failure),
            };
            let answer = Answer::Plan(PlanView::of(&plan));
            if dry_run {
                return Ok(answer);
            }
            tries += 1;
            let id = plan.body.id.clone();
            match self.store.add_plan(plan, operator.to_owned()).await {
                Ok(()) => {
                    let mut talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(talk) = conversation.and_then(|talk| talks.get_mut(&talk)) {
                        talk.plan = Some(id);
                    }
                    return Ok(answer);
                }
                // Another plan has that short name.
                Err(StoreError::Conflict(_)) if tries < NAMES => {}
                Err(error) => return Err(stored("keeping the plan", &error)),
            }
        }
    }

    fn plan(&self, request: PlanRequest) -> Result<Plan, Refusal> {
        let known = self.known();
        let inventory = known.inventory();
        let (proposal, planner, text) = match (request.text, request.run, request.undo) {
            (Some(text), None, None) if text.len() <= LONGEST_TEXT => {
                known_planner(request.planner.as_deref())?;
                if inventory.nodes.is_empty() {
                    return Err(no_cluster().into());
                }
                (self.propose(&text, request.conversation, &known)?, self.planner.name(), text)
            }
            (Some(_), None, None) => {
                return Err(Failure::usage(format!("the sentence is longer than {} KiB", LONGEST_TEXT >> 10)).into());
            }
            (None, Some(run), None) => {
                let proposal = proposal_of(&run, inventory)?;
                let proposal = if request.start { with_start(proposal, inventory) } else { proposal };
                (proposal, "run", String::new())
            }
            (None, None, Some(id)) => (self.taken_back(&id, inventory)?, "run", String::new()),
            _ => return Err(Failure::usage("a request has a text, an operation, or a plan to take back").into()),
        };
        let meta = PlanMeta { id: Self::plan_id(), text, planner: planner.to_owned(), created: clock::unix_seconds() };
        let mut plan = make_plan(proposal, meta, inventory, &self.policy).map_err(Refusal::Answer)?;
        plan.findings.extend(self.update_findings(&plan.body.steps, inventory));
        Ok(plan)
    }

    /// A sentence by itself, or after what was said in its conversation.
    fn propose(&self, text: &str, conversation: Option<String>, known: &Known) -> Result<Proposal, Failure> {
        let Some(id) = conversation else { return Ok(self.planner.plan(text, known)) };
        let mut talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
        let before = talks.get(&id);
        // Of a plan that has run its results tell more than what was known before.
        let run = before.and_then(|talk| talk.plan.as_ref()).filter(|_| conversation::is_undo(text));
        let run = run.filter(|plan| find_plan(&self.store, plan).is_ok_and(|stored| !stored.results.is_empty()));
        let (proposal, context) = match run {
            Some(plan) => {
                let proposal = self.taken_back(plan, known.inventory())?;
                let context = conversation::after(before.map(|talk| &talk.context), &proposal, known);
                (proposal, context)
            }
            None => conversation::plan(self.planner.as_ref(), before.map(|talk| &talk.context), text, known),
        };
        // Forgetting all of them is rare and harmless: what is meant is asked again.
        if talks.len() >= CONVERSATIONS {
            talks.clear();
        }
        let talk = talks.entry(id).or_default();
        talk.context = context;
        Ok(proposal)
    }
}

enum Refusal {
    Answer(Box<Answer>),
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// A sentence is about something, and nothing is known yet.
fn no_cluster() -> Failure {
    let help =
        "on a node: `remotectl pve-agent install --join` with what `remotectl hub join-token --role pve-agent` prints";
    Failure::new("no pve-agent has told this hub of a cluster yet").help(help)
}

fn known_planner(name: Option<&str>) -> Result<(), Failure> {
    match name {
        None | Some("auto" | "grammar") => Ok(()),
        Some("model") => {
            Err(Failure::usage("this hub has no language model").help("leave --planner away: the grammar needs none"))
        }
        Some(other) => {
            Err(Failure::usage(format!("there is no planner `{other}`")).help("--planner auto|grammar|model"))
        }
    }
}

fn proposal_of(run: &RunRequest, inventory: &Inventory) -> Result<Proposal, Failure> {
    let op = Op::from_parts(&run.op, run.args.clone()).map_err(|error| {
        let help = match catalogue::spec(&run.op) {
            Some(spec) if spec.args.is_empty() => format!("remotectl run {} SELECTOR", spec.name),
            Some(spec) => {
                let args: Vec<String> = spec.args.iter().map(|arg| format!("{}={}", arg.name, arg.kind)).collect();
                format!("remotectl run {} SELECTOR {}", spec.name, args.join(" "))
            }
            None => format!("the operations are {}", closest(&run.op)),
        };
        Failure::usage(error.to_string()).help(help)
    })?;
    let targets = selector::select(&run.selector, inventory)?;
    if targets.is_empty() {
        let failure = Failure::new(format!("nothing matches `{}`", run.selector));
        return Err(failure.help("`remotectl guests` lists what there is").exit(Exit::Clarify));
    }
    let names: Vec<String> = targets.iter().take(NAMED).map(ToString::to_string).collect();
    let more = targets.len().checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
    let summary = format!("{} on {}{more}", run.op, names.join(", "));
    Ok(Proposal::Plan { summary, steps: vec![Proposed { op, targets }] })
}

/// The same with those of its guests started first that are stopped.
fn with_start(proposal: Proposal, inventory: &Inventory) -> Proposal {
    let Proposal::Plan { summary, mut steps } = proposal else { return proposal };
    let stopped =
        |target: &Target| inventory.guest_of(target).is_some_and(|guest| guest.status == "stopped" && !guest.template);
    let mut targets: Vec<Target> =
        steps.iter().flat_map(|step| &step.targets).filter(|target| stopped(target)).cloned().collect();
    targets.dedup();
    if targets.is_empty() {
        return Proposal::Plan { summary, steps };
    }
    steps.insert(0, Proposed { op: Op::GuestStart {}, targets });
    Proposal::Plan { summary: format!("{summary}, started first"), steps }
}

/// The operations whose names are nearest, for a help line.
fn closest(name: &str) -> String {
    let mut names: Vec<&str> = Op::ALL.iter().map(|(known, _)| *known).collect();
    names.sort_by(|a, b| strsim::jaro_winkler(b, name).total_cmp(&strsim::jaro_winkler(a, name)));
    names.truncate(3);
    format!("{}, …", names.join(", "))
}

/// A failure of the store, for people.
pub fn stored(doing: &str, error: &StoreError) -> Failure {
    match error {
        StoreError::Conflict(why) => Failure::new(why.clone()).exit(Exit::Denied),
        error => Failure::of(doing, error).help("`remotectl hub check` on the hub, and its free disk space"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_stopped_is_started_first() {
        let inventory: Inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap();
        let run = |selector: &str| RunRequest {
            op: "agent.deploy".into(),
            selector: selector.into(),
            args: serde_json::Map::new(),
        };
        let steps = |selector: &str| {
            let Proposal::Plan { steps, .. } = with_start(proposal_of(&run(selector), &inventory).unwrap(), &inventory)
            else {
                panic!("it is a plan")
            };
            let told = |step: &Proposed| {
                format!("{} {:?}", step.op.name(), step.targets.iter().map(ToString::to_string).collect::<Vec<_>>())
            };
            steps.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(steps("ct/118"), [r#"agent.deploy ["ct/118"]"#]);
        let wanted = [r#"guest.start ["ct/121"]"#, r#"agent.deploy ["ct/118", "ct/121"]"#];
        assert_eq!(steps("ct/118,ct/121"), wanted);
    }
}
