//! That the lab is what the stories take it for: nodes apart and joined, containers real, faults real, and nothing left
//! when a run is killed.

use super::{
    lab::{Lab, ROOT_PASSWORD, wait_until},
    run::{cache, processes_below},
};
use remotectl::sys::{
    clock::Clock,
    http::{Endpoint, Http},
    tls::Trust,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// The name that makes this executable bring up a lab and wait to be killed.
pub const VICTIM: &str = "remotectl-lab-victim";

fn output(command: &mut Command) -> String {
    let output = command.output().expect("nsenter can be run");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every node is reached over SSH with strict host keys, knows its own name, and sees its own containers only.
pub fn nodes_are_apart_and_joined() {
    let lab = Lab::up(&[]);
    for (node, first) in [("pve1", "101"), ("pve2", "103")] {
        let mut ssh = lab.driver().command("ssh");
        let listed =
            output(ssh.args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", node, "hostname; pct list"]));
        assert!(listed.starts_with(&format!("{node}\n")), "{listed}");
        assert_eq!(listed.lines().nth(2).and_then(|line| line.split(' ').next()), Some(first), "{listed}");
    }
    let hop = output(lab.node("pve3").command("ssh").args([
        "-o",
        "BatchMode=yes",
        "pve1",
        "pvesh",
        "get",
        "/nodes",
        "--output-format",
        "json",
    ]));
    assert_eq!(hop.matches("\"node\":").count(), 3, "{hop}");
    let outside = lab.driver().command("sh").args(["-c", "command -v pct"]).status().expect("sh runs");
    assert!(!outside.success(), "the hub's machine has no pct");
}

/// Containers of each kind come up with their web server, and come back from a reboot with another process.
pub fn containers_come_up_and_reboot() {
    let lab = Lab::up(&[101, 103, 104]);
    for vmid in [101, 103, 104] {
        let container = lab.container(vmid);
        let address = container.definition.address();
        let reached = || {
            let connect = format!("exec 3<>/dev/tcp/{address}/80");
            lab.driver().command("bash").args(["-c", &connect]).status().is_ok_and(|status| status.success())
        };
        wait_until("nginx answers the hub's machine", Duration::from_secs(20), reached);
        container.reboot();
        wait_until("nginx answers again", Duration::from_secs(20), reached);
        let uid = container.text(["cat", "/proc/self/uid_map"]).expect("it runs");
        assert_eq!(uid.contains("100000"), vmid == 104, "ct/{vmid}: {uid}");
    }
}

/// A container that nobody touches does not change, so that a comparison of its files means something.
pub fn an_untouched_container_stays_as_it_is() {
    let lab = Lab::up(&[102]);
    let bare = lab.container(102);
    let before = bare.files();
    assert!(before.len() > 5_000, "{}", before.len());
    assert!(bare.exec(["systemctl", "show", "nginx", "--property=MainPID"]).status.success());
    let after = bare.files();
    assert_eq!(before, after);
    assert!(bare.exec(["touch", "/etc/left-behind"]).status.success());
    assert_ne!(before, bare.files());
}

/// No space is no space, and read-only is read-only.
pub fn faults_are_real() {
    let lab = Lab::up(&[106, 107]);
    let fails = |vmid: u32, script: &str, why: &str| {
        let output = lab.container(vmid).exec(["sh", "-c", script]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(why), "ct/{vmid}: {errors}");
    };
    fails(106, "head -c 8000000 /dev/zero >/opt/big", "No space left on device");
    fails(107, "touch /opt/file", "Read-only file system");
    let push =
        lab.node("pve1").command("pct").args(["push", "107", "/etc/hostname", "/opt/file"]).output().expect("pct runs");
    assert_eq!(push.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&push.stderr).contains("Read-only file system"));
}

/// Any node's API answers for every other, over TLS that the cluster's own root has signed; a stopped one is away.
pub fn apis_answer_for_each_other() {
    let mut lab = Lab::up(&[]);
    let root = fs::read_to_string(lab.pve("pve-root-ca.pem")).expect("the root's certificate");
    let token = output(lab.node("pve1").command("pveum").args([
        "user",
        "token",
        "add",
        "root@pam",
        "lab",
        "--privsep",
        "0",
        "--output-format",
        "json",
    ]));
    let token: serde_json::Value = serde_json::from_str(&token).expect("JSON");
    let header = format!("PVEAPIToken=root@pam!lab={}", token["value"].as_str().unwrap_or_default());
    let started = call(&lab, &root, &header, "POST", "/nodes/pve1/lxc/105/status/start").expect("pve2 answers");
    assert!(started.contains("UPID:pve1:"), "{started}");
    let running = || {
        let status = call(&lab, &root, &header, "GET", "/nodes/pve1/lxc/105/status/current");
        status.is_some_and(|status| status.contains("\"status\":\"running\""))
    };
    wait_until("ct/105 runs", Duration::from_secs(20), running);
    assert!(ROOT_PASSWORD.len() >= 8);
    lab.stop_api("pve2");
    assert_eq!(call(&lab, &root, &header, "GET", "/version"), None);
}

/// Asks pve2's API from the hub's machine.
fn call(lab: &Lab, root: &str, authorization: &str, method: &str, path: &str) -> Option<String> {
    let network = lab.driver().network().expect("the driver's network");
    let endpoint = Endpoint::Tls {
        addresses: vec!["10.66.2.1:8006".to_owned()],
        name: "pve2".to_owned(),
        trust: Trust::Authorities(root.to_owned()),
        clock: Clock::new(),
    };
    let (method, path) = (method.to_owned(), format!("/api2/json{path}"));
    let authorization = authorization.to_owned();
    let ask = move || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may do this");
        let http = Http::new(&endpoint).ok()?;
        let headers = [("Authorization", authorization.as_str())];
        let reply = http.send(&method, &path, &headers, &[], Duration::from_secs(10)).ok()?;
        Some(String::from_utf8_lossy(&reply.body).into_owned())
    };
    thread::spawn(ask).join().expect("the thread that asks")
}

/// Brings up a lab, says so, and waits to be killed.
pub fn victim() {
    let lab = Lab::up(&[101]);
    println!("up {}", lab.cgroup().display());
    loop {
        thread::park();
    }
}

/// A run that is killed the hard way leaves no process, no control group and no file.
pub fn a_killed_run_leaves_nothing() {
    let mut victim = Command::new(env::current_exe().expect("this executable"))
        .arg0(VICTIM)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(victim.stdout.take().expect("a pipe")).read_line(&mut line).expect("it says that it is up");
    let cgroup = Path::new(line.trim().strip_prefix("up ").expect("it is up")).to_owned();
    let run = cache().join("runs").join(cgroup.file_name().expect("the run's name"));
    assert!(!processes_below(&cgroup).is_empty() && run.exists());
    victim.kill().expect("it can be killed");
    victim.wait().expect("it is dead");
    wait_until("everything is gone", Duration::from_secs(20), || !cgroup.exists() && !run.exists());
}
