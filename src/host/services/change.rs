//! The story of a change: look, act, look again, say what was seen.

use super::{Action, CommandError, LOG_LINES, Service, ServiceManager, ServiceName, State, is_own, unknown, words};
use crate::{
    host::{Machine, text::clean},
    model::Outcome,
    sys::clock,
};
use serde_json::json;
use std::time::Duration;

/// How long a freshly started process is watched, where its being started says nothing about its being ready.
const WATCH: Duration = Duration::from_millis(500);

/// Does it and says what it verified, or why it is not so.
pub fn change(
    machine: &Machine,
    manager: &dyn ServiceManager,
    name: &ServiceName,
    action: Action,
) -> Result<Outcome, CommandError> {
    let Some(before) = manager.status(name)? else { return unknown(manager, name) };
    if let Some(outcome) = needless(machine, &before, action) {
        return Ok(outcome.with_data(json!({ "service": before })).unchanged());
    }
    let began = clock::unix_millis();
    match manager.act(name, action) {
        Ok(()) => {}
        Err(CommandError::Failed { output, .. }) => return Ok(failed(manager, name, action, began, &output)),
        Err(error) => return Err(error),
    }
    if let Some(pid) = manager.status(name)?.filter(|service| service.unobserved).and_then(|service| service.pid)
        && matches!(action, Action::Start | Action::Restart)
    {
        // Returns early where the process ends early; what came of it is looked at below.
        machine.system().ends_within(pid, WATCH);
    }
    let Some(after) = manager.status(name)? else { return unknown(manager, name) };
    match verify(action, &before, &after) {
        Ok(verified) => {
            let done = done(manager, name, action, began, &after, &verified);
            let same = matches!(action, Action::Enable | Action::Disable) && before.startup == after.startup;
            Ok(if same { done.unchanged() } else { done })
        }
        Err(contradiction) => Ok(failed(manager, name, action, began, &contradiction)),
    }
}

/// The answer where nothing is to be done, or nothing can be.
fn needless(machine: &Machine, before: &Service, action: Action) -> Option<Outcome> {
    let name = &before.name;
    if before.startup == "masked" && matches!(action, Action::Start | Action::Restart | Action::Enable) {
        return Some(
            Outcome::failure(format!("{name} is masked: somebody has forbidden that it ever starts"))
                .with_help(format!("`systemctl unmask {name}` there allows it again")),
        );
    }
    if is_own(machine, name) && action != Action::Enable && action != Action::Start {
        return Some(
            Outcome::rejected(format!("{name} is the agent that would have to do it: it does not cut its own branch"))
                .with_help("`remotectl update` and `remotectl remove` are for agents"),
        );
    }
    match action {
        Action::Start if before.state == State::Running => {
            Some(Outcome::success(format!("nothing to do: {}", words::standing(before))))
        }
        Action::Stop if before.state == State::Stopped => {
            Some(Outcome::success(format!("nothing to do: {name} was already stopped")))
        }
        Action::Reload if !before.state.is_up() => Some(
            Outcome::failure(format!("{name} is not running, so there is nothing to reload"))
                .with_help(format!("service.start service={name} starts it")),
        ),
        Action::Reload if before.can_reload == Some(false) => Some(
            Outcome::failure(format!("{name} can't reload its configuration while it runs"))
                .with_help(format!("service.restart service={name} does it with an interruption")),
        ),
        _ => None,
    }
}

/// What shows that it was done, or what contradicts the manager's word that it was.
fn verify(action: Action, before: &Service, after: &Service) -> Result<String, String> {
    let (name, verb) = (&after.name, action.verb());
    let not = |what: &str| Err(format!("{name}: {verb} was reported as done, but it {what}"));
    let ran_once = after.once && after.state == State::Stopped;
    match action {
        Action::Start | Action::Restart if ran_once => Ok("it ran and ended well".to_owned()),
        Action::Start | Action::Restart if !after.state.is_up() => not(&format!("is {}", words::state(after))),
        Action::Restart if before.pid.is_some() && before.pid == after.pid => not("still has the same main process"),
        Action::Stop if after.state.is_up() || after.pid.is_some() => not(&format!("is {}", words::state(after))),
        Action::Stop if after.triggers.is_empty() => Ok(words::gone(before)),
        Action::Stop => Ok(format!("{}; {} can start it again", words::gone(before), after.triggers.join(", "))),
        Action::Reload if !after.state.is_up() => not(&format!("is {} now", words::state(after))),
        Action::Start | Action::Restart | Action::Reload => Ok(words::change(before, after)),
        Action::Enable if !after.startup.starts_with("enabled") && after.startup != "alias" => {
            not(&format!("stays {}: its file does not say when it would start", after.startup))
        }
        Action::Enable if before.startup == after.startup => Ok("it already started at boot".to_owned()),
        Action::Enable => Ok("starts at boot".to_owned()),
        Action::Disable if after.startup.starts_with("enabled") => not("still starts at boot"),
        Action::Disable if before.startup == after.startup => Ok("it did not start at boot before either".to_owned()),
        Action::Disable => Ok(format!("no longer starts at boot, {} now", words::state(after))),
    }
}

fn done(
    manager: &dyn ServiceManager,
    name: &ServiceName,
    action: Action,
    began: i64,
    after: &Service,
    verified: &str,
) -> Outcome {
    let mut summary = format!("{} {}, {verified}", after.name, words::done(action));
    let mut errors = Vec::new();
    if matches!(action, Action::Start | Action::Restart | Action::Reload) && after.state.is_up() {
        let found = manager.log(name, Some(began), true, LOG_LINES);
        let clean = found.as_ref().is_some_and(Vec::is_empty);
        errors = found.unwrap_or_default();
        if clean {
            summary.push_str(", no new errors");
        } else if let Some(line) = words::telling(&errors) {
            summary = format!("{summary}, but it logged: {line}");
        }
    }
    Outcome::success(summary).with_data(json!({ "service": after, "log": errors }))
}

fn failed(manager: &dyn ServiceManager, name: &ServiceName, action: Action, began: i64, said: &str) -> Outcome {
    let mut log = manager.log(name, Some(began), false, 2 * LOG_LINES).unwrap_or_default();
    if log.is_empty() {
        log = said.lines().map(clean).filter(|line| !line.is_empty()).collect();
    }
    let said: Vec<String> = said.lines().map(clean).filter(|line| !line.is_empty()).collect();
    let why = words::telling(&log).or_else(|| words::telling(&said)).unwrap_or_default();
    let now = manager.status(name).ok().flatten();
    let standing = match &now {
        _ if matches!(action, Action::Enable | Action::Disable) => "",
        Some(service) if service.state.is_up() => ", and still runs",
        Some(_) => ", and is down",
        None => "",
    };
    Outcome::failure(format!("{} could not be {}{standing}: {why}", name.as_str(), words::done(action)))
        .with_help(format!("logs.query service={} shows what it says", name.as_str()))
        .with_data(json!({ "service": now, "log": log, "said": said }))
}
