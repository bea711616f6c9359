//! The hub, seen from here: whether it answers, by which certificate, with which clock, and what it knows of its agents.

use super::{ANSWER, Answer, Verdict, World};
use crate::{
    link::join::server_name,
    roles::{client::login::Login, version::this},
    sys::{
        clock::{self, Clock},
        http::{Endpoint, Http, HttpError},
        tls::Trust,
    },
};

/// A certificate that ends sooner than in so many seconds is told: 30 days.
const SOON: i64 = 30 * 86_400;
/// Clocks that differ by more than so many seconds are told.
const DRIFT: i64 = 5;
/// Agents sign what they send for 60 s, by the hub's clock; a login's certificate is looked at by this machine's.
const TOO_FAR: i64 = 60;
/// Of many that do not answer, so many are named.
const NAMED: usize = 5;

/// Whether there is a hub, and answers.
pub fn answers(world: &World) -> Vec<Verdict> {
    let verdict = match (&world.place, world.answer()) {
        (Err(failure), _) | (_, Some(Err(failure))) => Verdict::from(failure),
        (Ok(Some(place)), Some(Ok(Answer { info, took, .. }))) => {
            Verdict::good(format!("{} at {place} answers in {} ms", info.id, took.as_millis()))
        }
        (Ok(_), _) => Verdict {
            mend: Some(
                "`remotectl demo` needs none; `remotectl up` on a Proxmox node makes one; `remotectl login STRING` keeps the way to one".to_owned(),
            ),
            ..Verdict::skipped("none is known here")
        },
    };
    vec![verdict]
}

/// What a check says that needs the hub's answer; nothing without a hub.
fn answered(world: &World, check: impl FnOnce(&Answer) -> Verdict) -> Vec<Verdict> {
    match world.answer() {
        None => Vec::new(),
        Some(Err(_)) => vec![Verdict::skipped("the hub does not answer")],
        Some(Ok(answer)) => vec![check(answer)],
    }
}

/// Whether the hub's certificate is the one that is pinned, and stays good for a while.
pub fn certificate(world: &World) -> Vec<Verdict> {
    answered(world, |answer| {
        let Some(login) = world.login() else { return Verdict::skipped("none is needed on a unix socket") };
        let pinned = login.fingerprint.as_str().get(..16).unwrap_or_default();
        if answer.info.fingerprint != login.fingerprint {
            return Verdict::failed(
                format!("pinned is {pinned}…, and the hub calls itself {}", answer.info.fingerprint),
                "`remotectl hub operator add NAME` there and `remotectl login STRING` here",
            );
        }
        match in_a_while(login) {
            Ok(()) => Verdict::good(format!("by the pinned authority {pinned}…, good for the next 30 days")),
            Err(error) => Verdict::warning(
                format!("by the pinned authority {pinned}…; in 30 days: {}", crate::model::outcome::chain(&error)),
                "bring remotectl up to date on the hub's machine, and restart the hub",
            ),
        }
    })
}

/// Whether the hub would still be believed by a clock that is 30 days ahead: the handshake asks all there is to ask.
fn in_a_while(login: &Login) -> Result<(), HttpError> {
    let ahead = Clock::new();
    ahead.follow(clock::unix_seconds() + SOON);
    let endpoint = Endpoint::Tls {
        addresses: login.addresses.clone(),
        name: server_name(&login.hub),
        trust: Trust::PinnedAuthority(login.fingerprint.clone().into()),
        clock: ahead,
    };
    // Without the token: any answer will do.
    Http::new(&endpoint)?.send("GET", "/api/v1/hub", &[], &[], ANSWER).map(drop)
}

/// Whether the two clocks agree.
pub fn clock(world: &World) -> Vec<Verdict> {
    answered(world, |answer| {
        let mend = "`timedatectl set-ntp true` on the machine whose clock is wrong";
        let found = match answer.ahead {
            0 => "the hub's and this machine's agree".to_owned(),
            ahead if ahead > 0 => format!("the hub's is {ahead} s ahead of this machine's"),
            behind => format!("the hub's is {} s behind this machine's", -behind),
        };
        match answer.ahead.abs() {
            apart if apart <= DRIFT => Verdict::good(found),
            apart if apart <= TOO_FAR => Verdict::warning(found, mend),
            _ => Verdict::failed(found, mend),
        }
    })
}

/// Whether client, hub and agents are of one version.
pub fn versions(world: &World) -> Vec<Verdict> {
    answered(world, |answer| {
        let info = &answer.info;
        if info.protocol != this().protocol {
            return Verdict::failed(
                format!("the hub speaks protocol {}, this remotectl {}", info.protocol, this().protocol),
                "bring the older one up to date: `remotectl version` here and there",
            );
        }
        if info.version != this().version {
            return Verdict::warning(
                format!("the hub is remotectl {}, this is {}", info.version, this().version),
                "bring the older one up to date",
            );
        }
        match world.hub().map(|hub| hub.agents("")) {
            Some(Ok(agents)) => {
                let others: Vec<String> = agents
                    .iter()
                    .filter(|agent| agent.version != info.version)
                    .map(|agent| format!("{} {}", agent.target, agent.version))
                    .collect();
                if others.is_empty() {
                    return Verdict::good(format!("hub, client and agents are remotectl {}", info.version));
                }
                let found = format!("the hub is remotectl {}; others: {}", info.version, named(&others));
                Verdict::warning(found, "`remotectl update SELECTOR` brings them to the hub's")
            }
            Some(Err(failure)) => Verdict::from(&failure),
            None => Verdict::skipped("the hub does not answer"),
        }
    })
}

/// Whether every node has a pve-agent that answers.
pub fn nodes(world: &World) -> Vec<Verdict> {
    answered(world, |_| {
        match world.hub().map(|hub| hub.nodes("")) {
        Some(Ok(nodes)) if nodes.is_empty() => Verdict {
            mend: Some(
                "`remotectl hub join-token --role pve-agent` here, `remotectl pve-agent install --join STRING` on a node"
                    .to_owned(),
            ),
            ..Verdict::skipped("no Proxmox node has joined yet")
        },
        Some(Ok(nodes)) => {
            let silent = |node: &&crate::model::messages::NodeRow| {
                !node.node.pve_agent.as_ref().is_some_and(crate::model::inventory::AgentInfo::online)
            };
            let silent: Vec<String> = nodes.iter().filter(silent).map(|row| row.node.name.clone()).collect();
            all_but(&silent, nodes.len(), "pve-agents", "on the node: `remotectl doctor`")
        }
        Some(Err(failure)) => Verdict::from(&failure),
        None => Verdict::skipped("the hub does not answer"),
    }
    })
}

/// Whether every agent answers.
pub fn agents(world: &World) -> Vec<Verdict> {
    answered(world, |_| match world.hub().map(|hub| hub.agents("")) {
        Some(Ok(mut agents)) => {
            agents.retain(|agent| agent.role == "agent");
            if agents.is_empty() {
                return Verdict {
                    mend: Some(
                        "`remotectl guests` shows who could have one, `remotectl deploy ct/…` installs it".into(),
                    ),
                    ..Verdict::skipped("no guest has one yet")
                };
            }
            let silent: Vec<String> = agents
                .iter()
                .filter(|agent| agent.status != "online")
                .map(|agent| match agent.name.as_str() {
                    "" => format!("{} {}", agent.target, agent.status),
                    name => format!("{} {name} {}", agent.target, agent.status),
                })
                .collect();
            all_but(&silent, agents.len(), "agents", "`remotectl agents` lists them; there: `remotectl agent status`")
        }
        Some(Err(failure)) => Verdict::from(&failure),
        None => Verdict::skipped("the hub does not answer"),
    })
}

fn all_but(silent: &[String], total: usize, what: &str, mend: &str) -> Verdict {
    match silent.len() {
        0 => Verdict::good(format!("{total} of {total} {what} answer")),
        some => Verdict::warning(format!("{} of {total} {what} answer; not: {}", total - some, named(silent)), mend),
    }
}

/// `ct/118, ct/119 and 3 more`.
fn named(all: &[String]) -> String {
    let shown = all.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if all.len() > NAMED { format!("{shown} and {} more", all.len() - NAMED) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::{super::Standing, *};

    #[test]
    fn those_that_do_not_answer_are_named() {
        let silent: Vec<String> = (1..=7).map(|number| format!("ct/{number}")).collect();
        let verdict = all_but(&silent, 9, "agents", "x");
        assert_eq!(verdict.found, "2 of 9 agents answer; not: ct/1, ct/2, ct/3, ct/4, ct/5 and 2 more");
        assert_eq!(all_but(&[], 2, "agents", "x").standing, Standing::Good);
    }
}
