//! This node's ways to log in to guests without a guest agent, /etc/remotectl/ssh.toml: who where, by which key of this node,
//! and the host key that an operator has said yes to. Read whenever it is needed, so that a change counts at once.

use super::config;
use crate::{
    guest::ssh::Login,
    model::{Failure, Target},
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

/// The way to log in to a target, where there is one.
pub fn login(file: &Path, target: &Target) -> Result<Option<Login>, Failure> {
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
        key: Secret::new(text),
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
