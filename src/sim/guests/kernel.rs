//! What a simulated guest's kernel answers: /proc, /sys, filesystems, processes. All numbers are functions of the guest and
//! the time, so that they move like a real guest's and never jump back.

use super::{
    guest::{Guest, now, seconds},
    logs, noise,
    problems::Problem,
    programs,
    state::{Process, State},
    tree,
};
use crate::host::{
    Task,
    commands::Commands,
    machine::{Filesystem, System},
};
use std::{fs::Metadata, net::IpAddr, path::Path, sync::Arc, time::Duration};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// What the system itself takes, in MiB.
const SYSTEM_MEMORY: u64 = 44;

/// A guest as the machine that its agent runs on.
pub struct Kernel(pub Arc<Guest>);

/// Bytes that are used of the guest's root filesystem.
pub fn used_bytes(guest: &Guest) -> u64 {
    let per_mille = if guest.has(Problem::DiskFull) {
        1_000
    } else if guest.has(Problem::DiskNearlyFull) {
        962
    } else {
        noise::between(&[guest.profile.seed, 2], 180, 640)
    };
    guest.profile.disk_gib.max(1) * GIB / 1_000 * per_mille
}

/// Bytes of memory that are in use.
pub fn used_memory(guest: &Guest, state: &State) -> u64 {
    let processes: u64 = state.processes().map(|(_, process)| resident(guest, process)).sum();
    (processes + SYSTEM_MEMORY * MIB).min(guest.profile.memory_mib.max(64) * MIB / 100 * 93)
}

/// Core-seconds since the boot.
pub fn core_seconds(guest: &Guest, state: &State) -> f64 {
    let (boot, until) = (state.boot.unwrap_or_default(), now());
    let own = 0.004 * noise::progress(&[guest.profile.seed], seconds(until - boot));
    let running: f64 = state.processes().map(|(_, process)| guest.core_seconds(process, boot, until)).sum();
    // Together they can't take more than there is.
    let wanted: f64 = state.processes().map(|(_, process)| process.share).sum::<f64>() + 0.004;
    let there = f64::from(guest.profile.cores.max(1)) * 0.97;
    state.spent + (own + running) * (there / wanted).min(1.0)
}

/// Bytes received and sent since the boot.
pub fn traffic(guest: &Guest, state: &State) -> (u64, u64) {
    let Some(boot) = state.boot else { return (0, 0) };
    let seed = guest.profile.seed;
    let pace = noise::progress(&[seed, 4], seconds(now() - boot));
    let services = u64::try_from(state.services.len()).unwrap_or(1);
    let rate = |number: u64| noise::between(&[seed, number], 900, 14_000) * services;
    (whole(pace * rate_of(rate(5))), whole(pace * rate_of(rate(6))))
}

#[expect(clippy::cast_precision_loss, reason = "bytes a second, far below 2^53")]
fn rate_of(rate: u64) -> f64 {
    rate as f64
}

/// Memory of a process in bytes.
pub fn resident(guest: &Guest, process: &Process) -> u64 {
    let breath = u64::try_from(now() / 15_000_000).unwrap_or_default();
    process.memory * MIB / 1_000 * noise::between(&[guest.profile.seed, u64::from(process.pid), breath], 975, 1_025)
}

/// A number that can't be negative as a whole one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
pub fn whole(number: f64) -> u64 {
    number as u64
}

/// Averages of 1, 5 and 15 minutes, and how many processes want to run.
pub fn load(guest: &Guest, state: &State) -> [f64; 3] {
    let wanted: f64 = state.processes().map(|(_, process)| process.share).sum::<f64>() + 0.02;
    let over = |window: f64, number: u64| {
        let since = seconds(now() - state.boot.unwrap_or_default());
        let pace = noise::progress(&[guest.profile.seed], since)
            - noise::progress(&[guest.profile.seed], (since - window).max(0.0));
        let wobble = rate_of(noise::between(&[guest.profile.seed, number], 90, 115)) / 100.0;
        (wanted * pace / window * wobble * 100.0).round() / 100.0
    };
    [over(60.0, 21), over(300.0, 22), over(900.0, 23)]
}

impl Kernel {
    fn process_file(&self, state: &State, pid: &str, file: &str) -> Option<String> {
        let guest = &self.0;
        if pid == "self" {
            // The agent's own control group: its service does not stop itself.
            let group = if guest.systemd() { "system.slice/remotectl-agent.service" } else { "openrc.remotectl-agent" };
            return match file {
                "cgroup" => Some(format!("0::/{group}\n")),
                "mounts" => Some(mounts(guest)),
                _ => None,
            };
        }
        let number: u32 = pid.parse().ok()?;
        let boot = state.boot?;
        let first = init(guest, boot);
        let process = if number == 1 {
            Some(&first)
        } else {
            state.processes().map(|(_, process)| process).find(|one| one.pid == number)
        };
        let process = process?;
        Some(match file {
            "stat" => stat_line(guest, process, boot),
            "comm" => format!("{}\n", process.comm),
            "cmdline" => format!("{}\0", process.command.replace(' ', "\0")),
            "status" => {
                let uid = tree::uid(&process.user);
                format!(
                    "Name:\t{}\nState:\tS (sleeping)\nPid:\t{number}\nPPid:\t{}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n",
                    process.comm, process.parent
                )
            }
            "environ" if number == 1 && guest.profile.container => "container=lxc\0".to_owned(),
            _ => return None,
        })
    }
}

impl System for Kernel {
    fn prepare(&self, inside: &Path) {
        let ready = self
            .0
            .write_once()
            .and_then(|()| if inside.starts_with("/var/log") { logs::grow(&self.0) } else { Ok(()) });
        if let Err(error) = ready {
            tracing::warn!(
                error = crate::model::outcome::chain(&error),
                guest = self.0.profile.hostname,
                "a simulated guest's files"
            );
        }
    }

    fn text(&self, path: &str) -> String {
        let (guest, state) = (&self.0, self.0.state());
        let Some(boot) = state.boot else { return String::new() };
        let up = seconds(now() - boot);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let answer = match parts.as_slice() {
            ["proc", "stat"] => Some(processor(guest, &state, up)),
            ["proc", "meminfo"] => Some(meminfo(guest, &state)),
            ["proc", "loadavg"] => {
                let [one, five, fifteen] = load(guest, &state);
                Some(format!(
                    "{one:.2} {five:.2} {fifteen:.2} 1/{} {}\n",
                    state.processes().count() + 1,
                    state.next_pid
                ))
            }
            ["proc", "uptime"] => Some(format!("{up:.2} {:.2}\n", up * f64::from(guest.profile.cores.max(1)) * 0.9)),
            ["proc", "net", "dev"] => Some(devices(guest, &state)),
            ["proc", "net", table @ ("tcp" | "tcp6" | "udp" | "udp6")] => Some(sockets(&state, table)),
            ["proc", "mounts"] => Some(mounts(guest)),
            ["proc", "sys", "kernel", "random", "boot_id"] => Some(boot_id(guest, &state)),
            ["proc", "version"] => Some(format!("Linux version {} (build@sim) #1 SMP\n", guest.profile.kernel)),
            ["proc", pid, file] => self.process_file(&state, pid, file),
            ["sys", "fs", "cgroup", file] if guest.profile.container => group(guest, &state, file),
            ["sys", "class", "net", "eth0", "address"] => Some(format!("{}\n", guest.profile.mac)),
            _ => None,
        };
        answer.unwrap_or_default()
    }

    fn pids(&self) -> Vec<u32> {
        let state = self.0.state();
        let first = state.boot.map(|_| 1);
        first.into_iter().chain(state.processes().map(|(_, process)| process.pid)).collect()
    }

    fn sockets(&self, pid: u32) -> Vec<u64> {
        let state = self.0.state();
        let service = state.services.values().find(|service| service.pid() == Some(pid));
        service
            .map(|service| (0..service.kind.ports.len()).map(|place| inode(pid, place)).collect())
            .unwrap_or_default()
    }

    fn ends_within(&self, pid: u32, _time: Duration) -> bool {
        !self.pids().contains(&pid)
    }

    fn hostname(&self) -> String {
        self.0.profile.hostname.clone()
    }

    fn release(&self) -> String {
        self.0.profile.kernel.clone()
    }

    fn cores(&self) -> usize {
        usize::try_from(self.0.profile.cores.max(1)).unwrap_or(1)
    }

    fn interfaces(&self) -> Vec<(String, IpAddr)> {
        let own = self.0.profile.addresses.iter().filter_map(|text| text.parse().ok());
        own.map(|address| ("eth0".to_owned(), address)).collect()
    }

    fn monotonic_micros(&self) -> u64 {
        let boot = self.0.state().boot.unwrap_or_else(now);
        u64::try_from(now() - boot).unwrap_or_default()
    }

    fn boot_micros(&self) -> u64 {
        self.monotonic_micros()
    }

    fn filesystem(&self, path: &Path) -> Option<Filesystem> {
        self.prepare(path);
        let at = self.0.file(&path.to_string_lossy());
        let memory = path.starts_with("/run") || path.starts_with("/dev/shm");
        if !memory && at.symlink_metadata().is_err() {
            return None;
        }
        let (total, used) =
            if memory { (self.0.profile.memory_mib.max(64) * MIB / 2, MIB) } else { root_size(&self.0) };
        Some(Filesystem {
            device: Some(if memory { 2 } else { 1 }),
            total,
            used,
            free: total.saturating_sub(used),
            inodes: total / 16_384,
            inodes_used: used / 65_536,
            read_only: false,
        })
    }

    fn allocated(&self, meta: &Metadata) -> u64 {
        meta.len().next_multiple_of(4_096)
    }

    fn commands(&self, task: &Task) -> Box<dyn Commands> {
        Box::new(programs::Programs::new(Arc::clone(&self.0), task))
    }
}

/// Size and used bytes of the root filesystem.
pub fn root_size(guest: &Guest) -> (u64, u64) {
    (guest.profile.disk_gib.max(1) * GIB, used_bytes(guest))
}

/// Process 1.
pub fn init(guest: &Guest, boot: i64) -> Process {
    let (comm, command) = if guest.systemd() { ("systemd", "/sbin/init") } else { ("init", "/sbin/init") };
    Process {
        pid: 1,
        parent: 0,
        comm: comm.to_owned(),
        command: command.to_owned(),
        user: "root".to_owned(),
        memory: 11,
        share: 0.001,
        started: boot,
    }
}

fn stat_line(guest: &Guest, process: &Process, boot: i64) -> String {
    let ticks = rate_of(rustix::param::clock_ticks_per_second());
    let cpu = whole(guest.core_seconds(process, boot, now()) * ticks);
    let started = whole(seconds((process.started - boot).max(0)) * ticks);
    let (user, system) = (cpu - cpu / 4, cpu / 4);
    let bytes = resident(guest, process);
    let pages = bytes / u64::try_from(rustix::param::page_size()).unwrap_or(4_096);
    let Process { pid, parent, comm, .. } = process;
    format!(
        "{pid} ({comm}) S {parent} {pid} {pid} 0 -1 4194560 1200 0 3 0 {user} {system} 0 0 20 0 1 0 {started} {} {pages} \
         18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n",
        bytes * 4
    )
}

fn processor(guest: &Guest, state: &State, up: f64) -> String {
    let ticks = rate_of(rustix::param::clock_ticks_per_second());
    let cores = f64::from(guest.profile.cores.max(1));
    let busy = whole(core_seconds(guest, state) * ticks);
    let idle = whole(up * cores * ticks).saturating_sub(busy);
    format!(
        "cpu  {} 0 {} {idle} 0 0 0 0 0 0\nbtime {}\n",
        busy - busy / 4,
        busy / 4,
        state.boot.unwrap_or_default() / 1_000_000
    )
}

fn meminfo(guest: &Guest, state: &State) -> String {
    let total = guest.profile.memory_mib.max(64) * 1_024;
    let used = used_memory(guest, state) / 1_024;
    let available = total.saturating_sub(used);
    let cached = available / 2;
    format!(
        "MemTotal:       {total} kB\nMemFree:        {} kB\nMemAvailable:   {available} kB\nBuffers:        0 kB\n\
         Cached:         {cached} kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n",
        available - cached
    )
}

fn group(guest: &Guest, state: &State, file: &str) -> Option<String> {
    let cache = guest.profile.memory_mib * MIB / 10;
    Some(match file {
        "memory.max" => format!("{}\n", guest.profile.memory_mib.max(64) * MIB),
        "memory.current" => format!("{}\n", used_memory(guest, state) + cache),
        "memory.stat" => format!("anon 1\ninactive_file {cache}\n"),
        "cpu.stat" => format!("usage_usec {}\n", whole(core_seconds(guest, state) * 1e6)),
        _ => return None,
    })
}

fn devices(guest: &Guest, state: &State) -> String {
    let (received, sent) = traffic(guest, state);
    let line = |name: &str, received: u64, sent: u64| {
        format!("{name:>6}: {received} {} 0 0 0 0 0 0 {sent} {} 0 0 0 0 0 0\n", received / 700, sent / 600)
    };
    format!(
        "Inter-|   Receive                                                |  Transmit\n \
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n{}{}",
        line("lo", 48_000, 48_000),
        line("eth0", received, sent)
    )
}

/// The inode of a process's socket.
fn inode(pid: u32, place: usize) -> u64 {
    u64::from(pid) * 100 + u64::try_from(place).unwrap_or_default()
}

/// Address, port and protocol of `0.0.0.0:80/tcp`.
pub fn port(text: &str) -> Option<(IpAddr, u16, &str)> {
    let (address, protocol) = text.split_once('/')?;
    let (address, port) = address.rsplit_once(':')?;
    Some((address.trim_matches(['[', ']']).parse().ok()?, port.parse().ok()?, protocol))
}

fn sockets(state: &State, table: &str) -> String {
    let mut text =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n".to_owned();
    for service in state.services.values() {
        let Some(pid) = service.pid() else { continue };
        for (place, (address, number, protocol)) in service.kind.ports.iter().filter_map(|text| port(text)).enumerate()
        {
            let own = if address.is_ipv6() { format!("{protocol}6") } else { protocol.to_owned() };
            if own != table {
                continue;
            }
            // Each 32 bits in the machine's own byte order, as the kernel prints them.
            let word = |bytes: &[u8]| {
                bytes.try_into().map_or_else(|_| String::new(), |four| format!("{:08X}", u32::from_ne_bytes(four)))
            };
            let (hex, zero) = match address {
                IpAddr::V4(four) => (word(&four.octets()), "00000000"),
                IpAddr::V6(six) => (six.octets().chunks(4).map(word).collect(), "00000000000000000000000000000000"),
            };
            let state = if protocol == "tcp" { "0A" } else { "07" };
            let inode = inode(pid, place);
            let line = format!(
                "   0: {hex}:{number:04X} {zero}:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100 0 0 10 0\n"
            );
            text += &line;
        }
    }
    text
}

fn mounts(guest: &Guest) -> String {
    let root = if guest.profile.container {
        format!("rpool/data/subvol-{}-disk-0 / zfs", guest.profile.seed % 10_000)
    } else {
        "/dev/sda1 / ext4".to_owned()
    };
    format!("{root} rw,relatime 0 0\nproc /proc proc rw 0 0\ntmpfs /run tmpfs rw,nosuid,nodev 0 0\n")
}

fn boot_id(guest: &Guest, state: &State) -> String {
    let part = |number: u64| noise::hash(&[guest.profile.seed, state.boots, number]);
    let (one, two) = (part(31), part(32));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}\n",
        one >> 32,
        one >> 16 & 0xffff,
        one & 0xfff,
        two >> 52,
        two & 0xffff_ffff_ffff
    )
}
