//! What a guest is, found out by one small POSIX script (dash, busybox ash, bash) that prints `key=value` lines. Whatever it
//! prints is data: bounded, made printable, and believed only where it can't hurt.

use super::transport::{Exec, Transport, TransportError, complaint};
use crate::{
    model::inventory::Os,
    sys::{cancel::Cancel, process::Input, text::one_line},
};
use std::time::Duration;

/// Everything that an agent puts into a guest: what must not be there afterwards, and tells of an agent before.
pub const PLACES: &[&str] = &[
    "/opt/remotectl",
    "/etc/remotectl",
    "/var/lib/remotectl",
    "/run/remotectl",
    "/usr/local/bin/remotectl",
    "/etc/systemd/system/remotectl-agent.service",
    "/etc/systemd/system/multi-user.target.wants/remotectl-agent.service",
    "/etc/init.d/remotectl-agent",
    "/etc/runlevels/default/remotectl-agent",
    "/etc/sv/remotectl-agent",
    "/etc/service/remotectl-agent",
    "/var/service/remotectl-agent",
    "/run/remotectl-agent.pid",
    "/var/log/remotectl-agent.log",
];

/// How long the probe may take; a cold disk is slow.
const TIME: Duration = Duration::from_secs(30);
/// What the probe may print.
const LIMIT: usize = 64 << 10;

/// Prints what there is of these places, and which processes run from them.
pub(super) const LEFT: &str = r#"
for p in "$@" /etc/rc?.d/[SK]??remotectl-agent; do
    if [ -e "$p" ] || [ -L "$p" ]; then printf 'there=%s\n' "$p"; fi
done
for e in /proc/[0-9]*/exe; do
    case $(readlink "$e" 2>/dev/null) in
        /opt/remotectl/* | */.remotectl-*) printf 'process=%s\n' "$e" ;;
    esac
done
echo left.end=1
"#;

/// The probe itself; what follows it is `LEFT`.
const SCRIPT: &str = r#"
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
say() { printf '%s=%s\n' "$1" "$2"; }
for f in /etc/os-release /usr/lib/os-release; do
    [ -r "$f" ] || continue
    head -c 16384 "$f" | while IFS= read -r l; do
        case $l in ID=* | VERSION_ID=*) say "os.${l%%=*}" "${l#*=}" ;; esac
    done
    break
done
say kernel "$(uname -s)"
say arch "$(uname -m)"
say uid "$(id -u)"
say clock "$(date +%s)"
say pid1 "$(cat /proc/1/comm 2>/dev/null)"
say pid1.exe "$(readlink /proc/1/exe 2>/dev/null)"
if [ -d /run/systemd/system ]; then say run.systemd 1; fi
if [ -d /run/openrc ]; then say run.openrc 1; fi
if [ -e /etc/inittab ]; then say inittab 1; fi
if command -v sha256sum >/dev/null; then say sha256sum 1; fi
for d in /opt /var/lib /var/tmp /root /tmp /run /dev/shm; do
    if [ "$d" = /opt ] && [ ! -d /opt ]; then d=/; fi
    [ -d "$d" ] || continue
    k=$(df -Pk "$d" 2>/dev/null | tail -n 1 | { read -r a b c free e; echo "$free"; })
    t=$(mktemp -d "$d/.remotectl-probe-XXXXXX" 2>&1) || {
        case $t in
            *[Rr]ead-only*) s=readonly ;;
            *[Nn]o\ space* | *quota*) s=full ;;
            *) s=denied ;;
        esac
        say place "${k:-0} $s $d"
        continue
    }
    s=noexec
    if printf '#!/bin/sh\nexit 0\n' 2>/dev/null >"$t/x" && chmod 700 "$t/x" && "$t/x" </dev/null 2>/dev/null; then s=exec; fi
    rm -rf "$t"
    say place "${k:-0} $s $d"
done
if [ -x /usr/local/bin/remotectl ]; then
    say agent "$(/usr/local/bin/remotectl version </dev/null 2>/dev/null | head -n 1)"
fi
say probe.end 1
"#;

/// What a guest is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// From os-release.
    pub os: Os,
    /// `Linux`, `FreeBSD`, …; empty where it was not told.
    pub kernel: String,
    /// `x86_64`, `aarch64`, …: the kernel's word.
    pub arch: String,
    /// `systemd`, `openrc`, `runit`, `busybox`, `sysvinit`; empty where it is none of these.
    pub init: String,
    /// The name of process 1.
    pub pid1: String,
    /// Whether programs run as root.
    pub root: bool,
    /// The guest's clock, in seconds since the epoch.
    pub clock: Option<i64>,
    /// Whether files can be verified.
    pub sha256sum: bool,
    /// Where something could be put, in the order of preference.
    pub places: Vec<Place>,
    /// What of an agent is there already.
    pub there: Vec<String>,
    /// What an installed agent says of its version.
    pub agent: Option<String>,
}

/// A directory of the guest: one of the script's own, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub path: &'static str,
    /// Free space in KiB.
    pub free_kib: u64,
    /// What can be done there.
    pub state: PlaceState,
}

/// What can be done in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceState {
    /// Files can be written and executed.
    Executable,
    /// Files can be written only.
    Noexec,
    /// Its file system is read-only.
    ReadOnly,
    /// Not even a directory fits.
    Full,
    /// Something else forbids it.
    Denied,
}

/// Where an executable could be put, as far as there is such a place.
pub const CANDIDATES: [&str; 8] = ["/opt", "/", "/var/lib", "/var/tmp", "/root", "/tmp", "/run", "/dev/shm"];

/// A name in one of those places.
pub(super) fn in_place(place: &str, name: &str) -> String {
    format!("{}/{name}", place.trim_end_matches('/'))
}

/// A name in each of those places.
pub(super) fn in_places(name: &str) -> Vec<String> {
    CANDIDATES.iter().map(|place| in_place(place, name)).collect()
}

impl Probe {
    /// Probes a guest.
    pub fn of(transport: &dyn Transport, cancel: &Cancel) -> Result<Self, TransportError> {
        let argv = ["sh", "-s", "--"].iter().chain(PLACES);
        let script = format!("{SCRIPT}{LEFT}");
        let exec = Exec::new(argv).input(Input::Bytes(script.into_bytes())).timeout(TIME).limit(LIMIT).cancel(cancel);
        let finished = transport.exec(exec)?;
        let text = finished.stdout_text();
        if !text.lines().any(|line| line == "left.end=1") {
            let said = format!("the probe did not come to its end: {}", complaint(&finished));
            return Err(TransportError::Refused { tool: transport.name(), said });
        }
        Ok(Self::parse(&text))
    }

    /// Reads what the script printed. A line that is not understood is skipped; the first of several wins.
    pub fn parse(text: &str) -> Self {
        let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('=')).take(1_000).collect();
        let value = |key: &str| lines.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value.trim());
        let word = |key: &str| one_line(unquoted(value(key)), 60);
        let yes = |key: &str| value(key) == "1";
        let known =
            |key: &'static str| lines.iter().filter(move |(name, _)| *name == key).map(|(_, value)| value.trim());
        Self {
            os: Os::new(&word("os.ID"), &word("os.VERSION_ID")),
            kernel: word("kernel"),
            arch: word("arch"),
            init: init(&word("pid1"), value("pid1.exe"), yes("run.systemd"), yes("run.openrc"), yes("inittab"))
                .to_owned(),
            pid1: word("pid1"),
            root: value("uid") == "0",
            clock: value("clock").parse().ok(),
            sha256sum: yes("sha256sum"),
            places: known("place").filter_map(Place::parse).collect(),
            // Only what we have asked for can be there.
            there: PLACES
                .iter()
                .filter(|place| known("there").any(|there| there == **place))
                .map(|place| (*place).to_owned())
                .collect(),
            agent: Some(word("agent")).filter(|agent| !agent.is_empty()),
        }
    }

    /// Whether an agent could be put into such a system at all. Home Assistant OS replaces itself as a whole.
    pub fn supported(&self) -> bool {
        (self.kernel.is_empty() || self.kernel == "Linux") && !matches!(self.os.id.as_str(), "haos" | "hassos")
    }

    /// What it is, for people.
    pub fn system(&self) -> String {
        match self.os.id.as_str() {
            "haos" | "hassos" => "Home Assistant OS".to_owned(),
            "" => self.kernel.clone(),
            _ => self.os.label(),
        }
    }

    /// The best place where a program of this size can be put for a while and run, else why there is none. Memory before
    /// disk: it is quick, and gone with the next boot whatever happens.
    pub fn room(&self, bytes: u64) -> Result<&Place, String> {
        let in_memory = ["/dev/shm", "/run", "/tmp"];
        let rest = self.places.iter().filter(|place| !in_memory.contains(&place.path));
        let mut all = in_memory.iter().filter_map(|path| self.place(path)).chain(rest);
        all.find(|place| place.fits(bytes)).ok_or_else(|| {
            let state =
                |state| self.places.iter().filter(move |place| place.state == state).max_by_key(|place| place.free_kib);
            let best = [PlaceState::Executable, PlaceState::Full, PlaceState::Noexec, PlaceState::ReadOnly];
            let best = best.into_iter().find_map(state);
            best.map_or_else(|| "there is no directory that root can write to".to_owned(), |place| place.lack(bytes))
        })
    }

    /// Whether an installed executable of this size has a place, /opt or the root, else why not.
    pub fn home(&self, bytes: u64) -> Result<(), String> {
        let Some(home) = self.place("/opt").or_else(|| self.place("/")) else {
            return Err("there is no /opt, and its root could not be looked at".to_owned());
        };
        if home.fits(bytes) { Ok(()) } else { Err(home.lack(bytes)) }
    }

    fn place(&self, path: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.path == path)
    }
}

/// What is left to the guest, 8 MiB: a full disk is worse than no agent.
const RESERVE_KIB: u64 = 8 << 10;

impl Place {
    fn fits(&self, bytes: u64) -> bool {
        self.state == PlaceState::Executable && self.free_kib >= bytes.div_ceil(1024) + RESERVE_KIB
    }

    /// Why a program of this size has no place here.
    fn lack(&self, bytes: u64) -> String {
        let (path, free) = (self.path, self.free_kib >> 10);
        match self.state {
            PlaceState::Executable => {
                format!(
                    "no space left on {path} ({free} MiB free, {} MiB wanted beside the reserve)",
                    bytes.div_ceil(1 << 20)
                )
            }
            PlaceState::Full => format!("no space left on {path}, not even for a directory"),
            PlaceState::Noexec => format!("{path} is mounted noexec"),
            PlaceState::ReadOnly => format!("{path} is read-only"),
            PlaceState::Denied => format!("{path} can't be written to"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let (free, state, path) = (words.next()?, words.next()?, words.next()?);
        let state = match state {
            "exec" => PlaceState::Executable,
            "noexec" => PlaceState::Noexec,
            "readonly" => PlaceState::ReadOnly,
            "full" => PlaceState::Full,
            _ => PlaceState::Denied,
        };
        let path = CANDIDATES.into_iter().find(|candidate| *candidate == path)?;
        Some(Self { path, free_kib: free.parse().unwrap_or_default(), state })
    }
}

fn init(pid1: &str, exe: &str, systemd: bool, openrc: bool, inittab: bool) -> &'static str {
    match pid1 {
        _ if systemd => "systemd",
        _ if openrc => "openrc",
        "runit" | "runsvdir" => "runit",
        _ if exe.ends_with("/busybox") => "busybox",
        "init" if inittab => "sysvinit",
        _ => "",
    }
}

fn unquoted(value: &str) -> &str {
    let quoted = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::local::Local;

    #[test]
    fn this_machine_is_something() {
        let probe = Probe::of(&Local, &Cancel::new()).unwrap();
        assert_eq!(probe.arch, std::env::consts::ARCH);
        assert!(probe.sha256sum && probe.clock.unwrap() > 1_700_000_000 && !probe.pid1.is_empty(), "{probe:?}");
        assert!(probe.places.iter().any(|place| place.path == "/tmp"), "{probe:?}");
        assert!(Probe::of(&Local, &Cancel::new()).unwrap().places.len() <= CANDIDATES.len());
    }

    #[test]
    fn systems_are_known_by_their_family_and_some_are_not_for_agents() {
        let probe = |id: &str, kernel: &str| Probe::parse(&format!("os.ID=\"{id}\"\nkernel={kernel}\n"));
        for (id, family) in [
            ("debian", "debian"),
            ("ubuntu", "debian"),
            ("alpine", "alpine"),
            ("rocky", "rhel"),
            ("almalinux", "rhel"),
            ("centos", "rhel"),
            ("fedora", "rhel"),
            ("opensuse-leap", "suse"),
            ("arch", "arch"),
            ("void", "void"),
        ] {
            let found = probe(id, "Linux");
            assert_eq!((found.os.family.as_str(), found.supported()), (family, true), "{id}");
        }
        for (id, kernel, system) in [("haos", "Linux", "Home Assistant OS"), ("", "FreeBSD", "FreeBSD")] {
            let found = probe(id, kernel);
            assert_eq!((found.supported(), found.system().as_str()), (false, system));
        }
    }

    #[test]
    fn hostile_values_are_data() {
        let text = "os.ID=\"$(rm -rf /)\u{1b}[2J\"\nos.ID=debian\nplace=99999999 exec /etc\nplace=1 exec /tmp; rm\n\
                    there=/etc/passwd\nthere=/opt/remotectl\nclock=x\nagent=\u{1b}]0;x\u{7}1.0\n=\n===\n";
        let probe = Probe::parse(text);
        assert_eq!(probe.os.id, "$(rm -rf /) [2J");
        assert_eq!((probe.places.len(), probe.clock), (0, None));
        assert_eq!(probe.there, ["/opt/remotectl"]);
        assert_eq!(probe.agent.as_deref(), Some("]0;x 1.0"));
    }

    #[test]
    fn init_systems_are_told_apart() {
        assert_eq!(init("systemd", "/usr/lib/systemd/systemd", true, false, false), "systemd");
        assert_eq!(init("init", "/bin/busybox", false, true, true), "openrc", "Alpine");
        assert_eq!(init("init", "/bin/busybox", false, false, true), "busybox");
        assert_eq!(init("init", "/sbin/init", false, false, true), "sysvinit");
        assert_eq!(init("runit", "/usr/bin/runit", false, false, false), "runit");
        assert_eq!(init("sleep", "/bin/sleep", false, false, false), "");
    }

    #[test]
    fn room_is_found_or_its_lack_is_explained() {
        let probe = |places: &str| Probe::parse(places);
        let both = probe("place=20000 exec /opt\nplace=900000 exec /tmp");
        assert_eq!(both.room(9 << 20).unwrap().path, "/tmp");
        assert_eq!(both.home(9 << 20), Ok(()));
        assert_eq!(probe("place=99999 exec /opt\nplace=900 exec /run").room(9 << 20).unwrap().path, "/opt");
        let lack = "no space left on /opt (12 MiB free, 9 MiB wanted beside the reserve)";
        assert_eq!(probe("place=12288 exec /opt\nplace=900000 exec /run").home(9 << 20).unwrap_err(), lack);
        assert_eq!(probe("place=12288 exec /opt\nplace=99 exec /run").room(9 << 20).unwrap_err(), lack);
        assert_eq!(probe("place=99999 readonly /").home(1).unwrap_err(), "/ is read-only");
        assert_eq!(
            probe("place=99999 noexec /tmp\nplace=9 readonly /opt").room(1).unwrap_err(),
            "/tmp is mounted noexec"
        );
        assert!(probe("").room(1).is_err() && probe("").home(1).is_err());
    }
}
