//! The ways to log in to guests without a guest agent: those of the hub's vault that came with a command, and this node's own,
//! /etc/remotectl/ssh.toml: who where, by which key of this node, and the host key that an operator has said yes to. The file
//! is read whenever it is needed, so that a change counts at once.

use super::config;
use crate::{
    guest::ssh::{Login, Proof},
    model::{
        Failure, Target,
        credential::{CredentialKind, Way, is_word},
    },
    sys::{files, secret::Secret},
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fragment {
    #[serde(default)]
    login: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    target: Target,
    address: String,
    port: Option<u16>,
    user: Option<String>,
    key: Option<PathBuf>,
    host_key: Option<String>,
    jump: Option<String>,
}

/// Where this machine's own keys are, the first that is there.
const OWN: [&str; 2] = ["/root/.ssh/id_ed25519", "/root/.ssh/id_rsa"];

/// All ways to log in to a target: the node's own, then those that the hub has given.
pub fn logins(file: &Path, target: &Target, given: &[Way]) -> Result<Vec<Login>, Failure> {
    let own = login(file, target)?;
    // The hub has looked as well; what would be an option to ssh is none of a hub's.
    let fit = |way: &&Way| {
        [Some(&way.user), Some(&way.address), way.jump.as_ref()].into_iter().flatten().all(|word| is_word(word))
    };
    Ok(own.into_iter().chain(given.iter().filter(fit).map(|way| of_way(way, target))).collect())
}

fn of_way(way: &Way, target: &Target) -> Login {
    let Way { kind, user, address, port, jump, secret, host_key, .. } = way.clone();
    let proof = match kind {
        CredentialKind::SshKey => Proof::Key(secret),
        CredentialKind::Password => Proof::Password(secret),
    };
    Login { label: target.to_string(), address, port, user, proof, pinned: host_key, jump }
}

/// The way to log in to a target that this node has itself, where there is one.
fn login(file: &Path, target: &Target) -> Result<Option<Login>, Failure> {
    let fragment: Fragment = config::fragment(file)?;
    let Some(entry) = fragment.login.into_iter().find(|entry| entry.target == *target) else { return Ok(None) };
    // What begins with a dash would be an option to ssh.
    let words = [Some(&entry.address), entry.user.as_ref(), entry.jump.as_ref()];
    if let Some(word) = words.into_iter().flatten().find(|word| word.is_empty() || word.starts_with('-')) {
        return Err(
            Failure::new(format!("{}: `{word}` is no name", file.display())).help(format!("mend {}", file.display()))
        );
    }
    let own = || OWN.into_iter().map(PathBuf::from).find(|path| path.exists());
    let key =
        entry.key.or_else(own).ok_or_else(|| Failure::new("root has no SSH key here").help("ssh-keygen -t ed25519"))?;
    let text = files::read_text(&key).map_err(|error| Failure::of("reading a key", &error))?;
    Ok(Some(Login {
        label: target.to_string(),
        address: entry.address,
        port: entry.port.unwrap_or(22),
        user: entry.user.unwrap_or_else(|| "root".to_owned()),
        proof: Proof::Key(Secret::new(text)),
        pinned: entry.host_key,
        jump: entry.jump,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_its_own_way() {
        let directory = tempfile::tempdir().unwrap();
        let (file, key) = (directory.path().join("ssh.toml"), directory.path().join("key"));
        let write = |path: &Path, text: &str| files::write_atomic(path, text.as_bytes(), 0o600).unwrap();
        assert!(login(&file, &Target::vm(203)).unwrap().is_none());
        write(&key, "a key");
        let entry =
            format!("[[login]]\ntarget = \"vm/203\"\naddress = \"10.0.0.3\"\nuser = \"admin\"\nkey = {key:?}\n");
        write(&file, &entry);
        let found = login(&file, &Target::vm(203)).unwrap().unwrap();
        assert_eq!((found.user.as_str(), found.port, found.pinned.as_deref()), ("admin", 22, None));
        assert!(!format!("{found:?}").contains("a key"));
        assert!(login(&file, &Target::vm(204)).unwrap().is_none());
        write(&file, &entry.replace("10.0.0.3", "-oProxyCommand=x"));
        assert!(login(&file, &Target::vm(203)).unwrap_err().message.contains("is no name"));
    }
}
