//! The fourth stage: from a reading to steps. Arguments become typed, services get their exact unit on each guest,
//! classes are narrowed to what the operation is for, and whatever is missing or contradicts becomes a question.

use super::{
    class::{Problem, Scope, Taken, ask},
    intent::Reading,
    noun::{Expr, Filter, Noun, Property},
    service::ServiceWord,
    values::Value,
    vocabulary::name_parts,
};
use crate::model::{Op, Target, catalogue, inventory::Guest, plan::Proposed};
use rustc_hash::FxHashSet;
use serde_json::{Map, Value as Json};

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
pub(super) struct Parts<'r> {
    pub(super) op: String,
    pub(super) args: Map<String, Json>,
    pub(super) targets: Option<Expr>,
    pub(super) services: &'r [ServiceWord],
    pub(super) from: Option<String>,
    pub(super) everywhere: bool,
    /// Whether a service can't be meant.
    machine: bool,
}

/// Resolves one reading.
pub fn resolve(reading: &Reading<'_>, scope: &Scope<'_>) -> Result<Resolved, Problem> {
    if let Some(why) = &reading.rule.refuse {
        return Err(Problem::Refuse((*why).to_owned()));
    }
    let mut parts = Parts::of(reading, scope)?;
    let spoken;
    if parts.services.iter().any(ServiceWord::is_pronoun) {
        let open = || ask("What does \"it\" stand for? Name the service and the guest.", scope.before.to_vec());
        spoken = [scope.spoken_service().ok_or_else(open)?];
        parts.services = &spoken;
    }
    adopt_template(&mut parts, scope)?;
    if parts.targets.is_none() && parts.services.is_empty() {
        return parts.without_targets(scope);
    }
    if parts.targets.is_none() {
        return parts.services_at_home(scope);
    }
    let mut expr = parts.targets.take().unwrap_or_default();
    if parts.op == "guest.list" && expr.drop_agents() {
        "agent.check".clone_into(&mut parts.op);
    }
    if expr.include == [Noun::Pronoun] && expr.exclude.is_empty() {
        if let (Some(service), Some(op)) = (scope.spoken.and_then(|spoken| spoken.service.as_ref()), parts.of_service())
        {
            op.clone_into(&mut parts.op);
            let services = [service.clone()];
            return Parts { services: &services, ..parts }.services_at_home(scope);
        }
        parts.of_what_was_spoken(scope)?;
        parts.pronoun(scope)?;
        if parts.args.contains_key("service") {
            return parts.finish(scope.before.to_vec(), Vec::new());
        }
    }
    let mut taken = scope.resolve(&expr)?;
    if expr.either && !parts.only_reads() && taken.targets.len() > 1 {
        return Err(ask("Which of them?", taken.targets));
    }
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
            op: reading.rule.op.to_owned(),
            args: reading.rule.args.clone(),
            targets: None,
            services: &[],
            from: None,
            everywhere: false,
            machine: reading.rule.machine,
        };
        let mut except: Option<&Expr> = None;
        let mut place: Option<&Expr> = None;
        for (name, value) in &reading.slots {
            match (*name, value) {
                ("except", Value::Targets(expr)) => except = Some(expr),
                ("place", Value::Targets(expr)) => place = Some(expr),
                // `web-1 needs the agent, deploy it`
                ("that", Value::Targets(expr)) => {
                    let agent = scope.spoken.is_some_and(|spoken| spoken.agent)
                        || scope.step.is_some_and(|step| step.op.name() == "agent.deploy");
                    if !agent {
                        return Err(ask("What is to be deployed, and where?", scope.before.to_vec()));
                    }
                    parts.targets = Some(expr.clone());
                }
                ("all", _) => parts.everywhere = true,
                (_, Value::Targets(expr)) => parts.targets = Some(expr.clone()),
                (_, Value::Services(services)) => parts.services = services,
                ("old", Value::Arg(Json::String(text))) => parts.from = Some(text.clone()),
                ("old", _) => {}
                // The list tells when each was made.
                ("since", _) if parts.op == "guest.backups" => {}
                ("storage", Value::Arg(_)) if parts.op == "storage.list" => {}
                ("packages", Value::Arg(Json::Null)) => parts.those_packages(scope)?,
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
        if let Some(path) = scope
            .spoken
            .and_then(|spoken| spoken.path.as_deref())
            .filter(|_| parts.op.starts_with("config.") && parts.op != "config.backups")
        {
            parts.args.entry("path").or_insert_with(|| Json::from(path));
        }
        if let Some(place) = place {
            let nodes = place.include.iter().filter_map(|noun| scope.node_named(noun));
            let there = Filter::is(Property::AnyOf(nodes.map(|node| Filter::is(Property::Node(node))).collect()));
            for noun in parts.targets.iter_mut().flat_map(|targets| &mut targets.include) {
                noun.narrow(&there);
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

    /// `web-1 needs htop, install it`: what the comment said is needed.
    fn those_packages(&mut self, scope: &Scope<'_>) -> Result<(), Problem> {
        match scope.spoken {
            Some(spoken) if !spoken.packages.is_empty() => {
                self.args.insert("packages".to_owned(), Json::from(spoken.packages.clone()));
            }
            _ => return Err(ask("Which packages, and where?", scope.before.to_vec())),
        }
        Ok(())
    }

    /// `its agent is old, update it`, `the snapshot is obsolete, delete it`: not the guest but what it has is meant.
    fn of_what_was_spoken(&mut self, scope: &Scope<'_>) -> Result<(), Problem> {
        let Some(spoken) = scope.spoken else { return Ok(()) };
        match (self.op.as_str(), &spoken.snapshot) {
            ("package.upgrade", _) if spoken.agent && self.args.is_empty() => {
                "agent.update".clone_into(&mut self.op);
            }
            ("guest.destroy", _) if spoken.agent => "agent.remove".clone_into(&mut self.op),
            ("guest.shutdown" | "guest.stop" | "guest.start" | "guest.suspend", _) if spoken.agent => {
                return Err(ask("Is the agent meant, or the guest? Say which.", scope.before.to_vec()));
            }
            ("guest.destroy", _) if !spoken.packages.is_empty() => {
                "package.remove".clone_into(&mut self.op);
                self.args.insert("packages".to_owned(), Json::from(spoken.packages.clone()));
            }
            ("guest.destroy", Some(snapshot)) => {
                "guest.delete_snapshot".clone_into(&mut self.op);
                self.args.insert("snapshot".to_owned(), Json::from(snapshot.as_str()));
            }
            ("guest.destroy", None) if spoken.part => {
                return Err(ask("What is to be deleted? Name it, and the guest.", scope.before.to_vec()));
            }
            _ => {}
        }
        Ok(())
    }

    /// What the operation is called where it is a service that it is done to.
    fn of_service(&self) -> Option<&'static str> {
        let alike = [
            ("guest.start", "service.start"),
            ("guest.shutdown", "service.stop"),
            ("guest.stop", "service.stop"),
            ("guest.reboot", "service.restart"),
            ("guest.status", "service.status"),
        ];
        alike.iter().find(|(of_guest, _)| *of_guest == self.op).map(|(_, of_service)| *of_service)
    }

    /// `stop nginx and start it again`: what can be said of a guest and of a service alike is said of what was last
    /// spoken of.
    fn pronoun(&mut self, scope: &Scope<'_>) -> Result<(), Problem> {
        let Some(step) = scope.step else { return Ok(()) };
        let group = step.op.name().split('.').next().unwrap_or_default();
        // `restart cups and show its log`
        if let Some(service) = step.op.service().filter(|_| self.op.starts_with("logs.")) {
            self.args.entry("service").or_insert_with(|| Json::from(service));
        }
        // `update the agent and check whether it answers`
        if group == "agent" && self.op == "guest.status" {
            "agent.check".clone_into(&mut self.op);
        }
        let Some(of_service) = self.of_service() else { return Ok(()) };
        match (step.op.service(), group) {
            (Some(service), _) => {
                of_service.clone_into(&mut self.op);
                self.args.insert("service".to_owned(), Json::from(service));
                Ok(())
            }
            (None, "package") if step.op.args().is_empty() => Ok(()),
            (None, _) if self.machine => Ok(()),
            (None, "package" | "config" | "exec" | "logs") => {
                Err(ask("What does \"it\" stand for, the guest or a service in it? Name it.", scope.before.to_vec()))
            }
            (None, _) => Ok(()),
        }
    }

    /// Nothing was named: the cluster, what the clause before was about, or a question.
    fn without_targets(mut self, scope: &Scope<'_>) -> Result<Resolved, Problem> {
        if self.op == "agent.update" {
            return Err(ask(
                "Whose agents? Say for example \"all containers\", \"all nodes\", or name them.",
                Vec::new(),
            ));
        }
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
        if let Some(there) = self.taken_name(scope).filter(|_| self.op == "guest.create") {
            return Err(ask("That name is taken. Which name instead?", vec![there]));
        }
        if of_cluster.contains(&self.op.as_str()) {
            return self.finish(vec![Target::cluster()], Vec::new());
        }
        let of_service =
            if self.op.starts_with("service.") { Some(self.op.clone()) } else { self.of_service().map(str::to_owned) };
        if let (Some(service), Some(op)) = (scope.spoken.and_then(|spoken| spoken.service.as_ref()), of_service) {
            self.op = op;
            return Parts { services: std::slice::from_ref(service), ..self }.services_at_home(scope);
        }
        if scope.doubt {
            return Err(ask(scope.which("it", scope.before), scope.before.to_vec()));
        }
        if !scope.before.is_empty() && (self.op != "guest.destroy") {
            let mut taken =
                Taken { targets: scope.before.to_vec(), groups: vec![scope.before.to_vec()], ..Taken::default() };
            self.suit(&mut taken, scope)?;
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
        if !scope.before.is_empty() && !scope.doubt {
            let taken =
                Taken { targets: scope.before.to_vec(), groups: vec![scope.before.to_vec()], ..Taken::default() };
            let there = self.services_on(&taken, scope);
            if there.is_ok() || !scope.aside {
                return there;
            }
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
    fn services_on(&self, taken: &Taken, scope: &Scope<'_>) -> Result<Resolved, Problem> {
        let mut steps = Vec::new();
        let left: FxHashSet<&Target> = taken.targets.iter().collect();
        let ordered: Vec<Target> =
            taken.groups.iter().flatten().filter(|target| left.contains(target)).cloned().collect();
        for word in self.services {
            let mut by_unit: Vec<(String, Vec<Target>)> = Vec::new();
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
}

/// Creating from a template that is a guest of the inventory is cloning it.
fn adopt_template(parts: &mut Parts<'_>, scope: &Scope<'_>) -> Result<(), Problem> {
    let Some(template) = parts.args.get("template").and_then(Json::as_str).filter(|_| parts.op == "guest.create")
    else {
        return Ok(());
    };
    let templates = || scope.vocabulary.templates();
    let exact = templates().any(|guest| guest.name.eq_ignore_ascii_case(template));
    let word = template.to_lowercase();
    let fits = |guest: &&Guest| {
        let near = guest.os.id == word || name_parts(&guest.name).contains(&word);
        if exact { guest.name.eq_ignore_ascii_case(template) } else { near }
    };
    let found: Vec<Target> = templates().filter(fits).map(Guest::target).collect();
    let target = match &found[..] {
        [] => return Ok(()),
        [target] => target.clone(),
        _ => return Err(ask(scope.which(template, &found), found)),
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
    let vmid = target.vmid().unwrap_or_default();
    let noun = Noun::Vmid { vmid, class: None, filters: Vec::new() };
    parts.targets = Some(Expr { include: vec![noun], ..Expr::default() });
    "guest.clone".clone_into(&mut parts.op);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::{intent::Matcher, testing::read};

    fn outcome(text: &str) -> String {
        read(text, |sentence| {
            let readings = Matcher::new(sentence).readings();
            let scope = Scope {
                vocabulary: sentence.vocabulary,
                before: &[],
                doubt: false,
                aside: false,
                spoken: None,
                step: None,
            };
            let Some(reading) = readings.first() else { return "unread".to_owned() };
            match resolve(reading, &scope) {
                Ok(resolved) => {
                    let one = |step: &Proposed| {
                        let targets: Vec<String> = step.targets.iter().map(ToString::to_string).collect();
                        format!("{} {}", step.op.name(), targets.join(" "))
                    };
                    resolved.steps.iter().map(one).collect::<Vec<_>>().join("; ")
                }
                Err(Problem::Ask { .. }) => "ask".to_owned(),
                Err(Problem::Unknown(_)) => "unknown".to_owned(),
                Err(Problem::Refuse(_)) => "refuse".to_owned(),
            }
        })
    }

    #[test]
    fn operations_take_the_targets_that_they_are_for() {
        for (text, expected) in [
            ("deploy the agent to all nodes", "agent.deploy node/pve2 node/pve3"),
            ("update the agent on all nodes", "agent.update node/pve1"),
            ("migrate all containers from pve1 to pve2", "guest.migrate ct/101 ct/110 ct/118 ct/150 ct/151 ct/180"),
            ("restart nginx on all web containers", "service.restart ct/118 ct/119"),
            ("restart the web server on blog and on nextcloud", "service.restart ct/120; service.restart ct/190"),
            ("reboot pve1", "system.reboot node/pve1"),
            ("create a vm from the ubuntu template called x1", "guest.clone vm/900"),
        ] {
            assert_eq!(outcome(text), expected, "{text}");
        }
    }

    #[test]
    fn what_can_not_be_is_asked_about_or_refused() {
        for (text, expected) in [
            ("migrate jellyfin to pve3", "ask"),
            ("roll back web-server to nightly", "ask"),
            ("shut down pve2", "ask"),
            ("reboot containers", "ask"),
            ("rename wiki to blog", "ask"),
            ("resize the rootfs of blog to 4G", "refuse"),
            ("destroy all containers", "refuse"),
            ("deploy the agent to opnsense", "refuse"),
            ("migrate jellyfin to pve9", "unknown"),
        ] {
            assert_eq!(outcome(text), expected, "{text}");
        }
    }
}
