//! Text that must not be printed: tokens, passwords, private keys.

use serde::{Deserialize, Serializer};
use std::fmt;

/// A secret text. Its `Debug` masks it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that has to send or store it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Writes the text itself, for `serialize_with`: a secret has no `Serialize`, so that each place that sends one says so.
pub fn revealed<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.reveal())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
