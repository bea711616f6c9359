//! systemd's services, through systemctl's machine-readable output and the journal.

use super::{Action, Service, ServiceManager, ServiceName, State};
use crate::host::{
    Machine,
    commands::{CommandError, Commands},
    logs::journal,
};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

/// What is asked of each unit.
const PROPERTIES: &str = "--property=Id,Description,LoadState,ActiveState,SubState,Result,UnitFileState,MainPID,Type,\
                          ActiveEnterTimestampMonotonic,CanReload,TriggeredBy";
/// Unit types that are services in operators' eyes besides `.service`.
const KINDS: [&str; 4] = [".service", ".socket", ".timer", ".path"];

/// systemd.
pub struct Systemd<'a> {
    machine: Machine,
    commands: &'a dyn Commands,
}

impl<'a> Systemd<'a> {
    /// A machine's; speaks to it through systemctl and journalctl.
    pub fn new(machine: &Machine, commands: &'a dyn Commands) -> Self {
        Self { machine: machine.clone(), commands }
    }

    /// The services that a target wants at boot: the links that enabling makes. Asking systemctl takes 25 times as long.
    fn wanted(&self) -> Vec<String> {
        let directory = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        directory(&self.machine.path("/etc/systemd/system"))
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "wants"))
            .flat_map(|wants| directory(&wants.path()))
            .filter_map(|link| Some(link.file_name().to_str()?.strip_suffix(".service")?.to_owned()))
            .collect()
    }
}

/// The unit that a name stands for.
pub fn unit(name: &ServiceName) -> String {
    let name = name.as_str();
    if KINDS.iter().any(|kind| name.ends_with(kind)) { name.to_owned() } else { format!("{name}.service") }
}

impl ServiceManager for Systemd<'_> {
    fn list(&self) -> Result<Vec<Service>, CommandError> {
        let loaded = self.commands.succeed(&["systemctl", "show", "--no-pager", PROPERTIES, "--", "*.service"])?;
        let files = self.commands.succeed(&[
            "systemctl",
            "list-unit-files",
            "--type=service",
            "--no-legend",
            "--no-pager",
            "--full",
        ])?;
        let now = self.machine.system().monotonic_micros();
        let text = loaded.stdout_text();
        let mut services: BTreeMap<String, Service> = text
            .split("\n\n")
            .filter_map(|block| service(block, now))
            .map(|service| (service.name.clone(), service))
            .collect();
        for (name, startup) in unit_files(&files.stdout_text()) {
            services.entry(name.clone()).or_insert_with(|| not_loaded(name, startup));
        }
        Ok(services.into_values().collect())
    }

    fn kept(&self) -> Result<Vec<String>, CommandError> {
        let argv = [
            "systemctl",
            "list-units",
            "--type=service",
            "--state=running",
            "--plain",
            "--no-legend",
            "--no-pager",
            "--full",
        ];
        let running = self.commands.succeed(&argv)?.stdout_text();
        let names =
            running.lines().filter_map(|line| line.split_whitespace().find_map(|word| word.strip_suffix(".service")));
        Ok(names.map(str::to_owned).chain(self.wanted()).collect())
    }

    fn status(&self, name: &ServiceName) -> Result<Option<Service>, CommandError> {
        let shown = self.commands.succeed(&["systemctl", "show", "--no-pager", PROPERTIES, "--", &unit(name)])?;
        Ok(service(&shown.stdout_text(), self.machine.system().monotonic_micros()))
    }

    fn act(&self, name: &ServiceName, action: Action) -> Result<(), CommandError> {
        let argv = ["systemctl", "--no-ask-password", "--no-pager", action.verb(), "--", &unit(name)];
        self.commands.succeed(&argv).map(drop)
    }

    fn log(&self, name: &ServiceName, since: Option<i64>, errors_only: bool, lines: usize) -> Option<Vec<String>> {
        let unit = unit(name);
        let priority = errors_only.then_some("err");
        let query = journal::Query { unit: Some(&unit), since, priority, lines, ..journal::Query::default() };
        // A log that can't be read must not hide what it was wanted for.
        let entries = journal::read(self.commands, &query).ok()?;
        Some(entries.iter().map(journal::Entry::brief).collect())
    }

    fn reread(&self) -> Result<(), CommandError> {
        self.commands.succeed(&["systemctl", "--no-ask-password", "daemon-reload"]).map(drop)
    }

    fn forget(&self, name: &ServiceName) {
        // It fails where there is nothing to forget.
        self.commands.succeed(&["systemctl", "--no-ask-password", "reset-failed", "--", &unit(name)]).ok();
    }
}

/// A service from a block of `systemctl show`; `None` where systemd has no such unit, and none of that name runs whose file
/// is gone.
fn service(block: &str, now: u64) -> Option<Service> {
    let properties: HashMap<&str, &str> = block.lines().filter_map(|line| line.split_once('=')).collect();
    let get = |key| properties.get(key).copied().unwrap_or_default();
    let gone = matches!(get("LoadState"), "not-found" | "");
    if gone && matches!(get("ActiveState"), "inactive" | "failed" | "") {
        return None;
    }
    let state = match get("ActiveState") {
        "active" | "reloading" if get("SubState") == "exited" => State::Exited,
        "active" | "reloading" => State::Running,
        "activating" => State::Starting,
        "deactivating" => State::Stopping,
        "failed" => State::Failed,
        _ => State::Stopped,
    };
    let detail = if state == State::Failed { get("Result") } else { get("SubState") };
    let entered = get("ActiveEnterTimestampMonotonic").parse::<u64>().ok().filter(|entered| *entered > 0);
    #[expect(clippy::cast_precision_loss, reason = "microseconds since boot fit well into 53 bits")]
    let up = |entered: u64| now.saturating_sub(entered) as f64 / 1e6;
    Some(Service {
        name: get("Id").trim_end_matches(".service").to_owned(),
        description: get("Description").to_owned(),
        state,
        detail: detail.to_owned(),
        startup: if get("LoadState") == "masked" { "masked" } else { get("UnitFileState") }.to_owned(),
        pid: get("MainPID").parse().ok().filter(|pid| *pid > 0),
        up_seconds: entered.filter(|_| state.is_up()).map(up),
        can_reload: Some(get("CanReload") == "yes"),
        once: get("Type") == "oneshot",
        unobserved: matches!(get("Type"), "simple" | "exec" | "idle"),
        triggers: get("TriggeredBy").split_whitespace().map(str::to_owned).collect(),
    })
}

/// Name and state of each unit file; templates and aliases left out: neither is a service.
fn unit_files(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, state) = (words.next()?.strip_suffix(".service")?, words.next()?);
        (!name.ends_with('@') && state != "alias").then(|| (name.to_owned(), state.to_owned()))
    })
}

fn not_loaded(name: String, startup: String) -> Service {
    Service {
        name,
        description: String::new(),
        state: State::Stopped,
        detail: "dead".to_owned(),
        startup,
        pid: None,
        up_seconds: None,
        can_reload: None,
        once: false,
        unobserved: false,
        triggers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NGINX: &str = "Type=forking\nMainPID=812\nResult=success\nId=nginx.service\n\
        Description=A high performance web server and a reverse proxy server\nLoadState=loaded\nActiveState=active\n\
        SubState=running\nUnitFileState=enabled\nActiveEnterTimestampMonotonic=4000000\nCanReload=yes\nTriggeredBy=\n";

    #[test]
    fn a_running_service_reads() {
        let nginx = service(NGINX, 7_500_000).unwrap();
        assert_eq!((nginx.name.as_str(), nginx.state, nginx.pid), ("nginx", State::Running, Some(812)));
        assert_eq!((nginx.up_seconds, nginx.startup.as_str(), nginx.once), (Some(3.5), "enabled", false));
    }

    #[test]
    fn what_is_not_there_is_none_and_what_failed_says_how() {
        assert_eq!(service("Id=ngnix.service\nLoadState=not-found\nActiveState=inactive\n", 0), None);
        let orphan = service(&NGINX.replace("LoadState=loaded", "LoadState=not-found"), 9_000_000).unwrap();
        assert_eq!((orphan.state, orphan.pid), (State::Running, Some(812)), "its file is gone, its process is not");
        let failed = NGINX.replace("ActiveState=active", "ActiveState=failed").replace("success", "start-limit-hit");
        let failed = service(&failed, 9_000_000).unwrap();
        assert_eq!((failed.state, failed.detail.as_str(), failed.up_seconds), (State::Failed, "start-limit-hit", None));
    }

    #[test]
    fn unit_files_read_in_old_and_new_form() {
        let text = "nginx.service enabled enabled\ngetty@.service enabled enabled\nsshd.service alias -\nold.service disabled\n";
        let files: Vec<_> = unit_files(text).collect();
        assert_eq!(files, [("nginx".into(), "enabled".into()), ("old".into(), "disabled".into())]);
    }
}
