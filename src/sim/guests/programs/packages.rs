//! Package managers: what may be updated, and updating it, in each one's own output.

use super::{Output, Programs};
use crate::{host::commands::CommandError, sim::guests::state::Update};
use std::time::Duration;

/// How long an update of everything takes, for each package.
const EACH: Duration = Duration::from_millis(900);
/// Lists of packages from the archives.
const REFRESH: Duration = Duration::from_millis(1_200);

/// What a call asks for.
enum Wish {
    /// Which packages have a newer version.
    List,
    /// Newer lists of packages.
    Refresh,
    /// What an update would do.
    Simulate,
    /// All updates, or those of these packages.
    Update(Vec<String>),
}

/// `None` where the program is no package manager of this guest.
pub(super) fn run(programs: &Programs, program: &str, args: &[&str]) -> Result<Option<Output>, CommandError> {
    let manager = programs.guest.profile.distribution.manager.as_str();
    let own = match manager {
        "apt" => matches!(program, "apt" | "apt-get"),
        "dnf" => matches!(program, "dnf" | "yum"),
        "pacman" => matches!(program, "pacman" | "checkupdates"),
        other => program == other,
    };
    if !own {
        return Ok(None);
    }
    let Some(wish) = wish(manager, program, args) else {
        let words = args.join(" ");
        return Ok(Some(Output::bad(127, format!("this guest is simulated: {program} {words} is not there"))));
    };
    let mut command = vec![program];
    command.extend(args);
    let updates = programs.guest.state().updates.clone();
    let output = match wish {
        Wish::List => list(manager, &updates),
        Wish::Refresh => {
            programs.pass(REFRESH, &command)?;
            Output::good("Hit:1 archive InRelease\nReading package lists... Done\n")
        }
        Wish::Simulate => Output::good(updates.iter().map(simulated).collect::<String>()),
        Wish::Update(only) => {
            let chosen: Vec<Update> =
                updates.into_iter().filter(|update| only.is_empty() || only.contains(&update.name)).collect();
            programs.pass(EACH.saturating_mul(u32::try_from(chosen.len()).unwrap_or(1)), &command)?;
            programs.guest.state().updates.retain(|update| !chosen.contains(update));
            Output::good(updated(manager, &chosen))
        }
    };
    Ok(Some(output))
}

fn wish(manager: &str, program: &str, args: &[&str]) -> Option<Wish> {
    let words: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with('-')).collect();
    let has = |any: &[&str]| args.iter().any(|arg| any.contains(arg));
    let names = |from: usize| words.iter().skip(from).map(|name| (*name).to_owned()).collect();
    Some(match (manager, words.first().copied().unwrap_or_default()) {
        ("apt", "list") if has(&["--upgradable", "--upgradeable"]) => Wish::List,
        ("apt" | "apk", "update") | ("dnf", "makecache") | ("zypper", "refresh" | "ref") => Wish::Refresh,
        ("apt", "upgrade" | "dist-upgrade" | "full-upgrade")
            if has(&["-s", "--simulate", "--dry-run", "--just-print"]) =>
        {
            Wish::Simulate
        }
        ("apt", "upgrade" | "dist-upgrade" | "full-upgrade") => Wish::Update(Vec::new()),
        ("apt", "install")
        | ("apk", "upgrade")
        | ("dnf", "upgrade" | "update")
        | ("zypper", "update" | "up" | "patch") => Wish::Update(names(1)),
        ("apk", "list") if has(&["-u", "--upgradable", "--upgradeable"]) => Wish::List,
        ("apk", "version") | ("dnf", "check-update" | "check-upgrade") | ("zypper", "list-updates" | "lu") => {
            Wish::List
        }
        ("pacman", _) if program == "checkupdates" || has(&["-Qu"]) => Wish::List,
        ("pacman", _) if has(&["-Sy", "-Syy"]) => Wish::Refresh,
        ("pacman", _) if has(&["-Syu", "-Su"]) => Wish::Update(Vec::new()),
        _ => return None,
    })
}

fn list(manager: &str, updates: &[Update]) -> Output {
    let lines = |line: &dyn Fn(&Update) -> String| updates.iter().map(|update| line(update) + "\n").collect::<String>();
    match manager {
        "apt" => Output::good(format!(
            "Listing...\n{}",
            lines(&|one| format!(
                "{}/{} {} amd64 [upgradable from: {}]",
                one.name, one.archive, one.newer, one.installed
            ))
        )),
        "apk" => Output::good(format!(
            "Installed:                                Available:\n{}",
            lines(&|one| format!("{:<41} < {}", format!("{}-{}", one.name, one.installed), one.newer))
        )),
        // It ends with 100 where there is something to update.
        "dnf" => Output::good(lines(&|one| {
            format!("{:<40} {:<36} {}", format!("{}.x86_64", one.name), one.newer, one.archive)
        }))
        .with_code(if updates.is_empty() { 0 } else { 100 }),
        "pacman" => Output::good(lines(&|one| format!("{} {} -> {}", one.name, one.installed, one.newer)))
            .with_code(i32::from(updates.is_empty())),
        _ => Output::good(format!(
            "S | Repository | Name | Current Version | Available Version | Arch\n--+------------+------+-----------------+-------------------+-------\n{}",
            lines(&|one| format!("v | {} | {} | {} | {} | x86_64", one.archive, one.name, one.installed, one.newer))
        )),
    }
}

/// apt's line of what it would do.
fn simulated(update: &Update) -> String {
    let Update { name, installed, newer, archive } = update;
    format!("Inst {name} [{installed}] ({newer} {archive} [amd64])\nConf {name} ({newer} {archive} [amd64])\n")
}

fn updated(manager: &str, updates: &[Update]) -> String {
    let count = updates.len();
    let lines = |line: &dyn Fn(&Update) -> String| updates.iter().map(|update| line(update) + "\n").collect::<String>();
    match manager {
        "apt" => format!(
            "Reading package lists...\nBuilding dependency tree...\n{count} upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n{}",
            lines(&|one| format!("Setting up {} ({}) ...", one.name, one.newer))
        ),
        "apk" => format!(
            "{}OK: 148 MiB in 96 packages\n",
            lines(&|one| format!("Upgrading {} ({} -> {})", one.name, one.installed, one.newer))
        ),
        "pacman" => lines(&|one| format!("upgrading {}...", one.name)),
        _ => format!("{}Complete!\n", lines(&|one| format!("  Upgrading : {}-{}.x86_64", one.name, one.newer))),
    }
}
