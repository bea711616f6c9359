//! The agent's journal: which commands it has accepted, started and finished. Each record is one line, its checksum
//! before it, fsynced before anything follows from it. What was accepted is run once; what is finished is told until the
//! hub has acknowledged it.

use super::envelope::Signed;
use crate::{
    model::{Outcome, digest::Digest},
    sys::files::{self, FileError},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// A journal larger than this takes no more commands until the hub has fetched results: 16 MiB.
const LIMIT: u64 = 16 << 20;
/// A journal larger than this is rewritten with what still matters: 1 MiB.
const COMPACT_AT: u64 = 1 << 20;

/// Why a record could not be made. The command that it was for must not be started.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file can't be opened or rewritten.
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
    file: File,
    size: u64,
    high_water: u64,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "r", rename_all = "kebab-case")]
enum Record {
    HighWater { seq: u64 },
    Accepted { seq: u64, signed: Signed },
    Started { seq: u64 },
    Finished { seq: u64, outcome: Outcome },
    Delivered { seq: u64 },
}

impl Journal {
    /// Opens it, replays what is whole, and rewrites it without what no longer matters. A torn end was never acknowledged
    /// to anybody, so it is dropped.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let text = if path.exists() { files::read(path)? } else { Vec::new() };
        let mut journal = Self {
            path: path.to_owned(),
            file: files::open_append(path)?,
            size: 0,
            high_water: 0,
            entries: BTreeMap::new(),
        };
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let Some(record) = decode(line) else { break };
            journal.apply(record);
        }
        journal.compact()?;
        Ok(journal)
    }

    /// The high-water mark of a journal that another process has open, which stays as it is. An error where a record in it
    /// does not read: this version could not go on with it.
    pub fn peek(path: &Path) -> Result<u64, JournalError> {
        let text = if path.exists() { files::read(path)? } else { Vec::new() };
        let mut high_water = 0;
        // What has no end yet is being written.
        for line in text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            match decode(line).ok_or_else(|| JournalError::Foreign(path.to_owned()))? {
                Record::HighWater { seq } | Record::Accepted { seq, .. } => high_water = seq.max(high_water),
                Record::Started { .. } | Record::Finished { .. } | Record::Delivered { .. } => {}
            }
        }
        Ok(high_water)
    }

    /// Everything up to this sequence number has been accepted.
    pub fn high_water(&self) -> u64 {
        self.high_water
    }

    /// What is not yet delivered, in order.
    pub fn entries(&self) -> &BTreeMap<u64, Entry> {
        &self.entries
    }

    /// Records that a command will be run. Durable when it returns, unless `durable` is false: what only reads may run
    /// again after a crash.
    pub fn accept(&mut self, seq: u64, signed: &Signed, durable: bool) -> Result<(), JournalError> {
        if self.size > LIMIT {
            return Err(JournalError::Full(self.path.clone()));
        }
        self.append(&[Record::Accepted { seq, signed: signed.clone() }, Record::Started { seq }], durable)
    }

    /// Records how a command ended. Durable when it returns.
    pub fn finish(&mut self, seq: u64, outcome: &Outcome, durable: bool) -> Result<(), JournalError> {
        self.append(&[Record::Finished { seq, outcome: outcome.clone() }], durable)
    }

    /// Records that the hub has the result. Need not be durable: telling twice is harmless.
    pub fn delivered(&mut self, seq: u64) -> Result<(), JournalError> {
        self.append(&[Record::Delivered { seq }], false)?;
        if self.size > COMPACT_AT {
            self.compact()?;
        }
        Ok(())
    }

    fn append(&mut self, records: &[Record], durable: bool) -> Result<(), JournalError> {
        let bytes: Vec<u8> = records.iter().flat_map(encode).collect();
        let written = self.file.write_all(&bytes).and_then(|()| if durable { self.file.sync_data() } else { Ok(()) });
        if let Err(source) = written {
            // What may be torn now is cut off, so that a later record does not stand behind it.
            drop(self.file.set_len(self.size));
            return Err(JournalError::Write { path: self.path.clone(), source });
        }
        self.size += bytes.len() as u64;
        for record in records {
            self.apply(record.clone());
        }
        Ok(())
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::HighWater { seq } => self.high_water = self.high_water.max(seq),
            Record::Accepted { seq, signed } => {
                self.high_water = self.high_water.max(seq);
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

    fn compact(&mut self) -> Result<(), JournalError> {
        let mut bytes = encode(&Record::HighWater { seq: self.high_water });
        for (seq, entry) in &self.entries {
            bytes.extend(encode(&Record::Accepted { seq: *seq, signed: entry.signed.clone() }));
            if entry.started {
                bytes.extend(encode(&Record::Started { seq: *seq }));
            }
            if let Some(outcome) = &entry.outcome {
                bytes.extend(encode(&Record::Finished { seq: *seq, outcome: outcome.clone() }));
            }
        }
        files::write_atomic(&self.path, &bytes, 0o600)?;
        self.file = files::open_append(&self.path)?;
        self.size = bytes.len() as u64;
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
        drop(journal);
        assert_eq!(Journal::peek(&path).unwrap(), 3);
        let journal = Journal::open(&path).unwrap();
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
