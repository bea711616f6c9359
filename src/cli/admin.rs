//! Logging in and out, and the hub's own administration: operators, join strings, agents that are not listened to.

use super::{
    args::{EvictArgs, LockArgs, OneAgentArgs},
    flow::{self, Consent},
    listing,
    role_args::{JoinTokenArgs, OperatorAddArgs},
    screen::Screen,
};
use crate::{
    model::{
        Exit, Failure, Target,
        messages::{AgentRow, HoldRequest, JoinTokenRequest, NewOperator, PlanRequest, RunRequest},
    },
    roles::client::{
        Hub,
        login::{self, Login},
    },
    sys::{clock, env::Places},
};
use clap::ValueEnum;
use std::io::Read as _;

/// `login`: keeps the string when the hub that it names answers to it.
pub fn login(
    screen: &mut Screen,
    string: &str,
    check: impl FnOnce(Login) -> Result<Hub, Failure>,
) -> Result<Exit, Failure> {
    let text = if string == "-" { read_string()? } else { string.to_owned() };
    let login = Login::from_string(&text)?;
    let info = check(login.clone())?.info()?;
    let path = login::store(&login, &Places::find())?;
    screen.line(format!("Logged in to hub {} (remotectl {}), kept in {}.", info.id, info.version, path.display()));
    Ok(Exit::Done)
}

fn read_string() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(64 << 10).read_to_string(&mut text);
    read.map_err(|error| Failure::of("reading the login string from standard input", &error))?;
    Ok(text)
}

/// `logout`.
pub fn logout(screen: &mut Screen) -> Result<Exit, Failure> {
    let there = login::forget(&Places::find())?;
    screen.line(if there { "Logged out." } else { "There was no login." });
    Ok(Exit::Done)
}

/// `hub join-token`.
pub fn join_token(screen: &mut Screen, hub: &Hub, args: &JoinTokenArgs) -> Result<Exit, Failure> {
    let target = args.target.as_deref().map(str::parse::<Target>).transpose();
    let target = target.map_err(|error| Failure::of("making a join string", &error).exit(Exit::Usage))?;
    let role = word(&args.role);
    let token = hub.join_token(&JoinTokenRequest { role: role.clone(), target })?;
    if args.json {
        screen.json(&token);
        return Ok(Exit::Done);
    }
    screen.line(token.join_string.as_str());
    screen.note(format!("Single use, until {}.", clock::rfc3339(token.expires)));
    screen.help(&format!("there: `remotectl {role} install --join STRING`"));
    Ok(Exit::Done)
}

/// `hub operator add`.
pub fn add_operator(screen: &mut Screen, hub: &Hub, args: &OperatorAddArgs) -> Result<Exit, Failure> {
    let token =
        hub.add_operator(&NewOperator { name: args.name.clone(), role: word(&args.role), expires: args.expires })?;
    if args.json {
        screen.json(&token);
        return Ok(Exit::Done);
    }
    screen.line(token.login_string.as_str());
    let until = token.expires.map(|expires| format!(" Good until {}.", clock::rfc3339(expires))).unwrap_or_default();
    screen.note(format!("Shown this once.{until}"));
    screen.help(&format!("{} runs `remotectl login STRING`", token.name));
    Ok(Exit::Done)
}

/// `hub operator list`.
pub fn list_operators(screen: &mut Screen, hub: &Hub, json: bool) -> Result<Exit, Failure> {
    listing::operators(screen, &hub.operators()?, json);
    Ok(Exit::Done)
}

/// `hub operator remove`.
pub fn remove_operator(screen: &mut Screen, hub: &Hub, name: &str) -> Result<Exit, Failure> {
    hub.remove_operator(name)?;
    screen.line(format!("{name} is no operator any more; the token has ended."));
    Ok(Exit::Done)
}

/// `agents lock`.
pub fn lock(screen: &mut Screen, hub: &Hub, args: LockArgs) -> Result<Exit, Failure> {
    let OneAgentArgs { target, json } = args.agent;
    let row = hub.hold("lock", &HoldRequest { target, why: args.why, typed: None })?;
    let help = row.help.clone();
    held(screen, &row, "is locked: it is not listened to, and told nothing.", json);
    if let Some(help) = help.filter(|_| !json) {
        screen.help(&format!("`{help}` takes it back"));
    }
    Ok(Exit::Done)
}

/// `agents unlock`.
pub fn unlock(screen: &mut Screen, hub: &Hub, args: OneAgentArgs) -> Result<Exit, Failure> {
    let row = hub.hold("unlock", &HoldRequest { target: args.target, why: String::new(), typed: None })?;
    held(screen, &row, &format!("is not locked; it is {}.", row.status), args.json);
    Ok(Exit::Done)
}

/// `agents attest`: nothing is believed of the agent from now on, until its node has vouched for it.
pub fn attest(screen: &mut Screen, hub: &Hub, target: &Target, consent: &Consent, json: bool) -> Result<Exit, Failure> {
    let row = hub.hold("quarantine", &HoldRequest { target: target.clone(), why: String::new(), typed: None })?;
    if row.role != "agent" || target.vmid().is_none() {
        let role = row.role;
        let failure =
            Failure::new(format!("{target} is no guest: no node can vouch for its agent, which stays quarantined"));
        return Err(failure.help(format!(
            "`remotectl hub join-token --role {role} --target {target}`, and there `remotectl {role} install --join STRING`"
        )));
    }
    let run = RunRequest { op: "agent.deploy".to_owned(), selector: target.to_string(), args: serde_json::Map::new() };
    flow::ask(screen, hub, &PlanRequest { run: Some(run), ..PlanRequest::default() }, consent, json)
}

/// `agents evict`: the target has to be typed.
pub fn evict(screen: &mut Screen, hub: &Hub, args: EvictArgs) -> Result<Exit, Failure> {
    let OneAgentArgs { target, json } = args.agent;
    let typed = match args.confirm {
        None if screen.interactive => {
            let question =
                format!("The identity of the agent of {target} ends for good. Type {target} to carry it out:");
            screen.ask(&question)
        }
        typed => typed,
    };
    let row = hub.hold("evict", &HoldRequest { target, why: String::new(), typed })?;
    held(screen, &row, "is evicted; it has to join anew, with another key.", json);
    Ok(Exit::Done)
}

fn held(screen: &mut Screen, row: &AgentRow, what: &str, json: bool) {
    if json {
        screen.json(row);
    } else {
        screen.line(format!("The agent of {} {what}", row.target));
    }
}

/// The word that a choice is typed as.
fn word(choice: &impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
