//! `agent install` and `pve-agent install`: key, configuration, service, and becoming known to the hub. In that order, so
//! that a join string is used up only when everything else is in place; what fails takes back what this call has made.

use crate::{
    guest::answers::Installed,
    host::{
        facts,
        install::{self, InstallError, Role, Service},
    },
    link::{
        OFFLINE_AFTER, POLL_HOLD, PROTOCOL,
        join::Pointer,
        runtime::LinkError,
        wire::{AgentRole, JoinRequest},
    },
    model::{Exit, Failure, Target, outcome::chain, target::is_name, version::version},
    roles::membership::{Home, Settings, Standing},
    sys::{clock, http::HttpError},
};
use std::io::{BufRead as _, Read as _};

/// How many seconds an agent that was a member before has to show that it still is, when its join string does not count:
/// the hub may hold its first poll.
const MEMBER_WAIT: u64 = POLL_HOLD + 5;
/// A join string at most: 16 KiB.
const JOIN_LIMIT: u64 = 16 << 10;

/// How `agent install` and `pve-agent install` were called.
#[derive(Debug, Clone, Default)]
pub struct InstallOptions {
    /// `--join STRING`, or `-` for standard input: with a token the agent joins by it; without one a node will attest it.
    pub join: Option<String>,
    /// `--hub HOST:PORT`, repeated: addresses to try before those of the join string.
    pub hubs: Vec<String>,
    /// `--no-service`: join, and leave running it to somebody else's supervisor.
    pub no_service: bool,
    /// `--no-start`: everything but the start; prints the public key.
    pub no_start: bool,
    /// `--finish`: only start what `--no-start` has installed, and wait.
    pub finish: bool,
    /// `--wait SECONDS`: how long to wait for the first answered poll.
    pub wait: u64,
    /// `--json`.
    pub json: bool,
}

impl InstallOptions {
    /// With the join string that `--join -` leaves to standard input: what stands on a command line, others can read.
    pub fn read(&self) -> Result<Self, Failure> {
        if self.join.as_deref() != Some("-") {
            return Ok(self.clone());
        }
        let mut line = String::new();
        let read = std::io::stdin().lock().take(JOIN_LIMIT).read_line(&mut line);
        read.map_err(|error| Failure::of("reading the join string from standard input", &error))?;
        Ok(Self { join: Some(line.trim().to_owned()), ..self.clone() })
    }
}

/// `agent install`.
pub fn install(options: &InstallOptions) -> Result<(), Failure> {
    install_as(AgentRole::Agent, &options.read()?)
}

/// What an installation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// A member without a service: its id.
    Joined(String),
    /// Installed and not started, as that service.
    Installed(Installed, String),
    /// It runs, and the hub has answered it.
    Running(Standing),
}

/// Installs this executable as an agent of either kind.
pub fn install_as(role: AgentRole, options: &InstallOptions) -> Result<(), Failure> {
    tell(role, options.json, set_up_as(role, options)?)
}

/// Prints what an installation came to.
pub fn tell(role: AgentRole, json: bool, made: Made) -> Result<(), Failure> {
    let role_name = role.as_str();
    match made {
        Made::Joined(id) => print(json, &id, &format!("{id} has joined; start it: remotectl {role_name} run")),
        Made::Installed(installed, service) => print(json, &installed, &format!("installed as {service}; not started")),
        Made::Running(standing) => {
            let Standing { agent, hub, pid, .. } = &standing;
            print(json, &standing, &format!("{agent} runs as remotectl-{role_name}, pid {pid}; hub {hub} answers"))
        }
    }
}

/// Does what `install_as` does, and tells nobody.
pub fn set_up_as(role: AgentRole, options: &InstallOptions) -> Result<Made, Failure> {
    let home = Home::find(role, None);
    if options.finish {
        return finish(&home, options.wait);
    }
    let pointer = pointer_of(role, options)?;
    let another = home.settings().ok().filter(|(_, known)| known.hub != pointer.hub);
    if let Some((_, known)) = another {
        let failure = Failure::new(format!("this machine's {} belongs to hub {} already", role.as_str(), known.hub));
        return Err(failure.help(format!("remotectl {} uninstall --purge", role.as_str())));
    }
    let fresh = !home.config.exists();
    let made = make(&home, pointer, options, fresh);
    if made.is_err() && fresh {
        return made.map_err(|failure| take_back(&home, options, failure));
    }
    made
}

/// Takes back what a failed installation has made; what can't be is told beside the failure that matters.
fn take_back(home: &Home, options: &InstallOptions, failure: Failure) -> Failure {
    let uninstalled = if options.no_service { Ok(()) } else { install::uninstall(place(home.role), true).map(|_| ()) };
    let failure = match uninstalled {
        Ok(()) => failure,
        Err(error) => failure.detail(format!("and it could not be taken back: {}", chain(&error))),
    };
    match home.forget() {
        Ok(()) => failure,
        Err(error) => failure.detail(format!("and something was left: {}", chain(&error))),
    }
}

/// What the join string says. Without one, the hub that this machine's agent is a member of already: what is missing of it
/// is put back.
pub fn pointer_of(role: AgentRole, options: &InstallOptions) -> Result<Pointer, Failure> {
    let help = format!("on the hub: remotectl hub join-token --role {}", role.as_str());
    let Some(text) = &options.join else {
        let home = Home::find(role, None);
        if home.config.exists() {
            return home.settings().map(|(_, pointer)| pointer);
        }
        return Err(Failure::usage("installing an agent: which hub is it for?")
            .help("--join STRING, with what `remotectl hub join-token` prints on the hub's machine"));
    };
    let pointer: Pointer =
        text.parse().map_err(|error| Failure::of("--join", &error).exit(Exit::Usage).help(help.clone()))?;
    if pointer.token.is_none() && !options.no_start {
        return Err(Failure::usage("that join string has no token, and nobody attests this agent").help(help));
    }
    Ok(pointer)
}

fn make(home: &Home, mut pointer: Pointer, options: &InstallOptions, fresh: bool) -> Result<Made, Failure> {
    let token = pointer.token.take();
    if let (false, Some(places)) = (options.no_service, home.state.ancestors().nth(2)) {
        // A system as bare as that may lack the place for state.
        install::provide(places).map_err(|error| not_installed(&error))?;
    }
    let key = home.key()?;
    let before = home.settings().ok();
    if options.join.is_some() {
        let named = std::mem::take(&mut pointer.addresses);
        let others = named.into_iter().filter(|address| !options.hubs.contains(address));
        pointer.addresses = options.hubs.iter().cloned().chain(others).collect();
        let proxmox = before.as_ref().and_then(|(settings, _)| settings.proxmox.clone());
        home.configure(&Settings { hub: pointer.to_string(), generation: 1, proxmox })?;
    }
    if options.no_service {
        let refused = token.and_then(|token| join(home, token).err());
        return match refused {
            Some(failure) if fresh || failure.exit != Exit::Denied || connected(home)?.is_none() => Err(failure),
            _ => Ok(Made::Joined(key.public().agent_id())),
        };
    }
    super::update::forget(home).map_err(|error| Failure::of("installing the agent", &error))?;
    let service =
        install::install(&Service::of_this_executable(place(home.role))).map_err(|error| not_installed(&error))?;
    service.notes.iter().for_each(|note| eprintln!("note: {note}"));
    // The same command again: its string is used up, and what it was for has been done.
    let refused = token.and_then(|token| join(home, token).err());
    if let Some(failure) = refused.as_ref().filter(|failure| fresh || failure.exit != Exit::Denied) {
        return Err(failure.clone());
    }
    if options.no_start {
        let installed = Installed {
            agent_id: key.public().agent_id(),
            public_key: key.public().into(),
            version: version().to_owned(),
            init: service.init.as_str().to_owned(),
        };
        return Ok(Made::Installed(installed, service.service));
    }
    let joined = options.join.is_some() && refused.is_none();
    let sound = !joined && !service.changed && home.settings().ok() == before;
    match connected(home)? {
        Some(standing) if sound => Ok(Made::Running(standing)),
        _ => restart(home, options.wait, refused),
    }
}

/// Starts it anew: a running one knows the configuration and the credential from before. One whose join string was refused
/// shows that it is a member, or the refusal counts.
fn restart(home: &Home, wait: u64, refused: Option<Failure>) -> Result<Made, Failure> {
    install::stop(place(home.role)).map_err(|error| not_installed(&error))?;
    home.forget_standing().map_err(|error| Failure::of("installing the agent", &error))?;
    match refused {
        Some(refused) => finish(home, wait.min(MEMBER_WAIT)).map_err(|_| refused),
        None => finish(home, wait),
    }
}

/// Starts it anew, as what it is configured to be now.
pub(super) fn reinstated(home: &Home, wait: u64) -> Result<Made, Failure> {
    restart(home, wait, None)
}

fn join(home: &Home, token: String) -> Result<(), Failure> {
    let (link, _) = home.link()?;
    let name = facts::hostname();
    if !is_name(&name) {
        return Err(Failure::new(format!("`{name}` is no name that the hub could call this machine by"))
            .help("hostnamectl set-hostname NAME"));
    }
    let target = match home.role {
        AgentRole::PveAgent => Target::node(name),
        AgentRole::Agent => Target::host(name),
    };
    let request = JoinRequest {
        protocol: PROTOCOL,
        public_key: home.key()?.public(),
        role: home.role,
        target,
        version: version().to_owned(),
        token: Some(token),
        attestation: None,
    };
    let reply = link.join(&request).map_err(|error| not_joined(home.role, &error))?;
    let (settings, _) = home.settings()?;
    if reply.generation == settings.generation {
        return Ok(());
    }
    // It was a member before, and is another generation of that now.
    home.configure(&Settings { generation: reply.generation, ..settings })
}

/// The running agent, if the hub has answered it lately.
pub fn connected(home: &Home) -> Result<Option<Standing>, Failure> {
    let now = clock::unix_seconds();
    Ok(home.standing()?.filter(|standing| now - standing.connected_at <= OFFLINE_AFTER))
}

fn finish(home: &Home, wait: u64) -> Result<Made, Failure> {
    home.settings()?;
    install::start(place(home.role)).map_err(|error| not_installed(&error))?;
    home.wait_connected(wait).map(Made::Running)
}

fn print(json: bool, value: &impl serde::Serialize, line: &str) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::of("printing", &error))?;
    println!("{}", if json { &text } else { line });
    Ok(())
}

/// `agent uninstall`.
pub fn uninstall(purge: bool) -> Result<(), Failure> {
    uninstall_as(AgentRole::Agent, purge)
}

/// Takes an agent of either kind away.
pub fn uninstall_as(role: AgentRole, purge: bool) -> Result<(), Failure> {
    let removed = install::uninstall(place(role), purge).map_err(|error| not_installed(&error))?;
    let home = Home::find(role, None);
    home.forget_standing()
        .and_then(|()| super::update::forget(&home))
        .map_err(|error| Failure::of("taking the agent away", &error))?;
    if removed.paths.is_empty() {
        println!("there was no {} here", role.as_str());
    }
    removed.paths.iter().for_each(|path| println!("removed {}", path.display()));
    Ok(())
}

fn place(role: AgentRole) -> Role {
    match role {
        AgentRole::Agent => Role::Agent,
        AgentRole::PveAgent => Role::PveAgent,
    }
}

fn not_installed(error: &InstallError) -> Failure {
    Failure::new(chain(error)).help(error.help())
}

fn not_joined(role: AgentRole, error: &LinkError) -> Failure {
    let failure = Failure::of("joining", error);
    match error {
        LinkError::Http(HttpError::Connect { .. }) => {
            failure.help("can this machine reach the hub's address? is the join string of this hub?")
        }
        LinkError::Refused { status: 403, .. } => failure
            .help(format!("a new one, on the hub: remotectl hub join-token --role {}", role.as_str()))
            .exit(Exit::Denied),
        _ => failure.help("the hub's log says more: journalctl -u remotectl-hub"),
    }
}
