//! The risk policy: code that no model output reaches. It takes what a planner proposes and says how risky each step is,
//! why, and what would undo it.

use super::{
    catalogue::{self, Runs},
    inventory::Inventory,
    op::Op,
    plan::{Proposed, Step},
    risk::Risk,
    shell,
    target::{Target, Vmid},
};
use serde::{Deserialize, Serialize};

/// What an owner may adjust (`policy.toml`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// A guest with one of these tags raises the risk by one.
    pub production_tags: Vec<String>,
    /// A step with at least so many targets raises the risk by one. At least 2.
    pub many_targets: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { production_tags: vec!["production".into(), "prod".into()], many_targets: 5 }
    }
}

impl Policy {
    /// Weighs one proposed step: sorts its targets, and adds risk, reason and undo.
    pub fn weigh(&self, proposed: Proposed, inventory: &Inventory) -> Step {
        let Proposed { op, mut targets } = proposed;
        targets.sort();
        targets.dedup();
        let (risk, reason) = self.risk(&op, &targets, inventory);
        let (undo, undo_targets) = match elsewhere(&op, &targets, inventory) {
            Some((undo, there)) => (Some(undo), there),
            None => (undo(&op, &targets, inventory), Vec::new()),
        };
        Step { op, targets, risk, reason, undo, undo_targets }
    }

    fn risk(&self, op: &Op, targets: &[Target], inventory: &Inventory) -> (Risk, String) {
        let base = base(op);
        if base == Risk::Observe {
            return (base, "observe: only reads".to_owned());
        }
        let production = targets.iter().filter_map(|target| inventory.guest_of(target)).any(|guest| {
            guest.tags.iter().any(|tag| self.production_tags.iter().any(|known| known.eq_ignore_ascii_case(tag)))
        });
        let raises = [
            (production, "production".to_owned()),
            (targets.len() >= self.many_targets.max(2), format!("{} targets", targets.len())),
            (!matches!(op, Op::AgentDeploy {}) && targets.iter().any(Target::is_node), "node".to_owned()),
        ];
        let mut risk = base;
        let mut reason = base.to_string();
        for (_, why) in raises.into_iter().filter(|(applies, _)| *applies) {
            risk = risk.escalated();
            reason.push_str(", +1 ");
            reason.push_str(&why);
        }
        (risk, reason)
    }
}

/// The operation's own risk, before any escalation.
pub fn base(op: &Op) -> Risk {
    match op {
        Op::ExecRun { command, .. } if shell::only_reads(command) => Risk::Observe,
        _ => catalogue::spec(op.name()).map_or(Risk::Critical, |spec| spec.risk),
    }
}

/// Who carries the operation out.
pub fn runs(op: &Op) -> Runs {
    catalogue::spec(op.name()).map_or(Runs::Hub, |spec| spec.runs)
}

/// What would put things back, as far as the state before tells.
fn undo(op: &Op, targets: &[Target], inventory: &Inventory) -> Option<Op> {
    let guests = || targets.iter().filter_map(|target| inventory.guest_of(target));
    match op {
        Op::ServiceStart { service } => Some(Op::ServiceStop { service: service.clone() }),
        Op::ServiceStop { service } => Some(Op::ServiceStart { service: service.clone() }),
        Op::ServiceEnable { service } => Some(Op::ServiceDisable { service: service.clone() }),
        Op::ServiceDisable { service } => Some(Op::ServiceEnable { service: service.clone() }),
        Op::PackageInstall { packages } => Some(Op::PackageRemove { packages: packages.clone() }),
        Op::PackageRemove { packages } => Some(Op::PackageInstall { packages: packages.clone() }),
        Op::GuestStart {} if guests().any(super::inventory::Guest::running) => None,
        Op::GuestStart {} => Some(Op::GuestShutdown { timeout: None }),
        Op::GuestShutdown { .. } | Op::GuestStop {} => Some(Op::GuestStart {}),
        Op::GuestSuspend {} => Some(Op::GuestResume {}),
        Op::GuestResume {} => Some(Op::GuestSuspend {}),
        Op::GuestMigrate { .. } => {
            let mut homes: Vec<&str> = guests().map(|guest| guest.node.as_str()).collect();
            homes.sort_unstable();
            homes.dedup();
            let [home] = homes[..] else { return None };
            Some(Op::GuestMigrate { node: home.to_owned() })
        }
        // Whether it starts with its node is nothing that the inventory knows.
        // Nor how many of its processors are sockets.
        Op::GuestConfigure { cores: None, memory, tags, onboot: None, name } => {
            let before = guests().next().filter(|guest| targets.len() == 1 && guest.memory_mib > 0)?;
            let size = |mebibytes: u64| format!("{mebibytes}M").parse().ok();
            Some(Op::GuestConfigure {
                cores: None,
                memory: memory.as_ref().and_then(|_| size(before.memory_mib)),
                tags: tags.as_ref().map(|_| before.tags.clone()),
                onboot: None,
                name: name.as_ref().map(|_| before.name.clone()),
            })
        }
        Op::GuestSnapshot { name: Some(name) } => Some(Op::GuestDeleteSnapshot { snapshot: name.clone() }),
        Op::ConfigSet { path, .. } | Op::ConfigEdit { path, .. } | Op::ConfigRestore { path, .. } => {
            Some(Op::ConfigRestore { path: path.clone(), backup: None })
        }
        Op::AgentDeploy {} => Some(Op::AgentRemove {}),
        Op::AgentUpdate { version } => {
            let before = version_of_all(targets, inventory).filter(|before| version.as_deref() != Some(before))?;
            Some(Op::AgentUpdate { version: Some(before.to_owned()) })
        }
        Op::AgentRemove {} => Some(Op::AgentDeploy {}),
        Op::AlertSilence { rule, .. } => Some(Op::AlertUnsilence { rule: rule.clone() }),
        Op::AlertUnsilence { rule } => Some(Op::AlertSilence { rule: rule.clone(), r#for: None }),
        _ => None,
    }
}

/// What would put things back on others than the step's own targets: a copy whose vmid is given, the guests of a drained node.
fn elsewhere(op: &Op, targets: &[Target], inventory: &Inventory) -> Option<(Op, Vec<Target>)> {
    let [target] = targets else { return None };
    let new = |newid: u64| {
        let vmid = Vmid::try_from(newid).ok().filter(|vmid| inventory.guest(*vmid).is_none())?;
        let kind = inventory.guest_of(target)?.kind;
        Some((Op::GuestDestroy {}, vec![Target::guest(kind, vmid)]))
    };
    match op {
        Op::GuestClone { newid: Some(newid), .. } | Op::GuestRestore { newid: Some(newid), .. } => new(*newid),
        Op::NodeDrain { .. } => {
            let node = target.node_name()?;
            let guests = inventory.guests.iter().filter(|guest| guest.node == node && !guest.template);
            let mut there: Vec<Target> = guests.map(super::inventory::Guest::target).collect();
            there.sort();
            (!there.is_empty()).then(|| (Op::GuestMigrate { node: node.to_owned() }, there))
        }
        _ => None,
    }
}

/// The version that the agents of all these targets run; `None` where they differ, or one is not known.
fn version_of_all<'a>(targets: &[Target], inventory: &'a Inventory) -> Option<&'a str> {
    let mut versions = targets.iter().map(|target| {
        let node = target.node_name().and_then(|name| inventory.node(name)?.pve_agent.as_ref());
        let agent = node.or_else(|| inventory.guest_of(target)?.agent.as_ref());
        agent.map(|agent| agent.version.as_str())
    });
    let first = versions.next()??;
    versions.all(|version| version == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homelab() -> Inventory {
        serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap()
    }

    fn weigh(op: Op, targets: &[Target]) -> Step {
        Policy::default().weigh(Proposed { op, targets: targets.to_vec() }, &homelab())
    }

    #[test]
    fn production_many_and_nodes_raise_the_risk() {
        let restart = || Op::ServiceRestart { service: "nginx".into() };
        let step = weigh(restart(), &[Target::ct(118)]);
        assert_eq!((step.risk, step.reason.as_str()), (Risk::High, "medium, +1 production"));
        assert_eq!(weigh(restart(), &[Target::ct(119)]).risk, Risk::Medium);
        let five: Vec<Target> = [102, 119, 120, 140, 141].map(Target::ct).to_vec();
        let step = weigh(Op::AgentDeploy {}, &five);
        assert_eq!((step.risk, step.reason.as_str()), (Risk::Medium, "low, +1 5 targets"));
        assert_eq!(weigh(Op::AgentDeploy {}, &[Target::node("pve2")]).risk, Risk::Low);
        assert_eq!(weigh(Op::PackageInstall { packages: vec![] }, &[Target::node("pve2")]).risk, Risk::Medium);
    }

    #[test]
    fn observe_never_escalates_and_critical_stays() {
        assert_eq!(weigh(Op::SystemInfo {}, &[Target::ct(118)]).risk, Risk::Observe);
        assert_eq!(weigh(Op::GuestDestroy {}, &[Target::ct(191)]).risk, Risk::Critical);
    }

    #[test]
    fn undo_comes_from_the_state_before() {
        assert_eq!(weigh(Op::GuestStart {}, &[Target::ct(121)]).undo, Some(Op::GuestShutdown { timeout: None }));
        assert_eq!(weigh(Op::GuestStart {}, &[Target::ct(118)]).undo, None);
        let changes = |cores, memory: &str, onboot| Op::GuestConfigure {
            cores,
            memory: Some(memory.parse().unwrap()),
            tags: None,
            onboot,
            name: None,
        };
        let before = homelab().guest(118).map(|guest| guest.memory_mib).unwrap();
        let back = changes(None, &format!("{before}M"), None);
        assert_eq!(weigh(changes(None, "64G", None), &[Target::ct(118)]).undo, Some(back));
        for unknown in [changes(Some(16), "64G", None), changes(None, "64G", Some(true))] {
            assert_eq!(weigh(unknown, &[Target::ct(118)]).undo, None);
        }
        let drained = weigh(Op::NodeDrain { to: None }, &[Target::node("pve3")]);
        assert_eq!(drained.undo, Some(Op::GuestMigrate { node: "pve3".into() }));
        let homelab = homelab();
        let all = drained.undo_targets.iter().map(|target| homelab.guest_of(target).unwrap());
        assert!(
            !drained.undo_targets.is_empty() && all.into_iter().all(|guest| guest.node == "pve3" && !guest.template)
        );
        let clone = |newid| weigh(Op::GuestClone { name: "n".into(), newid, node: None }, &[Target::vm(203)]);
        assert_eq!(clone(Some(500)).reversed().unwrap().targets, [Target::vm(500)]);
        assert_eq!(
            (clone(None).undo, clone(Some(118)).undo),
            (None, None),
            "nobody knows the vmid, or somebody has it"
        );
        let there = Op::GuestMigrate { node: "pve3".into() };
        assert_eq!(weigh(there, &[Target::vm(203)]).undo, Some(Op::GuestMigrate { node: "pve2".into() }));
    }
}
