//! Which init system runs this machine: asked for in one place, by facts, services and the installer alike.

use std::{fmt, fs, path::Path};

/// The program that is process 1 here, and therefore how services are managed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// systemd.
    Systemd,
    /// OpenRC, whatever is process 1 below it.
    OpenRc,
    /// System V init with /etc/init.d scripts and no OpenRC.
    Sysvinit,
    /// runit (Void Linux).
    Runit,
    /// busybox init with an inittab and nothing above it.
    Busybox,
    /// None of those: an application container, a BSD, an empty root.
    Unknown,
}

impl Init {
    /// The one of the system below `root` (`/` but in tests). Looks at what only a *running* init leaves behind first:
    /// systemd may be installed where something else runs.
    pub fn detect(root: &Path) -> Self {
        let there = |path: &str| root.join(path).exists();
        let process_1 = fs::read_to_string(root.join("proc/1/comm")).unwrap_or_default();
        let program = fs::canonicalize(root.join("proc/1/exe"))
            .or_else(|_| fs::canonicalize(root.join("sbin/init")))
            .unwrap_or_default();
        let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if there("run/systemd/system") {
            Self::Systemd
        } else if there("run/openrc/softlevel") || there("run/openrc/started") {
            Self::OpenRc
        } else if process_1.trim() == "runit" || there("run/runit") || there("run/runit.stopit") {
            Self::Runit
        } else if program == "busybox" && there("etc/inittab") {
            Self::Busybox
        } else if there("etc/inittab") && there("etc/init.d") {
            Self::Sysvinit
        } else {
            Self::Unknown
        }
    }

    /// The one of this machine.
    pub fn here() -> Self {
        Self::detect(Path::new("/"))
    }

    /// The word in the facts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "openrc",
            Self::Sysvinit => "sysvinit",
            Self::Runit => "runit",
            Self::Busybox => "busybox",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Nothing that services can be managed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "services here are run by no init system that remotectl knows: systemd, OpenRC, sysvinit, runit and busybox are"
)]
pub struct Unsupported;

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(files: &[&str]) -> Init {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let (path, content) = file.split_once('=').unwrap_or((file, ""));
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::File::create(&path).unwrap();
            crate::sys::files::write_atomic(&path, content.as_bytes(), 0o644).unwrap();
        }
        Init::detect(root.path())
    }

    #[test]
    fn what_runs_counts_and_not_what_is_installed() {
        assert_eq!(detected(&["run/systemd/system/x", "etc/inittab"]), Init::Systemd);
        assert_eq!(detected(&["lib/systemd/systemd", "run/openrc/softlevel"]), Init::OpenRc);
        assert_eq!(detected(&["lib/systemd/systemd", "etc/inittab", "etc/init.d/cron"]), Init::Sysvinit);
        assert_eq!(detected(&["proc/1/comm=runit\n"]), Init::Runit);
        assert_eq!(detected(&[]), Init::Unknown);
    }

    #[test]
    fn a_busybox_is_known_by_its_program() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sbin")).unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::File::create(root.path().join("sbin/busybox")).unwrap();
        fs::File::create(root.path().join("etc/inittab")).unwrap();
        std::os::unix::fs::symlink("busybox", root.path().join("sbin/init")).unwrap();
        assert_eq!(Init::detect(root.path()), Init::Busybox);
    }
}
