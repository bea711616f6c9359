//! Which operations of the catalogue can be carried out today: the catalogue is ahead of what is built.

use super::from_store;
use crate::{
    host,
    model::catalogue::{self, Runs},
    proxmox,
};

/// Whether somebody carries the operation of that name out.
pub fn is_built(name: &str) -> bool {
    // Agents come, change and go by work of their own, below none of the three.
    matches!(name, "agent.deploy" | "agent.update" | "agent.remove")
        || catalogue::spec(name).is_some_and(|spec| match spec.runs {
            Runs::Agent => host::can(name),
            Runs::Pve => proxmox::can(name),
            Runs::Hub => from_store::can(name),
        })
}
