//! The operations that need nothing but the API: a guest's power and state, a node's state and tasks. What is asked is
//! done, then looked at again: the summary says what was seen, not what was requested.

use super::{
    client::Client,
    error::ApiError,
    form::{Form, path},
    nodes,
    resources::{Config, Current, Resource, option, setting, tags},
    tasks::{Followed, Pace, Wait, follow},
    upid::Upid,
};
use crate::{
    model::{
        Op, Outcome, Target,
        outcome::Ending,
        target::{Vmid, What},
        values::{GuestKind, Span},
    },
    sys::{task::Task, text::one_line},
};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a clean shutdown may take when nobody says otherwise: Proxmox's own default.
const SHUTDOWN: Duration = Duration::from_mins(1);
/// What following a task may take beside the time that the task itself was given.
const MARGIN: Duration = Duration::from_secs(15);
/// How long a guest under HA is waited for after its request.
const HA_GRACE: Duration = Duration::from_mins(2);

/// Whether `perform` can do the operation of that name.
pub fn can(name: &str) -> bool {
    matches!(
        name,
        "guest.status"
            | "guest.start"
            | "guest.shutdown"
            | "guest.stop"
            | "guest.reboot"
            | "node.status"
            | "node.tasks"
    )
}

/// Carries out one operation of those that run in a pve-agent over the Proxmox API alone.
pub fn perform(client: &Client, op: &Op, target: &Target, task: &Task) -> Outcome {
    let done = match (&target.what, op) {
        (What::Guest(kind, vmid), _) => on_guest(client, op, *kind, *vmid, task),
        (What::Node(node), Op::NodeStatus {}) => nodes::status(client, node).map_err(Failed::Api),
        (What::Node(node), Op::NodeTasks { limit, errors }) => {
            nodes::tasks(client, node, *limit, errors.unwrap_or(false)).map_err(Failed::Api)
        }
        _ => Ok(Outcome::rejected(format!("{} can't be done on {target} by the Proxmox API", op.name()))),
    };
    done.unwrap_or_else(|failed| failed.outcome(target))
}

fn on_guest(client: &Client, op: &Op, kind: GuestKind, vmid: Vmid, task: &Task) -> Result<Outcome, Failed> {
    if !matches!(
        op,
        Op::GuestStatus {} | Op::GuestStart {} | Op::GuestShutdown { .. } | Op::GuestStop {} | Op::GuestReboot {}
    ) {
        return Ok(Outcome::rejected(format!("this pve-agent can't do {} yet", op.name())));
    }
    let guest = Guest::find(client, kind, vmid)?;
    match op {
        Op::GuestStart {} => guest.start(task),
        Op::GuestShutdown { timeout } => guest.shutdown(timeout.as_ref(), task),
        Op::GuestStop {} => guest.stop(task),
        Op::GuestReboot {} => guest.reboot(task),
        _ => guest.status(),
    }
}

/// Why an operation did not come to its end.
enum Failed {
    Api(ApiError),
    /// An outcome that is already told.
    Told(Box<Outcome>),
}

fn told(outcome: Outcome) -> Failed {
    Failed::Told(Box::new(outcome))
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl Failed {
    fn outcome(self, target: &Target) -> Outcome {
        match self {
            Self::Told(outcome) => *outcome,
            Self::Api(error) => {
                let acted = error.may_have_acted();
                let outcome = Outcome::of_error(&error);
                if acted {
                    // The request is out: whether it was acted upon is looked up, never guessed.
                    let help = format!("`remotectl run guest.status {target}` shows its state now");
                    return Outcome { ending: Ending::Unknown, ..outcome }.with_help(help);
                }
                outcome.with_help(error.help())
            }
        }
    }
}

/// A guest where it is now.
struct Guest<'a> {
    client: &'a Client,
    kind: GuestKind,
    vmid: Vmid,
    node: String,
    before: Current,
}

impl<'a> Guest<'a> {
    /// Finds it, wherever it has moved to.
    fn find(client: &'a Client, kind: GuestKind, vmid: Vmid) -> Result<Self, Failed> {
        let lines: Vec<Resource> = client.get("/cluster/resources", &Form::new().with("type", "vm"))?;
        let target = Target::guest(kind, vmid);
        let line = lines.into_iter().find(|line| line.guest().is_some_and(|(_, id)| id == vmid));
        let Some(line) = line else {
            let outcome = Outcome::rejected(format!("there is no guest {vmid} in this cluster"));
            return Err(told(outcome.with_help("`remotectl guests` lists them all")));
        };
        if line.guest() != Some((kind, vmid)) {
            let other = if kind == GuestKind::Ct { Target::vm(vmid) } else { Target::ct(vmid) };
            let outcome =
                Outcome::rejected(format!("there is no {target}: {vmid} is {other} {}", one_line(&line.name, 60)));
            return Err(told(outcome.with_help(format!("name it `{other}`"))));
        }
        let mut guest = Self { client, kind, vmid, node: line.node, before: Current::default() };
        guest.before = guest.current()?;
        Ok(guest)
    }

    fn path(&self, rest: &[&str]) -> String {
        let vmid = self.vmid.to_string();
        path(&[&["nodes", self.node.as_str(), self.kind.api(), vmid.as_str()], rest].concat())
    }

    fn current(&self) -> Result<Current, ApiError> {
        self.client.get(&self.path(&["status", "current"]), &Form::new())
    }

    fn target(&self) -> Target {
        Target::guest(self.kind, self.vmid)
    }

    fn label(&self) -> String {
        one_line(&format!("{} {}", self.target(), self.before.name), 80)
    }

    fn status(&self) -> Result<Outcome, Failed> {
        let config: Config = self.client.get(&self.path(&["config"]), &Form::new())?;
        let now = &self.before;
        let mut parts = vec![if now.template { "template".to_owned() } else { state(now) }];
        parts.push(format!("on {}", self.node));
        parts.push(format!("{} cores", now.cpus.max(1)));
        parts.push(format!("{} of {} MiB memory", now.mem >> 20, now.maxmem >> 20));
        parts.extend(now.lock.as_ref().map(|lock| format!("locked ({})", one_line(lock, 30))));
        parts.extend(now.ha.state.as_ref().map(|wanted| format!("HA wants it {}", one_line(wanted, 30))));
        Ok(Outcome::success(parts.join(", ")).with_data(json!({
            "name": now.name, "status": now.status, "node": self.node, "uptime": now.uptime, "pid": now.pid,
            "lock": now.lock, "template": now.template, "cores": now.cpus, "memory_mib": now.maxmem >> 20,
            "memory_used_mib": now.mem >> 20, "tags": tags(&now.tags), "ha": now.ha.state, "config": config,
        })))
    }

    fn start(&self, task: &Task) -> Result<Outcome, Failed> {
        if self.before.template {
            let outcome = Outcome::rejected(format!("{} is a template: it can't be started", self.label()));
            return Ok(outcome
                .with_help(format!("`remotectl run guest.clone {} name=NAME` makes a guest of it", self.target())));
        }
        if self.before.running() {
            return Ok(self.seen(&format!("was already {}", state(&self.before)), &self.before, None));
        }
        let upid = self.ask("start", &Form::new(), task)?;
        let now = self.await_state(task, Current::running)?;
        Ok(self.seen(&state(&now), &now, Some(&upid)))
    }

    fn shutdown(&self, timeout: Option<&Span>, task: &Task) -> Result<Outcome, Failed> {
        if !self.before.running() {
            return Ok(self.seen("was already stopped", &self.before, None));
        }
        let given = timeout.map_or(SHUTDOWN, |span| Duration::from_secs(span.seconds()));
        // Never with forceStop: a guest that does not end by itself is told, not cut off.
        let form = Form::new().with("timeout", given.as_secs());
        let upid = self.ask("shutdown", &form, &extended(task, given))?;
        let now = self.await_state(task, |now| !now.running())?;
        Ok(self.seen("shut down cleanly", &now, Some(&upid)))
    }

    fn stop(&self, task: &Task) -> Result<Outcome, Failed> {
        if !self.before.running() {
            return Ok(self.seen("was already stopped", &self.before, None));
        }
        let upid = self.ask("stop", &Form::new(), task)?;
        let now = self.await_state(task, |now| !now.running())?;
        Ok(self.seen("stopped", &now, Some(&upid)))
    }

    fn reboot(&self, task: &Task) -> Result<Outcome, Failed> {
        if !self.before.running() {
            let outcome = Outcome::rejected(format!("{} is not running: there is nothing to reboot", self.label()));
            return Ok(outcome.with_help(format!("`remotectl run guest.start {}` starts it", self.target())));
        }
        let upid = self.ask("reboot", &Form::new().with("timeout", SHUTDOWN.as_secs()), &extended(task, SHUTDOWN))?;
        let anew = |now: &Current| now.running() && (now.pid != self.before.pid || now.uptime < self.before.uptime);
        let now = self.await_state(task, anew)?;
        Ok(self.seen(&format!("rebooted, {}", state(&now)), &now, Some(&upid)))
    }

    /// Posts a change of state and follows its task.
    fn ask(&self, what: &str, form: &Form, task: &Task) -> Result<Upid, Failed> {
        let upid: Upid = match self.client.post(&self.path(&["status", what]), form) {
            Ok(upid) => upid,
            Err(error) => return Err(self.refused(what, error)),
        };
        match follow(self.client, &upid, task)? {
            Followed::Done { warnings } => {
                if warnings > 0 {
                    task.report.progress(&format!("Proxmox warns: {warnings} in the log of {upid}"));
                }
                Ok(upid)
            }
            Followed::Failed(why) => Err(self.failed(what, &why)),
            Followed::Cancelled => Err(told(Outcome {
                ending: Ending::Cancelled,
                ..Outcome::failure(format!("cancelled; Proxmox's task was aborted, {} is {}", self.label(), self.now()))
            })),
            Followed::StillRunning => Err(told(
                Outcome {
                    ending: Ending::TimedOut,
                    ..Outcome::failure(format!("{what} takes longer than allowed and still runs in Proxmox as {upid}"))
                }
                .with_help(format!("`remotectl run node.tasks node/{}` shows how it ends", self.node)),
            )),
        }
    }

    /// A request that was refused at once.
    fn refused(&self, what: &str, error: ApiError) -> Failed {
        self.known(what, error.reason()).unwrap_or(Failed::Api(error))
    }

    /// A task that failed: Proxmox's own words, with what to do about it.
    fn failed(&self, what: &str, why: &str) -> Failed {
        let outcome = Outcome::failure(format!("{what} of {} failed in Proxmox: {why}", self.label()));
        let help = format!("`remotectl run node.tasks node/{} errors=true` has its log", self.node);
        self.known(what, why).unwrap_or_else(|| told(outcome.with_help(help)))
    }

    /// The failures that have a help of their own.
    fn known(&self, what: &str, why: &str) -> Option<Failed> {
        if ["did not stop", "powerdown failed", "got timeout"].iter().any(|words| why.contains(words)) {
            let outcome =
                Outcome::failure(format!("{} did not shut down in time and is {}: {why}", self.label(), self.now()));
            let help = format!("`remotectl run guest.stop {}` cuts its power", self.target());
            return Some(told(Outcome { ending: Ending::TimedOut, ..outcome }.with_help(help)));
        }
        let help = format!("wait until that is over: `remotectl run node.tasks node/{}`", self.node);
        let outcome = || Outcome::failure(format!("{what} of {}: {why}", self.label())).with_help(help);
        why.contains("is locked").then(|| told(outcome()))
    }

    /// The state for an error message, `in an unknown state` where even that can't be read.
    fn now(&self) -> String {
        self.current().map_or_else(|_| "in an unknown state".to_owned(), |now| state(&now))
    }

    /// Waits until the guest is seen in a state. Without HA that is at the first look: the task has ended.
    fn await_state(&self, task: &Task, reached: impl Fn(&Current) -> bool) -> Result<Current, Failed> {
        let mut pace =
            Pace::new(&Task { timeout: if self.before.ha.managed { HA_GRACE } else { MARGIN }, ..task.clone() });
        if self.before.ha.managed {
            task.report.progress("requested from the HA manager");
        }
        loop {
            let now = self.current()?;
            if reached(&now) {
                return Ok(now);
            }
            if pace.wait() != Wait::Again {
                let outcome =
                    Outcome::failure(format!("Proxmox's task succeeded, but {} is {}", self.label(), state(&now)));
                let help = format!("`remotectl run guest.status {}` shows it again", self.target());
                return Err(told(outcome.with_help(help)));
            }
        }
    }

    fn seen(&self, summary: &str, now: &Current, upid: Option<&Upid>) -> Outcome {
        Outcome::success(summary).with_data(json!({
            "status": now.status, "uptime": now.uptime, "pid": now.pid, "node": self.node,
            "task": upid.map_or(Value::Null, |upid| Value::from(upid.as_str())), "ha": now.ha.managed,
        }))
    }
}

/// The same task with time enough for Proxmox to keep its own time-out.
fn extended<'a>(task: &Task<'a>, given: Duration) -> Task<'a> {
    Task { timeout: task.timeout.max(given + MARGIN), ..task.clone() }
}

/// `running since 17 s`, `stopped`, `paused`.
fn state(now: &Current) -> String {
    match now.qmpstatus.as_deref() {
        Some("paused") if now.running() => "paused".to_owned(),
        _ if now.running() => format!("running since {}", nodes::span(now.uptime)),
        _ => one_line(&now.status, 30),
    }
}

/// The address of a container's interface as its configuration fixes it; `None` for DHCP.
pub(super) fn fixed_addresses(config: &Config) -> Vec<String> {
    let nets = config.keys().filter(|key| key.starts_with("net")).map(|key| setting(config, key));
    let values = nets.flat_map(|net| ["ip", "ip6"].map(|name| option(&net, name).map(str::to_owned)));
    values
        .flatten()
        .filter_map(|value| value.split('/').next()?.parse::<std::net::IpAddr>().ok())
        .map(|ip| ip.to_string())
        .collect()
}
