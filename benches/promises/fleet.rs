//! A hub and an agent as processes on loopback, and an operator who has logged in.

use crate::{memory::Memory, succeeds, wait_until};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub struct Fleet {
    exe: PathBuf,
    place: PathBuf,
    hub: Child,
    agent: Child,
}

impl Fleet {
    pub fn start(exe: &Path, place: &Path) -> Self {
        let hub = spawn(exe, place, "hub", &["hub", "serve", "--listen", "127.0.0.1:0"]);
        wait_until("the hub answers", || succeeds(&mut remotectl(exe, place, "hub", &["agents"])));
        let word = |args: &[&str]| {
            let said = remotectl(exe, place, "hub", args).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            said.split_whitespace().find(|word| word.starts_with("rctl1.")).unwrap().to_owned()
        };
        let join = word(&["hub", "join-token", "--role", "agent"]);
        assert!(succeeds(&mut remotectl(exe, place, "agent", &["agent", "install", "--no-service", "--join", &join])));
        let agent = spawn(exe, place, "agent", &["agent", "run"]);
        let login = word(&["hub", "operator", "add", "bench", "--role", "operator"]);
        assert!(succeeds(&mut remotectl(exe, place, "client", &["login", &login])));
        let fleet = Self { exe: exe.to_owned(), place: place.to_owned(), hub, agent };
        fleet.wait_online(1);
        fleet
    }

    /// Where the hub, the agent or the client lives.
    pub fn root(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    pub fn wait_online(&self, count: usize) {
        wait_until("the agents are online", || {
            let said = remotectl(&self.exe, &self.place, "hub", &["agents", "--json"]).output().unwrap();
            String::from_utf8_lossy(&said.stdout).matches("\"online\"").count() >= count
        });
    }

    /// The one agent that is a process of its own.
    pub fn own_target() -> String {
        format!("host/{}", fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim())
    }

    /// Runs /bin/true on these targets, asked for over the unix socket (`hub`) or over TLS (`client`).
    pub fn run(&self, root: &str, targets: &str) {
        let args = ["run", "--yes", "exec.run", targets, "command=/bin/true"];
        let output = remotectl(&self.exe, &self.place, root, &args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    pub fn plan(&self) {
        let inventory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/homelab.json");
        let mut command = remotectl(&self.exe, &self.place, "client", &["plan", "--json", "--inventory"]);
        assert!(succeeds(command.arg(inventory).arg("restart the web server")));
    }

    pub fn hub_memory(&self) -> Memory {
        Memory::of(self.hub.id())
    }

    pub fn agent_memory(&self) -> Memory {
        Memory::of(self.agent.id())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in [&mut self.agent, &mut self.hub] {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Starts a role whose root and log are below `place`.
pub fn spawn(exe: &Path, place: &Path, root: &str, args: &[&str]) -> Child {
    let log = fs::File::create(place.join(format!("{root}.log"))).unwrap();
    remotectl(exe, place, root, args).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn remotectl(exe: &Path, place: &Path, root: &str, args: &[&str]) -> Command {
    let mut command = Command::new(exe);
    command.args(args).env("REMOTECTL_ROOT", place.join(root)).stdin(Stdio::null());
    command
}
