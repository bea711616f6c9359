//! The pve-agent: runs on every Proxmox node, reads the cluster, has guests and nodes do what Proxmox can, reaches into
//! guests without an agent, and puts agents into them.

mod access;
mod systems;
mod turns;

pub use self::access::ProxmoxAccess;

use self::{systems::Systems, turns::Turns};
use super::{
    agent::{HostWorker, InstallOptions, Made, pointer_of, set_up_as, status_of, tell, trial_of, uninstall_as},
    logging, logins,
    membership::Home,
};
use crate::{
    guest::{
        self,
        answers::Installed,
        choose::into_machine,
        cluster::ClusterNode,
        deploy::{Attest, Deployment, Patience, deploy},
        node::{NodeDeployment, deploy_node, remove_node},
        once::once,
        pct::Pct,
        qga::Qm,
        remove::remove,
        saga::SagaLog,
        staging::Executable,
        transport::{LOGINS, Transport, TransportError},
    },
    host::{self, facts},
    link::{
        PROTOCOL,
        envelope::{Artifact, Command, DeployOrder, Work},
        keys::PublicKey,
        runtime::{Link, Recovered, Worker},
        wire::{AgentRole, Attestation, JoinRequest, Told},
    },
    model::{
        Failure, Inventory, Op, Outcome, Target,
        catalogue::Runs,
        credential::Way,
        digest::Digest,
        facts::Facts,
        outcome::{Ending, Report, chain},
        policy,
        target::{Vmid, What},
        values::GuestKind,
        version::version,
    },
    proxmox::{
        self, Access, Client, Known, Token, Verify,
        credential::{self, CredentialError},
    },
    store::Sagas,
    sys::{cancel::Cancel, clock, files, task::Task},
};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Where a node's own API listens.
const API: &str = "127.0.0.1:8006";
/// What its certificate is signed by.
const AUTHORITY: &str = "/etc/pve/pve-root-ca.pem";
/// How long the hub may take to give an executable.
const FETCHING: Duration = Duration::from_mins(5);
/// What only root sees, and is gone with the next boot: keys of connections live there as long as those do.
const PRIVATE: &str = "/run/remotectl";
/// How many deployments a node carries out at once: each streams an executable and starts a service.
const AT_ONCE: usize = 4;
/// How long a lock on a guest is waited for.
const LOCKED: Duration = Duration::from_secs(10);
/// How long a guest that was started a moment ago is waited for at most, in seconds.
const LONGEST_BOOT: u64 = 300;
/// How long it is until such a one is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the cluster is looked at.
const REFRESH: Duration = Duration::from_secs(10);

/// `pve-agent run [--config FILE]`.
pub fn run(config: Option<PathBuf>) -> Result<(), Failure> {
    logging::begin();
    let home = Home::find(AgentRole::PveAgent, config);
    let (link, party) = home.link()?;
    let (attesting, _) = home.link()?;
    guest::ssh::forget(Path::new(PRIVATE))
        .map_err(|error| Failure::of("forgetting the keys of former connections", &error))?;
    let worker = PveWorker::new(PveParts {
        client: client(&home)?,
        attesting,
        reach: Box::new(into_guest),
        executable: Box::new(executable),
        nodes: Some(Box::new(onto_node)),
        fetched: home.state.join("fetched"),
        sagas: Box::new(Sagas::at(&home.state.join("sagas.db"))),
        host: HostWorker::default(),
    });
    home.run(link, party, Arc::new(worker))
}

/// `pve-agent install`: also makes the Proxmox role, user and token through pveum.
pub fn install(options: &InstallOptions) -> Result<(), Failure> {
    tell(AgentRole::PveAgent, options.json, set_up(&options.read()?)?)
}

/// Does what `pve-agent install` does, and tells nobody.
pub fn set_up(options: &InstallOptions) -> Result<Made, Failure> {
    if options.finish {
        return set_up_as(AgentRole::PveAgent, options);
    }
    // Before a credential is made anew: a mistyped join string should leave a working one as it is.
    pointer_of(AgentRole::PveAgent, options)?;
    let home = Home::find(AgentRole::PveAgent, None);
    let fresh = !home.config.exists();
    let token = credential::install_credential(&credential::System, &facts::hostname())
        .map_err(|error| no_credential(&error))?;
    let installed = keep(&home, &token).and_then(|()| set_up_as(AgentRole::PveAgent, options));
    if installed.is_err() && fresh {
        take_back()?;
    }
    installed
}

/// Whether the credential that is kept still opens the Proxmox API.
pub fn credential_works() -> bool {
    client(&Home::find(AgentRole::PveAgent, None))
        .is_ok_and(|client| proxmox::inventory(&client, &mut Known::default()).is_ok())
}

/// `pve-agent uninstall`.
pub fn uninstall(purge: bool) -> Result<(), Failure> {
    take_back()?;
    uninstall_as(AgentRole::PveAgent, purge)
}

/// `pve-agent status [--json]`.
pub fn status(json: bool) -> Result<(), Failure> {
    status_of(AgentRole::PveAgent, json)
}

/// `pve-agent trial`: whether this executable could take the place of the pve-agent that runs here.
pub fn trial(config: Option<PathBuf>) -> Result<(), Failure> {
    let home = Home::find(AgentRole::PveAgent, config);
    client(&home)?;
    trial_of(&home)
}

/// `pve-agent probe [--json]`: the Proxmox API, the credential and its rights.
pub fn probe(json: bool) -> Result<(), Failure> {
    let inventory = proxmox::inventory(&client(&Home::find(AgentRole::PveAgent, None))?, &mut Known::default())
        .map_err(|error| Failure::new(chain(&error)).help(error.help()))?;
    if json {
        println!("{}", serde_json::to_string(&inventory).map_err(|error| Failure::of("printing", &error))?);
    } else {
        let Inventory { cluster, nodes, guests, storages } = &inventory;
        println!("{cluster}: {} nodes, {} guests, {} storages", nodes.len(), guests.len(), storages.len());
    }
    Ok(())
}

fn take_back() -> Result<(), Failure> {
    credential::remove_credential(&credential::System, &facts::hostname()).map_err(|error| no_credential(&error))
}

fn no_credential(error: &CredentialError) -> Failure {
    Failure::of("making the pve-agent's credential", error).help(error.help())
}

/// Where its credential is kept.
pub(super) fn token_file(home: &Home) -> PathBuf {
    home.state.join("proxmox.json")
}

fn keep(home: &Home, token: &Token) -> Result<(), Failure> {
    let text = serde_json::json!({"id": token.id, "secret": token.secret.reveal()}).to_string();
    files::create_directory(&home.state, 0o700)
        .and_then(|()| files::write_atomic(&token_file(home), text.as_bytes(), 0o600))
        .map_err(|error| Failure::of("keeping the pve-agent's credential", &error))
}

/// Its credential.
pub(super) fn token(home: &Home) -> Result<Token, Failure> {
    let help = "remotectl pve-agent install --join STRING";
    let file = token_file(home);
    let text =
        files::read_text_if_there(&file).map_err(|error| Failure::of("reading the credential", &error).help(help))?;
    let none = || Failure::new(format!("no pve-agent is installed here: there is no {}", file.display())).help(help);
    let text = text.ok_or_else(none)?;
    serde_json::from_str(&text).map_err(|error| Failure::of("reading the credential", &error).help(help))
}

/// A client of the Proxmox API: by the configuration where that says how, else of the node's own with the kept token.
pub(super) fn client(home: &Home) -> Result<Client, Failure> {
    let configured = if home.config.exists() { home.settings()?.0.proxmox } else { None };
    if let Some(access) = configured {
        return access.client();
    }
    let token = token(home)?;
    let access = Access { address: API.to_owned(), verify: Verify::AuthorityFile(PathBuf::from(AUTHORITY)), token };
    Client::connect(&access).map_err(|error| Failure::new(chain(&error)).help(error.help()))
}

/// A way into a guest, or why there is none; with the ways to log in that came with the command.
pub type Reach = dyn Fn(&Target, &[Way]) -> Result<Box<dyn Transport>, Box<Outcome>> + Send + Sync;

/// A way onto another node of the cluster.
pub type ReachNode = dyn Fn(&str, Option<&str>) -> Result<Box<dyn Transport>, TransportError> + Send + Sync;

/// What a pve-agent works with.
pub struct PveParts {
    /// The Proxmox API, with a credential of its own.
    pub client: Client,
    /// Vouches for the agents that it deploys.
    pub attesting: Link,
    /// Into guests of its node.
    pub reach: Box<Reach>,
    /// Onto other nodes, by name and address; none where there are none.
    pub nodes: Option<Box<ReachNode>>,
    /// Where the executable is that is put into guests, at the moment of asking.
    pub executable: Box<dyn Fn() -> PathBuf + Send + Sync>,
    /// Where executables for other architectures are kept that the hub has given.
    pub fetched: PathBuf,
    /// How far deployments have come, for whatever comes after this process.
    pub sagas: Box<dyn SagaLog>,
    /// The operations of the node itself.
    pub host: HostWorker,
}

/// What a pve-agent does with commands.
pub struct PveWorker {
    parts: PveParts,
    known: Mutex<Known>,
    told: Mutex<Option<Inventory>>,
    systems: Mutex<Systems>,
    turns: Turns,
}

impl PveWorker {
    /// One that works with these.
    pub fn new(parts: PveParts) -> Self {
        Self {
            parts,
            known: Mutex::default(),
            told: Mutex::default(),
            systems: Mutex::default(),
            turns: Turns::of(AT_ONCE),
        }
    }

    /// Does something inside a command's guest, on this node.
    fn inside(&self, command: &Command, act: impl FnOnce(&dyn Transport) -> Outcome) -> Outcome {
        match (self.parts.reach)(&command.target, &self.parts.attesting.ways(command)) {
            Ok(transport) => act(transport.as_ref()),
            Err(outcome) => *outcome,
        }
    }

    /// The same in a guest that was started a moment ago: its guest agent or sshd may take so long to let anybody in.
    fn once_up(
        &self,
        command: &Command,
        patience: Duration,
        cancel: &Cancel,
        act: impl FnOnce(&dyn Transport) -> Outcome,
    ) -> Outcome {
        let deadline = Instant::now() + patience;
        let ways = self.parts.attesting.ways(command);
        loop {
            match (self.parts.reach)(&command.target, &ways) {
                Ok(transport) => return act(transport.as_ref()),
                Err(outcome) if Instant::now() >= deadline || cancel.wait(AGAIN) => return *outcome,
                Err(_) => {}
            }
        }
    }

    /// Does something on another node of the cluster.
    fn on_node(&self, target: &Target, name: &str, act: impl FnOnce(&dyn Transport) -> Outcome) -> Outcome {
        let Some(reach) = &self.parts.nodes else {
            return Outcome::rejected(format!("{target} can't be reached from another node here"));
        };
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let node = told.as_ref().and_then(|inventory| inventory.node(name)).cloned();
        drop(told);
        match reach(name, node.and_then(|node| node.address).as_deref()) {
            Ok(transport) => act(transport.as_ref()),
            Err(error) => Outcome::of_error(&error).with_help(error.help(&target.to_string())),
        }
    }

    fn deploy(&self, command: &Command, order: &DeployOrder, task: &Task) -> Outcome {
        let target = &command.target;
        let Some(_turn) = self.turns.wait(task) else {
            return Outcome { ending: Ending::Cancelled, ..Outcome::failure("cancelled before its turn") };
        };
        let wanted = clock::unix_seconds() < command.issued + i64::try_from(command.timeout).unwrap_or(i64::MAX);
        if let Some(name) = target.node_name() {
            return self.on_node(target, name, |transport| {
                let (executable, join) = ((self.parts.executable)(), order.join.as_str());
                let executable = as_executable(&executable);
                let deployment = NodeDeployment { command: &command.id, target, executable, join, wanted };
                deploy_node(deployment, transport, self.parts.sagas.as_ref(), task)
            });
        }
        let network = Duration::from_secs(order.patience.min(LONGEST_BOOT));
        self.once_up(command, network, &task.cancel, |transport| {
            let executable = (self.parts.executable)();
            let deployment = Deployment {
                command: &command.id,
                target,
                executable: as_executable(&executable),
                hubs: &order.addresses,
                join: &order.join,
                wanted,
                patience: Patience { lock: LOCKED, network },
            };
            let attest = AttestBy { link: &self.parts.attesting, fetched: &self.parts.fetched, command, order };
            deploy(deployment, transport, &attest, self.parts.sagas.as_ref(), task)
        })
    }
}

impl PveWorker {
    /// Vouches for the agent that is in a guest; where there is none any more it is deployed.
    fn attest(&self, command: &Command, order: &DeployOrder, task: &Task) -> Outcome {
        let target = &command.target;
        let attested = |transport: &dyn Transport| {
            let path = (self.parts.executable)();
            let register = |installed: &Installed| vouch(&self.parts.attesting, command, order, installed);
            let attested = guest::attest(target, &as_executable(&path), transport, &register, task);
            attested.unwrap_or_else(|| self.deploy(command, order, task))
        };
        self.inside(command, attested)
    }
}

impl Worker for PveWorker {
    fn perform(&self, command: &Command, report: &dyn Report, cancel: &Cancel) -> Outcome {
        let task = Task { report, cancel: cancel.clone(), timeout: Duration::from_secs(command.timeout) };
        let target = &command.target;
        match &command.work {
            Work::Echo => Outcome::success("the pve-agent answers"),
            Work::Perform { op: Op::AgentRemove {} } if target.is_node() => {
                let name = target.node_name().unwrap_or_default();
                self.on_node(target, name, |transport| remove_node(transport, target, &task))
            }
            Work::Perform { op: Op::AgentRemove {} } => {
                self.inside(command, |transport| remove(transport, target, &task))
            }
            Work::Perform { op } if policy::runs(op) == Runs::Pve => {
                let outcome = proxmox::perform(&self.parts.client, op, target, &task);
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                let made = outcome.data["target"].as_str().and_then(|made| made.parse::<Target>().ok());
                made.iter().chain([target]).filter_map(Target::vmid).for_each(|vmid| known.forget(vmid));
                outcome
            }
            Work::Perform { op } => host::perform(op, self.parts.host.machine(), &task),
            Work::Update { .. } => Outcome::rejected("only an agent that runs as a service can be updated"),
            Work::Once { op } => self.inside(command, |transport| {
                let executable = (self.parts.executable)();
                once(transport, &as_executable(&executable), op, target, &task)
            }),
            Work::Deploy { order } => self.deploy(command, order, &task),
            Work::Attest { order } => self.attest(command, order, &task),
        }
    }

    /// A deployment is on record, row by row; to remove what is gone does no harm.
    fn recover(&self, command: &Command) -> Recovered {
        match &command.work {
            Work::Deploy { .. } | Work::Perform { op: Op::AgentRemove {} } => Recovered::Resume,
            _ => Recovered::Unknown,
        }
    }

    fn news(&self) -> Vec<Told> {
        let mut news: Vec<Told> =
            self.parts.host.changed_facts().map(|facts| Told::Facts { facts }).into_iter().collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match proxmox::inventory(&self.parts.client, &mut known) {
            Ok(mut inventory) => {
                let node = self.parts.host.machine().system().hostname();
                let mut systems = self.systems.lock().unwrap_or_else(PoisonError::into_inner);
                systems.fill(&mut inventory, &node, &self.parts.reach);
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.as_ref() != Some(&inventory) {
                    news.push(Told::Inventory { inventory: Box::new(inventory.clone()) });
                    *told = Some(inventory);
                }
            }
            Err(error) => tracing::warn!(error = chain(&error), help = error.help(), "the cluster could not be read"),
        }
        news
    }

    fn not_told(&self) {
        self.parts.host.not_told();
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn news_every(&self) -> Duration {
        REFRESH
    }

    fn capabilities(&self) -> Vec<String> {
        // Beside what Proxmox does: what is done in a guest once, on the node's own host, and putting agents into guests.
        // Updating itself is added by whoever can (`Updates`).
        let can = |name: &str| proxmox::can(name) || host::can(name) || matches!(name, "agent.deploy" | "agent.remove");
        let names = Op::ALL.iter().map(|(name, _)| *name).filter(|name| *name != "agent.update" && can(name));
        names.map(str::to_owned).collect()
    }
}

/// The way into a guest of this node.
fn into_guest(target: &Target, ways: &[Way]) -> Result<Box<dyn Transport>, Box<Outcome>> {
    match &target.what {
        What::Guest(GuestKind::Ct, vmid) => Ok(Box::new(Pct::new(*vmid))),
        What::Guest(GuestKind::Vm, vmid) => into_vm(target, *vmid, ways),
        _ => Err(Box::new(Outcome::rejected(format!("{target} is no guest")))),
    }
}

/// The way onto another node.
fn onto_node(name: &str, address: Option<&str>) -> Result<Box<dyn Transport>, TransportError> {
    Ok(Box::new(ClusterNode::new(name, address)?))
}

fn into_vm(target: &Target, vmid: Vmid, ways: &[Way]) -> Result<Box<dyn Transport>, Box<Outcome>> {
    let file = Path::new(LOGINS);
    let logins = logins::logins(file, target, ways).map_err(|failure| Box::new(Outcome::rejected(failure.message)))?;
    into_machine(&Qm::new(vmid), || logins, Path::new(PRIVATE)).map_err(|error| {
        let outcome = Outcome::rejected(format!("{target} can't be reached into: {}", chain(&error)));
        Box::new(outcome.with_help(error.help(&target.to_string())))
    })
}

/// This very executable, as it runs: the file that it was started from may be another by now.
fn executable() -> PathBuf {
    PathBuf::from(format!("/proc/{}/exe", std::process::id()))
}

fn as_executable(path: &Path) -> Executable<'_> {
    Executable { path, version: version(), arch: std::env::consts::ARCH }
}

/// Registers a key that was read out of a guest of this node, in the name of one running command: the generation that the
/// hub gives it.
fn vouch(link: &Link, command: &Command, order: &DeployOrder, installed: &Installed) -> Result<u64, String> {
    let request = JoinRequest {
        protocol: PROTOCOL,
        public_key: PublicKey::try_from(installed.public_key.clone())?,
        role: AgentRole::Agent,
        target: command.target.clone(),
        version: version().to_owned(),
        token: None,
        attestation: Some(Attestation { command: command.id.clone(), nonce: order.nonce.clone() }),
    };
    link.join(&request).map(|reply| reply.generation).map_err(|error| chain(&error))
}

/// Vouches for a key in a deployment.
struct AttestBy<'a> {
    link: &'a Link,
    fetched: &'a Path,
    command: &'a Command,
    order: &'a DeployOrder,
}

impl Attest for AttestBy<'_> {
    fn attest(&self, _target: &Target, installed: &Installed, _facts: &Facts) -> Result<(), String> {
        vouch(self.link, self.command, self.order, installed).map(drop)
    }

    fn executable(&self, arch: &str) -> Result<Option<PathBuf>, String> {
        let Some(build) = self.order.builds.iter().find(|build| build.arch == arch) else { return Ok(None) };
        let Artifact { sha256, size } = &build.artifact;
        let path = self.fetched.join(sha256.as_str());
        let is_it = |bytes: &[u8]| Digest::of(bytes) == *sha256;
        if files::read(&path).is_ok_and(|there| is_it(&there)) {
            return Ok(Some(path));
        }
        let mut bytes = Vec::new();
        let body = self.link.artifact(sha256, FETCHING).map_err(|error| chain(&error))?;
        body.take(size + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if !is_it(&bytes) {
            return Err("what came is not what the hub said it would be".to_owned());
        }
        // Those of former versions are not wanted any more.
        files::remove_tree(self.fetched)
            .and_then(|()| files::create_directory(self.fetched, 0o700))
            .and_then(|()| files::write_atomic(&path, &bytes, 0o600))
            .map_err(|error| chain(&error))?;
        Ok(Some(path))
    }

    fn withdraw(&self, _target: &Target, _installed: &Installed) -> Result<(), String> {
        // The hub forgets the registration when it hears that the deployment failed.
        Ok(())
    }
}
