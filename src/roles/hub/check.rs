//! `hub check`: everything that a hub's data has to be, looked at without a hub that runs, or beside it.

use super::{
    HubOptions, Settings,
    data::{ANNOUNCEMENT, DATABASE, Data, IDENTITY, authority_name},
};
use crate::{
    engine::seal::Row,
    link::{announcement::Announcement, join::server_name},
    model::{Failure, outcome::chain},
    store::{self, StoreError},
    sys::{clock, files},
};
use std::path::Path;

/// The mode of what is for its owner alone.
const PRIVATE: u32 = 0o600;
/// So far ahead of now may the newest entry be, in seconds.
const DRIFT: i64 = 60;

type Check = (&'static str, fn(&Data) -> Result<String, String>);

/// Each looks at one thing, and says what it has found or what is wrong with it.
const CHECKS: [Check; 6] = [
    ("database", database),
    ("seals", seals),
    ("files", |data| modes(&data.directory)),
    ("authority", authority),
    ("epoch", epoch),
    ("clock", clock),
];

/// `hub check`: database, seals, keys, certificate, epoch and clock. Fails where one of them is not as it should be.
pub fn check(options: &HubOptions) -> Result<(), Failure> {
    let settings = Settings::load(options)?;
    if !Data::exists(&settings.data) {
        let failure = Failure::new(format!("there is no hub in {} that this user could read", settings.data.display()));
        return Err(failure.help("`remotectl hub init` makes one; --data DIRECTORY names another place"));
    }
    // Before it is opened, which may mend a mode.
    let modes = modes(&settings.data);
    let data = Data::open(&settings.data)?;
    println!("hub {} in {}", data.hub, settings.data.display());
    println!("fingerprint   {}", data.fingerprint()?);
    let mut wrong = 0;
    for (name, look) in CHECKS {
        let found = if name == "files" { modes.clone() } else { look(&data) };
        wrong += usize::from(found.is_err());
        match found {
            Ok(found) => println!("{name:<13} {found}"),
            Err(why) => println!("{name:<13} WRONG: {why}"),
        }
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(Failure::new(format!("{wrong} of {} things are not as they should be", CHECKS.len()))
            .help("put the last backup back: remotectl hub restore FILE")),
    }
}

fn database(data: &Data) -> Result<String, String> {
    let size = store::inspect(&data.directory.join(DATABASE)).map_err(|error| chain(&error))?;
    let strays = data.store.strays().map_err(|error| chain(&error))?.len();
    let more = if strays > 0 {
        format!("; {strays} results of commands of after the backup were told")
    } else {
        String::new()
    };
    Ok(format!("whole, {} KiB{more}", size >> 10))
}

/// Whether every row that says who may do what was written by this hub.
fn seals(data: &Data) -> Result<String, String> {
    let told = |error: StoreError| chain(&error);
    let hub = data.key.public();
    let (agents, operators) = (data.store.agents().map_err(told)?, data.store.operators().map_err(told)?);
    let tokens = data.store.join_tokens().map_err(told)?;
    let plans = data.store.unfinished_plans().map_err(told)?;
    let mut forged = Vec::new();
    let mut look = |sealed: bool, what: String| {
        if !sealed {
            forged.push(what);
        }
    };
    for agent in &agents {
        look(Row::Agent(agent).sealed_by(&hub, &agent.seal), format!("agent {}", agent.target));
    }
    for operator in &operators {
        let (name, role, token, expires) = (&*operator.name, &*operator.role, &operator.token, operator.expires);
        look(Row::Operator { name, role, token, expires }.sealed_by(&hub, &operator.seal), format!("operator {name}"));
    }
    for token in &tokens {
        let target = token.target.as_ref().map(ToString::to_string).unwrap_or_default();
        let row = Row::JoinToken { hash: &token.hash, role: &token.role, target: &target, expires: token.expires };
        look(row.sealed_by(&hub, &token.seal), format!("join string for {}", token.role));
    }
    for stored in &plans {
        let by = stored.approval.as_ref().map_or(&*stored.operator, |(by, ..)| by);
        let row = Row::Begun { plan: &stored.plan.body.id, digest: &stored.plan.digest, by };
        let seal = stored.begun_seal.as_deref().unwrap_or_default();
        look(row.sealed_by(&hub, seal), format!("plan {}", stored.plan.body.id));
    }
    if forged.is_empty() {
        let [agents, operators, tokens] = [agents.len(), operators.len(), tokens.len()];
        return Ok(format!(
            "{agents} agents, {operators} operators, {tokens} join strings, {} running plans",
            plans.len()
        ));
    }
    Err(format!("not written by this hub: {}", forged.join(", ")))
}

/// What others may read, and should not.
fn modes(directory: &Path) -> Result<String, String> {
    let private = IDENTITY.iter().filter(|(_, mode)| *mode == PRIVATE).map(|(name, _)| *name);
    let mut open = Vec::new();
    for name in private.chain([DATABASE]) {
        let path = directory.join(name);
        let mode = files::mode(&path).map_err(|error| chain(&error))?;
        if mode != PRIVATE {
            open.push(format!("chmod 600 {}", path.display()));
        }
    }
    if open.is_empty() {
        return Ok("keys and database are for their owner alone".to_owned());
    }
    Err(format!("others may read them: {}", open.join("; ")))
}

/// Whether the authority's key is that of its certificate, and what it signs is believed by whoever pins it.
fn authority(data: &Data) -> Result<String, String> {
    let name = server_name(&data.hub);
    let sound = data.authority.prove(&authority_name(&data.hub), &name, clock::unix_seconds());
    sound.map_err(|error| chain(&error)).map(|()| format!("signs for {name}, and is believed"))
}

fn epoch(data: &Data) -> Result<String, String> {
    let Some(signed) = &data.announcement else {
        return if data.epoch == 1 {
            Ok("1: never restored".to_owned())
        } else {
            Err(format!("it is {}, and there is no {ANNOUNCEMENT}: no agent of before obeys", data.epoch))
        };
    };
    let recovery = data.recovery.ok_or("there is no recovery.pub")?;
    let announced = Announcement::open(signed, &recovery, &data.hub).map_err(|error| chain(&error))?;
    let fingerprint = data.fingerprint().map_err(|failure| failure.to_string())?;
    if (announced.epoch, announced.key, &announced.fingerprint) == (data.epoch, data.key.public(), &fingerprint) {
        return Ok(format!("{}, announced by the recovery key", data.epoch));
    }
    Err(format!(
        "{ANNOUNCEMENT} is of epoch {}, the database of {}, or keys were exchanged",
        announced.epoch, data.epoch
    ))
}

fn clock(data: &Data) -> Result<String, String> {
    let (now, newest) = (clock::unix_seconds(), data.store.newest_entry().map_err(|error| chain(&error))?);
    if newest <= now + DRIFT {
        return Ok(clock::rfc3339(now));
    }
    Err(format!("it is {}, {} s before the newest entry of the audit trail", clock::rfc3339(now), newest - now))
}
