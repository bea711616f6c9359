//! The hub: its data directory, its identity, serving.

mod artifacts;
mod backup;
mod check;
mod data;
mod serving;

pub use artifacts::{add_artifact, list_artifacts, remove_artifact};
pub use backup::{backup, restore};
pub use check::check;
pub use data::Data;
pub use serving::{Hosting, Hub};

use super::{config, logging};
use crate::{
    host::{
        install::{self, Installed, Role, Service},
        services,
    },
    model::{Failure, Policy, outcome::chain},
    store::AgentRecord,
    sys::{env::Places, files, limits},
};
use serde::{Deserialize, Serialize};
use std::{
    io::ErrorKind,
    net::TcpListener,
    path::{Path, PathBuf},
};
use tokio::signal::unix::{SignalKind, signal};

/// Where a hub listens that was told nothing.
const DEFAULT_LISTEN: &str = "0.0.0.0:8443";

/// How `hub serve` and `hub init` were called; what is `None` comes from hub.toml or its default.
#[derive(Debug, Clone, Default)]
pub struct HubOptions {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--listen ADDRESS:PORT`, repeated.
    pub listen: Vec<String>,
    /// `--data DIRECTORY`.
    pub data: Option<PathBuf>,
    /// `--advertise HOST:PORT`, repeated: what join strings name.
    pub advertise: Vec<String>,
}

/// hub.toml as it is written.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fragment {
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advertise: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<PathBuf>,
}

impl Fragment {
    fn of(options: &HubOptions) -> Self {
        let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        Self {
            listen: some(&options.listen),
            advertise: some(&options.advertise),
            data: options.data.clone(),
            socket: None,
        }
    }

    /// Whether everything that was typed is what is written.
    fn says(&self, typed: &Self) -> bool {
        fn same<T: PartialEq>(written: Option<&T>, typed: Option<&T>) -> bool {
            typed.is_none() || written == typed
        }
        same(self.listen.as_ref(), typed.listen.as_ref())
            && same(self.advertise.as_ref(), typed.advertise.as_ref())
            && same(self.data.as_ref(), typed.data.as_ref())
    }
}

/// What holds.
#[derive(Debug)]
struct Settings {
    listen: Vec<String>,
    advertise: Vec<String>,
    data: PathBuf,
    socket: PathBuf,
    policy: Policy,
}

impl Settings {
    fn load(options: &HubOptions) -> Result<Self, Failure> {
        let places = Places::find();
        let path = options.config.clone().unwrap_or_else(|| places.config.join("hub.toml"));
        let fragment: Fragment = if options.config.is_some() {
            config::required(&path, "leave --config away for the defaults")?
        } else {
            config::fragment(&path)?
        };
        let chosen = |typed: &[String], written: Option<Vec<String>>| {
            if typed.is_empty() { written } else { Some(typed.to_vec()) }
        };
        Ok(Self {
            listen: chosen(&options.listen, fragment.listen).unwrap_or_else(|| vec![DEFAULT_LISTEN.to_owned()]),
            advertise: chosen(&options.advertise, fragment.advertise).unwrap_or_default(),
            data: options.data.clone().or(fragment.data).unwrap_or_else(|| places.state.join("hub")),
            socket: fragment.socket.unwrap_or_else(|| places.run.join("hub.sock")),
            policy: config::fragment(&path.with_file_name("policy.toml"))?,
        })
    }
}

/// Where the hub of this machine has, or would have, its data.
pub fn data_directory() -> Result<PathBuf, Failure> {
    Settings::load(&HubOptions::default()).map(|settings| settings.data)
}

/// `hub init`: directory, CA, keys, database; prints fingerprint and recovery key.
pub fn init(options: &HubOptions) -> Result<(), Failure> {
    let settings = Settings::load(options)?;
    if Data::exists(&settings.data) {
        let failure = Failure::new(format!("there is a hub in {} already", settings.data.display()));
        return Err(failure.help("remotectl hub serve"));
    }
    let (data, recovery) = Data::make(&settings.data)?;
    println!("hub {} in {}", data.hub, settings.data.display());
    println!("fingerprint   {}", data.fingerprint()?);
    println!("recovery key  {recovery}");
    println!("Keep the recovery key offline: only with it can agents be led to a new hub. It is not shown again.");
    Ok(())
}

/// `hub install`: as a service. What was typed becomes hub.toml, unless there is one that says something else.
pub fn install(options: &HubOptions) -> Result<(), Failure> {
    let (installed, pid) = set_up(options)?;
    installed.notes.iter().for_each(|note| eprintln!("note: {note}"));
    println!("the hub runs as {}, pid {pid}, and is enabled at boot", installed.service);
    eprintln!(
        "help: on each node: `remotectl pve-agent install --join` with what `remotectl hub join-token --role pve-agent` prints"
    );
    Ok(())
}

/// Does what `hub install` does, and tells nobody: the service, and its main process.
pub fn set_up(options: &HubOptions) -> Result<(Installed, u32), Failure> {
    let before = install::status(Role::Hub)?;
    let written = configure(options)?;
    let started = Settings::load(options).and_then(|_| {
        let installed = install::install(&Service::of_this_executable(Role::Hub))?;
        if written.is_some() {
            // A running one knows the configuration from before.
            install::stop(Role::Hub)?;
        }
        Ok((installed, install::start(Role::Hub)?))
    });
    started.map_err(|failure| written.map_or(failure.clone(), |path| unconfigure(&path, before.as_ref(), failure)))
}

/// Takes back a hub.toml that a hub does not start with. The service is as it was before: its manager would go on trying, and
/// without this hub.toml it would listen everywhere.
fn unconfigure(path: &Path, before: Option<&services::Service>, failure: Failure) -> Failure {
    let stopped = install::stop(Role::Hub).map_err(|error| chain(&error));
    let removed = files::remove(path).map_err(|error| chain(&error));
    let as_before = match before {
        None => install::uninstall(Role::Hub, false).map(drop).map_err(|error| chain(&error)),
        Some(service) if service.state.is_up() => install::start(Role::Hub).map(drop).map_err(|error| chain(&error)),
        Some(_) => Ok(()),
    };
    match stopped.and(removed).and(as_before) {
        Ok(()) => failure,
        Err(why) => failure.detail(format!("and it could not be taken back: {why}")),
    }
}

/// Writes hub.toml where something was typed: its path, unless it says that already.
fn configure(options: &HubOptions) -> Result<Option<PathBuf>, Failure> {
    let path = options.config.clone().unwrap_or_else(|| Places::find().config.join("hub.toml"));
    let typed = Fragment::of(options);
    if typed == Fragment::default() {
        return Ok(None);
    }
    if path.exists() {
        if config::fragment::<Fragment>(&path)?.says(&typed) {
            return Ok(None);
        }
        let failure = Failure::new(format!("there is a {} already, and it says something else", path.display()));
        return Err(failure.help("edit it, and call the same command without --listen, --advertise and --data"));
    }
    let failed = |error: &dyn std::error::Error| Failure::of("writing hub.toml", error);
    let text = toml::to_string(&typed).map_err(|error| failed(&error))?;
    if let Some(directory) = path.parent() {
        files::create_directory(directory, 0o755).map_err(|error| failed(&error))?;
    }
    files::write_atomic(&path, text.as_bytes(), 0o644).map_err(|error| failed(&error))?;
    Ok(Some(path))
}

/// `hub uninstall`: with `purge` its identity, database and configuration too.
pub fn uninstall(purge: bool) -> Result<(), Failure> {
    let removed = install::uninstall(Role::Hub, purge)?;
    if removed.paths.is_empty() {
        println!("there was no hub here");
    }
    removed.paths.iter().for_each(|path| println!("removed {}", path.display()));
    Ok(())
}

/// What of this machine a hub with these options has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it listens.
    pub listen: Vec<String>,
    /// Its data directory.
    pub data: PathBuf,
    /// The socket for the local root.
    pub socket: PathBuf,
}

impl Place {
    /// By its configuration.
    pub fn of(options: &HubOptions) -> Result<Self, Failure> {
        let Settings { listen, data, socket, .. } = Settings::load(options)?;
        Ok(Self { listen, data, socket })
    }

    /// Where it is when its configuration says nothing.
    pub fn usual() -> Self {
        let places = Places::find();
        Self {
            listen: vec![DEFAULT_LISTEN.to_owned()],
            data: places.state.join("hub"),
            socket: places.run.join("hub.sock"),
        }
    }

    /// Whether its addresses can be listened on; each is let go again at once.
    pub fn free(&self) -> Result<(), Failure> {
        self.listen.iter().try_for_each(|address| bind(address).map(drop))
    }

    /// The id of the hub that was made there.
    pub fn hub(&self) -> Result<Option<String>, Failure> {
        let text = files::read_text_if_there(&self.data.join("hub.id"));
        let text = text.map_err(|error| Failure::of("reading the hub's id", &error))?;
        Ok(text.filter(|_| Data::exists(&self.data)))
    }

    /// The agents on record there, whether the hub runs or not.
    pub fn agents(&self) -> Result<Vec<AgentRecord>, Failure> {
        if !Data::exists(&self.data) {
            return Ok(Vec::new());
        }
        let agents = Data::open(&self.data)?.store.agents();
        agents.map_err(|error| Failure::of("reading the hub's database", &error))
    }

    /// Where its recovery key is until somebody takes it away.
    pub fn recovery_key(&self) -> PathBuf {
        self.data.join(data::RECOVERY)
    }
}

/// `hub serve`.
pub fn serve(options: &HubOptions) -> Result<(), Failure> {
    logging::begin();
    tracing::debug!(open_files = limits::raise_open_files(), "limits");
    let settings = Settings::load(options)?;
    // Before a new hub is made: a taken port should leave nothing half done.
    let listeners = settings.listen.iter().map(|address| bind(address)).collect::<Result<Vec<_>, _>>()?;
    let data = if Data::exists(&settings.data) {
        Data::open(&settings.data)?
    } else {
        let (data, recovery) = Data::make(&settings.data)?;
        tracing::warn!(
            "a new hub was made; its recovery key is in {} until you move it away",
            recovery_note(&settings, &recovery)?.display()
        );
        data
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of("starting the hub", &error))?;
    runtime.block_on(async {
        let hosting = Hosting {
            data,
            listeners,
            advertise: settings.advertise,
            socket: settings.socket,
            policy: settings.policy,
        };
        let hub = Hub::start(hosting)?;
        for address in &hub.listening {
            tracing::info!(%address, hub = hub.pointer.hub, "the hub listens");
        }
        signalled().await;
        tracing::info!("stopping");
        hub.stop().await?;
        tracing::info!("the hub has stopped");
        Ok(())
    })
}

/// Waits for SIGTERM or SIGINT.
async fn signalled() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals can't be handled: only SIGKILL will stop this hub");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// A hub that is made by serving has nobody before a terminal: the recovery key goes to a file for root.
fn recovery_note(settings: &Settings, recovery: &str) -> Result<PathBuf, Failure> {
    let path = settings.data.join(data::RECOVERY);
    files::write_atomic(&path, recovery.as_bytes(), 0o600)
        .map_err(|error| Failure::of("keeping the recovery key", &error))?;
    Ok(path)
}

/// Binds to `ADDRESS:PORT`; port 0 is any that is free.
pub fn bind(address: &str) -> Result<TcpListener, Failure> {
    let failed = |error: std::io::Error| {
        let failure = Failure::of(&format!("listening on {address}"), &error);
        match error.kind() {
            ErrorKind::AddrInUse => failure.help(format!(
                "`ss -ltnp | grep {}` says who has it; or `remotectl hub serve --listen ADDRESS:PORT`",
                port_of(address)
            )),
            ErrorKind::PermissionDenied => failure.help("ports below 1024 are for root"),
            _ => failure.help("--listen ADDRESS:PORT with an address of this machine"),
        }
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(_, port)| port)
}
