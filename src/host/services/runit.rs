//! runit's services: directories in /etc/sv, of which those run that are linked into the directory that runsvdir watches.
//! `sv` speaks with the supervisor of each.

use super::{Action, Service, ServiceManager, ServiceName, State, file_log};
use crate::{
    host::{
        Machine,
        commands::{CommandError, Commands},
    },
    sys::{cancel::Cancel, files as sys_files, text::one_line},
};
use std::{fs, path::PathBuf, time::Duration};

/// Where services are defined.
pub const DEFINED: &str = "/etc/sv";
/// What runsvdir watches: Void's name for it, Debian's, and the original one.
const WATCHED: [&str; 3] = ["/var/service", "/etc/service", "/service"];
/// runsvdir looks every 5 s for what is new.
const NOTICED: Duration = Duration::from_secs(8);
/// How long `sv` waits, in seconds.
const PATIENCE: &str = "15";

/// runit.
pub struct Runit<'a> {
    machine: Machine,
    commands: &'a dyn Commands,
}

impl<'a> Runit<'a> {
    /// A machine's.
    pub fn new(machine: &Machine, commands: &'a dyn Commands) -> Self {
        Self { machine: machine.clone(), commands }
    }

    /// The directory that is watched here.
    fn watched(&self) -> &'static str {
        WATCHED.into_iter().find(|place| self.machine.path(place).is_dir()).unwrap_or(WATCHED[0])
    }

    fn link(&self, name: &str) -> PathBuf {
        self.machine.path(self.watched()).join(name)
    }

    fn defined(&self, name: &str) -> PathBuf {
        self.machine.path(DEFINED).join(name)
    }

    /// How `sv` is to name it.
    fn named(name: &str) -> String {
        format!("{DEFINED}/{name}")
    }

    fn service(&self, name: &str, said: &str) -> Service {
        let said = Said::parse(said);
        Service {
            name: name.to_owned(),
            description: String::new(),
            state: said.state,
            detail: said.detail,
            startup: if self.link(name).symlink_metadata().is_ok() { "enabled" } else { "disabled" }.to_owned(),
            pid: said.pid,
            up_seconds: said.seconds.filter(|_| said.state.is_up()),
            can_reload: None,
            once: false,
            unobserved: true,
            triggers: Vec::new(),
        }
    }

    fn ask(&self, name: &str) -> Result<String, CommandError> {
        // It ends with the number of those that do not run.
        Ok(self.commands.run(&["sv", "status", &Self::named(name)])?.stdout_text())
    }

    fn sv(&self, verb: &str, name: &str) -> Result<(), CommandError> {
        self.commands.succeed(&["sv", "-w", PATIENCE, verb, &Self::named(name)]).map(drop)
    }

    /// Waits until runsvdir has noticed it; where it does not, `sv` says so in its own words.
    fn wait_for_supervisor(&self, name: &str) {
        let (pause, never) = (Duration::from_millis(100), Cancel::new());
        let mut left = NOTICED;
        while !self.defined(name).join("supervise/ok").exists() && !left.is_zero() {
            never.wait(pause);
            left = left.saturating_sub(pause);
        }
    }

    fn disable(&self, name: &str) -> Result<(), CommandError> {
        sys_files::remove(&self.link(name))?;
        let supervised = self.defined(name).join("supervise");
        if supervised.join("ok").exists() {
            self.sv("force-shutdown", name)?;
        }
        // Its supervisor's own, made anew by the next one.
        if supervised.is_symlink() { sys_files::remove(&supervised) } else { sys_files::remove_tree(&supervised) }
            .map_err(CommandError::from)
    }
}

impl ServiceManager for Runit<'_> {
    fn list(&self) -> Result<Vec<Service>, CommandError> {
        let entries = fs::read_dir(self.machine.path(DEFINED)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.path().join("run").exists())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| ServiceName::parse(name).is_ok())
            .collect();
        names.sort();
        let paths: Vec<String> = names.iter().map(|name| Self::named(name)).collect();
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let argv: Vec<&str> = ["sv", "status"].into_iter().chain(paths.iter().map(String::as_str)).collect();
        let said = self.commands.run(&argv)?.stdout_text();
        let of = |path: &str| said.lines().find(|line| line.split(": ").nth(1) == Some(path)).unwrap_or_default();
        Ok(names.iter().zip(&paths).map(|(name, path)| self.service(name, of(path))).collect())
    }

    fn kept(&self) -> Result<Vec<String>, CommandError> {
        let linked = fs::read_dir(self.machine.path(self.watched())).into_iter().flatten().flatten();
        Ok(linked.filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn status(&self, name: &ServiceName) -> Result<Option<Service>, CommandError> {
        if !self.defined(name.as_str()).join("run").exists() {
            return Ok(None);
        }
        let said = self.ask(name.as_str())?;
        Ok(Some(self.service(name.as_str(), said.lines().next().unwrap_or_default())))
    }

    fn act(&self, name: &ServiceName, action: Action) -> Result<(), CommandError> {
        let name = name.as_str();
        match action {
            Action::Start | Action::Restart => {
                self.wait_for_supervisor(name);
                self.sv(action.verb(), name)
            }
            Action::Stop => self.sv("force-stop", name),
            Action::Reload => self.sv("hup", name),
            Action::Enable => {
                let to = PathBuf::from(Self::named(name));
                sys_files::symlink_atomic(&to, &self.link(name)).map_err(CommandError::from)
            }
            Action::Disable => self.disable(name),
        }
    }

    fn log(&self, name: &ServiceName, since: Option<i64>, errors_only: bool, lines: usize) -> Option<Vec<String>> {
        file_log(&self.machine, name, since, errors_only, lines)
    }
}

/// A line of `sv status`: `run: /etc/sv/x: (pid 81) 5s, normally down; run: log: …`.
struct Said {
    state: State,
    detail: String,
    pid: Option<u32>,
    seconds: Option<f64>,
}

impl Said {
    fn parse(line: &str) -> Self {
        let own = line.split("; ").next().unwrap_or_default();
        let mut parts = own.splitn(3, ": ");
        let (word, _, rest) = (parts.next().unwrap_or_default(), parts.next(), parts.next().unwrap_or_default());
        let pid = rest.strip_prefix("(pid ").and_then(|rest| rest.split(')').next()?.parse().ok());
        let seconds = rest.split([' ', ',']).find_map(|part| part.strip_suffix('s')?.parse().ok());
        let (state, detail) = match word {
            "run" => (State::Running, "run"),
            "finish" => (State::Stopping, "finish"),
            "down" if rest.contains("want up") => (State::Failed, "down, want up"),
            "down" => (State::Stopped, "down"),
            // Without a supervisor: it is not linked, or its link is newer than runsvdir's last look.
            "fail" | "warning" | "" => (State::Stopped, "not supervised"),
            other => (State::Stopped, other),
        };
        Self { state, detail: one_line(detail, 60), pid, seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{commands::fake::Scripted, init::Init};

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc/sv/web/supervise", "etc/sv/ssh", "etc/service"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for file in ["etc/sv/web/run", "etc/sv/ssh/run", "etc/sv/web/supervise/ok"] {
            sys_files::write_atomic(&root.path().join(file), b"#!/bin/sh\n", 0o755).unwrap();
        }
        root
    }

    #[test]
    fn what_sv_says_is_understood() {
        let said = |line| {
            let Said { state, pid, seconds, .. } = Said::parse(line);
            (state, pid, seconds)
        };
        assert_eq!(said("run: /etc/sv/web: (pid 81) 5s"), (State::Running, Some(81), Some(5.0)));
        let logged = "run: /etc/sv/web: (pid 81) 65s, normally down; run: log: (pid 80) 66s";
        assert_eq!(said(logged), (State::Running, Some(81), Some(65.0)));
        assert_eq!(said("down: /etc/sv/web: 3s, normally up"), (State::Stopped, None, Some(3.0)));
        assert_eq!(said("down: /etc/sv/web: 1s, normally up, want up").0, State::Failed);
        assert_eq!(said("fail: /etc/sv/web: unable to change to service directory").0, State::Stopped);
    }

    #[test]
    fn links_are_what_starts_at_boot() {
        let root = root();
        let commands = Scripted::new(|argv| match argv {
            ["sv", "status", ..] => (0, "run: /etc/sv/web: (pid 7) 5s\ndown: /etc/sv/ssh: 9s\n".to_owned()),
            _ => (0, String::new()),
        });
        let (runit, web) =
            (Runit::new(&Machine::below(root.path(), Init::Runit), &commands), ServiceName::parse("web").unwrap());
        let link = root.path().join("etc/service/web");
        assert_eq!(runit.status(&web).unwrap().unwrap().startup, "disabled");
        runit.act(&web, Action::Enable).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), PathBuf::from("/etc/sv/web"));
        let [ssh, found] = &runit.list().unwrap()[..] else { panic!("two services") };
        assert_eq!((found.state, found.pid, found.startup.as_str()), (State::Running, Some(7), "enabled"));
        assert_eq!((ssh.state, ssh.startup.as_str()), (State::Stopped, "disabled"));
        assert_eq!(runit.kept().unwrap(), ["web"]);
        runit.act(&web, Action::Restart).unwrap();
        runit.act(&web, Action::Disable).unwrap();
        assert!(!link.is_symlink() && !root.path().join("etc/sv/web/supervise").exists());
        let changes: Vec<String> =
            commands.asked().into_iter().filter(|asked| !asked.starts_with("sv status")).collect();
        assert_eq!(changes, ["sv -w 15 restart /etc/sv/web", "sv -w 15 force-shutdown /etc/sv/web"]);
        assert_eq!(runit.status(&ServiceName::parse("none").unwrap()).unwrap(), None);
    }
}
