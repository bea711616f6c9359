//! OpenRC's services. Lists come from its own directory under /run/openrc, which rc-status reads as well and which does not
//! change with the version as rc-status's output does; a single service is asked itself, because old LSB scripts (Debian
//! has many) leave no state there and only a service knows of its supervisor's death; changes go through rc-service and
//! rc-update.

use super::{Action, Service, ServiceManager, ServiceName, State, file_log, script};
use crate::{
    host::{
        Machine,
        commands::{CommandError, Commands},
        text::clean,
    },
    sys::files as sys_files,
};
use std::fs;

/// The runlevel that services are put into.
const RUNLEVEL: &str = "default";
/// States as directories below /run/openrc, the telling ones first: a service can be in several.
const STATES: [(&str, State); 6] = [
    ("starting", State::Starting),
    ("stopping", State::Stopping),
    ("failed", State::Failed),
    ("inactive", State::Stopped),
    ("scheduled", State::Stopped),
    ("started", State::Running),
];

/// Files in /etc/init.d that are no services.
const NO_SERVICES: [&str; 4] = ["functions.sh", "functions", "README", "skeleton"];

/// OpenRC.
pub struct OpenRc<'a> {
    machine: Machine,
    commands: &'a dyn Commands,
}

impl<'a> OpenRc<'a> {
    /// A machine's.
    pub fn new(machine: &Machine, commands: &'a dyn Commands) -> Self {
        Self { machine: machine.clone(), commands }
    }

    /// A service as far as files tell.
    fn service(&self, name: &str) -> Service {
        let run = self.machine.path("/run/openrc");
        let found = STATES.iter().find(|(directory, _)| run.join(directory).join(name).symlink_metadata().is_ok());
        let (detail, state) = found.map_or(("stopped", State::Stopped), |(word, state)| (*word, *state));
        let pid = self.pid(name).filter(|pid| self.machine.has_process(*pid));
        let (state, detail) = match (state, pid) {
            (State::Running, None) if self.wants_process(name) => (State::Failed, "crashed"),
            // Scripts that only do something once are started for ever after.
            (State::Running, None) => (State::Exited, "started"),
            _ => (state, detail),
        };
        let script = sys_files::read_text(&script(&self.machine, name)).unwrap_or_default();
        Service {
            name: name.to_owned(),
            description: description(&script),
            state,
            detail: detail.to_owned(),
            startup: self.startup(name),
            pid,
            up_seconds: pid.filter(|_| state.is_up()).and_then(|pid| self.machine.age_seconds(pid)),
            can_reload: None,
            once: false,
            unobserved: true,
            triggers: Vec::new(),
        }
    }

    /// Asks the service itself how it is; what it does not say stays as the files tell.
    fn ask(&self, service: Service) -> Result<Service, CommandError> {
        let asked = self.commands.run(&["rc-service", "--", &service.name, "status"])?;
        // OpenRC's own codes, and LSB's 1 and 2 for a process that died.
        let (state, detail) = match (asked.code, service.pid) {
            (Some(0), Some(_)) => (State::Running, "started"),
            (Some(0), None) => (State::Exited, "started"),
            (Some(3), _) => (State::Stopped, "stopped"),
            (Some(1 | 2 | 32), _) => (State::Failed, "crashed"),
            (Some(64), _) => (State::Failed, "unsupervised"),
            _ => return Ok(service),
        };
        let up_seconds = service.up_seconds.filter(|_| state.is_up());
        Ok(Service { state, detail: detail.to_owned(), up_seconds, ..service })
    }

    fn act_on(&self, name: &str, action: Action) -> Result<(), CommandError> {
        self.commands.succeed(&["rc-service", "--nocolor", "--", name, action.verb()]).map(drop)
    }

    /// Whether OpenRC takes it for started, however it is.
    fn is_marked_started(&self, name: &str) -> bool {
        self.machine.path("/run/openrc/started").join(name).symlink_metadata().is_ok()
    }

    /// The main process: the supervised one's, else that of the pid file of what start-stop-daemon started.
    fn pid(&self, name: &str) -> Option<u32> {
        let run = self.machine.path("/run");
        let supervised = fs::read_to_string(run.join("openrc/options").join(name).join("child_pid")).ok();
        let of_daemon = || {
            let file = self.daemon(name)?.lines().find_map(|line| line.strip_prefix("pidfile=").map(str::to_owned))?;
            fs::read_to_string(self.machine.path(file)).ok()
        };
        let usual = || fs::read_to_string(run.join(format!("{name}.pid"))).ok();
        let text = supervised.or_else(of_daemon).or_else(usual)?;
        text.trim().parse().ok().filter(|pid| *pid > 1)
    }

    fn daemon(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.machine.path("/run/openrc/daemons").join(name).join("001")).ok()
    }

    fn wants_process(&self, name: &str) -> bool {
        self.daemon(name).is_some_and(|daemon| daemon.lines().any(|line| line.starts_with("pidfile=/")))
    }

    /// The runlevels that it is in.
    fn runlevels(&self, name: &str) -> Vec<String> {
        let levels = fs::read_dir(self.machine.path("/etc/runlevels")).into_iter().flatten().flatten();
        let has = |level: &fs::DirEntry| level.path().join(name).symlink_metadata().is_ok();
        levels.filter(has).filter_map(|level| level.file_name().into_string().ok()).collect()
    }

    fn startup(&self, name: &str) -> String {
        let levels = self.runlevels(name);
        match &levels[..] {
            [] => "disabled".to_owned(),
            levels if levels.iter().any(|level| level == RUNLEVEL) => "enabled".to_owned(),
            levels => format!("enabled ({})", levels.join(", ")),
        }
    }
}

impl ServiceManager for OpenRc<'_> {
    fn list(&self) -> Result<Vec<Service>, CommandError> {
        let scripts = fs::read_dir(self.machine.path("/etc/init.d")).into_iter().flatten().flatten();
        let mut names: Vec<String> = scripts
            .filter(|entry| entry.path().is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !NO_SERVICES.contains(&name.as_str()))
            .filter(|name| ServiceName::parse(name).is_ok())
            .collect();
        names.sort();
        Ok(names.iter().map(|name| self.service(name)).collect())
    }

    fn kept(&self) -> Result<Vec<String>, CommandError> {
        let runs = |service: &Service| service.state == State::Running && service.pid.is_some();
        let kept = self.list()?.into_iter().filter(|service| runs(service) || service.startup == "enabled");
        Ok(kept.map(|service| service.name).collect())
    }

    fn status(&self, name: &ServiceName) -> Result<Option<Service>, CommandError> {
        if !script(&self.machine, name.as_str()).is_file() {
            return Ok(None);
        }
        self.ask(self.service(name.as_str())).map(Some)
    }

    fn act(&self, name: &ServiceName, action: Action) -> Result<(), CommandError> {
        let name = name.as_str();
        match action {
            Action::Enable => self.commands.succeed(&["rc-update", "--", "add", name, RUNLEVEL]).map(drop),
            // `--all` complains of each runlevel that does not have it.
            Action::Disable => self
                .runlevels(name)
                .iter()
                .try_for_each(|level| self.commands.succeed(&["rc-update", "--", "del", name, level]).map(drop)),
            // It would answer that what has crashed is started already.
            Action::Start if self.is_marked_started(name) => self.act_on(name, Action::Restart),
            other => self.act_on(name, other),
        }
    }

    fn log(&self, name: &ServiceName, since: Option<i64>, errors_only: bool, lines: usize) -> Option<Vec<String>> {
        file_log(&self.machine, name, since, errors_only, lines)
    }
}

/// The `description="…"` of a script where that is a plain text, or an LSB script's own.
pub(super) fn description(script: &str) -> String {
    let text = script
        .lines()
        .find_map(|line| line.strip_prefix("description=").or_else(|| line.strip_prefix("# Short-Description:")));
    clean(text.map(|text| text.trim().trim_matches(['"', '\''])).filter(|text| !text.contains('$')).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{commands::fake::Scripted, init::Init};

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            sys_files::write_atomic(&path, text.as_bytes(), 0o755).unwrap();
        };
        file("etc/init.d/nginx", "#!/sbin/openrc-run\ndescription=\"Nginx http and reverse proxy server\"\n");
        file("etc/init.d/sshd", "#!/sbin/openrc-run\n");
        file("etc/init.d/functions.sh", "");
        file("etc/runlevels/default/nginx", "");
        file("run/openrc/started/nginx", "");
        file("run/openrc/daemons/nginx/001", "exec=/usr/sbin/nginx\npidfile=/run/nginx.pid\n");
        file("run/nginx.pid", &format!("{}\n", std::process::id()));
        root
    }

    #[test]
    fn states_come_from_openrcs_own_directory() {
        let (root, commands) = (root(), Scripted::new(|_| (0, String::new())));
        let openrc = OpenRc::new(&Machine::below(root.path(), Init::OpenRc), &commands);
        let [nginx, sshd] = &openrc.list().unwrap()[..] else { panic!("two services") };
        assert_eq!((nginx.name.as_str(), nginx.state, nginx.startup.as_str()), ("nginx", State::Running, "enabled"));
        assert_eq!((nginx.pid, nginx.description.starts_with("Nginx http")), (Some(std::process::id()), true));
        assert_eq!((sshd.state, sshd.startup.as_str(), sshd.pid), (State::Stopped, "disabled", None));
    }

    #[test]
    fn a_daemon_whose_process_is_gone_has_crashed() {
        let (root, commands) = (root(), Scripted::new(|_| (32, " * status: crashed".to_owned())));
        sys_files::write_atomic(&root.path().join("run/nginx.pid"), b"4194999\n", 0o644).unwrap();
        let nginx = OpenRc::new(&Machine::below(root.path(), Init::OpenRc), &commands)
            .status(&ServiceName::parse("nginx").unwrap())
            .unwrap()
            .unwrap();
        assert_eq!((nginx.state, nginx.detail.as_str()), (State::Failed, "crashed"));
    }

    #[test]
    fn a_service_is_asked_itself() {
        let root = root();
        let script = b"#!/bin/sh\n# Short-Description: starts the nginx web server\n";
        sys_files::write_atomic(&root.path().join("etc/init.d/nginx"), script, 0o755).unwrap();
        for (code, state) in [(0, State::Running), (3, State::Stopped), (1, State::Failed), (64, State::Failed)] {
            let commands = Scripted::new(move |_| (code, "said".to_owned()));
            let openrc = OpenRc::new(&Machine::below(root.path(), Init::OpenRc), &commands);
            let nginx = openrc.status(&ServiceName::parse("nginx").unwrap()).unwrap().unwrap();
            assert_eq!((nginx.state, nginx.description.as_str()), (state, "starts the nginx web server"));
            assert_eq!(commands.asked(), ["rc-service -- nginx status"]);
        }
    }

    #[test]
    fn changes_are_argv() {
        let (root, commands) = (root(), Scripted::new(|_| (0, String::new())));
        let (openrc, name) = (
            OpenRc::new(&Machine::below(root.path(), Init::OpenRc), &commands),
            ServiceName::parse("nginx.service").unwrap(),
        );
        for action in [Action::Restart, Action::Enable, Action::Disable] {
            openrc.act(&name, action).unwrap();
        }
        assert_eq!(
            commands.asked(),
            [
                "rc-service --nocolor -- nginx restart",
                "rc-update -- add nginx default",
                "rc-update -- del nginx default"
            ]
        );
    }
}
