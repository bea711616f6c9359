//! What was typed, and nothing more: parsing never acts and never looks anywhere. `calls` says what it means.

use super::{
    credential::CredentialCommand,
    role_args::{AgentCommand, HubCommand, PveAgentCommand},
};
use crate::model::Target;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// An AI-powered remote control for Proxmox VE, with agents that deploy themselves
///
/// You type what you want; the hub turns it into a plan, weighs its risk, asks where it must, and carries it out through
/// agents that it has put into your containers itself.
#[derive(Debug, Parser)]
#[command(
    name = "remotectl",
    version = crate::model::version::version(),
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  remotectl ask \"restart the web server\"\n  remotectl guests tag=web\n  remotectl run service.status ct/118 service=nginx",
    after_long_help = "Examples:\n  remotectl ask \"restart the web server\"\n  remotectl guests tag=web\n  remotectl run service.status ct/118 service=nginx\n\nExit codes:\n  0  done                    4  a question back\n  1  failed                  5  refused\n  2  called wrongly          6  the hub does not answer\n  3  not confirmed           7  partly failed"
)]
pub struct LowArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sets up this Proxmox node: hub and pve-agent, installed and running
    #[command(after_help = "Examples:\n  remotectl up\n  remotectl up --dry-run")]
    Up(UpArgs),
    /// Takes it all away again, agents in guests included
    #[command(after_help = "Examples:\n  remotectl down --dry-run\n  remotectl down --purge")]
    Down(DownArgs),
    /// Plans a sentence, asks where it must, carries it out and answers
    ///
    /// What only reads is done at once; what changes something is shown first, and from risk high on waits for your yes.
    /// A sentence that may mean several things is answered with a question (exit code 4).
    #[command(after_help = "Example:\n  remotectl ask \"deploy the agent to all Ubuntu containers\"")]
    Ask(AskArgs),
    /// Shows what would be done; nothing is done
    ///
    /// With --inventory it needs no hub: a file of JSON with nodes, storages and guests takes its place.
    #[command(
        after_help = "Examples:\n  remotectl plan \"restart the web server\"\n  remotectl plan --inventory homelab.json --json \"stop nginx on web-staging\""
    )]
    Plan(PlanArgs),
    /// Carries out one operation without language, under the same policy
    ///
    /// OPERATION is a name of the catalogue, SELECTOR says on what: a target (ct/118, vm/201, node/pve1), several with
    /// commas, or words such as `tag=web and type=ct and not name=blog`.
    #[command(
        after_help = "Examples:\n  remotectl run service.restart ct/118 service=nginx\n  remotectl run exec.run \"tag=web and type=ct\" command=\"df -h /\""
    )]
    Run(RunArgs),
    /// Lists containers and virtual machines, and which of them have an agent
    ///
    /// A selector is made of name, vmid, type, node, tag, pool, os, family, status, agent, service and template, with
    /// `and`, `or`, `not` and parentheses; names take * as in name=web-*.
    #[command(
        after_help = "Examples:\n  remotectl guests\n  remotectl guests \"tag=web and not node=pve3\"\n  remotectl guests agent=no --json"
    )]
    Guests(ListArgs),
    /// Lists the Proxmox nodes
    #[command(after_help = "Example:\n  remotectl nodes")]
    Nodes(ListArgs),
    /// Lists the agents that the hub knows; locks, unlocks and evicts them
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  remotectl agents --json\n  remotectl agents lock ct/118"
    )]
    Agents(AgentsArgs),
    /// Installs the agent into guests, or the pve-agent onto nodes
    #[command(
        after_help = "Examples:\n  remotectl deploy ct/119\n  remotectl deploy \"os=ubuntu and type=ct\"\n  remotectl deploy ct/121 --start"
    )]
    Deploy(DeployArgs),
    /// Brings agents to the hub's version, or to another one; a bad one goes back by itself
    #[command(
        after_help = "Examples:\n  remotectl update \"type=ct and agent=yes\"\n  remotectl update ct/118 --version 0.1.0"
    )]
    Update(UpdateArgs),
    /// Takes the agent out of guests and nodes again
    #[command(after_help = "Example:\n  remotectl remove ct/119")]
    Remove(SelectArgs),
    /// Ways to log in to guests that have neither agent nor guest agent
    #[command(
        subcommand,
        after_help = "Example:\n  remotectl credential add web --to tag=web --user admin --key ~/.ssh/web"
    )]
    Credential(CredentialCommand),
    /// Says yes to a plan and carries it out
    #[command(after_help = "Example:\n  remotectl approve 7Q2K")]
    Approve(ApproveArgs),
    /// Says no to a plan
    #[command(after_help = "Example:\n  remotectl deny 7Q2K")]
    Deny(PlanIdArgs),
    /// Stops a plan that is under way
    #[command(after_help = "Example:\n  remotectl cancel 7Q2K")]
    Cancel(PlanIdArgs),
    /// Says how a plan ended whose end nobody knows: you have looked
    #[command(after_help = "Example:\n  remotectl settle 7Q2K done --reason \"nginx is at 1.24\"")]
    Settle(SettleArgs),
    /// Takes back what a plan has done, by a plan of its own
    #[command(after_help = "Examples:\n  remotectl undo 7Q2K\n  remotectl undo 7Q2K --dry-run")]
    Undo(UndoArgs),
    /// Shows a plan with its results
    #[command(after_help = "Example:\n  remotectl show 7Q2K --json")]
    Show(PlanIdArgs),
    /// Lists the plans of late, newest first
    #[command(after_help = "Example:\n  remotectl history --limit 5")]
    History(HistoryArgs),
    /// Tries everything on a simulated cluster; nothing real is touched
    #[command(
        after_help = "Examples:\n  remotectl demo\n  remotectl demo --yes --ask \"restart the web server\" --ask \"check which VMs have agents installed\""
    )]
    Demo(DemoArgs),
    /// Keeps the way to a hub, from the string that `hub operator add` prints there
    #[command(after_help = "Example:\n  remotectl login rctl1.eyJhZGRyZXNzZXMi…")]
    Login(LoginArgs),
    /// Forgets the hub again
    #[command(after_help = "Example:\n  remotectl logout")]
    Logout,
    /// The hub: planner, policy, plans, and the agents' counterpart
    #[command(subcommand, after_help = "Example:\n  remotectl hub serve --listen 0.0.0.0:8443")]
    Hub(HubCommand),
    /// The agent of a container, virtual machine or node
    #[command(subcommand, after_help = "Example:\n  remotectl agent install --join rctl1.eyJhZGRyZXNzZXMi…")]
    Agent(AgentCommand),
    /// The agent of a Proxmox node
    #[command(name = "pve-agent", subcommand, after_help = "Example:\n  remotectl pve-agent status")]
    PveAgent(PveAgentCommand),
    /// Prints a completion script
    #[command(
        after_help = "Examples:\n  remotectl completions bash > /etc/bash_completion.d/remotectl\n  remotectl completions zsh > /usr/share/zsh/site-functions/_remotectl\n  remotectl completions fish > ~/.config/fish/completions/remotectl.fish"
    )]
    Completions {
        /// For which shell.
        shell: Shell,
    },
    /// Prints a manual page, or writes those of all commands into a directory
    #[command(
        after_help = "Examples:\n  remotectl man | man -l -\n  remotectl man hub join-token | man -l -\n  remotectl man /usr/local/share/man/man1"
    )]
    Man {
        /// A command's words, or the path of a directory for the pages: remotectl.1, remotectl-ask.1, … (made where it is not
        /// there; one without a slash is written ./DIRECTORY).
        #[arg(value_name = "COMMAND|DIRECTORY")]
        what: Vec<PathBuf>,
    },
    /// Looks for what could be wrong here, and says how to mend it
    ///
    /// Looks at the hub, its certificate, clock and database, at the agents, at this machine's services and disk, and on a
    /// Proxmox node at the pve-agent's rights. Nothing is changed. No check takes longer than 2 s. Exit code 1 where
    /// something failed.
    #[command(after_help = "Example:\n  remotectl doctor")]
    Doctor(JsonArgs),
    /// Prints the version
    #[command(after_help = "Example:\n  remotectl version --json")]
    Version(JsonArgs),
}

/// The shells that completions are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// Who turns the sentence into a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlannerChoice {
    /// The grammar where it understands, else the model
    Auto,
    /// The built-in grammar: no network, no model
    Grammar,
    /// The language model
    Model,
}

/// `--json`, alone.
#[derive(Debug, Args)]
pub struct JsonArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Where the hub listens; may be repeated.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Vec<String>,
    /// The hub's address that join strings name; may be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Vec<String>,
    /// Only look, and say what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `down`.
#[expect(clippy::struct_excessive_bools, reason = "they are switches, as they are typed")]
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Take the hub's identity, database and configuration away too; that can't be undone.
    #[arg(long)]
    pub purge: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
    /// Only look, and say what would be taken away.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `agents`.
#[derive(Debug, Args)]
pub struct AgentsArgs {
    /// What to do with one; without it they are listed.
    #[command(subcommand)]
    pub command: Option<AgentsCommand>,
    /// Every guest instead: its agent, whether that answers, its route; or why not, and what mends it.
    #[arg(long)]
    pub coverage: bool,
    /// Which to list.
    #[command(flatten)]
    pub list: ListArgs,
}

/// `agents …`.
#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// Listens to an agent no more: its requests end at once, and it is told nothing
    #[command(after_help = "Example:\n  remotectl agents lock ct/118 --why \"taken over?\"")]
    Lock(LockArgs),
    /// Takes a lock back
    #[command(after_help = "Example:\n  remotectl agents unlock ct/118")]
    Unlock(OneAgentArgs),
    /// Has an agent's node vouch for it again, and leaves whoever else has its key behind
    ///
    /// For an agent that is quarantined: one that was cloned, or whose guest went back in time. Its node reads its key out of
    /// the guest, and the hub gives it another generation. A host without a node joins again instead, by a new join string.
    #[command(after_help = "Example:\n  remotectl agents attest ct/118")]
    Attest(AttestArgs),
    /// Ends an agent's identity for good; it has to join anew, with another key
    #[command(after_help = "Example:\n  remotectl agents evict ct/118 --confirm ct/118")]
    Evict(EvictArgs),
}

/// One agent.
#[derive(Debug, Args)]
pub struct OneAgentArgs {
    /// What it looks after, such as ct/118, node/pve1 or host/nas.
    pub target: Target,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `agents lock`.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Which agent.
    #[command(flatten)]
    pub agent: OneAgentArgs,
    /// Why; shown in listings.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub why: String,
}

/// `agents attest`.
#[derive(Debug, Args)]
pub struct AttestArgs {
    /// Which agent.
    #[command(flatten)]
    pub agent: OneAgentArgs,
    /// How it is approved.
    #[command(flatten)]
    pub yes: YesArgs,
}

/// `agents evict`.
#[derive(Debug, Args)]
pub struct EvictArgs {
    /// Which agent.
    #[command(flatten)]
    pub agent: OneAgentArgs,
    /// The target once more, in place of typing it when asked.
    #[arg(long, value_name = "TARGET")]
    pub confirm: Option<String>,
}

/// How a plan is said yes to beforehand.
#[derive(Debug, Args)]
pub struct YesArgs {
    /// Do not ask: carry out whatever is not critical.
    #[arg(long, short)]
    pub yes: bool,
    /// The name of what a critical plan destroys, in place of typing it when asked.
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
}

/// `ask`.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The sentence.
    #[arg(required = true, value_name = "TEXT")]
    pub text: Vec<String>,
    /// Only show the plan; it is not kept.
    #[arg(long)]
    pub dry_run: bool,
    /// How it is approved.
    #[command(flatten)]
    pub yes: YesArgs,
    /// The conversation that the sentence belongs to.
    #[arg(long, value_name = "ID")]
    pub conversation: Option<String>,
    /// Who plans.
    #[arg(long, value_name = "PLANNER")]
    pub planner: Option<PlannerChoice>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The sentence.
    #[arg(value_name = "TEXT", required_unless_present = "batch", conflicts_with = "batch")]
    pub text: Vec<String>,
    /// Plan over this inventory (JSON), without a hub.
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// Read a JSON string a line, write a JSON object a line.
    #[arg(long, requires = "inventory")]
    pub batch: bool,
    /// Show how each word was read.
    #[arg(long, requires = "inventory", conflicts_with = "batch")]
    pub explain: bool,
    /// Who plans.
    #[arg(long, value_name = "PLANNER")]
    pub planner: Option<PlannerChoice>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The operation's name, such as service.restart; --help lists them all.
    #[arg(value_parser = super::operation::Name, hide_possible_values = true)]
    pub operation: String,
    /// A target (ct/118), several with commas, or a selector (tag=web and type=ct).
    pub selector: String,
    /// The operation's arguments.
    #[arg(value_name = "KEY=VALUE")]
    pub arguments: Vec<String>,
    /// Only show the plan; it is not kept.
    #[arg(long)]
    pub dry_run: bool,
    /// How it is approved.
    #[command(flatten)]
    pub yes: YesArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `deploy`, `remove`.
#[derive(Debug, Args)]
pub struct SelectArgs {
    /// A target (ct/118), several with commas, or a selector (tag=web and type=ct).
    pub selector: String,
    /// Only show the plan; it is not kept.
    #[arg(long)]
    pub dry_run: bool,
    /// How it is approved.
    #[command(flatten)]
    pub yes: YesArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Which, and how.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Start those that are stopped first.
    #[arg(long)]
    pub start: bool,
}

/// `update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Which, and how.
    #[command(flatten)]
    pub select: SelectArgs,
    /// To this version; the newest that the hub holds without it.
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
}

/// `guests`, `nodes`, `agents`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which: a target (ct/118) or a selector (tag=web and type=ct); all without one.
    #[arg(value_name = "SELECTOR")]
    pub selector: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The plan, such as 7Q2K.
    pub id: String,
    /// The name of what a critical plan destroys, in place of typing it when asked.
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `settle`.
#[derive(Debug, Args)]
pub struct SettleArgs {
    /// The plan, such as 7Q2K.
    pub id: String,
    /// How it ended.
    pub how: Settled,
    /// How you know; it is kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Only on this target.
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The plan, such as 7Q2K.
    pub id: String,
    /// Only show what would take it back; that is not kept.
    #[arg(long)]
    pub dry_run: bool,
    /// How to agree beforehand.
    #[command(flatten)]
    pub yes: YesArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// How what was unknown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Settled {
    /// It was done.
    Done,
    /// It was not done.
    Failed,
}

/// `deny`, `cancel`, `show`.
#[derive(Debug, Args)]
pub struct PlanIdArgs {
    /// The plan, such as 7Q2K.
    pub id: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Ask this and leave, instead of a prompt; may be repeated. The exit code is that of the first that was not done.
    #[arg(long, value_name = "TEXT")]
    pub ask: Vec<String>,
    /// How it is approved.
    #[command(flatten)]
    pub yes: YesArgs,
    /// Print one JSON object for each --ask.
    #[arg(long, requires = "ask")]
    pub json: bool,
    /// Simulate this cluster (JSON), as `plan --inventory` reads it.
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
}

/// `login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// What `remotectl hub operator add NAME` has printed; `-` reads it from standard input.
    #[arg(value_name = "LOGIN-STRING")]
    pub string: String,
}
