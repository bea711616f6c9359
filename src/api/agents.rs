//! The agents' endpoint. Whoever gets here is a known agent (the guard has seen to that), joining aside.

use super::{
    Context,
    guard::{bearer, believe, disbelieved, read_body},
};
use crate::{
    engine::{Engine, hearing::Refused, roster::Agent},
    link::{
        PROTOCOL,
        jwt::{Bound, JwtError},
        wire::{Acknowledged, JoinRequest, OutputRequest, PollRequest, ResultRequest, path},
    },
    model::digest::Digest,
    store::StoreError,
    sys::clock,
};
use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{StatusCode, header::CONTENT_LENGTH},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use std::{fs::File, io::Read as _, sync::Arc};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// An executable is sent in pieces of 256 KiB.
const PIECE: usize = 256 << 10;

/// Becoming known. The JWT is by the offered key, or for an attestation by the attesting pve-agent's.
pub async fn join(State(context): State<Context>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match read_body(body, crate::link::JOIN_LIMIT).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let wanted: JoinRequest = match read(&body) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal,
    };
    let bound = Bound { method: "POST", path: path::JOIN, body: &body };
    let Some(token) = bearer(&parts.headers) else { return disbelieved(&JwtError::Malformed.into()) };
    let (roster, now) = (&context.engine.roster, clock::unix_seconds());
    let believed = match wanted.attestation {
        Some(_) => roster.authenticate(token, now, bound).map(Some),
        None => roster.verify(token, &wanted.public_key, now, bound).map(|_| None),
    };
    let attested_by = match believed {
        Ok(attested_by) => attested_by,
        Err(error) => return disbelieved(&error),
    };
    match context.engine.join(wanted, attested_by).await {
        Ok(reply) => {
            believe(&parts.extensions);
            Json(reply).into_response()
        }
        Err(error) => refused(&error),
    }
}

/// Asking for commands.
pub async fn poll(State(context): State<Context>, Extension(agent): Extension<Agent>, body: Bytes) -> Response {
    match read::<PollRequest>(&body) {
        Ok(request) => {
            // It is a piece of the connection's buffer, which would be kept with it.
            drop(body);
            Json(context.engine.poll(&agent.record.id, request).await).into_response()
        }
        Err(refusal) => refusal,
    }
}

/// Telling how a command ended.
pub async fn result(State(context): State<Context>, Extension(agent): Extension<Agent>, body: Bytes) -> Response {
    let request: ResultRequest = match read(&body) {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    match context.engine.take_result(&agent.record.id, request).await {
        Ok(true) => acknowledge(),
        Ok(false) => refuse(StatusCode::NOT_FOUND, "this agent has no such command"),
        Err(error) => refused(&error.into()),
    }
}

/// Output, progress and telemetry.
pub async fn output(State(context): State<Context>, Extension(agent): Extension<Agent>, body: Bytes) -> Response {
    let request: OutputRequest = match read(&body) {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    match context.engine.hear(&agent, request.told).await {
        Ok(()) => acknowledge(),
        Err(error) => refused(&error),
    }
}

/// An executable by its SHA-256.
pub async fn artifact(
    State(context): State<Context>,
    Extension(agent): Extension<Agent>,
    Path(sha256): Path<String>,
) -> Response {
    // Only what has a digest's form becomes a file name.
    let Some(digest) = Digest::parse(&sha256) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such artifact");
    };
    let path = context.engine.artifacts.path(&digest);
    let opened = tokio::task::spawn_blocking(move || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        std::io::Result::Ok((file, size))
    });
    match opened.await {
        Ok(Ok((file, size))) => {
            ([(CONTENT_LENGTH, size)], Body::from_stream(pieces(file, context.engine, agent.record.id))).into_response()
        }
        _ => refuse(StatusCode::NOT_FOUND, "there is no such artifact"),
    }
}

/// A file in pieces, each read when the one before is on its way: many agents fetch at once, each as fast as it can. An
/// agent that is locked meanwhile gets no further.
fn pieces(file: File, engine: Arc<Engine>, agent: String) -> ReceiverStream<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut file = file;
        let held = engine.until_held(&agent);
        tokio::pin!(held);
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = Vec::with_capacity(PIECE);
                let read = file.by_ref().take(PIECE as u64).read_to_end(&mut piece);
                (file, read.map(|_| Bytes::from(piece)))
            });
            let Ok((back, piece)) = read.await else { return };
            file = back;
            let over = piece.as_ref().is_ok_and(Bytes::is_empty);
            let failed = piece.is_err();
            // Where nobody receives any more, the agent has gone away.
            let sent = tokio::select! {
                sent = sender.send(piece) => sent,
                () = &mut held => return,
            };
            if over || sent.is_err() || failed {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Reads a request whose protocol is this one's.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Response> {
    #[derive(serde::Deserialize)]
    struct Opening {
        protocol: u32,
    }
    let malformed =
        |error: serde_json::Error| refuse(StatusCode::BAD_REQUEST, &format!("the request does not read: {error}"));
    let Opening { protocol } = serde_json::from_slice(body).map_err(malformed)?;
    if protocol != PROTOCOL {
        let why = format!("this hub speaks protocol {PROTOCOL}, not {protocol}");
        return Err(refuse(StatusCode::UPGRADE_REQUIRED, &why));
    }
    serde_json::from_slice(body).map_err(malformed)
}

fn acknowledge() -> Response {
    Json(Acknowledged { time: clock::unix_seconds(), error: String::new() }).into_response()
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(Acknowledged { time: 0, error: why.to_owned() })).into_response()
}

fn refused(error: &Refused) -> Response {
    match error {
        Refused::Forbidden(why) | Refused::Store(StoreError::Conflict(why)) => refuse(StatusCode::FORBIDDEN, why),
        Refused::Store(error) => {
            let why = crate::model::outcome::chain(error);
            tracing::error!(error = why, "a request of an agent failed");
            refuse(StatusCode::SERVICE_UNAVAILABLE, &why)
        }
    }
}
