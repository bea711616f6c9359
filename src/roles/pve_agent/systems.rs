//! What the running containers of this node say of their operating system: Proxmox knows a distribution at most, and no
//! version. Each is asked once while it is the same guest, a few at a time.

use super::Reach;
use crate::{
    guest::transport::Exec,
    host::facts,
    model::{
        Inventory,
        inventory::{Guest, Incarnation, Os},
        target::Vmid,
        values::GuestKind,
    },
    sys::clock,
};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// How many are asked in one look at the cluster.
const AT_ONCE: usize = 3;
/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What an os-release has at most: 16 KiB.
const LIMIT: usize = 16 << 10;
/// How long an answer is believed, in seconds: a distribution is upgraded now and then.
const DAY: i64 = 86_400;
/// How long one that gave no answer is left alone, in seconds.
const HOUR: i64 = 3_600;

/// What is known of them.
#[derive(Default)]
pub(super) struct Systems(HashMap<Vmid, Heard>);

struct Heard {
    of: Option<Incarnation>,
    at: i64,
    os: Option<Os>,
}

impl Systems {
    /// Puts what is known into an inventory, after asking a few of this node's containers that have not been asked.
    pub fn fill(&mut self, inventory: &mut Inventory, node: &str, reach: &Reach) {
        let node = node.split('.').next().unwrap_or(node);
        let ours = |guest: &Guest| guest.kind == GuestKind::Ct && guest.node == node && !guest.template;
        let there: HashSet<Vmid> =
            inventory.guests.iter().filter(|guest| ours(guest)).map(|guest| guest.vmid).collect();
        self.0.retain(|vmid, _| there.contains(vmid));
        let (mut asked, now) = (0, clock::unix_seconds());
        for guest in inventory.guests.iter_mut().filter(|guest| ours(guest)) {
            let known = self.0.get(&guest.vmid).filter(|heard| heard.of == guest.incarnation);
            let holds = known.is_some_and(|heard| now - heard.at < if heard.os.is_some() { DAY } else { HOUR });
            // One that is locked is being moved, backed up or changed.
            if !holds && guest.running() && guest.lock.is_none() && asked < AT_ONCE {
                asked += 1;
                let os = ask(guest, reach);
                self.0.insert(guest.vmid, Heard { of: guest.incarnation.clone(), at: now, os });
            }
            let known = self.0.get(&guest.vmid).filter(|heard| heard.of == guest.incarnation);
            if let Some(os) = known.and_then(|heard| heard.os.clone()) {
                guest.os = os;
            }
        }
    }
}

/// Its os-release; `None` where it does not answer or has none, which is not worth a word: what Proxmox says stays.
fn ask(guest: &Guest, reach: &Reach) -> Option<Os> {
    let transport = reach(&guest.target(), &[]).ok()?;
    let finished = transport.exec(Exec::new(["cat", "/etc/os-release"]).timeout(PATIENCE).limit(LIMIT)).ok()?;
    let os = facts::os_of(&finished.stdout_text());
    (finished.success() && !os.id.is_empty()).then_some(os)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        guest::transport::{GuestState, Transport, TransportError},
        model::{Outcome, Target, credential::Way},
        sys::process::Finished,
    };
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    /// A container that says this, and how often it was asked.
    struct Says(&'static str, Arc<AtomicUsize>);

    impl Transport for Says {
        fn name(&self) -> &'static str {
            "test"
        }
        fn state(&self) -> Result<GuestState, TransportError> {
            unreachable!("nobody asks for it")
        }
        fn exec(&self, exec: Exec) -> Result<Finished, TransportError> {
            assert_eq!(exec.argv, ["cat", "/etc/os-release"]);
            self.1.fetch_add(1, Ordering::Relaxed);
            let code = Some(i32::from(self.0.is_empty()));
            let stdout = self.0.as_bytes().to_vec();
            let (stderr, signal) = (Vec::new(), None);
            Ok(Finished { code, signal, stdout, stderr, truncated: false, timed_out: false, cancelled: false })
        }
    }

    fn homelab() -> Inventory {
        serde_json::from_str(include_str!("../../../tests/fixtures/homelab.json")).unwrap()
    }

    fn filled(systems: &mut Systems, inventory: &mut Inventory, says: &'static str) -> usize {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let reach = move |target: &Target, _: &[Way]| -> Result<Box<dyn Transport>, Box<Outcome>> {
            assert!(target.to_string().starts_with("ct/"));
            Ok(Box::new(Says(says, Arc::clone(&count))))
        };
        systems.fill(inventory, "pve1.home.arpa", &reach);
        asked.load(Ordering::Relaxed)
    }

    #[test]
    fn running_containers_of_the_node_are_asked_once_and_a_few_at_a_time() {
        let says = "ID=ubuntu\nVERSION_ID=\"26.04\"\n";
        let (mut systems, mut inventory) = (Systems::default(), homelab());
        let theirs =
            |guest: &&Guest| guest.kind == GuestKind::Ct && guest.node == "pve1" && guest.running() && !guest.template;
        let wanted = inventory.guests.iter().filter(theirs).count();
        let mut asked = 0;
        for _ in 0..wanted.div_ceil(AT_ONCE) {
            let now = filled(&mut systems, &mut inventory, says);
            assert!(now <= AT_ONCE);
            asked += now;
        }
        assert_eq!((asked, filled(&mut systems, &mut inventory, says)), (wanted, 0));
        assert!(inventory.guests.iter().filter(theirs).all(|guest| guest.os == Os::new("ubuntu", "26.04")));
        // Somebody else has its vmid now.
        let other = Incarnation { macs: vec!["bc:24:11:00:00:01".into()], ..Incarnation::default() };
        inventory.guests.iter_mut().find(|guest| theirs(&&**guest)).unwrap().incarnation = Some(other);
        assert_eq!(filled(&mut systems, &mut inventory, says), 1);
    }

    #[test]
    fn what_gives_no_answer_is_left_alone_a_while() {
        let (mut systems, mut inventory) = (Systems::default(), homelab());
        let before = inventory.clone();
        while filled(&mut systems, &mut inventory, "") > 0 {}
        assert_eq!(inventory, before);
    }
}
