//! The simulated API on sockets: TLS with a node's certificate as pveproxy has it on port 8006, or plain and trusted as
//! pvedaemon has it on the node's own port 85. What the HTTP server refuses by itself is refused here.

use super::{
    Broken, Cluster,
    answer::{Fault, Format, response},
    router::Request,
};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{self, HeaderMap, header},
    response::Response,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

/// The real server's limit of a request's body.
const BODY_LIMIT: usize = 512 * 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How a listener is spoken to.
#[derive(Clone)]
pub enum Access {
    /// TLS; everybody needs a ticket or a token.
    Tls(Arc<rustls::ServerConfig>),
    /// Plain HTTP; whoever can connect is the node's root.
    Root,
}

/// A server that runs until it is dropped or stopped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    cluster: Arc<Cluster>,
    node: Arc<str>,
    trusted: bool,
}

impl Server {
    /// Serves a node's API on a listener, on the current tokio runtime.
    pub fn start(
        listener: std::net::TcpListener,
        access: Access,
        cluster: Arc<Cluster>,
        node: &str,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let trusted = matches!(access, Access::Root);
        let router = Router::new().fallback(answer).with_state(Shared { cluster, node: Arc::from(node), trusted });
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, access, router, stopped));
        Ok(Self { address, stop, accepting })
    }

    /// Closes the listener and every connection.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.accepting.await;
    }
}

async fn accept(listener: TcpListener, access: Access, router: Router, mut stopped: watch::Receiver<bool>) {
    loop {
        let stream = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
        };
        let (access, router, mut stopped) = (access.clone(), router.clone(), stopped.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = stopped.changed() => {}
                () = greet(stream, access, router) => {}
            }
        });
    }
}

async fn greet(stream: TcpStream, access: Access, router: Router) {
    let _ = stream.set_nodelay(true);
    match access {
        Access::Root => converse(stream, router).await,
        Access::Tls(config) => {
            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                converse(stream, router).await;
            }
        }
    }
}

/// HTTP/1.1 only, like pveproxy: reason phrases don't exist in HTTP/2.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let _ = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}

async fn answer(State(shared): State<Shared>, request: http::Request<Body>) -> Response {
    let request = match read(request, shared.trusted).await {
        Ok(request) => request,
        Err(fault) => return response(Err(fault), Format::Json),
    };
    let Shared { cluster, node, .. } = shared;
    let delay = cluster.authentication_delay;
    let (latency, details) = (cluster.faults().latency, Arc::clone(&cluster.details));
    let target = request.target.clone();
    sleep(latency).await;
    let broken = details.breaks(&target);
    let gone = |broken: &Broken| Fault::Bare(broken.status, "Connection timed out".to_owned());
    if let Some(broken) = broken.as_ref().filter(|broken| !broken.acted) {
        return response(Err(gone(broken)), Format::Json);
    }
    let handled = spawn_blocking(move || {
        cluster.surprise(&request.target);
        cluster.handle(&node, &request)
    })
    .await;
    if let Some(broken) = &broken {
        return response(Err(gone(broken)), Format::Json);
    }
    if details.loses(&target) {
        let broken = io::Error::new(io::ErrorKind::ConnectionReset, "on demand");
        return Response::new(Body::from_stream(tokio_stream::once(Err::<Vec<u8>, _>(broken))));
    }
    let (outcome, format) = handled.unwrap_or_else(|_| (Err(Fault::failed("internal error")), Format::Json));
    if matches!(outcome, Err(Fault::Bare(401, _) | Fault::Message(401, _))) {
        sleep(delay).await;
    }
    response(outcome, format)
}

async fn read(request: http::Request<Body>, trusted: bool) -> Result<Request, Fault> {
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Fault::Text(501, "chunked transfer encoding not supported".to_owned()));
    }
    let method = parts.method.as_str();
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).unwrap_or("0");
    if matches!(method, "GET" | "DELETE") && length != "0" {
        return Err(Fault::Text(501, format!("Unexpected content for method '{method}'")));
    }
    let too_large = || Fault::Text(501, "for data too large".to_owned());
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| too_large())?;
    let text = |name: &str| header_text(&parts.headers, name);
    Ok(Request {
        method: parts.method.as_str().to_owned(),
        target: parts.uri.path_and_query().map_or_else(String::new, |target| target.as_str().to_owned()),
        content_type: text("content-type"),
        authorization: text("authorization"),
        cookie: text("cookie"),
        csrf: text("csrfpreventiontoken"),
        body: body.to_vec(),
        trusted,
    })
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
