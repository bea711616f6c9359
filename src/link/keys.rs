//! Ed25519 keys of agents and of the hub, and the ids made of them.

use crate::{
    model::digest::Digest,
    sys::files::{self, FileError},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A key file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no Ed25519 key.
    #[error("{} is not an Ed25519 key in PKCS#8 form", .0.display())]
    Malformed(PathBuf),
}

/// Where the seed is in the PKCS#8 form that ring makes (RFC 8410: version, algorithm, and two octet strings around it).
const SEED: std::ops::Range<usize> = 16..48;

/// A signing key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
}

impl SigningKey {
    /// A new one, and its PKCS#8 bytes to store.
    pub fn make() -> (Self, Vec<u8>) {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("the operating system has randomness");
        let key = Self::of(document.as_ref()).expect("a key just made reads back");
        (key, document.as_ref().to_vec())
    }

    /// The key in a file; makes it (mode 0600) where there is none.
    pub fn load_or_make(path: &Path) -> Result<Self, KeyError> {
        if path.exists() {
            return Self::load(path);
        }
        let (key, pkcs8) = Self::make();
        files::write_atomic(path, &pkcs8, 0o600)?;
        Ok(key)
    }

    /// The key in a file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Self::of(&files::read(path)?).ok_or_else(|| KeyError::Malformed(path.to_owned()))
    }

    fn of(pkcs8: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
        Some(Self { pair, seed: pkcs8.get(SEED)?.try_into().ok()? })
    }

    /// What the key is made of.
    pub(super) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The key whose PKCS#8 bytes are written as base64url without padding; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::of(&BASE64.decode(text.trim()).ok()?)
    }

    /// Signs bytes; base64url without padding.
    pub fn sign(&self, bytes: &[u8]) -> String {
        BASE64.encode(self.pair.sign(bytes))
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes"))
    }
}

/// A public key, as base64url text in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether the signature (base64url) is this key's over the bytes.
    pub fn verifies(&self, bytes: &[u8], signature: &str) -> bool {
        BASE64
            .decode(signature)
            .is_ok_and(|signature| UnparsedPublicKey::new(&ED25519, &self.0).verify(bytes, &signature).is_ok())
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The agent that has this key: `a-` and the first 32 hexadecimal digits of the key's SHA-256.
    pub fn agent_id(&self) -> String {
        format!("a-{}", &Digest::of(&self.0).as_str()[..32])
    }
}

impl TryFrom<String> for PublicKey {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = BASE64.decode(text).map_err(|_| "a public key is base64url without padding")?;
        bytes.try_into().map(Self).map_err(|_| "a public key has 32 bytes")
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        BASE64.encode(key.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let first = SigningKey::load_or_make(&path).unwrap().public();
        assert_eq!(SigningKey::load_or_make(&path).unwrap().public(), first);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(first.agent_id().starts_with("a-") && first.agent_id().len() == 34);
    }

    #[test]
    fn signatures_are_over_exact_bytes() {
        let (key, _) = SigningKey::make();
        let signature = key.sign(b"bytes");
        assert!(key.public().verifies(b"bytes", &signature));
        assert!(!key.public().verifies(b"byteS", &signature));
        assert!(!SigningKey::make().0.public().verifies(b"bytes", &signature));
        assert!(!key.public().verifies(b"bytes", ""));
    }
}
