//! This machine: what runs here, on what, and with how much room.

use super::{Verdict, World};
use crate::{
    host::{
        self, Machine,
        commands::ThisMachine,
        init::Init,
        install::{self, Role},
        services,
    },
    link::{OFFLINE_AFTER, wire::AgentRole},
    model::outcome::chain,
    roles::{hub, membership::Home, version::this},
    store::{self, StoreError},
    sys::{clock, env},
};
use rustix::{
    fs::{Access, StatVfsMountFlags, access, statvfs},
    io::Errno,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Where a role's link is that its service starts.
const HOME: &str = "/opt/remotectl";
/// Less than this is too little to go on: 64 MiB.
const FULL: u64 = 64 << 20;
/// Less than this is told: 512 MiB.
const LOW: u64 = 512 << 20;

/// Which remotectl this is.
pub fn version(_: &World) -> Vec<Verdict> {
    let this = this();
    vec![Verdict::good(format!(
        "remotectl {}, commit {}, {}, protocol {}",
        this.version, this.commit, this.target, this.protocol
    ))]
}

/// Whether the local hub's database is whole, and how large it is.
pub fn database(_: &World) -> Vec<Verdict> {
    let path = match hub::data_directory() {
        Ok(directory) => directory.join("hub.db"),
        Err(failure) => return vec![Verdict::from(&failure)],
    };
    match path.try_exists() {
        Ok(false) => return vec![Verdict::skipped("no hub has its data on this machine")],
        Err(error) => return vec![Verdict::skipped(format!("{}: {error}", path.display()))],
        Ok(true) => {}
    }
    let verdict = match store::inspect(&path) {
        Ok(size) => Verdict::good(format!("{} is whole, {}", path.display(), amount(size))),
        Err(error @ StoreError::Damaged { .. }) => {
            Verdict::failed(chain(&error), "stop the hub and put a backup of its directory back")
        }
        Err(error @ StoreError::Newer { .. }) => {
            Verdict::failed(chain(&error), "use the remotectl that made it, or a newer one")
        }
        Err(error) => Verdict::warning(chain(&error), "`sudo remotectl doctor` may look into it"),
    };
    vec![verdict]
}

/// Whether the roles that are installed here run, and are answered by their hub.
pub fn services(_: &World) -> Vec<Verdict> {
    let installed: Vec<Role> = [Role::Hub, Role::PveAgent, Role::Agent]
        .into_iter()
        .filter(|role| Path::new(HOME).join(role.as_str()).exists())
        .collect();
    if installed.is_empty() {
        return vec![Verdict::skipped("neither hub nor agent is installed on this machine")];
    }
    installed.into_iter().map(service).collect()
}

fn service(role: Role) -> Verdict {
    let name = role.service();
    let name = name.as_str();
    match install::status(role) {
        Ok(Some(service)) if service.state.is_up() => {
            let pid = service.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
            let runs = format!("{name} runs{pid}");
            match role {
                Role::Hub => Verdict::good(runs),
                Role::Agent => heard(AgentRole::Agent, &runs),
                Role::PveAgent => heard(AgentRole::PveAgent, &runs),
            }
        }
        Ok(Some(service)) => Verdict::failed(format!("{name} is {}", service.detail), start(name)),
        Ok(None) => Verdict::failed(
            format!("{name} is installed, but its service is gone"),
            format!("`remotectl {} install` puts it back", role.as_str()),
        ),
        Err(error) => Verdict::warning(chain(&error), error.help()),
    }
}

/// When an agent's hub last answered it.
fn heard(role: AgentRole, runs: &str) -> Verdict {
    let mend = format!("`remotectl {} status` says which hub; `remotectl doctor` there", role.as_str());
    match Home::find(role, None).standing() {
        Ok(Some(standing)) => match (standing.connected_at, clock::unix_seconds() - standing.connected_at) {
            (0, _) => Verdict::failed(format!("{runs}; its hub has not answered yet"), mend),
            (_, ago) if ago <= OFFLINE_AFTER => Verdict::good(format!("{runs}; its hub answers")),
            (_, ago) => Verdict::failed(format!("{runs}; its hub last answered {ago} s ago"), mend),
        },
        Ok(None) => Verdict::warning(format!("{runs}, and has not told how it stands"), mend),
        Err(failure) => Verdict::from(&failure),
    }
}

/// The command that starts a service here.
fn start(name: &str) -> String {
    match Init::here() {
        Init::OpenRc => format!("`rc-service {name} start`"),
        _ => format!("`systemctl start {name}`, and `journalctl -u {name} -n 50` for the reason"),
    }
}

/// Whether roles can be installed as services here.
pub fn init(_: &World) -> Vec<Verdict> {
    let commands = ThisMachine::within(Duration::from_secs(1));
    vec![match services::manager(&Machine::here(), &commands) {
        Ok(_) => Verdict::good(Init::here().as_str()),
        Err(error) => Verdict {
            mend: Some("`remotectl hub serve` and `remotectl agent run` run in the foreground everywhere".to_owned()),
            ..Verdict::skipped(chain(&error))
        },
    }]
}

/// Whether there is room for state.
pub fn disk(world: &World) -> Vec<Verdict> {
    let at = existing(&world.places.state);
    let mend = || format!("`du -xh {} | sort -h | tail` shows what is large", at.display());
    vec![match statvfs(&at) {
        Ok(found) => {
            let free = found.f_bavail * found.f_frsize;
            let text = format!("{} free for {}", amount(free), world.places.state.display());
            match free {
                ..FULL => Verdict::failed(text, mend()),
                FULL..LOW => Verdict::warning(text, mend()),
                _ => Verdict::good(text),
            }
        }
        Err(error) => Verdict::warning(format!("{}: {error}", at.display()), "look with `df`"),
    }]
}

/// Whether this user may write where configuration, state and run-time files go.
pub fn directories(world: &World) -> Vec<Verdict> {
    let places = [&world.places.config, &world.places.state, &world.places.run];
    let closed: Vec<Verdict> = places.iter().filter_map(|place| closed(place)).collect();
    if closed.is_empty() {
        let shown: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        vec![Verdict::good(format!("{} can be written", shown.join(", ")))]
    } else {
        closed
    }
}

/// Why nothing can be written there; `None` where it can.
fn closed(place: &Path) -> Option<Verdict> {
    let at = existing(place);
    let read_only = statvfs(&at).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY));
    let error = if read_only { Errno::ROFS } else { access(&at, Access::WRITE_OK).err()? };
    Some(if error == Errno::ROFS {
        Verdict::warning(
            format!("{} is on a read-only filesystem", place.display()),
            format!("`findmnt -T {}` shows why; the disk may have failed", at.display()),
        )
    } else {
        let mend = if env::is_root() { "look at its owner and mode" } else { "set XDG_CONFIG_HOME and XDG_STATE_HOME" };
        Verdict::warning(format!("{} can't be written: {error}", place.display()), mend)
    })
}

/// The path, or the nearest directory above it that is there.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn amount(bytes: u64) -> String {
    host::amount(bytes)
}

#[cfg(test)]
mod tests {
    use super::{super::Standing, *};

    #[test]
    fn a_place_that_can_be_written_is_not_complained_about() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(closed(&directory.path().join("not/yet/there")), None);
        assert_eq!(existing(&directory.path().join("not/yet/there")), directory.path());
    }

    #[test]
    fn a_place_on_a_read_only_filesystem_is_said_to_be() {
        // /proc and /sys can't be written even by root; where sysfs is mounted read-only, it is said to be.
        if let Some(verdict) = closed(Path::new("/proc/remotectl")) {
            assert_eq!(verdict.standing, Standing::Warning);
        }
    }
}
