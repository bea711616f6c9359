//! What only one agent can read, sealed to the key that it is known by: an envelope lies in the hub's database and in the
//! agent's journal, and neither may hold a secret. An ephemeral X25519 key of the hub agrees with the agent's Ed25519 key in
//! its Montgomery form (as age and libsodium do it), HKDF makes a key of that, and ChaCha20-Poly1305 seals with it.

use super::keys::{PublicKey, SigningKey};
use crate::sys::aead::AeadKey;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use curve25519_dalek::{edwards::CompressedEdwardsY, montgomery::MontgomeryPoint};
use ring::{
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    digest::{SHA512, digest},
    hkdf::{HKDF_SHA256, Salt},
    rand::SystemRandom,
};
use serde::{Deserialize, Serialize};

/// What the derived key is for.
const PURPOSE: &[u8] = b"remotectl sealed v1";

/// A sealed text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The ephemeral public key, base64url.
    by: String,
    /// The text, base64url.
    text: String,
}

impl PublicKey {
    /// Seals a text to whoever has this key; it opens only with the same `about`. `None` where the key is no point of the
    /// curve, or one that everybody agrees with.
    pub fn seal(&self, about: &[u8], plain: &[u8]) -> Option<Sealed> {
        let to = CompressedEdwardsY(*self.bytes()).decompress()?.to_montgomery().to_bytes();
        let own = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).ok()?;
        let public = own.compute_public_key().ok()?;
        let by: [u8; 32] = public.as_ref().try_into().ok()?;
        // ring refuses an agreement that is all zero.
        let sealed = agree_ephemeral(own, &UnparsedPublicKey::new(&X25519, to), |shared| {
            key(shared, &by, &to).seal(about, plain)
        });
        Some(Sealed { by: BASE64.encode(by), text: BASE64.encode(sealed.ok()?) })
    }
}

impl SigningKey {
    /// Opens what was sealed to this key about that; `None` for what was not.
    pub fn open(&self, about: &[u8], sealed: &Sealed) -> Option<Vec<u8>> {
        let by: [u8; 32] = BASE64.decode(&sealed.by).ok()?.try_into().ok()?;
        let text = BASE64.decode(&sealed.text).ok()?;
        // An Ed25519 key's scalar is the first half of its seed's digest.
        let expanded = digest(&SHA512, self.seed());
        let scalar: [u8; 32] = expanded.as_ref()[..32].try_into().ok()?;
        let own = MontgomeryPoint::mul_base_clamped(scalar).to_bytes();
        let shared = MontgomeryPoint(by).mul_clamped(scalar).to_bytes();
        key(&shared, &by, &own).open(about, &text)
    }
}

fn key(shared: &[u8], by: &[u8; 32], to: &[u8; 32]) -> AeadKey {
    let salt = [&by[..], to].concat();
    let mut bytes = [0; 32];
    Salt::new(HKDF_SHA256, &salt)
        .extract(shared)
        .expand(&[PURPOSE], HKDF_SHA256)
        .and_then(|made| made.fill(&mut bytes))
        .expect("HKDF makes as many bytes as its digest has");
    AeadKey::new(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whom_it_is_sealed_to_can_open_it() {
        let (agent, other) = (SigningKey::make().0, SigningKey::make().0);
        let sealed = agent.public().seal(b"command c1", b"a password").unwrap();
        assert_eq!(agent.open(b"command c1", &sealed).as_deref(), Some(&b"a password"[..]));
        assert_eq!(agent.open(b"command c2", &sealed), None);
        assert_eq!(other.open(b"command c1", &sealed), None);
        let again = agent.public().seal(b"command c1", b"a password").unwrap();
        assert!(again.by != sealed.by && again.text != sealed.text);
        assert_eq!(agent.open(b"command c1", &Sealed { by: again.by, ..sealed.clone() }), None);
        let text = serde_json::to_string(&sealed).unwrap();
        assert!(!text.contains("password") && serde_json::from_str::<Sealed>(&text).unwrap() == sealed);
    }

    #[test]
    fn a_key_that_is_none_is_not_sealed_to() {
        // The identity: whoever knows nothing agrees with it.
        let mut identity = [0; 32];
        identity[0] = 1;
        let key = PublicKey::try_from(BASE64.encode(identity)).unwrap();
        assert_eq!(key.seal(b"", b"x"), None);
    }
}
