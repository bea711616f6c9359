//! The client: every command that talks to a hub. What is printed, and how the operator is asked, is the floor above.

pub mod api;
#[cfg(test)]
pub mod fake;
mod http;
pub mod login;
pub mod sse;

pub use api::{Api, Hub};

use crate::{
    model::{Exit, Failure},
    sys::env::{self, Places},
};
use std::path::Path;

/// Which hub a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefer {
    /// The hub that was logged in to, else the local one.
    Login,
    /// The local hub by its socket, else the one that was logged in to: the hub's own administration.
    Local,
}

/// The way to the hub: what `REMOTECTL_HUB` says, else the login, else the local hub's socket. Nothing is sent yet.
pub fn connect(prefer: Prefer) -> Result<Hub, Failure> {
    let places = Places::find();
    if let Some(place) = env::text(env::HUB) {
        return Ok(Hub::new(http::Remote::new(&login::from_environment(&place, &places)?)?));
    }
    let socket = places.run.join("hub.sock");
    let local = socket.exists().then(|| login::Place::Socket(socket.clone()));
    let place = match prefer {
        Prefer::Local if local.is_some() => local,
        _ => login::load(&places)?.map(login::Place::Login).or(local),
    };
    match place {
        Some(place) => Ok(Hub::new(http::Remote::new(&place)?)),
        None => Err(Failure::new("no hub is known here")
            .detail(format!("there is no login, and no local hub at {}", socket.display()))
            .help("`remotectl login STRING`, with what `remotectl hub operator add NAME` prints on the hub's machine")
            .exit(Exit::Unreachable)),
    }
}

/// The way to the hub behind a unix socket.
pub fn at_socket(path: &Path) -> Result<Hub, Failure> {
    Ok(Hub::new(http::Remote::new(&login::Place::Socket(path.to_owned()))?))
}

/// The way to the hub of one login.
pub fn connect_to(login: login::Login) -> Result<Hub, Failure> {
    Ok(Hub::new(http::Remote::new(&login::Place::Login(login))?))
}
