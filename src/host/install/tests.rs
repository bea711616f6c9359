//! The story of an installation in a directory, with an init system that records what it is asked: do it, do it again, fail
//! each step, take it away, take it away again.

use super::*;
use crate::host::commands::fake::Scripted;
use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt as _, symlink},
};

/// A root with an executable to install, and its tree before.
struct Place {
    directory: tempfile::TempDir,
    exe: tempfile::NamedTempFile,
}

impl Place {
    fn new(bytes: &[u8]) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap(), exe: tempfile::NamedTempFile::new().unwrap() };
        files::write_atomic(place.exe.path(), bytes, 0o755).unwrap();
        fs::create_dir_all(place.root().join("etc/systemd/system")).unwrap();
        place
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn service(&self, role: Role, version: &str) -> Service {
        Service {
            role,
            exe_bytes_from: self.exe.path().to_owned(),
            version: version.to_owned(),
            args: vec!["run".to_owned()],
        }
    }

    /// Every path below the root with what it is.
    fn tree(&self) -> BTreeMap<String, String> {
        fn walk(directory: &Path, root: &Path, tree: &mut BTreeMap<String, String>) {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                let (path, meta) = (entry.path(), entry.metadata().unwrap());
                let name = path.strip_prefix(root).unwrap().display().to_string();
                if meta.is_symlink() {
                    tree.insert(name, format!("→ {}", fs::read_link(&path).unwrap().display()));
                } else if meta.is_dir() {
                    tree.insert(name, "directory".to_owned());
                    walk(&path, root, tree);
                } else {
                    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                    tree.insert(name, format!("{:o} {text}", meta.permissions().mode() & 0o777));
                }
            }
        }
        let mut tree = BTreeMap::new();
        walk(self.root(), self.root(), &mut tree);
        tree
    }

    /// A systemd that enables by making the link that systemd makes, and fails where `fails` says so.
    fn systemd(&self, fails: impl Fn(&[&str]) -> bool + Send + 'static) -> Scripted {
        let wants = self.root().join("etc/systemd/system/multi-user.target.wants");
        let units = self.root().join("etc/systemd/system");
        Scripted::new(move |argv| match argv {
            argv if fails(argv) => (1, "Failed to do that: no".to_owned()),
            [.., "enable", "--", unit] => {
                fs::create_dir_all(&wants).unwrap();
                symlink(format!("/etc/systemd/system/{unit}"), wants.join(unit)).unwrap();
                (0, String::new())
            }
            [.., "disable", "--", unit] => {
                fs::remove_file(wants.join(unit)).ok();
                (0, String::new())
            }
            ["systemctl", "show", .., unit] => {
                let there = units.join(unit).exists();
                let (load, active) = if there { ("loaded", "active") } else { ("not-found", "inactive") };
                let pid = std::process::id();
                (0, format!("Id={unit}\nLoadState={load}\nActiveState={active}\nSubState=running\nMainPID={pid}\n"))
            }
            _ => (0, String::new()),
        })
    }
}

fn on<'a>(place: &Place, commands: &'a Scripted) -> Installer<'a> {
    Installer::new(place.root(), Init::Systemd, commands)
}

#[test]
fn it_is_put_in_place_once_and_taken_away_without_a_trace() {
    let place = Place::new(b"executable");
    let (before, commands) = (place.tree(), place.systemd(|_| false));
    let system = on(&place, &commands);
    let service = place.service(Role::Agent, "1.0.0");
    let installed = system.install(&service).unwrap();
    assert!(installed.changed && installed.notes.is_empty());
    let tree = place.tree();
    assert_eq!(tree["opt/remotectl/versions/1.0.0/remotectl"], "755 executable");
    assert_eq!(tree["opt/remotectl/agent"], "→ versions/1.0.0/remotectl");
    assert_eq!(tree["usr/local/bin/remotectl"], "→ /opt/remotectl/versions/1.0.0/remotectl");
    assert!(tree["etc/systemd/system/remotectl-agent.service"].contains("ExecStart=/opt/remotectl/agent run"));
    assert!(commands.asked().iter().any(|asked| asked.ends_with("daemon-reload")));

    assert!(!system.install(&service).unwrap().changed, "the second time there is nothing to do");
    assert_eq!(place.tree(), tree);

    assert!(!system.uninstall(Role::Agent, true).unwrap().paths.is_empty());
    assert_eq!(place.tree(), before, "made directories are gone too");
    assert_eq!(system.uninstall(Role::Agent, true).unwrap(), Removed::default());
    assert_eq!(place.tree(), before);
}

#[test]
fn every_failing_step_leaves_nothing_behind() {
    for failing in ["daemon-reload", "enable"] {
        let place = Place::new(b"executable");
        let before = place.tree();
        let commands = place.systemd(move |argv| argv.contains(&failing));
        let error = on(&place, &commands).install(&place.service(Role::Agent, "1.0.0")).unwrap_err();
        match error {
            // The init system that does not reread could not be made to forget either, and that is said.
            InstallError::HalfDone { left, .. } => assert!(failing == "daemon-reload", "{left:?}"),
            error => assert!(error.to_string().contains("remotectl-agent"), "{error}"),
        }
        assert_eq!(place.tree(), before, "{failing}");
    }
}

#[test]
fn a_place_that_can_not_be_written_is_said_and_left_alone() {
    for blocked in ["opt", "usr/local/bin", "etc/systemd/system/multi-user.target.wants"] {
        let place = Place::new(b"executable");
        let path = place.root().join(blocked);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        files::write_atomic(&path, b"a file where a directory should be", 0o644).unwrap();
        let (before, commands) = (place.tree(), place.systemd(|_| false));
        let error = on(&place, &commands).install(&place.service(Role::Agent, "1.0.0")).unwrap_err();
        assert!(matches!(error, InstallError::File(_)), "{error}");
        assert_eq!(place.tree(), before, "{blocked}");
    }
}

#[test]
fn a_failed_upgrade_puts_the_old_version_back() {
    let place = Place::new(b"old");
    let commands = place.systemd(|_| false);
    on(&place, &commands).install(&place.service(Role::Agent, "1.0.0")).unwrap();
    fs::remove_file(place.root().join("etc/systemd/system/multi-user.target.wants/remotectl-agent.service")).unwrap();
    let before = place.tree();
    files::write_atomic(place.exe.path(), b"new", 0o755).unwrap();
    let failing = place.systemd(|argv| argv.contains(&"enable"));
    for version in ["1.0.0", "1.1.0"] {
        on(&place, &failing).install(&place.service(Role::Agent, version)).unwrap_err();
        assert_eq!(place.tree(), before, "{version}");
    }
}

#[test]
fn roles_share_a_version_and_part_without_hurting_each_other() {
    let place = Place::new(b"executable");
    let (before, commands) = (place.tree(), place.systemd(|_| false));
    let system = on(&place, &commands);
    system.install(&place.service(Role::Hub, "1.0.0")).unwrap();
    system.install(&place.service(Role::Agent, "1.1.0")).unwrap();
    system.uninstall(Role::Agent, false).unwrap();
    let tree = place.tree();
    assert_eq!(tree["opt/remotectl/hub"], "→ versions/1.0.0/remotectl");
    assert_eq!(tree["usr/local/bin/remotectl"], "→ /opt/remotectl/versions/1.0.0/remotectl", "it works again");
    assert!(!tree.contains_key("opt/remotectl/versions/1.1.0"));
    symlink("versions/1.0.0/remotectl", place.root().join("opt/remotectl/client")).unwrap();
    system.uninstall(Role::Hub, false).unwrap();
    assert!(place.root().join("opt/remotectl/versions/1.0.0/remotectl").exists(), "the client needs it");
    fs::remove_file(place.root().join("opt/remotectl/client")).unwrap();
    system.uninstall(Role::Hub, false).unwrap();
    assert_eq!(place.tree(), before);
}

#[test]
fn a_foreign_command_stays() {
    let place = Place::new(b"executable");
    fs::create_dir_all(place.root().join("usr/local/bin")).unwrap();
    files::write_atomic(&place.root().join(COMMAND), b"somebody else's", 0o755).unwrap();
    let (before, commands) = (place.tree(), place.systemd(|_| false));
    let installed = on(&place, &commands).install(&place.service(Role::Agent, "1.0.0")).unwrap();
    assert!(installed.notes[0].contains("was left alone"), "{:?}", installed.notes);
    assert_eq!(place.tree()["usr/local/bin/remotectl"], "755 somebody else's");
    on(&place, &commands).uninstall(Role::Agent, true).unwrap();
    assert_eq!(place.tree(), before);
}

#[test]
fn configuration_and_state_stay_unless_purged() {
    let place = Place::new(b"executable");
    let commands = place.systemd(|_| false);
    let system = on(&place, &commands);
    system.install(&place.service(Role::Agent, "1.0.0")).unwrap();
    for (directory, file) in [("etc/remotectl", "agent.toml"), ("var/lib/remotectl/agent", "key")] {
        fs::create_dir_all(place.root().join(directory)).unwrap();
        files::write_atomic(&place.root().join(directory).join(file), b"x", 0o600).unwrap();
    }
    system.uninstall(Role::Agent, false).unwrap();
    assert!(place.root().join("var/lib/remotectl/agent/key").exists());
    system.uninstall(Role::Agent, true).unwrap();
    assert!(!place.root().join("var/lib/remotectl").exists() && !place.root().join("etc/remotectl").exists());
}

#[test]
fn a_running_service_with_another_executable_is_restarted() {
    let place = Place::new(b"executable");
    let commands = place.systemd(|_| false);
    let system = on(&place, &commands);
    assert!(matches!(system.start(Role::Agent), Err(InstallError::NotInstalled("agent"))));
    system.install(&place.service(Role::Agent, "1.0.0")).unwrap();
    assert_eq!(system.start(Role::Agent).unwrap(), std::process::id());
    assert!(commands.asked().iter().any(|asked| asked.contains(" restart -- remotectl-agent.service")));
}

#[test]
fn a_machine_without_a_known_init_system_is_not_touched() {
    let place = Place::new(b"executable");
    let (before, commands) = (place.tree(), place.systemd(|_| false));
    let system = Installer::new(place.root(), Init::Unknown, &commands);
    let error = system.install(&place.service(Role::Agent, "1.0.0")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "services here are run by no init system that remotectl knows: systemd, OpenRC, sysvinit, runit and busybox are"
    );
    assert_eq!(place.tree(), before);
}

#[test]
fn full_and_read_only_filesystems_are_said_plainly() {
    let error = |kind: std::io::ErrorKind| {
        let path = PathBuf::from("/opt/remotectl/versions/1/remotectl");
        InstallError::from(files::FileError { doing: "writing", path, source: kind.into() })
    };
    assert!(error(std::io::ErrorKind::StorageFull).to_string().starts_with("no space left on /"));
    assert!(
        error(std::io::ErrorKind::ReadOnlyFilesystem).to_string().ends_with("is on a filesystem that is read-only")
    );
    let failure = crate::model::Failure::from(error(std::io::ErrorKind::StorageFull));
    assert!(failure.help.unwrap().starts_with("free space there"));
    assert!(matches!(check_room(Path::new("/x"), u64::MAX), Err(InstallError::Space { .. })));
}

#[test]
fn what_is_there_and_what_is_missing_is_seen() {
    let place = Place::new(b"one");
    let commands = place.systemd(|_| false);
    let installer = on(&place, &commands);
    assert!(installer.look(Role::Agent).none());
    installer.install(&place.service(Role::Agent, "1.0.0")).unwrap();
    let parts = installer.look(Role::Agent);
    assert!(parts.whole() && !parts.half(), "{parts:?}");
    fs::remove_file(place.root().join("etc/systemd/system/remotectl-agent.service")).unwrap();
    fs::remove_dir_all(place.root().join("opt/remotectl/versions")).unwrap();
    fs::create_dir_all(place.root().join("var/lib/remotectl/agent")).unwrap();
    let parts = installer.look(Role::Agent);
    assert!(parts.half() && parts.pid.is_none(), "{parts:?}");
    let names = |paths: &[PathBuf]| -> Vec<String> {
        paths.iter().map(|path| path.strip_prefix(place.root()).unwrap().display().to_string()).collect()
    };
    let gone = ["opt/remotectl/versions/1.0.0/remotectl", "etc/systemd/system/remotectl-agent.service"];
    assert_eq!(names(&parts.missing), gone);
    assert_eq!(names(&parts.kept), ["var/lib/remotectl/agent"]);
    installer.uninstall(Role::Agent, true).unwrap();
    assert!(installer.look(Role::Agent).none());
}
