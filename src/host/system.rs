//! `system.*`: what the machine is and how it is doing, from /proc, /sys and statvfs.

mod disk;
mod info;
mod metrics;
mod ports;
mod processes;

pub use disk::disk;
pub use info::info;
pub use metrics::metrics;
pub use ports::ports;
pub use processes::processes;

use std::time::Duration;

/// Over how long rates (processor, network) are measured.
const INTERVAL: Duration = Duration::from_millis(400);

/// A share in per cent with one decimal, 0 where the whole is nothing.
#[expect(clippy::cast_precision_loss, reason = "bytes and ticks as a share of each other: one decimal is left anyway")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 1000.0).round() / 10.0 }
}
