//! Debian's LXC below the stand-ins, as Proxmox has its own: a container's configuration becomes an LXC one each time it
//! starts, its root file system an overlay whose upper side is a file system of the configured size.

use super::{Failure, config::Config};
use std::{
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const FIRST_ID: u32 = 100_000;

/// Whether LXC runs it.
pub fn running(vmid: u32) -> bool {
    let output = Command::new("lxc-info").args(["-n", &vmid.to_string(), "-s", "-H"]).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.stdout.starts_with(b"RUNNING"))
}

/// The process 1 of a running container.
pub fn init_pid(vmid: u32) -> Option<u32> {
    let output =
        Command::new("lxc-info").args(["-n", &vmid.to_string(), "-p", "-H"]).stdin(Stdio::null()).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// Starts it.
pub fn start(vmid: u32, config: &Config) -> Result<(), Failure> {
    let folder = prepare(vmid, config).map_err(|error| Failure::new(format!("cannot prepare CT {vmid}: {error}")))?;
    let log = folder.join("log");
    let mut command = Command::new("lxc-start");
    command.args(["-n", &vmid.to_string(), "-l", "INFO", "-o"]).arg(&log).stdin(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        _ => {
            let text = fs::read_to_string(log).unwrap_or_default();
            let errors: Vec<&str> = text.lines().filter(|line| line.contains("ERROR")).collect();
            Err(Failure::new(format!("{}\nstartup for container '{vmid}' failed", errors.join("\n"))))
        }
    }
}

/// Ends it, asked for or not; the words are of the genuine task's log.
pub fn stop(vmid: u32, options: &[&str]) -> Result<(), String> {
    let id = vmid.to_string();
    let arguments = [&["-n", &id], options].concat();
    let status = Command::new("lxc-stop").args(&arguments).stdin(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let code = status.code().unwrap_or(-1);
            Err(format!("command 'lxc-stop {}' failed: exit code {code}", arguments.join(" ")))
        }
        Err(error) => Err(format!("cannot run lxc-stop: {error}")),
    }
}

fn prepare(vmid: u32, config: &Config) -> io::Result<PathBuf> {
    let folder = Path::new("/var/lib/lxc").join(vmid.to_string());
    let disk = folder.join("disk");
    if !disk.exists() {
        fs::create_dir_all(&disk)?;
        let size = format!("size={},mode=755", config.size());
        mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], &disk)?;
        fill_disk(&disk, config)?;
    }
    fs::write(folder.join("config"), lxc_config(vmid, config, &disk))?;
    Ok(folder)
}

fn fill_disk(disk: &Path, config: &Config) -> io::Result<()> {
    let upper = disk.join("upper");
    for place in [upper.clone(), disk.join("work"), upper.join("etc")] {
        fs::create_dir(&place)?;
        if config.unprivileged() {
            chown(&place, Some(FIRST_ID), Some(FIRST_ID))?;
        }
    }
    fs::write(upper.join("etc/hostname"), format!("{}\n", config.get("hostname").unwrap_or("localhost")))
}

fn mount(arguments: &[&str], place: &Path) -> io::Result<()> {
    let output = Command::new("mount").args(arguments).arg(place).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn lxc_config(vmid: u32, config: &Config, disk: &Path) -> String {
    let volume = config.volume("rootfs").and_then(|volume| volume.strip_prefix("lab:")).unwrap_or_default();
    let mut lines = vec!["lxc.include = /usr/share/lxc/config/common.conf".to_owned()];
    if config.unprivileged() {
        lines.push("lxc.include = /usr/share/lxc/config/userns.conf".to_owned());
        lines.extend(["u", "g"].map(|kind| format!("lxc.idmap = {kind} 0 {FIRST_ID} 65536")));
    }
    lines.push(format!("lxc.uts.name = {}", config.get("hostname").unwrap_or("localhost")));
    lines.push(format!("lxc.rootfs.path = overlay:/mnt/rootfs/{volume}:{}", disk.join("upper").display()));
    if config.part("rootfs", "ro") == Some("1") {
        lines.push("lxc.rootfs.options = ro".to_owned());
    }
    lines.push("lxc.apparmor.profile = unconfined".to_owned());
    let net = |name| config.part("net0", name).unwrap_or_default();
    lines.extend([
        "lxc.net.0.type = veth".to_owned(),
        format!("lxc.net.0.veth.pair = veth{vmid}i0"),
        format!("lxc.net.0.link = {}", net("bridge")),
        "lxc.net.0.flags = up".to_owned(),
        format!("lxc.net.0.name = {}", net("name")),
        format!("lxc.net.0.hwaddr = {}", net("hwaddr")),
        format!("lxc.net.0.ipv4.address = {} 10.66.255.255", net("ip")),
    ]);
    lines.join("\n") + "\n"
}
