//! Whether a shell command only reads. An allow-list: a command that is not wholly understood changes something.

/// Programs that only tell of the system, whatever their arguments are.
const TELLERS: &[&str] = &[
    "/bin/true",
    "arch",
    "df",
    "du",
    "echo",
    "false",
    "free",
    "groups",
    "hostid",
    "id",
    "ls",
    "lsblk",
    "lscpu",
    "lsmod",
    "nproc",
    "pwd",
    "readlink",
    "stat",
    "true",
    "tty",
    "uname",
    "uptime",
    "vmstat",
    "who",
    "whoami",
];

/// Programs that print files: only read by them is what everybody may read.
const PRINTERS: &[&str] = &["cat", "cut", "head", "tail", "wc"];

/// Where files are that everybody may read; a name that ends in `/` is the whole directory.
const OPEN_FILES: &[&str] = &[
    "/etc/debian_version",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/os-release",
    "/etc/resolv.conf",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/mdstat",
    "/proc/meminfo",
    "/proc/mounts",
    "/proc/stat",
    "/proc/uptime",
    "/proc/version",
    "/var/log/",
];

/// Programs of whose options only these are known to read, exactly as they stand.
const EXACT: &[(&str, &[&str])] = &[
    ("dmesg", &["-T", "-H", "-x", "--ctime", "--human", "--decode"]),
    ("ps", &["aux", "auxf", "ax", "axf", "-e", "-ef", "-A", "-f"]),
];

/// Characters that mean something to a shell: with any of them outside plain words the command is not understood.
const MEANINGFUL: &[char] = &[
    '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', '#', '~', '=', '%', '{', '}', '!',
    '\n', '\r', '\0',
];

/// True only when the command is one plain call of a program that is known to only read what is no secret.
pub fn only_reads(command: &str) -> bool {
    if command.contains(MEANINGFUL) || command.chars().any(char::is_control) {
        return false;
    }
    let mut words = command.split_ascii_whitespace();
    let Some(program) = words.next() else { return false };
    if TELLERS.contains(&program) {
        return true;
    }
    if let Some((_, options)) = EXACT.iter().find(|(known, _)| *known == program) {
        return words.all(|word| options.contains(&word));
    }
    PRINTERS.contains(&program) && prints_open_files(words)
}

/// Options and numbers aside, every word is a file that everybody may read, and there is one.
fn prints_open_files<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    let plain = |word: &&str| !word.starts_with('-') && !word.bytes().all(|byte| byte.is_ascii_digit());
    let mut files = words.filter(plain).peekable();
    let open = |file: &str| {
        let inside = |known: &&str| known.ends_with('/') && file.starts_with(*known) && file.len() > known.len();
        !file.split('/').any(|part| part == "..") && OPEN_FILES.iter().any(|known| *known == file || inside(known))
    };
    files.peek().is_some() && files.all(open)
}

#[cfg(test)]
mod tests {
    use super::only_reads;

    #[test]
    fn plain_readers_read() {
        for command in [
            "/bin/true",
            "df -h",
            "uptime",
            "ls -la /etc",
            "cat /etc/os-release",
            "tail -n 50 /var/log/nginx/access.log",
            "ps aux",
            "dmesg -T",
        ] {
            assert!(only_reads(command), "{command}");
        }
    }

    #[test]
    fn everything_else_may_write() {
        for command in [
            "",
            " ",
            "df -h > /etc/motd",
            "cat a; rm b",
            "cat $(rm b)",
            "cat `rm b`",
            "LD_PRELOAD=x ls",
            "ls | xargs rm",
            "find / -delete",
            "dmesg --clear",
            "dmesg -C",
            "dmesg -Tc",
            "dmesg --cle",
            "cat /etc/shadow",
            "cat",
            "head -n 5",
            "tail ../../etc/shadow",
            "cat /var/lib/remotectl/hub/command.key",
            "cat /var/log/../lib/x",
            "cat /var/log",
            "cat /etc/hosts /etc/shadow",
            "cat /dev/zero",
            "ps e",
            "printenv",
            "getent shadow",
            "ls\nrm x",
            "/tmp/ls",
            "env ls",
            "sudo ls",
            "cat \\\n",
            "ls &",
            "ls *",
            "systemctl restart nginx",
        ] {
            assert!(!only_reads(command), "{command}");
        }
    }
}
