//! Commands on their way: queued durably, handed to the agent that polls for them, redelivered until its journal has
//! them, and their results given to whoever waits.

use super::Engine;
use crate::{
    link::{
        POLL_HOLD, PROTOCOL,
        envelope::{Command, Signed, Work},
        keys::PublicKey,
        wire::{PollReply, PollRequest, ResultRequest},
    },
    model::{
        Outcome, Target,
        digest::Digest,
        outcome::{Ending, chain},
        state::CommandEvent,
    },
    store::{CommandRecord, NewCommand, StoreError},
    sys::{clock, random},
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
    sync::{Notify, oneshot},
    time::timeout,
};

/// An agent must have taken a command within so many seconds.
pub(super) const TAKE_WITHIN: i64 = 60;
/// How long a command may be under way before its acceptance is kept.
const MARK_AFTER: Duration = Duration::from_secs(1);
/// How much longer than the command itself its result may take, in seconds.
const RESULT_GRACE: u64 = TAKE_WITHIN.unsigned_abs() + 30;

/// Queues and waiters.
pub struct Delivery {
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    waiting: Mutex<HashMap<String, Waiter>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Pending>,
    wake: Notify,
    /// How often the polls that were held had to end at once.
    cuts: AtomicU64,
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
    /// With the commands that had not ended when the hub stopped.
    pub fn new(open: Vec<CommandRecord>, hub: &PublicKey) -> Self {
        let delivery = Self { queues: Mutex::default(), waiting: Mutex::default() };
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

    fn queue(&self, agent: &str) -> Arc<Queue> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(agent.to_owned()).or_default())
    }

    /// Ends the polls of an agent that are being held: who it is has changed.
    pub fn cut(&self, agent: &str) {
        let queue = self.queue(agent);
        queue.cuts.fetch_add(1, Ordering::SeqCst);
        queue.wake.notify_waiters();
        // For the poll that is just about to wait.
        queue.wake.notify_one();
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
        self.wake.notify_one();
    }

    fn reserve(&self, seq: u64) {
        self.state().reserved.insert(seq);
    }

    fn release(&self, seq: u64) {
        self.state().reserved.remove(&seq);
        self.wake.notify_one();
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

/// Keeps a high-water mark for those commands that take their time: most have ended before it would be durable, and a mark
/// that is lost is told again by the next poll.
async fn mark(engine: Arc<Engine>, agent: String, queue: Arc<Queue>, high_water: u64) {
    tokio::time::sleep(MARK_AFTER).await;
    let open = queue.state().commands.range(..=high_water).next().is_some();
    if open && let Err(error) = engine.store.accepted(agent, high_water).await {
        tracing::warn!(error = chain(&error), "a mark was not kept");
    }
}

impl Engine {
    /// Answers a poll: at once when there is something to tell or when the agent was away (it wants to know that it is
    /// heard), else when there is something, or after `POLL_HOLD` seconds.
    pub async fn poll(self: &Arc<Self>, agent: &str, request: &PollRequest) -> PollReply {
        let queue = self.delivery.queue(agent);
        let was_away = self.roster.seen(agent, &request.version, clock::unix_seconds());
        if queue.risen(request.high_water) {
            tokio::spawn(mark(Arc::clone(self), agent.to_owned(), Arc::clone(&queue), request.high_water));
        }
        let mut stopping = self.stopping();
        let hold = tokio::time::sleep(Duration::from_secs(POLL_HOLD));
        tokio::pin!(hold);
        let cuts = queue.cuts.load(Ordering::SeqCst);
        loop {
            if queue.cuts.load(Ordering::SeqCst) != cuts {
                // The next poll is looked at anew, or refused.
                let time = clock::unix_seconds();
                return PollReply { protocol: PROTOCOL, time, commands: Vec::new(), cancel: Vec::new() };
            }
            let (commands, cancel, news) = queue.due(request.high_water);
            let reply = PollReply { protocol: PROTOCOL, time: clock::unix_seconds(), commands, cancel };
            if was_away || news {
                return reply;
            }
            tokio::select! {
                () = queue.wake.notified() => {}
                () = &mut hold => return reply,
                _ = stopping.wait_for(|stopping| *stopping) => return reply,
            }
        }
    }

    /// Takes an agent's result: stores it once, wakes whoever waits. `false` where that agent has no such command.
    pub async fn take_result(&self, agent: &str, request: ResultRequest) -> Result<bool, StoreError> {
        let event = CommandEvent::Finished(request.outcome.ending);
        let id = request.command;
        let told = self.store.finish_command(Some(agent.to_owned()), id.clone(), event, request.outcome).await?;
        self.delivery.queue(agent).forget(&id);
        if let Some(outcome) = &told {
            self.delivery.ended(&id, outcome);
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
        let done = self.delivery.wait_for(&id, order.about.clone());
        let seconds = order.timeout;
        let nonce = match &order.work {
            Work::Deploy { order } => Some(order.nonce.clone()),
            _ => None,
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
        self.delivery.queue(&order.agent).push(&record);
        if self.cancelled(&order.about.plan)? {
            // Cancelled while the command was being stored: nobody else would tell the agent.
            self.cancel_commands(&order.about.plan).await?;
        }
        self.wait(&record, done, seconds).await
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
        let done = self.delivery.wait_for(&record.id, about);
        self.wait(&record, done, seconds).await
    }

    async fn wait(
        &self,
        record: &CommandRecord,
        done: oneshot::Receiver<Outcome>,
        seconds: u64,
    ) -> Result<Outcome, StoreError> {
        if let Ok(Ok(outcome)) = timeout(Duration::from_secs(seconds + RESULT_GRACE), done).await {
            return Ok(outcome);
        }
        self.delivery.queue(&record.agent).forget(&record.id);
        self.delivery.waiting().remove(&record.id);
        let taken = self.delivery.queue(&record.agent).state().handed >= record.seq;
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
                let mut state = queue.state();
                let Some(seq) = state.commands.iter().find(|(_, (known, _))| *known == id).map(|(seq, _)| *seq) else {
                    continue;
                };
                unsent = seq > state.handed;
                if unsent {
                    state.commands.remove(&seq);
                } else if !state.cancel.contains(&id) {
                    state.cancel.push(id.clone());
                    queue.wake.notify_one();
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
