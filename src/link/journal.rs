//! The agent's journal: which commands it has accepted, started and finished. Each record is one line, its checksum
//! before it, fsynced before anything follows from it. What was accepted is run once; what is finished is told until the
//! hub has acknowledged it.
//!
//! A disk may be full, read-only or failing: then nothing that changes something is accepted, and what was accepted
//! before is never started again. After an error that leaves open what is on the disk, the journal is written anew, from
//! memory, before anything is accepted.

#[cfg(test)]
mod crashes;

use super::envelope::Signed;
use crate::{
    model::{Outcome, digest::Digest},
    sys::{
        disk::{Directory, Disk, Log},
        files::{self, FileError},
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// A journal larger than this takes no more commands until the hub has fetched results: 16 MiB.
const LIMIT: u64 = 16 << 20;
/// A journal larger than this is rewritten with what still matters: 1 MiB.
const COMPACT_AT: u64 = 1 << 20;

/// Why a record could not be made. The command that it was for must not be started.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record could not be made durable.
    #[error("writing the journal {}", path.display())]
    Write {
        /// The journal.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It can't be read, so that nobody knows what was started.
    #[error("reading the journal {}", path.display())]
    Read {
        /// The journal.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else than this version writes.
    #[error("the journal {} does not read", .0.display())]
    Foreign(PathBuf),
    /// The hub has not fetched results for long.
    #[error("the journal {} is full ({} MiB of unfetched results)", .0.display(), LIMIT >> 20)]
    Full(PathBuf),
}

/// A command on record.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// As it came.
    pub signed: Signed,
    /// Whether it was started.
    pub started: bool,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    name: String,
    disk: Box<dyn Disk>,
    /// `None` where what is on the disk is uncertain: it has to be written anew.
    log: Option<Box<dyn Log>>,
    size: u64,
    high_water: u64,
    /// The mark as the file has it, and as the disk has it for certain.
    written: u64,
    kept: u64,
    entries: BTreeMap<u64, Entry>,
    /// The hub's newest announcement, as it came.
    announced: Option<Signed>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "r", rename_all = "kebab-case")]
enum Record {
    HighWater {
        seq: u64,
    },
    Accepted {
        seq: u64,
        signed: Signed,
    },
    Started {
        seq: u64,
    },
    Finished {
        seq: u64,
        outcome: Outcome,
    },
    Delivered {
        seq: u64,
    },
    /// What the hub has said of itself; `seq` is the high-water mark then.
    Announced {
        seq: u64,
        signed: Signed,
    },
}

impl Record {
    fn seq(&self) -> u64 {
        match self {
            Self::HighWater { seq }
            | Self::Accepted { seq, .. }
            | Self::Started { seq }
            | Self::Finished { seq, .. }
            | Self::Delivered { seq }
            | Self::Announced { seq, .. } => *seq,
        }
    }
}

impl Journal {
    /// Opens it, replays what is whole, and rewrites it without what no longer matters. One that can't be rewritten
    /// (a full disk, a read-only one) is open all the same: it has what it had, and accepts nothing.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::open_on(Box::new(Directory::new(directory)), path)
    }

    fn open_on(disk: Box<dyn Disk>, path: &Path) -> Result<Self, JournalError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let read = |source| JournalError::Read { path: path.to_owned(), source };
        let content = disk.read(&name).map_err(read)?.unwrap_or_default();
        let mut journal = Self {
            path: path.to_owned(),
            name,
            disk,
            log: None,
            size: 0,
            high_water: 0,
            written: 0,
            kept: 0,
            entries: BTreeMap::new(),
            announced: None,
        };
        // A torn end was never acknowledged to anybody. What stands behind a line that does not read counts all the same:
        // better one that is never run than one that runs twice.
        for record in content.split_inclusive(|byte| *byte == b'\n').filter_map(decode) {
            journal.apply(record);
        }
        if let Err(error) = journal.rewrite() {
            let error = crate::model::outcome::chain(&error);
            tracing::error!(error, "nothing that changes something is accepted until the journal can be written");
        }
        Ok(journal)
    }

    /// The high-water mark of a journal that another process has open, which stays as it is. An error where a record in it
    /// does not read: this version could not go on with it.
    pub fn peek(path: &Path) -> Result<u64, JournalError> {
        let text = if path.exists() { files::read(path)? } else { Vec::new() };
        let mut high_water = 0;
        // What has no end yet is being written.
        for line in text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            let record = decode(line).ok_or_else(|| JournalError::Foreign(path.to_owned()))?;
            high_water = record.seq().max(high_water);
        }
        Ok(high_water)
    }

    /// The newest announcement in a journal that another process may have open; `None` where there is none.
    pub fn announced_in(path: &Path) -> Result<Option<Signed>, JournalError> {
        let text = if path.exists() { files::read(path)? } else { Vec::new() };
        let announced = |record| if let Record::Announced { signed, .. } = record { Some(signed) } else { None };
        Ok(text.split_inclusive(|byte| *byte == b'\n').filter_map(decode).filter_map(announced).next_back())
    }

    /// What the hub has said of itself, when it was heard last.
    pub fn announced(&self) -> Option<&Signed> {
        self.announced.as_ref()
    }

    /// Records an announcement that was believed. Durable when it returns; where that fails it is known as long as the
    /// process lives.
    pub fn announce(&mut self, signed: &Signed) -> Result<(), JournalError> {
        let records = [Record::Announced { seq: self.high_water, signed: signed.clone() }];
        let written = self.append(&records, true);
        self.apply_all(records);
        written
    }

    /// Everything up to this sequence number has been accepted or refused.
    pub fn high_water(&self) -> u64 {
        self.high_water
    }

    /// The high-water mark that no crash can lower: what only reads is accepted without waiting for the disk.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// What is not yet delivered, in order.
    pub fn entries(&self) -> &BTreeMap<u64, Entry> {
        &self.entries
    }

    /// The ids of what is not yet delivered, so many at most.
    pub fn commands(&self, limit: usize) -> Vec<String> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let named = |entry: &Entry| serde_json::from_str::<Named>(&entry.signed.payload).ok().map(|named| named.id);
        self.entries.values().filter_map(named).take(limit).collect()
    }

    /// Records that a command will be run. Durable when it returns, unless `durable` is false: what only reads may run
    /// again after a crash, so that it runs on a full disk too.
    pub fn accept(&mut self, seq: u64, signed: &Signed, durable: bool) -> Result<(), JournalError> {
        let records = [Record::Accepted { seq, signed: signed.clone() }, Record::Started { seq }];
        let room = if self.size > LIMIT { Err(JournalError::Full(self.path.clone())) } else { Ok(()) };
        // Where there is no room for it there may be some without what no longer matters.
        let again = |journal: &mut Self| journal.rewrite().and_then(|()| journal.append(&records, durable));
        let written =
            room.and_then(|()| self.append(&records, durable).or_else(|error| again(self).map_err(|_| error)));
        if durable {
            written?;
        }
        self.apply_all(records);
        Ok(())
    }

    /// Notes how a command ended that was never started, because it can't be recorded. That need not be durable: should
    /// it be lost, the hub has the command's end or sends it again. It is on record before anything after it is.
    pub fn refuse(&mut self, seq: u64, signed: &Signed, outcome: &Outcome) {
        let records =
            [Record::Accepted { seq, signed: signed.clone() }, Record::Finished { seq, outcome: outcome.clone() }];
        if self.append(&records, false).is_err() {
            self.log = None;
        }
        self.apply_all(records);
    }

    /// Records how a command ended. Durable when it returns; where that fails it is known as long as the process lives.
    pub fn finish(&mut self, seq: u64, outcome: &Outcome, durable: bool) -> Result<(), JournalError> {
        let records = [Record::Finished { seq, outcome: outcome.clone() }];
        let written = self.append(&records, durable);
        self.apply_all(records);
        written
    }

    /// Records that the hub has the result. Need not be durable: telling twice is harmless.
    pub fn delivered(&mut self, seq: u64) -> Result<(), JournalError> {
        let records = [Record::Delivered { seq }];
        let written = self.append(&records, false);
        self.apply_all(records);
        written?;
        if self.size > COMPACT_AT {
            self.rewrite()?;
        }
        Ok(())
    }

    fn append(&mut self, records: &[Record], durable: bool) -> Result<(), JournalError> {
        let bytes: Vec<u8> = records.iter().flat_map(encode).collect();
        if self.log.is_none() {
            self.rewrite()?;
        }
        let failed = |source| JournalError::Write { path: self.path.clone(), source };
        let Some(log) = &mut self.log else { return Err(failed(io::ErrorKind::NotConnected.into())) };
        if let Err(source) = log.append(&bytes) {
            // What may be torn now is cut off, so that no later record stands behind it.
            if log.truncate(self.size).is_err() {
                self.log = None;
            }
            return Err(failed(source));
        }
        if durable && let Err(source) = log.sync() {
            // What was written before may be lost too, and a second sync would say that all is well.
            self.log = None;
            return Err(failed(source));
        }
        self.size += bytes.len() as u64;
        self.written = records.iter().map(Record::seq).fold(self.written, u64::max);
        if durable {
            self.kept = self.written;
        }
        Ok(())
    }

    fn apply_all(&mut self, records: impl IntoIterator<Item = Record>) {
        records.into_iter().for_each(|record| self.apply(record));
    }

    fn apply(&mut self, record: Record) {
        // Whatever is on record of a command says that it was taken, even where the line that said so is lost.
        self.high_water = self.high_water.max(record.seq());
        match record {
            Record::HighWater { .. } => {}
            Record::Announced { signed, .. } => self.announced = Some(signed),
            Record::Accepted { seq, signed } => {
                self.entries.insert(seq, Entry { signed, started: false, outcome: None });
            }
            Record::Started { seq } => {
                if let Some(entry) = self.entries.get_mut(&seq) {
                    entry.started = true;
                }
            }
            Record::Finished { seq, outcome } => {
                if let Some(entry) = self.entries.get_mut(&seq) {
                    entry.outcome = Some(outcome);
                }
            }
            Record::Delivered { seq } => {
                self.entries.remove(&seq);
            }
        }
    }

    /// Writes what still matters into a new file, in the place of the one before.
    fn rewrite(&mut self) -> Result<(), JournalError> {
        let mut bytes = encode(&Record::HighWater { seq: self.high_water });
        if let Some(signed) = &self.announced {
            bytes.extend(encode(&Record::Announced { seq: self.high_water, signed: signed.clone() }));
        }
        for (seq, entry) in &self.entries {
            bytes.extend(encode(&Record::Accepted { seq: *seq, signed: entry.signed.clone() }));
            if entry.started {
                bytes.extend(encode(&Record::Started { seq: *seq }));
            }
            if let Some(outcome) = &entry.outcome {
                bytes.extend(encode(&Record::Finished { seq: *seq, outcome: outcome.clone() }));
            }
        }
        let failed = |source| JournalError::Write { path: self.path.clone(), source };
        let beside = format!(".{}.new", self.name);
        self.disk.create(&beside, &bytes).map_err(failed)?;
        // From here on nobody knows which of the two has the name, until it is durable.
        self.log = None;
        self.disk.rename(&beside, &self.name).map_err(failed)?;
        self.disk.sync_names().map_err(failed)?;
        self.log = Some(self.disk.open(&self.name).map_err(failed)?);
        self.size = bytes.len() as u64;
        (self.written, self.kept) = (self.high_water, self.high_water);
        Ok(())
    }
}

fn encode(record: &Record) -> Vec<u8> {
    let json = serde_json::to_string(record).expect("records are strings and numbers");
    format!("{} {json}\n", checksum(json.as_bytes())).into_bytes()
}

fn decode(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (sum, json) = text.split_once(' ')?;
    (sum == checksum(json.as_bytes())).then(|| serde_json::from_str(json).ok())?
}

fn checksum(bytes: &[u8]) -> String {
    Digest::of(bytes).as_str()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(text: &str) -> Signed {
        Signed { payload: text.to_owned(), signature: String::new() }
    }

    #[test]
    fn what_was_recorded_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        for seq in 1..=3 {
            journal.accept(seq, &signed("x"), true).unwrap();
        }
        journal.finish(1, &Outcome::success("done"), true).unwrap();
        journal.finish(2, &Outcome::success("done"), true).unwrap();
        journal.delivered(2).unwrap();
        journal.announce(&signed("epoch 1")).unwrap();
        journal.announce(&signed("epoch 2")).unwrap();
        drop(journal);
        assert_eq!(Journal::peek(&path).unwrap(), 3);
        assert_eq!(Journal::announced_in(&path).unwrap(), Some(signed("epoch 2")));
        drop(Journal::open(&path).unwrap());
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.announced(), Some(&signed("epoch 2")), "written anew, it is still there");
        assert_eq!(journal.high_water(), 3);
        let left: Vec<_> = journal.entries().iter().map(|(seq, entry)| (*seq, entry.outcome.is_some())).collect();
        assert_eq!(left, [(1, true), (3, false)]);
    }

    #[test]
    fn a_torn_or_flipped_end_is_dropped_and_what_was_before_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.accept(1, &signed("one"), true).unwrap();
        let whole = std::fs::read(&path).unwrap();
        journal.accept(2, &signed("two"), true).unwrap();
        let both = std::fs::read(&path).unwrap();
        for cut in whole.len()..both.len() {
            let mut bytes = both[..cut].to_vec();
            if let Some(last) = bytes.get_mut(whole.len() + 3) {
                *last ^= 1;
            }
            crate::sys::files::write_atomic(&path, &bytes, 0o600).unwrap();
            let journal = Journal::open(&path).unwrap();
            assert_eq!(journal.high_water(), 1, "cut at {cut}");
            assert!(journal.entries()[&1].started);
        }
        crate::sys::files::write_atomic(&path, b"0000000000000000 {}\n", 0o600).unwrap();
        assert!(Journal::peek(&path).unwrap_err().to_string().contains("does not read"));
    }
}
