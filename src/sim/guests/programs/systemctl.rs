//! systemctl, as the agent calls it and as people do.

use super::{Output, Programs, Verb};
use crate::{
    host::commands::CommandError,
    sim::guests::{
        guest::{Guest, now, seconds},
        logs,
        state::{Process, Service, Up},
    },
};

pub(super) fn run(programs: &Programs, args: &[&str]) -> Result<Output, CommandError> {
    let guest = &programs.guest;
    let words: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with('-')).collect();
    let has = |option: &str| args.contains(&option);
    let verb = match words.first() {
        Some(&"start") => Verb::Start,
        Some(&"stop") => Verb::Stop,
        Some(&("restart" | "try-restart" | "reload-or-restart")) => Verb::Restart,
        Some(&"reload") => Verb::Reload,
        _ => return Ok(look(guest, &words, &has)),
    };
    let mut command = vec!["systemctl"];
    command.extend(args);
    for unit in &words[1..] {
        let name = plain(unit);
        let Some(service) = guest.state().services.get(name).cloned() else {
            let verb = words[0];
            return Ok(Output::bad(5, format!("Failed to {verb} {}: Unit {} not found.", full(name), full(name))));
        };
        if verb == Verb::Reload && !service.kind.reload {
            return Ok(Output::bad(
                1,
                format!("Failed to reload {0}: Job type reload is not applicable for unit {0}.", full(name)),
            ));
        }
        if programs.act(verb, name, &command)?.is_err() {
            let job = format!(
                "Job for {0} failed because the control process exited with error code.\nSee \"systemctl status {0}\" and \
                 \"journalctl -xeu {0}\" for details.",
                full(name)
            );
            return Ok(Output::bad(1, job));
        }
    }
    Ok(Output::good(""))
}

/// What changes no service's state.
fn look(guest: &Guest, words: &[&str], has: &dyn Fn(&str) -> bool) -> Output {
    match words {
        ["show", "*.service"] => {
            let state = guest.state();
            let blocks: Vec<String> =
                state.services.values().filter(|one| is_loaded(one)).map(|one| shown(guest, one, state.boot)).collect();
            Output::good(blocks.join("\n"))
        }
        ["show", unit, ..] => show(guest, plain(unit)),
        ["list-unit-files", ..] => {
            let state = guest.state();
            let line = |service: &Service| format!("{} {} enabled\n", full(&service.name), service.startup());
            Output::good(state.services.values().map(line).collect::<String>())
        }
        ["list-units", ..] | [] => list(guest, has),
        ["status", unit, ..] => status(guest, plain(unit)),
        ["is-active", unit, ..] => {
            let state = guest.state();
            let word = state.services.get(plain(unit)).map_or("inactive", |service| active(service.up));
            Output::good(format!("{word}\n")).with_code(if word == "active" { 0 } else { 3 })
        }
        ["is-enabled", unit, ..] => match guest.state().services.get(plain(unit)) {
            Some(service) => Output::good(format!("{}\n", service.startup())).with_code(i32::from(!service.enabled)),
            None => {
                Output::bad(1, format!("Failed to get unit file state for {}: No such file or directory", full(unit)))
            }
        },
        ["enable" | "disable", units @ ..] => enable(guest, words[0] == "enable", units),
        ["daemon-reload" | "reset-failed", ..] => Output::good(""),
        ["cat", unit] => {
            let path = format!("/usr/lib/systemd/system/{}", full(plain(unit)));
            super::texts::read(guest, &path).map_or_else(
                |_| Output::bad(1, format!("No files found for {}.", full(unit))),
                |text| Output::good(format!("# {path}\n{text}")),
            )
        }
        [verb, ..] => Output::bad(1, format!("Unknown command verb '{verb}'.")),
    }
}

/// Without `.service`.
fn plain(unit: &str) -> &str {
    unit.strip_suffix(".service").unwrap_or(unit)
}

fn full(name: &str) -> String {
    let other = [".service", ".socket", ".timer", ".path"].iter().any(|kind| name.ends_with(kind));
    if other { name.to_owned() } else { format!("{name}.service") }
}

fn active(up: Up) -> &'static str {
    match up {
        Up::Running | Up::Exited => "active",
        Up::Stopped => "inactive",
        Up::Failed => "failed",
    }
}

fn sub(up: Up) -> &'static str {
    match up {
        Up::Running => "running",
        Up::Exited => "exited",
        Up::Stopped => "dead",
        Up::Failed => "failed",
    }
}

/// systemd forgets units that are off and that nothing wants.
fn is_loaded(service: &Service) -> bool {
    service.up != Up::Stopped || service.enabled
}

fn shown(guest: &Guest, service: &Service, boot: Option<i64>) -> String {
    let up = matches!(service.up, Up::Running | Up::Exited);
    let entered = if up { (service.since - boot.unwrap_or_default()).max(1) } else { 0 };
    let result = if service.up == Up::Failed { "exit-code" } else { "success" };
    format!(
        "Type={}\nMainPID={}\nResult={result}\nId={}\nDescription={}\nLoadState=loaded\nActiveState={}\nSubState={}\n\
         UnitFileState={}\nActiveEnterTimestampMonotonic={entered}\nCanReload={}\nTriggeredBy=\n",
        service.kind.form.as_deref().unwrap_or("simple"),
        service.pid().unwrap_or_default(),
        full(&service.name),
        guest.fill(&service.description(), &service.name, 0, 0, 0),
        active(service.up),
        sub(service.up),
        service.startup(),
        if service.kind.reload { "yes" } else { "no" },
    )
}

fn show(guest: &Guest, name: &str) -> Output {
    let state = guest.state();
    Output::good(state.services.get(name).map_or_else(
        || {
            format!(
                "Id={0}\nDescription={0}\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n",
                full(name)
            )
        },
        |service| shown(guest, service, state.boot),
    ))
}

fn list(guest: &Guest, has: &dyn Fn(&str) -> bool) -> Output {
    let state = guest.state();
    let (running, failed) = (has("--state=running"), has("--failed") || has("--state=failed"));
    let fits = |service: &&Service| {
        is_loaded(service) && (!running || service.up == Up::Running) && (!failed || service.up == Up::Failed)
    };
    let width = state.services.values().filter(fits).map(|service| service.name.len() + 8).max().unwrap_or_default();
    let line = |service: &Service| {
        let mark = if service.up == Up::Failed && !has("--plain") {
            "● "
        } else if has("--plain") {
            ""
        } else {
            "  "
        };
        format!(
            "{mark}{:width$} loaded {:8} {:7} {}\n",
            full(&service.name),
            active(service.up),
            sub(service.up),
            service.description()
        )
    };
    let lines: String = state.services.values().filter(fits).map(line).collect();
    if has("--no-legend") {
        return Output::good(lines);
    }
    let count = state.services.values().filter(fits).count();
    Output::good(format!(
        "  {:width$} LOAD   ACTIVE   SUB     DESCRIPTION\n{lines}\n{count} loaded units listed.\n",
        "UNIT"
    ))
}

fn status(guest: &Guest, name: &str) -> Output {
    let state = guest.state();
    let Some(service) = state.services.get(name) else {
        return Output::bad(4, format!("Unit {} could not be found.", full(name)));
    };
    let mark = match service.up {
        Up::Running | Up::Exited => "●",
        Up::Stopped => "○",
        Up::Failed => "×",
    };
    let since = logs::local(service.since / 1_000_000, "%a %Y-%m-%d %H:%M:%S %Z");
    let ago = seconds(now() - service.since);
    let result = if service.up == Up::Failed { " (Result: exit-code)" } else { "" };
    let mut text = format!(
        "{mark} {} - {}\n     Loaded: loaded (/usr/lib/systemd/system/{}; {}; preset: enabled)\n     Active: {} ({}){result} since {since}; {ago:.0}s ago\n",
        full(name),
        service.description(),
        full(name),
        service.startup(),
        active(service.up),
        sub(service.up),
    );
    if let Some(pid) = service.pid() {
        let main = format!(
            "   Main PID: {pid} ({})\n      Tasks: {}\n     CGroup: /system.slice/{}\n",
            service.comm(),
            service.processes.len(),
            full(name)
        );
        let line = |process: &Process| format!("             ├─{} \"{}\"\n", process.pid, process.command);
        text.extend([main].into_iter().chain(service.processes.iter().map(line)));
    }
    let code = if matches!(service.up, Up::Running | Up::Exited) { 0 } else { 3 };
    drop(state);
    let log = super::journalctl::run(guest, &["--no-pager", "-n", "10", "-u", name]);
    Output::good(format!("{text}\n{}", log.out)).with_code(code)
}

fn enable(guest: &Guest, enabled: bool, units: &[&str]) -> Output {
    let mut said = String::new();
    for unit in units {
        let name = plain(unit);
        let Some(before) =
            guest.state().services.get(name).map(|service| (service.enabled, service.kind.startup.is_some()))
        else {
            return Output::bad(1, format!("Failed to enable unit: Unit file {} does not exist.", full(name)));
        };
        if before.1 {
            said += "The unit files have no installation config (WantedBy=, RequiredBy=, UpheldBy=,\nAlso=, or Alias= settings in the [Install] section).\n";
            continue;
        }
        if let Err(error) = guest.enable(name, enabled) {
            return Output::bad(1, format!("Failed to enable unit: {error}"));
        }
        if before.0 != enabled {
            let link = format!("/etc/systemd/system/multi-user.target.wants/{}", full(name));
            let told = if enabled {
                format!("Created symlink {link} → /usr/lib/systemd/system/{}.\n", full(name))
            } else {
                format!("Removed \"{link}\".\n")
            };
            said += &told;
        }
    }
    Output { code: 0, out: String::new(), err: said }
}
