//! The agent into a guest: preflight, probe, stage, route, install, attest, finish; every failure takes all of it back and
//! says at which step, why, and that nothing was left, after having looked.

use super::{
    answers::{HubReach, Installed, Reach},
    probe::Probe,
    saga::{Broken, SagaLog, Step, StepError, Took, run},
    staging::{Executable, Staged, explained, left, refused},
    transport::{SHORT, Transport},
};
use crate::{
    model::{
        Outcome, Target,
        facts::Facts,
        outcome::{Ending, chain},
    },
    sys::{cancel::Cancel, task::Task, text::one_line},
};
use serde_json::json;
use std::time::Duration;

/// How long the new agent may take to have its first poll answered, in seconds.
const FIRST_POLL: u64 = 20;

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
}

/// Registers at the hub what the guest has made: supplied by the pve-agent, which alone can vouch for its guests.
pub trait Attest: Sync {
    /// Registers an agent's public key for the target, with what the node knows of the guest.
    fn attest(&self, target: &Target, installed: &Installed, facts: &Facts) -> Result<(), String>;

    /// Takes a registration back whose agent never answered.
    fn withdraw(&self, target: &Target, installed: &Installed) -> Result<(), String>;
}

struct Context<'a> {
    deployment: Deployment<'a>,
    transport: &'a dyn Transport,
    attest: &'a dyn Attest,
    target: String,
    cancel: Cancel,
    macs: Vec<String>,
    probe: Probe,
    staged: Option<Staged>,
    reached: Vec<HubReach>,
    installed: Option<Installed>,
    attested: bool,
    /// Whether the guest was reached into at all: before that nothing can have been left.
    touched: bool,
    /// Directories that were made in the guest.
    made: Vec<String>,
}

/// Deploys the agent into one guest.
pub fn deploy(
    deployment: Deployment,
    transport: &dyn Transport,
    attest: &dyn Attest,
    log: &dyn SagaLog,
    task: &Task,
) -> Outcome {
    let mut context = Context {
        deployment,
        transport,
        attest,
        target: deployment.target.to_string(),
        cancel: task.cancel.clone(),
        macs: Vec::new(),
        probe: Probe::default(),
        staged: None,
        reached: Vec::new(),
        installed: None,
        attested: false,
        touched: false,
        made: Vec::new(),
    };
    match run(deployment.command, log, &steps(), &mut context, task.report) {
        Ok(took) => context.succeeded(&took),
        Err(broken) => context.failed(broken),
    }
}

fn steps<'a>() -> [Step<Context<'a>>; 7] {
    [
        Step { name: "preflight", act: Context::preflight, undo: None },
        Step { name: "probe", act: Context::look, undo: None },
        Step { name: "staging", act: Context::stage, undo: Some(Context::unstage) },
        Step { name: "route", act: Context::route, undo: None },
        Step { name: "install", act: Context::install, undo: Some(Context::uninstall) },
        Step { name: "attest", act: Context::register, undo: Some(Context::unregister) },
        Step { name: "finish", act: Context::finish, undo: None },
    ]
}

impl Context<'_> {
    fn preflight(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let target = &self.target;
        let state = self.transport.state().map_err(|error| rejected(explained(&error, target)))?;
        if state.template {
            let help = format!("a guest made of it can have one: `remotectl run guest.clone {target} name=NAME`");
            return Err(StepError::rejected(format!("{target} is a template"), help));
        }
        if let Some(lock) = &state.lock {
            let help = format!("wait until that is over, then again: `remotectl deploy {target}`");
            return Err(StepError::rejected(format!("{target} is locked ({lock})"), help));
        }
        if state.status != "running" {
            let help = format!("`remotectl run guest.start {target}`, then again");
            return Err(StepError::rejected(format!("{target} is {}", state.status), help));
        }
        self.macs = state.macs;
        Ok(String::new())
    }

    fn look(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let target = &self.target;
        self.probe = Probe::of(self.transport, &self.cancel).map_err(|error| explained(&error, target))?;
        let probe = &self.probe;
        if !probe.there.is_empty() {
            let version = probe.agent.as_deref().unwrap_or("of an unknown version");
            let why = format!("an agent is there already ({version}: {})", probe.there.join(", "));
            let help =
                format!("`remotectl remove {target}` takes it away; `remotectl agents` shows it, where it is ours");
            return Err(StepError::rejected(why, help));
        }
        self.deployment.executable.fits(probe)?;
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
        Ok(format!("{os}, {}, {}", probe.arch, probe.init))
    }

    fn stage(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let target = &self.target;
        let bytes = self.deployment.executable.bytes()?;
        let place = self.probe.home(bytes).and_then(|()| self.probe.room(bytes)).map_err(|why| {
            let help = if why.contains("no space") { "free space on" } else { "something has to be writable in" };
            StepError::new(why, format!("{help} {target}, then again: `remotectl deploy {target}`"))
        })?;
        self.touched = true;
        let staged = self.deployment.executable.stage(self.transport, place.path, &self.cancel);
        let staged = staged.map_err(|error| explained(&error, target))?;
        self.made.push(staged.directory().to_owned());
        self.staged = Some(staged);
        Ok(format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000))
    }

    fn unstage(&mut self) -> Result<(), String> {
        self.staged.take().map_or(Ok(()), |staged| staged.remove(self.transport))
    }

    fn route(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let mut args = vec!["agent", "probe", "--json"];
        args.extend(self.deployment.hubs.iter().flat_map(|hub| ["--hub", hub.as_str()]));
        let finished = self.call(&args, SHORT)?;
        let reach: Reach = serde_json::from_slice(&finished.stdout).map_err(|_| refused(&finished, &self.target))?;
        // It may only choose among the addresses that it was given.
        let known = |hub: &HubReach| self.deployment.hubs.contains(&hub.address);
        self.reached = reach.hubs.iter().filter(|hub| hub.reached && known(hub)).cloned().collect();
        if self.reached.is_empty() {
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
        Ok(format!("direct to {}", self.reached[0].address))
    }

    fn install(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let mut args = vec!["agent", "install", "--no-start", "--json", "--join", self.deployment.join];
        // The addresses that it reaches come first, the others stay known: networks change.
        args.extend(self.reached.iter().flat_map(|hub| ["--hub", hub.address.as_str()]));
        let finished = self.call(&args, SHORT * 2)?;
        let parsed: Result<Installed, _> = serde_json::from_slice(&finished.stdout);
        let (Ok(installed), true) = (parsed, finished.success()) else {
            return Err(refused(&finished, &self.target));
        };
        let line = format!("{}, enabled at boot", one_line(&installed.init, 30));
        self.installed = Some(installed);
        Ok(line)
    }

    /// Also where the installation stopped half-way; with `--purge` it is content with whatever is there.
    fn uninstall(&mut self) -> Result<(), String> {
        self.installed = None;
        let Some(staged) = &self.staged else { return Ok(()) };
        let finished = staged
            .run(self.transport, &["agent", "uninstall", "--purge"], SHORT * 2, &Cancel::new())
            .map_err(|error| chain(&error))?;
        if finished.success() { Ok(()) } else { Err(refused(&finished, &self.target).why) }
    }

    fn register(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let Some(installed) = &self.installed else { return Err(StepError::new("nothing is installed", "try again")) };
        let facts = Facts {
            os: self.probe.os.clone(),
            init: self.probe.init.clone(),
            arch: self.probe.arch.clone(),
            macs: self.macs.clone(),
            ..Facts::default()
        };
        // From here on it may be registered, whatever the answer.
        self.attested = true;
        let attested = self.attest.attest(self.deployment.target, installed, &facts);
        attested.map_err(|why| StepError::new(one_line(&why, 300), "is the hub well? `remotectl agents`"))?;
        Ok(String::new())
    }

    fn unregister(&mut self) -> Result<(), String> {
        let (Some(installed), true) = (&self.installed, std::mem::take(&mut self.attested)) else { return Ok(()) };
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
        if let Some(staged) = self.staged.take() {
            // The agent runs: what could not be cleaned up is told, and is no reason to take it out again.
            if let Err(why) = staged.remove(self.transport) {
                return Ok(format!("the agent answers, but {why}"));
            }
        }
        Ok("the agent answers".to_owned())
    }

    /// Runs the staged executable.
    fn call(&self, args: &[&str], timeout: Duration) -> Result<crate::sys::process::Finished, StepError> {
        let Some(staged) = &self.staged else { return Err(StepError::new("nothing is staged", "try again")) };
        let finished = staged.run(self.transport, args, timeout, &self.cancel);
        let finished = finished.map_err(|error| explained(&error, &self.target))?;
        self.go_on()?;
        Ok(finished)
    }

    fn go_on(&self) -> Result<(), StepError> {
        if !self.cancel.fired() {
            return Ok(());
        }
        let help = format!("`remotectl deploy {}` starts anew", self.target);
        Err(StepError { ending: Ending::Cancelled, ..StepError::new("cancelled", help) })
    }

    fn succeeded(self, took: &[Took]) -> Outcome {
        let installed = self.installed.unwrap_or_default();
        let address = self.reached.first().map_or("", |hub| hub.address.as_str());
        Outcome::success(format!("{}, direct", self.probe.init)).with_data(json!({
            "agent_id": one_line(&installed.agent_id, 100), "version": self.deployment.executable.version,
            "init": self.probe.init, "os": self.probe.os, "arch": self.probe.arch,
            "route": "direct", "hub": address, "transport": self.transport.name(), "steps": took,
        }))
    }

    /// Says at which step and why, and what was left: after having looked.
    fn failed(self, broken: Broken) -> Outcome {
        let Broken { step, error, stuck } = broken;
        let mut remains = stuck;
        let traces = match left(self.transport, &self.made) {
            _ if !self.touched => "nothing was changed".to_owned(),
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
            if remains.is_empty() || !self.touched { traces } else { format!("left behind: {}", remains.join("; ")) };
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
