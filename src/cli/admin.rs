//! Logging in and out, and the hub's own administration: operators and join strings.

use super::{
    listing,
    role_args::{JoinTokenArgs, OperatorAddArgs},
    screen::Screen,
};
use crate::{
    model::{
        Exit, Failure, Target,
        messages::{JoinTokenRequest, NewOperator},
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
    let token = hub.add_operator(&NewOperator { name: args.name.clone(), role: word(&args.role) })?;
    if args.json {
        screen.json(&token);
        return Ok(Exit::Done);
    }
    screen.line(token.login_string.as_str());
    screen.note("Shown this once.");
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

/// The word that a choice is typed as.
fn word(choice: &impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
