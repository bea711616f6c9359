//! install.sh, run against a directory with an executable that only tells its version.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
#![allow(clippy::disallowed_methods, reason = "a test of a shell script runs it")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh");

fn executable(directory: &Path, version: &str) -> String {
    let path = directory.join("downloaded");
    fs::write(&path, format!("#!/bin/sh\necho 'remotectl {version}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn install(prefix: &Path, args: &[&str]) -> Output {
    Command::new("sh").arg(SCRIPT).args(args).env("PREFIX", prefix).output().unwrap()
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_installs_upgrades_and_keeps_the_command_working() {
    let root = tempfile::tempdir().unwrap();
    for version in ["1.0.0", "1.1.0", "1.1.0"] {
        let output = install(root.path(), &[&executable(root.path(), version)]);
        assert!(output.status.success(), "{output:?}");
    }
    let home = root.path().join("opt/remotectl");
    assert_eq!(fs::read_link(home.join("client")).unwrap(), Path::new("versions/1.1.0/remotectl"));
    let command = fs::read_link(root.path().join("usr/local/bin/remotectl")).unwrap();
    assert_eq!(command, Path::new("/opt/remotectl/versions/1.1.0/remotectl"));
    assert_eq!(fs::metadata(home.join("client")).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_installed() {
    let root = tempfile::tempdir().unwrap();
    let good = executable(root.path(), "1.0.0");
    assert!(complaint(&install(root.path(), &[&good, "00"])).contains("not 00"));
    assert!(complaint(&install(root.path(), &["http://127.0.0.1/x"])).contains("SHA-256"));
    assert!(complaint(&install(root.path(), &["/no/such/file"])).contains("could not be fetched"));
    assert!(complaint(&install(root.path(), &["/bin/false"])).contains("does not run here"));
    let strange = executable(root.path(), "1.0;x");
    assert!(complaint(&install(root.path(), &[&strange])).contains("strange version"));
    assert!(!root.path().join("opt").exists() && !root.path().join("usr").exists());
}

#[test]
fn somebody_elses_command_stays() {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("usr/local/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("remotectl"), "somebody else's").unwrap();
    assert!(complaint(&install(root.path(), &[&executable(root.path(), "1.0.0")])).contains("not ours"));
    assert_eq!(fs::read_to_string(bin.join("remotectl")).unwrap(), "somebody else's");
}
