//! What the executable is, by subcommand or by name. The only place where real implementations are chosen and
//! configuration is loaded.

pub mod agent;
pub mod client;
pub mod hub;
pub mod pve_agent;
