//! `service.*`: one story for every init system. What changes a service looks before and after, and says what it saw.
//!
//! What operators' names may be is in `name.rs`, the story of a change in `change.rs`.
//!
//! To add an init system: a file beside `systemd.rs` that implements `ServiceManager`, and a line in `manager`.

mod change;
mod name;
mod openrc;
mod runit;
mod scripts;
mod systemd;
mod words;

pub use name::{NameError, ServiceName};
pub use systemd::unit;
pub use words::telling;

use super::{
    Machine, Task,
    commands::{CommandError, Commands},
    init::{Init, Unsupported},
    logs::files,
};
use crate::model::{Op, Outcome};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// Log lines that a status or a failure brings along.
const LOG_LINES: usize = 10;

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
    /// The names of those that run or start at boot, with as little work as possible: it is asked for every minute.
    fn kept(&self) -> Result<Vec<String>, CommandError>;
    /// One service; `None` where there is none of that name.
    fn status(&self, name: &ServiceName) -> Result<Option<Service>, CommandError>;
    /// Does it, and waits as long as the manager itself waits. An error is the manager's own complaint.
    fn act(&self, name: &ServiceName, action: Action) -> Result<(), CommandError>;
    /// The last lines that the service (or its manager about it) logged since a moment (milliseconds since the epoch);
    /// `None` where nobody can tell.
    fn log(&self, name: &ServiceName, since: Option<i64>, errors_only: bool, lines: usize) -> Option<Vec<String>>;
    /// Makes it read service files that were written or removed, where it does not by itself.
    fn reread(&self) -> Result<(), CommandError> {
        Ok(())
    }
    /// Makes it forget a service which is gone, where it remembers such things.
    fn forget(&self, _name: &ServiceName) {}
}

/// The script of a service below /etc/init.d.
fn script(machine: &Machine, name: &str) -> PathBuf {
    machine.path("/etc/init.d").join(name)
}

/// The last lines of a service in files of /var/log, which carry no priority: nobody can tell errors from the rest.
fn file_log(
    machine: &Machine,
    name: &ServiceName,
    since: Option<i64>,
    errors_only: bool,
    lines: usize,
) -> Option<Vec<String>> {
    if errors_only {
        return None;
    }
    files::lines_of(machine, name.as_str(), since.map(|since| since / 1000), lines)
}

/// The manager of a machine's services, spoken to through these commands.
pub fn manager<'a>(machine: &Machine, commands: &'a dyn Commands) -> Result<Box<dyn ServiceManager + 'a>, Unsupported> {
    match machine.init() {
        Init::Systemd => Ok(Box::new(systemd::Systemd::new(machine, commands))),
        Init::OpenRc => Ok(Box::new(openrc::OpenRc::new(machine, commands))),
        Init::Sysvinit | Init::Busybox => Ok(Box::new(scripts::Scripts::new(machine, commands))),
        Init::Runit => Ok(Box::new(runit::Runit::new(machine, commands))),
        Init::Unknown => Err(Unsupported),
    }
}

/// Carries out `service.*`.
pub fn perform(op: &Op, machine: &Machine, task: &Task) -> Outcome {
    let commands = machine.commands(task);
    let manager = match manager(machine, commands.as_ref()) {
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
    let change = |name: &String, action| on(name, &|name| change::change(machine, manager, name, action));
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

/// Whether the agent of a machine, this process, is part of that service.
pub fn is_own(machine: &Machine, name: &str) -> bool {
    words::is_in_group(&machine.text("/proc/self/cgroup"), name)
        || name.starts_with("remotectl-") && runs_below(machine, name)
}

/// Whether this process is the main process of a service that has no control group, or is below it.
fn runs_below(machine: &Machine, name: &str) -> bool {
    let noted = [format!("/run/{name}.pid"), format!("{}/{name}/supervise/pid", runit::DEFINED)];
    let main = noted.iter().find_map(|file| machine.text(file).trim().parse::<u32>().ok()).filter(|pid| *pid > 1);
    let mut next = Some("self".to_owned());
    while let Some(process) = next.filter(|process| process != "0" && process != "1") {
        let stat = machine.text(&format!("/proc/{process}/stat"));
        if main.is_some() && stat.split(' ').next().and_then(|pid| pid.parse().ok()) == main {
            return true;
        }
        // The name in parentheses may hold anything; the state and the parent follow it.
        let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
        next = behind.split_whitespace().nth(1).map(str::to_owned);
    }
    false
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
    let mut names = manager.kept()?;
    names.retain(|name| !name.ends_with('@') && !PLUMBING.iter().any(|prefix| name.starts_with(prefix)));
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests;
