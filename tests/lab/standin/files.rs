//! Files in and out of a running container. Paths are resolved within its root, so that no link of the guest's leads out
//! of it; the real pct enters the namespaces for the same reason.

use super::config::Config;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fchmod, fchown, openat2};
use rustix::fs::{Gid, Uid};
use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// A container's root directory.
pub struct Inside {
    root: PathBuf,
    first_id: u32,
}

/// Who a pushed file is to belong to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Owner {
    /// Within the container.
    pub user: Option<u32>,
    /// Within the container.
    pub group: Option<u32>,
}

impl Inside {
    /// Of the container with that process 1.
    pub fn new(init: u32, config: &Config) -> Self {
        let first_id = if config.unprivileged() { 100_000 } else { 0 };
        Self { root: PathBuf::from(format!("/proc/{init}/root")), first_id }
    }

    fn open_at(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
        let root =
            rustix::fs::openat(CWD, &self.root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let opened: OwnedFd = openat2(&root, Path::new(path), flags | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT)?;
        Ok(File::from(opened))
    }

    /// Opens a file to read it.
    pub fn open(&self, path: &str) -> io::Result<File> {
        self.open_at(path, OFlags::RDONLY, Mode::empty())
    }

    /// Makes a file or empties it; a new one belongs to the container's root.
    pub fn create(&self, path: &str) -> io::Result<File> {
        let mode = Mode::from_raw_mode(0o644);
        let new = self.open_at(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode);
        match new {
            Ok(file) => {
                self.give(&file, Owner { user: Some(0), group: Some(0) })?;
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.open_at(path, OFlags::WRONLY | OFlags::TRUNC, Mode::empty())
            }
            Err(error) => Err(error),
        }
    }

    /// Changes a file's owner, as the container counts.
    pub fn give(&self, file: &File, owner: Owner) -> io::Result<()> {
        let user = owner.user.map(|id| Uid::from_raw(id + self.first_id));
        let group = owner.group.map(|id| Gid::from_raw(id + self.first_id));
        Ok(fchown(file, user, group)?)
    }

    /// Changes a file's mode.
    pub fn set_mode(file: &File, mode: u32) -> io::Result<()> {
        Ok(fchmod(file, Mode::from_raw_mode(mode))?)
    }

    /// A user's or group's number, by number or by name in the container.
    pub fn id(&self, list: &str, name: &str) -> Option<u32> {
        if let Ok(id) = name.parse() {
            return Some(id);
        }
        let text = io::read_to_string(self.open(list).ok()?).ok()?;
        let found = text.lines().find(|line| line.split(':').next() == Some(name))?;
        found.split(':').nth(2)?.parse().ok()
    }

    /// Its root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
