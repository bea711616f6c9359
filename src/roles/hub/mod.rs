//! The hub: its data directory, its identity, serving.

mod data;

use super::{config, logging};
use crate::{
    api::{self, server::Server},
    engine::{Engine, Identity, Parts},
    host::{
        self,
        install::{self, InstallError, Role, Service},
    },
    link::{PROTOCOL, join::Pointer},
    llm::grammar::Grammar,
    model::{Failure, Policy, messages::HubInfo, outcome::chain},
    sys::{
        env::Places,
        files, limits,
        tls::{self, TlsError},
    },
};
use data::Data;
use serde::{Deserialize, Serialize};
use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

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

/// `hub check`: the database's integrity and the keys.
pub fn check(options: &HubOptions) -> Result<(), Failure> {
    let settings = Settings::load(options)?;
    let data = Data::open(&settings.data)?;
    println!("hub {}: keys and database are sound", data.hub);
    println!("fingerprint   {}", data.fingerprint()?);
    let count = |what: Result<usize, crate::store::StoreError>| {
        what.map_err(|error| Failure::of("reading the database", &error))
    };
    println!("agents        {}", count(data.store.agents().map(|agents| agents.len()))?);
    println!("operators     {}", count(data.store.operators().map(|operators| operators.len()))?);
    Ok(())
}

/// `hub install`: as a service. What was typed becomes hub.toml, unless there is one.
pub fn install(options: &HubOptions) -> Result<(), Failure> {
    let path = options.config.clone().unwrap_or_else(|| Places::find().config.join("hub.toml"));
    let fragment = Fragment::of(options);
    if fragment != Fragment::default() {
        if path.exists() {
            let failure = Failure::new(format!("there is a {} already", path.display()));
            return Err(failure.help("edit it, and call `remotectl hub install` without options"));
        }
        let text = toml::to_string(&fragment).map_err(|error| Failure::of("writing hub.toml", &error))?;
        if let Some(directory) = path.parent() {
            files::create_directory(directory, 0o755).map_err(|error| Failure::of("writing hub.toml", &error))?;
        }
        files::write_atomic(&path, text.as_bytes(), 0o644).map_err(|error| Failure::of("writing hub.toml", &error))?;
    }
    Settings::load(options)?;
    let failed = |error: InstallError| Failure::new(chain(&error)).help(error.help());
    let installed = install::install(&Service::of_this_executable(Role::Hub)).map_err(failed)?;
    installed.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let pid = install::start(Role::Hub).map_err(failed)?;
    println!("the hub runs as {}, pid {pid}, and is enabled at boot", installed.service);
    eprintln!(
        "help: on each node: `remotectl pve-agent install --join` with what `remotectl hub join-token --role pve-agent` prints"
    );
    Ok(())
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
    runtime.block_on(run(settings, data, listeners))
}

/// A hub that is made by serving has nobody before a terminal: the recovery key goes to a file for root.
fn recovery_note(settings: &Settings, recovery: &str) -> Result<PathBuf, Failure> {
    let path = settings.data.join("recovery.key");
    files::write_atomic(&path, recovery.as_bytes(), 0o600)
        .map_err(|error| Failure::of("keeping the recovery key", &error))?;
    Ok(path)
}

async fn run(settings: Settings, data: Data, listeners: Vec<TcpListener>) -> Result<(), Failure> {
    let bound: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let addresses = if settings.advertise.is_empty() { advertised(&bound) } else { settings.advertise.clone() };
    let tls = identity(&data, &addresses).map_err(|error| Failure::of("making the hub's certificate", &error))?;
    let pointer = Pointer {
        addresses: addresses.clone(),
        hub: data.hub.clone(),
        fingerprint: data.fingerprint()?,
        key: data.key.public(),
        token: None,
    };
    let info = HubInfo {
        id: data.hub.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        fingerprint: pointer.fingerprint.clone(),
        addresses,
        time: 0,
    };
    let engine = Engine::new(Parts {
        store: data.store,
        identity: Identity { pointer, epoch: data.epoch, key: data.key },
        planner: Box::new(Grammar),
        policy: settings.policy,
        output: settings.data.join("output"),
    })
    .map_err(|error| Failure::of("waking the hub", &error))?;
    let context = api::Context {
        engine: Arc::clone(&engine),
        info: Arc::new(info),
        artifacts: Arc::new(settings.data.join("artifacts")),
    };
    let config =
        tls::server_config(&tls, &["h2", "http/1.1"]).map_err(|error| Failure::of("setting up TLS", &error))?;
    let tcp = listeners
        .into_iter()
        .map(|listener| Ok((tokio::net::TcpListener::from_std(listener)?, Arc::clone(&config))))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|error| Failure::of("listening", &error))?;
    let unix = socket(&settings.socket)?;
    for address in &bound {
        tracing::info!(%address, hub = data.hub, "the hub listens");
    }
    let resumed = engine.resume().map_err(|error| Failure::of("resuming plans", &error))?;
    tracing::debug!(resumed, "plans go on");
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(stop_on_signal(engine, stop));
    Server::new(api::router(&context)).serve(tcp, Some(unix), stopping).await;
    files::remove(&settings.socket).map_err(|error| Failure::of("stopping", &error))?;
    tracing::info!("the hub has stopped");
    Ok(())
}

async fn stop_on_signal(engine: Arc<Engine>, stop: watch::Sender<bool>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return tracing::error!("signals can't be handled: only SIGKILL will stop this hub");
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    engine.stop();
    stop.send_replace(true);
}

fn bind(address: &str) -> Result<TcpListener, Failure> {
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

/// The socket for the local root. One that is left over from a hub that was killed is taken over; a living one is not.
fn socket(path: &Path) -> Result<UnixListener, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::of(&format!("listening on {}", path.display()), error);
    if let Some(directory) = path.parent() {
        files::create_directory(directory, 0o755).map_err(|error| failed(&error))?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(
            Failure::new(format!("another hub listens on {}", path.display())).help("systemctl status remotectl-hub")
        );
    }
    files::remove(path).map_err(|error| failed(&error))?;
    let listener = UnixListener::bind(path).map_err(|error| failed(&error))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|error| failed(&error))?;
    Ok(listener)
}

/// What join strings name when nobody has said: the addresses that it listens on, every one of the machine's where it
/// listens on all.
fn advertised(bound: &[SocketAddr]) -> Vec<String> {
    let mut all = Vec::new();
    for address in bound {
        if address.ip().is_unspecified() {
            let own = host::facts::addresses(&host::Machine::here())
                .into_iter()
                .filter_map(|text| text.parse::<IpAddr>().ok());
            all.extend(own.map(|ip| SocketAddr::new(ip, address.port()).to_string()));
        } else {
            all.push(address.to_string());
        }
    }
    all
}

/// A certificate for the hub's fixed name, and for its addresses, by which browsers know it.
fn identity(data: &Data, addresses: &[String]) -> Result<tls::Identity, TlsError> {
    let mut names = vec![crate::link::join::server_name(&data.hub), "localhost".to_owned()];
    let hosts = addresses.iter().filter_map(|address| address.rsplit_once(':')).map(|(host, _)| host);
    names.extend(hosts.map(|host| host.trim_matches(['[', ']']).to_owned()));
    names.sort();
    names.dedup();
    data.authority.sign(&data::authority_name(&data.hub), &names)
}
