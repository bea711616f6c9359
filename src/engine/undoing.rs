//! What takes back a plan that is on record: its own undo, and what its results tell. It becomes a plan like any other,
//! with its own risk and its own approval.

use super::{Engine, deciding::find_plan};
use crate::{
    llm::Proposal,
    model::{Exit, Failure, Inventory, Target, state::PlanState, undo},
};

impl Engine {
    /// What takes a plan back as things are now.
    pub(super) fn taken_back(&self, id: &str, inventory: &Inventory) -> Result<Proposal, Failure> {
        let stored = find_plan(&self.store, id)?;
        let id = &stored.plan.body.id;
        ended(id, stored.state)?;
        let mut undo = undo::of(&stored.plan.body.steps, &stored.results);
        for (target, name) in &undo.made {
            still_the_one(target, name, inventory)?;
        }
        for step in &mut undo.steps {
            step.targets.sort();
            step.targets.dedup();
        }
        if undo.steps.is_empty() {
            let failure = Failure::new(format!("there is nothing of plan {id} to take back"));
            let failure = Failure { details: undo.left, ..failure };
            return Err(failure.help(format!("`remotectl show {id}` shows what it did")));
        }
        let names: Vec<&str> = undo.steps.iter().map(|step| step.op.name()).collect();
        let left = if undo.left.is_empty() { String::new() } else { format!("; stays: {}", undo.left.join(", ")) };
        Ok(Proposal::Plan { summary: format!("undo {id}: {}{left}", names.join(", then ")), steps: undo.steps })
    }
}

/// Only what is over can be taken back.
fn ended(id: &str, state: PlanState) -> Result<(), Failure> {
    let failure = match state {
        PlanState::Running => Failure::new(format!("plan {id} is still under way"))
            .help(format!("`remotectl cancel {id}` stops it; then take it back")),
        state if state.terminal() => return Ok(()),
        state => Failure::new(format!("plan {id} is {state}: it has done nothing"))
            .help(format!("`remotectl deny {id}` puts it aside")),
    };
    Err(failure.exit(Exit::Denied))
}

/// A vmid is given to another guest once it is free: what is destroyed is what was made, or nothing.
fn still_the_one(target: &Target, name: &str, inventory: &Inventory) -> Result<(), Failure> {
    let called = inventory.guest_of(target).map(|guest| guest.name.as_str());
    let failure = match called {
        Some(called) if called == name || called.is_empty() => return Ok(()),
        Some(called) => {
            Failure::new(format!("{target} was made as {name} and is {called} now: it may be another guest"))
        }
        None => Failure::new(format!("{target} {name}, which it made, is not there any more")),
    };
    Err(failure.help("`remotectl guests` shows what there is"))
}
