//! This machine as the place of an update.

use super::{guard, point_back, record_file, trial::Tried};
use crate::{
    host::{
        Machine, Task, facts,
        install::{InstallError, versions::Versions},
        update::{Phase, Place, Record, Stopped, TRIAL},
    },
    link::{
        ARTIFACT_LIMIT,
        envelope::{Artifact, UpdateOrder},
        runtime::{Link, LinkError},
    },
    model::{outcome::chain, version::version},
    roles::membership::Home,
    sys::{cancel::Cancel, clock, files, process, process::Run, text::one_line},
};
use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

/// How often a fetch that was cut is begun again.
const FETCHES: u32 = 3;
/// Before it is.
const FETCH_AGAIN: Duration = Duration::from_secs(1);

/// This machine.
pub struct Here {
    /// The agent's.
    pub home: Home,
    /// For fetching.
    pub link: Link,
    /// On disk.
    pub versions: Versions,
}

impl Here {
    /// Replaces this process by an executable in its role; returns only when that fails.
    pub fn become_version(&self, executable: PathBuf) -> io::Error {
        // Not by the role's link: called by that name, it would take the role for its first argument.
        let mut args = vec![self.home.role.as_str().into(), "run".into()];
        if Home::find(self.home.role, None).config != self.home.config {
            args.extend(["--config".into(), self.home.config.clone().into_os_string()]);
        }
        process::replace(executable, args)
    }

    /// Refuses where this executable is not the one that the service starts: there would be nothing to switch.
    fn check_installed(&self) -> Result<(), Stopped> {
        let runs = fs::canonicalize(process::OWN_EXECUTABLE).ok();
        if runs.is_some() && runs == fs::canonicalize(self.versions.link()).ok() {
            return Ok(());
        }
        let role = self.home.role.as_str();
        let why = format!("what runs here is not the executable that is installed as {role}");
        Err(Stopped::rejected(why).help(format!(
            "installed anew? restart remotectl-{role}; run by a supervisor of your own? replace its file and restart it"
        )))
    }

    fn fetch_once(&self, order: &UpdateOrder, artifact: &Artifact, task: &Task) -> Result<(), Fetch> {
        let body = self.link.artifact(&artifact.sha256, task.timeout).map_err(|error| Fetch::of_link(&error))?;
        let body = Until { body, cancel: &task.cancel };
        self.versions.put(&order.version, artifact.size, &artifact.sha256, body).map_err(|error| {
            let cut = matches!(error, InstallError::Cut(_));
            Fetch { stopped: Stopped::new(chain(&error)).help(error.help()), again: cut }
        })
    }
}

/// A fetch that did not succeed, and whether trying again may help.
struct Fetch {
    stopped: Stopped,
    again: bool,
}

impl Fetch {
    fn of_link(error: &LinkError) -> Self {
        let again = matches!(error, LinkError::Http(_));
        let help = match error {
            LinkError::Refused { status: 404, .. } => "on the hub: `remotectl hub artifact list`",
            _ => "is the way to the hub sound? the same command tries again",
        };
        Self { stopped: Stopped::new(format!("fetching the executable: {}", chain(error))).help(help), again }
    }
}

/// A body that ends when its command is cancelled.
struct Until<'a, R> {
    body: R,
    cancel: &'a Cancel,
}

impl<R: Read> Read for Until<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.fired() {
            return Err(io::Error::other("cancelled"));
        }
        self.body.read(buffer)
    }
}

impl Place for Here {
    fn running(&self) -> String {
        version().to_owned()
    }

    fn arch(&self) -> String {
        std::env::consts::ARCH.to_owned()
    }

    fn fetch(&self, order: &UpdateOrder, task: &Task) -> Result<(), Stopped> {
        self.check_installed()?;
        let Some(artifact) = &order.artifact else {
            if self.versions.previous().as_ref() == Some(&order.version) {
                return Ok(());
            }
            return Err(Stopped::rejected(format!("{} is not kept here", order.version)));
        };
        if self.versions.holds(&order.version, &artifact.sha256) {
            return Ok(());
        }
        if self.versions.used_by_others(&order.version) {
            let why = format!("another role runs another {} here", order.version);
            return Err(
                Stopped::rejected(why).help("update that one first, or give the new build a version of its own")
            );
        }
        if artifact.size > ARTIFACT_LIMIT {
            return Err(Stopped::rejected(format!("an executable of {} bytes is none of ours", artifact.size)));
        }
        let mut tries = 1;
        loop {
            match self.fetch_once(order, artifact, task) {
                Err(fetch) if fetch.again && tries < FETCHES && task.pass(FETCH_AGAIN) => tries += 1,
                ended => return ended.map_err(|fetch| fetch.stopped),
            }
        }
    }

    fn try_out(&self, version: &str, task: &Task) -> Result<(), Stopped> {
        let config = self.home.config.as_os_str();
        let args = [self.home.role.as_str().as_ref(), "trial".as_ref(), "--config".as_ref(), config];
        let run = Run::new(self.versions.executable(version), args).timeout(TRIAL).cancel(task.cancel.clone());
        let finished = run.run().map_err(|error| no_good(version, &chain(&error)))?;
        if !finished.success() {
            let stderr = String::from_utf8_lossy(&finished.stderr);
            let said = stderr.lines().find_map(|line| line.strip_prefix("error: "));
            let why = said.map_or_else(|| finished.complaint(), str::to_owned);
            return Err(no_good(version, &one_line(&why, 300)));
        }
        match serde_json::from_slice::<Tried>(&finished.stdout) {
            Ok(tried) if tried.version == version => Ok(()),
            _ => Err(no_good(version, "it does not say that it is this version")),
        }
    }

    fn switch(&self, command: &str, order: &UpdateOrder) -> Result<(), Stopped> {
        let record = Record {
            command: command.to_owned(),
            from: self.running(),
            to: order.version.clone(),
            before: self.versions.previous(),
            since: clock::unix_seconds(),
            boot: facts::boot_id(&Machine::here()),
            starts: 0,
            phase: Phase::Probation,
        };
        let file = record_file(&self.home);
        record.store(&file).map_err(|error| Stopped::new(format!("switching: {}", chain(&error))))?;
        guard::post(&self.home, &self.versions);
        self.versions.point(&record.to, Some(&record.from)).map_err(|error| {
            let stopped = Stopped::new(format!("switching: {}", chain(&error))).help(error.help());
            match point_back(&self.versions, &record).map_err(|error| chain(&error)) {
                Ok(()) => match files::remove(&file) {
                    Ok(()) => stopped,
                    Err(error) => Stopped { why: format!("{}, and then {}", stopped.why, chain(&error)), ..stopped },
                },
                Err(left) => Stopped { why: format!("{}, and then {left}", stopped.why), ..stopped },
            }
        })
    }

    fn restart(&self) -> Result<(), Stopped> {
        let to = self.versions.current().unwrap_or_default();
        Err(Stopped::new(format!("starting {to}: {}", self.become_version(self.versions.executable(&to)))))
    }

    fn switch_back(&self) -> Result<(), Stopped> {
        let file = record_file(&self.home);
        let Some(record) = Record::load(&file) else { return Ok(()) };
        point_back(&self.versions, &record).map_err(|error| Stopped::new(chain(&error)))?;
        files::remove(&file).map_err(|error| Stopped::new(chain(&error)))
    }
}

fn no_good(version: &str, why: &str) -> Stopped {
    Stopped::new(format!("{version} was tried here and is no good: {why}"))
        .help(format!("on the hub: is {version} built for such a machine? `remotectl hub artifact remove {version}` keeps it from others"))
}
