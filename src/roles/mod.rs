//! What the executable is, by subcommand or by name. The only place where real implementations are chosen and
//! configuration is loaded.

pub mod agent;
pub mod client;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod hub;
pub mod logging;
mod logins;
pub mod membership;
pub mod pve_agent;
pub mod up;
pub mod version;
