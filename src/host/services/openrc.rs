//! OpenRC's services. States come from its own directory under /run/openrc, which rc-status reads as well and which does
//! not change with the version as rc-status's output does; changes go through rc-service and rc-update.

use super::{Action, Service, ServiceManager, ServiceName, State};
use crate::{
    host::{
        commands::{CommandError, Commands},
        logs::files,
        proc,
        text::clean,
    },
    sys::files as sys_files,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

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
    root: PathBuf,
    commands: &'a dyn Commands,
}

impl<'a> OpenRc<'a> {
    /// The one of the system below `root`, which is `/` but in tests.
    pub fn new(root: &Path, commands: &'a dyn Commands) -> Self {
        Self { root: root.to_owned(), commands }
    }

    fn script(&self, name: &str) -> PathBuf {
        self.root.join("etc/init.d").join(name)
    }

    fn service(&self, name: &str) -> Service {
        let run = self.root.join("run/openrc");
        let found = STATES.iter().find(|(directory, _)| run.join(directory).join(name).symlink_metadata().is_ok());
        let (detail, mut state) = found.map_or(("stopped", State::Stopped), |(word, state)| (*word, *state));
        let pid = self.pid(name).filter(|pid| proc::exists(*pid));
        let mut detail = detail.to_owned();
        if state == State::Running && pid.is_none() && self.wants_process(name) {
            (state, detail) = (State::Failed, "crashed".to_owned());
        }
        Service {
            name: name.to_owned(),
            description: self.description(name),
            state,
            detail,
            startup: if self.in_a_runlevel(name) { "enabled" } else { "disabled" }.to_owned(),
            pid,
            up_seconds: pid.filter(|_| state.is_up()).and_then(proc::age_seconds),
            can_reload: None,
            once: false,
            unobserved: true,
            triggers: Vec::new(),
        }
    }

    /// The main process: the supervised one's, else that of the pid file of what start-stop-daemon started.
    fn pid(&self, name: &str) -> Option<u32> {
        let run = self.root.join("run/openrc");
        let supervised = fs::read_to_string(run.join("options").join(name).join("child_pid")).ok();
        let text = supervised.or_else(|| {
            let file = self.daemon(name)?.lines().find_map(|line| line.strip_prefix("pidfile=").map(str::to_owned))?;
            fs::read_to_string(self.root.join(file.trim_start_matches('/'))).ok()
        })?;
        text.trim().parse().ok().filter(|pid| *pid > 1)
    }

    fn daemon(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.root.join("run/openrc/daemons").join(name).join("001")).ok()
    }

    fn wants_process(&self, name: &str) -> bool {
        self.daemon(name).is_some_and(|daemon| daemon.lines().any(|line| line.starts_with("pidfile=/")))
    }

    fn in_a_runlevel(&self, name: &str) -> bool {
        let levels = fs::read_dir(self.root.join("etc/runlevels")).into_iter().flatten().flatten();
        levels.into_iter().any(|level| level.path().join(name).symlink_metadata().is_ok())
    }

    /// The `description="…"` of its script, where that is a plain text.
    fn description(&self, name: &str) -> String {
        let script = sys_files::read_text(&self.script(name)).unwrap_or_default();
        let text = script.lines().find_map(|line| line.strip_prefix("description="));
        let text = text.map(|text| text.trim_matches(['"', '\''])).filter(|text| !text.contains('$'));
        clean(text.unwrap_or_default())
    }
}

impl ServiceManager for OpenRc<'_> {
    fn list(&self) -> Result<Vec<Service>, CommandError> {
        let scripts = fs::read_dir(self.root.join("etc/init.d")).into_iter().flatten().flatten();
        let mut names: Vec<String> = scripts
            .filter(|entry| entry.path().is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !NO_SERVICES.contains(&name.as_str()))
            .filter(|name| ServiceName::parse(name).is_ok())
            .collect();
        names.sort();
        Ok(names.iter().map(|name| self.service(name)).collect())
    }

    fn status(&self, name: &ServiceName) -> Result<Option<Service>, CommandError> {
        Ok(self.script(name.as_str()).is_file().then(|| self.service(name.as_str())))
    }

    fn act(&self, name: &ServiceName, action: Action) -> Result<(), CommandError> {
        let name = name.as_str();
        let done = match action {
            Action::Enable => self.commands.succeed(&["rc-update", "--", "add", name, RUNLEVEL]),
            Action::Disable => self.commands.succeed(&["rc-update", "--all", "--", "del", name]),
            other => self.commands.succeed(&["rc-service", "--nocolor", "--", name, other.verb()]),
        };
        done.map(drop)
    }

    fn log(&self, name: &ServiceName, since: Option<i64>, errors_only: bool, lines: usize) -> Vec<String> {
        // syslog's files carry no priority: only what somebody looks through is worth showing.
        if errors_only {
            return Vec::new();
        }
        files::syslog_of(&self.root, name.as_str(), since, lines)
    }

    fn reread(&self) -> Result<(), CommandError> {
        Ok(())
    }

    fn forget(&self, _name: &ServiceName) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::commands::fake::Scripted;

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
        let openrc = OpenRc::new(root.path(), &commands);
        let [nginx, sshd] = &openrc.list().unwrap()[..] else { panic!("two services") };
        assert_eq!((nginx.name.as_str(), nginx.state, nginx.startup.as_str()), ("nginx", State::Running, "enabled"));
        assert_eq!((nginx.pid, nginx.description.starts_with("Nginx http")), (Some(std::process::id()), true));
        assert_eq!((sshd.state, sshd.startup.as_str(), sshd.pid), (State::Stopped, "disabled", None));
    }

    #[test]
    fn a_daemon_whose_process_is_gone_has_crashed() {
        let (root, commands) = (root(), Scripted::new(|_| (0, String::new())));
        sys_files::write_atomic(&root.path().join("run/nginx.pid"), b"4194999\n", 0o644).unwrap();
        let nginx = OpenRc::new(root.path(), &commands).status(&ServiceName::parse("nginx").unwrap()).unwrap().unwrap();
        assert_eq!((nginx.state, nginx.detail.as_str()), (State::Failed, "crashed"));
    }

    #[test]
    fn changes_are_argv() {
        let (root, commands) = (root(), Scripted::new(|_| (0, String::new())));
        let (openrc, name) = (OpenRc::new(root.path(), &commands), ServiceName::parse("nginx.service").unwrap());
        for action in [Action::Restart, Action::Enable, Action::Disable] {
            openrc.act(&name, action).unwrap();
        }
        assert_eq!(
            commands.asked(),
            ["rc-service --nocolor -- nginx restart", "rc-update -- add nginx default", "rc-update --all -- del nginx"]
        );
    }
}
