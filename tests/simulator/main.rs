//! Replays what was recorded from a genuine Proxmox VE API against the simulated one, over TLS: same requests, same
//! status, reason phrase and body. Values that move by themselves are masked; what else differs is listed with a reason.

#![allow(clippy::disallowed_methods, reason = "tests write files by themselves, past the product")]

mod client;
mod operations;
mod world;

use remotectl::{
    model::values::GuestKind,
    sim::{Cluster, Memory, certificates::Root, server},
    sys::{
        clock::Clock,
        tls::{Trust, client_config},
    },
};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};
use world::{PASSWORD, access, guest, inventory};

const RECORDED: &str = include_str!("../fixtures/pve/http.jsonl");

/// What can't be equal, and why. Their status and reason phrase are compared all the same.
const DIFFERENCES: &[(&str, &str)] = &[
    ("cluster.resources", "the simulator has no network zones"),
    ("storage", "the storages' paths are made up"),
    ("node.status", "another machine"),
    ("node.localhost", "another machine"),
    ("lxc.index", "the simulator has less below a guest"),
    ("lxc.config", "the simulator knows no description, and makes up the disk's and network's details"),
    ("qemu.config", "the simulator makes up the disk's and network's details"),
    ("qemu.status.running", "the simulator has no block device statistics"),
    ("qemu.status.paused", "the simulator has no block device statistics"),
    ("agent.get-osinfo", "another system"),
    ("perm.auditor.agent-osinfo", "another system"),
    ("agent.get-host-name", "the simulator's machines are called what the guest is called"),
    ("agent.network-get-interfaces", "another network"),
    ("lxc.interfaces", "another network"),
    ("lxc.pending", "the keys have no order, and the simulator makes up the disk's and network's details"),
    ("qemu.pending", "the keys have no order, and the simulator makes up the disk's and network's details"),
    ("lxc.config.after-put", "the simulator makes up the disk's and network's details"),
    ("qemu.config.after-put", "the simulator makes up the disk's and network's details"),
    ("lxc.config.after-tags-comma", "the simulator makes up the disk's and network's details"),
    ("lxc.config.after-tags-upper", "the simulator makes up the disk's and network's details"),
    ("lxc.config.with-snapshots", "the simulator makes up the disk's and network's details"),
    ("lxc.clone.task.log", "another storage prints other lines"),
    ("lxc.resize.task.log", "another storage prints other lines"),
    ("qemu.resize.running.task.log", "another storage prints other lines"),
    ("lxc.delete.stopped-purge.task.log", "another storage prints other lines"),
    ("access.permissions.root", "there are users' entries at other paths"),
];

/// Recorded answers whose words differ too, and why. Their status is compared.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("http.bad-json", "Perl's JSON reader names its own source lines"),
    ("http.json-array", "Perl names its own source lines"),
];

/// Values that depend on time and machine.
const MASKED: &[&str] = &[
    "cpu",
    "mem",
    "disk",
    "netin",
    "netout",
    "diskread",
    "diskwrite",
    "uptime",
    "pid",
    "pstart",
    "starttime",
    "snaptime",
    "endtime",
    "upid",
    "digest",
    "ssl_fingerprint",
    "CSRFPreventionToken",
    "ticket",
    "value",
    "maxdisk",
    "ip",
    "maxcpu",
    "maxmem",
    "avail",
    "used",
    "used_fraction",
    "total",
];

struct Exchange {
    name: String,
    request: Value,
    response: Value,
}

fn exchanges() -> Vec<Exchange> {
    let read = |line: &str| {
        let mut value: Value = serde_json::from_str(line).expect("the fixture is JSON");
        let name = value["name"].as_str().unwrap_or_default().to_owned();
        Exchange { name, request: value["request"].take(), response: value["response"].take() }
    };
    RECORDED.lines().map(read).collect()
}

#[test]
fn the_fixture_is_what_was_recorded() {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pve/golden/http.jsonl");
    let Ok(whole) = fs::read_to_string(whole) else { return };
    for line in RECORDED.lines() {
        assert!(whole.lines().any(|recorded| recorded == line), "not recorded: {line}");
    }
}

#[test]
fn the_simulated_api_answers_as_recorded() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut replay = Replay::start(&runtime);
    let mut failures = Vec::new();
    for exchange in exchanges() {
        replay.prepare(&exchange.name);
        let answer = replay.play(&exchange);
        if let Some(failure) = replay.compare(&exchange, &answer) {
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "{} not as recorded:\n{}", failures.len(), failures.join("\n"));
}

struct Answer {
    status: u64,
    reason: String,
    body: Value,
}

struct Replay {
    memory: Arc<Memory>,
    cluster: Arc<Cluster>,
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    _server: server::Server,
    tickets: BTreeMap<String, (String, String)>,
    upids: BTreeMap<String, String>,
}

impl Replay {
    fn start(runtime: &tokio::runtime::Runtime) -> Self {
        let memory = Arc::new(Memory::new(inventory()));
        let backend: Arc<Memory> = Arc::clone(&memory);
        let cluster = Arc::new(Cluster::new(backend, access()).with_authentication_delay(Duration::ZERO));
        let root = Root::new("test").expect("a root");
        let certificate = root.certify("pve1", &[]).expect("a certificate");
        cluster.set_fingerprint("pve1", &certificate.fingerprint);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let _guard = runtime.enter();
        let tls = server::Access::Tls(certificate.config);
        let server = server::Server::start(listener, tls, Arc::clone(&cluster), "pve1").expect("a server");
        let trust = Trust::Authorities(root.pem().to_owned());
        let tls = client_config(&trust, Clock::new()).expect("a client");
        let address = server.address;
        Self { memory, cluster, address, tls, _server: server, tickets: BTreeMap::new(), upids: BTreeMap::new() }
    }

    /// What happened between two recorded requests without being one.
    fn prepare(&mut self, name: &str) {
        let set_lock = |vmid: u32, held: Option<&str>| {
            self.memory.change(|inventory| {
                let guest = inventory.guests.iter_mut().find(|guest| guest.vmid == vmid);
                guest.expect("it is there").lock = held.map(str::to_owned);
            });
        };
        match name {
            "lxc.shutdown.timeout" => self.memory.deafen(101),
            "lxc.start.locked" | "lxc.stop.running-locked" => set_lock(101, Some("backup")),
            "lxc.start.skiplock-not-root" => set_lock(101, None),
            "agent.ping.not-running" => self.memory.change(|inventory| {
                let guest = inventory.guests.iter_mut().find(|guest| guest.vmid == 106).expect("it is there");
                (guest.guest_agent, guest.status) = (Some(false), "running".to_owned());
            }),
            "lxc.start.template" => {
                let templates = [(GuestKind::Ct, 110, "web2", 2, 128, ""), (GuestKind::Vm, 115, "gold", 1, 128, "")];
                self.memory.change(|inventory| inventory.guests.extend(templates.map(guest)));
            }
            "qemu.start.locked" => set_lock(105, Some("migrate")),
            "qemu.clone" => set_lock(105, None),
            "lxc.snapshot.list.empty" => self.be(103, "running"),
            "lxc.clone" | "lxc.stop.ha-managed-stopped" => self.be(101, "stopped"),
            "lxc.clone.running" => self.be(102, "running"),
            // The recorded node lacks a program.
            "vzdump.suspend" => {
                self.cluster.faults().tasks.insert("vzdump".into(), "unable to find command 'cstream'".into());
            }
            "lxc.delete.running" => {
                self.cluster.faults().tasks.remove("vzdump");
                self.be(101, "running");
            }
            "lxc.status.ha-managed" => {
                set_lock(101, None);
                self.be(101, "stopped");
                self.cluster.manage(101, "stopped");
                self.memory.change(|inventory| {
                    let guest = inventory.guests.iter_mut().find(|guest| guest.vmid == 101).expect("it is there");
                    guest.tags = vec!["a".to_owned(), "b".to_owned()];
                });
            }
            "lxc.shutdown.ha-managed" => self.be(101, "running"),
            _ => {}
        }
    }

    /// Puts a guest into a state, past the API.
    fn be(&self, vmid: u32, status: &str) {
        self.memory.change(|inventory| {
            let guest = inventory.guests.iter_mut().find(|guest| guest.vmid == vmid).expect("it is there");
            status.clone_into(&mut guest.status);
        });
    }

    /// Who sent it, by its name.
    fn sender(name: &str) -> &'static str {
        match name.split('.').nth(1) {
            Some("low") if name.starts_with("perm.") => "low@pve",
            Some("auditor") => "audit@pve",
            Some("operator") => "op@pve",
            _ if name == "lxc.start.skiplock-not-root" => "op@pve",
            _ => "root@pam",
        }
    }

    fn ticket(&mut self, user: &str) -> (String, String) {
        if let Some(known) = self.tickets.get(user) {
            return known.clone();
        }
        let form = format!("username={user}&password={PASSWORD}");
        let head = "POST /api2/json/access/ticket HTTP/1.1\r\nHost: pve1\r\nConnection: close\r\n";
        let answer = self.exchange(&format!("{head}Content-Length: {}\r\n\r\n{form}", form.len()));
        let text = |name: &str| answer.body["data"][name].as_str().unwrap_or_default().to_owned();
        let pair = (text("ticket"), text("CSRFPreventionToken"));
        self.tickets.insert(user.to_owned(), pair.clone());
        pair
    }

    fn play(&mut self, exchange: &Exchange) -> Answer {
        let (ticket, csrf) = self.ticket(Self::sender(&exchange.name));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let path = self.known_upid(&text(&exchange.request["path"]));
        let mut head =
            format!("{} {path} HTTP/1.1\r\nHost: pve1\r\nConnection: close\r\n", text(&exchange.request["method"]));
        for (header, value) in exchange.request["headers"].as_object().into_iter().flatten() {
            let token = text(value).split('!').nth(1).and_then(|rest| rest.split('=').next()).map(|id| self.secret(id));
            let ticket =
                if exchange.name == "ticket.bad-signature" { ticket.replace("::", "::AAAA") } else { ticket.clone() };
            let value = text(value).replace("<TICKET>", &percent(&ticket)).replace("<CSRF>", &csrf);
            let value = value.replace("<TOKEN>", &token.unwrap_or_default());
            let _ = write!(head, "{header}: {value}\r\n");
        }
        let body = body(&exchange.request).replace("<PASSWORD>", PASSWORD).replace("<TICKET>", &percent(&ticket));
        if exchange.name == "http.chunked-request" {
            return self.exchange(&format!("{head}\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
        }
        if body.is_empty() {
            self.exchange(&format!("{head}\r\n"))
        } else {
            self.exchange(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
        }
    }

    /// A recorded UPID's counterpart here; its task is waited for unless the recording looked at it while it ran.
    fn known_upid(&self, path: &str) -> String {
        let mut path = path.to_owned();
        for (recorded, here) in &self.upids {
            let encoded = percent(recorded);
            if path.contains(&encoded) || path.contains(recorded.as_str()) {
                path = path.replace(&encoded, &percent(here)).replace(recorded.as_str(), here);
                if let Some(task) = self.cluster.tasks().find(here) {
                    task.wait(Duration::from_secs(10));
                }
            }
        }
        path
    }

    fn secret(&self, token: &str) -> String {
        let access = self.cluster.access();
        access.users["root@pam"].tokens.get(token).map_or_else(String::new, |token| token.secret.clone())
    }

    fn exchange(&self, request: &str) -> Answer {
        let name = ServerName::try_from("pve1").expect("a name");
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).expect("a connection");
        let stream = TcpStream::connect(self.address).expect("the server listens");
        let mut stream = StreamOwned::new(connection, stream);
        // A server that refuses a body early closes before all of it is written.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let mut line = head.lines().next().unwrap_or_default().splitn(3, ' ').skip(1);
        Answer {
            status: line.next().and_then(|status| status.parse().ok()).unwrap_or(0),
            reason: line.next().unwrap_or_default().to_owned(),
            body: serde_json::from_str(body)
                .unwrap_or_else(|_| if body.is_empty() { Value::Null } else { json!(body) }),
        }
    }

    fn compare(&mut self, exchange: &Exchange, answer: &Answer) -> Option<String> {
        let recorded = &exchange.response;
        if let (Some(old), Some(new)) = (recorded["body"]["data"].as_str(), answer.body["data"].as_str())
            && old.starts_with("UPID:")
        {
            self.upids.insert(old.to_owned(), new.to_owned());
        }
        let listed = |list: &[(&str, &str)]| list.iter().any(|(name, _)| *name == exchange.name);
        let status = recorded["status"].as_u64() == Some(answer.status);
        let words = listed(OTHER_WORDS) || recorded["reason"].as_str() == Some(&answer.reason);
        let body =
            listed(DIFFERENCES) || listed(OTHER_WORDS) || masked(&recorded["body"], "") == masked(&answer.body, "");
        if status && words && body {
            return None;
        }
        Some(format!(
            "{} {} {}\n  recorded {} {} {}\n  here     {} {} {}",
            exchange.name,
            exchange.request["method"],
            exchange.request["path"],
            recorded["status"],
            recorded["reason"],
            masked(&recorded["body"], ""),
            answer.status,
            answer.reason,
            masked(&answer.body, "")
        ))
    }
}

/// The body as text; three that are only described are made from their description.
fn body(request: &Value) -> String {
    match (&request["body"], request["body_described"].as_str()) {
        (_, Some(text)) if text.starts_with("chunked: ") => text["chunked: ".len()..].to_owned(),
        (_, Some(text)) => match text.split_once(" and ") {
            Some((start, rest)) => {
                let count = rest.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
                format!("{start}{}", "a".repeat(count))
            }
            None => String::new(),
        },
        (Value::String(text), _) => text.clone(),
        (Value::Null, _) => String::new(),
        (json, _) => json.to_string(),
    }
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn masked(value: &Value, key: &str) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), masked(value, key))).collect::<Map<_, _>>())
        }
        // Lists of guests and storages, and what a storage holds, come in no particular order.
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| masked(item, "")).collect();
            items.sort_by_key(|item| (item["vmid"].as_u64(), item["storage"].as_str().map(str::to_owned)));
            items.into()
        }
        Value::String(text) if key == "content" => {
            let mut words: Vec<&str> = text.split(',').collect();
            words.sort_unstable();
            json!(words)
        }
        Value::String(text) if text.starts_with("UPID:") => json!("UPID"),
        _ if MASKED.contains(&key) => json!("…"),
        plain => plain.clone(),
    }
}
