//! One run's folder and control group, and that nothing outlives it: a janitor process waits for this process's end,
//! however it comes, and takes everything away; what even the janitor left behind goes at the next run's start. Whether
//! a run still lives is told by a lock on a file, never by a process id.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, fs,
    fs::File,
    io::{self, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The name that makes this executable the janitor.
pub const JANITOR: &str = "remotectl-lab-janitor";

/// Where rootfs and runs are kept.
pub fn cache() -> PathBuf {
    env::var_os("REMOTECTL_LAB_CACHE").map_or_else(|| PathBuf::from("/var/cache/remotectl-lab"), PathBuf::from)
}

/// A run: its folder, its control group, its janitor.
pub struct Run {
    /// The folder that all nodes see a part of.
    pub folder: PathBuf,
    /// Below it each node has its own.
    pub cgroup: PathBuf,
    janitor: Child,
    alive: Option<ChildStdin>,
    _lock: File,
}

impl Run {
    /// Takes away what dead runs left, and starts a new one.
    pub fn start() -> io::Result<Self> {
        let runs = cache().join("runs");
        fs::create_dir_all(&runs)?;
        let guard = File::create(runs.join(".lock"))?;
        guard.lock()?;
        remove_dead(&runs)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("{}-{}", std::process::id(), since.as_millis());
        let folder = runs.join(&id);
        fs::create_dir(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        let cgroup = cgroup_root()?.join("remotectl-lab").join(&id);
        fs::create_dir_all(&cgroup)?;
        fs::write(folder.join("cgroup"), cgroup.as_os_str().as_encoded_bytes())?;
        let mut janitor = Command::new(env::current_exe()?)
            .arg0(JANITOR)
            .arg(&folder)
            .env_clear()
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let alive = janitor.stdin.take();
        Ok(Self { folder, cgroup, janitor, alive, _lock: lock })
    }

    /// Ends the run and waits until everything is gone. The nodes must have been let go before.
    pub fn end(&mut self) {
        drop(self.alive.take());
        let _ = self.janitor.wait();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.end();
    }
}

/// The janitor: waits for the end of its standard input, then cleans up.
pub fn janitor(folder: &Path) -> io::Result<()> {
    let mut nothing = Vec::new();
    io::stdin().read_to_end(&mut nothing)?;
    remove(folder)
}

fn remove_dead(runs: &Path) -> io::Result<()> {
    for entry in fs::read_dir(runs)?.flatten().filter(|entry| entry.path().is_dir()) {
        let dead = File::open(entry.path().join("lock")).map_or(true, |lock| lock.try_lock().is_ok());
        if dead {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> io::Result<()> {
    if let Ok(cgroup) = fs::read_to_string(folder.join("cgroup")) {
        remove_cgroup(Path::new(&cgroup));
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Kills what is in a control group of ours and removes it, which takes the kernel a moment.
fn remove_cgroup(cgroup: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while cgroup.exists() && Instant::now() < deadline {
        if fs::write(cgroup.join("cgroup.kill"), "1").is_err() {
            for pid in processes_below(cgroup) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        remove_empty(cgroup);
        if cgroup.exists() {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn remove_empty(cgroup: &Path) {
    for child in fs::read_dir(cgroup).into_iter().flatten().flatten().filter(|child| child.path().is_dir()) {
        remove_empty(&child.path());
    }
    let _ = fs::remove_dir(cgroup);
}

/// All processes of a control group and of those below it, by their numbers on this machine.
pub fn processes_below(cgroup: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<Pid> = text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect();
    for child in fs::read_dir(cgroup).into_iter().flatten().flatten().filter(|child| child.path().is_dir()) {
        found.extend(processes_below(&child.path()));
    }
    found
}

/// Where cgroup2 is mounted; beside the old hierarchies on some machines.
fn cgroup_root() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut found = lines.filter(|fields| fields.get(2) == Some(&"cgroup2"));
    let place = found.next().map(|fields| PathBuf::from(fields[1]));
    place.ok_or_else(|| io::Error::other("no cgroup2 file system is mounted"))
}
