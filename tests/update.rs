//! `agent.update` with a real hub and a real agent as processes: versions are copies of the executable under test that say
//! another version of themselves. What init systems make of it is the lab's to show.

#![allow(clippy::disallowed_methods, reason = "tests start the program that they test, and lay its files out")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod common;

use common::{Hub, wait_until};
use remotectl::{
    model::{
        Answer, Target,
        answer::TargetResult,
        lint::Kind,
        messages::{AgentRow, Event},
        version::{restamped, version},
    },
    sys::files,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const OLD: &str = "0.0.9";

/// The executable under test as another version.
fn build_of(version: &str) -> Vec<u8> {
    restamped(&fs::read(env!("CARGO_BIN_EXE_remotectl")).unwrap(), version).unwrap()
}

/// A machine with an agent, below a directory.
struct Machine {
    directory: tempfile::TempDir,
    process: Child,
    target: Target,
}

impl Machine {
    /// Joins as that version and runs.
    fn start(hub: &Hub, version: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("opt/remotectl");
        let executable = home.join("versions").join(version).join("remotectl");
        fs::create_dir_all(executable.parent().unwrap()).unwrap();
        files::write_atomic(&executable, &build_of(version), 0o755).unwrap();
        symlink(format!("versions/{version}/remotectl"), home.join("agent")).unwrap();
        let join = ["agent", "install", "--no-service", "--join", &hub.join_string("agent")];
        let joined = command(&executable, directory.path()).args(join).output().unwrap();
        assert!(joined.status.success(), "{joined:?}");
        let process = run(directory.path());
        let agents: Vec<AgentRow> = hub.get("/api/v1/agents").unwrap();
        let machine = Self { directory, process, target: agents[0].target.clone() };
        hub.wait_online(&machine.target);
        machine.wait_told(hub);
        machine
    }

    /// Waits until the hub knows what machine it is.
    fn wait_told(&self, hub: &Hub) {
        wait_until("the agent has told of its machine", || {
            let plan = hub.plan("agent.update", &self.target.to_string(), &[]);
            !plan.findings.iter().any(|finding| finding.message.contains("has not told"))
        });
    }

    /// The init system's part: starts what the link leads to.
    fn start_again(&mut self) {
        self.process.wait().unwrap();
        self.process = run(self.directory.path());
    }

    fn home(&self, path: &str) -> PathBuf {
        self.directory.path().join("opt/remotectl").join(path)
    }

    /// The version that its process is, by the kernel's word.
    fn runs(&self) -> Option<String> {
        let executable = fs::read_link(format!("/proc/{}/exe", self.process.id())).ok()?;
        Some(executable.parent()?.file_name()?.to_str()?.to_owned())
    }

    fn leads_to(&self, link: &str) -> String {
        fs::read_link(self.home(link)).unwrap().display().to_string()
    }

    fn update(&self, hub: &Hub, to: &[(&str, &str)]) -> TargetResult {
        let events = hub.run("agent.update", &self.target.to_string(), to).unwrap();
        result(&events)
    }

    fn signal(&self, signal: Signal) {
        send(self.process.id(), signal);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- agent\n{}", fs::read_to_string(self.directory.path().join("log")).unwrap_or_default());
        }
    }
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

fn command(executable: &Path, root: &Path) -> Command {
    let mut command = Command::new(executable);
    command.env("REMOTECTL_ROOT", root).env("REMOTECTL_LOG", "debug").stdin(Stdio::null());
    command
}

fn run(root: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(root.join("log")).unwrap();
    let link = root.join("opt/remotectl/agent");
    command(&link, root).arg("run").stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn result(events: &[Event]) -> TargetResult {
    let Some(Event::Ended { answer: Answer::Plan(view), .. }) = events.last() else { panic!("{events:?}") };
    view.results[0].clone()
}

/// Adds an executable to the hub.
fn add(hub: &Hub, bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    files::write_atomic(file.path(), bytes, 0o755).unwrap();
    let added = hub.client(&["hub", "artifact", "add", file.path().to_str().unwrap(), "--data", &data(hub)]);
    assert!(added.status.success(), "{added:?}");
}

fn data(hub: &Hub) -> String {
    hub.root().join("lib/hub").display().to_string()
}

fn wait_held(hub: &Hub, version: &str) {
    wait_until("the hub holds that executable", || {
        let listed = hub.client(&["hub", "artifact", "list", "--data", &data(hub)]);
        String::from_utf8_lossy(&listed.stdout).contains(&format!(" {version} "))
    });
}

#[test]
fn an_agent_becomes_the_hubs_version_and_goes_back_to_its_own() {
    let hub = Hub::start();
    wait_held(&hub, version());
    let machine = Machine::start(&hub, OLD);
    let plan = hub.plan("agent.update", &machine.target.to_string(), &[]);
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);

    let done = machine.update(&hub, &[]);
    assert_eq!((done.state.as_str(), done.summary), ("succeeded", format!("{OLD} → {}", version())));
    assert_eq!(machine.runs().as_deref(), Some(version()), "the same process, another executable");
    assert_eq!(machine.leads_to("agent"), format!("versions/{}/remotectl", version()));
    assert_eq!(machine.leads_to("agent.previous"), format!("versions/{OLD}/remotectl"));

    let again = machine.update(&hub, &[]);
    assert_eq!((again.state.as_str(), again.summary), ("succeeded", format!("already at {}", version())));
    let plan = hub.plan("agent.update", &machine.target.to_string(), &[]);
    assert_eq!(plan.findings[0].kind, Kind::UpToDate);

    // The hub never held that version: the agent has kept it, and has told so.
    wait_until("the hub knows what is kept", || {
        hub.plan("agent.update", &machine.target.to_string(), &[("version", OLD)]).findings.is_empty()
    });
    let back = machine.update(&hub, &[("version", OLD)]);
    assert_eq!((back.state.as_str(), back.summary), ("succeeded", format!("{} → {OLD}", version())));
    assert_eq!(machine.runs().as_deref(), Some(OLD));
    assert_eq!(machine.leads_to("agent.previous"), format!("versions/{}/remotectl", version()));
}

#[test]
fn a_version_that_is_no_good_is_not_switched_to() {
    let hub = Hub::start();
    let machine = Machine::start(&hub, OLD);
    // One that runs and is not heard by the hub, and one that ends at once.
    let mut mute = build_of("0.2.0");
    let asks = b"/agent/v1/poll";
    let places: Vec<usize> = (0..mute.len() - asks.len()).filter(|at| mute[*at..].starts_with(asks)).collect();
    assert!(!places.is_empty());
    for at in places {
        mute[at..at + asks.len()].copy_from_slice(b"/agent/v1/pall");
    }
    add(&hub, &mute);
    let stamp = remotectl::model::version::Stamp::find(&mute).unwrap().at;
    let dead = [fs::read("/bin/false").unwrap(), mute[stamp..stamp + 96].to_vec()].concat();
    add(&hub, &restamped(&dead, "0.3.0").unwrap());

    for (version, says) in [("0.2.0", "asking the hub"), ("0.3.0", "exit code 1")] {
        let failed = machine.update(&hub, &[("version", version)]);
        let expected = format!("{version} was tried here and is no good: ");
        assert!(failed.state == "failed" && failed.summary.starts_with(&expected), "{failed:?}");
        assert!(failed.summary.contains(says) && failed.summary.ends_with("; still at 0.0.9"), "{failed:?}");
        assert_eq!(machine.runs().as_deref(), Some(OLD));
        assert_eq!(machine.leads_to("agent"), "versions/0.0.9/remotectl");
    }
}

#[test]
fn what_the_hub_does_not_hold_is_refused_with_what_there_is() {
    let hub = Hub::start();
    wait_held(&hub, version());
    let machine = Machine::start(&hub, OLD);
    let plan = hub.plan("agent.update", &machine.target.to_string(), &[("version", "7.0.0")]);
    let finding = &plan.findings[0];
    let says = format!("the hub holds no remotectl 7.0.0 for {}; it holds {}", std::env::consts::ARCH, version());
    assert!(finding.kind == Kind::NoArtifact && finding.message.ends_with(&says), "{finding:?}");
    assert!(finding.help.as_ref().unwrap().contains("remotectl hub artifact add"), "{finding:?}");
    let refused = machine.update(&hub, &[("version", "7.0.0")]);
    assert_eq!((refused.state.as_str(), refused.summary), ("rejected", says));
}

#[test]
fn an_agent_that_is_killed_while_it_fetches_says_so_and_can_be_updated_then() {
    let hub = Hub::start();
    wait_held(&hub, version());
    let mut machine = Machine::start(&hub, OLD);
    let plan = hub.plan("agent.update", &machine.target.to_string(), &[]);
    hub.begin(&plan);
    let part = machine.home("versions").join(version()).join(".fetch-agent");
    wait_until("the executable is coming", || part.metadata().is_ok_and(|meta| meta.len() > 0));
    send(hub.pid(), Signal::STOP);
    machine.signal(Signal::KILL);
    let whole = !part.exists();
    send(hub.pid(), Signal::CONT);
    assert!(!whole, "it was quicker than this test");
    machine.start_again();
    wait_until("the plan has ended", || hub.history()[0].state.terminal());
    let Answer::Plan(view) = &hub.history()[0].answer else { panic!("no plan") };
    let says = format!("the agent was stopped before the switch to {}; still at {OLD}", version());
    assert_eq!((view.results[0].state.as_str(), view.results[0].summary.as_str()), ("failed", says.as_str()));
    let done = machine.update(&hub, &[]);
    assert_eq!((done.state.as_str(), machine.runs().as_deref()), ("succeeded", Some(version())));
    assert!(!part.exists());
}

/// As it is after a switch, with the hub not answering: the record says since when, and how often it was started.
fn on_probation(machine: &Machine, ago: i64, starts: u32) {
    let new = machine.home("versions/0.1.1/remotectl");
    fs::create_dir_all(new.parent().unwrap()).unwrap();
    files::write_atomic(&new, &build_of("0.1.1"), 0o755).unwrap();
    files::symlink_atomic(Path::new("versions/0.1.1/remotectl"), &machine.home("agent")).unwrap();
    files::symlink_atomic(Path::new("versions/0.0.9/remotectl"), &machine.home("agent.previous")).unwrap();
    let since = remotectl::sys::clock::unix_seconds() - ago;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let record = serde_json::json!({
        "command": "c", "from": OLD, "to": "0.1.1", "since": since, "boot": boot.trim(), "starts": starts, "phase": "probation",
    });
    let path = machine.directory.path().join("lib/agent/update.json");
    files::write_atomic(&path, record.to_string().as_bytes(), 0o600).unwrap();
}

#[test]
fn a_version_that_the_hub_does_not_answer_or_that_keeps_ending_goes_back_by_itself() {
    let hub = Hub::start();
    let mut machine = Machine::start(&hub, OLD);
    drop(hub);
    for (ago, starts) in [(78, 1), (10, 3)] {
        machine.signal(Signal::KILL);
        on_probation(&machine, ago, starts);
        machine.start_again();
        wait_until("the old version runs again", || machine.runs().as_deref() == Some(OLD));
        assert_eq!(machine.leads_to("agent"), "versions/0.0.9/remotectl");
        assert!(!machine.home("agent.previous").is_symlink(), "as it was before");
        let record = fs::read_to_string(machine.directory.path().join("lib/agent/update.json")).unwrap();
        assert!(record.contains(r#""phase":"back""#), "{record}");
    }
}
