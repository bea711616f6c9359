//! `qm`: the lab has no virtual machines yet, so it knows none.

use super::{
    Failure, Outcome,
    cli::{Subcommand, choose},
    node_name,
};

const fn with_vmid(
    name: &'static str,
    extra: bool,
    options: &'static [&'static str],
    usage: &'static str,
) -> Subcommand {
    Subcommand { name, positional: &["vmid"], extra, options, usage }
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand { name: "list", positional: &[], extra: false, options: &["full!"], usage: " [OPTIONS]" },
    with_vmid("status", false, &["verbose!"], "<vmid> [OPTIONS]"),
    with_vmid("config", false, &["current!", "snapshot"], "<vmid> [OPTIONS]"),
    with_vmid("pending", false, &[], "<vmid>"),
    with_vmid("start", false, &["skiplock", "timeout"], "<vmid> [OPTIONS]"),
    with_vmid("stop", false, &["skiplock", "timeout"], "<vmid> [OPTIONS]"),
    with_vmid("shutdown", false, &["forceStop", "skiplock", "timeout"], "<vmid> [OPTIONS]"),
    with_vmid("reboot", false, &["timeout"], "<vmid> [OPTIONS]"),
    with_vmid("agent", true, &[], "<vmid> <command>"),
    with_vmid("guest cmd", true, &[], "<vmid> <command>"),
    with_vmid("guest exec", true, &["timeout", "synchronous", "pass-stdin"], "<vmid> [<extra-args>] [OPTIONS]"),
    with_vmid("guest exec-status", true, &[], "<vmid> <pid>"),
];

pub fn run(arguments: &[String]) -> Outcome {
    let (subcommand, rest) = choose("qm", SUBCOMMANDS, arguments)?;
    let parsed = subcommand.parse("qm", rest)?;
    if subcommand.name == "list" {
        return Ok(0);
    }
    let vmid = subcommand.vmid("qm", &parsed)?;
    let missing = format!("Configuration file 'nodes/{}/qemu-server/{vmid}.conf' does not exist", node_name());
    // What runs as a task ends with 255, what asks at once with the error's number.
    let status = if matches!(subcommand.name, "start" | "stop" | "shutdown" | "reboot") { 255 } else { 2 };
    Err(Failure::with_status(status, missing))
}
