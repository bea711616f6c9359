//! Copies of the database, and what becomes of one that is put back: a new epoch, in which nothing is done again that may
//! have been done since the copy was made.

use super::{
    Store, StoreError, check, migrations,
    operators::audit,
    plans::{self, advance},
    prepare, text,
};
use crate::model::{
    Outcome,
    answer::TargetResult,
    outcome::Ending,
    state::{PlanEvent, PlanState},
};
use rusqlite::{Connection, OpenFlags, backup::Backup, params};
use std::path::Path;

/// Sequence numbers of an epoch begin at the epoch, shifted by so many bits: each is above all of the epochs before, and
/// an epoch is the second in which it began.
const SEQS: u32 = 20;
/// What the audit trail calls it.
const NEW_EPOCH: &str = "hub.restore";

/// What was under way in a copy that is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// When the copy's newest entry was made, in seconds since the epoch.
    pub newest: i64,
    /// Commands whose end is unknown now.
    pub commands: usize,
    /// Plans that have ended so.
    pub running: usize,
    /// Plans that nobody can begin any more.
    pub proposed: usize,
}

/// Copies a database, a running hub's too, as it is at one moment: SQLite's own backup.
pub fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    super::keep_private(to)?;
    let open = |path: &Path, flags| {
        Connection::open_with_flags(path, flags).map_err(|source| StoreError::Open { path: path.to_owned(), source })
    };
    let source = open(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check(&source, from)?;
    let mut target = open(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // All pages in one step: writers go on meanwhile, and are not seen.
    Backup::new(&source, &mut target)?.step(-1)?;
    // One file, without a log beside it.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(())
}

/// Puts files into a copy.
pub fn pack(path: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), StoreError> {
    let connection = Connection::open(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    connection.execute_batch("CREATE TABLE backup (name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT")?;
    for (name, content) in files {
        connection.execute("INSERT INTO backup VALUES (?1, ?2)", params![name, content])?;
    }
    Ok(())
}

/// Takes the files out of a copy, so that nothing of them is left in it.
pub fn unpack(path: &Path) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let connection = Connection::open(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    let is_one: bool = connection.query_row(
        "SELECT count(*) = 1 FROM sqlite_schema WHERE type = 'table' AND name = 'backup'",
        [],
        |row| row.get(0),
    )?;
    if !is_one {
        return Err(StoreError::NoBackup(path.to_owned()));
    }
    let mut query = connection.prepare("SELECT name, content FROM backup")?;
    let files = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    drop(query);
    // Keys are no rows: what is deleted would stay in free pages.
    connection.execute_batch("DROP TABLE backup; VACUUM")?;
    Ok(files)
}

/// The epoch of a database that nobody has open, or somebody has.
pub fn epoch_of(path: &Path) -> Result<u64, StoreError> {
    let open = |source| StoreError::Open { path: path.to_owned(), source };
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(open)?;
    let sql = "SELECT coalesce(max(CAST(value AS INTEGER)), 1) FROM meta WHERE key = 'epoch'";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Makes a copy a hub's database again, in a new epoch. What was under way in it may have ended since, and may have been
/// done: its end is unknown. What was only proposed may have been carried out: it is void, and so are unused join strings.
pub fn begin_epoch(path: &Path, epoch: u64, now: i64) -> Result<Left, StoreError> {
    super::keep_private(path)?;
    let mut connection = Connection::open(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    prepare(&connection)?;
    migrations::migrate(&mut connection, path)?;
    let transaction = connection.transaction()?;
    let newest = transaction.query_row("SELECT coalesce(max(at), 0) FROM audit", [], |row| row.get(0))?;
    let unfinished = plans::unfinished(&transaction)?;
    let commands = transaction.execute(
        "UPDATE commands SET state = 'unknown', outcome = ?1 WHERE state IN ('queued', 'accepted')",
        [text(&unknown())],
    )?;
    let mut running = 0;
    for plan in unfinished {
        running += usize::from(end(&transaction, &plan, now)?);
    }
    let proposed = void(&transaction, now)?;
    transaction.execute("DELETE FROM join_tokens", [])?;
    let first = epoch << SEQS;
    transaction.execute("UPDATE agents SET next_seq = max(next_seq, ?1)", [first])?;
    for (key, value) in [("epoch", epoch), ("first_seq", first)] {
        let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        transaction.execute(sql, params![key, value.to_string()])?;
    }
    audit(&transaction, now, "root", NEW_EPOCH, &format!("epoch {epoch}, from a copy of {newest}"))?;
    transaction.commit()?;
    Ok(Left { newest, commands, running, proposed })
}

fn unknown() -> Outcome {
    let why = "the hub was restored from a backup of before its end; whether it was done is not known";
    Outcome { ending: Ending::Unknown, ..Outcome::failure(why) }
}

/// Ends a plan that was under way; whether it was running.
fn end(connection: &Connection, plan: &super::StoredPlan, now: i64) -> Result<bool, StoreError> {
    let id = &plan.plan.body.id;
    let Outcome { summary, .. } = unknown();
    for (step, targets) in plan.plan.body.steps.iter().map(|step| &step.targets).enumerate() {
        for target in targets {
            let help = format!("look at {target}, then: remotectl settle {id} done|failed --reason TEXT");
            let result = TargetResult {
                step,
                target: target.clone(),
                state: Ending::Unknown.as_str().to_owned(),
                summary: summary.clone(),
                help: Some(help),
                data: serde_json::Value::Null,
                took_ms: 0,
            };
            // Where there is a result already, that stays.
            plans::keep(connection, id, &result)?;
        }
    }
    let running = plan.state == PlanState::Running;
    if running {
        let (succeeded, failed) = plans::count(connection, id)?;
        let state = advance(connection, id, PlanEvent::Ended { succeeded, failed }, now)?;
        audit(connection, now, "root", &format!("plan.{state}"), id)?;
    }
    Ok(running)
}

fn void(connection: &Connection, now: i64) -> Result<usize, StoreError> {
    let mut query = connection.prepare("SELECT id FROM plans WHERE state = 'proposed'")?;
    let ids: Vec<String> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for id in &ids {
        let state = advance(connection, id, PlanEvent::Denied, now)?;
        audit(connection, now, "root", &format!("plan.{state}"), id)?;
    }
    Ok(ids.len())
}

/// Results of commands that this hub has no record of are told in the audit trail, so many at most.
const STRAYS: i64 = 1000;
/// What the audit trail calls them.
const STRAY: &str = "result.stray";

impl Store {
    /// Keeps, in the audit trail, that an agent has told the end of a command that is not on record here: one of after the
    /// copy from which this hub was restored. Each command is told of once.
    pub async fn stray(&self, agent: String, command: String, said: String, now: i64) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "SELECT count(*), count(*) FILTER (WHERE about LIKE ?2 || ' %') FROM audit WHERE what = ?1";
            let (all, same): (i64, i64) =
                connection.query_row(sql, params![STRAY, command], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if all >= STRAYS || same > 0 {
                return Ok(());
            }
            audit(connection, now, &agent, STRAY, &format!("{command} {said}"))
        })
        .await
    }

    /// What agents have told of commands that are not on record: by whom, and what.
    pub fn strays(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare("SELECT who, about FROM audit WHERE what = ?1 ORDER BY id")?;
            Ok(query.query_map([STRAY], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
        })
    }

    /// When the newest entry of the audit trail was made, in seconds since the epoch; 0 where there is none.
    pub fn newest_entry(&self) -> Result<i64, StoreError> {
        self.read(
            |connection| Ok(connection.query_row("SELECT coalesce(max(at), 0) FROM audit", [], |row| row.get(0))?),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files;

    #[tokio::test]
    async fn a_copy_has_the_files_and_gives_them_back_without_a_trace() {
        let directory = tempfile::tempdir().unwrap();
        let [database, backup] = ["hub.db", "backup"].map(|name| directory.path().join(name));
        let store = Store::open(&database).unwrap();
        store.set_meta("kept", "yes".to_owned()).await.unwrap();
        copy(&database, &backup).unwrap();
        store.set_meta("later", "yes".to_owned()).await.unwrap();
        assert!(matches!(unpack(&backup), Err(StoreError::NoBackup(_))));
        let secret = b"a very secret key".to_vec();
        pack(&backup, &[("ca.key", secret.clone())]).unwrap();
        assert_eq!(files::mode(&backup).unwrap(), 0o600);
        assert_eq!(unpack(&backup).unwrap(), [("ca.key".to_owned(), secret.clone())]);
        let bytes = files::read(&backup).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "it is in no free page");
        let epoch = 1_790_000_000;
        begin_epoch(&backup, epoch, 5).unwrap();
        let restored = Store::open(&backup).unwrap();
        assert_eq!(restored.meta("kept").unwrap().as_deref(), Some("yes"));
        assert_eq!(restored.meta("later").unwrap(), None);
        assert_eq!(restored.meta("first_seq").unwrap(), Some((epoch << SEQS).to_string()));
    }

    #[tokio::test]
    async fn a_stray_result_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db")).unwrap();
        for said in ["succeeded: done", "failed: again"] {
            store.stray("a-1".to_owned(), "c-1".to_owned(), said.to_owned(), 0).await.unwrap();
        }
        assert_eq!(store.strays().unwrap(), [("a-1".to_owned(), "c-1 succeeded: done".to_owned())]);
    }
}
