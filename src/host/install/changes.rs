//! What an installation has changed so far, so that it can be taken back in reverse when a later step fails.

use super::InstallError;
use crate::{
    host::services::{Action, ServiceManager, ServiceName},
    model::outcome::chain,
    sys::files,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

enum Change {
    MadeDirectory(PathBuf),
    MadeFile(PathBuf),
    ReplacedFile { path: PathBuf, content: Vec<u8>, mode: u32 },
    ReplacedLink { path: PathBuf, to: PathBuf },
    Reread,
    Enabled(ServiceName),
}

/// A record of changes, oldest first.
#[derive(Default)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// Makes a directory with those above it that are missing.
    pub fn directories(&mut self, path: &Path) -> Result<(), InstallError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.is_dir()).collect();
        for directory in missing.into_iter().rev() {
            files::create_directory(directory, 0o755)?;
            self.0.push(Change::MadeDirectory(directory.to_owned()));
        }
        Ok(())
    }

    /// Writes a file: whether it was not yet as wanted.
    pub fn file(&mut self, path: &Path, content: &[u8], mode: u32) -> Result<bool, InstallError> {
        let meta = path.symlink_metadata().ok();
        let old_mode = meta.as_ref().map(|meta| meta.permissions().mode() & 0o7777);
        let old = match &meta {
            Some(meta) if meta.is_symlink() => None,
            Some(_) => Some(files::read(path)?),
            None => None,
        };
        if old.as_deref() == Some(content) && old_mode == Some(mode) {
            return Ok(false);
        }
        let link = fs::read_link(path).ok();
        files::write_atomic(path, content, mode)?;
        self.0.push(match (old, old_mode, link) {
            (Some(content), Some(mode), _) => Change::ReplacedFile { path: path.to_owned(), content, mode },
            (_, _, Some(to)) => Change::ReplacedLink { path: path.to_owned(), to },
            _ => Change::MadeFile(path.to_owned()),
        });
        Ok(true)
    }

    /// Makes a link, or turns one that is there.
    pub fn link(&mut self, to: &Path, at: &Path) -> Result<(), InstallError> {
        let before = fs::read_link(at).ok();
        if before.as_deref() == Some(to) {
            return Ok(());
        }
        files::symlink_atomic(to, at)?;
        self.0.push(match before {
            Some(to) => Change::ReplacedLink { path: at.to_owned(), to },
            None => Change::MadeFile(at.to_owned()),
        });
        Ok(())
    }

    /// The init system has read the service files.
    pub fn reread(&mut self) {
        self.0.push(Change::Reread);
    }

    /// The init system is about to be asked to enable a service: recorded beforehand, because it may fail half-way.
    pub fn enabling(&mut self, name: ServiceName) {
        self.0.push(Change::Enabled(name));
    }

    /// The directories that were made.
    pub fn made(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let made = self.0.iter().filter_map(|change| match change {
            Change::MadeDirectory(path) => Some(path.clone()),
            _ => None,
        });
        made.collect::<Vec<_>>().into_iter()
    }

    /// Whether anything was changed.
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Takes everything back, the last first; what could not be, with the reason.
    pub fn take_back(self, manager: &dyn ServiceManager) -> Vec<String> {
        let (mut reread, mut enabled) = (false, Vec::new());
        let mut left = Vec::new();
        for change in self.0.into_iter().rev() {
            let (what, undone) = match change {
                Change::MadeDirectory(path) => (path.display().to_string(), files::remove_if_empty(&path).map(drop)),
                Change::MadeFile(path) => (path.display().to_string(), files::remove(&path)),
                Change::ReplacedFile { path, content, mode } => {
                    (path.display().to_string(), files::write_atomic(&path, &content, mode))
                }
                Change::ReplacedLink { path, to } => (path.display().to_string(), files::symlink_atomic(&to, &path)),
                Change::Reread => {
                    reread = true;
                    continue;
                }
                Change::Enabled(name) => {
                    // Enabling may be what failed: then there may be nothing to disable.
                    manager.act(&name, Action::Disable).ok();
                    enabled.push(name);
                    continue;
                }
            };
            if let Err(error) = undone {
                left.push(format!("{what} ({})", chain(&error)));
            }
        }
        for name in &enabled {
            manager.forget(name);
        }
        if reread && let Err(error) = manager.reread() {
            left.push(format!("the service in the init system's memory ({})", chain(&error)));
        }
        left
    }
}
