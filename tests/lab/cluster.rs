//! The lab's containers as a backend of the simulated API: what is configured is read from /etc/pve's files, what runs
//! from the control groups, and what is to be done is done by the node's own `pct`.

use super::{container::DEFINED, machine::Definition, run::processes_below, standin::config::Config};
use remotectl::{
    model::{
        inventory::{Guest, Inventory, Node, Os, Storage},
        values::GuestKind,
    },
    sim::{Action, Backend, NodeUsage, TaskLog, Usage},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A node, as far as the API has to do with it.
pub struct Member {
    /// Its name.
    pub name: String,
    /// On vmbr0.
    pub address: String,
    /// The process that holds its namespaces.
    pub pid: u32,
}

/// All containers of a run.
pub struct Containers {
    /// The nodes.
    pub members: Vec<Member>,
    /// The shared /etc/pve.
    pub pve: PathBuf,
    /// The run's control group.
    pub cgroup: PathBuf,
}

impl Containers {
    /// The control group of a running container.
    fn payload(&self, node: &str, vmid: u32) -> Option<PathBuf> {
        let name = format!("lxc.payload.{vmid}");
        let again = format!("{name}-");
        let groups = fs::read_dir(self.cgroup.join(node)).into_iter().flatten().flatten();
        let mut ours = groups
            .filter(|entry| entry.file_name().to_str().is_some_and(|entry| entry == name || entry.starts_with(&again)));
        ours.find(|entry| populated(&entry.path())).map(|entry| entry.path())
    }

    fn guest(&self, node: &str, vmid: u32, config: &Config) -> Guest {
        let tags = config.get("tags").unwrap_or_default().split(';').filter(|tag| !tag.is_empty());
        Guest {
            vmid,
            kind: GuestKind::Ct,
            name: config.get("hostname").unwrap_or_default().to_owned(),
            node: node.to_owned(),
            status: if self.payload(node, vmid).is_some() { "running" } else { "stopped" }.to_owned(),
            template: config.get("template") == Some("1"),
            tags: tags.map(str::to_owned).collect(),
            pool: None,
            os: Os::default(),
            addresses: config
                .part("net0", "ip")
                .and_then(|ip| ip.split('/').next())
                .map(str::to_owned)
                .into_iter()
                .collect(),
            cores: config.number("cores").and_then(|cores| cores.try_into().ok()).unwrap_or(1),
            memory_mib: config.number("memory").unwrap_or(512),
            disk_gib: config.size().div_ceil(1 << 30),
            snapshots: Vec::new(),
            agent: None,
            services: Vec::new(),
            guest_agent: None,
            lock: config.get("lock").map(str::to_owned),
            ha: None,
            incarnation: None,
        }
    }
}

/// The process of a virtual machine, by the numbers of its node.
fn qemu(member: &Member, vmid: u32) -> Option<u32> {
    let root = PathBuf::from(format!("/proc/{}/root", member.pid));
    let pid = fs::read_to_string(root.join(format!("run/qemu-server/{vmid}.pid"))).ok()?.trim().parse().ok()?;
    root.join(format!("proc/{pid}")).exists().then_some(pid)
}

fn machine(member: &Member, vmid: u32, config: &Config) -> Guest {
    let running = qemu(member, vmid).is_some();
    let definition = Definition::of(vmid);
    Guest {
        vmid,
        kind: GuestKind::Vm,
        name: config.get("name").unwrap_or_default().to_owned(),
        node: member.name.clone(),
        status: if running { "running" } else { "stopped" }.to_owned(),
        template: config.get("template") == Some("1"),
        tags: config.get("tags").unwrap_or_default().split(';').map(str::to_owned).collect(),
        pool: None,
        os: Os::new("debian", "12"),
        addresses: definition.iter().map(Definition::address).collect(),
        cores: 1,
        memory_mib: config.number("memory").unwrap_or(256),
        disk_gib: 1,
        snapshots: Vec::new(),
        agent: None,
        services: Vec::new(),
        guest_agent: config.get("agent").map(|_| running),
        lock: config.get("lock").map(str::to_owned),
        ha: None,
        incarnation: None,
    }
}

fn populated(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events")).is_ok_and(|events| events.contains("populated 1"))
}

/// A line of /proc/meminfo in MiB.
fn memory(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

impl Backend for Containers {
    fn inventory(&self) -> Inventory {
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        let node = |member: &Member| Node {
            name: member.name.clone(),
            status: "online".to_owned(),
            address: Some(member.address.clone()),
            cores,
            memory_mib: memory("MemTotal"),
            version: Some(remotectl::sim::VERSION.to_owned()),
            pve_agent: None,
        };
        let machines = self.members.iter().flat_map(|member| {
            let name = member.name.as_str();
            Config::all_machines(&self.pve, name)
                .into_iter()
                .filter_map(move |vmid| Some(machine(member, vmid, &Config::read_machine(&self.pve, name, vmid).ok()?)))
        });
        let guests = self.members.iter().flat_map(|member| {
            let name = member.name.as_str();
            Config::all(&self.pve, name)
                .into_iter()
                .filter_map(move |vmid| Some(self.guest(name, vmid, &Config::read(&self.pve, name, vmid).ok()?)))
        });
        let storage = Storage {
            name: "lab".to_owned(),
            kind: "dir".to_owned(),
            content: vec!["rootdir".to_owned(), "vztmpl".to_owned()],
            used_gib: 1,
            total_gib: u64::try_from(DEFINED.len()).unwrap_or(0) + 1,
            nodes: self.members.iter().map(|member| member.name.clone()).collect(),
        };
        Inventory {
            cluster: "lab".to_owned(),
            nodes: self.members.iter().map(node).collect(),
            storages: vec![storage],
            guests: guests.chain(machines).collect(),
        }
    }

    fn config(&self, guest: &Guest) -> BTreeMap<String, Value> {
        let config = match guest.kind {
            GuestKind::Ct => Config::read(&self.pve, &guest.node, guest.vmid),
            GuestKind::Vm => Config::read_machine(&self.pve, &guest.node, guest.vmid),
        };
        let config = config.unwrap_or_default();
        let numbers = ["cores", "memory", "swap", "unprivileged", "onboot", "template"];
        let value = |(key, text): (String, String)| match text.parse::<u64>() {
            Ok(number) if numbers.contains(&key.as_str()) => (key, json!(number)),
            _ => (key, json!(text)),
        };
        config.0.into_iter().map(value).collect()
    }

    fn usage(&self, guest: &Guest) -> Usage {
        let Some(payload) = self.payload(&guest.node, guest.vmid) else { return Usage::default() };
        let started = fs::metadata(&payload).and_then(|metadata| metadata.modified()).ok();
        Usage {
            pid: processes_below(&payload).iter().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()).min(),
            uptime: started.and_then(|started| started.elapsed().ok()).map_or(0, |since| since.as_secs()),
            memory: 32 << 20,
            ..Usage::default()
        }
    }

    fn node_usage(&self, _node: &str) -> NodeUsage {
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        NodeUsage {
            uptime: uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0),
            cpu: 0.1,
            memory: (memory("MemTotal") - memory("MemAvailable")) << 20,
            disk: 1 << 30,
            max_disk: 8 << 30,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        }
    }

    fn carry_out(&self, guest: &Guest, action: &Action, log: &TaskLog) -> Result<(), String> {
        let member = self.members.iter().find(|member| member.name == guest.node).ok_or("no such node")?;
        let tool = if guest.kind == GuestKind::Vm { "/usr/sbin/qm" } else { "/usr/sbin/pct" };
        let mut pct = Command::new("nsenter");
        pct.args([
            "--target",
            &member.pid.to_string(),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            "--",
        ])
        .args([tool, action.word(), &guest.vmid.to_string()])
        .stdin(Stdio::null());
        match action {
            Action::Shutdown { timeout, force } => {
                pct.args(["--timeout", &timeout.as_secs().to_string(), "--forceStop", if *force { "1" } else { "0" }]);
            }
            Action::Reboot { timeout } => drop(pct.args(["--timeout", &timeout.as_secs().to_string()])),
            Action::Start | Action::Stop => {}
        }
        let output = pct.output().map_err(|error| format!("cannot run pct: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        // The last line is the task's failure, what was said before belongs in its log.
        let errors = String::from_utf8_lossy(&output.stderr);
        let mut lines: Vec<&str> = errors.lines().filter(|line| !line.is_empty()).collect();
        let last = lines.pop().unwrap_or("pct failed").to_owned();
        for line in lines {
            log.line(line);
        }
        Err(last)
    }
}
