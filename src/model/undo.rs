//! What takes a plan back that was carried out. What a step would take was computed from the state before; what only its
//! results tell (the vmid of a copy, the name of a snapshot, where each guest came from) is read out of those.

use super::{
    answer::TargetResult,
    catalogue,
    op::Op,
    plan::{Proposed, Step},
    risk::Risk,
    target::Target,
    values::Size,
};
use serde_json::Value;

/// What takes a plan back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Undo {
    /// In order: the last step first.
    pub steps: Vec<Proposed>,
    /// What nothing takes back, a line each.
    pub left: Vec<String>,
    /// What the plan has made, with the name that it was given: a vmid may be another guest's by now.
    pub made: Vec<(Target, String)>,
    /// The tags that the plan has left, where they are to be put back: others may have come since.
    pub tagged: Vec<(Target, Vec<String>)>,
}

/// One result taken back.
enum Back {
    /// Nothing was changed.
    Nothing,
    /// By this.
    By(Op, Vec<Target>),
    /// Not at all, and why.
    Never(String),
}

/// From a plan's steps and what came of them.
pub fn of(steps: &[Step], results: &[TargetResult]) -> Undo {
    let mut undo = Undo::default();
    for (index, step) in steps.iter().enumerate().rev().filter(|(_, step)| step.risk > Risk::Observe) {
        let begun = undo.steps.len();
        for result in results.iter().filter(|result| result.step == index) {
            match of_result(step, result) {
                Back::Nothing => {}
                Back::Never(why) => undo.left.push(format!("{} on {}: {why}", step.op.name(), result.target)),
                Back::By(op, targets) => match undo.steps[begun..].iter_mut().find(|known| known.op == op) {
                    Some(known) => known.targets.extend(targets),
                    None => undo.steps.push(Proposed { op, targets }),
                },
            }
            undo.made.extend(made(&step.op, result));
            undo.tagged.extend(tagged(&step.op, result));
        }
    }
    undo
}

fn of_result(step: &Step, result: &TargetResult) -> Back {
    let data = &result.data;
    let moved = |node: &str| Op::GuestMigrate { node: node.to_owned() };
    match (&step.op, result.state.as_str()) {
        // Also where some guests could not leave.
        (Op::NodeDrain { .. }, _) if data["moved"].is_array() => match (result.target.node_name(), targets(data)) {
            (Some(node), targets) if !targets.is_empty() => Back::By(moved(node), targets),
            _ => Back::Nothing,
        },
        (_, "unknown" | "timed-out") => Back::Never("how it ended is not known".to_owned()),
        // Proxmox had no task for it, or the agent says that it was so before.
        (_, "succeeded") if data.get("task").is_some_and(Value::is_null) || data["changed"] == false => Back::Nothing,
        (op, "succeeded") => after(op, data)
            .map(|(op, target)| Back::By(op, vec![target.unwrap_or_else(|| result.target.clone())]))
            .or_else(|| before(step, &result.target))
            .unwrap_or_else(|| Back::Never(lasting(op).unwrap_or("nothing takes it back").to_owned())),
        _ => Back::Nothing,
    }
}

/// What a result alone can tell; the target is the result's own, unless another one is given.
fn after(op: &Op, data: &Value) -> Option<(Op, Option<Target>)> {
    match op {
        Op::GuestSnapshot { name: None } => {
            Some((Op::GuestDeleteSnapshot { snapshot: data["snapshot"]["name"].as_str()?.to_owned() }, None))
        }
        Op::GuestMigrate { .. } => Some((Op::GuestMigrate { node: data["from"].as_str()?.to_owned() }, None)),
        Op::GuestConfigure { .. } => Some((configured(data["changed"].as_array()?)?, None)),
        op => Some((Op::GuestDestroy {}, Some(new_guest(op, data)?))),
    }
}

/// The guest that a result says was made.
fn new_guest(op: &Op, data: &Value) -> Option<Target> {
    let makes = matches!(op, Op::GuestCreate { .. } | Op::GuestClone { .. } | Op::GuestRestore { newid: Some(_), .. });
    // Without its name nobody can tell later whether it is still the one.
    makes.then(|| data["name"].as_str().filter(|name| !name.is_empty()).and(data["target"].as_str())?.parse().ok())?
}

fn made(op: &Op, result: &TargetResult) -> Option<(Target, String)> {
    let target = new_guest(op, &result.data).filter(|_| result.succeeded())?;
    Some((target, result.data["name"].as_str()?.to_owned()))
}

/// What the state before told, of this target alone.
fn before(step: &Step, target: &Target) -> Option<Back> {
    let op = step.undo.clone()?;
    // On others than the step's own only with the results that name them.
    step.undo_targets.is_empty().then(|| Back::By(op, vec![target.clone()]))
}

/// The guests that a drain has moved.
fn targets(data: &Value) -> Vec<Target> {
    let moved = data["moved"].as_array().into_iter().flatten();
    moved.filter_map(|one| one["target"].as_str()?.parse().ok()).collect()
}

/// The settings as they were; `None` where one of them can't be put back by its value.
fn configured(changed: &[Value]) -> Option<Op> {
    let (mut cores, mut memory, mut tags, mut onboot, mut name) = (None, None, None, None, None);
    for one in changed {
        let value = one["before"].as_str().filter(|value| value.len() < 100)?;
        match one["key"].as_str()? {
            "cores" => cores = Some(value.parse().ok()?),
            "memory" => memory = Some(format!("{value}M").parse::<Size>().ok()?),
            "tags" => tags = Some(tags_of(value)),
            "onboot" => onboot = Some(value == "1"),
            "hostname" | "name" if value != "–" => name = Some(value.to_owned()),
            _ => return None,
        }
    }
    Some(Op::GuestConfigure { cores, memory, tags, onboot, name })
}

/// A guest's tags as its configuration has them.
fn tags_of(value: &str) -> Vec<String> {
    if value == "–" { Vec::new() } else { value.split(';').map(str::to_owned).collect() }
}

fn tagged(op: &Op, result: &TargetResult) -> Option<(Target, Vec<String>)> {
    let changed = matches!(op, Op::GuestConfigure { .. }).then(|| result.data["changed"].as_array())??;
    let tags = changed.iter().find(|one| one["key"] == "tags").filter(|_| result.succeeded())?;
    Some((result.target.clone(), tags_of(tags["after"].as_str()?)))
}

/// What an operation's result will tell of how to take it back, where nobody can before; for people.
pub fn told_after(op: &Op) -> Option<&'static str> {
    match op {
        Op::GuestCreate { .. } => Some("destroys the new guest"),
        Op::GuestClone { .. } => Some("destroys the copy"),
        Op::GuestRestore { newid: Some(_), .. } => Some("destroys what was restored"),
        Op::GuestSnapshot { name: None } => Some("deletes the snapshot"),
        Op::GuestMigrate { .. } => Some("sends each back to where it was"),
        Op::GuestConfigure { .. } => Some("puts the settings back"),
        _ => None,
    }
}

/// Why nothing takes an operation back although it leaves something behind; `None` where it leaves nothing.
pub fn lasting(op: &Op) -> Option<&'static str> {
    Some(match op {
        Op::GuestRestore { .. } => "what it held before is overwritten",
        Op::GuestResize { .. } => "a disk can't shrink",
        Op::GuestDeleteSnapshot { .. } => "what a snapshot holds is gone with it",
        Op::GuestRollback { .. } => "what was written since the snapshot is gone",
        Op::GuestConfigure { .. } => "how it was configured is not known",
        Op::NodeDrain { .. } => "where the guests are now is not known",
        Op::PackageUpgrade { .. } => "the versions before are not kept",
        Op::ExecRun { .. } => "what the command changes is not known",
        Op::AgentUpdate { .. } => "the version before is not known, or not the same everywhere",
        op if catalogue::spec(op.name()).is_some_and(|spec| spec.risk == Risk::Critical) => "what is gone is gone",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Inventory, Policy};
    use serde_json::json;

    fn step(op: Op, targets: &[Target]) -> Step {
        let homelab: Inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap();
        Policy::default().weigh(Proposed { op, targets: targets.to_vec() }, &homelab)
    }

    fn result(step: usize, target: Target, state: &str, data: Value) -> TargetResult {
        let (summary, help) = (String::new(), None);
        TargetResult { step, target, state: state.into(), summary, help, data, took_ms: 0 }
    }

    fn clone(newid: Option<u64>) -> Op {
        Op::GuestClone { name: "copy".into(), newid, node: None }
    }

    fn migrate(node: &str) -> Op {
        Op::GuestMigrate { node: node.into() }
    }

    /// What takes one step back that ended so.
    fn of_one(op: Op, target: Target, data: Value) -> Vec<(Op, Vec<Target>)> {
        let undo = of(&[step(op, std::slice::from_ref(&target))], &[result(0, target, "succeeded", data)]);
        undo.steps.into_iter().map(|step| (step.op, step.targets)).collect()
    }

    #[test]
    fn what_only_the_result_knows_is_taken_from_it() {
        let made = json!({"target": "vm/300", "name": "copy", "task": "UPID:…"});
        for newid in [None, Some(300)] {
            let back = of_one(clone(newid), Target::vm(203), made.clone());
            assert_eq!(back, [(Op::GuestDestroy {}, vec![Target::vm(300)])]);
        }
        let taken = json!({"snapshot": {"name": "r1"}, "task": "UPID:…"});
        let back = of_one(Op::GuestSnapshot { name: None }, Target::ct(118), taken);
        assert_eq!(back, [(Op::GuestDeleteSnapshot { snapshot: "r1".into() }, vec![Target::ct(118)])]);
        let changed = json!({"changed": [
            {"key": "cores", "before": "2", "after": "4"}, {"key": "tags", "before": "a;b", "after": "–"},
            {"key": "onboot", "before": "0", "after": "1"}, {"key": "hostname", "before": "web", "after": "www"},
        ]});
        let op = Op::GuestConfigure { cores: Some(4), memory: None, tags: None, onboot: None, name: None };
        let back = Op::GuestConfigure {
            cores: Some(2),
            memory: None,
            tags: Some(vec!["a".into(), "b".into()]),
            onboot: Some(false),
            name: Some("web".into()),
        };
        let results = [result(0, Target::ct(118), "succeeded", changed.clone())];
        assert_eq!(of(&[step(op.clone(), &[Target::ct(118)])], &results).tagged, [(Target::ct(118), Vec::new())]);
        assert_eq!(of_one(op, Target::ct(118), changed), [(back, vec![Target::ct(118)])]);
        let nameless = json!({"target": "vm/300", "task": "UPID:…"});
        assert_eq!(of_one(clone(None), Target::vm(203), nameless), [], "nobody could tell it from another one");
    }

    #[test]
    fn each_guest_goes_back_to_where_it_was() {
        let both = [Target::ct(118), Target::ct(119), Target::ct(120)];
        let results = [
            result(0, both[0].clone(), "succeeded", json!({"from": "pve1", "task": "UPID:…"})),
            result(0, both[1].clone(), "succeeded", json!({"from": "pve2", "task": "UPID:…"})),
            result(0, both[2].clone(), "succeeded", json!({"task": null})),
        ];
        let back = of(&[step(migrate("pve3"), &both)], &results).steps;
        let to = |node: &str, target: &Target| Proposed { op: migrate(node), targets: vec![target.clone()] };
        assert_eq!(back, [to("pve1", &both[0]), to("pve2", &both[1])]);
        let moved = json!({"moved": [{"target": "ct/118", "to": "pve2"}, {"target": "vm/203", "to": "pve3"}]});
        let drained = [result(0, Target::node("pve1"), "failed", moved)];
        let back = of(&[step(Op::NodeDrain { to: None }, &[Target::node("pve1")])], &drained).steps;
        assert_eq!(back, [Proposed { op: migrate("pve1"), targets: vec![Target::ct(118), Target::vm(203)] }]);
    }

    #[test]
    fn the_last_step_goes_first_and_what_was_not_done_is_not_taken_back() {
        let steps = [
            step(Op::GuestStart {}, &[Target::ct(121), Target::ct(122)]),
            step(Op::ServiceStop { service: "nginx".into() }, &[Target::ct(118)]),
            step(Op::ServiceStop { service: "cron".into() }, &[Target::ct(118)]),
            step(Op::ServiceStop { service: "ssh".into() }, &[Target::ct(118)]),
        ];
        let results = [
            result(0, Target::ct(121), "succeeded", json!({"task": "UPID:…"})),
            result(0, Target::ct(122), "succeeded", json!({"task": null})),
            result(1, Target::ct(118), "succeeded", Value::Null),
            result(2, Target::ct(118), "skipped", Value::Null),
            result(3, Target::ct(118), "succeeded", json!({"changed": false})),
        ];
        let undo = of(&steps, &results);
        let names: Vec<&str> = undo.steps.iter().map(|step| step.op.name()).collect();
        assert_eq!((names, undo.left.len()), (vec!["service.start", "guest.shutdown"], 0));
        assert_eq!(undo.steps[1].targets, [Target::ct(121)], "the other one ran already");
    }

    #[test]
    fn what_nothing_takes_back_is_said() {
        let grown = of(
            &[step(Op::GuestResize { disk: "rootfs".into(), size: "9G".parse().unwrap() }, &[Target::ct(118)])],
            &[result(0, Target::ct(118), "succeeded", json!({"task": "UPID:…"}))],
        );
        assert_eq!(grown.left, ["guest.resize on ct/118: a disk can't shrink"]);
        let lost = of(&[step(clone(None), &[Target::vm(203)])], &[result(0, Target::vm(203), "unknown", Value::Null)]);
        assert_eq!((lost.steps.len(), lost.left.len()), (0, 1));
    }
}
