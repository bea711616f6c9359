//! A pve-agent's sagas, in a small database of its own: written by whoever carries one out, each write one transaction that
//! is durable when it returns. Opened when first needed; most nodes deploy rarely.

use super::{StoreError, json, text};
use crate::model::saga::{RowState, Saga, SagaMove};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Sagas that have ended and are kept, for people to look at.
const KEPT: u32 = 200;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sagas (
    command TEXT PRIMARY KEY, began INTEGER NOT NULL, kept TEXT NOT NULL, broken TEXT, outcome TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS saga_rows (
    command TEXT NOT NULL REFERENCES sagas ON DELETE CASCADE, number INTEGER NOT NULL, step TEXT NOT NULL,
    state TEXT NOT NULL, PRIMARY KEY (command, number)
) STRICT;
PRAGMA user_version = 1;
";

/// The sagas of one pve-agent.
pub struct Sagas {
    path: PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl Sagas {
    /// In that file, which is made when there is something to write.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), connection: Mutex::default() }
    }

    /// A command's saga.
    pub fn read(&self, command: &str) -> Result<Option<Saga>, StoreError> {
        if !self.path.exists() {
            return Ok(None);
        }
        let mut connection = self.connection();
        let transaction = begin(&mut connection, &self.path)?;
        read(&transaction, command)
    }

    /// Makes moves of a command's saga, and keeps what its steps need to know of each other: all of it or nothing. The
    /// first move of a saga puts it on record; its end makes room for it.
    pub fn write(
        &self,
        command: &str,
        kept: &serde_json::Value,
        moves: &[SagaMove],
        now: i64,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = begin(&mut connection, &self.path)?;
        let mut saga = read(&transaction, command)?.unwrap_or_default();
        for next in moves {
            saga.make(next).map_err(|error| StoreError::Conflict(error.to_string()))?;
        }
        let (broken, outcome) = (saga.broken.as_ref().map(text), saga.outcome.as_ref().map(text));
        let sql = "INSERT INTO sagas VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (command) DO UPDATE SET kept = excluded.kept, broken = excluded.broken, outcome = excluded.outcome";
        transaction.execute(sql, params![command, now, text(kept), broken, outcome])?;
        for (number, (step, state)) in saga.rows.iter().enumerate() {
            let sql = "INSERT INTO saga_rows VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (command, number) DO UPDATE SET state = excluded.state WHERE state <> excluded.state";
            transaction.execute(sql, params![command, number, step, state.as_str()])?;
        }
        if saga.outcome.is_some() {
            let sql = "DELETE FROM sagas WHERE outcome IS NOT NULL AND command NOT IN
                       (SELECT command FROM sagas WHERE outcome IS NOT NULL ORDER BY began DESC, command LIMIT ?1)";
            transaction.execute(sql, [KEPT])?;
        }
        Ok(transaction.commit()?)
    }

    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a transaction, with the database opened before where it is not yet.
fn begin<'a>(connection: &'a mut Option<Connection>, path: &Path) -> Result<Transaction<'a>, StoreError> {
    let opened = match connection.take() {
        Some(connection) => connection,
        None => open(path)?,
    };
    Ok(connection.insert(opened).transaction_with_behavior(TransactionBehavior::Immediate)?)
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let connection = Connection::open(path).map_err(failed)?;
    super::prepare(&connection).map_err(failed)?;
    super::check(&connection, path)?;
    let found: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > 1 {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: 1 });
    }
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn read(connection: &Connection, command: &str) -> Result<Option<Saga>, StoreError> {
    let sql = "SELECT kept, broken, outcome FROM sagas WHERE command = ?1";
    let found: Option<(String, Option<String>, Option<String>)> =
        connection.query_row(sql, [command], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let Some((kept, broken, outcome)) = found else { return Ok(None) };
    let mut query = connection.prepare("SELECT step, state FROM saga_rows WHERE command = ?1 ORDER BY number")?;
    let rows: Vec<(String, String)> =
        query.query_map([command], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let row = |(step, word): (String, String)| match RowState::parse(&word) {
        Some(state) => Ok((step, state)),
        None => Err(StoreError::Malformed { what: "saga", why: format!("`{word}` is no state of a row") }),
    };
    Ok(Some(Saga {
        rows: rows.into_iter().map(row).collect::<Result<_, _>>()?,
        kept: json("saga", &kept)?,
        broken: broken.map(|broken| json("saga", &broken)).transpose()?,
        outcome: outcome.map(|outcome| json("outcome", &outcome)).transpose()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;
    use serde_json::{Value, json};

    #[test]
    fn what_was_written_is_there_in_another_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sagas.db");
        let sagas = Sagas::at(&path);
        assert_eq!(sagas.read("c").unwrap(), None);
        assert!(!path.exists(), "looking makes nothing");
        sagas.write("c", &json!({"a": 1}), &[SagaMove::Begin("one")], 1).unwrap();
        sagas.write("c", &json!({"a": 2}), &[SagaMove::Done("one"), SagaMove::Begin("two")], 1).unwrap();
        // Another process has it open as well, as after a kill.
        let saga = Sagas::at(&path).read("c").unwrap().unwrap();
        assert_eq!(saga.rows, [("one".to_owned(), RowState::Done), ("two".to_owned(), RowState::Begun)]);
        assert_eq!((saga.kept, saga.broken, saga.outcome), (json!({"a": 2}), None, None));
        let illegal = sagas.write("c", &Value::Null, &[SagaMove::Undone("two"), SagaMove::Begin("one")], 1);
        assert!(illegal.unwrap_err().to_string().contains("`one`"));
        assert_eq!(sagas.read("c").unwrap().unwrap().state("two"), Some(RowState::Begun), "all of it or nothing");
    }

    #[test]
    fn what_has_ended_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let sagas = Sagas::at(&directory.path().join("sagas.db"));
        sagas.write("open", &Value::Null, &[SagaMove::Begin("one")], 0).unwrap();
        for number in 0..i64::from(KEPT) + 3 {
            let moves = [SagaMove::Begin("one"), SagaMove::End(Outcome::success(""))];
            sagas.write(&format!("c{number}"), &Value::Null, &moves, number).unwrap();
        }
        assert!(sagas.read("c2").unwrap().is_none() && sagas.read("c3").unwrap().is_some());
        assert!(sagas.read("open").unwrap().is_some(), "what has not ended stays");
    }
}
