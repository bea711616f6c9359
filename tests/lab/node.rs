//! Nodes: sets of namespaces that look like Proxmox hosts from within. Each is held by one process (node.sh), and a
//! command on a node is one `nsenter` away.

use super::{
    container::{listing, wait_until},
    rootfs::Base,
    run::Run,
};
use std::{
    ffi::OsStr,
    fs,
    io::{self, BufRead, BufReader, Read},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const SCRIPT: &str = include_str!("node.sh");
/// Lives beside the node, in its control group, until standard input ends: then, or when it is killed, so is the node.
const HOLDER: &str = "echo $$ >\"$1/cgroup.procs\"; shift; \"$@\" </dev/null & cat >/dev/null; kill -KILL $!";
/// What root has on a node.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A node, or the driver that the hub and the operator are on.
pub struct Node {
    /// `pve1`, `driver`, …
    pub name: String,
    /// On vmbr0.
    pub address: Ipv4Addr,
    pid: u32,
    holder: Child,
    helpers: Vec<Child>,
    cgroup: PathBuf,
}

impl Node {
    /// Makes a node's namespaces.
    pub fn start(run: &Run, name: &str, address: Ipv4Addr, product: Option<&Path>) -> io::Result<Self> {
        let cgroup = run.cgroup.join(name);
        fs::create_dir(&cgroup)?;
        let standin = std::env::current_exe()?;
        let base = Base::Node.provide(false)?;
        let mut holder = Command::new("sh")
            .args(["-c", HOLDER, "sh"])
            .arg(&cgroup)
            .args(["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "--kill-child=KILL"])
            .args(["--propagation", "private", "sh", "-c", SCRIPT, "sh", name, &address.to_string()])
            .args([
                run.folder.as_os_str(),
                base.as_os_str(),
                standin.as_os_str(),
                product.map_or(OsStr::new(""), Path::as_os_str),
            ])
            .current_dir("/")
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pid = ready(&mut holder).map_err(|error| io::Error::other(format!("node {name}: {error}")))?;
        Ok(Self { name: name.to_owned(), address, pid, holder, helpers: Vec::new(), cgroup })
    }

    /// A command on the node, as root, with root's environment and nothing of the test's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.pid.to_string()])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--wdns=/root", "--"])
            .arg(program.as_ref())
            .current_dir("/")
            .env_clear()
            .envs([("PATH", PATH), ("HOME", "/root"), ("USER", "root"), ("LANG", "C.UTF-8"), ("TERM", "dumb")])
            .stdin(Stdio::null());
        command
    }

    /// Every path on it, sorted: see `container::listing`.
    pub fn files(&self) -> Vec<String> {
        let listing = listing();
        let output = self.command(listing[0]).args(&listing[1..]).output().expect("nsenter can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Waits until its systemd has nothing more to do.
    pub fn wait_until_up(&self) {
        wait_until("the node's systemd is up", Duration::from_mins(1), || {
            let state = self.command("systemctl").arg("is-system-running").output();
            state.is_ok_and(|state| matches!(String::from_utf8_lossy(&state.stdout).trim(), "running" | "degraded"))
        });
    }

    /// Starts something that runs as long as the node does.
    pub fn spawn_helper(&mut self, command: &mut Command) -> io::Result<()> {
        self.helpers.push(command.spawn()?);
        Ok(())
    }

    /// The file that a thread enters the node's network by.
    pub fn network(&self) -> io::Result<fs::File> {
        fs::File::open(format!("/proc/{}/ns/net", self.pid))
    }

    /// The number that this machine knows the node's process 1 by.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends everything on the node.
    pub fn stop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        let _ = self.holder.wait();
        self.helpers.drain(..).for_each(|mut helper| drop(helper.wait()));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for `ready PID`; anything else is what went wrong.
fn ready(holder: &mut Child) -> io::Result<u32> {
    let mut line = String::new();
    let output = holder.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    BufReader::new(output).read_line(&mut line)?;
    if let Some(pid) = line.trim().strip_prefix("ready ").and_then(|pid| pid.parse().ok()) {
        return Ok(pid);
    }
    let mut errors = String::new();
    if let Some(mut stderr) = holder.stderr.take() {
        stderr.read_to_string(&mut errors)?;
    }
    Err(io::Error::other(format!("cannot make the namespaces: {line}{errors}")))
}

/// Plugs a node's bridge into the driver's.
pub fn plug(driver: &Node, node: &Node) -> io::Result<()> {
    let link = |node: &Node, arguments: &[&str]| run(node.command("ip").arg("link").args(arguments));
    let pid = node.pid().to_string();
    // Not by the driver's own `ip`: the other node's process is visible from this machine only.
    run(Command::new("nsenter")
        .arg(format!("--net=/proc/{}/ns/net", driver.pid()))
        .args(["ip", "link", "add", &node.name, "type", "veth", "peer", "name", "uplink", "netns", &pid]))?;
    link(driver, &["set", &node.name, "master", "vmbr0", "up"])?;
    link(node, &["set", "uplink", "master", "vmbr0", "up"])
}

/// Runs a command that has to succeed.
pub fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr))))
}
