//! Containers of the lab: what is defined on which node, and what a test does with one.

use super::{
    node::{Node, run},
    rootfs::Base,
};
use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

/// A container as it is defined at the start of every run.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its id.
    pub vmid: u32,
    /// The node that it is on.
    pub node: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it runs.
    pub base: Base,
    /// Whether its root is nobody on the node.
    pub unprivileged: bool,
    /// The size of what it can write, as Proxmox writes sizes.
    pub size: &'static str,
    /// Whether it can write at all.
    pub read_only: bool,
    /// As Proxmox writes tags.
    pub tags: &'static str,
}

const PLAIN: Definition = Definition {
    vmid: 0,
    node: "pve1",
    name: "",
    base: Base::Systemd,
    unprivileged: false,
    size: "1G",
    read_only: false,
    tags: "",
};

/// All there are. None runs unless a test asks for it; 105 is the one that none should.
pub const DEFINED: &[Definition] = &[
    Definition { vmid: 101, name: "web-server", tags: "lab;web", ..PLAIN },
    Definition { vmid: 102, name: "bare", ..PLAIN },
    Definition { vmid: 103, name: "openrc", node: "pve2", base: Base::OpenRc, ..PLAIN },
    Definition { vmid: 104, name: "unprivileged", node: "pve2", unprivileged: true, ..PLAIN },
    Definition { vmid: 105, name: "stopped", ..PLAIN },
    Definition { vmid: 106, name: "full", size: "3M", ..PLAIN },
    Definition { vmid: 107, name: "read-only", read_only: true, ..PLAIN },
    Definition { vmid: 108, name: "busybox", node: "pve3", base: Base::Busybox, ..PLAIN },
    Definition { vmid: 109, name: "sysvinit", node: "pve2", base: Base::Sysvinit, unprivileged: true, ..PLAIN },
    Definition { vmid: 110, name: "runit", node: "pve3", base: Base::Runit, ..PLAIN },
];

impl Definition {
    /// Its address on vmbr0.
    pub fn address(&self) -> String {
        format!("10.66.{}.{}", &self.node[3..], self.vmid)
    }

    /// Writes its configuration where Proxmox has it.
    pub fn write(&self, pve: &Path) -> io::Result<()> {
        let folder = pve.join("nodes").join(self.node).join("lxc");
        let base = self.base.provide(self.unprivileged)?;
        let mut tail = base.components().rev();
        let (kind, recipe) = (tail.next(), tail.next());
        let volume: PathBuf = recipe.into_iter().chain(kind).collect();
        let ro = if self.read_only { ",ro=1" } else { "" };
        let [_, high, middle, low] = self.vmid.to_be_bytes();
        let mut lines = vec![
            "arch: amd64".to_owned(),
            "cores: 1".to_owned(),
            format!("hostname: {}", self.name),
            "memory: 512".to_owned(),
            format!(
                "net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:{high:02X}:{middle:02X}:{low:02X},ip={}/16,type=veth",
                self.address()
            ),
            "ostype: debian".to_owned(),
            format!("rootfs: lab:{},size={}{ro}", volume.display(), self.size),
            "swap: 0".to_owned(),
        ];
        if !self.tags.is_empty() {
            lines.push(format!("tags: {}", self.tags));
        }
        if self.unprivileged {
            lines.push("unprivileged: 1".to_owned());
        }
        fs::write(folder.join(format!("{}.conf", self.vmid)), lines.join("\n") + "\n")
    }
}

/// A container, as tests use it: past Proxmox, so that they see what is, not what the product says.
pub struct Container<'a> {
    /// The node that it is on.
    pub node: &'a Node,
    /// How it is defined.
    pub definition: Definition,
}

impl Container<'_> {
    /// Its id, as programs take it.
    fn id(&self) -> String {
        self.definition.vmid.to_string()
    }

    /// A command in it, with a clean environment.
    pub fn command<I: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = I>) -> Command {
        let mut command = self.node.command("lxc-attach");
        command.args(["--clear-env", "-n", &self.id(), "--"]).args(argv);
        command
    }

    /// Runs a command in it and gives back its output.
    pub fn exec<I: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = I>) -> Output {
        self.command(argv).output().expect("nsenter can be run")
    }

    /// Its standard output, if it succeeded.
    pub fn text<I: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = I>) -> Option<String> {
        let output = self.exec(argv);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Starts it and waits until it is up.
    pub fn start(&self) -> io::Result<()> {
        run(self.node.command("pct").args(["start", &self.id()]))?;
        self.wait_until_up();
        Ok(())
    }

    /// Restarts it from within, as `reboot` does, and waits until it is up again.
    pub fn reboot(&self) {
        let before = self.boot();
        let _ = self.exec(["reboot"]);
        wait_until("the container has gone down and come back", Duration::from_mins(1), || {
            self.boot().is_some_and(|now| Some(now) != before)
        });
        self.wait_until_up();
    }

    /// Waits until its init system has nothing more to do and its web server runs.
    pub fn wait_until_up(&self) {
        wait_until("the container is up", Duration::from_mins(1), || match self.definition.base {
            Base::Systemd => {
                let state = self.exec(["systemctl", "is-system-running"]);
                matches!(String::from_utf8_lossy(&state.stdout).trim(), "running" | "degraded")
            }
            Base::OpenRc | Base::Sysvinit | Base::Runit | Base::Node | Base::Machine | Base::Kernel => {
                self.exec(["pgrep", "nginx"]).status.success()
            }
            Base::Busybox => self.exec(["test", "-e", "/run/up"]).status.success(),
        });
    }

    /// The main process of its nginx.
    pub fn nginx_pid(&self) -> Option<u32> {
        self.text(["cat", "/run/nginx.pid"])?.trim().parse().ok()
    }

    /// Every path in it, sorted: see `listing`.
    pub fn files(&self) -> Vec<String> {
        let text = match self.definition.base {
            Base::Busybox => self.text(["sh", "-c", BUSYBOX_LISTING]),
            _ => self.text(listing()),
        };
        let text = text.expect("find works");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// When its process 1 started; changes with every boot.
    fn boot(&self) -> Option<String> {
        let stat = self.text(["cat", "/proc/1/stat"])?;
        stat.split_whitespace().nth(21).map(str::to_owned)
    }
}

/// A `find` that prints every path with its kind, and for files size, time, mode and owner: to compare before and after.
/// Not what lives in memory, nor logs and the like that change by themselves.
pub fn listing() -> Vec<&'static str> {
    let mut find = vec!["find", "/", "-xdev", "("];
    for (place, moving) in MOVING.iter().enumerate() {
        find.extend(if place == 0 { vec!["-path", moving] } else { vec!["-o", "-path", moving] });
    }
    find.extend([")", "-prune", "-o", "-type", "d", "-printf", "d %p\\n"]);
    find.extend(["-o", "-printf", "%y %p %s %T@ %m %U %G\\n"]);
    find
}

/// The same where `find` prints nothing but names, with no more than is moving there.
pub const BUSYBOX_LISTING: &str = "\
    set -- / -xdev '(' -path /proc -o -path /sys -o -path /dev -o -path /run ')' -prune -o
    find \"$@\" -type d -print
    find \"$@\" ! -type d -exec stat -c '%F %n %s %Y %a %u %g' '{}' +";

const MOVING: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/log",
    "/var/lib/lxc/*/log",
    "/var/lib/systemd",
    "/var/cache/ldconfig",
    "/tmp/systemd-private-*",
];

/// Waits for something to become true, looking again and again; a test that waits in vain says for what.
pub fn wait_until(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
