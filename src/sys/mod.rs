//! The floor of effects: processes, files, the clock, randomness, TLS and the environment. Whatever the floors above do
//! to the machine that they run on goes through here (clippy.toml holds that), sockets and SQLite excepted.

pub mod aead;
pub mod cancel;
pub mod clock;
pub mod crash;
pub mod disk;
pub mod env;
pub mod files;
pub mod http;
pub mod limits;
pub mod process;
pub mod random;
pub mod secret;
pub mod task;
pub mod text;
pub mod tls;
