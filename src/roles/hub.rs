//! The hub.
use crate::model::Failure;
use std::path::PathBuf;

/// How `hub serve` and `hub init` were called; what is `None` comes from hub.toml or its default.
#[derive(Debug, Clone, Default)]
pub struct HubOptions {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--listen ADDRESS:PORT`, repeated.
    pub listen: Vec<String>,
    /// `--data DIRECTORY`.
    pub data: Option<PathBuf>,
    /// `--advertise HOST:PORT`, repeated: what join strings name.
    pub advertise: Vec<String>,
}

/// `hub init`: directory, CA, keys, database; prints fingerprint and recovery key.
pub fn init(_options: &HubOptions) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `hub serve`.
pub fn serve(_options: &HubOptions) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `hub install`: as a service.
pub fn install(_options: &HubOptions) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}

/// `hub check`: the database's integrity and the keys.
pub fn check(_options: &HubOptions) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}
