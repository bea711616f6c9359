//! What was typed for the roles: the hub, the agent and the pve-agent.

use super::args::JsonArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `hub …`.
#[derive(Debug, Subcommand)]
pub enum HubCommand {
    /// Runs the hub in the foreground
    #[command(after_help = "Example:\n  remotectl hub serve --listen 0.0.0.0:8443 --advertise 10.0.0.5:8443")]
    Serve(HubArgs),
    /// Makes the data directory, the authority and the keys
    #[command(after_help = "Example:\n  remotectl hub init --advertise 10.0.0.5:8443")]
    Init(HubArgs),
    /// Installs the hub as a service of this machine
    #[command(after_help = "Example:\n  remotectl hub install")]
    Install(HubArgs),
    /// Takes the hub off this machine again
    #[command(after_help = "Example:\n  remotectl hub uninstall --purge")]
    Uninstall(PurgeArgs),
    /// Copies the hub into one file, also while it runs: database, authority and keys
    #[command(after_help = "Example:\n  remotectl hub backup /root/hub.backup")]
    Backup {
        /// The file, which must not be there yet.
        file: PathBuf,
        /// Of which hub.
        #[command(flatten)]
        hub: DataArgs,
    },
    /// Puts a backup back: the hub of then, in a new epoch, in which nothing of then is done again
    #[command(
        after_help = "Example, with the hub's service stopped:\n  remotectl hub restore /root/hub.backup --recovery-key recovery.key"
    )]
    Restore {
        /// What `hub backup` has made.
        file: PathBuf,
        /// The file with the recovery key that `hub init` has printed; `-` reads it from standard input. Without it, the one
        /// that is still in the data directory.
        #[arg(long, value_name = "FILE")]
        recovery_key: Option<String>,
        /// Which hub it takes the place of.
        #[command(flatten)]
        hub: DataArgs,
    },
    /// Checks the database, who has written it, the keys, the authority, the epoch and the clock
    #[command(after_help = "Example:\n  remotectl hub check")]
    Check(HubArgs),
    /// The executables that the hub holds for its agents: its own, and those of other architectures
    #[command(subcommand, after_help = "Example:\n  remotectl hub artifact add remotectl-aarch64")]
    Artifact(ArtifactCommand),
    /// Makes a join string: single use, 10 minutes
    #[command(
        name = "join-token",
        after_help = "Examples:\n  remotectl hub join-token\n  remotectl hub join-token --role pve-agent --target node/pve2"
    )]
    JoinToken(JoinTokenArgs),
    /// Operators: who may use the hub
    #[command(subcommand, after_help = "Example:\n  remotectl hub operator add alice --role operator")]
    Operator(OperatorCommand),
}

/// `hub artifact …`.
#[derive(Debug, Subcommand)]
pub enum ArtifactCommand {
    /// Adds a remotectl; for which machines and which version it is, the file itself says
    #[command(after_help = "Example:\n  remotectl hub artifact add remotectl-aarch64")]
    Add {
        /// The executable.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Of which hub.
        #[command(flatten)]
        hub: DataArgs,
    },
    /// Takes a version away: agents are not brought to it any more, and those that run it go on
    #[command(after_help = "Example:\n  remotectl hub artifact remove 0.2.0")]
    Remove {
        /// The version.
        version: String,
        /// Of which hub.
        #[command(flatten)]
        hub: DataArgs,
    },
    /// Lists them: architecture, version, bytes, SHA-256
    #[command(after_help = "Example:\n  remotectl hub artifact list")]
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Of which hub.
        #[command(flatten)]
        hub: DataArgs,
    },
}

/// Where a hub's data is.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub data: Option<PathBuf>,
}

/// Options of the hub's own commands; what is left out comes from hub.toml or its default.
#[derive(Debug, Args)]
pub struct HubArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen; may be repeated.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Vec<String>,
    /// The data directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub data: Option<PathBuf>,
    /// The address that join strings name; may be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Vec<String>,
}

/// `hub join-token`.
#[derive(Debug, Args)]
pub struct JoinTokenArgs {
    /// What may join with it.
    #[arg(long, value_enum, default_value_t = JoinRole::Agent)]
    pub role: JoinRole,
    /// As which target, such as ct/118 or host/nas; any that is free without it.
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JoinRole {
    /// The agent of a guest or host
    Agent,
    /// The agent of a Proxmox node
    PveAgent,
}

/// `hub operator …`.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Adds an operator and prints the string for `remotectl login`
    #[command(after_help = "Example:\n  remotectl hub operator add alice --role viewer")]
    Add(OperatorAddArgs),
    /// Lists the operators
    #[command(after_help = "Example:\n  remotectl hub operator list")]
    List(JsonArgs),
    /// Takes an operator away; the token ends at once
    #[command(after_help = "Example:\n  remotectl hub operator remove alice")]
    Remove {
        /// The operator.
        name: String,
    },
}

/// `hub operator add`.
#[derive(Debug, Args)]
pub struct OperatorAddArgs {
    /// The operator's name.
    pub name: String,
    /// What the operator may do.
    #[arg(long, value_enum, default_value_t = OperatorRole::Operator)]
    pub role: OperatorRole,
    /// How long the token is good, such as 30d or 12h; until it is taken away without it.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub expires: Option<i64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Reads a length of time in days, hours or minutes, as seconds.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no length of time: a number and d, h or m, such as 30d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|seconds| (1..=LONGEST).contains(seconds)).ok_or_else(wrong)
}

/// The longest that an operator's token may be good: ten years.
const LONGEST: i64 = 3650 * 86_400;

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OperatorRole {
    /// Everything, operators and join strings too
    Admin,
    /// Plan, approve and carry out
    Operator,
    /// Look
    Viewer,
}

/// `agent attest`.
#[derive(Debug, Args)]
pub struct AttestArgs {
    /// The generation that the hub has given.
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
    /// How long to wait for the hub's answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub wait: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `agent …`.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Runs the agent in the foreground
    #[command(after_help = "Example:\n  remotectl agent run")]
    Run(ConfigArgs),
    /// Tries whether this executable could take the running agent's place; changes nothing
    #[command(after_help = "Example:\n  remotectl agent trial")]
    Trial(ConfigArgs),
    /// Puts the version before an update back where the new one does not come up; the update itself starts it
    #[command(hide = true)]
    Guard(GuardArgs),
    /// Tells the agent's public key, or gives it another generation; a node calls it to vouch for the agent again
    #[command(hide = true)]
    Attest(AttestArgs),
    /// Carries out one operation: JSON on standard input, its outcome as JSON on standard output
    #[command(after_help = "Example:\n  echo '{\"op\":\"system.info\",\"args\":{}}' | remotectl agent once")]
    Once,
    /// Installs the agent as a service of this machine
    #[command(after_help = "Example:\n  remotectl agent install --join rctl1.eyJhZGRyZXNzZXMi…")]
    Install(InstallArgs),
    /// Takes the agent off this machine again
    #[command(after_help = "Example:\n  remotectl agent uninstall --purge")]
    Uninstall(PurgeArgs),
    /// Says whether the agent is installed, runs and reaches its hub
    #[command(after_help = "Example:\n  remotectl agent status")]
    Status(JsonArgs),
    /// Says what this machine is, and which hubs it reaches
    #[command(after_help = "Example:\n  remotectl agent probe --hub 10.0.0.5:8443 --json")]
    Probe {
        /// An address to try; may be repeated.
        #[arg(long, value_name = "HOST:PORT")]
        hub: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `pve-agent …`.
#[derive(Debug, Subcommand)]
pub enum PveAgentCommand {
    /// Runs the pve-agent in the foreground
    #[command(after_help = "Example:\n  remotectl pve-agent run")]
    Run(ConfigArgs),
    /// Tries whether this executable could take the running pve-agent's place; changes nothing
    #[command(after_help = "Example:\n  remotectl pve-agent trial")]
    Trial(ConfigArgs),
    /// Puts the version before an update back where the new one does not come up; the update itself starts it
    #[command(hide = true)]
    Guard(GuardArgs),
    /// Installs the pve-agent on this Proxmox node, with a Proxmox token of its own
    #[command(after_help = "Example:\n  remotectl pve-agent install --join rctl1.eyJhZGRyZXNzZXMi…")]
    Install(InstallArgs),
    /// Takes the pve-agent off this node again
    #[command(after_help = "Example:\n  remotectl pve-agent uninstall --purge")]
    Uninstall(PurgeArgs),
    /// Says whether the pve-agent is installed, runs and reaches its hub
    #[command(after_help = "Example:\n  remotectl pve-agent status")]
    Status(JsonArgs),
    /// Checks the Proxmox API, the credential and its rights, and pct
    #[command(after_help = "Example:\n  remotectl pve-agent probe --json")]
    Probe(JsonArgs),
}

/// `guard`.
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// Go on in a process of its own.
    #[arg(long)]
    pub detach: bool,
}

/// `--config`, alone.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `uninstall`.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Take keys, data and configuration away too.
    #[arg(long)]
    pub purge: bool,
}

/// `install`.
#[expect(clippy::struct_excessive_bools, reason = "they are switches, as they are typed")]
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The join string that `remotectl hub join-token` prints; without it, what is missing of a member is put back.
    #[arg(long, value_name = "STRING")]
    pub join: Option<String>,
    /// An address of the hub to try before those of the join string; may be repeated.
    #[arg(long, value_name = "HOST:PORT", requires = "join")]
    pub hub: Vec<String>,
    /// Join, but install no service: `run` it under a supervisor of your own.
    #[arg(long, conflicts_with_all = ["finish", "no_start"])]
    pub no_service: bool,
    /// Do everything but start it, and print its public key.
    #[arg(long, conflicts_with = "finish")]
    pub no_start: bool,
    /// Only start what --no-start has installed, and wait.
    #[arg(long)]
    pub finish: bool,
    /// How many seconds to wait for the hub's first answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub wait: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
