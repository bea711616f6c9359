//! The agents as the hub knows them now: their keys, and when they were last heard of. Last-seen lives in memory only.

use crate::{
    link::{
        OFFLINE_AFTER,
        jwt::{self, Bound, JwtError},
        keys::PublicKey,
    },
    model::{Target, facts::Facts},
    store::AgentRecord,
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

/// Tokens are swept out of the memory of used ones when there are so many.
const SWEEP_AT: usize = 4096;

/// An agent with what is known of it now.
#[derive(Debug, Clone)]
pub struct Agent {
    /// As on record.
    pub record: AgentRecord,
    /// Its key.
    pub key: PublicKey,
    /// When it was last heard of, in seconds since the epoch; 0 for not since the hub's start.
    pub last_seen: i64,
}

impl Agent {
    /// Whether it polled lately.
    pub fn online(&self, now: i64) -> bool {
        now - self.last_seen <= OFFLINE_AFTER
    }
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The token itself.
    #[error("{0}")]
    Token(#[from] JwtError),
    /// No such agent.
    #[error("this agent is not known here")]
    Stranger,
    /// Used before.
    #[error("this token was used before")]
    Replayed,
    /// Another generation than the one on record.
    #[error("this agent's generation is not the current one")]
    Generation,
}

/// Everybody.
pub struct Roster {
    hub: String,
    since: i64,
    agents: RwLock<HashMap<String, Agent>>,
    used: Mutex<Used>,
}

/// Tokens that were used, until they have expired.
#[derive(Default)]
struct Used {
    tokens: HashMap<String, i64>,
    sweep_at: usize,
}

impl Roster {
    /// From what is on record. Tokens made before `since` do not count.
    pub fn new(records: Vec<AgentRecord>, hub: String, since: i64) -> Self {
        let roster = Self { hub, since, agents: RwLock::default(), used: Mutex::default() };
        for record in records {
            roster.insert(record, 0);
        }
        roster
    }

    /// Adds an agent in the place of any other for its target; the ids of those others, which are no longer known.
    pub fn insert(&self, record: AgentRecord, now: i64) -> Vec<String> {
        let Ok(key) = PublicKey::try_from(record.public_key.clone()) else {
            tracing::error!(agent = record.id, "the stored key does not read");
            return Vec::new();
        };
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        let displaced = agents.extract_if(|_, agent| agent.record.target == record.target).map(|(id, _)| id).collect();
        agents.insert(record.id.clone(), Agent { record, key, last_seen: now });
        displaced
    }

    /// Forgets an agent.
    pub fn remove(&self, id: &str) {
        self.agents.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The agent of that id.
    pub fn get(&self, id: &str) -> Option<Agent> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The agent that looks after a target.
    pub fn of_target(&self, target: &Target) -> Option<Agent> {
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        agents.values().find(|agent| agent.record.target == *target).cloned()
    }

    /// All agents, by target.
    pub fn all(&self) -> Vec<Agent> {
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Agent> = agents.values().cloned().collect();
        all.sort_by(|a, b| a.record.target.cmp(&b.record.target));
        all
    }

    /// Whether a token is signed by an agent that is known: worth reading its request's body. It is not yet believed.
    pub fn worth_reading(&self, token: &str) -> Result<(), AuthError> {
        let agent = self.get(&jwt::claimed_issuer(token)?).ok_or(AuthError::Stranger)?;
        if jwt::signed_by(token, &agent.key) { Ok(()) } else { Err(JwtError::Signature.into()) }
    }

    /// Believes a request of an agent, once.
    pub fn authenticate(&self, token: &str, now: i64, bound: Bound) -> Result<Agent, AuthError> {
        let agent = self.get(&jwt::claimed_issuer(token)?).ok_or(AuthError::Stranger)?;
        let claims = self.verify(token, &agent.key, now, bound)?;
        if claims.generation != agent.record.generation {
            return Err(AuthError::Generation);
        }
        Ok(agent)
    }

    /// Believes a request by a key that is not known yet (joining), once.
    pub fn verify(&self, token: &str, key: &PublicKey, now: i64, bound: Bound) -> Result<jwt::Claims, AuthError> {
        let claims = jwt::verify(token, key, &self.hub, now, self.since, bound)?;
        let mut used = self.used();
        if used.tokens.len() >= used.sweep_at.max(SWEEP_AT) {
            used.tokens.retain(|_, until| *until >= now);
            // Sweeping costs as much as there is: the more is alive, the rarer.
            used.sweep_at = 2 * used.tokens.len();
        }
        if used.tokens.insert(format!("{} {}", claims.iss, claims.jti), claims.exp).is_some() {
            return Err(AuthError::Replayed);
        }
        Ok(claims)
    }

    /// Notes that an agent was heard of; whether it had been offline.
    pub fn seen(&self, id: &str, version: &str, now: i64) -> bool {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        let Some(agent) = agents.get_mut(id) else { return false };
        let was_offline = !agent.online(now);
        agent.last_seen = now;
        if agent.record.version != version {
            version.clone_into(&mut agent.record.version);
        }
        was_offline
    }

    /// Keeps what an agent has told of its machine; whether that is news.
    pub fn set_facts(&self, id: &str, facts: &Facts) -> bool {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        let Some(agent) = agents.get_mut(id) else { return false };
        let news = agent.record.facts.as_ref() != Some(facts);
        if news {
            agent.record.facts = Some(facts.clone());
        }
        news
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::keys::SigningKey;

    const BOUND: Bound = Bound { method: "POST", path: "/agent/v1/poll", body: b"{}" };

    fn record(key: &SigningKey, target: Target) -> AgentRecord {
        AgentRecord {
            id: key.public().agent_id(),
            public_key: key.public().into(),
            role: "agent".into(),
            target,
            version: "1".into(),
            generation: 1,
            joined: "token".into(),
            joined_at: 0,
            facts: None,
            seal: String::new(),
        }
    }

    #[test]
    fn a_token_counts_once_for_a_known_agent_of_this_generation() {
        let (key, _) = SigningKey::make();
        let roster = Roster::new(vec![record(&key, Target::ct(101))], "h".into(), 900);
        let token = jwt::sign(&key, "h", 1, 1000, BOUND);
        assert!(roster.authenticate(&token, 1000, BOUND).is_ok());
        assert_eq!(roster.authenticate(&token, 1000, BOUND).unwrap_err(), AuthError::Replayed);
        let old = jwt::sign(&key, "h", 0, 1000, BOUND);
        assert_eq!(roster.authenticate(&old, 1000, BOUND).unwrap_err(), AuthError::Generation);
        let stranger = jwt::sign(&SigningKey::make().0, "h", 1, 1000, BOUND);
        assert_eq!(roster.authenticate(&stranger, 1000, BOUND).unwrap_err(), AuthError::Stranger);
    }

    #[test]
    fn a_new_agent_takes_the_place_of_the_one_before() {
        let ((first, _), (second, _)) = (SigningKey::make(), SigningKey::make());
        let roster = Roster::new(vec![record(&first, Target::ct(101))], "h".into(), 0);
        let displaced = roster.insert(record(&second, Target::ct(101)), 5);
        assert_eq!(displaced, [first.public().agent_id()]);
        assert_eq!(roster.all().len(), 1);
        assert_eq!(roster.of_target(&Target::ct(101)).unwrap().record.id, second.public().agent_id());
    }
}
