//! The protocol between hub and agents: who is speaking (JWTs), what is ordered (signed envelopes), what is on record
//! (the journal), and the long poll that carries it. Wire types are apart from the domain and only ever grow.

pub mod announcement;
pub mod envelope;
pub mod join;
pub mod journal;
pub mod jwt;
pub mod keys;
pub mod runtime;
pub mod sealed;
pub mod wire;

/// The protocol that this version speaks; it opens every exchange. The hub also takes the one before.
pub const PROTOCOL: u32 = 1;

/// The largest body of a join request.
pub const JOIN_LIMIT: usize = 4 << 10;
/// The largest body of a poll request.
pub const POLL_LIMIT: usize = 16 << 10;
/// The largest body of a result or of telemetry.
pub const RESULT_LIMIT: usize = 1 << 20;
/// The largest piece of output in one request.
pub const OUTPUT_CHUNK: usize = 256 << 10;
/// The most output that is kept of one command.
pub const OUTPUT_LIMIT: usize = 16 << 20;
/// The largest executable that an agent fetches: 256 MiB, for what is not stripped.
pub const ARTIFACT_LIMIT: u64 = 256 << 20;
/// The most commands that a poll names as under way; an agent that names so many may have more.
pub const RUNNING_LIMIT: usize = 256;
/// How long a token may be good for, in seconds.
pub const JWT_LIFE: i64 = 60;
/// How long the hub holds a poll that has nothing to tell, in seconds.
pub const POLL_HOLD: u64 = 25;
/// An agent that has not polled for so many seconds is offline.
pub const OFFLINE_AFTER: i64 = 40;
