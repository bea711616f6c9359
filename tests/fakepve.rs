//! The client against fakepve, a simulator of the Proxmox API that others made: log-in by password, inventory, lifecycle,
//! tasks, errors. `make fakepve` puts it into a venv and names it in REMOTECTL_FAKEPVE; without that nothing is tested.

#![allow(clippy::disallowed_methods, reason = "tests start programs and write files by themselves, past the product")]

use remotectl::{
    model::{Op, Outcome, Target, digest::Digest, outcome::Ending},
    proxmox::{Client, Known, Login, Verify, inventory, perform},
    sys::{secret::Secret, task::Task},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

const USER: &str = "root@pam";
const PASSWORD: &str = "p;w=&x";

/// A running fakepve, ended with the test.
struct Fake {
    child: Child,
    address: String,
    certificate: Digest,
    _folder: tempfile::TempDir,
}

impl Drop for Fake {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Fake {
    /// Starts it with some guests; `None`, with a line that says so, where there is none.
    fn start() -> Option<Self> {
        let Some(program) = std::env::var_os("REMOTECTL_FAKEPVE").filter(|path| fs::metadata(path).is_ok()) else {
            println!("left out: there is no fakepve (`make fakepve` gets it)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("it can be written");
            path
        };
        let guests = file("guests.json", &guests().to_string());
        let certificate = file("cert.pem", &made.cert.pem());
        let key = file("key.pem", &made.signing_key.serialize_pem());
        let mut child = Command::new(program)
            .arg(guests)
            .args(["--host", "127.0.0.1", "--port", "0", "--time-scale", "0", "--user", USER, "--password", PASSWORD])
            .arg("--cert")
            .arg(certificate)
            .arg("--key")
            .arg(key)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says where it is");
        let address = line.trim().rsplit_once("//").expect("an address").1.to_owned();
        let certificate = Digest::of(made.cert.der());
        Some(Self { child, address, certificate, _folder: folder })
    }

    fn client(&self, password: &str) -> Client {
        let login = Login { user: USER.to_owned(), password: Secret::new(password), totp: None };
        Client::log_in(&self.address, &Verify::Fingerprint(self.certificate.clone()), login).expect("a client")
    }
}

fn guests() -> Value {
    let disk = |vmid: u32| format!("local-lvm:vm-{vmid}-disk-0,size=8G");
    json!({"guests": [
        {"type": "lxc", "vmid": 101, "name": "web", "status": "stopped", "config": {
            "hostname": "web", "rootfs": disk(101), "memory": 512, "ostype": "debian",
            "net0": "name=eth0,bridge=vmbr0,ip=10.0.0.5/24"}},
        {"vmid": 100, "name": "app", "status": "running", "config": {
            "name": "app", "scsi0": disk(100), "memory": "2048", "cores": 2, "ostype": "l26"}},
        {"vmid": 102, "name": "held", "status": "stopped", "lock": "backup", "config": {"name": "held"}},
        {"vmid": 103, "name": "broken", "status": "stopped", "start_error": "no space left", "config": {"name": "broken"}},
    ]})
}

fn run(client: &Client, op: &str, target: &str, args: &Value) -> Outcome {
    let args = args.as_object().cloned().unwrap_or_default();
    let op = Op::from_parts(op, args).expect("an operation");
    let target: Target = target.parse().expect("a target");
    perform(client, &op, &target, &Task { timeout: Duration::from_secs(3), ..Task::default() })
}

#[test]
fn the_client_gets_on_with_a_simulator_that_others_made() {
    let Some(fake) = Fake::start() else { return };
    let client = fake.client(PASSWORD);
    inventory_reads(&client);
    lifecycle(&client);
    errors(&fake, &client);
}

fn inventory_reads(client: &Client) {
    let read = inventory(client, &mut Known::default()).expect("an inventory");
    let names: Vec<&str> = read.guests.iter().map(|guest| guest.name.as_str()).collect();
    assert_eq!((read.cluster.as_str(), names), ("fakecluster", vec!["app", "web", "held", "broken"]));
    assert_eq!(read.guests[1].addresses, ["10.0.0.5"]);
    assert_eq!(read.guests[2].lock.as_deref(), Some("backup"));
    assert!(read.nodes.iter().all(|node| node.status == "online"));
}

/// Its machines keep their process id over a reboot; that one happened is seen by a shorter uptime alone.
fn has_run_a_while(client: &Client, target: &str) {
    let uptime = || run(client, "guest.status", target, &json!({})).data["uptime"].as_u64();
    while uptime().is_some_and(|seconds| seconds < 1) {
        std::thread::yield_now();
    }
}

fn lifecycle(client: &Client) {
    has_run_a_while(client, "vm/100");
    let none = json!({});
    let steps = [
        ("guest.start", "ct/101", none.clone(), "running since"),
        ("guest.start", "ct/101", none.clone(), "was already running"),
        ("guest.reboot", "vm/100", none.clone(), "rebooted"),
        ("guest.suspend", "vm/100", none.clone(), "paused"),
        ("guest.resume", "vm/100", none.clone(), "running since"),
        ("guest.configure", "ct/101", json!({"memory": "1G", "onboot": true}), "memory 512 → 1024 MiB, onboot 0 → 1"),
        ("guest.resize", "ct/101", json!({"disk": "rootfs", "size": "10G"}), "rootfs 8 GiB → 10 GiB"),
        ("guest.shutdown", "ct/101", none.clone(), "shut down cleanly"),
        ("guest.snapshots", "ct/101", none.clone(), "no snapshots"),
        ("guest.clone", "ct/101", json!({"name": "web2", "newid": 200}), "cloned: ct/200 web2"),
        ("guest.destroy", "ct/200", none.clone(), "ct/200 web2 is gone"),
        ("guest.create", "cluster", json!({"kind": "vm", "name": "fresh"}), "created: vm/104 fresh on pve1"),
        ("guest.destroy", "vm/104", none.clone(), "vm/104 fresh is gone"),
        ("guest.stop", "vm/100", none.clone(), "stopped"),
        ("guest.backups", "ct/101", none.clone(), "no backup"),
        ("node.tasks", "node/pve1", none, " tasks, 0 failed, 0 running"),
    ];
    for (op, target, args, wanted) in steps {
        let outcome = run(client, op, target, &args);
        assert_eq!(outcome.ending, Ending::Succeeded, "{op} {target}: {} {:?}", outcome.summary, outcome.help);
        assert!(outcome.summary.contains(wanted), "{op} {target}: {}", outcome.summary);
    }
}

fn errors(fake: &Fake, client: &Client) {
    let none = json!({});
    let outcome = run(client, "guest.start", "ct/999", &none);
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Rejected, "there is no guest 999 in this cluster"));
    let outcome = run(client, "guest.start", "vm/102", &none);
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Failed, "vm/102 held is locked (backup)"));
    let outcome = run(client, "guest.start", "vm/103", &none);
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(
        outcome.summary.contains("failed in Proxmox: ") && outcome.summary.contains("no space left"),
        "{}",
        outcome.summary
    );
    let outcome = run(client, "guest.migrate", "ct/101", &json!({"node": "pve9"}));
    assert_eq!(outcome.ending, Ending::Rejected, "{}", outcome.summary);
    let outcome = run(&fake.client("wrong"), "guest.start", "ct/101", &none);
    assert!(outcome.summary.contains("(HTTP 401)"), "{}", outcome.summary);
}
