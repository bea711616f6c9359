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
        for command in TRAPS {
            assert!(!only_reads(command), "{command}");
        }
        for command in
            ["", " ", "ls\nrm x", "ls\rrm x", "cat \\\n", "ls\0", "\"ls\"", "\u{a0}ls", "cat\u{2028}/etc/hosts"]
        {
            assert!(!only_reads(command), "{command:?}");
        }
        assert!(TRAPS.len() >= 150, "{}", TRAPS.len());
    }

    #[test]
    fn a_reader_with_anything_of_the_shell_around_it_is_none() {
        for reader in ["df -h", "cat /etc/hosts", "ls -la /etc", "ps aux"] {
            for around in [
                "_; rm x",
                "_ && rm x",
                "_ || rm x",
                "_ & rm x",
                "_ | sh",
                "_ > x",
                "_ >> x",
                "_ 2> x",
                "_ >| x",
                "_ &> x",
                "_ < x",
                "_ << x",
                "(_)",
                "{ _; }",
                "$(_)",
                "`_`",
                "A=1 _",
                "! _",
                "_ $(rm x)",
                "_ `rm x`",
                "_ <(rm x)",
                "_ >(rm x)",
                "_ ${x:=y}",
                "_ $((x=1))",
                "_ # x",
                "_ \\",
                "_ *",
                "_ ?",
                "_ [a]",
                "_ {a,b}",
                "_ ~",
                "_ \"x\"",
                "_ 'x'",
                "_ %1",
                "_ = x",
                "_ !!",
                "exec _",
                "eval _",
                "command _",
                "builtin _",
                "env _",
                "sudo _",
                "nohup _",
                "time _",
                "xargs _",
                "sh -c _",
                "timeout 5 _",
                "nice _",
            ] {
                let command = around.replace('_', reader);
                assert!(!only_reads(&command), "{command}");
            }
        }
    }

    /// Commands that write, or read what is a secret, or may.
    const TRAPS: &[&str] = &[
        "df -h > /etc/motd",
        "cat a; rm b",
        "cat $(rm b)",
        "cat `rm b`",
        "LD_PRELOAD=x ls",
        "PATH=/tmp ls",
        "BASH_ENV=x ls",
        "ls | xargs rm",
        "ls | tee x",
        "ls | sh",
        "find / -delete",
        "find / -exec rm x",
        "find . -execdir rm x",
        "find . -ok rm x",
        "find . -fprint x",
        "find . -fls x",
        "dmesg --clear",
        "dmesg -C",
        "dmesg -c",
        "dmesg -Tc",
        "dmesg --cle",
        "dmesg -n 1",
        "dmesg --console-off",
        "dmesg -D",
        "cat /etc/shadow",
        "cat",
        "head -n 5",
        "tail ../../etc/shadow",
        "cat /var/lib/remotectl/hub/command.key",
        "cat /var/log/../lib/x",
        "cat /var/log",
        "cat /etc/hosts /etc/shadow",
        "cat /etc/hosts /root/.ssh/id_ed25519",
        "cat /dev/zero",
        "cat /dev/sda",
        "cat /proc/self/environ",
        "cat /proc/kcore",
        "cat -",
        "cat hosts",
        "tail -F /etc/gshadow",
        "wc -l /etc/shadow",
        "cut -c 1-5 /etc/shadow",
        "head /etc/ssl/private/x.key",
        "ps e",
        "ps auxe",
        "ps eww",
        "printenv",
        "env",
        "set",
        "export",
        "getent shadow",
        "/tmp/ls",
        "./ls",
        "../ls",
        "env ls",
        "sudo ls",
        "doas ls",
        "su root",
        "ls &",
        "ls *",
        "systemctl restart nginx",
        "systemctl status nginx",
        "systemctl edit x",
        "git diff",
        "git log",
        "git difftool",
        "sort --compress-program=x f",
        "sort -o x y",
        "sort -ox y",
        "tar cf x y",
        "tar --checkpoint-action=exec=x",
        "tar -I x -tf y",
        "tar --to-command=x",
        "man -P x ls",
        "man -H x",
        "less /etc/hosts",
        "less +!x y",
        "more /etc/hosts",
        "vim -c x y",
        "vi x",
        "view x",
        "nano x",
        "emacs x",
        "ed x",
        "sed -i s/a/b/ x",
        "sed s/a/b/e x",
        "sed -n w x",
        "sed --in-place x",
        "awk x",
        "awk BEGIN{system(0)}",
        "gawk -i inplace x",
        "perl -e x",
        "python3 -c x",
        "ruby x",
        "node x",
        "lua x",
        "php x",
        "curl -o x y",
        "curl -O y",
        "curl -T x y",
        "curl y",
        "wget y",
        "wget -O x y",
        "tee x",
        "dd of=x",
        "dd if=x of=y",
        "cat << EOF",
        "cat <<< x",
        "alias ls=rm",
        "unalias ls",
        "command ls",
        "exec ls",
        "eval ls",
        "builtin ls",
        ". x",
        "source x",
        "bash x",
        "sh x",
        "zsh -c x",
        "busybox rm x",
        "xargs rm",
        "parallel rm",
        "watch rm",
        "timeout 1 rm x",
        "nohup rm x",
        "setsid rm x",
        "nice rm x",
        "chroot x",
        "unshare x",
        "nsenter x",
        "ssh x",
        "scp x y",
        "rsync x y",
        "nc x 1",
        "socat x y",
        "cp x y",
        "mv x y",
        "ln x y",
        "rm x",
        "mkdir x",
        "touch x",
        "truncate x",
        "install x y",
        "chmod x y",
        "chown x y",
        "mount x",
        "umount x",
        "mkfs x",
        "wipefs x",
        "shred x",
        "date -s x",
        "hostname x",
        "sysctl -w x",
        "modprobe x",
        "kill 1",
        "pkill x",
        "reboot",
        "shutdown now",
        "init 0",
        "crontab -e",
        "crontab -r",
        "at now",
        "passwd",
        "useradd x",
        "visudo",
        "iptables -F",
        "nft flush ruleset",
        "ip link set x down",
        "apt-get install x",
        "apt list",
        "dpkg -i x",
        "docker ps",
        "docker run x",
        "pct exec 1 x",
        "journalctl --vacuum-size 1",
        "journalctl --rotate",
        "logger x",
        "lastlog -C",
        "strace ls",
        "base64 /etc/shadow",
        "xxd /etc/shadow",
        "od /etc/shadow",
        "strings /etc/shadow",
        "diff /etc/shadow x",
        "grep x /etc/shadow",
        "zcat x",
        "nl /etc/shadow",
        "tac /etc/shadow",
        "history",
        "trap x",
        "umask 0",
        "cd /",
        "read x",
        "printf x",
        "if true",
        "while true",
        "function x",
        "exit",
        "type ls",
        "hash ls",
        "enable ls",
        "declare x",
        "LS",
        "Cat /etc/hosts",
        "l''s",
        "l\\s",
    ];
}
