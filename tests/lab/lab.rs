//! The lab as tests use it: three nodes with their containers and APIs, and the driver, a machine beside them on which
//! the hub and the operator are. Everything is gone when the value is dropped, or when the process dies.

pub use super::container::{Container, wait_until};

use super::{
    cluster::{Containers, Member},
    container::DEFINED,
    machine::{self, Machine},
    node::{Node, plug, run},
    run::{Run, cache},
};
use remotectl::sim::{
    Access, Cluster,
    certificates::Root,
    server::{self, Server},
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{fd::AsFd, unix::fs::symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::runtime::Runtime;

const NODES: [(&str, Ipv4Addr); 3] = [
    ("pve1", Ipv4Addr::new(10, 66, 1, 1)),
    ("pve2", Ipv4Addr::new(10, 66, 2, 1)),
    ("pve3", Ipv4Addr::new(10, 66, 3, 1)),
];
const DRIVER: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);

/// What root@pam logs in with.
pub const ROOT_PASSWORD: &str = "lab-root-password";

/// A running lab. The fields' order is the order of their end.
pub struct Lab {
    apis: Vec<(String, Server)>,
    runtime: Runtime,
    nodes: Vec<Node>,
    driver: Node,
    run: Run,
}

impl Lab {
    /// Makes the nodes and starts these guests: containers, and from 200 on virtual machines.
    pub fn up(guests: &[u32]) -> Self {
        Self::try_up(guests).unwrap_or_else(|error| panic!("the lab does not come up: {error}"))
    }

    fn try_up(guests: &[u32]) -> io::Result<Self> {
        let (machines, containers): (Vec<u32>, Vec<u32>) =
            guests.iter().partition(|vmid| machine::Definition::of(**vmid).is_some());
        if !machines.is_empty() {
            machine::provide(&machines)?;
        }
        let run = Run::start()?;
        prepare(&run)?;
        let product = product();
        let driver = Node::start(&run, "driver", DRIVER, product.as_deref())?;
        let mut nodes = Vec::new();
        for (name, address) in NODES {
            let node = Node::start(&run, name, address, product.as_deref())?;
            plug(&driver, &node)?;
            nodes.push(node);
        }
        nodes.iter().chain([&driver]).for_each(Node::wait_until_up);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut lab = Self { apis: Vec::new(), runtime, nodes, driver, run };
        lab.start_apis()?;
        let starts: Vec<Container> = containers.iter().map(|vmid| lab.container(*vmid)).collect();
        thread::scope(|scope| {
            let mut threads: Vec<_> = starts.iter().map(|container| scope.spawn(|| container.start())).collect();
            threads.extend(machines.iter().map(|vmid| {
                let lab = &lab;
                scope.spawn(move || lab.machine(*vmid).start())
            }));
            threads.into_iter().try_for_each(|thread| thread.join().expect("the thread that starts a guest"))
        })?;
        Ok(lab)
    }

    fn start_apis(&mut self) -> io::Result<()> {
        let member =
            |node: &Node| Member { name: node.name.clone(), address: node.address.to_string(), pid: node.pid() };
        let backend = Containers {
            members: self.nodes.iter().map(member).collect(),
            pve: self.run.folder.join("pve"),
            cgroup: self.run.cgroup.clone(),
        };
        let cluster = Cluster::new(Arc::new(backend), Access::new(ROOT_PASSWORD));
        let cluster = Arc::new(cluster.with_authentication_delay(Duration::from_millis(100)));
        let root = Root::new("lab").map_err(io::Error::other)?;
        fs::write(self.run.folder.join("pve/pve-root-ca.pem"), root.pem())?;
        for node in &self.nodes {
            let address = node.address.to_string();
            let certificate = root.certify(&node.name, &[&address]).map_err(io::Error::other)?;
            cluster.set_fingerprint(&node.name, &certificate.fingerprint);
            let folder = self.run.folder.join("pve/nodes").join(&node.name);
            fs::write(folder.join("pve-ssl.pem"), &certificate.identity.chain)?;
            fs::write(folder.join("pve-ssl.key"), certificate.identity.key.reveal())?;
            let [public, own] = listen(node)?;
            let _guard = self.runtime.enter();
            let tls = server::Access::Tls(Arc::clone(&certificate.config));
            for (listener, access) in [(public, tls), (own, server::Access::Root)] {
                let server = Server::start(listener, access, Arc::clone(&cluster), &node.name)?;
                self.apis.push((node.name.clone(), server));
            }
        }
        Ok(())
    }

    /// A node.
    pub fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// A node, or the driver by its name.
    pub fn node_or_driver(&self, name: &str) -> &Node {
        if name == self.driver.name { &self.driver } else { self.node(name) }
    }

    /// Starts something on a node or on the driver that runs as long as that does.
    pub fn spawn_helper(&mut self, name: &str, command: &mut Command) {
        let mut all = self.nodes.iter_mut().chain([&mut self.driver]);
        let node = all.find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"));
        node.spawn_helper(command).expect("nsenter can be run");
    }

    /// The machine that the hub and the operator are on.
    pub fn driver(&self) -> &Node {
        &self.driver
    }

    /// Where nodes and containers reach the hub.
    pub fn hub_address(&self) -> Ipv4Addr {
        self.driver.address
    }

    /// A command of the product on the hub's machine.
    pub fn hub_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.driver.command("remotectl");
        command.args(arguments);
        command
    }

    /// A container.
    pub fn container(&self, vmid: u32) -> Container<'_> {
        let definition = *DEFINED.iter().find(|defined| defined.vmid == vmid).unwrap_or_else(|| panic!("no ct/{vmid}"));
        Container { node: self.node(definition.node), definition }
    }

    /// A virtual machine.
    pub fn machine(&self, vmid: u32) -> Machine<'_> {
        let definition = machine::Definition::of(vmid).unwrap_or_else(|| panic!("no vm/{vmid}"));
        Machine { node: self.node(definition.node), definition }
    }

    /// A file of the shared /etc/pve.
    pub fn pve(&self, path: &str) -> PathBuf {
        self.run.folder.join("pve").join(path)
    }

    /// The run's control group.
    pub fn cgroup(&self) -> &Path {
        &self.run.cgroup
    }

    /// Takes a node's API down.
    pub fn stop_api(&mut self, node: &str) {
        let (stopped, kept) = self.apis.drain(..).partition(|(name, _)| name == node);
        self.apis = kept;
        let stopped: Vec<(String, Server)> = stopped;
        for (_, server) in stopped {
            self.runtime.block_on(server.stop());
        }
    }
}

/// The static executable under test, where it has been built.
pub fn product() -> Option<PathBuf> {
    let built = || {
        let tests = env::current_exe().ok()?;
        Some(tests.ancestors().nth(3)?.join("x86_64-unknown-linux-musl/dev-release/remotectl"))
    };
    let named = env::var_os("REMOTECTL_LAB_EXE").filter(|name| !name.is_empty()).map(PathBuf::from);
    named.or_else(built).and_then(|path| path.canonicalize().ok())
}

/// What all nodes share: /etc/pve, keys, names, root file systems.
fn prepare(run: &Run) -> io::Result<()> {
    let pve = run.folder.join("pve");
    for (name, _) in NODES {
        fs::create_dir_all(pve.join("nodes").join(name).join("lxc"))?;
        fs::create_dir_all(pve.join("nodes").join(name).join("qemu-server"))?;
    }
    fs::create_dir_all(pve.join("priv"))?;
    fs::create_dir_all(cache().join("rootfs"))?;
    symlink(cache().join("rootfs"), run.folder.join("rootfs"))?;
    DEFINED.iter().try_for_each(|definition| definition.write(&pve))?;
    machine::DEFINED.iter().try_for_each(|definition| definition.write(&pve))?;
    let hosts = NODES.map(|(name, address)| format!("{address} {name}\n")).concat();
    fs::write(run.folder.join("hosts"), format!("127.0.0.1 localhost\n{DRIVER} driver hub\n{hosts}"))?;
    make_keys(&run.folder, &pve)
}

const SSHD: &str = "Port 22\nHostKey /etc/pve/priv/ssh_host_ed25519_key\nUsePAM no\nPermitRootLogin prohibit-password\n\
                    PasswordAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\n";

fn make_keys(folder: &Path, pve: &Path) -> io::Result<()> {
    let ssh = folder.join("ssh");
    fs::create_dir(&ssh)?;
    let host_key = pve.join("priv/ssh_host_ed25519_key");
    for (place, comment) in [(ssh.join("id_ed25519"), "root@driver"), (host_key.clone(), "node")] {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(place))?;
    }
    let public = fs::read_to_string(host_key.with_extension("pub"))?;
    let names = NODES.map(|(name, address)| format!("{name},{address}")).join(",");
    fs::write(ssh.join("known_hosts"), format!("{names} {public}"))?;
    fs::write(pve.join("priv/known_hosts"), format!("{names} {public}"))?;
    fs::write(pve.join("priv/sshd_config"), SSHD)
}

/// Listeners inside a node's network. A socket stays in the network that it was made in, so a thread that goes there and
/// ends is enough.
fn listen(node: &Node) -> io::Result<[TcpListener; 2]> {
    let network = node.network()?;
    let bind = move || -> io::Result<[TcpListener; 2]> {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        let public = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8006)))?;
        Ok([public, TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 85)))?])
    };
    thread::spawn(bind).join().expect("the thread that binds the API's sockets")
}
