//! The command line: what was typed becomes what is meant, a role or the client does it, and its end becomes an exit code.

mod admin;
pub mod args;
mod book;
mod calls;
mod data;
mod effect;
mod flow;
mod listing;
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

use crate::{
    model::{Exit, Failure},
    roles::{
        agent,
        client::{self, Prefer},
        hub, pve_agent,
    },
    sys::env,
};
use args::{LowArgs, Shell};
use calls::{Administer, Client, HiArgs, Listing, Role};
use clap::{CommandFactory as _, Parser as _};
use role_args::OperatorCommand;
use screen::Screen;
use std::{ffi::OsString, process::ExitCode};

/// Runs the program with the words of its command line, its own name first.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut screen = Screen::standard();
    let ended = multicall::expand(words.into_iter().collect(), env::text(env::ARGV0)).and_then(|words| {
        match LowArgs::try_parse_from(words) {
            Ok(low) => HiArgs::try_from(low).and_then(|high| act(&mut screen, high)),
            Err(error) => Ok(typed_wrongly(&error)),
        }
    });
    screen.flush();
    let exit = ended.unwrap_or_else(|failure| {
        screen.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

/// What clap says, which is also `--help` and `--version`.
fn typed_wrongly(error: &clap::Error) -> Exit {
    // Nobody is left to be told that the output is closed.
    drop(error.print());
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
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
        HiArgs::Role(role) => be(role).map(|()| Exit::Done),
        HiArgs::Login(string) => admin::login(screen, &string, client::connect_to),
        HiArgs::Logout => admin::logout(screen),
        HiArgs::Completions(shell) => {
            screen.block(&completions(shell));
            Ok(Exit::Done)
        }
        HiArgs::Version { json } => {
            version(screen, json);
            Ok(Exit::Done)
        }
    }
}

fn ask_hub(screen: &mut Screen, hub: &client::Hub, call: Client) -> Result<Exit, Failure> {
    match call {
        Client::Plan(request, json) => flow::plan(screen, hub, &request, json),
        Client::Ask(request, consent, json) => flow::ask(screen, hub, &request, &consent, json),
        Client::List(Listing::Guests, selector, json) => listing::guests(screen, hub, &selector, json),
        Client::List(Listing::Nodes, selector, json) => listing::nodes(screen, hub, &selector, json),
        Client::List(Listing::Agents, selector, json) => listing::agents(screen, hub, &selector, json),
        Client::Approve(args) => flow::approve(screen, hub, &args.id, args.confirm, args.json),
        Client::Deny(args) => told(screen, hub, &args, client::Hub::deny, "denied"),
        Client::Cancel(args) => told(screen, hub, &args, client::Hub::cancel, "cancelled"),
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
        Role::HubCheck(options) => hub::check(&options),
        Role::AgentRun(config) => agent::run(config),
        Role::AgentOnce => agent::once(),
        Role::AgentInstall(options) => agent::install(&options),
        Role::AgentUninstall(purge) => agent::uninstall(purge),
        Role::AgentStatus(json) => agent::status(json),
        Role::AgentProbe(hubs, json) => agent::probe(&hubs, json),
        Role::PveAgentRun(config) => pve_agent::run(config),
        Role::PveAgentInstall(options) => pve_agent::install(&options),
        Role::PveAgentUninstall(purge) => pve_agent::uninstall(purge),
        Role::PveAgentStatus(json) => pve_agent::status(json),
        Role::PveAgentProbe(json) => pve_agent::probe(json),
    }
}

fn completions(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut LowArgs::command(), "remotectl", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn version(screen: &mut Screen, json: bool) {
    let version = env!("CARGO_PKG_VERSION");
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    if json {
        screen.json(&serde_json::json!({"version": version, "target": target, "protocol": crate::link::PROTOCOL}));
    } else {
        screen.line(format!("remotectl {version} ({target}, protocol {})", crate::link::PROTOCOL));
    }
}
