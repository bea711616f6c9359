//! Sealing with a symmetric key: without it what is sealed can neither be read nor changed, and it counts only together with
//! what it was sealed about. ChaCha20-Poly1305 with a random nonce before the ciphertext.

use super::{
    files::{self, FileError},
    random,
};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::path::{Path, PathBuf};

/// The length of a key in bytes.
const LENGTH: usize = 32;

/// A key file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AeadKeyError {
    /// It could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no key.
    #[error("{} is no key: a key has {LENGTH} bytes", .0.display())]
    Malformed(PathBuf),
}

/// A key.
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// That key.
    pub fn new(bytes: &[u8; LENGTH]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("a key of ChaCha20-Poly1305 has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// The key in a file; makes it (mode 0600) where there is none.
    pub fn load_or_make(path: &Path) -> Result<Self, AeadKeyError> {
        if !path.exists() {
            files::write_atomic(path, &random::bytes::<LENGTH>(), 0o600)?;
        }
        let bytes: [u8; LENGTH] =
            files::read(path)?.try_into().map_err(|_| AeadKeyError::Malformed(path.to_owned()))?;
        Ok(Self::new(&bytes))
    }

    /// Seals a text; `about` is not in it, and has to be the same to open it.
    pub fn seal(&self, about: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut sealed = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut sealed)
            .expect("what is sealed is far below the cipher's limit");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what was sealed; `None` for another key, other bytes, or another `about`.
    pub fn open(&self, about: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut rest = rest.to_vec();
        let plain = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(about), &mut rest).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn only_the_key_opens_and_only_what_it_was_about() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = AeadKey::load_or_make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = key.seal(b"about", b"plain");
        let again = AeadKey::load_or_make(&path).unwrap();
        assert_eq!(again.open(b"about", &sealed).as_deref(), Some(&b"plain"[..]));
        assert_ne!(key.seal(b"about", b"plain"), sealed, "never the same twice");
        assert_eq!(key.open(b"another", &sealed), None);
        assert_eq!(AeadKey::new(&[7; LENGTH]).open(b"about", &sealed), None);
        for place in 0..sealed.len() {
            let mut other = sealed.clone();
            other[place] ^= 1;
            assert_eq!(key.open(b"about", &other), None, "{place}");
            assert_eq!(key.open(b"about", &sealed[..place]), None, "{place}");
        }
        files::write_atomic(&path, b"short", 0o600).unwrap();
        assert!(matches!(AeadKey::load_or_make(&path), Err(AeadKeyError::Malformed(_))));
    }
}
