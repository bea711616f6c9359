//! What ten thousand polls do to an agent's memory. The agent is the real executable over real TLS; the hub is this file's:
//! it answers each poll at once, where a real one waits up to 25 s for something to say.

use crate::{fleet::spawn, memory::Memory, report::Report, wait_until};
use remotectl::{
    link::{
        PROTOCOL,
        join::{Pointer, server_name},
        keys::SigningKey,
        wire::{Acknowledged, PollReply, path},
    },
    sys::tls::{self, Authority},
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

/// After how many polls memory is looked at.
const MARKS: [usize; 4] = [10, 1_000, 5_000, 10_000];

pub fn measure(exe: &Path, place: &Path, report: &mut Report) {
    let hub = Hub::start();
    let root = place.join("polling");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/agent.toml"), format!("hub = \"{}\"\n", hub.pointer)).unwrap();
    let mut agent = spawn(exe, place, "polling", &["agent", "run"]);
    for mark in MARKS {
        hub.gate.open_until(mark);
        wait_until("the polls are done", || hub.gate.waiting() > mark);
        report.memory(&format!("agent, after {mark} polls"), Memory::of(agent.id()));
    }
    agent.kill().ok();
    agent.wait().ok();
}

struct Hub {
    pointer: Pointer,
    gate: Arc<Gate>,
}

/// How many polls are answered; further ones wait.
#[derive(Default)]
struct Gate {
    open: Mutex<usize>,
    opened: Condvar,
    came: AtomicUsize,
}

impl Gate {
    fn open_until(&self, count: usize) {
        *self.open.lock().unwrap() = count;
        self.opened.notify_all();
    }

    fn waiting(&self) -> usize {
        self.came.load(SeqCst)
    }

    fn pass(&self) {
        let number = self.came.fetch_add(1, SeqCst) + 1;
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| number > *open).unwrap());
    }
}

impl Hub {
    fn start() -> Self {
        let authority = Authority::make("bench").unwrap();
        let identity = authority.sign("bench", &[server_name("bench")]).unwrap();
        let config = tls::server_config(&identity, &["http/1.1"]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pointer = Pointer {
            addresses: vec![listener.local_addr().unwrap().to_string()],
            hub: "bench".to_owned(),
            fingerprint: authority.fingerprint().unwrap(),
            key: SigningKey::make().0.public(),
            recovery: None,
            epoch: 1,
            token: None,
        };
        let gate = Arc::new(Gate::default());
        let serving = Arc::clone(&gate);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (config, gate) = (Arc::clone(&config), Arc::clone(&serving));
                thread::spawn(move || serve(socket, config, &gate));
            }
        });
        Self { pointer, gate }
    }
}

/// Answers the requests of one connection until it is closed.
fn serve(socket: TcpStream, config: Arc<ServerConfig>, gate: &Gate) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config).ok()?, socket));
    loop {
        let polls = read_request(&mut stream)?;
        if polls {
            gate.pass();
        }
        let time = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
        let body = if polls {
            serde_json::to_string(&PollReply {
                protocol: PROTOCOL,
                time,
                commands: Vec::new(),
                cancel: Vec::new(),
                announcement: None,
            })
        } else {
            serde_json::to_string(&Acknowledged { time, error: String::new() })
        };
        let body = body.ok()?;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

/// Reads a request to its end; whether it is a poll.
fn read_request(stream: &mut BufReader<StreamOwned<ServerConnection, TcpStream>>) -> Option<bool> {
    let (mut polls, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if polls.is_none() {
            polls = Some(line.contains(path::POLL));
        } else if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        } else if line.is_empty() {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).ok()?;
            return polls;
        }
    }
}
