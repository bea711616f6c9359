//! The guard: the old version in a process of its own, outside of the service, while the new one is on probation. A new
//! version takes itself back when the hub does not answer it; the guard takes back one that does not even start, or hangs.

use super::{point_back, record_file, role, versions};
use crate::{
    host::{
        init::Init,
        install::{self, versions::Versions},
        update::{GUARD, Phase, Record, unanswered},
    },
    link::wire::AgentRole,
    model::{Failure, outcome::chain, version::version},
    roles::{logging, membership::Home},
    sys::{
        cancel::Cancel,
        process::{self, Run},
        random,
    },
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// How often the record is looked at: another process writes it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the init system may take to start the guard.
const START: Duration = Duration::from_secs(10);

/// Starts the guard. That there is none is no reason not to update: the new version also watches itself.
pub(super) fn post(home: &Home, versions: &Versions) {
    let executable = versions.executable(version());
    let kind = home.role.as_str();
    let started = if Init::here() == Init::Systemd {
        // A process of the service's own control group would end with it.
        // Its name is its own: the guard of an update before this one may be about to end.
        let unit = format!("--unit=remotectl-{kind}-guard-{}", random::name(8).to_ascii_lowercase());
        let args = ["--quiet", "--collect", unit.as_str(), "--"].map(Into::into).into_iter();
        let command = [executable.into_os_string(), kind.into(), "guard".into()];
        Run::new("systemd-run", args.chain(command)).timeout(START).run()
    } else {
        Run::new(executable, [kind, "guard", "--detach"]).timeout(START).run()
    };
    match started {
        Ok(finished) if finished.success() => {}
        Ok(finished) => tracing::warn!(why = finished.complaint(), "the update goes on without a guard"),
        Err(error) => tracing::warn!(why = chain(&error), "the update goes on without a guard"),
    }
}

/// `agent guard` and `pve-agent guard`: waits until the new version is confirmed or has gone back; puts the old one in its
/// place where neither happens in time.
pub fn guard(kind: AgentRole, detach: bool) -> Result<(), Failure> {
    if detach {
        // By its own name: what is called `exe` is none of the names that the program answers to.
        let started = fs::canonicalize(process::OWN_EXECUTABLE)
            .and_then(|executable| process::detach(executable, [kind.as_str(), "guard"]));
        return started.map_err(|error| Failure::of("starting the guard", &error));
    }
    logging::begin();
    let home = Home::find(kind, None);
    let (file, pause, begun) = (record_file(&home), Cancel::new(), Instant::now());
    let mut guarded = None;
    loop {
        let record = Record::load(&file).filter(|record| record.phase == Phase::Probation && record.from == version());
        // Of this update alone: another may follow at once, and has a guard of its own.
        let record = record.filter(|record| *guarded.get_or_insert_with(|| record.command.clone()) == record.command);
        match record {
            None => return Ok(()),
            Some(record) if begun.elapsed() >= GUARD => return take_back(&home, record),
            Some(_) => pause.wait(LOOK_EVERY),
        };
    }
}

fn take_back(home: &Home, record: Record) -> Result<(), Failure> {
    if versions(home.role).current().as_ref() != Some(&record.to) {
        // Somebody has installed another version, or none, meanwhile.
        return Ok(());
    }
    tracing::error!("{} did not come up: {} takes its place again", record.to, record.from);
    let record = Record { phase: Phase::Back { why: unanswered() }, ..record };
    record.store(&record_file(home)).map_err(|error| Failure::of("keeping the way back", &error))?;
    point_back(&versions(home.role), &record)?;
    install::start(role(home.role))?;
    Ok(())
}
