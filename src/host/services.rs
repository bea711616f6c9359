//! `service.*`: one story for every init system. What changes a service looks before and after, and says what it saw.
//!
//! To add an init system: a file beside `systemd.rs` that implements `ServiceManager`, and a line in `manager`.

mod openrc;
mod systemd;
mod words;

pub use systemd::unit;
pub use words::telling;

use super::{
    Task,
    commands::{CommandError, Commands, ThisMachine},
    init::{Init, Unsupported},
    text::clean,
};
use crate::{
    model::{Op, Outcome},
    sys::{clock, process},
};
use serde::Serialize;
use serde_json::json;
use std::{path::Path, time::Duration};

/// How long a freshly started process is watched, where its being started says nothing about its being ready.
const WATCH: Duration = Duration::from_millis(500);
/// Log lines that a status or a failure brings along.
const LOG_LINES: usize = 10;

/// A service's name as operators write it, known to be no option, no path and no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName(String);

/// A text that is no service name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no service name: {why}", text.escape_debug())]
pub struct NameError {
    text: String,
    why: &'static str,
}

impl ServiceName {
    /// Takes a name such as `nginx`, `nginx.service`, `wg-quick@wg0` or `fstrim.timer`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let wrong = |why| Err(NameError { text: text.chars().take(80).collect(), why });
        if text.is_empty() || text.len() > 250 {
            return wrong("a name has 1 to 250 characters");
        }
        if text.starts_with(['-', '.']) {
            return wrong("it starts with a dash or a dot");
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_.\\@+-".contains(&byte)) {
            return wrong("letters, digits and : _ . @ + - make a name");
        }
        if [".target", ".mount", ".slice", ".scope", ".swap", ".device"].iter().any(|kind| text.ends_with(kind)) {
            return wrong("services, sockets, timers and paths are managed here, nothing else");
        }
        let plain = text.trim_end_matches(".service");
        if ["poweroff", "reboot", "halt", "kexec", "suspend", "hibernate", "soft-reboot"]
            .iter()
            .any(|end| plain.strip_prefix("systemd-") == Some(end))
        {
            return wrong("it ends the whole machine; system.reboot is for that");
        }
        Ok(Self(plain.to_owned()))
    }

    /// Without `.service`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its process runs (or its socket listens, its timer waits).
    Running,
    /// It did its work, ended well, and counts as active.
    Exited,
    /// It does not run, and that is no failure.
    Stopped,
    /// It ended badly.
    Failed,
    /// It is on its way up.
    Starting,
    /// It is on its way down.
    Stopping,
}

impl State {
    /// Whether it is up.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Exited)
    }
}

/// A service as its manager describes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// Without `.service`.
    pub name: String,
    /// Its own description.
    pub description: String,
    /// What it is doing.
    pub state: State,
    /// The manager's word for that: `running`, `dead`, `exited`, `crashed`, …
    pub detail: String,
    /// Whether it starts at boot: `enabled`, `disabled`, `static`, `masked`, …; empty where unknown.
    pub startup: String,
    /// Its main process.
    pub pid: Option<u32>,
    /// For how long it has been up, in seconds.
    pub up_seconds: Option<f64>,
    /// Whether it can re-read its configuration; `None` where only trying tells.
    #[serde(skip)]
    pub can_reload: Option<bool>,
    /// Whether it does something once instead of staying.
    #[serde(skip)]
    pub once: bool,
    /// Whether its manager starts the process and looks no further.
    #[serde(skip)]
    pub unobserved: bool,
    /// What starts it again by itself: sockets, timers.
    #[serde(skip)]
    pub triggers: Vec<String>,
}

/// What can be done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Up.
    Start,
    /// Down.
    Stop,
    /// Down and up.
    Restart,
    /// Re-read its configuration.
    Reload,
    /// Up at boot.
    Enable,
    /// Not up at boot.
    Disable,
}

impl Action {
    /// The word that both systemctl and rc-service take (rc-update has its own for the last two).
    pub fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }
}

/// An init system's services.
pub trait ServiceManager {
    /// Every service that it knows, by name.
    fn list(&self) -> Result<Vec<Service>, CommandError>;
    /// One service; `None` where there is none of that name.
    fn status(&self, name: &ServiceName) -> Result<Option<Service>, CommandError>;
    /// Does it, and waits as long as the manager itself waits. An error is the manager's own complaint.
    fn act(&self, name: &ServiceName, action: Action) -> Result<(), CommandError>;
    /// The last lines that the service (or its manager about it) logged since a moment (milliseconds since the epoch);
    /// `None` where nobody can tell.
    fn log(&self, name: &ServiceName, since: Option<i64>, errors_only: bool, lines: usize) -> Option<Vec<String>>;
    /// Makes it read service files that were written or removed.
    fn reread(&self) -> Result<(), CommandError>;
    /// Makes it forget that a service which is gone has failed once, where it remembers such things.
    fn forget(&self, name: &ServiceName);
}

/// The manager for an init system of the system below `root`.
pub fn manager<'a>(
    init: Init,
    root: &Path,
    commands: &'a dyn Commands,
) -> Result<Box<dyn ServiceManager + 'a>, Unsupported> {
    match init {
        Init::Systemd => Ok(Box::new(systemd::Systemd::new(commands))),
        Init::OpenRc => Ok(Box::new(openrc::OpenRc::new(root, commands))),
        other => Err(Unsupported(other)),
    }
}

/// Carries out `service.*`.
pub fn perform(op: &Op, task: &Task) -> Outcome {
    let commands = ThisMachine::of(task);
    let manager = match manager(Init::here(), Path::new("/"), &commands) {
        Ok(manager) => manager,
        Err(unsupported) => {
            return Outcome::failure(unsupported.to_string())
                .with_help("exec.run can call whatever starts services there");
        }
    };
    let manager = manager.as_ref();
    let on = |name: &String, act: &dyn Fn(&ServiceName) -> Result<Outcome, CommandError>| match ServiceName::parse(name)
    {
        Ok(name) => act(&name).unwrap_or_else(|error| error.outcome()),
        Err(error) => Outcome::rejected(error.to_string()),
    };
    let change = |name: &String, action| on(name, &|name| change(manager, name, action));
    match op {
        Op::ServiceList {} => list(manager).unwrap_or_else(|error| error.outcome()),
        Op::ServiceStatus { service } => on(service, &|name| status(manager, name)),
        Op::ServiceStart { service } => change(service, Action::Start),
        Op::ServiceStop { service } => change(service, Action::Stop),
        Op::ServiceRestart { service } => change(service, Action::Restart),
        Op::ServiceReload { service } => change(service, Action::Reload),
        Op::ServiceEnable { service } => change(service, Action::Enable),
        Op::ServiceDisable { service } => change(service, Action::Disable),
        other => Outcome::rejected(format!("{} is no operation on services", other.name())),
    }
}

fn list(manager: &dyn ServiceManager) -> Result<Outcome, CommandError> {
    let services = manager.list()?;
    let count = |state| services.iter().filter(|service| service.state == state).count();
    let failed: Vec<&str> =
        services.iter().filter(|service| service.state == State::Failed).map(|service| service.name.as_str()).collect();
    let mut summary = format!("{} services, {} running", services.len(), count(State::Running));
    if !failed.is_empty() {
        summary = format!("{summary}, {} failed: {}", failed.len(), failed.join(", "));
    }
    Ok(Outcome::success(summary).with_data(json!({ "services": services })))
}

fn status(manager: &dyn ServiceManager, name: &ServiceName) -> Result<Outcome, CommandError> {
    let Some(service) = manager.status(name)? else { return unknown(manager, name) };
    let log = manager.log(name, None, false, LOG_LINES).unwrap_or_default();
    let mut summary = words::standing(&service);
    if service.state == State::Failed
        && let Some(line) = words::telling(&log)
    {
        summary = format!("{summary}: {line}");
    }
    Ok(Outcome::success(summary).with_data(json!({ "service": service, "log": log })))
}

fn change(manager: &dyn ServiceManager, name: &ServiceName, action: Action) -> Result<Outcome, CommandError> {
    let Some(before) = manager.status(name)? else { return unknown(manager, name) };
    if let Some(outcome) = needless(&before, action) {
        return Ok(outcome.with_data(json!({ "service": before })));
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
        // Ends early where the process does; a process that can't be watched is looked at below all the same.
        process::ends_within(pid, WATCH).ok();
    }
    let Some(after) = manager.status(name)? else { return unknown(manager, name) };
    match verify(action, &before, &after) {
        Ok(verified) => Ok(done(manager, name, action, began, &after, &verified)),
        Err(contradiction) => Ok(failed(manager, name, action, began, &contradiction)),
    }
}

/// The answer where nothing is to be done, or nothing can be.
fn needless(before: &Service, action: Action) -> Option<Outcome> {
    let name = &before.name;
    if before.startup == "masked" && matches!(action, Action::Start | Action::Restart | Action::Enable) {
        return Some(
            Outcome::failure(format!("{name} is masked: somebody has forbidden that it ever starts"))
                .with_help(format!("`systemctl unmask {name}` there allows it again")),
        );
    }
    if own_service().as_deref() == Some(name) && action != Action::Enable && action != Action::Start {
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
            not(&format!("is {} at boot", after.startup))
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
        Some(service) if service.state.is_up() => ", and still runs",
        Some(_) => ", and is down",
        None => "",
    };
    Outcome::failure(format!("{} could not be {}{standing}: {why}", name.as_str(), words::done(action)))
        .with_help(format!("logs.query service={} shows what it says", name.as_str()))
        .with_data(json!({ "service": now, "log": log, "said": said }))
}

fn unknown(manager: &dyn ServiceManager, name: &ServiceName) -> Result<Outcome, CommandError> {
    let services = manager.list()?;
    let close = words::close(name.as_str(), services.iter().map(|service| service.name.as_str()));
    let help = match &close[..] {
        [] => "service.list names those that there are".to_owned(),
        close => format!("closest: {}; service.list names them all", close.join(", ")),
    };
    Ok(Outcome::failure(format!("there is no service `{}` here", name.as_str()))
        .with_help(help)
        .with_data(json!({ "closest": close })))
}

/// The name of the service that this process is part of, as its control group tells.
pub fn own_service() -> Option<String> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    words::service_of_cgroup(&groups)
}

/// The services that somebody would ask for: running or started at boot, the init system's own plumbing left out.
pub fn noteworthy(manager: &dyn ServiceManager) -> Result<Vec<String>, CommandError> {
    const PLUMBING: &[&str] = &[
        "systemd-",
        "getty@",
        "serial-getty@",
        "container-getty@",
        "console-getty",
        "user@",
        "user-runtime-dir@",
        "dbus",
        "remotectl-",
        "e2scrub",
        "modprobe@",
        "kmod",
        "ifup@",
        "apt-daily",
        "dpkg-db-backup",
        "initrd-",
        "polkit",
        "rmnologin",
        "bootlogs",
        "rc.local",
        "rc-local",
        "quotaon",
        "emergency",
        "rescue",
    ];
    let mut names: Vec<String> = manager
        .list()?
        .into_iter()
        .filter(|service| (service.state == State::Running && service.pid.is_some()) || service.startup == "enabled")
        .map(|service| service.name)
        .filter(|name| !name.ends_with('@') && !PLUMBING.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests;
