//! The JWT (RFC 7519, EdDSA by RFC 8037) that every request of an agent carries. There is one header, byte for byte, so
//! there is no algorithm to choose, and every claim is required. It is bound to one method, path and body.

use super::{
    JWT_LIFE,
    keys::{PublicKey, SigningKey},
};
use crate::{model::digest::Digest, sys::random};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};

/// The only header that there is.
const HEADER: &str = r#"{"alg":"EdDSA","typ":"remotectl-agent+jwt"}"#;
/// How far a token may be ahead of the hub's clock, in seconds.
const SKEW: i64 = 5;
/// No token of ours is longer.
const LONGEST: usize = 2048;

/// What a token claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The agent's id.
    pub iss: String,
    /// The agent's id again.
    pub sub: String,
    /// The hub's id.
    pub aud: String,
    /// Used once.
    pub jti: String,
    /// Made at, in seconds since the epoch.
    pub iat: i64,
    /// Good until, at most 60 s later.
    pub exp: i64,
    /// The HTTP method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// SHA-256 of the transported body.
    pub body: Digest,
    /// The agent's generation.
    pub generation: u64,
}

/// The request that a token is for.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The path with its query.
    pub path: &'a str,
    /// The transported body.
    pub body: &'a [u8],
}

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is no token of ours.
    #[error("malformed token")]
    Malformed,
    /// The signature is not the agent's.
    #[error("wrong signature")]
    Signature,
    /// Issuer or subject is not the agent, or the audience is not this hub.
    #[error("not for this hub or not of this agent")]
    Party,
    /// Its times don't fit the hub's clock.
    #[error("expired, or from a clock that is wrong")]
    Time,
    /// It is for another request.
    #[error("made for another request")]
    Bound,
}

/// Makes a token.
pub fn sign(key: &SigningKey, hub: &str, generation: u64, now: i64, bound: Bound) -> String {
    let agent = key.public().agent_id();
    let claims = Claims {
        iss: agent.clone(),
        sub: agent,
        aud: hub.to_owned(),
        jti: random::id(),
        iat: now,
        exp: now + JWT_LIFE,
        method: bound.method.to_owned(),
        path: bound.path.to_owned(),
        body: Digest::of(bound.body),
        generation,
    };
    let claims = serde_json::to_vec(&claims).expect("claims are strings and numbers");
    let signed = format!("{}.{}", BASE64.encode(HEADER), BASE64.encode(claims));
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{signature}")
}

/// Who a token claims to be of, before anything is verified: only good for looking up the key.
pub fn claimed_issuer(token: &str) -> Result<String, JwtError> {
    Ok(parse(token)?.0.iss)
}

/// Whether a token's signature is this key's, whatever it claims.
pub fn signed_by(token: &str, key: &PublicKey) -> bool {
    parse(token).is_ok_and(|(_, signed, signature)| key.verifies(signed.as_bytes(), signature))
}

/// Believes a token, or says why not. `since` is the second of the hub's start: nothing from it or before counts, because the hub
/// no longer knows what was used then. Whether `jti` was used before is for the caller to say.
pub fn verify(token: &str, key: &PublicKey, hub: &str, now: i64, since: i64, bound: Bound) -> Result<Claims, JwtError> {
    let (claims, signed, signature) = parse(token)?;
    if !key.verifies(signed.as_bytes(), signature) {
        return Err(JwtError::Signature);
    }
    let agent = key.agent_id();
    if claims.iss != agent || claims.sub != agent || claims.aud != hub {
        return Err(JwtError::Party);
    }
    let life = claims.exp.checked_sub(claims.iat).ok_or(JwtError::Time)?;
    if !(1..=JWT_LIFE).contains(&life) || claims.iat > now + SKEW || claims.exp < now || claims.iat <= since {
        return Err(JwtError::Time);
    }
    if claims.method != bound.method || claims.path != bound.path || claims.body != Digest::of(bound.body) {
        return Err(JwtError::Bound);
    }
    Ok(claims)
}

fn parse(token: &str) -> Result<(Claims, &str, &str), JwtError> {
    let malformed = JwtError::Malformed;
    if token.len() > LONGEST {
        return Err(malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(malformed)?;
    if header != BASE64.encode(HEADER) {
        return Err(malformed);
    }
    let claims = BASE64.decode(claims).map_err(|_| malformed)?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| malformed)?;
    if claims.jti.is_empty() || claims.jti.len() > 64 {
        return Err(malformed);
    }
    Ok((claims, signed, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { method: "POST", path: "/agent/v1/poll", body: b"{}" };

    fn check(token: &str, key: &SigningKey, now: i64, bound: Bound) -> Result<Claims, JwtError> {
        verify(token, &key.public(), "hub1", now, 900, bound)
    }

    #[test]
    fn a_token_is_for_one_request_hub_and_time() {
        let (key, _) = SigningKey::make();
        let token = sign(&key, "hub1", 3, 1000, BOUND);
        assert_eq!(check(&token, &key, 1000, BOUND).unwrap().generation, 3);
        assert_eq!(check(&token, &key, 1061, BOUND), Err(JwtError::Time));
        assert_eq!(check(&token, &key, 900, BOUND), Err(JwtError::Time));
        for since in [1000, 1001] {
            assert_eq!(verify(&token, &key.public(), "hub1", 1000, since, BOUND), Err(JwtError::Time));
        }
        assert_eq!(verify(&token, &key.public(), "hub2", 1000, 900, BOUND), Err(JwtError::Party));
        for bound in [
            Bound { method: "GET", ..BOUND },
            Bound { path: "/agent/v1/poll/", ..BOUND },
            Bound { body: b"{} ", ..BOUND },
        ] {
            assert_eq!(check(&token, &key, 1000, bound), Err(JwtError::Bound));
        }
    }

    #[test]
    fn other_algorithms_and_shapes_are_malformed() {
        let (key, _) = SigningKey::make();
        let token = sign(&key, "hub1", 1, 1000, BOUND);
        let mut parts: Vec<&str> = token.split('.').collect();
        let none = BASE64.encode(r#"{"alg":"none","typ":"remotectl-agent+jwt"}"#);
        parts[0] = &none;
        assert_eq!(check(&parts.join("."), &key, 1000, BOUND), Err(JwtError::Malformed));
        for text in ["", ".", "..", "a.b.c", &format!("{token}.x"), &"x".repeat(5000)] {
            assert_eq!(check(text, &key, 1000, BOUND), Err(JwtError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_strangers_signature_does_not_count() {
        let ((key, _), (stranger, _)) = (SigningKey::make(), SigningKey::make());
        let token = sign(&stranger, "hub1", 1, 1000, BOUND);
        assert_eq!(check(&token, &key, 1000, BOUND), Err(JwtError::Signature));
    }
}
