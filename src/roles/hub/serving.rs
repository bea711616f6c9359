//! A hub that serves: built of its data, its listeners and its policy, on whichever tokio runtime it is started, until it
//! is stopped. `hub serve` is one of them in a process; the demo has one among its simulated machines.

use super::data::{self, Data};
use crate::{
    api::{self, server::Server},
    engine::{Engine, Identity, Parts, artifacts::hold_own},
    host,
    link::{PROTOCOL, join::Pointer},
    llm::grammar::Grammar,
    model::{Failure, Policy, messages::HubInfo, version::version},
    sys::{
        files,
        tls::{self, TlsError},
    },
};
use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{net::UnixListener, sync::watch, task::JoinHandle};

/// What a hub is built of.
pub struct Hosting {
    /// Its keys and database.
    pub data: Data,
    /// Where it listens, bound and not blocking.
    pub listeners: Vec<TcpListener>,
    /// The addresses that join strings name; those that it listens on where there are none.
    pub advertise: Vec<String>,
    /// The unix socket for this machine.
    pub socket: PathBuf,
    /// What weighs plans.
    pub policy: Policy,
}

/// A hub that serves.
pub struct Hub {
    /// Its mind.
    pub engine: Arc<Engine>,
    /// How agents and clients find and know it; without a token.
    pub pointer: Pointer,
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    socket: PathBuf,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Takes this executable among those that agents may fetch.
    holding: Option<JoinHandle<()>>,
}

impl Hub {
    /// Begins to serve, and goes on with plans that were under way.
    pub fn start(hosting: Hosting) -> Result<Self, Failure> {
        let Hosting { data, listeners, advertise, socket, policy } = hosting;
        let listening: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let addresses = if advertise.is_empty() { advertised(&listening) } else { advertise };
        let tls = identity(&data, &addresses).map_err(|error| Failure::of("making the hub's certificate", &error))?;
        let config =
            tls::server_config(&tls, &["h2", "http/1.1"]).map_err(|error| Failure::of("setting up TLS", &error))?;
        let pointer = Pointer {
            addresses,
            hub: data.hub.clone(),
            fingerprint: data.fingerprint()?,
            key: data.key.public(),
            recovery: data.recovery,
            epoch: data.epoch,
            token: None,
        };
        let tcp = listeners
            .into_iter()
            .map(|listener| Ok((tokio::net::TcpListener::from_std(listener)?, Arc::clone(&config))))
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|error| Failure::of("listening", &error))?;
        let context = wake(data, &pointer, policy)?;
        let engine = Arc::clone(&context.engine);
        // Beside serving: it reads and writes the whole executable.
        let own = engine.artifacts.clone();
        let holding = Some(tokio::task::spawn_blocking(move || hold_own(&own)));
        let unix = listen(&socket)?;
        let resumed = engine.resume().map_err(|error| Failure::of("resuming plans", &error))?;
        tracing::debug!(resumed, "plans go on");
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(Server::new(api::router(&context)).serve(tcp, Some(unix), stopping));
        Ok(Self { engine, pointer, listening, socket, stop, serving, holding })
    }

    /// Waits until agents can fetch this executable.
    pub async fn holds_own(&mut self) -> Result<(), Failure> {
        let Some(holding) = self.holding.take() else { return Ok(()) };
        holding.await.map_err(|error| Failure::of("holding this executable for agents", &error))
    }

    /// Ends polls, streams and connections in good order, and takes the socket away.
    pub async fn stop(mut self) -> Result<(), Failure> {
        self.engine.stop();
        self.stop.send_replace(true);
        let held = self.holds_own().await;
        let served = self.serving.await;
        files::remove(&self.socket).map_err(|error| Failure::of("stopping", &error))?;
        served.map_err(|error| Failure::of("stopping", &error)).and(held)
    }
}

/// The engine, and what the API's handlers work with.
fn wake(data: Data, pointer: &Pointer, policy: Policy) -> Result<api::Context, Failure> {
    let info = HubInfo {
        id: pointer.hub.clone(),
        version: version().to_owned(),
        protocol: PROTOCOL,
        fingerprint: pointer.fingerprint.clone(),
        addresses: pointer.addresses.clone(),
        time: 0,
    };
    let engine = Engine::new(Parts {
        store: data.store,
        identity: Identity {
            pointer: pointer.clone(),
            epoch: data.epoch,
            key: data.key,
            announcement: data.announcement,
        },
        vault: data.vault,
        planner: Box::new(Grammar),
        policy,
        output: data.directory.join("output"),
        artifacts: data.directory.join("artifacts"),
    })
    .map_err(|error| Failure::of("waking the hub", &error))?;
    Ok(api::Context::new(engine, info))
}

/// The socket for the local root. One that is left over from a hub that was killed is taken over; a living one is not.
fn listen(path: &Path) -> Result<UnixListener, Failure> {
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
