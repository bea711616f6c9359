//! Who may do what. A request passes only when its connection or its token proves the class that its route declares.

use super::Context;
use crate::{
    engine::{roster::AuthError, seal::Row},
    link::{
        self,
        jwt::{Bound, JwtError},
        wire::Acknowledged,
    },
    model::{Exit, Failure, digest::Digest, messages::ApiError},
    store::OperatorRecord,
    sys::clock,
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri, header::AUTHORIZATION},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long the body of an agent's request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Whoever offers a key; the handler looks at its token or attestation.
    Joining,
    /// A known agent.
    Agent,
    /// An operator who may look.
    Viewer,
    /// An operator who may change things.
    Operator,
    /// An operator who may let others in.
    Admin,
}

/// Where a request comes from, as its connection tells.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Over the unix socket, as root or as the hub's own user.
    pub local: bool,
    /// The address, of one that comes over the network.
    pub from: Option<IpAddr>,
    /// Becomes true with the first request that is believed.
    pub believed: Arc<AtomicBool>,
}

/// The operator who is asking.
#[derive(Debug, Clone)]
pub struct Who(pub String);

/// A failure as an answer.
pub struct Failed(pub Failure);

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match self.0.exit {
            Exit::Usage => StatusCode::BAD_REQUEST,
            Exit::Denied => StatusCode::CONFLICT,
            Exit::Clarify | Exit::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(ApiError::from(self.0))).into_response()
    }
}

/// The answer to a path that there is not.
pub async fn nowhere(method: Method, uri: Uri) -> Response {
    let failure = Failure::usage(format!("there is no {method} {}", uri.path()));
    (StatusCode::NOT_FOUND, Json(ApiError::from(failure))).into_response()
}

/// Lets a request through to its handler, or answers why not.
pub async fn check(
    State((context, class, limit)): State<(Context, Class, usize)>,
    request: Request,
    next: Next,
) -> Response {
    let passed = match class {
        Class::Joining => Ok(request),
        Class::Agent => check_agent(&context, request, limit).await,
        _ => check_operator(&context, request, class).await,
    };
    match passed {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal,
    }
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// An agent's request that is not believed. It tells the hub's clock, because a wrong one is the commonest reason.
pub fn disbelieved(error: &AuthError) -> Response {
    tracing::debug!(%error, "a request was not believed");
    let time = clock::unix_seconds();
    if let AuthError::Held(_) = error {
        return (StatusCode::FORBIDDEN, Json(Acknowledged { time: 0, error: error.to_string() })).into_response();
    }
    let told = match error {
        AuthError::Token(JwtError::Time) => Acknowledged { time, error: error.to_string() },
        _ => Acknowledged { time: 0, error: error.to_string() },
    };
    (StatusCode::UNAUTHORIZED, Json(told)).into_response()
}

/// Reads a body that may have so many bytes, within 20 s.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, Response> {
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err((StatusCode::PAYLOAD_TOO_LARGE, Json(Acknowledged::default())).into_response()),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, Json(Acknowledged::default())).into_response()),
    }
}

/// Takes in a short body that nobody will look at: a connection that is closed on unread bytes is reset, and the refusal
/// (which tells the hub's clock) would be lost with it.
async fn drain(body: Body) {
    tokio::time::timeout(Duration::from_secs(1), axum::body::to_bytes(body, link::POLL_LIMIT)).await.map(drop).ok();
}

async fn check_agent(context: &Context, request: Request, limit: usize) -> Result<Request, Response> {
    let (mut parts, body) = request.into_parts();
    let token = bearer(&parts.headers).ok_or(JwtError::Malformed.into());
    let token = token.and_then(|token| context.engine.roster.worth_reading(token).map(|()| token));
    let token = match token {
        Ok(token) => token,
        Err(error) => {
            drain(body).await;
            return Err(disbelieved(&error));
        }
    };
    let body = read_body(body, limit).await?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let bound = Bound { method: parts.method.as_str(), path, body: &body };
    let agent = match context.engine.roster.authenticate(token, clock::unix_seconds(), bound) {
        Ok(agent) => agent,
        Err(error) => {
            if let AuthError::Generation { agent, claimed } = &error {
                context.engine.hear_former(agent, *claimed).await;
            }
            return Err(disbelieved(&error));
        }
    };
    believe(&parts.extensions);
    parts.extensions.insert(agent);
    Ok(Request::from_parts(parts, Body::from(body)))
}

async fn check_operator(context: &Context, request: Request, class: Class) -> Result<Request, Response> {
    let from = match request.extensions().get::<Peer>() {
        Some(Peer { local: true, .. }) => return allow(request, "root".to_owned(), Class::Admin, class),
        Some(Peer { from, .. }) => *from,
        None => None,
    };
    let unknown = |why: &str| {
        let failure = Failure::new(why).help("remotectl login").exit(Exit::Denied);
        (StatusCode::UNAUTHORIZED, Json(ApiError::from(failure))).into_response()
    };
    let Some(hash) = bearer(request.headers()).map(|token| Digest::of(token.as_bytes())) else {
        return Err(unknown("the hub wants an operator's token"));
    };
    let now = clock::unix_seconds();
    let Some((record, role)) = operator_of(context, &hash) else {
        let wait = from.map_or(Duration::ZERO, |from| context.tokens.wrong(from, now));
        tracing::warn!(?from, ?wait, "a wrong operator's token");
        tokio::time::sleep(wait).await;
        return Err(unknown("the hub does not know this operator's token"));
    };
    if record.expires.is_some_and(|expires| expires < now) {
        return Err(unknown("this operator's token has expired"));
    }
    if context.tokens.used(&record.name, now) {
        let (engine, name) = (Arc::clone(&context.engine), record.name.clone());
        // Nobody waits for that.
        tokio::spawn(async move { engine.store.used(name, now).await });
    }
    allow(request, record.name, role, class)
}

/// Lets an operator of this role through to a route of this class.
fn allow(mut request: Request, name: String, role: Class, class: Class) -> Result<Request, Response> {
    if role < class {
        let failure = Failure::new(format!("{name} may not do that: it takes the role {class:?}").to_lowercase());
        return Err((StatusCode::FORBIDDEN, Json(ApiError::from(failure.exit(Exit::Denied)))).into_response());
    }
    believe(request.extensions());
    request.extensions_mut().insert(Who(name));
    Ok(request)
}

fn operator_of(context: &Context, hash: &Digest) -> Option<(OperatorRecord, Class)> {
    let record = context.engine.store.operator_by_token(hash).ok()??;
    let row = Row::Operator { name: &record.name, role: &record.role, token: hash, expires: record.expires };
    if !context.engine.identity.sealed(&row, &record.seal) {
        tracing::error!(operator = record.name, "this operator is on record, but was not added by this hub");
        return None;
    }
    let role = match record.role.as_str() {
        "admin" => Class::Admin,
        "operator" => Class::Operator,
        _ => Class::Viewer,
    };
    Some((record, role))
}

/// Notes that somebody known is at the other end of this connection.
pub fn believe(extensions: &axum::http::Extensions) {
    if let Some(peer) = extensions.get::<Peer>() {
        peer.believed.store(true, Ordering::Relaxed);
    }
}
