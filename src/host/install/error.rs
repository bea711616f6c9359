//! Why an installation did not succeed, and what to do about it.

use crate::{
    host::{
        commands::CommandError,
        init::{Init, Unsupported},
        services::{ServiceName, telling},
        text::amount,
    },
    model::Failure,
    sys::files::FileError,
};
use std::{io, path::PathBuf};

/// An installation (or its removal) that did not succeed. Unless it says otherwise, nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Only root may.
    #[error("only root can install services")]
    NotRoot,
    /// The init system is not known here.
    #[error(transparent)]
    Init(Unsupported),
    /// An argument or a version that can't stand in a service file.
    #[error("`{}` can't stand in a service's file: letters, digits and _ . / : = @ , + - can", .0.escape_debug())]
    Argument(String),
    /// The filesystem is too full.
    #[error("no space left on {} ({} free, {} wanted beside the reserve)", path.display(), amount(*free), amount(*wanted))]
    Space {
        /// A directory on it.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that the executable needs.
        wanted: u64,
    },
    /// The filesystem is read-only.
    #[error("{} is on a filesystem that is read-only", path.display())]
    ReadOnly {
        /// A directory on it.
        path: PathBuf,
    },
    /// A file could not be written, read or removed.
    #[error(transparent)]
    File(FileError),
    /// What was written is not what is read back.
    #[error("{} does not read back as it was written: the disk or its filesystem is damaged", .0.display())]
    Garbled(PathBuf),
    /// An executable did not come as long as it should be.
    #[error("fetching the executable was cut")]
    Cut(#[source] io::Error),
    /// An executable did not come as it should be.
    #[error("what came as {version} is not what the hub said it would be")]
    Unlike {
        /// As which version.
        version: String,
    },
    /// The init system did not do what was asked.
    #[error("asking the init system for {service}")]
    Asking {
        /// Which service it was about.
        service: String,
        /// Its complaint.
        #[source]
        source: CommandError,
    },
    /// There is no such service.
    #[error("{0} is not installed here")]
    NotInstalled(&'static str),
    /// It was started and does not run.
    #[error("{service} does not run{}", telling(log).map(|line| format!(": {line}")).unwrap_or_default())]
    NotStarted {
        /// Which.
        service: String,
        /// Of which init system.
        init: Init,
        /// What it logged.
        log: Vec<String>,
        /// What the init system said, where that was what failed.
        #[source]
        source: Option<CommandError>,
    },
    /// It failed, and taking back what had been done failed too.
    #[error("{} was left behind, after", left.join(", "))]
    HalfDone {
        /// The first failure.
        #[source]
        why: Box<InstallError>,
        /// What could not be taken back.
        left: Vec<String>,
    },
    /// Not everything could be removed.
    #[error("not everything could be removed: {}", .0.join("; "))]
    Incomplete(Vec<String>),
}

impl InstallError {
    /// Turns a command's error into one about a service.
    pub fn asking(service: &ServiceName) -> impl FnOnce(CommandError) -> Self {
        let service = service.as_str().to_owned();
        move |source| Self::Asking { service, source }
    }

    /// What to do next.
    pub fn help(&self) -> String {
        match self {
            Self::NotRoot => "run it as root, or with sudo".to_owned(),
            Self::Init(_) => "`remotectl agent run` runs in the foreground everywhere".to_owned(),
            Self::Argument(_) => "put it into the configuration file instead".to_owned(),
            Self::Space { path, .. } => {
                format!("free space there: `du -xh {} | sort -h | tail` shows what is large", path.display())
            }
            Self::ReadOnly { path } => {
                format!(
                    "`findmnt -T {}` shows why; `mount -o remount,rw` makes it writable, if the disk is healthy",
                    path.display()
                )
            }
            Self::File(_) | Self::Garbled(_) | Self::HalfDone { .. } => {
                "mend that and run the same command again".to_owned()
            }
            Self::Cut(_) => "is the way to the hub sound? the same command tries again".to_owned(),
            Self::Unlike { .. } => "on the hub: `remotectl hub artifact list`, and add that version anew".to_owned(),
            Self::Asking { service, .. } => format!("`remotectl doctor` looks further; the service is {service}"),
            Self::NotInstalled(role) => format!("`remotectl {role} install` installs it"),
            Self::NotStarted { service, init: Init::Systemd, .. } => {
                format!("`journalctl -u {service} -n 50` shows more")
            }
            Self::NotStarted { service, .. } => format!("`tail -n 50 /var/log/{service}.log` shows more"),
            Self::Incomplete(_) => "run the same command again: it goes on where it stopped".to_owned(),
        }
    }
}

impl From<FileError> for InstallError {
    /// A full or read-only filesystem is said as plainly as when it is found out beforehand.
    fn from(error: FileError) -> Self {
        let place = error.path.ancestors().find(|path| path.is_dir()).map(PathBuf::from).unwrap_or_default();
        match error.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let free = rustix::fs::statvfs(&place).map_or(0, |found| found.f_bavail * found.f_frsize);
                Self::Space { path: place, free, wanted: super::RESERVE }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path: place },
            _ => Self::File(error),
        }
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        let help = error.help();
        let failure = Self::new(crate::model::outcome::chain(&error)).help(help);
        match error {
            InstallError::NotStarted { log, .. } => log.into_iter().fold(failure, Self::detail),
            _ => failure,
        }
    }
}
