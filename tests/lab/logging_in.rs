//! A virtual machine without a guest agent: over SSH to its own sshd, as root, as one who becomes it by sudo, by a password, and
//! through another machine; never before an operator has said yes to its host key.

use super::{
    lab::Lab,
    machine::{Machine, assets},
    node::Node,
    product::{Site, succeeded, text},
};
use remotectl::{
    guest::{Exec, Login, Ssh, Transport as _, TransportError, ssh::Proof, story::story},
    sys::secret::Secret,
};
use std::{env, fs, os::unix::fs::PermissionsExt, process::Output, time::Instant};
use tempfile::TempDir;

/// A fingerprint that is nobody's.
const STRANGE: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The fingerprint of the machine's host key, as it says itself.
fn fingerprint(machine: &Machine) -> String {
    let said = machine.text(&["ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub"]).expect("it has a host key");
    said.split(' ').find(|word| word.starts_with("SHA256:")).expect("a fingerprint").to_owned()
}

/// The one story, against a node's sshd; in a machine, by somebody who has to become root, where `REMOTECTL_LAB_SOAK` is set:
/// emulation takes its time.
pub fn ssh_lives_through_the_story() {
    let soak = env::var_os("REMOTECTL_LAB_SOAK").is_some();
    let lab = Lab::up(if soak { &[203] } else { &[] });
    let node = lab.node("pve2");
    let public = fs::read_to_string(lab.pve("priv/ssh_host_ed25519_key.pub")).expect("the nodes' host key");
    let login = Login {
        label: "node/pve2".to_owned(),
        address: node.address.to_string(),
        port: 22,
        user: "root".to_owned(),
        proof: Proof::Key(Secret::new(fs::read_to_string(lab.pve("../ssh/id_ed25519")).expect("the nodes' key"))),
        pinned: Some(Ssh::fingerprint(&format!("pve2 {public}")).expect("a fingerprint")),
        jump: None,
    };
    tell(node, login.clone());
    let other = Login { pinned: Some(STRANGE.to_owned()), ..login.clone() };
    let refused = connect(node, other).expect_err("another host key is refused");
    assert!(matches!(refused, TransportError::OtherHostKey { .. }), "{refused}");
    let unknown = connect(node, Login { pinned: None, ..login.clone() }).expect_err("an unknown host key is refused");
    assert!(matches!(unknown, TransportError::UnknownHostKey { .. }), "{unknown}");
    if soak {
        let machine = lab.machine(203);
        let key = super::run::cache().join("rootfs").join(assets()).join("common/key");
        let (label, user) = ("vm/203".to_owned(), "admin".to_owned());
        let (address, pinned) = (machine.definition.address(), Some(fingerprint(&machine)));
        let proof = Proof::Key(Secret::new(fs::read_to_string(key).expect("the lab's key")));
        tell(machine.node, Login { label, address, user, proof, pinned, ..login });
    }
}

/// Tells it in a directory over there that is made for it.
fn tell(node: &Node, login: Login) {
    let (label, began) = (login.label.clone(), Instant::now());
    let (ssh, folder) = connect(node, login).expect("it lets us in");
    let made = ssh.exec(Exec::new(["mkdir", "/var/tmp-story"])).expect("ssh runs");
    assert!(made.success(), "{made:?}");
    story(&ssh, "/var/tmp-story").unwrap_or_else(|why| panic!("{label}: {why}"));
    eprintln!("{label}: the story in {:?}", began.elapsed());
    drop(ssh);
    let left = fs::read_dir(folder.path()).expect("it reads").count();
    assert_eq!(left, 2, "key and known hosts are gone with the connection");
}

/// A connection from within a node's network, and where it keeps its things.
fn connect(node: &Node, login: Login) -> Result<(Ssh, TempDir), TransportError> {
    let folder = tempfile::tempdir().expect("a directory");
    for program in ["ssh", "ssh-keyscan"] {
        let script = format!("#!/bin/sh\nexec nsenter --net=/proc/{}/ns/net {program} \"$@\"\n", node.pid());
        let path = folder.path().join(program);
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    Ssh::by(folder.path(), login, None, folder.path()).map(|ssh| (ssh, folder))
}

/// Said no to, with what it needs; said yes to; in, through the agent, out again; and the other ways in.
pub fn a_machine_without_guest_agent_is_logged_in_to() {
    let site = Site::up(&[203], &["pve2"]);
    let machine = site.lab.machine(203);
    // Sudo notes who has ever used it, in their home.
    assert_eq!(machine.exec(&["su", "admin", "-c", "sudo -n true"]).0, Some(0));
    let before = machine.files();
    let told = |output: &Output| text(&output.stdout) + &text(&output.stderr);
    let refused = |wanted: &[&str]| {
        let said = told(&site.ask(&["deploy", "vm/203", "--yes"]));
        assert!(wanted.iter().all(|words| said.contains(words)), "{wanted:?}: {said}");
    };
    refused(&[
        "guest agent of vm/203 is not enabled",
        "qm set 203 --agent 1",
        "remotectl credential add NAME --to vm/203",
    ]);
    let key = format!("/mnt/rootfs/{}/common/key", assets());
    let address = machine.definition.address();
    let add = |name: &str, more: &[&str]| {
        let words = ["credential", "add", name, "--to", "vm/203", "--address", &address];
        succeeded(&site.ask(&[&words, more].concat()));
    };
    add("root", &["--key", &key]);
    let shown = fingerprint(&machine);
    refused(&["the host key of vm/203 is not known", &shown, "remotectl credential trust vm/203"]);
    succeeded(&site.ask(&["credential", "trust", "vm/203", STRANGE]));
    refused(&[&shown, STRANGE]);
    succeeded(&site.ask(&["credential", "trust", "vm/203", &shown]));
    let began = Instant::now();
    succeeded(&site.ask(&["deploy", "vm/203", "--yes"]));
    eprintln!("vm/203: deployed over ssh in {:?}", began.elapsed());
    succeeded(&site.ask(&["run", "exec.run", "vm/203", "command=echo through the agent", "--yes"]));
    succeeded(&site.ask(&["credential", "remove", "root"]));
    // Not root, and through another machine.
    add("admin", &["--user", "admin", "--key", &key, "--jump", "pve1"]);
    succeeded(&site.ask(&["remove", "vm/203", "--yes"]));
    succeeded(&site.ask(&["credential", "remove", "admin"]));
    // By a password; the machine is as it was but for that.
    let shadow = machine.text(&["cat", "/etc/shadow"]).expect("it reads");
    assert_eq!(machine.exec(&["sh", "-c", "echo admin:open-sesame | chpasswd"]).0, Some(0));
    let secret = site.lab.pve("priv/password");
    fs::write(&secret, "open-sesame\n").expect("it is written");
    add("by-word", &["--user", "admin", "--password", "/etc/pve/priv/password"]);
    let listed = told(&site.ask(&["credential", "list"]));
    assert!(listed.contains("by-word") && !listed.contains("open-sesame"), "{listed}");
    succeeded(&site.ask(&["run", "system.info", "vm/203"]));
    let restore = format!("printf '%s\\n' '{shadow}' >/etc/shadow && rm -f /etc/shadow-");
    assert_eq!(machine.exec(&["sh", "-c", &restore]).0, Some(0));
    let known = |line: &&String| line.contains("/etc/shadow") || line.contains(" /etc ");
    let rest = |lines: &[String]| lines.iter().filter(|line| !known(line)).cloned().collect::<Vec<_>>();
    super::deploying::same("vm/203", &rest(&before), &rest(&machine.files()));
    let hub = fs::read_to_string(site.lab.pve("priv/driver-hub.log")).unwrap_or_default();
    let node = machine.node.command("sh").args(["-c", "journalctl --no-pager; ls /run/remotectl"]).output();
    let node = text(&node.expect("it runs").stdout);
    assert!(
        ![hub, node].iter().any(|said| said.contains("open-sesame") || said.contains("ssh-")),
        "nothing is left of it"
    );
}
