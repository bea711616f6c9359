//! `credential …`: ways to log in to guests that have neither agent nor guest agent. A secret is read from a file or standard
//! input, goes to the hub, and is never shown.

use super::{listing, screen::Screen};
use crate::{
    model::{
        Exit, Failure, Target,
        credential::CredentialKind,
        messages::{CredentialRow, NewCredential, RotateCredential, TrustRequest},
        secret::Secret,
    },
    roles::client::Hub,
    sys::files,
};
use clap::{Args, Subcommand};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

/// The longest secret that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// `credential …`.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Keeps a way to log in to guests; the hub seals it and gives it to their nodes alone
    #[command(
        after_help = "Examples:\n  remotectl credential add web --to \"tag=web and type=vm\" --user admin --key ~/.ssh/web\n  remotectl credential add nas --to vm/203 --address 10.0.0.23 --password -"
    )]
    Add(CredentialAddArgs),
    /// Lists them, without their secrets
    #[command(after_help = "Example:\n  remotectl credential list")]
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Puts another key or password in place
    #[command(after_help = "Example:\n  remotectl credential rotate web --key ~/.ssh/web-2027")]
    Rotate {
        /// The credential.
        name: String,
        /// By what.
        #[command(flatten)]
        secret: SecretArgs,
    },
    /// Forgets one
    #[command(after_help = "Example:\n  remotectl credential remove web")]
    Remove {
        /// The credential.
        name: String,
    },
    /// Says yes to the host key that a guest shows: nobody logs in there before
    #[command(
        after_help = "Example:\n  remotectl credential trust vm/203 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
    )]
    Trust {
        /// The guest.
        target: Target,
        /// As `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` shows it there.
        fingerprint: String,
    },
}

/// `credential add`.
#[derive(Debug, Args)]
pub struct CredentialAddArgs {
    /// Its name.
    pub name: String,
    /// To which guests: a target, or a selector such as `tag=web and type=vm`.
    #[arg(long, value_name = "SELECTOR")]
    pub to: String,
    /// As whom: root, or one who may become it by sudo without a password.
    #[arg(long, default_value = "root")]
    pub user: String,
    /// Where to, where that is not the guest's own address or name.
    #[arg(long)]
    pub address: Option<String>,
    /// On which port, where that is not 22.
    #[arg(long)]
    pub port: Option<u16>,
    /// Through which machine, that root of the guest's node can log in to.
    #[arg(long, value_name = "MACHINE")]
    pub jump: Option<String>,
    /// By what.
    #[command(flatten)]
    pub secret: SecretArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where a secret is read from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct SecretArgs {
    /// A private key without a passphrase; `-` reads it from standard input.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// A file whose first line is the password; `-` reads it from standard input.
    #[arg(long, value_name = "FILE")]
    pub password: Option<PathBuf>,
}

impl SecretArgs {
    fn read(&self) -> Result<(CredentialKind, Secret), Failure> {
        match (&self.key, &self.password) {
            (Some(file), _) => Ok((CredentialKind::SshKey, Secret::new(text(file)?))),
            (None, Some(file)) => {
                let text = text(file)?;
                Ok((CredentialKind::Password, Secret::new(text.lines().next().unwrap_or_default())))
            }
            (None, None) => Err(Failure::usage("neither a key nor a password").help("--key FILE, or --password FILE")),
        }
    }
}

fn text(file: &Path) -> Result<String, Failure> {
    if file != Path::new("-") {
        return files::read_text(file).map_err(|error| Failure::of("reading the secret", &error));
    }
    let mut text = String::new();
    let read = std::io::stdin().take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| Failure::of("reading the secret from standard input", &error))?;
    Ok(text)
}

/// Carries one out.
pub fn act(screen: &mut Screen, hub: &Hub, command: CredentialCommand) -> Result<Exit, Failure> {
    match command {
        CredentialCommand::Add(args) => add(screen, hub, args)?,
        CredentialCommand::List { json } => listing::credentials(screen, &hub.credentials()?, json),
        CredentialCommand::Rotate { name, secret } => {
            let (kind, secret) = secret.read()?;
            hub.rotate_credential(&name, &RotateCredential { kind, secret })?;
            screen.line(format!("{name} has another {}; the one before is gone.", kind.as_str()));
        }
        CredentialCommand::Remove { name } => {
            hub.remove_credential(&name)?;
            screen.line(format!("{name} is forgotten."));
        }
        CredentialCommand::Trust { target, fingerprint } => {
            hub.trust(&TrustRequest { target: target.clone(), fingerprint: fingerprint.clone() })?;
            screen.line(format!("{target} is known by {fingerprint} from now on; any other host key is refused."));
        }
    }
    Ok(Exit::Done)
}

fn add(screen: &mut Screen, hub: &Hub, args: CredentialAddArgs) -> Result<(), Failure> {
    let (kind, secret) = args.secret.read()?;
    let CredentialAddArgs { name, to, user, address, port, jump, json, .. } = args;
    let row = hub.add_credential(&NewCredential { name, kind, user, selector: to, address, port, jump, secret })?;
    if json {
        screen.json(&row);
        return Ok(());
    }
    let CredentialRow { name, targets, selector, .. } = row;
    screen.line(format!("{name} is kept; it is not shown again."));
    match &targets[..] {
        [] => screen.note(format!("no virtual machine fits `{selector}` now")),
        targets => {
            let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
            screen.note(format!("it is for {}", targets.join(", ")));
        }
    }
    Ok(())
}
