//! A real hub as a process of its own, and agents whose work is only recorded, for tests of the protocol between them.

#![allow(dead_code, reason = "each test file uses its own part of it")]
#![allow(clippy::disallowed_methods, reason = "tests start the program that they test")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use remotectl::{
    link::{
        PROTOCOL,
        envelope::{Command, Party, Work},
        join::Pointer,
        journal::Journal,
        keys::{PublicKey, SigningKey},
        runtime::{Link, Runtime, Worker},
        wire::{AgentRole, Attestation, JoinRequest, Told},
    },
    model::{
        Answer, Failure, Outcome, Target,
        answer::PlanView,
        messages::{AgentRow, ApiError, Event, HubInfo, JoinToken, PlanRecord},
        outcome::Report,
    },
    sys::{
        cancel::Cancel,
        clock::Clock,
        http::{Endpoint, Http},
        tls::Trust,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds, without guessing how long that takes.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A hub.
pub struct Hub {
    directory: tempfile::TempDir,
    process: Child,
    api: Http,
    pub address: String,
}

impl Hub {
    /// A new hub on a free port of loopback.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let process = spawn(&directory, "127.0.0.1:0", None, None);
        Self::started(directory, process)
    }

    /// A new hub whose soft limit for open files is this one, as an ordinary shell or service manager gives it.
    pub fn start_with_open_files(limit: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let process = spawn(&directory, "127.0.0.1:0", Some(&format!("ulimit -Sn {limit}")), None);
        Self::started(directory, process)
    }

    fn started(directory: tempfile::TempDir, process: Child) -> Self {
        let socket = directory.path().join("run/hub.sock");
        let api = Http::new(&Endpoint::Unix(socket)).unwrap();
        let mut hub = Self { directory, process, api, address: String::new() };
        wait_until("the hub answers", || hub.api.send("GET", "/api/v1/hub", &[], b"", PATIENCE).is_ok());
        let info: HubInfo = hub.get("/api/v1/hub").unwrap();
        hub.address.clone_from(&info.addresses[0]);
        hub
    }

    /// The hub's root directory.
    pub fn root(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills it with SIGKILL and starts it again on the same port.
    pub fn restart(&mut self) {
        self.restart_after(|_| {});
    }

    /// The same, with something done to its database in between.
    pub fn restart_after(&mut self, meddle: impl FnOnce(&rusqlite::Connection)) {
        self.restart_with(|hub| {
            meddle(&rusqlite::Connection::open(hub.directory.path().join("lib/hub/hub.db")).unwrap());
        });
    }

    /// The same, with something done to this hub in between.
    pub fn restart_with(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.start_again(None, None, meanwhile);
    }

    /// The same, under limits that a line of shell sets.
    pub fn restart_under(&mut self, limits: &str) {
        self.start_again(Some(limits), None, |_| {});
    }

    /// The same, by a clock that is as many seconds ahead as that file says.
    pub fn restart_with_clock(&mut self, file: &Path) {
        self.start_again(None, Some(file), |_| {});
    }

    fn start_again(&mut self, limits: Option<&str>, clock: Option<&Path>, meanwhile: impl FnOnce(&Self)) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        meanwhile(self);
        self.process = spawn(&self.directory, &self.address, limits, clock);
        wait_until("the hub answers again", || self.api.send("GET", "/api/v1/hub", &[], b"", PATIENCE).is_ok());
    }

    pub fn join_string(&self, role: &str) -> String {
        let token: JoinToken = self.post("/api/v1/join-tokens", &json!({"role": role})).unwrap();
        token.join_string
    }

    pub fn wait_online(&self, target: &Target) {
        wait_until("the agent is online", || {
            let agents: Vec<AgentRow> = self.get("/api/v1/agents").unwrap();
            agents.iter().any(|agent| agent.target == *target && agent.status == "online")
        });
    }

    pub fn plan(&self, op: &str, selector: &str, args: &[(&str, &str)]) -> PlanView {
        let args: Map<String, Value> = args.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        let request = json!({"run": {"op": op, "selector": selector, "args": args}});
        match self.post("/api/v1/plans", &request).unwrap() {
            Answer::Plan(view) => view,
            other => panic!("{other:?}"),
        }
    }

    pub fn approve(&self, plan: &PlanView) -> Result<PlanRecord, Failure> {
        self.post(&format!("/api/v1/plans/{}/approve", plan.id), &json!({"digest": plan.digest}))
    }

    /// Begins a plan without waiting for its end.
    pub fn begin(&self, plan: &PlanView) {
        let body = json!({"digest": plan.digest}).to_string();
        let (status, _) =
            self.api.stream("POST", &format!("/api/v1/plans/{}/execute", plan.id), &JSON, body.as_bytes()).unwrap();
        assert_eq!(status, 200);
    }

    pub fn execute(&self, plan: &PlanView) -> Result<Vec<Event>, Failure> {
        let body = json!({"digest": plan.digest}).to_string();
        let path = format!("/api/v1/plans/{}/execute", plan.id);
        let (status, mut stream) = self.api.stream("POST", &path, &JSON, body.as_bytes()).unwrap();
        if status != 200 {
            let error: ApiError = serde_json::from_reader(&mut stream).unwrap();
            return Err(error.into());
        }
        let lines = BufReader::new(stream).lines().map(Result::unwrap);
        let data = lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        Ok(data.map(|data| serde_json::from_str(&data).unwrap()).collect())
    }

    /// Plans and executes.
    pub fn run(&self, op: &str, selector: &str, args: &[(&str, &str)]) -> Result<Vec<Event>, Failure> {
        self.execute(&self.plan(op, selector, args))
    }

    pub fn history(&self) -> Vec<PlanRecord> {
        self.get("/api/v1/plans").unwrap()
    }

    /// What the client itself prints, over the unix socket.
    pub fn client(&self, args: &[&str]) -> std::process::Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_remotectl"));
        command.args(args).env("REMOTECTL_ROOT", self.directory.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// The way to this hub, without a token.
    pub fn pointer(&self) -> Pointer {
        let mut pointer: Pointer = self.join_string("agent").parse().unwrap();
        pointer.token = None;
        pointer
    }

    /// A client over TLS, as anybody on the network could make one.
    pub fn tls(&self) -> Http {
        let pointer = self.pointer();
        let endpoint = Endpoint::Tls {
            addresses: vec![self.address.clone()],
            name: pointer.server_name(),
            trust: Trust::PinnedAuthority(pointer.fingerprint.into()),
            clock: Clock::new(),
        };
        Http::new(&endpoint).unwrap()
    }

    /// The status of a request over TLS.
    pub fn over_tls(&self, method: &str, path: &str, authorization: Option<&str>) -> u16 {
        let mut headers = JSON.to_vec();
        headers.extend(authorization.map(|token| ("authorization", token)));
        self.tls().send(method, path, &headers, b"", PATIENCE).unwrap().status
    }

    /// How many files it may have open.
    pub fn open_files(&self) -> u64 {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.process.id())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_whitespace().nth(3).unwrap().parse().unwrap()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// How many requests of agents it has logged.
    pub fn requests_seen(&self) -> usize {
        self.log().lines().filter(|line| line.contains("joined") || line.contains("not believed")).count()
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.send("GET", path, b"")
    }

    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.send("POST", path, &serde_json::to_vec(body).unwrap())
    }

    fn send<T: DeserializeOwned>(&self, method: &str, path: &str, body: &[u8]) -> Result<T, Failure> {
        let reply = self.api.send(method, path, &JSON, body, PATIENCE).unwrap();
        if reply.success() {
            return Ok(serde_json::from_slice(&reply.body).unwrap());
        }
        Err(serde_json::from_slice::<ApiError>(&reply.body).unwrap().into())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        if thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default());
        }
    }
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn spawn(directory: &tempfile::TempDir, listen: &str, limits: Option<&str>, clock: Option<&Path>) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(directory.path().join("log")).unwrap();
    let exe = env!("CARGO_BIN_EXE_remotectl");
    let mut command = std::process::Command::new(if limits.is_some() { "sh" } else { exe });
    if let Some(limits) = limits {
        command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\""), exe]);
    }
    command.envs(clock.map(|file| ("REMOTECTL_CLOCK_SHIFT", file)));
    command
        .args(["hub", "serve", "--listen", listen])
        .env("REMOTECTL_ROOT", directory.path())
        .env("REMOTECTL_LOG", "debug")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// An agent in this process, whose work is only recorded.
pub struct Agent {
    directory: tempfile::TempDir,
    pub target: Target,
    pointer: Pointer,
    key: Arc<SigningKey>,
    work: Arc<Recorded>,
    stop: Cancel,
}

#[derive(Default)]
struct Recorded {
    performed: Mutex<Vec<String>>,
    commands: Mutex<Vec<String>>,
    /// Held while a test wants commands to be under way.
    gate: Mutex<()>,
    /// What it tells after each command.
    news: Mutex<Option<News>>,
}

type News = Box<dyn FnMut() -> Vec<Told> + Send>;

impl Worker for Recorded {
    fn perform(&self, command: &Command, _: &dyn Report, _: &Cancel) -> Outcome {
        let what = match &command.work {
            Work::Perform { op } | Work::Once { op } => op.name(),
            Work::Deploy { .. } => "deploy",
            Work::Attest { .. } => "attest",
            Work::Update { .. } => "update",
            Work::Echo => "echo",
        };
        self.commands.lock().unwrap().push(command.id.clone());
        self.performed.lock().unwrap().push(format!("{what} {}", command.target));
        drop(self.gate.lock().unwrap());
        Outcome::success("recorded")
    }

    fn news(&self) -> Vec<Told> {
        self.news.lock().unwrap().as_mut().map(|news| news()).unwrap_or_default()
    }

    fn news_every(&self) -> Duration {
        PATIENCE
    }

    fn capabilities(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Agent {
    /// Joins by a new join string and begins to poll.
    pub fn join(hub: &Hub, role: AgentRole, target: &str) -> Self {
        Self::join_with(&hub.join_string(role.as_str()), role, target).unwrap()
    }

    /// Joins by this join string and begins to poll; an error is told with its sources.
    pub fn join_with(string: &str, role: AgentRole, target: &str) -> Result<Self, String> {
        let agent = Self::admitted(string, role, target)?;
        agent.begin();
        Ok(agent)
    }

    /// Joins and says nothing by itself.
    pub fn admitted(string: &str, role: AgentRole, target: &str) -> Result<Self, String> {
        let mut pointer: Pointer = string.parse().unwrap();
        let token = pointer.token.take();
        let target: Target = target.parse().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let key = Arc::new(SigningKey::load_or_make(&directory.path().join("key")).unwrap());
        let link = Link::new(&pointer, Arc::clone(&key), 1, Clock::new()).unwrap();
        let request = JoinRequest {
            protocol: PROTOCOL,
            public_key: key.public(),
            role,
            target: target.clone(),
            version: "test".to_owned(),
            token,
            attestation: None,
        };
        link.join(&request).map_err(|error| remotectl::model::outcome::chain(&error))?;
        Ok(Self { directory, target, pointer, key, work: Arc::default(), stop: Cancel::new() })
    }

    /// Begins to poll, until it is dropped.
    fn begin(&self) {
        let party = Party::new(&self.pointer, self.key.public().agent_id(), 1);
        let journal = Journal::open(&self.directory.path().join("journal")).unwrap();
        let (link, worker, stop) = (self.link(), Arc::clone(&self.work), self.stop.clone());
        thread::spawn(move || Runtime::run(link, party, journal, worker, &stop));
    }

    /// Vouches for a new key, as a pve-agent does in a deployment.
    pub fn attest(&self, target: &str, command: &str, nonce: &str) -> Result<(), String> {
        self.attest_key(SigningKey::make().0.public(), target, command, nonce)
    }

    /// The same for this key.
    pub fn attest_key(&self, key: PublicKey, target: &str, command: &str, nonce: &str) -> Result<(), String> {
        let link = self.link();
        let request = JoinRequest {
            protocol: PROTOCOL,
            public_key: key,
            role: AgentRole::Agent,
            target: target.parse().unwrap(),
            version: "test".to_owned(),
            token: None,
            attestation: Some(Attestation { command: command.to_owned(), nonce: nonce.to_owned() }),
        };
        link.join(&request).map(|_| ()).map_err(|error| remotectl::model::outcome::chain(&error))
    }

    /// Keeps commands under way as long as the guard lives.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.work.gate.lock().unwrap()
    }

    /// What it tells from now on after each command.
    pub fn tell(&self, news: impl FnMut() -> Vec<Told> + Send + 'static) {
        *self.work.news.lock().unwrap() = Some(Box::new(news));
    }

    /// Joins once more with the same key.
    pub fn join_again(&self, string: &str) -> Result<(), String> {
        let mut pointer: Pointer = string.parse().unwrap();
        let token = pointer.token.take();
        let link = Link::new(&pointer, Arc::clone(&self.key), 1, Clock::new()).unwrap();
        let request = JoinRequest {
            protocol: PROTOCOL,
            public_key: self.key.public(),
            role: AgentRole::Agent,
            target: self.target.clone(),
            version: "test".to_owned(),
            token,
            attestation: None,
        };
        link.join(&request).map(|_| ()).map_err(|error| remotectl::model::outcome::chain(&error))
    }

    /// The ids of the commands that it was told to carry out, in order.
    pub fn commands(&self) -> Vec<String> {
        self.work.commands.lock().unwrap().clone()
    }

    /// A connection of its own to the hub, with its key.
    pub fn link(&self) -> Link {
        Link::new(&self.pointer, Arc::clone(&self.key), 1, Clock::new()).unwrap()
    }

    /// The same as another generation.
    pub fn link_of(&self, generation: u64) -> Link {
        Link::new(&self.pointer, Arc::clone(&self.key), generation, Clock::new()).unwrap()
    }

    /// Its key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// What it has on record of the hub's commands: the ids of those whose result is not told yet.
    pub fn undelivered(&self) -> Vec<String> {
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("journal");
        std::fs::copy(self.directory.path().join("journal"), &path).unwrap();
        Journal::open(&path).unwrap().commands(usize::MAX)
    }

    /// What it was told to do, in order.
    pub fn performed(&self) -> Vec<String> {
        self.work.performed.lock().unwrap().clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.fire();
    }
}
