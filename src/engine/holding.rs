//! Agents that are not listened to: locked by an operator, quarantined because they may not be who they were, or evicted
//! for good. Whatever an agent has open then ends at once: its poll, its requests, what it fetches.

use super::{Engine, asking::stored, roster::Agent, seal::Row};
use crate::{
    model::{
        Exit, Failure, Target,
        hold::{Hold, HoldKind},
        messages::{AgentRow, HoldRequest},
    },
    store::{AgentRecord, StoreError},
    sys::clock,
};

/// The longest reason that is kept, in characters.
const LONGEST_WHY: usize = 200;

impl Engine {
    /// Locks the agent of a target: it is not listened to, and told nothing, until `unlock`.
    pub async fn lock(&self, request: HoldRequest, operator: &str) -> Result<AgentRow, Failure> {
        let _membership = self.membership.lock().await;
        let agent = self.member(&request.target)?;
        let beneath = agent.record.hold.as_ref().and_then(|hold| match hold.kind {
            HoldKind::Locked => hold.beneath.clone(),
            HoldKind::Quarantined => Some(hold.why.clone()),
        });
        let why = request.why.chars().take(LONGEST_WHY).collect();
        let hold = Hold { kind: HoldKind::Locked, why, since: clock::unix_seconds(), by: operator.to_owned(), beneath };
        self.keep_hold(&agent.record, Some(hold), "agent.lock", operator).await?;
        self.row(&request.target)
    }

    /// Takes a lock back. One that was quarantined before is so again.
    pub async fn unlock(&self, request: HoldRequest, operator: &str) -> Result<AgentRow, Failure> {
        let _membership = self.membership.lock().await;
        let agent = self.member(&request.target)?;
        match &agent.record.hold {
            None => {}
            Some(Hold { kind: HoldKind::Locked, since, by, beneath, .. }) => {
                let (since, by) = (*since, by.clone());
                let again = |why| Hold { kind: HoldKind::Quarantined, why, since, by, beneath: None };
                self.keep_hold(&agent.record, beneath.clone().map(again), "agent.unlock", operator).await?;
            }
            Some(hold) => {
                let failure = Failure::new(format!("the agent of {} is {hold}", request.target));
                return Err(failure.help(hold.kind.help(&request.target)).exit(Exit::Denied));
            }
        }
        self.row(&request.target)
    }

    /// Ends an agent's identity for good: its key is never taken again.
    pub async fn evict(&self, request: HoldRequest, operator: &str) -> Result<AgentRow, Failure> {
        let target = request.target;
        if request.typed.as_deref() != Some(target.to_string().as_str()) {
            let failure = Failure::new(format!("evicting the agent of {target} ends its identity for good"));
            return Err(failure.help(format!("remotectl agents evict {target} --confirm {target}")).exit(Exit::Denied));
        }
        let _membership = self.membership.lock().await;
        let row = self.row(&target)?;
        let (id, now) = (row.id.clone(), clock::unix_seconds());
        let evicted = self.store.evict_agent(id.clone(), target, operator.to_owned(), now).await;
        evicted.map_err(|error| stored("evicting the agent", &error))?;
        self.roster.remove(&id);
        self.cut(&id);
        let abandoned = self.abandon(&id, "its agent is evicted").await;
        abandoned.map_err(|error| stored("ending the agent's commands", &error))?;
        Ok(row)
    }

    /// Ends what an agent has open: who it is, or whether it is listened to, has changed.
    pub(super) fn cut(&self, id: &str) {
        self.delivery.cut(id);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Returns when an agent is not listened to any more.
    pub async fn until_held(&self, id: &str) {
        let mut changes = self.changes.subscribe();
        while self.roster.listens_to(id) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn member(&self, target: &Target) -> Result<Agent, Failure> {
        self.roster.of_target(target).ok_or_else(|| {
            Failure::new(format!("{target} has no agent")).help("`remotectl agents` lists those that there are")
        })
    }

    pub(super) fn row(&self, target: &Target) -> Result<AgentRow, Failure> {
        let inventory = self.inventory();
        let found = self.agent_rows(&inventory).into_iter().find(|row| row.target == *target);
        found.ok_or_else(|| Failure::new(format!("{target} has no agent")).help("remotectl agents"))
    }

    async fn keep_hold(
        &self,
        record: &AgentRecord,
        hold: Option<Hold>,
        what: &'static str,
        by: &str,
    ) -> Result<(), Failure> {
        let kept = self.hold(record, hold, what, by).await;
        kept.map_err(|error| stored("keeping whether the agent is listened to", &error))
    }

    /// Seals, stores and applies it; `membership` is held by the caller.
    pub(super) async fn hold(
        &self,
        record: &AgentRecord,
        hold: Option<Hold>,
        what: &'static str,
        by: &str,
    ) -> Result<(), StoreError> {
        let mut record = AgentRecord { hold, ..record.clone() };
        record.seal = self.identity.seal(&Row::Agent(&record));
        self.store.set_hold(record.clone(), what, by.to_owned(), clock::unix_seconds()).await?;
        tracing::warn!(agent = record.id, target = %record.target, by, "{what}");
        let id = record.id.clone();
        self.roster.update(record);
        self.cut(&id);
        Ok(())
    }
}
