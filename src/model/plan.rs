//! Plans: steps of one operation each with concrete targets, their risk, reason and undo, and the digest over all of it.
//! What is approved is the digest of the very bytes that are stored; the executor reads those bytes again.

use super::{digest::Digest, lint::Finding, op::Op, risk::Risk, target::Target};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a planner proposes for one step; risk, reason and undo are added by the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// The operation.
    #[serde(flatten)]
    pub op: Op,
    /// On what, in the order of plans.
    pub targets: Vec<Target>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireStep", into = "WireStep")]
pub struct Step {
    /// The operation with its arguments.
    pub op: Op,
    /// On what: sorted, without doubles, never empty.
    pub targets: Vec<Target>,
    /// How risky.
    pub risk: Risk,
    /// Why that risky: `medium, +1 production`.
    pub reason: String,
    /// What would reverse it, where something does.
    pub undo: Option<Op>,
    /// On what that would have to be done; empty where it is on the step's own targets.
    pub undo_targets: Vec<Target>,
}

impl Step {
    /// The step that would reverse this one.
    pub fn reversed(&self) -> Option<Proposed> {
        let targets = if self.undo_targets.is_empty() { &self.targets } else { &self.undo_targets };
        self.undo.clone().map(|op| Proposed { op, targets: targets.clone() })
    }
}

/// Everything that an approval covers. Its serialised bytes are what the digest is taken of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBody {
    /// Short name for people: `7Q2K`.
    pub id: String,
    /// What was asked, as it was typed; empty for `run`.
    pub text: String,
    /// Who planned: `grammar`, `model` or `run`.
    pub planner: String,
    /// One line for people.
    pub summary: String,
    /// The highest risk of a step.
    pub risk: Risk,
    /// Whether an approval is due.
    pub confirm: bool,
    /// In order.
    pub steps: Vec<Step>,
    /// Seconds since the epoch, by the hub's clock.
    pub created: i64,
}

/// A plan with its digest and what the linter says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What an approval covers.
    pub body: PlanBody,
    /// The bytes that the digest is over.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`.
    pub digest: Digest,
    /// What the plan linter says.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// Seals a body: from here on it is its bytes.
    pub fn seal(body: PlanBody, findings: Vec<Finding>) -> Self {
        let bytes = serde_json::to_vec(&body).expect("a plan's body is made of strings and numbers");
        let digest = Digest::of(&bytes);
        Self { body, bytes, digest, findings }
    }

    /// Reads stored bytes back and checks them against the digest that was stored beside them.
    pub fn open(bytes: Vec<u8>, digest: &Digest, findings: Vec<Finding>) -> Result<Self, PlanError> {
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(PlanError::Digest { wanted: digest.clone(), found });
        }
        let body = serde_json::from_slice(&bytes).map_err(|error| PlanError::Body(error.to_string()))?;
        Ok(Self { body, bytes, digest: found, findings })
    }
}

/// A stored plan that can't be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The bytes are not those that were sealed.
    #[error("the stored plan has digest {found}, not {wanted}: it was changed after it was made")]
    Digest {
        /// What was stored beside it.
        wanted: Digest,
        /// What the bytes have.
        found: Digest,
    },
    /// The bytes are no plan.
    #[error("the stored plan does not read: {0}")]
    Body(String),
}

#[derive(Serialize, Deserialize)]
struct WireStep {
    op: String,
    targets: Vec<Target>,
    args: Map<String, Value>,
    risk: Risk,
    reason: String,
    undo: Option<Op>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    undo_targets: Vec<Target>,
}

impl From<Step> for WireStep {
    fn from(step: Step) -> Self {
        let (op, args) = (step.op.name().to_owned(), step.op.args());
        let Step { targets, risk, reason, undo, undo_targets, .. } = step;
        Self { op, targets, args, risk, reason, undo, undo_targets }
    }
}

impl TryFrom<WireStep> for Step {
    type Error = super::op::OpError;
    fn try_from(wire: WireStep) -> Result<Self, Self::Error> {
        let op = Op::from_parts(&wire.op, wire.args)?;
        let WireStep { targets, risk, reason, undo, undo_targets, .. } = wire;
        Ok(Self { op, targets, risk, reason, undo, undo_targets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> PlanBody {
        PlanBody {
            id: "7Q2K".into(),
            text: "restart the web server".into(),
            planner: "grammar".into(),
            summary: "restart nginx on web-server".into(),
            risk: Risk::High,
            confirm: true,
            steps: vec![Step {
                op: Op::ServiceRestart { service: "nginx".into() },
                targets: vec![Target::ct(118)],
                risk: Risk::High,
                reason: "medium, +1 production".into(),
                undo: None,
                undo_targets: Vec::new(),
            }],
            created: 1_795_336_719,
        }
    }

    #[test]
    fn a_sealed_plan_opens_again_and_a_changed_one_does_not() {
        let plan = Plan::seal(body(), Vec::new());
        assert_eq!(Plan::open(plan.bytes.clone(), &plan.digest, Vec::new()).unwrap(), plan);
        let forged = String::from_utf8(plan.bytes.clone()).unwrap().replace("ct/118", "ct/119").into_bytes();
        assert!(matches!(Plan::open(forged, &plan.digest, Vec::new()), Err(PlanError::Digest { .. })));
    }

    #[test]
    fn steps_have_the_contracts_form() {
        let json = serde_json::to_string(&body().steps[0]).unwrap();
        assert_eq!(
            json,
            r#"{"op":"service.restart","targets":["ct/118"],"args":{"service":"nginx"},"risk":"high","reason":"medium, +1 production","undo":null}"#
        );
    }
}
