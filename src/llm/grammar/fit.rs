//! Whether targets, arguments and operation go together: nodes or guests, templates, who can take an agent, what has to
//! exist already. Classes are narrowed here, never widened.

use super::{
    class::{Problem, Scope, Taken, ask},
    resolve::Parts,
};
use crate::model::{
    Risk, Target, catalogue,
    inventory::Guest,
    values::{GuestKind, Size},
};
use rustc_hash::FxHashSet;
use serde_json::Value as Json;

/// Operations that a template can take.
const FOR_TEMPLATES: &[&str] = &[
    "guest.clone",
    "guest.destroy",
    "guest.configure",
    "guest.status",
    "guest.list",
    "guest.backup",
    "guest.backups",
    "alert.list",
];

impl Parts<'_> {
    /// Fits the targets to the operation, and the operation to nodes.
    pub(super) fn suit(&mut self, taken: &mut Taken, scope: &Scope<'_>) -> Result<(), Problem> {
        let nodes = taken.targets.iter().filter(|target| target.is_node()).count();
        let all_nodes = nodes == taken.targets.len();
        match self.op.as_str() {
            "guest.status" | "system.metrics" if all_nodes => "node.status".clone_into(&mut self.op),
            "guest.reboot" if all_nodes => "system.reboot".clone_into(&mut self.op),
            "guest.list" if all_nodes => "node.list".clone_into(&mut self.op),
            _ => {}
        }
        let group = self.op.split('.').next().unwrap_or_default();
        if matches!(self.op.as_str(), "guest.list" | "alert.list") && taken.everything || self.op == "node.list" {
            taken.targets = vec![Target::cluster()];
            return Ok(());
        }
        if group == "guest" && nodes > 0 {
            return Err(ask(format!("{} is for guests, not for nodes. Which guests?", self.op), Vec::new()));
        }
        if group == "node" && !all_nodes {
            return Err(ask(format!("{} is for nodes. Which node?", self.op), Vec::new()));
        }
        self.suit_templates(taken, scope)?;
        self.suit_agents(taken, scope)?;
        self.suit_migration(taken, scope);
        if self.op == "guest.migrate" && taken.everything {
            return Err(ask("Everything? Name the guests, or the node that is to be drained.", Vec::new()));
        }
        let open = taken.any || taken.bare && group != "agent";
        if open && !self.only_reads() {
            return Err(ask("Which ones? Say \"all\", or name them.", taken.targets.clone()));
        }
        if self.op == "guest.destroy" && (taken.unbounded || taken.whole_nodes) {
            return Err(Problem::Refuse("that would destroy everything of its kind; name what is to go".to_owned()));
        }
        Ok(())
    }

    pub(super) fn only_reads(&self) -> bool {
        catalogue::spec(&self.op).is_some_and(|spec| spec.risk == Risk::Observe)
    }

    pub(super) fn suit_templates(&self, taken: &Taken, scope: &Scope<'_>) -> Result<(), Problem> {
        if FOR_TEMPLATES.contains(&self.op.as_str()) {
            return Ok(());
        }
        let template = taken
            .targets
            .iter()
            .filter_map(|target| scope.vocabulary.inventory.guest_of(target))
            .find(|guest| guest.template);
        match template {
            Some(guest) if self.op == "agent.deploy" => Err(Problem::Refuse(format!(
                "{} is a template, and a template takes no agent: clone it first",
                guest.label()
            ))),
            Some(guest) => {
                Err(ask(format!("{} is a template. Which guest instead?", guest.label()), vec![guest.target()]))
            }
            None => Ok(()),
        }
    }

    pub(super) fn suit_agents(&self, taken: &mut Taken, scope: &Scope<'_>) -> Result<(), Problem> {
        let inventory = scope.vocabulary.inventory;
        let has_agent = |target: &Target| match target.node_name() {
            Some(name) => inventory.node(name).is_some_and(|node| node.pve_agent.is_some()),
            None => inventory.guest_of(target).is_some_and(|guest| guest.agent.is_some()),
        };
        let can_take = |guest: &Guest| guest.os.takes_agent();
        let of_class: FxHashSet<Target> = taken.by_class.iter().cloned().collect();
        match self.op.as_str() {
            "agent.deploy" => {
                taken.targets.retain(|target| {
                    let ready = inventory.guest_of(target).is_none_or(|guest| guest.running() && can_take(guest));
                    !of_class.contains(target) || ready && !has_agent(target)
                });
                if let Some(guest) =
                    taken.targets.iter().filter_map(|target| inventory.guest_of(target)).find(|guest| !can_take(guest))
                {
                    return Err(Problem::Refuse(format!(
                        "the agent does not run on {} ({})",
                        guest.label(),
                        guest.os.label()
                    )));
                }
            }
            "agent.update" | "agent.remove" => {
                taken.targets.retain(|target| !of_class.contains(target) || has_agent(target));
            }
            _ => return Ok(()),
        }
        if taken.targets.is_empty() {
            let why = if self.op == "agent.deploy" {
                "has the agent already, is stopped, or can't take it"
            } else {
                "has no agent"
            };
            return Err(ask(format!("Everything that this names {why}. Which guests or nodes?"), Vec::new()));
        }
        Ok(())
    }

    /// `move all containers from pve1 to pve2`: of a class, those that are there and not where they are to go.
    pub(super) fn suit_migration(&self, taken: &mut Taken, scope: &Scope<'_>) {
        if self.op != "guest.migrate" {
            return;
        }
        let to = self.args.get("node").and_then(Json::as_str);
        let home = |target: &Target| scope.vocabulary.inventory.guest_of(target).map(|guest| guest.node.as_str());
        let of_class: FxHashSet<&Target> = taken.by_class.iter().collect();
        let moves =
            |target: &Target| self.from.as_deref().is_none_or(|from| home(target) == Some(from)) && home(target) != to;
        taken.targets.retain(|target| !of_class.contains(target) || moves(target));
    }

    /// Checks arguments against what they are for.
    pub(super) fn complete(&mut self, taken: &Taken, scope: &Scope<'_>) -> Result<(), Problem> {
        let inventory = scope.vocabulary.inventory;
        let guests: Vec<&Guest> = taken.targets.iter().filter_map(|target| inventory.guest_of(target)).collect();
        match self.op.as_str() {
            "guest.migrate" => self.migration(&guests),
            "guest.rollback" | "guest.delete_snapshot" => self.snapshot(&guests),
            "guest.resize" => self.disk(&guests),
            "guest.snapshot" => self.new_snapshot(&guests),
            "guest.clone" if taken.targets.len() > 1 => Err(ask("Which one is to be cloned?", taken.targets.clone())),
            "guest.configure" if self.args.is_empty() => Err(ask(
                "What is to be changed, and to how much? For example \"4 cores\" or \"8G memory\".",
                Vec::new(),
            )),
            "guest.configure" if self.args.contains_key("name") && taken.targets.len() > 1 => {
                Err(ask("Which one is to be renamed?", taken.targets.clone()))
            }
            "guest.clone" | "guest.restore" if self.taken_number(scope).is_some() => {
                let there = self.taken_number(scope).into_iter().collect();
                Err(ask("A guest has that vmid. Which one instead?", there))
            }
            "guest.clone" | "guest.configure" if self.taken_name(scope).is_some() => {
                let there = self.taken_name(scope).into_iter().collect();
                Err(ask("That name is taken. Which name instead?", there))
            }
            "config.edit" => self.patch(),
            _ => Ok(()),
        }
    }

    /// The guest that is called what a new one is to be called.
    pub(super) fn taken_name(&self, scope: &Scope<'_>) -> Option<Target> {
        let name = self.args.get("name").and_then(Json::as_str)?;
        let called = scope.vocabulary.named(name).iter().map(|named| scope.vocabulary.target(*named));
        called.into_iter().find(|target| {
            scope.vocabulary.inventory.guest_of(target).is_some_and(|guest| guest.name.eq_ignore_ascii_case(name))
        })
    }

    /// The guest that has the vmid which a new one is to have.
    fn taken_number(&self, scope: &Scope<'_>) -> Option<Target> {
        let vmid = self.args.get("newid").and_then(Json::as_u64).and_then(|vmid| u32::try_from(vmid).ok())?;
        scope.vocabulary.inventory.guest(vmid).map(Guest::target)
    }

    pub(super) fn migration(&self, guests: &[&Guest]) -> Result<(), Problem> {
        let elsewhere = self.from.as_ref().and_then(|from| guests.iter().find(|guest| guest.node != *from));
        if let Some(guest) = elsewhere {
            return Err(ask(format!("{} is on {}. Is that the one?", guest.label(), guest.node), vec![guest.target()]));
        }
        match self.args.get("node").and_then(Json::as_str) {
            None => Err(ask("To which node?", Vec::new())),
            Some(node) => match guests.iter().find(|guest| guest.node == node) {
                Some(guest) => Err(ask(
                    format!("{} is on {node} already. Which guest, or which node?", guest.label()),
                    vec![guest.target()],
                )),
                None => Ok(()),
            },
        }
    }

    pub(super) fn snapshot(&self, guests: &[&Guest]) -> Result<(), Problem> {
        let Some(name) = self.args.get("snapshot").and_then(Json::as_str) else {
            let known: Vec<String> = guests.iter().flat_map(|guest| guest.snapshots.clone()).collect();
            return Err(ask(
                format!("Which snapshot? There are: {}", known.join(", ")),
                guests.iter().map(|guest| guest.target()).collect(),
            ));
        };
        match guests.iter().find(|guest| !guest.snapshots.iter().any(|known| known == name)) {
            Some(guest) => {
                let known = if guest.snapshots.is_empty() { "none".to_owned() } else { guest.snapshots.join(", ") };
                Err(ask(
                    format!("{} has no snapshot {name}; it has {known}. Which one?", guest.label()),
                    vec![guest.target()],
                ))
            }
            None => Ok(()),
        }
    }

    /// A snapshot of that name can't be taken twice, and who names one that exists may have meant to go back to it.
    fn new_snapshot(&self, guests: &[&Guest]) -> Result<(), Problem> {
        let name = self.args.get("name").and_then(Json::as_str);
        let there = name.and_then(|name| guests.iter().find(|guest| guest.snapshots.iter().any(|known| known == name)));
        there.map_or(Ok(()), |guest| {
            let question = format!(
                "{} has a snapshot of that name. Which name for the new one, or is it to go back?",
                guest.label()
            );
            Err(ask(question, vec![guest.target()]))
        })
    }

    pub(super) fn disk(&mut self, guests: &[&Guest]) -> Result<(), Problem> {
        if self.args.get("disk").and_then(Json::as_str) == Some("disk") {
            if guests.iter().any(|guest| guest.kind == GuestKind::Vm) {
                return Err(ask(
                    "Which disk? For example scsi0 or virtio0.",
                    guests.iter().map(|guest| guest.target()).collect(),
                ));
            }
            self.args.insert("disk".to_owned(), Json::from("rootfs"));
        }
        let root = ["rootfs", "scsi0", "virtio0", "sata0"]
            .iter()
            .any(|disk| self.args.get("disk").and_then(Json::as_str) == Some(disk));
        let size = self.args.get("size").and_then(Json::as_str).and_then(|size| size.parse::<Size>().ok());
        let smaller = |guest: &&&Guest| root && size.as_ref().is_some_and(|size| size.bytes() < guest.disk_gib << 30);
        match guests.iter().find(smaller) {
            Some(guest) => Err(Problem::Refuse(format!(
                "the disk of {} has {} GiB, and a disk can grow but never shrink",
                guest.label(),
                guest.disk_gib
            ))),
            None => Ok(()),
        }
    }

    /// Where no file was named, the patch's own header names it.
    pub(super) fn patch(&mut self) -> Result<(), Problem> {
        if self.args.contains_key("path") {
            return Ok(());
        }
        let text = self.args.get("patch").and_then(Json::as_str).unwrap_or_default();
        let header = text.lines().find_map(|line| line.strip_prefix("+++ b/"));
        let path = header.and_then(|line| line.split('\t').next()).map(|path| format!("/{}", path.trim()));
        let path = path.ok_or_else(|| ask("Which file is to be patched?", Vec::new()))?;
        self.args.insert("path".to_owned(), Json::from(path));
        Ok(())
    }
}
