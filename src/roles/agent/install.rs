//! `agent install` and `pve-agent install`.

use crate::{link::wire::AgentRole, model::Failure};

/// How `agent install` and `pve-agent install` were called.
#[derive(Debug, Clone, Default)]
pub struct InstallOptions {
    /// `--join STRING`.
    pub join: Option<String>,
    /// `--hub HOST:PORT`, repeated; with `--hub-id` and `--fingerprint` instead of a join string (the attested join).
    pub hubs: Vec<String>,
    /// `--hub-id ID`.
    pub hub_id: Option<String>,
    /// `--fingerprint HEX`.
    pub fingerprint: Option<String>,
    /// `--no-start`: everything but the start; prints the public key.
    pub no_start: bool,
    /// `--finish`: only start what `--no-start` has installed, and wait.
    pub finish: bool,
    /// `--wait SECONDS`: how long to wait for the first answered poll.
    pub wait: u64,
    /// `--json`.
    pub json: bool,
}

/// `agent install`.
pub fn install(options: &InstallOptions) -> Result<(), Failure> {
    install_as(AgentRole::Agent, options)
}

/// Installs this executable as an agent of either kind.
pub fn install_as(_role: AgentRole, _options: &InstallOptions) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `agent uninstall`.
pub fn uninstall(purge: bool) -> Result<(), Failure> {
    uninstall_as(AgentRole::Agent, purge)
}

/// Takes an agent of either kind away.
pub fn uninstall_as(_role: AgentRole, _purge: bool) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}
