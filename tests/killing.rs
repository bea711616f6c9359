//! The kill matrix: hub and two agents as processes of their own, over real TLS and real SQLite, ended by SIGKILL at each named
//! point of a command's life and at random moments. After each kill everything is brought up again, and then nothing that
//! was acknowledged is lost, nothing was started twice (a file counts the starts), and every command has an end. Plans have
//! one target, or both.
//!
//! `REMOTECTL_KILLS=N` makes it N kills (30 otherwise), `REMOTECTL_KILL_SEED=N` another sequence of them,
//! `REMOTECTL_KILL_EXE=FILE` another debug build of the program.

#![allow(clippy::disallowed_methods, reason = "tests start and kill the program that they test")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use remotectl::{
    link::{
        PROTOCOL,
        join::Pointer,
        keys::SigningKey,
        runtime::Link,
        wire::{AgentRole, JoinRequest},
    },
    model::{
        Answer,
        answer::PlanView,
        messages::{AgentRow, HubInfo, JoinToken, PlanRecord},
        state::PlanState,
    },
    sys::{
        clock::Clock,
        crash,
        http::{Endpoint, Http},
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_mins(1);
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// The agents' names.
const AGENTS: [&str; 2] = ["box", "two"];
/// Plans that are under way when the kill comes.
const PLANS: usize = 3;

/// The same seed gives the same kills.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Who is killed, and when.
#[derive(Debug, Clone)]
struct Kill {
    hub: bool,
    /// A point's name and how often it is passed before, or so many milliseconds after the plans have begun.
    when: Result<String, u64>,
}

impl Kill {
    fn choose(round: u64, random: &mut Random) -> Self {
        let points = crash::HUB.len() + crash::AGENT.len();
        let number = usize::try_from(round).unwrap();
        let (hub, point) = match number.checked_sub(crash::HUB.len()) {
            None => (true, Some(crash::HUB[number])),
            Some(agents) if number < points => (false, Some(crash::AGENT[agents])),
            Some(_) => match usize::try_from(random.below(3 * points as u64)).unwrap() {
                hub if hub < crash::HUB.len() => (true, Some(crash::HUB[hub])),
                agent if agent < points => (false, Some(crash::AGENT[agent - crash::HUB.len()])),
                other => (other % 2 == 0, None),
            },
        };
        let when = match point {
            Some(name) => Ok(format!("{name}:{}", if number < points { 1 } else { 1 + random.below(4) })),
            None => Err(random.below(250)),
        };
        Self { hub, when }
    }
}

/// A hub and two agents of it; the first is the one that is killed.
struct World {
    place: tempfile::TempDir,
    api: Http,
    address: String,
    hub: Child,
    agents: [Child; 2],
    begun: Vec<Begun>,
}

struct Begun {
    plan: PlanView,
    targets: usize,
    marks: PathBuf,
    acknowledged: bool,
}

impl World {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let hub = role(place.path(), "hub", &["hub", "serve", "--listen", "127.0.0.1:0"], None);
        let api = Http::new(&Endpoint::Unix(place.path().join("hub/run/hub.sock"))).unwrap();
        let agents = [(); 2].map(|()| Command::new("true").spawn().unwrap());
        let mut world = Self { place, api, address: String::new(), hub, agents, begun: Vec::new() };
        world.wait_until("the hub answers", |world| world.get::<HubInfo>("/api/v1/hub").is_some());
        world.address.clone_from(&world.get::<HubInfo>("/api/v1/hub").unwrap().addresses[0]);
        for number in 0..AGENTS.len() {
            world.join(number);
            world.start_agent(number, None);
        }
        world
    }

    /// What `agent install` does, under a name that is not this machine's.
    fn join(&self, number: usize) {
        let token: JoinToken = self.post("/api/v1/join-tokens", &json!({"role": "agent"})).unwrap();
        let mut pointer: Pointer = token.join_string.parse().unwrap();
        let token = pointer.token.take();
        let home = self.place.path().join(AGENTS[number]);
        for directory in ["etc", "lib/agent"] {
            fs::create_dir_all(home.join(directory)).unwrap();
        }
        let key = Arc::new(SigningKey::load_or_make(&home.join("lib/agent/key")).unwrap());
        let link = Link::new(&pointer, Arc::clone(&key), 1, Clock::new()).unwrap();
        let request = JoinRequest {
            protocol: PROTOCOL,
            public_key: key.public(),
            role: AgentRole::Agent,
            target: format!("host/{}", AGENTS[number]).parse().unwrap(),
            version: "test".to_owned(),
            token,
            attestation: None,
        };
        link.join(&request).unwrap();
        fs::write(home.join("etc/agent.toml"), format!("hub = \"{pointer}\"\n")).unwrap();
    }

    fn start_hub(&mut self, crash_at: Option<&str>) {
        self.hub.kill().ok();
        self.hub.wait().unwrap();
        self.hub = role(self.place.path(), "hub", &["hub", "serve", "--listen", &self.address], crash_at);
        self.wait_until("the hub answers again", |world| world.get::<HubInfo>("/api/v1/hub").is_some());
    }

    fn start_agent(&mut self, number: usize, crash_at: Option<&str>) {
        self.agents[number].kill().ok();
        self.agents[number].wait().unwrap();
        self.agents[number] = role(self.place.path(), AGENTS[number], &["agent", "run"], crash_at);
    }

    fn wait_online(&self) {
        self.wait_until("the agents are online", |world| {
            let agents: Option<Vec<AgentRow>> = world.get("/api/v1/agents");
            let online = |agents: Vec<AgentRow>| agents.iter().filter(|agent| agent.status == "online").count();
            agents.map(online) == Some(AGENTS.len())
        });
    }

    /// Makes and approves plans whose commands leave a mark each time they are started.
    fn prepare(&mut self, round: u64) {
        self.begun.clear();
        for number in 0..PLANS {
            let marks = self.place.path().join(format!("marks-{round}-{number}"));
            // The agent's root tells which of them it was.
            let command = format!("echo \"$REMOTECTL_ROOT\" >> {}", marks.display());
            let targets = if number == 0 { 2 } else { 1 };
            let selector: Vec<String> = AGENTS[..targets].iter().map(|name| format!("host/{name}")).collect();
            let request =
                json!({"run": {"op": "exec.run", "selector": selector.join(","), "args": {"command": command}}});
            let Some(Answer::Plan(plan)) = self.post("/api/v1/plans", &request) else { panic!("no plan") };
            let body = json!({"digest": plan.digest});
            self.post::<PlanRecord>(&format!("/api/v1/plans/{}/approve", plan.id), &body).expect("an approval");
            self.begun.push(Begun { plan, targets, marks, acknowledged: false });
        }
    }

    /// Begins them; a hub that dies meanwhile acknowledges nothing.
    fn begin(&mut self) {
        for begun in &mut self.begun {
            let body = json!({"digest": begun.plan.digest}).to_string();
            let path = format!("/api/v1/plans/{}/execute", begun.plan.id);
            begun.acknowledged = matches!(self.api.stream("POST", &path, &JSON, body.as_bytes()), Ok((200, _)));
        }
    }

    fn plans_at_rest(&self) -> bool {
        self.begun.iter().all(|begun| {
            let record = self.get::<PlanRecord>(&format!("/api/v1/plans/{}", begun.plan.id));
            record.is_some_and(|record| record.state != PlanState::Running)
        })
    }

    /// Whether the victim is dead; where the point is not passed again, it is killed when the plans are at rest.
    fn await_death(&mut self, kill: &Kill) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let victim = if kill.hub { &mut self.hub } else { &mut self.agents[0] };
            if victim.try_wait().unwrap().is_some() {
                return true;
            }
            if self.plans_at_rest() {
                return false;
            }
            assert!(Instant::now() < deadline, "neither dead nor at rest");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The invariants; how each plan ended.
    fn check(&self) -> Vec<String> {
        let check = |begun: &Begun| {
            let record: PlanRecord = self.get(&format!("/api/v1/plans/{}", begun.plan.id)).unwrap();
            let marks = fs::read_to_string(&begun.marks).unwrap_or_default();
            let Answer::Plan(view) = &record.answer else { panic!("no plan") };
            let ends: Vec<&str> = view.results.iter().map(|result| result.state.as_str()).collect();
            if record.state == PlanState::Proposed {
                assert!(!begun.acknowledged && marks.is_empty(), "an acknowledged plan is lost");
                return vec!["not begun".to_owned(); begun.targets];
            }
            assert_eq!(ends.len(), begun.targets, "for each target one result: {record:?}");
            let done = ends.iter().filter(|end| **end == "succeeded").count();
            let wanted = match done {
                0 => PlanState::Failed,
                all if all == begun.targets => PlanState::Done,
                _ => PlanState::PartlyFailed,
            };
            assert_eq!(record.state, wanted, "{ends:?}");
            for result in &view.results {
                let name = result.target.to_string().replace("host/", "/");
                let starts = marks.lines().filter(|line| line.ends_with(&name)).count();
                match result.state.as_str() {
                    "succeeded" => assert_eq!(starts, 1, "{result:?}"),
                    // It may have been started or not, and never twice.
                    "unknown" => assert!(starts <= 1, "started {starts} times: {result:?}"),
                    "failed" | "rejected" | "expired" | "cancelled" => assert_eq!(starts, 0, "{result:?}"),
                    other => panic!("{other}"),
                }
            }
            ends.into_iter().map(str::to_owned).collect()
        };
        self.begun.iter().flat_map(check).collect()
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let reply = self.api.send("GET", path, &[], b"", PATIENCE).ok()?;
        reply.success().then(|| serde_json::from_slice(&reply.body).unwrap())
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Option<T> {
        let reply = self.api.send("POST", path, &JSON, body.to_string().as_bytes(), PATIENCE).ok()?;
        reply.success().then(|| serde_json::from_slice(&reply.body).unwrap())
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.agents.iter_mut().chain([&mut self.hub]) {
            child.kill().ok();
            child.wait().ok();
        }
        if thread::panicking() {
            for name in ["hub"].iter().chain(&AGENTS) {
                let log = fs::read_to_string(self.place.path().join(format!("{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("-- {name}\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
            }
        }
    }
}

fn role(place: &Path, name: &str, args: &[&str], crash_at: Option<&str>) -> Child {
    let log = fs::File::options().create(true).append(true).open(place.join(format!("{name}.log"))).unwrap();
    let built = std::env::var_os("REMOTECTL_KILL_EXE").unwrap_or_else(|| env!("CARGO_BIN_EXE_remotectl").into());
    let mut command = Command::new(built);
    command.args(args).env("REMOTECTL_ROOT", place.join(name)).env("REMOTECTL_LOG", "debug");
    if let Some(point) = crash_at {
        command.env("REMOTECTL_CRASH_AT", point);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

#[test]
fn whenever_hub_or_agent_is_killed_nothing_is_lost_and_nothing_starts_twice() {
    let number =
        |name: &str, otherwise| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (kills, seed): (u64, u64) = (number("REMOTECTL_KILLS", 30), number("REMOTECTL_KILL_SEED", 4));
    let mut random = Random(seed);
    let mut world = World::start();
    let mut table: BTreeMap<String, [usize; 6]> = BTreeMap::new();
    for round in 0..kills {
        let kill = Kill::choose(round, &mut random);
        let point = kill.when.as_deref().ok();
        // The hub passes its point already while plans are made: it is armed only after that.
        world.wait_online();
        world.prepare(round);
        if kill.hub && point.is_some() {
            world.start_hub(point);
        } else if point.is_some() {
            world.start_agent(0, point);
        }
        world.wait_online();
        eprintln!("kill {round}: {kill:?}");
        let (hub, agent) = (world.hub.id(), world.agents[0].id());
        let killer = kill.when.as_ref().err().copied().map(|millis| {
            let victim = if kill.hub { hub } else { agent };
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(millis));
                Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap();
            })
        });
        world.begin();
        if let Some(killer) = killer {
            killer.join().unwrap();
        }
        let hit = world.await_death(&kill);
        if kill.hub {
            world.start_hub(None);
        } else {
            world.start_agent(0, None);
        }
        world.wait_until("every plan has an end", World::plans_at_rest);
        let row = table.entry(label(&kill)).or_default();
        row[0] += 1;
        row[1] += usize::from(hit);
        for end in world.check() {
            let column = match end.as_str() {
                "succeeded" => 2,
                "unknown" => 3,
                "not begun" => 5,
                _ => 4,
            };
            row[column] += 1;
        }
    }
    let mut shown = format!("{kills} kills, seed {seed}\n{:<24} kills   hit  done  unknown  refused  not begun\n", "");
    for (what, [kills, hit, done, unknown, refused, not_begun]) in &table {
        writeln!(shown, "{what:<24} {kills:>5} {hit:>5} {done:>5} {unknown:>8} {refused:>8} {not_begun:>10}").unwrap();
    }
    println!("{shown}");
    let hits: usize = table.values().map(|row| row[1]).sum();
    assert!(hits * 2 > usize::try_from(kills).unwrap(), "most kills come while something is under way");
}

fn label(kill: &Kill) -> String {
    let who = if kill.hub { "hub" } else { "agent" };
    match &kill.when {
        Ok(point) => format!("{who} {}", point.split(':').next().unwrap_or_default()),
        Err(_) => format!("{who}, at random"),
    }
}
