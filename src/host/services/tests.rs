//! The story of a change, against a systemd that follows a script.

use super::{change::change, *};
use crate::{host::commands::fake::Scripted, model::outcome::Ending};
use std::path::Path;

/// What systemd would show of nginx.
fn shown(active: &str, sub: &str, pid: u32) -> String {
    format!(
        "Id=nginx.service\nDescription=web\nLoadState=loaded\nActiveState={active}\nSubState={sub}\nResult=success\n\
         UnitFileState=enabled\nMainPID={pid}\nType=forking\nActiveEnterTimestampMonotonic=1000000\nCanReload=yes\n"
    )
}

/// A systemd that shows these one after the other (the last again and again) and answers a change with a code and text.
fn systemd(shows: &[String], change: (i32, &str), journal: &str) -> Scripted {
    let (mut shows, change, journal) = (shows.to_vec(), (change.0, change.1.to_owned()), journal.to_owned());
    shows.reverse();
    Scripted::new(move |argv| match argv {
        ["systemctl", "show", .., "*.service"] => (0, shown("active", "running", 812)),
        ["systemctl", "show", ..] if shows.len() > 1 => (0, shows.pop().unwrap()),
        ["systemctl", "show", ..] => (0, shows[0].clone()),
        ["systemctl", "list-unit-files", ..] => (0, "nginx.service enabled enabled\n".to_owned()),
        ["journalctl", ..] => (0, journal.clone()),
        _ => change.clone(),
    })
}

fn restart(commands: &Scripted) -> Outcome {
    let manager = manager(&Machine::below(Path::new("/"), Init::Systemd), commands).unwrap();
    change(&Machine::here(), manager.as_ref(), &ServiceName::parse("nginx").unwrap(), Action::Restart).unwrap()
}

#[test]
fn a_restart_says_what_it_verified() {
    let commands = systemd(&[shown("active", "running", 812), shown("active", "running", 4410)], (0, ""), "");
    let outcome = restart(&commands);
    assert!(outcome.succeeded());
    assert!(outcome.summary.starts_with("nginx restarted, pid 812 → 4410, active "), "{}", outcome.summary);
    assert!(outcome.summary.ends_with(", no new errors"), "{}", outcome.summary);
    assert!(commands.asked().contains(&"systemctl --no-ask-password --no-pager restart -- nginx.service".to_owned()));
}

#[test]
fn a_restart_that_left_the_old_process_is_a_failure() {
    let outcome = restart(&systemd(&[shown("active", "running", 812)], (0, ""), ""));
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(outcome.summary.contains("still has the same main process"), "{}", outcome.summary);
}

#[test]
fn a_failed_restart_brings_the_log_and_its_telling_line() {
    let journal = r#"{"MESSAGE":"nginx: [emerg] unknown directive \"lisen\"","PRIORITY":"3","SYSLOG_IDENTIFIER":"nginx","_PID":"9","__REALTIME_TIMESTAMP":"4102444800000000"}"#;
    let shows = [shown("active", "running", 812), shown("failed", "failed", 0)];
    let outcome = restart(&systemd(&shows, (1, "Job for nginx.service failed"), journal));
    assert_eq!(outcome.ending, Ending::Failed);
    assert!(outcome.summary.starts_with("nginx could not be restarted, and is down: "), "{}", outcome.summary);
    assert!(outcome.summary.contains("unknown directive"), "{}", outcome.summary);
    assert_eq!(outcome.data["log"].as_array().unwrap().len(), 1);
}

#[test]
fn a_service_that_does_not_exist_is_answered_with_those_close_to_it() {
    let commands = systemd(&["Id=ngnix.service\nLoadState=not-found\n".to_owned()], (0, ""), "");
    let manager = manager(&Machine::below(Path::new("/"), Init::Systemd), &commands).unwrap();
    let outcome =
        change(&Machine::here(), manager.as_ref(), &ServiceName::parse("ngnix").unwrap(), Action::Start).unwrap();
    assert_eq!(outcome.summary, "there is no service `ngnix` here");
    assert_eq!(outcome.help.as_deref(), Some("closest: nginx; service.list names them all"));
    assert!(!commands.asked().iter().any(|asked| asked.contains(" start ")), "nothing was started");
}

#[test]
fn what_is_already_so_is_not_done_again() {
    let commands = systemd(&[shown("active", "running", 812)], (1, "must not be called"), "");
    let manager = manager(&Machine::below(Path::new("/"), Init::Systemd), &commands).unwrap();
    let outcome =
        change(&Machine::here(), manager.as_ref(), &ServiceName::parse("nginx").unwrap(), Action::Start).unwrap();
    assert!(outcome.succeeded());
    assert!(outcome.summary.starts_with("nothing to do: nginx is running, pid 812"), "{}", outcome.summary);
}

#[test]
fn a_stop_names_what_can_start_it_again() {
    let triggered = shown("active", "running", 812) + "TriggeredBy=nginx.socket\n";
    let stopped = shown("inactive", "dead", 0) + "TriggeredBy=nginx.socket\n";
    let commands = systemd(&[triggered, stopped], (0, ""), "");
    let manager = manager(&Machine::below(Path::new("/"), Init::Systemd), &commands).unwrap();
    let outcome =
        change(&Machine::here(), manager.as_ref(), &ServiceName::parse("nginx").unwrap(), Action::Stop).unwrap();
    assert_eq!(outcome.summary, "nginx stopped, pid 812 is gone; nginx.socket can start it again");
}

#[test]
fn names_that_are_options_paths_patterns_or_the_whole_machine_are_refused() {
    for bad in ["", "-H", "--force", "a b", "a/b", "../x", "ngin*", "x[a]", "a\nb", "poweroff.target", "a;b", "$x", "ä"]
    {
        assert!(ServiceName::parse(bad).is_err(), "{bad}");
    }
    for end in ["systemd-poweroff", "systemd-reboot.service"] {
        assert!(ServiceName::parse(end).is_err(), "{end}");
    }
    for good in
        ["nginx", "wg-quick@wg0", "php8.3-fpm", "pihole-FTL", "fstrim.timer", "systemd-fsck@dev-disk-by\\x2duuid"]
    {
        assert_eq!(ServiceName::parse(good).unwrap().as_str(), good);
    }
    assert_eq!(ServiceName::parse("nginx.service").unwrap().as_str(), "nginx");
}

#[test]
fn the_init_systems_plumbing_is_not_noteworthy() {
    let root = tempfile::tempdir().unwrap();
    for unit in ["multi-user.target.wants/cron.service", "getty.target.wants/getty@tty1.service", "nginx.service"] {
        let path = root.path().join("etc/systemd/system").join(unit);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/lib/systemd/system/x.service", path).unwrap();
    }
    let running = "dbus.service loaded active running D-Bus\n\u{25cf} php8.2-fpm.service loaded active running PHP\n";
    let commands = Scripted::new(move |_| (0, running.to_owned()));
    let manager = manager(&Machine::below(root.path(), Init::Systemd), &commands).unwrap();
    assert_eq!(noteworthy(manager.as_ref()).unwrap(), ["cron", "php8.2-fpm"]);
}

#[test]
fn an_init_system_that_is_not_known_is_named() {
    let commands = Scripted::new(|_| (0, String::new()));
    let error = manager(&Machine::below(Path::new("/"), Init::Unknown), &commands).err().unwrap();
    assert!(error.to_string().contains("no init system"));
}
