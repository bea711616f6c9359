//! A hub's copy and the way back from it: a real hub and real agents, and nothing that was done after the copy is done again.

#![allow(clippy::disallowed_methods, reason = "tests spoil files that the program keeps")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod common;

use common::{Agent, Hub, wait_until};
use remotectl::{
    link::wire::AgentRole,
    model::{Answer, messages::PlanRecord, state::PlanState},
};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

const TRUE: [(&str, &str); 1] = [("command", "/bin/true")];

fn backup(hub: &Hub) -> String {
    let file = hub.root().join("backup").display().to_string();
    let made = hub.client(&["hub", "backup", &file]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(mode(Path::new(&file)), 0o600);
    file
}

fn restore(hub: &Hub, file: &str, more: &[&str]) -> String {
    let restored = hub.client(&[&["hub", "restore", file], more].concat());
    assert!(restored.status.success(), "{restored:?}");
    String::from_utf8(restored.stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// How each plan ended: of its state, and of its one target.
fn ends(hub: &Hub) -> Vec<(String, PlanState, Option<String>)> {
    let end = |record: PlanRecord| {
        let Answer::Plan(view) = record.answer else { panic!("no plan") };
        (view.id, record.state, view.results.first().map(|result| result.state.clone()))
    };
    hub.history().into_iter().map(end).collect()
}

#[test]
fn a_hub_that_is_put_back_repeats_nothing_and_its_agents_follow() {
    let mut hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    hub.run("exec.run", "host/box", &TRUE).unwrap();
    let proposed = hub.plan("exec.run", "host/box", &TRUE);
    let held = agent.hold();
    let [ended, told_late] = [(); 2].map(|()| hub.plan("exec.run", "host/box", &TRUE));
    hub.begin(&ended);
    wait_until("it is under way", || agent.performed().len() == 2);
    let file = backup(&hub);

    // After the copy: what was under way ends, what was proposed is done, and there is more, of which one result is not told.
    drop(held);
    wait_until("it has ended", || ends(&hub).iter().any(|(id, state, _)| *id == ended.id && *state == PlanState::Done));
    hub.execute(&proposed).unwrap();
    hub.run("exec.run", "host/box", &TRUE).unwrap();
    let held = agent.hold();
    hub.begin(&told_late);
    wait_until("the last one is under way", || agent.performed().len() == 5);
    let stray = agent.commands().pop().unwrap();
    hub.restart_with(|hub| {
        let said = restore(hub, &file, &[]);
        assert!(said.contains("1 plans were under way then") && said.contains("2 plans were proposed then"), "{said}");
    });
    drop(held);
    hub.wait_online(&agent.target);

    let now = ends(&hub);
    assert_eq!(now.len(), 4, "what came after the copy is not on record: {now:?}");
    let of = |id: &str| now.iter().find(|(known, ..)| known == id).cloned().unwrap();
    assert_eq!(of(&ended.id), (ended.id.clone(), PlanState::Failed, Some("unknown".to_owned())));
    assert_eq!(of(&proposed.id).1, PlanState::Denied);
    assert!(hub.execute(&proposed).unwrap_err().message.contains("is denied"));
    wait_until("its result is told and taken off the journal", || agent.undelivered().is_empty());
    let checked = String::from_utf8(hub.client(&["hub", "check"]).stdout).unwrap();
    assert!(checked.contains("1 results of commands of after the backup were told"), "{checked}");
    let database = rusqlite::Connection::open(hub.root().join("lib/hub/hub.db")).unwrap();
    let about: String =
        database.query_row("SELECT about FROM audit WHERE what = 'result.stray'", [], |row| row.get(0)).unwrap();
    assert_eq!(about, format!("{stray} succeeded: recorded"));

    // The agent obeys the hub of the new epoch, and again that of one more, from the same copy.
    hub.run("exec.run", "host/box", &TRUE).unwrap();
    assert_eq!(agent.performed().len(), 6, "nothing was done twice");
    hub.restart_with(|hub| drop(restore(hub, &file, &[])));
    hub.wait_online(&agent.target);
    hub.run("exec.run", "host/box", &TRUE).unwrap();
    assert_eq!(agent.performed().len(), 7, "{:?}", agent.performed());
}

/// The command was under way when the copy was made, and ends when the hub has been put back: then its end is known.
#[test]
fn the_end_of_what_was_under_way_is_learned_when_it_is_told() {
    let mut hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    let held = agent.hold();
    let plan = hub.plan("exec.run", "host/box", &TRUE);
    hub.begin(&plan);
    wait_until("it is under way", || agent.performed().len() == 1);
    let file = backup(&hub);
    hub.restart_with(|hub| drop(restore(hub, &file, &[])));
    assert_eq!(ends(&hub), [(plan.id.clone(), PlanState::Failed, Some("unknown".to_owned()))]);
    drop(held);
    let learned = [(plan.id, PlanState::Done, Some("succeeded".to_owned()))];
    wait_until("its end is learned", || ends(&hub) == learned);
    assert!(agent.undelivered().is_empty() || ends(&hub) == learned);
}

#[test]
fn a_copy_of_the_hub_is_not_enough_to_lead_its_agents() {
    let mut hub = Hub::start();
    let file = backup(&hub);
    let copy = fs::read(&file).unwrap();
    for name in ["ca.key", "command.key", "vault.key"] {
        let secret = fs::read(hub.root().join("lib/hub").join(name)).unwrap();
        assert!(secret.len() >= 32 && !copy.windows(secret.len()).any(|window| window == secret), "{name} is in it");
    }
    assert!(!hub.client(&["hub", "backup", &file]).status.success(), "nothing is written over");
    let key = hub.root().join("lib/hub/recovery.key");
    let elsewhere = hub.root().join("kept-offline");
    let refused = |hub: &Hub, more: &[&str]| {
        let output = hub.client(&[&["hub", "restore", file.as_str()], more].concat());
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused(&hub, &[]);
    assert!(said.contains("is running"), "{said}");
    hub.restart_with(|hub| {
        fs::rename(&key, &elsewhere).unwrap();
        let said = refused(hub, &[]);
        assert!(said.contains("by its recovery key alone"), "{said}");
        let other = hub.root().join("another");
        let (_, pkcs8) = remotectl::link::keys::SigningKey::make();
        let text = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, pkcs8);
        fs::write(&other, text).unwrap();
        let said = refused(hub, &["--recovery-key", &other.display().to_string()]);
        assert!(said.contains("of another hub"), "{said}");
        let said = refused(hub, &["--recovery-key", &file]);
        assert!(said.contains("reading the recovery key"), "{said}");
        fs::write(hub.root().join("no-backup"), "hello").unwrap();
        let said = hub.client(&["hub", "restore", &hub.root().join("no-backup").display().to_string()]);
        assert!(!said.status.success(), "{said:?}");
        // Nothing of that has changed anything, and nothing is left of it.
        let names: Vec<_> =
            fs::read_dir(hub.root().join("lib")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["hub"]);
        restore(hub, &file, &["--recovery-key", &elsewhere.display().to_string()]);
    });
    let info: remotectl::model::messages::HubInfo = hub.get("/api/v1/hub").unwrap();
    assert!(!info.id.is_empty());
}

#[test]
fn check_finds_what_is_not_as_it_should_be() {
    let mut hub = Hub::start();
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    let data = hub.root().join("lib/hub");
    for name in ["hub.db", "hub.db-wal", "hub.db-shm", "ca.key", "command.key", "recovery.key"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    let check = |hub: &Hub| {
        let output = hub.client(&["hub", "check"]);
        let wrong: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        let wrong: Vec<String> = wrong.into_iter().filter(|line| line.contains("WRONG")).collect();
        assert_eq!(output.status.success(), wrong.is_empty(), "{wrong:?}");
        wrong
    };
    assert_eq!(check(&hub), Vec::<String>::new());
    fs::set_permissions(data.join("command.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let wrong = check(&hub);
    assert!(wrong.len() == 1 && wrong[0].contains("chmod 600"), "{wrong:?}");
    fs::set_permissions(data.join("command.key"), fs::Permissions::from_mode(0o600)).unwrap();
    hub.restart_after(|database| {
        database.execute("UPDATE agents SET role = 'pve-agent'", []).unwrap();
        database.execute("INSERT INTO meta VALUES ('epoch', '7')", []).unwrap();
        database.execute("INSERT INTO audit (at, who, what, about) VALUES (9999999999, 'x', 'x', 'x')", []).unwrap();
        let other = remotectl::sys::tls::Authority::make("other").unwrap();
        fs::write(data.join("ca.key"), other.key.reveal()).unwrap();
    });
    let wrong = check(&hub).join("\n");
    for found in ["agent host/box", "it is 7, and there is no", "before the newest entry", "authority"] {
        assert!(wrong.contains(found), "{found}: {wrong}");
    }
}
