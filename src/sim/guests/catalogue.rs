//! What simulated guests are made of, read from the data folder: distributions, and what is known of services.

use serde::Deserialize;
use std::{collections::BTreeMap, sync::LazyLock};

static DATA: LazyLock<Data> = LazyLock::new(|| {
    let distributions: Distributions =
        toml::from_str(include_str!("data/distributions.toml")).expect("a test reads this very file");
    let services = SERVICES.iter().flat_map(|text| {
        let file: Services = toml::from_str(text).expect("a test reads these very files");
        file.service
    });
    Data { distributions: distributions.distribution, services: services.collect() }
});

const SERVICES: [&str; 4] = [
    include_str!("data/services/base.toml"),
    include_str!("data/services/web.toml"),
    include_str!("data/services/data.toml"),
    include_str!("data/services/apps.toml"),
];

struct Data {
    distributions: Vec<Distribution>,
    services: Vec<Kind>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Distributions {
    distribution: Vec<Distribution>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Services {
    service: Vec<Kind>,
}

/// A distribution.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// os-release IDs that it stands for; its own first.
    pub ids: Vec<String>,
    /// `systemd` or `openrc`.
    pub init: String,
    /// `apt`, `apk`, `dnf`, `pacman`, `zypper`.
    pub manager: String,
    /// The package manager's program.
    pub program: String,
    /// A virtual machine's kernel.
    pub kernel: String,
    /// The version of a guest whose version nobody knows.
    pub newest: String,
    /// Where syslog writes, where there is one.
    pub syslog: Option<String>,
    /// Releases' names by version.
    #[serde(default)]
    pub codenames: BTreeMap<String, String>,
    /// /etc/os-release.
    pub os_release: String,
    /// What runs in it besides what the inventory names.
    pub services: Vec<String>,
    /// Name, installed version, newer version, archive.
    pub packages: Vec<[String; 4]>,
}

/// What is known of a service.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// Its names; a `*` stands for anything.
    pub names: Vec<String>,
    /// For people.
    pub description: String,
    /// Its main process's command line.
    #[serde(default)]
    pub command: String,
    /// The process's short name; the program's unless told.
    #[serde(default)]
    pub comm: Option<String>,
    /// Whom it runs as; root unless told.
    #[serde(default)]
    pub user: Option<String>,
    /// systemd's type; `simple` unless told.
    #[serde(default, rename = "type")]
    pub form: Option<String>,
    /// Whether it can re-read its configuration.
    #[serde(default)]
    pub reload: bool,
    /// `static` for what can't be enabled.
    #[serde(default)]
    pub startup: Option<String>,
    /// Of the main process, in MiB.
    #[serde(default)]
    pub memory: u64,
    /// Per cent of a core that all of its processes take together.
    #[serde(default)]
    pub cpu: f64,
    /// How long it takes to start, in milliseconds.
    #[serde(default)]
    pub start_ms: Option<u64>,
    /// Its other processes.
    #[serde(default)]
    pub workers: Option<Workers>,
    /// `0.0.0.0:80/tcp`, `[::]:53/udp`.
    #[serde(default)]
    pub ports: Vec<String>,
    /// What it logs when it starts.
    #[serde(default)]
    pub said: Vec<String>,
    /// Large files that it keeps, as a share of what is used of the disk.
    #[serde(default)]
    pub data: Vec<Large>,
    /// What it logs while it runs.
    #[serde(default)]
    pub log: Vec<Log>,
    /// Its configuration.
    #[serde(default)]
    pub file: Vec<Template>,
}

/// Processes below a main process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// How many.
    pub count: usize,
    /// How many where there is more to do than they can.
    pub busy: Option<usize>,
    /// Their command line.
    pub command: String,
    /// Whom they run as.
    pub user: String,
    /// Of each, in MiB.
    pub memory: u64,
}

/// A large file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Large {
    /// Where.
    pub path: String,
    /// Its part of what is used of the disk.
    pub share: f64,
}

/// Lines that a service logs again and again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Into this file; into the journal (or syslog) unless told.
    pub file: Option<String>,
    /// A line in so many seconds, on average.
    pub every: u64,
    /// The journal's priority; 6, `info`, unless told.
    #[serde(default)]
    pub priority: Option<u8>,
    /// Only where this problem is planted.
    pub problem: Option<String>,
    /// One of these at a time.
    pub lines: Vec<String>,
}

/// A file of a guest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Where.
    pub path: String,
    /// On these distributions only.
    #[serde(default)]
    pub on: Vec<String>,
    /// A link that leads to it.
    pub link: Option<String>,
    /// Only where this problem is planted.
    pub problem: Option<String>,
    /// Its text.
    pub text: String,
}

/// The distribution of an os-release ID. An unknown one is taken for a Debian; `None` where it is no Linux that an agent
/// could run in: Windows, BSDs, appliances.
pub fn distribution(id: &str, family: &str) -> Option<&'static Distribution> {
    let by = |wanted: &str| DATA.distributions.iter().find(|one| one.ids.iter().any(|known| known == wanted));
    let by_family = || match family {
        "windows" | "bsd" | "haos" => None,
        "rhel" => by("rocky"),
        "suse" => by("opensuse"),
        family => by(family).or_else(|| by("debian")),
    };
    by(id).or_else(by_family)
}

/// What is known of a service of that name; of others it is made up from the name.
pub fn kind(name: &str) -> Kind {
    let known = DATA.services.iter().find(|kind| kind.names.iter().any(|pattern| fits(pattern, name)));
    known.cloned().unwrap_or_else(|| Kind {
        names: vec![name.to_owned()],
        description: format!("{name} service"),
        command: format!("/usr/bin/{}", name.split('@').next().unwrap_or(name)),
        memory: 36,
        cpu: 0.6,
        log: vec![Log {
            file: None,
            every: 1_300,
            priority: None,
            problem: None,
            lines: vec!["@NAME@: @N@ requests handled in the last interval".to_owned(), "housekeeping done".to_owned()],
        }],
        ..Kind::default()
    })
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_reads() {
        assert!(DATA.distributions.len() >= 7 && DATA.services.len() >= 40);
        for kind in &DATA.services {
            let shares: f64 = kind.data.iter().map(|large| large.share).sum();
            assert!(shares < 1.0 && kind.cpu < 100.0, "{:?}", kind.names);
            assert!(kind.log.iter().all(|log| log.every > 0 && !log.lines.is_empty()), "{:?}", kind.names);
            let guests =
                kind.file.iter().map(|file| &file.path).chain(kind.log.iter().filter_map(|log| log.file.as_ref()));
            assert!(guests.into_iter().all(|path| path.starts_with('/') && !path.contains("..")), "{:?}", kind.names);
        }
    }

    #[test]
    fn services_are_found_by_pattern_and_made_up_otherwise() {
        assert!(kind("php8.3-fpm").description.contains("PHP"));
        assert_eq!(kind("wg-quick@wg0").form.as_deref(), Some("oneshot"));
        assert_eq!(kind("matterbridge").command, "/usr/bin/matterbridge");
    }

    #[test]
    fn every_linux_is_something() {
        assert_eq!(distribution("alpine", "alpine").unwrap().init, "openrc");
        assert_eq!(distribution("", "").unwrap().manager, "apt");
        assert_eq!(distribution("nobara", "rhel").unwrap().manager, "dnf");
        assert!(distribution("windows", "windows").is_none() && distribution("freebsd", "bsd").is_none());
        assert!(distribution("haos", "haos").is_none());
    }
}
