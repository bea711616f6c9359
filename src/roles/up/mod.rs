//! `up` makes a Proxmox node all of it, hub and pve-agent; `down` (`lower.rs`) takes everything away again.
//!
//! Both are made of what `hub install`, `hub join-token` and `pve-agent install` do, in this process. Called again, `up`
//! says what is there and puts back what is missing; when a step fails, what this call did is taken back.

mod guests;
mod here;
pub use here::this_machine;
pub mod lower;
mod node;
pub mod step;

use super::{
    agent::{InstallOptions, Made, connected},
    client,
    hub::{self, HubOptions, Place},
    membership::{Home, Standing},
    pve_agent,
};
use crate::{
    host::install::{self, Role, Service},
    link::wire::AgentRole,
    model::{
        Failure, Target,
        digest::Digest,
        messages::{HubInfo, JoinTokenRequest, NodeRow},
        outcome::chain,
    },
    proxmox::credential,
    sys::{cancel::Cancel, env::Places, files},
};
use here::Here;
use node::Node;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use step::{Say, State, Step};

/// How long a hub that was just started may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// How many seconds a pve-agent may take to reach it.
const CONNECT: u64 = 30;
/// How long a pve-agent that was there may take to find the hub again.
const RECONNECT: Duration = Duration::from_secs(10);
/// How long the pve-agent may take to tell of its cluster.
const TELL: Duration = Duration::from_secs(15);
/// What another process does is looked at again after so long.
const PAUSE: Duration = Duration::from_millis(50);
/// Of how many other nodes the join command is printed in full.
const NODES_SHOWN: usize = 5;

/// How `up` was called.
#[derive(Debug, Clone, Default)]
pub struct UpOptions {
    /// `--listen ADDRESS:PORT`, repeated.
    pub listen: Vec<String>,
    /// `--advertise HOST:PORT`, repeated.
    pub advertise: Vec<String>,
    /// `--dry-run`: only look.
    pub dry_run: bool,
}

/// What is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Up {
    /// This node's name.
    pub node: String,
    /// The hub's id.
    pub hub: String,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// SHA-256 of its CA's certificate.
    pub fingerprint: Digest,
    /// The recovery key, until somebody has taken it away from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<PathBuf>,
    /// The cluster's other nodes that have no pve-agent.
    pub others: Vec<Other>,
}

/// Another node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Other {
    /// Its name.
    pub node: String,
    /// What puts a pve-agent onto it, to be typed here within 10 minutes; none where there are many of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// Hub and pve-agent onto this node. `None` for a dry run.
pub fn up(options: &UpOptions, say: &mut Say) -> Result<Option<Up>, Failure> {
    let node = Node::here()?;
    here::this_machine()?;
    let hub_options =
        HubOptions { listen: options.listen.clone(), advertise: options.advertise.clone(), ..HubOptions::default() };
    let here = Here::look(Place::of(&hub_options)?)?;
    here.belongs_here()?;
    if here.hub.pid.is_none() {
        here.place.free().map_err(said_for_up)?;
    }
    say(Step::new(
        format!("node {}", node.name),
        State::There,
        format!("Proxmox VE {}, /etc/pve is writable", node.version),
    ));
    if options.dry_run {
        would(&here, say);
        return Ok(None);
    }
    let mut joined = false;
    raise(&node, &here, &hub_options, &mut joined, say).map(Some).map_err(|failure| {
        if joined {
            // The hub has a member now: taking it away would leave that one without any.
            return failure
                .detail("hub and pve-agent are installed and stay")
                .help("`remotectl up` again, or `remotectl down`");
        }
        let taken = take_back(&here);
        taken.into_iter().fold(failure, Failure::detail)
    })
}

/// A port's failure, with the command that was typed.
fn said_for_up(failure: Failure) -> Failure {
    let help = failure.help.clone().unwrap_or_default().replace("remotectl hub serve", "remotectl up");
    failure.help(help)
}

fn would(here: &Here, say: &mut Say) {
    let told = |parts: &install::Parts, fresh: &str| match parts.pid {
        Some(pid) if parts.whole() => (State::There, format!("runs, pid {pid}")),
        _ if parts.half() => (State::Would, format!("would put back {}", paths(&parts.missing))),
        _ if parts.there.is_empty() => (State::Would, fresh.to_owned()),
        _ => (State::Would, "would be started".to_owned()),
    };
    let (state, hub) =
        told(&here.hub, &format!("would be installed as remotectl-hub, listening on {}", here.place.listen.join(", ")));
    say(Step::new("hub", state, hub));
    let (state, agent) = told(
        &here.pve_agent,
        &format!("would be installed as remotectl-pve-agent, with {} and a token of its own", credential::USER),
    );
    say(Step::new("pve-agent", state, agent));
}

fn raise(node: &Node, here: &Here, options: &HubOptions, joined: &mut bool, say: &mut Say) -> Result<Up, Failure> {
    let (hub, info) = raise_hub(here, options, say)?;
    raise_pve_agent(node, here, &hub, &info, say)?;
    *joined = true;
    let nodes = hear_of_cluster(node, &hub, say)?;
    let others = nodes.iter().filter(|row| row.node.name != node.name && row.node.pve_agent.is_none());
    let others = others.enumerate().map(|(index, row)| other(&hub, &row.node.name, index < NODES_SHOWN));
    let recovery_key = Some(here.place.recovery_key()).filter(|path| path.exists());
    Ok(Up {
        node: node.name.clone(),
        others: others.collect::<Result<_, _>>()?,
        hub: info.id,
        addresses: info.addresses,
        fingerprint: info.fingerprint,
        recovery_key,
    })
}

fn raise_hub(here: &Here, options: &HubOptions, say: &mut Say) -> Result<(client::Hub, HubInfo), Failure> {
    let began = Instant::now();
    let (installed, pid) = hub::set_up(options)?;
    let hub = client::at_socket(&here.place.socket)?;
    let info = until(ANSWER, || match hub.info() {
        Ok(info) => Ok(Some(info)),
        Err(failure) if began.elapsed() > ANSWER => Err(failure),
        Err(_) => Ok(None),
    })?;
    let info = info.ok_or_else(|| {
        Failure::new(format!("the hub does not answer within {} s", ANSWER.as_secs()))
            .help("its log: journalctl -u remotectl-hub")
    })?;
    let at = format!("{}, pid {pid}, at {}", installed.service, info.addresses.join(", "));
    let (state, told) = if here.hub.there.is_empty() {
        (State::Done, format!("installed; {at}"))
    } else if here.hub.half() {
        (State::Done, format!("put back {}; {at}", paths(&here.hub.missing)))
    } else if here.hub.pid != Some(pid) {
        (State::Done, format!("started; {at}"))
    } else {
        (State::There, format!("runs; {at}"))
    };
    say(Step::new("hub", state, told).since(began));
    Ok((hub, info))
}

fn raise_pve_agent(node: &Node, here: &Here, hub: &client::Hub, info: &HubInfo, say: &mut Say) -> Result<(), Failure> {
    let began = Instant::now();
    if let Some(pid) = sound(here, info)? {
        say(Step::new("pve-agent", State::There, format!("runs, pid {pid}; the hub answers it")).since(began));
        return Ok(());
    }
    let request = JoinTokenRequest { role: "pve-agent".to_owned(), target: Some(Target::node(node.name.clone())) };
    let join = hub.join_token(&request)?.join_string;
    let options = InstallOptions { join: Some(join), wait: CONNECT, ..InstallOptions::default() };
    let Made::Running(Standing { agent, pid, .. }) = pve_agent::set_up(&options)? else {
        return Err(Failure::new("the pve-agent was installed and not started"));
    };
    let done = if here.pve_agent.there.is_empty() {
        "installed".to_owned()
    } else if here.pve_agent.half() {
        format!("put back {}", paths(&here.pve_agent.missing))
    } else {
        "joined anew, with a new token".to_owned()
    };
    let told = format!("{done}; remotectl-pve-agent, pid {pid}, is {agent}");
    let proxmox = format!("user {}, role {}, a token for {}", credential::USER, credential::ROLE, node.name);
    say(Step::new("pve-agent", State::Done, told).since(began));
    say(Step::new("Proxmox", State::Done, proxmox));
    Ok(())
}

/// The main process of a pve-agent to which nothing has to be done; brings it to this version where it is of another.
fn sound(here: &Here, info: &HubInfo) -> Result<Option<u32>, Failure> {
    let member = here.member_of.as_ref().is_some_and(|pointer| pointer.hub == info.id);
    if !member || !here.pve_agent.whole() || !pve_agent::credential_works() {
        return Ok(None);
    }
    let home = Home::find(AgentRole::PveAgent, None);
    // Where the hub was down, the agent tries again by itself.
    let patience = if here.hub.pid.is_some() { Duration::ZERO } else { RECONNECT };
    if until(patience, || connected(&home))?.is_none() {
        return Ok(None);
    }
    install::install(&Service::of_this_executable(Role::PveAgent))?;
    Ok(Some(install::start(Role::PveAgent)?))
}

fn hear_of_cluster(node: &Node, hub: &client::Hub, say: &mut Say) -> Result<Vec<NodeRow>, Failure> {
    let began = Instant::now();
    let heard = until(TELL, || {
        let nodes = hub.nodes("")?;
        Ok(nodes.iter().any(|row| row.node.name == node.name).then_some(nodes))
    })?;
    let Some(nodes) = heard else {
        let step = Step::new("cluster", State::Left, "the pve-agent has not told of it yet").since(began);
        say(step.help("in a moment: `remotectl nodes`; its log: journalctl -u remotectl-pve-agent"));
        return Ok(Vec::new());
    };
    let guests = hub.guests("")?.len();
    let told = format!("{}, {}", count(nodes.len(), "node"), count(guests, "guest"));
    say(Step::new("cluster", State::There, told).since(began));
    Ok(nodes)
}

fn other(hub: &client::Hub, name: &str, shown: bool) -> Result<Other, Failure> {
    let node = name.to_owned();
    if !shown {
        return Ok(Other { node, command: None });
    }
    let request = JoinTokenRequest { role: "pve-agent".to_owned(), target: Some(Target::node(name)) };
    let join = hub.join_token(&request)?.join_string;
    // Nodes of a cluster reach each other as root. A name of a node is a host's name: no word of a shell in it.
    let command = format!(
        "scp -q /opt/remotectl/hub root@{name}:/tmp/remotectl && \
         ssh root@{name} '/tmp/remotectl pve-agent install --join {join}; rm /tmp/remotectl'"
    );
    Ok(Other { node, command: Some(command) })
}

/// Takes back what a call has done that did not come to its end; the lines tell what that was. The pve-agent takes itself
/// back.
fn take_back(before: &Here) -> Vec<String> {
    let undone = if before.hub.none() && before.hub_id.is_none() {
        install::uninstall(Role::Hub, true)
            .map(|removed| (!removed.paths.is_empty()).then_some("the hub was taken away again"))
    } else if before.hub.there.is_empty() {
        install::uninstall(Role::Hub, false).map(|removed| {
            (!removed.paths.is_empty()).then_some("the hub's service was taken away again; its data are as before")
        })
    } else if before.hub.pid.is_none() {
        install::stop(Role::Hub).map(|()| Some("the hub was stopped again"))
    } else {
        Ok(None)
    };
    let config = Places::find().config.join("hub.toml");
    if !before.hub.kept.contains(&config)
        && let Err(error) = without(&config, before.hub.pid.is_some())
    {
        return vec![format!("and something was left: {}", chain(&error))];
    }
    match undone {
        Ok(told) => told.map(str::to_owned).into_iter().collect(),
        Err(error) => vec![format!("and the hub could not be taken back: {}", chain(&error))],
    }
}

/// Takes a hub.toml of this call away; a hub that ran before runs as it did then, not until its next start as it was told now.
fn without(config: &Path, ran: bool) -> Result<(), Failure> {
    let there = config.exists();
    files::remove(config).map_err(|error| Failure::of(&format!("removing {}", config.display()), &error))?;
    if there && ran {
        install::stop(Role::Hub)?;
        install::start(Role::Hub)?;
    }
    Ok(())
}

/// Asks again and again until there is an answer; `None` where there is none in time. What another process does can't be
/// awaited, only looked at.
fn until<T>(patience: Duration, mut ask: impl FnMut() -> Result<Option<T>, Failure>) -> Result<Option<T>, Failure> {
    let deadline = Instant::now() + patience;
    let pause = Cancel::new();
    loop {
        match ask()? {
            Some(answer) => return Ok(Some(answer)),
            None if Instant::now() >= deadline => return Ok(None),
            None => pause.wait(PAUSE),
        };
    }
}

/// `3 nodes`, `1 guest`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Paths as one reads them.
fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
