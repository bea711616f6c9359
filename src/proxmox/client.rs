//! The client: an API token, percent-encoded forms, typed answers and errors.

use super::{
    error::ApiError,
    form::Form,
    wire::{Request, Response, Wire},
};
use crate::{
    model::digest::Digest,
    sys::{
        clock::Clock,
        files,
        http::{Endpoint, Http},
        secret::Secret,
        tls::Trust,
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{fmt, path::PathBuf, time::Duration};

/// How long an answer may take; a task's work is not part of it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Token {
    /// `remotectl@pve!node-pve1`.
    pub id: String,
    /// Its secret, a UUID.
    pub secret: Secret,
}

/// What the API's certificate is verified by; there is no third way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// The cluster's CA: `/etc/pve/pve-root-ca.pem`.
    AuthorityFile(PathBuf),
    /// SHA-256 of exactly this certificate.
    Fingerprint(Digest),
}

/// Where an API is, and who we are to it.
#[derive(Debug, Clone)]
pub struct Access {
    /// `127.0.0.1:8006`.
    pub address: String,
    /// What its certificate is verified by.
    pub verify: Verify,
    /// Who we are.
    pub token: Token,
}

/// A client of one cluster's API, through one of its nodes.
pub struct Client {
    wire: Box<dyn Wire>,
    authorization: Secret,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(…)")
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

impl Client {
    /// A client over anything that carries requests.
    pub fn new(wire: impl Wire + 'static, token: &Token) -> Self {
        let authorization = Secret::new(format!("PVEAPIToken={}={}", token.id, token.secret.reveal()));
        Self { wire: Box::new(wire), authorization }
    }

    /// A client over TLS; connects when first used.
    pub fn connect(access: &Access) -> Result<Self, ApiError> {
        let trust = match &access.verify {
            Verify::Fingerprint(digest) => Trust::PinnedCertificate(digest.clone()),
            Verify::AuthorityFile(path) => Trust::Authorities(files::read_text(path).map_err(ApiError::Authority)?),
        };
        let name = host(&access.address).to_owned();
        let endpoint = Endpoint::Tls { addresses: vec![access.address.clone()], name, trust, clock: Clock::new() };
        let http = Http::new(&endpoint)
            .map_err(|source| ApiError::Unreachable { doing: format!("connecting to {}", access.address), source })?;
        Ok(Self::new(http, &access.token))
    }

    /// Reads. `path` is below /api2/json, its parts encoded (`form::path`).
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &Form) -> Result<T, ApiError> {
        self.call("GET", path, query)
    }

    /// Acts.
    pub fn post<T: DeserializeOwned>(&self, path: &str, form: &Form) -> Result<T, ApiError> {
        self.call("POST", path, form)
    }

    /// Changes.
    pub fn put<T: DeserializeOwned>(&self, path: &str, form: &Form) -> Result<T, ApiError> {
        self.call("PUT", path, form)
    }

    /// Deletes; parameters go into the query.
    pub fn delete<T: DeserializeOwned>(&self, path: &str, query: &Form) -> Result<T, ApiError> {
        self.call("DELETE", path, query)
    }

    fn call<T: DeserializeOwned>(&self, method: &'static str, path: &str, form: &Form) -> Result<T, ApiError> {
        let doing = format!("{method} {path}");
        let encoded = form.encode();
        let in_query = matches!(method, "GET" | "DELETE");
        let query = if in_query && !encoded.is_empty() { format!("?{encoded}") } else { String::new() };
        let form = (!in_query && !encoded.is_empty()).then_some(encoded);
        let request = Request { method, path: format!("/api2/json{path}{query}"), form, timeout: TIMEOUT };
        let exchanged = self.wire.exchange(&request, self.authorization.reveal());
        let Response { status, reason, body } =
            exchanged.map_err(|source| ApiError::unanswered(doing.clone(), source))?;
        if !(200..300).contains(&status) {
            return Err(ApiError::refused(doing, status, &reason, &body));
        }
        let envelope: Result<Envelope<T>, _> = serde_json::from_slice(&body);
        envelope.map(|envelope| envelope.data).map_err(|error| ApiError::Answer { doing, why: error.to_string() })
    }
}

/// The host of `host:port`, an IPv6 address without its brackets.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_port_and_brackets() {
        assert_eq!(["127.0.0.1:8006", "[::1]:8006", "pve1:8006"].map(host), ["127.0.0.1", "::1", "pve1"]);
    }

    #[test]
    fn the_secret_is_not_printed() {
        let token = Token { id: "a@pve!b".into(), secret: Secret::new("hidden") };
        assert!(!format!("{token:?}").contains("hidden"));
    }
}
