//! The product in the lab: a hub on the driver, pve-agents on nodes, and the stories that an operator would tell.

use super::{
    lab::{Lab, product, wait_until},
    machine::Definition,
    node::Node,
};
use std::{
    fs::File,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

const SOCKET: &str = "/run/remotectl/hub.sock";
/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Whether there is nothing to test.
pub fn executable_is_missing() -> bool {
    product().is_none()
}

/// A lab with a hub, and a pve-agent on these nodes.
pub struct Site {
    /// The lab below it.
    pub lab: Lab,
}

impl Site {
    /// Brings it up: guests by vmid, pve-agents by node.
    pub fn up(containers: &[u32], nodes: &[&str]) -> Self {
        assert!(product().is_some(), "no executable: set REMOTECTL_LAB_EXE, or run `make lab`");
        let mut site = Self { lab: Lab::up(containers) };
        let advertised = format!("{}:8443", site.lab.hub_address());
        site.spawn("driver", &["hub", "serve", "--advertise", &advertised]);
        let listens =
            || site.lab.driver().command("test").args(["-S", SOCKET]).status().is_ok_and(|status| status.success());
        wait_until("the hub's socket is there", PATIENCE, listens);
        for node in nodes {
            let token = site.ask(&["hub", "join-token", "--role", "pve-agent"]);
            let token = text(&token.stdout);
            let token =
                token.split_whitespace().find(|word| word.starts_with("rctl1.")).expect("a join string").to_owned();
            let install = ["pve-agent", "install", "--join", token.as_str()];
            succeeded(&remotectl(site.lab.node(node), &install).output().expect("nsenter can be run"));
        }
        for vmid in containers {
            let kind = if Definition::of(*vmid).is_some() { "vm" } else { "ct" };
            let known =
                || site.lab.hub_command(&["guests", &format!("{kind}/{vmid}")]).output().expect("nsenter can be run");
            wait_until("the hub knows the guest", PATIENCE, || known().status.success());
        }
        site
    }

    /// A command of the operator's, on the hub's machine.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let start = Instant::now();
        let output = self.lab.hub_command(arguments).output().expect("nsenter can be run");
        eprintln!(
            "{arguments:?}: {} in {:?}\n{}{}",
            output.status,
            start.elapsed(),
            text(&output.stdout),
            text(&output.stderr)
        );
        output
    }

    /// Starts something that runs as long as the lab; what it says goes to a file beside the lab's own.
    fn spawn(&mut self, node: &str, arguments: &[&str]) {
        let log = File::create(self.lab.pve(&format!("priv/{node}-{}.log", arguments[0]))).expect("a log file");
        let errors = log.try_clone().expect("the same file");
        let mut command = remotectl(self.lab.node_or_driver(node), arguments);
        command.stdout(Stdio::from(log)).stderr(Stdio::from(errors));
        self.lab.spawn_helper(node, &mut command);
    }
}

impl Drop for Site {
    /// A story that fails shows what hub and agents said.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let hub = std::fs::read_to_string(self.lab.pve("priv/driver-hub.log")).unwrap_or_default();
        eprintln!("--- hub\n{hub}");
        for node in ["pve1", "pve2"] {
            let said =
                self.lab.node(node).command("journalctl").args(["--no-pager", "-u", "remotectl-pve-agent"]).output();
            eprintln!("--- {node}\n{}", said.map(|said| text(&said.stdout)).unwrap_or_default());
        }
        for vmid in [101, 102] {
            let said = self.lab.container(vmid).text(["journalctl", "--no-pager", "-u", "remotectl-agent"]);
            eprintln!("--- ct/{vmid}\n{}", said.unwrap_or_default());
        }
    }
}

fn remotectl(node: &Node, arguments: &[&str]) -> Command {
    let mut command = node.command("remotectl");
    command.args(arguments);
    command
}

/// As text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends the story with what was said, unless it succeeded.
pub fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
}

/// From nothing to an agent that does what a sentence says, and comes back with its container.
pub fn a_sentence_restarts_nginx() {
    let site = Site::up(&[101], &["pve1"]);
    let web = site.lab.container(101);
    succeeded(&site.ask(&["ask", "--yes", "install the agent on container 101 on pve1"]));
    assert_eq!(web.text(["systemctl", "is-active", "remotectl-agent"]).as_deref(), Some("active"));
    let registered = || text(&site.ask(&["agents", "--json"]).stdout).contains("ct/101");
    wait_until("the hub knows the agent", PATIENCE, registered);

    let told = || text(&site.ask(&["guests", "name=web-server", "--json"]).stdout).contains("nginx");
    wait_until("the hub knows its services", PATIENCE, told);

    let before = web.nginx_pid().expect("nginx runs");
    succeeded(&site.ask(&["ask", "--yes", "restart the web server"]));
    let after = web.nginx_pid().expect("nginx runs again");
    assert_ne!(before, after, "nginx was not restarted");

    web.reboot();
    let active = || web.text(["systemctl", "is-active", "remotectl-agent"]).as_deref() == Some("active");
    wait_until("the agent is back", PATIENCE, active);
    wait_until("it answers", PATIENCE, || site.ask(&["run", "system.info", "ct/101"]).status.success());
}

/// A container without an agent is served all the same, and shows no trace of it.
pub fn a_question_leaves_nothing_behind() {
    let site = Site::up(&[102], &["pve1"]);
    let bare = site.lab.container(102);
    let before = bare.files();
    let answer = site.ask(&["ask", "is nginx up on ct 102"]);
    succeeded(&answer);
    assert!(text(&answer.stdout).contains("nginx"), "{}", text(&answer.stdout));
    assert_eq!(before, bare.files(), "something was left behind");
    assert!(!bare.exec(["pgrep", "remotectl"]).status.success(), "a process was left behind");
}
