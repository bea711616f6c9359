//! The agent into a guest: preflight, probe, stage, route, install, attest, finish, tidy; every failure takes all of it
//! back and says at which step, why, and that nothing was left, after having looked. What a step needs of those before it
//! is on record with them, so that another process can go on.

use super::{
    answers::{HubReach, Installed, Reach},
    probe::{self, Probe},
    saga::{Broken, Running, SagaLog, Step, StepError, Subject, Took},
    staging::{Executable, Staged, explained, go_on, left, refused, settle},
    transport::{Copying, GuestState, SHORT, Transport, TransportError},
};
use crate::{
    model::{
        Outcome, Target,
        facts::Facts,
        inventory::Os,
        outcome::{Ending, Report, chain},
    },
    sys::{cancel::Cancel, process::Finished, random, task::Task, text::one_line},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// How long the new agent may take to have its first poll answered, in seconds.
const FIRST_POLL: u64 = 20;
/// How long it is until what changes by itself is looked at again.
const AGAIN: Duration = Duration::from_millis(500);
/// The executable of an installed agent, whose name says its role: takes the agent away where the staged one is gone.
const INSTALLED: &str = "/opt/remotectl/agent";

/// What is deployed where.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    /// The command's id: the saga's rows go by it.
    pub command: &'a str,
    /// Into which guest.
    pub target: &'a Target,
    /// The executable.
    pub executable: Executable<'a>,
    /// The hub's addresses, best first: `10.0.0.5:8443`.
    pub hubs: &'a [String],
    /// A join string without a token: by what the new agent knows the hub.
    pub join: &'a str,
    /// Whether somebody still waits for it: one that was interrupted is taken back otherwise.
    pub wanted: bool,
    /// For what is waited, and how long.
    pub patience: Patience,
}

/// How long a deployment waits for what changes by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    /// For a lock that somebody else holds on the guest. It is never taken away: whoever holds it is still at work.
    pub lock: Duration,
    /// For the network of a guest that was started a moment ago.
    pub network: Duration,
}

/// Registers at the hub what the guest has made: supplied by the pve-agent, which alone can vouch for its guests.
pub trait Attest: Sync {
    /// Registers an agent's public key for the target, with what the node knows of the guest.
    fn attest(&self, target: &Target, installed: &Installed, facts: &Facts) -> Result<(), String>;

    /// The hub's executable for an architecture, verified and on this node; `None` where it holds none.
    fn executable(&self, _arch: &str) -> Result<Option<PathBuf>, String> {
        Ok(None)
    }

    /// Takes a registration back whose agent never answered.
    fn withdraw(&self, target: &Target, installed: &Installed) -> Result<(), String>;
}

/// What is on record with the rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// The staged executable's directory, in whichever place of the guest there is room.
    name: String,
    /// Its path, once it has been made.
    directory: Option<String>,
    macs: Vec<String>,
    os: Os,
    arch: String,
    init: String,
    reached: Vec<HubReach>,
    installed: Option<Installed>,
    attested: bool,
    /// Whether the guest was changed at all: before that nothing can have been left.
    touched: bool,
}

struct Context<'a> {
    deployment: Deployment<'a>,
    transport: &'a dyn Transport,
    attest: &'a dyn Attest,
    target: String,
    cancel: Cancel,
    report: &'a dyn Report,
    probe: Option<Probe>,
    /// The hub's executable, where the guest can't run this node's own.
    fetched: Option<PathBuf>,
    kept: Kept,
}

/// Deploys the agent into one guest. A deployment that is on record is gone on with, or taken back; the outcome of one
/// that has ended is told again.
pub fn deploy(
    deployment: Deployment,
    transport: &dyn Transport,
    attest: &dyn Attest,
    log: &dyn SagaLog,
    task: &Task,
) -> Outcome {
    let saga = match log.read(deployment.command) {
        Ok(saga) => saga.unwrap_or_default(),
        Err(error) => return Outcome::of_error(&error).with_help("`remotectl doctor` on the node looks further"),
    };
    if let Some(outcome) = saga.outcome {
        return outcome;
    }
    let kept: Kept = serde_json::from_value(saga.kept).unwrap_or_default();
    let fresh = || Kept { name: format!(".remotectl-{}", random::name(16).to_ascii_lowercase()), ..Kept::default() };
    let mut context = Context {
        deployment,
        transport,
        attest,
        target: deployment.target.to_string(),
        cancel: task.cancel.clone(),
        report: task.report,
        probe: None,
        fetched: None,
        kept: if kept.name.is_empty() { fresh() } else { kept },
    };
    let running = Running { command: deployment.command, log, report: task.report, wanted: deployment.wanted };
    let outcome = match running.run(&steps(), &mut context) {
        Ok(took) => context.succeeded(&took),
        Err(broken) => context.failed(broken),
    };
    running.end(&context, &outcome);
    outcome
}

fn steps<'a>() -> [Step<Context<'a>>; 8] {
    [
        Step { name: "preflight", act: Context::preflight, undo: None },
        Step { name: "probe", act: Context::look, undo: None },
        Step { name: "staging", act: Context::stage, undo: Some(Context::unstage) },
        Step { name: "route", act: Context::route, undo: None },
        Step { name: "install", act: Context::install, undo: Some(Context::uninstall) },
        Step { name: "attest", act: Context::register, undo: Some(Context::unregister) },
        Step { name: "finish", act: Context::finish, undo: None },
        Step { name: "tidy", act: |context| Ok(context.tidy()), undo: None },
    ]
}

impl Subject for Context<'_> {
    fn keep(&self) -> serde_json::Value {
        serde_json::to_value(&self.kept).unwrap_or_default()
    }

    fn touched(&self) -> bool {
        self.kept.touched
    }

    fn settle(&mut self) {
        settle(self.transport, &self.kept.name);
    }
}

impl Context<'_> {
    fn preflight(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let target = &self.target;
        let state = self.unlocked().map_err(|error| rejected(explained(&error, target)))?;
        if state.template {
            let help = format!("a guest made of it can have one: `remotectl run guest.clone {target} name=NAME`");
            return Err(StepError::rejected(format!("{target} is a template"), help));
        }
        if let Some(lock) = &state.lock {
            let help = format!("wait until that is over, then again: `remotectl deploy {target}`");
            let waited = match self.deployment.patience.lock.as_secs() {
                0 => String::new(),
                seconds => format!(" for longer than {seconds} s"),
            };
            return Err(StepError::rejected(format!("{target} is locked ({lock}){waited}"), help));
        }
        if state.status != "running" {
            let help = format!("`remotectl deploy {target} --start` starts it first");
            return Err(StepError::rejected(format!("{target} is {}", state.status), help));
        }
        self.kept.macs = state.macs;
        Ok(String::new())
    }

    /// What the hypervisor says of the guest, once nobody else holds it, or when that takes too long.
    fn unlocked(&self) -> Result<GuestState, TransportError> {
        let deadline = Instant::now() + self.deployment.patience.lock;
        let mut told = false;
        loop {
            let state = self.transport.state()?;
            let Some(lock) = &state.lock else { return Ok(state) };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.cancel.fired() {
                return Ok(state);
            }
            if !std::mem::replace(&mut told, true) {
                self.report.progress(&format!("{} is locked ({lock}): waiting", self.target));
            }
            self.cancel.wait(left.min(AGAIN));
        }
    }

    fn look(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let target = &self.target;
        let probe = Probe::of(self.transport, &self.cancel).map_err(|error| explained(&error, target))?;
        if !probe.there.is_empty() {
            let version = probe.agent.as_deref().unwrap_or("of an unknown version");
            let why = format!("an agent is there already ({version}: {})", probe.there.join(", "));
            let help =
                format!("`remotectl remove {target}` takes it away; `remotectl agents` shows it, where it is ours");
            return Err(StepError::rejected(why, help));
        }
        if !probe.supported() {
            let why = format!("{} is nothing that an agent could be put into", one_line(&probe.system(), 60));
            return Err(StepError::rejected(why, "agents are for Linux systems that keep what is installed in them"));
        }
        self.choose(&probe)?;
        if !probe.root {
            return Err(StepError::rejected("programs do not run as root there", "an agent needs root in its guest"));
        }
        if probe.init.is_empty() {
            let why = format!("its process 1 is `{}`: nothing that an agent could be a service of", probe.pid1);
            return Err(StepError::rejected(
                why,
                "one-shot operations work without a service: `remotectl ask` all the same",
            ));
        }
        let os = probe.os.label();
        let os = if os.is_empty() { "an unknown system".to_owned() } else { one_line(&os, 60) };
        let line = format!("{os}, {}, {}", probe.arch, probe.init);
        (self.kept.os, self.kept.arch, self.kept.init) = (probe.os.clone(), probe.arch.clone(), probe.init.clone());
        self.probe = Some(probe);
        Ok(line)
    }

    /// What the guest can run: this node's own executable, else the hub's for it.
    fn choose(&mut self, probe: &Probe) -> Result<(), StepError> {
        if self.deployment.executable.fits(probe).is_err() {
            self.fetched = self.attest.executable(&probe.arch).map_err(|why| {
                let why = format!("fetching the executable for {}: {}", one_line(&probe.arch, 30), one_line(&why, 200));
                StepError::new(why, "`remotectl hub artifact list` shows what the hub holds")
            })?;
        }
        if self.fetched.is_some() { Ok(()) } else { self.deployment.executable.fits(probe) }
    }

    fn stage(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let target = &self.target;
        let probe = if let Some(probe) = self.probe.take() {
            probe
        } else {
            // Looked at by a process before this one.
            let probe = Probe::of(self.transport, &self.cancel).map_err(|error| explained(&error, target))?;
            self.choose(&probe)?;
            probe
        };
        let target = &self.target;
        let executable = self.deployment.executable.or(self.fetched.as_deref());
        let bytes = executable.bytes()?;
        let place = probe.home(bytes).and_then(|()| probe.room(bytes)).map_err(|why| {
            let help = if why.contains("no space") { "free space on" } else { "something has to be writable in" };
            StepError::new(why, format!("{help} {target}, then again: `remotectl deploy {target}`"))
        })?;
        self.kept.touched = true;
        let directory = probe::in_place(place.path, &self.kept.name);
        let copying = Copying { cancel: &self.cancel, report: self.report };
        let staged = executable.stage(self.transport, &directory, &copying);
        staged.map_err(|error| explained(&error, target))?;
        self.kept.directory = Some(directory);
        Ok(format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000))
    }

    /// Where it would be is known even where nobody has noted that it is: the name was on record before.
    fn unstage(&mut self) -> Result<(), String> {
        self.kept.directory = None;
        Staged::remove(self.transport, &self.directories())
    }

    fn directories(&self) -> Vec<String> {
        probe::in_places(&self.kept.name)
    }

    fn route(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let deadline = Instant::now() + self.deployment.patience.network;
        // It may only choose among the addresses that it was given.
        let known = |hub: &HubReach| self.deployment.hubs.contains(&hub.address);
        let reach = loop {
            let reach = self.tried()?;
            self.kept.reached = reach.hubs.iter().filter(|hub| hub.reached && known(hub)).cloned().collect();
            if !self.kept.reached.is_empty() || Instant::now() >= deadline || self.cancel.wait(AGAIN) {
                break reach;
            }
        };
        self.go_on()?;
        if self.kept.reached.is_empty() {
            let why = |hub: &HubReach| {
                one_line(&format!("{}: {}", hub.address, hub.why.as_deref().unwrap_or("no answer")), 120)
            };
            let tried: Vec<String> = reach.hubs.iter().filter(|hub| known(hub)).map(why).collect();
            let why = format!("it reaches the hub at none of its addresses ({})", tried.join("; "));
            return Err(StepError::new(
                why,
                "give the hub an address that the guest can reach: `remotectl hub serve --advertise HOST:PORT`",
            ));
        }
        Ok(format!("direct to {}", self.kept.reached[0].address))
    }

    /// The hub's addresses, tried from inside.
    fn tried(&self) -> Result<Reach, StepError> {
        let mut args = vec!["agent", "probe", "--json"];
        args.extend(self.deployment.hubs.iter().flat_map(|hub| ["--hub", hub.as_str()]));
        let finished = self.call(&args, SHORT)?;
        serde_json::from_slice(&finished.stdout).map_err(|_| refused(&finished, &self.target))
    }

    fn install(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let mut args = vec!["agent", "install", "--no-start", "--json", "--join", self.deployment.join];
        // The addresses that it reaches come first, the others stay known: networks change.
        args.extend(self.kept.reached.iter().flat_map(|hub| ["--hub", hub.address.as_str()]));
        let finished = self.call(&args, SHORT * 2)?;
        let parsed: Result<Installed, _> = serde_json::from_slice(&finished.stdout);
        let (Ok(installed), true) = (parsed, finished.success()) else {
            return Err(refused(&finished, &self.target));
        };
        let line = format!("{}, enabled at boot", one_line(&installed.init, 30));
        self.kept.installed = Some(installed);
        Ok(line)
    }

    /// Also where the installation stopped half-way; with `--purge` it is content with whatever is there.
    fn uninstall(&mut self) -> Result<(), String> {
        self.kept.installed = None;
        let Some(directory) = &self.kept.directory else { return Ok(()) };
        let staged = Staged::in_directory(directory);
        let run = |program: &[&str]| {
            let args = [program, &["uninstall", "--purge"]].concat();
            Staged::call(self.transport, &args, SHORT * 2, &Cancel::new())
        };
        let finished = match run(&[&staged.program(), "agent"]) {
            // Its place may have been in memory, and the guest started anew.
            Err(TransportError::NotFound(_)) => match run(&[INSTALLED]) {
                Err(TransportError::NotFound(_)) if left(self.transport, &[])?.is_empty() => return Ok(()),
                Err(TransportError::NotFound(_)) => {
                    Staged::remove(self.transport, &[directory])?;
                    let never = Cancel::new();
                    let copying = Copying { cancel: &never, report: self.report };
                    let again = self.deployment.executable.or(self.fetched.as_deref()).stage(
                        self.transport,
                        directory,
                        &copying,
                    );
                    again.and_then(|again| run(&[&again.program(), "agent"]))
                }
                finished => finished,
            },
            finished => finished,
        };
        let finished = finished.map_err(|error| chain(&error))?;
        if finished.success() { Ok(()) } else { Err(refused(&finished, &self.target).why) }
    }

    fn register(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let Kept { os, init, arch, macs, installed, .. } = self.kept.clone();
        let Some(installed) = &installed else { return Err(StepError::new("nothing is installed", "try again")) };
        let facts = Facts { os, init, arch, macs, ..Facts::default() };
        // From here on it may be registered, whatever the answer.
        self.kept.attested = true;
        let attested = self.attest.attest(self.deployment.target, installed, &facts);
        attested.map_err(|why| StepError::new(one_line(&why, 300), "is the hub well? `remotectl agents`"))?;
        Ok(String::new())
    }

    fn unregister(&mut self) -> Result<(), String> {
        // What was interrupted may have registered it as well.
        self.kept.attested = false;
        let Some(installed) = &self.kept.installed else { return Ok(()) };
        self.attest.withdraw(self.deployment.target, installed)
    }

    fn finish(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let wait = FIRST_POLL.to_string();
        let time = Duration::from_secs(FIRST_POLL) + SHORT;
        let finished = self.call(&["agent", "install", "--finish", "--wait", &wait, "--json"], time)?;
        if !finished.success() {
            return Err(refused(&finished, &self.target));
        }
        Ok("the agent answers".to_owned())
    }

    /// The agent runs: what can't be cleaned up is told, and is no reason to take it out again.
    fn tidy(&self) -> String {
        Staged::remove(self.transport, &self.directories()).err().unwrap_or_default()
    }

    /// Runs the staged executable.
    fn call(&self, args: &[&str], timeout: Duration) -> Result<Finished, StepError> {
        let Some(directory) = &self.kept.directory else {
            return Err(StepError::new("nothing is staged", "try again"));
        };
        let program = Staged::in_directory(directory).program();
        let words = [&[program.as_str()], args].concat();
        let finished = Staged::call(self.transport, &words, timeout, &self.cancel);
        let finished = finished.map_err(|error| explained(&error, &self.target))?;
        self.go_on()?;
        Ok(finished)
    }

    fn go_on(&self) -> Result<(), StepError> {
        go_on(&self.cancel, &self.target)
    }

    fn succeeded(&self, took: &[Took]) -> Outcome {
        let Kept { installed, reached, init, os, arch, .. } = self.kept.clone();
        let installed = installed.unwrap_or_default();
        let address = reached.first().map_or("", |hub| hub.address.as_str());
        Outcome::success(format!("{init}, direct")).with_data(json!({
            "agent_id": one_line(&installed.agent_id, 100), "version": one_line(&installed.version, 60),
            "init": init, "os": os, "arch": arch,
            "route": "direct", "hub": address, "transport": self.transport.name(), "steps": took,
        }))
    }

    /// Says at which step and why, and what was left: after having looked.
    fn failed(&self, broken: Broken) -> Outcome {
        let Broken { step, error, stuck } = broken;
        let mut remains = stuck;
        let touched = self.kept.touched;
        let traces = match left(self.transport, &self.directories()) {
            _ if !touched => "nothing was changed".to_owned(),
            Ok(found) => {
                remains.extend(found);
                "nothing was left behind".to_owned()
            }
            Err(why) => {
                remains.push(format!("what is left could not be looked up: {why}"));
                String::new()
            }
        };
        let traces =
            if remains.is_empty() || !touched { traces } else { format!("left behind: {}", remains.join("; ")) };
        let summary = format!("{step}: {}; {traces}", error.why);
        let data = json!({"step": step, "left": remains});
        Outcome { ending: error.ending, ..Outcome::failure(summary).with_data(data) }.with_help(error.help)
    }
}

/// The same, refused before anything was done.
fn rejected(error: StepError) -> StepError {
    StepError { ending: Ending::Rejected, ..error }
}

#[cfg(test)]
#[path = "deploy_tests.rs"]
mod tests;
