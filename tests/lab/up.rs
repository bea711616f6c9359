//! `up` and `down` on the lab's nodes: real systemd, real containers, and nothing left of either but what was there.

use super::{
    lab::{Lab, product, wait_until},
    node::Node,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    net::{Ipv4Addr, TcpListener},
    os::fd::AsFd as _,
    process::Output,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_mins(1);
/// Where the lab has the executable: not where an installation puts it.
const PROGRAM: &str = "/usr/bin/remotectl";

fn lab(containers: &[u32]) -> Lab {
    assert!(product().is_some(), "no executable: set REMOTECTL_LAB_EXE, or run `make lab`");
    Lab::up(containers)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the product on a node and shows what came of it.
fn run(node: &Node, arguments: &[&str]) -> Output {
    let start = Instant::now();
    let output = node.command(PROGRAM).args(arguments).output().expect("nsenter can be run");
    eprintln!(
        "{}# remotectl {}\n{}{}[{} in {:?}]\n",
        node.name,
        arguments.join(" "),
        text(&output.stdout),
        text(&output.stderr),
        output.status,
        start.elapsed()
    );
    output
}

/// What it printed, having succeeded.
fn succeed(node: &Node, arguments: &[&str]) -> String {
    let output = run(node, arguments);
    assert!(output.status.success(), "remotectl {arguments:?}: {}", output.status);
    text(&output.stdout)
}

/// What it complained about, having ended with that code.
fn complain(node: &Node, arguments: &[&str], code: i32) -> String {
    let output = run(node, arguments);
    assert_eq!(output.status.code(), Some(code), "remotectl {arguments:?}");
    text(&output.stderr) + &text(&output.stdout)
}

/// What Proxmox knows of users, roles, rights and tokens.
fn access(node: &Node) -> Vec<String> {
    let lists: [&[&str]; 4] = [
        &["user", "list", "--full", "1"],
        &["role", "list"],
        &["acl", "list"],
        &["user", "token", "list", "remotectl@pve"],
    ];
    let ask = |list: &[&str]| {
        let output = node.command("pveum").args(list).args(["--output-format", "json"]).output().expect("pveum runs");
        format!("{list:?}: {}{}", text(&output.stdout), text(&output.stderr))
    };
    lists.iter().map(|list| ask(list)).collect()
}

fn pid(node: &Node, service: &str) -> u32 {
    let shown = node.command("systemctl").args(["show", service, "--property=MainPID", "--value"]).output();
    text(&shown.expect("systemctl runs").stdout).trim().parse().expect("a process id")
}

/// What is in one list and not in the other.
fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let only = |mark: char, one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).map(|line| format!("{mark} {line}")).collect()
    };
    [only('-', before, after), only('+', after, before)].concat()
}

fn deploy(node: &Node, vmid: u32) {
    let known = || run(node, &["guests", &format!("ct/{vmid}")]).status.success();
    wait_until("the hub knows the container", PATIENCE, known);
    succeed(node, &["ask", "--yes", &format!("deploy the agent to container {vmid}")]);
}

/// Up, guests seen, an agent in one of them, down: no file, no process, no user, no right is left.
pub fn a_node_goes_up_and_down_without_a_trace() {
    let lab = lab(&[101]);
    let (node, web) = (lab.node("pve1"), lab.container(101));
    let (files, rights, inside) = (node.files(), access(node), web.files());
    assert!(succeed(node, &["down"]).contains("There is nothing of remotectl on pve1"));
    assert!(succeed(node, &["up", "--dry-run"]).contains("would be installed as remotectl-hub"));
    assert_eq!(difference(&files, &node.files()), [""; 0], "a dry run changes nothing");

    let told = succeed(node, &["up"]);
    for part in ["installed; remotectl-hub", "10.66.1.1:8443", "recovery.key", "root@pve2:", "root@pve3:"] {
        assert!(told.contains(part), "{part}");
    }
    let running = (pid(node, "remotectl-hub"), pid(node, "remotectl-pve-agent"));
    let rights_up = access(node).concat();
    assert!(rights_up.contains("remotectl@pve") && rights_up.contains("RemotectlAgent"), "{rights_up}");
    let again = succeed(node, &["up"]);
    assert!(again.contains("runs; remotectl-hub") && again.contains("the hub answers it"), "{again}");
    assert_eq!((pid(node, "remotectl-hub"), pid(node, "remotectl-pve-agent")), running, "nothing was restarted");

    assert!(succeed(node, &["guests"]).contains("web-server"));
    deploy(node, 101);
    assert_eq!(web.text(["systemctl", "is-active", "remotectl-agent"]).as_deref(), Some("active"));
    assert!(!difference(&files, &node.files()).is_empty() && !difference(&inside, &web.files()).is_empty());

    let shown = succeed(node, &["down", "--purge", "--dry-run"]);
    for part in ["ct/101 web-server", "remotectl-hub.service", "/var/lib/remotectl/hub", "remotectl@pve!node-pve1"] {
        assert!(shown.contains(part), "{part}");
    }
    assert!(complain(node, &["down", "--purge"], 3).contains("--yes"), "nobody can be asked");
    assert_eq!(pid(node, "remotectl-hub"), running.0);
    succeed(node, &["down", "--purge", "--yes"]);
    eprintln!("files on pve1: {} before, {} after", files.len(), node.files().len());
    eprintln!("files in ct/101: {} before, {} after", inside.len(), web.files().len());
    assert_eq!(difference(&files, &node.files()), [""; 0]);
    assert_eq!(difference(&rights, &access(node)), [""; 0]);
    assert_eq!(difference(&inside, &web.files()), [""; 0]);
    for place in [node.command("pgrep"), web.command(["pgrep"])] {
        let mut pgrep = place;
        assert!(!pgrep.args(["-f", "remotectl"]).status().expect("pgrep runs").success(), "a process was left");
    }
    assert!(succeed(node, &["down", "--purge", "--yes"]).contains("There is nothing of remotectl"));
}

/// Whatever is taken out of an installation, `up` puts back, and `down` takes the rest away.
pub fn half_an_installation_is_put_right() {
    let lab = lab(&[]);
    let node = lab.node("pve1");
    let (files, rights) = (node.files(), access(node));
    succeed(node, &["up", "--listen", "0.0.0.0:9443"]);
    assert!(succeed(node, &["up", "--listen", "0.0.0.0:9443"]).contains("runs; remotectl-hub"));
    assert!(complain(node, &["up", "--listen", "0.0.0.0:9444"], 1).contains("hub.toml already"));
    let breaks: [(&str, &[&str]); 6] = [
        ("unit of the pve-agent", &["rm", "/etc/systemd/system/remotectl-pve-agent.service"]),
        ("link of the hub", &["rm", "/opt/remotectl/hub"]),
        ("credential", &["pveum", "user", "token", "remove", "remotectl@pve", "node-pve1"]),
        ("credential's file", &["rm", "/var/lib/remotectl/pve-agent/proxmox.json"]),
        ("hub's service", &["systemctl", "disable", "--now", "remotectl-hub"]),
        ("whole pve-agent", &[PROGRAM, "pve-agent", "uninstall", "--purge"]),
    ];
    for (what, argv) in breaks {
        let broken = node.command(argv[0]).args(&argv[1..]).status().expect("it runs");
        assert!(broken.success(), "{what}");
        let told = succeed(node, &["up"]);
        let done = told
            .lines()
            .filter(|line| line.contains("put back") || line.contains("anew") || line.contains("installed;"));
        assert_eq!(done.count(), 1, "{what}: it alone was done");
        let works = || {
            let probed = node.command(PROGRAM).args(["pve-agent", "probe"]).output().expect("nsenter can be run");
            let standing = node.command(PROGRAM).args(["pve-agent", "status"]).output().expect("nsenter can be run");
            probed.status.success() && text(&standing.stdout).contains("answers")
        };
        wait_until(what, PATIENCE, works);
        assert!(succeed(node, &["up"]).contains("the hub answers it"), "{what}: it stays put right");
    }
    succeed(node, &["down", "--yes"]);
    let kept = difference(&files, &node.files());
    assert!(kept.iter().all(|line| line.contains("/etc/remotectl") || line.contains("/var/lib/remotectl")), "{kept:?}");
    assert_eq!(difference(&rights, &access(node)), [""; 0], "the credential goes in any case");
    let before = node.command("cat").arg("/var/lib/remotectl/hub/hub.id").output().expect("cat runs").stdout;
    assert!(succeed(node, &["up"]).contains(text(&before).trim()), "the same hub comes back");
    for path in ["/opt/remotectl/versions", "/etc/systemd/system/remotectl-hub.service", "/opt/remotectl/pve-agent"] {
        assert!(node.command("rm").args(["-r", path]).status().expect("rm runs").success());
    }
    succeed(node, &["down", "--purge", "--yes"]);
    assert_eq!(difference(&files, &node.files()), [""; 0]);
    assert_eq!(difference(&rights, &access(node)), [""; 0]);
    assert!(!node.command("pgrep").args(["-f", "remotectl"]).status().expect("pgrep runs").success());
    let run = node.command("ls").arg("/run/remotectl").status().expect("ls runs");
    assert!(!run.success(), "/run/remotectl was left");
}

/// Refusals come before anything is done; a step that fails takes the ones before it back.
pub fn what_is_refused_leaves_nothing() {
    let mut lab = lab(&[]);
    let elsewhere = complain(lab.driver(), &["up"], 1);
    assert!(elsewhere.contains("no Proxmox VE node") && elsewhere.contains("remotectl demo"), "{elsewhere}");
    let node = lab.node("pve1");
    let (files, rights) = (node.files(), access(node));
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM, "up"];
    let refused = node.command(user[0]).args(&user[1..]).output().expect("setpriv runs");
    assert!(text(&refused.stderr).contains("is for root"), "{}", text(&refused.stderr));

    let taken = occupy(node, 8443);
    let port = complain(node, &["up"], 1);
    assert!(port.contains("0.0.0.0:8443") && port.contains("remotectl up --listen"), "{port}");
    drop(taken);

    let remount =
        |how: &str| node.command("mount").args(["-o", how, "/etc/pve"]).status().expect("mount runs").success();
    assert!(remount("remount,bind,ro"));
    assert!(complain(node, &["up"], 1).contains("/etc/pve is mounted read-only"));
    assert!(remount("remount,bind,rw"));
    assert_eq!(difference(&files, &node.files()), [""; 0]);
    assert_eq!(difference(&rights, &access(node)), [""; 0]);

    lab.stop_api("pve1");
    let node = lab.node("pve1");
    let failed = complain(node, &["up"], 1);
    assert!(failed.contains("pveum") && failed.contains("the hub was taken away again"), "{failed}");
    assert_eq!(difference(&files, &node.files()), [""; 0]);
}

/// Holds a port of a node.
fn occupy(node: &Node, port: u16) -> TcpListener {
    let network = node.network().expect("the node's network");
    let bind = move || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may do this");
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("the port is free")
    };
    thread::spawn(bind).join().expect("the thread that binds")
}

/// A stopped guest keeps what it has, and is named with what takes it away there; another node is rid of it.
pub fn who_does_not_answer_is_named() {
    let lab = lab(&[101, 102]);
    let (node, second) = (lab.node("pve1"), lab.node("pve2"));
    let (files, there, rights) = (node.files(), second.files(), access(node));
    let told = succeed(node, &["up"]);
    let join = told.lines().find(|line| line.contains("root@pve2:")).expect("a command for pve2").trim();
    let joined = node.command("sh").args(["-c", join]).output().expect("sh runs");
    eprintln!("pve1# {join}\n{}{}", text(&joined.stdout), text(&joined.stderr));
    assert!(joined.status.success());
    assert!(!succeed(node, &["up"]).contains("root@pve2:"), "it has joined");
    deploy(node, 101);
    deploy(node, 102);
    assert!(node.command("pct").args(["stop", "102"]).status().expect("pct runs").success());
    let stopped = || text(&run(node, &["guests", "ct/102"]).stdout).contains("stopped");
    wait_until("the hub knows that it is stopped", PATIENCE, stopped);
    let said = complain(node, &["down", "--purge", "--yes"], 7);
    for part in ["ct/101 web-server", "it is stopped", "pct exec 102 --", "pve-agent node/pve2"] {
        assert!(said.contains(part), "{part}");
    }
    assert!(lab.container(101).text(["ls", "/opt/remotectl"]).is_none(), "the one that answers is rid of it");
    assert_eq!(difference(&files, &node.files()), [""; 0]);
    assert_eq!(difference(&there, &second.files()), [""; 0], "the other node is rid of it as well");
    assert_eq!(difference(&rights, &access(node)), [""; 0]);
    lab.container(102).start().expect("it starts");
    let by_hand = ["exec", "102", "--", "/usr/local/bin/remotectl", "agent", "uninstall", "--purge"];
    assert!(node.command("pct").args(by_hand).status().expect("pct runs").success());
    assert!(lab.container(102).text(["ls", "/opt/remotectl"]).is_none());
}
