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
use login::Place;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Where a hub that is a service of the machine listens for root.
const SYSTEM_SOCKET: &str = "/run/remotectl/hub.sock";

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
    match place(prefer)? {
        Some(place) => Ok(Hub::new(http::Remote::new(&place)?)),
        None => Err(nowhere()),
    }
}

fn nowhere() -> Failure {
    let failure = Failure::new("no hub is known here").exit(Exit::Unreachable);
    let failure =
        failure.detail(format!("there is no login, and no local hub at {}", socket(&Places::find()).display()));
    failure.help(if !env::is_root() && Path::new(SYSTEM_SOCKET).exists() {
        "the hub of this machine is for root: `sudo remotectl …`"
    } else {
        "`remotectl login STRING`, with what `remotectl hub operator add NAME` prints on the hub's machine; `remotectl demo` needs none"
    })
}

/// Where `connect` would go; `None` where no hub is known.
pub fn place(prefer: Prefer) -> Result<Option<Place>, Failure> {
    let places = Places::find();
    if let Some(place) = env::text(env::HUB) {
        return login::from_environment(&place, &places).map(Some);
    }
    let socket = socket(&places);
    let local = socket.exists().then_some(Place::Socket(socket));
    Ok(match prefer {
        Prefer::Local if local.is_some() => local,
        _ => login::load(&places)?.map(Place::Login).or(local),
    })
}

fn socket(places: &Places) -> PathBuf {
    places.run.join("hub.sock")
}

/// The hub at a place, given up on where an answer takes longer than this.
pub fn within(place: &Place, answer: Duration) -> Result<Hub, Failure> {
    Ok(Hub::new(http::Remote::within(place, answer)?))
}

/// The way to the hub behind a unix socket.
pub fn at_socket(path: &Path) -> Result<Hub, Failure> {
    Ok(Hub::new(http::Remote::new(&login::Place::Socket(path.to_owned()))?))
}

/// The way to the hub of one login.
pub fn connect_to(login: login::Login) -> Result<Hub, Failure> {
    Ok(Hub::new(http::Remote::new(&Place::Login(login))?))
}
