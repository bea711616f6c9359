//! What this executable was made from, and what it speaks. No dates: the same sources make the same bytes.

use crate::{link::PROTOCOL, model::version::version};
use serde::Serialize;

/// What an executable is.
#[expect(clippy::struct_field_names, reason = "`version` is the word in the JSON that scripts read")]
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Version {
    /// `0.1.0`.
    pub version: &'static str,
    /// The git commit, with `-dirty` where the sources were others; `unknown` where it was built without git, and in a
    /// debug build, which does not ask.
    pub commit: &'static str,
    /// `x86_64-unknown-linux-musl`.
    pub target: &'static str,
    /// The protocol that it speaks with agents.
    pub protocol: u32,
    /// The compiler's version.
    pub rustc: &'static str,
}

/// This executable.
pub fn this() -> Version {
    Version {
        version: version(),
        commit: env!("REMOTECTL_COMMIT"),
        target: env!("REMOTECTL_TARGET"),
        protocol: PROTOCOL,
        rustc: env!("REMOTECTL_RUSTC"),
    }
}
