//! What services' states and changes are called, and which line of a log tells most.

use super::{Action, Service, State};
use crate::host::text::{clean, span};

/// `restarted`, `stopped`, …
pub fn done(action: Action) -> &'static str {
    match action {
        Action::Start => "started",
        Action::Stop => "stopped",
        Action::Restart => "restarted",
        Action::Reload => "reloaded",
        Action::Enable => "enabled",
        Action::Disable => "disabled",
    }
}

/// `running`, `stopped`, `failed (exit-code)`, …
pub fn state(service: &Service) -> String {
    let word = match service.state {
        State::Running => "running",
        State::Exited => "active, its work done",
        State::Stopped => "stopped",
        State::Failed => "failed",
        State::Starting => "starting",
        State::Stopping => "stopping",
    };
    match service.detail.as_str() {
        "" | "running" | "dead" | "exited" | "failed" | "started" | "stopped" | "success" => word.to_owned(),
        detail => format!("{word} ({detail})"),
    }
}

/// `nginx is running, pid 812, for 3 h 20 min, starts at boot`.
pub fn standing(service: &Service) -> String {
    let mut text = format!("{} is {}", service.name, state(service));
    if let Some(pid) = service.pid {
        text = format!("{text}, pid {pid}");
    }
    if let Some(seconds) = service.up_seconds.filter(|_| service.state.is_up()) {
        text = format!("{text}, for {}", span(seconds));
    }
    match service.startup.as_str() {
        "" => {}
        "enabled" | "enabled-runtime" => text.push_str(", starts at boot"),
        "disabled" => text.push_str(", does not start at boot"),
        other => text = format!("{text}, {other}"),
    }
    text
}

/// `pid 812 → 4410, active 0.6 s`.
pub fn change(before: &Service, after: &Service) -> String {
    let pid = match (before.pid, after.pid) {
        (Some(before), Some(after)) if before == after => format!("pid {after} as before"),
        (Some(before), Some(after)) => format!("pid {before} → {after}"),
        (None, Some(after)) => format!("pid {after}"),
        _ => "no main process".to_owned(),
    };
    match after.up_seconds {
        Some(seconds) => format!("{pid}, active {}", span(seconds)),
        None => format!("{pid}, {}", state(after)),
    }
}

/// `pid 812 is gone`.
pub fn gone(before: &Service) -> String {
    before.pid.map_or_else(|| "it is down".to_owned(), |pid| format!("pid {pid} is gone"))
}

/// The line of a log that most likely says why: the first that speaks of something wrong in the service's own words, else
/// any such, else the last. The manager's own lines ("Failed with result 'exit-code'") come after the service's.
pub fn telling(log: &[String]) -> Option<String> {
    const WRONG: &[&str] = &[
        "emerg",
        "fatal",
        "error",
        "fail",
        "cannot",
        "can't",
        "unable",
        "denied",
        "refused",
        "invalid",
        "no such",
        "not found",
        "in use",
        "unknown",
        "panic",
        "missing",
        "syntax",
    ];
    const MANAGERS: &[&str] = &["systemd", "job for", "see \"systemctl", "main process exited", "failed with result"];
    let wrong = |line: &&String| {
        let line = line.to_lowercase();
        WRONG.iter().any(|word| line.contains(word))
    };
    let own = |line: &&String| {
        let line = line.to_lowercase();
        !MANAGERS.iter().any(|word| line.contains(word))
    };
    let best = log.iter().filter(own).find(wrong).or_else(|| log.iter().find(wrong));
    best.or_else(|| log.iter().rev().find(own)).or(log.last()).map(|line| clean(line))
}

/// Up to three names that are close to one that does not exist, closest first.
pub fn close<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = names
        .map(|name| {
            let lower = name.to_lowercase();
            let part = wanted.len() >= 3 && (lower.contains(&wanted) || (lower.len() >= 3 && wanted.contains(&lower)));
            (strsim::jaro_winkler(&wanted, &lower) + if part { 0.3 } else { 0.0 }, name)
        })
        .filter(|(score, _)| *score > 0.85)
        .collect();
    scored.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(other.1)));
    scored.dedup_by_key(|(_, name)| *name);
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Whether a /proc/PID/cgroup is that of one of our services: `…/NAME.service` by systemd, `…/NAME`, `…/openrc.NAME` or
/// `…/openrc_NAME` by OpenRC. Other services' names are never ours: groups of containers are called anything.
pub fn is_in_group(groups: &str, name: &str) -> bool {
    let forms = [name.to_owned(), format!("{name}.service"), format!("openrc.{name}"), format!("openrc_{name}")];
    name.starts_with("remotectl-") && groups.split(['/', '\n']).any(|part| forms.iter().any(|form| form == part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_own_complaint_is_told() {
        let log: Vec<String> = [
            "systemd: Starting nginx.service - A high performance web server...",
            "nginx: 2026/11/22 12:00:00 [emerg] 99#99: unknown directive \"lisen\" in /etc/nginx/nginx.conf:3",
            "nginx: nginx: configuration file /etc/nginx/nginx.conf test failed",
            "systemd: nginx.service: Control process exited, code=exited, status=1/FAILURE",
            "systemd: nginx.service: Failed with result 'exit-code'.",
        ]
        .map(str::to_owned)
        .into();
        assert!(telling(&log).unwrap().contains("unknown directive"), "{:?}", telling(&log));
        assert!(telling(&log[3..]).unwrap().contains("FAILURE"));
        assert_eq!(telling(&[]), None);
    }

    #[test]
    fn close_names_are_found_by_spelling_and_by_part() {
        let names = ["nginx", "postgresql", "postgresql@15-main", "ssh", "cron", "php8.2-fpm"];
        assert_eq!(close("ngnix", names.into_iter()), ["nginx"]);
        assert_eq!(close("postgres", names.into_iter()), ["postgresql", "postgresql@15-main"]);
        assert_eq!(close("fpm", names.into_iter()), Vec::<String>::new());
        assert_eq!(close("sshd", names.into_iter()), ["ssh"]);
    }

    #[test]
    fn our_own_service_is_known_by_its_control_group() {
        for group in [
            "system.slice/remotectl-agent.service",
            "openrc.remotectl-agent",
            "remotectl-agent",
            "a.slice/remotectl-agent.service/sub",
        ] {
            assert!(is_in_group(&format!("1:cpu:/\n0::/{group}\n"), "remotectl-agent"), "{group}");
        }
        assert!(!is_in_group("0::/user.slice/session-1.scope\n", "remotectl-agent"));
        assert!(!is_in_group("0::/system.slice/remotectl-pve-agent.service\n", "remotectl-agent"));
        assert!(!is_in_group("0::/lxc/nginx\n", "nginx"));
    }
}
