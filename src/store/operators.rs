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
    /// The hash of their token.
    pub token: Digest,
    /// When, in seconds since the epoch.
    pub created: i64,
    /// Until when their token is good, in seconds since the epoch; `None` for ever.
    pub expires: Option<i64>,
    /// When it was used last, to the minute, in seconds since the epoch.
    pub last_used: Option<i64>,
    /// The hub's seal over name, role, token and expiry.
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

const OPERATOR: &str = "name, role, token_hash, created, expires, last_used, seal";

fn operator(row: &Row) -> rusqlite::Result<OperatorRecord> {
    Ok(OperatorRecord {
        name: row.get(0)?,
        role: row.get(1)?,
        token: hash(&row.get::<_, String>(2)?),
        created: row.get(3)?,
        expires: row.get(4)?,
        last_used: row.get(5)?,
        seal: row.get(6)?,
    })
}

/// A stored hash. What is none becomes the hash of nothing, which no seal fits.
fn hash(text: &str) -> Digest {
    Digest::parse(text).unwrap_or_else(|| Digest::of(b""))
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
    pub async fn add_operator(&self, record: OperatorRecord, by: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            let OperatorRecord { name, role, token, created, expires, seal, .. } = record;
            let sql = "INSERT INTO operators (name, role, token_hash, created, expires, seal)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO NOTHING";
            if connection.execute(sql, params![name, role, token.as_str(), created, expires, seal])? == 0 {
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
            let mut query = connection.prepare(&format!("SELECT {OPERATOR} FROM operators ORDER BY name"))?;
            let rows = query.query_map([], operator)?.collect::<Result<_, _>>()?;
            Ok(rows)
        })
    }

    /// The operator who has the token with this hash.
    pub fn operator_by_token(&self, token_hash: &Digest) -> Result<Option<OperatorRecord>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {OPERATOR} FROM operators WHERE token_hash = ?1");
            Ok(connection.prepare_cached(&sql)?.query_row([token_hash.as_str()], operator).optional()?)
        })
    }

    /// Keeps when an operator's token was used last.
    pub async fn used(&self, name: String, now: i64) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "UPDATE operators SET last_used = ?1 WHERE name = ?2";
            connection.prepare_cached(sql)?.execute(params![now, name])?;
            Ok(())
        })
        .await
    }

    /// Join tokens that nobody has used yet.
    pub fn join_tokens(&self) -> Result<Vec<JoinTokenRecord>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT hash, role, target, expires, seal FROM join_tokens WHERE used_by IS NULL";
            let mut query = connection.prepare(sql)?;
            let record = |row: &Row| {
                let target: Option<String> = row.get(2)?;
                Ok(JoinTokenRecord {
                    hash: hash(&row.get::<_, String>(0)?),
                    role: row.get(1)?,
                    target: target.and_then(|target| target.parse().ok()),
                    expires: row.get(3)?,
                    seal: row.get(4)?,
                })
            };
            Ok(query.query_map([], record)?.collect::<Result<_, _>>()?)
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
