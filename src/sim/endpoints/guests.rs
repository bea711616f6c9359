//! /nodes/N/lxc and /nodes/N/qemu: guests, and the tasks that start and stop them. Most of what can go wrong is told by
//! the task and not by the request; which is which differs between containers and virtual machines, as recorded.

use super::{agent, data, index, making, moving, nodes::sha1, pausing, settings, snapshots};
use crate::{
    model::{inventory::Guest, values::GuestKind},
    sim::{
        answer::{Answer, Fault},
        backend::{Action, Backend},
        details::NO_QUORUM,
        memory::hardware_address,
        params::{Checked, Kind, NO_VMID, Spec, optional, vmid},
        router::Call,
        shapes,
        tasks::TaskLog,
    },
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub(super) fn dispatch(call: &Call, node: &str, kind: GuestKind, rest: &[&str]) -> Result<Answer, Fault> {
    match (call.method, rest) {
        ("GET", []) => list(call, node, kind),
        ("GET", [_vmid]) => index("subdir", &["config", "status"]),
        ("GET", [id, "config"]) => config(call, node, kind, id),
        ("GET", [id, "interfaces"]) if kind == GuestKind::Ct => interfaces(call, node, id),
        (_, [id, "agent", rest @ ..]) if kind == GuestKind::Vm => agent::dispatch(call, node, id, rest),
        ("GET", [_vmid, "status"]) => index("subdir", &["current", "start", "stop", "shutdown", "reboot"]),
        ("GET", [id, "status", "current"]) => status(call, node, kind, id),
        ("POST", [id, "status", word @ ("start" | "stop" | "shutdown" | "reboot")]) => act(call, node, kind, id, word),
        ("POST", []) => making::create(call, node, kind),
        ("DELETE", [id]) => making::destroy(call, node, kind, id),
        ("POST", [id, "clone"]) => making::clone(call, node, kind, id),
        (_, [id, "migrate"]) => moving::dispatch(call, node, kind, id),
        (_, [id, "snapshot", rest @ ..]) => snapshots::dispatch(call, node, kind, id, rest),
        ("POST", [id, "status", word @ ("suspend" | "resume")]) => pausing::act(call, node, kind, id, word),
        (_, [id, what @ ("pending" | "config" | "resize" | "feature")]) => {
            settings::dispatch(call, node, kind, id, what)
        }
        _ => Err(call.unknown()),
    }
}

fn list(call: &Call, node: &str, kind: GuestKind) -> Result<Answer, Fault> {
    let node = call.node(node)?;
    let full = [optional("full", Kind::Boolean)];
    let params = call.params(if kind == GuestKind::Vm { &full } else { &[] })?;
    let inventory = call.cluster.inventory();
    let seen = inventory.guests.iter().filter(|guest| {
        guest.node == node && guest.kind == kind && call.may(&format!("/vms/{}", guest.vmid), &["VM.Audit"])
    });
    let line = |guest: &Guest| {
        let mut line = shapes::guest_line(guest, &call.cluster.backend.usage(guest));
        if params.flag("full") {
            line["qmpstatus"] = json!(guest.status);
        }
        line
    };
    data(seen.map(line).collect())
}

pub(super) fn no_configuration(node: &str, kind: GuestKind, id: &str) -> String {
    let folder = if kind == GuestKind::Ct { "lxc" } else { "qemu-server" };
    format!("Configuration file 'nodes/{node}/{folder}/{id}.conf' does not exist")
}

pub(super) fn find(call: &Call, node: &str, kind: GuestKind, id: &str) -> Option<Guest> {
    let fits = |guest: &Guest| guest.node == node && guest.kind == kind;
    call.cluster.inventory().guest(vmid(id)?).filter(|guest| fits(guest)).cloned()
}

/// What every path with a guest in it asks first: may the caller, is there such a node, can that be a vmid.
pub(super) fn admit(
    call: &Call,
    node: &str,
    id: &str,
    any_of: &[&str],
    specs: &[Spec],
) -> Result<(String, Checked), Fault> {
    call.need(&format!("/vms/{id}"), any_of)?;
    let node = call.node(node)?;
    let params = call.params(specs)?;
    if vmid(id).is_none() {
        return Err(Fault::parameter("vmid", NO_VMID));
    }
    Ok((node, params))
}

fn status(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let (node, _) = admit(call, node, id, &["VM.Audit"], &[])?;
    let guest = find(call, &node, kind, id).ok_or_else(|| Fault::failed(no_configuration(&node, kind, id)))?;
    let mut line = shapes::guest_status(&guest, &call.cluster.backend.usage(&guest));
    let state = call.cluster.details.state();
    if let Some(wanted) = state.managed.get(&guest.vmid) {
        line["ha"] = json!({"managed": 1, "state": wanted});
    }
    if guest.running() && state.paused.contains(&guest.vmid) {
        line["qmpstatus"] = json!("paused");
    }
    data(line)
}

fn config(call: &Call, node: &str, kind: GuestKind, id: &str) -> Result<Answer, Fault> {
    let specs = [optional("current", Kind::Boolean), optional("snapshot", Kind::Text)];
    let (node, _) = admit(call, node, id, &["VM.Audit"], &specs)?;
    let guest = find(call, &node, kind, id).ok_or_else(|| Fault::failed(no_configuration(&node, kind, id)))?;
    let mut config = call.cluster.config(&guest);
    let text = json!(config).to_string();
    config.insert("digest".to_owned(), json!(sha1(&text)));
    data(json!(config))
}

/// A container's addresses; nothing at all where it doesn't run or isn't.
fn interfaces(call: &Call, node: &str, id: &str) -> Result<Answer, Fault> {
    let (node, _) = admit(call, node, id, &["VM.Audit"], &[])?;
    let Some(guest) = find(call, &node, GuestKind::Ct, id).filter(Guest::running) else { return data(Value::Null) };
    let interface = |name: &str, hardware: &str, addresses: &[(String, &str)]| {
        let mut line = json!({"hardware-address": hardware, "hwaddr": hardware, "name": name});
        let listed = addresses.iter().map(|(address, prefix)| {
            let kind = if address.contains(':') { "inet6" } else { "inet" };
            line[kind] = json!(format!("{address}/{prefix}"));
            json!({"ip-address": address, "ip-address-type": kind, "prefix": prefix})
        });
        let listed: Vec<Value> = listed.collect();
        line["ip-addresses"] = listed.into();
        line
    };
    let own: Vec<(String, &str)> = guest
        .addresses
        .iter()
        .map(|address| (address.clone(), if address.contains(':') { "64" } else { "24" }))
        .collect();
    let loopback = [("127.0.0.1".to_owned(), "8"), ("::1".to_owned(), "128")];
    let hardware = hardware_address(guest.vmid).to_ascii_lowercase();
    data(json!([interface("lo", "00:00:00:00:00:00", &loopback), interface("eth0", &hardware, &own)]))
}

const TIMEOUT: Spec = optional("timeout", Kind::Integer { min: 0 });
const SKIPLOCK: Spec = optional("skiplock", Kind::Boolean);
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

fn parameters(word: &str, kind: GuestKind) -> Vec<Spec> {
    match (word, kind) {
        ("start", GuestKind::Ct) => vec![SKIPLOCK, optional("debug", Kind::Boolean)],
        ("start", GuestKind::Vm) => vec![SKIPLOCK, TIMEOUT],
        ("stop", _) => vec![SKIPLOCK, TIMEOUT, optional("overrule-shutdown", Kind::Boolean)],
        ("shutdown", _) => vec![TIMEOUT, optional("forceStop", Kind::Boolean), SKIPLOCK],
        _ => vec![TIMEOUT],
    }
}

fn act(call: &Call, node: &str, kind: GuestKind, id: &str, word: &str) -> Result<Answer, Fault> {
    let (node, params) = admit(call, node, id, &["VM.PowerMgmt"], &parameters(word, kind))?;
    if params.flag("skiplock") && call.who.user != "root@pam" {
        return Err(Fault::parameter("skiplock", "Only root may use this option."));
    }
    let timeout = params.count("timeout").map_or(DEFAULT_TIMEOUT, |seconds| Duration::from_secs(seconds as u64));
    let action = match word {
        "start" => Action::Start,
        "stop" => Action::Stop,
        "shutdown" => Action::Shutdown { timeout, force: params.flag("forceStop") },
        _ => Action::Reboot { timeout },
    };
    let guest = find(call, &node, kind, id);
    refuse_at_once(&action, kind, id, guest.as_ref())?;
    let overruled = if params.flag("overrule-shutdown") { overrule(call, kind, id) } else { Vec::new() };
    let order =
        Order { node: node.clone(), kind, id: id.to_owned(), action, skiplock: params.flag("skiplock"), overruled };
    let backend = Arc::clone(&call.cluster.backend);
    let details = Arc::clone(&call.cluster.details);
    if let Some(wanted) = pausing::wanted_of_ha(call, id, &order.action) {
        return pausing::ask_ha(call, &node, kind, id, wanted, move |log| order.run(backend.as_ref(), log));
    }
    let body = move |log: &TaskLog| {
        let done = order.run(backend.as_ref(), log);
        let mut state = details.state();
        if let Some(id) = vmid(&order.id).filter(|_| done.is_ok()) {
            state.paused.remove(&id);
            state.holds.remove(&id);
        }
        done
    };
    set_going(call, &node, &format!("{}{word}", prefix(kind)), id, body)
}

/// What the types of a guest's tasks begin with.
pub(super) fn prefix(kind: GuestKind) -> &'static str {
    if kind == GuestKind::Ct { "vz" } else { "qm" }
}

/// Sets a task going and answers its name; one that is to fail on demand fails.
pub(super) fn set_going(
    call: &Call,
    node: &str,
    kind: &str,
    id: &str,
    body: impl FnOnce(&TaskLog) -> Result<(), String> + Send + 'static,
) -> Result<Answer, Fault> {
    let faults = call.cluster.faults().clone();
    let fault = faults.tasks.get(kind).cloned().or_else(|| faults.no_quorum.then(|| NO_QUORUM.to_owned()));
    let body = move |log: &TaskLog| fault.map_or_else(|| body(log), Err);
    let task = call.cluster.tasks.start(node, kind.to_owned(), id.to_owned(), &call.who.full(), body);
    data(Value::String(task.upid.to_string()))
}

/// What the request itself tells; everything else is the task's to tell.
fn refuse_at_once(action: &Action, kind: GuestKind, id: &str, guest: Option<&Guest>) -> Result<(), Fault> {
    let running = guest.is_some_and(Guest::running);
    match (action, kind) {
        (Action::Start, GuestKind::Ct) if running => Err(Fault::failed(format!("CT {id} already running"))),
        (Action::Stop | Action::Shutdown { .. }, GuestKind::Ct) if !running => {
            Err(Fault::failed(format!("CT {id} not running")))
        }
        (Action::Reboot { .. }, _) if !running => Err(Fault::failed(format!("VM {id} not running"))),
        _ => Ok(()),
    }
}

/// Ends the shutdown tasks that stand in a stop's way.
fn overrule(call: &Call, kind: GuestKind, id: &str) -> Vec<String> {
    let wanted = if kind == GuestKind::Ct { "vzshutdown" } else { "qmshutdown" };
    let tasks = call.cluster.tasks.newest_first();
    let running = tasks.iter().filter(|task| task.upid.kind == wanted && task.upid.id == id && task.end().is_none());
    let ended = running.map(|task| {
        task.abort(Duration::from_secs(5));
        task.upid.to_string()
    });
    ended.collect()
}

/// What a task is to do.
struct Order {
    node: String,
    kind: GuestKind,
    id: String,
    action: Action,
    skiplock: bool,
    overruled: Vec<String>,
}

impl Order {
    fn run(&self, backend: &dyn Backend, log: &TaskLog) -> Result<(), String> {
        if !self.overruled.is_empty() {
            let kind = if self.kind == GuestKind::Ct { "vzshutdown" } else { "qmshutdown" };
            log.line(format!("overruled {kind} tasks: {}", self.overruled.join(", ")));
        }
        let inventory = backend.inventory();
        let fits = |guest: &&Guest| guest.node == self.node && guest.kind == self.kind;
        let guest = vmid(&self.id).and_then(|id| inventory.guest(id)).filter(fits);
        let guest = guest.ok_or_else(|| no_configuration(&self.node, self.kind, &self.id))?;
        let (label, a_guest) = if self.kind == GuestKind::Ct { ("CT", "CT") } else { ("VM", "vm") };
        let start = self.action == Action::Start;
        if self.kind == GuestKind::Vm && guest.status != "stopped" && start {
            return Err(format!("VM {} already running", self.id));
        }
        let pulls_plug = self.kind == GuestKind::Vm && self.action == Action::Stop;
        // A virtual machine's plug can be pulled whatever lock is held.
        let locked = guest.lock.as_ref().filter(|_| !self.skiplock && !pulls_plug);
        if let Some(held) = locked {
            return Err(format!("{label} is locked ({held})"));
        }
        if guest.template && start {
            return Err(format!("you can't start a {a_guest} if it's a template"));
        }
        if self.kind == GuestKind::Vm && guest.status == "stopped" && !start {
            return Ok(());
        }
        backend.carry_out(guest, &self.action, log)
    }
}
