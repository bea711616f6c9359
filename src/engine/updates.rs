//! What `agent.update` comes to on each target: which executable an agent is sent, which have nothing to do, and which
//! can't be updated, with the command that mends that.

use super::{Engine, artifacts::Held, roster::Agent};
use crate::{
    host::update::already,
    link::envelope::{UpdateOrder, Work},
    model::{
        Inventory, Op, Outcome, Step, Target,
        facts::Facts,
        lint::{Finding, Kind, Severity},
        version::{is_newer, is_version},
    },
    sys::clock,
};

/// What there is to do for one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Due {
    /// Nothing: it runs that version, or a newer one than the hub holds.
    Nothing,
    /// This.
    Order(UpdateOrder),
    /// It can't be done: why, and what to do about it.
    Impossible(String, String),
}

impl Engine {
    /// What is sent to a target's agent, or how the step ends on it without that.
    pub(super) fn update(&self, target: &Target, version: Option<&str>) -> Result<(Agent, Work), Box<Outcome>> {
        let agent = self.roster.of_target(target).ok_or_else(|| {
            let help = format!("remotectl deploy {target}");
            Box::new(Outcome::rejected(format!("{target} has no agent that could be updated")).with_help(help))
        })?;
        if !agent.online(clock::unix_seconds()) {
            return Err(Box::new(
                Outcome::rejected(format!("the agent of {target} does not answer"))
                    .with_help(format!("is it running? where a node reaches it: remotectl deploy {target}")),
            ));
        }
        match due(&agent, version, &self.artifacts.list()) {
            Due::Nothing => Err(Box::new(already(&agent.record.version))),
            Due::Order(order) => Ok((agent, Work::Update { order })),
            Due::Impossible(why, help) => Err(Box::new(Outcome::rejected(why).with_help(help))),
        }
    }

    /// What is to be said of a plan's updates beforehand, beside what the linter says.
    pub(super) fn update_findings(&self, steps: &[Step], inventory: &Inventory) -> Vec<Finding> {
        let held = self.artifacts.list();
        let of_step = |(index, step): (usize, &Step)| {
            let Op::AgentUpdate { version } = &step.op else { return Vec::new() };
            let agents = step.targets.iter().filter_map(|target| self.roster.of_target(target));
            let dues: Vec<(Agent, Due)> = agents
                .map(|agent| {
                    let due = due(&agent, version.as_deref(), &held);
                    (agent, due)
                })
                .collect();
            // One that can't be updated keeps none of the others from it.
            let none =
                dues.len() == step.targets.len() && dues.iter().all(|(_, due)| matches!(due, Due::Impossible(..)));
            let severity = if none { Severity::Error } else { Severity::Warning };
            dues.into_iter().filter_map(|(agent, due)| finding(index, &agent, due, severity, inventory)).collect()
        };
        steps.iter().enumerate().flat_map(of_step).collect()
    }
}

fn finding(step: usize, agent: &Agent, due: Due, severity: Severity, inventory: &Inventory) -> Option<Finding> {
    let target = agent.record.target.clone();
    let label = format!("{target} {}", inventory.name_of(&target));
    let label = label.trim_end();
    let (severity, kind, message, help) = match due {
        Due::Order(_) => return None,
        Due::Nothing => {
            (Severity::Note, Kind::UpToDate, format!("{label} is at {} already", agent.record.version), None)
        }
        Due::Impossible(why, help) => (severity, Kind::NoArtifact, format!("{label}: {why}"), Some(help)),
    };
    Some(Finding { severity, kind, step, target: Some(target), message, help })
}

fn due(agent: &Agent, wanted: Option<&str>, held: &[Held]) -> Due {
    let (record, facts) = (&agent.record, agent.record.facts.as_ref());
    let Some(Facts { arch, previous, .. }) = facts.filter(|facts| !facts.arch.is_empty()) else {
        let why = "the agent has not told yet what machine it runs on".to_owned();
        return Due::Impossible(why, "try again in a minute".to_owned());
    };
    if wanted == Some(record.version.as_str()) {
        return Due::Nothing;
    }
    let fitting: Vec<&Held> = held.iter().filter(|held| held.arch == *arch).collect();
    let order = |version: &str, held: Option<&Held>| {
        let artifact = held.map(Held::artifact);
        Due::Order(UpdateOrder { version: version.to_owned(), arch: arch.clone(), artifact })
    };
    match wanted {
        None => match fitting.first() {
            // A version that is none (of a build for tests) is older than any.
            Some(newest) if is_newer(&newest.version, &record.version) => order(&newest.version, Some(newest)),
            Some(_) => Due::Nothing,
            None => Due::Impossible(
                format!("the hub holds no executable for {arch}"),
                format!("on the hub: remotectl hub artifact add FILE (a remotectl for {arch})"),
            ),
        },
        Some(version) => match fitting.iter().find(|held| held.version == version) {
            Some(found) => order(version, Some(found)),
            None if is_version(version) && previous == version => order(version, None),
            None => missing(version, arch, &fitting),
        },
    }
}

fn missing(version: &str, arch: &str, fitting: &[&Held]) -> Due {
    let there: Vec<&str> = fitting.iter().map(|held| held.version.as_str()).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Due::Impossible(
        format!("the hub holds no remotectl {version} for {arch}; it holds {there}"),
        "on the hub: remotectl hub artifact add FILE".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{link::keys::SigningKey, model::digest::Digest, store::AgentRecord};

    fn agent(version: &str, arch: &str, previous: &str) -> Agent {
        let key = SigningKey::make().0.public();
        let facts = Facts { arch: arch.into(), previous: previous.into(), ..Facts::default() };
        let record = AgentRecord {
            id: key.agent_id(),
            public_key: key.into(),
            role: "agent".into(),
            target: Target::ct(101),
            version: version.into(),
            generation: 1,
            joined: "token".into(),
            joined_at: 0,
            facts: Some(facts),
            hold: None,
            seal: String::new(),
        };
        Agent { record, key, last_seen: 0, since: 0 }
    }

    fn held(arch: &str, version: &str) -> Held {
        let sha256 = Digest::of(version.as_bytes());
        Held { arch: arch.into(), version: version.into(), sha256, size: 1, added: 0 }
    }

    /// As `Artifacts::list` gives it.
    fn shelf() -> Vec<Held> {
        [("aarch64", "0.9.4"), ("x86_64", "0.10.0"), ("x86_64", "0.9.4")].map(|(arch, it)| held(arch, it)).to_vec()
    }

    fn ordered(agent: &Agent, wanted: Option<&str>) -> (String, bool) {
        match due(agent, wanted, &shelf()) {
            Due::Order(order) => (order.version, order.artifact.is_some()),
            other => panic!("{other:?}"),
        }
    }

    fn refused(agent: &Agent, wanted: Option<&str>) -> String {
        match due(agent, wanted, &shelf()) {
            Due::Impossible(why, help) => format!("{why} | {help}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_latest_is_the_newest_for_that_machine() {
        assert_eq!(ordered(&agent("0.9.4", "x86_64", ""), None), ("0.10.0".into(), true));
        assert_eq!(ordered(&agent("test", "aarch64", ""), None), ("0.9.4".into(), true));
        assert_eq!(due(&agent("0.9.4", "aarch64", ""), None, &shelf()), Due::Nothing);
        assert_eq!(due(&agent("0.11.0", "x86_64", ""), None, &shelf()), Due::Nothing, "no step back unasked");
        let why = refused(&agent("0.9.4", "riscv64", ""), None);
        assert!(why.contains("no executable for riscv64 | on the hub: remotectl hub artifact add"), "{why}");
        assert!(refused(&agent("0.9.4", "", ""), None).contains("has not told yet"));
    }

    #[test]
    fn a_version_is_sent_where_it_is_held_or_kept_and_refused_with_what_there_is() {
        let here = agent("0.10.0", "x86_64", "0.8.0");
        assert_eq!(ordered(&here, Some("0.9.4")), ("0.9.4".into(), true));
        assert_eq!(ordered(&here, Some("0.8.0")), ("0.8.0".into(), false), "the agent has kept it");
        assert_eq!(due(&here, Some("0.10.0"), &shelf()), Due::Nothing);
        assert!(refused(&here, Some("0.7.0")).contains("no remotectl 0.7.0 for x86_64; it holds 0.10.0, 0.9.4 |"));
        assert!(refused(&agent("0.1.0", "riscv64", ""), Some("0.9.4")).contains("it holds none |"));
        assert!(refused(&agent("0.1.0", "x86_64", "../x"), Some("../x")).contains("no remotectl"));
    }
}
