//! The operators' API over HTTP: to a hub's pinned TLS address with a token, or to the local hub's socket.

use super::{api::Api, login::Place};
use crate::{
    link::join::server_name,
    model::{Exit, Failure, messages::ApiError},
    sys::{
        clock::Clock,
        http::{Endpoint, Http, HttpError},
        tls::Trust,
    },
};
use serde_json::Value;
use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

/// How long the hub may take to answer: a model may think for a while.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(3);
/// How much of an answer is read that is not the API's: 64 KiB.
const STRANGE_LIMIT: u64 = 64 << 10;

/// A hub that is reached over HTTP.
pub struct Remote {
    http: Http,
    place: String,
    local: bool,
    authorization: Option<String>,
    answer: Duration,
}

impl Remote {
    /// A hub at a place; connects when first used.
    pub fn new(place: &Place) -> Result<Self, Failure> {
        Self::within(place, ANSWER_TIMEOUT)
    }

    /// A hub at a place that is given up on where an answer takes longer.
    pub fn within(place: &Place, answer: Duration) -> Result<Self, Failure> {
        let (endpoint, authorization) = match place {
            Place::Socket(path) => (Endpoint::Unix(path.clone()), None),
            Place::Login(login) => {
                let endpoint = Endpoint::Tls {
                    addresses: login.addresses.clone(),
                    name: server_name(&login.hub),
                    trust: Trust::PinnedAuthority(login.fingerprint.clone().into()),
                    clock: Clock::new(),
                };
                (endpoint, Some(format!("Bearer {}", login.token.reveal())))
            }
        };
        let http = Http::new(&endpoint).map_err(|error| Failure::of("preparing the connection to the hub", &error))?;
        Ok(Self { http, place: place.to_string(), local: matches!(place, Place::Socket(_)), authorization, answer })
    }

    fn headers<'a>(&'a self, accept: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut headers = vec![("accept", accept), ("content-type", "application/json")];
        headers.extend(self.authorization.as_deref().map(|value| ("authorization", value)));
        headers
    }

    fn failed(&self, error: HttpError, started: Instant) -> Failure {
        let tried = started.elapsed().as_secs_f64();
        match error {
            HttpError::Connect { source, .. } => {
                Failure::new(format!("the hub at {} does not answer: {}", self.place, reason(&source)))
                    .detail(format!("tried for {tried:.1} s; nothing was sent"))
                    .help(self.mend(&source))
                    .exit(Exit::Unreachable)
            }
            HttpError::Lost { what } => Failure::new(format!("the hub at {} did not answer: {what}", self.place))
                .detail(format!("waited for {tried:.1} s; the request was sent, so it may have been acted upon"))
                .help("`remotectl history` shows what it has on record")
                .exit(Exit::Unreachable),
            error @ HttpError::Setup(_) => Failure::of("preparing the connection to the hub", &error),
        }
    }

    fn mend(&self, error: &io::Error) -> &'static str {
        match error.kind() {
            io::ErrorKind::PermissionDenied => "the hub's socket is for root: `sudo remotectl …`, or `remotectl login`",
            io::ErrorKind::InvalidData | io::ErrorKind::Other | io::ErrorKind::InvalidInput => {
                "if the hub was made anew, log in again: `remotectl hub operator add NAME` there, `remotectl login STRING` here"
            }
            _ if self.local => "is it running? `systemctl status remotectl-hub`, or `remotectl hub serve`",
            _ => "is it running? `systemctl status remotectl-hub` there",
        }
    }

    /// The failure that an answer outside 2xx tells of.
    fn refused(&self, status: u16, body: &[u8]) -> Failure {
        if let Ok(error) = serde_json::from_slice::<ApiError>(body) {
            return error.into();
        }
        let text = String::from_utf8_lossy(body);
        let first: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
        Failure::new(format!("the hub at {} answered {status}: {first}", self.place))
            .help("is that a remotectl hub? `remotectl login` keeps another address")
    }
}

impl Api for Remote {
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let started = Instant::now();
        let reply = self
            .http
            .send(method, path, &self.headers("application/json"), &bytes, self.answer)
            .map_err(|error| self.failed(error, started))?;
        if !reply.success() {
            return Err(self.refused(reply.status, &reply.body));
        }
        if reply.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&reply.body)
            .map_err(|error| Failure::of(&format!("reading the hub's answer to {path}"), &error))
    }

    fn stream(&self, path: &str, body: &Value) -> Result<Box<dyn Read>, Failure> {
        let started = Instant::now();
        let (status, reader) = self
            .http
            .stream("POST", path, &self.headers("text/event-stream"), body.to_string().as_bytes())
            .map_err(|error| self.failed(error, started))?;
        if (200..300).contains(&status) {
            return Ok(Box::new(reader));
        }
        let mut answer = Vec::new();
        // What came before the connection broke is the best that there is to tell.
        drop(reader.take(STRANGE_LIMIT).read_to_end(&mut answer));
        Err(self.refused(status, &answer))
    }
}

/// The operating system's reason without its number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "nothing came back in time".to_owned(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "the connection was closed".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_is_not_there_is_told_in_the_agreed_words() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("hub.sock");
        let remote = Remote::new(&Place::Socket(socket.clone())).unwrap();
        let failure = remote.call("GET", "/api/v1/hub", None).unwrap_err();
        assert_eq!(
            failure.message,
            format!("the hub at {} does not answer: No such file or directory", socket.display())
        );
        assert_eq!(failure.details, ["tried for 0.0 s; nothing was sent"]);
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.help.unwrap().starts_with("is it running?"));
    }

    #[test]
    fn answers_that_are_not_ours_are_shown_as_they_are() {
        let remote = Remote::new(&Place::Socket("/nowhere".into())).unwrap();
        let failure = remote.refused(502, b"<html>\nBad Gateway");
        assert_eq!(failure.message, "the hub at /nowhere answered 502: <html>");
        let told = ApiError { error: "no such plan".into(), details: vec![], help: Some("look".into()), exit: 5 };
        let failure = remote.refused(404, &serde_json::to_vec(&told).unwrap());
        assert_eq!((failure.message.as_str(), failure.exit), ("no such plan", Exit::Refused));
    }
}
