//! The clock. An agent follows its hub's clock: it keeps the difference and adds it to its own.

#![allow(clippy::disallowed_methods, reason = "this is the one file that asks the operating system for the time")]

use super::env;
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::{
        Arc, OnceLock,
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

/// Microseconds of the kernel's monotonic clock, which init systems stamp starts with; it stands still in suspend.
pub fn monotonic_micros() -> u64 {
    kernel_micros(ClockId::Monotonic)
}

/// Seconds of the same clock: nobody sets it.
pub fn monotonic_seconds() -> i64 {
    i64::try_from(monotonic_micros() / 1_000_000).unwrap_or(i64::MAX)
}

/// Microseconds since the kernel's boot, suspend included, in which /proc stamps processes' starts.
pub fn boot_micros() -> u64 {
    kernel_micros(ClockId::Boottime)
}

fn kernel_micros(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000 + nanos.unwrap_or_default() / 1_000
}

/// RFC 3339 in UTC, whole seconds: `2026-11-22T08:34:04Z`.
pub fn rfc3339(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds).map_or_else(|_| "-".to_owned(), |time| time.to_string())
}

/// Seconds since the Unix epoch of a time as this machine's time zone writes it (UTC where it has none).
pub fn local_to_unix(local: jiff::civil::DateTime) -> Option<i64> {
    let zone = jiff::tz::TimeZone::try_system().unwrap_or(jiff::tz::TimeZone::UTC);
    local.to_zoned(zone).ok().map(|zoned| zoned.timestamp().as_second())
}

/// A time as people at this machine read it: `2026-11-22 09:34` in its time zone (UTC, and said so, where it has none).
pub fn local_minute(unix_seconds: i64) -> String {
    let zone = jiff::tz::TimeZone::try_system();
    let mark = if zone.is_ok() { "" } else { " UTC" };
    let zoned =
        jiff::Timestamp::from_second(unix_seconds).map(|time| time.to_zoned(zone.unwrap_or(jiff::tz::TimeZone::UTC)));
    zoned.map_or_else(|_| "-".to_owned(), |time| format!("{}{mark}", time.strftime("%Y-%m-%d %H:%M")))
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
    let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let shift = shift();
    let moved = Duration::from_secs(shift.unsigned_abs());
    if shift < 0 { real.saturating_sub(moved) } else { real + moved }
}

/// By how many seconds a test has moved this process's clock. A build without debug assertions can't be moved.
fn shift() -> i64 {
    static FILE: OnceLock<Option<String>> = OnceLock::new();
    if !cfg!(debug_assertions) {
        return 0;
    }
    let Some(file) = FILE.get_or_init(|| env::text(env::CLOCK_SHIFT)) else { return 0 };
    std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}
