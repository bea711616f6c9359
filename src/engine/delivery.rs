//! Commands on their way: queued durably, handed to the agent that polls for them, redelivered until its journal has
//! them, and their results given to whoever waits.

use super::Engine;
use crate::{
    link::{
        POLL_HOLD, PROTOCOL, RUNNING_LIMIT,
        envelope::{Command, Signed, Work},
        keys::PublicKey,
        wire::{PollReply, PollRequest, ResultRequest},
    },
    model::{
        Outcome, Risk, Target,
        digest::Digest,
        outcome::{Ending, chain},
        policy,
        state::CommandEvent,
    },
    store::{CommandRecord, NewCommand, StoreError},
    sys::{clock, crash, random},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, futures::Notified, oneshot},
    time::timeout,
};

/// An agent must have taken a command within so many seconds.
pub(super) const TAKE_WITHIN: i64 = 60;
/// How long a command may be under way before its acceptance is kept.
const MARK_AFTER: Duration = Duration::from_secs(1);
/// So many processes of an agent are remembered.
const FORMER: usize = 8;
/// A process that has been followed by another is taken for a twin when it polls so often.
const RETURNS: u32 = 2;
/// How much longer than the command itself its result may take, in seconds.
const RESULT_GRACE: u64 = TAKE_WITHIN.unsigned_abs() + 30;

/// So long a command that an agent has taken may be missing from what it says to have, in seconds: then it is lost there.
const LEASE: i64 = 30;

/// So much of what is not on record here is kept in the audit trail, in characters.
const LONGEST_STRAY: usize = 200;

/// Queues and waiters.
pub struct Delivery {
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    waiting: Mutex<HashMap<String, Waiter>>,
    /// Is notified when an agent is heard of that was away.
    arrived: Notify,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Pending>,
    wake: Notify,
    /// How often the polls that were held had to end at once.
    cuts: AtomicU64,
    /// How many polls there were: only the newest is told anything, since those before it may be on a connection that is
    /// dead without anybody's knowing.
    turns: AtomicU64,
}

#[derive(Default)]
struct Pending {
    /// Everything that has not ended, by sequence number.
    commands: BTreeMap<u64, (String, Signed)>,
    /// The highest that the agent has told to have in its journal.
    high_water: u64,
    /// The highest that was ever handed to a poll since the hub's start: from there on the agent may have it.
    handed: u64,
    /// Numbers that are given and not yet durable: nothing above the lowest is handed out, so that order is kept.
    reserved: BTreeSet<u64>,
    /// Commands to be cancelled, and how many of those have been told; told again until they have ended.
    cancel: Vec<String>,
    cancels_told: usize,
    /// Commands that the agent has taken and does not name, and since when.
    absent: BTreeMap<String, i64>,
    /// The process that polls, those that did before it, and how often one of those has come back.
    process: String,
    former: Vec<String>,
    returns: u32,
    /// How much of its journal the agent can't have lost by a crash, and whether that is about to be stored.
    kept: u64,
    keeping: bool,
}

/// What a poll says of whoever sends it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// A process that has not polled before.
    newcomer: bool,
    /// A process that another one has followed: it is told nothing.
    former: bool,
    /// Why it may not be the agent.
    doubt: Option<String>,
    /// Whether the mark is to be stored in a while.
    keep: bool,
}

struct Waiter {
    about: About,
    done: Option<oneshot::Sender<Outcome>>,
}

/// What a command under way belongs to.
#[derive(Debug, Clone)]
pub struct About {
    /// The plan's id.
    pub plan: String,
    /// The step's index.
    pub step: usize,
    /// On what.
    pub target: Target,
}

/// A command to be sent.
pub struct Order {
    /// To which agent.
    pub agent: String,
    /// That agent's generation.
    pub generation: u64,
    /// For what.
    pub about: About,
    /// The plan that was approved.
    pub digest: Digest,
    /// What to do.
    pub work: Work,
    /// How long it may run, in seconds.
    pub timeout: u64,
}

impl Delivery {
    /// With the commands that had not ended when the hub stopped, and the marks of agents' journals.
    pub fn new(open: Vec<CommandRecord>, kept: Vec<(String, u64)>, hub: &PublicKey) -> Self {
        let delivery = Self { queues: Mutex::default(), waiting: Mutex::default(), arrived: Notify::new() };
        for (agent, kept) in kept {
            delivery.queue(&agent).state().kept = kept;
        }
        for record in open {
            // An agent obeys nothing else anyway, and would wait for ever before it.
            let genuine = record.signed.signed_by(hub).is_some_and(|command| {
                (&command.id, &command.agent, command.seq) == (&record.id, &record.agent, record.seq)
            });
            if !genuine {
                tracing::error!(command = record.id, "this command is on record, but this hub did not give it");
                continue;
            }
            // Any of them may have been sent before the hub stopped.
            let queue = delivery.queue(&record.agent);
            queue.state().handed = record.seq;
            queue.push(&record);
        }
        delivery
    }

    /// Comes when an agent is heard of that was away, from this call on.
    pub(super) fn arrival(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    fn queue(&self, agent: &str) -> Arc<Queue> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(agent.to_owned()).or_default())
    }

    /// Ends the polls of an agent that are being held: who it is has changed.
    pub fn cut(&self, agent: &str) {
        let queue = self.queue(agent);
        queue.cuts.fetch_add(1, Ordering::SeqCst);
        queue.wake.notify_waiters();
    }

    /// Forgets what an agent has shown of itself: it was vouched for anew.
    pub fn begin_anew(&self, agent: &str) {
        let queue = self.queue(agent);
        let mut state = queue.state();
        (state.returns, state.kept, state.high_water) = (0, 0, 0);
        state.process.clear();
        state.former.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Waiter>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, command: &str, about: About) -> oneshot::Receiver<Outcome> {
        let (done, receiver) = oneshot::channel();
        self.waiting().insert(command.to_owned(), Waiter { about, done: Some(done) });
        receiver
    }

    fn ended(&self, command: &str, outcome: &Outcome) {
        if let Some(done) = self.waiting().remove(command).and_then(|waiter| waiter.done) {
            // Whoever waited may be gone; the result is on record.
            drop(done.send(outcome.clone()));
        }
    }
}

impl Queue {
    fn push(&self, record: &CommandRecord) {
        let mut state = self.state();
        state.reserved.remove(&record.seq);
        state.commands.insert(record.seq, (record.id.clone(), record.signed.clone()));
        self.wake.notify_waiters();
    }

    fn reserve(&self, seq: u64) {
        self.state().reserved.insert(seq);
    }

    /// Takes a command back that was never handed out; whether that was so.
    fn take_back(&self, seq: u64) -> bool {
        let mut state = self.state();
        let unsent = seq > state.handed;
        if unsent {
            state.commands.remove(&seq);
        }
        unsent
    }

    /// Has a command cancelled that may have been handed out.
    fn cancel(&self, command: &str) {
        let mut state = self.state();
        if !state.cancel.iter().any(|id| id == command) {
            state.cancel.push(command.to_owned());
            self.wake.notify_waiters();
        }
    }

    /// What an agent has taken that is not among what it has, for longer than the lease.
    fn lost(&self, high_water: u64, has: &[String], now: i64) -> Vec<String> {
        let mut state = self.state();
        let taken = state.commands.range(..=high_water).map(|(_, (id, _))| id);
        let absent: Vec<String> = taken.filter(|id| !has.contains(id)).cloned().collect();
        state.absent.retain(|id, _| absent.contains(id));
        absent.into_iter().filter(|id| now - *state.absent.entry(id.clone()).or_insert(now) >= LEASE).collect()
    }

    fn release(&self, seq: u64) {
        self.state().reserved.remove(&seq);
        self.wake.notify_waiters();
    }

    fn forget(&self, command: &str) {
        let mut state = self.state();
        state.commands.retain(|_, (id, _)| id != command);
        state.cancel.retain(|id| id != command);
        state.cancels_told = state.cancels_told.min(state.cancel.len());
    }

    /// What is to be told to an agent that has everything up to `high_water`, and whether any of it is new to it.
    fn due(&self, high_water: u64) -> (Vec<Signed>, Vec<String>, bool) {
        let mut state = self.state();
        let end = state.reserved.first().copied().unwrap_or(u64::MAX).max(high_water.saturating_add(1));
        let due = || state.commands.range(high_water.saturating_add(1)..end);
        let commands: Vec<Signed> = due().map(|(_, (_, signed))| signed.clone()).collect();
        let last = due().next_back().map_or(high_water, |(seq, _)| *seq);
        let news = !commands.is_empty() || state.cancels_told < state.cancel.len();
        state.handed = state.handed.max(last);
        state.cancels_told = state.cancel.len();
        (commands, state.cancel.clone(), news)
    }

    /// Looks at who polls. A process that was followed by another one does not come back: twice is a twin. (Once may be a
    /// request that was long under way.)
    fn heard(&self, request: &PollRequest) -> Heard {
        let mut state = self.state();
        let mut heard = Heard::default();
        if request.high_water < state.kept {
            let (now, before) = (request.high_water, state.kept);
            heard.doubt = Some(format!("its journal ends at {now} and was kept up to {before}: it went back in time"));
            return heard;
        }
        if request.kept > state.kept {
            state.kept = request.kept;
            heard.keep = !std::mem::replace(&mut state.keeping, true);
        }
        let process = &request.process;
        if process.is_empty() || *process == state.process {
            return heard;
        }
        if state.former.contains(process) {
            state.returns += 1;
            heard.former = true;
            heard.doubt =
                (state.returns >= RETURNS).then(|| "two processes speak with its key: one is a clone".to_owned());
            return heard;
        }
        let before = std::mem::replace(&mut state.process, process.clone());
        state.former.push(before);
        if state.former.len() > FORMER {
            state.former.remove(0);
        }
        heard.newcomer = true;
        heard
    }

    /// Notes a high-water mark; whether it has risen over a command that has not ended.
    fn risen(&self, high_water: u64) -> bool {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.high_water, high_water);
        before < high_water && state.commands.range(before + 1..=high_water).next().is_some()
    }

    fn state(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beginning of what an agent has told, for a line of the audit trail.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(LONGEST_STRAY).collect()
}

/// Keeps a high-water mark for those commands that take their time: most have ended before it would be durable, and a mark
/// that is lost is told again by the next poll.
async fn mark(engine: Arc<Engine>, agent: String, queue: Arc<Queue>, high_water: u64) {
    tokio::time::sleep(MARK_AFTER).await;
    let open = queue.state().commands.range(..=high_water).next().is_some();
    if open && let Err(error) = engine.store.accepted(agent, high_water).await {
        tracing::warn!(error = chain(&error), "a mark was not kept");
    }
}

/// Stores the mark below which an agent's journal does not fall; those that come meanwhile along with it.
async fn keep_mark(engine: Arc<Engine>, agent: String, queue: Arc<Queue>) {
    tokio::time::sleep(MARK_AFTER).await;
    let kept = {
        let mut state = queue.state();
        state.keeping = false;
        state.kept
    };
    if let Err(error) = engine.store.set_kept(agent, kept).await {
        tracing::warn!(error = chain(&error), "a mark was not kept");
    }
}

/// An answer that tells nothing but these.
fn telling(commands: Vec<Signed>, cancel: Vec<String>, announcement: Option<Signed>) -> PollReply {
    PollReply { protocol: PROTOCOL, time: clock::unix_seconds(), commands, cancel, announcement }
}

/// An answer that tells nothing.
fn nothing() -> PollReply {
    telling(Vec::new(), Vec::new(), None)
}

impl Engine {
    /// Answers a poll: at once when there is something to tell or when the agent was away, is another version or another
    /// process (it wants to know that it is heard), else when there is something, or after `POLL_HOLD` seconds.
    pub async fn poll(self: &Arc<Self>, agent: &str, request: PollRequest) -> PollReply {
        if request.trial {
            // Another version runs there and takes the commands: this one only asks whether it is heard.
            return nothing();
        }
        let queue = self.delivery.queue(agent);
        let heard = queue.heard(&request);
        if let Some(why) = heard.doubt {
            if let Err(error) = self.quarantine(agent, why, "hub").await {
                tracing::error!(error = chain(&error), agent, "a quarantine was not kept");
            }
            return nothing();
        }
        if heard.former {
            return nothing();
        }
        if heard.keep {
            tokio::spawn(keep_mark(Arc::clone(self), agent.to_owned(), Arc::clone(&queue)));
        }
        let was_away = self.roster.seen(agent, &request.version, clock::unix_seconds()) || heard.newcomer;
        if was_away {
            self.delivery.arrived.notify_waiters();
        }
        if queue.risen(request.high_water) {
            tokio::spawn(mark(Arc::clone(self), agent.to_owned(), Arc::clone(&queue), request.high_water));
        }
        self.give_up(agent, &queue, &request).await;
        // Of an epoch before, it would not obey: it is led to this one first. Older versions know of no epochs.
        let behind = (1..self.identity.epoch).contains(&request.epoch);
        // What else an agent has told need not be kept for as long as it is held.
        let high_water = request.high_water;
        drop(request);
        let turn = queue.turns.fetch_add(1, Ordering::SeqCst) + 1;
        queue.wake.notify_waiters();
        let mut stopping = self.stopping();
        let hold = tokio::time::sleep(Duration::from_secs(POLL_HOLD));
        tokio::pin!(hold);
        let cuts = queue.cuts.load(Ordering::SeqCst);
        loop {
            // Before anything is looked at, so that nothing is missed.
            let woken = queue.wake.notified();
            // Held or forgotten between having been believed and now: nobody has cut this poll.
            if queue.cuts.load(Ordering::SeqCst) != cuts || !self.roster.listens_to(agent) {
                // The next poll is looked at anew, or refused.
                return nothing();
            }
            // Where another poll is newer, that one is told; an answer at once would only bring the next one.
            let newest = queue.turns.load(Ordering::SeqCst) == turn;
            let (commands, cancel, news) = if newest && !behind { queue.due(high_water) } else { Default::default() };
            let announcement = self.identity.announcement.clone().filter(|_| behind);
            let reply = telling(commands, cancel, announcement);
            if newest && (was_away || news) {
                if !reply.commands.is_empty() {
                    crash::point("command-handed");
                }
                return reply;
            }
            tokio::select! {
                () = woken => {}
                () = &mut hold => return reply,
                _ = stopping.wait_for(|stopping| *stopping) => return reply,
            }
        }
    }

    /// Ends what the agent does not have any more, though it has taken it: nobody will tell how it went.
    async fn give_up(&self, agent: &str, queue: &Queue, request: &PollRequest) {
        if request.running.len() >= RUNNING_LIMIT {
            return;
        }
        for id in queue.lost(request.high_water, &request.running, clock::monotonic_seconds()) {
            let why = "the agent has no record of it any more; whether it was done is not known";
            let outcome = Outcome { ending: Ending::Unknown, ..Outcome::failure(why) };
            let (agent, event) = (Some(agent.to_owned()), CommandEvent::AgentLost);
            match self.store.finish_command(agent, id.clone(), event, outcome.clone()).await {
                Ok(told) => {
                    queue.forget(&id);
                    self.delivery.ended(&id, &told.unwrap_or(outcome));
                }
                Err(error) => tracing::error!(error = chain(&error), command = id, "a lost command was not ended"),
            }
        }
    }

    /// Takes an agent's result: stores it once, wakes whoever waits. `false` where that agent has no such command.
    pub async fn take_result(&self, agent: &str, request: ResultRequest) -> Result<bool, StoreError> {
        let event = CommandEvent::Finished(request.outcome.ending);
        let id = request.command;
        crash::point("result-arrived");
        let said = format!("{}: {}", request.outcome.ending, first_line(&request.outcome.summary));
        let told = self.store.finish_command(Some(agent.to_owned()), id.clone(), event, request.outcome).await?;
        crash::point("result-stored");
        self.delivery.queue(agent).forget(&id);
        if let Some(outcome) = &told {
            self.delivery.ended(&id, outcome);
        } else if self.identity.announcement.is_some() {
            // Of after the backup, most likely: this hub did not give it, and yet it was done.
            tracing::warn!(agent, command = id, said, "the end of a command that is not on record");
            self.store.stray(agent.to_owned(), first_line(&id), said, clock::unix_seconds()).await?;
        }
        Ok(told.is_some())
    }

    /// What a running command belongs to, if it is this agent's.
    pub fn about(&self, agent: &str, command: &str) -> Option<About> {
        let queue = self.delivery.queue(agent);
        let mine = queue.state().commands.values().any(|(id, _)| id == command);
        mine.then(|| self.delivery.waiting().get(command).map(|waiter| waiter.about.clone())).flatten()
    }

    /// Sends a command and waits for its end.
    pub async fn dispatch(&self, order: Order) -> Result<Outcome, StoreError> {
        let (id, now) = (random::id(), clock::unix_seconds());
        let agent = order.agent.clone();
        let changes = matches!(&order.work, Work::Perform { op } if policy::base(op) > Risk::Observe);
        let done = self.delivery.wait_for(&id, order.about.clone());
        let seconds = order.timeout;
        let nonce = match &order.work {
            Work::Deploy { order } | Work::Attest { order } => Some(order.nonce.clone()),
            _ => None,
        };
        let access = match self.access(&order, &id).await {
            Ok(access) => access,
            Err(error) => {
                self.delivery.waiting().remove(&id);
                return Err(error);
            }
        };
        let command = Command {
            hub: self.identity.pointer.hub.clone(),
            epoch: self.identity.epoch,
            agent: order.agent.clone(),
            generation: order.generation,
            seq: 0,
            id: id.clone(),
            plan: order.digest,
            target: order.about.target.clone(),
            work: order.work,
            access,
            issued: now,
            expires: now + TAKE_WITHIN,
            timeout: seconds,
        };
        let added = self.add_command(command, &order.about, nonce).await;
        let record = match added {
            Ok(record) => record,
            Err(error) => {
                self.delivery.waiting().remove(&id);
                return Err(error);
            }
        };
        crash::point("command-stored");
        self.delivery.queue(&order.agent).push(&record);
        if self.cancelled(&order.about.plan)? {
            // Cancelled while the command was being stored: nobody else would tell the agent.
            self.cancel_commands(&order.about.plan).await?;
        }
        let outcome = self.wait(&record, done, seconds).await?;
        if changes {
            self.overview.acted(&agent, clock::unix_seconds());
        }
        Ok(outcome)
    }

    async fn add_command(
        &self,
        command: Command,
        about: &About,
        nonce: Option<String>,
    ) -> Result<CommandRecord, StoreError> {
        let key = Arc::clone(&self.identity.key);
        let agent = command.agent.clone();
        let (queue, given) = (self.delivery.queue(&agent), Arc::new(AtomicU64::new(0)));
        let (reserving, giving) = (Arc::clone(&queue), Arc::clone(&given));
        let make = move |seq| {
            reserving.reserve(seq);
            giving.store(seq, Ordering::Relaxed);
            let command = Command { seq, ..command };
            let signed = command.sign(&key);
            (command, signed)
        };
        let new = NewCommand { plan: about.plan.clone(), step: about.step, nonce, make: Box::new(make) };
        let added = self.store.add_command(agent, new).await;
        if added.is_err() {
            queue.release(given.load(Ordering::Relaxed));
        }
        added
    }

    /// Waits for a command that was sent before the hub stopped.
    pub async fn adopt(&self, record: CommandRecord, about: About, seconds: u64) -> Result<Outcome, StoreError> {
        if let Some(outcome) = record.outcome {
            return Ok(outcome);
        }
        let (queue, stopped) = (self.delivery.queue(&record.agent), self.cancelled(&about.plan)?);
        let done = self.delivery.wait_for(&record.id, about);
        if stopped {
            // The hub was stopped before the agent had been told; what it has not begun it does not begin.
            queue.cancel(&record.id);
        }
        self.wait(&record, done, seconds).await
    }

    async fn wait(
        &self,
        record: &CommandRecord,
        mut done: oneshot::Receiver<Outcome>,
        seconds: u64,
    ) -> Result<Outcome, StoreError> {
        let queue = self.delivery.queue(&record.agent);
        // Whatever the clock does meanwhile.
        let valid = (record.expires + 1 - clock::unix_seconds()).clamp(0, TAKE_WITHIN + 1).unsigned_abs();
        if let Ok(Ok(outcome)) = timeout(Duration::from_secs(valid), &mut done).await {
            return Ok(outcome);
        }
        let taken = !queue.take_back(record.seq);
        if taken
            && let Ok(Ok(outcome)) =
                timeout(Duration::from_secs(seconds + RESULT_GRACE - TAKE_WITHIN.unsigned_abs()), done).await
        {
            return Ok(outcome);
        }
        queue.forget(&record.id);
        self.delivery.waiting().remove(&record.id);
        let outcome = if taken {
            let why = format!("no result within {} s; whether it was done is not known", seconds + RESULT_GRACE);
            Outcome { ending: Ending::Unknown, ..Outcome::failure(why) }
        } else {
            Outcome::failure("the agent did not take the command in time; nothing was done")
        };
        let event = if taken { CommandEvent::Finished(Ending::Unknown) } else { CommandEvent::ValidityOver };
        let told = self.store.finish_command(None, record.id.clone(), event, outcome.clone()).await?;
        Ok(told.unwrap_or(outcome))
    }

    /// Ends what an agent was told and has not told the end of: nothing that it says is believed any more.
    pub(super) async fn abandon(&self, agent: &str, why: &str) -> Result<(), StoreError> {
        let queue = self.delivery.queue(agent);
        let open: Vec<(String, bool)> = {
            let state = queue.state();
            state.commands.iter().map(|(seq, (id, _))| (id.clone(), *seq <= state.handed)).collect()
        };
        for (id, handed) in open {
            queue.forget(&id);
            let (event, outcome) = if handed {
                let unknown = Outcome::failure(format!("{why}; whether this was done is not known"));
                (CommandEvent::Finished(Ending::Unknown), Outcome { ending: Ending::Unknown, ..unknown })
            } else {
                let unsent = Outcome::failure(format!("{why}; this was not sent"));
                (CommandEvent::CancelledUnsent, Outcome { ending: Ending::Cancelled, ..unsent })
            };
            let told = self.store.finish_command(None, id.clone(), event, outcome.clone()).await?;
            self.delivery.ended(&id, &told.unwrap_or(outcome));
        }
        Ok(())
    }

    /// Cancels a plan's commands: what no agent has taken ends at once, the others are told.
    pub async fn cancel_commands(&self, plan: &str) -> Result<(), StoreError> {
        let ids: Vec<String> = {
            let waiting = self.delivery.waiting();
            waiting.iter().filter(|(_, waiter)| waiter.about.plan == plan).map(|(id, _)| id.clone()).collect()
        };
        let queues: Vec<Arc<Queue>> =
            self.delivery.queues.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for id in ids {
            let mut unsent = false;
            for queue in &queues {
                let seq = queue.state().commands.iter().find(|(_, (known, _))| *known == id).map(|(seq, _)| *seq);
                let Some(seq) = seq else { continue };
                unsent = queue.take_back(seq);
                if !unsent {
                    queue.cancel(&id);
                }
            }
            if unsent {
                let outcome = Outcome { ending: Ending::Cancelled, ..Outcome::failure("cancelled before it was sent") };
                let event = CommandEvent::CancelledUnsent;
                let told = self.store.finish_command(None, id.clone(), event, outcome.clone()).await?;
                self.delivery.ended(&id, &told.unwrap_or(outcome));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(process: &str, high_water: u64, kept: u64) -> PollRequest {
        let process = process.to_owned();
        let version = "1".to_owned();
        PollRequest {
            protocol: 1,
            version,
            high_water,
            kept,
            process,
            running: Vec::new(),
            capabilities: Vec::new(),
            trial: false,
            epoch: 0,
        }
    }

    #[test]
    fn another_process_is_a_newcomer_and_a_former_one_a_twin() {
        let queue = Queue::default();
        assert!(queue.heard(&poll("a", 0, 0)).newcomer);
        assert_eq!(queue.heard(&poll("a", 0, 0)), Heard::default());
        assert!(queue.heard(&poll("b", 0, 0)).newcomer, "restarted");
        let late = Heard { former: true, ..Heard::default() };
        assert_eq!(queue.heard(&poll("a", 0, 0)), late, "one request may have been long under way");
        assert_eq!(queue.heard(&poll("b", 0, 0)), Heard::default());
        assert!(queue.heard(&poll("a", 0, 0)).doubt.unwrap().contains("two processes"));
        assert_eq!(queue.heard(&poll("", 0, 0)), Heard::default(), "an older agent does not tell");
    }

    #[test]
    fn a_journal_that_went_back_is_no_crash() {
        let queue = Queue::default();
        let heard = queue.heard(&poll("a", 9, 7));
        assert!(heard.keep && heard.doubt.is_none());
        assert_eq!(queue.heard(&poll("a", 7, 7)).doubt, None, "a power cut takes what only reads");
        assert!(queue.heard(&poll("a", 6, 6)).doubt.unwrap().contains("ends at 6 and was kept up to 7"));
    }
}
