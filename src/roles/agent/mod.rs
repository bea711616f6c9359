//! The agent: runs in containers, virtual machines and on nodes.

mod attest;
mod install;
mod once;
mod probe;
mod update;
mod worker;

pub use attest::{AttestOptions, attest, key_of, take_generation};
pub use install::{
    InstallOptions, Made, connected, install, install_as, pointer_of, set_up_as, tell, uninstall, uninstall_as,
};
pub use once::{once, once_on};
pub use probe::{look, probe};
pub use update::{Updates, guard, trial, trial_of};
pub use worker::HostWorker;

use super::{logging, membership::Home};
use crate::{
    link::{OFFLINE_AFTER, wire::AgentRole},
    model::{Exit, Failure},
    sys::clock,
};
use std::{path::PathBuf, sync::Arc};

/// `agent run [--config FILE]`.
pub fn run(config: Option<PathBuf>) -> Result<(), Failure> {
    logging::begin();
    let home = Home::find(AgentRole::Agent, config);
    let (link, party) = home.link()?;
    home.run(link, party, Arc::new(HostWorker::default()))
}

/// `agent status [--json]`.
pub fn status(json: bool) -> Result<(), Failure> {
    status_of(AgentRole::Agent, json)
}

/// `agent status` and `pve-agent status`: whether it runs, and when the hub last answered it. Exit 1 where it does not run.
pub fn status_of(role: AgentRole, json: bool) -> Result<(), Failure> {
    let home = Home::find(role, None);
    let (_, pointer) = home.settings()?;
    let Some(standing) = home.standing()? else {
        let failure = Failure::new(format!("the {} of hub {} is not running here", role.as_str(), pointer.hub));
        return Err(failure.help(format!("systemctl start remotectl-{}", role.as_str())).exit(Exit::Failed));
    };
    if json {
        println!("{}", serde_json::to_string(&standing).map_err(|error| Failure::of("printing", &error))?);
        return Ok(());
    }
    let ago = clock::unix_seconds() - standing.connected_at;
    println!("{} {}, pid {}, version {}", role.as_str(), standing.agent, standing.pid, standing.version);
    match standing.connected_at {
        0 => println!("hub {} at {} has not answered yet", pointer.hub, pointer.addresses.join(", ")),
        _ if ago <= OFFLINE_AFTER => println!("hub {} answers", pointer.hub),
        _ => println!("hub {} at {} last answered {ago} s ago", pointer.hub, pointer.addresses.join(", ")),
    }
    Ok(())
}
