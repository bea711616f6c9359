//! The real hub, as a process, and what it costs.

use remotectl::{
    link::join::Pointer,
    model::{
        Answer,
        messages::{Event, HubInfo, JoinToken},
    },
    sys::http::{Endpoint, Http},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// The kernel's clock ticks in a second, as /proc counts them.
const TICKS: f64 = 100.0;

pub struct Hub {
    exe: PathBuf,
    place: tempfile::TempDir,
    process: Child,
    api: Http,
    address: String,
}

impl Hub {
    pub fn start(exe: &Path) -> Self {
        let place = tempfile::tempdir().unwrap();
        let process = spawn(exe, place.path(), "127.0.0.1:0");
        let api = Http::new(&Endpoint::Unix(place.path().join("run/hub.sock"))).unwrap();
        let mut hub = Self { exe: exe.to_owned(), place, process, api, address: String::new() };
        hub.wait_until("the hub answers", |hub| hub.get::<HubInfo>("/api/v1/hub").is_some());
        hub.address = hub.get::<HubInfo>("/api/v1/hub").unwrap().addresses.remove(0);
        hub
    }

    /// SIGKILL, and a start on the same port.
    pub fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(&self.exe, self.place.path(), &self.address);
        self.wait_until("the hub answers again", |hub| hub.get::<HubInfo>("/api/v1/hub").is_some());
    }

    /// The way to it, without a token.
    pub fn pointer(&self) -> Pointer {
        Pointer { token: None, ..self.token() }
    }

    /// A new join string.
    pub fn token(&self) -> Pointer {
        let token: JoinToken = self.post("/api/v1/join-tokens", &json!({"role": "agent"}));
        token.join_string.parse().unwrap()
    }

    pub fn wait_online(&self, count: usize) {
        self.wait_until("the agents are online", |hub| {
            let agents: Option<Vec<Value>> = hub.get("/api/v1/agents");
            agents.is_some_and(|agents| agents.iter().filter(|agent| agent["status"] == "online").count() >= count)
        });
    }

    /// Plans /bin/true for these targets and waits for the end.
    pub fn run(&self, targets: &str) {
        let request = json!({"run": {"op": "exec.run", "selector": targets, "args": {"command": "/bin/true"}}});
        let answer: Answer = self.post("/api/v1/plans", &request);
        let Answer::Plan(plan) = answer else { panic!("{answer:?}") };
        let body = json!({"digest": plan.digest}).to_string();
        let path = format!("/api/v1/plans/{}/execute", plan.id);
        let (status, stream) = self.api.stream("POST", &path, &JSON, body.as_bytes()).unwrap();
        assert_eq!(status, 200);
        let ended = BufReader::new(stream).lines().map(Result::unwrap).find_map(|line| {
            let event: Event = serde_json::from_str(line.strip_prefix("data: ")?).unwrap();
            matches!(event, Event::Ended { .. }).then_some(event)
        });
        let Some(Event::Ended { state, .. }) = ended else { panic!("no end") };
        assert_eq!(state.as_str(), "done");
    }

    /// KiB in memory.
    pub fn resident_kib(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Seconds of CPU so far.
    pub fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        [11, 12].iter().map(|field| fields[*field].parse::<f64>().unwrap()).sum::<f64>() / TICKS
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let reply = self.api.send("GET", path, &[], b"", PATIENCE).ok()?;
        reply.success().then(|| serde_json::from_slice(&reply.body).unwrap())
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> T {
        let reply = self.api.send("POST", path, &JSON, body.to_string().as_bytes(), PATIENCE).unwrap();
        assert!(reply.success(), "{}", String::from_utf8_lossy(&reply.body));
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        if thread::panicking() {
            let log = fs::read_to_string(self.place.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

fn spawn(exe: &Path, place: &Path, listen: &str) -> Child {
    let log = fs::File::options().create(true).append(true).open(place.join("log")).unwrap();
    let mut command = Command::new(exe);
    command.args(["hub", "serve", "--listen", listen]).env("REMOTECTL_ROOT", place).env("REMOTECTL_LOG", "warn");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}
