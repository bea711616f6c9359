//! A guest where it is now: found, looked at, asked to change, looked at again. What all operations on guests share: tasks
//! followed to their end, locks waited for, moves noticed, and failures told with what to do about them.

use super::{
    client::Client,
    error::{ApiError, NO_QUORUM, no_quorum},
    intent::Intent,
    nodes,
    requests::{Call, Place, cluster, guests},
    resources::{Config, Current, Resource},
    tasks::{Followed, Pace, Wait, follow},
    upid::Upid,
};
use crate::{
    model::{
        Outcome, Target,
        outcome::{Ending, chain},
        target::Vmid,
        values::GuestKind,
    },
    sys::{task::Task, text::one_line},
};
use serde_json::{Value, json};
use std::time::Duration;

/// What following a task may take beside the time that the task itself was given.
pub(super) const MARGIN: Duration = Duration::from_secs(15);
/// How long a guest under HA is waited for after its request.
const HA_GRACE: Duration = Duration::from_mins(2);
/// How long a lock that somebody else holds is waited for. It is never taken away: whoever holds it is still at work.
const LOCK_PATIENCE: Duration = Duration::from_mins(2);

/// Why an operation did not come to its end.
pub(super) enum Failed {
    /// The API said so.
    Api(ApiError),
    /// The guest is not where it was found: nothing was done.
    Gone(Box<Outcome>),
    /// An outcome that is already told.
    Told(Box<Outcome>),
}

/// An outcome as the way out.
pub(super) fn told(outcome: Outcome) -> Failed {
    Failed::Told(Box::new(outcome))
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl Failed {
    /// For people, with what to do next.
    pub fn outcome(self, target: &Target) -> Outcome {
        match self {
            Self::Told(outcome) | Self::Gone(outcome) => *outcome,
            Self::Api(error) => {
                let acted = error.may_have_acted();
                let mut outcome = Outcome::of_error(&error);
                let plainly = error.plainly();
                if !plainly.is_empty() {
                    outcome.summary = format!("{plainly}: {}", outcome.summary);
                }
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

/// A task was set going and its end was not seen, for this reason.
pub(super) fn out_of_sight(what: &str, upid: &Upid, error: &ApiError) -> Failed {
    let why = format!("{what}: how Proxmox's task {upid} ended was not seen: {}", chain(error));
    let help = format!("`remotectl run node.tasks node/{}` tells when Proxmox answers again", upid.node());
    told(Outcome { ending: Ending::Unknown, ..Outcome::failure(why) }.with_help(help))
}

/// A guest where it is now.
pub(super) struct Guest<'a> {
    pub client: &'a Client,
    pub kind: GuestKind,
    pub vmid: Vmid,
    pub node: String,
    pub before: Current,
}

impl<'a> Guest<'a> {
    /// Finds it, wherever it has moved to.
    pub fn find(client: &'a Client, kind: GuestKind, vmid: Vmid) -> Result<Self, Failed> {
        let lines: Vec<Resource> = client.ask(&cluster::guests())?;
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
        // Between the listing and this look it may have gone elsewhere.
        guest.before = guest.current().map_err(|error| guest.refused("looking at it", error))?;
        Ok(guest)
    }

    /// Where it is, for requests.
    pub fn place(&self) -> Place<'_> {
        Place { node: &self.node, kind: self.kind, vmid: self.vmid }
    }

    /// Its state as of now.
    pub fn current(&self) -> Result<Current, ApiError> {
        self.client.ask(&guests::current(&self.place()))
    }

    /// Its state as of now, also where the HA manager has put it on another node meanwhile.
    fn wherever(&self) -> Result<Current, Failed> {
        match self.current().map_err(|error| self.refused("looking at it", error)) {
            Err(Failed::Gone(_)) => Ok(Self::find(self.client, self.kind, self.vmid)?.before),
            looked => looked,
        }
    }

    /// Its configuration as of now.
    pub fn config(&self) -> Result<Config, ApiError> {
        self.client.ask(&guests::config(&self.place()))
    }

    pub fn target(&self) -> Target {
        Target::guest(self.kind, self.vmid)
    }

    /// `ct/101 web`, for messages.
    pub fn label(&self) -> String {
        one_line(&format!("{} {}", self.target(), self.before.name), 80)
    }

    /// Waits, not for ever, until nobody else holds a lock on it.
    pub fn unlocked(&mut self, task: &Task) -> Result<(), Failed> {
        let mut pace = Pace::new(&Task { timeout: LOCK_PATIENCE.min(task.timeout), ..task.clone() });
        let mut said = false;
        while let Some(held) = self.before.lock.clone() {
            if !said {
                task.report.progress(&format!("{} is locked ({}): waiting", self.label(), one_line(&held, 30)));
                said = true;
            }
            match pace.wait() {
                Wait::Again => {
                    self.before = self.current().map_err(|error| self.refused("waiting for it", error))?;
                }
                Wait::Cancelled => {
                    let outcome = Outcome::failure(format!("cancelled while {} was locked", self.label()));
                    return Err(told(Outcome { ending: Ending::Cancelled, ..outcome }));
                }
                Wait::TimeUp => {
                    let outcome = Outcome::failure(format!("{} is locked ({})", self.label(), one_line(&held, 30)));
                    return Err(told(outcome.with_help(self.lock_help())));
                }
            }
        }
        Ok(())
    }

    fn lock_help(&self) -> String {
        format!("wait until that is over: `remotectl run node.tasks node/{}`", self.node)
    }

    /// Sends a request that sets a task going, and follows the task. `what` is the word for people: `start`.
    pub fn carry_out(&self, what: &str, call: &Call, task: &Task) -> Result<Upid, Failed> {
        let by_ha = call.tasks().iter().any(|kind| kind.starts_with("ha"));
        if by_ha && self.before.ha.given_up() {
            return Err(told(Outcome::rejected(self.given_up()).with_help(self.ha_help())));
        }
        let intent = Intent::of(call, &self.node, Some(self.vmid));
        let upid = intent.send(self.client, call, task).map_err(|error| self.refused(what, error))?;
        self.follow(what, &upid, task)
    }

    /// Follows a task of ours to its end.
    pub fn follow(&self, what: &str, upid: &Upid, task: &Task) -> Result<Upid, Failed> {
        match follow(self.client, upid, task).map_err(|error| out_of_sight(what, upid, &error))? {
            Followed::Done { warnings } => {
                if warnings > 0 {
                    task.report.progress(&format!("Proxmox warns: {warnings} in the log of {upid}"));
                }
                Ok(upid.clone())
            }
            Followed::Failed(why) => Err(self.failed(what, &why)),
            Followed::Cancelled => Err(told(Outcome {
                ending: Ending::Cancelled,
                ..Outcome::failure(format!("cancelled; Proxmox's task was aborted, {} is {}", self.label(), self.now()))
            })),
            Followed::StillRunning => Err(told(still_running(what, upid))),
        }
    }

    /// A request that was refused at once.
    pub fn refused(&self, what: &str, error: ApiError) -> Failed {
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
        if why.contains("Configuration file") && why.contains("does not exist") {
            let outcome = Outcome::failure(format!("{what} of {}: it is not on {} any more", self.label(), self.node));
            return Some(Failed::Gone(Box::new(outcome.with_help("`remotectl guests` shows where it is"))));
        }
        let failed = |why: &str| Outcome::failure(format!("{what} of {}: {why}", self.label()));
        if no_quorum(why) {
            let why = format!("the cluster has no quorum, nothing was changed ({why})");
            return Some(told(failed(&why).with_help(NO_QUORUM)));
        }
        why.contains("is locked").then(|| told(failed(why).with_help(self.lock_help())))
    }

    /// The state for an error message, `in an unknown state` where even that can't be read.
    pub fn now(&self) -> String {
        self.current().map_or_else(|_| "in an unknown state".to_owned(), |now| state(&now))
    }

    /// Waits until the guest is seen in a state. Without HA that is at the first look: the task has ended.
    pub fn await_state(&self, task: &Task, reached: impl Fn(&Current) -> bool) -> Result<Current, Failed> {
        let mut pace =
            Pace::new(&Task { timeout: if self.before.ha.managed { HA_GRACE } else { MARGIN }, ..task.clone() });
        if self.before.ha.managed {
            task.report.progress("requested from the HA manager");
        }
        loop {
            let now = self.wherever()?;
            if reached(&now) {
                return Ok(now);
            }
            if now.ha.given_up() {
                return Err(told(Outcome::failure(self.given_up()).with_help(self.ha_help())));
            }
            if pace.wait() != Wait::Again {
                let (label, state) = (self.label(), state(&now));
                let why = match now.ha.state.as_deref().filter(|_| now.ha.managed) {
                    Some(word) => format!(
                        "the HA manager was asked and has not done it yet: {label} is {state} (HA: {})",
                        one_line(word, 30)
                    ),
                    None => format!("Proxmox's task succeeded, but {label} is {state}"),
                };
                let help = format!("`remotectl run guest.status {}` shows it again", self.target());
                return Err(told(Outcome::failure(why).with_help(help)));
            }
        }
    }

    /// The HA manager does nothing with a guest in this state, whatever is asked of it.
    fn given_up(&self) -> String {
        format!("the HA manager has given up on {}: its state there is `error`", self.label())
    }

    fn ha_help(&self) -> String {
        let sid = format!("{}:{}", self.kind, self.vmid);
        format!("mend what keeps it from running, then `ha-manager set {sid} --state disabled` on a node, and start it")
    }

    /// What was seen in the end.
    pub fn seen(&self, summary: &str, now: &Current, upid: Option<&Upid>) -> Outcome {
        Outcome::success(summary).with_data(json!({
            "status": now.status, "uptime": now.uptime, "pid": now.pid, "node": self.node,
            "task": upid.map_or(Value::Null, |upid| Value::from(upid.as_str())), "ha": now.ha.managed,
        }))
    }

    /// Refused before anything was done.
    pub fn reject(&self, why: &str, help: String) -> Failed {
        told(Outcome::rejected(format!("{} {why}", self.label())).with_help(help))
    }
}

/// A task that goes on without us.
pub(super) fn still_running(what: &str, upid: &Upid) -> Outcome {
    let outcome = Outcome::failure(format!("{what} takes longer than allowed and still runs in Proxmox as {upid}"));
    let help = format!("`remotectl run node.tasks node/{}` shows how it ends", upid.node());
    Outcome { ending: Ending::TimedOut, ..outcome }.with_help(help)
}

/// `running since 17 s`, `stopped`, `paused`.
pub(super) fn state(now: &Current) -> String {
    match now.qmpstatus.as_deref() {
        Some("paused") if now.running() => "paused".to_owned(),
        _ if now.running() => format!("running since {}", nodes::span(now.uptime)),
        _ => one_line(&now.status, 30),
    }
}
