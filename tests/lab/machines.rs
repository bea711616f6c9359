//! Agents in real virtual machines: through a real guest agent, with systemd and with busybox' init; hung, blocked, without
//! anything that unpacks.

use super::{
    lab::Lab,
    machine::Machine,
    node::Node,
    product::{PATIENCE, Site, succeeded, text},
};
use remotectl::{
    guest::{Exec, Qga, Qm, Transport, TransportError, story::story},
    sys::cancel::Cancel,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

/// A machine through the `qm` of its node.
fn qm(node: &Node, folder: &Path, vmid: u32) -> Qm {
    let command = node.command("qm");
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let program = folder.join(format!("qm-{}", node.name));
    if !program.exists() {
        fs::write(&program, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "))).expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    Qm::by(program, vmid)
}

/// The one story, through real guest agents; then what goes wrong with them.
pub fn guest_agents_live_through_the_story() {
    let lab = Lab::up(&[201, 202]);
    let folder = tempfile::tempdir().expect("a directory");
    for vmid in [201, 202] {
        let machine = lab.machine(vmid);
        let qga = Qga::by(qm(machine.node, folder.path(), vmid));
        let began = Instant::now();
        qga.ready().expect("it answers and may start programs");
        let made = qga.exec(Exec::new(["mkdir", "/var/tmp-story"])).expect("qm runs");
        assert!(made.success(), "{made:?}");
        story(&qga, "/var/tmp-story").unwrap_or_else(|why| panic!("vm/{vmid}: {why}"));
        eprintln!("vm/{vmid}: the story in {:?}", began.elapsed());
        assert_eq!(machine.exec(&["pidof", "sleep"]).0, Some(1), "what was ended is gone inside too");
    }
    transfers(&lab, folder.path());
    hung(&lab.machine(202), folder.path());
}

/// Takes away what unpacks: busybox goes on under a name that nobody looks for.
const WITHOUT_UNPACKER: &str = "mv /bin/busybox /bin/busybox-lab
    for a in /bin/* /sbin/* /usr/bin/* /usr/sbin/*; do
        [ ! -L $a ] || /bin/busybox-lab ln -sf /bin/busybox-lab $a
    done
    rm -f /bin/gzip /bin/zcat /bin/gunzip /usr/bin/gzip";

/// A large file, packed and, where nothing unpacks, as it is.
fn transfers(lab: &Lab, folder: &Path) {
    let machine = lab.machine(202);
    let qga = Qga::by(qm(machine.node, folder, 202));
    let local = folder.join("large");
    let content: Vec<u8> = (0..1_000_000_u32).flat_map(|number| (number / 5).to_le_bytes()).collect();
    fs::write(&local, &content).expect("4 MB");
    let cancel = Cancel::new();
    let copying = remotectl::guest::Copying::quietly(&cancel);
    let mut took = Vec::new();
    for (round, hide) in ["true", WITHOUT_UNPACKER].into_iter().enumerate() {
        machine.exec(&["sh", "-c", hide]);
        let began = Instant::now();
        qga.push(&local, "/tmp/large", 0o600, &copying).unwrap_or_else(|error| panic!("round {round}: {error}"));
        took.push(began.elapsed());
        let digest = machine.text(&["sha256sum", "/tmp/large"]).expect("it is there");
        assert!(digest.starts_with(remotectl::model::digest::Digest::of(&content).as_str()), "{digest}");
        machine.exec(&["rm", "/tmp/large"]);
    }
    eprintln!("vm/202: 4.0 MB packed in {:?}, as they are in {:?}", took[0], took[1]);
}

/// A guest agent that may not start programs, and one that has stopped: each is told, and neither is waited for without end.
fn hung(machine: &Machine, folder: &Path) {
    let vmid = machine.definition.vmid;
    // Once it is answered: init ends whom a changed line is about at once, and nobody knows the command any more.
    let blocked = "sed -i 's|qemu-ga -t|qemu-ga -b guest-exec -t|' /etc/inittab
        (sleep 5; kill -HUP 1; sleep 1; killall qemu-ga) </dev/null >/dev/null 2>&1 &";
    machine.exec(&["sh", "-c", blocked]);
    let qga = || Qga::by(qm(machine.node, folder, vmid));
    super::container::wait_until(
        "it is blocked",
        Duration::from_secs(30),
        || matches!(qga().ready(), Err(TransportError::Blocked(name)) if name == "guest-exec"),
    );
}

/// "Deploy agent to all web server VMs", an operation through it, and out again without a trace.
pub fn a_sentence_deploys_into_a_machine() {
    let site = Site::up(&[201, 202], &["pve1"]);
    for (vmid, sentence) in [(201, "deploy the agent to all web server VMs"), (202, "install the agent on vm 202")] {
        let machine = site.lab.machine(vmid);
        let before = machine.files();
        let began = Instant::now();
        let deployed = site.ask(&["ask", "--yes", sentence]);
        succeeded(&deployed);
        eprintln!("vm/{vmid}: deployed in {:?}", began.elapsed());
        let target = format!("vm/{vmid}");
        let registered = || text(&site.ask(&["agents", "--json"]).stdout).contains(&target);
        super::lab::wait_until("the hub knows the agent", PATIENCE, registered);
        succeeded(&site.ask(&["run", "exec.run", &target, "command=echo through the agent", "--yes"]));
        let began = Instant::now();
        succeeded(&site.ask(&["remove", &target, "--yes"]));
        eprintln!("vm/{vmid}: removed in {:?}", began.elapsed());
        assert_eq!(before, machine.files(), "vm/{vmid}: something was left behind");
    }
}

/// A machine without an agent is served all the same, and shows no trace of it.
pub fn a_question_to_a_machine_leaves_nothing() {
    let site = Site::up(&[201], &["pve1"]);
    let machine = site.lab.machine(201);
    let before = machine.files();
    let answer = site.ask(&["ask", "is nginx up on vm 201"]);
    succeeded(&answer);
    assert!(text(&answer.stdout).contains("nginx"), "{}", text(&answer.stdout));
    assert_eq!(before, machine.files(), "something was left behind");
}
