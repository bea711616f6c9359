//! Reaching into real containers with the product's own transports: the story, the probe, and failures that leave nothing.

use super::{
    lab::{Lab, product, wait_until},
    node::Node,
};
use remotectl::{
    guest::{
        Attest, Deployment, Exec, Local, MemoryLog, Patience, Pct, Probe, Transport, TransportError,
        answers::Installed, deploy, once, staging::Executable, story::story,
    },
    link::{join::Pointer, keys::SigningKey},
    model::{
        Op, Outcome, Target,
        digest::Digest,
        facts::Facts,
        outcome::{Ending, Report},
    },
    sys::{cancel::Cancel, task::Task},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// A container through the `pct` of its node: what runs there is one `nsenter` away.
fn pct(node: &Node, folder: &Path, vmid: u32) -> Pct {
    let command = node.command("pct");
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let program = folder.join(format!("pct-{}", node.name));
    if !program.exists() {
        fs::write(&program, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "))).expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    Pct::by(program, vmid)
}

fn reach(lab: &Lab, folder: &Path, vmid: u32) -> Pct {
    pct(lab.container(vmid).node, folder, vmid)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// The one story, in containers of every kind: with systemd, with OpenRC, and with a root that is nobody outside.
pub fn transports_live_through_the_story() {
    let (lab, folder) = (Lab::up(&[101, 103, 104]), folder());
    for vmid in [101, 103, 104] {
        let transport = reach(&lab, folder.path(), vmid);
        let made = transport.exec(Exec::new(["mkdir", "/var/tmp/story"])).expect("pct runs");
        assert!(made.success(), "{made:?}");
        story(&transport, "/var/tmp/story").unwrap_or_else(|why| panic!("ct/{vmid}: {why}"));
        let gone = || !lab.container(vmid).exec(["pgrep", "sleep"]).status.success();
        wait_until("what was ended is gone inside too", Duration::from_secs(10), gone);
    }
    let here = folder.path().join("story");
    fs::create_dir(&here).expect("a directory");
    story(&Local, here.to_str().expect("a plain path")).expect("this machine");
}

/// What the probe says of real containers.
pub fn probes_tell_what_is_there() {
    let (lab, folder) = (Lab::up(&[101, 103, 106, 107]), folder());
    let probe = |vmid| Probe::of(&reach(&lab, folder.path(), vmid), &Cancel::new()).expect("it can be probed");
    let web = probe(101);
    assert_eq!((web.os.id.as_str(), web.init.as_str(), web.root, web.sha256sum), ("debian", "systemd", true, true));
    assert_eq!((web.there.len(), web.arch.as_str()), (0, std::env::consts::ARCH));
    assert!(web.room(9 << 20).is_ok(), "{web:?}");
    assert_eq!(probe(103).init, "openrc");
    let full = probe(106);
    let why = full.home(9 << 20).expect_err("it has 3 MiB");
    assert!(why.contains("no space left"), "{why}: {full:?}");
    let read_only = probe(107);
    let opt = read_only.places.iter().find(|place| place.path == "/opt").map(|place| place.state);
    assert_eq!(opt, Some(remotectl::guest::probe::PlaceState::ReadOnly), "{read_only:?}");
}

struct Nobody;

impl Attest for Nobody {
    fn attest(&self, _: &Target, _: &Installed, _: &Facts) -> Result<(), String> {
        Err("nobody vouches".to_owned())
    }
    fn withdraw(&self, _: &Target, _: &Installed) -> Result<(), String> {
        Ok(())
    }
}

fn deploy_into(transport: &dyn Transport, vmid: u32, executable: &Path) -> Outcome {
    let executable = Executable { path: executable, version: "0.1.0", arch: std::env::consts::ARCH };
    let (target, hubs) = (Target::ct(vmid), ["192.0.2.1:8443".to_owned()]);
    let deployment = Deployment {
        command: "lab",
        target: &target,
        executable,
        hubs: &hubs,
        join: "rctl1.x",
        wanted: true,
        patience: Patience::default(),
    };
    let outcome = deploy(deployment, transport, &Nobody, &MemoryLog::default(), &Task::default());
    eprintln!("ct/{vmid}: {}\n  help: {}", outcome.summary, outcome.help.as_deref().unwrap_or_default());
    outcome
}

fn big(folder: &Path) -> PathBuf {
    let path = folder.join("remotectl");
    fs::write(&path, vec![7; 9 << 20]).expect("9 MiB");
    path
}

/// Every deployment that can't work says why, and leaves the container as it was.
pub fn failed_deployments_leave_nothing() {
    let (lab, folder) = (Lab::up(&[101, 106, 107]), folder());
    let executable = big(folder.path());
    let at = |vmid| reach(&lab, folder.path(), vmid);
    for (vmid, why) in [(106, "staging: no space left"), (101, "route: "), (107, "staging: /opt is read-only")] {
        let before = lab.container(vmid).files();
        let outcome = deploy_into(&at(vmid), vmid, &executable);
        assert!(!outcome.succeeded() && outcome.summary.starts_with(why), "{}", outcome.summary);
        assert!(
            outcome.summary.ends_with("nothing was changed") || outcome.summary.ends_with("nothing was left behind")
        );
        assert_eq!(before, lab.container(vmid).files(), "ct/{vmid}");
    }
    let outcome = deploy_into(&at(105), 105, &executable);
    assert_eq!(
        (outcome.ending, outcome.help.as_deref()),
        (Ending::Rejected, Some("`remotectl deploy ct/105 --start` starts it first"))
    );
    let unknown = pct(lab.node("pve1"), folder.path(), 999);
    assert!(matches!(unknown.exec(Exec::new(["true"])), Err(TransportError::NoGuest(_))));
    assert!(deploy_into(&unknown, 999, &executable).summary.starts_with("preflight: ct/999 is not on this node"));
    let conf = lab.pve("nodes/pve1/lxc/101.conf");
    let text = fs::read_to_string(&conf).expect("its configuration");
    for (line, why) in [
        ("lock: backup\n", "preflight: ct/101 is locked (backup)"),
        ("template: 1\n", "preflight: ct/101 is a template"),
    ] {
        fs::write(&conf, text.clone() + line).expect("its configuration");
        assert!(deploy_into(&at(101), 101, &executable).summary.starts_with(why));
    }
}

/// A join string of a hub whose address is reached (something listens there) and that nobody will ever hear of.
fn unknown_hub(address: &str, folder: &Path) -> String {
    let key = SigningKey::load_or_make(&folder.join("key")).expect("a key");
    let fingerprint = Digest::of(b"a certificate");
    let pointer = Pointer {
        addresses: vec![address.to_owned()],
        hub: "hnobody".to_owned(),
        fingerprint,
        key: key.public(),
        recovery: None,
        epoch: 1,
        token: None,
    };
    pointer.to_string()
}

/// The real executable goes in, finds the way, installs itself, and is taken out again because nobody vouches for it: in
/// containers of every kind, to the last file.
pub fn a_refused_agent_is_taken_out_again() {
    let product = product().expect("no executable: set REMOTECTL_LAB_EXE, or run `make lab`");
    let (lab, folder) = (Lab::up(&[101, 103, 104]), folder());
    let address = format!("{}:80", lab.container(101).definition.address());
    let join = unknown_hub(&address, folder.path());
    for vmid in [101, 103, 104] {
        let container = lab.container(vmid);
        let before = container.files();
        let executable = Executable { path: &product, version: "0.1.0", arch: std::env::consts::ARCH };
        let (target, hubs) = (Target::ct(vmid), [address.clone()]);
        let deployment = Deployment {
            command: "lab",
            target: &target,
            executable,
            hubs: &hubs,
            join: &join,
            wanted: true,
            patience: Patience::default(),
        };
        let transport = reach(&lab, folder.path(), vmid);
        let outcome =
            deploy(deployment, &transport, &Nobody, &MemoryLog::default(), &Task { report: &Aloud, ..Task::default() });
        assert_eq!(outcome.summary, "attest: nobody vouches; nothing was left behind", "ct/{vmid}");
        assert_eq!(before, container.files(), "ct/{vmid}");
        assert!(!container.exec(["pgrep", "remotectl"]).status.success(), "ct/{vmid}: a process was left behind");
    }
}

/// One operation in a container without an agent, by the real executable.
pub fn an_operation_is_served_once() {
    let product = product().expect("no executable: set REMOTECTL_LAB_EXE, or run `make lab`");
    let (lab, folder) = (Lab::up(&[102, 103]), folder());
    for vmid in [102, 103] {
        let container = lab.container(vmid);
        let before = container.files();
        let executable = Executable { path: &product, version: "0.1.0", arch: std::env::consts::ARCH };
        let op = Op::ServiceStatus { service: "nginx".to_owned() };
        let task = Task { report: &Aloud, ..Task::default() };
        let outcome = once(&reach(&lab, folder.path(), vmid), &executable, &op, &Target::ct(vmid), &task);
        eprintln!("ct/{vmid}: {}", outcome.summary);
        assert!(outcome.succeeded(), "ct/{vmid}: {outcome:?}");
        assert_eq!(before, container.files(), "ct/{vmid}");
        assert!(!container.exec(["pgrep", "remotectl"]).status.success(), "ct/{vmid}: a process was left behind");
    }
}

struct Aloud;

impl Report for Aloud {
    fn progress(&self, line: &str) {
        eprintln!("  {line}");
    }
    fn output(&self, bytes: &[u8]) {
        eprint!("{}", String::from_utf8_lossy(bytes));
    }
}
