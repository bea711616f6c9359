//! Carries an approved plan out, step after step, without a choice of its own. Whatever happens is on record before the
//! next thing begins, so that a plan goes on where it stood when the hub was stopped.

use super::{
    Engine,
    approved::Approved,
    delivery::{About, Order, TAKE_WITHIN},
    seal::Row,
};
use crate::{
    link::{
        envelope::{Build, DeployOrder, Work},
        wire::AgentRole,
    },
    model::{
        Answer, Inventory, Op, Outcome, Plan, Step, Target,
        answer::{PlanView, TargetResult},
        catalogue::Runs,
        digest::Digest,
        lint::{self, Finding, Kind, Severity},
        messages::Event,
        outcome::{Ending, chain},
        policy,
        state::PlanState,
    },
    store::{AgentRecord, StoreError},
    sys::{clock, crash, random},
};
use std::{collections::BTreeMap, sync::Arc, time::Instant};
use tokio::task::{JoinError, JoinSet};

/// Seconds that an operation may take, unless it says otherwise.
const TIMEOUT: u64 = 60;
/// Seconds for what moves data or waits for a guest.
const LONG_TIMEOUT: u64 = 600;
/// Seconds for bringing the executable into a guest without an agent, and taking it away again.
const ONCE_MARGIN: u64 = 180;
/// Seconds that a guest has to come up in that was started a moment ago.
const BOOT: u64 = 60;
/// Seconds that a new agent has for its echo, beside the time for taking the command.
const ECHO: u64 = 10;
/// The longest that anything may take: a day.
const LONGEST: u64 = 86_400;

impl Engine {
    /// Begins a plan; returns when that is on record. It runs to its end by itself.
    pub async fn start(self: &Arc<Self>, approved: Approved) -> Result<(), StoreError> {
        let now = clock::unix_seconds();
        let (id, by) = (approved.plan().body.id.clone(), approved.by().to_owned());
        let seal = self.identity.seal(&Row::Begun { plan: &id, digest: &approved.plan().digest, by: &by });
        self.store.start_plan(id, seal, by, now).await?;
        crash::point("plan-begun");
        tokio::spawn(Arc::clone(self).run(approved));
        Ok(())
    }

    /// Goes on with the plans that were under way when the hub stopped.
    pub fn resume(self: &Arc<Self>) -> Result<usize, StoreError> {
        let running = self.store.unfinished_plans()?;
        let approved: Vec<Approved> =
            running.into_iter().filter_map(|plan| Approved::resume(plan, &self.identity)).collect();
        let count = approved.len();
        for plan in approved {
            tracing::info!(plan = plan.plan().body.id, "a plan goes on");
            tokio::spawn(Arc::clone(self).run(plan));
        }
        Ok(count)
    }

    async fn run(self: Arc<Self>, approved: Approved) {
        let id = approved.plan().body.id.clone();
        if let Err(error) = self.run_steps(&approved).await {
            // It stays on record as running, and goes on when the hub is started again.
            tracing::error!(plan = id, error = chain(&error), "the plan stopped");
        }
    }

    async fn run_steps(self: &Arc<Self>, approved: &Approved) -> Result<(), StoreError> {
        let plan = approved.plan();
        let id = &plan.body.id;
        let mut stopped: Option<&str> = None;
        // The one target of the last step: its result and the plan's end are kept together.
        let mut last = None;
        for (index, step) in plan.body.steps.iter().enumerate() {
            if stopped.is_none() && self.cancelled(id)? {
                stopped = Some("the plan was cancelled");
            }
            let results = if let Some(why) = stopped {
                self.skip(approved, index, step, why).await?
            } else {
                let results = self.run_step(approved, index, step).await?;
                last = results.first().filter(|_| is_last(plan, index, step)).cloned();
                results
            };
            if !results.iter().all(TargetResult::succeeded) {
                stopped = stopped.or(Some("an earlier step failed"));
            }
        }
        self.end(approved, last).await
    }

    /// Whether a plan was stopped.
    pub(super) fn cancelled(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.store.plan_state(id)?.is_none_or(|state| state == PlanState::Cancelled))
    }

    /// What has not begun does not begin; what an agent may have, from before a restart of the hub, is waited for.
    async fn skip(
        self: &Arc<Self>,
        approved: &Approved,
        index: usize,
        step: &Step,
        why: &str,
    ) -> Result<Vec<TargetResult>, StoreError> {
        let id = &approved.plan().body.id;
        let mut begun = JoinSet::new();
        let mut left = Vec::new();
        for target in &step.targets {
            if self.store.command_for(id, index, target)?.is_none() {
                left.push(target);
                continue;
            }
            let about = About { plan: id.clone(), step: index, target: target.clone() };
            let (engine, op, digest) = (Arc::clone(self), step.op.clone(), approved.plan().digest.clone());
            begun.spawn(async move { engine.run_target(&op, about, digest, false).await });
        }
        let skipped = |target: &Target| TargetResult {
            step: index,
            target: target.clone(),
            state: "skipped".to_owned(),
            summary: why.to_owned(),
            help: None,
            data: serde_json::Value::Null,
            took_ms: 0,
        };
        let mut results: Vec<TargetResult> = left.into_iter().map(skipped).collect();
        self.keep(id, results.clone()).await?;
        while let Some(joined) = begun.join_next().await {
            results.push(joined.map_err(|error| StoreError::Conflict(format!("a target's task ended: {error}")))??);
        }
        Ok(results)
    }

    async fn run_step(
        self: &Arc<Self>,
        approved: &Approved,
        index: usize,
        step: &Step,
    ) -> Result<Vec<TargetResult>, StoreError> {
        let plan = approved.plan();
        let (id, digest) = (plan.body.id.clone(), plan.digest.clone());
        self.publish(Event::Step { plan: id.clone(), step: index, targets: step.targets.clone() });
        let (mut tasks, mut results) = (JoinSet::new(), Vec::new());
        let ended = |joined: Result<Result<TargetResult, StoreError>, JoinError>| {
            joined.map_err(|error| StoreError::Conflict(format!("a target's task ended: {error}")))?
        };
        // What the hub knows by itself takes no time, and reads best in the plan's order.
        let in_order = policy::runs(&step.op) == Runs::Hub;
        for target in &step.targets {
            let about = About { plan: id.clone(), step: index, target: target.clone() };
            let (engine, op, digest) = (Arc::clone(self), step.op.clone(), digest.clone());
            let later = is_last(plan, index, step);
            tasks.spawn(async move { engine.run_target(&op, about, digest, later).await });
            if in_order && let Some(joined) = tasks.join_next().await {
                results.push(ended(joined)?);
            }
        }
        while let Some(joined) = tasks.join_next().await {
            results.push(ended(joined)?);
        }
        Ok(results)
    }

    async fn run_target(
        self: Arc<Self>,
        op: &Op,
        about: About,
        digest: Digest,
        kept_later: bool,
    ) -> Result<TargetResult, StoreError> {
        if self.store.has_result(&about.plan, about.step, &about.target)? {
            // From before a restart of the hub.
            let stored = self.store.plan(&about.plan)?.map(|stored| stored.results).unwrap_or_default();
            let found = stored.into_iter().find(|result| result.step == about.step && result.target == about.target);
            return found.ok_or_else(|| StoreError::Conflict("a result vanished".to_owned()));
        }
        let begun = Instant::now();
        let (id, step, target) = (about.plan.clone(), about.step, about.target.clone());
        // One target's trouble with the store is that target's: the others go on, and the plan ends.
        let outcome = self.resume_or_carry_out(op, about, digest).await.unwrap_or_else(|error| {
            Outcome::of_error(&error).with_help("`remotectl hub check` on the hub, and its free disk space")
        });
        let look = || format!("look at {target}, then: remotectl settle {id} done|failed --reason TEXT");
        let help = outcome.help.or_else(|| (outcome.ending == Ending::Unknown).then(look));
        let result = TargetResult {
            step,
            target,
            state: outcome.ending.as_str().to_owned(),
            summary: outcome.summary,
            help,
            data: outcome.data,
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        if !kept_later {
            self.keep(&id, vec![result.clone()]).await?;
        }
        Ok(result)
    }

    async fn resume_or_carry_out(&self, op: &Op, about: About, digest: Digest) -> Result<Outcome, StoreError> {
        let Some(record) = self.store.command_for(&about.plan, about.step, &about.target)? else {
            return self.carry_out(op, about, digest).await;
        };
        let (target, begun) = (about.target.clone(), record.expires - TAKE_WITHIN);
        // Of a guest that was put back in time the last command may be the attestation, which says it all.
        let over = record.signed.signed_by(&self.identity.key.public());
        let attested = over.is_some_and(|command| matches!(command.work, Work::Attest { .. }));
        let outcome = self.adopt(record, about.clone(), seconds(op)).await?;
        self.follow_up(op, &target, &outcome, begun).await?;
        if attested { Ok(outcome) } else { self.attest_after(op, about, digest, outcome).await }
    }

    async fn carry_out(&self, op: &Op, about: About, digest: Digest) -> Result<Outcome, StoreError> {
        let inventory = self.inventory();
        let started = self.started_before(&about)?;
        if let Some(outcome) = self.precondition(op, &about.target, &inventory, started) {
            return Ok(outcome);
        }
        if policy::runs(op) == Runs::Hub {
            return Ok(self.answer(op, &about.target, &inventory));
        }
        let there = self.roster.of_target(&about.target).filter(|agent| agent.online(clock::unix_seconds()));
        if let (Op::AgentDeploy {}, Some(there)) = (op, there.filter(|there| there.record.hold.is_none())) {
            let AgentRecord { id, role, version, .. } = there.record;
            let told = Outcome::success(format!("nothing to do: {role} {version} answers there"));
            return Ok(told.with_data(serde_json::json!({"agent_id": id, "version": version})).unchanged());
        }
        let (agent, work) = match self.route_once_heard(op, &about.target, &inventory).await {
            Ok(found) => found,
            Err(outcome) => return Ok(*outcome),
        };
        let mut work = self.with_token(work, &about.target).await?;
        if let Work::Deploy { order } = &mut work
            && started
        {
            order.patience = BOOT;
        }
        let (once, deployed) = (matches!(work, Work::Once { .. }), matches!(work, Work::Deploy { .. }));
        let (target, begun) = (about.target.clone(), clock::unix_seconds());
        let order = Order {
            agent: agent.record.id.clone(),
            generation: agent.record.generation,
            about: about.clone(),
            digest: digest.clone(),
            work,
            timeout: seconds(op) + if once { ONCE_MARGIN } else { 0 },
        };
        let mut outcome = self.dispatch(order).await?;
        if deployed && outcome.succeeded() {
            outcome = self.confirm(about.clone(), digest.clone(), outcome).await?;
        }
        self.follow_up(op, &target, &outcome, begun).await?;
        self.attest_after(op, about, digest, outcome).await
    }

    /// Whether a new agent also obeys: it is asked for an echo, and taken away again where none comes.
    async fn confirm(&self, about: About, digest: Digest, deployed: Outcome) -> Result<Outcome, StoreError> {
        let target = about.target.clone();
        let order = |agent: super::roster::Agent, work, timeout| Order {
            agent: agent.record.id.clone(),
            generation: agent.record.generation,
            about: about.clone(),
            digest: digest.clone(),
            work,
            timeout,
        };
        let echo = match self.roster.of_target(&target) {
            Some(agent) => self.dispatch(order(agent, Work::Echo, ECHO)).await?,
            None => Outcome::failure("the hub does not know it"),
        };
        if echo.succeeded() {
            return Ok(deployed);
        }
        let remove = Op::AgentRemove {};
        let removed = match self.route(&remove, &target, &self.inventory()) {
            Ok((agent, work)) => self.dispatch(order(agent, work, LONG_TIMEOUT)).await?,
            Err(outcome) => *outcome,
        };
        let why = format!("confirm: the new agent does not echo: {}; {}", echo.summary, removed.summary);
        Ok(Outcome::failure(why).with_help(format!("again: `remotectl deploy {target}`")))
    }

    /// Whether an earlier step of the plan starts this very guest.
    fn started_before(&self, about: &About) -> Result<bool, StoreError> {
        if about.step == 0 {
            return Ok(false);
        }
        let stored = self.store.plan(&about.plan)?;
        let steps = stored.as_ref().and_then(|stored| stored.plan.body.steps.get(..about.step));
        Ok(steps.is_some_and(|steps| lint::starts(steps, &about.target)))
    }

    /// What the plan linter says of this very target now: the world may have moved since the plan was made.
    fn precondition(&self, op: &Op, target: &Target, inventory: &Inventory, started: bool) -> Option<Outcome> {
        let proposed = crate::model::plan::Proposed { op: op.clone(), targets: vec![target.clone()] };
        let step = self.policy.weigh(proposed, inventory);
        // What an earlier step of the plan has started may not have been told of yet; its node looks again.
        let counts =
            |finding: &Finding| finding.severity == Severity::Error && !(started && finding.kind == Kind::NotRunning);
        let finding = lint::lint(&[step], inventory).into_iter().find(counts)?;
        let outcome = Outcome::rejected(finding.message);
        Some(match finding.help {
            Some(help) => outcome.with_help(help),
            None => outcome,
        })
    }

    /// The route, when whoever would be it has been heard of: right after the hub's start nobody has yet, and a plan that
    /// goes on does not fail of that.
    async fn route_once_heard(
        &self,
        op: &Op,
        target: &Target,
        inventory: &Inventory,
    ) -> Result<(super::roster::Agent, Work), Box<Outcome>> {
        loop {
            let arrival = self.delivery.arrival();
            let found = self.route(op, target, inventory);
            let expected =
                self.roster.of_target(target).is_some_and(|agent| self.roster.expects(Some(&agent.record.id)));
            let good = match &found {
                Ok((_, work)) => !expected || !matches!(work, Work::Once { .. }),
                Err(_) => !self.roster.expects(None),
            };
            let left = self.roster.all_heard_in(clock::unix_seconds());
            if good || left.is_zero() || tokio::time::timeout(left, arrival).await.is_err() {
                return found;
            }
        }
    }

    /// Which agent carries it out, and as what.
    fn route(
        &self,
        op: &Op,
        target: &Target,
        inventory: &Inventory,
    ) -> Result<(super::roster::Agent, Work), Box<Outcome>> {
        let own = self.roster.of_target(target);
        let hold = own.as_ref().and_then(|agent| agent.record.hold.clone());
        if let Some(hold) = hold.as_ref().filter(|hold| hold.kind.keeps(op)) {
            return Err(Box::new(
                Outcome::rejected(format!("the agent of {target} is {hold}")).with_help(hold.kind.help(target)),
            ));
        }
        let own = own.filter(|agent| agent.online(clock::unix_seconds()));
        let perform = || Work::Perform { op: op.clone() };
        let through_node = || {
            self.pve_agent_for(inventory, target).ok_or_else(|| {
                let help = "remotectl nodes: which have a pve-agent that answers";
                Box::new(Outcome::rejected(format!("no pve-agent that answers can reach {target}")).with_help(help))
            })
        };
        match op {
            Op::AgentDeploy {} if target.is_node() => {
                Ok((self.beside(target, "install --join …")?, Work::Deploy { order: self.deploy_order() }))
            }
            Op::AgentRemove {} if target.is_node() => Ok((self.beside(target, "uninstall --purge")?, perform())),
            // What is quarantined only has to be vouched for.
            Op::AgentDeploy {} if hold.is_some() => Ok((through_node()?, Work::Attest { order: self.attest_order() })),
            Op::AgentDeploy {} => Ok((through_node()?, Work::Deploy { order: self.deploy_order() })),
            Op::AgentUpdate { version } => self.update(target, version.as_deref()),
            Op::AgentRemove {} if target.vmid().is_some() => Ok((through_node()?, perform())),
            _ if policy::runs(op) == Runs::Pve => Ok((through_node()?, perform())),
            _ => match own {
                Some(agent) => Ok((agent, perform())),
                None if target.vmid().is_some() => Ok((through_node()?, Work::Once { op: op.clone() })),
                None => Err(Box::new(Outcome::rejected(format!("the agent of {target} does not answer")))),
            },
        }
    }

    /// A pve-agent on another node: none cuts the branch that it sits on.
    fn beside(&self, target: &Target, by_hand: &str) -> Result<super::roster::Agent, Box<Outcome>> {
        let now = clock::unix_seconds();
        let fit = |agent: &super::roster::Agent| {
            agent.record.role == AgentRole::PveAgent.as_str() && agent.online(now) && agent.record.target != *target
        };
        self.roster.all().into_iter().find(fit).ok_or_else(|| {
            let name = target.node_name().unwrap_or_default();
            let why = format!("no pve-agent answers on another node, and {target} is reached over its cluster only");
            Box::new(Outcome::rejected(why).with_help(format!("on {name}: remotectl pve-agent {by_hand}")))
        })
    }

    /// A pve-agent joins by a token of its own, which is made when it is sent.
    async fn with_token(&self, work: Work, target: &Target) -> Result<Work, StoreError> {
        let Work::Deploy { order } = work else { return Ok(work) };
        if !target.is_node() {
            return Ok(Work::Deploy { order });
        }
        let role = AgentRole::PveAgent.as_str().to_owned();
        let (pointer, _) = self.make_join_token(role, Some(target.clone()), "hub".to_owned()).await?;
        Ok(Work::Deploy { order: DeployOrder { join: pointer.to_string(), ..order } })
    }

    pub(super) fn deploy_order(&self) -> DeployOrder {
        let pointer = &self.identity.pointer;
        let mut builds: Vec<Build> = Vec::new();
        // The newest of each architecture comes first.
        for held in self.artifacts.list() {
            if builds.iter().all(|build| build.arch != held.arch) {
                builds.push(Build { arch: held.arch.clone(), artifact: held.artifact() });
            }
        }
        DeployOrder {
            nonce: random::id(),
            join: pointer.to_string(),
            addresses: pointer.addresses.clone(),
            builds,
            patience: 0,
        }
    }

    /// Forgets an agent that was removed, or whose deployment registered it and then failed.
    async fn follow_up(&self, op: &Op, target: &Target, outcome: &Outcome, begun: i64) -> Result<(), StoreError> {
        let Some(agent) = self.roster.of_target(target) else { return Ok(()) };
        let removed = matches!(op, Op::AgentRemove {}) && outcome.succeeded();
        // Of an unknown end nothing follows: the new agent may well be up.
        let failed = !outcome.succeeded() && outcome.ending != Ending::Unknown;
        let half = matches!(op, Op::AgentDeploy {}) && failed && agent.record.joined_at >= begun;
        let deployed = agent.record.role == AgentRole::Agent.as_str() || target.is_node();
        if deployed && (removed || half) {
            let _membership = self.membership.lock().await;
            self.roster.remove(&agent.record.id);
            self.cut(&agent.record.id);
            self.store.remove_agent(agent.record.id, clock::unix_seconds(), "hub".to_owned()).await?;
        }
        Ok(())
    }

    async fn keep(&self, plan: &str, results: Vec<TargetResult>) -> Result<(), StoreError> {
        self.store.add_results(plan.to_owned(), results.clone()).await?;
        for result in results {
            self.publish(Event::Result { plan: plan.to_owned(), result });
        }
        Ok(())
    }

    async fn end(&self, approved: &Approved, last: Option<TargetResult>) -> Result<(), StoreError> {
        let (id, by) = (approved.plan().body.id.clone(), approved.by().to_owned());
        match self.store.end_plan(id.clone(), last.clone(), by, clock::unix_seconds()).await {
            Ok(_) => crash::point("plan-ended"),
            // It was cancelled meanwhile: what was done is kept all the same.
            Err(StoreError::Conflict(_)) => self.store.add_results(id.clone(), last.iter().cloned().collect()).await?,
            Err(error) => return Err(error),
        }
        if let Some(result) = last {
            self.publish(Event::Result { plan: id.clone(), result });
        }
        let Some(stored) = self.store.plan(&id)? else { return Ok(()) };
        let view = PlanView { results: in_order(stored.results), ..PlanView::of(&stored.plan) };
        self.publish(Event::Ended { plan: id, state: stored.state, answer: Answer::Plan(view) });
        Ok(())
    }
}

/// Whether nothing comes after this step, and it has one target.
fn is_last(plan: &Plan, index: usize, step: &Step) -> bool {
    index + 1 == plan.body.steps.len() && step.targets.len() == 1
}

/// Results by step and target, as plans name them.
pub fn in_order(results: Vec<TargetResult>) -> Vec<TargetResult> {
    let sorted: BTreeMap<(usize, Target), TargetResult> =
        results.into_iter().map(|result| ((result.step, result.target.clone()), result)).collect();
    sorted.into_values().collect()
}

/// How long an operation may take.
fn seconds(op: &Op) -> u64 {
    match op {
        Op::ExecRun { timeout: Some(timeout), .. } => timeout.seconds().min(LONGEST),
        Op::GuestShutdown { timeout: Some(timeout) } => timeout.seconds().min(LONGEST) + TIMEOUT,
        Op::ExecRun { .. } => TIMEOUT,
        Op::AgentDeploy {} | Op::AgentUpdate { .. } | Op::AgentRemove {} => LONG_TIMEOUT,
        // Disks are copied: that takes its time, and Proxmox's task tells how far it is.
        Op::GuestMigrate { .. }
        | Op::GuestClone { .. }
        | Op::GuestCreate { .. }
        | Op::GuestDestroy {}
        | Op::GuestBackup { .. }
        | Op::GuestRestore { .. }
        | Op::GuestRollback { .. }
        | Op::GuestDeleteSnapshot { .. }
        | Op::NodeDrain { .. }
        | Op::TemplateDownload { .. } => LONGEST,
        _ => match policy::runs(op) {
            Runs::Pve => LONG_TIMEOUT,
            Runs::Agent | Runs::Hub => 2 * TIMEOUT,
        },
    }
}
