//! The agent's side of the protocol: one connection polls, another carries results, output and telemetry. What the agent
//! does with a command is its `Worker`'s; that it is done once, and told until acknowledged, is this file's.

use super::{
    OUTPUT_CHUNK, OUTPUT_LIMIT, POLL_HOLD, PROTOCOL, RESULT_LIMIT, RUNNING_LIMIT,
    announcement::Announcement,
    envelope::{Command, Party, Signed, Work},
    join::Pointer,
    journal::Journal,
    jwt::{self, Bound},
    keys::SigningKey,
    wire::{Acknowledged, JoinReply, JoinRequest, OutputRequest, PollReply, PollRequest, ResultRequest, Told, path},
};
use crate::{
    model::{
        Outcome, Risk,
        catalogue::Runs,
        credential::Way,
        digest::Digest,
        outcome::{Ending, Report},
        policy,
        version::version,
    },
    sys::{
        cancel::Cancel,
        clock::{self, Clock},
        crash,
        http::{Endpoint, Http, HttpError, Reply},
        random,
        tls::{Pins, Trust},
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    io::Read,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

/// How long a request other than a poll may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// The most lines of progress that one command tells.
const PROGRESS_LIMIT: u64 = 10_000;
/// The hub believes nothing from the second in which it began.
const A_SECOND: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long an update waits for the other commands under way to end.
const ALONE_WITHIN: Duration = Duration::from_mins(1);

/// What an agent can do.
pub trait Worker: Send + Sync + 'static {
    /// Carries a command out, in a thread of its own.
    fn perform(&self, command: &Command, report: &dyn Report, cancel: &Cancel) -> Outcome;

    /// What there is to tell now that was not told before. Is asked at the start, from time to time, and after each
    /// command that changed something.
    fn news(&self) -> Vec<Told>;

    /// The hub has not taken what `news` gave: it has to be told again.
    fn not_told(&self) {}

    /// The hub has taken all that `news` gave.
    fn told(&self) {}

    /// How long until `news` is asked again.
    fn news_every(&self) -> Duration;

    /// The names of the operations that it can do.
    fn capabilities(&self) -> Vec<String>;

    /// The remotectl version that it runs.
    fn version(&self) -> String {
        version().to_owned()
    }

    /// Puts the version that `perform` has prepared for a `Work::Update` in this one's place; `None` where it has prepared
    /// none. Is called when no other command is under way, and none is taken. Where this very process is what is replaced
    /// it does not return, and `recover` tells the outcome in the process after it.
    fn replace(&self, _command: &Command) -> Option<Outcome> {
        None
    }

    /// Is called instead of `replace` where it does not come to that: what `perform` has prepared is not wanted any more.
    fn abandon(&self, _command: &Command) {}

    /// How a command ended that a former process had begun, where there is a record of that.
    fn recover(&self, _command: &Command) -> Recovered {
        Recovered::Unknown
    }

    /// Is called when the hub has answered the first poll, and again after each interruption.
    fn connected(&self) {}
}

/// What is on record of a command that a former process had begun.
#[derive(Debug, Clone, PartialEq)]
pub enum Recovered {
    /// Nothing.
    Unknown,
    /// Its end.
    Ended(Outcome),
    /// It goes on; ask again when the hub has answered a poll.
    Later,
    /// How far it came is on record with the worker: it is performed again, and goes on from there.
    Resume,
}

/// A request that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No answer.
    #[error("the hub does not answer")]
    Http(#[from] HttpError),
    /// The hub does not believe or does not want it.
    #[error("the hub refuses ({status}): {why}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its reason.
        why: String,
    },
    /// The answer does not read.
    #[error("the hub's answer does not read: {0}")]
    Malformed(String),
}

/// A connection to the hub as one agent.
pub struct Link {
    polling: Http,
    telling: Http,
    key: Arc<SigningKey>,
    hub: String,
    generation: u64,
    clock: Clock,
    /// The authorities that the hub is known by.
    pins: Pins,
}

impl Link {
    /// A link by a pointer; connects when first used.
    pub fn new(pointer: &Pointer, key: Arc<SigningKey>, generation: u64, clock: Clock) -> Result<Self, HttpError> {
        Self::until(pointer, key, generation, clock, &Cancel::new())
    }

    /// A link that breaks off when `stop` fires, also in the middle of a poll.
    pub fn until(
        pointer: &Pointer,
        key: Arc<SigningKey>,
        generation: u64,
        clock: Clock,
        stop: &Cancel,
    ) -> Result<Self, HttpError> {
        let pins = Pins::from(pointer.fingerprint.clone());
        let endpoint = Endpoint::Tls {
            addresses: pointer.addresses.clone(),
            name: pointer.server_name(),
            trust: Trust::PinnedAuthority(pins.clone()),
            clock: clock.clone(),
        };
        let (polling, telling) = (Http::until(&endpoint, Some(stop))?, Http::until(&endpoint, Some(stop))?);
        Ok(Self { polling, telling, key, hub: pointer.hub.clone(), generation, clock, pins })
    }

    /// Believes the authority that the hub has announced, too.
    pub fn follow(&self, announced: &Announcement) {
        self.pins.add(announced.fingerprint.clone());
    }

    /// The ways to log in that came with a command to this agent.
    pub fn ways(&self, command: &Command) -> Vec<Way> {
        command.ways(&self.key)
    }

    /// Becomes known, or makes another key known.
    pub fn join(&self, request: &JoinRequest) -> Result<JoinReply, LinkError> {
        self.post(&self.telling, path::JOIN, request, REQUEST_TIMEOUT)
    }

    /// Asks for commands; the hub answers when there are some, or after `POLL_HOLD` seconds.
    pub fn poll(&self, request: &PollRequest) -> Result<PollReply, LinkError> {
        self.post(&self.polling, path::POLL, request, Duration::from_secs(POLL_HOLD + 10))
    }

    /// Tells how a command ended.
    pub fn result(&self, request: &ResultRequest) -> Result<Acknowledged, LinkError> {
        self.post(&self.telling, path::RESULT, request, REQUEST_TIMEOUT)
    }

    /// Tells anything else.
    pub fn tell(&self, told: Told) -> Result<Acknowledged, LinkError> {
        self.post(&self.telling, path::OUTPUT, &OutputRequest { protocol: PROTOCOL, told }, REQUEST_TIMEOUT)
    }

    /// An executable by its SHA-256, as it comes; the hub has so long for all of it. Whoever reads it checks the digest.
    pub fn artifact(&self, sha256: &Digest, timeout: Duration) -> Result<impl Read + Send + use<>, LinkError> {
        let path = format!("{}/{sha256}", path::ARTIFACT);
        let mut followed = false;
        loop {
            let authorization = self.authorization(Bound { method: "GET", path: &path, body: b"" });
            let (status, body) = self.telling.fetch(&path, &[("authorization", &authorization)], timeout)?;
            if status == 200 {
                return Ok(body);
            }
            let mut told = Vec::new();
            // An answer that does not come to its end says nothing more than its status.
            body.take(RESULT_LIMIT as u64).read_to_end(&mut told).ok();
            if status != 401 || followed || !self.another_try(&told) {
                let why = serde_json::from_slice::<Acknowledged>(&told).map(|told| told.error).unwrap_or_default();
                return Err(LinkError::Refused { status, why });
            }
            followed = true;
        }
    }

    /// Sends a request; when the hub says that only the clock is wrong, follows its clock and sends it once more.
    fn post<A: DeserializeOwned>(
        &self,
        http: &Http,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<A, LinkError> {
        let body = serde_json::to_vec(body).map_err(|error| LinkError::Malformed(error.to_string()))?;
        let mut reply = self.send(http, path, &body, timeout)?;
        if reply.status == 401 && self.another_try(&reply.body) {
            reply = self.send(http, path, &body, timeout)?;
        }
        if !reply.success() {
            let why = serde_json::from_slice::<Acknowledged>(&reply.body).map(|told| told.error).unwrap_or_default();
            return Err(LinkError::Refused { status: reply.status, why });
        }
        serde_json::from_slice(&reply.body).map_err(|error| LinkError::Malformed(error.to_string()))
    }

    fn send(&self, http: &Http, path: &str, body: &[u8], timeout: Duration) -> Result<Reply, HttpError> {
        let authorization = self.authorization(Bound { method: "POST", path, body });
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        http.send("POST", path, &headers, body, timeout)
    }

    fn authorization(&self, bound: Bound) -> String {
        format!("Bearer {}", jwt::sign(&self.key, &self.hub, self.generation, self.clock.now(), bound))
    }

    /// Whether a token that was refused for its time is worth another: follows the hub's clock, or lets the second pass in
    /// which the hub began, of which it believes nothing.
    fn another_try(&self, body: &[u8]) -> bool {
        let Ok(told) = serde_json::from_slice::<Acknowledged>(body) else { return false };
        if told.time <= 0 {
            return false;
        }
        if (told.time - self.clock.now()).abs() > 1 {
            self.clock.follow(told.time);
        } else {
            Cancel::new().wait(A_SECOND);
        }
        true
    }
}

/// A running agent.
pub struct Runtime {
    link: Link,
    party: Mutex<Party>,
    journal: Mutex<Journal>,
    worker: Arc<dyn Worker>,
    running: Mutex<HashMap<String, Cancel>>,
    /// Is notified when a command has ended.
    ended: Condvar,
    /// Whether commands are taken; held while one is.
    intake: Mutex<bool>,
    /// Commands of a former process that go on.
    later: Mutex<Vec<Command>>,
    jobs: Sender<Job>,
    /// How many commands have changed something.
    changes: AtomicU64,
    /// A name of its own for each start: by it the hub sees a clone, and answers a newcomer at once.
    process: String,
}

#[expect(clippy::large_enum_variant, reason = "a handful are queued at any time")]
enum Job {
    Deliver(u64),
    Tell(Told),
    News,
    /// News after so many changes; told already where it was asked for since.
    NewsAfter(u64),
}

impl Runtime {
    /// Polls, works and tells until `stop` fires. Commands that a former process had begun are settled first.
    pub fn run(link: Link, party: Party, journal: Journal, worker: Arc<dyn Worker>, stop: &Cancel) {
        let (jobs, queue) = mpsc::channel();
        let announced = journal.announced().cloned();
        let runtime = Arc::new(Self {
            link,
            party: Mutex::new(party),
            journal: Mutex::new(journal),
            worker,
            running: Mutex::default(),
            ended: Condvar::new(),
            intake: Mutex::new(true),
            later: Mutex::default(),
            jobs,
            changes: AtomicU64::new(0),
            process: random::id(),
        });
        if let Some(signed) = announced {
            runtime.follow(&signed);
        }
        runtime.settle();
        let (teller, stopping) = (Arc::clone(&runtime), stop.clone());
        let telling = thread::spawn(move || teller.tell_all(&queue, &stopping));
        runtime.poll_until(stop);
        // Wakes it, so that it sees that it is over.
        runtime.queue(Job::News);
        if telling.join().is_err() {
            tracing::error!("telling has ended in a panic");
        }
    }

    /// What was accepted before a crash: what only reads runs again, what had ended is told, an update's end is on record,
    /// a saga goes on, the rest is unknown.
    fn settle(self: &Arc<Self>) {
        let entries: Vec<_> = self.journal().entries().iter().map(|(seq, entry)| (*seq, entry.clone())).collect();
        let party = self.party();
        for (seq, entry) in entries {
            match entry.signed.reopen(&party) {
                Ok(command)
                    if entry.outcome.is_none() && only_reads(&command) && command.expires >= self.link.clock.now() =>
                {
                    self.start(command);
                }
                _ if entry.outcome.is_some() => self.queue(Job::Deliver(seq)),
                // Both are recorded at once, before it is started: a torn record is all that there is of it.
                Ok(_) if !entry.started => {
                    let begun = "the agent stopped before this was begun; nothing was done";
                    self.finish(seq, &Outcome::rejected(begun).with_help("ask again"), true);
                }
                Ok(command) => self.recover(command),
                Err(_) => self.finish(seq, &unknown(), true),
            }
        }
    }

    fn recover(self: &Arc<Self>, command: Command) {
        match self.worker.recover(&command) {
            Recovered::Resume => self.start(command),
            Recovered::Ended(outcome) => self.finish(command.seq, &outcome, true),
            Recovered::Unknown => self.finish(command.seq, &unknown(), true),
            Recovered::Later => self.later.lock().unwrap_or_else(PoisonError::into_inner).push(command),
        }
    }

    fn recover_later(self: &Arc<Self>) {
        let later = std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner));
        for command in later {
            self.recover(command);
        }
    }

    fn poll_until(self: &Arc<Self>, stop: &Cancel) {
        let (mut failures, mut refusals) = (0_u32, 0_u32);
        while !stop.fired() {
            let (high_water, kept, running) = {
                let journal = self.journal();
                (journal.high_water(), journal.kept(), journal.commands(RUNNING_LIMIT))
            };
            let request = PollRequest {
                protocol: PROTOCOL,
                version: self.worker.version(),
                high_water,
                kept,
                process: self.process.clone(),
                running,
                capabilities: self.worker.capabilities(),
                trial: false,
                epoch: self.party().epoch,
            };
            match self.link.poll(&request) {
                // What it was told in its last moment it has not taken: the hub tells it again.
                _ if stop.fired() => {}
                Ok(reply) => {
                    if failures > 0 || request.high_water == 0 {
                        tracing::debug!("connected to the hub");
                    }
                    failures = 0;
                    self.worker.connected();
                    self.recover_later();
                    self.link.clock.follow(reply.time);
                    reply.announcement.iter().for_each(|signed| self.hear(signed));
                    // In order, and not beyond one that could not be taken: the mark must not pass it.
                    let taken = reply.commands.iter().all(|signed| self.take(signed, &reply.cancel));
                    reply.cancel.iter().for_each(|id| self.cancel(id));
                    if !taken {
                        refusals += 1;
                        stop.wait(pause(refusals));
                    } else if !reply.commands.is_empty() {
                        refusals = 0;
                    }
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error = crate::model::outcome::chain(&error), failures, "poll failed");
                    stop.wait(pause(failures));
                }
            }
        }
    }

    /// Follows an announcement that the recovery key has signed, and puts it on record.
    fn hear(&self, signed: &Signed) {
        if self.follow(signed)
            && let Err(error) = self.journal().announce(signed)
        {
            tracing::warn!(error = crate::model::outcome::chain(&error), "the hub's announcement is not on record");
        }
    }

    /// Whether it led on.
    fn follow(&self, signed: &Signed) -> bool {
        let mut party = self.party.lock().unwrap_or_else(PoisonError::into_inner);
        match party.follow(signed) {
            Ok(Some((after, announced))) => {
                tracing::warn!(epoch = announced.epoch, "the hub is in a new epoch, by its recovery key");
                self.link.follow(&announced);
                *party = after;
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!(%error, "what the hub announces is not believed: none of its commands are obeyed");
                false
            }
        }
    }

    fn party(&self) -> Party {
        self.party.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cancel(&self, id: &str) {
        if let Some(cancel) = self.running().get(id).cloned() {
            cancel.fire();
        }
    }

    /// Accepts a command, if it is a new one of this hub for this agent. A forged or foreign one is dropped with a log
    /// line; one that comes too late or can't be put on record is answered as rejected. `false` where it could not be taken
    /// now.
    fn take(self: &Arc<Self>, signed: &Signed, cancelled: &[String]) -> bool {
        let command = match signed.open(&self.party()) {
            Ok(command) => command,
            Err(error) => {
                tracing::error!(%error, "a command was not obeyed");
                return false;
            }
        };
        let intake = self.intake();
        if command.seq <= self.journal().high_water() {
            return true;
        }
        if !*intake {
            // The version after this one will be sent it again.
            return false;
        }
        crash::point("command-came");
        let durable = !only_reads(&command);
        let accepted = self.journal().accept(command.seq, signed, durable);
        crash::point("accepted");
        if let Err(error) = accepted {
            tracing::error!(error = crate::model::outcome::chain(&error), "a command was refused");
            let why = format!("what is not on record is not started: {}", crate::model::outcome::chain(&error));
            let refused = Outcome::rejected(why).with_help(format!("make room on {}, and ask again", command.target));
            self.journal().refuse(command.seq, signed, &refused);
            self.queue(Job::Deliver(command.seq));
            return true;
        }
        if command.expires < self.link.clock.now() {
            let late = Outcome::rejected(format!("it was good until {}", clock::rfc3339(command.expires)));
            self.finish(command.seq, &late, true);
        } else if cancelled.contains(&command.id) {
            let stopped = Outcome { ending: Ending::Cancelled, ..Outcome::failure("cancelled before it was begun") };
            self.finish(command.seq, &stopped, true);
        } else {
            self.start(command);
        }
        true
    }

    fn start(self: &Arc<Self>, command: Command) {
        let (runtime, cancel) = (Arc::clone(self), Cancel::new());
        self.running().insert(command.id.clone(), cancel.clone());
        thread::spawn(move || {
            let teller = Teller {
                command: command.id.clone(),
                jobs: runtime.jobs.clone(),
                offset: AtomicU64::new(0),
                lines: AtomicU64::new(0),
            };
            crash::point("started");
            let mut outcome = runtime.worker.perform(&command, &teller, &cancel);
            crash::point("performed");
            if matches!(command.work, Work::Update { .. }) && outcome.succeeded() {
                outcome = runtime.replace(&command, &cancel).unwrap_or(outcome);
            }
            runtime.running().remove(&command.id);
            runtime.ended.notify_all();
            runtime.finish_and_tell(&command, &outcome);
        });
    }

    /// Has the worker put another version in this one's place, once nothing else is under way: where that is this process,
    /// whatever ran in it would end with it.
    fn replace(&self, command: &Command, cancel: &Cancel) -> Option<Outcome> {
        *self.intake() = false;
        let others = |running: &mut HashMap<String, Cancel>| running.keys().any(|id| *id != command.id);
        let waited = self.ended.wait_timeout_while(self.running(), ALONE_WITHIN, others);
        let timed_out = waited.unwrap_or_else(PoisonError::into_inner).1.timed_out();
        let outcome = if cancel.fired() {
            self.worker.abandon(command);
            let still = format!("cancelled before the switch; still at {}", self.worker.version());
            Some(Outcome { ending: Ending::Cancelled, ..Outcome::failure(still) })
        } else if timed_out {
            self.worker.abandon(command);
            let why = format!("other commands were still under way after {} s", ALONE_WITHIN.as_secs());
            Some(Outcome::failure(format!("{why}; still at {}", self.worker.version())).with_help("try again later"))
        } else {
            // No record of the journal is torn while the lock is held.
            let _journal = self.journal();
            self.worker.replace(command)
        };
        *self.intake() = true;
        outcome
    }

    /// The end of a command, and the news of what it has changed.
    fn finish_and_tell(&self, command: &Command, outcome: &Outcome) {
        let changed = !only_reads(command);
        let news = changed.then(|| Job::NewsAfter(self.changes.fetch_add(1, Ordering::SeqCst) + 1));
        let (before, behind) = if about_cluster(command) { (news, None) } else { (None, news) };
        self.record(command.seq, outcome, changed);
        before.into_iter().chain([Job::Deliver(command.seq)]).chain(behind).for_each(|job| self.queue(job));
    }

    fn finish(&self, seq: u64, outcome: &Outcome, durable: bool) {
        self.record(seq, outcome, durable);
        self.queue(Job::Deliver(seq));
    }

    fn record(&self, seq: u64, outcome: &Outcome, durable: bool) {
        if let Err(error) = self.journal().finish(seq, outcome, durable) {
            tracing::error!(
                error = crate::model::outcome::chain(&error),
                "a result is not on record; it is told all the same"
            );
        }
        crash::point("finished");
    }

    fn queue(&self, job: Job) {
        // The queue ends only with the process.
        drop(self.jobs.send(job));
    }

    fn tell_all(&self, queue: &Receiver<Job>, stop: &Cancel) {
        let mut job = Job::News;
        let (mut failures, mut told) = (0, 0);
        loop {
            let changes = self.changes.load(Ordering::SeqCst);
            match job {
                Job::Deliver(seq) => self.deliver(seq, stop),
                Job::Tell(told) => drop(self.tell(told)),
                // Several commands that end together are one piece of news.
                Job::NewsAfter(change) if change <= told => {}
                Job::News | Job::NewsAfter(_) if self.tell_news() => (failures, told) = (0, changes),
                Job::News | Job::NewsAfter(_) => failures += 1,
            }
            let until_news = if failures > 0 { pause(failures) } else { self.worker.news_every() };
            job = match queue.recv_timeout(until_news) {
                Ok(next) => next,
                Err(mpsc::RecvTimeoutError::Timeout) => Job::News,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            if stop.fired() {
                return;
            }
        }
    }

    /// Tells what is new; what the hub did not take is told again. Whether all was taken.
    fn tell_news(&self) -> bool {
        let taken = self.worker.news().into_iter().all(|told| self.tell(told));
        if taken {
            self.worker.told();
        } else {
            self.worker.not_told();
        }
        taken
    }

    /// Tells one thing; whether it was taken. Progress and output that is lost is not missed: the result says it all.
    fn tell(&self, told: Told) -> bool {
        let taken = self.link.tell(told);
        if let Err(error) = &taken {
            tracing::warn!(error = crate::model::outcome::chain(error), "the hub did not take what was told");
        }
        taken.is_ok()
    }

    /// A result is told until the hub acknowledges it.
    fn deliver(&self, seq: u64, stop: &Cancel) {
        let entry = self.journal().entries().get(&seq).cloned();
        let Some((Ok(command), Some(outcome))) = entry.map(|entry| (entry.signed.reopen(&self.party()), entry.outcome))
        else {
            return;
        };
        let request = ResultRequest { protocol: PROTOCOL, command: command.id, outcome: that_fits(outcome) };
        let mut failures = 0;
        while !stop.fired() {
            match self.link.result(&request) {
                // A hub that does not know the command will not know it later either.
                Ok(_) | Err(LinkError::Refused { status: 404 | 409 | 413, .. }) => {
                    crash::point("told");
                    break;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(
                        error = crate::model::outcome::chain(&error),
                        command = request.command,
                        "result not taken"
                    );
                    stop.wait(pause(failures));
                }
            }
        }
        if stop.fired() {
            return;
        }
        if let Err(error) = self.journal().delivered(seq) {
            tracing::warn!(error = crate::model::outcome::chain(&error), "the journal does not shrink");
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn intake(&self) -> MutexGuard<'_, bool> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Cancel>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries a command's progress and output to the hub.
struct Teller {
    command: String,
    jobs: Sender<Job>,
    offset: AtomicU64,
    lines: AtomicU64,
}

impl Report for Teller {
    fn progress(&self, line: &str) {
        if self.lines.fetch_add(1, Ordering::Relaxed) >= PROGRESS_LIMIT {
            return;
        }
        drop(self.jobs.send(Job::Tell(Told::Progress { command: self.command.clone(), line: line.to_owned() })));
    }

    fn output(&self, bytes: &[u8]) {
        for chunk in bytes.chunks(OUTPUT_CHUNK) {
            let offset = self.offset.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if offset >= OUTPUT_LIMIT as u64 {
                return;
            }
            let told = Told::Output { command: self.command.clone(), offset, data: STANDARD.encode(chunk) };
            drop(self.jobs.send(Job::Tell(told)));
        }
    }
}

/// A result that is too large to be taken is told without its data: how it ended matters most.
fn that_fits(outcome: Outcome) -> Outcome {
    let size = serde_json::to_vec(&outcome).map_or(usize::MAX, |bytes| bytes.len());
    if size + 1024 <= RESULT_LIMIT {
        return outcome;
    }
    let summary = format!(
        "{} (its data, {size} bytes, was too large to be told)",
        outcome.summary.chars().take(4096).collect::<String>()
    );
    Outcome { summary, data: serde_json::Value::Null, ..outcome }
}

/// Whether a command may simply run again.
fn only_reads(command: &Command) -> bool {
    match &command.work {
        Work::Perform { op } | Work::Once { op } => policy::base(op) == Risk::Observe,
        Work::Echo => true,
        Work::Deploy { .. } | Work::Attest { .. } | Work::Update { .. } => false,
    }
}

/// Whether it changes what guests there are and how they are. That is told before the result: whoever has read the result
/// and asks for the next thing is to be answered by what is so now.
fn about_cluster(command: &Command) -> bool {
    matches!(&command.work, Work::Perform { op } if policy::runs(op) == Runs::Pve)
}

fn unknown() -> Outcome {
    let why = "the agent stopped while this ran; whether it was done is not known";
    Outcome { ending: Ending::Unknown, ..Outcome::failure(why) }
}

/// Twice as long after each failure, with jitter, so that a fleet does not come back at one moment.
fn pause(failures: u32) -> Duration {
    let longest = Duration::from_millis(100).saturating_mul(1 << failures.min(12)).min(LONGEST_PAUSE);
    let [share] = random::bytes::<1>();
    longest.mul_f64(0.5 + f64::from(share) / 510.0)
}
