//! The services' own files: a unit for systemd, a script for OpenRC, for runit, and one for whatever starts scripts.
//!
//! Hardening is bounded by two facts. What an agent runs are its operator's commands and package managers: they inherit its
//! confinement, so nothing may be taken from them that a root shell on the machine has. And in unprivileged containers
//! everything that needs a mount namespace fails (226/NAMESPACE). Core dumps, which would hold the agent's key, are off for
//! it, and whoever runs below it can turn them on again. The hub runs nobody's commands and gives up more.

use super::{HOME, InstallError, Role, Service};
use crate::host::init::{Init, Unsupported};
use std::path::{Path, PathBuf};

/// A service's file.
pub struct Definition {
    /// Where, below the root.
    pub path: PathBuf,
    /// What.
    pub text: String,
    /// With this mode.
    pub mode: u32,
    /// What is there when it is enabled, below the root; `None` where only the init system's own files tell.
    pub enabled: Option<PathBuf>,
}

/// The file for a service.
pub fn of(init: Init, service: &Service) -> Result<Definition, InstallError> {
    for arg in &service.args {
        check(arg)?;
    }
    let (path, enabled, mode) = places(init, service.role).ok_or(InstallError::Init(Unsupported))?;
    let text = match init {
        Init::Systemd => unit(service),
        Init::OpenRc => openrc_script(service),
        Init::Runit => run_script(service),
        Init::Sysvinit | Init::Busybox | Init::Unknown => script(service),
    };
    Ok(Definition { path, text, mode, enabled })
}

/// Where a role's service file is, what is there when it is enabled (where that is one certain file), and the file's mode.
pub fn places(init: Init, role: Role) -> Option<(PathBuf, Option<PathBuf>, u32)> {
    let name = role.service();
    let name = name.as_str();
    let script = || PathBuf::from(format!("etc/init.d/{name}"));
    match init {
        Init::Systemd => Some((
            format!("etc/systemd/system/{name}.service").into(),
            Some(format!("etc/systemd/system/multi-user.target.wants/{name}.service").into()),
            0o644,
        )),
        Init::OpenRc => Some((script(), Some(format!("etc/runlevels/default/{name}").into()), 0o755)),
        Init::Sysvinit | Init::Busybox => Some((script(), None, 0o755)),
        Init::Runit => Some((format!("etc/sv/{name}/run").into(), None, 0o755)),
        Init::Unknown => None,
    }
}

/// What keeps runit's supervisor from starting a service as soon as it sees it, beside the service's file.
pub fn down_file(path: &Path) -> PathBuf {
    path.with_file_name("down")
}

/// The file that a service's output is kept in where there is no journal, below the root.
pub fn log_file(role: Role) -> PathBuf {
    format!("var/log/{}.log", role.service().as_str()).into()
}

/// Refuses a version that is no plain file name.
pub fn check_version(version: &str) -> Result<(), InstallError> {
    if version.starts_with('.') || version.contains('/') {
        return Err(InstallError::Argument(version.to_owned()));
    }
    check(version)
}

/// Refuses what has a meaning of its own in a unit or in a shell script.
fn check(text: &str) -> Result<(), InstallError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:=@,+-".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { Ok(()) } else { Err(InstallError::Argument(text.to_owned())) }
}

fn what(role: Role) -> &'static str {
    match role {
        Role::Agent => "remotectl agent",
        Role::PveAgent => "remotectl agent for Proxmox VE",
        Role::Hub => "remotectl hub",
    }
}

const AGENTS_CONFINEMENT: &str = "\
# Not confined: operators' commands and package managers run below this service, and inherit what would confine it.
";

/// The run-time directory stays when the hub stops: a pve-agent beside it tells there how it stands.
const HUBS_CONFINEMENT: &str = "\
RuntimeDirectory=remotectl
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_NET_BIND_SERVICE
";

fn unit(service: &Service) -> String {
    let (role, what, args) = (service.role.as_str(), what(service.role), service.args.join(" "));
    let confinement = if service.role == Role::Hub { HUBS_CONFINEMENT } else { AGENTS_CONFINEMENT };
    format!(
        "\
# Written by remotectl; `remotectl {role} uninstall` takes it away.
[Unit]
Description={what}
After=network.target
StartLimitIntervalSec=0

[Service]
ExecStart=/{HOME}/{role} {args}
Restart=always
RestartSec=2
KillMode=mixed
TimeoutStopSec=15
OOMPolicy=continue
LimitCORE=0:infinity
{confinement}
[Install]
WantedBy=multi-user.target
"
    )
}

fn openrc_script(service: &Service) -> String {
    let (role, what, args) = (service.role.as_str(), what(service.role), service.args.join(" "));
    let log = log_file(service.role);
    let log = log.display();
    format!(
        "\
#!/sbin/openrc-run
# Written by remotectl; `remotectl {role} uninstall` takes it away.

description=\"{what}\"
supervisor=supervise-daemon
command=/{HOME}/{role}
command_args=\"{args}\"
respawn_delay=2
respawn_max=0
output_log=/{log}
error_log=/{log}

depend() {{
	use net
	after net firewall
}}
"
    )
}

fn run_script(service: &Service) -> String {
    let (role, args, log) = (service.role.as_str(), service.args.join(" "), log_file(service.role));
    format!(
        "\
#!/bin/sh
# Written by remotectl; `remotectl {role} uninstall` takes it away.
exec >>/{} 2>&1
exec /{HOME}/{role} {args}
",
        log.display()
    )
}

/// For System V init and busybox' own, which start a script and look no further: it leaves a keeper behind that starts the
/// executable again when that has ended. An update takes the executable's place in the same process.
const SCRIPT: &str = include_str!("service.sh");

fn script(service: &Service) -> String {
    let (role, name) = (service.role.as_str(), service.role.service());
    let program = format!("/{HOME}/{role}");
    [("@ROLE@", role), ("@NAME@", name.as_str()), ("@WHAT@", what(service.role)), ("@PROGRAM@", &program)]
        .into_iter()
        .chain([("@ARGS@", service.args.join(" ").as_str())])
        .fold(SCRIPT.to_owned(), |text, (mark, value)| text.replace(mark, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(role: Role, args: &[&str]) -> Service {
        Service {
            role,
            exe_bytes_from: PathBuf::new(),
            version: "1.0.0".into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        }
    }

    #[test]
    fn units_start_their_roles_link_and_come_back() {
        let agent = of(Init::Systemd, &service(Role::Agent, &["run"])).unwrap();
        assert_eq!(agent.path, PathBuf::from("etc/systemd/system/remotectl-agent.service"));
        for line in ["ExecStart=/opt/remotectl/agent run\n", "Restart=always\n", "WantedBy=multi-user.target\n"] {
            assert!(agent.text.contains(line), "{line}");
        }
        // What confines an agent confines its operator's commands: no mount namespaces, no lost privileges.
        for never in ["Protect", "Private", "NoNewPrivileges", "CapabilityBoundingSet", "ReadOnly", "Restrict", "Lock"]
        {
            assert!(!agent.text.contains(never), "{never}");
        }
        assert!(of(Init::Systemd, &service(Role::Hub, &["serve"])).unwrap().text.contains("NoNewPrivileges=yes"));
    }

    #[test]
    fn openrc_supervises() {
        let agent = of(Init::OpenRc, &service(Role::Agent, &["run"])).unwrap();
        assert_eq!((agent.path, agent.mode), (PathBuf::from("etc/init.d/remotectl-agent"), 0o755));
        assert!(agent.text.starts_with("#!/sbin/openrc-run\n"));
        assert!(agent.text.contains("supervisor=supervise-daemon\ncommand=/opt/remotectl/agent\n"));
    }

    #[test]
    fn arguments_can_not_break_out_of_the_file() {
        for bad in ["a b", "$(x)", "a\nExecStartPre=/bin/x", "\"", "%h", "a;b", "", "`x`"] {
            assert!(of(Init::Systemd, &service(Role::Agent, &["run", bad])).is_err(), "{bad}");
        }
        for bad in ["../1.0", ".", "1/0", ""] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
        check_version("1.0.0-rc.1+g12ab").unwrap();
    }

    #[test]
    fn scripts_start_their_roles_link() {
        for init in [Init::Sysvinit, Init::Busybox] {
            let agent = of(init, &service(Role::Agent, &["run"])).unwrap();
            assert_eq!((agent.path, agent.mode), (PathBuf::from("etc/init.d/remotectl-agent"), 0o755));
            for line in
                ["# Provides:          remotectl-agent\n", "program=/opt/remotectl/agent\n", "\"$program\" run &\n"]
            {
                assert!(agent.text.contains(line), "{line}: {}", agent.text);
            }
            assert!(!agent.text.contains('@'), "{}", agent.text);
        }
        let runit = of(Init::Runit, &service(Role::Agent, &["run"])).unwrap();
        assert!(runit.text.ends_with("\nexec /opt/remotectl/agent run\n"), "{}", runit.text);
        assert_eq!(down_file(&runit.path), PathBuf::from("etc/sv/remotectl-agent/down"));
    }

    #[test]
    fn an_unknown_init_system_is_named() {
        let error = of(Init::Unknown, &service(Role::Agent, &["run"])).err().unwrap();
        assert!(error.to_string().contains("no init system"), "{error}");
    }
}
