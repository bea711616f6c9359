//! The embedded planner: no network, no model, deterministic.

use super::{Planner, Proposal};
use crate::model::Inventory;

/// The grammar planner.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grammar;

impl Planner for Grammar {
    fn name(&self) -> &'static str {
        "grammar"
    }

    fn plan(&self, _text: &str, _inventory: &Inventory) -> Proposal {
        Proposal::Clarify { question: "I did not understand that.".to_owned(), candidates: Vec::new() }
    }
}
