//! Recorded exchanges with a genuine Proxmox VE 9.2, played back to the client. tests/fixtures/pve holds those that concern
//! us, copied line by line from the whole recording, which is compared with and gone through where it is at hand.

use super::{
    client::{Access, Client, Token, Verify},
    error::ApiError,
    form::Form,
    inventory::{Known, inventory},
    perform::{can, perform},
    requests::Call,
    upid::Upid,
    wire::{Request, Response, Wire},
};
use crate::{
    model::{
        Op, Outcome, Target,
        digest::Digest,
        inventory::Os,
        outcome::{Ending, Report, chain},
    },
    sys::{cancel::Cancel, http::HttpError, secret::Secret, task::Task},
};
use serde_json::Value;
use std::{collections::VecDeque, path::PathBuf, sync::Mutex, time::Duration};

const HTTP: &str = include_str!("../../tests/fixtures/pve/client/http.jsonl");
const CLI: &str = include_str!("../../tests/fixtures/pve/client/cli.jsonl");

/// One recorded exchange.
#[derive(Debug, Clone)]
struct Recorded {
    method: String,
    path: String,
    form: Option<String>,
    response: Response,
}

impl Recorded {
    fn of(line: &Value) -> Option<Self> {
        let (request, response) = (&line["request"], &line["response"]);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let body = match &response["body"] {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            json => serde_json::to_vec(json).unwrap(),
        };
        Some(Self {
            method: text(&request["method"])?,
            path: text(&request["path"])?,
            form: text(&request["body"]),
            response: Response {
                status: u16::try_from(response["status"].as_u64()?).unwrap(),
                reason: text(&response["reason"]).unwrap_or_default(),
                body,
            },
        })
    }
}

/// Plays exchanges back, those of one path in the order given, the last of them for ever.
pub(super) struct Replay(Mutex<VecDeque<Recorded>>);

impl Replay {
    /// By name. `~name` is the answer to another form than ours; `name 110=104` is the same exchange about another guest.
    pub fn of(names: &[&str]) -> Self {
        let lines: Vec<Value> = HTTP.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let one = |named: &&str| {
            let mut words = named.split(' ');
            let name = words.next().unwrap();
            let bare = name.trim_start_matches('~');
            let line = lines.iter().find(|line| line["name"] == bare).unwrap_or_else(|| panic!("no recorded {bare}"));
            let renumber = |text: String, pair: &str| {
                text.replace(pair.split('=').next().unwrap(), &pair[pair.find('=').unwrap() + 1..])
            };
            let text = words.fold(line.to_string(), renumber);
            let recorded = Recorded::of(&serde_json::from_str(&text).unwrap()).unwrap();
            Recorded { form: recorded.form.filter(|_| bare == name), ..recorded }
        };
        Self(Mutex::new(names.iter().map(one).collect()))
    }
}

impl Wire for Replay {
    fn exchange(&self, request: &Request, who: &[(&str, &str)]) -> Result<Response, HttpError> {
        assert!(matches!(who, [("authorization", token)] if token.starts_with("PVEAPIToken=")));
        let mut recorded = self.0.lock().unwrap();
        let bare = |path: &str| path.split('?').next().unwrap_or_default().to_owned();
        let same = |one: &Recorded, exact: bool| {
            let path = if exact { one.path == request.path } else { bare(&one.path) == bare(&request.path) };
            path && one.method == request.method
        };
        let at = recorded
            .iter()
            .position(|one| same(one, true))
            .or_else(|| recorded.iter().position(|one| same(one, false)));
        let at = at.unwrap_or_else(|| panic!("nothing was recorded for {} {}", request.method, request.path));
        let one = recorded[at].clone();
        if one.form.is_some() {
            assert_eq!(request.form, one.form, "{} {}", request.method, request.path);
        }
        if recorded.iter().filter(|other| same(other, false)).count() > 1 {
            recorded.remove(at);
        }
        Ok(one.response)
    }
}

fn client(names: &[&str]) -> Client {
    Client::new(Replay::of(names), &Token { id: "root@pam!full".into(), secret: Secret::new("<TOKEN>") })
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Report for Lines {
    fn progress(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn output(&self, _: &[u8]) {}
}

pub(super) fn run(op: &Op, target: &str, names: &[&str]) -> Outcome {
    run_after(op, target, "cluster.resources.vm", names)
}

/// With that list of guests before anything else.
pub(super) fn run_after(op: &Op, target: &str, guests: &str, names: &[&str]) -> Outcome {
    perform(&client(&[&[guests], names].concat()), op, &target.parse().unwrap(), &Task::default())
}

fn shutdown(timeout: Option<&str>) -> Op {
    Op::GuestShutdown { timeout: timeout.map(|text| text.parse().unwrap()) }
}

#[test]
fn a_start_says_what_was_seen_afterwards() {
    let names = [
        "lxc.status.stopped",
        "lxc.status.running",
        "lxc.start",
        "lxc.start.task.status-running",
        "lxc.start.task.status",
        "lxc.start.task.log",
    ];
    let outcome = run(&Op::GuestStart {}, "ct/101", &names);
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Succeeded, "running since 17 s"));
    assert_eq!(outcome.data["task"], "UPID:pve1:00000333:000B7BCF:6B02A8A2:vzstart:101:root@pam:");
}

#[test]
fn what_is_so_already_is_said_and_not_done() {
    let outcome = run(&Op::GuestStart {}, "ct/101", &["lxc.status.running"]);
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Succeeded, "was already running since 17 s"));
    assert_eq!(run(&shutdown(None), "ct/101", &["lxc.status.stopped"]).summary, "was already stopped");
    assert_eq!(run(&Op::GuestReboot {}, "ct/101", &["lxc.status.stopped"]).ending, Ending::Rejected);
}

#[test]
fn a_start_that_is_answered_200_and_fails_as_a_task_is_a_failure() {
    let names = ["lxc.status.stopped", "lxc.start.locked", "lxc.start.locked.task.status", "lxc.start.locked.task.log"];
    let outcome = run(&Op::GuestStart {}, "ct/101", &names);
    assert_eq!(
        (outcome.ending, outcome.summary.as_str()),
        (Ending::Failed, "start of ct/101 web: CT is locked (backup)")
    );
    assert!(outcome.help.unwrap().contains("node.tasks node/pve1"));
}

#[test]
fn a_start_that_lost_a_race_is_told_in_proxmoxs_words() {
    let outcome = run(&Op::GuestStart {}, "ct/101", &["lxc.status.stopped", "lxc.start.running"]);
    assert!(outcome.summary.ends_with("CT 101 already running (HTTP 500)"), "{}", outcome.summary);
}

#[test]
fn a_guest_that_does_not_shut_down_is_told_and_left_running() {
    let names = [
        "lxc.status.running",
        "lxc.shutdown.timeout",
        "lxc.shutdown.timeout.task.status",
        "lxc.shutdown.timeout.task.log",
    ];
    let report = Lines::default();
    let task = Task { report: &report, ..Task::default() };
    let client = client(&[&["cluster.resources.vm"], &names[..]].concat());
    let outcome = perform(&client, &shutdown(Some("3s")), &Target::ct(101), &task);
    assert_eq!(outcome.ending, Ending::TimedOut);
    assert_eq!(
        outcome.summary,
        "ct/101 web did not shut down in time and is running since 17 s: container did not stop"
    );
    assert_eq!(outcome.help.as_deref(), Some("`remotectl run guest.stop ct/101` cuts its power"));
    assert_eq!(*report.0.lock().unwrap(), ["command 'lxc-stop -n 101 --nokill --timeout 3' failed: exit code 1"]);
}

#[test]
fn shutdown_stop_and_reboot_are_seen_to_have_happened() {
    let names = [
        "lxc.status.running",
        "lxc.status.stopped",
        "lxc.shutdown",
        "lxc.shutdown.task.status",
        "lxc.shutdown.task.log",
    ];
    assert_eq!(run(&shutdown(Some("20s")), "ct/101", &names).summary, "shut down cleanly");
    let names = ["lxc.status.running", "lxc.status.stopped", "lxc.stop", "lxc.stop.task.status", "lxc.stop.task.log"];
    assert_eq!(run(&Op::GuestStop {}, "ct/101", &names).summary, "stopped");
    let names = [
        "qemu.status.running",
        "qemu.status.after-reboot",
        "qemu.reboot",
        "qemu.reboot.task.status",
        "qemu.reboot.task.log",
    ];
    let outcome = run(&Op::GuestReboot {}, "vm/100", &names);
    assert!(outcome.succeeded() && outcome.summary.starts_with("rebooted, running since"), "{}", outcome.summary);
}

#[test]
fn under_ha_the_state_is_followed_and_not_the_request() {
    let names = [
        "lxc.status.ha-managed",
        "lxc.start.ha-managed",
        "lxc.start.ha-managed.task.status",
        "lxc.start.ha-managed.task.log",
        "lxc.status.ha-just-requested",
        "lxc.status.ha-started",
    ];
    let outcome = run(&Op::GuestStart {}, "ct/101", &names);
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Succeeded, "running since 16 s"));
}

#[test]
fn a_machine_is_paused_and_goes_on() {
    let names = [
        "qemu.status.running",
        "qemu.status.paused",
        "qemu.suspend",
        "qemu.suspend.task.status",
        "qemu.suspend.task.log",
    ];
    assert_eq!(run(&Op::GuestSuspend {}, "vm/100", &names).summary, "paused");
    let names =
        ["qemu.status.paused", "qemu.status.running", "qemu.resume", "qemu.resume.task.status", "qemu.resume.task.log"];
    assert!(run(&Op::GuestResume {}, "vm/100", &names).summary.starts_with("running since"));
    assert_eq!(run(&Op::GuestSuspend {}, "vm/100", &["qemu.status.paused"]).summary, "was already paused");
}

#[test]
fn a_container_that_can_not_be_suspended_is_told() {
    let names = ["lxc.status.running", "lxc.suspend", "lxc.suspend.task.status", "lxc.suspend.task.log"];
    let outcome = run(&Op::GuestSuspend {}, "ct/101", &names);
    assert_eq!(outcome.ending, Ending::Failed);
    let wanted =
        "suspend of ct/101 web failed in Proxmox: command 'lxc-checkpoint -n 101 -s -D /var/lib/vz/dump' failed";
    assert!(outcome.summary.starts_with(wanted), "{}", outcome.summary);
}

#[test]
fn snapshots_are_listed_gone_back_to_and_deleted() {
    let listed = |names: &[&str], target: &str| run(&Op::GuestSnapshots {}, target, names).summary;
    assert_eq!(listed(&["lxc.status.after-rollback", "lxc.snapshot.list.empty"], "ct/103"), "no snapshots");
    assert_eq!(listed(&["lxc.status.after-rollback", "lxc.snapshot.list"], "ct/103"), "1 snapshot: before");
    assert_eq!(listed(&["qemu.status.running", "qemu.snapshot.list"], "vm/100"), "2 snapshots, the newest: withram");
    let names = [
        "lxc.status.after-rollback",
        "lxc.snapshot.list-2",
        "lxc.snapshot.rollback",
        "lxc.snapshot.rollback.task.status",
        "lxc.snapshot.rollback.task.log",
    ];
    let outcome = run(&Op::GuestRollback { snapshot: "before".into() }, "ct/103", &names);
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Succeeded, "back at before, stopped"));
    let delete = |deletion: [&str; 3]| {
        let names =
            [&["lxc.status.after-rollback", "lxc.snapshot.list-2", "lxc.snapshot.list"], &deletion[..]].concat();
        run(&Op::GuestDeleteSnapshot { snapshot: "after".into() }, "ct/103", &names)
    };
    let done = delete(["lxc.snapshot.delete", "lxc.snapshot.delete.task.status", "lxc.snapshot.delete.task.log"]);
    assert_eq!((done.ending, done.summary.as_str()), (Ending::Succeeded, "snapshot after deleted, 1 left"));
    let failed = delete([
        "lxc.snapshot.delete.while-starting",
        "lxc.snapshot.delete.while-starting.task.status",
        "lxc.snapshot.delete.while-starting.task.log",
    ]);
    assert!(
        failed.summary.ends_with("Failed to obtain guest migration lock - replication running?"),
        "{}",
        failed.summary
    );
}

#[test]
fn a_cluster_of_one_node_has_nowhere_to_move_to() {
    let names = ["lxc.status.running", "cluster.resources"];
    let outcome = run(&Op::GuestMigrate { node: "pve2".into() }, "ct/101", &names);
    assert_eq!(
        (outcome.ending, outcome.summary.as_str()),
        (Ending::Rejected, "ct/101 web can't move to pve2: no such node is online")
    );
}

#[test]
fn strangers_and_wrong_kinds_are_named() {
    let outcome = run(&Op::GuestStart {}, "ct/999", &[]);
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Rejected, "there is no guest 999 in this cluster"));
    let outcome = run(&Op::GuestStart {}, "ct/100", &[]);
    assert_eq!(outcome.summary, "there is no ct/100: 100 is vm/100 app");
}

#[test]
fn a_cancelled_operation_does_not_wait() {
    let names = [
        "cluster.resources.vm",
        "lxc.status.stopped",
        "lxc.start",
        "lxc.start.task.status-running",
        "lxc.start.task.log",
    ];
    let cancel = Cancel::new();
    cancel.fire();
    let task = Task { cancel, timeout: Duration::from_secs(5), ..Task::default() };
    // The abort itself was not recorded: that it is asked for is what the panic says.
    let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        perform(&client(&names), &Op::GuestStart {}, &Target::ct(101), &task)
    }));
    let panic = asked.unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("DELETE /api2/json/nodes/pve1/tasks/UPID"));
}

#[test]
fn errors_are_typed_and_said_once() {
    let refused =
        |name: &str, path: &str| client(&[name]).ask::<Value>(&Call::stranger("GET", path, Form::new())).unwrap_err();
    let error = refused("version.no-ticket", "/version");
    assert_eq!((error.status(), error.to_string().as_str()), (Some(401), "GET /version: No ticket (HTTP 401)"));
    assert!(error.help().contains("pve-agent install"));
    let error = refused("http.unknown-path", "/nosuch");
    assert_eq!(error.to_string(), "GET /nosuch: Method 'GET /nosuch' not implemented (HTTP 501)");
    let error = refused("token.privsep-no-rights", "/nodes/pve1/status");
    assert_eq!((error.status(), error.reason()), (Some(403), "Permission check failed (/nodes/pve1, Sys.Audit)"));
    let form = Form::new().with("vmid", "abc").with("memory", "lots").with("nosuch", 1).with("swap", -1);
    let error =
        client(&["param.several-errors"]).ask::<Value>(&Call::stranger("POST", "/nodes/pve1/lxc", form)).unwrap_err();
    let ApiError::Refused { parameters, .. } = &error else { panic!("{error}") };
    assert_eq!(parameters["vmid"], "type check ('integer') failed - got 'abc'");
    let error = client(&["agent.exec.nonexistent"]).ask::<Value>(&Call::stranger(
        "POST",
        "/nodes/pve1/qemu/100/agent/exec",
        Form::new(),
    ));
    assert!(matches!(error, Err(ApiError::Refused { status: 596, .. })) || error.is_err());
}

#[test]
fn the_inventory_of_a_fresh_node() {
    let names = ["cluster.status", "cluster.resources", "node.version", "lxc.config", "qemu.config"];
    let wire = Lenient(Replay::of(&names));
    let client = Client::new(wire, &Token { id: "a@pve!b".into(), secret: Secret::new("c") });
    let inventory = inventory(&client, &mut Known::default()).unwrap();
    assert_eq!(inventory.cluster, "pve1");
    let node = &inventory.nodes[0];
    assert_eq!(
        (node.name.as_str(), node.status.as_str(), node.address.as_deref()),
        ("pve1", "online", Some("10.99.0.1"))
    );
    assert_eq!((node.cores, node.memory_mib, node.version.as_deref()), (2, 24_105, Some("9.2.11")));
    let vmids: Vec<u32> = inventory.guests.iter().map(|guest| guest.vmid).collect();
    assert_eq!(vmids, [100, 101, 102, 103, 105, 106]);
    let web = inventory.guest(101).unwrap();
    assert_eq!(
        (web.tags.join(" "), &web.os, web.addresses.join(" ")),
        ("prod web".into(), &Os::new("debian", ""), "10.99.0.101".into())
    );
    assert_eq!(web.incarnation.as_ref().unwrap().macs, ["bc:24:11:12:3e:9e"]);
    let app = inventory.guest(100).unwrap();
    assert_eq!(app.guest_agent, None, "it is stopped: nobody knows");
    let is = app.incarnation.as_ref().unwrap();
    assert_eq!(is.smbios, "6803c38d-28cd-438a-9a79-c6b40484fbb2");
    assert_eq!(
        (is.generation.as_str(), &is.macs[..]),
        ("4c66d381-bf74-4ac4-a309-7ce3d7105349", &["bc:24:11:0c:74:ad".to_owned()][..])
    );
    assert_eq!(inventory.storages.iter().map(|storage| storage.kind.as_str()).collect::<Vec<_>>(), ["dir", "btrfs"]);
}

#[test]
fn a_guest_that_has_not_been_reported_yet_is_unknown_and_keeps_its_place() {
    let names = [
        "cluster.status",
        "perm.auditor.resources",
        "lxc.config",
        "qemu.config",
        "agent.get-osinfo",
        "agent.network-get-interfaces",
    ];
    let client = Client::new(Lenient(Replay::of(&names)), &Token { id: "a@pve!b".into(), secret: Secret::new("c") });
    let inventory = inventory(&client, &mut Known::default()).unwrap();
    let unknown = inventory.guest(104).unwrap();
    assert_eq!((unknown.status.as_str(), unknown.name.as_str(), unknown.running()), ("unknown", "", false));
    let app = inventory.guest(100).unwrap();
    assert_eq!(
        (app.guest_agent, &app.os, app.addresses.join(" ")),
        (Some(true), &Os::new("debian", "12"), "10.99.0.100".into())
    );
}

/// Answers what was not recorded as a node answers what it does not have.
struct Lenient(Replay);

impl Wire for Lenient {
    fn exchange(&self, request: &Request, who: &[(&str, &str)]) -> Result<Response, HttpError> {
        let bare = request.path.split('?').next().unwrap_or_default();
        let known = self.0.0.lock().unwrap().iter().any(|one| one.path.split('?').next() == Some(bare));
        if known {
            return self.0.exchange(request, who);
        }
        Ok(Response { status: 500, reason: "not recorded".into(), body: Vec::new() })
    }
}

#[test]
fn a_nodes_state_and_tasks() {
    let at = |names: &[&str], op: &Op| perform(&client(names), op, &Target::node("pve1"), &Task::default());
    let outcome = at(&["node.status"], &Op::NodeStatus {});
    assert_eq!(
        outcome.summary,
        "up 2 h, load 0.17, memory 1.3 of 23.5 GiB, root 0.0 of 8.0 GiB, 2 cores, Proxmox VE 9.2.11"
    );
    let outcome = at(&["tasks.errors"], &Op::NodeTasks { limit: Some(3), errors: Some(true) });
    assert!(
        outcome.summary.starts_with("3 tasks, 3 failed, 0 running; the last failure: qmstart 115"),
        "{}",
        outcome.summary
    );
}

#[test]
fn an_api_that_is_down_is_said_to_be_down() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let token = Token { id: "a@pve!b".into(), secret: Secret::new("c") };
    let verify = Verify::Fingerprint(Digest::of(b""));
    let client = Client::connect(&Access { address: free.to_string(), verify, token: token.clone() }).unwrap();
    let outcome = perform(&client, &Op::GuestStart {}, &Target::ct(101), &Task::default());
    let wanted = format!("GET /cluster/resources: the Proxmox API does not answer: connecting to {free}: ");
    assert!(outcome.summary.starts_with(&wanted), "{}", outcome.summary);
    assert_eq!((outcome.ending, outcome.help.unwrap().contains("systemctl status pveproxy")), (Ending::Failed, true));
    let verify = Verify::AuthorityFile("/nonexistent/ca.pem".into());
    let error = Client::connect(&Access { address: free.to_string(), verify, token }).unwrap_err();
    let wanted = "verifying the Proxmox API by its cluster's CA: reading /nonexistent/ca.pem: No such file";
    assert!(chain(&error).starts_with(wanted) && error.help().contains("Proxmox node"), "{}", chain(&error));
}

#[test]
fn what_is_said_to_be_possible_is_tried_and_the_rest_rejected() {
    let token = Token { id: "a@pve!b".into(), secret: Secret::new("c") };
    for (name, _) in Op::ALL {
        let Ok(op) = Op::from_parts(name, serde_json::Map::new()) else { continue };
        let ended = |target| perform(&Client::new(Silent, &token), &op, &target, &Task::default()).ending;
        let tried = [Target::ct(101), Target::node("pve1"), Target::cluster()]
            .map(ended)
            .iter()
            .any(|ending| *ending != Ending::Rejected);
        assert_eq!(tried, can(name), "{name}");
    }
}

/// Answers nothing.
struct Silent;

impl Wire for Silent {
    fn exchange(&self, _: &Request, _: &[(&str, &str)]) -> Result<Response, HttpError> {
        Err(HttpError::Lost { what: "nothing".into() })
    }
}

/// The recordings beside the project, where there are any.
pub(super) fn golden(file: &str) -> Option<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let text = |up: &str| std::fs::read_to_string(root.join(up).join("shared/pve/golden").join(file)).ok();
    text("..").or_else(|| text("../.."))
}

#[test]
fn the_fixtures_are_copies_of_the_recording() {
    for (file, ours) in [("http.jsonl", HTTP), ("cli.jsonl", CLI)] {
        let Some(whole) = golden(file) else { continue };
        let whole: std::collections::HashSet<&str> = whole.lines().collect();
        for line in ours.lines() {
            assert!(whole.contains(line), "{file}: not as recorded: {}", &line[..line.len().min(120)]);
        }
    }
}

#[test]
fn every_recorded_answer_reads() {
    let Some(whole) = golden("http.jsonl") else { return };
    let (mut refused, mut upids) = (0, 0);
    for line in whole.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(recorded) = Recorded::of(&line) else { continue };
        let Response { status, reason, body } = recorded.response;
        if !(200..300).contains(&status) {
            let error = ApiError::refused("GET /".into(), status, &reason, &body);
            assert!(!error.reason().is_empty(), "{}", line["name"]);
            refused += 1;
        }
        if let Some(text) = line["response"]["body"]["data"].as_str().filter(|text| text.starts_with("UPID:")) {
            assert_eq!(text.parse::<Upid>().unwrap_or_else(|error| panic!("{error}")).to_string(), text);
            upids += 1;
        }
    }
    assert!(refused > 100 && upids > 50, "{refused} refusals, {upids} UPIDs");
}
