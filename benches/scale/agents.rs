//! Thousands of agents in one process: each has a key, a connection that polls, and another one while it tells a result. They
//! do nothing else: what a real agent costs is another bench's.

use crate::hub::Hub;
use remotectl::{
    link::{
        PROTOCOL,
        join::Pointer,
        jwt::{self, Bound},
        keys::SigningKey,
        wire::{AgentRole, JoinRequest, PollReply, PollRequest, ResultRequest, path},
    },
    model::Outcome,
    sys::{
        clock::{self, Clock},
        random,
        tls::{self, Trust},
    },
};
use rustls::pki_types::ServerName;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    sync::Semaphore,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Agents that share an address.
const AN_ADDRESS: usize = 250;
/// Agents that join at once: an address may have 32 connections that nobody has been believed on.
const JOINS: usize = 16;
/// The longest pause between two tries, as a real agent makes it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub fn name(number: usize) -> String {
    format!("host/s{number}")
}

pub struct Swarm {
    runtime: Runtime,
    way: Arc<Way>,
    grown: AtomicUsize,
    /// Commands that were carried out.
    pub done: Arc<AtomicUsize>,
}

struct Way {
    hub: String,
    to: SocketAddr,
    name: ServerName<'static>,
    tls: TlsConnector,
    capabilities: Vec<String>,
}

struct Agent {
    way: Arc<Way>,
    number: usize,
    key: SigningKey,
    process: String,
    done: Arc<AtomicUsize>,
}

impl Swarm {
    pub fn new(pointer: Pointer) -> Self {
        let config =
            tls::client_config(&Trust::PinnedAuthority(pointer.fingerprint.clone().into()), Clock::new()).unwrap();
        let way = Way {
            to: pointer.addresses[0].parse().unwrap(),
            name: ServerName::try_from(pointer.server_name()).unwrap(),
            hub: pointer.hub,
            tls: TlsConnector::from(config),
            capabilities: remotectl::model::Op::ALL.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        Self { runtime, way: Arc::new(way), grown: AtomicUsize::new(0), done: Arc::default() }
    }

    /// Joins further agents and has them poll, until there are so many.
    pub fn grow_to(&self, count: usize, hub: &Hub) {
        let from = self.grown.swap(count, Relaxed);
        let gate = Arc::new(Semaphore::new(JOINS));
        let joins: Vec<_> = (from..count)
            .map(|number| {
                let pass = self.runtime.block_on(Arc::clone(&gate).acquire_owned()).unwrap();
                let token = hub.token().token;
                let (way, done) = (Arc::clone(&self.way), Arc::clone(&self.done));
                self.runtime.spawn(async move {
                    let agent = Agent { way, number, key: SigningKey::make().0, process: random::id(), done };
                    agent.join(token).await.unwrap();
                    tokio::spawn(agent.live());
                    drop(pass);
                })
            })
            .collect();
        for join in joins {
            self.runtime.block_on(join).unwrap();
        }
    }
}

impl Agent {
    async fn join(&self, token: Option<String>) -> io::Result<()> {
        let request = JoinRequest {
            protocol: PROTOCOL,
            public_key: self.key.public(),
            role: AgentRole::Agent,
            target: name(self.number).parse().unwrap(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            token,
            attestation: None,
        };
        let mut stream = self.connect().await?;
        self.post(&mut stream, path::JOIN, &serde_json::to_vec(&request)?).await.map(drop)
    }

    async fn live(self) {
        let agent = Arc::new(self);
        let (mut high_water, mut pause) = (0, Duration::from_millis(100));
        loop {
            if agent.poll_on(&mut high_water).await {
                pause = Duration::from_millis(100);
            }
            let [share] = random::bytes::<1>();
            tokio::time::sleep(pause.mul_f64(0.5 + f64::from(share) / 510.0)).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Polls on one connection as long as that holds; whether it was answered at all.
    async fn poll_on(self: &Arc<Self>, high_water: &mut u64) -> bool {
        let Ok(mut stream) = self.connect().await else { return false };
        let mut answered = false;
        loop {
            let request = PollRequest {
                protocol: PROTOCOL,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                high_water: *high_water,
                kept: *high_water,
                process: self.process.clone(),
                running: Vec::new(),
                capabilities: self.way.capabilities.clone(),
                trial: false,
                epoch: 0,
            };
            let body = serde_json::to_vec(&request).unwrap();
            let Ok(reply) = self.post(&mut stream, path::POLL, &body).await else { return answered };
            answered = true;
            let reply: PollReply = serde_json::from_slice(&reply).unwrap();
            for signed in reply.commands {
                let command: serde_json::Value = serde_json::from_str(&signed.payload).unwrap();
                *high_water = command["seq"].as_u64().unwrap();
                let (agent, id) = (Arc::clone(self), command["id"].as_str().unwrap().to_owned());
                tokio::spawn(async move { agent.tell(id).await });
            }
        }
    }

    /// Tells a result until it is acknowledged.
    async fn tell(self: Arc<Self>, command: String) {
        let request = ResultRequest { protocol: PROTOCOL, command, outcome: Outcome::success("done") };
        let body = serde_json::to_vec(&request).unwrap();
        self.done.fetch_add(1, Relaxed);
        loop {
            if let Ok(mut stream) = self.connect().await
                && self.post(&mut stream, path::RESULT, &body).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        let block = u8::try_from(self.number / AN_ADDRESS % 250).unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 1, 0, block + 1), 0)))?;
        let stream = socket.connect(self.way.to).await?;
        stream.set_nodelay(true)?;
        self.way.tls.connect(self.way.name.clone(), stream).await
    }

    async fn post(&self, stream: &mut TlsStream<TcpStream>, path: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let token = jwt::sign(&self.key, &self.way.hub, 1, clock::unix_seconds(), Bound { method: "POST", path, body });
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        loop {
            if let Some((at, length)) = whole(&answer) {
                let ok = answer.starts_with(b"HTTP/1.1 200");
                let body = answer[at..at + length].to_vec();
                return if ok { Ok(body) } else { Err(io::Error::other(String::from_utf8_lossy(&answer))) };
            }
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Where the body of an answer that is there as a whole begins, and its length.
fn whole(answer: &[u8]) -> Option<(usize, usize)> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).ok()?.to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
    (answer.len() >= head + length).then_some((head, length))
}
