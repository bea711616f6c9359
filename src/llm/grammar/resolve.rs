//! The fourth stage: from a reading to steps. Arguments become typed, services get their exact unit on each guest,
//! classes are narrowed to what the operation is for, and whatever is missing or contradicts becomes a question.

use super::{
    class::{Problem, Scope, Taken, ask},
    intent::Reading,
    noun::{Expr, Noun},
    service::ServiceWord,
    values::Value,
};
use crate::model::{Op, Target, catalogue, inventory::Guest, plan::Proposed};
use serde_json::{Map, Value as Json};

/// Systems that the agent does not run on: it is a Linux program that needs a writable system.
const WITHOUT_AGENT: &[&str] = &["bsd", "haos", "windows", "darwin"];

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

/// What a reading comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The steps.
    pub steps: Vec<Proposed>,
    /// What they are about, for a pronoun in the next clause.
    pub about: Vec<Target>,
    /// Those that a class took, not a name.
    pub by_class: Vec<Target>,
}

/// A reading taken apart.
struct Parts<'r> {
    op: String,
    args: Map<String, Json>,
    targets: Option<Expr>,
    services: &'r [ServiceWord],
    from: Option<String>,
    everywhere: bool,
}

/// Resolves one reading.
pub fn resolve(reading: &Reading<'_>, scope: &Scope<'_>) -> Result<Resolved, Problem> {
    if let Some(why) = &reading.rule.refuse {
        return Err(Problem::Refuse(why.clone()));
    }
    let mut parts = Parts::of(reading, scope)?;
    adopt_template(&mut parts, scope)?;
    if parts.targets.is_none() && parts.services.is_empty() {
        return parts.without_targets(scope);
    }
    if parts.targets.is_none() {
        return parts.services_at_home(scope);
    }
    let expr = parts.targets.take().unwrap_or_default();
    let mut taken = scope.resolve(&expr)?;
    parts.suit(&mut taken, scope)?;
    if !parts.services.is_empty() {
        return parts.services_on(&taken, scope);
    }
    parts.complete(&taken, scope)?;
    parts.finish(taken.targets.clone(), taken.by_class)
}

impl<'r> Parts<'r> {
    fn of(reading: &'r Reading<'_>, scope: &Scope<'_>) -> Result<Self, Problem> {
        let mut parts = Self {
            op: reading.rule.op.clone(),
            args: reading.rule.args.clone(),
            targets: None,
            services: &[],
            from: None,
            everywhere: false,
        };
        let mut except: Option<&Expr> = None;
        for (name, value) in &reading.slots {
            match (*name, value) {
                ("except", Value::Targets(expr)) => except = Some(expr),
                ("all", _) => parts.everywhere = true,
                (_, Value::Targets(expr)) => parts.targets = Some(expr.clone()),
                (_, Value::Services(services)) => parts.services = services,
                ("old", Value::Arg(Json::String(text))) => parts.from = Some(text.clone()),
                ("old", _) | (_, Value::Nothing) => {}
                ("storage", Value::Arg(_)) if parts.op == "storage.list" => {}
                (_, Value::Arg(json)) => {
                    parts.args.insert((*name).to_owned(), json.clone());
                }
                (_, Value::Stranger { what: "node", text }) => return Err(Problem::Unknown(text.clone())),
                (_, Value::Stranger { what, text }) => {
                    let known: Vec<&str> =
                        scope.vocabulary.inventory.storages.iter().map(|storage| storage.name.as_str()).collect();
                    return Err(ask(
                        format!("There is no {what} `{text}`; there are {}. Which one?", known.join(", ")),
                        Vec::new(),
                    ));
                }
            }
        }
        if let Some(except) = except {
            let Some(targets) = &mut parts.targets else {
                return Err(ask("Of which guests or nodes should that be left out?", Vec::new()));
            };
            targets.exclude.extend(except.include.iter().chain(&except.exclude).cloned());
        }
        Ok(parts)
    }

    /// Nothing was named: the cluster, what the clause before was about, or a question.
    fn without_targets(mut self, scope: &Scope<'_>) -> Result<Resolved, Problem> {
        let of_cluster = [
            "cluster.status",
            "node.list",
            "storage.list",
            "alert.list",
            "guest.list",
            "guest.create",
            "template.list",
            "template.download",
            "agent.check",
        ];
        if of_cluster.contains(&self.op.as_str()) {
            return self.finish(vec![Target::cluster()], Vec::new());
        }
        if !scope.before.is_empty() && (self.op != "guest.destroy") {
            let taken =
                Taken { targets: scope.before.to_vec(), groups: vec![scope.before.to_vec()], ..Taken::default() };
            self.complete(&taken, scope)?;
            return self.finish(taken.targets, Vec::new());
        }
        let snapshot = self.args.get("snapshot").and_then(Json::as_str);
        let with_snapshot = |guest: &&Guest| match snapshot {
            Some(name) => guest.snapshots.iter().any(|known| known == name),
            None => !guest.snapshots.is_empty(),
        };
        let candidates = if self.op == "guest.delete_snapshot" {
            scope.vocabulary.inventory.guests.iter().filter(with_snapshot).map(Guest::target).collect()
        } else {
            Vec::new()
        };
        Err(ask("On which guest or node? Name it, or its vmid.", candidates))
    }

    /// Services without a guest: what the clause before was about where it has them, else where they are at home.
    fn services_at_home(self, scope: &Scope<'_>) -> Result<Resolved, Problem> {
        if !scope.before.is_empty() {
            let taken =
                Taken { targets: scope.before.to_vec(), groups: vec![scope.before.to_vec()], ..Taken::default() };
            return self.services_on(&taken, scope);
        }
        let mut steps = Vec::new();
        let mut about = Vec::new();
        for word in self.services {
            let (target, unit) = scope.home(word)?;
            about.push(target.clone());
            steps.push(self.step_with(unit, vec![target])?);
        }
        about.sort();
        about.dedup();
        Ok(Resolved { steps, about, by_class: Vec::new() })
    }

    /// One step for each service and each name that it has, in the order of the text.
    fn services_on(self, taken: &Taken, scope: &Scope<'_>) -> Result<Resolved, Problem> {
        let mut steps = Vec::new();
        for word in self.services {
            let mut by_unit: Vec<(String, Vec<Target>)> = Vec::new();
            let ordered: Vec<Target> =
                taken.groups.concat().into_iter().filter(|target| taken.targets.contains(target)).collect();
            for (target, unit) in scope.units(word, &ordered, &taken.by_class)? {
                match by_unit.iter_mut().find(|(known, _)| *known == unit) {
                    Some((_, targets)) => targets.push(target),
                    None => by_unit.push((unit, vec![target])),
                }
            }
            for (unit, targets) in by_unit {
                steps.push(self.step_with(unit, targets)?);
            }
        }
        Ok(Resolved { steps, about: taken.targets.clone(), by_class: taken.by_class.clone() })
    }

    fn step_with(&self, unit: String, targets: Vec<Target>) -> Result<Proposed, Problem> {
        let mut args = self.args.clone();
        args.insert("service".to_owned(), Json::from(unit));
        step(&self.op, args, targets)
    }

    fn finish(self, mut targets: Vec<Target>, by_class: Vec<Target>) -> Result<Resolved, Problem> {
        targets.sort();
        targets.dedup();
        let about = if self.op == "guest.create" { Vec::new() } else { targets.clone() };
        Ok(Resolved { steps: vec![step(&self.op, self.args, targets)?], about, by_class })
    }

    /// Fits the targets to the operation, and the operation to nodes.
    fn suit(&mut self, taken: &mut Taken, scope: &Scope<'_>) -> Result<(), Problem> {
        let nodes = taken.targets.iter().filter(|target| target.is_node()).count();
        let all_nodes = nodes == taken.targets.len();
        match self.op.as_str() {
            "guest.status" | "system.metrics" if all_nodes => self.op = "node.status".to_owned(),
            "guest.reboot" if all_nodes => self.op = "system.reboot".to_owned(),
            "guest.list" if all_nodes => self.op = "node.list".to_owned(),
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
        if taken.any && !self.only_reads() {
            return Err(ask("Which one? \"any\" leaves it open.", taken.targets.clone()));
        }
        if self.op == "guest.destroy" && taken.unbounded {
            return Err(Problem::Refuse("that would destroy everything of its kind; name what is to go".to_owned()));
        }
        Ok(())
    }

    fn only_reads(&self) -> bool {
        catalogue::spec(&self.op).is_some_and(|spec| spec.risk == crate::model::Risk::Observe)
    }

    fn suit_templates(&self, taken: &Taken, scope: &Scope<'_>) -> Result<(), Problem> {
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

    fn suit_agents(&self, taken: &mut Taken, scope: &Scope<'_>) -> Result<(), Problem> {
        let inventory = scope.vocabulary.inventory;
        let has_agent = |target: &Target| match target.node_name() {
            Some(name) => inventory.node(name).is_some_and(|node| node.pve_agent.is_some()),
            None => inventory.guest_of(target).is_some_and(|guest| guest.agent.is_some()),
        };
        let can_take = |guest: &Guest| {
            !WITHOUT_AGENT.contains(&guest.os.family.as_str()) && !WITHOUT_AGENT.contains(&guest.os.id.as_str())
        };
        let of_class = taken.by_class.clone();
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
                taken.targets.retain(|target| !of_class.contains(target) || has_agent(target))
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

    /// Checks arguments against what they are for.
    fn complete(&mut self, taken: &Taken, scope: &Scope<'_>) -> Result<(), Problem> {
        let inventory = scope.vocabulary.inventory;
        let guests: Vec<&Guest> = taken.targets.iter().filter_map(|target| inventory.guest_of(target)).collect();
        match self.op.as_str() {
            "guest.migrate" => self.migration(&guests),
            "guest.rollback" | "guest.delete_snapshot" => self.snapshot(&guests),
            "guest.resize" => self.disk(&guests),
            "guest.clone" if taken.targets.len() > 1 => Err(ask("Which one is to be cloned?", taken.targets.clone())),
            "guest.configure" if self.args.is_empty() => Err(ask(
                "What is to be changed, and to how much? For example \"4 cores\" or \"8G memory\".",
                Vec::new(),
            )),
            "guest.configure" if self.args.contains_key("name") && taken.targets.len() > 1 => {
                Err(ask("Which one is to be renamed?", taken.targets.clone()))
            }
            "config.edit" => self.patch(),
            _ => Ok(()),
        }
    }

    fn migration(&self, guests: &[&Guest]) -> Result<(), Problem> {
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

    fn snapshot(&self, guests: &[&Guest]) -> Result<(), Problem> {
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

    fn disk(&mut self, guests: &[&Guest]) -> Result<(), Problem> {
        if self.args.get("disk").and_then(Json::as_str) == Some("disk") {
            if guests.iter().any(|guest| guest.kind == crate::model::values::GuestKind::Vm) {
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
        let size = self
            .args
            .get("size")
            .and_then(Json::as_str)
            .and_then(|size| size.parse::<crate::model::values::Size>().ok());
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
    fn patch(&mut self) -> Result<(), Problem> {
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

/// Creating from a template that is a guest of the inventory is cloning it.
fn adopt_template(parts: &mut Parts<'_>, scope: &Scope<'_>) -> Result<(), Problem> {
    let Some(template) = parts.args.get("template").and_then(Json::as_str).filter(|_| parts.op == "guest.create")
    else {
        return Ok(());
    };
    let named = scope.vocabulary.named(template);
    let Some(target) = named.iter().map(|named| scope.vocabulary.target(*named)).find(|target| target.vmid().is_some())
    else {
        return Ok(());
    };
    let extra = parts.args.keys().any(|key| !["template", "kind", "name", "node"].contains(&key.as_str()));
    if extra {
        return Err(ask(
            format!(
                "{} is cloned first and sized afterwards: ask for the two one after the other.",
                scope.label(&target)
            ),
            vec![target],
        ));
    }
    let noun = Noun::Named { text: template.to_owned(), named: named.to_vec(), class: None, filters: Vec::new() };
    parts.targets = Some(Expr { include: vec![noun], exclude: Vec::new() });
    parts.op = "guest.clone".to_owned();
    parts.args.remove("template");
    parts.args.remove("kind");
    Ok(())
}

/// A typed step; a missing or wrong argument is a question.
fn step(op: &str, args: Map<String, Json>, targets: Vec<Target>) -> Result<Proposed, Problem> {
    if let Some(spec) = catalogue::spec(op) {
        let missing = spec.args.iter().find(|arg| !arg.optional && !args.contains_key(&arg.name));
        if let Some(arg) = missing {
            return Err(ask(format!("{op} needs its {}: which?", arg.name), Vec::new()));
        }
    }
    let mut targets = targets;
    targets.sort();
    targets.dedup();
    let op = Op::from_parts(op, args).map_err(|error| ask(format!("{error}. What was meant?"), Vec::new()))?;
    Ok(Proposed { op, targets })
}
