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
        for (target, tags) in &undo.tagged {
            still_tagged(target, tags, inventory)?;
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

/// Tags that others have given since are not overwritten: `production` among them weighs.
fn still_tagged(target: &Target, tags: &[String], inventory: &Inventory) -> Result<(), Failure> {
    let sorted = |tags: &[String]| {
        let mut tags = tags.to_vec();
        tags.sort();
        tags
    };
    match inventory.guest_of(target).map(|guest| sorted(&guest.tags)) {
        Some(now) if now != sorted(tags) => {
            let failure = Failure::new(format!("the tags of {target} were changed since: they are {}", now.join(", ")));
            Err(failure.help(format!("`remotectl run guest.configure {target} tags=…` sets those that are to stay")))
        }
        _ => Ok(()),
    }
}

/// A vmid is given to another guest once it is free: what is destroyed is what was made, or nothing.
fn still_the_one(target: &Target, name: &str, inventory: &Inventory) -> Result<(), Failure> {
    let called = inventory.guest_of(target).map(|guest| guest.name.as_str());
    let failure = match called {
        Some(called) if called == name => return Ok(()),
        Some(called) => {
            Failure::new(format!("{target} was made as {name} and is {called} now: it may be another guest"))
        }
        None => Failure::new(format!("{target} {name}, which it made, is not there any more")),
    };
    Err(failure.help("`remotectl guests` shows what there is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_another_one_by_now_is_left_alone() {
        let homelab: Inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap();
        let (web, name) = (Target::ct(118), homelab.guest(118).unwrap().name.clone());
        assert!(still_the_one(&web, &name, &homelab).is_ok());
        for (target, name) in [(&web, "another"), (&web, ""), (&Target::ct(999), "web-server")] {
            assert!(still_the_one(target, name, &homelab).is_err(), "{target} {name}");
        }
        let mut tags = homelab.guest(118).unwrap().tags.clone();
        tags.reverse();
        assert!(still_tagged(&web, &tags, &homelab).is_ok());
        tags.pop();
        assert!(still_tagged(&web, &tags, &homelab).unwrap_err().message.contains("were changed since"));
    }
}
