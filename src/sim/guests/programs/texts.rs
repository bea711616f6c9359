//! Small programs that only look: at files of the guest's own tree, at its figures, at text that is piped into them.

use super::Output;
use crate::sim::guests::{
    guest::{Guest, now, seconds},
    kernel, logs,
    state::{Process, State},
};
use std::{fs, io::Read as _};

/// Bytes that are read of a file at most: 1 MiB.
const MOST: u64 = 1 << 20;

/// `None` where there is no such program.
pub(super) fn run(guest: &Guest, program: &str, args: &[&str], input: &str) -> Option<Output> {
    let state = guest.state();
    let text = match program {
        "true" | ":" | "sync" => String::new(),
        "false" => return Some(Output { code: 1, ..Output::default() }),
        "echo" => format!("{}\n", args.join(" ")),
        "hostname" => format!("{}\n", guest.profile.hostname),
        "whoami" => "root\n".to_owned(),
        "id" => "uid=0(root) gid=0(root) groups=0(root)\n".to_owned(),
        "pwd" => "/root\n".to_owned(),
        "nproc" => format!("{}\n", guest.profile.cores.max(1)),
        "uname" => uname(guest, args),
        "date" => logs::local(now() / 1_000_000, "%a %b %e %H:%M:%S %Z %Y\n"),
        "uptime" => uptime(guest, &state),
        "df" => df(guest),
        "free" => free(guest, &state),
        "ps" => ps(guest, &state),
        "ss" | "netstat" => ss(&state),
        "ip" => addresses(guest),
        "nginx" | "sshd" if args.contains(&"-t") => return Some(check(guest, program)),
        "cat" | "head" | "tail" | "grep" | "wc" | "sort" | "ls" => {
            drop(state);
            return Some(files(guest, program, args, input));
        }
        _ => return None,
    };
    Some(Output::good(text))
}

/// A configuration's own checker.
fn check(guest: &Guest, program: &str) -> Output {
    match (program, guest.refuses(program)) {
        ("nginx", None) => Output {
            err: "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\nnginx: configuration file /etc/nginx/nginx.conf test is successful\n".to_owned(),
            ..Output::default()
        },
        ("nginx", Some(why)) => Output::bad(1, format!("{why}\nnginx: configuration file /etc/nginx/nginx.conf test failed")),
        _ => Output::default(),
    }
}

/// A file of the guest's tree; links that lead out of it lead nowhere.
pub(super) fn read(guest: &Guest, path: &str) -> Result<String, String> {
    let at = inside(guest, path)?;
    if at.is_dir() {
        return Err(format!("{path}: Is a directory"));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(at).map_err(|_| format!("{path}: No such file or directory"))?;
    file.take(MOST).read_to_end(&mut bytes).map_err(|error| format!("{path}: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn inside(guest: &Guest, path: &str) -> Result<std::path::PathBuf, String> {
    let missing = || format!("{path}: No such file or directory");
    let ready = guest.write_once().and_then(|()| if path.starts_with("/var/log") { logs::grow(guest) } else { Ok(()) });
    ready.map_err(|error| error.to_string())?;
    let from_home = if path.starts_with('/') { path.to_owned() } else { format!("/root/{path}") };
    let real = fs::canonicalize(guest.file(&from_home)).map_err(|_| missing())?;
    if real.starts_with(&guest.root) { Ok(real) } else { Err(missing()) }
}

fn files(guest: &Guest, program: &str, args: &[&str], input: &str) -> Output {
    let mut options = Options::of(program, args);
    let names = std::mem::take(&mut options.names);
    if program == "ls" {
        return list(guest, names.first().copied().unwrap_or("/root"), &options);
    }
    let mut output = Output::default();
    let mut texts = Vec::new();
    if names.is_empty() {
        texts.push(input.to_owned());
    }
    for name in names {
        let text = if name.starts_with("/proc/") || name.starts_with("/sys/") {
            Err(format!("{name}: this guest is simulated: read it with system.*"))
        } else {
            read(guest, name)
        };
        match text {
            Ok(text) => texts.push(text),
            Err(why) => (output.code, output.err) = (1, format!("{}{program}: {why}\n", output.err)),
        }
    }
    for text in &texts {
        output.out += &filtered(program, text, &options);
    }
    if program == "grep" && output.code == 0 && output.out.is_empty() {
        output.code = 1;
    }
    output
}

/// What stands behind a program of this file.
#[derive(Default)]
struct Options<'a> {
    lines: usize,
    pattern: &'a str,
    flags: String,
    names: Vec<&'a str>,
}

impl<'a> Options<'a> {
    fn of(program: &str, args: &[&'a str]) -> Self {
        let mut options = Self { lines: 10, ..Self::default() };
        let mut args = args.iter().copied();
        let mut pattern = program == "grep";
        while let Some(arg) = args.next() {
            match arg.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                Some("n") if program != "grep" => {
                    options.lines = args.next().and_then(|count| count.parse().ok()).unwrap_or(10);
                }
                Some("e") if program == "grep" => (options.pattern, pattern) = (args.next().unwrap_or_default(), false),
                Some(flags) => {
                    let digits = flags.trim_start_matches(['n', '-']);
                    options.lines = digits.parse().unwrap_or(options.lines);
                    options.flags += flags;
                }
                None if pattern => (options.pattern, pattern) = (arg, false),
                None => options.names.push(arg),
            }
        }
        options
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }
}

fn filtered(program: &str, text: &str, options: &Options) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.iter().flat_map(|line| [*line, "\n"]).collect::<String>();
    match program {
        "head" => joined(&lines[..lines.len().min(options.lines)]),
        "tail" => joined(&lines[lines.len().saturating_sub(options.lines)..]),
        "sort" => {
            let mut lines = lines;
            lines.sort_unstable();
            joined(&lines)
        }
        "wc" if options.has('l') => format!("{}\n", lines.len()),
        "wc" => format!("{:>7} {:>7} {:>7}\n", lines.len(), text.split_whitespace().count(), text.len()),
        "grep" => {
            let (pattern, lower) = (options.pattern, options.pattern.to_lowercase());
            let has = |line: &&&str| {
                let found =
                    if options.has('i') { line.to_lowercase().contains(&lower) } else { line.contains(pattern) };
                found != options.has('v')
            };
            let found: Vec<&str> = lines.iter().filter(has).copied().collect();
            if options.has('c') { format!("{}\n", found.len()) } else { joined(&found) }
        }
        _ => text.to_owned(),
    }
}

fn list(guest: &Guest, name: &str, options: &Options) -> Output {
    let at = match inside(guest, name) {
        Ok(at) => at,
        Err(why) => {
            return Output::bad(
                2,
                format!("ls: cannot access '{name}': {}", why.rsplit(": ").next().unwrap_or_default()),
            );
        }
    };
    if !at.is_dir() {
        return Output::good(format!("{name}\n"));
    }
    let entries = fs::read_dir(&at).into_iter().flatten().flatten();
    let mut found: Vec<(String, u64, bool)> = entries
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?)))
        .filter(|(name, _)| options.has('a') || options.has('A') || !name.starts_with('.'))
        .map(|(name, meta)| (name, meta.len(), meta.is_dir()))
        .collect();
    found.sort();
    let line = |(name, size, directory): &(String, u64, bool)| {
        if options.has('l') {
            let mode = if *directory { "drwxr-xr-x" } else { "-rw-r--r--" };
            format!("{mode} 1 root root {size:>10} {name}\n")
        } else {
            format!("{name}\n")
        }
    };
    Output::good(found.iter().map(line).collect::<String>())
}

fn uname(guest: &Guest, args: &[&str]) -> String {
    let (kernel, host, arch) = (&guest.profile.kernel, &guest.profile.hostname, std::env::consts::ARCH);
    match args.first() {
        Some(&"-r") => format!("{kernel}\n"),
        Some(&"-n") => format!("{host}\n"),
        Some(&"-m") => format!("{arch}\n"),
        Some(_) => format!("Linux {host} {kernel} #1 SMP PREEMPT_DYNAMIC {arch} GNU/Linux\n"),
        None => "Linux\n".to_owned(),
    }
}

fn uptime(guest: &Guest, state: &State) -> String {
    let up = kernel::whole(seconds(now() - state.boot.unwrap_or_default()));
    let [one, five, fifteen] = kernel::load(guest, state);
    let clock = logs::local(now() / 1_000_000, "%H:%M:%S");
    format!(
        " {clock} up {} days, {:>2}:{:02},  0 user,  load average: {one:.2}, {five:.2}, {fifteen:.2}\n",
        up / 86_400,
        up % 86_400 / 3_600,
        up % 3_600 / 60
    )
}

fn df(guest: &Guest) -> String {
    #[expect(clippy::cast_precision_loss, reason = "sizes for people")]
    let shown = |bytes: u64| format!("{:.1}G", bytes as f64 / f64::from(1 << 30));
    let (total, used) = kernel::root_size(guest);
    let source = if guest.profile.container { "rpool/data/subvol-disk-0" } else { "/dev/sda1" };
    let memory = guest.profile.memory_mib / 2;
    format!(
        "Filesystem                Size  Used Avail Use% Mounted on\n{source:<24} {:>5} {:>5} {:>5} {:>3}% /\ntmpfs                    {memory:>4}M  1.0M {memory:>4}M   1% /run\n",
        shown(total),
        shown(used),
        shown(total - used),
        (used * 100).div_ceil(total.max(1)),
    )
}

fn free(guest: &Guest, state: &State) -> String {
    let (total, used) = (guest.profile.memory_mib.max(64), kernel::used_memory(guest, state) >> 20);
    let available = total.saturating_sub(used);
    format!(
        "               total        used        free      shared  buff/cache   available\nMem:     {total:>11} {used:>11} {:>11} {:>11} {:>11} {available:>11}\nSwap:              0           0           0\n",
        available / 2,
        1,
        available - available / 2,
    )
}

fn ps(guest: &Guest, state: &State) -> String {
    let Some(boot) = state.boot else { return String::new() };
    let total = guest.profile.memory_mib.max(64);
    let line = |process: &Process| {
        let cpu = guest.core_seconds(process, boot, now());
        let since = logs::local(process.started / 1_000_000, "%b%d");
        let resident = kernel::resident(guest, process) >> 10;
        let share = process.share * 100.0;
        let minutes = kernel::whole(cpu) / 60;
        format!(
            "{:<12} {:>7} {share:>4.1} {:>4} {:>8} {resident:>7} ?        Ss   {since} {minutes:>3}:{:02} {}\n",
            process.user,
            process.pid,
            resident / 10 / total,
            resident * 4,
            kernel::whole(cpu) % 60,
            process.command,
        )
    };
    let first = kernel::init(guest, boot);
    let all = std::iter::once(&first).chain(state.processes().map(|(_, process)| process));
    format!(
        "USER             PID %CPU %MEM      VSZ     RSS TTY      STAT START   TIME COMMAND\n{}",
        all.map(line).collect::<String>()
    )
}

fn ss(state: &State) -> String {
    let mut text = "Netid State  Recv-Q Send-Q Local Address:Port  Peer Address:Port Process\n".to_owned();
    for service in state.services.values() {
        let Some(pid) = service.pid() else { continue };
        for (address, port, protocol) in service.kind.ports.iter().filter_map(|text| kernel::port(text)) {
            let (word, address) = (
                if protocol == "tcp" { "LISTEN" } else { "UNCONN" },
                if address.is_ipv6() { format!("[{address}]") } else { address.to_string() },
            );
            let line = format!(
                "{protocol:<5} {word} 0      511    {:<19} *:*               users:((\"{}\",pid={pid},fd=6))\n",
                format!("{address}:{port}"),
                service.comm()
            );
            text += &line;
        }
    }
    text
}

fn addresses(guest: &Guest) -> String {
    let own = guest.profile.addresses.iter().map(|address| format!("    inet {address}/24 brd + scope global eth0\n"));
    format!(
        "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 state UNKNOWN\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP\n    link/ether {}\n{}",
        guest.profile.mac,
        own.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = Options::of("tail", &["-n", "3", "/var/log/syslog"]);
        assert_eq!((options.lines, options.names.as_slice()), (3, &["/var/log/syslog"][..]));
        assert_eq!(Options::of("tail", &["-5"]).lines, 5);
        let options = Options::of("grep", &["-i", "error", "/x"]);
        assert_eq!((options.pattern, options.has('i'), options.names.len()), ("error", true, 1));
    }
}
