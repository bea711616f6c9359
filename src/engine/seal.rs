//! Rows that say who may do what, or that something was begun, carry the hub's signature. The key is a file outside the
//! database: whoever can write rows without it lets nobody in and sets nothing going.

use super::Identity;
use crate::{
    link::keys::PublicKey,
    model::{Target, digest::Digest},
    store::AgentRecord,
};

/// Opens what is signed, so that no seal can be taken for another thing that the key signs (envelopes are JSON).
const DOMAIN: &str = "remotectl row";

/// A row with all that its seal vouches for.
pub enum Row<'a> {
    /// Somebody with this token has this role.
    Operator {
        /// Their name.
        name: &'a str,
        /// `admin`, `operator` or `viewer`.
        role: &'a str,
        /// The token's hash.
        token: &'a Digest,
        /// Until when it is good, in seconds since the epoch.
        expires: Option<i64>,
    },
    /// Whoever has this token may join once.
    JoinToken {
        /// The token's hash.
        hash: &'a Digest,
        /// As what.
        role: &'a str,
        /// Looking after what; empty where that is open.
        target: &'a str,
        /// Until when, in seconds since the epoch.
        expires: i64,
    },
    /// Whoever has this key is that agent.
    Agent(&'a AgentRecord),
    /// An operator has said yes to this host key.
    HostKey {
        /// Whose.
        target: &'a Target,
        /// `SHA256:…`.
        fingerprint: &'a str,
    },
    /// This plan was checked against its approval, and begun.
    Begun {
        /// The plan's id.
        plan: &'a str,
        /// Its digest.
        digest: &'a Digest,
        /// Who said yes.
        by: &'a str,
    },
}

impl Row<'_> {
    /// Every part with its length before it: no two rows have the same bytes.
    fn bytes(&self) -> Vec<u8> {
        let parts: Vec<String> = match self {
            Self::Operator { name, role, token, expires } => {
                let parts = ["operator", *name, *role, token.as_str()].map(str::to_owned);
                parts.into_iter().chain(expires.map(|expires| expires.to_string())).collect()
            }
            Self::JoinToken { hash, role, target, expires } => {
                ["join-token", hash.as_str(), *role, *target, &expires.to_string()].map(str::to_owned).into()
            }
            Self::Agent(AgentRecord { id, public_key, role, target, generation, joined, hold, .. }) => {
                let (target, generation) = (target.to_string(), generation.to_string());
                let parts = ["agent", id, public_key, role, &target, &generation, joined];
                let hold = hold.iter().map(|hold| hold.kind.as_str());
                parts.into_iter().chain(hold).map(str::to_owned).collect()
            }
            Self::HostKey { target, fingerprint } => {
                ["host-key", &target.to_string(), *fingerprint].map(str::to_owned).into()
            }
            Self::Begun { plan, digest, by } => ["begun", *plan, digest.as_str(), *by].map(str::to_owned).into(),
        };
        let mut bytes = Vec::new();
        for part in std::iter::once(DOMAIN).chain(parts.iter().map(String::as_str)) {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }

    /// Whether it is as the hub with this key has sealed it.
    pub fn sealed_by(&self, hub: &PublicKey, seal: &str) -> bool {
        hub.verifies(&self.bytes(), seal)
    }
}

impl Identity {
    /// The seal of a row.
    pub fn seal(&self, row: &Row) -> String {
        self.key.sign(&row.bytes())
    }

    /// Whether a row is as this hub has sealed it.
    pub fn sealed(&self, row: &Row, seal: &str) -> bool {
        row.sealed_by(&self.key.public(), seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{join::Pointer, keys::SigningKey};
    use std::sync::Arc;

    #[test]
    fn a_seal_is_good_for_its_row_alone() {
        let key = Arc::new(SigningKey::make().0);
        let pointer = Pointer {
            addresses: vec!["127.0.0.1:1".into()],
            hub: "h".into(),
            fingerprint: Digest::of(b"ca"),
            key: key.public(),
            recovery: None,
            epoch: 1,
            token: None,
        };
        let identity = Identity { pointer, epoch: 1, key, announcement: None };
        let token = Digest::of(b"token");
        let viewer = Row::Operator { name: "ann", role: "viewer", token: &token, expires: None };
        let seal = identity.seal(&viewer);
        assert!(identity.sealed(&viewer, &seal));
        for other in [
            Row::Operator { name: "ann", role: "admin", token: &token, expires: None },
            Row::Operator { name: "annv", role: "iewer", token: &token, expires: None },
            Row::Operator { name: "ann", role: "viewer", token: &token, expires: Some(9) },
            Row::JoinToken { hash: &token, role: "viewer", target: "ann", expires: 0 },
            Row::Begun { plan: "ann", digest: &token, by: "viewer" },
        ] {
            assert!(!identity.sealed(&other, &seal));
        }
        assert!(!identity.sealed(&viewer, ""));
    }
}
