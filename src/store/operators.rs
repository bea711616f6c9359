//! Operators, join tokens and the audit trail. Tokens are stored as hashes only.

use super::{Store, StoreError};
use crate::model::{Target, digest::Digest};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRecord {
    /// Their name.
    pub name: String,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    /// When, in seconds since the epoch.
    pub created: i64,
    /// The hub's seal over name, role and token.
    pub seal: String,
}

/// What lets an agent join once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinTokenRecord {
    /// Of the token.
    pub hash: Digest,
    /// `agent` or `pve-agent`.
    pub role: String,
    /// What it may look after; `None` where that is open.
    pub target: Option<Target>,
    /// Until when, in seconds since the epoch.
    pub expires: i64,
    /// The hub's seal over all of that.
    pub seal: String,
}

fn operator(row: &Row) -> rusqlite::Result<OperatorRecord> {
    Ok(OperatorRecord { name: row.get(0)?, role: row.get(1)?, created: row.get(2)?, seal: row.get(3)? })
}

/// Adds a line to the audit trail, in the caller's transaction.
pub(super) fn audit(connection: &Connection, at: i64, who: &str, what: &str, about: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit (at, who, what, about) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![at, who, what, about])?;
    Ok(())
}

impl Store {
    /// A value that the hub keeps about itself.
    pub fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT value FROM meta WHERE key = ?1";
            Ok(connection.query_row(sql, [key], |row| row.get(0)).optional()?)
        })
    }

    /// Keeps a value.
    pub async fn set_meta(&self, key: &'static str, value: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            connection.execute(sql, params![key, value])?;
            Ok(())
        })
        .await
    }

    /// Adds an operator; `Conflict` where there is one of that name.
    pub async fn add_operator(&self, record: OperatorRecord, token_hash: Digest, by: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            let OperatorRecord { name, role, created, seal } = record;
            let sql = "INSERT INTO operators VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO NOTHING";
            if connection.execute(sql, params![name, role, token_hash.as_str(), created, seal])? == 0 {
                return Err(StoreError::Conflict(format!("there is an operator {name} already")));
            }
            audit(connection, created, &by, "operator.add", &name)
        })
        .await
    }

    /// Takes an operator away; whether there was one.
    pub async fn remove_operator(&self, name: String, now: i64, by: String) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let there = connection.execute("DELETE FROM operators WHERE name = ?1", [&name])? > 0;
            audit(connection, now, &by, "operator.remove", &name)?;
            Ok(there)
        })
        .await
    }

    /// All operators by name.
    pub fn operators(&self) -> Result<Vec<OperatorRecord>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare("SELECT name, role, created, seal FROM operators ORDER BY name")?;
            let rows = query.query_map([], operator)?.collect::<Result<_, _>>()?;
            Ok(rows)
        })
    }

    /// The operator who has the token with this hash.
    pub fn operator_by_token(&self, token_hash: &Digest) -> Result<Option<OperatorRecord>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT name, role, created, seal FROM operators WHERE token_hash = ?1";
            Ok(connection.prepare_cached(sql)?.query_row([token_hash.as_str()], operator).optional()?)
        })
    }

    /// Keeps a join token, by its hash.
    pub async fn add_join_token(&self, token: JoinTokenRecord, by: String, now: i64) -> Result<(), StoreError> {
        self.write(move |connection| {
            let JoinTokenRecord { hash, role, target, expires, seal } = token;
            let target = target.map(|target| target.to_string());
            let sql = "INSERT INTO join_tokens (hash, role, target, expires, seal) VALUES (?1, ?2, ?3, ?4, ?5)";
            connection.execute(sql, params![hash.as_str(), role, target, expires, seal])?;
            audit(connection, now, &by, "join-token.make", &role)
        })
        .await
    }
}
