//! What operators decide about plans: approve, deny, begin, cancel, look at.

use super::{
    Engine,
    approved::{Approved, NotApproved},
    asking::stored,
    executor::in_order,
    planning::{names_to_type, typed_right},
};
use crate::{
    model::{
        Answer, Exit, Failure,
        answer::PlanView,
        digest::Digest,
        messages::{ApproveRequest, Event, PlanRecord, SettleRequest},
        outcome::Ending,
        state::{PlanEvent, PlanState},
    },
    store::{Store, StoredPlan},
    sys::clock,
};
use std::sync::Arc;

/// The longest reason that an operator gives, in bytes.
const LONGEST_REASON: usize = 1024;

impl Engine {
    /// Records an operator's yes.
    pub async fn approve(&self, id: &str, request: ApproveRequest, operator: &str) -> Result<(), Failure> {
        let plan = self.find(id)?;
        same(&plan, &request.digest)?;
        let names = names_to_type(&plan.plan.body.steps, &self.inventory());
        if !names.is_empty() && !request.typed.is_some_and(|typed| typed_right(&typed, &names)) {
            let failure = Failure::new(format!("plan {id} is critical: its target's name has to be typed"));
            return Err(failure
                .help(format!("remotectl approve {id} --confirm {}", names.join(",")))
                .exit(Exit::Denied));
        }
        let now = clock::unix_seconds();
        let approved = self.store.approve(id.to_owned(), request.digest, operator.to_owned(), now).await;
        approved.map_err(|error| stored("keeping the approval", &error))
    }

    /// Records an operator's no.
    pub async fn deny(&self, id: &str, operator: &str) -> Result<(), Failure> {
        self.find(id)?;
        let now = clock::unix_seconds();
        let denied = self.store.advance_plan(id.to_owned(), PlanEvent::Denied, operator.to_owned(), now).await;
        denied.map(|_| ()).map_err(|error| stored("keeping the denial", &error))
    }

    /// Begins a plan that needs no approval or has one.
    pub async fn execute(self: &Arc<Self>, id: &str, digest: &Digest) -> Result<(), Failure> {
        let plan = self.find(id)?;
        same(&plan, digest)?;
        let approved =
            Approved::check(plan, &self.inventory(), clock::unix_seconds()).map_err(|error| not_approved(id, error))?;
        self.start(approved).await.map_err(|error| stored("beginning the plan", &error))
    }

    /// Stops a plan: what has not begun does not begin, what runs is told to end.
    pub async fn cancel(&self, id: &str, operator: &str) -> Result<(), Failure> {
        self.find(id)?;
        let now = clock::unix_seconds();
        let cancelled = self.store.advance_plan(id.to_owned(), PlanEvent::Cancelled, operator.to_owned(), now).await;
        cancelled.map_err(|error| stored("cancelling the plan", &error))?;
        self.cancel_commands(id).await.map_err(|error| stored("cancelling the plan's commands", &error))
    }

    /// Keeps what an operator says of the parts of a plan whose end nobody knows.
    pub async fn settle(&self, id: &str, request: SettleRequest, operator: &str) -> Result<(), Failure> {
        self.find(id)?;
        let reason = request.reason.trim().to_owned();
        if reason.is_empty() || reason.len() > LONGEST_REASON || reason.contains(char::is_control) {
            let failure = Failure::usage(format!("a reason is a line of at most {LONGEST_REASON} bytes"));
            return Err(failure.help(format!("remotectl settle {id} done --reason \"the package is there\"")));
        }
        let ending = if request.done { Ending::Succeeded } else { Ending::Failed };
        let (by, now) = (operator.to_owned(), clock::unix_seconds());
        let settled = self.store.settle(id.to_owned(), request.target, ending, reason, by, now).await;
        let results = settled.map_err(|error| stored("settling the plan", &error))?;
        for result in results {
            self.publish(Event::Result { plan: id.to_owned(), result });
        }
        Ok(())
    }

    /// A plan with its results so far.
    pub fn record(&self, id: &str) -> Result<PlanRecord, Failure> {
        self.find(id).map(record)
    }

    /// The newest plans, newest first.
    pub fn history(&self, limit: u32) -> Result<Vec<PlanRecord>, Failure> {
        let plans = self.store.plans(limit).map_err(|error| stored("reading the plans", &error))?;
        Ok(plans.into_iter().map(record).collect())
    }

    fn find(&self, id: &str) -> Result<StoredPlan, Failure> {
        find_plan(&self.store, id)
    }
}

/// A plan by its name, typed in either case.
pub(super) fn find_plan(store: &Store, id: &str) -> Result<StoredPlan, Failure> {
    let id = id.to_ascii_uppercase();
    let found = store.plan(&id).map_err(|error| stored("reading the plan", &error))?;
    found.ok_or_else(|| Failure::new(format!("there is no plan {id}")).help("`remotectl history` lists them"))
}

fn record(stored: StoredPlan) -> PlanRecord {
    let view = PlanView { results: in_order(stored.results), ..PlanView::of(&stored.plan) };
    PlanRecord {
        state: stored.state,
        text: stored.plan.body.text,
        operator: stored.operator,
        created: stored.plan.body.created,
        ended: stored.ended,
        approved_by: stored.approval.map(|(by, ..)| by),
        answer: Answer::Plan(view),
    }
}

fn same(plan: &StoredPlan, digest: &Digest) -> Result<(), Failure> {
    if plan.plan.digest == *digest {
        return Ok(());
    }
    let id = &plan.plan.body.id;
    Err(Failure::new(format!("plan {id} is not the one that was shown"))
        .help(format!("remotectl show {id}"))
        .exit(Exit::Denied))
}

fn not_approved(id: &str, error: NotApproved) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        NotApproved::Missing(_) | NotApproved::Other(_) | NotApproved::Stale(_) => {
            failure.help(format!("remotectl approve {id}")).exit(Exit::Denied)
        }
        NotApproved::State(_, PlanState::Running) => failure.help(format!("remotectl show {id}")).exit(Exit::Denied),
        NotApproved::State(..) => failure.help("ask again: a plan is carried out once").exit(Exit::Denied),
        NotApproved::Finding(finding) => match finding.help {
            Some(help) => failure.help(help),
            None => failure,
        },
    }
}
