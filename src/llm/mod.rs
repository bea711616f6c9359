//! Planners: what turns a sentence into proposed steps. They see the model floor alone, so a planner can propose and
//! never act: risk, findings and approval come from above, by code that no planner reaches.

pub mod conversation;
pub mod grammar;
mod known;
mod likeness;
mod spelling;

pub use known::Known;

use crate::model::{Target, plan::Proposed};

/// What a planner makes of a sentence.
#[derive(Debug, Clone, PartialEq)]
pub enum Proposal {
    /// Steps in order, none without targets.
    Plan {
        /// One line for people, such as `restart nginx on web-server`.
        summary: String,
        /// The steps.
        steps: Vec<Proposed>,
    },
    /// Something is missing or stands for several things.
    Clarify {
        /// What to ask, with what to type.
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

/// Turns sentences into proposals.
pub trait Planner: Send + Sync {
    /// `grammar` or `model`, as answers name it.
    fn name(&self) -> &'static str;

    /// Reads one sentence over an inventory. Never fails: what it does not understand it asks about or refuses.
    fn plan(&self, text: &str, known: &Known) -> Proposal {
        self.plan_about(text, known, &[])
    }

    /// The same, where the sentence before was about these targets, so that a pronoun may mean them.
    fn plan_about(&self, text: &str, known: &Known, about: &[Target]) -> Proposal;
}
