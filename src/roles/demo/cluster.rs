//! The demo's Proxmox: the simulated cluster's API over TLS, a server for each node that has a pve-agent, and for each of
//! those the credential that `pve-agent install` would have made.

use crate::{
    model::{Failure, outcome::chain},
    proxmox::{
        Access, Client, Token, Verify,
        credential::{GUEST_AGENT, PRIVILEGES, ROLE, USER, token_name},
    },
    sim::{
        self, Backend, Cluster,
        access::{Entry, Token as Known, User},
        certificates::Root,
        server::{self, Server},
    },
    sys::{files, random, secret::Secret},
};
use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::runtime::Handle;

/// The simulated cluster and its API servers.
pub struct Proxmox {
    cluster: Arc<Cluster>,
    root: Root,
    authority: PathBuf,
    servers: Vec<Server>,
}

impl Proxmox {
    /// A cluster of that name over a backend; its CA goes into the directory.
    pub fn new(name: &str, backend: Arc<dyn Backend>, directory: &Path) -> Result<Self, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::of("making the simulated cluster", error);
        let root = Root::new(name).map_err(|error| failed(&error))?;
        let authority = directory.join("pve-root-ca.pem");
        files::write_atomic(&authority, root.pem().as_bytes(), 0o644).map_err(|error| failed(&error))?;
        let cluster = Arc::new(Cluster::new(backend, access()));
        Ok(Self { cluster, root, authority, servers: Vec::new() })
    }

    /// Serves a node's API, and gives the client that its pve-agent has.
    pub fn serve(&mut self, node: &str, runtime: &Handle) -> Result<Client, Failure> {
        let doing = format!("serving the simulated API of {node}");
        let failed = |error: &dyn std::error::Error| Failure::of(&doing, error);
        let certificate = self.root.certify(node, &[]).map_err(|error| failed(&error))?;
        self.cluster.set_fingerprint(node, &certificate.fingerprint);
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| failed(&error).help(super::NO_LOOPBACK))?;
        let guard = runtime.enter();
        let tls = server::Access::Tls(certificate.config);
        let server = Server::start(listener, tls, Arc::clone(&self.cluster), node).map_err(|error| failed(&error))?;
        drop(guard);
        let access = Access {
            address: server.address.to_string(),
            verify: Verify::AuthorityFile(self.authority.clone()),
            token: self.credential(node),
        };
        self.servers.push(server);
        Client::connect(&access).map_err(|error| Failure::new(chain(&error)).help(error.help()))
    }

    /// A token of the node's own, with the rights that a real one has.
    fn credential(&self, node: &str) -> Token {
        let (name, secret) = (token_name(node), random::id());
        let id = format!("{USER}!{name}");
        let mut access = self.cluster.access();
        let known = Known { secret: secret.clone(), separated: true, expire: 0, comment: None };
        access.users.entry(USER.to_owned()).or_default().tokens.insert(name, known);
        access.entries.push(entry("token", &id));
        Token { id, secret: Secret::new(secret) }
    }

    /// Closes all servers.
    pub async fn stop(self) {
        for server in self.servers {
            server.stop().await;
        }
    }
}

/// Users, roles and rights as `pve-agent install` leaves them.
fn access() -> sim::Access {
    let mut access = sim::Access::new(&random::id());
    let privileges = PRIVILEGES.into_iter().chain(GUEST_AGENT.into_iter().take(1)).map(str::to_owned).collect();
    access.roles.insert(ROLE.to_owned(), privileges);
    let user = User { password: None, comment: None, enabled: true, tokens: BTreeMap::new() };
    access.users.insert(USER.to_owned(), user);
    access.entries.push(entry("user", USER));
    access
}

fn entry(kind: &'static str, subject: &str) -> Entry {
    Entry { path: "/".to_owned(), kind, subject: subject.to_owned(), role: ROLE.to_owned(), propagate: true }
}
