//! Logs of the long-running roles, on standard error: text, or JSON for collectors.

use crate::sys::env;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _,
    filter::{ParseError, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Begins logging; what is logged is `REMOTECTL_LOG`'s to say, how `REMOTECTL_LOG_FORMAT`'s.
pub fn begin() {
    let (filter, wrong) = filter(env::text(env::LOG).as_deref());
    let logs = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let json = env::text(env::LOG_FORMAT).is_some_and(|format| format == "json");
    let logs = if json { logs.json().boxed() } else { logs.with_ansi(false).boxed() };
    if let Err(error) = tracing_subscriber::registry().with(logs.with_filter(filter)).try_init() {
        tracing::debug!(error = %error, "logging has begun before");
    }
    if let Some(error) = wrong {
        tracing::warn!(%error, "{} does not read; `info` is logged", env::LOG);
    }
}

/// What to log: levels by module (`debug`, `remotectl::link=trace`), where nothing or nothing readable is said `info`. Not by
/// regular expressions over spans and fields, whose engine is larger than an agent's heap.
fn filter(text: Option<&str>) -> (Targets, Option<ParseError>) {
    let usual = || Targets::new().with_default(LevelFilter::INFO);
    match text.map(str::parse::<Targets>) {
        None => (usual(), None),
        Some(Ok(targets)) => (targets, None),
        Some(Err(error)) => (usual(), Some(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels_are_said_by_module_and_info_is_the_usual() {
        let enabled = |text, target, level| filter(text).0.would_enable(target, &level);
        assert!(enabled(None, "remotectl::link", Level::INFO) && !enabled(None, "remotectl::link", Level::DEBUG));
        assert!(enabled(Some("debug"), "remotectl::link::runtime", Level::DEBUG));
        let one = Some("warn,remotectl::link=trace");
        assert!(enabled(one, "remotectl::link::runtime", Level::TRACE) && !enabled(one, "hyper", Level::INFO));
        let (targets, wrong) = filter(Some("=loud="));
        assert!(wrong.is_some() && targets.would_enable("remotectl", &Level::INFO));
    }
}
