//! /nodes/N/qemu/ID/agent: what a virtual machine's guest agent tells, as far as an inventory asks for it. Running
//! commands and files in simulated machines is not here yet.

use super::{
    data,
    guests::{admit, find, no_configuration},
};
use crate::{
    model::{inventory::Guest, values::GuestKind},
    sim::{
        answer::{Answer, Fault},
        memory::hardware_address,
        router::Call,
    },
};
use serde_json::{Value, json};

pub(super) fn dispatch(call: &Call, node: &str, id: &str, rest: &[&str]) -> Result<Answer, Fault> {
    let tell: fn(&Guest) -> Value = match (call.method, rest) {
        ("POST", ["ping"]) => |_| json!({}),
        ("GET", ["get-osinfo"]) => system,
        ("GET", ["get-host-name"]) => |guest| json!({"host-name": guest.name}),
        ("GET", ["network-get-interfaces"]) => interfaces,
        _ => return Err(call.unknown()),
    };
    let (node, _) = admit(call, node, id, &["VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"], &[])?;
    let guest = find(call, &node, GuestKind::Vm, id);
    let guest = guest.ok_or_else(|| Fault::failed(no_configuration(&node, GuestKind::Vm, id)))?;
    let answering = guest.guest_agent.ok_or_else(|| Fault::failed("No QEMU guest agent configured"))?;
    if guest.status == "stopped" {
        return Err(Fault::failed(format!("VM {id} is not running")));
    }
    if !answering || !guest.running() {
        return Err(Fault::failed("QEMU guest agent is not running"));
    }
    data(json!({ "result": tell(&guest) }))
}

fn system(guest: &Guest) -> Value {
    json!({
        "id": guest.os.id, "kernel-release": "6.12.0", "kernel-version": "#1 SMP", "machine": "x86_64",
        "name": guest.os.id, "pretty-name": guest.os.label(), "version": guest.os.version, "version-id": guest.os.version,
    })
}

fn interfaces(guest: &Guest) -> Value {
    let counters =
        ["rx-bytes", "rx-dropped", "rx-errs", "rx-packets", "tx-bytes", "tx-dropped", "tx-errs", "tx-packets"];
    let statistics: Value = counters.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
    let address = |text: &str| {
        let kind = if text.contains(':') { "ipv6" } else { "ipv4" };
        json!({"ip-address": text, "ip-address-type": kind, "prefix": if kind == "ipv6" { 64 } else { 24 }})
    };
    let interface = |name: &str, hardware: String, addresses: Vec<Value>| json!({"hardware-address": hardware, "ip-addresses": addresses, "name": name, "statistics": statistics});
    let hardware = hardware_address(guest.vmid).to_ascii_lowercase();
    json!([
        interface(
            "lo",
            "00:00:00:00:00:00".to_owned(),
            vec![json!({"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8})]
        ),
        interface("eth0", hardware, guest.addresses.iter().map(|text| address(text)).collect()),
    ])
}
