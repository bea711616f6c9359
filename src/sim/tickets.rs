//! Log-in tickets and their CSRF tokens, signed with a key that lives as long as the simulated cluster. Both live two
//! hours, like the real ones.

use crate::sys::{clock::unix_seconds as now, random};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

/// Two hours.
const LIFE_SECONDS: i64 = 7_200;

pub(super) struct Tickets {
    key: hmac::Key,
}

impl Tickets {
    pub fn new() -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()) }
    }

    /// `PVE:root@pam:6B02A8A2::signature`
    pub fn ticket(&self, user: &str) -> String {
        self.signed(&format!("PVE:{user}:{:08X}", now()), "::")
    }

    /// `6B02A8A2:signature`, good for this user only.
    pub fn csrf(&self, user: &str) -> String {
        let time = format!("{:08X}", now());
        let tag = hmac::sign(&self.key, format!("{time}:{user}").as_bytes());
        format!("{time}:{}", STANDARD.encode(tag))
    }

    /// The user that a ticket is good for.
    pub fn user_of(&self, ticket: &str) -> Option<String> {
        let (plain, signature) = ticket.split_once("::")?;
        self.verify(plain, signature)?;
        let mut parts = plain.splitn(3, ':');
        let (_pve, user, time) = (parts.next()?, parts.next()?, parts.next()?);
        fresh(time)?;
        Some(user.to_owned())
    }

    /// Whether a CSRF token belongs to the user and is young enough.
    pub fn csrf_holds(&self, token: &str, user: &str) -> bool {
        let holds = || {
            let (time, signature) = token.split_once(':')?;
            self.verify(&format!("{time}:{user}"), signature)?;
            fresh(time)
        };
        holds().is_some()
    }

    fn signed(&self, plain: &str, separator: &str) -> String {
        format!("{plain}{separator}{}", STANDARD.encode(hmac::sign(&self.key, plain.as_bytes())))
    }

    fn verify(&self, plain: &str, signature: &str) -> Option<()> {
        let tag = STANDARD.decode(signature).ok()?;
        hmac::verify(&self.key, plain.as_bytes(), &tag).ok()
    }
}

fn fresh(time: &str) -> Option<()> {
    let made = i64::from_str_radix(time, 16).ok()?;
    (-300..=LIFE_SECONDS).contains(&(now() - made)).then_some(())
}
