//! Logs of the long-running roles, on standard error: text, or JSON for collectors.

use crate::sys::env;
use tracing_subscriber::{EnvFilter, fmt};

/// Begins logging; what is logged is `REMOTECTL_LOG`'s to say, how `REMOTECTL_LOG_FORMAT`'s.
pub fn begin() {
    let filter = EnvFilter::builder()
        .with_env_var(env::LOG)
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env_lossy();
    let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let json = env::text(env::LOG_FORMAT).is_some_and(|format| format == "json");
    let begun = if json { logs.json().try_init() } else { logs.with_ansi(false).try_init() };
    if let Err(error) = begun {
        tracing::debug!(error, "logging has begun before");
    }
}
