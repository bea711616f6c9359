//! Ways to log in to guests, sealed with a key that is no row, and the host keys that operators have said yes to.

use super::{Store, StoreError, operators::audit};
use crate::model::{Target, credential::CredentialKind};
use rusqlite::{OptionalExtension as _, Row, params};

/// A way to log in, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Its name.
    pub name: String,
    /// By what.
    pub kind: CredentialKind,
    /// As whom.
    pub user: String,
    /// To which guests: a selector.
    pub selector: String,
    /// Where to, where that is not the guest's own address or name.
    pub address: Option<String>,
    /// On which port.
    pub port: u16,
    /// Through which machine.
    pub jump: Option<String>,
    /// The secret, sealed about all of the above.
    pub sealed: Vec<u8>,
    /// When it was added, in seconds since the epoch.
    pub created: i64,
    /// When its secret was last replaced.
    pub rotated: Option<i64>,
    /// When a node was last given it.
    pub used: Option<i64>,
}

/// A host key that an operator has said yes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyRecord {
    /// Whose.
    pub target: Target,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// Who said yes.
    pub by: String,
    /// When, in seconds since the epoch.
    pub at: i64,
    /// The hub's seal over target and fingerprint.
    pub seal: String,
}

fn credential(row: &Row) -> rusqlite::Result<Option<CredentialRecord>> {
    let kind: String = row.get(1)?;
    let Some(kind) = CredentialKind::parse(&kind) else { return Ok(None) };
    Ok(Some(CredentialRecord {
        name: row.get(0)?,
        kind,
        user: row.get(2)?,
        selector: row.get(3)?,
        address: row.get(4)?,
        port: row.get(5)?,
        jump: row.get(6)?,
        sealed: row.get(7)?,
        created: row.get(8)?,
        rotated: row.get(9)?,
        used: row.get(10)?,
    }))
}

impl Store {
    /// Adds a credential; `Conflict` where there is one of that name.
    pub async fn add_credential(&self, record: CredentialRecord, by: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            let CredentialRecord { name, kind, user, selector, address, port, jump, sealed, created, .. } = record;
            let sql = "INSERT INTO credentials VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, NULL)
                       ON CONFLICT (name) DO NOTHING";
            let kind = kind.as_str();
            let row = params![name, kind, user, selector, address, port, jump, sealed, created];
            if connection.execute(sql, row)? == 0 {
                return Err(StoreError::Conflict(format!("there is a credential {name} already")));
            }
            audit(connection, created, &by, "credential.add", &name)
        })
        .await
    }

    /// Puts another secret, and its kind, in place; whether there was one of that name.
    pub async fn rotate_credential(&self, record: CredentialRecord, now: i64, by: String) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let CredentialRecord { name, kind, sealed, .. } = record;
            let sql = "UPDATE credentials SET kind = ?2, sealed = ?3, rotated = ?4 WHERE name = ?1";
            let there = connection.execute(sql, params![name, kind.as_str(), sealed, now])? > 0;
            audit(connection, now, &by, "credential.rotate", &name)?;
            Ok(there)
        })
        .await
    }

    /// Takes a credential away; whether there was one.
    pub async fn remove_credential(&self, name: String, now: i64, by: String) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let there = connection.execute("DELETE FROM credentials WHERE name = ?1", [&name])? > 0;
            audit(connection, now, &by, "credential.remove", &name)?;
            Ok(there)
        })
        .await
    }

    /// Notes that a node was given these, for that target.
    pub async fn used_credentials(&self, names: Vec<String>, target: Target, now: i64) -> Result<(), StoreError> {
        self.write(move |connection| {
            for name in names {
                connection.execute("UPDATE credentials SET used = ?2 WHERE name = ?1", params![name, now])?;
                audit(connection, now, "hub", "credential.use", &format!("{name} for {target}"))?;
            }
            Ok(())
        })
        .await
    }

    /// All credentials by name.
    pub fn credentials(&self) -> Result<Vec<CredentialRecord>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT * FROM credentials ORDER BY name")?;
            let rows: Vec<_> = query.query_map([], credential)?.collect::<Result<_, _>>()?;
            Ok(rows.into_iter().flatten().collect())
        })
    }

    /// Keeps the host key of a target, in the place of the one before.
    pub async fn keep_host_key(&self, record: HostKeyRecord) -> Result<(), StoreError> {
        self.write(move |connection| {
            let HostKeyRecord { target, fingerprint, by, at, seal } = record;
            let target = target.to_string();
            let sql = "INSERT INTO host_keys VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (target) DO UPDATE
                       SET fingerprint = excluded.fingerprint, by = excluded.by, at = excluded.at, seal = excluded.seal";
            connection.execute(sql, params![target, fingerprint, by, at, seal])?;
            audit(connection, at, &by, "host-key.trust", &format!("{target} {fingerprint}"))
        })
        .await
    }

    /// The host key of a target, where somebody has said yes to one: fingerprint and seal.
    pub fn host_key(&self, target: &Target) -> Result<Option<(String, String)>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT fingerprint, seal FROM host_keys WHERE target = ?1";
            let row = |row: &Row| Ok((row.get(0)?, row.get(1)?));
            Ok(connection.prepare_cached(sql)?.query_row([target.to_string()], row).optional()?)
        })
    }
}
