//! The certificates of a simulated cluster: its own root, as /etc/pve/pve-root-ca.pem is, and one for each node.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use ring::digest::{SHA256, digest};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::{net::IpAddr, sync::Arc};

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// By rcgen.
    #[error("cannot make a certificate for the simulated cluster")]
    Make(#[from] rcgen::Error),
    /// By rustls.
    #[error("cannot use the certificate that was made for the simulated cluster")]
    Use(#[from] rustls::Error),
}

/// The cluster's root.
pub struct Authority {
    /// What pve-root-ca.pem holds.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A node's certificate, as pve-ssl.pem and pve-ssl.key hold it.
pub struct NodeCertificate {
    /// The certificate.
    pub pem: String,
    /// Its key.
    pub key_pem: String,
    /// Its SHA-256, `AB:CD:…`, as Proxmox shows it.
    pub fingerprint: String,
    /// For a server.
    pub config: Arc<ServerConfig>,
}

impl Authority {
    /// A new root for a cluster of that name.
    pub fn new(cluster: &str) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = named(&format!("Proxmox Virtual Environment {cluster}"));
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// A certificate for a node, good for its name, localhost and its addresses.
    pub fn certify(&self, node: &str, addresses: &[IpAddr]) -> Result<NodeCertificate, CertificateError> {
        let mut params = CertificateParams::new(vec![node.to_owned(), "localhost".to_owned()])?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.distinguished_name = named(node);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let der = CertificateDer::from(certificate.der().to_vec());
        let fingerprint = fingerprint(&der);
        let private =
            PrivateKeyDer::try_from(key.serialize_der()).map_err(|text| rustls::Error::General(text.to_owned()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![der], private)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(NodeCertificate {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            fingerprint,
            config: Arc::new(config),
        })
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn fingerprint(der: &[u8]) -> String {
    let bytes: Vec<String> = digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}
