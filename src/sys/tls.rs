//! TLS 1.3 by rustls and ring: the hub's own CA, and the three ways in which a server is believed: by the hub's pinned CA
//! and its fixed name, by a pinned certificate, by a CA file. Never by the public CAs, never by first use.

use super::clock::Clock;
use crate::model::digest::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring::default_provider, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    time_provider::TimeProvider,
};
use std::{
    fmt,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

/// Something that TLS needs is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key could not be made.
    #[error("making a certificate")]
    Make(#[from] rcgen::Error),
    /// A certificate or key does not fit.
    #[error("setting up TLS")]
    Setup(#[from] rustls::Error),
    /// A PEM text is none.
    #[error("reading PEM: {0}")]
    Pem(String),
}

/// A certificate authority of our own, as PEM texts.
#[derive(Clone)]
pub struct Authority {
    /// Its certificate.
    pub certificate: String,
    /// Its private key; belongs into a file of mode 0600.
    pub key: super::secret::Secret,
}

/// A server's certificate and key, as PEM texts.
#[derive(Clone)]
pub struct Identity {
    /// Its certificate, followed by its CA's.
    pub chain: String,
    /// Its private key; belongs into a file of mode 0600.
    pub key: super::secret::Secret,
}

impl Authority {
    /// Makes a new one. It is valid from 2020 on, so that a machine whose clock was never set can still be told the time.
    pub fn make(name: &str) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let certificate = Self::params(name)?.self_signed(&key)?.pem();
        Ok(Self { certificate, key: super::secret::Secret::new(key.serialize_pem()) })
    }

    /// Signs a server's certificate for these names (DNS names or addresses). `name` is the one given to `make`.
    pub fn sign(&self, name: &str, subject_names: &[String]) -> Result<Identity, TlsError> {
        let issuer = Issuer::new(Self::params(name)?, KeyPair::from_pem(self.key.reveal())?);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(subject_names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, subject_names.first().cloned().unwrap_or_default());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2046, 1, 1);
        let certificate = params.signed_by(&key, &issuer)?;
        let chain = format!("{}{}", certificate.pem(), self.certificate);
        Ok(Identity { chain, key: super::secret::Secret::new(key.serialize_pem()) })
    }

    /// Whether what it signs for a server's name is believed by whoever pins it, at this time (seconds since the epoch).
    pub fn prove(&self, name: &str, server: &str, now: i64) -> Result<(), TlsError> {
        let identity = self.sign(name, &[server.to_owned()])?;
        let pem = |error: rustls::pki_types::pem::Error| TlsError::Pem(error.to_string());
        let chain =
            CertificateDer::pem_slice_iter(identity.chain.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(pem)?;
        let server = ServerName::try_from(server.to_owned()).map_err(|error| TlsError::Pem(error.to_string()))?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or_default()));
        let [end, above @ ..] = chain.as_slice() else { return Err(TlsError::Pem("there is no certificate".into())) };
        let pinned = Pinned { pins: self.fingerprint()?.into(), authority: true };
        pinned.verify_server_cert(end, above, &server, &[], time)?;
        Ok(())
    }

    /// SHA-256 of the certificate: what clients and agents pin.
    pub fn fingerprint(&self) -> Result<Digest, TlsError> {
        fingerprint(&self.certificate)
    }

    fn params(name: &str) -> Result<CertificateParams, TlsError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2050, 1, 1);
        Ok(params)
    }
}

/// SHA-256 of the first certificate of a PEM text.
pub fn fingerprint(pem: &str) -> Result<Digest, TlsError> {
    let certificate =
        CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| TlsError::Pem(error.to_string()))?;
    Ok(Digest::of(&certificate))
}

/// How a server speaks TLS: 1.3 only, these protocols by ALPN.
pub fn server_config(identity: &Identity, protocols: &[&str]) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |error: rustls::pki_types::pem::Error| TlsError::Pem(error.to_string());
    let chain =
        CertificateDer::pem_slice_iter(identity.chain.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(pem)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.reveal().as_bytes()).map_err(pem)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// Whom a client believes.
#[derive(Debug, Clone)]
pub enum Trust {
    /// A hub: some certificate of the chain is a CA with one of these fingerprints, and has signed the server's for its name.
    PinnedAuthority(Pins),
    /// Exactly the certificate with this fingerprint, whatever its name.
    PinnedCertificate(Digest),
    /// Whatever these CAs (PEM) have signed for the name.
    Authorities(String),
}

/// Fingerprints of the authorities that a hub is known by: one, and the next one while it is being led to that. Clones share
/// them, and what is added counts for every connection from then on.
#[derive(Debug, Clone)]
pub struct Pins(Arc<RwLock<Vec<Digest>>>);

impl From<Digest> for Pins {
    fn from(pin: Digest) -> Self {
        Self(Arc::new(RwLock::new(vec![pin])))
    }
}

impl Pins {
    /// Believes this authority too.
    pub fn add(&self, pin: Digest) {
        let mut pins = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !pins.contains(&pin) {
            pins.push(pin);
        }
    }

    fn has(&self, pin: &Digest) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(pin)
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let texts: Vec<&str> = pins.iter().map(Digest::as_str).collect();
        f.write_str(&texts.join(" or "))
    }
}

/// How a client speaks TLS 1.3, by the given clock.
pub fn client_config(trust: &Trust, clock: Clock) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Authorities(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(certificate.map_err(|error| TlsError::Pem(error.to_string()))?)?;
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| TlsError::Pem(error.to_string()))?
        }
        Trust::PinnedAuthority(pins) => Arc::new(Pinned { pins: pins.clone(), authority: true }),
        Trust::PinnedCertificate(pin) => Arc::new(Pinned { pins: pin.clone().into(), authority: false }),
    };
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(HubTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(default_provider())))
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

#[derive(Debug)]
struct HubTime(Clock);

impl TimeProvider for HubTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(self.0.now()).ok()?)))
    }
}

/// Believes what a pin says, and checks all else as for any certificate.
#[derive(Debug)]
struct Pinned {
    pins: Pins,
    authority: bool,
}

impl Pinned {
    fn mismatch(&self, found: &CertificateDer) -> rustls::Error {
        rustls::Error::General(format!(
            "its certificate has fingerprint {}, not the pinned {}",
            Digest::of(found),
            self.pins
        ))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !self.authority {
            let right = self.pins.has(&Digest::of(end_entity));
            return if right { Ok(ServerCertVerified::assertion()) } else { Err(self.mismatch(end_entity)) };
        }
        let Some(authority) = intermediates.iter().find(|certificate| self.pins.has(&Digest::of(certificate))) else {
            return Err(self.mismatch(intermediates.last().unwrap_or(end_entity)));
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}
