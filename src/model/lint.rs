//! The plan linter: one check an invariant, each with a typed finding. It says what is wrong with a plan over an
//! inventory; an error keeps the plan from being carried out.

use super::{
    catalogue::Runs,
    inventory::{Guest, Inventory},
    op::Op,
    plan::Step,
    policy::runs,
    target::{Target, What},
};
use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// May fail.
    Warning,
    /// Can't be carried out.
    Error,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A step without a target.
    NoTarget,
    /// A target that the inventory does not have.
    UnknownTarget,
    /// A target of a kind that the operation is not for.
    WrongTarget,
    /// A template where only a guest will do.
    Template,
    /// The guest has to run for that.
    NotRunning,
    /// The guest has to be stopped for that.
    Running,
    /// Proxmox holds a lock on the guest.
    Locked,
    /// Neither an agent nor a transport reaches it.
    Unreachable,
    /// Served one-shot, because it has no agent.
    OneShot,
    /// No pve-agent on the node, or it does not answer.
    NoPveAgent,
    /// There is no agent that could be updated.
    NoAgent,
    /// Its agent is locked or quarantined.
    AgentHeld,
    /// The hub holds no executable that would do.
    NoArtifact,
    /// Nothing would be changed: it is as wanted.
    UpToDate,
    /// The service is not among those that the agent has told of.
    UnknownService,
}

/// One thing that the linter has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// About what.
    pub kind: Kind,
    /// Which step, from 0.
    pub step: usize,
    /// Which target, where it is about one.
    pub target: Option<Target>,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Every finding against a plan's steps, in their order.
pub fn lint(steps: &[Step], inventory: &Inventory) -> Vec<Finding> {
    let of_step = |(index, step): (usize, &Step)| lint_step(index, step, &steps[..index], inventory);
    steps.iter().enumerate().flat_map(of_step).collect()
}

/// Whether a plan with these findings must not run.
pub fn blocks(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

type Check = fn(&Step, &Target, &Inventory) -> Option<Said>;

/// Severity, kind, message and help of a finding, before it knows its step.
type Said = (Severity, Kind, String, Option<String>);

const CHECKS: &[Check] = &[
    known,
    right_kind,
    no_template,
    runs_now,
    stopped_already,
    stopped_now,
    unlocked,
    listened_to,
    updatable,
    reachable,
    not_there_yet,
    service_known,
];

/// Whether one of these steps starts a guest.
pub fn starts(steps: &[Step], target: &Target) -> bool {
    steps.iter().any(|step| matches!(step.op, Op::GuestStart {}) && step.targets.contains(target))
}

/// Whether one of these steps stops a guest.
fn stops(steps: &[Step], target: &Target) -> bool {
    let stop = |step: &Step| matches!(step.op, Op::GuestStop {} | Op::GuestShutdown { .. });
    steps.iter().any(|step| stop(step) && step.targets.contains(target))
}

fn lint_step(index: usize, step: &Step, before: &[Step], inventory: &Inventory) -> Vec<Finding> {
    if step.targets.is_empty() {
        let message = format!("{} has no target", step.op.name());
        return vec![Finding {
            severity: Severity::Error,
            kind: Kind::NoTarget,
            step: index,
            target: None,
            message,
            help: None,
        }];
    }
    let of_target = |target: &Target| {
        let (started, stopped) = (starts(before, target), stops(before, target));
        let settled = |kind: Kind| match kind {
            Kind::NotRunning => started,
            Kind::Running => stopped,
            _ => false,
        };
        let said = CHECKS.iter().filter_map(|check| check(step, target, inventory));
        let said: Vec<Said> = said.filter(|(_, kind, ..)| !settled(*kind)).collect();
        // What is unknown, of the wrong kind or a template has no further properties worth a word.
        let last = said.iter().position(|(severity, ..)| *severity == Severity::Error).map_or(said.len(), |at| at + 1);
        let target = target.clone();
        said.into_iter().take(last).map(move |(severity, kind, message, help)| Finding {
            severity,
            kind,
            step: index,
            target: Some(target.clone()),
            message,
            help,
        })
    };
    step.targets.iter().flat_map(of_target).collect()
}

fn known(_: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let there = match &target.what {
        What::Cluster | What::Host(_) => true,
        What::Node(name) => inventory.node(name).is_some(),
        What::Guest(..) => inventory.guest_of(target).is_some(),
    };
    let help = Some("`remotectl guests` and `remotectl nodes` list what there is".to_owned());
    (!there).then(|| (Severity::Error, Kind::UnknownTarget, format!("there is no {target}"), help))
}

fn right_kind(step: &Step, target: &Target, _: &Inventory) -> Option<Said> {
    let name = step.op.name();
    let wants = match name.split_once('.').map_or(name, |(group, _)| group) {
        "guest" if matches!(step.op, Op::GuestCreate { .. }) => ("the cluster", matches!(target.what, What::Cluster)),
        "guest" if matches!(step.op, Op::GuestList {}) => ("a guest or the cluster", !target.is_node()),
        "guest" => ("a guest", target.vmid().is_some()),
        "node" if matches!(step.op, Op::NodeList {}) => ("the cluster", matches!(target.what, What::Cluster)),
        "node" => ("a node", target.is_node()),
        _ if runs(&step.op) == Runs::Agent => ("a guest, node or host", !matches!(target.what, What::Cluster)),
        _ => return None,
    };
    (!wants.1).then(|| (Severity::Error, Kind::WrongTarget, format!("{name} wants {}, not {target}", wants.0), None))
}

fn no_template(step: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let guest = inventory.guest_of(target)?;
    let allowed = matches!(
        step.op,
        Op::GuestClone { .. }
            | Op::GuestDestroy {}
            | Op::GuestConfigure { .. }
            | Op::GuestStatus {}
            | Op::GuestList {}
            | Op::GuestBackup { .. }
            | Op::GuestBackups {}
            | Op::GuestRestore { newid: Some(_), .. }
    );
    (guest.template && !allowed).then(|| {
        (
            Severity::Error,
            Kind::Template,
            format!("{} is a template", guest.label()),
            Some(format!("clone it first: `remotectl run guest.clone {target} name=NAME`")),
        )
    })
}

fn runs_now(step: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let guest = inventory.guest_of(target)?;
    let inside = runs(&step.op) == Runs::Agent || matches!(step.op, Op::AgentDeploy {});
    let wants = inside || matches!(step.op, Op::GuestReboot {} | Op::GuestSuspend {});
    (wants && !guest.running() && guest.status != "unknown").then(|| {
        let message = format!("{} is {}", guest.label(), guest.status);
        let help = if matches!(step.op, Op::AgentDeploy {}) {
            format!("start it first: `remotectl deploy {target} --start`")
        } else {
            format!("start it: `remotectl run guest.start {target}`")
        };
        (Severity::Error, Kind::NotRunning, message, Some(help))
    })
}

/// What is to be off and is: no reason to leave the others on.
fn stopped_already(step: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let guest = inventory.guest_of(target)?;
    let off = matches!(step.op, Op::GuestShutdown { .. } | Op::GuestStop {}) && guest.status == "stopped";
    off.then(|| (Severity::Note, Kind::UpToDate, format!("{} is stopped already", guest.label()), None))
}

/// Proxmox destroys and overwrites only what is off: said before a name is typed for it.
fn stopped_now(step: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let guest = inventory.guest_of(target)?;
    let wants = matches!(step.op, Op::GuestDestroy {} | Op::GuestRestore { newid: None, .. });
    (wants && guest.running()).then(|| {
        let help = format!("stop it first: `remotectl run guest.shutdown {target}`");
        (Severity::Error, Kind::Running, format!("{} is running", guest.label()), Some(help))
    })
}

fn unlocked(step: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let guest = inventory.guest_of(target)?;
    let lock = guest.lock.as_deref()?;
    (super::policy::base(&step.op) > super::risk::Risk::Observe).then(|| {
        (
            Severity::Warning,
            Kind::Locked,
            format!("{} is locked ({lock})", guest.label()),
            Some("wait until the task that holds the lock has ended".to_owned()),
        )
    })
}

fn listened_to(step: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let agent = match &target.what {
        What::Guest(..) => inventory.guest_of(target)?.agent.as_ref()?,
        What::Node(name) => inventory.node(name)?.pve_agent.as_ref()?,
        What::Cluster | What::Host(_) => return None,
    };
    let held = agent.held().filter(|held| held.keeps(&step.op))?;
    let message = format!("the agent of {target} is {}", held.as_str());
    Some((Severity::Error, Kind::AgentHeld, message, Some(held.help(target))))
}

/// Several targets are not kept from their update by one that has no agent: that one is refused when its turn comes.
fn updatable(step: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let (agent, label) = match &target.what {
        _ if !matches!(step.op, Op::AgentUpdate { .. }) => return None,
        What::Guest(..) => inventory.guest_of(target).map(|guest| (guest.agent.as_ref(), guest.label()))?,
        What::Node(name) => (inventory.node(name)?.pve_agent.as_ref(), target.to_string()),
        What::Cluster | What::Host(_) => return None,
    };
    let severity = if step.targets.len() == 1 { Severity::Error } else { Severity::Warning };
    let (message, help) = match agent {
        Some(agent) if agent.online() => return None,
        Some(_) => {
            (format!("the agent of {label} does not answer"), format!("`remotectl deploy {target}` installs it anew"))
        }
        None => (format!("{label} has no agent"), format!("`remotectl deploy {target}` installs it")),
    };
    Some((severity, Kind::NoAgent, message, Some(help)))
}

fn reachable(step: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let wants_pve = runs(&step.op) == Runs::Pve;
    let node_name = match &target.what {
        What::Guest(..) => inventory.guest_of(target)?.node.as_str(),
        What::Node(name) => name.as_str(),
        What::Cluster | What::Host(_) => return None,
    };
    if matches!(step.op, Op::AgentUpdate { .. }) {
        return None;
    }
    if let (What::Node(name), Op::AgentDeploy {} | Op::AgentRemove {}) = (&target.what, &step.op) {
        return reached_from_beside(step, name, inventory);
    }
    let has_agent = |guest: &Guest| guest.agent.as_ref().is_some_and(super::inventory::AgentInfo::online);
    if runs(&step.op) == Runs::Hub || (!wants_pve && inventory.guest_of(target).is_some_and(has_agent)) {
        return None;
    }
    let on_node = inventory
        .node(node_name)
        .and_then(|node| node.pve_agent.as_ref())
        .is_some_and(super::inventory::AgentInfo::online);
    let anywhere =
        inventory.nodes.iter().any(|node| node.pve_agent.as_ref().is_some_and(super::inventory::AgentInfo::online));
    let through_transport = !wants_pve || matches!(step.op, Op::AgentDeploy {});
    if !on_node && (through_transport || !anywhere) {
        let help = Some(format!("install it there: `remotectl pve-agent install` on {node_name}"));
        return Some((Severity::Error, Kind::NoPveAgent, format!("no pve-agent answers on {node_name}"), help));
    }
    let guest = inventory.guest_of(target).filter(|_| through_transport)?;
    if guest.kind == super::values::GuestKind::Vm && guest.guest_agent == Some(false) {
        // Its node may have a way to log in, which is not known here.
        let message = format!("{} has no agent, and no guest agent that answers", guest.label());
        let help = format!(
            "`qm set {} --agent 1` on {node_name} and qemu-guest-agent in it, or a way to log in: `remotectl credential add`",
            guest.vmid
        );
        return Some((Severity::Warning, Kind::Unreachable, message, Some(help)));
    }
    let help = Some(format!("`remotectl deploy {target}` installs the agent"));
    (!wants_pve).then(|| {
        (
            Severity::Note,
            Kind::OneShot,
            format!("{} has no agent: served one-shot through {node_name}", guest.label()),
            help,
        )
    })
}

/// A pve-agent is put onto a node, and taken off it, by one on another node of the cluster.
fn reached_from_beside(step: &Step, name: &str, inventory: &Inventory) -> Option<Said> {
    let node = inventory.node(name)?;
    let severity = if step.targets.len() == 1 { Severity::Error } else { Severity::Warning };
    if node.status == "offline" {
        let help = Some("`remotectl nodes` shows which are online".to_owned());
        return Some((severity, Kind::NotRunning, format!("node/{name} is offline"), help));
    }
    let answers =
        |node: &super::inventory::Node| node.pve_agent.as_ref().is_some_and(super::inventory::AgentInfo::online);
    if inventory.nodes.iter().any(|other| other.name != name && answers(other)) {
        return None;
    }
    let help = Some(format!("on {name}: `remotectl pve-agent install --join STRING`"));
    Some((severity, Kind::NoPveAgent, format!("no pve-agent answers on a node beside {name}"), help))
}

/// One that is there and answers is left alone.
fn not_there_yet(step: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let (agent, label) = match &target.what {
        _ if !matches!(step.op, Op::AgentDeploy {}) => return None,
        What::Guest(..) => inventory.guest_of(target).map(|guest| (guest.agent.as_ref(), guest.label()))?,
        What::Node(name) => (inventory.node(name)?.pve_agent.as_ref(), target.to_string()),
        What::Cluster | What::Host(_) => return None,
    };
    let version = &agent.filter(|agent| agent.online())?.version;
    let message = format!("{label} has an agent already ({version})");
    Some((Severity::Note, Kind::UpToDate, message, Some(format!("`remotectl update {target}` brings another version"))))
}

fn service_known(step: &Step, target: &Target, inventory: &Inventory) -> Option<Said> {
    let guest = inventory.guest_of(target)?;
    let service = step.op.service()?;
    let missing = !guest.services.is_empty() && !guest.services.iter().any(|known| known == service);
    missing.then(|| {
        let message = format!("{} has told of no service {service}", guest.label());
        (
            Severity::Warning,
            Kind::UnknownService,
            message,
            Some(format!("`remotectl run service.list {target}` lists them")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{plan::Proposed, policy::Policy};

    fn findings(op: Op, targets: &[Target]) -> Vec<Finding> {
        let inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap();
        let step = Policy::default().weigh(Proposed { op, targets: targets.to_vec() }, &inventory);
        lint(&[step], &inventory)
    }

    fn kinds(op: Op, target: Target) -> Vec<Kind> {
        findings(op, &[target]).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn what_an_earlier_step_starts_runs() {
        let inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap();
        let weigh = |op| Policy::default().weigh(Proposed { op, targets: vec![Target::ct(121)] }, &inventory);
        let (start, deploy) = (weigh(Op::GuestStart {}), weigh(Op::AgentDeploy {}));
        let alone = lint(std::slice::from_ref(&deploy), &inventory);
        assert!(blocks(&alone) && alone[0].help.as_deref().unwrap().contains("--start"));
        let stands_still = |steps: &[Step]| lint(steps, &inventory).iter().any(|said| said.kind == Kind::NotRunning);
        assert!(!stands_still(&[start.clone(), deploy.clone()]));
        assert!(stands_still(&[deploy, start]), "not the other way round");
        let of = |op, vmid| Policy::default().weigh(Proposed { op, targets: vec![Target::ct(vmid)] }, &inventory);
        let destroy = of(Op::GuestDestroy {}, 118);
        let alone = lint(std::slice::from_ref(&destroy), &inventory);
        assert!(blocks(&alone) && alone[0].kind == Kind::Running, "{alone:?}");
        assert!(!lint(&[of(Op::GuestStop {}, 118), destroy], &inventory).iter().any(|said| said.kind == Kind::Running));
        let off = lint(&[of(Op::GuestStop {}, 121)], &inventory);
        assert!(!blocks(&off) && off[0].kind == Kind::UpToDate, "{off:?}");
    }

    #[test]
    fn each_invariant_has_its_finding() {
        let restart = || Op::ServiceRestart { service: "nginx".into() };
        assert_eq!(kinds(restart(), Target::ct(118)), []);
        assert_eq!(kinds(restart(), Target::ct(999)), [Kind::UnknownTarget]);
        assert_eq!(kinds(restart(), Target::vm(900)), [Kind::Template]);
        assert_eq!(kinds(restart(), Target::ct(121)), [Kind::NotRunning]);
        assert_eq!(kinds(restart(), Target::cluster()), [Kind::WrongTarget]);
        assert_eq!(kinds(restart(), Target::ct(119)), [Kind::NoPveAgent]);
        assert_eq!(kinds(Op::GuestStart {}, Target::node("pve1")), [Kind::WrongTarget]);
        assert_eq!(kinds(Op::ServiceStop { service: "frob".into() }, Target::ct(118)), [Kind::UnknownService]);
        assert_eq!(kinds(Op::ServiceStatus { service: "prometheus".into() }, Target::ct(151)), [Kind::OneShot]);
        assert_eq!(findings(restart(), &[])[0].kind, Kind::NoTarget);
    }

    #[test]
    fn errors_block_and_notes_do_not() {
        assert!(blocks(&findings(Op::AgentDeploy {}, &[Target::ct(121)])));
        assert!(!blocks(&findings(Op::ServiceStatus { service: "prometheus".into() }, &[Target::ct(151)])));
    }
}
