//! What `plan` and `ask` answer with: the one JSON object of the command line's contract.

use super::{
    digest::Digest,
    lint::Finding,
    plan::{Plan, Step},
    risk::Risk,
    target::Target,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A plan, a question back, or a refusal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Answer {
    /// What would be (or was) done.
    Plan(PlanView),
    /// Something is missing or stands for several things.
    Clarify {
        /// What to ask the operator.
        question: String,
        /// What it might have meant; empty when what is missing is no target.
        candidates: Vec<Target>,
    },
    /// Nothing that this system can or should do.
    Refuse {
        /// Why.
        reason: String,
    },
}

/// A plan as people and programs see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// Short name.
    pub id: String,
    /// What an approval is for.
    pub digest: Digest,
    /// `grammar`, `model` or `run`.
    pub planner: String,
    /// One line.
    pub summary: String,
    /// The highest risk of a step.
    pub risk: Risk,
    /// Whether an approval is due.
    pub confirm: bool,
    /// In order.
    pub steps: Vec<Step>,
    /// What the plan linter says.
    pub findings: Vec<Finding>,
    /// What came of it, a target each; empty before.
    #[serde(default)]
    pub results: Vec<TargetResult>,
}

/// How one step ended on one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetResult {
    /// Index of the step, from 0.
    pub step: usize,
    /// On what.
    pub target: Target,
    /// The command's terminal state: `succeeded`, `failed`, `timed-out`, …; `skipped` where an earlier step failed.
    pub state: String,
    /// One line for people: what was verified, or why it failed.
    pub summary: String,
    /// What to do next, where something is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The operation's own data.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    /// From dispatch to result, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
}

impl TargetResult {
    /// Whether it did what was asked.
    pub fn succeeded(&self) -> bool {
        self.state == "succeeded"
    }
}

impl PlanView {
    /// A plan before it has run.
    pub fn of(plan: &Plan) -> Self {
        let body = plan.body.clone();
        Self {
            id: body.id,
            digest: plan.digest.clone(),
            planner: body.planner,
            summary: body.summary,
            risk: body.risk,
            confirm: body.confirm,
            steps: body.steps,
            findings: plan.findings.clone(),
            results: Vec::new(),
        }
    }
}
