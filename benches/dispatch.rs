//! `make bench`: what the project promises about speed and size, as ratios within one run. Prints a table and writes
//! bench.json beside the build. Needs the static executable (REMOTECTL_BENCH_EXE); the ssh rows need sshd and root.

#![allow(clippy::disallowed_methods, reason = "a bench starts what it measures")]
#![allow(clippy::unwrap_used, reason = "a bench ends where something is not as it should be")]

use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How often each thing is done; the order is shuffled by turns, so that a busy machine is busy for all.
const ROUNDS: usize = 150;
/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let Some(exe) = std::env::var_os("REMOTECTL_BENCH_EXE").map(PathBuf::from) else {
        return println!("bench: skipped, REMOTECTL_BENCH_EXE is not set (use `make bench`)");
    };
    let place = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&exe, place.path());
    let ssh = Ssh::start(place.path());
    let mut rows = vec![
        Row::new("remotectl run, TLS, durable", || fleet.run("client")),
        Row::new("remotectl run, unix socket", || fleet.run("hub")),
        Row::new("remotectl plan --inventory", || fleet.plan()),
    ];
    match &ssh {
        Ok(ssh) => {
            rows.insert(0, Row::new("ssh, ControlMaster", || ssh.run()));
        }
        Err(why) => println!("the ssh row is left out: {why}"),
    }
    for _ in 0..ROUNDS {
        rows.iter_mut().for_each(Row::round);
    }
    let mut report: Vec<Value> = rows.iter_mut().map(Row::report).collect();
    report.push(json!({"name": "executable", "bytes": fs::metadata(&exe).unwrap().len()}));
    report.push(json!({"name": "hub resident, 1 agent", "kib": resident(fleet.hub.id())}));
    report.push(json!({"name": "agent resident", "kib": resident(fleet.agent.id())}));
    print_table(&report);
    let out = std::env::var_os("REMOTECTL_BENCH_OUT").map_or_else(|| PathBuf::from("bench.json"), PathBuf::from);
    fs::write(&out, serde_json::to_string_pretty(&report).unwrap()).unwrap();
    println!("written to {}", out.display());
}

fn print_table(report: &[Value]) {
    let base = report.iter().find(|row| row["name"] == "ssh, ControlMaster").and_then(|row| row["median_ms"].as_f64());
    println!("{:<32} {:>10} {:>10} {:>8}", "", "median", "p95", "ratio");
    for row in report {
        let name = row["name"].as_str().unwrap();
        if let Some(median) = row["median_ms"].as_f64() {
            let ratio = base.map_or_else(|| "-".to_owned(), |base| format!("{:.2}", median / base));
            println!("{name:<32} {median:>7.2} ms {:>7.2} ms {ratio:>8}", row["p95_ms"].as_f64().unwrap());
        } else if let Some(bytes) = row["bytes"].as_f64() {
            println!("{name:<32} {:>7.2} MB", bytes / 1e6);
        } else if let Some(kib) = row["kib"].as_f64() {
            println!("{name:<32} {:>7.2} MiB", kib / 1024.0);
        }
    }
}

struct Row<'a> {
    name: &'static str,
    act: Box<dyn FnMut() + 'a>,
    took: Vec<f64>,
}

impl<'a> Row<'a> {
    fn new(name: &'static str, act: impl FnMut() + 'a) -> Self {
        let mut row = Self { name, act: Box::new(act), took: Vec::new() };
        // The first time pays for what all the others share.
        (row.act)();
        row
    }

    fn round(&mut self) {
        let begun = Instant::now();
        (self.act)();
        self.took.push(begun.elapsed().as_secs_f64() * 1e3);
    }

    fn report(&mut self) -> Value {
        self.took.sort_by(f64::total_cmp);
        let at = |share: usize| self.took[(self.took.len() - 1) * share / 100];
        json!({"name": self.name, "median_ms": at(50), "p95_ms": at(95), "rounds": self.took.len()})
    }
}

/// A hub and an agent as processes on loopback, and an operator who has logged in.
struct Fleet {
    exe: PathBuf,
    place: PathBuf,
    hub: Child,
    agent: Child,
}

impl Fleet {
    fn start(exe: &Path, place: &Path) -> Self {
        let spawn = |root: &str, args: &[&str]| {
            let log = fs::File::create(place.join(format!("{root}.log"))).unwrap();
            let mut command = remotectl(exe, place, root, args);
            command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
        };
        let hub = spawn("hub", &["hub", "serve", "--listen", "127.0.0.1:0"]);
        wait_until("the hub answers", || succeeds(&mut remotectl(exe, place, "hub", &["agents"])));
        let word = |args: &[&str]| {
            let said = remotectl(exe, place, "hub", args).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            said.split_whitespace().find(|word| word.starts_with("rctl1.")).unwrap().to_owned()
        };
        let join = word(&["hub", "join-token", "--role", "agent"]);
        assert!(succeeds(&mut remotectl(exe, place, "agent", &["agent", "install", "--no-service", "--join", &join])));
        let agent = spawn("agent", &["agent", "run"]);
        let login = word(&["hub", "operator", "add", "bench", "--role", "operator"]);
        assert!(succeeds(&mut remotectl(exe, place, "client", &["login", &login])));
        let fleet = Self { exe: exe.to_owned(), place: place.to_owned(), hub, agent };
        wait_until("the agent is online", || {
            let said = remotectl(exe, place, "hub", &["agents", "--json"]).output().unwrap();
            String::from_utf8_lossy(&said.stdout).contains("\"online\"")
        });
        fleet
    }

    fn run(&self, root: &str) {
        let target = format!("host/{}", fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());
        let args = ["run", "exec.run", target.as_str(), "command=/bin/true"];
        let output = remotectl(&self.exe, &self.place, root, &args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn plan(&self) {
        let inventory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/homelab.json");
        let mut command = remotectl(&self.exe, &self.place, "client", &["plan", "--json", "--inventory"]);
        assert!(succeeds(command.arg(inventory).arg("restart the web server")));
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

fn remotectl(exe: &Path, place: &Path, root: &str, args: &[&str]) -> Command {
    let mut command = Command::new(exe);
    command.args(args).env("REMOTECTL_ROOT", place.join(root)).stdin(Stdio::null());
    command
}

/// An sshd on loopback and a connection to it that is kept.
struct Ssh {
    place: PathBuf,
    port: u16,
    daemon: Child,
}

impl Ssh {
    fn start(place: &Path) -> Result<Self, String> {
        let sshd = Path::new("/usr/sbin/sshd");
        if !sshd.exists() {
            return Err("there is no /usr/sbin/sshd (Debian: openssh-server)".to_owned());
        }
        for key in ["host", "user"] {
            let key = place.join(key);
            succeeds(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key));
        }
        fs::copy(place.join("user.pub"), place.join("authorized")).unwrap();
        fs::create_dir_all("/run/sshd").map_err(|error| format!("/run/sshd: {error}"))?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n",
            place.display()
        );
        fs::write(place.join("sshd.conf"), config).unwrap();
        // With an empty home, so that no shell start-up file of this machine's owner is measured along.
        let script = "mount -t tmpfs none \"$HOME\" && exec /usr/sbin/sshd -D -e -f \"$1\"";
        let mut daemon = Command::new("unshare");
        daemon.args(["--mount", "sh", "-c", script, "sshd"]).arg(place.join("sshd.conf")).stderr(Stdio::null());
        let ssh = Self { place: place.to_owned(), port, daemon: daemon.spawn().map_err(|error| error.to_string())? };
        wait_until("sshd answers", || {
            let mut first = ssh.command();
            succeeds(first.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=300", "localhost", "true"]))
        });
        Ok(ssh)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        let control = format!("ControlPath={}/control", self.place.display());
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", &control]);
        command.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "HostName=127.0.0.1"]);
        command.arg("-i").arg(self.place.join("user")).arg("-p").arg(self.port.to_string()).stdin(Stdio::null());
        command
    }

    fn run(&self) {
        assert!(succeeds(self.command().args(["localhost", "/bin/true"])));
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        succeeds(self.command().args(["-O", "exit", "localhost"]));
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
