//! install.sh where it will be used: systemd with dash, OpenRC with dash, and a busybox with nothing beside it.

use super::lab::{Container, Lab, product, wait_until};
use remotectl::model::digest::Digest;
use std::{
    fs,
    process::{Output, Stdio},
    time::Duration,
};

const SCRIPT: &str = include_str!("../../install.sh");
const PATIENCE: Duration = Duration::from_mins(1);
/// In memory, so that it is no part of what is compared.
const FOLDER: &str = "/run/dist";

fn lab(containers: &[u32]) -> Lab {
    assert!(product().is_some(), "no executable: set REMOTECTL_LAB_EXE, or run `make lab`");
    Lab::up(containers)
}

/// The name of the executable as `make dist` gives it.
fn name() -> String {
    format!("remotectl-{}-unknown-linux-musl", std::env::consts::ARCH)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a file into a container.
fn write(container: &Container, path: &str, content: &[u8]) {
    let source = tempfile::tempfile().expect("a temporary file");
    std::io::Write::write_all(&mut &source, content).expect("it is written");
    std::io::Seek::rewind(&mut &source).expect("it goes back");
    let script = r#"mkdir -p "${1%/*}" && cat >"$1""#;
    let written = container.command(["sh", "-c", script, "sh", path]).stdin(Stdio::from(source)).status();
    assert!(written.expect("nsenter can be run").success(), "{path}");
}

/// Lays out what `make dist` makes.
fn lay_out(container: &Container) {
    let program = fs::read(product().expect("an executable")).expect("it reads");
    write(container, &format!("{FOLDER}/{}", name()), &program);
    write(container, &format!("{FOLDER}/install.sh"), SCRIPT.as_bytes());
    let sums = format!("{}  {}\n", Digest::of(&program).as_str(), name());
    write(container, &format!("{FOLDER}/SHA256SUMS"), sums.as_bytes());
}

fn exec(container: &Container, argv: &[&str]) -> Output {
    let output = container.exec(argv);
    eprintln!(
        "ct/{}# {}\n{}{}[{}]\n",
        container.definition.vmid,
        argv.join(" "),
        text(&output.stdout),
        text(&output.stderr),
        output.status
    );
    output
}

fn install(container: &Container, arguments: &[&str]) -> Output {
    let script = format!("{FOLDER}/install.sh");
    let temporary: &[&str] = if container.definition.read_only { &["env", "TMPDIR=/run"] } else { &[] };
    exec(container, &[temporary, &["sh", script.as_str()], arguments].concat())
}

fn succeed(output: &Output) -> String {
    assert!(output.status.success());
    text(&output.stdout)
}

fn complain(output: &Output) -> String {
    assert!(!output.status.success());
    text(&output.stderr)
}

/// A hub below systemd, agents below systemd, OpenRC and busybox' init: installed, installed again,
/// broken, mended, and gone without a trace.
pub fn each_init_system_gets_its_service() {
    let lab = lab(&[101, 102, 103, 108]);
    let hub = lab.container(102);
    let before: Vec<Vec<String>> = [101, 102, 103, 108].map(|vmid| lab.container(vmid).files()).into();
    for vmid in [101, 102, 103, 108] {
        lay_out(&lab.container(vmid));
    }
    assert!(succeed(&install(&hub, &["--role", "hub", "--dry-run"])).contains("service remotectl-hub of systemd"));
    assert_eq!(before[1], hub.files(), "a dry run changes nothing");
    for _ in 0..2 {
        succeed(&install(&hub, &["--role", "hub"]));
    }
    let active = ["systemctl", "is-active", "remotectl-hub"];
    assert_eq!(hub.text(active).as_deref(), Some("active"));
    assert!(hub.exec(["rm", "/opt/remotectl/hub", "/etc/systemd/system/remotectl-hub.service"]).status.success());
    succeed(&install(&hub, &["--role", "hub"]));
    assert!(hub.text(["cat", "/etc/systemd/system/remotectl-hub.service"]).is_some(), "it is put back");
    wait_until("the hub answers", PATIENCE, || hub.exec(["remotectl", "agents"]).status.success());

    for vmid in [101, 103, 108] {
        let guest = lab.container(vmid);
        assert!(complain(&install(&guest, &["--role", "agent"])).contains("which hub is the agent for?"));
        let join = hub.text(["remotectl", "hub", "join-token"]).expect("a join string");
        let told = succeed(&install(&guest, &["--role", "agent", "--join", &join]));
        assert!(!told.contains("have your own"), "{told}");
        let online = || {
            let listed = hub.text(["remotectl", "agents"]).unwrap_or_default();
            listed.lines().any(|line| line.contains(guest.definition.name) && line.contains("online"))
        };
        wait_until("the hub hears the agent", PATIENCE, online);
        succeed(&install(&guest, &["--role", "agent", "--join", &join]));
        succeed(&install(&guest, &["--role", "agent"]));
        wait_until("it is a member still", PATIENCE, online);
    }
    let openrc = lab.container(103);
    let noexec = exec(&openrc, &["env", "TMPDIR=/run", "sh", &format!("{FOLDER}/install.sh")]);
    assert!(complain(&noexec).contains("TMPDIR=/root"), "OpenRC lets nothing run in /run");
    assert!(openrc.exec(["rc-service", "remotectl-agent", "status"]).status.success());
    assert!(openrc.exec(["rm", "-r", "/etc/init.d/remotectl-agent", "/opt/remotectl/versions"]).status.success());
    succeed(&install(&openrc, &["--role", "agent"]));
    assert!(openrc.exec(["rc-service", "remotectl-agent", "status"]).status.success(), "it is put back");

    assert!(succeed(&install(&hub, &["--uninstall", "--role", "agent"])).contains("there is no agent here"));
    assert!(succeed(&install(&hub, &["--uninstall", "--dry-run"])).contains("would take the hub away"));
    for (vmid, files) in [101, 102, 103, 108].into_iter().zip(&before) {
        let guest = lab.container(vmid);
        succeed(&install(&guest, &["--uninstall", "--purge"]));
        assert!(guest.exec(["rm", "-r", FOLDER]).status.success());
        let after = guest.files();
        let more: Vec<_> = after.iter().filter(|line| !files.contains(line)).collect();
        let less: Vec<_> = files.iter().filter(|line| !after.contains(line)).collect();
        assert!(more.is_empty() && less.is_empty(), "ct/{vmid}: {more:?} {less:?}");
        assert!(!guest.exec(["pgrep", "remotectl"]).status.success(), "ct/{vmid}: a process was left");
    }
}

/// Another architecture, other bytes than promised, a read-only system: each told, and nothing done.
pub fn what_is_wrong_is_said() {
    let lab = lab(&[107, 108]);
    for vmid in [107, 108] {
        let guest = lab.container(vmid);
        lay_out(&guest);
        let mut program = fs::read(product().expect("an executable")).expect("it reads");
        program.truncate(4096);
        (program[18], program[19]) = (0xb7, 0);
        write(&guest, &format!("{FOLDER}/other"), &program);
        let other = format!("{FOLDER}/other");
        let told = complain(&install(&guest, &[&other]));
        assert!(told.contains("is for aarch64, and this machine is x86_64"), "{told}");
        write(&guest, &format!("{FOLDER}/page"), b"<html>\n");
        let page = format!("{FOLDER}/page");
        assert!(complain(&install(&guest, &[&page])).contains("no executable for Linux"));
        let sums = format!("{}  {}\n", Digest::of(b"another").as_str(), name());
        write(&guest, &format!("{FOLDER}/SHA256SUMS"), sums.as_bytes());
        assert!(complain(&install(&guest, &[])).contains("do not run it"));
        assert!(guest.exec(["rm", &format!("{FOLDER}/SHA256SUMS")]).status.success());
        assert!(guest.text(["ls", "/opt/remotectl"]).is_none(), "nothing is left");
    }
    let read_only = lab.container(107);
    let told = complain(&install(&read_only, &[]));
    assert!(told.contains("read-only"), "{told}");
    let told = complain(&install(&read_only, &["--role", "hub"]));
    assert!(told.contains("read-only"), "{told}");
    let busybox = lab.container(108);
    let before = busybox.files();
    for _ in 0..2 {
        assert!(succeed(&install(&busybox, &[])).contains("is installed"));
    }
    assert!(succeed(&exec(&busybox, &["/usr/local/bin/remotectl", "version"])).starts_with("remotectl "));
    succeed(&install(&busybox, &["--uninstall"]));
    assert_eq!(before, busybox.files());
}
