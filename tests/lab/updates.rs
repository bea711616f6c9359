//! `agent.update` in real containers, under five init systems, as root of the machine and as nobody: older agents come to
//! the hub's version by a sentence, and versions that are no good go away again by themselves.

use super::{
    container::Container,
    lab::{product, wait_until},
    product::{PATIENCE, Site, succeeded, text},
};
use remotectl::model::version::{Stamp, restamped, version};
use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What is in the containers before.
const OLD: &str = "0.0.9";
const NODES: [&str; 3] = ["pve1", "pve2", "pve3"];

fn build_of(version: &str) -> Vec<u8> {
    let product = product().expect("the executable");
    restamped(&fs::read(product).expect("it can be read"), version).expect("it has a stamp")
}

/// A program that passes for a good version in its trial and does this when it is run.
fn pretender(version: &str, does: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a directory");
    let (source, program) = (folder.path().join("agent.c"), folder.path().join("agent"));
    let lines = format!(
        "#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\nint main(int n, char **words) {{\n\
         if (n > 2 && !strcmp(words[2], \"trial\")) {{ puts(\"{{\\\"version\\\":\\\"{version}\\\"}}\"); return 0; }}\n\
         {does}\n}}\n"
    );
    fs::write(&source, lines).expect("a source file");
    let made = Command::new("musl-gcc").args(["-static", "-o"]).args([&program, &source]).status();
    assert!(made.expect("musl-gcc can be run").success());
    let own = fs::read(product().expect("the executable")).expect("it can be read");
    let stamp = Stamp::find(&own).expect("it has a stamp").at;
    let both = [fs::read(program).expect("it was made"), own[stamp..stamp + 96].to_vec()].concat();
    restamped(&both, version).expect("it has a stamp")
}

fn write(mut command: Command, bytes: &[u8]) {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("nsenter can be run");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("it is read");
    assert!(child.wait().expect("it ends").success());
}

/// Gives the hub an executable.
fn add(site: &Site, bytes: &[u8]) {
    let mut command = site.lab.driver().command("sh");
    command.args(["-c", "cat >/tmp/artifact"]);
    write(command, bytes);
    succeeded(&site.ask(&["hub", "artifact", "add", "/tmp/artifact"]));
}

/// A site as it was some time ago: the nodes' agents are of an older version, and so are those that they have put into
/// these containers.
fn site_of_old(vmids: &[u32]) -> Site {
    let site = Site::up(vmids, &NODES);
    add(&site, &build_of(OLD));
    succeeded(&site.ask(&["update", &NODES.map(|node| format!("node/{node}")).join(","), "--version", OLD, "--yes"]));
    let targets = targets(vmids);
    succeeded(&site.ask(&["deploy", &targets, "--yes"]));
    let told = || !text(&site.ask(&["update", &targets, "--dry-run"]).stdout).contains("has not told");
    wait_until("the agents have told of their machines", PATIENCE, told);
    site
}

fn targets(vmids: &[u32]) -> String {
    let each: Vec<String> = vmids.iter().map(|vmid| format!("ct/{vmid}")).collect();
    each.join(",")
}

/// The agent's process and the version that it is, by the kernel's word.
fn agent(container: &Container) -> Option<(String, String)> {
    let find = "for p in /proc/[0-9]*; do case $(readlink $p/exe) in \
                /opt/remotectl/versions/*) grep -qz '^run$' $p/cmdline && echo ${p#/proc/} $(readlink $p/exe);; esac; done";
    let found = container.text(["sh", "-c", find])?;
    let (pid, path) = found.lines().next()?.split_once(' ')?;
    Some((pid.to_owned(), path.split('/').nth(4)?.to_owned()))
}

fn runs(container: &Container) -> String {
    agent(container).map(|(_, version)| version).unwrap_or_default()
}

/// systemd, OpenRC, and systemd with a root that is nobody outside.
const ALL: [u32; 3] = [101, 103, 104];

/// The mission's sentence, and the way back.
pub fn agents_in_containers_come_to_the_latest_version() {
    let site = site_of_old(&ALL);
    let web = site.lab.container(101);

    // Where there is no room, nothing is begun, and what runs goes on.
    web.exec(["sh", "-c", "fallocate -l $(($(stat -fc '%a*%S' /opt) - 10000000)) /filler"]);
    let full = site.ask(&["update", "ct/101", "--yes"]);
    let said = text(&full.stdout) + &text(&full.stderr);
    assert!(!full.status.success() && said.contains("no space left on") && said.contains("still at 0.0.9"), "{said}");
    web.exec(["rm", "/filler"]);
    assert_eq!(runs(&web), OLD);

    let before = ALL.map(|vmid| agent(&site.lab.container(vmid)).expect("an agent runs").0);
    let start = Instant::now();
    let asked = site.ask(&["ask", "--yes", "update all agents in containers to latest version"]);
    succeeded(&asked);
    eprintln!("three agents updated in {:?}", start.elapsed());
    assert_eq!(text(&asked.stdout).matches(&format!("{OLD} → {}", version())).count(), ALL.len());
    for (vmid, pid) in ALL.iter().zip(before) {
        let now = agent(&site.lab.container(*vmid)).expect("an agent runs");
        assert_eq!(now, (pid, version().to_owned()), "the same process of ct/{vmid}, another executable");
    }
    assert_eq!(web.text(["systemctl", "show", "-P", "NRestarts", "remotectl-agent"]).as_deref(), Some("0"));
    let rc = site.lab.container(103).exec(["rc-service", "remotectl-agent", "status"]);
    assert!(rc.status.success(), "{rc:?}");
    assert!(text(&site.ask(&["update", "ct/101", "--yes"]).stdout).contains("already at"));

    // What runs is what the service starts: it is there after a restart, and after one of the container.
    web.exec(["systemctl", "restart", "remotectl-agent"]);
    wait_until("the new version is started again", PATIENCE, || runs(&web) == version());
    web.reboot();
    wait_until("and after a reboot", PATIENCE, || runs(&web) == version());
    wait_until("it answers", PATIENCE, || site.ask(&["run", "system.info", "ct/101"]).status.success());

    // The old one is on the agents' disks still.
    for vmid in [101, 103] {
        let back = site.ask(&["update", &format!("ct/{vmid}"), "--version", OLD, "--yes"]);
        succeeded(&back);
        assert_eq!(runs(&site.lab.container(vmid)), OLD);
    }

    add(&site, &build_of("9.0.0"));
    succeeded(&site.ask(&["update", "node/pve1", "--yes"]));
    let shown = text(&site.ask(&["agents", "--json"]).stdout);
    assert!(shown.contains("9.0.0"), "{shown}");
    succeeded(&site.ask(&["run", "guest.status", "ct/101"]));
    succeeded(&site.ask(&["update", "ct/104", "--yes"]));
    let bare = site.lab.container(104);
    let versions = bare.text(["ls", "/opt/remotectl/versions"]).unwrap_or_default();
    assert_eq!(versions.split_whitespace().collect::<Vec<_>>(), [version(), "9.0.0"], "the oldest is gone");
    succeeded(&bare.exec(["remotectl", "agent", "uninstall", "--purge"]));
    assert!(bare.text(["ls", "/opt/remotectl"]).is_none(), "nothing is left");
}

/// Versions that pass their trial and then end at once, or do nothing at all: each below three init systems, at the same time.
pub fn a_version_that_does_not_come_up_is_taken_back() {
    let bad = [("8.0.0", "return 1;", [101, 108, 109]), ("8.0.1", "for (;;) pause();", [103, 104, 110])];
    let all: Vec<u32> = bad.iter().flat_map(|(.., vmids)| *vmids).collect();
    let site = site_of_old(&all);
    for (version, body, _) in bad {
        add(&site, &pretender(version, body));
    }
    let taken_back = |version: &str, vmids: &[u32]| {
        let start = Instant::now();
        let asked = site.ask(&["update", &targets(vmids), "--version", version, "--yes"]);
        let took = start.elapsed();
        let said = text(&asked.stdout) + &text(&asked.stderr);
        eprintln!("{version} was taken back in {took:?}");
        assert!(!asked.status.success() && took < Duration::from_mins(3), "{took:?}");
        assert_eq!(said.matches(&format!("{version} did not work")).count(), vmids.len(), "{said}");
        assert_eq!(said.matches(&format!("back at {OLD}")).count(), vmids.len(), "{said}");
    };
    thread::scope(|scope| {
        for (version, _, vmids) in &bad {
            scope.spawn(|| taken_back(version, vmids));
        }
    });
    for vmid in &all {
        assert_eq!(runs(&site.lab.container(*vmid)), OLD, "ct/{vmid}");
    }
    // And the next good one is taken.
    succeeded(&site.ask(&["update", &targets(&all), "--version", version(), "--yes"]));
}
