//! Files in and out of a running container. Paths are resolved within its root, so that no link of the guest's leads out
//! of it, and with the rights of its own root; the real pct enters the namespaces for the same reasons.

use super::{Failure, config::Config};
use rustix::{
    fs::{CWD, Gid, Mode, OFlags, ResolveFlags, Uid, fchmod, fchown, openat2},
    thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_gid, set_thread_uid},
};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// A container's root directory.
pub struct Inside {
    process: PathBuf,
    root: OwnedFd,
    unprivileged: bool,
}

/// Who a pushed file is to belong to, as the container counts.
#[derive(Debug, Default, Clone, Copy)]
pub struct Owner {
    /// Its user.
    pub user: Option<u32>,
    /// Its group.
    pub group: Option<u32>,
}

impl Inside {
    /// Of the container with that process 1.
    pub fn new(init: u32, config: &Config) -> Result<Self, Failure> {
        let process = PathBuf::from(format!("/proc/{init}"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, process.join("root"), flags, Mode::empty());
        let root = root.map_err(|error| Failure::new(format!("failed to open the container's root: {error}")))?;
        Ok(Self { process, root, unprivileged: config.unprivileged() })
    }

    /// From here on this process has the container's root's rights, and no others. Files of the node are opened before.
    pub fn become_its_root(&self) -> io::Result<()> {
        if !self.unprivileged {
            return Ok(());
        }
        let users = File::open(self.process.join("ns/user"))?;
        move_into_link_name_space(users.as_fd(), Some(LinkNameSpaceType::User))?;
        set_thread_gid(Gid::ROOT)?;
        Ok(set_thread_uid(Uid::ROOT)?)
    }

    fn open_with(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
        let opened = openat2(&self.root, Path::new(path), flags | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT)?;
        Ok(File::from(opened))
    }

    /// Opens a file to read it.
    pub fn open(&self, path: &str) -> io::Result<File> {
        self.open_with(path, OFlags::RDONLY, Mode::empty())
    }

    /// Makes a file or empties it.
    pub fn create(&self, path: &str) -> io::Result<File> {
        self.open_with(path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, Mode::from_raw_mode(0o644))
    }

    /// Changes a file's owner.
    pub fn give(file: &File, owner: Owner) -> io::Result<()> {
        Ok(fchown(file, owner.user.map(Uid::from_raw), owner.group.map(Gid::from_raw))?)
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

    /// Its root directory, for questions about its file system.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }
}
