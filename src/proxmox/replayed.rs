//! Whole operations over recorded exchanges: guests made, copied, configured, resized, backed up and destroyed as a genuine
//! Proxmox VE 9.2 answered. The recording has one node, and its backups fail for want of a program.

use super::{
    client::{Client, Token},
    perform::{can, perform},
    replay::run,
    wire::{Request, Response, Wire},
};
use crate::{
    model::{
        Op, Outcome, Target, catalogue,
        outcome::Ending,
        values::{GuestKind, Size},
    },
    sys::{cancel::Cancel, http::HttpError, secret::Secret, task::Task},
};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Mutex;

fn configure(memory: Option<&str>, tags: Option<&[&str]>) -> Op {
    let memory = memory.map(|size| size.parse().unwrap());
    let tags = tags.map(|tags| tags.iter().map(|&tag| tag.to_owned()).collect());
    Op::GuestConfigure { cores: None, memory, tags, onboot: None, name: None }
}

fn told(outcome: &Outcome) -> (Ending, &str) {
    (outcome.ending, &outcome.summary)
}

#[test]
fn settings_change_at_once_or_wait_for_the_next_reboot() {
    let names = ["lxc.status.running", "lxc.config", "~lxc.config.put", "lxc.config.after-put", "lxc.pending"];
    let outcome = run(&configure(None, Some(&["db", "prod"])), "ct/101", &names);
    assert_eq!(told(&outcome), (Ending::Succeeded, "tags prod;web → db;prod"));
    let names = [
        "qemu.status.running",
        "qemu.config",
        "~qemu.config.put",
        "qemu.config.with-pending",
        "qemu.pending.with-change",
    ];
    let outcome = run(&configure(Some("768M"), None), "vm/100", &names);
    assert_eq!(told(&outcome), (Ending::Succeeded, "memory 512 → 768 MiB; memory after the next reboot"));
    assert_eq!(outcome.help.as_deref(), Some("`remotectl run guest.reboot vm/100` puts it into effect"));
    assert_eq!(outcome.data["changed"][0]["before"], "512");
}

#[test]
fn settings_that_somebody_else_changes_or_locks_stay_as_they_are() {
    for (target, status, config, put) in [
        ("ct/101", "lxc.status.running", "lxc.config", "~lxc.config.put.digest-conflict"),
        ("vm/100", "qemu.status.running", "qemu.config", "~qemu.config.put.digest-conflict"),
    ] {
        let outcome = run(&configure(Some("96M"), None), target, &[status, config, put]);
        assert_eq!(outcome.ending, Ending::Rejected, "{}", outcome.summary);
        assert!(outcome.summary.ends_with("configured by somebody else at this moment: nothing was changed"));
    }
    let names = ["lxc.status.running", "lxc.config", "~lxc.config.put.locked"];
    let outcome = run(&configure(Some("96M"), None), "ct/101", &names);
    assert_eq!(told(&outcome), (Ending::Failed, "configure of ct/101 web: CT is locked (backup)"));
    assert!(outcome.help.unwrap().starts_with("wait until that is over"));
}

#[test]
fn a_disk_grows_and_what_refuses_to_is_told() {
    let grow = |disk: &str| Op::GuestResize { disk: disk.into(), size: "2G".parse::<Size>().unwrap() };
    let grown = |task: &str| {
        let recorded = ["", ".task.status", ".task.log"].map(|line| format!("~{task}{line} 115=100"));
        let before = ["qemu.status.running", "qemu.clone.config 115=100"];
        let names: Vec<&str> = before
            .into_iter()
            .chain(recorded.iter().map(String::as_str))
            .chain(["qemu.config.template 115=100"])
            .collect();
        run(&grow("scsi0"), "vm/100", &names)
    };
    let outcome = grown("qemu.resize");
    assert_eq!(told(&outcome), (Ending::Succeeded, "scsi0 1 GiB → 2 GiB; its file system is grown from inside"));
    let outcome = grown("qemu.resize.shrink");
    let why = "resize of vm/100 app failed in Proxmox: shrinking disks is not supported";
    assert_eq!(told(&outcome), (Ending::Failed, why));
    // What is refused at once, and here by us before.
    let names = ["lxc.status.running", "lxc.config", "~lxc.resize.shrink 103=101"];
    let outcome = run(&grow("rootfs"), "ct/101", &names);
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(outcome.summary.ends_with("unable to shrink disk size (HTTP 500)"), "{}", outcome.summary);
    let shrink = Op::GuestResize { disk: "rootfs".into(), size: "512M".parse().unwrap() };
    let outcome = run(&shrink, "ct/101", &["lxc.status.running", "lxc.config"]);
    assert_eq!(told(&outcome), (Ending::Rejected, "ct/101 web has rootfs of 1 GiB already: it can't shrink"));
}

#[test]
fn a_guest_is_copied_whole_where_its_storage_can_not_link() {
    let clone = |name: &str| Op::GuestClone { name: name.into(), newid: None, node: None };
    let copied = ["lxc.clone", "lxc.clone.task.status", "lxc.clone.task.log"];
    let all = |guest: &[&'static str], others: &[String]| -> Vec<String> {
        let seen = ["perm.auditor.resources", "lxc.status.template 110=104", "cluster.resources", "cluster.nextid"];
        guest.iter().chain(&seen).map(|&name| name.to_owned()).chain(others.iter().cloned()).collect()
    };
    let done = |names: Vec<String>, target: &str, name: &str| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        run(&clone(name), target, &names)
    };
    let outcome = done(all(&["lxc.status.stopped"], &copied.map(|name| format!("{name} 110=104"))), "ct/101", "web2");
    assert_eq!(told(&outcome), (Ending::Succeeded, "cloned: ct/104 web2 on pve1, stopped"));
    assert_eq!((&outcome.data["target"], &outcome.data["name"]), (&"ct/104".into(), &"web2".into()));
    assert_eq!(outcome.help.as_deref(), Some("`remotectl run guest.destroy ct/104` takes it away again"));
    // Of a template a linked one is tried first: a directory has none.
    let mut others = vec!["~lxc.clone.template-linked 110=101".to_owned()];
    others.extend(copied.map(|name| format!("{name} 110=104")));
    let outcome = done(all(&["lxc.status.template 110=101"], &others), "ct/101", "web2");
    assert_eq!(told(&outcome), (Ending::Succeeded, "cloned: ct/104 web2 on pve1, stopped"));
    let names = ["~qemu.clone.exists", "qemu.clone.exists.task.status", "qemu.clone.exists.task.log"];
    let outcome = done(all(&["qemu.status.after-reboot-timeout"], &names.map(str::to_owned)), "vm/105", "copy");
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(outcome.summary.ends_with("/qemu-server/101.conf' failed: File exists"), "{}", outcome.summary);
    let outcome = run(&clone("a"), "ct/101", &["lxc.status.running", "cluster.resources"]);
    assert_eq!(outcome.summary, "ct/101 web runs: a container is cloned while it is stopped");
}

#[test]
fn a_backup_that_fails_is_told_in_proxmoxs_words() {
    let there = ["lxc.status.after-rollback", "node.storage.content-filter", "node.storage.content.backup-of-guest"];
    let task = ["~vzdump.snapshot", "vzdump.snapshot.task.status", "vzdump.snapshot.task.log"];
    let outcome = run(&Op::GuestBackup { storage: None }, "ct/103", &[&there[..], &task].concat());
    let why = "backup of ct/103 db failed in Proxmox: unable to find command 'cstream'";
    assert_eq!(told(&outcome), (Ending::Failed, why));
    assert_eq!(told(&run(&Op::GuestBackups {}, "ct/103", &there)), (Ending::Succeeded, "no backup"));
    let restore = Op::GuestRestore { backup: "newest".into(), storage: None, newid: None };
    assert_eq!(told(&run(&restore, "ct/103", &there)), (Ending::Rejected, "ct/103 db has no backup newest"));
}

#[test]
fn under_ha_a_guest_goes_down_and_is_not_taken_away_past_it() {
    let names = [
        "lxc.status.ha-started",
        "~lxc.shutdown.ha-managed",
        "lxc.shutdown.ha-managed.task.status",
        "lxc.shutdown.ha-managed.task.log",
        "lxc.status.ha-managed",
    ];
    let outcome = run(&Op::GuestShutdown { timeout: None }, "ct/101", &names);
    assert_eq!(told(&outcome), (Ending::Succeeded, "shut down cleanly"));
    assert_eq!(outcome.data["ha"], true);
    let names = ["lxc.status.ha-managed", "lxc.config", "lxc.delete.ha-managed"];
    let outcome = run(&Op::GuestDestroy {}, "ct/101", &names);
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(outcome.summary.contains("unable to remove CT 101 - used in HA resources"), "{}", outcome.summary);
}

#[test]
fn what_is_destroyed_is_seen_to_be_gone() {
    let names = [
        "perm.auditor.resources",
        "lxc.status.stopped 101=102",
        "lxc.config 101=102",
        "lxc.delete.running-force",
        "lxc.delete.running-force.task.status",
        "lxc.delete.running-force.task.log",
    ];
    let outcome = run(&Op::GuestDestroy {}, "ct/102", &names);
    assert_eq!(told(&outcome), (Ending::Succeeded, "ct/102 web is gone, its disks with it"));
    let names = ["lxc.status.running", "lxc.config"];
    let outcome = run(&Op::GuestDestroy {}, "ct/101", &names);
    assert_eq!(outcome.summary, "ct/101 web is running: only a stopped guest is destroyed");
}

#[test]
fn a_container_is_created_from_the_template_at_hand() {
    let create = |template: &str| Op::GuestCreate {
        kind: GuestKind::Ct,
        name: "new".into(),
        node: None,
        template: Some(template.into()),
        iso: None,
        storage: None,
        cores: None,
        memory: None,
        disk: Some("4G".parse().unwrap()),
    };
    let made = |template: &str, task: [&str; 3]| {
        let there = [
            "cluster.resources",
            "node.storage.content-filter",
            "node.storage.content.templates",
            "node.network.bridges",
            "cluster.nextid",
            "lxc.status.stopped 101=104",
        ];
        let names: Vec<&str> = there.into_iter().chain(task).collect();
        super::replay::run_after(&create(template), "cluster", "perm.auditor.resources", &names)
    };
    let outcome =
        made("debian-12", ["~lxc.create 101=104", "lxc.create.task.status 101=104", "lxc.create.task.log 101=104"]);
    assert_eq!(told(&outcome), (Ending::Succeeded, "created: ct/104 web on pve1, stopped"));
    let missing = ["", ".task.status", ".task.log"].map(|line| format!("~lxc.create.missing-template{line} 119=104"));
    let outcome = made("debian-12", [&missing[0], &missing[1], &missing[2]]);
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(outcome.summary.ends_with("volume 'local:vztmpl/nosuch.tar.zst' does not exist"), "{}", outcome.summary);
    let outcome = made("arch", ["lxc.create", "lxc.create.task.status", "lxc.create.task.log"]);
    assert_eq!(outcome.summary, "no template arch is at hand for a ct");
    assert_eq!(outcome.help.as_deref(), Some("there are debian-12-standard_12.12-1_amd64.tar.gz"));
}

/// Answers with these, one after the other, the last for ever.
struct Hostile(Mutex<Vec<Response>>);

impl Wire for Hostile {
    fn exchange(&self, _: &Request, _: &[(&str, &str)]) -> Result<Response, HttpError> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() < 2 { answers.last().cloned() } else { answers.pop() };
        answer.ok_or_else(|| HttpError::Lost { what: "the answer".into() })
    }
}

/// What may stand in an answer: the data of a recorded one, or any text.
fn answer() -> impl Strategy<Value = Response> {
    let recorded: Vec<String> = include_str!("../../tests/fixtures/pve/client/http.jsonl")
        .lines()
        .filter_map(|line| Some(serde_json::from_str::<serde_json::Value>(line).ok()?["response"]["body"].to_string()))
        .collect();
    let body = prop_oneof![4 => proptest::sample::select(recorded), 1 => "\\PC{0,40}"];
    let status = prop_oneof![6 => Just(200_u16), 1 => proptest::sample::select(vec![400, 403, 500, 501, 595, 596])];
    (status, body).prop_map(|(status, body)| {
        let reason = body.chars().take(40).collect();
        Response { status, reason, body: body.into_bytes() }
    })
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sequence_of_answers_panics(answers in proptest::collection::vec(answer(), 1..12), which in 0..4_usize) {
        let token = Token { id: "a@pve!b".into(), secret: Secret::new("c") };
        let cancel = Cancel::new();
        // Nothing is waited for.
        cancel.fire();
        let task = Task { cancel, ..Task::default() };
        let target = [Target::ct(101), Target::vm(100), Target::node("pve1"), Target::cluster()][which].clone();
        let given = json!({
            "snapshot": "before", "name": "new", "node": "pve1", "newid": 300, "backup": "newest", "disk": "rootfs",
            "size": "9G", "kind": "ct", "template": "debian-12", "memory": "1G",
        });
        for (name, _) in Op::ALL.iter().filter(|(name, _)| can(name)) {
            let args = &catalogue::spec(name).unwrap().args;
            let args = args.iter().filter_map(|arg| Some((arg.name.clone(), given.get(&arg.name)?.clone()))).collect();
            let Ok(op) = Op::from_parts(name, args) else { continue };
            let client = Client::new(Hostile(Mutex::new(answers.clone())), &token);
            let outcome = perform(&client, &op, &target, &task);
            prop_assert!(!outcome.summary.is_empty(), "{name}");
        }
    }
}
