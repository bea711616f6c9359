//! The programs that only read, with the options and operands for which that is so. An option that is not here may write,
//! start something or read a secret: with it the call is not understood.

/// Where files are that everybody may read; a name that ends in `/` is the whole directory.
const OPEN_FILES: &[&str] = &[
    "/etc/alpine-release",
    "/etc/debian_version",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/os-release",
    "/etc/resolv.conf",
    "/etc/timezone",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/mdstat",
    "/proc/meminfo",
    "/proc/mounts",
    "/proc/stat",
    "/proc/uptime",
    "/proc/version",
    "/usr/lib/os-release",
    "/var/log/",
];

/// What `ps` may tell of a process; its environment is none of it.
const PROCESS: &[&str] = &[
    "%cpu", "%mem", "args", "cmd", "comm", "etime", "etimes", "group", "lstart", "ni", "nlwp", "pcpu", "pgid", "pid",
    "pmem", "ppid", "pri", "rss", "sid", "start", "stat", "state", "time", "tty", "uid", "user", "vsz", "wchan",
];

/// A program with what it is known to only read with.
struct Reader {
    name: &'static str,
    /// Options of one letter.
    letters: &'static str,
    /// Options of one letter that take a value.
    valued: &'static str,
    /// Long options, written out; those with a `=` take a value.
    long: &'static [&'static str],
    operands: Operands,
}

/// What stands beside the options.
enum Operands {
    /// Nothing.
    None,
    /// Anything: it is only told about.
    Any,
    /// Files that everybody may read; none where something is piped in.
    Files,
    /// A pattern, and then such files.
    Pattern,
    /// `+` and how a time is to be written.
    Format,
    /// One of these; `*` at the end is anything.
    Phrase(&'static [&'static str]),
}

const fn reader(
    name: &'static str,
    letters: &'static str,
    valued: &'static str,
    long: &'static [&'static str],
    operands: Operands,
) -> Reader {
    Reader { name, letters, valued, long, operands }
}

use Operands::{Any, Files, Format, None as Nothing, Pattern, Phrase};

const READERS: &[Reader] = &[
    reader("/bin/true", "", "", &[], Any),
    reader("arch", "", "", &[], Nothing),
    reader("basename", "az", "s", &[], Any),
    reader("cat", "AbeEnstTuv", "", &["number"], Files),
    reader("column", "t", "sNRoc", &["table"], Files),
    reader("cut", "snz", "bcdf", &["delimiter=", "fields="], Files),
    reader("date", "uR", "", &["utc", "universal", "iso-8601", "rfc-3339"], Format),
    reader(
        "df",
        "aBhHiklmPT",
        "tx",
        &["all", "human-readable", "inodes", "local", "output", "portability", "print-type", "si", "total", "type="],
        Any,
    ),
    reader("dirname", "z", "", &[], Any),
    reader(
        "dmesg",
        "TtHxekurL",
        "lf",
        &["ctime", "decode", "facility=", "human", "kernel", "level=", "nopager", "notime", "userspace"],
        Nothing,
    ),
    reader("dpkg", "lLsS", "", &["list", "listfiles", "status"], Any),
    reader(
        "du",
        "abcDhHklLmPsSx0",
        "dBt",
        &["all", "apparent-size", "bytes", "human-readable", "max-depth=", "summarize", "total"],
        Any,
    ),
    reader("echo", "neE", "", &[], Any),
    reader("egrep", "aciEhHilLnosvwx", "ABCm", &["color"], Pattern),
    reader("false", "", "", &[], Nothing),
    reader("fgrep", "aciFhHilLnosvwx", "ABCm", &["color"], Pattern),
    reader("findmnt", "aADklnruv", "ot", &[], Any),
    reader("free", "bghkmltvw", "cs", &["human", "giga", "mega", "total", "wide"], Nothing),
    reader(
        "getent",
        "",
        "",
        &[],
        Phrase(&["group *", "hosts *", "networks *", "passwd *", "protocols *", "services *"]),
    ),
    reader(
        "grep",
        "acEFGhHilLnoPqsvwx",
        "ABCm",
        &["after-context=", "before-context=", "color", "context=", "count", "ignore-case", "invert-match"],
        Pattern,
    ),
    reader("groups", "", "", &[], Any),
    reader("ha-manager", "", "", &[], Phrase(&["status"])),
    reader("head", "qv0123456789", "nc", &["bytes=", "lines="], Files),
    reader("hostid", "", "", &[], Nothing),
    reader("hostname", "fsiIAd", "", &["fqdn", "short"], Nothing),
    reader("hostnamectl", "", "", &["no-pager"], Phrase(&["", "status"])),
    reader("id", "ugGnrz", "", &["user", "group", "groups", "name"], Any),
    reader(
        "ip",
        "46ojsdhr",
        "",
        &[],
        Phrase(&[
            "a",
            "addr",
            "addr show *",
            "address",
            "l",
            "link",
            "link show *",
            "n",
            "neigh",
            "neigh show *",
            "r",
            "route",
            "route get *",
            "route show *",
            "rule",
            "rule show",
        ]),
    ),
    reader(
        "journalctl",
        "abekmqrx0123456789",
        "nopStuU",
        &[
            "boot",
            "catalog",
            "dmesg",
            "identifier=",
            "lines=",
            "no-pager",
            "output=",
            "priority=",
            "quiet",
            "reverse",
            "since=",
            "unit=",
            "until=",
            "utc",
        ],
        Nothing,
    ),
    reader("last", "adFiwx0123456789", "n", &[], Any),
    reader(
        "ls",
        "1aAbBcCdfFgGhHiIklLmnNopqQrRsStTuUvwxXZ",
        "",
        &[
            "all",
            "almost-all",
            "color",
            "full-time",
            "human-readable",
            "inode",
            "reverse",
            "size",
            "sort",
            "time",
            "time-style",
        ],
        Any,
    ),
    reader("lsblk", "abdfiJlmnOpPrStz", "eIo", &["all", "fs", "json", "output="], Any),
    reader("lscpu", "aeJpbcy", "", &["all", "extended", "json", "parse"], Nothing),
    reader("lsmem", "abJnr", "o", &[], Nothing),
    reader("lsmod", "", "", &[], Nothing),
    reader("lspci", "vkntmD", "", &[], Nothing),
    reader("lsusb", "vt", "s", &[], Nothing),
    reader("md5sum", "bt", "", &[], Files),
    reader("mount", "", "", &[], Nothing),
    reader("nl", "", "bw", &[], Files),
    reader("nproc", "", "", &["all"], Nothing),
    reader("pct", "", "", &[], Phrase(&["list", "status *"])),
    reader("pvecm", "", "", &[], Phrase(&["nodes", "status"])),
    reader("pvesm", "", "", &[], Phrase(&["status"])),
    reader("pveversion", "v", "", &["verbose"], Nothing),
    reader("pwd", "LP", "", &[], Nothing),
    reader("qm", "", "", &[], Phrase(&["list", "status *"])),
    reader("readlink", "femnqsvz", "", &["canonicalize"], Any),
    reader("realpath", "emLPqsz", "", &[], Any),
    reader("rev", "", "", &[], Files),
    reader("rpm", "qa", "", &[], Any),
    reader("seq", "w", "fs", &[], Any),
    reader("sha256sum", "bt", "", &[], Files),
    reader(
        "sort",
        "bcCdfghiMnrRsuVz",
        "kt",
        &["human-numeric-sort", "key=", "numeric-sort", "reverse", "unique"],
        Files,
    ),
    reader(
        "ss",
        "046aeilmnoprstuwxHO",
        "",
        &["all", "listening", "numeric", "processes", "summary", "tcp", "udp"],
        Nothing,
    ),
    reader("stat", "fLt", "c", &["format=", "terse"], Any),
    reader(
        "systemctl",
        "alq",
        "",
        &["all", "failed", "no-legend", "no-pager", "plain", "quiet", "state=", "type="],
        Phrase(&[
            "",
            "is-active *",
            "is-enabled *",
            "is-failed *",
            "is-system-running",
            "list-sockets",
            "list-timers",
            "list-unit-files *",
            "list-units *",
        ]),
    ),
    reader("tac", "", "", &[], Files),
    reader("tail", "qvfF0123456789", "nc", &["bytes=", "lines="], Files),
    reader("timedatectl", "", "", &["no-pager"], Phrase(&["", "status"])),
    reader("tr", "cCdst", "", &["complement", "delete", "squeeze-repeats"], Any),
    reader("true", "", "", &[], Nothing),
    reader("tty", "s", "", &[], Nothing),
    reader("uname", "asnrvmpio", "", &["all", "kernel-release"], Nothing),
    // Its second operand is a file that it writes.
    reader("uniq", "cdDiuz", "fsw", &["count", "ignore-case", "repeated", "unique"], Nothing),
    reader("uptime", "ps", "", &["pretty", "since"], Nothing),
    reader("vmstat", "adfmnstw", "S", &[], Any),
    reader("w", "fhis", "", &[], Any),
    reader("wc", "clLmw", "", &["bytes", "chars", "lines", "words"], Files),
    reader("which", "a", "", &[], Any),
    reader("who", "abdHlmpqrstTu", "", &["all", "boot", "count"], Nothing),
    reader("whoami", "", "", &[], Nothing),
    reader("zfs", "Hpr", "odst", &[], Phrase(&["list *"])),
    reader("zpool", "HLPpvx", "o", &[], Phrase(&["list *", "status *"])),
];

/// Whether a call of a program only reads. `fed`: whether something is piped into it.
pub fn reads(program: &str, words: &[&str], fed: bool) -> bool {
    if program == "ps" {
        return processes(words);
    }
    let reader = READERS.iter().find(|reader| reader.name == program);
    reader.is_some_and(|reader| reader.operands(words).is_some_and(|operands| reader.operands.fit(&operands, fed)))
}

impl Reader {
    /// What is left of the words without the options; `None` where one of those is not known.
    fn operands<'w>(&self, words: &[&'w str]) -> Option<Vec<&'w str>> {
        let mut operands = Vec::new();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            if let Some(long) = word.strip_prefix("--") {
                if self.long(long)? {
                    words.next()?;
                }
            } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                if self.letters(letters)? {
                    words.next()?;
                }
            } else {
                operands.push(word);
            }
        }
        Some(operands)
    }

    /// Whether the next word is the value of a long option; `None` for one that is not known.
    fn long(&self, option: &str) -> Option<bool> {
        let name = option.split('=').next().unwrap_or(option);
        let takes = |known: &&&str| known.strip_suffix('=').unwrap_or(known) == name;
        let known = self.long.iter().find(takes)?;
        Some(known.ends_with('=') && !option.contains('='))
    }

    /// Whether the next word is the value of the last of some letters; `None` where one of them is not known.
    fn letters(&self, letters: &str) -> Option<bool> {
        for (at, letter) in letters.char_indices() {
            if self.valued.contains(letter) {
                return Some(at + letter.len_utf8() == letters.len());
            }
            if !self.letters.contains(letter) {
                return None;
            }
        }
        Some(false)
    }
}

impl Operands {
    fn fit(&self, operands: &[&str], fed: bool) -> bool {
        match self {
            Self::None => operands.is_empty(),
            Self::Any => true,
            Self::Files => are_open(operands, fed),
            Self::Pattern => operands.split_first().is_some_and(|(_, files)| are_open(files, fed)),
            Self::Format => operands.iter().all(|operand| operand.starts_with('+')),
            Self::Phrase(phrases) => phrases.iter().any(|phrase| says(operands, phrase)),
        }
    }
}

fn says(operands: &[&str], phrase: &str) -> bool {
    let words: Vec<&str> = phrase.split_whitespace().collect();
    match words.split_last() {
        Some((&"*", words)) => operands.starts_with(words),
        _ => operands == words,
    }
}

fn are_open(files: &[&str], fed: bool) -> bool {
    (fed || !files.is_empty()) && files.iter().all(|file| is_open(file))
}

/// Whether everybody may read a file.
fn is_open(file: &str) -> bool {
    let inside = |known: &&str| known.ends_with('/') && file.starts_with(*known) && file.len() > known.len();
    !file.split('/').any(|part| part == "..") && OPEN_FILES.iter().any(|known| *known == file || inside(known))
}

/// `ps` has options of three kinds, of which `e` without a hyphen shows secrets.
fn processes(words: &[&str]) -> bool {
    let told = |list: &str| list.split(',').all(|field| PROCESS.contains(&field.trim_start_matches(['+', '-'])));
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let known = match *word {
            "aux" | "auxf" | "ax" | "axf" | "-e" | "-ef" | "-A" | "-f" | "--no-headers" | "--forest" => true,
            "-o" | "-eo" => words.next().is_some_and(|list| told(list)),
            "-p" | "-C" | "-u" => words.next().is_some(),
            word => word.strip_prefix("--sort=").is_some_and(told),
        };
        if !known {
            return false;
        }
    }
    true
}
