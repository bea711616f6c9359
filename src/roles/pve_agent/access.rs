//! Another way to the Proxmox API than the token that `pve-agent install` makes: `[proxmox]` in pve-agent.toml, with a user's
//! password and second factor in files of mode 0600. Neither is ever an argument or a variable.
//!
//! ```toml
//! [proxmox]
//! user = "remotectl@pam"
//! password_file = "/etc/remotectl/proxmox-password"
//! totp_file = "/etc/remotectl/proxmox-totp"      # the key in base32, where the user has a second factor
//! address = "127.0.0.1:8006"                     # what is assumed
//! fingerprint = "SHA-256 of the certificate"     # instead of the cluster's CA
//! ```

use super::{API, AUTHORITY};
use crate::{
    model::{Exit, Failure, digest::Digest, outcome::chain},
    proxmox::{Client, Login, TotpKey, Verify},
    sys::{files, secret::Secret},
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// `[proxmox]` of pve-agent.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxmoxAccess {
    /// Who to log in as, the realm included: `root@pam`.
    pub user: String,
    /// The file with the password, of mode 0600.
    pub password_file: PathBuf,
    /// The file with the key of the second factor (TOTP) in base32, of mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp_file: Option<PathBuf>,
    /// Where the API listens; the node's own where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// SHA-256 of the certificate, as Proxmox shows it or without colons; the cluster's CA where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

impl ProxmoxAccess {
    /// A client that logs in so; connects when first used.
    pub fn client(&self) -> Result<Client, Failure> {
        let login = Login {
            user: self.user()?,
            password: Secret::new(secret(&self.password_file)?),
            totp: self.totp_file.as_deref().map(key).transpose()?,
        };
        let address = self.address.as_deref().unwrap_or(API);
        let verify = match &self.fingerprint {
            Some(text) => Verify::Fingerprint(fingerprint(text)?),
            None => Verify::AuthorityFile(PathBuf::from(AUTHORITY)),
        };
        Client::log_in(address, &verify, login).map_err(|error| Failure::new(chain(&error)).help(error.help()))
    }

    fn user(&self) -> Result<String, Failure> {
        let whole = self.user.split_once('@').is_some_and(|(name, realm)| !name.is_empty() && !realm.is_empty());
        let wrong = || wrong("[proxmox] user", "has no realm", "write it as `root@pam` or `remotectl@pve`");
        if whole { Ok(self.user.clone()) } else { Err(wrong()) }
    }
}

fn wrong(what: &str, why: &str, help: &str) -> Failure {
    Failure::new(format!("pve-agent.toml: {what} {why}")).exit(Exit::Usage).help(help)
}

fn secret(file: &Path) -> Result<String, Failure> {
    let help = format!("write it there and `chmod 600 {}`", file.display());
    let text =
        files::read_secret(file).map_err(|error| Failure::of("logging in to Proxmox", &error).help(help.clone()))?;
    if text.is_empty() {
        return Err(Failure::new(format!("logging in to Proxmox: {} is empty", file.display())).help(help));
    }
    Ok(text)
}

fn key(file: &Path) -> Result<TotpKey, Failure> {
    let none = || {
        let what = format!("logging in to Proxmox: {} has no TOTP key in base32", file.display());
        Failure::new(what).help("it is the `secret` that Proxmox shows when a TOTP is set up")
    };
    TotpKey::parse(&secret(file)?).ok_or_else(none)
}

fn fingerprint(text: &str) -> Result<Digest, Failure> {
    let hex = text.replace(':', "").to_lowercase();
    let help = "`openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem` prints it";
    serde_json::from_value(serde_json::Value::String(hex))
        .ok()
        .filter(|digest: &Digest| {
            digest.as_str().len() == 64 && digest.as_str().bytes().all(|byte| byte.is_ascii_hexdigit())
        })
        .ok_or_else(|| wrong("[proxmox] fingerprint", "is no SHA-256", help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(folder: &Path, text: &str) -> ProxmoxAccess {
        toml::from_str(&text.replace("HERE", &folder.display().to_string())).unwrap()
    }

    #[test]
    fn the_secrets_are_files_that_nobody_else_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str, mode| {
            files::write_atomic(&folder.path().join(name), text.as_bytes(), mode).unwrap();
        };
        let text = "user = 'root@pam'\npassword_file = 'HERE/password'\ntotp_file = 'HERE/totp'\nfingerprint = 'FP'\n";
        let text = text.replace("FP", &["AB"; 32].join(":"));
        let access = at(folder.path(), &text);
        let failure = |access: &ProxmoxAccess| access.client().unwrap_err().to_string();
        assert!(failure(&access).contains("No such file"), "{}", failure(&access));
        put("password", "p;w=\n", 0o644);
        assert!(
            failure(&access).contains("others than its owner may read it (mode 644, not 600)"),
            "{}",
            failure(&access)
        );
        put("password", "p;w=\n", 0o600);
        put("totp", "nonsense!", 0o600);
        assert!(failure(&access).contains("no TOTP key"), "{}", failure(&access));
        put("totp", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n", 0o600);
        assert_eq!(access.client().unwrap().user(), "root@pam");
        let nobody = ProxmoxAccess { user: "root".into(), ..access.clone() };
        assert_eq!(failure(&nobody), "pve-agent.toml: [proxmox] user has no realm");
        let strange = ProxmoxAccess { fingerprint: Some("abc".into()), ..access };
        assert_eq!(failure(&strange), "pve-agent.toml: [proxmox] fingerprint is no SHA-256");
    }

    #[test]
    fn a_password_has_no_place_in_the_configuration() {
        let error =
            toml::from_str::<ProxmoxAccess>("user = 'root@pam'\npassword = 'x'\npassword_file = '/x'\n").unwrap_err();
        assert!(error.message().contains("unknown field `password`"), "{error}");
    }
}
