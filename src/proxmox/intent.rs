//! What is about to be asked for, noted before it is asked: should the answer get lost, the task is looked for among the
//! node's tasks (by type, guest, time and user) instead of asking again, because asking twice may do it twice.

use super::{
    client::Client,
    error::ApiError,
    requests::{Call, cluster},
    tasks::{Pace, Wait},
    upid::Upid,
};
use crate::{
    model::target::Vmid,
    sys::{clock, task::Task},
};
use serde::Deserialize;
use std::time::Duration;

/// How long a task is looked for whose request got no answer: it may not have begun yet.
const SEARCH: Duration = Duration::from_secs(20);
/// By how much a node's clock may differ from ours, in seconds.
const SKEW: i64 = 5;

/// A request that is about to be sent.
pub(super) struct Intent<'a> {
    node: &'a str,
    about: Option<Vmid>,
    kinds: &'static [&'static str],
    since: i64,
}

#[derive(Deserialize)]
struct Line {
    upid: Upid,
}

impl<'a> Intent<'a> {
    /// Notes it. `node` is where its task will run; `about` the guest that the task will name.
    pub fn of(call: &Call, node: &'a str, about: Option<Vmid>) -> Self {
        Self { node, about, kinds: call.tasks(), since: clock::unix_seconds() - SKEW }
    }

    /// Sends it, and finds its task in either way.
    pub fn send(&self, client: &Client, call: &Call, task: &Task) -> Result<Upid, ApiError> {
        let upid: Upid = match client.ask(call) {
            Err(lost) if lost.may_have_acted() => {
                task.report.progress("no answer: looking for the task");
                self.search(client, task).ok_or(lost)?
            }
            answered => answered?,
        };
        // So that an earlier task of ours is never taken for a later one.
        client.remember(&upid);
        Ok(upid)
    }

    fn search(&self, client: &Client, task: &Task) -> Option<Upid> {
        let mut pace = Pace::new(&Task { timeout: SEARCH.min(task.timeout), ..task.clone() });
        loop {
            // A node that does not answer yet is asked again.
            let found = self.matching(client).unwrap_or_default();
            let mut new = found.into_iter().filter(|upid| !client.remembers(upid));
            match (new.next(), new.next()) {
                (Some(only), None) => return Some(only),
                (None, _) if pace.wait() == Wait::Again => {}
                // None in all that time, or two of ours that can't be told apart: nobody knows.
                _ => return None,
            }
        }
    }

    fn matching(&self, client: &Client) -> Result<Vec<Upid>, ApiError> {
        let lines: Vec<Line> = client.ask(&cluster::tasks_since(self.node, self.since, self.about))?;
        let ours = |upid: &Upid| upid.user() == client.user() && self.kinds.contains(&upid.kind());
        Ok(lines.into_iter().map(|line| line.upid).filter(ours).collect())
    }
}
