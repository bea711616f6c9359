//! A guest in memory: files with modes, the few programs that our scripts are made of, and faults on demand. It lives
//! through the same story as real guests do.

use super::{
    once::ONCE,
    probe::LEFT,
    staging::MAKE,
    transport::{Exec, GuestState, PUSH, Transport, TransportError},
};
use crate::{
    model::digest::Digest,
    sys::process::{Finished, Input, Stream},
};
use std::{
    collections::BTreeMap,
    io::Read as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What the staged executable does when it is called: arguments, what it reads; its exit code, output and complaint. It may
/// change the guest's files.
pub type Program = Box<dyn Fn(&[String], &[u8], &mut Files) -> (i32, String, String) + Send + Sync>;

/// The guest's files: absolute path to content and mode; a directory has no content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(pub BTreeMap<String, (Option<Vec<u8>>, u32)>);

/// A guest in memory.
pub struct Fake {
    state: Mutex<GuestState>,
    files: Mutex<Files>,
    /// What `Probe` reads, without `left.end`.
    probe: Mutex<String>,
    program: Mutex<Program>,
    calls: Mutex<Vec<Vec<String>>>,
    full: Mutex<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each with a line's end.
fn lines<S: AsRef<str>>(all: impl Iterator<Item = S>) -> String {
    all.fold(String::new(), |text, line| text + line.as_ref() + "\n")
}

impl Default for Fake {
    fn default() -> Self {
        let directories = ["/opt", "/tmp", "/dev/shm"].map(|path| (path.to_owned(), (None, 0o755)));
        let running = GuestState { status: "running".to_owned(), template: false, lock: None, macs: Vec::new() };
        let probe = format!(
            "os.ID=debian\nos.VERSION_ID=\"12\"\narch={}\nuid=0\nclock=1795336719\npid1=systemd\nrun.systemd=1\nsha256sum=1\n\
             place=900000 exec /opt\nplace=900000 exec /tmp\n",
            std::env::consts::ARCH
        );
        Self {
            state: Mutex::new(running),
            files: Mutex::new(Files(directories.into())),
            probe: Mutex::new(probe),
            program: Mutex::new(Box::new(|_, _, _| (127, String::new(), "no such program\n".to_owned()))),
            calls: Mutex::default(),
            full: Mutex::default(),
        }
    }
}

impl Fake {
    /// A running Debian 12 with systemd and nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the staged executable does.
    #[must_use]
    pub fn with_program(self, program: Program) -> Self {
        *lock(&self.program) = program;
        self
    }

    /// What the hypervisor says of it.
    #[must_use]
    pub fn with_state(self, state: GuestState) -> Self {
        *lock(&self.state) = state;
        self
    }

    /// What the probe finds, as the lines that the script prints.
    #[must_use]
    pub fn with_probe(self, lines: &str) -> Self {
        lines.clone_into(&mut lock(&self.probe));
        self
    }

    /// A guest whose disk fills up as soon as something is written.
    #[must_use]
    pub fn that_is_full(self) -> Self {
        *lock(&self.full) = true;
        self
    }

    /// Its files now.
    pub fn files(&self) -> Files {
        lock(&self.files).clone()
    }

    /// Every program that was run, in order.
    pub fn calls(&self) -> Vec<Vec<String>> {
        lock(&self.calls).clone()
    }

    fn run(&self, argv: &[&str], input: &[u8]) -> Result<(i32, Vec<u8>, String), TransportError> {
        let ok = |text: &str| Ok((0, text.as_bytes().to_vec(), String::new()));
        let no = |why: &str| Ok((1, Vec::new(), format!("{why}\n")));
        let mut files = lock(&self.files);
        match argv {
            ["true"] => ok(""),
            ["false"] => no(""),
            ["cat"] => Ok((0, input.to_vec(), String::new())),
            ["env"] => ok("PATH=/bin\n"),
            ["printf", "[%s]\n", rest @ ..] => ok(&lines(rest.iter().map(|word| format!("[{word}]")))),
            ["sh", "-c", script] if script.starts_with("exit ") => {
                Ok((script[5..].parse().unwrap_or(2), Vec::new(), String::new()))
            }
            ["sh", "-s", "--", places @ ..] => ok(&format!("{}{}", lock(&self.probe), files.left(places))),
            ["sh", "-c", script, "sh", places @ ..] if *script == LEFT => ok(&files.left(places)),
            ["sh", "-c", script, "sh", path, mode, digest] if *script == PUSH => {
                files.push(path, mode, digest, input, *lock(&self.full)).map_or_else(|why| no(&why), |()| ok(""))
            }
            ["sh", "-c", script, "sh", path] if *script == MAKE => {
                let made = files.make(path);
                made.map_or_else(|why| no(&why), |()| ok(""))
            }
            ["sh", "-c", script, "sh", directory] if *script == ONCE => {
                let call = [format!("{directory}/remotectl"), "agent".to_owned(), "once".to_owned()];
                let (code, stdout, stderr) = lock(&self.program)(&call[1..], input, &mut files);
                files.remove(directory);
                Ok((code, stdout.into_bytes(), stderr))
            }
            ["cat", "--", path] | ["cat", path] => match files.0.get(*path) {
                Some((Some(content), _)) => Ok((0, content.clone(), String::new())),
                _ => no(&format!("cat: {path}: No such file or directory")),
            },
            ["stat", "-c", "%a", path] => match files.0.get(*path) {
                Some((_, mode)) => ok(&format!("{mode:o}\n")),
                None => no("stat: no such file"),
            },
            ["ls", "-A", directory] => ok(&files.list(directory)),
            ["rm", "-rf", "--", path] => {
                files.remove(path);
                ok("")
            }
            [path, rest @ ..] => match files.0.get(*path) {
                Some((Some(_), mode)) if mode & 0o100 != 0 => {
                    let words: Vec<String> = rest.iter().map(|word| (*word).to_owned()).collect();
                    let (code, stdout, stderr) = lock(&self.program)(&words, input, &mut files);
                    Ok((code, stdout.into_bytes(), stderr))
                }
                Some(_) => Err(TransportError::NotExecutable((*path).to_owned())),
                None => Err(TransportError::NotFound((*path).to_owned())),
            },
            [] => Err(TransportError::NotFound(String::new())),
        }
    }
}

impl Transport for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn state(&self) -> Result<GuestState, TransportError> {
        Ok(lock(&self.state).clone())
    }

    fn exec(&self, mut exec: Exec<'_>) -> Result<Finished, TransportError> {
        lock(&self.calls).push(exec.argv.clone());
        let argv: Vec<&str> = exec.argv.iter().map(String::as_str).collect();
        let mut input = Vec::new();
        match std::mem::take(&mut exec.input) {
            Input::Nothing => {}
            Input::Bytes(bytes) => input = bytes,
            Input::File(mut file) => {
                file.read_to_end(&mut input).map_err(|source| crate::sys::files::FileError {
                    doing: "reading",
                    path: std::path::PathBuf::from("the pushed file"),
                    source,
                })?;
            }
        }
        let sleeps = argv.first() == Some(&"sleep");
        let (code, stdout, stderr) = if sleeps { (0, Vec::new(), String::new()) } else { self.run(&argv, &input)? };
        if let Some(on_output) = exec.on_output {
            on_output(Stream::Stdout, &stdout);
            on_output(Stream::Stderr, stderr.as_bytes());
        }
        let cancelled = exec.cancel.fired();
        Ok(Finished {
            code: (!sleeps).then_some(code),
            signal: sleeps.then_some(9),
            stdout,
            stderr: stderr.into_bytes(),
            truncated: false,
            timed_out: sleeps && !cancelled,
            cancelled,
        })
    }
}

impl Files {
    /// A file.
    pub fn write(&mut self, path: &str, content: &[u8], mode: u32) {
        self.0.insert(path.to_owned(), (Some(content.to_vec()), mode));
    }

    /// Removes a path with everything below it.
    pub fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.0.retain(|known, _| known != path && !known.starts_with(&below));
    }

    fn make(&mut self, path: &str) -> Result<(), String> {
        self.parent(path)?;
        let taken = self.0.insert(path.to_owned(), (None, 0o700));
        taken.map_or(Ok(()), |_| Err(format!("mkdir: cannot create directory '{path}': File exists")))
    }

    fn parent(&self, path: &str) -> Result<(), String> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let there = parent.is_empty() || matches!(self.0.get(parent), Some((None, _)));
        if there { Ok(()) } else { Err(format!("cannot create {path}: Directory nonexistent")) }
    }

    fn push(&mut self, path: &str, mode: &str, digest: &str, content: &[u8], full: bool) -> Result<(), String> {
        self.parent(path)?;
        if matches!(self.0.get(path), Some((None, _))) {
            return Err(format!("{path} is a directory"));
        }
        if full {
            return Err("cat: write error: No space left on device".to_owned());
        }
        if Digest::of(content).as_str() != digest {
            return Err("arrived with another SHA-256".to_owned());
        }
        self.write(path, content, u32::from_str_radix(mode, 8).unwrap_or(0o600));
        Ok(())
    }

    fn list(&self, directory: &str) -> String {
        let below = format!("{directory}/");
        let names = self.0.keys().filter_map(|path| path.strip_prefix(&below)).filter(|name| !name.contains('/'));
        lines(names)
    }

    fn left(&self, places: &[&str]) -> String {
        let there = places.iter().filter(|place| self.0.contains_key(**place));
        lines(there.map(|place| format!("there={place}"))) + "left.end=1\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_holds_in_memory() {
        let fake = Fake::new();
        lock(&fake.files).make("/tmp/story").unwrap();
        crate::guest::story::story(&fake, "/tmp/story").unwrap();
    }
}
