//! Agents: who they are, by which key, and what they have told.

use super::{Store, StoreError, json, operators::audit, text};
use crate::model::{Inventory, Target, digest::Digest, facts::Facts, hold::Hold, inventory::Incarnation, target::What};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// An agent on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRecord {
    /// Made from its key.
    pub id: String,
    /// Base64url.
    pub public_key: String,
    /// `agent` or `pve-agent`.
    pub role: String,
    /// What it looks after.
    pub target: Target,
    /// Its remotectl version.
    pub version: String,
    /// Its generation.
    pub generation: u64,
    /// `token` or `attested`.
    pub joined: String,
    /// When, in seconds since the epoch.
    pub joined_at: i64,
    /// What it has told of its machine.
    pub facts: Option<Facts>,
    /// Why it is not listened to; `None` where it is.
    pub hold: Option<Hold>,
    /// The hub's seal over who it is.
    pub seal: String,
}

/// Which guest a target is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncarnationRecord {
    /// The hub's name for this one guest, whatever its vmid.
    pub uuid: String,
    /// What it is called now.
    pub target: Target,
    /// What the hypervisor knows of it.
    pub facts: Incarnation,
    /// Since when it is so, in seconds since the epoch.
    pub since: i64,
}

/// No join token is good for longer, in seconds: 10 minutes, and one for clocks that are mended.
const LONGEST_TOKEN: i64 = 660;

/// A join token's role, target, expiry, user and seal.
type Token = (String, Option<String>, i64, Option<String>, String);

/// An agent with what is still text: target, facts, hold.
type Raw = (AgentRecord, String, Option<String>, Option<String>);

fn agent(row: &Row) -> rusqlite::Result<Raw> {
    let record = AgentRecord {
        id: row.get(0)?,
        public_key: row.get(1)?,
        role: row.get(2)?,
        target: Target::cluster(),
        version: row.get(4)?,
        generation: row.get(5)?,
        joined: row.get(6)?,
        joined_at: row.get(7)?,
        facts: None,
        hold: None,
        seal: row.get(9)?,
    };
    Ok((record, row.get(3)?, row.get(8)?, row.get(10)?))
}

fn insert(connection: &Connection, record: &AgentRecord) -> Result<(), StoreError> {
    evicted(connection, &record.id)?;
    // A new agent for a target takes the place of the one before: its key is no longer known.
    let target = record.target.to_string();
    connection.execute("DELETE FROM agents WHERE target = ?1 OR id = ?2", params![target, record.id])?;
    // A key that comes back goes on where its journal stands: sequence numbers are never used again.
    let sql =
        "INSERT INTO agents (id, public_key, role, target, version, generation, joined, joined_at, seal, next_seq)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, max(
                   (SELECT coalesce(max(seq), 0) + 1 FROM commands WHERE agent = ?1),
                   (SELECT coalesce(max(CAST(value AS INTEGER)), 1) FROM meta WHERE key = 'first_seq')))";
    let AgentRecord { id, public_key, role, version, generation, joined, joined_at, seal, .. } = record;
    let values = params![id, public_key, role, target, version, generation, joined, joined_at, seal];
    connection.execute(sql, values)?;
    audit(connection, *joined_at, id, "agent.join", &target)
}

/// `Conflict` where that identity has ended for good.
fn evicted(connection: &Connection, id: &str) -> Result<(), StoreError> {
    let sql = "SELECT count(*) FROM evicted WHERE id = ?1";
    if connection.query_row(sql, [id], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(());
    }
    Err(StoreError::Conflict(format!(
        "{id} was evicted: there, `remotectl agent uninstall --purge` takes its key away, and a new one may join"
    )))
}

/// A token without a target lets nobody take the place of another.
fn taken_by_another(connection: &Connection, record: &AgentRecord) -> Result<Option<String>, StoreError> {
    let (target, right) = match (&record.target.what, record.role.as_str()) {
        (What::Host(_), "agent") | (What::Node(_), "pve-agent") => (record.target.to_string(), true),
        _ => (record.target.to_string(), false),
    };
    if !right {
        return Ok(Some(format!("a join token without a target is not for {target}")));
    }
    let sql = "SELECT count(*) FROM agents WHERE target = ?1 AND id <> ?2";
    let others: i64 = connection.query_row(sql, params![target, record.id], |row| row.get(0))?;
    Ok((others > 0).then(|| format!("{target} has an agent already; a join token made for that target replaces it")))
}

impl Store {
    /// All agents.
    pub fn agents(&self) -> Result<Vec<AgentRecord>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT id, public_key, role, target, version, generation, joined, joined_at, facts, seal, hold
                       FROM agents";
            let mut query = connection.prepare(sql)?;
            let rows: Vec<_> = query.query_map([], agent)?.collect::<Result<_, _>>()?;
            let whole = |(mut record, target, facts, hold): Raw| {
                record.target = target.parse().map_err(|error: crate::model::target::TargetError| {
                    StoreError::Malformed { what: "target", why: error.to_string() }
                })?;
                record.facts = facts.map(|facts| json("fact", &facts)).transpose()?;
                record.hold = hold.map(|hold| json("hold", &hold)).transpose()?;
                Ok(record)
            };
            rows.into_iter().map(whole).collect()
        })
    }

    /// Registers an agent by a join token, which is used up by that. `sealed` says of role, target (empty where open),
    /// expiry and seal whether they are as the hub has made them. `Conflict` says why the token does not count.
    pub async fn join_by_token(
        &self,
        record: AgentRecord,
        token_hash: Digest,
        now: i64,
        sealed: impl Fn(&str, &str, i64, &str) -> bool + Send + 'static,
    ) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "SELECT role, target, expires, used_by, seal FROM join_tokens WHERE hash = ?1";
            let read = |row: &Row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
            let token: Option<Token> = connection.query_row(sql, [token_hash.as_str()], read).optional()?;
            let why = match &token {
                None => Some("the join token is not known".to_owned()),
                Some((role, target, expires, _, seal))
                    if !sealed(role, target.as_deref().unwrap_or_default(), *expires, seal) =>
                {
                    Some("the join token was not made by this hub".to_owned())
                }
                Some((_, _, _, Some(_), _)) => Some("the join token has been used already".to_owned()),
                // It may also be that the clock was set back since.
                Some((_, _, expires, ..)) if !(0..=LONGEST_TOKEN).contains(&(*expires - now)) => {
                    Some("the join token has expired".to_owned())
                }
                Some((role, ..)) if *role != record.role => Some(format!("the join token is for a {role}")),
                Some((_, Some(target), ..)) if *target != record.target.to_string() => {
                    Some(format!("the join token is for {target}"))
                }
                Some((_, Some(_), ..)) => None,
                Some(_) => taken_by_another(connection, &record)?,
            };
            if let Some(why) = why {
                return Err(StoreError::Conflict(why));
            }
            let sql = "UPDATE join_tokens SET used_by = ?1 WHERE hash = ?2";
            connection.execute(sql, params![record.id, token_hash.as_str()])?;
            insert(connection, &record)
        })
        .await
    }

    /// Registers an agent on the word of the pve-agent that is deploying it: counts only for a running agent.deploy of
    /// that pve-agent, for its target, with its nonce.
    pub async fn join_by_attestation(
        &self,
        record: AgentRecord,
        attested_by: String,
        command: String,
        nonce: String,
    ) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "SELECT count(*) FROM commands
                       WHERE id = ?1 AND agent = ?2 AND target = ?3 AND nonce = ?4 AND state IN ('queued', 'accepted')";
            let target = record.target.to_string();
            let running: i64 =
                connection.query_row(sql, params![command, attested_by, target, nonce], |row| row.get(0))?;
            if running != 1 {
                return Err(StoreError::Conflict(format!(
                    "no deployment of {target} is running there with that nonce"
                )));
            }
            insert(connection, &record)
        })
        .await
    }

    /// How much of each agent's journal no crash of its machine can have taken away.
    pub fn kept_marks(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare("SELECT id, kept FROM agents WHERE kept > 0")?;
            Ok(query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
        })
    }

    /// Keeps such a mark.
    pub async fn set_kept(&self, id: String, kept: u64) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection.prepare_cached("UPDATE agents SET kept = ?1 WHERE id = ?2")?.execute(params![kept, id])?;
            Ok(())
        })
        .await
    }

    /// Which guest each target is.
    pub fn incarnations(&self) -> Result<Vec<IncarnationRecord>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare("SELECT uuid, target, facts, since FROM incarnations")?;
            let rows: Vec<(String, String, String, i64)> = query
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect::<Result<_, _>>()?;
            let whole = |(uuid, target, facts, since): (String, String, String, i64)| {
                let target = target.parse().map_err(|error: crate::model::target::TargetError| {
                    StoreError::Malformed { what: "target", why: error.to_string() }
                })?;
                Ok(IncarnationRecord { uuid, target, facts: json("incarnation", &facts)?, since })
            };
            rows.into_iter().map(whole).collect()
        })
    }

    /// Keeps which guests these targets are.
    pub async fn set_incarnations(&self, records: Vec<IncarnationRecord>) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "INSERT INTO incarnations (target, uuid, facts, since) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (target) DO UPDATE SET uuid = excluded.uuid, facts = excluded.facts, since = excluded.since";
            let mut insert = connection.prepare_cached(sql)?;
            for IncarnationRecord { uuid, target, facts, since } in records {
                insert.execute(params![target.to_string(), uuid, text(&facts), since])?;
            }
            Ok(())
        })
        .await
    }

    /// Forgets an agent.
    pub async fn remove_agent(&self, id: String, now: i64, by: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection.execute("DELETE FROM agents WHERE id = ?1", [&id])?;
            audit(connection, now, &by, "agent.remove", &id)
        })
        .await
    }

    /// Keeps whether an agent is listened to, with the seal over that; `what` is the audit trail's word. `Conflict` where
    /// there is no such agent any more.
    pub async fn set_hold(
        &self,
        record: AgentRecord,
        what: &'static str,
        by: String,
        now: i64,
    ) -> Result<(), StoreError> {
        self.write(move |connection| {
            let hold = record.hold.as_ref().map(text);
            let sql = "UPDATE agents SET hold = ?1, seal = ?2 WHERE id = ?3";
            if connection.execute(sql, params![hold, record.seal, record.id])? == 0 {
                return Err(StoreError::Conflict(format!("agent {} is not known any more", record.id)));
            }
            audit(connection, now, &by, what, &record.target.to_string())
        })
        .await
    }

    /// Forgets an agent, and never takes its key again.
    pub async fn evict_agent(&self, id: String, target: Target, by: String, now: i64) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection.execute("DELETE FROM agents WHERE id = ?1", [&id])?;
            let sql = "INSERT INTO evicted (id, target, at, by) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING";
            connection.execute(sql, params![id, target.to_string(), now, by])?;
            audit(connection, now, &by, "agent.evict", &format!("{target} {id}"))
        })
        .await
    }

    /// Keeps what an agent has told of its machine.
    pub async fn set_facts(&self, id: String, version: String, facts: Facts) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "UPDATE agents SET facts = ?1, version = ?2 WHERE id = ?3";
            connection.execute(sql, params![text(&facts), version, id])?;
            Ok(())
        })
        .await
    }

    /// Keeps what a pve-agent has told of its cluster.
    pub async fn set_inventory(&self, agent: String, inventory: Inventory) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "INSERT INTO inventories VALUES (?1, ?2) ON CONFLICT (agent) DO UPDATE SET inventory = excluded.inventory";
            connection.execute(sql, params![agent, text(&inventory)])?;
            Ok(())
        })
        .await
    }

    /// What pve-agents have told, by their ids.
    pub fn inventories(&self) -> Result<Vec<(String, Inventory)>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare("SELECT agent, inventory FROM inventories")?;
            let rows: Vec<(String, String)> =
                query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
            rows.into_iter().map(|(agent, inventory)| Ok((agent, json("inventory", &inventory)?))).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::JoinTokenRecord;
    use std::path::Path;

    fn good(_: &str, _: &str, _: i64, seal: &str) -> bool {
        seal == "good"
    }

    fn record(id: &str) -> AgentRecord {
        AgentRecord {
            id: id.to_owned(),
            public_key: format!("key of {id}"),
            role: "agent".to_owned(),
            target: Target::host(id),
            version: "1".to_owned(),
            generation: 1,
            joined: "token".to_owned(),
            joined_at: 0,
            facts: None,
            hold: None,
            seal: String::new(),
        }
    }

    async fn store_with_token(directory: &Path) -> (Store, Digest) {
        let (store, hash) = (Store::open(&directory.join("hub.db")).unwrap(), Digest::of(b"token"));
        let token = JoinTokenRecord {
            hash: hash.clone(),
            role: "agent".into(),
            target: None,
            expires: 600,
            seal: "good".into(),
        };
        let added = store.add_join_token(token, "root".into(), 0);
        added.await.unwrap();
        (store, hash)
    }

    #[tokio::test]
    async fn a_join_token_counts_once_and_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let (store, hash) = store_with_token(directory.path()).await;
        let late = store.join_by_token(record("late"), hash.clone(), 601, good).await.unwrap_err();
        assert_eq!(late.to_string(), "the join token has expired");
        let forged = store.join_by_token(record("forged"), hash.clone(), 600, |_, _, _, _| false).await.unwrap_err();
        assert_eq!(forged.to_string(), "the join token was not made by this hub");
        store.join_by_token(record("first"), hash.clone(), 600, good).await.unwrap();
        let second = store.join_by_token(record("second"), hash, 600, good).await.unwrap_err();
        assert_eq!(second.to_string(), "the join token has been used already");
        let stranger = store.join_by_token(record("third"), Digest::of(b"other"), 0, good).await.unwrap_err();
        assert_eq!(stranger.to_string(), "the join token is not known");
        assert_eq!(store.agents().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn who_was_evicted_stays_out() {
        let directory = tempfile::tempdir().unwrap();
        let (store, hash) = store_with_token(directory.path()).await;
        store.evict_agent("bad".into(), Target::host("bad"), "root".into(), 0).await.unwrap();
        let refused = store.join_by_token(record("bad"), hash.clone(), 0, good).await.unwrap_err();
        assert!(refused.to_string().starts_with("bad was evicted"), "{refused}");
        store.join_by_token(record("other"), hash, 0, good).await.expect("the token was not used up by that");
    }

    #[tokio::test]
    async fn of_many_joins_at_once_one_wins() {
        let directory = tempfile::tempdir().unwrap();
        let (store, hash) = store_with_token(directory.path()).await;
        let store = std::sync::Arc::new(store);
        let mut joins = tokio::task::JoinSet::new();
        for n in 0..100 {
            let (store, hash) = (std::sync::Arc::clone(&store), hash.clone());
            joins.spawn(async move { store.join_by_token(record(&format!("a{n}")), hash, 0, good).await.is_ok() });
        }
        let won = joins.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!((won, store.agents().unwrap().len()), (1, 1));
    }
}
