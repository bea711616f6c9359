//! An HTTP/1.1 client over ureq with a connector of ours: pinned TLS to one of several addresses under one fixed name, or
//! a unix socket. Connections are kept, Nagle is off, and an error says whether anything had been sent.

use super::{
    cancel::Cancel,
    clock::Clock,
    tls::{self, Trust},
};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use std::{
    cell::RefCell,
    fmt,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use ureq::{
    Agent, Body, Timeout,
    config::Config,
    http::{Request, Response, Uri},
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

/// How long one address may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer's body that is read at most, unless it is streamed: 8 MiB.
const BODY_LIMIT: u64 = 8 << 20;

/// Where a server is.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// Behind TLS at one of these addresses (`host:port`, tried in order), under this name.
    Tls {
        /// `host:port`, best first.
        addresses: Vec<String>,
        /// The name that its certificate must be for.
        name: String,
        /// Whom to believe.
        trust: Trust,
        /// By whose clock.
        clock: Clock,
    },
    /// Behind a unix socket.
    Unix(PathBuf),
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nothing was sent.
    #[error("connecting to {to}")]
    Connect {
        /// The address or socket.
        to: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It may have arrived, and been acted upon.
    #[error("{what}")]
    Lost {
        /// `no answer within 30 s`, `connection closed`, …
        what: String,
    },
    /// The client could not be set up.
    #[error("setting up the connection")]
    Setup(#[from] tls::TlsError),
}

impl HttpError {
    /// Whether the server can't have seen the request.
    pub fn not_sent(&self) -> bool {
        !matches!(self, Self::Lost { .. })
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The reason phrase as it was sent, which Proxmox puts its messages into; often empty.
    pub reason: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, at most 8 MiB.
    pub body: Vec<u8>,
}

impl Reply {
    /// Whether the status is 2xx.
    pub fn success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A client of one server. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Http {
    agent: Agent,
    base: String,
}

impl Http {
    /// A client; connects when first used.
    pub fn new(endpoint: &Endpoint) -> Result<Self, HttpError> {
        Self::until(endpoint, None)
    }

    /// A client whose TLS connections break off when `cut` fires, whoever waits on them: as those of a process that ends.
    pub fn until(endpoint: &Endpoint, cut: Option<&Cancel>) -> Result<Self, HttpError> {
        let (connector, base) = match endpoint {
            Endpoint::Unix(path) => (Connect::Unix(path.clone()), "http://localhost".to_owned()),
            Endpoint::Tls { addresses, name, trust, clock } => {
                let config = tls::client_config(trust, clock.clone())?;
                let server = ServerName::try_from(name.clone()).map_err(|_| HttpError::Connect {
                    to: name.clone(),
                    source: io::Error::new(io::ErrorKind::InvalidInput, "not a name that a certificate can have"),
                })?;
                let connector = Connect::Tls { addresses: addresses.clone(), server, config, cut: cut.cloned() };
                (connector, format!("https://{}", bracketed(name)))
            }
        };
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .max_idle_connections_per_host(4)
            .max_idle_age(Duration::from_secs(50))
            .user_agent(format!("remotectl/{}", crate::model::version::version()))
            .build();
        Ok(Self { agent: Agent::with_parts(config, connector, NoResolver), base })
    }

    /// Sends a request and reads the whole answer. `path` begins with `/` and is already encoded.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> Result<Reply, HttpError> {
        REASON.take();
        let response = self.call(method, path, headers, body, Some(timeout))?;
        let reason = REASON.take();
        let status = response.status().as_u16();
        let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = response.headers().iter().map(header).collect();
        let body =
            response.into_body().into_with_config().limit(BODY_LIMIT).read_to_vec().map_err(|error| lost(&error))?;
        Ok(Reply { status, reason, headers, body })
    }

    /// Sends a request and gives the status and the body as it comes; no time limit on the body.
    pub fn stream(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(u16, impl Read + Send + use<>), HttpError> {
        let response = self.call(method, path, headers, body, None)?;
        Ok((response.status().as_u16(), response.into_body().into_reader()))
    }

    /// Gets a body of any size as it comes, all of it within so long.
    pub fn fetch(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<(u16, impl Read + Send + use<>), HttpError> {
        let response = self.call("GET", path, headers, b"", Some(timeout))?;
        Ok((response.status().as_u16(), response.into_body().into_reader()))
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, HttpError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let invalid = |error: ureq::http::Error| HttpError::Connect {
            to: format!("{}{path}", self.base),
            source: io::Error::new(io::ErrorKind::InvalidInput, error),
        };
        let answer = if body.is_empty() && matches!(method, "GET" | "HEAD" | "DELETE") {
            let request = request.body(()).map_err(invalid)?;
            self.agent.run(self.agent.configure_request(request).timeout_global(timeout).build())
        } else {
            let request = request.body(body).map_err(invalid)?;
            self.agent.run(self.agent.configure_request(request).timeout_global(timeout).build())
        };
        answer.map_err(classify)
    }
}

/// A failure to connect, carried through ureq's own error.
#[derive(Debug, thiserror::Error)]
#[error("connecting to {to}")]
struct NotConnected {
    to: String,
    #[source]
    source: io::Error,
}

fn classify(error: ureq::Error) -> HttpError {
    match error {
        ureq::Error::Other(other) => match other.downcast::<NotConnected>() {
            Ok(failed) => HttpError::Connect { to: failed.to, source: failed.source },
            Err(other) => HttpError::Lost { what: other.to_string() },
        },
        error => lost(&error),
    }
}

fn lost(error: &ureq::Error) -> HttpError {
    let what = match error {
        ureq::Error::Timeout(Timeout::Global) => "no answer in time".to_owned(),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was closed".to_owned()
        }
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    HttpError::Lost { what }
}

fn bracketed(name: &str) -> String {
    if name.contains(':') { format!("[{name}]") } else { name.to_owned() }
}

/// Addresses are the connector's own business.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(([0, 0, 0, 0], 0).into());
        Ok(addresses)
    }
}

enum Connect {
    Unix(PathBuf),
    Tls { addresses: Vec<String>, server: ServerName<'static>, config: Arc<ClientConfig>, cut: Option<Cancel> },
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "Unix({})", path.display()),
            Self::Tls { addresses, server, .. } => write!(f, "Tls({addresses:?} as {server:?})"),
        }
    }
}

impl Connector for Connect {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Wire>, ureq::Error> {
        let opened = match self {
            Self::Unix(path) => UnixStream::connect(path)
                .map(Socket::Unix)
                .map_err(|source| NotConnected { to: path.display().to_string(), source }),
            Self::Tls { addresses, server, config, cut } => open_tls(
                addresses,
                server,
                config,
                limit(details.timeout).unwrap_or(CONNECT_TIMEOUT).min(CONNECT_TIMEOUT),
            )
            .inspect(|socket| socket.cut_by(cut.as_ref())),
        };
        let socket = opened.map_err(|error| ureq::Error::Other(Box::new(error)))?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Wire { socket, buffers, status_line_next: false }))
    }
}

/// The first address that answers wins; a certificate that does not fit ends the search, because it is a warning.
fn open_tls(
    addresses: &[String],
    server: &ServerName<'static>,
    config: &Arc<ClientConfig>,
    timeout: Duration,
) -> Result<Socket, NotConnected> {
    let nowhere = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address is known");
    let mut last = NotConnected { to: server.to_str().into_owned(), source: nowhere };
    for address in addresses {
        let failed = |source| NotConnected { to: address.clone(), source };
        match open_tcp(address, timeout) {
            Ok(tcp) => return handshake(tcp, server, config, timeout).map_err(failed),
            Err(source) => last = failed(source),
        }
    }
    Err(last)
}

fn open_tcp(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn handshake(
    mut tcp: TcpStream,
    server: &ServerName<'static>,
    config: &Arc<ClientConfig>,
    timeout: Duration,
) -> io::Result<Socket> {
    tcp.set_read_timeout(Some(timeout))?;
    tcp.set_write_timeout(Some(timeout))?;
    let mut tls = ClientConnection::new(Arc::clone(config), server.clone()).map_err(io::Error::other)?;
    let deadline = Instant::now() + timeout;
    while tls.is_handshaking() {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        tls.complete_io(&mut tcp).map_err(plain)?;
    }
    Ok(Socket::Tls(Box::new(StreamOwned::new(tls, Shared(Arc::new(tcp))))))
}

/// What our own verifier has to say comes wrapped as an unexpected error of rustls; its words alone are for people.
fn plain(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::General(why)) => io::Error::new(error.kind(), why.clone()),
        _ => error,
    }
}

enum Socket {
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, Shared>>),
}

/// A connection that another thread may break off.
struct Shared(Arc<TcpStream>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

impl Socket {
    fn cut_by(&self, cut: Option<&Cancel>) {
        let (Self::Tls(tls), Some(cut)) = (self, cut) else { return };
        let stream = Arc::downgrade(&tls.sock.0);
        // One that is closed already needs no more closing.
        cut.on_fire(move || drop(stream.upgrade().map(|stream| stream.shutdown(Shutdown::Both))));
    }

    fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.set_read_timeout(timeout).and_then(|()| socket.set_write_timeout(timeout)),
            Self::Tls(tls) => tls.sock.0.set_read_timeout(timeout).and_then(|()| tls.sock.0.set_write_timeout(timeout)),
        }
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.set_nonblocking(nonblocking),
            Self::Tls(tls) => tls.sock.0.set_nonblocking(nonblocking),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.write_all(bytes),
            Self::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Whether the peer has left an idle connection alone: anything that can be read is a close or a breach of protocol.
    fn quiet(&self) -> bool {
        let mut byte = [0];
        let peeked = match self {
            Self::Unix(socket) => rustix::net::recv(socket, &mut byte, rustix::net::RecvFlags::PEEK)
                .map_err(io::Error::from)
                .map(|(read, _)| read),
            Self::Tls(tls) => tls.sock.0.peek(&mut byte),
        };
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

thread_local! {
    /// The reason phrase of the answer that this thread is reading: ureq does its I/O in the calling thread, and drops it.
    static REASON: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Wire {
    socket: Socket,
    buffers: LazyBuffers,
    /// Whether the next input begins with a status line.
    status_line_next: bool,
}

impl Wire {
    fn note_reason(&mut self) {
        let input = self.buffers.input();
        if let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&input[..end]);
            let reason = line.trim_end().splitn(3, ' ').nth(2).unwrap_or_default().to_owned();
            REASON.set(reason);
            self.status_line_next = false;
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.status_line_next = true;
        self.socket.set_timeouts(limit(timeout))?;
        self.socket.write_all(&self.buffers.output()[..amount]).map_err(|error| timed(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.socket.set_timeouts(limit(timeout))?;
        let read = self.socket.read(self.buffers.input_append_buf()).map_err(|error| timed(error, timeout))?;
        self.buffers.input_appended(read);
        if self.status_line_next {
            self.note_reason();
        }
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        self.socket.set_nonblocking(true).is_ok() && {
            let quiet = self.socket.quiet();
            self.socket.set_nonblocking(false).is_ok() && quiet
        }
    }

    fn is_tls(&self) -> bool {
        matches!(self.socket, Socket::Tls(_))
    }
}

fn limit(timeout: NextTimeout) -> Option<Duration> {
    // A zero timeout would mean "for ever" to the socket.
    timeout.not_zero().map(|after| (*after).max(Duration::from_millis(1)))
}

fn timed(error: io::Error, timeout: NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => ureq::Error::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::BufRead as _, os::unix::net::UnixListener, thread};

    #[test]
    fn the_reason_phrase_is_kept_also_on_a_kept_connection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut lines = io::BufReader::new(socket.try_clone().unwrap()).lines();
            for answer in ["401 No ticket", "500 CT 101 not running", "200"] {
                while !lines.next().unwrap().unwrap().is_empty() {}
                write!(socket, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        });
        let http = Http::new(&Endpoint::Unix(path)).unwrap();
        let get = || http.send("GET", "/", &[], b"", Duration::from_secs(10)).unwrap();
        let replies = [get(), get(), get()].map(|reply| (reply.status, reply.reason));
        assert_eq!(replies, [(401, "No ticket".into()), (500, "CT 101 not running".into()), (200, String::new())]);
        server.join().unwrap();
    }
}
