//! The certificates of a simulated cluster: its own root, as /etc/pve/pve-root-ca.pem is, and one for each node.

use crate::sys::tls::{Authority, Identity, TlsError, fingerprint, server_config};
use rustls::ServerConfig;
use std::sync::Arc;

/// The cluster's root.
pub struct Root {
    name: String,
    authority: Authority,
}

/// A node's certificate.
pub struct NodeCertificate {
    /// What pve-ssl.pem and pve-ssl.key hold.
    pub identity: Identity,
    /// Its SHA-256, `AB:CD:…`, as Proxmox shows it.
    pub fingerprint: String,
    /// For a server.
    pub config: Arc<ServerConfig>,
}

impl Root {
    /// A new root for a cluster of that name.
    pub fn new(cluster: &str) -> Result<Self, TlsError> {
        let name = format!("Proxmox Virtual Environment {cluster}");
        Ok(Self { authority: Authority::make(&name)?, name })
    }

    /// What pve-root-ca.pem holds.
    pub fn pem(&self) -> &str {
        &self.authority.certificate
    }

    /// A certificate for a node, good for its name, localhost and its addresses.
    pub fn certify(&self, node: &str, addresses: &[&str]) -> Result<NodeCertificate, TlsError> {
        let names: Vec<String> =
            [&[node, "localhost", "127.0.0.1"], addresses].concat().into_iter().map(str::to_owned).collect();
        let identity = self.authority.sign(&self.name, &names)?;
        let config = server_config(&identity, &["http/1.1"])?;
        let fingerprint = with_colons(fingerprint(&identity.chain)?.as_str());
        Ok(NodeCertificate { identity, fingerprint, config })
    }
}

fn with_colons(hex: &str) -> String {
    let upper = hex.to_ascii_uppercase();
    let pairs: Vec<&str> = (0..upper.len() / 2).map(|place| &upper[place * 2..place * 2 + 2]).collect();
    pairs.join(":")
}
