//! Where the hub is and how it is known: from `login` (client.toml, for its owner alone), the environment, or the local
//! hub's socket.

use crate::{
    link::join::Pointer,
    model::{Exit, Failure, digest::Digest},
    sys::{
        env::{self, Places},
        files,
        secret::Secret,
    },
};
use serde::Deserialize;
use std::{fmt, path::PathBuf};

/// A place that a hub is reached at.
#[derive(Debug, Clone)]
pub enum Place {
    /// The local hub's unix socket: who may open it is who may use it.
    Socket(PathBuf),
    /// A hub that was logged in to.
    Login(Login),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Login(login) => match &login.addresses[..] {
                [] => f.write_str("no address"),
                [first, ..] => write!(f, "https://{first}"),
            },
        }
    }
}

/// What `login` keeps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The hub's addresses, `host:port`, best first.
    pub addresses: Vec<String>,
    /// Its id: its certificate is for `ID.remotectl`.
    pub hub: String,
    /// SHA-256 of its authority.
    pub fingerprint: Digest,
    /// The operator's token.
    pub token: Secret,
}

impl Login {
    /// Reads what `remotectl hub operator add` has printed.
    pub fn from_string(text: &str) -> Result<Self, Failure> {
        const HELP: &str = "`remotectl hub operator add NAME` on the hub's machine prints a whole one";
        let pointer: Pointer =
            text.trim().parse().map_err(|error| Failure::of("logging in", &error).help(HELP).exit(Exit::Usage))?;
        let Some(token) = pointer.token else {
            return Err(Failure::new("logging in: that string holds no token").help(HELP));
        };
        let Pointer { addresses, hub, fingerprint, .. } = pointer;
        Ok(Self { addresses, hub, fingerprint, token: Secret::new(token) })
    }

    fn to_toml(&self) -> String {
        let addresses: Vec<toml::Value> = self.addresses.iter().cloned().map(toml::Value::from).collect();
        let table = toml::Table::from_iter([
            ("addresses".to_owned(), toml::Value::Array(addresses)),
            ("hub".to_owned(), self.hub.clone().into()),
            ("fingerprint".to_owned(), self.fingerprint.as_str().into()),
            ("token".to_owned(), self.token.reveal().into()),
        ]);
        format!("# Written by `remotectl login`; `remotectl logout` takes it away.\n{table}")
    }
}

/// The file that holds the login.
pub fn file(places: &Places) -> PathBuf {
    places.config.join("client.toml")
}

/// Keeps a login, readable by its owner alone.
pub fn store(login: &Login, places: &Places) -> Result<PathBuf, Failure> {
    let failed = |error: files::FileError| {
        Failure::of("keeping the login", &error).help("REMOTECTL_HUB, set to the login string, needs no file")
    };
    files::create_directory(&places.config, 0o755).map_err(failed)?;
    let path = file(places);
    files::write_atomic(&path, login.to_toml().as_bytes(), 0o600).map_err(failed)?;
    Ok(path)
}

/// The login that is kept, if there is one.
pub fn load(places: &Places) -> Result<Option<Login>, Failure> {
    let path = file(places);
    let text = files::read_text_if_there(&path).map_err(|error| Failure::of("reading the login", &error))?;
    let Some(text) = text else { return Ok(None) };
    toml::from_str(&text).map(Some).map_err(|error| {
        // The text of the file holds a token: the error names the place in it, not what stands there.
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
        Failure::new(format!("reading the login: {} line {line}: {}", path.display(), error.message()))
            .help("`remotectl login STRING` writes it anew")
    })
}

/// Forgets the login; says whether there was one.
pub fn forget(places: &Places) -> Result<bool, Failure> {
    let path = file(places);
    let there = path.exists();
    files::remove(&path).map_err(|error| Failure::of("forgetting the login", &error))?;
    Ok(there)
}

/// What `REMOTECTL_HUB` means: a login string, a socket's path, or another address (`host:port`, several with commas,
/// `HUBID@` before them for another hub) beside the variables for token and fingerprint and the login that is kept.
pub fn from_environment(place: &str, places: &Places) -> Result<Place, Failure> {
    if place.starts_with('/') {
        return Ok(Place::Socket(PathBuf::from(place)));
    }
    if place.starts_with("rctl1.") {
        return Login::from_string(place).map(Place::Login);
    }
    let kept = load(places)?;
    let (hub, addresses) = place.split_once('@').map_or((None, place), |(hub, rest)| (Some(hub.to_owned()), rest));
    let missing = |what: &str, variable: &str| {
        Failure::usage(format!("{} names a hub, but {what} is not known", env::HUB))
            .help(format!("set {variable}, or set {} to a whole login string", env::HUB))
    };
    let fingerprint = match env::text(env::FINGERPRINT) {
        Some(text) => Some(Digest::parse(&text).ok_or_else(|| {
            Failure::usage(format!("{} is not a SHA-256: 64 hexadecimal digits, lower case", env::FINGERPRINT))
        })?),
        None => kept.as_ref().map(|login| login.fingerprint.clone()),
    };
    let token = env::text(env::TOKEN).map(Secret::new).or_else(|| kept.as_ref().map(|login| login.token.clone()));
    Ok(Place::Login(Login {
        addresses: addresses.split(',').map(|address| address.trim_start_matches("https://").to_owned()).collect(),
        hub: hub.or(kept.map(|login| login.hub)).ok_or_else(|| missing("its id", "it to HUBID@HOST:PORT"))?,
        fingerprint: fingerprint.ok_or_else(|| missing("its fingerprint", env::FINGERPRINT))?,
        token: token.ok_or_else(|| missing("your token", env::TOKEN))?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn places(directory: &tempfile::TempDir) -> Places {
        let at = |name: &str| directory.path().join(name);
        Places { config: at("etc"), state: at("lib"), run: at("run") }
    }

    fn login() -> Login {
        Login {
            addresses: vec!["10.0.0.5:8443".into(), "[fd00::5]:8443".into()],
            hub: "h1".into(),
            fingerprint: Digest::of(b"ca"),
            token: Secret::new("s3cret \" \\ \n"),
        }
    }

    #[test]
    fn a_login_comes_back_from_a_file_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let places = places(&directory);
        assert_eq!(load(&places).unwrap(), None);
        let path = store(&login(), &places).unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&places).unwrap(), Some(login()));
        assert!(forget(&places).unwrap());
        assert!(!forget(&places).unwrap());
    }

    #[test]
    fn a_broken_file_is_told_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let places = places(&directory);
        let path = store(&login(), &places).unwrap();
        let text = std::fs::read_to_string(&path).unwrap().replace("hub =", "hup =");
        files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        let failure = load(&places).unwrap_err();
        assert!(failure.message.contains("unknown field `hup`"), "{failure}");
        assert!(!failure.message.contains("s3cret"), "{failure}");
    }

    #[test]
    fn the_environment_names_sockets_and_addresses() {
        let directory = tempfile::tempdir().unwrap();
        let places = places(&directory);
        assert!(matches!(from_environment("/run/x.sock", &places).unwrap(), Place::Socket(_)));
        let failure = from_environment("10.0.0.9:8443", &places).unwrap_err();
        assert!(failure.message.contains("not known"), "{failure}");
        store(&login(), &places).unwrap();
        let Place::Login(found) = from_environment("https://10.0.0.9:8443", &places).unwrap() else { panic!() };
        assert_eq!((found.addresses, found.hub), (vec!["10.0.0.9:8443".to_owned()], "h1".to_owned()));
    }
}
