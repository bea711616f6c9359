//! The client: an API token or a session, percent-encoded forms, typed answers and errors.

use super::{
    error::ApiError,
    requests::Call,
    session::{Login, Session},
    upid::Upid,
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
use std::{
    collections::VecDeque,
    fmt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How long an answer may take; a task's work is not part of it.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How many tasks are remembered as ours: many more than can begin within a clock's error.
const REMEMBERED: usize = 256;

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
    who: Who,
    /// The tasks that this client has set going lately, the newest last.
    tasks: Mutex<VecDeque<Upid>>,
}

/// What a request carries so that the API knows us.
enum Who {
    Token { id: String, authorization: Secret },
    Session(Session),
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
        Self { wire: Box::new(wire), who: Who::Token { id: token.id.clone(), authorization }, tasks: Mutex::default() }
    }

    /// A client that logs in with a password; when first used, and again before its ticket ends.
    pub fn with_password(wire: impl Wire + 'static, login: Login) -> Self {
        Self::with_password_at(wire, login, Clock::new())
    }

    /// The same, by that clock.
    pub fn with_password_at(wire: impl Wire + 'static, login: Login, clock: Clock) -> Self {
        Self { wire: Box::new(wire), who: Who::Session(Session::new(login, clock)), tasks: Mutex::default() }
    }

    /// A client over TLS; connects when first used.
    pub fn connect(access: &Access) -> Result<Self, ApiError> {
        Ok(Self::new(http(&access.address, &access.verify)?, &access.token))
    }

    /// A client over TLS that logs in with a password; connects when first used.
    pub fn log_in(address: &str, verify: &Verify, login: Login) -> Result<Self, ApiError> {
        Ok(Self::with_password(http(address, verify)?, login))
    }

    /// As whom tasks of ours run: `remotectl@pve!node-pve1`, or a user.
    pub fn user(&self) -> &str {
        match &self.who {
            Who::Token { id, .. } => id,
            Who::Session(session) => session.user(),
        }
    }

    /// Notes a task as ours.
    pub(super) fn remember(&self, upid: &Upid) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.len() == REMEMBERED {
            tasks.pop_front();
        }
        tasks.push_back(upid.clone());
    }

    /// Whether a task is one that was noted.
    pub(super) fn remembers(&self, upid: &Upid) -> bool {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).contains(upid)
    }

    /// Sends a request and reads its answer.
    pub fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ApiError> {
        let response = match &self.who {
            Who::Token { authorization, .. } => self.exchange(call, &[("authorization", authorization.reveal())])?,
            Who::Session(session) => session.ask(call, &|call, headers| self.exchange(call, headers))?,
        };
        read(call, &response)
    }

    fn exchange(&self, call: &Call, who: &[(&str, &str)]) -> Result<Response, ApiError> {
        let doing = call.doing();
        let encoded = call.form().encode();
        let in_query = matches!(call.method(), "GET" | "DELETE");
        let query = if in_query && !encoded.is_empty() { format!("?{encoded}") } else { String::new() };
        let form = (!in_query && !encoded.is_empty()).then_some(encoded);
        let path = format!("/api2/json{}{query}", call.path());
        let request = Request { method: call.method(), path, form, timeout: TIMEOUT };
        let exchanged = self.wire.exchange(&request, who);
        let response = exchanged.map_err(|source| ApiError::unanswered(doing.clone(), source))?;
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        Err(ApiError::refused(doing, response.status, &response.reason, &response.body))
    }
}

/// Reads an answer's data.
pub(super) fn read<T: DeserializeOwned>(call: &Call, response: &Response) -> Result<T, ApiError> {
    let envelope: Result<Envelope<T>, _> = serde_json::from_slice(&response.body);
    let error = |error: serde_json::Error| ApiError::Answer { doing: call.doing(), why: error.to_string() };
    envelope.map(|envelope| envelope.data).map_err(error)
}

fn http(address: &str, verify: &Verify) -> Result<Http, ApiError> {
    let trust = match verify {
        Verify::Fingerprint(digest) => Trust::PinnedCertificate(digest.clone()),
        Verify::AuthorityFile(path) => Trust::Authorities(files::read_text(path).map_err(ApiError::Authority)?),
    };
    let name = host(address).to_owned();
    let endpoint = Endpoint::Tls { addresses: vec![address.to_owned()], name, trust, clock: Clock::new() };
    Http::new(&endpoint).map_err(|source| ApiError::Unreachable { doing: format!("connecting to {address}"), source })
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
