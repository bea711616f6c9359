//! `agent.deploy` and `agent.remove` in the lab: every init system, every fault that it knows, nodes of the cluster, and the
//! pve-agent killed at each row of its saga.

use super::{
    lab::{Container, wait_until},
    product::{PATIENCE, Site, succeeded, text},
};
use std::{
    env, fs,
    time::{Duration, Instant},
};

/// Under which init systems, and whether root is nobody outside, says their definition.
const KINDS: [u32; 6] = [101, 103, 104, 108, 109, 110];

/// Paths with what they are; without the time of those that an init system writes anew to change one line.
fn files(container: &Container) -> Vec<String> {
    let rewritten = |line: &str| line.contains(" /etc/inittab ") || line.contains(" /etc/init.d/.depend.");
    let timeless = |line: String| {
        // Before it stand the kind (two words in busybox), the path and the size.
        let words: Vec<&str> = line.split(' ').collect();
        let time = words.iter().position(|word| word.starts_with('/')).map_or(words.len(), |path| path + 2);
        let timeless = words.iter().enumerate().filter(|(index, _)| *index != time).map(|(_, word)| *word);
        if rewritten(&line) { timeless.collect::<Vec<_>>().join(" ") } else { line }
    };
    container.files().into_iter().map(timeless).collect()
}

pub fn same(what: &str, before: &[String], after: &[String]) {
    let more: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    let less: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    assert!(more.is_empty() && less.is_empty(), "{what}: {more:?} {less:?}");
}

fn no_process(container: &Container) {
    let pgrep = container.exec(["pgrep", "-f", "/opt/remotectl|\\.remotectl-"]);
    assert!(!pgrep.status.success(), "ct/{}: a process was left: {}", container.definition.vmid, text(&pgrep.stdout));
}

fn answers(site: &Site, vmid: u32) -> bool {
    site.ask(&["run", "system.info", &format!("ct/{vmid}")]).status.success()
}

/// In, does what it is told, comes back after a boot, and out again without a trace.
pub fn an_agent_goes_into_every_kind_of_guest() {
    let site = Site::up(&KINDS, &["pve1", "pve2", "pve3"]);
    let mut matrix = Vec::new();
    for vmid in KINDS {
        let guest = site.lab.container(vmid);
        let (before, target) = (files(&guest), format!("ct/{vmid}"));
        let began = Instant::now();
        let told = site.ask(&["deploy", &target, "--yes", "--json"]);
        let took = began.elapsed();
        succeeded(&told);
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
        let data = &told["results"][0]["data"];
        matrix.push(format!(
            "ct/{vmid} {} {} | pct | {} | {took:?} | {}",
            guest.definition.name,
            if guest.definition.unprivileged { "unprivileged" } else { "privileged" },
            data["init"].as_str().unwrap_or_default(),
            data["steps"],
        ));
        let status = guest.exec(["/usr/local/bin/remotectl", "agent", "status"]);
        assert!(status.status.success(), "{}{}", text(&status.stdout), text(&status.stderr));
        assert!(answers(&site, vmid));
        if matches!(vmid, 109) {
            succeeded(&site.ask(&["run", "service.restart", &target, "service=nginx", "--yes"]));
            succeeded(&site.ask(&["run", "service.status", &target, "service=nginx"]));
        }
        succeeded(&site.ask(&["remove", &target, "--yes"]));
        same(&target, &before, &files(&guest));
        no_process(&guest);
    }
    eprintln!("{}", matrix.join("\n"));
    // All at once, each by itself; then every one of them is started anew.
    let again = [103, 108, 109, 110];
    let targets = again.map(|vmid| format!("ct/{vmid}")).join(",");
    succeeded(&site.ask(&["deploy", &targets, "--yes"]));
    for vmid in again {
        let guest = site.lab.container(vmid);
        guest.reboot();
        wait_until("the agent is back after a boot", PATIENCE, || answers(&site, vmid));
    }
}

/// Every fault is named, with what to do, and the guest is as it was.
pub fn what_is_wrong_is_said_and_leaves_nothing() {
    let site = Site::up(&[101, 102, 106, 107], &["pve1"]);
    let deploy = |vmid: u32, wanted: &str| {
        let guest = site.lab.container(vmid);
        let running = vmid != 105;
        let before = if running { files(&guest) } else { Vec::new() };
        let output = site.ask(&["deploy", &format!("ct/{vmid}"), "--yes"]);
        assert!(!output.status.success());
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(told.contains(wanted), "{wanted}: {told}");
        assert!(told.contains("help:"), "{told}");
        if running {
            same(wanted, &before, &files(&guest));
            no_process(&guest);
        }
    };
    deploy(105, "stopped");
    deploy(106, "no space left");
    deploy(107, "read-only");
    let conf = site.lab.pve("nodes/pve1/lxc/102.conf");
    let plain = fs::read_to_string(&conf).expect("its configuration");
    fs::write(&conf, plain.clone() + "lock: backup\n").expect("its configuration");
    deploy(102, "is locked (backup)");
    fs::write(&conf, &plain).expect("its configuration");
    let bare = site.lab.container(102);
    let run = |argv: &[&str]| assert!(bare.exec(argv).status.success(), "{argv:?}");
    // Nothing that is executable in memory: it goes onto the disk, and in.
    for place in ["/tmp", "/dev/shm", "/run/lock"] {
        run(&["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", place]);
    }
    succeeded(&site.ask(&["deploy", "ct/102", "--yes"]));
    succeeded(&site.ask(&["remove", "ct/102", "--yes"]));
    let hub = site.lab.hub_address().to_string();
    run(&["ip", "route", "add", "blackhole", &hub]);
    deploy(102, "a route in the guest leads nowhere");
    run(&["ip", "route", "del", "blackhole", &hub]);
    // What a firewall that drops looks like from inside: what is sent arrives nowhere.
    run(&["ip", "neigh", "replace", &hub, "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent"]);
    deploy(102, "no answer within 3 s");
    run(&["ip", "neigh", "del", &hub, "dev", "eth0"]);
    run(&["mkdir", "-p", "/opt/remotectl"]);
    deploy(102, "an agent is there already");
    run(&["rmdir", "/opt/remotectl"]);
    // One that is stopped comes up first, where that was asked for.
    succeeded(&site.ask(&["deploy", "ct/105", "--start", "--yes"]));
    assert!(answers(&site, 105));
}

/// At which calls of `pct`, and when: each row of the saga, before it, in it and behind it.
const MOMENTS: [(&str, &str); 14] = [
    ("before", "status 101"),
    ("before", "exec 101 --keep-env 0 -- sh -s"),
    ("after", "exec 101 --keep-env 0 -- sh -s"),
    ("after", "exec mkdir"),
    ("during", "sha256sum"),
    ("after", "sha256sum"),
    ("after", "agent probe"),
    ("before", "--no-start"),
    ("during", "--no-start"),
    ("after", "--no-start"),
    ("before", "--finish"),
    ("during", "--finish"),
    ("after", "--finish"),
    ("before", "rm -rf"),
];

/// The moments of taking back, each after a death that leads there; where there is none, the hub can't be reached, so that the
/// deployment fails by itself. Told where `REMOTECTL_LAB_SOAK` is set: each takes two deaths.
const BACK: [&str; 7] = [
    "during --no-start\nbefore uninstall --purge",
    "during --no-start\nduring uninstall --purge",
    "during --no-start\nafter uninstall --purge",
    "during --finish\nbefore uninstall --purge",
    "during --finish\nafter uninstall --purge",
    "before rm -rf",
    "after rm -rf",
];

/// Killed at each row: the command ends, and either the agent answers or nothing of it is there. `REMOTECTL_LAB_SOAK` says
/// how often each.
pub fn a_killed_deployment_ends_all_the_same() {
    let site = Site::up(&[101], &["pve1"]);
    let (guest, node) = (site.lab.container(101), site.lab.node("pve1"));
    let before = files(&guest);
    let soak: Option<u32> = env::var("REMOTECTL_LAB_SOAK").ok().and_then(|times| times.parse().ok());
    let deaths = |moment: &str| {
        let plant = format!("printf '%s\n' \"$1\" >{}", super::standin::PLANTED);
        let planted = node.command("sh").args(["-c", &plant, "sh", moment]).status();
        assert!(planted.expect("nsenter can be run").success());
        let began = Instant::now();
        let told = site.ask(&["deploy", "ct/101", "--yes"]);
        let took = began.elapsed();
        let left = node.command("test").args(["-e", super::standin::PLANTED]).status();
        assert!(!left.expect("nsenter can be run").success(), "{moment}: it was not killed");
        if told.status.success() {
            wait_until("the agent answers", PATIENCE, || answers(&site, 101));
            succeeded(&site.ask(&["remove", "ct/101", "--yes"]));
        }
        same(moment, &before, &files(&guest));
        no_process(&guest);
        (told.status.success(), took)
    };
    let mut table = Vec::new();
    let mut tell = |moment: &str| {
        let ends: Vec<(bool, Duration)> = (0..soak.unwrap_or(1)).map(|_| deaths(moment)).collect();
        let on = ends.iter().filter(|(on, _)| *on).count();
        let (back, longest) = (ends.len() - on, ends.iter().map(|(_, took)| *took).max().unwrap_or_default());
        table.push(format!("{:<60} went on {on}, taken back {back}, {longest:?} at most", moment.replace('\n', ", ")));
    };
    for (when, words) in MOMENTS {
        tell(&format!("{when} {words}"));
    }
    if soak.is_some() {
        let (by_itself, killed) = BACK.split_at(BACK.len() - 2);
        for moment in by_itself {
            tell(moment);
        }
        let hub = site.lab.hub_address().to_string();
        assert!(guest.exec(["ip", "route", "add", "blackhole", &hub]).status.success());
        for moment in killed {
            tell(moment);
        }
    }
    eprintln!("{}", table.join("\n"));
}

/// From one pve-agent to the others: one that is away and one that is a stranger are told, nothing is left on either; and
/// the pve-agents go away again.
pub fn nodes_get_their_pve_agents() {
    let site = Site::up(&[], &["pve1"]);
    let nodes = ["pve2", "pve3"].map(|name| site.lab.node(name));
    let before = nodes.map(super::node::Node::files);
    for name in ["pve1", "pve2", "pve3"] {
        let known = || text(&site.ask(&["nodes", "--json"]).stdout).contains(name);
        wait_until("the hub knows the nodes", PATIENCE, known);
    }
    let stop = |verb: &str| {
        assert!(nodes[1].command("systemctl").args([verb, "lab-ssh"]).status().expect("it runs").success());
    };
    stop("stop");
    let told = site.ask(&["ask", "--yes", "install the agent on all nodes"]);
    let said = text(&told.stdout) + &text(&told.stderr);
    assert!(said.contains("pve3 does not answer"), "{said}");
    wait_until("pve2 answers", PATIENCE, || site.ask(&["run", "system.info", "node/pve2"]).status.success());
    stop("start");
    let known = site.lab.pve("priv/known_hosts");
    let right = fs::read_to_string(&known).expect("it reads");
    for node in ["pve1", "pve2"] {
        let away = "mv /root/.ssh/known_hosts /root/.ssh/away";
        assert!(site.lab.node(node).command("sh").args(["-c", away]).status().expect("it runs").success());
    }
    fs::write(&known, "").expect("it is written");
    let told = site.ask(&["deploy", "node/pve3", "--yes"]);
    let said = text(&told.stdout) + &text(&told.stderr);
    assert!(!told.status.success() && said.contains("a stranger"), "{said}");
    fs::write(&known, right).expect("it is written");
    succeeded(&site.ask(&["deploy", "node/pve3", "--yes"]));
    let listed = text(&site.ask(&["nodes"]).stdout);
    assert_eq!(listed.matches(env!("CARGO_PKG_VERSION")).count(), 3, "each with its version: {listed}");
    for (node, before) in nodes.iter().zip(&before) {
        let secret = node.command("sh").args(["-c", "journalctl --no-pager | grep -c rctl1."]).output();
        assert_eq!(text(&secret.expect("it runs").stdout).trim(), "0", "no join string is in a log");
        succeeded(&site.ask(&["remove", &format!("node/{}", node.name), "--yes"]));
        let back = "[ ! -e /root/.ssh/away ] || mv /root/.ssh/away /root/.ssh/known_hosts";
        assert!(node.command("sh").args(["-c", back]).status().expect("it runs").success());
        same(&node.name, before, &node.files());
    }
}
