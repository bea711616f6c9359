//! An agent's own update on the machine that it runs on: what `host::update` asks for, done to files and to this process.
//! Serves both kinds of agent, around whatever else they do.

use crate::{
    host::{
        Task, facts,
        install::{Role, versions::Versions},
        update::{Phase, Place, Record, Start, Stopped, TRIAL, prepare, replace, unanswered},
    },
    link::{
        ARTIFACT_LIMIT, PROTOCOL,
        envelope::{Artifact, Command, UpdateOrder, Work},
        journal::Journal,
        runtime::{Link, LinkError, Recovered},
        wire::{AgentRole, PollRequest},
    },
    model::{Failure, Outcome, outcome::chain, version::version},
    roles::membership::Home,
    sys::{cancel::Cancel, clock, env, files, process, process::Run, text::one_line},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How often a fetch that was cut is begun again.
const FETCHES: u32 = 3;
/// How long a trial asks the hub, so that it can say why it failed before it is ended.
const ASKING: Duration = Duration::from_secs(50);
/// Between two questions of a trial.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The updates of the agent that this process is.
pub struct Updates {
    place: Here,
    /// The update that was under way when this process began, or the last one.
    record: Mutex<Option<Record>>,
    /// The command that has prepared a version, or is about to.
    under_way: Mutex<Option<String>>,
    answered: Cancel,
}

/// This machine.
struct Here {
    home: Home,
    link: Link,
    versions: Versions,
}

/// What a trial prints when it has succeeded.
#[derive(Debug, Serialize, Deserialize)]
struct Tried {
    version: String,
}

impl Updates {
    /// Begins: a version on probation is watched from here on, and goes back where it was so for too long or too often.
    pub fn begin(home: &Home) -> Result<Arc<Self>, Failure> {
        let (link, _) = home.link()?;
        let place = Here { home: home.clone(), link, versions: Versions::new(&env::root(), role(home.role)) };
        let record = Record::load(&place.record_file());
        let updates =
            Arc::new(Self { place, record: Mutex::new(record), under_way: Mutex::default(), answered: Cancel::new() });
        let start = updates.note_start();
        match start {
            Start::Settled => {}
            Start::GoBack(why) => updates.go_back(why),
            Start::Probation(left) => {
                tracing::info!(seconds = left.as_secs(), "{} is on probation until the hub answers", version());
                let watching = Arc::clone(&updates);
                thread::spawn(move || {
                    if !watching.answered.wait(left) {
                        watching.go_back(unanswered());
                    }
                });
            }
        }
        Ok(updates)
    }

    /// Carries an update out as far as this process can: up to the switch.
    pub fn perform(&self, command: &Command, order: &UpdateOrder, task: &Task) -> Outcome {
        if let Some(other) = self.under_way().as_ref() {
            return Outcome::rejected(format!("another update is under way (command {other})"));
        }
        *self.under_way() = Some(command.id.clone());
        match prepare(order, &self.place, task) {
            Ok(()) => Outcome::success("ready"),
            Err(outcome) => {
                *self.under_way() = None;
                outcome
            }
        }
    }

    /// Switches to what `perform` has prepared.
    pub fn replace(&self, command: &Command) -> Option<Outcome> {
        let Work::Update { order } = &command.work else { return None };
        let prepared = self.under_way().take().is_some_and(|under_way| under_way == command.id);
        prepared.then(|| replace(&command.id, order, &self.place))
    }

    /// How an update ended that a former process had begun.
    pub fn recover(&self, command: &Command) -> Recovered {
        let Work::Update { order } = &command.work else { return Recovered::Unknown };
        match self.record().as_ref().filter(|record| record.command == command.id) {
            Some(record) => record.tell(version()),
            None => Recovered::Ended(Outcome::failure(format!(
                "the agent was stopped before the switch to {}; still at {}",
                order.version,
                version()
            ))),
        }
    }

    /// The hub has answered: a version on probation stays.
    pub fn connected(&self) {
        self.answered.fire();
        let mut record = self.record();
        let Some(record) = record.as_mut().filter(|record| on_probation(record)) else { return };
        record.phase = Phase::Confirmed;
        let kept = record.store(&self.place.record_file()).map_err(|error| chain(&error));
        let versions = &self.place.versions;
        let tidy = versions.point_command(&record.from, &record.to).and_then(|()| versions.prune());
        for error in [kept.err(), tidy.err().map(|error| chain(&error))].into_iter().flatten() {
            tracing::warn!(error, "the update to {} stays, and left something undone", record.to);
        }
    }

    /// The version that is kept for going back to; empty where there is none.
    pub fn previous(&self) -> String {
        self.place.versions.previous().unwrap_or_default()
    }

    fn note_start(&self) -> Start {
        let mut record = self.record();
        let Some(record) = record.as_mut() else { return Start::Settled };
        let start = record.started(version(), clock::unix_seconds(), &facts::boot_id());
        if start != Start::Settled
            && let Err(error) = record.store(&self.place.record_file())
        {
            tracing::warn!(error = chain(&error), "a start on probation was not counted");
        }
        start
    }

    /// Gives the place back to the version before. Returns only where that can't be started: then this one goes on, which
    /// is better than none.
    fn go_back(&self, why: String) {
        let from = {
            let mut record = self.record();
            let Some(record) = record.as_mut().filter(|record| record.phase != Phase::Confirmed) else { return };
            tracing::error!(why, "{} goes back to {}", record.to, record.from);
            record.phase = Phase::Back { why };
            let pointed = record
                .store(&self.place.record_file())
                .map_err(|error| chain(&error))
                .and_then(|()| self.place.point_back(record).map_err(|error| chain(&error)));
            if let Err(error) = pointed {
                tracing::error!(error, "the way back is not kept");
            }
            record.from.clone()
        };
        let executable = self.place.versions.executable(&from);
        let error = self.place.become_version(executable);
        tracing::error!(%error, "{from} does not start");
    }

    fn record(&self) -> MutexGuard<'_, Option<Record>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, Option<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn on_probation(record: &Record) -> bool {
    record.phase == Phase::Probation && record.to == version()
}

impl Here {
    fn record_file(&self) -> PathBuf {
        self.home.state.join("update.json")
    }

    fn point_back(&self, record: &Record) -> Result<(), crate::host::install::InstallError> {
        self.versions.point(&record.from, record.before.as_deref())
    }

    /// Replaces this process by an executable in its role; returns only when that fails.
    fn become_version(&self, executable: PathBuf) -> io::Error {
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
            let cut = matches!(error, crate::host::install::InstallError::Cut(_));
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
                Err(fetch) if fetch.again && tries < FETCHES && task.pass(ASK_AGAIN) => tries += 1,
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
            boot: facts::boot_id(),
            starts: 0,
            phase: Phase::Probation,
        };
        let file = self.record_file();
        record.store(&file).map_err(|error| Stopped::new(format!("switching: {}", chain(&error))))?;
        self.versions.point(&record.to, Some(&record.from)).map_err(|error| {
            let stopped = Stopped::new(format!("switching: {}", chain(&error))).help(error.help());
            match self.point_back(&record).map_err(|error| chain(&error)) {
                Ok(()) => stopped,
                Err(left) => Stopped { why: format!("{}, and then {left}", stopped.why), ..stopped },
            }
        })
    }

    fn restart(&self) -> Result<(), Stopped> {
        let to = self.versions.current().unwrap_or_default();
        Err(Stopped::new(format!("starting {to}: {}", self.become_version(self.versions.executable(&to)))))
    }

    fn switch_back(&self) -> Result<(), Stopped> {
        let file = self.record_file();
        let Some(record) = Record::load(&file) else { return Ok(()) };
        self.point_back(&record).map_err(|error| Stopped::new(chain(&error)))?;
        files::remove(&file).map_err(|error| Stopped::new(chain(&error)))
    }
}

fn no_good(version: &str, why: &str) -> Stopped {
    Stopped::new(format!("{version} was tried here and is no good: {why}"))
        .help(format!("on the hub: `remotectl hub artifact list`; is {version} built for such a machine?"))
}

fn role(role: AgentRole) -> Role {
    match role {
        AgentRole::Agent => Role::Agent,
        AgentRole::PveAgent => Role::PveAgent,
    }
}

/// `agent trial`: whether this executable could take the place of the agent that runs here.
pub fn trial(config: Option<PathBuf>) -> Result<(), Failure> {
    trial_of(&Home::find(AgentRole::Agent, config))
}

/// Tries everything that an agent needs to be heard, and changes nothing: configuration, key, journal, the machine's facts,
/// an answer of the hub.
pub fn trial_of(home: &Home) -> Result<(), Failure> {
    let (link, _) = home.link()?;
    let journal = home.state.join("journal");
    let high_water = Journal::peek(&journal).map_err(|error| Failure::of("reading the agent's journal", &error))?;
    facts::facts();
    let request = PollRequest {
        protocol: PROTOCOL,
        version: version().to_owned(),
        high_water,
        running: Vec::new(),
        capabilities: Vec::new(),
        trial: true,
    };
    ask(&link, &request)?;
    let tried = serde_json::to_string(&Tried { version: version().to_owned() });
    println!("{}", tried.map_err(|error| Failure::of("printing", &error))?);
    Ok(())
}

fn ask(link: &Link, request: &PollRequest) -> Result<(), Failure> {
    let (begun, pause) = (Instant::now(), Cancel::new());
    loop {
        match link.poll(request) {
            Ok(_) => return Ok(()),
            Err(LinkError::Http(error)) if begun.elapsed() < ASKING => {
                tracing::debug!(error = chain(&error), "the hub does not answer");
                pause.wait(ASK_AGAIN);
            }
            Err(error) => return Err(Failure::of("asking the hub", &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::update::PROBATION;

    #[test]
    fn a_bad_version_is_gone_from_in_time() {
        assert!(TRIAL + PROBATION < Duration::from_mins(3) && ASKING < TRIAL);
    }
}
