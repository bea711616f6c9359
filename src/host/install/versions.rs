//! The versions of one role on disk: which runs, which is kept for going back to, and how another one comes to them. What
//! `install` makes once, an update changes here.
//!
//!     /opt/remotectl/agent            → the version that is started
//!     /opt/remotectl/agent.previous   → the last good one before it

use super::{COMMAND, HOME, InstallError, Role, VERSIONS, check_room, is_ours};
use crate::{
    model::digest::{Digest, Digesting},
    sys::files,
};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::{Read, Write as _},
    path::{Path, PathBuf},
};

/// Read and written at once: 64 KiB.
const PIECE: usize = 64 << 10;

/// A role's versions below a root (`/` but in tests).
#[derive(Debug, Clone)]
pub struct Versions {
    root: PathBuf,
    role: Role,
}

impl Versions {
    /// Of that role.
    pub fn new(root: &Path, role: Role) -> Self {
        Self { root: root.to_owned(), role }
    }

    /// Where the service finds the version that it starts.
    pub fn link(&self) -> PathBuf {
        self.root.join(HOME).join(self.role.as_str())
    }

    /// Where the last good version is found.
    pub fn previous_link(&self) -> PathBuf {
        self.root.join(HOME).join(previous_name(self.role))
    }

    /// A version's executable.
    pub fn executable(&self, version: &str) -> PathBuf {
        self.root.join(VERSIONS).join(version).join("remotectl")
    }

    /// The version that the service starts; `None` where the role is not installed.
    pub fn current(&self) -> Option<String> {
        version_of(&self.link())
    }

    /// The version that is kept for going back to.
    pub fn previous(&self) -> Option<String> {
        version_of(&self.previous_link()).filter(|version| self.executable(version).exists())
    }

    /// Whether an executable with that digest is here as that version.
    pub fn holds(&self, version: &str, digest: &Digest) -> bool {
        files::read(&self.executable(version)).is_ok_and(|bytes| Digest::of(&bytes) == *digest)
    }

    /// Writes a version's executable from what is read: exactly so many bytes with that digest, or nothing is changed.
    pub fn put(&self, version: &str, size: u64, digest: &Digest, mut from: impl Read) -> Result<(), InstallError> {
        let to = self.executable(version);
        check_room(&to, size)?;
        let directory = to.parent().unwrap_or(&self.root);
        files::create_directory(directory, 0o755)?;
        let beside = directory.join(self.part());
        let written = copy(&mut from, &beside, size).and_then(|(file, found)| {
            if found == *digest { Ok(file) } else { Err(InstallError::Unlike { version: version.to_owned() }) }
        });
        let placed = written.and_then(|file| Ok(files::put_in_place(&file, &beside, &to, 0o755)?));
        if placed.is_err() {
            // The error that matters is the first; what is left is overwritten by the next try.
            files::remove(&beside).ok();
            files::remove_if_empty(directory).ok();
        }
        placed
    }

    /// Whether another role runs that version: its file is not this one's to replace.
    pub fn used_by_others(&self, version: &str) -> bool {
        let own = [self.link(), self.previous_link()];
        self.links().iter().any(|link| !own.contains(link) && version_of(link).as_deref() == Some(version))
    }

    /// Has the service start that version from now on, and keeps another for going back to. Durable when it returns.
    pub fn point(&self, version: &str, previous: Option<&str>) -> Result<(), InstallError> {
        let inside = |version: &str| Path::new("versions").join(version).join("remotectl");
        match previous {
            Some(previous) => files::symlink_atomic(&inside(previous), &self.previous_link())?,
            None => files::remove(&self.previous_link())?,
        }
        files::symlink_atomic(&inside(version), &self.link())?;
        Ok(files::sync_directory_of(&self.link())?)
    }

    /// Leads people's command to that version too, where it led to one of this role's that is to go.
    pub fn point_command(&self, from: &str, to: &str) -> Result<(), InstallError> {
        let command = self.root.join(COMMAND);
        if is_ours(&command) && version_of(&command).as_deref() == Some(from) {
            let to = Path::new("/").join(VERSIONS).join(to).join("remotectl");
            files::symlink_atomic(&to, &command)?;
        }
        Ok(())
    }

    /// Removes the versions that no role runs, keeps or fetches.
    pub fn prune(&self) -> Result<(), InstallError> {
        let command = version_of(&self.root.join(COMMAND));
        let used: BTreeSet<String> = self.links().iter().filter_map(|link| version_of(link)).chain(command).collect();
        for entry in fs::read_dir(self.root.join(VERSIONS)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !used.contains(&name) && !self.others_fetch(&entry.path()) {
                files::remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    fn part(&self) -> String {
        format!("{PART}{}", self.role.as_str())
    }

    fn others_fetch(&self, directory: &Path) -> bool {
        let own = OsString::from(self.part());
        let mut names = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.any(|name| name != own && name.to_string_lossy().starts_with(PART))
    }

    fn links(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join(HOME)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_symlink()).collect()
    }
}

/// Begins the names of files that are being fetched.
const PART: &str = ".fetch-";

/// The name of the link to a role's last good version.
pub(super) fn previous_name(role: Role) -> String {
    format!("{}.previous", role.as_str())
}

/// The version that a link points to.
fn version_of(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.parent()?.file_name()?.to_string_lossy().into_owned())
}

fn copy(from: &mut impl Read, to: &Path, size: u64) -> Result<(fs::File, Digest), InstallError> {
    let mut file = files::open_new(to)?;
    let (mut digesting, mut left, mut piece) = (Digesting::begin(), size, vec![0; PIECE]);
    loop {
        let read = from.read(&mut piece).map_err(InstallError::Cut)?;
        let bytes = u64::try_from(read).unwrap_or(u64::MAX);
        if read == 0 && left == 0 {
            return Ok((file, digesting.end()));
        }
        if read == 0 || bytes > left {
            let why = if read == 0 { "it ended early" } else { "it is longer than it should be" };
            return Err(InstallError::Cut(std::io::Error::other(why)));
        }
        left -= bytes;
        digesting.add(&piece[..read]);
        file.write_all(&piece[..read]).map_err(|error| files::failed_writing(to, error))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            files::create_directory(&place.0.path().join(HOME), 0o755).unwrap();
            place
        }
        fn versions(&self, role: Role) -> Versions {
            Versions::new(self.0.path(), role)
        }
    }

    fn put(versions: &Versions, version: &str) {
        let bytes = version.as_bytes();
        versions.put(version, bytes.len() as u64, &Digest::of(bytes), bytes).unwrap();
    }

    #[test]
    fn a_version_comes_whole_or_not_at_all() {
        let place = Place::new();
        let versions = place.versions(Role::Agent);
        let (bytes, digest) = (b"executable", Digest::of(b"executable"));
        let error =
            |size, digest: &Digest, from: &[u8]| versions.put("1.0.0", size, digest, from).unwrap_err().to_string();
        assert!(error(11, &digest, bytes).contains("was cut"));
        assert!(error(9, &digest, bytes).contains("was cut"));
        assert!(error(10, &Digest::of(b"other"), bytes).contains("not what the hub"));
        let mut cut = io::Read::chain(&bytes[..4], Fails);
        assert!(versions.put("1.0.0", 10, &digest, &mut cut).is_err());
        assert!(!place.0.path().join(VERSIONS).join("1.0.0").exists(), "nothing is left");
        versions.put("1.0.0", 10, &digest, &bytes[..]).unwrap();
        assert!(versions.holds("1.0.0", &digest) && !versions.holds("1.0.0", &Digest::of(b"other")));
        assert!(!versions.holds("1.0.1", &digest));
    }

    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }

    #[test]
    fn the_last_good_one_is_kept_and_what_others_use() {
        let place = Place::new();
        let (agent, hub) = (place.versions(Role::Agent), place.versions(Role::Hub));
        for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
            put(&agent, version);
        }
        hub.point("1.0.0", None).unwrap();
        agent.point("1.3.0", Some("1.2.0")).unwrap();
        assert_eq!((agent.current().as_deref(), agent.previous().as_deref()), (Some("1.3.0"), Some("1.2.0")));
        assert!(agent.used_by_others("1.0.0") && !agent.used_by_others("1.3.0"));
        files::write_atomic(&place.0.path().join(VERSIONS).join("1.1.0/.fetch-hub"), b"", 0o600).unwrap();
        agent.prune().unwrap();
        assert!(agent.executable("1.1.0").exists(), "the hub fetches it");
        hub.prune().unwrap();
        assert!(!agent.executable("1.1.0").exists());
        for kept in ["1.0.0", "1.2.0", "1.3.0"] {
            assert!(agent.executable(kept).exists(), "{kept}");
        }
        agent.point("1.2.0", None).unwrap();
        assert_eq!((agent.current().as_deref(), agent.previous()), (Some("1.2.0"), None));
    }

    #[test]
    fn peoples_command_follows_the_version_that_it_led_to() {
        let place = Place::new();
        let (agent, command) = (place.versions(Role::Agent), place.0.path().join(COMMAND));
        files::create_directory(command.parent().unwrap(), 0o755).unwrap();
        files::symlink_atomic(Path::new("/opt/remotectl/versions/1.0.0/remotectl"), &command).unwrap();
        agent.point_command("0.9.0", "1.1.0").unwrap();
        assert_eq!(version_of(&command).as_deref(), Some("1.0.0"));
        agent.point_command("1.0.0", "1.1.0").unwrap();
        assert_eq!(version_of(&command).as_deref(), Some("1.1.0"));
    }
}
