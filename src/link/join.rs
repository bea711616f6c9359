//! The strings that people (or a deployment) carry to a new agent or client: where the hub is, by what it is known, and a
//! secret where one is due. They pin the hub before the first byte is sent to it.

use super::keys::PublicKey;
use crate::model::digest::Digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Begins every join or login string, with its version.
const PREFIX: &str = "rctl1.";

/// How to find a hub and know it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pointer {
    /// Its addresses, `host:port`, best first.
    pub addresses: Vec<String>,
    /// Its id: its certificate is for `ID.remotectl`.
    pub hub: String,
    /// SHA-256 of its CA's certificate.
    pub fingerprint: Digest,
    /// The key that signs its commands.
    pub key: PublicKey,
    /// The key that alone can lead agents to a new epoch, authority or command key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<PublicKey>,
    /// The hub's epoch when this was made: no command of one before is obeyed.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub epoch: u64,
    /// A token for joining or logging in; none where a node attests the join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

fn first() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_first(epoch: &u64) -> bool {
    *epoch == first()
}

/// A text that is no join string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("that is not a join string: {0}")]
pub struct PointerError(String);

impl Pointer {
    /// The name that the hub's certificate is for.
    pub fn server_name(&self) -> String {
        server_name(&self.hub)
    }
}

/// The name that a hub's certificate is for.
pub fn server_name(hub: &str) -> String {
    format!("{hub}.remotectl")
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", BASE64.encode(json))
    }
}

/// Masks the token.
impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pointer({} at {:?})", self.hub, self.addresses)
    }
}

impl FromStr for Pointer {
    type Err = PointerError;
    fn from_str(text: &str) -> Result<Self, PointerError> {
        let error = |why: &str| PointerError(why.to_owned());
        let encoded = text.trim().strip_prefix(PREFIX).ok_or_else(|| error("it does not begin with `rctl1.`"))?;
        let json = BASE64.decode(encoded).map_err(|_| error("it is cut or mistyped (not base64url)"))?;
        let pointer: Self =
            serde_json::from_slice(&json).map_err(|cause| PointerError(format!("it is cut or mistyped ({cause})")))?;
        if pointer.addresses.is_empty() {
            return Err(error("it names no address"));
        }
        if Digest::parse(pointer.fingerprint.as_str()).is_none() {
            return Err(error("its fingerprint is not a SHA-256"));
        }
        Ok(pointer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_strings_come_back_and_cut_ones_say_so() {
        let pointer = Pointer {
            addresses: vec!["10.0.0.5:8443".into()],
            hub: "h1".into(),
            fingerprint: Digest::of(b"ca"),
            key: super::super::keys::SigningKey::make().0.public(),
            recovery: Some(super::super::keys::SigningKey::make().0.public()),
            epoch: 7,
            token: Some("secret".into()),
        };
        let text = pointer.to_string();
        assert_eq!(text.parse::<Pointer>().unwrap(), pointer);
        assert!(!format!("{pointer:?}").contains("secret"));
        for bad in ["", "hello", "rctl1.", "rctl1.!!", &text[..text.len() - 9]] {
            assert!(bad.parse::<Pointer>().unwrap_err().to_string().starts_with("that is not a join string"), "{bad}");
        }
    }
}
