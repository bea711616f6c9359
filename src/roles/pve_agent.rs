//! The pve-agent: runs on every Proxmox node, reads the cluster, has guests and nodes do what Proxmox can, reaches into
//! guests without an agent, and puts agents into them.

use super::{
    agent::{HostWorker, InstallOptions, Made, pointer_of, set_up_as, status_of, tell, trial_of, uninstall_as},
    logging,
    membership::Home,
};
use crate::{
    guest::{
        answers::Installed,
        deploy::{Attest, Deployment, deploy},
        once::once,
        pct::Pct,
        remove::remove,
        saga::MemoryLog,
        staging::Executable,
        transport::Transport,
    },
    host::{self, facts},
    link::{
        PROTOCOL,
        envelope::{Command, DeployOrder, Work},
        keys::PublicKey,
        runtime::{Link, Worker},
        wire::{AgentRole, Attestation, JoinRequest, Told},
    },
    model::{
        Failure, Inventory, Op, Outcome, Target,
        catalogue::Runs,
        facts::Facts,
        outcome::{Report, chain},
        policy,
        target::What,
        values::GuestKind,
        version::version,
    },
    proxmox::{
        self, Access, Client, Known, Token, Verify,
        credential::{self, CredentialError},
    },
    sys::{cancel::Cancel, files, task::Task},
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Where a node's own API listens.
const API: &str = "127.0.0.1:8006";
/// What its certificate is signed by.
const AUTHORITY: &str = "/etc/pve/pve-root-ca.pem";
/// How often the cluster is looked at.
const REFRESH: Duration = Duration::from_secs(10);

/// `pve-agent run [--config FILE]`.
pub fn run(config: Option<PathBuf>) -> Result<(), Failure> {
    logging::begin();
    let home = Home::find(AgentRole::PveAgent, config);
    let (link, party) = home.link()?;
    let (attesting, _) = home.link()?;
    let worker = PveWorker::new(PveParts {
        client: client(&home)?,
        attesting,
        reach: Box::new(into_guest),
        executable: Box::new(executable),
        host: HostWorker::default(),
    });
    home.run(link, party, Arc::new(worker))
}

/// `pve-agent install`: also makes the Proxmox role, user and token through pveum.
pub fn install(options: &InstallOptions) -> Result<(), Failure> {
    tell(AgentRole::PveAgent, options.json, set_up(options)?)
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

/// A client of the node's own API with that.
pub(super) fn client(home: &Home) -> Result<Client, Failure> {
    let token = token(home)?;
    let access = Access { address: API.to_owned(), verify: Verify::AuthorityFile(PathBuf::from(AUTHORITY)), token };
    Client::connect(&access).map_err(|error| Failure::new(chain(&error)).help(error.help()))
}

/// A way into a guest, or why there is none.
pub type Reach = dyn Fn(&Target) -> Result<Box<dyn Transport>, Box<Outcome>> + Send + Sync;

/// What a pve-agent works with.
pub struct PveParts {
    /// The Proxmox API, with a credential of its own.
    pub client: Client,
    /// Vouches for the agents that it deploys.
    pub attesting: Link,
    /// Into guests of its node.
    pub reach: Box<Reach>,
    /// Where the executable is that is put into guests, at the moment of asking.
    pub executable: Box<dyn Fn() -> PathBuf + Send + Sync>,
    /// The operations of the node itself.
    pub host: HostWorker,
}

/// What a pve-agent does with commands.
pub struct PveWorker {
    parts: PveParts,
    known: Mutex<Known>,
    told: Mutex<Option<Inventory>>,
}

impl PveWorker {
    /// One that works with these.
    pub fn new(parts: PveParts) -> Self {
        Self { parts, known: Mutex::default(), told: Mutex::default() }
    }

    /// Does something inside a guest of this node.
    fn inside(&self, target: &Target, act: impl FnOnce(&dyn Transport) -> Outcome) -> Outcome {
        match (self.parts.reach)(target) {
            Ok(transport) => act(transport.as_ref()),
            Err(outcome) => *outcome,
        }
    }

    fn deploy(&self, command: &Command, order: &DeployOrder, task: &Task) -> Outcome {
        let target = &command.target;
        self.inside(target, |transport| {
            let executable = (self.parts.executable)();
            let deployment = Deployment {
                command: &command.id,
                target,
                executable: as_executable(&executable),
                hubs: &order.addresses,
                join: &order.join,
            };
            let attest = AttestBy { link: &self.parts.attesting, command, order };
            deploy(deployment, transport, &attest, &MemoryLog::default(), task)
        })
    }
}

impl Worker for PveWorker {
    fn perform(&self, command: &Command, report: &dyn Report, cancel: &Cancel) -> Outcome {
        let task = Task { report, cancel: cancel.clone(), timeout: Duration::from_secs(command.timeout) };
        let target = &command.target;
        match &command.work {
            Work::Echo => Outcome::success("the pve-agent answers"),
            Work::Perform { op: Op::AgentRemove {} } => {
                self.inside(target, |transport| remove(transport, target, &task))
            }
            Work::Perform { op } if policy::runs(op) == Runs::Pve => {
                let outcome = proxmox::perform(&self.parts.client, op, target, &task);
                if let Some(vmid) = target.vmid() {
                    self.known.lock().unwrap_or_else(PoisonError::into_inner).forget(vmid);
                }
                outcome
            }
            Work::Perform { op } => host::perform(op, self.parts.host.machine(), &task),
            Work::Update { .. } => Outcome::rejected("only an agent that runs as a service can be updated"),
            Work::Once { op } => self.inside(target, |transport| {
                let executable = (self.parts.executable)();
                once(transport, &as_executable(&executable), op, target, &task)
            }),
            Work::Deploy { order } => self.deploy(command, order, &task),
        }
    }

    fn news(&self) -> Vec<Told> {
        let mut news: Vec<Told> =
            self.parts.host.changed_facts().map(|facts| Told::Facts { facts }).into_iter().collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match proxmox::inventory(&self.parts.client, &mut known) {
            Ok(inventory) => {
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
        Op::ALL.iter().map(|(name, _)| *name).filter(|name| *name != "agent.update").map(str::to_owned).collect()
    }
}

/// The way into a guest of this node.
fn into_guest(target: &Target) -> Result<Box<dyn Transport>, Box<Outcome>> {
    match &target.what {
        What::Guest(GuestKind::Ct, vmid) => Ok(Box::new(Pct::new(*vmid))),
        What::Guest(GuestKind::Vm, _) => Err(Box::new(
            Outcome::rejected(format!("{target}: virtual machines are not reached from their node yet"))
                .with_help("remotectl hub join-token, then `remotectl agent install --join …` inside it"),
        )),
        _ => Err(Box::new(Outcome::rejected(format!("{target} is no guest")))),
    }
}

/// This very executable, as it runs: the file that it was started from may be another by now.
fn executable() -> PathBuf {
    PathBuf::from(format!("/proc/{}/exe", std::process::id()))
}

fn as_executable(path: &Path) -> Executable<'_> {
    Executable { path, version: version(), arch: std::env::consts::ARCH }
}

/// Vouches for a key that was read out of a guest of this node, in the name of one running deployment.
struct AttestBy<'a> {
    link: &'a Link,
    command: &'a Command,
    order: &'a DeployOrder,
}

impl Attest for AttestBy<'_> {
    fn attest(&self, target: &Target, installed: &Installed, _facts: &Facts) -> Result<(), String> {
        let public_key = PublicKey::try_from(installed.public_key.clone())?;
        let request = JoinRequest {
            protocol: PROTOCOL,
            public_key,
            role: AgentRole::Agent,
            target: target.clone(),
            version: version().to_owned(),
            token: None,
            attestation: Some(Attestation { command: self.command.id.clone(), nonce: self.order.nonce.clone() }),
        };
        self.link.join(&request).map(|_| ()).map_err(|error| chain(&error))
    }

    fn withdraw(&self, _target: &Target, _installed: &Installed) -> Result<(), String> {
        // The hub forgets the registration when it hears that the deployment failed.
        Ok(())
    }
}
