//! What a hub says of itself that its agents believe by the recovery key alone: that it was restored from a backup and is in
//! a new epoch, or that its authority and the key that signs its commands are others now. Whoever has a copy of the hub, and
//! not the recovery key, can't make the agents forget what they know.

use super::{
    envelope::{Party, Signed},
    keys::{PublicKey, SigningKey},
};
use crate::model::digest::Digest;
use serde::{Deserialize, Serialize};

/// A hub's word on itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Which hub.
    pub hub: String,
    /// Its epoch from now on.
    pub epoch: u64,
    /// The key that signs its commands from now on.
    pub key: PublicKey,
    /// SHA-256 of its CA's certificate from now on.
    pub fingerprint: Digest,
}

/// Why an announcement changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unbelieved {
    /// This agent has joined without learning the recovery key.
    #[error("no recovery key is pinned here")]
    NoKey,
    /// It is signed by something else.
    #[error("it is not signed by the recovery key")]
    Signature,
    /// It is no announcement of this hub.
    #[error("it is not of this agent's hub")]
    Other,
}

impl Announcement {
    /// Signs it; these very bytes are transported.
    pub fn sign(&self, recovery: &SigningKey) -> Signed {
        let payload = serde_json::to_string(self).expect("an announcement is made of strings and numbers");
        let signature = recovery.sign(payload.as_bytes());
        Signed { payload, signature }
    }

    /// What it says, if the recovery key with this public half has signed it for this hub.
    pub fn open(signed: &Signed, recovery: &PublicKey, hub: &str) -> Result<Self, Unbelieved> {
        if !recovery.verifies(signed.payload.as_bytes(), &signed.signature) {
            return Err(Unbelieved::Signature);
        }
        let read: Option<Self> = serde_json::from_str(&signed.payload).ok();
        read.filter(|announcement| announcement.hub == hub).ok_or(Unbelieved::Other)
    }
}

impl Party {
    /// Follows an announcement. `None` where it is of this epoch or of one before: an old one leads nobody back.
    pub fn follow(&self, signed: &Signed) -> Result<Option<(Self, Announcement)>, Unbelieved> {
        let recovery = self.recovery.ok_or(Unbelieved::NoKey)?;
        let announced = Announcement::open(signed, &recovery, &self.hub)?;
        if announced.epoch <= self.epoch {
            return Ok(None);
        }
        let former = if announced.key == self.key { self.former } else { Some(self.key) };
        let party = Self { key: announced.key, former, epoch: announced.epoch, ..self.clone() };
        Ok(Some((party, announced)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_recovery_key_leads_on_and_nothing_leads_back() {
        let [recovery, command, other] = [(); 3].map(|()| SigningKey::make().0);
        let party = Party {
            hub: "h".into(),
            key: command.public(),
            former: None,
            recovery: Some(recovery.public()),
            epoch: 5,
            agent: "a".into(),
            generation: 1,
        };
        let announce = |hub: &str, epoch, key: &SigningKey| Announcement {
            hub: hub.into(),
            epoch,
            key: key.public(),
            fingerprint: Digest::of(b"ca"),
        };
        let signed = announce("h", 6, &other).sign(&recovery);
        let (after, announced) = party.follow(&signed).unwrap().unwrap();
        assert_eq!((after.epoch, after.key, after.former), (6, other.public(), Some(command.public())));
        assert_eq!(announced.fingerprint, Digest::of(b"ca"));
        assert_eq!(after.follow(&signed), Ok(None), "heard again");
        assert_eq!(after.follow(&announce("h", 5, &command).sign(&recovery)), Ok(None), "an old one");
        let unchanged = party.follow(&announce("h", 6, &command).sign(&recovery)).unwrap().unwrap().0;
        assert_eq!((unchanged.key, unchanged.former), (command.public(), None));
        // The command key of a hub that was copied is not enough.
        assert_eq!(party.follow(&announce("h", 6, &command).sign(&command)), Err(Unbelieved::Signature));
        assert_eq!(party.follow(&announce("i", 6, &command).sign(&recovery)), Err(Unbelieved::Other));
        let none = Party { recovery: None, ..party };
        assert_eq!(none.follow(&signed), Err(Unbelieved::NoKey));
    }
}
