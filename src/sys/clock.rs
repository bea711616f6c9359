//! The clock. An agent follows its hub's clock: it keeps the difference and adds it to its own.

#![allow(clippy::disallowed_methods, reason = "this is the one file that asks the operating system for the time")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Seconds since the Unix epoch, by this machine's clock.
pub fn unix_seconds() -> i64 {
    i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)
}

/// Milliseconds since the Unix epoch, by this machine's clock.
pub fn unix_millis() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC, whole seconds: `2026-11-22T08:34:04Z`.
pub fn rfc3339(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds).map_or_else(|_| "-".to_owned(), |time| time.to_string())
}

/// A clock that may be corrected by a difference. Clones share the difference.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// This machine's clock, uncorrected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Seconds since the Unix epoch, corrected.
    pub fn now(&self) -> i64 {
        unix_seconds().saturating_add(self.0.load(Ordering::Relaxed))
    }

    /// Makes `now` agree with a time that somebody trustworthy has just told.
    pub fn follow(&self, told_unix_seconds: i64) {
        self.0.store(told_unix_seconds.saturating_sub(unix_seconds()), Ordering::Relaxed);
    }

    /// The correction in seconds: positive where this machine's clock is behind.
    pub fn offset(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
