//! A hub that says what a test tells it to, over real TLS: what no genuine hub would say, too. It believes tokens by a clock of
//! its own, as a genuine one does.

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use remotectl::{
    api::server::Server,
    link::{
        PROTOCOL,
        announcement::Announcement,
        envelope::{Command, Signed, Work},
        join::{Pointer, server_name},
        jwt::{self, Bound},
        keys::{PublicKey, SigningKey},
        wire::{Acknowledged, JoinReply, JoinRequest, PollReply, PollRequest, ResultRequest, path},
    },
    model::{Op, Outcome, digest::Digest},
    sys::{clock, tls},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::{Notify, watch};

const HUB: &str = "hscripted";
/// How long it holds a poll that has nothing to tell.
const HOLD: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Said {
    replies: VecDeque<PollReply>,
    polls: Vec<PollRequest>,
    results: Vec<ResultRequest>,
    joined: Option<PublicKey>,
    /// By how many seconds its clock differs from the machine's.
    shift: i64,
    refused: usize,
}

struct Shared {
    said: Mutex<Said>,
    news: Notify,
}

pub struct Scripted {
    pub key: SigningKey,
    pub recovery: SigningKey,
    pub pointer: Pointer,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    _runtime: tokio::runtime::Runtime,
}

impl Scripted {
    pub fn start() -> Self {
        let authority = tls::Authority::make(HUB).unwrap();
        let identity = authority.sign(HUB, &[server_name(HUB)]).unwrap();
        let config = tls::server_config(&identity, &["http/1.1"]).unwrap();
        let [key, recovery] = [(); 2].map(|()| SigningKey::make().0);
        let shared = Arc::new(Shared { said: Mutex::default(), news: Notify::new() });
        let router = Router::new()
            .route(path::JOIN, post(join))
            .route(path::POLL, post(poll))
            .route(path::RESULT, post(result))
            .route(path::OUTPUT, post(|| async { Json(Acknowledged::default()) }))
            .with_state(Arc::clone(&shared));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (stop, stopping) = watch::channel(false);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let pointer = Pointer {
            addresses: vec![listener.local_addr().unwrap().to_string()],
            hub: HUB.to_owned(),
            fingerprint: authority.fingerprint().unwrap(),
            key: key.public(),
            recovery: Some(recovery.public()),
            epoch: 1,
            token: Some("any".to_owned()),
        };
        runtime.spawn(Server::new(router).serve(vec![(listener, config)], None, stopping));
        Self { key, recovery, pointer, shared, stop, _runtime: runtime }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.shared.said.lock().unwrap()
    }

    /// A command for the agent that has joined, as a genuine hub would give it.
    pub fn command(&self, seq: u64) -> Command {
        let said = self.said();
        let now = clock::unix_seconds() + said.shift;
        Command {
            hub: HUB.to_owned(),
            epoch: 1,
            agent: said.joined.unwrap().agent_id(),
            generation: 1,
            seq,
            id: format!("c{seq}"),
            plan: Digest::of(b"plan"),
            target: "host/box".parse().unwrap(),
            // It changes something: it is never started again.
            work: Work::Perform { op: Op::ServiceRestart { service: "nginx".into() } },
            issued: now,
            expires: now + 60,
            timeout: 60,
            access: None,
        }
    }

    /// Answers the next poll with these.
    pub fn say(&self, commands: Vec<Signed>, announcement: Option<Signed>) {
        let reply = PollReply { protocol: PROTOCOL, time: self.now(), commands, cancel: Vec::new(), announcement };
        self.said().replies.push_back(reply);
        self.shared.news.notify_waiters();
    }

    pub fn announcement(&self, epoch: u64, key: &SigningKey) -> Announcement {
        let fingerprint = self.pointer.fingerprint.clone();
        Announcement { hub: HUB.to_owned(), epoch, key: key.public(), fingerprint }
    }

    fn now(&self) -> i64 {
        clock::unix_seconds() + self.said().shift
    }

    /// Puts its clock so many seconds away from the machine's.
    pub fn shift(&self, seconds: i64) {
        self.said().shift = seconds;
    }

    /// How many requests it has not believed for their time.
    pub fn refused(&self) -> usize {
        self.said().refused
    }

    /// How many polls there were.
    pub fn polls(&self) -> usize {
        self.said().polls.len()
    }

    /// The last poll.
    pub fn last_poll(&self) -> Option<PollRequest> {
        self.said().polls.last().cloned()
    }

    /// How that command ended, as often as it was told.
    pub fn results(&self, command: &str) -> Vec<Outcome> {
        let said = self.said();
        said.results.iter().filter(|result| result.command == command).map(|result| result.outcome.clone()).collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Believes a request's token by this hub's clock, or refuses as a genuine hub does.
fn believe(shared: &Shared, headers: &HeaderMap, key: PublicKey, path: &str, body: &[u8]) -> Result<i64, Response> {
    let mut said = shared.said.lock().unwrap();
    let now = clock::unix_seconds() + said.shift;
    let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    match jwt::verify(token, &key, HUB, now, 0, Bound { method: "POST", path, body }) {
        Ok(_) => Ok(now),
        Err(error) => {
            said.refused += 1;
            let told = Acknowledged { time: now, error: error.to_string() };
            Err((StatusCode::UNAUTHORIZED, Json(told)).into_response())
        }
    }
}

async fn join(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let request: JoinRequest = serde_json::from_slice(&body).unwrap();
    match believe(&shared, &headers, request.public_key, path::JOIN, &body) {
        Ok(time) => {
            shared.said.lock().unwrap().joined = Some(request.public_key);
            let agent = request.public_key.agent_id();
            Json(JoinReply { protocol: PROTOCOL, agent, generation: 1, time }).into_response()
        }
        Err(refused) => refused,
    }
}

async fn poll(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let key = shared.said.lock().unwrap().joined.unwrap();
    let time = match believe(&shared, &headers, key, path::POLL, &body) {
        Ok(time) => time,
        Err(refused) => return refused,
    };
    let next = {
        let mut said = shared.said.lock().unwrap();
        said.polls.push(serde_json::from_slice(&body).unwrap());
        said.replies.pop_front()
    };
    if let Some(reply) = next {
        return Json(reply).into_response();
    }
    tokio::time::timeout(HOLD, shared.news.notified()).await.ok();
    let nothing = PollReply { protocol: PROTOCOL, time, commands: Vec::new(), cancel: Vec::new(), announcement: None };
    Json(shared.said.lock().unwrap().replies.pop_front().unwrap_or(nothing)).into_response()
}

async fn result(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let key = shared.said.lock().unwrap().joined.unwrap();
    match believe(&shared, &headers, key, path::RESULT, &body) {
        Ok(time) => {
            shared.said.lock().unwrap().results.push(serde_json::from_slice(&body).unwrap());
            Json(Acknowledged { time, error: String::new() }).into_response()
        }
        Err(refused) => refused,
    }
}
