//! The agent: runs in containers, virtual machines and on nodes.
use crate::model::Failure;
use std::path::PathBuf;

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

/// `agent run [--config FILE]`.
pub fn run(_config: Option<PathBuf>) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `agent once`: one operation as JSON on standard input, its outcome as JSON on standard output.
pub fn once() -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `agent install`.
pub fn install(_options: &InstallOptions) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `agent uninstall`.
pub fn uninstall(_purge: bool) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `agent status [--json]`.
pub fn status(_json: bool) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `agent probe [--hub HOST:PORT]... [--json]`: what this machine is, and which of these addresses it reaches.
pub fn probe(_hubs: &[String], _json: bool) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}
