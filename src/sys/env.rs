//! Every environment variable that the program reads, each a constant here.

use std::path::PathBuf;

/// Says under which name the executable was called, for tests of the multi-call names.
pub const ARGV0: &str = "REMOTECTL_ARGV0";
/// The hub that the client talks to: a path to a unix socket, or an address with `REMOTECTL_TOKEN` set.
pub const HUB: &str = "REMOTECTL_HUB";
/// The operator's token, instead of the one that `login` stored.
pub const TOKEN: &str = "REMOTECTL_TOKEN";
/// The hub's CA fingerprint, instead of the one that `login` stored.
pub const FINGERPRINT: &str = "REMOTECTL_FINGERPRINT";
/// Where the password is that ssh asks this executable for: set for that one ssh alone.
pub const ASKPASS: &str = "REMOTECTL_ASKPASS";
/// What to log: `info`, `debug`, `remotectl::link=trace`, …
pub const LOG: &str = "REMOTECTL_LOG";
/// `text` or `json`.
pub const LOG_FORMAT: &str = "REMOTECTL_LOG_FORMAT";
/// Another root for /etc/remotectl, /var/lib/remotectl and /run/remotectl, for tests and for several hubs on a machine.
pub const ROOT: &str = "REMOTECTL_ROOT";
/// At which point of `sys::crash` this process dies: for tests; a release build does not look at it.
pub const CRASH_AT: &str = "REMOTECTL_CRASH_AT";
/// A file with the seconds by which this process's clock is ahead: for tests; a release build does not look at it.
pub const CLOCK_SHIFT: &str = "REMOTECTL_CLOCK_SHIFT";
/// Where the user wants temporary files.
pub const TMPDIR: &str = "TMPDIR";
/// What kind of terminal there is.
pub const TERM: &str = "TERM";
/// No colour when set to anything (<https://no-color.org>).
pub const NO_COLOR: &str = "NO_COLOR";
/// Colour where no terminal is, when set to anything but 0 (<https://bixense.com/clicolors>).
pub const CLICOLOR_FORCE: &str = "CLICOLOR_FORCE";

/// A variable's text, where it is set, not empty and valid Unicode.
pub fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the file system of our own files begins: `/`, or `REMOTECTL_ROOT`.
pub fn root() -> PathBuf {
    text(ROOT).map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// Whether the terminal shows lines and nothing more, by what is said of it.
pub fn terminal_is_plain() -> bool {
    text(TERM).is_none_or(|kind| kind == "dumb")
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where configuration, state and run-time files live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// `hub.toml`, `agent.toml`, `pve-agent.toml`, `policy.toml`, and the client's `client.toml`.
    pub config: PathBuf,
    /// `hub/`, `agent/`, `pve-agent/`.
    pub state: PathBuf,
    /// `hub.sock`.
    pub run: PathBuf,
}

impl Places {
    /// /etc, /var/lib and /run for root, the XDG directories for others, both below `REMOTECTL_ROOT` where that is set.
    pub fn find() -> Self {
        if let Some(root) = text(ROOT).map(PathBuf::from) {
            return Self { config: root.join("etc"), state: root.join("lib"), run: root.join("run") };
        }
        if is_root() {
            let [config, state, run] = ["/etc/remotectl", "/var/lib/remotectl", "/run/remotectl"].map(PathBuf::from);
            return Self { config, state, run };
        }
        let home = text("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let xdg = |variable, default: &str| {
            text(variable).map_or_else(|| home.join(default), PathBuf::from).join("remotectl")
        };
        let state = xdg("XDG_STATE_HOME", ".local/state");
        let run = text("XDG_RUNTIME_DIR").map_or_else(|| state.join("run"), |dir| PathBuf::from(dir).join("remotectl"));
        Self { config: xdg("XDG_CONFIG_HOME", ".config"), state, run }
    }
}
