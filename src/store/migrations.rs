//! The schema as an append-only list: what a released version has run is never edited, only added to.

use super::StoreError;
use rusqlite::Connection;
use std::path::Path;

const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE operators (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, token_hash TEXT NOT NULL UNIQUE, created INTEGER NOT NULL,
    seal TEXT NOT NULL
) STRICT;

CREATE TABLE join_tokens (
    hash TEXT PRIMARY KEY, role TEXT NOT NULL, target TEXT, expires INTEGER NOT NULL, used_by TEXT, seal TEXT NOT NULL
) STRICT;

CREATE TABLE agents (
    id TEXT PRIMARY KEY, public_key TEXT NOT NULL UNIQUE, role TEXT NOT NULL, target TEXT NOT NULL,
    version TEXT NOT NULL, generation INTEGER NOT NULL, joined TEXT NOT NULL, joined_at INTEGER NOT NULL,
    next_seq INTEGER NOT NULL DEFAULT 1, facts TEXT, seal TEXT NOT NULL
) STRICT;

CREATE TABLE inventories (agent TEXT PRIMARY KEY REFERENCES agents ON DELETE CASCADE, inventory TEXT NOT NULL) STRICT;

CREATE TABLE plans (
    id TEXT PRIMARY KEY, body BLOB NOT NULL, digest TEXT NOT NULL, findings TEXT NOT NULL, state TEXT NOT NULL,
    operator TEXT NOT NULL, created INTEGER NOT NULL, ended INTEGER,
    approved_by TEXT, approved_at INTEGER, approved_digest TEXT, begun_seal TEXT
) STRICT;
CREATE INDEX plans_by_time ON plans (created);

CREATE TABLE results (
    plan TEXT NOT NULL REFERENCES plans, step INTEGER NOT NULL, target TEXT NOT NULL, result TEXT NOT NULL,
    PRIMARY KEY (plan, step, target)
) STRICT;

CREATE TABLE commands (
    id TEXT PRIMARY KEY, plan TEXT NOT NULL REFERENCES plans, step INTEGER NOT NULL, target TEXT NOT NULL,
    agent TEXT NOT NULL, seq INTEGER NOT NULL, signed TEXT NOT NULL, state TEXT NOT NULL,
    expires INTEGER NOT NULL, outcome TEXT, nonce TEXT,
    UNIQUE (agent, seq)
) STRICT;
CREATE INDEX commands_of_plans ON commands (plan, step, target);
CREATE INDEX commands_open ON commands (agent, seq) WHERE state IN ('queued', 'accepted');

CREATE TABLE audit (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, about TEXT NOT NULL
) STRICT;
",
    "
ALTER TABLE agents ADD COLUMN hold TEXT;

CREATE TABLE evicted (id TEXT PRIMARY KEY, target TEXT NOT NULL, at INTEGER NOT NULL, by TEXT NOT NULL) STRICT;
",
    "
ALTER TABLE agents ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;

CREATE TABLE incarnations (
    target TEXT PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, facts TEXT NOT NULL, since INTEGER NOT NULL
) STRICT;
",
    "
CREATE TABLE credentials (
    name TEXT PRIMARY KEY, kind TEXT NOT NULL, user TEXT NOT NULL, selector TEXT NOT NULL, address TEXT,
    port INTEGER NOT NULL, jump TEXT, sealed BLOB NOT NULL, created INTEGER NOT NULL, rotated INTEGER, used INTEGER
) STRICT;

CREATE TABLE host_keys (
    target TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, by TEXT NOT NULL, at INTEGER NOT NULL, seal TEXT NOT NULL
) STRICT;
",
    "
ALTER TABLE operators ADD COLUMN expires INTEGER;
ALTER TABLE operators ADD COLUMN last_used INTEGER;
",
];

/// Whether this version knows the database's schema.
pub fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > MIGRATIONS.len() {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: MIGRATIONS.len() });
    }
    Ok(())
}

/// Brings the schema up to date, all in one transaction.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    check(connection, path)?;
    let found: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let transaction = connection.transaction()?;
    for migration in &MIGRATIONS[found..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    transaction.commit()?;
    Ok(())
}
