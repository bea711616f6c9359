//! The Proxmox VE API: a client, its tasks, the inventory that it tells, the operations on guests and nodes that need
//! nothing else, and the credential for it. Synchronous: the pve-agent works in threads.
//!
//! What surprises about the API, and is dealt with here: authentication fails with an empty body and a reason phrase; most
//! failures are 500 with a message; a start that can't work is answered 200 and fails as a task; numbers come as strings and
//! booleans as 1; guests are `unknown` and nameless until the first report; `WARNINGS: n` is a success.

mod backups;
mod changing;
pub mod client;
mod clones;
pub mod credential;
mod details;
mod drain;
pub mod error;
pub mod form;
mod guest;
mod intent;
pub mod inventory;
mod lenient;
mod making;
mod moving;
mod nodes;
mod perform;
mod power;
pub mod requests;
mod resources;
pub mod rights;
mod session;
mod snapshots;
mod space;
pub mod tasks;
mod templates;
mod totp;
pub mod upid;
pub mod wire;

pub use client::{Access, Client, Token, Verify};
pub use error::ApiError;
pub use inventory::{Known, inventory};
pub use perform::{can, perform};
pub use session::Login;
pub use totp::TotpKey;
pub use upid::Upid;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod replayed;
