//! The pve-agent onto another node of the cluster, and off it again: preflight, probe, stage, install, tidy. It joins by a
//! string of one use, which goes there over standard input and stands on no command line.

use super::{
    probe::{self, Probe},
    saga::{Broken, Running, SagaLog, Step, StepError, Subject, Took},
    staging::{Executable, Staged, explained, go_on, refused, settle, there},
    transport::{Copying, Exec, SHORT, Transport, TransportError},
};
use crate::{
    model::{Outcome, Target, outcome::chain},
    sys::{
        cancel::Cancel,
        process::{Finished, Input},
        random,
        task::Task,
        text::one_line,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// What a pve-agent puts onto a node, other roles aside.
const PLACES: &[&str] = &[
    "/opt/remotectl/pve-agent",
    "/etc/remotectl/pve-agent.toml",
    "/var/lib/remotectl/pve-agent",
    "/etc/systemd/system/remotectl-pve-agent.service",
    "/etc/systemd/system/multi-user.target.wants/remotectl-pve-agent.service",
];
/// An installed pve-agent's executable: its name says its role.
const INSTALLED: &str = "/opt/remotectl/pve-agent";
/// How long Proxmox may take for the credential, and the new pve-agent to have its first poll answered.
const INSTALLING: Duration = Duration::from_mins(2);

/// What is to be put onto which node.
#[derive(Debug, Clone, Copy)]
pub struct NodeDeployment<'a> {
    /// The command's id: the saga's rows go by it.
    pub command: &'a str,
    /// Onto which node.
    pub target: &'a Target,
    /// The executable.
    pub executable: Executable<'a>,
    /// A join string of one use.
    pub join: &'a str,
    /// Whether somebody still waits for it: one that was interrupted is taken back otherwise.
    pub wanted: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    name: String,
    directory: Option<String>,
    init: String,
    agent: Option<Standing>,
    touched: bool,
}

/// What `pve-agent install --json` prints.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Standing {
    agent: String,
    version: String,
}

struct Context<'a> {
    deployment: NodeDeployment<'a>,
    transport: &'a dyn Transport,
    cancel: Cancel,
    probe: Option<Probe>,
    kept: Kept,
}

/// Puts the pve-agent onto a node. One that is on record is gone on with, or taken back.
pub fn deploy_node(deployment: NodeDeployment, transport: &dyn Transport, log: &dyn SagaLog, task: &Task) -> Outcome {
    let saga = match log.read(deployment.command) {
        Ok(saga) => saga.unwrap_or_default(),
        Err(error) => return Outcome::of_error(&error).with_help("`remotectl doctor` on the node looks further"),
    };
    if let Some(outcome) = saga.outcome {
        return outcome;
    }
    let kept: Kept = serde_json::from_value(saga.kept).unwrap_or_default();
    let fresh = || Kept { name: format!(".remotectl-{}", random::name(16).to_ascii_lowercase()), ..Kept::default() };
    let kept = if kept.name.is_empty() { fresh() } else { kept };
    let mut context = Context { deployment, transport, cancel: task.cancel.clone(), probe: None, kept };
    let running = Running { command: deployment.command, log, report: task.report, wanted: deployment.wanted };
    let outcome = match running.run(&steps(), &mut context) {
        Ok(took) => context.succeeded(&took),
        Err(broken) => context.failed(broken),
    };
    running.end(&context, &outcome);
    outcome
}

fn steps<'a>() -> [Step<Context<'a>>; 5] {
    [
        Step { name: "preflight", act: Context::preflight, undo: None },
        Step { name: "probe", act: Context::look, undo: None },
        Step { name: "staging", act: Context::stage, undo: Some(Context::unstage) },
        Step { name: "install", act: Context::install, undo: Some(Context::uninstall) },
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
    /// Whether it answers, and is who it is taken for.
    fn preflight(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let target = self.deployment.target;
        let told = self.transport.exec(Exec::new(["hostname"]).cancel(&self.cancel)).map_err(|error| {
            let help = format!("`ssh root@{}` on a node that has a pve-agent shows more", name(target));
            StepError::rejected(chain(&error), help)
        })?;
        let told = told.stdout_text();
        let told = told.trim().split('.').next().unwrap_or_default();
        if told != name(target) {
            let why = format!("what answers there calls itself `{}`: a stranger", one_line(told, 60));
            return Err(StepError::rejected(why, "does the cluster have the right address for it? `pvecm status`"));
        }
        Ok(String::new())
    }

    fn look(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let target = self.deployment.target.to_string();
        let found = there(self.transport, PLACES).map_err(|why| StepError::rejected(why, "try again"))?;
        if !found.is_empty() {
            let why = format!("a pve-agent is there already ({})", found.join(", "));
            return Err(StepError::rejected(why, format!("`remotectl remove {target}` takes it away")));
        }
        let version = self.transport.exec(Exec::new(["pveversion"]).cancel(&self.cancel));
        if !version.is_ok_and(|version| version.success()) {
            let why = "it is no Proxmox VE node: `pveversion` does not run there";
            return Err(StepError::rejected(why, "`remotectl hub join-token` is for other machines"));
        }
        let probe = Probe::of(self.transport, &self.cancel).map_err(|error| explained(&error, &target))?;
        self.deployment.executable.fits(&probe)?;
        let line = format!("{}, {}, {}", one_line(&probe.os.label(), 60), probe.arch, probe.init);
        self.kept.init.clone_from(&probe.init);
        self.probe = Some(probe);
        Ok(line)
    }

    fn stage(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let target = self.deployment.target.to_string();
        let bytes = self.deployment.executable.bytes()?;
        let probe = match self.probe.take() {
            Some(probe) => probe,
            // Looked at by a process before this one.
            None => Probe::of(self.transport, &self.cancel).map_err(|error| explained(&error, &target))?,
        };
        let place = probe.home(bytes).and_then(|()| probe.room(bytes));
        let place = place.map_err(|why| StepError::new(why, format!("free space on {target}, then again")))?;
        self.kept.touched = true;
        let directory = probe::in_place(place.path, &self.kept.name);
        let staged = self.deployment.executable.stage(self.transport, &directory, &Copying::quietly(&self.cancel));
        staged.map_err(|error| explained(&error, &target))?;
        self.kept.directory = Some(directory);
        Ok(format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000))
    }

    fn unstage(&mut self) -> Result<(), String> {
        self.kept.directory = None;
        Staged::remove(self.transport, &probe::in_places(&self.kept.name))
    }

    fn install(&mut self) -> Result<String, StepError> {
        self.go_on()?;
        let target = self.deployment.target.to_string();
        let Some(directory) = &self.kept.directory else {
            return Err(StepError::new("nothing is staged", "try again"));
        };
        let program = Staged::in_directory(directory).program();
        let join = format!("{}\n", self.deployment.join).into_bytes();
        let exec = Exec::new([program.as_str(), "pve-agent", "install", "--join", "-", "--json"])
            .input(Input::Bytes(join))
            .timeout(INSTALLING)
            .cancel(&self.cancel);
        let finished = self.transport.exec(exec).map_err(|error| explained(&error, &target))?;
        self.go_on()?;
        let parsed: Result<Standing, _> = serde_json::from_slice(&finished.stdout);
        let (Ok(standing), true) = (parsed, finished.success()) else { return Err(refused(&finished, &target)) };
        let line = format!("{} runs and answers, enabled at boot", one_line(&standing.version, 30));
        self.kept.agent = Some(standing);
        Ok(line)
    }

    fn uninstall(&mut self) -> Result<(), String> {
        self.kept.agent = None;
        let Some(directory) = &self.kept.directory else { return Ok(()) };
        let staged = Staged::in_directory(directory).program();
        let finished = match uninstall(self.transport, &[&staged, "pve-agent"]) {
            // Its place may have been in memory, and the node started anew.
            Err(TransportError::NotFound(_)) => uninstall(self.transport, &[INSTALLED]),
            finished => finished,
        };
        match finished {
            Ok(finished) if finished.success() => Ok(()),
            Ok(finished) => Err(refused(&finished, &self.deployment.target.to_string()).why),
            Err(TransportError::NotFound(_)) if there(self.transport, PLACES)?.is_empty() => Ok(()),
            Err(error) => Err(chain(&error)),
        }
    }

    /// The pve-agent runs: what can't be cleaned up is told, and is no reason to take it away again.
    fn tidy(&self) -> String {
        Staged::remove(self.transport, &probe::in_places(&self.kept.name)).err().unwrap_or_default()
    }

    fn go_on(&self) -> Result<(), StepError> {
        go_on(&self.cancel, &self.deployment.target.to_string())
    }

    fn succeeded(&self, took: &[Took]) -> Outcome {
        let Standing { agent, version } = self.kept.agent.clone().unwrap_or_default();
        let (agent, version) = (one_line(&agent, 100), one_line(&version, 30));
        Outcome::success(format!("pve-agent {version} answers, {}", self.kept.init)).with_data(json!({
            "agent_id": agent, "version": version, "init": self.kept.init, "transport": self.transport.name(),
            "steps": took,
        }))
    }

    /// Says at which step and why, and what was left: after having looked.
    fn failed(&self, broken: Broken) -> Outcome {
        let Broken { step, error, stuck } = broken;
        let mut remains = stuck;
        if self.kept.touched {
            let places = probe::in_places(&self.kept.name);
            let places: Vec<&str> = PLACES.iter().copied().chain(places.iter().map(String::as_str)).collect();
            match there(self.transport, &places) {
                Ok(found) => remains.extend(found),
                Err(why) => remains.push(format!("what is left could not be looked up: {why}")),
            }
        }
        let traces = match (self.kept.touched, remains.is_empty()) {
            (false, _) => "nothing was changed".to_owned(),
            (true, true) => "nothing was left behind".to_owned(),
            (true, false) => format!("left behind: {}", remains.join("; ")),
        };
        let data = json!({"step": step, "left": remains});
        let outcome = Outcome::failure(format!("{step}: {}; {traces}", error.why)).with_data(data);
        Outcome { ending: error.ending, ..outcome }.with_help(error.help)
    }
}

/// Takes the pve-agent off a node, and looks what is left.
pub fn remove_node(transport: &dyn Transport, target: &Target, task: &Task) -> Outcome {
    let unseen = |why: String| {
        let help = format!("on {}: remotectl pve-agent uninstall --purge", name(target));
        Outcome::failure(format!("looking for the pve-agent: {why}")).with_help(help)
    };
    let before = match there(transport, PLACES) {
        Ok(before) if before.is_empty() => return Outcome::success("there was no pve-agent"),
        Ok(before) => before,
        Err(why) => return unseen(why),
    };
    task.report.progress("uninstalling");
    let said = match uninstall(transport, &[INSTALLED]) {
        Ok(finished) if finished.success() => None,
        Ok(finished) => Some(refused(&finished, &target.to_string()).why),
        Err(error) => Some(chain(&error)),
    };
    let after = match there(transport, PLACES) {
        Ok(after) => after,
        Err(why) => return unseen(why),
    };
    let data = json!({"removed": before, "left": after});
    if after.is_empty() {
        let but = said.map_or_else(String::new, |why| format!(", though it said: {why}"));
        return Outcome::success(format!("removed, nothing left{but}")).with_data(data);
    }
    let why = said.map_or_else(String::new, |why| format!(" ({why})"));
    let summary = format!("not all of it is gone{why}; left: {}", after.join(", "));
    let help = format!("on {}: remotectl pve-agent uninstall --purge", name(target));
    Outcome::failure(summary).with_help(help).with_data(data)
}

/// By a program with the role's name behind it, or one whose own name is the role's.
fn uninstall(transport: &dyn Transport, program: &[&str]) -> Result<Finished, TransportError> {
    transport.exec(Exec::new([program, &["uninstall", "--purge"]].concat()).timeout(SHORT * 2))
}

fn name(target: &Target) -> &str {
    target.node_name().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        guest::{
            fake::{Fake, Files, Program, Store as _},
            saga::MemoryLog,
        },
        model::outcome::Ending,
        sys::files,
    };

    fn program(fails: bool) -> Program {
        Box::new(move |args, input, files: &mut Files| {
            let words: Vec<&str> = args.iter().map(String::as_str).collect();
            match &words[..] {
                [] => (0, "pve2\n".into(), String::new()),
                ["pve-agent", "install", "--join", "-", "--json"] => {
                    assert_eq!(input, b"rctl1.secret\n", "over standard input");
                    for place in PLACES {
                        files.put(place, b"", 0o755);
                    }
                    if fails {
                        return (1, String::new(), "error: pveum says no\nhelp: mend it\n".into());
                    }
                    (0, r#"{"agent":"a7","hub":"h","version":"0.1.0","pid":7,"connected_at":1}"#.into(), String::new())
                }
                ["pve-agent", "uninstall", "--purge"] | ["uninstall", "--purge"] => {
                    for place in PLACES {
                        files.remove(place);
                    }
                    (0, String::new(), String::new())
                }
                other => panic!("nobody told the fake what to do for {other:?}"),
            }
        })
    }

    fn node(fails: bool) -> Fake {
        let fake = Fake::new().with_program(program(fails));
        fake.put("hostname", b"", 0o755);
        fake.put("pveversion", b"", 0o755);
        fake
    }

    fn deploy_onto(fake: &Fake, target: &Target) -> Outcome {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("remotectl");
        files::write_atomic(&path, &[7; 3_000], 0o755).unwrap();
        let executable = Executable { path: &path, version: "0.1.0", arch: std::env::consts::ARCH };
        let deployment = NodeDeployment { command: "c", target, executable, join: "rctl1.secret", wanted: true };
        deploy_node(deployment, fake, &MemoryLog::default(), &Task::default())
    }

    #[test]
    fn a_pve_agent_goes_onto_a_node_and_off_it() {
        let (fake, target) = (node(false), Target::node("pve2"));
        let before = fake.files();
        let outcome = deploy_onto(&fake, &target);
        assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Succeeded, "pve-agent 0.1.0 answers, systemd"));
        let secret = |call: &Vec<String>| call.iter().any(|word| word.contains("secret"));
        assert!(!fake.calls().iter().any(secret), "no word of a command line is secret");
        let again = deploy_onto(&fake, &target);
        assert!(again.summary.starts_with("probe: a pve-agent is there already"), "{}", again.summary);
        assert_eq!(remove_node(&fake, &target, &Task::default()).summary, "removed, nothing left");
        assert_eq!(fake.files(), before);
        assert_eq!(remove_node(&fake, &target, &Task::default()).summary, "there was no pve-agent");
    }

    #[test]
    fn a_failure_leaves_the_node_as_it_was() {
        let fake = node(true);
        let before = fake.files();
        let outcome = deploy_onto(&fake, &Target::node("pve2"));
        assert_eq!(outcome.summary, "install: pveum says no; nothing was left behind");
        assert_eq!(fake.files(), before);
    }

    #[test]
    fn a_stranger_is_left_alone() {
        let fake = node(false);
        let outcome = deploy_onto(&fake, &Target::node("pve3"));
        let wanted = "preflight: what answers there calls itself `pve2`: a stranger; nothing was changed";
        assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Rejected, wanted));
        assert_eq!(fake.calls().len(), 1);
    }
}
