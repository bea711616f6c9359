//! `pct`, over Debian's LXC.

use super::{
    Failure, Outcome,
    cli::{Parsed, Subcommand, choose},
    config::Config,
    daemon, fault,
    files::{Inside, Owner},
    lxc, node_name,
};
use std::{fs::File, io, os::unix::process::CommandExt, path::Path, process::Command};

const PVE: &str = "/etc/pve";
const COPY_OPTIONS: &[&str] = &["perms", "user", "group"];

const fn with_vmid(name: &'static str, options: &'static [&'static str], usage: &'static str) -> Subcommand {
    Subcommand { name, positional: &["vmid"], extra: false, options, usage }
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand { name: "list", positional: &[], extra: false, options: &[], usage: "" },
    with_vmid("status", &["verbose!"], "<vmid> [OPTIONS]"),
    with_vmid("config", &["current!", "snapshot"], "<vmid> [OPTIONS]"),
    with_vmid("start", &["skiplock", "debug"], "<vmid> [OPTIONS]"),
    with_vmid("stop", &["skiplock", "overrule-shutdown"], "<vmid> [OPTIONS]"),
    with_vmid("shutdown", &["timeout", "forceStop"], "<vmid> [OPTIONS]"),
    with_vmid("reboot", &["timeout"], "<vmid> [OPTIONS]"),
    with_vmid("df", &[], "<vmid>"),
    with_vmid("unlock", &[], "<vmid>"),
    Subcommand {
        name: "exec",
        positional: &["vmid"],
        extra: true,
        options: &["keep-env"],
        usage: "<vmid> [<extra-args>] [OPTIONS]",
    },
    Subcommand {
        name: "push",
        positional: &["vmid", "file", "destination"],
        extra: false,
        options: COPY_OPTIONS,
        usage: "<vmid> <file> <destination> [OPTIONS]",
    },
    Subcommand {
        name: "pull",
        positional: &["vmid", "path", "destination"],
        extra: false,
        options: COPY_OPTIONS,
        usage: "<vmid> <path> <destination> [OPTIONS]",
    },
];

pub fn run(arguments: &[String]) -> Outcome {
    let (subcommand, rest) = choose("pct", SUBCOMMANDS, arguments)?;
    let parsed = subcommand.parse("pct", rest)?;
    if subcommand.name == "list" {
        return Ok(list());
    }
    let vmid = subcommand.vmid("pct", &parsed)?;
    let fault = fault::planted(arguments);
    if subcommand.name != "exec" && fault.is_some() {
        fault::kill();
    }
    match subcommand.name {
        "status" => status(vmid, &parsed),
        "config" => config(vmid),
        "start" => start(vmid, &parsed),
        "stop" | "shutdown" | "reboot" => end(vmid, subcommand.name, &parsed),
        "df" => df(vmid),
        "unlock" => unlock(vmid),
        "exec" => exec(vmid, &parsed, fault),
        "push" => push(vmid, &parsed),
        _ => pull(vmid, &parsed),
    }
}

fn read(vmid: u32, status: u8) -> Result<Config, Failure> {
    let node = node_name();
    let missing = || format!("Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist");
    Config::read(Path::new(PVE), &node, vmid).map_err(|_| Failure::with_status(status, missing()))
}

fn word(vmid: u32) -> &'static str {
    if lxc::running(vmid) { "running" } else { "stopped" }
}

fn list() -> u8 {
    let line = |fields: [&str; 4]| println!("{:<10} {:<10} {:<12} {:<20}", fields[0], fields[1], fields[2], fields[3]);
    let node = node_name();
    let vmids = Config::all(Path::new(PVE), &node);
    if !vmids.is_empty() {
        line(["VMID", "Status", "Lock", "Name"]);
    }
    for vmid in vmids {
        let config = Config::read(Path::new(PVE), &node, vmid).unwrap_or_default();
        let (lock, name) = (config.get("lock").unwrap_or_default(), config.get("hostname").unwrap_or_default());
        line([&vmid.to_string(), word(vmid), lock, name]);
    }
    0
}

fn status(vmid: u32, parsed: &Parsed) -> Outcome {
    read(vmid, 2)?;
    if parsed.option("verbose").is_none() {
        println!("status: {}", word(vmid));
        return Ok(0);
    }
    let reply = daemon::call("GET", &format!("/nodes/{}/lxc/{vmid}/status/current", node_name()), &[])?;
    for (key, value) in reply.data().as_object().into_iter().flatten().filter(|(key, _)| *key != "ha") {
        println!("{key}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    Ok(0)
}

fn config(vmid: u32) -> Outcome {
    for (key, value) in &read(vmid, 2)?.0 {
        // One line a key: what a description has of line ends is percent-encoded.
        println!(
            "{key}: {}",
            if key == "description" { value.replace('%', "%25").replace('\n', "%0A") } else { value.clone() }
        );
    }
    Ok(0)
}

fn held(config: &Config) -> Result<(), Failure> {
    config.get("lock").map_or(Ok(()), |lock| Err(Failure::new(format!("CT is locked ({lock})"))))
}

fn start(vmid: u32, parsed: &Parsed) -> Outcome {
    let config = read(vmid, 255)?;
    if lxc::running(vmid) {
        return Err(Failure::new(format!("CT {vmid} already running")));
    }
    if parsed.option("skiplock").is_none() {
        held(&config)?;
    }
    if config.get("template") == Some("1") {
        return Err(Failure::new("you can't start a CT if it's a template"));
    }
    lxc::start(vmid, &config).map(|()| 0)
}

fn end(vmid: u32, how: &str, parsed: &Parsed) -> Outcome {
    if !lxc::running(vmid) {
        let kind = if how == "reboot" { "VM" } else { "CT" };
        return Err(Failure::new(format!("{kind} {vmid} not running")));
    }
    let config = read(vmid, 255)?;
    held(&config)?;
    if how == "stop" {
        return lxc::stop(vmid, &["--kill"]).map(|()| 0).map_err(Failure::new);
    }
    let timeout = parsed.option("timeout").unwrap_or("60");
    let asked = lxc::stop(vmid, &["--nokill", "--timeout", timeout]);
    match asked {
        Err(_) if parsed.option("forceStop") == Some("1") => lxc::stop(vmid, &["--kill"]).map_err(Failure::new)?,
        Err(failed) => return Err(Failure::new(format!("{failed}\ncontainer did not stop"))),
        Ok(()) => {}
    }
    if how == "reboot" {
        lxc::start(vmid, &config)?;
    }
    Ok(0)
}

fn unlock(vmid: u32) -> Outcome {
    let mut config = read(vmid, 2)?;
    if config.0.remove("lock").is_none() {
        return Err(Failure::new("no lock found trying to remove any lock"));
    }
    let path = Config::path(Path::new(PVE), &node_name(), vmid);
    config.write(&path).map_err(|error| Failure::new(error.to_string()))?;
    Ok(0)
}

fn exec(vmid: u32, parsed: &Parsed, fault: Option<fault::When>) -> Outcome {
    read(vmid, 2)?;
    let argv = &parsed.positional[1..];
    if argv.is_empty() {
        return Err(Failure::new("missing command at /usr/share/perl5/PVE/CLI/pct.pm line 246."));
    }
    if !lxc::running(vmid) {
        return Err(Failure::new(format!("container '{vmid}' not running!")));
    }
    let keep = parsed.option("keep-env") != Some("0");
    let mut attach = Command::new("/usr/bin/lxc-attach");
    attach.args(["-n", &vmid.to_string(), if keep { "--keep-env" } else { "--clear-env" }, "--"]).args(argv);
    if keep {
        attach.env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin");
    }
    if let Some(when) = fault {
        return Ok(fault::with(when, attach));
    }
    Err(Failure::new(format!("cannot run lxc-attach: {}", attach.exec())))
}

/// An error in the C library's words.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// A running container's file system.
fn inside(vmid: u32, stopped: &str) -> Result<Inside, Failure> {
    let config = read(vmid, 2)?;
    let init = lxc::init_pid(vmid).ok_or_else(|| Failure::new(stopped))?;
    Inside::new(init, &config)
}

/// What goes wrong while copying is told on standard error, and the exit status is 0 all the same.
fn told(result: Result<(), String>) -> u8 {
    if let Err(message) = result {
        eprintln!("{message}");
    }
    0
}

fn mode(parsed: &Parsed) -> Option<u32> {
    parsed.option("perms").and_then(|text| u32::from_str_radix(text, 8).ok())
}

fn push(vmid: u32, parsed: &Parsed) -> Outcome {
    let inside = inside(vmid, "can only push files to a running CT")?;
    let (source, target) = (&parsed.positional[1], &parsed.positional[2]);
    let copy = || {
        let mut from = File::open(source).map_err(|_| format!("failed to open {source} for reading"))?;
        inside.become_its_root().map_err(|error| reason(&error))?;
        let id = |option: &str, list: &str, kind: &str| match parsed.option(option) {
            None => Ok(None),
            Some(name) => inside.id(list, name).map(Some).ok_or_else(|| format!("failed to get {kind} for: {name}")),
        };
        let owner = Owner { user: id("user", "/etc/passwd", "uid")?, group: id("group", "/etc/group", "gid")? };
        let mut to =
            inside.create(target).map_err(|error| format!("failed to create file: {target}: {}", reason(&error)))?;
        if let Some(mode) = mode(parsed) {
            Inside::set_mode(&to, mode).map_err(|error| reason(&error))?;
        }
        if owner.user.is_some() || owner.group.is_some() {
            Inside::give(&to, owner).map_err(|error| reason(&error))?;
        }
        io::copy(&mut from, &mut to).map_err(|error| format!("copy failed: {}", reason(&error)))?;
        Ok(())
    };
    Ok(told(copy()))
}

fn pull(vmid: u32, parsed: &Parsed) -> Outcome {
    let stopped = "can only pull files from a running VM at /usr/share/perl5/PVE/CLI/pct.pm line 664.";
    let inside = inside(vmid, stopped)?;
    let (source, target) = (&parsed.positional[1], &parsed.positional[2]);
    let copy = || {
        let mut to =
            File::create(target).map_err(|error| format!("failed to create file: {target}: {}", reason(&error)))?;
        if let Some(mode) = mode(parsed) {
            Inside::set_mode(&to, mode).map_err(|error| reason(&error))?;
        }
        inside.become_its_root().map_err(|error| reason(&error))?;
        let mut from = inside.open(source).map_err(|error| format!("failed to open {source}: {}", reason(&error)))?;
        // A directory opens and reads as nothing, as recorded.
        if from.metadata().is_ok_and(|metadata| metadata.is_file() || !metadata.is_dir()) {
            io::copy(&mut from, &mut to).map_err(|error| format!("copy failed: {}", reason(&error)))?;
        }
        Ok(())
    };
    Ok(told(copy()))
}

fn df(vmid: u32) -> Outcome {
    let config = read(vmid, 2)?;
    let init = lxc::init_pid(vmid).ok_or_else(|| Failure::new(format!("CT {vmid} not running")))?;
    let inside = Inside::new(init, &config)?;
    let space = rustix::fs::fstatvfs(inside.root()).map_err(|error| Failure::new(error.to_string()))?;
    let (total, free) = (space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize);
    let used = total.saturating_sub(space.f_bfree * space.f_frsize);
    let volume = config.volume("rootfs").unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let part = used as f64 * 100.0 / total.max(1) as f64;
    let cells = [
        ["MP", "Volume", "Size", "Used", "Avail", "Use%", "Path"].map(str::to_owned),
        [
            "rootfs".to_owned(),
            volume.to_owned(),
            human(total),
            human(used),
            human(free),
            format!("{part:.1}"),
            "/".to_owned(),
        ],
    ];
    let width = |column: usize| cells[0][column].len().max(cells[1][column].len());
    for row in &cells {
        let [mp, volume, size, used, avail, percent, path] = row;
        println!(
            "{mp:<0$} {volume:<1$} {size:>2$} {used:<3$} {avail:>4$} {percent:>5$} {path}",
            width(0),
            width(1),
            width(2),
            width(3),
            width(4),
            width(5)
        );
    }
    Ok(0)
}

fn human(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let mut number = bytes as f64;
    let mut units = ["B", "K", "M", "G", "T"].iter();
    let mut unit = units.next();
    while number >= 1024.0
        && let Some(next) = units.next()
    {
        number /= 1024.0;
        unit = Some(next);
    }
    format!("{number:.1}{}", unit.unwrap_or(&""))
}
