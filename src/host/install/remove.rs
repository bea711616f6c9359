//! Taking an installation away: exactly what it made, and nothing that somebody else needs.

use super::{
    COMMAND, CREATED, HOME, InstallError, Installer, Role, VERSIONS, definition, is_ours, versions::previous_name,
};
use crate::{
    host::{
        Machine,
        init::Init,
        proc,
        services::{Action, ServiceManager, is_own},
    },
    model::outcome::chain,
    sys::files::{self, FileError},
};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

/// What was taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files, links and directories, below the root.
    pub paths: Vec<PathBuf>,
    /// Whether this process is the service and has been asked to stop, so that it ends any moment.
    pub own: bool,
}

/// A removal under way: goes on where something fails, and says everything that did.
#[derive(Default)]
struct Removal {
    removed: Removed,
    failed: Vec<String>,
}

impl Removal {
    fn note<T>(&mut self, path: &Path, there: bool, result: Result<T, FileError>) {
        match result {
            Ok(_) if there => self.removed.paths.push(path.to_owned()),
            Ok(_) => {}
            Err(error) => self.failed.push(chain(&error)),
        }
    }

    fn file(&mut self, path: &Path) {
        let there = path.symlink_metadata().is_ok();
        self.note(path, there, files::remove(path));
    }

    fn tree(&mut self, path: &Path) {
        let there = path.symlink_metadata().is_ok();
        self.note(path, there, files::remove_tree(path));
    }

    fn if_empty(&mut self, path: &Path) {
        match files::remove_if_empty(path) {
            Ok(true) => self.removed.paths.push(path.to_owned()),
            Ok(false) => {}
            Err(error) => self.failed.push(chain(&error)),
        }
    }
}

impl Installer<'_> {
    /// Stops, disables and removes; with `purge` the configuration and state too. Does what is left to do, however much of
    /// it there still is; goes on where a part fails and says which in the end.
    pub fn uninstall(&self, role: Role, purge: bool) -> Result<Removed, InstallError> {
        let manager = self.manager()?;
        let mut removal = Removal {
            removed: Removed { own: is_own(&Machine::here(), role.service().as_str()), ..Removed::default() },
            ..Removal::default()
        };
        if !removal.removed.own {
            self.stop(role)?;
        }
        self.remove_service(role, manager.as_ref(), &mut removal);
        removal.file(&self.role_link(role));
        removal.file(&self.role_link(role).with_file_name(previous_name(role)));
        self.remove_versions(&mut removal);
        removal.file(&self.root.join(definition::log_file(role)));
        // Where it told how it stands: without a service there is nothing to tell.
        removal.file(&self.root.join(format!("run/remotectl/{}.json", role.as_str())));
        if role == Role::Hub {
            // One that was killed has left its socket.
            removal.file(&self.root.join("run/remotectl/hub.sock"));
        }
        if purge {
            removal.file(&self.root.join(format!("etc/remotectl/{}.toml", role.as_str())));
            removal.tree(&self.root.join("var/lib/remotectl").join(role.as_str()));
        }
        self.remove_directories(&mut removal);
        if removal.removed.own && removal.failed.is_empty() {
            // The last thing that this process does.
            manager.act(&role.service(), Action::Stop).map_err(InstallError::asking(&role.service()))?;
        }
        if removal.failed.is_empty() { Ok(removal.removed) } else { Err(InstallError::Incomplete(removal.failed)) }
    }

    fn remove_service(&self, role: Role, manager: &dyn ServiceManager, removal: &mut Removal) {
        let Some((path, enabled, _)) = definition::places(self.init, role) else { return };
        let (shown, name) = (enabled.as_deref(), role.service());
        let path = self.root.join(path);
        match self.is_enabled(manager, &name, shown) {
            Ok(true) if path.exists() => match manager.act(&name, Action::Disable) {
                Ok(()) => removal.removed.paths.extend(shown.map(|shown| self.root.join(shown))),
                Err(error) => removal.failed.push(chain(&error)),
            },
            Ok(_) => {}
            Err(error) => removal.failed.push(chain(&error)),
        }
        if let Some(shown) = shown {
            // A link that its file has left behind.
            removal.file(&self.root.join(shown));
        }
        let there = path.exists();
        removal.file(&path);
        if self.init == Init::Runit {
            removal.file(&definition::down_file(&path));
            removal.if_empty(path.parent().unwrap_or(&self.root));
        }
        if there && let Err(error) = manager.reread() {
            removal.failed.push(chain(&error));
        }
        manager.forget(&name);
    }

    /// Removes the versions that nothing runs any more, and the command with the last of them.
    fn remove_versions(&self, removal: &mut Removal) {
        let used: BTreeSet<OsString> = self.users().iter().filter_map(|link| version_of(link)).collect();
        for version in fs::read_dir(self.root.join(VERSIONS)).into_iter().flatten().flatten() {
            if !used.contains(&version.file_name()) {
                removal.tree(&version.path());
            }
        }
        let command = self.root.join(COMMAND);
        let works = self.root.join(HOME).join(inner_part(&command)).exists();
        match used.last() {
            _ if !is_ours(&command) => {}
            None => removal.file(&command),
            // Whoever is left keeps a command that works.
            Some(version) if !works => {
                let to = Path::new("/").join(VERSIONS).join(version).join("remotectl");
                removal.note(&command, false, files::symlink_atomic(&to, &command));
            }
            Some(_) => {}
        }
    }

    /// The links in our directory: each is a role (or the client, put there by install.sh) that needs its version.
    fn users(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join(HOME)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_symlink()).collect()
    }

    /// Removes directories of ours that are empty now, and those outside that were made for us.
    fn remove_directories(&self, removal: &mut Removal) {
        for directory in [VERSIONS, "etc/remotectl", "var/lib/remotectl", "run/remotectl"] {
            removal.if_empty(&self.root.join(directory));
        }
        let home = self.root.join(HOME);
        if !self.users().is_empty() {
            return;
        }
        let created = self.root.join(CREATED);
        let outside = proc::text(&created);
        removal.file(&created);
        removal.if_empty(&home);
        for directory in outside.lines().rev().map(Path::new) {
            if directory.components().all(|part| matches!(part, Component::Normal(_))) {
                removal.if_empty(&self.root.join(directory));
            }
        }
    }
}

/// The version that a link points to.
fn version_of(link: &Path) -> Option<OsString> {
    Some(fs::read_link(link).ok()?.parent()?.file_name()?.to_owned())
}

/// Where the command points to, inside of `HOME`.
fn inner_part(command: &Path) -> PathBuf {
    let to = fs::read_link(command).unwrap_or_default();
    to.strip_prefix(Path::new("/").join(HOME)).map(Path::to_owned).unwrap_or_default()
}
