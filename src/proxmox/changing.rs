//! A guest's settings and disks changed. A change is made only to the configuration that was looked at (its digest goes
//! along), and what is told afterwards is what the configuration then says.

use super::{
    guest::{Failed, Guest, told},
    making::disks,
    requests::{guests, guests::Changes},
    resources::{Config, setting, tags},
};
use crate::{
    model::{
        Op, Outcome,
        values::{GuestKind, Size},
    },
    sys::{task::Task, text::one_line},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// A line of a guest's pending configuration.
#[derive(Deserialize)]
pub(super) struct Pending {
    key: String,
    #[serde(default)]
    pending: Option<Value>,
}

/// guest.configure.
pub(super) fn configure(mut guest: Guest, op: &Op, task: &Task) -> Result<Outcome, Failed> {
    let wanted = changes(op);
    if wanted == Changes::default() {
        let help = "name at least one of cores, memory, tags, onboot, name".to_owned();
        return Err(guest.reject("is to be changed, but no setting is given", help));
    }
    guest.unlocked(task)?;
    let before = guest.config()?;
    let digest = setting(&before, "digest");
    let wanted = only_new(guest.kind, wanted, &before);
    if wanted == Changes::default() {
        return Ok(guest.seen("was configured like that already", &guest.before, None));
    }
    let call = guests::configure(&guest.place(), &wanted, &digest);
    match guest.client.ask::<Value>(&call) {
        Ok(_) => {}
        Err(error) if error.reason().contains("modified configuration") || error.reason().contains("checksum") => {
            let help = "look at what it is now, and ask again".to_owned();
            return Err(guest.reject("was configured by somebody else at this moment: nothing was changed", help));
        }
        Err(error) => return Err(guest.refused("configure", error)),
    }
    let after = guest.config()?;
    let waiting: Vec<Pending> = guest.client.ask(&guests::pending(&guest.place()))?;
    let waits = |key: &str| waiting.iter().any(|line| line.key == key && line.pending.is_some());
    let changed = difference(guest.kind, &wanted, &before, &after);
    let unit = |key: &str| if key == "memory" { " MiB" } else { "" };
    let told: Vec<String> = changed.iter().map(|(key, old, new)| format!("{key} {old} → {new}{}", unit(key))).collect();
    let later: Vec<&str> = changed.iter().map(|(key, ..)| *key).filter(|key| waits(key)).collect();
    let reboot = if later.is_empty() { String::new() } else { format!("; {} after the next reboot", later.join(", ")) };
    let changed: Vec<Value> =
        changed.iter().map(|(key, old, new)| json!({"key": key, "before": old, "after": new})).collect();
    let outcome = Outcome::success(format!("{}{reboot}", told.join(", ")))
        .with_data(json!({"changed": changed, "after_reboot": later, "node": guest.node}));
    if later.is_empty() {
        return Ok(outcome);
    }
    Ok(outcome.with_help(format!("`remotectl run guest.reboot {}` puts it into effect", guest.target())))
}

fn changes(op: &Op) -> Changes {
    let Op::GuestConfigure { cores, memory, tags: words, onboot, name } = op else { return Changes::default() };
    Changes {
        cores: *cores,
        memory: memory.as_ref().map(|size| size.bytes() >> 20),
        tags: words.as_ref().map(|words| tags(&words.join(";")).join(";")),
        onboot: *onboot,
        name: name.clone(),
    }
}

/// Without what is so already.
fn only_new(kind: GuestKind, wanted: Changes, before: &Config) -> Changes {
    let is = |key: &str, value: &str| value_of(kind, before, key) == value;
    Changes {
        cores: wanted.cores.filter(|cores| !is("cores", &cores.to_string())),
        memory: wanted.memory.filter(|memory| !is("memory", &memory.to_string())),
        tags: wanted.tags.filter(|tags| !is("tags", tags)),
        onboot: wanted.onboot.filter(|onboot| !is("onboot", if *onboot { "1" } else { "0" })),
        name: wanted.name.filter(|name| !is(name_key(kind), name)),
    }
}

fn name_key(kind: GuestKind) -> &'static str {
    if kind == GuestKind::Ct { "hostname" } else { "name" }
}

/// A setting as it counts: what is absent has Proxmox's default.
fn value_of(kind: GuestKind, config: &Config, key: &str) -> String {
    let value = setting(config, key);
    match (key, value.as_str()) {
        ("onboot", "") => "0".to_owned(),
        ("memory", "") => "512".to_owned(),
        ("cores", "") if kind == GuestKind::Vm => "1".to_owned(),
        ("tags", _) => tags(&value).join(";"),
        _ => value,
    }
}

/// Key, value before, value after: of everything that was asked for, as the configuration says.
fn difference(
    kind: GuestKind,
    wanted: &Changes,
    before: &Config,
    after: &Config,
) -> Vec<(&'static str, String, String)> {
    let asked = [
        ("cores", wanted.cores.is_some()),
        ("memory", wanted.memory.is_some()),
        ("tags", wanted.tags.is_some()),
        ("onboot", wanted.onboot.is_some()),
        (name_key(kind), wanted.name.is_some()),
    ];
    let shown = |config: &Config, key: &str| match value_of(kind, config, key) {
        value if value.is_empty() => "–".to_owned(),
        value => one_line(&value, 100),
    };
    let asked = asked.into_iter().filter(|(_, asked)| *asked);
    asked.map(|(key, _)| (key, shown(before, key), shown(after, key))).collect()
}

/// guest.resize.
pub(super) fn resize(mut guest: Guest, disk: &str, size: &Size, task: &Task) -> Result<Outcome, Failed> {
    let config = guest.config()?;
    let there = disks(guest.kind, &config);
    let Some((.., before)) = there.iter().find(|(key, ..)| key == disk) else {
        let names: Vec<&str> = there.iter().map(|(key, ..)| key.as_str()).collect();
        let help = format!("its disks are {}", names.join(", "));
        return Err(guest.reject(&format!("has no disk {}", one_line(disk, 30)), help));
    };
    let before = *before;
    if size.bytes() < before {
        let help = "a disk can only grow: back the guest up and restore it to a smaller one".to_owned();
        return Err(guest.reject(&format!("has {disk} of {} already: it can't shrink", gibibytes(before)), help));
    }
    if size.bytes() == before {
        return Ok(guest.seen(&format!("{disk} was {} already", gibibytes(before)), &guest.before, None));
    }
    guest.unlocked(task)?;
    let call = guests::resize(&guest.place(), disk, size.bytes(), &setting(&config, "digest"));
    let upid = guest.carry_out("resize", &call, task)?;
    let after = disks(guest.kind, &guest.config()?).into_iter().find(|(key, ..)| key == disk).map(|(.., size)| size);
    let Some(after) = after.filter(|after| *after > before) else {
        let outcome =
            Outcome::failure(format!("Proxmox's task succeeded, but {disk} of {} has not grown", guest.label()));
        return Err(told(outcome.with_help(format!("`remotectl run guest.status {}` shows it", guest.target()))));
    };
    let inside = if guest.kind == GuestKind::Ct { "" } else { "; its file system is grown from inside" };
    let summary = format!("{disk} {} → {}{inside}", gibibytes(before), gibibytes(after));
    Ok(Outcome::success(summary)
        .with_data(json!({"disk": disk, "before": before, "after": after, "node": guest.node, "task": upid})))
}

/// `8 GiB`, `1.5 GiB`, `512 MiB`.
fn gibibytes(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes >> 30 > 0 => format!("{}.{} GiB", bytes >> 30, ((bytes & ((1 << 30) - 1)) * 10) >> 30),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_already_is_not_asked_for() {
        let before: Config =
            serde_json::from_value(json!({"memory": "512", "tags": "b;a", "hostname": "web"})).unwrap();
        let wanted = Changes {
            cores: Some(1),
            memory: Some(512),
            tags: Some("b;a".into()),
            onboot: Some(false),
            name: Some("db".into()),
        };
        let new = only_new(GuestKind::Vm, wanted.clone(), &before);
        assert_eq!(new, Changes { name: Some("db".into()), ..Changes::default() });
        let new = only_new(GuestKind::Ct, Changes { name: Some("web".into()), ..wanted }, &before);
        // A container without a limit has all of the node's cores.
        assert_eq!(new, Changes { cores: Some(1), ..Changes::default() });
    }

    #[test]
    fn sizes_are_told_for_people() {
        assert_eq!([8 << 30, 3 << 29, 512 << 20].map(gibibytes), ["8 GiB", "1.5 GiB", "512 MiB"]);
    }
}
