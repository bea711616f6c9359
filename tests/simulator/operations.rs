//! Every operation of the pve-agent against the simulated cluster, over TLS, with a token that has just the role that
//! `pve-agent install` makes: what is done, what is refused, what fails as a task.

use remotectl::{
    model::{
        Op, Outcome, Target,
        inventory::Inventory,
        outcome::{Ending, Report},
    },
    proxmox::{Access, Client, Known, Token, Verify, can, credential, inventory, perform},
    sim::{self, Cluster, Memory, Volume, certificates::Root, server},
    sys::{secret::Secret, task::Task},
};
use serde_json::{Map, Value, json};
use std::{
    fs,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

const SECRET: &str = "8a4f7a9c-5b0e-4d59-9a51-1f2f3a4b5c6d";
const USER: &str = "remotectl@pve";

/// The homelab behind a TLS server, and the pve-agent's client of it.
struct Rig {
    cluster: Arc<Cluster>,
    memory: Arc<Memory>,
    client: Client,
    _server: server::Server,
    _runtime: tokio::runtime::Runtime,
    said: Lines,
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Report for Lines {
    fn progress(&self, line: &str) {
        self.0.lock().expect("nobody panics with it").push(line.to_owned());
    }
    fn output(&self, _: &[u8]) {}
}

/// Users and rights as `pve-agent install` makes them, without those that are to be missing.
fn access(without: &[&str]) -> sim::Access {
    let mut access = sim::Access::new("unused-password");
    let privileges = credential::PRIVILEGES.iter().chain(&["VM.GuestAgent.Audit"]);
    let privileges = privileges.filter(|name| !without.contains(name)).map(|name| (*name).to_owned());
    access.roles.insert(credential::ROLE.to_owned(), privileges.collect());
    let token = sim::access::Token { secret: SECRET.to_owned(), separated: true, expire: 0, comment: None };
    let mut user = sim::access::User { enabled: true, ..sim::access::User::default() };
    user.tokens.insert("node-pve1".to_owned(), token);
    access.users.insert(USER.to_owned(), user);
    for (kind, subject) in [("user", USER.to_owned()), ("token", format!("{USER}!node-pve1"))] {
        let role = credential::ROLE.to_owned();
        access.entries.push(sim::access::Entry { path: "/".to_owned(), kind, subject, role, propagate: true });
    }
    access
}

impl Rig {
    fn new() -> Self {
        Self::without(&[])
    }

    fn without(privileges: &[&str]) -> Self {
        let homelab: Inventory = serde_json::from_str(include_str!("../fixtures/homelab.json")).expect("an inventory");
        let memory = Arc::new(Memory::new(homelab));
        let backend: Arc<Memory> = Arc::clone(&memory);
        let cluster = Arc::new(Cluster::new(backend, access(privileges)));
        let root = Root::new("homelab").expect("a root");
        let certificate = root.certify("pve1", &[]).expect("a certificate");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let guard = runtime.enter();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let tls = server::Access::Tls(certificate.config);
        let server = server::Server::start(listener, tls, Arc::clone(&cluster), "pve1").expect("a server");
        drop(guard);
        let folder = tempfile::tempdir().expect("a folder");
        let authority = folder.path().join("pve-root-ca.pem");
        fs::write(&authority, root.pem()).expect("it can be written");
        let token = Token { id: format!("{USER}!node-pve1"), secret: Secret::new(SECRET) };
        let verify = Verify::AuthorityFile(authority);
        let client = Client::connect(&Access { address: server.address.to_string(), verify, token });
        let client = client.expect("a client");
        Self { cluster, memory, client, _server: server, _runtime: runtime, said: Lines::default() }
    }

    /// Carries an operation out, with a time for everything together.
    fn within(&self, time: Duration, op: &str, target: &str, args: &Value) -> Outcome {
        let args: Map<String, Value> = args.as_object().cloned().unwrap_or_default();
        let op = Op::from_parts(op, args).expect("an operation");
        let target: Target = target.parse().expect("a target");
        perform(&self.client, &op, &target, &Task { report: &self.said, timeout: time, ..Task::default() })
    }

    fn run(&self, op: &str, target: &str, args: &Value) -> Outcome {
        self.within(Duration::from_secs(30), op, target, args)
    }

    /// Carries an operation out that is to succeed, and gives back what it says.
    fn done(&self, op: &str, target: &str, args: &Value) -> String {
        let outcome = self.run(op, target, args);
        assert_eq!(outcome.ending, Ending::Succeeded, "{op} {target} {args}: {} {:?}", outcome.summary, outcome.help);
        outcome.summary
    }

    fn refused(&self, op: &str, target: &str, args: &Value) -> String {
        let outcome = self.run(op, target, args);
        assert_eq!(outcome.ending, Ending::Rejected, "{op} {target} {args}: {}", outcome.summary);
        assert!(outcome.help.is_some(), "{op} {target}: {} has no help", outcome.summary);
        outcome.summary
    }

    /// How many tasks there were of a type.
    fn tasks(&self, kind: &str) -> usize {
        self.cluster.tasks().newest_first().iter().filter(|task| task.upid.kind == kind).count()
    }

    fn lock(&self, vmid: u32, held: Option<&str>) {
        self.memory.change(|inventory| {
            let guest = inventory.guests.iter_mut().find(|guest| guest.vmid == vmid).expect("it is there");
            guest.lock = held.map(str::to_owned);
        });
    }

    fn template(&self) {
        self.cluster.put(Volume {
            storage: "local".to_owned(),
            content: "vztmpl",
            file: "debian-12-standard_12.12-1_amd64.tar.zst".to_owned(),
            size: 1 << 20,
            made: 0,
            vmid: None,
            notes: String::new(),
        });
    }
}

fn none() -> Value {
    json!({})
}

#[test]
fn a_containers_life() {
    let rig = Rig::new();
    rig.template();
    let create =
        json!({"kind": "ct", "name": "db1", "template": "debian-12", "cores": 2, "memory": "1G", "disk": "8G"});
    let outcome = rig.run("guest.create", "cluster", &create);
    assert!(outcome.succeeded(), "{} {:?}", outcome.summary, outcome.help);
    let target = outcome.data["target"].as_str().expect("a target").to_owned();
    assert_eq!(target, "ct/100", "the lowest free vmid");
    assert!(outcome.summary.starts_with("created: ct/100 db1 on pve"), "{}", outcome.summary);
    assert!(rig.done("guest.start", &target, &none()).starts_with("running since"));
    assert_eq!(rig.done("guest.snapshot", &target, &json!({"name": "before"})), "snapshot before taken");
    assert_eq!(rig.done("guest.snapshots", &target, &none()), "1 snapshot: before");
    let changed = rig.done("guest.configure", &target, &json!({"cores": 4, "tags": ["web", "Prod"], "onboot": true}));
    assert_eq!(changed, "cores 2 → 4, tags – → prod;web, onboot 0 → 1");
    assert_eq!(rig.done("guest.configure", &target, &json!({"cores": 4})), "was configured like that already");
    assert_eq!(rig.done("guest.resize", &target, &json!({"disk": "rootfs", "size": "10G"})), "rootfs 8 GiB → 10 GiB");
    assert!(rig.done("guest.backup", &target, &json!({"storage": "local"})).starts_with("backed up to local, "));
    assert!(rig.done("guest.backups", &target, &none()).starts_with("1 backup, the newest"));
    assert_eq!(rig.done("guest.rollback", &target, &json!({"snapshot": "before"})), "back at before, running again");
    let rolled = rig.run("guest.status", &target, &none());
    assert_eq!(rolled.data["config"]["onboot"], Value::Null, "the rollback took the settings along");
    assert_eq!(
        rig.done("guest.delete_snapshot", &target, &json!({"snapshot": "before"})),
        "snapshot before deleted, 0 left"
    );
    assert_eq!(rig.done("guest.shutdown", &target, &none()), "shut down cleanly");
    let clone = rig.done("guest.clone", &target, &json!({"name": "db2", "newid": 500}));
    assert!(clone.starts_with("cloned: ct/500 db2 on pve"), "{clone}");
    let restored = rig.done("guest.restore", &target, &json!({"backup": "newest", "newid": 501}));
    assert!(restored.starts_with("restored: ct/501 db1 on pve"), "{restored}");
    assert!(rig.done("guest.restore", &target, &json!({"backup": "newest"})).starts_with("restored: ct/100"));
    assert_eq!(rig.done("guest.destroy", &target, &none()), "ct/100 db1 is gone, its disks with it");
    assert_eq!(rig.refused("guest.start", &target, &none()), "there is no guest 100 in this cluster");
    let said = rig.said.0.lock().expect("nobody panics with it").join("\n");
    assert!(said.contains("INFO: Finished Backup of VM 100"), "a task's log is progress: {said}");
}

#[test]
fn a_machines_life() {
    let rig = Rig::new();
    assert_eq!(rig.done("guest.suspend", "vm/203", &none()), "paused");
    assert_eq!(rig.done("guest.suspend", "vm/203", &none()), "was already paused");
    assert!(rig.done("guest.resume", "vm/203", &none()).starts_with("running since"));
    let changed = rig.run("guest.configure", "vm/203", &json!({"memory": "2G", "name": "k3s-two"}));
    assert!(changed.summary.ends_with("; memory after the next reboot"), "{}", changed.summary);
    assert_eq!(changed.help.as_deref(), Some("`remotectl run guest.reboot vm/203` puts it into effect"));
    assert!(rig.done("guest.reboot", "vm/203", &none()).starts_with("rebooted, running"));
    let linked = rig.done("guest.clone", "vm/900", &json!({"name": "fresh", "newid": 901}));
    assert!(linked.starts_with("cloned: vm/901 fresh on pve1"), "{linked}");
    assert_eq!(rig.refused("guest.destroy", "vm/900", &none()), "vm/900 ubuntu-template has linked clones: vm/901");
    rig.done("guest.destroy", "vm/901", &none());
    rig.done("guest.destroy", "vm/900", &none());
    let created = rig.done("guest.create", "cluster", &json!({"kind": "vm", "name": "empty", "node": "pve3"}));
    assert!(created.starts_with("created: vm/100 empty on pve3"), "{created}");
}

#[test]
fn each_incarnation_of_a_guest_is_told_from_the_others() {
    let rig = Rig::new();
    let read = |vmid: u32| {
        let inventory = inventory(&rig.client, &mut Known::default()).expect("an inventory");
        inventory.guest(vmid).and_then(|guest| guest.incarnation.clone())
    };
    let first = read(203).expect("a machine's");
    rig.done("guest.clone", "vm/203", &json!({"name": "copy", "newid": 300}));
    let copy = read(300).expect("its copy's");
    assert!(copy.smbios != first.smbios && copy.generation != first.generation && copy.macs != first.macs);
    rig.done("guest.snapshot", "vm/300", &json!({"name": "before"}));
    assert_eq!(read(300).as_ref(), Some(&copy), "a snapshot changes nothing");
    rig.done("guest.rollback", "vm/300", &json!({"snapshot": "before"}));
    let back = read(300).expect("it is back");
    assert!(back.generation != copy.generation && (&back.smbios, &back.macs) == (&copy.smbios, &copy.macs));
    rig.done("guest.destroy", "vm/300", &none());
    rig.done("guest.clone", "vm/203", &json!({"name": "copy", "newid": 300}));
    let again = read(300).expect("somebody else's");
    assert!(again.smbios != copy.smbios && again.macs != copy.macs, "{again:?}");
    let (web, blog) = (read(118).expect("a container's"), read(121).expect("another's"));
    assert!(web.smbios.is_empty() && web.macs.len() == 1 && web != blog, "{web:?} {blog:?}");
}

#[test]
fn templates_are_listed_and_fetched() {
    let rig = Rig::new();
    let listed = rig.done("template.list", "cluster", &none());
    assert_eq!(listed, "0 container templates and 0 ISO images at hand, 4 templates to download");
    let fetched = rig.done("template.download", "node/pve1", &json!({"template": "debian-13"}));
    assert!(fetched.starts_with("debian-13-standard_13.1-2_amd64.tar.zst is on local now"), "{fetched}");
    let again = rig.done("template.download", "node/pve1", &json!({"template": "debian-13"}));
    assert!(again.ends_with("was at hand already"), "{again}");
    assert_eq!(
        rig.refused("template.download", "node/pve1", &json!({"template": "plan9"})),
        "there is no template plan9 to download"
    );
}

#[test]
fn guests_move_and_nodes_are_drained() {
    let rig = Rig::new();
    let moved = rig.done("guest.migrate", "vm/203", &json!({"node": "pve3"}));
    assert!(moved.starts_with("moved from pve2 to pve3 while it ran, running since"), "{moved}");
    let moved = rig.done("guest.migrate", "ct/118", &json!({"node": "pve2"}));
    assert_eq!(moved, "moved from pve1 to pve2 and started again there, running since 0 s");
    let moved = rig.done("guest.migrate", "ct/121", &json!({"node": "pve1"}));
    assert_eq!(moved, "moved from pve3 to pve1 while it was stopped, stopped");
    assert_eq!(rig.done("guest.migrate", "ct/121", &json!({"node": "pve1"})), "was already on pve1");
    assert_eq!(
        rig.refused("guest.migrate", "ct/121", &json!({"node": "pve9"})),
        "ct/121 wiki can't move to pve9: no such node is online"
    );
    // A storage that only one node has keeps its guests there.
    rig.memory.change(|inventory| inventory.storages[1].nodes.retain(|node| node != "pve3"));
    assert_eq!(
        rig.refused("guest.migrate", "vm/202", &json!({"node": "pve3"})),
        "vm/202 k3s-1 can't move to pve3: it has no storage local-zfs there"
    );
    assert!(
        rig.refused("guest.migrate", "ct/101", &json!({"node": "pve3"})).contains("pve3 has no storage for local-zfs:")
    );
    let outcome = rig.within(Duration::from_mins(2), "node.drain", "node/pve2", &none());
    assert_eq!(outcome.ending, Ending::Succeeded, "{}", outcome.summary);
    assert!(outcome.help.expect("a way back").contains("node=pve2` brings them back"));
    let left = rig.memory.change(|inventory| inventory.guests.iter().filter(|guest| guest.node == "pve2").count());
    assert_eq!(left, 0);
    let outcome = rig.run("node.drain", "node/pve1", &json!({"to": "pve3"}));
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(
        outcome.summary.contains("still on pve1: ") && outcome.summary.contains("local-zfs"),
        "{}",
        outcome.summary
    );
    assert!(outcome.summary.contains("1 template stays"), "{}", outcome.summary);
}

#[test]
fn what_can_not_be_done_is_refused_before_anything_is() {
    let rig = Rig::new();
    let cases = [
        ("guest.start", "vm/900", none(), "is a template"),
        ("guest.reboot", "ct/121", none(), "is not running"),
        ("guest.suspend", "ct/121", none(), "is not running"),
        ("guest.resume", "vm/211", none(), "is stopped"),
        ("guest.snapshot", "ct/118", json!({"name": "1st"}), "can't have a snapshot called 1st"),
        ("guest.snapshot", "ct/118", json!({"name": "current"}), "can't have a snapshot called current"),
        ("guest.rollback", "ct/118", json!({"snapshot": "none"}), "has no snapshot none"),
        ("guest.delete_snapshot", "ct/118", json!({"snapshot": "none"}), "has no snapshot none"),
        ("guest.destroy", "ct/118", none(), "is running"),
        ("guest.clone", "ct/118", json!({"name": "copy"}), "runs: a container is cloned while it is stopped"),
        ("guest.clone", "ct/121", json!({"name": "web-server"}), "ct/118 is called web-server already"),
        ("guest.clone", "ct/121", json!({"name": "a_b"}), "can't be a guest's name"),
        ("guest.clone", "ct/121", json!({"name": "copy", "newid": 118}), "118 is taken by web-server"),
        ("guest.clone", "ct/121", json!({"name": "copy", "newid": 7}), "7 can't be a vmid"),
        ("guest.resize", "ct/118", json!({"disk": "mp3", "size": "9G"}), "has no disk mp3"),
        ("guest.resize", "ct/118", json!({"disk": "rootfs", "size": "1M"}), "can't shrink"),
        ("guest.configure", "ct/118", none(), "no setting is given"),
        ("guest.backup", "ct/118", json!({"storage": "local-zfs"}), "can't hold backup"),
        ("guest.restore", "ct/118", json!({"backup": "newest"}), "has no backup newest"),
        ("guest.migrate", "vm/118", json!({"node": "pve2"}), "there is no vm/118: 118 is ct/118"),
        ("guest.create", "cluster", json!({"kind": "ct", "name": "x"}), "none is named"),
        (
            "guest.create",
            "cluster",
            json!({"kind": "ct", "name": "x", "template": "arch"}),
            "no template arch is at hand",
        ),
        ("guest.create", "cluster", json!({"kind": "vm", "name": "x", "template": "arch"}), "it is a clone of one"),
        ("guest.create", "cluster", json!({"kind": "vm", "name": "x", "node": "pve9"}), "no node pve9"),
        ("guest.create", "cluster", json!({"kind": "vm", "name": "x", "storage": "local"}), "can't hold images"),
        ("node.drain", "node/pve1", json!({"to": "pve1"}), "is no other node"),
    ];
    for (op, target, args, why) in cases {
        let said = rig.refused(op, target, &args);
        assert!(said.contains(why), "{op} {target} {args}: {said}");
    }
    assert!(rig.cluster.tasks().newest_first().is_empty(), "nothing was set going");
    rig.cluster.set(121, "protection", json!(1));
    assert_eq!(rig.refused("guest.destroy", "ct/121", &none()), "ct/121 wiki is protected");
}

#[test]
fn a_task_that_fails_is_told_in_proxmoxs_words() {
    let rig = Rig::new();
    rig.template();
    rig.done("guest.snapshot", "ct/121", &json!({"name": "here"}));
    rig.done("guest.backup", "ct/121", &json!({"storage": "local"}));
    let cases = [
        ("vzstart", "guest.start", "ct/121", none()),
        ("vzshutdown", "guest.shutdown", "ct/118", none()),
        ("vzstop", "guest.stop", "ct/118", none()),
        ("qmreboot", "guest.reboot", "vm/203", none()),
        ("qmpause", "guest.suspend", "vm/203", none()),
        ("vzsnapshot", "guest.snapshot", "ct/121", none()),
        ("vzrollback", "guest.rollback", "ct/121", json!({"snapshot": "here"})),
        ("vzdelsnapshot", "guest.delete_snapshot", "ct/121", json!({"snapshot": "here"})),
        ("vzclone", "guest.clone", "ct/121", json!({"name": "copy"})),
        ("vzdestroy", "guest.destroy", "ct/121", none()),
        ("resize", "guest.resize", "ct/121", json!({"disk": "rootfs", "size": "900G"})),
        ("vzdump", "guest.backup", "ct/121", none()),
        ("vzrestore", "guest.restore", "ct/121", json!({"backup": "newest"})),
        ("qmigrate", "guest.migrate", "vm/203", json!({"node": "pve3"})),
        ("vzcreate", "guest.create", "cluster", json!({"kind": "ct", "name": "x", "template": "debian-12"})),
        ("download", "template.download", "node/pve1", json!({"template": "alpine-3.22"})),
    ];
    for (kind, op, target, args) in cases {
        rig.cluster.faults().tasks.insert(kind.to_owned(), "no space left on device".to_owned());
        let outcome = rig.run(op, target, &args);
        assert_eq!(outcome.ending, Ending::Failed, "{op}: {}", outcome.summary);
        assert!(outcome.summary.ends_with("failed in Proxmox: no space left on device"), "{op}: {}", outcome.summary);
        assert!(outcome.help.is_some_and(|help| help.contains("node.tasks")), "{op} has no help");
    }
}

#[test]
fn a_lost_answer_is_looked_for_and_not_asked_for_again() {
    let rig = Rig::new();
    rig.cluster.faults().lost_answer = Some("/status/start".to_owned());
    assert!(rig.done("guest.start", "ct/121", &none()).starts_with("running since"));
    assert_eq!(rig.tasks("vzstart"), 1);
    rig.cluster.faults().lost_answer = Some("/snapshot".to_owned());
    // The list of snapshots is what gets lost here: it is a question, and nobody knows its answer.
    assert_eq!(rig.run("guest.snapshot", "ct/118", &none()).ending, Ending::Unknown);
    assert_eq!(rig.tasks("vzsnapshot"), 0);
}

#[test]
fn a_lock_is_waited_for_and_never_taken_away() {
    let rig = Rig::new();
    rig.lock(121, Some("backup"));
    let outcome = rig.within(Duration::from_millis(400), "guest.start", "ct/121", &none());
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Failed, "ct/121 wiki is locked (backup)"));
    assert_eq!(rig.tasks("vzstart"), 0, "nothing was asked for");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.done("guest.start", "ct/121", &none()));
        while !rig.said.0.lock().expect("nobody panics with it").iter().any(|line| line.ends_with("(backup): waiting"))
        {
            std::thread::yield_now();
        }
        rig.lock(121, None);
        assert!(waiting.join().expect("it does not panic").starts_with("running since"));
    });
}

#[test]
fn under_ha_the_deed_is_awaited_and_not_only_the_request() {
    let rig = Rig::new();
    rig.cluster.manage(121, "stopped");
    assert!(rig.done("guest.start", "ct/121", &none()).starts_with("running since"));
    assert_eq!((rig.tasks("hastart"), rig.tasks("vzstart")), (1, 0));
    assert_eq!(rig.done("guest.shutdown", "ct/121", &none()), "shut down cleanly");
}

#[test]
fn a_node_that_does_not_answer_is_said_to_be_one() {
    let rig = Rig::new();
    rig.cluster.faults().offline.insert("pve3".to_owned());
    let outcome = rig.run("guest.start", "ct/121", &none());
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(outcome.summary.starts_with("node pve3 does not answer the other nodes: GET "), "{}", outcome.summary);
    assert!(outcome.summary.contains("HTTP 595"), "{}", outcome.summary);
    assert_eq!(outcome.help.as_deref(), Some("is node pve3 on, and in its cluster? `remotectl nodes` shows it"));
}

#[test]
fn a_connection_between_nodes_that_breaks_is_looked_behind() {
    let broken = |rig: &Rig, status, acted| {
        rig.cluster.faults().broken = Some(sim::Broken { path: "/status/start".into(), status, acted });
    };
    for status in 596..=599 {
        let rig = Rig::new();
        broken(&rig, status, true);
        assert!(rig.done("guest.start", "ct/121", &none()).starts_with("running since"), "HTTP {status}");
        assert_eq!(rig.tasks("vzstart"), 1, "HTTP {status}: it was done, and not asked for twice");
        let rig = Rig::new();
        broken(&rig, status, false);
        let outcome = rig.within(Duration::from_millis(300), "guest.start", "ct/121", &none());
        let (summary, help) = (outcome.summary, outcome.help.expect("it has help"));
        assert_eq!((outcome.ending, rig.tasks("vzstart")), (Ending::Unknown, 0), "{summary}");
        let plainly = "node pve3 was asked, and the connection to it broke or took too long: POST ";
        assert!(summary.starts_with(plainly) && summary.ends_with(&format!("(HTTP {status})")), "{summary}");
        assert_eq!(help, "`remotectl run guest.status ct/121` shows its state now");
    }
}

#[test]
fn what_a_task_has_changed_is_known_before_the_node_has_reported_it() {
    let rig = Rig::new();
    let mut known = Known::default();
    let mut read = |vmid: u32| {
        let read = inventory(&rig.client, &mut known).expect("an inventory");
        let guest = read.guest(vmid).expect("it is there");
        (guest.status.clone(), guest.name.clone())
    };
    assert_eq!(read(121), ("stopped".into(), "wiki".into()));
    // The cluster's list goes on saying so until the node reports, up to 10 s later.
    rig.cluster.faults().unreported.insert(121, "stopped".into());
    rig.done("guest.start", "ct/121", &none());
    assert_eq!(read(121), ("running".into(), "wiki".into()));
    rig.cluster.faults().unreported.insert(300, "unknown".into());
    rig.done("guest.clone", "vm/900", &json!({"name": "copy", "newid": 300}));
    assert_eq!(read(300), ("stopped".into(), "copy".into()));
    // Nobody did anything to this one: the list is believed.
    rig.cluster.faults().unreported.insert(118, "stopped".into());
    assert_eq!(read(118).0, "stopped");
}

#[test]
fn a_migration_that_fails_leaves_the_guest_where_it_was_and_says_why() {
    let rig = Rig::new();
    let why = "command 'ssh' failed: exit code 255".to_owned();
    rig.cluster.faults().tasks.insert("qmigrate".into(), why);
    let outcome = rig.run("guest.migrate", "vm/203", &json!({"node": "pve3"}));
    println!("{:?}: {}\nhelp: {}", outcome.ending, outcome.summary, outcome.help.as_deref().unwrap_or_default());
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(
        outcome.summary.contains("migrate of vm/203 k3s-2 failed in Proxmox: command 'ssh' failed"),
        "{}",
        outcome.summary
    );
    assert!(rig.done("guest.status", "vm/203", &none()).contains("on pve2"), "it has not moved");
}

#[test]
fn a_guest_that_moves_between_a_look_and_a_request_is_found_again() {
    for path in ["/lxc/121/status/current", "/lxc/121/status/start"] {
        let rig = Rig::new();
        let (path, node) = (path.to_owned(), "pve1".to_owned());
        rig.cluster.faults().moves = Some(sim::Elsewhere { path, vmid: 121, node });
        let outcome = rig.run("guest.start", "ct/121", &none());
        assert!(outcome.succeeded(), "{} {:?}", outcome.summary, outcome.help);
        assert_eq!(outcome.data["node"], "pve1");
        assert!(rig.said.0.lock().expect("nobody panics with it").iter().any(|line| line == "it is on pve1 now"));
        assert_eq!(rig.cluster.faults().moves, None, "somebody has moved it");
    }
    // Once: what is never where it was looked for is told.
    let rig = Rig::new();
    rig.cluster
        .faults()
        .tasks
        .insert("vzstart".into(), "Configuration file 'nodes/pve3/lxc/121.conf' does not exist".into());
    let outcome = rig.run("guest.start", "ct/121", &none());
    assert_eq!((outcome.ending, rig.tasks("vzstart")), (Ending::Failed, 2));
    assert!(outcome.summary.ends_with("it is not on pve3 any more"), "{}", outcome.summary);
}

#[test]
fn a_cluster_without_quorum_is_said_to_be_that() {
    let rig = Rig::new();
    rig.cluster.faults().no_quorum = true;
    let steps = [
        ("guest.start", "ct/121", none()),
        ("guest.configure", "ct/118", json!({"cores": 3})),
        ("guest.clone", "vm/900", json!({"name": "n"})),
    ];
    for (op, target, args) in steps {
        let outcome = rig.run(op, target, &args);
        assert_eq!(outcome.ending, Ending::Failed, "{op}: {}", outcome.summary);
        assert!(outcome.summary.contains("the cluster has no quorum"), "{op}: {}", outcome.summary);
        assert!(outcome.help.expect("it has help").starts_with("`pvecm status`"), "{op}");
    }
    assert!(rig.done("guest.status", "ct/118", &none()).starts_with("running"), "looking is possible");
}

#[test]
fn under_ha_a_move_is_followed_to_its_end_and_rules_are_said() {
    let rig = Rig::new();
    rig.cluster.manage(118, "started");
    let moved = rig.run("guest.migrate", "ct/118", &json!({"node": "pve2"}));
    assert!(moved.succeeded() && moved.summary.starts_with("moved from pve1 to pve2"), "{}", moved.summary);
    assert_eq!((rig.tasks("hamigrate"), rig.tasks("vzmigrate")), (1, 0));
    rig.cluster.faults().kept_by_ha.insert(118, "ct:119".into());
    let refused = rig.refused("guest.migrate", "ct/118", &json!({"node": "pve1"}));
    assert_eq!(refused, "ct/118 web-server can't move to pve1: HA rules keep it from there: ct:119");
    rig.cluster.manage(121, "error");
    assert_eq!(
        rig.refused("guest.start", "ct/121", &none()),
        "the HA manager has given up on ct/121 wiki: its state there is `error`"
    );
}

#[test]
fn a_missing_privilege_is_named() {
    let rig = Rig::without(&["VM.Snapshot"]);
    let outcome = rig.run("guest.snapshot", "ct/118", &none());
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(outcome.summary.contains("(/vms/118, VM.Snapshot)"), "{}", outcome.summary);
    assert!(outcome.help.expect("it has help").contains("--append 1 --privs \"VM.Snapshot\"` adds it"));
    let rig = Rig::without(&["VM.Allocate"]);
    let outcome = rig.run("guest.create", "cluster", &json!({"kind": "vm", "name": "n"}));
    assert!(
        outcome.help.as_deref().is_some_and(|help| help.contains("VM.Allocate")),
        "{} {:?}",
        outcome.summary,
        outcome.help
    );
}

#[test]
fn what_a_pve_agent_says_that_it_can_do_it_can() {
    let rig = Rig::new();
    for (name, _) in Op::ALL.iter().filter(|(name, _)| can(name)) {
        let args = match *name {
            "guest.migrate" => json!({"node": "pve2"}),
            "guest.rollback" | "guest.delete_snapshot" => json!({"snapshot": "none"}),
            "guest.clone" => json!({"name": "a_b"}),
            "guest.create" => json!({"kind": "vm", "name": "a_b"}),
            "guest.resize" => json!({"disk": "none", "size": "1G"}),
            "guest.restore" => json!({"backup": "none"}),
            "template.download" => json!({"template": "none"}),
            "node.drain" => json!({"to": "none"}),
            _ => none(),
        };
        let target = match name.split('.').next() {
            Some("node") => "node/pve1",
            Some("template") => "cluster",
            _ if *name == "guest.create" => "cluster",
            _ => "ct/121",
        };
        let outcome = rig.run(name, target, &args);
        assert!(!outcome.summary.contains("can't be done on"), "{name}: {}", outcome.summary);
    }
}
