//! `qm`, over QEMU and the guest agents' real sockets.

use super::{
    super::machine::{Definition, assets},
    Failure, Outcome,
    cli::{Parsed, Subcommand, choose},
    config::Config,
    node_name,
    qga::{GuestAgent, Refused, decoded},
    qmp,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PVE: &str = "/etc/pve";
const SOCKETS: &str = "/run/qemu-server";
/// How long a guest agent may take to be synchronised; Proxmox gives it three seconds, on machines that are not emulated.
const SYNC: Duration = Duration::from_secs(5);
/// How long it may take for a command.
const CALL: Duration = Duration::from_secs(10);
/// The largest input of one call.
const INPUT: u64 = 1 << 20;
const COMMANDS: &[&str] = &[
    "fsfreeze-freeze",
    "fsfreeze-status",
    "fsfreeze-thaw",
    "fstrim",
    "get-fsinfo",
    "get-host-name",
    "get-memory-block-info",
    "get-memory-blocks",
    "get-osinfo",
    "get-time",
    "get-timezone",
    "get-users",
    "get-vcpus",
    "info",
    "network-get-interfaces",
    "ping",
    "shutdown",
    "suspend-disk",
    "suspend-hybrid",
    "suspend-ram",
];

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
    with_vmid("shutdown", false, &["timeout", "forceStop", "skiplock"], "<vmid> [OPTIONS]"),
    with_vmid("reboot", false, &["timeout"], "<vmid> [OPTIONS]"),
    with_vmid("agent", true, &[], "<vmid> <command>"),
    with_vmid("guest cmd", true, &[], "<vmid> <command>"),
    with_vmid("guest exec-status", true, &[], "<vmid> <pid>"),
    with_vmid("guest exec", true, &["timeout", "synchronous", "pass-stdin"], "<vmid> [<extra-args>] [OPTIONS]"),
];

pub fn run(arguments: &[String]) -> Outcome {
    let (subcommand, rest) = choose("qm", SUBCOMMANDS, arguments)?;
    let parsed = subcommand.parse("qm", rest)?;
    if subcommand.name == "list" {
        return Ok(list());
    }
    let vmid = subcommand.vmid("qm", &parsed)?;
    let node = node_name();
    let missing = format!("Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist");
    // What runs as a task ends with 255, what asks at once with the error's number.
    let status = if matches!(subcommand.name, "start" | "stop" | "shutdown" | "reboot") { 255 } else { 2 };
    let config =
        Config::read_machine(Path::new(PVE), &node, vmid).map_err(|_| Failure::with_status(status, missing))?;
    match subcommand.name {
        "status" => {
            println!("status: {}", word(vmid));
            Ok(0)
        }
        "config" | "pending" => {
            let current = if subcommand.name == "pending" { "cur " } else { "" };
            config.0.iter().for_each(|(key, value)| println!("{current}{key}: {value}"));
            Ok(0)
        }
        "start" => start(vmid, &config),
        "stop" | "shutdown" | "reboot" => end(vmid, subcommand.name),
        "agent" | "guest cmd" => command(vmid, &config, subcommand, &parsed),
        "guest exec" => exec(vmid, &config, &parsed),
        _ => exec_status(vmid, &config, parsed.positional.get(1).map_or("", String::as_str)),
    }
}

fn list() -> u8 {
    let node = node_name();
    let vmids = Config::all_machines(Path::new(PVE), &node);
    if !vmids.is_empty() {
        println!("      VMID NAME                 STATUS     MEM(MB)    BOOTDISK(GB) PID       ");
    }
    for vmid in vmids {
        let config = Config::read_machine(Path::new(PVE), &node, vmid).unwrap_or_default();
        let get = |key| config.get(key).unwrap_or_default();
        let pid = pid(vmid).unwrap_or(0);
        println!("{vmid:>10} {:<20} {:<10} {:<10} {:>12} {pid:<10}", get("name"), word(vmid), get("memory"), "0.88");
    }
    0
}

fn socket(vmid: u32, kind: &str) -> PathBuf {
    Path::new(SOCKETS).join(format!("{vmid}.{kind}"))
}

/// Its QEMU, while that runs.
fn pid(vmid: u32) -> Option<u32> {
    let pid = fs::read_to_string(socket(vmid, "pid")).ok()?.trim().parse().ok()?;
    Path::new(&format!("/proc/{pid}")).exists().then_some(pid)
}

fn word(vmid: u32) -> &'static str {
    if pid(vmid).is_some() { "running" } else { "stopped" }
}

fn failed(doing: &str, error: &io::Error) -> Failure {
    Failure::new(format!("{doing}: {error}"))
}

fn start(vmid: u32, config: &Config) -> Outcome {
    if pid(vmid).is_some() {
        return Err(Failure::new(format!("VM {vmid} already running")));
    }
    if let Some(lock) = config.get("lock") {
        return Err(Failure::new(format!("VM is locked ({lock})")));
    }
    let definition = Definition::of(vmid).ok_or_else(|| Failure::new("the lab has no such machine"))?;
    resume(definition).map_err(|error| failed("start failed", &error))?;
    Ok(0)
}

/// Goes on from the saved state, on an overlay that is gone with the node.
fn resume(definition: Definition) -> io::Result<()> {
    let vmid = definition.vmid;
    let assets = Path::new("/mnt/rootfs").join(assets());
    let saved = assets.join(vmid.to_string());
    fs::create_dir_all(SOCKETS)?;
    let disk = Path::new("/var/lib").join(format!("vm-{vmid}.qcow2"));
    if !disk.exists() {
        let backing = saved.join("disk.qcow2").display().to_string();
        succeed(
            Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &backing]).arg(&disk),
        )?;
    }
    let tap = format!("tap{vmid}i0");
    let network = format!("tap,ifname={tap},script=no,downscript=no");
    let mut words = definition.arguments(&assets.join("common"), Path::new(SOCKETS), &disk, &network);
    words.extend(["-daemonize".to_owned(), "-pidfile".to_owned(), socket(vmid, "pid").display().to_string()]);
    words.extend(["-incoming".to_owned(), format!("exec:cat {}", saved.join("state").display())]);
    succeed(Command::new("qemu-system-x86_64").args(words))?;
    succeed(Command::new("ip").args(["link", "set", &tap, "master", "vmbr0", "up"]))?;
    qmp::connect(&socket(vmid, "qmp"))?.go_on()?;
    if definition.agent {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(io::Error::other)?;
        let nanoseconds = u64::try_from(now.as_nanos()).map_err(io::Error::other)?;
        let mut agent = GuestAgent::connect(&socket(vmid, "qga"), Duration::from_secs(30))?;
        let set = agent.ask("guest-set-time", &json!({"time": nanoseconds}), CALL);
        set.map_err(|refused| io::Error::other(format!("{refused:?}")))?;
    }
    Ok(())
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn end(vmid: u32, how: &str) -> Outcome {
    if pid(vmid).is_none() {
        return if how == "reboot" { Err(Failure::new(format!("VM {vmid} not running"))) } else { Ok(0) };
    }
    let ask = |what: &str| -> io::Result<()> { qmp::connect(&socket(vmid, "qmp"))?.ask(what, &json!({})).map(drop) };
    match how {
        "stop" => ask("quit").or_else(|error| if pid(vmid).is_none() { Ok(()) } else { Err(error) }),
        "shutdown" => ask("system_powerdown"),
        _ => return ask("system_reset").map(|()| 0).map_err(|error| failed("reboot", &error)),
    }
    .map_err(|error| failed(how, &error))?;
    let deadline = Instant::now() + Duration::from_mins(1);
    while pid(vmid).is_some() {
        if Instant::now() > deadline {
            return Err(Failure::new("VM quit/powerdown failed - got timeout"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(0)
}

/// Its guest agent, synchronised, or what Proxmox says of its absence.
fn guest_agent(vmid: u32, config: &Config) -> Result<GuestAgent, Failure> {
    if !config.get("agent").is_some_and(|agent| agent.starts_with('1') || agent.starts_with("enabled=1")) {
        return Err(Failure::new("No QEMU guest agent configured"));
    }
    if pid(vmid).is_none() {
        return Err(Failure::new(format!("VM {vmid} is not running")));
    }
    GuestAgent::connect(&socket(vmid, "qga"), SYNC).map_err(|_| Failure::new("QEMU guest agent is not running"))
}

fn ask(vmid: u32, config: &Config, command: &str, arguments: &Value) -> Result<Value, Failure> {
    let answer = guest_agent(vmid, config)?.ask(command, arguments, CALL);
    answer.map_err(|refused| match refused {
        Refused::Said(why) if why.is_ascii() => Failure::with_status(29, format!("Agent error: {why}")),
        Refused::Said(why) => Failure::with_status(
            29,
            format!("Wide character in die at /usr/share/perl5/PVE/RESTHandler.pm line 1131.\nAgent error: {why}"),
        ),
        Refused::Silent => Failure::new(format!("VM {vmid} qga command '{command}' failed - got timeout")),
    })
}

fn command(vmid: u32, config: &Config, subcommand: &Subcommand, parsed: &Parsed) -> Outcome {
    let name = parsed.positional.get(1).map_or("", String::as_str);
    if !COMMANDS.contains(&name) {
        let list = COMMANDS.join(", ");
        return Err(subcommand.wrong(
            "qm",
            "command",
            &format!("value '{name}' does not have a value in the enumeration '{list}'"),
        ));
    }
    print(&ask(vmid, config, &format!("guest-{name}"), &json!({}))?);
    Ok(0)
}

fn exec(vmid: u32, config: &Config, parsed: &Parsed) -> Outcome {
    let synchronous = parsed.option("synchronous") != Some("0");
    if parsed.option("timeout").is_some() && !synchronous {
        return Err(Failure::new("400 Parameter verification failed.\nsynchronous: needs to be set for 'timeout'"));
    }
    let mut input = Vec::new();
    if parsed.option("pass-stdin") == Some("1") {
        io::stdin().take(INPUT + 1).read_to_end(&mut input).map_err(|error| failed("reading", &error))?;
        if input.len() as u64 > INPUT {
            return Err(Failure::new("'input-data' (STDIN) is limited to 1 MiB, aborting"));
        }
    }
    let Some((path, arguments)) = parsed.positional[1..].split_first() else {
        return Err(Failure::new("command or input-data (or both) required"));
    };
    let arguments = json!({
        "path": path, "arg": arguments, "capture-output": true, "input-data": BASE64_STANDARD.encode(&input),
    });
    let started = ask(vmid, config, "guest-exec", &arguments)?;
    if !synchronous {
        print(&started);
        return Ok(0);
    }
    let patience = parsed.option("timeout").and_then(|text| text.parse().ok()).unwrap_or(30);
    let deadline = Instant::now() + Duration::from_secs(patience);
    while Instant::now() < deadline {
        let status = ask(vmid, config, "guest-exec-status", &started)?;
        if status["exited"] == true {
            print(&told(&status));
            return Ok(0);
        }
        thread::sleep(Duration::from_millis(50));
    }
    eprintln!("timeout reached, returning pid");
    print(&started);
    Ok(0)
}

fn exec_status(vmid: u32, config: &Config, pid: &str) -> Outcome {
    let Ok(pid) = pid.parse::<u64>() else {
        return Err(Failure::new(format!(
            "400 Parameter verification failed.\npid: type check ('integer') failed - got '{pid}'"
        )));
    };
    print(&told(&ask(vmid, config, "guest-exec-status", &json!({"pid": pid}))?));
    Ok(0)
}

/// A status as Proxmox tells it: texts for base64, a byte a character, numbers for truths.
fn told(status: &Value) -> Value {
    let one = |(key, value): (&String, &Value)| {
        let value = match (key.as_str(), value) {
            ("out-data" | "err-data", data) => decoded(data).into_iter().map(char::from).collect::<String>().into(),
            (_, Value::Bool(truth)) => u8::from(*truth).into(),
            (_, value) => value.clone(),
        };
        (key.clone(), value)
    };
    status.as_object().into_iter().flatten().map(one).collect()
}

/// As Perl's JSON prints: keys sorted, three blanks, and characters as single bytes, UTF-8 or not.
fn print(value: &Value) {
    if value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty) {
        return;
    }
    let mut text = String::new();
    pretty(value, 0, &mut text);
    text.push('\n');
    let bytes: Vec<u8> = text.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect();
    io::stdout().write_all(&bytes).ok();
}

fn pretty(value: &Value, depth: usize, text: &mut String) {
    let indent = |depth: usize| "   ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            text.push_str("{\n");
            for (place, key) in keys.iter().enumerate() {
                text.extend([indent(depth + 1), Value::from(key.as_str()).to_string(), " : ".to_owned()]);
                pretty(&map[key.as_str()], depth + 1, text);
                text.push_str(if place + 1 < keys.len() { ",\n" } else { "\n" });
            }
            text.extend([indent(depth), "}".to_owned()]);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push_str("[\n");
            for (place, item) in items.iter().enumerate() {
                text.push_str(&indent(depth + 1));
                pretty(item, depth + 1, text);
                text.push_str(if place + 1 < items.len() { ",\n" } else { "\n" });
            }
            text.extend([indent(depth), "]".to_owned()]);
        }
        value => text.push_str(&value.to_string()),
    }
}
