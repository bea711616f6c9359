//! Files that survive a crash: written beside, fsynced, renamed, the directory fsynced.

#![allow(clippy::disallowed_methods, reason = "this is the one file that writes files")]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Something that went wrong with a file: what was being done to which.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}", path.display())]
pub struct FileError {
    /// `writing`, `reading`, `creating`, …
    pub doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { doing, path, source }
}

/// Replaces a file's content in one step that a crash can't tear; the new file has this mode.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = directory.join(format!(".{name}.{}", super::random::name(8)));
    let written = write_beside(&beside, content, mode).and_then(|()| {
        fs::rename(&beside, path)?;
        File::open(directory)?.sync_all()
    });
    written.map_err(|error| {
        // The half-written file is of no use to anybody; the error that matters is the first.
        drop(fs::remove_file(&beside));
        failed("writing", path)(error)
    })
}

fn write_beside(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The mode that `open` takes is cut by the umask.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

/// A file's whole content as text.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(failed("reading", path))
}

/// A file's whole content as text, `None` where there is no such file.
pub fn read_text_if_there(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading", path)(error)),
    }
}

/// The first line of a file that nobody but its owner may read; an error where others may.
pub fn read_secret(path: &Path) -> Result<String, FileError> {
    let mode = fs::metadata(path).map_err(failed("reading", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        let why = format!("others than its owner may read it (mode {:03o}, not 600)", mode & 0o777);
        return Err(failed("reading", path)(io::Error::other(why)));
    }
    Ok(read_text(path)?.lines().next().unwrap_or_default().to_owned())
}

/// A file's whole content.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(failed("reading", path))
}

/// Makes a directory and its parents; those that it makes have this mode.
pub fn create_directory(path: &Path, mode: u32) -> Result<(), FileError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed("creating", path))
}

/// Makes a directory that was not there, for its owner alone; its parent has to be there.
pub fn create_private_directory(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new().mode(0o700).create(path).map_err(failed("creating", path))
}

/// Opens a file for appending, for its owner alone; makes it where there is none.
pub fn open_append(path: &Path) -> Result<File, FileError> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed("opening", path))
}

/// Opens a file for writing from its beginning, for its owner alone; what was in it is gone.
pub fn open_new(path: &Path) -> Result<File, FileError> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed("creating", path))
}

/// Gives a file that was written its mode and its name, in one step that a crash can't tear.
pub fn put_in_place(file: &File, from: &Path, to: &Path, mode: u32) -> Result<(), FileError> {
    file.set_permissions(fs::Permissions::from_mode(mode))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(from, to))
        .map_err(failed("writing", to))?;
    sync_directory_of(to)
}

/// Makes what was made, renamed or removed beside a file durable.
pub fn sync_directory_of(path: &Path) -> Result<(), FileError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("writing", directory))
}

/// Gives a file another time of modification.
pub fn set_modified(path: &Path, time: SystemTime) -> Result<(), FileError> {
    let file = OpenOptions::new().write(true).open(path);
    file.and_then(|file| file.set_modified(time)).map_err(failed("writing", path))
}

/// An error of a file that was opened here, with its name.
pub fn failed_writing(path: &Path, error: io::Error) -> FileError {
    failed("writing", path)(error)
}

/// Gives a file its mode, where there is one.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), FileError> {
    match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("setting the mode of", path)(error)),
        _ => Ok(()),
    }
}

/// A file's mode, without its type.
pub fn mode(path: &Path) -> Result<u32, FileError> {
    Ok(fs::metadata(path).map_err(failed("reading", path))?.permissions().mode() & 0o7777)
}

/// Gives a file or a directory another name on the same file system, in one step.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(failed("renaming", from))
}

/// Gives a file another name, unless something has that name already. Where there are no hard links (exFAT, some shares), what
/// gets the name in the very moment between looking and renaming is replaced.
pub fn rename_new(from: &Path, to: &Path) -> Result<(), FileError> {
    let linked = fs::hard_link(from, to).and_then(|()| fs::remove_file(from));
    let without_links = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) && !to.exists()
    };
    match linked {
        Err(error) if without_links(&error) => fs::rename(from, to),
        linked => linked,
    }
    .map_err(failed("creating", to))
}

/// Takes a file away; one that is not there is no error.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", path)(error)),
        _ => Ok(()),
    }
}

/// Takes a directory and everything in it away; one that is not there is no error.
pub fn remove_tree(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a symbolic link, replacing what is there in one step.
pub fn symlink_atomic(to: &Path, at: &Path) -> Result<(), FileError> {
    let beside = at.with_extension(super::random::name(8));
    std::os::unix::fs::symlink(to, &beside).map_err(failed("linking", &beside))?;
    fs::rename(&beside, at).map_err(|error| {
        // As above: the error that matters is the first.
        drop(fs::remove_file(&beside));
        failed("linking", at)(error)
    })
}

/// Takes a directory away if it is empty: whether it was. One that is not there is no error.
pub fn remove_if_empty(path: &Path) -> Result<bool, FileError> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(false),
        Err(error) => Err(failed("removing", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        write_atomic(&from, b"new", 0o600).unwrap();
        write_atomic(&to, b"old", 0o600).unwrap();
        assert!(rename_new(&from, &to).is_err());
        assert_eq!(read_text(&to).unwrap(), "old");
        remove(&to).unwrap();
        rename_new(&from, &to).unwrap();
        assert!(read_text(&to).unwrap() == "new" && !from.exists());
    }

    #[test]
    fn atomic_writes_replace_and_set_the_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o640).unwrap();
        assert_eq!(read_text(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn errors_name_the_file() {
        let error = write_atomic(Path::new("/proc/nowhere/x"), b"", 0o600).unwrap_err();
        assert_eq!(error.to_string(), "writing /proc/nowhere/x");
    }
}
