//! Ways to log in to guests: what the hub keeps of one, what it hands to the node that needs it, and what it refuses to keep.

use super::secret::{Secret, revealed};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

/// SSH's own port.
pub const SSH: u16 = 22;
/// What begins the inner form of OpenSSH's private keys (its PROTOCOL.key); the cipher's name follows.
const OPENSSH: &[u8] = b"openssh-key-v1\0";

/// By what somebody logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// A private key, as ssh-keygen writes it.
    SshKey,
    /// A password.
    Password,
}

impl CredentialKind {
    /// `ssh-key` or `password`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SshKey => "ssh-key",
            Self::Password => "password",
        }
    }

    /// The kind of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::SshKey, Self::Password].into_iter().find(|kind| kind.as_str() == text)
    }

    /// Why a text can't be a secret of this kind.
    pub fn check(self, secret: &Secret) -> Result<(), &'static str> {
        match self {
            Self::SshKey => check_key(secret.reveal()),
            Self::Password if secret.reveal().is_empty() => Err("the password is empty"),
            Self::Password if secret.reveal().chars().any(char::is_control) => {
                Err("a password is one line without control characters")
            }
            Self::Password => Ok(()),
        }
    }
}

/// What is said of a key that can't be used by a program.
const LOCKED: &str =
    "the key has a passphrase, which nobody is there to type; `ssh-keygen -p -N ''` takes it off a copy";

fn check_key(text: &str) -> Result<(), &'static str> {
    let text = text.trim();
    let armour = |line: &&str| line.starts_with("-----");
    if !text.starts_with("-----BEGIN ")
        || !text.contains("PRIVATE KEY-----")
        || text.lines().filter(armour).count() != 2
    {
        return Err("it is no private key as ssh-keygen writes it");
    }
    if text.contains("BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(LOCKED);
    }
    if text.starts_with("-----BEGIN OPENSSH") {
        let inner: String = text.lines().filter(|line| !armour(line)).map(str::trim).collect();
        let inner = BASE64_STANDARD.decode(inner).map_err(|_| "the private key is not whole")?;
        let cipher = inner.strip_prefix(OPENSSH).ok_or("the private key is not whole")?;
        if !cipher.starts_with(b"\0\0\0\x04none") {
            return Err(LOCKED);
        }
    }
    Ok(())
}

/// What a node needs to log in to one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The credential's name.
    pub name: String,
    /// By what.
    pub kind: CredentialKind,
    /// As whom.
    pub user: String,
    /// Where to: an address or a name.
    pub address: String,
    /// On which port.
    pub port: u16,
    /// Through which machine, that the node's own root can log in to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// The key or password.
    #[serde(serialize_with = "revealed")]
    pub secret: Secret,
    /// The fingerprint of the host key that an operator has said yes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
}

/// Whether it can be a word of ssh's: what begins with a dash would be an option.
pub fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.len() <= 253
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:@%".contains(&byte))
}

/// Whether it is a fingerprint as ssh-keygen shows it: `SHA256:` and 43 characters of base64.
pub fn is_fingerprint(text: &str) -> bool {
    text.strip_prefix("SHA256:").is_some_and(|rest| {
        rest.len() == 43 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ssh-keygen has made, and nobody uses.
    const BARE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==\n-----END OPENSSH PRIVATE KEY-----\n";
    const CLOSED: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0\n-----END OPENSSH PRIVATE KEY-----\n";

    #[test]
    fn what_nobody_could_log_in_with_is_not_kept() {
        let key = |text: &str| CredentialKind::SshKey.check(&Secret::new(text));
        assert_eq!(key(BARE), Ok(()));
        for (text, why) in [
            (CLOSED, "passphrase"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "passphrase"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI lab", "no private key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAA", "no private key"),
            (&BARE.replace("b3Bl", "xxxx"), "not whole"),
            ("", "no private key"),
        ] {
            assert!(key(text).unwrap_err().contains(why), "{text}: {:?}", key(text));
        }
        let password = |text: &str| CredentialKind::Password.check(&Secret::new(text)).is_ok();
        assert!(password("correct horse ä") && !password("") && !password("a\nb"));
    }

    #[test]
    fn nothing_that_is_an_option_is_a_word() {
        for (text, wanted) in [
            ("admin", true),
            ("10.0.0.3", true),
            ("fe80::1%eth0", true),
            ("-oProxyCommand=x", false),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(is_word(text), wanted, "{text}");
        }
        assert!(is_fingerprint("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"));
        assert!(!is_fingerprint("SHA256:47DEQpj8HBSa") && !is_fingerprint("MD5:47"));
    }

    #[test]
    fn a_way_goes_over_the_wire_and_never_into_a_log() {
        let way = Way {
            name: "web".into(),
            kind: CredentialKind::Password,
            user: "root".into(),
            address: "10.0.0.3".into(),
            port: SSH,
            jump: None,
            secret: Secret::new("hunter2"),
            host_key: None,
        };
        let text = serde_json::to_string(&way).unwrap();
        assert_eq!(serde_json::from_str::<Way>(&text).unwrap(), way);
        assert!(text.contains("hunter2") && !format!("{way:?}").contains("hunter2"));
    }
}
