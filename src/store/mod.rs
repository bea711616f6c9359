//! The hub's memory: SQLite with one writer. Writes are queued and committed in groups, each durable (WAL, FULL) before
//! its caller hears of it; a write that fails is rolled back by itself. Reads have connections of their own.

mod agents;
mod backup;
mod commands;
mod credentials;
mod migrations;
mod operators;
mod plans;
mod sagas;

pub use agents::{AgentRecord, IncarnationRecord};
pub use backup::{Left, begin_epoch, copy, epoch_of, pack, unpack};
pub use commands::{CommandRecord, NewCommand};
pub use credentials::{CredentialRecord, HostKeyRecord};
pub use operators::{JoinTokenRecord, OperatorRecord};
pub use plans::StoredPlan;
pub use sagas::Sagas;

use crate::sys::{
    crash,
    files::{self, FileError},
};
use rusqlite::{Connection, OpenFlags};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// The most writes that one commit carries.
const GROUP: usize = 256;
/// How often a transaction is tried to be begun, 5 s each.
const BEGINS: u32 = 12;
/// Reading connections that are kept.
const READERS: usize = 4;

/// The store can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error("using the database")]
    Sqlite(#[from] rusqlite::Error),
    /// It can't be opened.
    #[error("opening the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// It is damaged.
    #[error("the database {} is damaged: {report}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's first complaint.
        report: String,
    },
    /// A newer remotectl has made it.
    #[error("the database {} has schema {found}; this remotectl knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: usize,
        /// The newest that this version knows.
        known: usize,
    },
    /// It can't be made, or others can't be kept from reading it.
    #[error("keeping the database private")]
    Private(#[source] FileError),
    /// A file that is no backup.
    #[error("{} is no backup of a hub", .0.display())]
    NoBackup(PathBuf),
    /// The commit failed; nothing of it is stored.
    #[error("committing: {0}")]
    Commit(String),
    /// What is stored does not read.
    #[error("a stored {what} does not read: {why}")]
    Malformed {
        /// Of what kind.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The writer has stopped.
    #[error("the database is closed")]
    Closed,
}

type Finish = Box<dyn FnOnce(Result<(), String>) + Send>;
type Job = Box<dyn FnOnce(&Connection) -> Finish + Send>;

/// The hub's database.
pub struct Store {
    path: PathBuf,
    writer: mpsc::Sender<Job>,
    readers: Mutex<Vec<Connection>>,
}

impl Store {
    /// Opens it, checks it, brings its schema up to date, and starts the writer.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open { path: path.to_owned(), source };
        keep_private(path)?;
        let mut connection = Connection::open(path).map_err(open)?;
        prepare(&connection).map_err(open)?;
        check(&connection, path)?;
        migrations::migrate(&mut connection, path)?;
        let (writer, jobs) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_all(&connection, &jobs))
            .map_err(|error| StoreError::Commit(error.to_string()))?;
        Ok(Self { path: path.to_owned(), writer, readers: Mutex::default() })
    }

    /// Queues a write. The answer comes when it is durable; the write happens even when nobody waits for that.
    pub fn write<T, W>(&self, work: W) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = in_savepoint(connection, work);
            Box::new(move |committed| {
                let told = match committed {
                    Ok(()) => result,
                    Err(why) => result.and(Err(StoreError::Commit(why))),
                };
                // Nobody may be waiting.
                drop(sender.send(told));
            })
        });
        let queued = self.writer.send(job).is_ok();
        async move {
            if !queued {
                return Err(StoreError::Closed);
            }
            receiver.await.unwrap_or(Err(StoreError::Closed))
        }
    }

    /// Reads, in the caller's thread: for short queries.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => self.reader()?,
        };
        let result = work(&connection);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS {
            readers.push(connection);
        }
        result
    }

    fn reader(&self) -> Result<Connection, StoreError> {
        let open = |source| StoreError::Open { path: self.path.clone(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(open)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(open)?;
        Ok(connection)
    }
}

/// Looks at a database without opening it for writing, a running hub's too: whether it is whole and of a schema that this
/// version knows, and its size in bytes with what is not yet written back.
pub fn inspect(path: &Path) -> Result<u64, StoreError> {
    let open = |source| StoreError::Open { path: path.to_owned(), source };
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(open)?;
    connection.busy_timeout(Duration::from_secs(1)).map_err(open)?;
    check(&connection, path)?;
    migrations::check(&connection, path)?;
    let size = |end| std::fs::metadata(beside(path, end)).map_or(0, |file| file.len());
    Ok(size("") + size("-wal"))
}

/// Sees to it that nobody but its owner reads a database: the file is made so, and SQLite gives its log the same mode.
fn keep_private(path: &Path) -> Result<(), StoreError> {
    let closed = |error: FileError| StoreError::Private(error);
    drop(files::open_append(path).map_err(closed)?);
    for end in ["", "-wal", "-shm"] {
        files::set_mode(&beside(path, end), 0o600).map_err(closed)?;
    }
    Ok(())
}

/// The file that SQLite keeps beside a database under this ending.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")
}

fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let report: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if report == "ok" { Ok(()) } else { Err(StoreError::Damaged { path: path.to_owned(), report }) }
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.execute_batch("SAVEPOINT one")?;
    let result = work(connection);
    let end = if result.is_ok() { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" };
    connection.execute_batch(end)?;
    result
}

/// Begins a transaction, as often as it takes: only another process that holds the database can be in the way. `None`
/// where that does not end; then nothing more is written, and every caller hears that the database is closed.
fn begin(connection: &Connection) -> Option<()> {
    for _ in 0..BEGINS {
        match connection.execute_batch("BEGIN IMMEDIATE") {
            Ok(()) => return Some(()),
            // Each try has waited for the busy time-out already.
            Err(error) => tracing::error!(%error, "a transaction did not begin"),
        }
    }
    None
}

fn write_all(connection: &Connection, jobs: &mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        // Without a transaction each job would be durable by itself while its caller hears of a failure.
        let Some(()) = begin(connection) else { return };
        let mut finishes = vec![first(connection)];
        while finishes.len() < GROUP {
            let Ok(next) = jobs.try_recv() else { break };
            finishes.push(next(connection));
        }
        crash::point("committing");
        let committed = connection.execute_batch("COMMIT").map_err(|error| error.to_string());
        if let Err(why) = &committed {
            tracing::error!(why, "a commit failed");
            // There may be nothing to roll back.
            drop(connection.execute_batch("ROLLBACK"));
        }
        for finish in finishes {
            finish(committed.clone());
        }
    }
}

/// Reads JSON out of a column.
fn json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Malformed { what, why: error.to_string() })
}

/// Writes JSON for a column.
fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("what is stored is made of strings and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db")).unwrap();
        (directory, store)
    }

    #[tokio::test]
    async fn a_write_that_fails_takes_nothing_else_along() {
        let (_directory, store) = open();
        let good = store.write(|connection| Ok(connection.execute("INSERT INTO meta VALUES ('a', '1')", [])?));
        let bad = store.write(|connection| {
            connection.execute("INSERT INTO meta VALUES ('b', '1')", [])?;
            Err::<(), _>(StoreError::Conflict("no".into()))
        });
        assert_eq!(good.await.unwrap(), 1);
        assert!(bad.await.is_err());
        let count = |connection: &Connection| {
            Ok(connection.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0))?)
        };
        assert_eq!(store.read(count).unwrap(), 1_i64);
    }

    #[test]
    fn a_newer_or_damaged_database_is_said_to_be_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.db");
        drop(Store::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Newer { found: 99, .. })));
        assert!(matches!(inspect(&path), Err(StoreError::Newer { found: 99, .. })));
        let garbage = directory.path().join("garbage.db");
        crate::sys::files::write_atomic(&garbage, &[7; 8192], 0o600).unwrap();
        assert!(matches!(Store::open(&garbage), Err(StoreError::Open { .. })));
        assert!(inspect(&garbage).is_err());
    }

    #[test]
    fn an_open_database_can_be_looked_at() {
        let (directory, store) = open();
        let path = directory.path().join("hub.db");
        assert!(inspect(&path).unwrap() > 4096);
        drop(store);
        assert!(inspect(&directory.path().join("none.db")).is_err());
        assert!(!directory.path().join("none.db").exists(), "looking makes nothing");
    }

    #[test]
    fn sqlite_is_new_enough() {
        assert!(rusqlite::version_number() >= 3_051_003, "SQLite {}", rusqlite::version());
    }
}
