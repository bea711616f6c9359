//! Agents that may not be who they were: clones, and guests that went back in time. What is seen of that, by the agent's own
//! words or by the hypervisor's, puts the agent into quarantine, until its node has read its key out of the guest again and
//! the hub has given it another generation: whoever else has the key is left behind with the one before.

use super::{
    Engine,
    asking::stored,
    delivery::{About, Order},
    roster::Agent,
};
use crate::{
    link::{
        OFFLINE_AFTER,
        envelope::{DeployOrder, Work},
        wire::AgentRole,
    },
    model::{
        Failure, Inventory, Op, Outcome, Target,
        digest::Digest,
        hold::{Hold, HoldKind},
        inventory::Incarnation,
        messages::{AgentRow, HoldRequest},
    },
    store::{IncarnationRecord, StoreError},
    sys::{clock, random},
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Begins the nonce of a command by which a key counts that is known already.
pub(super) const AGAIN: &str = "again-";
/// How long an attestation may take, in seconds.
const ATTEST_TIMEOUT: u64 = 300;
/// What the hypervisor tells so soon after an attestation is what it was for, in seconds.
const SETTLED_AFTER: i64 = 60;

/// Which incarnation of a guest each target is now.
pub struct Incarnations(Mutex<HashMap<Target, IncarnationRecord>>);

/// What has become of a guest since its facts were looked at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Nothing.
    None,
    /// Nothing that makes another guest of it: a network card more, say.
    Same,
    /// It is the same guest at another time.
    Back,
    /// It is another guest.
    Another,
}

impl Change {
    fn why(self) -> &'static str {
        match self {
            Self::Back => "its guest has another generation id by the hypervisor: it went back in time",
            Self::Another => "another guest has its vmid now, by hardware addresses and ids",
            Self::None | Self::Same => "",
        }
    }
}

impl Incarnations {
    /// From what is on record.
    pub fn new(stored: Vec<IncarnationRecord>) -> Self {
        Self(Mutex::new(stored.into_iter().map(|record| (record.target.clone(), record)).collect()))
    }

    /// Takes in what the hypervisor knows now: what is to be stored, and what is to be said of whose agent.
    fn take(
        &self,
        inventory: &Inventory,
        believed: impl Fn(&str) -> bool,
    ) -> (Vec<IncarnationRecord>, Vec<(Target, Change)>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut news, mut doubts) = (Vec::new(), Vec::new());
        for guest in inventory.guests.iter().filter(|guest| believed(&guest.node)) {
            let Some(found) = &guest.incarnation else { continue };
            let target = guest.target();
            let before = known.get(&target);
            let change = before.map_or(Change::Another, |before| compare(&before.facts, found));
            if change == Change::None {
                continue;
            }
            if before.is_some() && change != Change::Same {
                doubts.push((target.clone(), change));
            }
            let uuid =
                before.filter(|_| change != Change::Another).map_or_else(random::id, |before| before.uuid.clone());
            let record =
                IncarnationRecord { uuid, target: target.clone(), facts: found.clone(), since: clock::unix_seconds() };
            known.insert(target, record.clone());
            news.push(record);
        }
        (news, doubts)
    }
}

fn compare(before: &Incarnation, now: &Incarnation) -> Change {
    let differ = |before: &str, now: &str| !before.is_empty() && !now.is_empty() && before != now;
    let none_left =
        !before.macs.is_empty() && !now.macs.is_empty() && !before.macs.iter().any(|mac| now.macs.contains(mac));
    let same_board = !before.smbios.is_empty() && before.smbios == now.smbios;
    if before == now {
        Change::None
    } else if differ(&before.smbios, &now.smbios) || (none_left && !same_board) {
        Change::Another
    } else if differ(&before.generation, &now.generation) {
        Change::Back
    } else {
        Change::Same
    }
}

impl Engine {
    /// Puts an agent into quarantine: nothing is believed of it, and it is told nothing. What it has not told the end of is
    /// ended without it.
    pub(super) async fn quarantine(&self, id: &str, why: String, by: &str) -> Result<(), StoreError> {
        let _membership = self.membership.lock().await;
        let Some(agent) = self.roster.get(id) else { return Ok(()) };
        let hold = match agent.record.hold.clone() {
            Some(Hold { kind: HoldKind::Quarantined, .. } | Hold { beneath: Some(_), .. }) => return Ok(()),
            Some(lock) => Hold { beneath: Some(why), ..lock },
            None => {
                let since = clock::unix_seconds();
                Hold { kind: HoldKind::Quarantined, why, since, by: by.to_owned(), beneath: None }
            }
        };
        self.hold(&agent.record, Some(hold), "agent.quarantine", by).await?;
        self.abandon(id, "its agent is quarantined").await
    }

    /// The same for a target's agent, because an operator says so: the first half of attesting it anew.
    pub async fn doubt(&self, request: HoldRequest, operator: &str) -> Result<AgentRow, Failure> {
        let agent = self.member(&request.target)?;
        let why = if request.why.is_empty() { "to be attested anew".to_owned() } else { request.why };
        let held = self.quarantine(&agent.record.id, why, operator).await;
        held.map_err(|error| stored("quarantining the agent", &error))?;
        self.row(&request.target)
    }

    /// Somebody has the key of an agent, and speaks as a generation of it that is over. Where the agent itself was heard of
    /// lately that is its twin, who is not listened to anyway; else it may be the agent, back in time.
    pub async fn hear_former(&self, id: &str, claimed: u64) {
        let Some(agent) = self.roster.get(id).filter(|agent| claimed < agent.record.generation) else { return };
        let heard = agent.last_seen.max(agent.since);
        if clock::unix_seconds() - heard <= OFFLINE_AFTER {
            tracing::warn!(agent = id, target = %agent.record.target, claimed, "a twin of this agent speaks as a generation that is over");
            return;
        }
        let why = format!("it speaks as generation {claimed}, which is over: it went back in time, or is a clone");
        if let Err(error) = self.quarantine(id, why, "hub").await {
            tracing::error!(error = crate::model::outcome::chain(&error), agent = id, "a quarantine was not kept");
        }
    }

    /// Holds what a node tells of guests against what was known of them. A guest's own node is believed; where that has no
    /// pve-agent, any.
    pub(super) async fn bind(&self, teller: &Agent, inventory: &Inventory) -> Result<(), StoreError> {
        let believed = |node: &str| {
            let node = Target::node(node);
            teller.record.target == node || self.roster.of_target(&node).is_none()
        };
        let (news, doubts) = self.incarnations.take(inventory, believed);
        if !news.is_empty() {
            self.store.set_incarnations(news).await?;
        }
        let now = clock::unix_seconds();
        for (target, change) in doubts {
            let Some(agent) = self.roster.of_target(&target) else { continue };
            if change == Change::Another || now - agent.since > SETTLED_AFTER {
                self.quarantine(&agent.record.id, change.why().to_owned(), "hub").await?;
            }
        }
        Ok(())
    }

    /// A plan of ours has put a guest back in time: its agent is attested anew as a step of that plan.
    pub(super) async fn attest_after(
        &self,
        op: &Op,
        about: About,
        digest: Digest,
        done: Outcome,
    ) -> Result<Outcome, StoreError> {
        let back = matches!(op, Op::GuestRollback { .. } | Op::GuestRestore { newid: None, .. });
        let agent = self.roster.of_target(&about.target).filter(|agent| agent.record.role == AgentRole::Agent.as_str());
        let Some(agent) = agent.filter(|_| back && done.succeeded()) else { return Ok(done) };
        self.quarantine(&agent.record.id, format!("plan {} put its guest back in time", about.plan), "hub").await?;
        let (target, inventory) = (about.target.clone(), self.inventory());
        let help = HoldKind::Quarantined.help(&target);
        let hold = self.roster.get(&agent.record.id).and_then(|agent| agent.record.hold);
        let Some(node) = self
            .pve_agent_for(&inventory, &target)
            .filter(|_| hold.is_none_or(|hold| hold.kind == HoldKind::Quarantined))
        else {
            return Ok(done.with_help(help));
        };
        let order = Order {
            agent: node.record.id,
            generation: node.record.generation,
            about,
            digest,
            work: Work::Attest { order: self.attest_order() },
            timeout: ATTEST_TIMEOUT,
        };
        let attested = self.dispatch(order).await?;
        let summary = done.summary.clone();
        if attested.succeeded() {
            return Ok(Outcome { summary: format!("{summary}; its agent is attested anew"), ..done });
        }
        Ok(Outcome { summary: format!("{summary}; its agent stays quarantined: {}", attested.summary), ..done }
            .with_help(help))
    }

    /// What a node needs to know to vouch for an agent again, or to put one there where it finds none.
    pub(super) fn attest_order(&self) -> DeployOrder {
        DeployOrder { nonce: format!("{AGAIN}{}", random::id()), ..self.deploy_order() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(smbios: &str, generation: &str, macs: &[&str]) -> Incarnation {
        let macs = macs.iter().map(|mac| (*mac).to_owned()).collect();
        Incarnation { smbios: smbios.into(), generation: generation.into(), macs }
    }

    #[test]
    fn what_the_hypervisor_knows_tells_one_guest_from_another() {
        let before = facts("s1", "g1", &["A", "B"]);
        for (now, change) in [
            (facts("s1", "g1", &["A", "B"]), Change::None),
            (facts("s1", "g1", &["A", "B", "C"]), Change::Same),
            (facts("s1", "g1", &["C"]), Change::Same),
            (facts("s1", "g2", &["A", "B"]), Change::Back),
            (facts("s2", "g2", &["C"]), Change::Another),
            (facts("s2", "g1", &["A", "B"]), Change::Another),
        ] {
            assert_eq!(compare(&before, &now), change, "{now:?}");
        }
        let container = facts("", "", &["A", "B"]);
        assert_eq!(compare(&container, &facts("", "", &["B", "C"])), Change::Same);
        assert_eq!(compare(&container, &facts("", "", &["C"])), Change::Another);
        assert_eq!(compare(&container, &facts("", "", &[])), Change::Same);
    }

    #[test]
    fn an_incarnation_keeps_its_id_until_another_guest_has_the_vmid() {
        let mut inventory: Inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap();
        inventory.guests.truncate(1);
        let target = inventory.guests[0].target();
        let known = Incarnations::new(Vec::new());
        let mut told = |macs: &[&str], node: bool| {
            inventory.guests[0].incarnation = Some(facts("", "", macs));
            let (news, doubts) = known.take(&inventory, |_| node);
            (
                news.into_iter().next().map(|record| record.uuid),
                doubts.into_iter().map(|(target, _)| target).collect::<Vec<_>>(),
            )
        };
        let (first, doubts) = told(&["A"], true);
        assert!(first.is_some() && doubts.is_empty());
        assert_eq!(told(&["A"], true), (None, Vec::new()));
        assert_eq!(told(&["A", "B"], true), (first.clone(), Vec::new()));
        assert_eq!(told(&["C"], false), (None, Vec::new()), "a node that does not have it is not believed");
        let (second, doubts) = told(&["C"], true);
        assert!(second.is_some() && second != first);
        assert_eq!(doubts, [target]);
    }
}
