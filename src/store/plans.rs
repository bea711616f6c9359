//! Plans, their approvals and their results.

use super::{Store, StoreError, json, operators::audit, text};
use crate::{
    model::{
        Outcome, Plan, Target,
        answer::TargetResult,
        digest::Digest,
        outcome::Ending,
        state::{CommandEvent, CommandState, PlanEvent, PlanState},
    },
    sys::clock,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// A plan on record.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPlan {
    /// The plan, opened against its digest.
    pub plan: Plan,
    /// Where it stands.
    pub state: PlanState,
    /// Who asked.
    pub operator: String,
    /// When it was over, in seconds since the epoch.
    pub ended: Option<i64>,
    /// Who approved it, when, and which digest.
    pub approval: Option<(String, i64, Digest)>,
    /// The hub's seal over its having begun.
    pub begun_seal: Option<String>,
    /// What has come of it so far.
    pub results: Vec<TargetResult>,
}

const COLUMNS: &str =
    "id, body, digest, findings, state, operator, ended, approved_by, approved_at, approved_digest, begun_seal";

struct Raw {
    id: String,
    body: Vec<u8>,
    digest: String,
    findings: String,
    state: String,
    operator: String,
    ended: Option<i64>,
    approved: (Option<String>, Option<i64>, Option<String>),
    begun_seal: Option<String>,
}

fn raw(row: &Row) -> rusqlite::Result<Raw> {
    Ok(Raw {
        id: row.get(0)?,
        body: row.get(1)?,
        digest: row.get(2)?,
        findings: row.get(3)?,
        state: row.get(4)?,
        operator: row.get(5)?,
        ended: row.get(6)?,
        approved: (row.get(7)?, row.get(8)?, row.get(9)?),
        begun_seal: row.get(10)?,
    })
}

fn whole(connection: &Connection, raw: Raw) -> Result<StoredPlan, StoreError> {
    let malformed = |why: String| StoreError::Malformed { what: "plan", why };
    let digest = |text: &str| Digest::parse(text).ok_or_else(|| malformed(format!("`{text}` is no digest")));
    let plan = Plan::open(raw.body, &digest(&raw.digest)?, json("finding", &raw.findings)?)
        .map_err(|error| malformed(error.to_string()))?;
    let state = PlanState::parse(&raw.state).ok_or_else(|| malformed(format!("`{}` is no state", raw.state)))?;
    let approval = match raw.approved {
        (Some(by), Some(at), Some(of)) => Some((by, at, digest(&of)?)),
        _ => None,
    };
    let sql = "SELECT result FROM results WHERE plan = ?1 ORDER BY step, rowid";
    let mut query = connection.prepare_cached(sql)?;
    let rows: Vec<String> = query.query_map([&raw.id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let results = rows.iter().map(|text| json("result", text)).collect::<Result<_, _>>()?;
    Ok(StoredPlan {
        plan,
        state,
        operator: raw.operator,
        ended: raw.ended,
        approval,
        begun_seal: raw.begun_seal,
        results,
    })
}

/// Moves a plan's state, if the machine has that move from where it stands now.
pub(super) fn advance(connection: &Connection, id: &str, event: PlanEvent, now: i64) -> Result<PlanState, StoreError> {
    let found: Option<String> =
        connection.query_row("SELECT state FROM plans WHERE id = ?1", [id], |row| row.get(0)).optional()?;
    let Some(word) = found else { return Err(StoreError::Conflict(format!("there is no plan {id}"))) };
    let state = PlanState::parse(&word)
        .ok_or_else(|| StoreError::Malformed { what: "plan", why: format!("`{word}` is no state") })?;
    let Some(next) = state.next(event) else {
        return Err(StoreError::Conflict(format!("plan {id} is {state}")));
    };
    let ended = next.terminal().then_some(now);
    connection.execute("UPDATE plans SET state = ?1, ended = ?2 WHERE id = ?3", params![next.as_str(), ended, id])?;
    Ok(next)
}

pub(super) fn keep(connection: &Connection, plan: &str, result: &TargetResult) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO results VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![plan, result.step, result.target.to_string(), text(result)])?;
    Ok(())
}

/// How many of a plan's results are successes, and how many are not.
pub(super) fn count(connection: &Connection, plan: &str) -> Result<(usize, usize), StoreError> {
    let sql = "SELECT count(*) FILTER (WHERE result ->> 'state' = 'succeeded'), count(*) FROM results WHERE plan = ?1";
    let (succeeded, all): (usize, usize) =
        connection.prepare_cached(sql)?.query_row([plan], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((succeeded, all - succeeded))
}

fn select(connection: &Connection, sql: &str) -> Result<Vec<StoredPlan>, StoreError> {
    let mut query = connection.prepare(sql)?;
    let rows: Vec<Raw> = query.query_map([], raw)?.collect::<Result<_, _>>()?;
    rows.into_iter().map(|row| whole(connection, row)).collect()
}

/// Plans that are running, and those that were cancelled while something of them was under way.
pub(super) fn unfinished(connection: &Connection) -> Result<Vec<StoredPlan>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM plans WHERE state = 'running' OR state = 'cancelled' AND id IN
         (SELECT plan FROM commands WHERE state IN ('queued', 'accepted')) ORDER BY created"
    );
    select(connection, &sql)
}

/// What was unknown of a command is told after all: the result that its plan has of it becomes that.
pub(super) fn learn(connection: &Connection, command: &str, outcome: &Outcome) -> Result<(), StoreError> {
    let sql = "SELECT commands.plan, result FROM commands JOIN results USING (plan, step, target)
               WHERE commands.id = ?1 AND result ->> 'state' = 'unknown'";
    let read = |row: &Row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let found = connection.prepare_cached(sql)?.query_row([command], read).optional()?;
    let Some((plan, result)) = found else { return Ok(()) };
    let Outcome { ending, summary, help, data } = outcome.clone();
    let result = TargetResult { state: ending.as_str().to_owned(), summary, help, data, ..json("result", &result)? };
    let sql = "UPDATE results SET result = ?1 WHERE plan = ?2 AND step = ?3 AND target = ?4";
    connection.execute(sql, params![text(&result), plan, result.step, result.target.to_string()])?;
    let (succeeded, failed) = count(connection, &plan)?;
    let (now, about) = (clock::unix_seconds(), format!("{plan} {} {ending}", result.target));
    audit(connection, now, "hub", "plan.learn", &about)?;
    // A plan that still runs counts its results when it ends, and one that was cancelled stays so.
    match advance(connection, &plan, PlanEvent::Settled { succeeded, failed }, now) {
        Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn settle_one(connection: &Connection, plan: &str, result: &TargetResult, ending: Ending) -> Result<(), StoreError> {
    let target = result.target.to_string();
    let sql = "UPDATE results SET result = ?1 WHERE plan = ?2 AND step = ?3 AND target = ?4";
    connection.prepare_cached(sql)?.execute(params![text(result), plan, result.step, target])?;
    let sql = "SELECT id, state FROM commands WHERE plan = ?1 AND step = ?2 AND target = ?3 AND state = 'unknown'";
    let read = |row: &Row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let found = connection.prepare_cached(sql)?.query_row(params![plan, result.step, target], read).optional()?;
    let Some((command, state)) = found else { return Ok(()) };
    let state = CommandState::parse(&state)
        .ok_or_else(|| StoreError::Malformed { what: "command", why: format!("`{state}` is no state") })?;
    let next = state.next(CommandEvent::Settled(ending)).map_err(|error| StoreError::Conflict(error.to_string()))?;
    connection.execute("UPDATE commands SET state = ?1 WHERE id = ?2", params![next.as_str(), command])?;
    Ok(())
}

impl Store {
    /// Keeps a new plan; `Conflict` where the id is taken.
    pub async fn add_plan(&self, plan: Plan, operator: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "INSERT INTO plans (id, body, digest, findings, state, operator, created)
                       VALUES (?1, ?2, ?3, ?4, 'proposed', ?5, ?6) ON CONFLICT (id) DO NOTHING";
            let values = params![
                plan.body.id,
                plan.bytes,
                plan.digest.as_str(),
                text(&plan.findings),
                operator,
                plan.body.created
            ];
            if connection.execute(sql, values)? == 0 {
                return Err(StoreError::Conflict(format!("there is a plan {} already", plan.body.id)));
            }
            audit(connection, plan.body.created, &operator, "plan.make", &plan.body.id)
        })
        .await
    }

    /// One plan with its results.
    pub fn plan(&self, id: &str) -> Result<Option<StoredPlan>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM plans WHERE id = ?1");
            let found = connection.prepare_cached(&sql)?.query_row([id], raw).optional()?;
            found.map(|found| whole(connection, found)).transpose()
        })
    }

    /// Where a plan stands.
    pub fn plan_state(&self, id: &str) -> Result<Option<PlanState>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT state FROM plans WHERE id = ?1";
            let word: Option<String> = connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
            Ok(word.and_then(|word| PlanState::parse(&word)))
        })
    }

    /// The newest plans, newest first.
    pub fn plans(&self, limit: u32) -> Result<Vec<StoredPlan>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM plans ORDER BY created DESC, rowid DESC LIMIT {limit}");
        self.read(|connection| select(connection, &sql))
    }

    /// Plans that were running when the hub stopped, and those that had been cancelled while something of them was under way.
    pub fn unfinished_plans(&self) -> Result<Vec<StoredPlan>, StoreError> {
        self.read(unfinished)
    }

    /// Says how what is unknown of a plan ended, on one target or on all: its results as they are then. `Conflict` where
    /// nothing of it is unknown, and where it is still under way.
    pub async fn settle(
        &self,
        id: String,
        target: Option<Target>,
        ending: Ending,
        reason: String,
        by: String,
        now: i64,
    ) -> Result<Vec<TargetResult>, StoreError> {
        self.write(move |connection| {
            let sql = "SELECT result FROM results WHERE plan = ?1 ORDER BY step, rowid";
            let rows: Vec<String> =
                connection.prepare_cached(sql)?.query_map([&id], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let all: Vec<TargetResult> = rows.iter().map(|text| json("result", text)).collect::<Result<_, _>>()?;
            let unknown = |result: &TargetResult| {
                result.state == Ending::Unknown.as_str()
                    && target.as_ref().is_none_or(|target| *target == result.target)
            };
            let (mut succeeded, mut settled) = (0, Vec::new());
            for result in &all {
                let mut result = result.clone();
                if unknown(&result) {
                    result.summary = format!("{by} says so: {reason} (was: {})", result.summary);
                    ending.as_str().clone_into(&mut result.state);
                    result.help = None;
                    settle_one(connection, &id, &result, ending)?;
                    audit(connection, now, &by, "plan.settle", &format!("{id} {} {ending}: {reason}", result.target))?;
                    settled.push(result.clone());
                }
                succeeded += usize::from(result.succeeded());
            }
            if settled.is_empty() {
                return Err(StoreError::Conflict(format!("nothing of plan {id} is unknown there")));
            }
            let event = PlanEvent::Settled { succeeded, failed: all.len() - succeeded };
            advance(connection, &id, event, now)?;
            Ok(settled)
        })
        .await
    }

    /// Records an operator's yes to a digest, if that is the plan's and nothing has begun.
    pub async fn approve(&self, id: String, digest: Digest, by: String, now: i64) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "UPDATE plans SET approved_by = ?1, approved_at = ?2, approved_digest = ?3
                       WHERE id = ?4 AND digest = ?3 AND state = 'proposed'";
            if connection.execute(sql, params![by, now, digest.as_str(), id])? == 0 {
                return Err(StoreError::Conflict(format!(
                    "plan {id} has begun or ended, or is not the one that was shown"
                )));
            }
            audit(connection, now, &by, "plan.approve", &id)
        })
        .await
    }

    /// Moves a plan's state.
    pub async fn advance_plan(
        &self,
        id: String,
        event: PlanEvent,
        by: String,
        now: i64,
    ) -> Result<PlanState, StoreError> {
        self.write(move |connection| {
            let state = advance(connection, &id, event, now)?;
            audit(connection, now, &by, &format!("plan.{state}"), &id)?;
            Ok(state)
        })
        .await
    }

    /// Ends a running plan, with its last result where that is not kept yet: one commit for both. Where it stands then;
    /// `Conflict`, and nothing kept, where it is not running.
    pub async fn end_plan(
        &self,
        id: String,
        last: Option<TargetResult>,
        by: String,
        now: i64,
    ) -> Result<PlanState, StoreError> {
        self.write(move |connection| {
            if let Some(result) = &last {
                keep(connection, &id, result)?;
            }
            let (succeeded, failed) = count(connection, &id)?;
            let state = advance(connection, &id, PlanEvent::Ended { succeeded, failed }, now)?;
            audit(connection, now, &by, &format!("plan.{state}"), &id)?;
            Ok(state)
        })
        .await
    }

    /// Keeps how a step ended on targets. A result that is there already stays: each is stored once.
    pub async fn add_results(&self, plan: String, results: Vec<TargetResult>) -> Result<(), StoreError> {
        self.write(move |connection| results.iter().try_for_each(|result| keep(connection, &plan, result))).await
    }

    /// Whether there is a result for that target of that step.
    pub fn has_result(&self, plan: &str, step: usize, target: &Target) -> Result<bool, StoreError> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM results WHERE plan = ?1 AND step = ?2 AND target = ?3";
            let count: i64 =
                connection.prepare_cached(sql)?.query_row(params![plan, step, target.to_string()], |row| row.get(0))?;
            Ok(count > 0)
        })
    }
}
