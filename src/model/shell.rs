//! Whether a shell command only reads. An allow-list: a command that is not wholly understood changes something.

/// Programs that only read, whatever their arguments.
const READERS: &[&str] = &[
    "/bin/true",
    "arch",
    "cat",
    "cut",
    "df",
    "dmesg",
    "du",
    "echo",
    "false",
    "free",
    "getent",
    "groups",
    "head",
    "hostid",
    "id",
    "lsblk",
    "lscpu",
    "ls",
    "lsmod",
    "nproc",
    "printenv",
    "ps",
    "pwd",
    "readlink",
    "stat",
    "tail",
    "true",
    "tty",
    "uname",
    "uptime",
    "vmstat",
    "wc",
    "who",
    "whoami",
];

/// Options with which some of those programs would write, change something or read input that is not there.
const WRITING_OPTIONS: &[(&str, &[&str])] = &[(
    "dmesg",
    &[
        "-c",
        "-C",
        "-D",
        "-E",
        "-n",
        "-r",
        "--clear",
        "--read-clear",
        "--console-off",
        "--console-on",
        "--console-level",
    ],
)];

/// Characters that mean something to a shell: with any of them outside plain words the command is not understood.
const MEANINGFUL: &[char] = &[
    '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', '#', '~', '=', '%', '{', '}', '!',
    '\n', '\r', '\0',
];

/// True only when the command is one plain call of a program that is known to only read.
pub fn only_reads(command: &str) -> bool {
    if command.contains(MEANINGFUL) || command.chars().any(char::is_control) {
        return false;
    }
    let mut words = command.split_ascii_whitespace();
    let Some(program) = words.next().filter(|program| READERS.contains(program)) else { return false };
    let bad = WRITING_OPTIONS.iter().find(|(known, _)| *known == program).map_or(&[][..], |(_, options)| *options);
    words.all(|word| !bad.iter().any(|option| word.starts_with(option)))
}

#[cfg(test)]
mod tests {
    use super::only_reads;

    #[test]
    fn plain_readers_read() {
        for command in ["/bin/true", "df -h", "uptime", "ls -la /etc", "cat /etc/os-release"] {
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
