//! A simulated guest's files: small, real ones, written when somebody first looks. Links are relative and stay inside.

use super::{
    catalogue::{Distribution, Template},
    guest::Guest,
    problems::Problem,
    state::{Service, State, Up},
};
use crate::sys::{
    clock,
    files::{self, FileError},
};
use std::{collections::BTreeSet, fs, path::Path};

/// Directories that every guest has.
const DIRECTORIES: [&str; 12] = [
    "/etc",
    "/dev/shm",
    "/home/admin",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/tmp",
    "/usr/local/bin",
    "/var/lib",
    "/var/log",
    "/var/tmp",
];

/// The largest file that common filesystems hold, 8 TiB.
const LARGEST: u64 = 8 << 40;

/// Users that services run as, with their numbers.
const USERS: [(&str, u32); 36] = [
    ("root", 0),
    ("daemon", 1),
    ("mail", 8),
    ("www-data", 33),
    ("backup", 34),
    ("nobody", 65_534),
    ("systemd-network", 998),
    ("systemd-resolve", 997),
    ("messagebus", 100),
    ("syslog", 101),
    ("sshd", 102),
    ("nginx", 103),
    ("apache", 48),
    ("http", 133),
    ("postgres", 105),
    ("mysql", 106),
    ("redis", 107),
    ("mosquitto", 108),
    ("unbound", 109),
    ("pihole", 110),
    ("git", 111),
    ("grafana", 112),
    ("prometheus", 113),
    ("jellyfin", 114),
    ("caddy", 115),
    ("postfix", 116),
    ("dovecot", 117),
    ("haproxy", 118),
    ("_rspamd", 119),
    ("tomcat", 120),
    ("loki", 121),
    ("vaultwarden", 122),
    ("vmail", 5_000),
    ("media", 1_001),
    ("asterisk", 123),
    ("admin", 1_000),
];

/// The number of a user.
pub fn uid(name: &str) -> u32 {
    USERS.iter().find(|(known, _)| *known == name).map_or(999, |(_, uid)| *uid)
}

/// What a user is called on a distribution.
pub fn user<'a>(name: &'a str, distribution: &Distribution) -> &'a str {
    match (name, distribution.manager.as_str()) {
        ("www-data", "dnf") => "apache",
        ("www-data", "apk") => "nginx",
        ("www-data", "pacman") => "http",
        ("syslog", manager) if manager != "apt" => "root",
        (name, _) => name,
    }
}

/// Writes all of them.
pub fn write(guest: &Guest, state: &State) -> Result<(), FileError> {
    for directory in DIRECTORIES {
        files::create_directory(&guest.file(directory), 0o755)?;
    }
    system(guest)?;
    for service in state.services.values() {
        service_files(guest, service)?;
    }
    large_files(guest, state)?;
    if !guest.systemd() {
        run_files(guest, state)?;
    }
    certificate(guest)
}

/// The files of a service that was added, or their end.
pub fn service(guest: &Guest, name: &str, there: bool) -> Result<(), FileError> {
    if there {
        return service_files(guest, &Service::new(name, false));
    }
    enabled(guest, name, false)?;
    files::remove(&guest.file(&definition(guest, name)))
}

/// The link that makes a service start at boot.
pub fn enabled(guest: &Guest, name: &str, enabled: bool) -> Result<(), FileError> {
    let (at, to) = if guest.systemd() {
        let link = format!("/etc/systemd/system/multi-user.target.wants/{name}.service");
        (link, format!("../../../..{}", definition(guest, name)))
    } else {
        (format!("/etc/runlevels/default/{name}"), format!("../../init.d/{name}"))
    };
    let at = guest.file(&at);
    files::remove(&at)?;
    if enabled { link(Path::new(&to), &at) } else { Ok(()) }
}

/// What OpenRC keeps below /run of what it has started.
pub fn run_files(guest: &Guest, state: &State) -> Result<(), FileError> {
    let run = guest.file("/run/openrc");
    for directory in ["started", "failed", "daemons", "options"] {
        files::create_directory(&run.join(directory), 0o755)?;
    }
    put(guest, "/run/openrc/softlevel", "default\n")?;
    for service in state.services.values() {
        let name = &service.name;
        for (directory, up) in
            [("started", matches!(service.up, Up::Running | Up::Exited)), ("failed", service.up == Up::Failed)]
        {
            let mark = run.join(directory).join(name);
            files::remove(&mark)?;
            if up {
                link(&Path::new("../../../etc/init.d").join(name), &mark)?;
            }
        }
        let pid_file = format!("/run/{name}.pid");
        match service.pid() {
            Some(pid) => {
                put(guest, &pid_file, &format!("{pid}\n"))?;
                let daemon = format!("exec={}\npidfile={pid_file}\n", service.kind.command);
                put(guest, &format!("/run/openrc/daemons/{name}/001"), &daemon)?;
            }
            None => files::remove(&guest.file(&pid_file))?,
        }
    }
    Ok(())
}

/// Where a service's own file is.
fn definition(guest: &Guest, name: &str) -> String {
    match (guest.systemd(), guest.profile.distribution.manager.as_str()) {
        (false, _) => format!("/etc/init.d/{name}"),
        (true, _) if name.starts_with("remotectl-") => format!("/etc/systemd/system/{name}.service"),
        (true, _) => format!("/usr/lib/systemd/system/{name}.service"),
    }
}

fn service_files(guest: &Guest, service: &Service) -> Result<(), FileError> {
    let (name, description) = (&service.name, service.description());
    let command = guest.fill(&service.kind.command, name, 0, 0, 0);
    if guest.systemd() {
        let kind = service.kind.form.as_deref().unwrap_or("simple");
        let unit = format!(
            "[Unit]\nDescription={description}\nAfter=network.target\n\n[Service]\nType={kind}\nExecStart={command}\n\
             Restart=on-failure\n\n[Install]\nWantedBy=multi-user.target\n"
        );
        put(guest, &definition(guest, name), &unit)?;
    } else {
        let script = format!(
            "#!/sbin/openrc-run\n\ndescription=\"{description}\"\ncommand=\"{command}\"\npidfile=\"/run/{name}.pid\"\n"
        );
        put(guest, &definition(guest, name), &script)?;
    }
    if service.enabled && service.kind.startup.is_none() {
        enabled(guest, name, true)?;
    }
    for template in &service.kind.file {
        template_file(guest, service, template)?;
    }
    Ok(())
}

fn template_file(guest: &Guest, service: &Service, template: &Template) -> Result<(), FileError> {
    let ids = &guest.profile.distribution.ids;
    let here = template.on.is_empty() || template.on.iter().any(|id| ids.contains(id));
    let planted = |key: &String| guest.profile.problems.iter().any(|problem| problem.key() == key);
    if !here || template.problem.as_ref().is_some_and(|key| !planted(key)) {
        return Ok(());
    }
    let path = guest.fill(&template.path, &service.name, 0, 0, 0);
    let text = guest.fill(&template.text, &service.name, 0, clock::unix_seconds(), 0);
    put(guest, &path, text.trim_start_matches('\n'))?;
    match &template.link {
        Some(at) => {
            let up = "../".repeat(at.matches('/').count() - 1);
            link(&Path::new(&up).join(path.trim_start_matches('/')), &guest.file(at))
        }
        None => Ok(()),
    }
}

fn system(guest: &Guest) -> Result<(), FileError> {
    let profile = &guest.profile;
    let name = &profile.hostname;
    put(guest, "/usr/lib/os-release", &os_release(guest))?;
    link(Path::new("../usr/lib/os-release"), &guest.file("/etc/os-release"))?;
    put(guest, "/etc/hostname", &format!("{name}\n"))?;
    let address = profile.addresses.first().map_or("127.0.1.1", String::as_str);
    put(guest, "/etc/hosts", &format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{address}\t{name}\n"))?;
    put(guest, "/etc/resolv.conf", "search example.org\nnameserver 10.0.10.1\nnameserver 10.0.10.2\n")?;
    put(guest, "/etc/passwd", &passwd(profile.distribution))?;
    put(guest, "/etc/timezone", "Etc/UTC\n")?;
    put(guest, "/etc/fstab", "# <file system> <mount point> <type> <options> <dump> <pass>\n")?;
    put(guest, "/sys/class/net/eth0/address", &format!("{}\n", profile.mac))?;
    put(guest, &profile.distribution.program, "")?;
    if guest.systemd() {
        files::create_directory(&guest.file("/run/systemd/system"), 0o755)?;
        if profile.container {
            put(guest, "/run/systemd/container", "lxc\n")?;
        }
    } else {
        put(guest, "/etc/inittab", "::sysinit:/sbin/openrc sysinit\n::wait:/sbin/openrc default\n")?;
    }
    if guest.has(Problem::RebootRequired) {
        put(guest, "/run/reboot-required", "*** System restart required ***\n")?;
        put(guest, "/run/reboot-required.pkgs", "libc6\n")?;
    }
    Ok(())
}

fn os_release(guest: &Guest) -> String {
    let (os, distribution) = (&guest.profile.os, guest.profile.distribution);
    let codename = distribution.codenames.get(&os.version).map_or("unknown", String::as_str);
    let label = os.label();
    let name = label.strip_suffix(os.version.as_str()).unwrap_or(&label).trim();
    let name = if os.id == "rocky" { "Rocky Linux" } else { name };
    let text = distribution.os_release.trim_start_matches('\n');
    let text = text.replace("@VERSION@", &os.version).replace("@CODENAME@", codename);
    text.replace("@DISTRIBUTION@", name).replace("@ID@", &os.id)
}

/// Every user once, with the shell of one that nobody logs in as.
fn passwd(distribution: &Distribution) -> String {
    let mut seen = BTreeSet::new();
    let users = USERS.iter().map(|(name, _)| user(name, distribution)).filter(|name| seen.insert(*name));
    users
        .map(|name| match name {
            "root" => "root:x:0:0:root:/root:/bin/sh\n".to_owned(),
            "admin" => "admin:x:1000:1000:Administrator:/home/admin:/bin/sh\n".to_owned(),
            name => format!("{name}:x:{0}:{0}::/nonexistent:/usr/sbin/nologin\n", uid(name)),
        })
        .collect()
}

/// Files as large as the disk is full, and empty: they take no room here.
fn large_files(guest: &Guest, state: &State) -> Result<(), FileError> {
    let used = super::kernel::used_bytes(guest);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes to look at"
    )]
    let part = |share: f64| (used as f64 * share) as u64;
    let kept = state.services.values().flat_map(|service| &service.kind.data);
    let mut left = 0.94;
    for large in kept {
        let share = large.share.min(left);
        left -= share;
        sparse(&guest.file(&large.path), part(share))?;
    }
    let (system, modules, journal) = (part(left * 0.7), part(left * 0.2), part(left * 0.1));
    sparse(&guest.file("/usr/lib/locale/locale-archive"), system)?;
    sparse(&guest.file("/usr/share/doc/archive"), modules)?;
    sparse(&guest.file("/var/cache/archive"), journal)
}

fn sparse(path: &Path, size: u64) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        files::create_directory(parent, 0o755)?;
    }
    let made = fs::File::create(path).and_then(|file| file.set_len(size.min(LARGEST)));
    made.map_err(|source| FileError { doing: "writing", path: path.to_owned(), source })
}

/// A certificate that ends in five days, where that is planted.
fn certificate(guest: &Guest) -> Result<(), FileError> {
    if !guest.has(Problem::Certificate) {
        return Ok(());
    }
    let made = || -> Result<String, rcgen::Error> {
        let mut params = rcgen::CertificateParams::new(vec!["cloud.example.org".to_owned()])?;
        let days = |days: i64| {
            std::time::UNIX_EPOCH
                + std::time::Duration::from_secs((clock::unix_seconds() + days * 86_400).unsigned_abs())
        };
        (params.not_before, params.not_after) = (days(-85).into(), days(5).into());
        Ok(params.self_signed(&rcgen::KeyPair::generate()?)?.pem())
    };
    match made() {
        Ok(pem) => put(guest, "/etc/ssl/example.org/fullchain.pem", &pem),
        Err(error) => {
            let path = guest.file("/etc/ssl/example.org/fullchain.pem");
            Err(FileError { doing: "making", path, source: std::io::Error::other(error) })
        }
    }
}

/// Not synced: they are gone with the demo anyway.
pub fn put(guest: &Guest, path: &str, text: &str) -> Result<(), FileError> {
    use std::io::Write as _;
    let at = guest.file(path);
    if let Some(parent) = at.parent() {
        files::create_directory(parent, 0o755)?;
    }
    let written = fs::File::create(&at).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| FileError { doing: "writing", path: at, source })
}

fn link(to: &Path, at: &Path) -> Result<(), FileError> {
    if let Some(parent) = at.parent() {
        files::create_directory(parent, 0o755)?;
    }
    let made = std::os::unix::fs::symlink(to, at);
    made.map_err(|source| FileError { doing: "linking", path: at.to_owned(), source })
}
