//! The command line: what was typed becomes what is meant, a role or the client does it, and its end becomes an exit code.

mod admin;
pub mod args;
mod book;
mod calls;
mod completions;
mod coverage;
mod credential;
mod data;
mod demo;
mod doctor;
mod effect;
mod flow;
mod fold;
pub mod help;
mod listing;
mod man;
mod multicall;
mod offline;
mod operation;
mod plan_view;
mod progress;
mod results;
mod role_args;
mod screen;
mod table;
pub mod text;
mod up;
mod usage;
mod version;

use crate::{
    guest,
    model::{Exit, Failure},
    roles::{
        agent,
        client::{self, Prefer},
        hub, pve_agent,
    },
    sys::env,
};
use args::{AgentsCommand, LowArgs};
use calls::{Administer, Client, HiArgs, Listing, Role};
use clap::{FromArgMatches as _, error::ErrorKind};
use role_args::OperatorCommand;
use screen::Screen;
use std::{ffi::OsString, process::ExitCode};

/// Runs the program with the words of its command line, its own name first.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    if let Some(told) = guest::ssh::askpass() {
        return if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut screen = Screen::standard();
    if let Some(role) = service(&words) {
        return end(screen, be(role).map(|()| Exit::Done));
    }
    let ended = multicall::expand(words.into_iter().collect(), env::text(env::ARGV0)).and_then(|words| {
        let parsed = help::command(screen.wide()).try_get_matches_from(&words);
        match parsed.and_then(|matches| LowArgs::from_arg_matches(&matches)) {
            Ok(low) => HiArgs::try_from(low).and_then(|high| act(&mut screen, high)),
            Err(error) => not_called(&error, &words),
        }
    });
    end(screen, ended)
}

/// The agent that a service starts by its plain words. It goes past the parser, whose code and tree, about a megabyte, would
/// stay in the memory of every agent.
fn service(words: &[OsString]) -> Option<Role> {
    let words = multicall::expand(words.to_vec(), env::text(env::ARGV0)).ok()?;
    match words.iter().skip(1).map(|word| word.to_str()).collect::<Option<Vec<_>>>()?[..] {
        ["agent", "run"] => Some(Role::AgentRun(None)),
        ["pve-agent", "run"] => Some(Role::PveAgentRun(None)),
        _ => None,
    }
}

fn end(mut screen: Screen, ended: Result<Exit, Failure>) -> ExitCode {
    screen.flush();
    let exit = ended.unwrap_or_else(|failure| {
        screen.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

/// What is not a call: a wish for help or the version, or a mistake.
fn not_called(error: &clap::Error, words: &[OsString]) -> Result<Exit, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody is left to be told that the output is closed.
            drop(error.print());
            Ok(if error.use_stderr() { Exit::Usage } else { Exit::Done })
        }
        _ => Err(usage::failure(error, words)),
    }
}

fn act(screen: &mut Screen, high: HiArgs) -> Result<Exit, Failure> {
    match high {
        HiArgs::Offline { inventory, text, explain, json } => {
            let offline = offline::Offline::load(&inventory)?;
            match text {
                Some(text) => {
                    if explain {
                        offline.explain(screen, &text);
                    }
                    Ok(offline.one(screen, &text, json))
                }
                None => offline.batch(screen, std::io::stdin().lock()),
            }
        }
        HiArgs::Client(call) => ask_hub(screen, &client::connect(Prefer::Login)?, call),
        HiArgs::Administer(call) => administer(screen, &client::connect(Prefer::Local)?, call),
        HiArgs::Up(options, json) => up::up(screen, &options, json),
        HiArgs::Down(args) => up::down(screen, &args),
        HiArgs::Role(role) => be(role).map(|()| Exit::Done),
        HiArgs::Demo(args) => demo::run(screen, &args),
        HiArgs::Login(string) => admin::login(screen, &string, client::connect_to),
        HiArgs::Logout => admin::logout(screen),
        HiArgs::Completions(shell) => {
            screen.block(&completions::script(shell));
            Ok(Exit::Done)
        }
        HiArgs::Man(what) => man::man(screen, &what),
        HiArgs::Doctor { json } => Ok(doctor::doctor(screen, json)),
        HiArgs::Version { json } => {
            version::version(screen, json);
            Ok(Exit::Done)
        }
    }
}

/// Does what a hub does.
fn ask_hub(screen: &mut Screen, hub: &client::Hub, call: Client) -> Result<Exit, Failure> {
    match call {
        Client::Plan(request, json) => flow::plan(screen, hub, &request, json),
        Client::Ask(request, consent, json) => flow::ask(screen, hub, &request, &consent, json),
        Client::List(Listing::Guests, selector, json) => listing::guests(screen, hub, &selector, json),
        Client::List(Listing::Nodes, selector, json) => listing::nodes(screen, hub, &selector, json),
        Client::List(Listing::Coverage, selector, json) => coverage::coverage(screen, hub, &selector, json),
        Client::List(Listing::Agents, selector, json) => listing::agents(screen, hub, &selector, json),
        Client::Approve(args) => flow::approve(screen, hub, &args.id, args.confirm, args.json),
        Client::Deny(args) => told(screen, hub, &args, client::Hub::deny, "denied"),
        Client::Cancel(args) => told(screen, hub, &args, client::Hub::cancel, "cancelled"),
        Client::Settle(args) => listing::settle(screen, hub, &args),
        Client::Show(args) => listing::show(screen, hub, &args.id, args.json),
        Client::History(args) => listing::history(screen, hub, args.limit, args.json),
    }
}

fn told(
    screen: &mut Screen,
    hub: &client::Hub,
    args: &args::PlanIdArgs,
    tell: fn(&client::Hub, &str) -> Result<(), Failure>,
    word: &str,
) -> Result<Exit, Failure> {
    tell(hub, &args.id)?;
    if args.json {
        screen.json(&hub.record(&args.id)?);
    } else {
        screen.line(format!("Plan {} is {word}.", args.id));
    }
    Ok(Exit::Done)
}

fn administer(screen: &mut Screen, hub: &client::Hub, call: Administer) -> Result<Exit, Failure> {
    match call {
        Administer::JoinToken(args) => admin::join_token(screen, hub, &args),
        Administer::Agent(AgentsCommand::Lock(args)) => admin::lock(screen, hub, args),
        Administer::Agent(AgentsCommand::Unlock(args)) => admin::unlock(screen, hub, args),
        Administer::Agent(AgentsCommand::Attest(args)) => {
            let consent = flow::Consent { yes: args.yes.yes, typed: args.yes.confirm };
            admin::attest(screen, hub, &args.agent.target, &consent, args.agent.json)
        }
        Administer::Agent(AgentsCommand::Evict(args)) => admin::evict(screen, hub, args),
        Administer::Credential(command) => credential::act(screen, hub, command),
        Administer::Operator(OperatorCommand::Add(args)) => admin::add_operator(screen, hub, &args),
        Administer::Operator(OperatorCommand::List(args)) => admin::list_operators(screen, hub, args.json),
        Administer::Operator(OperatorCommand::Remove { name }) => admin::remove_operator(screen, hub, &name),
    }
}

fn be(role: Role) -> Result<(), Failure> {
    match role {
        Role::HubServe(options) => hub::serve(&options),
        Role::HubInit(options) => hub::init(&options),
        Role::HubInstall(options) => hub::install(&options),
        Role::HubUninstall(purge) => hub::uninstall(purge),
        Role::HubCheck(options) => hub::check(&options),
        Role::HubBackup(options, file) => hub::backup(&options, &file),
        Role::HubRestore(options, file, recovery) => hub::restore(&options, &file, recovery.as_deref()),
        Role::ArtifactAdd(options, file, json) => hub::add_artifact(&options, &file, json),
        Role::ArtifactRemove(options, version) => hub::remove_artifact(&options, &version),
        Role::ArtifactList(options, json) => hub::list_artifacts(&options, json),
        Role::AgentRun(config) => agent::run(config),
        Role::AgentTrial(config) => agent::trial(config),
        Role::Guard(role, detach) => agent::guard(role, detach),
        Role::AgentAttest(options) => agent::attest(&options),
        Role::AgentOnce => agent::once(),
        Role::AgentInstall(options) => agent::install(&options),
        Role::AgentUninstall(purge) => agent::uninstall(purge),
        Role::AgentStatus(json) => agent::status(json),
        Role::AgentProbe(hubs, json) => agent::probe(&hubs, json),
        Role::PveAgentRun(config) => pve_agent::run(config),
        Role::PveAgentTrial(config) => pve_agent::trial(config),
        Role::PveAgentInstall(options) => pve_agent::install(&options),
        Role::PveAgentUninstall(purge) => pve_agent::uninstall(purge),
        Role::PveAgentStatus(json) => pve_agent::status(json),
        Role::PveAgentProbe(json) => pve_agent::probe(json),
    }
}
