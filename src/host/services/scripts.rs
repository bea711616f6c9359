//! Services that are scripts in /etc/init.d: System V init, and busybox' own init where nothing is above it. A script is
//! asked for its status and told what to do; what it does not say, its process id file tells. Starting at boot is a matter
//! of runlevels there (`update-rc.d`, `chkconfig`, or plain links), of a line in /etc/inittab here.

use super::{Action, Service, ServiceManager, ServiceName, State, file_log, openrc, script};
use crate::{
    host::{
        Machine,
        commands::{CommandError, Commands},
        init::Init,
    },
    sys::files as sys_files,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Runlevels that a machine runs in, and those that it goes down by.
const UP: [&str; 4] = ["rc2.d", "rc3.d", "rc4.d", "rc5.d"];
const DOWN: [&str; 3] = ["rc0.d", "rc1.d", "rc6.d"];
/// Where the runlevels are: Debian's place, and that of Red Hat's descendants.
const RUNLEVELS: [&str; 2] = ["/etc", "/etc/rc.d"];
/// Files in /etc/init.d that are no services.
const NO_SERVICES: [&str; 9] = ["README", "rc", "rcS", "rcK", "skeleton", "functions", "halt", "reboot", "single"];
const INITTAB: &str = "/etc/inittab";

/// Services by scripts.
pub struct Scripts<'a> {
    machine: Machine,
    commands: &'a dyn Commands,
}

impl<'a> Scripts<'a> {
    /// A machine's.
    pub fn new(machine: &Machine, commands: &'a dyn Commands) -> Self {
        Self { machine: machine.clone(), commands }
    }

    fn has(&self, program: &str) -> bool {
        ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|place| self.machine.path(place).join(program).exists())
    }

    /// A service as far as files tell.
    fn service(&self, name: &str) -> Service {
        let script = sys_files::read_text(&script(&self.machine, name)).unwrap_or_default();
        let noted = self.noted_pid(name, &script);
        let pid = noted.filter(|pid| self.machine.has_process(*pid));
        let (state, detail) = match (noted, pid) {
            (_, Some(_)) => (State::Running, "running"),
            (Some(_), None) => (State::Failed, "dead"),
            (None, None) => (State::Stopped, "stopped"),
        };
        Service {
            name: name.to_owned(),
            description: openrc::description(&script),
            state,
            detail: detail.to_owned(),
            startup: if self.starts_at_boot(name) { "enabled" } else { "disabled" }.to_owned(),
            pid,
            up_seconds: pid.and_then(|pid| self.machine.age_seconds(pid)),
            can_reload: None,
            once: false,
            unobserved: true,
            triggers: Vec::new(),
        }
    }

    /// The process id in the file that the script itself names, else in the usual one.
    fn noted_pid(&self, name: &str, script: &str) -> Option<u32> {
        let named = script.lines().find_map(|line| {
            let value = line.trim().strip_prefix("PIDFILE=").or_else(|| line.trim().strip_prefix("pidfile="))?;
            let value = value.trim_matches(['"', '\'']).replace("$NAME", name).replace("${NAME}", name);
            (value.starts_with('/') && !value.contains('$')).then_some(value)
        });
        let usual = [format!("/run/{name}.pid"), format!("/var/run/{name}.pid"), format!("/run/{name}/{name}.pid")];
        let mut places = named.into_iter().chain(usual);
        places.find_map(|place| self.machine.text(&place).trim().parse().ok()).filter(|pid| *pid > 1)
    }

    /// Asks the script itself; one that does not know `status` says nothing that counts.
    fn ask(&self, service: Service) -> Result<Service, CommandError> {
        let script = sys_files::read_text(&script(&self.machine, &service.name)).unwrap_or_default();
        if !script.contains("status") {
            return Ok(service);
        }
        let asked = self.run(&service.name, "status")?;
        // The codes are the Linux Standard Base's.
        let (state, detail) = match (asked.code, service.pid) {
            (Some(0), Some(_)) => (State::Running, "running"),
            (Some(0), None) => (State::Exited, "started"),
            (Some(1 | 2), _) => (State::Failed, "dead"),
            (Some(3), _) => (State::Stopped, "stopped"),
            _ => return Ok(service),
        };
        let up_seconds = service.up_seconds.filter(|_| state.is_up());
        let pid = service.pid.filter(|_| state.is_up());
        Ok(Service { state, detail: detail.to_owned(), up_seconds, pid, ..service })
    }

    /// `service` gives a script the environment that it has at boot; busybox has no such program.
    fn argv<'b>(&self, name: &'b str, script: &'b str, verb: &'b str) -> Vec<&'b str> {
        if self.machine.init() == Init::Sysvinit && self.has("service") {
            vec!["service", name, verb]
        } else {
            vec![script, verb]
        }
    }

    fn run(&self, name: &str, verb: &str) -> Result<crate::sys::process::Finished, CommandError> {
        let script = format!("/etc/init.d/{name}");
        self.commands.run(&self.argv(name, &script, verb))
    }

    fn act_on(&self, name: &str, verb: &str) -> Result<(), CommandError> {
        let script = format!("/etc/init.d/{name}");
        self.commands.succeed(&self.argv(name, &script, verb)).map(drop)
    }

    fn starts_at_boot(&self, name: &str) -> bool {
        match self.machine.init() {
            Init::Busybox => self.machine.text(INITTAB).lines().any(|line| starts(line, name)),
            _ => self.links(&UP, name).iter().any(|link| is_link(link, 'S')),
        }
    }

    /// A service's links in these runlevels.
    fn links(&self, levels: &[&str], name: &str) -> Vec<PathBuf> {
        let folders = RUNLEVELS.iter().flat_map(|place| levels.iter().map(move |level| Path::new(place).join(level)));
        let entries =
            folders.flat_map(|folder| fs::read_dir(self.machine.path(folder)).into_iter().flatten().flatten());
        let ours = |path: &PathBuf| {
            let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
            // S20nginx, K01nginx
            file.get(3..) == Some(name)
        };
        entries.map(|entry| entry.path()).filter(ours).collect()
    }

    fn enable(&self, name: &str) -> Result<(), CommandError> {
        if self.machine.init() == Init::Busybox {
            let text = self.machine.text(INITTAB);
            let text = if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" };
            return self.write_inittab(&format!("{text}{}\n", line(name)));
        }
        if self.has("update-rc.d") {
            self.commands.succeed(&["update-rc.d", name, "defaults"])?;
            return self.commands.succeed(&["update-rc.d", name, "enable"]).map(drop);
        }
        if self.has("chkconfig") {
            self.commands.succeed(&["chkconfig", "--add", name])?;
            return self.commands.succeed(&["chkconfig", name, "on"]).map(drop);
        }
        self.remove_links(name)?;
        self.link(&UP, "S99", name)?;
        self.link(&DOWN, "K01", name)
    }

    fn disable(&self, name: &str) -> Result<(), CommandError> {
        if self.machine.init() == Init::Busybox {
            let text = self.machine.text(INITTAB);
            let kept = text.split_inclusive('\n').filter(|line| !starts(line, name));
            return self.write_inittab(&kept.collect::<String>());
        }
        if self.has("update-rc.d") {
            return self.commands.succeed(&["update-rc.d", name, "disable"]).map(drop);
        }
        if self.has("chkconfig") {
            return self.commands.succeed(&["chkconfig", name, "off"]).map(drop);
        }
        self.remove_links(name)
    }

    fn link(&self, levels: &[&str], order: &str, name: &str) -> Result<(), CommandError> {
        for level in levels {
            let folder = self.machine.path("/etc").join(level);
            if folder.is_dir() {
                let to = Path::new("../init.d").join(name);
                sys_files::symlink_atomic(&to, &folder.join(format!("{order}{name}")))?;
            }
        }
        Ok(())
    }

    fn remove_links(&self, name: &str) -> Result<(), CommandError> {
        let links = [self.links(&UP, name), self.links(&DOWN, name)].concat();
        links.iter().try_for_each(|link| sys_files::remove(link)).map_err(CommandError::from)
    }

    /// Keeps mode and time: without our line the file is again what it was, and nobody's list of changed files names it.
    fn write_inittab(&self, text: &str) -> Result<(), CommandError> {
        let path = self.machine.path(INITTAB);
        let before = fs::metadata(&path);
        let mode = before.as_ref().map_or(0o644, |meta| meta.permissions().mode() & 0o7777);
        sys_files::write_atomic(&path, text.as_bytes(), mode)?;
        before.and_then(|meta| meta.modified()).map_or(Ok(()), |time| sys_files::set_modified(&path, time))?;
        Ok(())
    }
}

impl ServiceManager for Scripts<'_> {
    fn list(&self) -> Result<Vec<Service>, CommandError> {
        let scripts = fs::read_dir(self.machine.path("/etc/init.d")).into_iter().flatten().flatten();
        let executable =
            |entry: &fs::DirEntry| entry.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
        let mut names: Vec<String> = scripts
            .filter(|entry| entry.path().is_file() && executable(entry))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !NO_SERVICES.contains(&name.as_str()) && ServiceName::parse(name).is_ok())
            .collect();
        names.sort();
        Ok(names.iter().map(|name| self.service(name)).collect())
    }

    fn kept(&self) -> Result<Vec<String>, CommandError> {
        let kept = self.list()?.into_iter().filter(|service| service.pid.is_some() || service.startup == "enabled");
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
            Action::Enable if self.starts_at_boot(name) => Ok(()),
            Action::Enable => self.enable(name),
            Action::Disable => self.disable(name),
            other => self.act_on(name, other.verb()),
        }
    }

    fn log(&self, name: &ServiceName, since: Option<i64>, errors_only: bool, lines: usize) -> Option<Vec<String>> {
        file_log(&self.machine, name, since, errors_only, lines)
    }

    /// What `update-rc.d` has left in the runlevels of a script that is gone.
    fn forget(&self, name: &ServiceName) {
        let name = name.as_str();
        if self.machine.init() == Init::Busybox || script(&self.machine, name).exists() {
            return;
        }
        if self.has("update-rc.d") {
            self.commands.run(&["update-rc.d", name, "remove"]).map(drop).unwrap_or_default();
        }
        if let Err(error) = self.remove_links(name) {
            tracing::warn!(%error, "links of {name} are left in the runlevels");
        }
    }
}

/// The line that starts a service at boot, below busybox' init.
fn line(name: &str) -> String {
    format!("::once:/etc/init.d/{name} start")
}

/// Whether a line of an inittab starts that service.
fn starts(text: &str, name: &str) -> bool {
    let mut fields = text.trim().splitn(4, ':');
    let comment = text.trim_start().starts_with('#');
    let command = fields.nth(3).unwrap_or_default();
    !comment && command.split_whitespace().eq([format!("/etc/init.d/{name}").as_str(), "start"])
}

fn is_link(path: &Path, kind: char) -> bool {
    path.file_name().and_then(|file| file.to_str()).is_some_and(|file| file.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::commands::fake::Scripted;
    use std::time::{Duration, SystemTime};

    fn file(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        sys_files::write_atomic(&path, text.as_bytes(), 0o755).unwrap();
    }

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            file(root.path(), path, text);
        }
        root
    }

    fn name(text: &str) -> ServiceName {
        ServiceName::parse(text).unwrap()
    }

    const NGINX: &str =
        "#!/bin/sh\n# Short-Description: starts the web server\nPIDFILE=/run/web.pid\ncase $1 in status) ;;\n";

    #[test]
    fn a_script_is_asked_and_its_file_tells_the_process() {
        let own = std::process::id();
        let root = root(&[("etc/init.d/nginx", NGINX), ("usr/sbin/service", ""), ("etc/rc3.d/S20nginx", "")]);
        file(root.path(), "run/web.pid", &format!("{own}\n"));
        file(root.path(), "etc/init.d/README", "");
        for (code, state, pid) in [
            (0, State::Running, Some(own)),
            (3, State::Stopped, None),
            (1, State::Failed, None),
            (4, State::Running, Some(own)),
        ] {
            let commands = Scripted::new(move |_| (code, String::new()));
            let scripts = Scripts::new(&Machine::below(root.path(), Init::Sysvinit), &commands);
            let nginx = scripts.status(&name("nginx")).unwrap().unwrap();
            assert_eq!((nginx.state, nginx.pid, nginx.startup.as_str()), (state, pid, "enabled"), "{code}");
            assert_eq!(nginx.description, "starts the web server");
            assert_eq!(commands.asked(), ["service nginx status"]);
            assert_eq!(scripts.list().unwrap().len(), 1);
            assert_eq!(scripts.status(&name("apache2")).unwrap(), None);
        }
    }

    #[test]
    fn a_process_that_is_gone_has_failed() {
        let root = root(&[("etc/init.d/web", "#!/bin/sh\n"), ("run/web.pid", "4194999\n")]);
        let commands = Scripted::new(|_| (0, String::new()));
        let scripts = Scripts::new(&Machine::below(root.path(), Init::Busybox), &commands);
        let web = scripts.status(&name("web")).unwrap().unwrap();
        assert_eq!((web.state, web.detail.as_str()), (State::Failed, "dead"));
        assert!(commands.asked().is_empty(), "it knows no status");
    }

    #[test]
    fn runlevels_are_left_to_who_keeps_them() {
        for (keeper, asked) in [
            ("usr/sbin/update-rc.d", ["update-rc.d web defaults", "update-rc.d web enable", "update-rc.d web disable"]),
            ("sbin/chkconfig", ["chkconfig --add web", "chkconfig web on", "chkconfig web off"]),
        ] {
            let root = root(&[("etc/init.d/web", "#!/bin/sh\n"), (keeper, "")]);
            let commands = Scripted::new(|_| (0, String::new()));
            let scripts = Scripts::new(&Machine::below(root.path(), Init::Sysvinit), &commands);
            scripts.act(&name("web"), Action::Enable).unwrap();
            scripts.act(&name("web"), Action::Disable).unwrap();
            assert_eq!(commands.asked(), asked);
        }
    }

    #[test]
    fn without_a_keeper_the_links_are_ours() {
        let root = root(&[("etc/init.d/web", "#!/bin/sh\n"), ("etc/rc2.d/S01web2", ""), ("etc/rc6.d/x", "")]);
        let commands = Scripted::new(|_| (0, String::new()));
        let scripts = Scripts::new(&Machine::below(root.path(), Init::Sysvinit), &commands);
        scripts.act(&name("web"), Action::Enable).unwrap();
        assert_eq!(fs::read_link(root.path().join("etc/rc2.d/S99web")).unwrap(), Path::new("../init.d/web"));
        assert!(root.path().join("etc/rc6.d/K01web").is_symlink() && scripts.starts_at_boot("web"));
        scripts.act(&name("web"), Action::Disable).unwrap();
        assert!(!scripts.starts_at_boot("web") && root.path().join("etc/rc2.d/S01web2").exists());
        assert!(!root.path().join("etc/rc6.d/K01web").is_symlink() && commands.asked().is_empty());
    }

    #[test]
    fn busybox_starts_what_is_in_its_inittab() {
        let before = "::sysinit:/bin/mount -a\n# ::once:/etc/init.d/web start\n";
        let root = root(&[("etc/init.d/web", "#!/bin/sh\n"), ("etc/inittab", before)]);
        let commands = Scripted::new(|_| (0, String::new()));
        let scripts = Scripts::new(&Machine::below(root.path(), Init::Busybox), &commands);
        let inittab = || fs::read_to_string(root.path().join("etc/inittab")).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        sys_files::set_modified(&root.path().join("etc/inittab"), time).unwrap();
        assert!(!scripts.starts_at_boot("web"));
        for _ in 0..2 {
            scripts.act(&name("web"), Action::Enable).unwrap();
            assert_eq!(inittab(), format!("{before}::once:/etc/init.d/web start\n"));
        }
        assert!(!scripts.starts_at_boot("we"));
        scripts.act(&name("web"), Action::Disable).unwrap();
        assert_eq!(inittab(), before);
        assert_eq!(fs::metadata(root.path().join("etc/inittab")).unwrap().modified().unwrap(), time);
        scripts.act(&name("web"), Action::Restart).unwrap();
        assert_eq!(commands.asked(), ["/etc/init.d/web restart"]);
    }
}
