//! A guest in memory: files with modes, the few programs that our scripts are made of, and faults on demand. It lives
//! through the same story as real guests do.

use super::{
    once::ONCE,
    probe::LEFT,
    staging::{MAKE, SETTLE},
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
pub struct Files {
    /// All of them.
    pub all: BTreeMap<String, (Option<Vec<u8>>, u32)>,
    full: bool,
}

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
            files: Mutex::new(Files { all: directories.into(), full: false }),
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

    /// Puts a file into it.
    pub fn put(&self, path: &str, content: &[u8], mode: u32) {
        lock(&self.files).put(path, content, mode);
    }

    /// Every program that was run, in order.
    pub fn calls(&self) -> Vec<Vec<String>> {
        lock(&self.calls).clone()
    }
}

impl Transport for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn state(&self) -> Result<GuestState, TransportError> {
        Ok(lock(&self.state).clone())
    }

    fn exec(&self, exec: Exec<'_>) -> Result<Finished, TransportError> {
        lock(&self.calls).push(exec.argv.clone());
        answer(exec, |argv, input| {
            let (mut files, full, probe) = (lock(&self.files), *lock(&self.full), lock(&self.probe).clone());
            files.full = full;
            let program = |words: &[String], input: &[u8], files: &mut Files| lock(&self.program)(words, input, files);
            let ended = interpret(argv, input, &mut *files, &|| probe.clone(), &program);
            files.full = false;
            ended
        })
    }
}

/// A guest's files, wherever they are: what the scripts of this floor do in a guest is done to these.
pub trait Store {
    /// Whether a path is a directory, and its mode; `None` where there is none.
    fn look(&self, path: &str) -> Option<(bool, u32)>;
    /// A file's content.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
    /// Puts a file into a directory that is there; the error is the complaint of a program of the guest.
    fn write(&mut self, path: &str, content: &[u8], mode: u32) -> Result<(), String>;
    /// Makes a directory in one that is there.
    fn make(&mut self, path: &str) -> Result<(), String>;
    /// Removes a path with everything below it.
    fn remove(&mut self, path: &str);
    /// The names in a directory.
    fn list(&self, directory: &str) -> Vec<String>;
}

/// What the staged executable does when it is called, with the guest's files at hand.
pub type Staged<'a, S> = dyn Fn(&[String], &[u8], &mut S) -> (i32, String, String) + 'a;

/// A program's exit code, output and complaint.
pub type Ended = (i32, Vec<u8>, String);

/// Does what a program of a guest does that our scripts are made of; the staged executable is `program`, and `probe` tells
/// what the probe finds, without `left.end`.
pub fn interpret<S: Store>(
    argv: &[&str],
    input: &[u8],
    files: &mut S,
    probe: &dyn Fn() -> String,
    program: &Staged<S>,
) -> Result<Ended, TransportError> {
    let ok = |text: &str| Ok((0, text.as_bytes().to_vec(), String::new()));
    let no = |why: &str| Ok((1, Vec::new(), format!("{why}\n")));
    let run = |words: &[&str], files: &mut S| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (code, stdout, stderr) = program(&words, input, files);
        Ok((code, stdout.into_bytes(), stderr))
    };
    match argv {
        ["true"] => ok(""),
        ["false"] => no(""),
        ["cat"] => Ok((0, input.to_vec(), String::new())),
        ["env"] => ok("PATH=/bin\n"),
        ["printf", "[%s]\n", rest @ ..] => ok(&lines(rest.iter().map(|word| format!("[{word}]")))),
        ["sh", "-c", script] if script.starts_with("exit ") => {
            Ok((script[5..].parse().unwrap_or(2), Vec::new(), String::new()))
        }
        ["sh", "-s", "--", places @ ..] => ok(&format!("{}{}", probe(), left(files, places))),
        ["sh", "-c", script, "sh", places @ ..] if *script == LEFT => ok(&left(files, places)),
        ["sh", "-c", script, "sh", path, mode, digest] if *script == PUSH => {
            push(files, path, mode, digest, input).map_or_else(|why| no(&why), |()| ok(""))
        }
        ["sh", "-c", script, "sh", path] if *script == MAKE => {
            let made = files.make(path);
            made.map_or_else(|why| no(&why), |()| ok(""))
        }
        // Whatever is started here has ended when it is told that it has.
        ["sh", "-c", script, "sh"] if *script == SETTLE => ok(""),
        ["sh", "-c", script, "sh", directory] if *script == ONCE => {
            let ended = run(&["agent", "once"], files);
            files.remove(directory);
            ended
        }
        ["cat", "--", path] | ["cat", path] => match files.read(path) {
            Some(content) => Ok((0, content, String::new())),
            None => no(&format!("cat: {path}: No such file or directory")),
        },
        ["stat", "-c", "%a", path] => match files.look(path) {
            Some((_, mode)) => ok(&format!("{mode:o}\n")),
            None => no("stat: no such file"),
        },
        ["ls", "-A", directory] => ok(&lines(files.list(directory).iter())),
        ["rm", "-rf", "--", paths @ ..] => {
            for path in paths {
                files.remove(path);
            }
            ok("")
        }
        [path, rest @ ..] => match files.look(path) {
            Some((false, mode)) if mode & 0o100 != 0 => run(rest, files),
            Some(_) => Err(TransportError::NotExecutable((*path).to_owned())),
            None => Err(TransportError::NotFound((*path).to_owned())),
        },
        [] => Err(TransportError::NotFound(String::new())),
    }
}

/// Runs a program by something that knows how: its input read, its output handed over, its end told as a process's.
pub fn answer(
    mut exec: Exec<'_>,
    run: impl FnOnce(&[&str], &[u8]) -> Result<Ended, TransportError>,
) -> Result<Finished, TransportError> {
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
    let (code, stdout, stderr) = if sleeps { (0, Vec::new(), String::new()) } else { run(&argv, &input)? };
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

/// What `PUSH` does.
fn push(files: &mut impl Store, path: &str, mode: &str, digest: &str, content: &[u8]) -> Result<(), String> {
    if matches!(files.look(path), Some((true, _))) {
        return Err(format!("{path} is a directory"));
    }
    if Digest::of(content).as_str() != digest {
        return Err("arrived with another SHA-256".to_owned());
    }
    files.write(path, content, u32::from_str_radix(mode, 8).unwrap_or(0o600))
}

/// What `LEFT` prints.
fn left(files: &impl Store, places: &[&str]) -> String {
    let there = places.iter().filter(|place| files.look(place).is_some());
    lines(there.map(|place| format!("there={place}"))) + "left.end=1\n"
}

impl Store for Files {
    fn look(&self, path: &str) -> Option<(bool, u32)> {
        self.all.get(path).map(|(content, mode)| (content.is_none(), *mode))
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.all.get(path)?.0.clone()
    }

    fn write(&mut self, path: &str, content: &[u8], mode: u32) -> Result<(), String> {
        self.parent(path)?;
        if self.full {
            return Err("cat: write error: No space left on device".to_owned());
        }
        self.put(path, content, mode);
        Ok(())
    }

    fn make(&mut self, path: &str) -> Result<(), String> {
        self.parent(path)?;
        let taken = self.all.insert(path.to_owned(), (None, 0o700));
        taken.map_or(Ok(()), |_| Err(format!("mkdir: cannot create directory '{path}': File exists")))
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.all.retain(|known, _| known != path && !known.starts_with(&below));
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let below = format!("{directory}/");
        let names = self.all.keys().filter_map(|path| path.strip_prefix(&below)).filter(|name| !name.contains('/'));
        names.map(str::to_owned).collect()
    }
}

impl Files {
    /// A file, whatever is there.
    pub fn put(&mut self, path: &str, content: &[u8], mode: u32) {
        self.all.insert(path.to_owned(), (Some(content.to_vec()), mode));
    }

    fn parent(&self, path: &str) -> Result<(), String> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let there = parent.is_empty() || matches!(self.all.get(parent), Some((None, _)));
        if there { Ok(()) } else { Err(format!("cannot create {path}: Directory nonexistent")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_holds_in_memory() {
        let fake = Fake::new();
        Store::make(&mut *lock(&fake.files), "/tmp/story").unwrap();
        crate::guest::story::story(&fake, "/tmp/story").unwrap();
    }
}
