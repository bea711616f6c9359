//! The pve-agent: runs on every Proxmox node.
use super::agent::InstallOptions;
use crate::model::Failure;
use std::path::PathBuf;

/// `pve-agent run [--config FILE]`.
pub fn run(_config: Option<PathBuf>) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `pve-agent install`: also makes the Proxmox role, user and token through pveum.
pub fn install(_options: &InstallOptions) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `pve-agent uninstall`.
pub fn uninstall(_purge: bool) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `pve-agent status [--json]`.
pub fn status(_json: bool) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `pve-agent probe [--json]`: the Proxmox API, the credential and its rights, pct.
pub fn probe(_json: bool) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}
