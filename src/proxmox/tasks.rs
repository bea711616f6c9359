//! Following a task to its end: its status, and its log in pages of 50 lines, told as progress.

use super::{client::Client, error::ApiError, lenient, requests::cluster, upid::Upid};
use crate::sys::{task::Task, text::one_line};
use serde::Deserialize;
use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

/// Lines of a page, which is also what Proxmox gives unasked.
const PAGE: usize = 50;
/// Pages that are read of one log in one go; a log that grows faster is caught up with at the next look.
const PAGES: usize = 20;
/// For how long looks may fail while a task runs (pveproxy restarts, a node is busy) before following ends.
const OUT_OF_SIGHT: Duration = Duration::from_mins(1);
/// How long a cancelled task is given to end.
const ABORT_GRACE: Duration = Duration::from_secs(10);

/// How a task ended, or why it was not followed to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// It did what it was to do, with so many warnings.
    Done {
        /// `WARNINGS: n`.
        warnings: u64,
    },
    /// It failed: Proxmox's own words.
    Failed(String),
    /// It was aborted because the operation was cancelled.
    Cancelled,
    /// It still runs, and our time is up.
    StillRunning,
}

#[derive(Deserialize)]
pub(super) struct Status {
    status: String,
    #[serde(default)]
    exitstatus: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Line {
    #[serde(deserialize_with = "lenient::text")]
    t: String,
}

/// Follows a task until it ends, until the task's time is up, or until it is cancelled: then it is aborted. An error means
/// that its end was not seen: whether it did what it was to do is not known.
pub fn follow(client: &Client, upid: &Upid, task: &Task) -> Result<Followed, ApiError> {
    let mut pace = Pace::new(task);
    let mut log = Log::default();
    let mut failing: Option<Instant> = None;
    loop {
        match look(client, upid, &mut log, task) {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) => failing = None,
            Err(error) if transient(&error) && failing.get_or_insert_with(Instant::now).elapsed() < OUT_OF_SIGHT => {}
            Err(error) => return Err(error),
        }
        match pace.wait() {
            Wait::Again => {}
            Wait::TimeUp => return Ok(Followed::StillRunning),
            Wait::Cancelled => return abort(client, upid, &mut log, task),
        }
    }
}

fn look(client: &Client, upid: &Upid, log: &mut Log, task: &Task) -> Result<Option<Followed>, ApiError> {
    let status: Status = client.ask(&cluster::task_status(upid))?;
    log.tell(client, upid, task)?;
    let ended =
        (status.status == "stopped").then(|| ended(status.exitstatus.as_deref().unwrap_or("unexpected status")));
    Ok(ended.map(|ended| match ended {
        Followed::Failed(why) => Followed::Failed(log.explain(why)),
        other => other,
    }))
}

/// Stops the task and waits for its end: what Proxmox can't stop any more may still have been done.
fn abort(client: &Client, upid: &Upid, log: &mut Log, task: &Task) -> Result<Followed, ApiError> {
    let _: serde_json::Value = client.ask(&cluster::task_stop(upid))?;
    let mut pace = Pace::new(&Task { timeout: ABORT_GRACE, cancel: crate::sys::cancel::Cancel::new(), ..*task });
    loop {
        match look(client, upid, log, task)? {
            Some(Followed::Failed(_)) => return Ok(Followed::Cancelled),
            Some(ended) => return Ok(ended),
            None if matches!(pace.wait(), Wait::Again) => {}
            None => return Ok(Followed::StillRunning),
        }
    }
}

fn transient(error: &ApiError) -> bool {
    matches!(error, ApiError::Unreachable { .. } | ApiError::Lost { .. }) || matches!(error.status(), Some(595..=599))
}

fn ended(exit: &str) -> Followed {
    match exit.strip_prefix("WARNINGS: ") {
        _ if exit == "OK" => Followed::Done { warnings: 0 },
        Some(count) => Followed::Done { warnings: count.trim().parse().unwrap_or(1) },
        None => Followed::Failed(one_line(exit, 500)),
    }
}

/// How much of a log has been told.
#[derive(Default)]
struct Log {
    told: usize,
    /// The last line that says something.
    last: String,
}

impl Log {
    /// Where Proxmox says no more than that a command failed, the reason is what that printed last.
    fn explain(&self, why: String) -> String {
        let bare = why.contains("exit code") || why == "migration aborted" || why == "job errors";
        let reason = self.last.trim_start_matches("ERROR: ").trim();
        if !bare || reason.is_empty() || why.contains(reason) || reason.contains(&why) {
            return why;
        }
        format!("{why}: {reason}")
    }

    fn tell(&mut self, client: &Client, upid: &Upid, task: &Task) -> Result<(), ApiError> {
        for _ in 0..PAGES {
            let lines: Vec<Line> = client.ask(&cluster::task_log(upid, self.told, PAGE))?;
            // A log without a line is told as this one line.
            if matches!(&lines[..], [only] if only.t == "no content") {
                return Ok(());
            }
            for line in lines.iter().filter(|line| !line.t.starts_with("TASK ")) {
                self.last = one_line(&line.t, 300);
                task.report.progress(&self.last);
            }
            self.told += lines.len();
            if lines.len() < PAGE {
                break;
            }
        }
        Ok(())
    }
}

/// What comes after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Another look.
    Again,
    /// Nothing: cancelled.
    Cancelled,
    /// Nothing: the time is up.
    TimeUp,
}

/// The pauses between looks: Proxmox has nothing that could be awaited, so they grow from 100 ms to 1 s. The only place
/// where this program waits for time to pass.
pub(super) struct Pace {
    next: Duration,
    deadline: Instant,
    cancelled: Receiver<()>,
    /// Keeps the channel open where nobody can cancel.
    _open: Sender<()>,
}

impl Pace {
    /// Pauses that end with the task's time, or at once when it is cancelled.
    pub fn new(task: &Task) -> Self {
        let (sender, cancelled) = mpsc::channel();
        let fire = sender.clone();
        // The receiver may be gone: then nobody waits any more.
        task.cancel.on_fire(move || fire.send(()).unwrap_or_default());
        Self { next: Duration::from_millis(100), deadline: Instant::now() + task.timeout, cancelled, _open: sender }
    }

    /// Pauses.
    pub fn wait(&mut self) -> Wait {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Wait::TimeUp;
        }
        let pause = self.next.min(left);
        self.next = (self.next * 3 / 2).min(Duration::from_secs(1));
        match self.cancelled.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Wait::Again,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Wait::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cancel::Cancel;

    #[test]
    fn warnings_are_a_success() {
        assert_eq!(ended("OK"), Followed::Done { warnings: 0 });
        assert_eq!(ended("WARNINGS: 3"), Followed::Done { warnings: 3 });
        assert_eq!(ended("CT is locked (backup)"), Followed::Failed("CT is locked (backup)".into()));
    }

    #[test]
    fn a_bare_failure_is_told_with_what_was_printed_last() {
        let explained = |why: &str, last: &str| Log { told: 0, last: last.to_owned() }.explain(why.to_owned());
        let command = "command 'ha-manager crm-command migrate ct:101 pve2' failed: exit code 255";
        let rule = "cannot migrate resource 'ct:101' to node 'pve2': in negative affinity with 'ct:102'";
        assert_eq!(explained(command, rule), format!("{command}: {rule}"));
        assert_eq!(
            explained("migration aborted", "ERROR: storage 'x' is not available"),
            "migration aborted: storage 'x' is not available"
        );
        for (why, last) in [("CT is locked (backup)", "something"), (command, ""), (command, command)] {
            assert_eq!(explained(why, last), why);
        }
    }

    #[test]
    fn a_pause_ends_when_cancelled_and_when_the_time_is_up() {
        let cancel = Cancel::new();
        cancel.fire();
        let mut pace = Pace::new(&Task { cancel, ..Task::default() });
        assert_eq!(pace.wait(), Wait::Cancelled);
        let mut pace = Pace::new(&Task { timeout: Duration::from_millis(120), ..Task::default() });
        assert_eq!([pace.wait(), pace.wait(), pace.wait()], [Wait::Again, Wait::Again, Wait::TimeUp]);
    }
}
