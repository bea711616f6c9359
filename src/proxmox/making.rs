//! Guests created, and what all that make one share: names, vmids, the task that has no guest yet, what was seen then.

use super::{
    client::Client,
    error::{NO_QUORUM, no_quorum},
    guest::{Failed, Guest, out_of_sight, state, still_running, told},
    intent::Intent,
    requests::{Place, cluster, making, making::New},
    resources::{Resource, Volume, option, setting},
    space,
    tasks::{Followed, follow},
    upid::Upid,
};
use crate::{
    model::{
        Op, Outcome, Target,
        outcome::Ending,
        target::{Vmid, is_name},
        values::{GuestKind, Size},
    },
    sys::{task::Task, text::one_line},
};
use serde::Deserialize;
use serde_json::json;

/// A new container's memory in MiB, disk in GiB and cores, where nobody says.
const CONTAINER: (u64, u64, u64) = (512, 8, 1);
/// The same of a new virtual machine.
const MACHINE: (u64, u64, u64) = (2_048, 32, 2);

/// A bridge of a node.
#[derive(Deserialize)]
pub(super) struct Bridge {
    iface: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, deserialize_with = "super::lenient::flag")]
    active: bool,
}

/// guest.create.
pub(super) fn create(client: &Client, op: &Op, task: &Task) -> Result<Outcome, Failed> {
    let Op::GuestCreate { kind, name, node, template, iso, storage, cores, memory, disk } = op else {
        return Ok(Outcome::rejected(format!("{} creates nothing", op.name())));
    };
    named(name)?;
    let lines: Vec<Resource> = client.ask(&cluster::resources())?;
    unused(&lines, name)?;
    let defaults = if *kind == GuestKind::Ct { CONTAINER } else { MACHINE };
    let disk = disk.as_ref().map_or(defaults.1, |disk| disk.bytes().div_ceil(1 << 30)).max(1);
    let medium = medium(*kind, template.as_deref(), iso.as_deref())?;
    let (node, medium) = place(client, &lines, node.as_deref(), *kind, medium)?;
    let content = if *kind == GuestKind::Ct { "rootdir" } else { "images" };
    let storage = space::storage(client, &node, content, storage.as_deref(), disk << 30)?;
    let bridge = bridge(client, &node)?;
    let place = Place { node: &node, kind: *kind, vmid: space::vmid(client, &lines, None)? };
    let new = New {
        name,
        storage: &storage.storage,
        disk,
        cores: cores.unwrap_or(defaults.2).max(1),
        memory: memory.as_ref().map_or(defaults.0, mebibytes),
        bridge: &bridge,
    };
    let call = match (kind, &medium) {
        (GuestKind::Ct, Some(template)) => making::container(&place, &new, template),
        (_, medium) => making::machine(&place, &new, medium.as_deref()),
    };
    task.report.progress(&format!(
        "creating {} {name} on {node}, its disk on {}",
        Target::guest(*kind, place.vmid),
        new.storage
    ));
    let upid = set_going(client, &call, &node, place.vmid, task, "create")?;
    made(client, *kind, place.vmid, &upid, "created").map(destroyable)
}

/// How to take away again what was made: a plan can't tell that, because vmids are given when guests are made.
pub(super) fn destroyable(outcome: Outcome) -> Outcome {
    let undo = outcome.data["target"]
        .as_str()
        .map(|target| format!("`remotectl run guest.destroy {target}` takes it away again"));
    match undo {
        Some(undo) => outcome.with_help(undo),
        None => outcome,
    }
}

/// Sets a task going that has no guest yet, and follows it to its end.
pub(super) fn set_going(
    client: &Client,
    call: &super::requests::Call,
    node: &str,
    about: impl Into<Option<Vmid>>,
    task: &Task,
    what: &str,
) -> Result<Upid, Failed> {
    let upid = Intent::of(call, node, about.into()).send(client, call, task)?;
    match follow(client, &upid, task).map_err(|error| out_of_sight(what, &upid, &error))? {
        Followed::Done { .. } => Ok(upid),
        Followed::Failed(why) => {
            let outcome = Outcome::failure(format!("{what} failed in Proxmox: {why}"));
            if no_quorum(&why) {
                return Err(told(outcome.with_help(NO_QUORUM)));
            }
            Err(told(outcome.with_help(format!("`remotectl run node.tasks node/{node} errors=true` has its log"))))
        }
        Followed::Cancelled => Err(told(Outcome {
            ending: Ending::Cancelled,
            ..Outcome::failure(format!("cancelled; Proxmox's task {upid} was aborted"))
        })),
        Followed::StillRunning => Err(told(still_running(what, &upid))),
    }
}

/// What was seen of a guest that was just made.
pub(super) fn made(client: &Client, kind: GuestKind, vmid: Vmid, upid: &Upid, what: &str) -> Result<Outcome, Failed> {
    let guest = Guest::find(client, kind, vmid)?;
    let summary = format!("{what}: {} on {}, {}", guest.label(), guest.node, state(&guest.before));
    Ok(Outcome::success(summary).with_data(json!({
        "target": guest.target(), "vmid": vmid, "name": guest.before.name, "node": guest.node,
        "status": guest.before.status, "task": upid,
    })))
}

/// What a new guest is made from.
fn medium<'a>(
    kind: GuestKind,
    template: Option<&'a str>,
    iso: Option<&'a str>,
) -> Result<Option<(&'static str, &'a str)>, Failed> {
    let reject = |why: &str, help: &str| Err(told(Outcome::rejected(why).with_help(help)));
    match (kind, template, iso) {
        (GuestKind::Ct, Some(template), None) => Ok(Some(("vztmpl", template))),
        (GuestKind::Ct, None, None) => {
            reject("a container is created from a template, and none is named", "`remotectl run template.list cluster`")
        }
        (GuestKind::Ct, _, Some(_)) => {
            reject("a container can't be created from an ISO image", "name a `template`, or create a virtual machine")
        }
        (GuestKind::Vm, Some(_), _) => reject(
            "a virtual machine is not created from a template: it is a clone of one",
            "`remotectl run guest.clone vm/ID name=NAME`",
        ),
        (GuestKind::Vm, None, iso) => Ok(iso.map(|iso| ("iso", iso))),
    }
}

/// The node for a new guest, and what it is made from there: the named node, or the one with the most free memory among
/// those that have it at hand.
fn place(
    client: &Client,
    lines: &[Resource],
    named: Option<&str>,
    kind: GuestKind,
    medium: Option<(&str, &str)>,
) -> Result<(String, Option<String>), Failed> {
    let up = space::nodes(lines);
    let candidates: Vec<&str> = match named {
        Some(name) if !up.iter().any(|(node, _)| *node == name) => {
            let outcome = Outcome::rejected(format!("there is no node {} that is online", one_line(name, 60)));
            return Err(told(outcome.with_help("`remotectl nodes` lists them all")));
        }
        Some(name) => vec![name],
        None => up.into_iter().map(|(node, _)| node).collect(),
    };
    let Some((content, wanted)) = medium else {
        let first = candidates.first().ok_or_else(|| told(Outcome::rejected("no node is online")))?;
        return Ok(((*first).to_owned(), None));
    };
    let mut at_hand = Vec::new();
    for node in candidates {
        let there = space::volumes(client, node, content)?;
        if let Some(volume) = pick(&there, wanted) {
            return Ok((node.to_owned(), Some(volume.volid.clone())));
        }
        at_hand.extend(there.iter().map(|volume| one_line(space::file(&volume.volid), 80)));
    }
    at_hand.sort_unstable();
    at_hand.dedup();
    let what = if content == "iso" { "ISO image" } else { "template" };
    let outcome = Outcome::rejected(format!("no {what} {} is at hand for a {kind}", one_line(wanted, 80)));
    let help = match (at_hand.is_empty(), content) {
        (false, _) => format!("there are {}", at_hand.join(", ")),
        (true, "iso") => "put one onto a storage that may hold ISO images".to_owned(),
        (true, _) => {
            let wanted = one_line(wanted, 80);
            format!("`remotectl run template.download cluster template={wanted}` fetches it, where Proxmox offers it")
        }
    };
    Err(told(outcome.with_help(help)))
}

/// The volume that is meant: by its id, its file's name, or the newest version of what the name begins.
pub(super) fn pick<'a>(there: &'a [Volume], wanted: &str) -> Option<&'a Volume> {
    let exact = there.iter().find(|volume| volume.volid == wanted || space::file(&volume.volid) == wanted);
    let wanted = wanted.to_lowercase();
    exact.or_else(|| {
        let begins = |volume: &&Volume| {
            let rest = space::file(&volume.volid).to_lowercase().strip_prefix(&wanted).map(str::to_owned);
            // `debian-1` is not a beginning of `debian-12`.
            rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
        };
        there.iter().filter(begins).max_by_key(|volume| version_key(space::file(&volume.volid)))
    })
}

/// Numbers compare as numbers, whatever they stand between.
fn version_key(name: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[..digits].parse().unwrap_or_default();
        let word = rest[digits..].find(|next: char| next.is_ascii_digit()).map_or(rest.len(), |at| at + digits);
        key.push((number, rest[digits..word].to_owned()));
        rest = &rest[word..];
    }
    key
}

/// The bridge for a new guest: the first that is up.
fn bridge(client: &Client, node: &str) -> Result<String, Failed> {
    let mut there: Vec<Bridge> = client.ask(&cluster::bridges(node))?;
    there.retain(|one| matches!(one.kind.as_str(), "bridge" | "OVSBridge" | "vnet"));
    there.sort_by(|one, other| (!one.active, &one.iface).cmp(&(!other.active, &other.iface)));
    let first = there.into_iter().next().map(|bridge| bridge.iface);
    first.ok_or_else(|| {
        let outcome = Outcome::rejected(format!("{node} has no bridge to connect a guest to"));
        told(outcome.with_help("make one in Proxmox: node, System, Network"))
    })
}

fn mebibytes(size: &Size) -> u64 {
    (size.bytes() >> 20).max(16)
}

/// A guest's name has to be a DNS name.
pub(super) fn named(name: &str) -> Result<(), Failed> {
    if is_name(name) && !name.contains('_') && name.split('.').all(|label| !label.is_empty() && label.len() <= 63) {
        return Ok(());
    }
    let outcome = Outcome::rejected(format!("{} can't be a guest's name", one_line(name, 80)));
    Err(told(outcome.with_help("letters, digits and `-`, as in DNS names")))
}

/// Proxmox lets two guests have one name; then nobody can say which is meant.
pub(super) fn unused(lines: &[Resource], name: &str) -> Result<(), Failed> {
    let taken = lines.iter().find_map(|line| Some((line, line.guest()?)).filter(|(line, _)| line.name == name));
    match taken {
        None => Ok(()),
        Some((_, (kind, vmid))) => {
            let outcome = Outcome::rejected(format!("{} is called {name} already", Target::guest(kind, vmid)));
            Err(told(outcome.with_help("give another name")))
        }
    }
}

/// Disks of a configuration: key, volume and size in bytes.
pub(super) fn disks(kind: GuestKind, config: &super::resources::Config) -> Vec<(String, String, u64)> {
    let is_disk = |key: &str| {
        let word = key.trim_end_matches(|digit: char| digit.is_ascii_digit());
        match kind {
            GuestKind::Ct => key == "rootfs" || (word == "mp" && word != key),
            GuestKind::Vm => matches!(word, "ide" | "sata" | "scsi" | "virtio" | "efidisk" | "tpmstate") && word != key,
        }
    };
    let read = |key: &String| {
        let value = setting(config, key);
        let volume = value.split(',').next().unwrap_or_default().to_owned();
        let size = option(&value, "size").and_then(|size| size.parse::<Size>().ok())?;
        (option(&value, "media") != Some("cdrom")).then(|| (key.clone(), volume, size.bytes()))
    };
    config.keys().filter(|key| is_disk(key)).filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(files: &[&str]) -> Vec<Volume> {
        files.iter().map(|file| Volume { volid: format!("local:vztmpl/{file}"), ..Volume::default() }).collect()
    }

    #[test]
    fn a_templates_newest_version_is_picked_by_what_its_name_begins() {
        let there = volumes(&[
            "debian-12-standard_12.2-1_amd64.tar.zst",
            "debian-12-standard_12.12-1_amd64.tar.zst",
            "debian-11-standard_11.7-1_amd64.tar.zst",
        ]);
        let picked = |wanted: &str| pick(&there, wanted).map(|volume| space::file(&volume.volid));
        assert_eq!(picked("debian-12"), Some("debian-12-standard_12.12-1_amd64.tar.zst"));
        assert_eq!(picked("Debian-12-standard"), Some("debian-12-standard_12.12-1_amd64.tar.zst"));
        assert_eq!(picked("debian-1"), None);
        let whole = "debian-12-standard_12.2-1_amd64.tar.zst";
        assert_eq!(picked(whole), Some(whole));
        assert_eq!(picked(&format!("local:vztmpl/{whole}")), Some(whole));
    }

    #[test]
    fn disks_are_what_has_a_size_and_is_no_cdrom() {
        let config = serde_json::from_value(json!({
            "scsi0": "local-lvm:vm-100-disk-0,size=32G", "scsihw": "virtio-scsi-pci", "ide2": "local:iso/a.iso,media=cdrom,size=600M",
            "net0": "virtio=BC:24:11:0C:74:AD,bridge=vmbr0", "mp0": "x:y,size=1G",
        }))
        .unwrap();
        let found = disks(GuestKind::Vm, &config);
        assert_eq!(found, [("scsi0".to_owned(), "local-lvm:vm-100-disk-0".to_owned(), 32 << 30)]);
    }

    #[test]
    fn names_are_dns_names() {
        for (name, good) in [("web-1", true), ("a.b", true), ("a_b", false), ("", false), ("a b", false), ("-a", false)]
        {
            assert_eq!(named(name).is_ok(), good, "{name}");
        }
    }
}
