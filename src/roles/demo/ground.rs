//! The directory that the demo lives in: hub, agents and the simulated machines' files, all below one that is gone again
//! when the demo ends. Memory before disk, so that nothing waits for a disk. What a demo that was killed could not take
//! away, the next one does.

use crate::{
    model::Failure,
    sys::{
        env,
        files::{self, FileError},
        random,
    },
};
use rustix::fs::{FlockOperation, flock, statvfs};
use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What the directories of all demos begin with.
const PREFIX: &str = "remotectl-demo-";
/// Is locked as long as its demo lives.
const LOCK: &str = "lock";
/// A unix socket's path at most, in bytes.
const SOCKET_PATH: usize = 107;
/// What a demo may come to, artifact and guests' files and all, in bytes: 256 MiB.
const ROOM: u64 = 256 << 20;
/// How often a directory is tried to be taken away into which something may still be written.
const TRIES: u32 = 5;

/// The demo's directory.
pub struct Ground {
    path: PathBuf,
    _lock: File,
}

impl Ground {
    /// Makes one, and takes away what demos have left that were killed.
    pub fn make() -> Result<Self, Failure> {
        let mut last = None;
        for parent in parents() {
            match Self::below(&parent) {
                Ok(ground) => {
                    sweep(&parent);
                    return Ok(ground);
                }
                Err(failure) => last = last.or(Some(failure)),
            }
        }
        Err(last.unwrap_or_else(|| Failure::new("there is no directory for temporary files")).help(HELP))
    }

    fn below(parent: &Path) -> Result<Self, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::of("making room for the demo", error).help(HELP);
        let path = parent.join(format!("{PREFIX}{}", random::name(8).to_ascii_lowercase()));
        if path.join("hub.sock").as_os_str().len() > SOCKET_PATH {
            let long = format!("making room for the demo: {} is too long a path for a socket", parent.display());
            return Err(Failure::new(long).help(HELP));
        }
        files::create_private_directory(&path).map_err(|error| failed(&error))?;
        let lock = files::open_append(&path.join(LOCK)).map_err(|error| failed(&error)).and_then(|lock| {
            flock(&lock, FlockOperation::LockExclusive).map(|()| lock).map_err(|error| failed(&error))
        });
        match lock {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(failure) => {
                // The error that matters is the first.
                drop(files::remove_tree(&path));
                Err(failure)
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes it away with all that is in it.
    pub fn clear(&self) -> Result<(), FileError> {
        let mut cleared = files::remove_tree(&self.path);
        for _ in 1..TRIES {
            if cleared.is_ok() && !self.path.exists() {
                break;
            }
            cleared = files::remove_tree(&self.path);
        }
        cleared
    }
}

impl Drop for Ground {
    /// Where it was not cleared: what was to be the demo has not come that far.
    fn drop(&mut self) {
        if self.path.exists()
            && let Err(error) = self.clear()
        {
            tracing::error!(error = crate::model::outcome::chain(&error), "the demo's directory is left");
        }
    }
}

const HELP: &str = "TMPDIR=DIRECTORY remotectl demo, with one that this user may write";

/// Where it may be, best first: where the user wants temporary files, in memory, on a disk. Where there is little room
/// comes last.
fn parents() -> Vec<PathBuf> {
    let wanted = env::text(env::TMPDIR).map(PathBuf::from);
    let all = wanted.into_iter().chain(["/dev/shm", "/tmp", "/var/tmp"].map(PathBuf::from));
    let roomy = |path: &PathBuf| statvfs(path).is_ok_and(|found| found.f_bavail * found.f_frsize >= ROOM);
    let (roomy, cramped): (Vec<PathBuf>, Vec<PathBuf>) = all.partition(roomy);
    roomy.into_iter().chain(cramped).collect()
}

/// Takes away what is left of demos that live no more. What can't be looked at is somebody else's.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // Of another user's, nothing is opened: it might be a pipe that never ends.
        let own =
            || entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw());
        let lock = (ours && own()).then(|| File::open(path.join(LOCK)).ok()).flatten();
        let dead = lock.is_some_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok());
        if dead && let Err(error) = files::remove_tree(&path) {
            tracing::debug!(error = crate::model::outcome::chain(&error), "a dead demo's directory stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_demo_keeps_its_ground_and_a_dead_one_loses_it() {
        let parent = tempfile::tempdir().unwrap();
        let living = Ground::below(parent.path()).unwrap();
        let dead = parent.path().join(format!("{PREFIX}dead"));
        files::create_private_directory(&dead).unwrap();
        drop(files::open_append(&dead.join(LOCK)).unwrap());
        sweep(parent.path());
        assert!(living.path().exists() && !dead.exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let deep = parent.path().join("x".repeat(100));
        files::create_private_directory(&deep).unwrap();
        let failure = Ground::below(&deep).err().unwrap();
        assert!(failure.message.ends_with("is too long a path for a socket"), "{failure}");
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
    }
}
