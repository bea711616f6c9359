//! The accept loop: TLS with a time limit, HTTP with limits on headers and time, a cap on connections of strangers from
//! one address, and an orderly end.

use super::guard::Peer;
use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use rustls::ServerConfig;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the headers of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most headers that a request may have.
const HEADERS: usize = 64;
/// Connections from one address on which nobody has been believed yet.
const STRANGERS: usize = 32;
/// Addresses are looked through for those without a connection when there are so many.
const ADDRESSES: usize = 1024;
/// Requests that one HTTP/2 connection may have open at once.
const STREAMS: u32 = 32;
/// How long connections may take to end when the hub stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves until `stopping` becomes true; then ends what is open in good order.
pub struct Server {
    router: Router,
    connections: GracefulShutdown,
    strangers: Strangers,
}

/// How many connections of each address nobody has been believed on.
#[derive(Clone, Default)]
struct Strangers(Arc<Mutex<HashMap<IpAddr, Vec<Arc<AtomicBool>>>>>);

impl Strangers {
    /// A place for one more connection, or `None` when the address has enough.
    fn admit(&self, address: IpAddr) -> Option<Arc<AtomicBool>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= ADDRESSES {
            open.retain(|_, mine| mine.iter().any(|believed| Arc::strong_count(believed) > 1));
        }
        let mine = open.entry(address).or_default();
        // A connection that has ended, or on which somebody was believed, counts no more.
        mine.retain(|believed| Arc::strong_count(believed) > 1 && !believed.load(std::sync::atomic::Ordering::Relaxed));
        if mine.len() >= STRANGERS {
            return None;
        }
        let believed = Arc::new(AtomicBool::new(false));
        mine.push(Arc::clone(&believed));
        Some(believed)
    }
}

impl Server {
    /// A server of these routes.
    pub fn new(router: Router) -> Self {
        Self { router, connections: GracefulShutdown::new(), strangers: Strangers::default() }
    }

    /// Serves on all listeners, until told to stop.
    pub async fn serve(
        self,
        tcp: Vec<(TcpListener, Arc<ServerConfig>)>,
        unix: Option<UnixListener>,
        stop: watch::Receiver<bool>,
    ) {
        let server = Arc::new(self);
        let mut tasks = tokio::task::JoinSet::new();
        for (listener, config) in tcp {
            tasks.spawn(Arc::clone(&server).accept_tcp(listener, TlsAcceptor::from(config), stop.clone()));
        }
        if let Some(listener) = unix {
            tasks.spawn(Arc::clone(&server).accept_unix(listener, stop.clone()));
        }
        while tasks.join_next().await.is_some() {}
        if let Some(server) = Arc::into_inner(server) {
            // What does not end in time is cut off: everything acknowledged is on record.
            timeout(DRAIN, server.connections.shutdown()).await.ok();
        }
    }

    async fn accept_tcp(self: Arc<Self>, listener: TcpListener, tls: TlsAcceptor, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: a pause lets some come free.
                    tracing::warn!(%error, "accepting a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(believed) = self.strangers.admit(from.ip()) else {
                tracing::warn!(%from, "too many unauthenticated connections");
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "setting TCP_NODELAY");
            }
            let (tls, router, watcher) = (tls.clone(), self.router.clone(), self.connections.watcher());
            tokio::spawn(async move {
                match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        converse(stream, router, Peer { local: false, from: Some(from.ip()), believed }, watcher).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%from, %error, "TLS handshake"),
                    Err(_) => tracing::debug!(%from, "the TLS handshake took too long"),
                }
            });
        }
    }

    async fn accept_unix(self: Arc<Self>, listener: UnixListener, mut stop: watch::Receiver<bool>) {
        let own = rustix::process::geteuid().as_raw();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let (stream, _) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accepting a local connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let local = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own);
            let peer = Peer { local, from: None, believed: Arc::new(AtomicBool::new(false)) };
            tokio::spawn(converse(stream, self.router.clone(), peer, self.connections.watcher()));
        }
    }
}

async fn converse<S>(stream: S, router: Router, peer: Peer, watcher: hyper_util::server::graceful::Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = Builder::new(TokioExecutor::new());
    // Half closed: while a poll is held nothing is read, so that no buffer waits for it. That its agent has gone away shows
    // when it is answered, and a newer poll is told in its place.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_headers(HEADERS).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Some(Duration::from_secs(30)));
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended");
    }
}
