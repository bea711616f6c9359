//! Reaching into guests: transports (one trait, one story that runs against all of them), the probe, the one-shot
//! operation, and the sagas that put an agent into a guest and take it out again.
//!
//! Whatever comes out of a guest is data: it is parsed, bounded and made printable; it never becomes a path on the node, a
//! word of a shell or an escape sequence on a terminal.

pub mod answers;
pub mod attest;
pub mod choose;
pub mod cluster;
mod config;
pub mod deploy;
pub mod fake;
pub mod local;
pub mod node;
pub mod once;
pub mod pct;
pub mod probe;
pub mod qga;
pub mod remove;
pub mod saga;
pub mod ssh;
pub mod staging;
pub mod story;
pub mod transport;

pub use attest::attest;
pub use cluster::ClusterNode;
pub use deploy::{Attest, Deployment, Patience, deploy};
pub use local::Local;
pub use once::once;
pub use pct::Pct;
pub use probe::Probe;
pub use qga::{Qga, Qm};
pub use remove::remove;
pub use saga::{MemoryLog, SagaLog};
pub use ssh::{Login, Ssh};
pub use transport::{Copying, Exec, GuestState, Transport, TransportError};
