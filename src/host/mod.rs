//! The machine that the agent runs on: its services, logs, metrics and commands, and putting the agent itself onto it.
//!
//! To add an operation: its family's file, and its line in `perform`. Nothing else.

pub mod commands;
pub mod exec;
pub mod facts;
pub mod init;
pub mod install;
pub mod logs;
pub mod machine;
mod proc;
pub mod services;
mod system;
pub mod text;
pub mod update;

pub use facts::facts;
pub use machine::Machine;
pub use text::amount;

use crate::model::{Op, Outcome, catalogue};

pub use crate::sys::task::Task;

/// Whether `perform` can do the operation of that name: what an agent may tell as its capabilities.
pub fn can(name: &str) -> bool {
    const NOT_YET: [&str; 4] = ["logs.analyze", "system.reboot", "agent.update", "agent.remove"];
    let runs_here = catalogue::spec(name).is_some_and(|spec| spec.runs == catalogue::Runs::Agent);
    runs_here && !name.starts_with("config.") && !name.starts_with("package.") && !NOT_YET.contains(&name)
}

/// Carries out one operation of those that run in an agent, on the machine that it is the agent of.
pub fn perform(op: &Op, machine: &Machine, task: &Task) -> Outcome {
    match op {
        Op::ServiceList {}
        | Op::ServiceStatus { .. }
        | Op::ServiceStart { .. }
        | Op::ServiceStop { .. }
        | Op::ServiceRestart { .. }
        | Op::ServiceReload { .. }
        | Op::ServiceEnable { .. }
        | Op::ServiceDisable { .. } => services::perform(op, machine, task),
        Op::LogsQuery { .. } => logs::perform(op, machine, task),
        Op::SystemInfo {} => system::info(machine),
        Op::SystemMetrics {} => system::metrics(machine, task),
        Op::SystemProcesses { sort, limit } => system::processes(*sort, *limit, machine, task),
        Op::SystemDisk { path } => system::disk(path.as_deref(), machine, task),
        Op::SystemPorts {} => system::ports(machine),
        Op::ExecRun { command, timeout } => exec::run(command, timeout.as_ref(), machine, task),
        other => Outcome::rejected(format!("this agent can't do {} yet", other.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::Ending;

    #[test]
    fn what_is_not_built_yet_is_rejected_in_a_plain_sentence() {
        let outcome = perform(&Op::PackageUpdates {}, &Machine::here(), &Task::default());
        assert_eq!(
            (outcome.ending, outcome.summary.as_str()),
            (Ending::Rejected, "this agent can't do package.updates yet")
        );
    }

    #[test]
    fn what_is_told_as_possible_is_so() {
        // Those that take no arguments and read only can be tried anywhere; of the others the refusals can.
        for (name, _) in Op::ALL {
            let Ok(op) = Op::from_parts(name, serde_json::Map::new()) else { continue };
            if !can(name) {
                assert_eq!(
                    perform(&op, &Machine::here(), &Task::default()).summary,
                    format!("this agent can't do {name} yet")
                );
            } else if *name != "system.disk" {
                assert_ne!(perform(&op, &Machine::here(), &Task::default()).ending, Ending::Rejected, "{name}");
            }
        }
    }
}
