//! The agents as the hub knows them now: their keys, and when they were last heard of. Last-seen lives in memory only.

use crate::{
    link::{
        OFFLINE_AFTER,
        jwt::{self, Bound, JwtError},
        keys::PublicKey,
    },
    model::{Target, facts::Facts, hold::Hold},
    store::AgentRecord,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// A clock that went back by more than so many seconds was set anew.
const SET_BACK: i64 = 5;
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
    /// Since when it is of this generation, or the hub's start, in seconds since the epoch.
    pub since: i64,
}

impl Agent {
    /// Whether it is listened to, and polled lately.
    pub fn online(&self, now: i64) -> bool {
        // The clock may have been set back since.
        self.record.hold.is_none() && (now - self.last_seen).abs() <= OFFLINE_AFTER
    }

    /// `online`, `offline`, `locked` or `quarantined`.
    pub fn status(&self, now: i64) -> &'static str {
        match &self.record.hold {
            Some(hold) => hold.kind.as_str(),
            None if self.online(now) => "online",
            None => "offline",
        }
    }
}

/// Why a request is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    Generation {
        /// Whose.
        agent: String,
        /// Which it claims.
        claimed: u64,
    },
    /// It is who it says, and is not listened to.
    #[error("this agent is {0}")]
    Held(Hold),
}

/// Everybody.
pub struct Roster {
    hub: String,
    since: AtomicI64,
    /// The latest that it has ever been.
    latest: AtomicI64,
    agents: RwLock<HashMap<String, Agent>>,
    /// Who looks after what: thousands of targets are not looked for among thousands of agents.
    places: RwLock<HashMap<Target, String>>,
    /// Those on record at the hub's start that have not been heard of since.
    expected: RwLock<HashSet<String>>,
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
        let listened_to = records.iter().filter(|record| record.hold.is_none());
        let roster = Self {
            hub,
            since: AtomicI64::new(since),
            latest: AtomicI64::new(since),
            agents: RwLock::default(),
            places: RwLock::default(),
            expected: RwLock::new(listened_to.map(|record| record.id.clone()).collect()),
            used: Mutex::default(),
        };
        for record in records {
            roster.insert(record, since);
        }
        roster
    }

    /// Adds an agent in the place of any other for its target; the ids of those others, which are no longer known.
    pub fn insert(&self, record: AgentRecord, since: i64) -> Vec<String> {
        let Ok(key) = PublicKey::try_from(record.public_key.clone()) else {
            tracing::error!(agent = record.id, "the stored key does not read");
            return Vec::new();
        };
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let before = places.insert(record.target.clone(), record.id.clone());
        let displaced = before.filter(|id| agents.remove(id).is_some()).into_iter().collect();
        agents.insert(record.id.clone(), Agent { record, key, last_seen: 0, since });
        displaced
    }

    /// Keeps another record of an agent that is known: what was heard of it meanwhile stays.
    pub fn update(&self, record: AgentRecord) {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get_mut(&record.id) {
            let AgentRecord { version, facts, .. } = std::mem::replace(&mut agent.record, record);
            (agent.record.version, agent.record.facts) = (version, facts);
        }
    }

    /// Forgets an agent.
    pub fn remove(&self, id: &str) {
        let Some(agent) = self.agents.write().unwrap_or_else(PoisonError::into_inner).remove(id) else { return };
        self.expected.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        if places.get(&agent.record.target).is_some_and(|there| there == id) {
            places.remove(&agent.record.target);
        }
    }

    /// The agent of that id.
    pub fn get(&self, id: &str) -> Option<Agent> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Whether that agent is known and not held.
    pub fn listens_to(&self, id: &str) -> bool {
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        agents.get(id).is_some_and(|agent| agent.record.hold.is_none())
    }

    /// The agent that looks after a target.
    pub fn of_target(&self, target: &Target) -> Option<Agent> {
        let id = self.places.read().unwrap_or_else(PoisonError::into_inner).get(target).cloned()?;
        self.get(&id)
    }

    /// Whether this agent, or any where none is named, was on record at the hub's start and has not been heard of since.
    pub fn expects(&self, id: Option<&str>) -> bool {
        let expected = self.expected.read().unwrap_or_else(PoisonError::into_inner);
        id.map_or(!expected.is_empty(), |id| expected.contains(id))
    }

    /// How long it is until every agent that runs should have been heard of since the hub's start.
    pub fn all_heard_in(&self, now: i64) -> Duration {
        let left = (self.since.load(Ordering::Relaxed) + OFFLINE_AFTER - now).clamp(0, OFFLINE_AFTER);
        Duration::from_secs(left.unsigned_abs())
    }

    /// From when on tokens count. Where the clock was set back, from then on: those of after the hub's start would count for
    /// none until that has passed once more. Those that were used stay used.
    fn since(&self, now: i64) -> i64 {
        let latest = self.latest.fetch_max(now, Ordering::Relaxed);
        if now + SET_BACK < latest {
            tracing::warn!(now, latest, "the clock was set back");
            self.latest.store(now, Ordering::Relaxed);
            self.since.fetch_min(now, Ordering::Relaxed);
        }
        self.since.load(Ordering::Relaxed)
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
            return Err(AuthError::Generation { agent: agent.record.id, claimed: claims.generation });
        }
        match &agent.record.hold {
            Some(hold) => Err(AuthError::Held(hold.clone())),
            // Who asks matters, not on what machine: ten thousand held polls would each hold a copy of that.
            None => Ok(Agent { record: AgentRecord { facts: None, ..agent.record }, ..agent }),
        }
    }

    /// Believes a request by a key that is not known yet (joining), once.
    pub fn verify(&self, token: &str, key: &PublicKey, now: i64, bound: Bound) -> Result<jwt::Claims, AuthError> {
        let claims = jwt::verify(token, key, &self.hub, now, self.since(now), bound)?;
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

    /// Notes that an agent was heard of; whether it had been offline, or another version.
    pub fn seen(&self, id: &str, version: &str, now: i64) -> bool {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        let Some(agent) = agents.get_mut(id) else { return false };
        let was_offline = !agent.online(now);
        if was_offline {
            self.expected.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        }
        agent.last_seen = now;
        let was_another = agent.record.version != version;
        if was_another {
            version.clone_into(&mut agent.record.version);
        }
        was_offline || was_another
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
            hold: None,
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
        assert_eq!(
            roster.authenticate(&old, 1000, BOUND).unwrap_err(),
            AuthError::Generation { agent: key.public().agent_id(), claimed: 0 }
        );
        let again = Roster::new(vec![record(&key, Target::ct(101))], "h".into(), 1000);
        assert_eq!(
            again.authenticate(&token, 1000, BOUND).unwrap_err(),
            JwtError::Time.into(),
            "restarted in that second"
        );
        let stranger = jwt::sign(&SigningKey::make().0, "h", 1, 1000, BOUND);
        assert_eq!(roster.authenticate(&stranger, 1000, BOUND).unwrap_err(), AuthError::Stranger);
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out_and_brings_no_token_back() {
        let (key, _) = SigningKey::make();
        let roster = Roster::new(vec![record(&key, Target::ct(101))], "h".into(), 100_000);
        let used = jwt::sign(&key, "h", 1, 100_001, BOUND);
        assert!(roster.authenticate(&used, 100_001, BOUND).is_ok());
        let back = |at| jwt::sign(&key, "h", 1, at, BOUND);
        assert_eq!(
            roster.authenticate(&back(50_000), 50_000, BOUND).unwrap_err(),
            JwtError::Time.into(),
            "of that second"
        );
        assert!(roster.authenticate(&back(50_001), 50_001, BOUND).is_ok());
        assert_eq!(roster.authenticate(&used, 50_002, BOUND).unwrap_err(), JwtError::Time.into(), "from the future");
        assert_eq!(roster.authenticate(&used, 100_001, BOUND).unwrap_err(), AuthError::Replayed, "used then");
        assert!(Agent { last_seen: 100_001, ..roster.get(&key.public().agent_id()).unwrap() }.online(100_002));
        assert!(!Agent { last_seen: 100_001, ..roster.get(&key.public().agent_id()).unwrap() }.online(50_000));
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
