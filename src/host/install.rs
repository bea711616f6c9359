//! Putting this executable onto the machine as a service, and taking it away again without a trace.
//!
//!     /opt/remotectl/versions/N/remotectl            the executable, once a version
//!     /opt/remotectl/{agent,pve-agent,hub}           links to the version that each role runs; the services start these
//!     /usr/local/bin/remotectl                       a link to the executable, for people
//!     /opt/remotectl/created                         the directories that were made outside, to be taken away again
//!
//! and the service's own file (`definition.rs`). Every step is recorded and taken back when a later one fails; doing it
//! again changes nothing.

mod changes;
mod definition;
mod error;
mod look;
mod remove;
pub mod versions;

pub use error::InstallError;
pub use look::Parts;
pub use remove::Removed;

use super::{
    Machine,
    commands::{Commands, ThisMachine},
    init::Init,
    proc,
    services::{self, Action, ServiceManager, ServiceName, State},
};
use crate::{
    model::{digest::Digest, version::version},
    sys::{clock, env, files, process},
};
use changes::Changes;
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// What stays free on the filesystem that the executable goes to: 8 MiB.
const RESERVE: u64 = 8 << 20;
/// How long the init system may take for all that an installation asks of it.
const TIME: Duration = Duration::from_mins(2);
/// How long a started service is watched for an early end.
const WATCH: Duration = Duration::from_millis(500);
/// Log lines that a service brings along that did not start.
const LOG_LINES: usize = 10;

/// Everything of ours that is not configuration or state.
const HOME: &str = "opt/remotectl";
/// The executables, a directory each version.
const VERSIONS: &str = "opt/remotectl/versions";
/// The directories outside of `HOME` that were made.
const CREATED: &str = "opt/remotectl/created";
/// The command for people.
const COMMAND: &str = "usr/local/bin/remotectl";

/// What the executable is installed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The agent in a guest or on a host.
    Agent,
    /// The agent on a Proxmox node.
    PveAgent,
    /// The hub.
    Hub,
}

impl Role {
    /// `agent`, `pve-agent`, `hub`: the subcommand, the link, the file in /etc/remotectl.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::PveAgent => "pve-agent",
            Self::Hub => "hub",
        }
    }

    /// `remotectl-agent`, …
    pub fn service(self) -> ServiceName {
        ServiceName::parse(&format!("remotectl-{}", self.as_str())).expect("the three names are service names")
    }
}

/// What is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// As what.
    pub role: Role,
    /// Where the executable's bytes come from.
    pub exe_bytes_from: PathBuf,
    /// Its version: the directory's name.
    pub version: String,
    /// What the service is started with, behind the role: `run`.
    pub args: Vec<String>,
}

impl Service {
    /// This very executable in a role, with its usual arguments.
    pub fn of_this_executable(role: Role) -> Self {
        let verb = if role == Role::Hub { "serve" } else { "run" };
        Self {
            role,
            // Not the path that it was started by: that file may be another by now, or gone.
            exe_bytes_from: PathBuf::from("/proc/self/exe"),
            version: version().to_owned(),
            args: vec![verb.to_owned()],
        }
    }
}

/// What an installation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The executable.
    pub executable: PathBuf,
    /// Its digest.
    pub digest: Digest,
    /// The service's name.
    pub service: String,
    /// The init system that runs it.
    pub init: Init,
    /// Whether anything had to be changed; `false` where all was as wanted.
    pub changed: bool,
    /// What people should know: a command of the same name that is not ours, …
    pub notes: Vec<String>,
}

/// Installs on a system: this one, or a directory in tests.
pub struct Installer<'a> {
    root: PathBuf,
    init: Init,
    commands: &'a dyn Commands,
}

/// Installs on this machine; the service is enabled and not yet started.
pub fn install(service: &Service) -> Result<Installed, InstallError> {
    here(|installer| installer.install(service))
}

/// Makes a directory on this machine that is missing, and notes that it is to be taken away again one day.
pub fn provide(directory: &Path) -> Result<(), InstallError> {
    here(|installer| installer.provide(directory))
}

/// Starts a role's service on this machine, or restarts it where it still runs another executable. Its main process.
pub fn start(role: Role) -> Result<u32, InstallError> {
    here(|installer| installer.start(role))
}

/// Stops a role's service on this machine; one that does not run is no error.
pub fn stop(role: Role) -> Result<(), InstallError> {
    here(|installer| installer.stop(role))
}

/// Takes a role away from this machine, with `purge` its configuration and state too. A role that is not there is no error.
pub fn uninstall(role: Role, purge: bool) -> Result<Removed, InstallError> {
    here(|installer| installer.uninstall(role, purge))
}

/// What of a role is on this machine; needs no root.
pub fn look(role: Role) -> Parts {
    let commands = ThisMachine::within(TIME);
    Installer::new(Path::new("/"), Init::here(), &commands).look(role)
}

/// A role's service on this machine; `None` where it is not installed.
pub fn status(role: Role) -> Result<Option<services::Service>, InstallError> {
    let commands = ThisMachine::within(TIME);
    Installer::new(Path::new("/"), Init::here(), &commands).status(role)
}

fn here<T>(act: impl FnOnce(&Installer) -> Result<T, InstallError>) -> Result<T, InstallError> {
    if !env::is_root() {
        return Err(InstallError::NotRoot);
    }
    let commands = ThisMachine::within(TIME);
    act(&Installer::new(Path::new("/"), Init::here(), &commands))
}

impl<'a> Installer<'a> {
    /// For the system below `root`, whose init system takes these commands.
    pub fn new(root: &Path, init: Init, commands: &'a dyn Commands) -> Self {
        Self { root: root.to_owned(), init, commands }
    }

    /// Installs and enables; what was done is taken back when it can't be finished.
    pub fn install(&self, service: &Service) -> Result<Installed, InstallError> {
        let manager = self.manager()?;
        let definition = definition::of(self.init, service)?;
        definition::check_version(&service.version)?;
        let mut changes = Changes::default();
        let installed = self.carry_out(service, &definition, manager.as_ref(), &mut changes);
        installed.map_err(|error| {
            let left = changes.take_back(manager.as_ref());
            if left.is_empty() { error } else { InstallError::HalfDone { why: Box::new(error), left } }
        })
    }

    /// Makes a directory that is missing, and those above it, and notes which were.
    pub fn provide(&self, directory: &Path) -> Result<(), InstallError> {
        if directory.is_dir() {
            return Ok(());
        }
        let mut changes = Changes::default();
        changes.directories(&self.root.join(HOME))?;
        changes.directories(directory)?;
        self.remember(&mut changes)
    }

    /// Starts the service, or restarts it where it runs another executable than the installed one.
    pub fn start(&self, role: Role) -> Result<u32, InstallError> {
        let (manager, name) = (self.manager()?, role.service());
        let began = clock::unix_millis();
        let before = manager.status(&name).map_err(InstallError::asking(&name))?;
        let before = before.ok_or_else(|| InstallError::NotInstalled(role.as_str()))?;
        if let (Init::Runit, Some((path, ..))) = (self.init, definition::places(self.init, role)) {
            files::remove(&definition::down_file(&self.root.join(path)))?;
        }
        let wanted = fs::canonicalize(self.role_link(role)).ok();
        let current = before.pid.and_then(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok());
        let (running, right) = (before.state == State::Running, current == wanted);
        if !running || !right {
            let action = if running { Action::Restart } else { Action::Start };
            manager
                .act(&name, action)
                .map_err(|source| self.did_not_start(manager.as_ref(), &name, began, Some(source)))?;
        }
        let after = manager.status(&name).map_err(InstallError::asking(&name))?;
        let pid = after.filter(|after| after.state == State::Running).and_then(|after| after.pid);
        let pid = pid.ok_or_else(|| self.did_not_start(manager.as_ref(), &name, began, None))?;
        // An error means that it can't be watched, by an old kernel or because it is gone: the next line sees which.
        let ended = process::ends_within(pid, WATCH).unwrap_or(false) || !proc::exists(pid);
        if ended { Err(self.did_not_start(manager.as_ref(), &name, began, None)) } else { Ok(pid) }
    }

    /// Stops the service where it is installed and runs.
    pub fn stop(&self, role: Role) -> Result<(), InstallError> {
        let (manager, name) = (self.manager()?, role.service());
        let status = manager.status(&name).map_err(InstallError::asking(&name))?;
        if status.is_some_and(|status| status.state != State::Stopped) {
            manager.act(&name, Action::Stop).map_err(InstallError::asking(&name))?;
        }
        Ok(())
    }

    /// The service as its manager describes it.
    pub fn status(&self, role: Role) -> Result<Option<services::Service>, InstallError> {
        let name = role.service();
        self.manager()?.status(&name).map_err(InstallError::asking(&name))
    }

    fn manager(&self) -> Result<Box<dyn ServiceManager + 'a>, InstallError> {
        services::manager(&Machine::below(&self.root, self.init), self.commands).map_err(InstallError::Init)
    }

    fn role_link(&self, role: Role) -> PathBuf {
        self.root.join(HOME).join(role.as_str())
    }

    fn carry_out(
        &self,
        service: &Service,
        definition: &definition::Definition,
        manager: &dyn ServiceManager,
        changes: &mut Changes,
    ) -> Result<Installed, InstallError> {
        let name = service.role.service();
        let bytes = files::read(&service.exe_bytes_from)?;
        let relative = Path::new("versions").join(&service.version).join("remotectl");
        let (executable, digest) = (self.root.join(HOME).join(&relative), Digest::of(&bytes));
        let mut notes = Vec::new();
        self.put_executable(&executable, &bytes, &digest, changes)?;
        changes.link(&relative, &self.role_link(service.role))?;
        self.put_command(&Path::new("/").join(HOME).join(&relative), changes, &mut notes)?;
        let path = self.root.join(&definition.path);
        changes.directories(path.parent().unwrap_or(&self.root))?;
        if changes.file(&path, definition.text.as_bytes(), definition.mode)? {
            manager.reread().map_err(InstallError::asking(&name))?;
            changes.reread();
        }
        self.enable(manager, &name, definition, changes)?;
        self.remember(changes)?;
        Ok(Installed {
            executable,
            digest,
            service: name.as_str().to_owned(),
            init: self.init,
            changed: changes.any(),
            notes,
        })
    }

    fn put_executable(
        &self,
        executable: &Path,
        bytes: &[u8],
        digest: &Digest,
        changes: &mut Changes,
    ) -> Result<(), InstallError> {
        if files::read(executable).is_ok_and(|there| Digest::of(&there) == *digest) {
            return Ok(());
        }
        check_room(executable, u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        changes.directories(executable.parent().unwrap_or(&self.root))?;
        changes.file(executable, bytes, 0o755)?;
        let written = Digest::of(&files::read(executable)?);
        if written == *digest { Ok(()) } else { Err(InstallError::Garbled(executable.to_owned())) }
    }

    /// The command for people; somebody else's file of that name stays.
    fn put_command(&self, to: &Path, changes: &mut Changes, notes: &mut Vec<String>) -> Result<(), InstallError> {
        let at = self.root.join(COMMAND);
        if at.symlink_metadata().is_ok() && !is_ours(&at) {
            notes.push(format!("/{COMMAND} is not ours and was left alone; the executable is {}", to.display()));
            return Ok(());
        }
        changes.directories(at.parent().unwrap_or(&self.root))?;
        changes.link(to, &at)
    }

    fn enable(
        &self,
        manager: &dyn ServiceManager,
        name: &ServiceName,
        definition: &definition::Definition,
        changes: &mut Changes,
    ) -> Result<(), InstallError> {
        if self.is_enabled(manager, name, definition.enabled.as_deref())? {
            return Ok(());
        }
        if let Some(enabled) = &definition.enabled {
            // The init system would make this directory as well, but nobody would know that it did.
            changes.directories(self.root.join(enabled).parent().unwrap_or(&self.root))?;
        }
        if self.init == Init::Runit {
            changes.file(&definition::down_file(&self.root.join(&definition.path)), b"", 0o644)?;
        }
        changes.enabling(name.clone());
        manager.act(name, Action::Enable).map_err(InstallError::asking(name))
    }

    /// Whether a service starts at boot: by the file that shows it, or in its manager's words.
    fn is_enabled(
        &self,
        manager: &dyn ServiceManager,
        name: &ServiceName,
        shown: Option<&Path>,
    ) -> Result<bool, InstallError> {
        if let Some(path) = shown {
            return Ok(self.root.join(path).symlink_metadata().is_ok());
        }
        let status = manager.status(name).map_err(InstallError::asking(name))?;
        Ok(status.is_some_and(|service| service.startup.starts_with("enabled")))
    }

    /// Adds the directories outside of our own that were made to those that are to be taken away one day.
    fn remember(&self, changes: &mut Changes) -> Result<(), InstallError> {
        let home = self.root.join(HOME);
        let path = self.root.join(CREATED);
        let mut lines = files::read_text_if_there(&path)?.unwrap_or_default();
        let before = lines.clone();
        for directory in changes.made().filter(|directory| !directory.starts_with(&home)) {
            if let Ok(inside) = directory.strip_prefix(&self.root) {
                lines = format!("{lines}{}\n", inside.display());
            }
        }
        if lines != before {
            changes.file(&path, lines.as_bytes(), 0o644)?;
        }
        Ok(())
    }

    fn did_not_start(
        &self,
        manager: &dyn ServiceManager,
        name: &ServiceName,
        began: i64,
        source: Option<super::commands::CommandError>,
    ) -> InstallError {
        let log = manager.log(name, Some(began), false, LOG_LINES).unwrap_or_default();
        InstallError::NotStarted { service: name.as_str().to_owned(), init: self.init, log, source }
    }
}

/// Whether a link is one that an installation made.
fn is_ours(link: &Path) -> bool {
    fs::read_link(link).is_ok_and(|to| to.starts_with(Path::new("/").join(VERSIONS)))
}

/// Refuses before anything is written where the file would fill the filesystem up or can't be written at all.
fn check_room(file: &Path, size: u64) -> Result<(), InstallError> {
    let there = file.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    // A filesystem that does not tell how full it is says so when it is written to.
    let Ok(found) = statvfs(there) else { return Ok(()) };
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(InstallError::ReadOnly { path: there.to_owned() });
    }
    let free = found.f_bavail * found.f_frsize;
    if free < size.saturating_add(RESERVE) && found.f_blocks > 0 {
        return Err(InstallError::Space { path: there.to_owned(), free, wanted: size });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
