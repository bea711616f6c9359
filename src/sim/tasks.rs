//! Tasks: what a request sets going and answers a UPID for. Each runs on a thread of its own, writes a log, and ends with
//! a status; a failure is told there and nowhere else.

use super::lock;
use crate::sys::clock::unix_seconds as now;
use std::{
    fmt,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The name of a task: `UPID:node:pid:pstart:starttime:type:id:user:`, numbers in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upid {
    /// The node that it runs on.
    pub node: String,
    /// Its process.
    pub pid: u32,
    /// When that process started, in hundredths of seconds since the node's start.
    pub pstart: u64,
    /// When the task started.
    pub starttime: i64,
    /// `vzstart`, `qmstop`, …
    pub kind: String,
    /// What it is about: mostly a vmid.
    pub id: String,
    /// Whoever asked for it.
    pub user: String,
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, pid, pstart, starttime, kind, id, user } = self;
        write!(f, "UPID:{node}:{pid:08X}:{pstart:08X}:{starttime:08X}:{kind}:{id}:{user}:")
    }
}

impl Upid {
    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        if parts.next()? != "UPID" {
            return None;
        }
        let mut next = || parts.next();
        let upid = Self {
            node: next().filter(|node| !node.is_empty())?.to_owned(),
            pid: u32::from_str_radix(next()?, 16).ok()?,
            pstart: u64::from_str_radix(next()?, 16).ok()?,
            starttime: i64::from_str_radix(next()?, 16).ok()?,
            kind: next()?.to_owned(),
            id: next()?.to_owned(),
            user: next()?.to_owned(),
        };
        (parts.next() == Some("") && parts.next().is_none()).then_some(upid)
    }
}

/// One task.
pub struct Task {
    /// Its name.
    pub upid: Upid,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    log: Vec<String>,
    end: Option<(i64, String)>,
    abort: bool,
}

/// A task's log, as its body sees it.
#[derive(Clone)]
pub struct TaskLog(Arc<Task>);

impl TaskLog {
    /// Adds a line.
    pub fn line(&self, text: impl Into<String>) {
        lock(&self.0.state).log.push(text.into());
    }

    /// Whether somebody has asked for the task's end.
    pub fn aborted(&self) -> bool {
        lock(&self.0.state).abort
    }

    /// Waits until somebody asks for the task's end, but not longer than this; whether somebody did.
    pub fn aborted_within(&self, patience: Duration) -> bool {
        let state = lock(&self.0.state);
        let (state, _) = self
            .0
            .changed
            .wait_timeout_while(state, patience, |state| !state.abort)
            .unwrap_or_else(PoisonError::into_inner);
        state.abort
    }
}

impl Task {
    /// How it ended and when; `None` while it runs.
    pub fn end(&self) -> Option<(i64, String)> {
        lock(&self.state).end.clone()
    }

    /// Its log so far.
    pub fn log(&self) -> Vec<String> {
        lock(&self.state).log.clone()
    }

    /// Asks for its end and waits for it a while, as the real API does.
    pub fn abort(&self, patience: Duration) {
        lock(&self.state).abort = true;
        self.changed.notify_all();
        self.wait(patience);
    }

    /// Waits for its end.
    pub fn wait(&self, patience: Duration) -> Option<(i64, String)> {
        let state = lock(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, patience, |state| state.end.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.end.clone()
    }

    fn finish(&self, outcome: Result<(), String>) {
        let mut state = lock(&self.state);
        let (line, status) = match outcome {
            Ok(()) => (Some("TASK OK".to_owned()), "OK".to_owned()),
            Err(_) if state.abort => (None, "unexpected status".to_owned()),
            Err(error) => (Some(format!("TASK ERROR: {error}")), error),
        };
        state.log.extend(line);
        state.end = Some((now(), status));
        drop(state);
        self.changed.notify_all();
    }
}

/// All tasks of a cluster, oldest first.
pub struct Tasks {
    all: Mutex<Vec<Arc<Task>>>,
    next_pid: AtomicU32,
    since: Instant,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { all: Mutex::default(), next_pid: AtomicU32::new(0x400), since: Instant::now() }
    }
}

impl Tasks {
    /// Sets a task going.
    pub fn start<F>(&self, node: &str, kind: String, id: String, user: &str, body: F) -> Arc<Task>
    where
        F: FnOnce(&TaskLog) -> Result<(), String> + Send + 'static,
    {
        let upid = Upid {
            node: node.to_owned(),
            pid: self.next_pid.fetch_add(1, Ordering::Relaxed),
            pstart: u64::try_from(self.since.elapsed().as_millis() / 10).unwrap_or(u64::MAX),
            starttime: now(),
            kind,
            id,
            user: user.to_owned(),
        };
        let task = Arc::new(Task { upid, state: Mutex::default(), changed: Condvar::new() });
        lock(&self.all).push(Arc::clone(&task));
        let log = TaskLog(Arc::clone(&task));
        thread::spawn(move || {
            let guard = EndsAnyway(&log.0);
            let outcome = body(&log);
            std::mem::forget(guard);
            log.0.finish(outcome);
        });
        task
    }

    /// The task of that name.
    pub fn find(&self, upid: &str) -> Option<Arc<Task>> {
        lock(&self.all).iter().find(|task| task.upid.to_string() == upid).cloned()
    }

    /// All of them, the newest first.
    pub fn newest_first(&self) -> Vec<Arc<Task>> {
        lock(&self.all).iter().rev().cloned().collect()
    }
}

/// Ends a task whose body panicked.
struct EndsAnyway<'a>(&'a Task);

impl Drop for EndsAnyway<'_> {
    fn drop(&mut self) {
        self.0.finish(Err("unexpected status".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_upid_prints_as_it_was_recorded() {
        let recorded = "UPID:pve1:00000333:000B7BCF:6B02A8A2:vzstart:101:root@pam:";
        let upid = Upid::parse(recorded).unwrap();
        assert_eq!((upid.pid, upid.starttime, upid.kind.as_str()), (819, 1_795_336_354, "vzstart"));
        assert_eq!(upid.to_string(), recorded);
        for wrong in ["garbage", "UPID:pve1:1:2:3:vzstart:101:root@pam", "UPID:pve1:x:2:3:vzstart:101:root@pam:"] {
            assert_eq!(Upid::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_task_whose_body_panics_ends_all_the_same() {
        let tasks = Tasks::default();
        let task = tasks.start("pve1", "vzstart".to_owned(), "101".to_owned(), "root@pam", |_| panic!("on purpose"));
        let (_, status) = task.wait(Duration::from_secs(10)).unwrap();
        assert_eq!(status, "unexpected status");
    }

    #[test]
    fn an_aborted_task_says_so_to_its_body() {
        let tasks = Tasks::default();
        let task = tasks.start("pve1", "vzshutdown".to_owned(), "101".to_owned(), "root@pam", |log| {
            if log.aborted_within(Duration::from_mins(1)) { Err("received interrupt".to_owned()) } else { Ok(()) }
        });
        task.abort(Duration::from_secs(10));
        assert_eq!(task.end().unwrap().1, "unexpected status");
    }
}
