//! Every request that the client can make, with arguments at their limits, held against Proxmox's own description of its
//! API in versions 8.4 and 9.2: path, method, parameters' names, types, limits, and the privileges that our role has.

use super::{
    credential,
    form::{decoded, path},
    requests::{
        Call, Place, access, cluster,
        guests::{self, Changes},
        making::{self, New},
        power, snapshots, storage,
    },
    upid::Upid,
};
use crate::model::values::GuestKind;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

const V8: &str = include_str!("../../tests/fixtures/pve/schema-8.4.jsonl");
pub(super) const V9: &str = include_str!("../../tests/fixtures/pve/schema-9.2.jsonl");
const FAMILIES: &[(&str, &str)] = &[
    ("access", include_str!("requests/access.rs")),
    ("cluster", include_str!("requests/cluster.rs")),
    ("guests", include_str!("requests/guests.rs")),
    ("making", include_str!("requests/making.rs")),
    ("power", include_str!("requests/power.rs")),
    ("snapshots", include_str!("requests/snapshots.rs")),
    ("storage", include_str!("requests/storage.rs")),
];
/// What version 8 does not have, and how the client does without it.
const SINCE_9: &[(&str, &str)] =
    &[("guests::move_conditions", "501 is taken for no conditions, and the storages are looked at")];

/// One request by its constructor's name.
type Example = (&'static str, Call);

fn places() -> [Place<'static>; 4] {
    [(GuestKind::Ct, 100), (GuestKind::Ct, 999_999_999), (GuestKind::Vm, 100), (GuestKind::Vm, 999_999_999)]
        .map(|(kind, vmid)| Place { node: "pve-1", kind, vmid })
}

/// The table: every constructor, its arguments at the limits that the client itself sets.
fn examples() -> Vec<Example> {
    let upid: Upid = "UPID:pve1:00000333:000B7BCF:6B02A8A2:vzstart:101:root@pam!full:".parse().unwrap();
    let mut all = vec![
        ("access::ticket", access::ticket("root@pam", "a;b=c&d")),
        ("access::second_factor", access::second_factor("root@pam", "PVE:!tfa!x", "totp:123456")),
        ("access::permissions", access::permissions()),
        ("cluster::status", cluster::status()),
        ("cluster::resources", cluster::resources()),
        ("cluster::guests", cluster::guests()),
        ("cluster::next_id", cluster::next_id()),
        ("cluster::version", cluster::version("pve1")),
        ("cluster::node_status", cluster::node_status("pve1")),
        ("cluster::bridges", cluster::bridges("pve1")),
        ("cluster::tasks", cluster::tasks("pve1", 1, false)),
        ("cluster::tasks", cluster::tasks("pve1", 500, true)),
        ("cluster::recent_tasks", cluster::recent_tasks()),
        ("cluster::tasks_since", cluster::tasks_since("pve1", 1_795_336_354, Some(100))),
        ("cluster::tasks_since", cluster::tasks_since("pve1", 0, None)),
        ("cluster::task_status", cluster::task_status(&upid)),
        ("cluster::task_log", cluster::task_log(&upid, 0, 50)),
        ("cluster::task_stop", cluster::task_stop(&upid)),
        ("storage::appliances", storage::appliances("pve1")),
        ("storage::download", storage::download("pve1", "local", &"t".repeat(255))),
    ];
    for content in ["rootdir", "images", "backup", "vztmpl", "iso"] {
        all.push(("storage::that_hold", storage::that_hold("pve1", content)));
        all.push(("storage::content", storage::content("pve1", "local", content, Some(999_999_999))));
    }
    for place in &places() {
        all.extend(of_guest(place));
    }
    all
}

fn of_guest(place: &Place) -> Vec<Example> {
    let longest = format!("a{}", "b".repeat(39));
    let digest = "a".repeat(40);
    let disk = if place.kind == GuestKind::Ct { "rootfs" } else { "scsi0" };
    let every = Changes {
        cores: Some(8_192),
        memory: Some(16),
        tags: Some("a;b-c;d.e".into()),
        onboot: Some(true),
        name: Some("a".repeat(63)),
    };
    let one = Changes { onboot: Some(false), ..Changes::default() };
    let mut all = vec![
        ("guests::current", guests::current(place)),
        ("guests::config", guests::config(place)),
        ("guests::pending", guests::pending(place)),
        ("guests::configure", guests::configure(place, &every, &digest)),
        ("guests::configure", guests::configure(place, &one, &digest)),
        ("guests::resize", guests::resize(place, disk, 1, &digest)),
        ("guests::resize", guests::resize(place, disk, 64 << 40, &digest)),
        ("guests::move_conditions", guests::move_conditions(place, "pve2")),
        ("power::start", power::start(place)),
        ("power::shutdown", power::shutdown(place, 0)),
        ("power::shutdown", power::shutdown(place, 86_400)),
        ("power::stop", power::stop(place)),
        ("power::reboot", power::reboot(place, 60)),
        ("power::suspend", power::suspend(place)),
        ("power::resume", power::resume(place)),
        ("snapshots::list", snapshots::list(place)),
        ("snapshots::possible", snapshots::possible(place)),
        ("snapshots::take", snapshots::take(place, &longest, "line one\nline two")),
        ("snapshots::rollback", snapshots::rollback(place, "ab", true)),
        ("snapshots::delete", snapshots::delete(place, &longest)),
        ("making::clone", making::clone(place, 100, "a", Some("pve2"), true)),
        ("making::clone", making::clone(place, 999_999_999, &"a".repeat(63), None, false)),
        ("making::destroy", making::destroy(place)),
        ("making::restore", making::restore(place, "local:backup/x.tar.zst", Some("local-lvm"), true)),
        ("making::restore", making::restore(place, "local:backup/x.tar.zst", None, false)),
        ("storage::back_up", storage::back_up(place, "local")),
    ];
    let new = New { name: "web", storage: "local-lvm", disk: 1, cores: 1, memory: 16, bridge: "vmbr0" };
    all.extend(match place.kind {
        GuestKind::Ct => vec![
            ("guests::interfaces", guests::interfaces(place)),
            ("guests::move_container", guests::move_container(place, "pve2", true)),
            ("making::container", making::container(place, &new, "local:vztmpl/debian-12.tar.zst")),
        ],
        GuestKind::Vm => vec![
            ("guests::agent_os", guests::agent_os(place)),
            ("guests::agent_interfaces", guests::agent_interfaces(place)),
            ("guests::move_machine", guests::move_machine(place, "pve2", true, true)),
            ("guests::move_machine", guests::move_machine(place, "pve2", false, false)),
            ("making::machine", making::machine(place, &new, Some("local:iso/debian.iso"))),
            ("making::machine", making::machine(place, &New { disk: 65_536, cores: 128, ..new }, None)),
        ],
    });
    all
}

/// One version's description: requests by method and path.
pub(super) struct Schema(BTreeMap<String, Value>);

impl Schema {
    pub fn read(text: &str) -> Self {
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        Self(lines.map(|line| (line["request"].as_str().unwrap().to_owned(), line)).collect())
    }

    /// The requests that it describes: `GET /nodes/{node}/version`.
    pub fn requests(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The entry that a request belongs to, and what its path says in the entry's places.
    pub fn entry(&self, call: &Call) -> Option<(&Value, BTreeMap<String, String>)> {
        let parts: Vec<String> = call.path().split('/').map(decoded).collect();
        self.0.iter().find_map(|(request, entry)| {
            let (method, template) = request.split_once(' ')?;
            let pattern: Vec<&str> = template.split('/').collect();
            let place = |part: &str| part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map(str::to_owned);
            let same = pattern.len() == parts.len()
                && pattern.iter().zip(&parts).all(|(wanted, part)| place(wanted).is_some() || wanted == part);
            let places =
                || pattern.iter().zip(&parts).filter_map(|(wanted, part)| Some((place(wanted)?, part.clone())));
            (same && method == call.method()).then(|| (entry, places().collect()))
        })
    }

    /// What is wrong with a request; nothing where all is well.
    fn faults(&self, call: &Call, privileges: &BTreeSet<&str>) -> Vec<String> {
        let Some((entry, mut given)) = self.entry(call) else {
            return vec!["there is no such path with that method".to_owned()];
        };
        given.extend(call.form().pairs().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let known = entry["parameters"].as_object().unwrap();
        let mut faults = Vec::new();
        for (name, value) in &given {
            match known.get(name).or_else(|| known.get(&indexed(name))) {
                None => faults.push(format!("there is no parameter {name}")),
                Some(schema) => {
                    faults.extend(fault(schema, value).map(|why| format!("{name}={value}: {why}")));
                    let needs = schema["requires"].as_str().filter(|needs| !given.contains_key(*needs));
                    faults.extend(needs.map(|needs| format!("{name} needs {needs}")));
                }
            }
        }
        let missing = known.iter().filter(|(name, schema)| schema["optional"] != 1 && !given.contains_key(*name));
        faults.extend(missing.map(|(name, _)| format!("{name} is missing")));
        if !entry["check"].is_null() && !allowed(&entry["check"], privileges) {
            faults.push(format!("our role lacks {}", entry["check"]));
        }
        faults
    }
}

/// `net0` is one of `net[n]`.
fn indexed(name: &str) -> String {
    format!("{}[n]", name.trim_end_matches(|digit: char| digit.is_ascii_digit()))
}

fn allowed(check: &Value, have: &BTreeSet<&str>) -> bool {
    let parts = check.as_array().unwrap();
    match parts[0].as_str().unwrap() {
        "and" => parts[1..].iter().all(|part| allowed(part, have)),
        "or" => parts[1..].iter().any(|part| allowed(part, have)),
        "perm" => {
            let wanted = parts[2].as_array().unwrap();
            let has = |name: &Value| have.contains(name.as_str().unwrap());
            // What a further parameter would ask for is not our case.
            let ours = !parts.iter().any(|part| part == "require_param");
            let any = parts.iter().any(|part| part == "any");
            ours && if any { wanted.iter().any(has) } else { wanted.iter().all(has) }
        }
        other => panic!("a check of an unknown kind: {other}"),
    }
}

fn fault(schema: &Value, value: &str) -> Option<String> {
    let number = value.parse::<i64>();
    let length = i64::try_from(value.chars().count()).unwrap();
    let within = |low: &str, high: &str, number: i64| {
        schema[low].as_i64().is_none_or(|low| number >= low) && schema[high].as_i64().is_none_or(|high| number <= high)
    };
    match schema["type"].as_str().unwrap_or("string") {
        "integer" => match number {
            Ok(number) if within("minimum", "maximum", number) => {}
            _ => return Some("no such whole number".to_owned()),
        },
        "boolean" if !matches!(value, "0" | "1") => return Some("no boolean".to_owned()),
        "string" if !within("minLength", "maxLength", length) => return Some("too short or too long".to_owned()),
        _ => {}
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.iter().any(|word| word == value)
    {
        return Some("not one of the words".to_owned());
    }
    if schema["pattern"].as_str().is_some_and(|pattern| !matches(pattern, value)) {
        return Some("does not match its pattern".to_owned());
    }
    match &schema["format"] {
        Value::String(format) => (!formatted(format, value)).then(|| format!("not of the format {format}")),
        Value::Object(keys) => nested(keys, value),
        _ => None,
    }
}

/// The patterns that our requests meet; another one has to be written down here first.
fn matches(pattern: &str, value: &str) -> bool {
    match pattern {
        r"\+?\d+(\.\d+)?[KMGT]?" => {
            let digits = value.trim_end_matches(['K', 'M', 'G', 'T']);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && value.len() <= digits.len() + 1
        }
        r"[-_.\w\d]+" => value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
        other => panic!("no rule for the pattern {other}"),
    }
}

/// The formats that our requests meet, as far as our arguments use them.
fn formatted(format: &str, value: &str) -> bool {
    let word =
        |more: &str| !value.is_empty() && value.chars().all(|one| one.is_ascii_alphanumeric() || more.contains(one));
    let letter = value.starts_with(|first: char| first.is_ascii_alphabetic());
    match format {
        "pve-vmid" | "pve-vmid-list" => value.parse::<u32>().is_ok_and(|id| (100..=999_999_999).contains(&id)),
        "pve-node" => word("-") && !value.starts_with('-') && !value.ends_with('-'),
        "dns-name" => word("-.") && value.split('.').all(|label| !label.is_empty() && label.len() <= 63),
        "pve-configid" => letter && value.len() >= 2 && word("-_"),
        "pve-storage-id" => letter && value.len() >= 2 && word("-_."),
        "pve-tag-list" => word(";-_.+"),
        "pve-storage-content" | "pve-storage-content-list" => {
            matches!(value, "rootdir" | "images" | "backup" | "vztmpl" | "iso")
        }
        "pve-qm-boot" => value.starts_with("order="),
        "pve-volume-id-or-qm-path" | "pve-lxc-mp-string" => {
            value.split_once(':').is_some_and(|(_, name)| !name.is_empty())
        }
        "pve-bridge-id" => letter && word("-_."),
        "pve-ipv4-config" | "lxc-ip-with-ll-iface-list" => value == "dhcp",
        "pve-realm" | "pve-poolid" => word("-_."),
        other => panic!("no rule for the format {other}"),
    }
}

/// `name=eth0,bridge=vmbr0`: keys, a value without a key being the default key's.
fn nested(keys: &serde_json::Map<String, Value>, value: &str) -> Option<String> {
    let mut given = BTreeSet::new();
    for part in value.split(',') {
        let (key, value) = match part.split_once('=') {
            Some((key, value)) => (key.to_owned(), value),
            None => match keys.iter().find(|(_, schema)| schema["default_key"] == 1) {
                Some((key, _)) => (key.clone(), part),
                None => return Some(format!("{part} has no key")),
            },
        };
        let Some(schema) = keys.get(&key) else { return Some(format!("there is no key {key}")) };
        // `virtio` alone is a model.
        let schema = schema["alias"].as_str().and_then(|alias| keys.get(alias)).unwrap_or(schema);
        if let Some(why) = fault(schema, value) {
            return Some(format!("{key}: {why}"));
        }
        given.insert(key);
    }
    let missing = keys
        .iter()
        .find(|(name, schema)| schema["alias"].is_null() && schema["optional"] != 1 && !given.contains(*name));
    missing.map(|(name, _)| format!("{name} is missing"))
}

#[test]
fn every_request_fits_both_versions() {
    let (eight, nine) = (Schema::read(V8), Schema::read(V9));
    let mut wrong = Vec::new();
    let all = examples();
    let mut checked = 0;
    for (name, call) in &all {
        let since_9 = SINCE_9.iter().any(|(known, _)| known == name) && call.path().contains("/lxc/");
        for (version, schema, agent) in [("8.4", &eight, "VM.Monitor"), ("9.2", &nine, "VM.GuestAgent.Audit")] {
            if since_9 && version == "8.4" {
                assert!(schema.entry(call).is_none(), "{name} is there in 8.4 after all");
                continue;
            }
            let privileges = credential::PRIVILEGES.iter().copied().chain([agent]).collect();
            let faults = schema.faults(call, &privileges);
            wrong.extend(faults.into_iter().map(|why| format!("{version} {name}: {}: {why}", call.doing())));
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let counts = format!(
        "conformance: {checked} checks of {} examples of {} requests, in two versions",
        all.len(),
        names(&all).len()
    );
    writeln!(std::io::stderr(), "{counts}").unwrap();
    assert!(checked >= 300, "{checked} checks of {} examples", all.len());
}

fn names(all: &[Example]) -> BTreeSet<&'static str> {
    all.iter().map(|(name, _)| *name).collect()
}

#[test]
fn the_table_has_every_request() {
    let all = examples();
    let listed = names(&all);
    for (family, source) in FAMILIES {
        let constructors = source.lines().filter_map(|line| line.strip_prefix("pub fn ")?.split('(').next());
        for name in constructors {
            assert!(listed.contains(format!("{family}::{name}").as_str()), "{family}::{name} is not in the table");
        }
    }
}

#[test]
fn a_wrong_request_is_found() {
    let nine = Schema::read(V9);
    let place = places()[0];
    let have = credential::PRIVILEGES.iter().copied().collect();
    let faults = |call: Call| nine.faults(&call, &have).join("; ");
    let digest = "a".repeat(41);
    assert!(faults(guests::resize(&place, "rootfs", 1, &digest)).contains("too long"));
    assert!(faults(guests::resize(&place, "scsi0", 1, "a")).contains("not one of the words"));
    assert!(faults(snapshots::take(&place, "1st", "")).contains("not of the format pve-configid"));
    let without = BTreeSet::new();
    assert!(nine.faults(&power::start(&place), &without)[0].contains("VM.PowerMgmt"));
    let stranger = Call::stranger("POST", &path(&["nodes", "pve1", "frob"]), super::form::Form::new());
    assert!(faults(stranger).contains("no such path"));
    let more = Call::stranger("GET", "/cluster/status", super::form::Form::new().with("frob", 1));
    assert!(faults(more).contains("no parameter frob"));
}

#[test]
fn the_reduced_descriptions_are_what_the_script_makes() {
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let whole = root.join("../shared/pve/api-schema-9.2.json.gz");
    let whole = if whole.exists() { whole } else { root.join("../../shared/pve/api-schema-9.2.json.gz") };
    if !whole.exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = root.join("scripts/pve-schema").display().to_string();
    let (from, to) = (whole.parent().unwrap().display().to_string(), folder.path().display().to_string());
    let run = crate::sys::process::Run::new(&script, [&from, &to]).run();
    let Ok(finished) = run else { return };
    assert!(finished.success(), "{}", String::from_utf8_lossy(&finished.stderr));
    for (file, ours) in [("schema-8.4.jsonl", V8), ("schema-9.2.jsonl", V9)] {
        let made = crate::sys::files::read_text(&folder.path().join(file)).unwrap();
        assert!(made == ours, "{file} is not what scripts/pve-schema makes");
    }
}
