//! The agent out of a guest, through the transport: for agents that do not answer any more, and to see that nothing is left.

use super::{
    staging::{left, refused},
    transport::{Exec, SHORT, Transport},
};
use crate::{
    model::{Outcome, Target, outcome::chain},
    sys::task::Task,
};
use serde_json::json;

/// Where an installed agent's executable is.
const PROGRAM: &str = "/usr/local/bin/remotectl";

/// Uninstalls the agent and looks what is left. A guest without an agent is a success that says so.
pub fn remove(transport: &dyn Transport, target: &Target, task: &Task) -> Outcome {
    let name = target.to_string();
    let before = match left(transport, &[]) {
        Ok(before) => before,
        Err(why) => return unseen(&why),
    };
    if before.is_empty() {
        return Outcome::success("there was no agent").unchanged();
    }
    task.report.progress("uninstalling");
    let uninstall = Exec::new([PROGRAM, "agent", "uninstall", "--purge"]).timeout(SHORT * 2).cancel(&task.cancel);
    let said = match transport.exec(uninstall) {
        Ok(finished) if finished.success() => None,
        Ok(finished) => Some(refused(&finished, &name).why),
        Err(error) => Some(chain(&error)),
    };
    let after = match left(transport, &[]) {
        Ok(after) => after,
        Err(why) => return unseen(&why),
    };
    let data = json!({"removed": before, "left": after});
    match (after.is_empty(), said) {
        (true, None) => Outcome::success("removed, nothing left").with_data(data),
        (true, Some(why)) => Outcome::success(format!("removed, nothing left, though it said: {why}")).with_data(data),
        (false, why) => {
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            let summary = format!("not all of it is gone{why}; left: {}", after.join(", "));
            Outcome::failure(summary).with_help(format!("again: `remotectl remove {name}`")).with_data(data)
        }
    }
}

fn unseen(why: &str) -> Outcome {
    Outcome::failure(format!("looking for the agent: {why}")).with_help("is the guest running? `remotectl guests`")
}
