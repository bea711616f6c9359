//! The one way to what the executor takes: a plan that nobody had to approve, or whose approval is of its very digest,
//! fresh, and made over preconditions that still hold.

use super::{Identity, seal::Row};
use crate::{
    model::{
        Inventory, Plan,
        lint::{self, Finding, Severity},
        state::PlanState,
    },
    store::StoredPlan,
};

/// How long an approval is good for, in seconds.
pub const GOOD_FOR: i64 = 600;
/// How much earlier than the approval it may be, where a clock is mended, in seconds.
const SET_BACK: i64 = 60;

/// A plan that may be carried out. There is no other constructor than `check`.
#[derive(Debug)]
pub struct Approved {
    plan: Plan,
    by: String,
}

/// Why a plan may not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    /// Nobody has said yes.
    #[error("plan {0} needs an approval")]
    Missing(String),
    /// The yes was to something else.
    #[error("the approval of plan {0} is for another digest")]
    Other(String),
    /// The yes was too long ago.
    #[error("the approval of plan {0} is older than 10 minutes")]
    Stale(String),
    /// It has begun or ended.
    #[error("plan {0} is {1}")]
    State(String, PlanState),
    /// The linter finds an error in it, as things are now.
    #[error("{}", .0.message)]
    Finding(Box<Finding>),
}

impl Approved {
    /// Checks a stored plan against its approval and against what there is now.
    pub fn check(stored: StoredPlan, inventory: &Inventory, now: i64) -> Result<Self, NotApproved> {
        let StoredPlan { plan, state, operator, approval, .. } = stored;
        let id = || plan.body.id.clone();
        if state != PlanState::Proposed {
            return Err(NotApproved::State(id(), state));
        }
        let by = match approval {
            None if plan.body.confirm => return Err(NotApproved::Missing(id())),
            None => operator,
            Some((_, _, digest)) if digest != plan.digest => return Err(NotApproved::Other(id())),
            // One of a time that has not come yet is no better: the clock was set back.
            Some((_, at, _)) if !(-SET_BACK..=GOOD_FOR).contains(&(now - at)) => return Err(NotApproved::Stale(id())),
            Some((by, ..)) => by,
        };
        let findings = lint::lint(&plan.body.steps, inventory);
        // Later steps may rely on what earlier ones bring about (start it, then deploy): those are checked when they begin.
        match findings.into_iter().find(|finding| finding.severity == Severity::Error && finding.step == 0) {
            Some(finding) => Err(NotApproved::Finding(Box::new(finding))),
            None => Ok(Self { plan, by }),
        }
    }

    /// A plan that had begun when the hub stopped: it was approved then, and goes on, be it only until what was under way
    /// when it was cancelled has ended. `None` for one that this hub has
    /// not begun, whatever its row says.
    pub fn resume(stored: StoredPlan, hub: &Identity) -> Option<Self> {
        let StoredPlan { plan, state, operator, approval, begun_seal, .. } = stored;
        let by = approval.map_or(operator, |(by, ..)| by);
        let begun = Row::Begun { plan: &plan.body.id, digest: &plan.digest, by: &by };
        if !hub.sealed(&begun, &begun_seal.unwrap_or_default()) {
            tracing::error!(
                plan = plan.body.id,
                "the database says that this plan runs, but this hub did not begin it"
            );
            return None;
        }
        matches!(state, PlanState::Running | PlanState::Cancelled).then_some(Self { plan, by })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Who said yes, or asked where nobody had to.
    pub fn by(&self) -> &str {
        &self.by
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::planning::{PlanMeta, make_plan},
        llm::Proposal,
        model::{Op, Policy, Target, digest::Digest, plan::Proposed},
    };

    fn homelab() -> Inventory {
        serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap()
    }

    fn stored(approval: Option<(String, i64, Digest)>) -> StoredPlan {
        let op = Op::ServiceRestart { service: "nginx".into() };
        let steps = vec![Proposed { op, targets: vec![Target::ct(118)] }];
        let proposal = Proposal::Plan { summary: "restart nginx".into(), steps };
        let meta = PlanMeta { id: "7Q2K".into(), text: String::new(), planner: "run".into(), created: 0 };
        let plan = make_plan(proposal, meta, &homelab(), &Policy::default()).unwrap();
        let state = PlanState::Proposed;
        StoredPlan { plan, state, operator: "ann".into(), ended: None, approval, begun_seal: None, results: Vec::new() }
    }

    #[test]
    fn only_a_fresh_yes_to_the_very_digest_counts() {
        let check = |approval, now| Approved::check(stored(approval), &homelab(), now).map(|approved| approved.by);
        let digest = stored(None).plan.digest;
        assert_eq!(check(None, 0), Err(NotApproved::Missing("7Q2K".into())));
        assert_eq!(check(Some(("bob".into(), 0, Digest::of(b"x"))), 0), Err(NotApproved::Other("7Q2K".into())));
        assert_eq!(check(Some(("bob".into(), 0, digest.clone())), 601), Err(NotApproved::Stale("7Q2K".into())));
        assert_eq!(check(Some(("bob".into(), 9000, digest.clone())), 0), Err(NotApproved::Stale("7Q2K".into())));
        assert_eq!(check(Some(("bob".into(), 0, digest)), 600), Ok("bob".into()));
    }

    #[test]
    fn a_yes_is_void_when_a_precondition_has_drifted() {
        let mut drifted = homelab();
        drifted.guests.iter_mut().filter(|guest| guest.vmid == 118).for_each(|guest| guest.status = "stopped".into());
        let digest = stored(None).plan.digest;
        let error = Approved::check(stored(Some(("bob".into(), 0, digest))), &drifted, 0).unwrap_err();
        assert_eq!(error.to_string(), "ct/118 web-server is stopped");
    }

    #[test]
    fn a_plan_that_has_begun_does_not_begin_again() {
        let mut begun = stored(None);
        begun.state = PlanState::Running;
        assert!(matches!(Approved::check(begun, &homelab(), 0), Err(NotApproved::State(_, PlanState::Running))));
    }
}
