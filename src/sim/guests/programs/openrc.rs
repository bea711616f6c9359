//! rc-service, rc-update and rc-status.

use super::{Output, Programs, Verb};
use crate::{
    host::commands::CommandError,
    sim::guests::{
        guest::Guest,
        state::{Service, Up},
    },
};

pub(super) fn service(programs: &Programs, args: &[&str]) -> Result<Output, CommandError> {
    let guest = &programs.guest;
    let words: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with('-')).collect();
    let [name, word, ..] = words[..] else {
        return Ok(Output::bad(1, "rc-service: you need to specify at least one argument"));
    };
    let Some(service) = guest.state().services.get(name).cloned() else {
        return Ok(Output::bad(1, format!(" * rc-service: service `{name}' does not exist")));
    };
    let verb = match word {
        "start" => Verb::Start,
        "stop" => Verb::Stop,
        "restart" => Verb::Restart,
        "reload" => Verb::Reload,
        "status" => return Ok(told(&service)),
        other => return Ok(Output::bad(1, format!(" * {name}: unknown function `{other}'"))),
    };
    match (verb, service.up) {
        (Verb::Start, Up::Running | Up::Exited) => {
            return Ok(Output::good(format!(" * WARNING: {name} has already been started\n")));
        }
        (Verb::Stop, Up::Stopped) => return Ok(Output::good(format!(" * WARNING: {name} is already stopped\n"))),
        (Verb::Reload, _) if !service.kind.reload => {
            return Ok(Output::bad(1, format!(" * {name}: unknown function `reload'")));
        }
        _ => {}
    }
    let command = ["rc-service", name, word];
    let done = programs.act(verb, name, &command)?;
    let stopping = if matches!(verb, Verb::Stop | Verb::Restart) {
        format!(" * Stopping {name} ... [ ok ]\n")
    } else {
        String::new()
    };
    Ok(match done {
        Ok(()) if verb == Verb::Stop => Output::good(stopping),
        Ok(()) if verb == Verb::Reload => Output::good(format!(" * Reloading {name} configuration ... [ ok ]\n")),
        Ok(()) => Output::good(format!("{stopping} * Starting {name} ... [ ok ]\n")),
        Err(refusal) => Output {
            code: 1,
            out: stopping,
            err: format!("{}\n * Starting {name} ... [ !! ]\n * ERROR: {name} failed to start\n", refusal.0),
        },
    })
}

fn told(service: &Service) -> Output {
    match service.up {
        Up::Running | Up::Exited => Output::good(" * status: started\n"),
        Up::Stopped => Output::good(" * status: stopped\n").with_code(3),
        Up::Failed => Output::good(" * status: crashed\n").with_code(32),
    }
}

pub(super) fn update(guest: &Guest, args: &[&str]) -> Output {
    let words: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with('-')).collect();
    let (enabled, name) = match words[..] {
        ["add", name, ..] => (true, name),
        ["del" | "delete", name, ..] => (false, name),
        ["show", ..] | [] => {
            let state = guest.state();
            let enabled = state.services.values().filter(|service| service.enabled);
            let lines: Vec<String> = enabled.map(|service| format!("{:>20} | default\n", service.name)).collect();
            return Output::good(lines.concat());
        }
        [other, ..] => return Output::bad(1, format!(" * rc-update: invalid command `{other}'")),
    };
    let Some(before) = guest.state().services.get(name).map(|service| service.enabled) else {
        return Output::bad(1, format!(" * rc-update: service `{name}' does not exist"));
    };
    match guest.enable(name, enabled) {
        Err(error) => Output::bad(1, format!(" * rc-update: {error}")),
        Ok(()) if before == enabled && enabled => {
            Output::good(format!(" * rc-update: {name} already installed in runlevel `default'; skipping\n"))
        }
        Ok(()) if enabled => Output::good(format!(" * service {name} added to runlevel default\n")),
        Ok(()) if before => Output::good(format!(" * service {name} removed from runlevel default\n")),
        Ok(()) => Output::bad(1, format!(" * rc-update: service `{name}' is not in the runlevel `default'")),
    }
}

pub(super) fn status(guest: &Guest) -> Output {
    let state = guest.state();
    let line = |service: &Service| {
        let word = match service.up {
            Up::Running | Up::Exited => "started",
            Up::Stopped => "stopped",
            Up::Failed => "crashed",
        };
        format!(" {:<60} [  {word}  ]\n", service.name)
    };
    let enabled = state.services.values().filter(|service| service.enabled);
    Output::good(format!("Runlevel: default\n{}", enabled.map(line).collect::<String>()))
}
