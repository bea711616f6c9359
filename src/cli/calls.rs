//! What the typed words mean: which request goes to the hub, or which role this process is. Pure: nothing is opened,
//! asked or sent here.

use super::{
    args::{
        AgentsArgs, AgentsCommand, ApproveArgs, AskArgs, Command, DemoArgs, DeployArgs, DownArgs, HistoryArgs,
        ListArgs, LowArgs, PlanArgs, PlanIdArgs, PlannerChoice, RunArgs, SelectArgs, SettleArgs, Shell, UndoArgs,
        UpArgs, UpdateArgs,
    },
    credential::CredentialCommand,
    flow::Consent,
    operation,
    role_args::{
        AgentCommand, ArtifactCommand, AttestArgs, DataArgs, HubArgs, HubCommand, InstallArgs, JoinTokenArgs,
        OperatorCommand, PveAgentCommand,
    },
};
use crate::{
    link::wire::AgentRole,
    model::{
        Failure,
        messages::{PlanRequest, RunRequest},
    },
    roles::{
        agent::{AttestOptions, InstallOptions},
        hub::HubOptions,
        up::UpOptions,
    },
};
use std::path::PathBuf;

/// What is to be done.
#[derive(Debug)]
pub enum HiArgs {
    /// A plan over an inventory file.
    Offline {
        /// The file.
        inventory: PathBuf,
        /// The sentence; `None` reads sentences from standard input.
        text: Option<String>,
        /// Whether to tell how each word was read.
        explain: bool,
        /// Whether to print JSON.
        json: bool,
    },
    /// Something that a hub does.
    Client(Client),
    /// Something that the hub's administration asks it to do, by its local socket first.
    Administer(Administer),
    /// Setting this Proxmox node up; whether as JSON.
    Up(UpOptions, bool),
    /// Taking that away again.
    Down(DownArgs),
    /// Being a role, or installing one.
    Role(Role),
    /// Showing everything on a simulated cluster.
    Demo(DemoArgs),
    /// Keeping a login.
    Login(String),
    /// Forgetting it.
    Logout,
    /// Printing a completion script.
    Completions(Shell),
    /// Printing the manual page, or writing all of them.
    Man(Vec<PathBuf>),
    /// Looking for what is wrong.
    Doctor {
        /// As JSON.
        json: bool,
    },
    /// Printing the version.
    Version {
        /// As JSON.
        json: bool,
    },
}

/// What a hub does for an operator.
#[derive(Debug)]
pub enum Client {
    /// Plan and show.
    Plan(PlanRequest, bool),
    /// Plan and carry out.
    Ask(PlanRequest, Consent, bool),
    /// List.
    List(Listing, String, bool),
    /// Approve and carry out.
    Approve(ApproveArgs),
    /// Say no.
    Deny(PlanIdArgs),
    /// Stop.
    Cancel(PlanIdArgs),
    /// Say how it ended.
    Settle(SettleArgs),
    /// Show.
    Show(PlanIdArgs),
    /// List the plans.
    History(HistoryArgs),
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Guests.
    Guests,
    /// Nodes.
    Nodes,
    /// Agents.
    Agents,
    /// Guests, with their agents or what they lack.
    Coverage,
}

/// The hub's administration.
#[derive(Debug)]
pub enum Administer {
    /// A join string.
    JoinToken(JoinTokenArgs),
    /// Operators.
    Operator(OperatorCommand),
    /// Ways to log in to guests.
    Credential(CredentialCommand),
    /// Agents that are locked or evicted.
    Agent(AgentsCommand),
}

/// What a process may be.
#[derive(Debug)]
pub enum Role {
    /// `hub serve`.
    HubServe(HubOptions),
    /// `hub init`.
    HubInit(HubOptions),
    /// `hub install`.
    HubInstall(HubOptions),
    /// `hub uninstall`; whether to purge.
    HubUninstall(bool),
    /// `hub check`.
    HubCheck(HubOptions),
    /// `hub backup`: into which file.
    HubBackup(HubOptions, PathBuf),
    /// `hub restore`: from which file, by the recovery key in which one.
    HubRestore(HubOptions, PathBuf, Option<String>),
    /// `hub artifact add`: how the hub is found, the file, whether to print JSON.
    ArtifactAdd(HubOptions, PathBuf, bool),
    /// `hub artifact remove`: which version.
    ArtifactRemove(HubOptions, String),
    /// `hub artifact list`; whether as JSON.
    ArtifactList(HubOptions, bool),
    /// `agent run`.
    AgentRun(Option<PathBuf>),
    /// `agent trial`.
    AgentTrial(Option<PathBuf>),
    /// `agent guard` and `pve-agent guard`; whether to go on in a process of its own.
    Guard(AgentRole, bool),
    /// `agent attest`.
    AgentAttest(AttestOptions),
    /// `agent once`.
    AgentOnce,
    /// `agent install`.
    AgentInstall(InstallOptions),
    /// `agent uninstall`; whether to purge.
    AgentUninstall(bool),
    /// `agent status`; whether as JSON.
    AgentStatus(bool),
    /// `agent probe`: addresses, whether as JSON.
    AgentProbe(Vec<String>, bool),
    /// `pve-agent run`.
    PveAgentRun(Option<PathBuf>),
    /// `pve-agent trial`.
    PveAgentTrial(Option<PathBuf>),
    /// `pve-agent install`.
    PveAgentInstall(InstallOptions),
    /// `pve-agent uninstall`; whether to purge.
    PveAgentUninstall(bool),
    /// `pve-agent status`; whether as JSON.
    PveAgentStatus(bool),
    /// `pve-agent probe`; whether as JSON.
    PveAgentProbe(bool),
}

impl TryFrom<LowArgs> for HiArgs {
    type Error = Failure;

    fn try_from(low: LowArgs) -> Result<Self, Failure> {
        let list = |listing, args: ListArgs| Self::Client(Client::List(listing, args.selector.join(" "), args.json));
        Ok(match low.command {
            Command::Up(args) => {
                let UpArgs { listen, advertise, dry_run, json } = args;
                Self::Up(UpOptions { listen, advertise, dry_run }, json)
            }
            Command::Down(args) => Self::Down(args),
            Command::Plan(args) => plan(args)?,
            Command::Ask(args) => Self::Client(ask(args)?),
            Command::Run(args) => Self::Client(run(args)?),
            Command::Deploy(DeployArgs { select: args, start }) => Self::Client(deploy(args, start)),
            Command::Update(UpdateArgs { select: args, version }) => {
                Self::Client(select("agent.update", args, version.map(|version| ("version", version))))
            }
            Command::Remove(args) => Self::Client(select("agent.remove", args, None)),
            Command::Guests(args) => list(Listing::Guests, args),
            Command::Nodes(args) => list(Listing::Nodes, args),
            Command::Agents(AgentsArgs { command: None, coverage, list: args }) => {
                list(if coverage { Listing::Coverage } else { Listing::Agents }, args)
            }
            Command::Agents(AgentsArgs { command: Some(command), .. }) => Self::Administer(Administer::Agent(command)),
            Command::Credential(command) => Self::Administer(Administer::Credential(command)),
            Command::Approve(args) => Self::Client(Client::Approve(args)),
            Command::Deny(args) => Self::Client(Client::Deny(args)),
            Command::Cancel(args) => Self::Client(Client::Cancel(args)),
            Command::Settle(args) => Self::Client(Client::Settle(args)),
            Command::Undo(args) => Self::Client(undo(args)),
            Command::Show(args) => Self::Client(Client::Show(args)),
            Command::History(args) => Self::Client(Client::History(args)),
            Command::Demo(args) => Self::Demo(args),
            Command::Login(args) => Self::Login(args.string),
            Command::Logout => Self::Logout,
            Command::Hub(command) => hub(command),
            Command::Agent(command) => Self::Role(agent(command)),
            Command::PveAgent(command) => Self::Role(pve_agent(command)),
            Command::Completions { shell } => Self::Completions(shell),
            Command::Man { what } => Self::Man(what),
            Command::Doctor(args) => Self::Doctor { json: args.json },
            Command::Version(args) => Self::Version { json: args.json },
        })
    }
}

/// The words of a sentence, which may be typed with quotes or without.
fn sentence(words: &[String]) -> Result<String, Failure> {
    let text = words.join(" ");
    if text.trim().is_empty() {
        return Err(Failure::usage("the sentence is empty").help("such as `remotectl ask \"restart the web server\"`"));
    }
    Ok(text)
}

fn plan(args: PlanArgs) -> Result<HiArgs, Failure> {
    let text = if args.batch { String::new() } else { sentence(&args.text)? };
    match args.inventory {
        Some(_) if args.planner == Some(PlannerChoice::Model) => {
            Err(Failure::usage("planning without a hub knows no language model")
                .help("leave --planner away, or leave --inventory away and ask the hub"))
        }
        Some(inventory) => {
            let text = (!args.batch).then_some(text);
            Ok(HiArgs::Offline { inventory, text, explain: args.explain, json: args.json || args.batch })
        }
        None => {
            let request = PlanRequest { text: Some(text), planner: planner(args.planner), ..PlanRequest::default() };
            Ok(HiArgs::Client(Client::Plan(request, args.json)))
        }
    }
}

fn ask(args: AskArgs) -> Result<Client, Failure> {
    let request = PlanRequest {
        text: Some(sentence(&args.text)?),
        planner: planner(args.planner),
        conversation: args.conversation,
        dry_run: args.dry_run,
        ..PlanRequest::default()
    };
    Ok(Client::Ask(request, Consent { yes: args.yes.yes, typed: args.yes.confirm }, args.json))
}

fn run(args: RunArgs) -> Result<Client, Failure> {
    let run = operation::request(&args)?;
    let request = PlanRequest { run: Some(run), dry_run: args.dry_run, ..PlanRequest::default() };
    Ok(Client::Ask(request, Consent { yes: args.yes.yes, typed: args.yes.confirm }, args.json))
}

fn undo(args: UndoArgs) -> Client {
    let request = PlanRequest { undo: Some(args.id), dry_run: args.dry_run, ..PlanRequest::default() };
    Client::Ask(request, Consent { yes: args.yes.yes, typed: args.yes.confirm }, args.json)
}

fn select(op: &str, args: SelectArgs, argument: Option<(&str, String)>) -> Client {
    let arguments = argument.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let run = RunRequest { op: op.to_owned(), selector: args.selector, args: arguments };
    let request = PlanRequest { run: Some(run), dry_run: args.dry_run, ..PlanRequest::default() };
    Client::Ask(request, Consent { yes: args.yes.yes, typed: args.yes.confirm }, args.json)
}

fn deploy(args: SelectArgs, start: bool) -> Client {
    match select("agent.deploy", args, None) {
        Client::Ask(request, consent, json) => Client::Ask(PlanRequest { start, ..request }, consent, json),
        other => other,
    }
}

fn planner(choice: Option<PlannerChoice>) -> Option<String> {
    choice.map(|choice| match choice {
        PlannerChoice::Auto => "auto".to_owned(),
        PlannerChoice::Grammar => "grammar".to_owned(),
        PlannerChoice::Model => "model".to_owned(),
    })
}

fn hub(command: HubCommand) -> HiArgs {
    match command {
        HubCommand::Serve(args) => HiArgs::Role(Role::HubServe(args.into())),
        HubCommand::Init(args) => HiArgs::Role(Role::HubInit(args.into())),
        HubCommand::Install(args) => HiArgs::Role(Role::HubInstall(args.into())),
        HubCommand::Uninstall(args) => HiArgs::Role(Role::HubUninstall(args.purge)),
        HubCommand::Check(args) => HiArgs::Role(Role::HubCheck(args.into())),
        HubCommand::Backup { file, hub } => HiArgs::Role(Role::HubBackup(hub.into(), file)),
        HubCommand::Restore { file, recovery_key, hub } => {
            HiArgs::Role(Role::HubRestore(hub.into(), file, recovery_key))
        }
        HubCommand::Artifact(ArtifactCommand::Add { file, json, hub }) => {
            HiArgs::Role(Role::ArtifactAdd(hub.into(), file, json))
        }
        HubCommand::Artifact(ArtifactCommand::Remove { version, hub }) => {
            HiArgs::Role(Role::ArtifactRemove(hub.into(), version))
        }
        HubCommand::Artifact(ArtifactCommand::List { json, hub }) => HiArgs::Role(Role::ArtifactList(hub.into(), json)),
        HubCommand::JoinToken(args) => HiArgs::Administer(Administer::JoinToken(args)),
        HubCommand::Operator(command) => HiArgs::Administer(Administer::Operator(command)),
    }
}

fn agent(command: AgentCommand) -> Role {
    match command {
        AgentCommand::Run(args) => Role::AgentRun(args.config),
        AgentCommand::Trial(args) => Role::AgentTrial(args.config),
        AgentCommand::Guard(args) => Role::Guard(AgentRole::Agent, args.detach),
        AgentCommand::Attest(AttestArgs { generation, wait, json }) => {
            Role::AgentAttest(AttestOptions { generation, wait, json })
        }
        AgentCommand::Once => Role::AgentOnce,
        AgentCommand::Install(args) => Role::AgentInstall(args.into()),
        AgentCommand::Uninstall(args) => Role::AgentUninstall(args.purge),
        AgentCommand::Status(args) => Role::AgentStatus(args.json),
        AgentCommand::Probe { hub, json } => Role::AgentProbe(hub, json),
    }
}

fn pve_agent(command: PveAgentCommand) -> Role {
    match command {
        PveAgentCommand::Run(args) => Role::PveAgentRun(args.config),
        PveAgentCommand::Trial(args) => Role::PveAgentTrial(args.config),
        PveAgentCommand::Guard(args) => Role::Guard(AgentRole::PveAgent, args.detach),
        PveAgentCommand::Install(args) => Role::PveAgentInstall(args.into()),
        PveAgentCommand::Uninstall(args) => Role::PveAgentUninstall(args.purge),
        PveAgentCommand::Status(args) => Role::PveAgentStatus(args.json),
        PveAgentCommand::Probe(args) => Role::PveAgentProbe(args.json),
    }
}

impl From<DataArgs> for HubOptions {
    fn from(args: DataArgs) -> Self {
        Self { config: args.config, data: args.data, ..Self::default() }
    }
}

impl From<HubArgs> for HubOptions {
    fn from(args: HubArgs) -> Self {
        Self { config: args.config, listen: args.listen, data: args.data, advertise: args.advertise }
    }
}

impl From<InstallArgs> for InstallOptions {
    fn from(args: InstallArgs) -> Self {
        let InstallArgs { join, hub, no_service, no_start, finish, wait, json } = args;
        Self { join, hubs: hub, no_service, no_start, finish, wait, json }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser as _};

    fn meaning(words: &[&str]) -> Result<HiArgs, Failure> {
        LowArgs::try_parse_from(std::iter::once(&"remotectl").chain(words)).unwrap().try_into()
    }

    #[test]
    fn the_declaration_is_sound() {
        LowArgs::command().debug_assert();
    }

    #[test]
    fn run_types_its_arguments_before_anything_is_sent() {
        let HiArgs::Client(Client::Ask(request, consent, _)) =
            meaning(&["run", "logs.query", "tag=web", "lines=50", "since=2h", "--yes"]).unwrap()
        else {
            panic!()
        };
        let run = request.run.unwrap();
        assert_eq!(serde_json::Value::Object(run.args), serde_json::json!({"lines": 50, "since": "2h"}));
        assert!(consent.yes);
        for (words, says) in [
            (&["run", "service.restat", "ct/118"][..], "there is no operation `service.restat`"),
            (&["run", "service.restart", "ct/118"], "missing field `service`"),
            (&["run", "service.restart", "ct/118", "nginx"], "`nginx` is not KEY=VALUE"),
            (&["run", "logs.query", "ct/118", "lines=many"], "`lines` wants integer"),
            (&["run", "logs.query", "ct/118", "since=soon"], "is not a duration"),
        ] {
            let failure = meaning(words).unwrap_err();
            assert!(failure.message.contains(says), "{failure}");
            assert_eq!(failure.exit, crate::model::Exit::Usage);
            assert!(failure.help.is_some());
        }
    }

    #[test]
    fn a_sentence_needs_no_quotes_and_a_selector_neither() {
        let HiArgs::Client(Client::Ask(request, ..)) = meaning(&["ask", "restart", "the", "web", "server"]).unwrap()
        else {
            panic!()
        };
        assert_eq!(request.text.as_deref(), Some("restart the web server"));
        let HiArgs::Client(Client::List(_, selector, _)) = meaning(&["guests", "tag=web", "and", "type=ct"]).unwrap()
        else {
            panic!()
        };
        assert_eq!(selector, "tag=web and type=ct");
    }

    #[test]
    fn an_update_is_to_the_newest_or_to_a_version() {
        for (words, args) in [
            (&["update", "ct/118"][..], serde_json::json!({})),
            (&["update", "ct/118", "--version", "0.9.4"], serde_json::json!({"version": "0.9.4"})),
        ] {
            let HiArgs::Client(Client::Ask(request, ..)) = meaning(words).unwrap() else { panic!() };
            let run = request.run.unwrap();
            assert_eq!((run.op.as_str(), serde_json::Value::Object(run.args)), ("agent.update", args));
        }
    }
}
