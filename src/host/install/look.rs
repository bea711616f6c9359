//! What of a role's installation is there, and what of it is missing: for whoever puts it right or takes it away.

use super::{COMMAND, HOME, Installer, Role, definition};
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A role's parts on a system, as they are now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// What is installed: the executable, its link, the service's file, …
    pub there: Vec<PathBuf>,
    /// What of that is not there.
    pub missing: Vec<PathBuf>,
    /// Configuration and state, which only a purge takes away.
    pub kept: Vec<PathBuf>,
    /// The service's main process.
    pub pid: Option<u32>,
}

impl Parts {
    /// Whether there is no trace of it.
    pub fn none(&self) -> bool {
        self.there.is_empty() && self.kept.is_empty()
    }

    /// Whether nothing is missing and it runs.
    pub fn whole(&self) -> bool {
        self.missing.is_empty() && self.pid.is_some()
    }

    /// Whether some of it is there, and not all: it was removed half-way, or damaged.
    pub fn half(&self) -> bool {
        !self.there.is_empty() && !self.missing.is_empty()
    }
}

impl Installer<'_> {
    /// Looks what of a role is there. Whether it runs is unknown where the init system does not say.
    pub fn look(&self, role: Role) -> Parts {
        let link = self.role_link(role);
        let executable = fs::read_link(&link).ok().map(|to| self.root.join(HOME).join(to));
        let service = definition::places(self.init, role).map(|(path, enabled, _)| [Some(path), enabled]);
        let service = service.into_iter().flatten().flatten().map(|path| self.root.join(path));
        let wanted = executable.into_iter().chain([link]).chain(service);
        let (there, mut missing): (Vec<PathBuf>, Vec<PathBuf>) = wanted.partition(|path| exists(path));
        // Somebody else's command of that name is there, too.
        missing.extend(Some(self.root.join(COMMAND)).filter(|command| !exists(command)));
        let name = role.as_str();
        let passing = [definition::log_file(role), format!("run/remotectl/{name}.json").into()];
        let passing = passing.map(|path| self.root.join(path)).into_iter().filter(|path| exists(path));
        let kept = [format!("etc/remotectl/{name}.toml"), format!("var/lib/remotectl/{name}")];
        let kept = kept.map(|path| self.root.join(path)).into_iter().filter(|path| exists(path));
        Parts {
            there: there.into_iter().chain(passing).collect(),
            missing,
            kept: kept.collect(),
            pid: self.status(role).ok().flatten().filter(|service| service.state.is_up()).and_then(|found| found.pid),
        }
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
