//! What a log that has to survive crashes asks of a file system, as a trait: the real one is here, and tests have one that
//! tears writes, loses what was not synced and fails when it is told to.

#![allow(clippy::disallowed_methods, reason = "files are written here and in files.rs alone")]

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// The files of one directory, by name. Whatever returns an error may have done a part of it.
pub trait Disk: Debug + Send {
    /// A file's whole content; `None` where there is no such file.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Makes a file of this content, for its owner alone, in the place of any other; the content is durable when it
    /// returns, the name not yet.
    fn create(&self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Gives a file the name of another, which is gone then. Not durable before `sync_names`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_names(&self) -> io::Result<()>;
    /// Opens a file for appending, for its owner alone; makes it where there is none.
    fn open(&self, name: &str) -> io::Result<Box<dyn Log>>;
}

/// A file that is appended to.
pub trait Log: Debug + Send {
    /// Writes at its end. Not durable before `sync`.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes all of it durable. After an error nobody knows what is: the kernel may have dropped what it could not write,
    /// and says so only once.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts it off behind so many bytes.
    fn truncate(&mut self, size: u64) -> io::Result<()>;
}

/// A directory of the machine.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// That one.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Disk for Directory {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.0.join(name))?;
        file.write_all(content)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Log>> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.0.join(name))?;
        Ok(Box::new(Appended(file)))
    }
}

#[derive(Debug)]
struct Appended(File);

impl Log for Appended {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Directory::new(directory.path());
        assert_eq!(disk.read("log").unwrap(), None);
        let mut log = disk.open("log").unwrap();
        log.append(b"one").unwrap();
        log.truncate(2).unwrap();
        log.append(b"two").unwrap();
        log.sync().unwrap();
        assert_eq!(disk.read("log").unwrap().unwrap(), b"ontwo");
        disk.create("new", b"3").unwrap();
        disk.rename("new", "log").unwrap();
        disk.sync_names().unwrap();
        assert_eq!(disk.read("log").unwrap().unwrap(), b"3");
    }
}
