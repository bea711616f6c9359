//! The executables that a hub holds for its agents: one file each, named by its SHA-256, and beside it what it is. What an
//! executable is, its own bytes say (the ELF header and the stamp), never the name that somebody gave it.

use crate::{
    link::{ARTIFACT_LIMIT, envelope::Artifact},
    model::{
        digest::Digest,
        outcome::chain,
        version::{Stamp, is_newer, version},
    },
    sys::{
        clock,
        files::{self, FileError},
    },
};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

/// So many versions are held for each architecture; the oldest go when another comes.
const HELD: usize = 5;

/// An executable that the hub holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What it runs on, in Rust's words: `x86_64`, `aarch64`.
    pub arch: String,
    /// Its remotectl version.
    pub version: String,
    /// What it is fetched by.
    pub sha256: Digest,
    /// In bytes.
    pub size: u64,
    /// Since when, in seconds since the epoch.
    pub added: i64,
}

impl Held {
    /// What an agent needs to fetch it.
    pub fn artifact(&self) -> Artifact {
        Artifact { sha256: self.sha256.clone(), size: self.size }
    }
}

/// A file that is not taken for an agent's executable.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It could not be read, or not be kept.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is larger than an agent would fetch.
    #[error("{} is larger than {} MiB", .0.display(), ARTIFACT_LIMIT >> 20)]
    Large(PathBuf),
    /// It is no program for Linux.
    #[error("{} is no Linux executable (ELF)", .0.display())]
    NotElf(PathBuf),
    /// It is for a machine that has no name here.
    #[error("{} is for a machine that remotectl does not know (ELF machine {machine})", path.display())]
    Machine {
        /// The file.
        path: PathBuf,
        /// `e_machine`.
        machine: u16,
    },
    /// It is somebody else's program.
    #[error("{} does not say which version of remotectl it is", .0.display())]
    NotOurs(PathBuf),
}

/// The directory.
#[derive(Debug, Clone)]
pub struct Artifacts {
    directory: PathBuf,
}

impl Artifacts {
    /// What is held in that directory.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The file of that digest, whether it is there or not.
    pub fn path(&self, sha256: &Digest) -> PathBuf {
        self.directory.join(sha256.as_str())
    }

    /// Everything that is held: by architecture, the newest first. What does not read is not held.
    pub fn list(&self) -> Vec<Held> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let described =
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "json"));
        let mut held: Vec<Held> = described
            .filter_map(|path| serde_json::from_str(&files::read_text(&path).ok()?).ok())
            .filter(|held: &Held| self.path(&held.sha256).exists())
            .collect();
        held.sort_by(|one, other| one.arch.cmp(&other.arch).then_with(|| newest_first(one, other)));
        held
    }

    /// Takes an executable in. One that is held as that version already gives its place to it.
    pub fn add(&self, path: &Path) -> Result<Held, ArtifactError> {
        let size = std::fs::metadata(path)
            .map_err(|source| FileError { doing: "reading", path: path.to_owned(), source })?
            .len();
        if size > ARTIFACT_LIMIT {
            return Err(ArtifactError::Large(path.to_owned()));
        }
        let bytes = files::read(path)?;
        let arch = arch(path, &bytes)?;
        let stamp = Stamp::find(&bytes).ok_or_else(|| ArtifactError::NotOurs(path.to_owned()))?;
        self.keep(&bytes, arch, stamp.version)
    }

    /// Takes this very executable in.
    pub fn add_own(&self) -> Result<Held, ArtifactError> {
        let bytes = files::read(Path::new(crate::sys::process::OWN_EXECUTABLE))?;
        self.keep(&bytes, std::env::consts::ARCH, version())
    }

    /// Takes a version away, of every architecture: what was.
    pub fn remove(&self, version: &str) -> Result<Vec<Held>, FileError> {
        let gone: Vec<Held> = self.list().into_iter().filter(|held| held.version == version).collect();
        gone.iter().try_for_each(|held| self.forget(held))?;
        Ok(gone)
    }

    fn forget(&self, held: &Held) -> Result<(), FileError> {
        files::remove(&self.description(held))?;
        files::remove(&self.path(&held.sha256))
    }

    fn keep(&self, bytes: &[u8], arch: &str, version: &str) -> Result<Held, ArtifactError> {
        let held = Held {
            arch: arch.to_owned(),
            version: version.to_owned(),
            sha256: Digest::of(bytes),
            size: bytes.len() as u64,
            added: clock::unix_seconds(),
        };
        let before: Vec<Held> = self.list().into_iter().filter(|other| other.arch == held.arch).collect();
        if let Some(known) = before.iter().find(|known| known.sha256 == held.sha256) {
            return Ok(known.clone());
        }
        files::create_directory(&self.directory, 0o700)?;
        files::write_atomic(&self.path(&held.sha256), bytes, 0o600)?;
        let text = serde_json::to_vec(&held).expect("it is made of strings and numbers");
        files::write_atomic(&self.description(&held), &text, 0o600)?;
        let (same, others): (Vec<&Held>, Vec<&Held>) = before.iter().partition(|other| other.version == held.version);
        for gone in same.into_iter().chain(others.into_iter().skip(HELD - 1)) {
            self.forget(gone)?;
        }
        Ok(held)
    }

    fn description(&self, held: &Held) -> PathBuf {
        self.directory.join(format!("{}.json", held.sha256))
    }
}

/// Takes this hub's own executable in; that it can't is no reason not to serve.
pub fn hold_own(artifacts: &Artifacts) {
    match artifacts.add_own() {
        Ok(held) => {
            tracing::info!(version = held.version, arch = held.arch, "the hub holds its own executable for agents");
        }
        Err(error) => tracing::warn!(error = chain(&error), "agents can't be brought to this hub's version"),
    }
}

fn newest_first(one: &Held, other: &Held) -> Ordering {
    match (is_newer(&one.version, &other.version), is_newer(&other.version, &one.version)) {
        (true, _) => Ordering::Less,
        (_, true) => Ordering::Greater,
        _ => other.added.cmp(&one.added),
    }
}

/// The architecture in an ELF header, in Rust's words.
fn arch(path: &Path, bytes: &[u8]) -> Result<&'static str, ArtifactError> {
    let not_elf = || ArtifactError::NotElf(path.to_owned());
    let header = bytes.get(..64).filter(|header| header.starts_with(b"\x7fELF")).ok_or_else(not_elf)?;
    let little = match header[5] {
        1 => true,
        2 => false,
        _ => return Err(not_elf()),
    };
    let half = |at: usize| {
        let two = [header[at], header[at + 1]];
        if little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) }
    };
    // Executables, those that can be put anywhere included.
    if !matches!(half(16), 2 | 3) {
        return Err(not_elf());
    }
    match (half(18), header[4], little) {
        (62, 2, true) => Ok("x86_64"),
        (3, 1, true) => Ok("x86"),
        (183, 2, true) => Ok("aarch64"),
        (40, 1, true) => Ok("arm"),
        (243, 2, true) => Ok("riscv64"),
        (258, 2, true) => Ok("loongarch64"),
        (21, 2, _) => Ok("powerpc64"),
        (22, 2, false) => Ok("s390x"),
        (machine, ..) => Err(ArtifactError::Machine { path: path.to_owned(), machine }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::version::restamped;

    /// The least that is taken for an executable of ours: a header, and this test's own stamp.
    fn executable(machine: u16, version: &str) -> Vec<u8> {
        let own = files::read(Path::new("/proc/self/exe")).unwrap();
        let stamp = Stamp::find(&own).unwrap().at;
        let mut header = vec![0; 64];
        header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        header[16] = 2;
        header[18..20].copy_from_slice(&machine.to_le_bytes());
        header.extend(&own[stamp..stamp + 96]);
        restamped(&header, version).unwrap()
    }

    fn add(artifacts: &Artifacts, bytes: &[u8]) -> Result<Held, ArtifactError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        files::write_atomic(file.path(), bytes, 0o644).unwrap();
        artifacts.add(file.path())
    }

    fn versions(artifacts: &Artifacts) -> Vec<(String, String)> {
        artifacts.list().into_iter().map(|held| (held.arch, held.version)).collect()
    }

    #[test]
    fn what_an_executable_is_its_bytes_say() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path().join("artifacts"));
        assert_eq!(artifacts.list(), []);
        let held = add(&artifacts, &executable(183, "0.9.4")).unwrap();
        assert_eq!((held.arch.as_str(), held.version.as_str(), held.size), ("aarch64", "0.9.4", 160));
        add(&artifacts, &executable(62, "0.9.4")).unwrap();
        add(&artifacts, &executable(62, "0.10.0")).unwrap();
        let expected = [("aarch64", "0.9.4"), ("x86_64", "0.10.0"), ("x86_64", "0.9.4")];
        assert_eq!(versions(&artifacts), expected.map(|(arch, version)| (arch.to_owned(), version.to_owned())));
        assert_eq!(add(&artifacts, &executable(183, "0.9.4")).unwrap(), held, "it is there already");
    }

    #[test]
    fn a_rebuilt_version_takes_the_place_of_the_one_before_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path().to_owned());
        let first = add(&artifacts, &executable(62, "0.1.0")).unwrap();
        let rebuilt = [executable(62, "0.1.0"), b"more".to_vec()].concat();
        let second = add(&artifacts, &rebuilt).unwrap();
        assert_eq!(artifacts.list(), [second]);
        assert!(!artifacts.path(&first.sha256).exists());
        for minor in 2..=7 {
            add(&artifacts, &executable(62, &format!("0.{minor}.0"))).unwrap();
        }
        let left: Vec<String> = versions(&artifacts).into_iter().map(|(_, version)| version).collect();
        assert_eq!(left, ["0.7.0", "0.6.0", "0.5.0", "0.4.0", "0.3.0"]);
        assert_eq!(artifacts.remove("0.7.0").unwrap().len(), 1);
        assert_eq!(artifacts.remove("0.7.0").unwrap(), []);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 8, "two files each");
    }

    #[test]
    fn what_is_no_executable_of_ours_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path().to_owned());
        let refused = |bytes: &[u8]| add(&artifacts, bytes).unwrap_err().to_string();
        assert!(refused(b"#!/bin/sh\n").contains("no Linux executable"));
        assert!(refused(&executable(62, "0.1.0")[..63]).contains("no Linux executable"));
        assert!(refused(&executable(62, "0.1.0")[..100]).contains("does not say which version"));
        assert!(refused(&executable(8, "0.1.0")).contains("ELF machine 8"));
        assert!(artifacts.add(Path::new("/no/such/file")).unwrap_err().to_string().contains("reading /no/such/file"));
        assert_eq!(artifacts.list(), []);
    }

    #[test]
    fn this_executable_is_held_as_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path().to_owned());
        let held = artifacts.add_own().unwrap();
        assert_eq!((held.arch.as_str(), held.version.as_str()), (std::env::consts::ARCH, version()));
        assert_eq!(artifacts.list(), [held]);
    }
}
