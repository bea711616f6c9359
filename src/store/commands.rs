//! Commands: durable before they are sent, in order for each agent, ended once.

use super::{
    Store, StoreError, json,
    plans::{self, advance},
    text,
};
use crate::{
    link::envelope::{Command, Signed},
    model::{
        Outcome, Target,
        outcome::Ending,
        state::{CommandEvent, CommandState, PlanEvent},
    },
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// A command on record.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandRecord {
    /// Its id.
    pub id: String,
    /// The agent that is to carry it out.
    pub agent: String,
    /// Its place in that agent's order.
    pub seq: u64,
    /// As it is sent.
    pub signed: Signed,
    /// Where it stands.
    pub state: CommandState,
    /// It must not be started later, in seconds since the epoch.
    pub expires: i64,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

const COLUMNS: &str = "id, agent, seq, signed, state, expires, outcome";

type Raw = (String, String, u64, String, String, i64, Option<String>);

fn record(row: &Row) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
}

fn whole(raw: Raw) -> Result<CommandRecord, StoreError> {
    let (id, agent, seq, signed, state, expires, outcome) = raw;
    let state = parse_state(&state)?;
    let outcome = outcome.map(|outcome| json("outcome", &outcome)).transpose()?;
    Ok(CommandRecord { id, agent, seq, signed: json("envelope", &signed)?, state, expires, outcome })
}

fn parse_state(word: &str) -> Result<CommandState, StoreError> {
    CommandState::parse(word)
        .ok_or_else(|| StoreError::Malformed { what: "command", why: format!("`{word}` is no state") })
}

/// What a new command is for.
pub struct NewCommand {
    /// The plan's id.
    pub plan: String,
    /// The step's index.
    pub step: usize,
    /// By which an attested join counts, for a deployment.
    pub nonce: Option<String>,
    /// Makes the envelope once the sequence number is known.
    pub make: Box<dyn FnOnce(u64) -> (Command, Signed) + Send>,
}

impl Store {
    /// Queues a command for an agent: takes the next sequence number, seals it, stores it.
    pub async fn add_command(&self, agent: String, new: NewCommand) -> Result<CommandRecord, StoreError> {
        self.write(move |connection| {
            let sql = "UPDATE agents SET next_seq = next_seq + 1 WHERE id = ?1 RETURNING next_seq - 1";
            let seq: Option<u64> = connection.prepare_cached(sql)?.query_row([&agent], |row| row.get(0)).optional()?;
            let Some(seq) = seq else {
                return Err(StoreError::Conflict(format!("agent {agent} is not known any more")));
            };
            let (command, signed) = (new.make)(seq);
            let sql = "INSERT INTO commands (id, plan, step, target, agent, seq, signed, state, expires, nonce)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued', ?8, ?9)";
            let target = command.target.to_string();
            let values =
                params![command.id, new.plan, new.step, target, agent, seq, text(&signed), command.expires, new.nonce];
            connection.prepare_cached(sql)?.execute(values)?;
            let (id, expires) = (command.id, command.expires);
            Ok(CommandRecord { id, agent, seq, signed, state: CommandState::Queued, expires, outcome: None })
        })
        .await
    }

    /// Commands that have not ended, in order of agent and sequence.
    pub fn open_commands(&self) -> Result<Vec<CommandRecord>, StoreError> {
        self.read(|connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM commands WHERE state IN ('queued', 'accepted') ORDER BY agent, seq");
            let mut query = connection.prepare(&sql)?;
            let rows: Vec<_> = query.query_map([], record)?.collect::<Result<_, _>>()?;
            rows.into_iter().map(whole).collect()
        })
    }

    /// The command of a plan's step for a target, where there is one.
    pub fn command_for(&self, plan: &str, step: usize, target: &Target) -> Result<Option<CommandRecord>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM commands WHERE plan = ?1 AND step = ?2 AND target = ?3 ORDER BY rowid DESC"
            );
            let found = connection
                .prepare_cached(&sql)?
                .query_row(params![plan, step, target.to_string()], record)
                .optional()?;
            found.map(whole).transpose()
        })
    }

    /// Records that everything up to a sequence number is in the agent's journal.
    pub async fn accepted(&self, agent: String, high_water: u64) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "UPDATE commands SET state = 'accepted' WHERE agent = ?1 AND seq <= ?2 AND state = 'queued'";
            connection.prepare_cached(sql)?.execute(params![agent, high_water])?;
            Ok(())
        })
        .await
    }

    /// Records how a command of this agent ended. `None` where the agent has no such command; a second result changes
    /// nothing. Gives the outcome that counts.
    pub async fn finish_command(
        &self,
        agent: Option<String>,
        id: String,
        event: CommandEvent,
        outcome: Outcome,
    ) -> Result<Option<Outcome>, StoreError> {
        self.write(move |connection| finish(connection, agent.as_deref(), &id, event, outcome)).await
    }

    /// Begins a plan, with the hub's seal over that.
    pub async fn start_plan(&self, id: String, seal: String, by: String, now: i64) -> Result<(), StoreError> {
        self.write(move |connection| {
            advance(connection, &id, PlanEvent::Started, now)?;
            connection.execute("UPDATE plans SET begun_seal = ?1 WHERE id = ?2", params![seal, id])?;
            super::operators::audit(connection, now, &by, "plan.start", &id)
        })
        .await
    }
}

/// A command's agent, state and outcome.
type Found = (String, String, Option<String>);

fn finish(
    connection: &Connection,
    agent: Option<&str>,
    id: &str,
    event: CommandEvent,
    outcome: Outcome,
) -> Result<Option<Outcome>, StoreError> {
    let sql = "SELECT agent, state, outcome FROM commands WHERE id = ?1";
    let read = |row: &Row| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: Option<Found> = connection.prepare_cached(sql)?.query_row([id], read).optional()?;
    let Some((owner, state, stored)) = found.filter(|(owner, ..)| agent.is_none_or(|agent| agent == owner)) else {
        return Ok(None);
    };
    let before = parse_state(&state)?;
    let Ok(next) = before.next(event) else {
        tracing::debug!(agent = owner, command = id, state, "a result came twice");
        return stored.map(|stored| json("outcome", &stored)).transpose();
    };
    let sql = "UPDATE commands SET state = ?1, outcome = ?2 WHERE id = ?3";
    connection.prepare_cached(sql)?.execute(params![next.as_str(), text(&outcome), id])?;
    if before == CommandState::Unknown && outcome.ending != Ending::Unknown {
        plans::learn(connection, id, &outcome)?;
    }
    Ok(Some(outcome))
}
