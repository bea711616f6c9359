//! What is wrong in a simulated cluster: all of it, in one list, planted by rules over any inventory.
//!
//! | problem | where | what is seen |
//! | --- | --- | --- |
//! | out of workers | the first running guest tagged production or prod that has php-fpm | php-fpm's log says that it reached pm.max_children, nginx's error log that the upstream timed out, the access log has 504s, its processor is busy |
//! | disk nearly full | the first running guest with prometheus, else with a database | its root filesystem is 96 % full, its largest directory says why |
//! | failed at boot | the first running systemd guest that is not in production | logrotate.service failed: a misspelt word in /etc/logrotate.d/apps, and works once that is mended |
//! | certificate | the first running production guest with caddy, else nginx | a certificate in /etc/ssl/example.org ends in five days, and its renewal fails in the log |
//! | reboot required | the first running Ubuntu guest | /run/reboot-required, after an update of libc6 |
//!
//! The faults are for deployments that are to fail honestly, and off unless asked for.

use crate::model::{
    inventory::{Guest, Inventory},
    values::GuestKind,
};
use std::collections::BTreeMap;

/// Something that is wrong in a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// php-fpm has more to do than it has processes.
    OutOfWorkers,
    /// The root filesystem is nearly full.
    DiskNearlyFull,
    /// A service failed when the guest started.
    FailedAtBoot,
    /// A certificate ends soon and is not renewed.
    Certificate,
    /// An update waits for a restart.
    RebootRequired,
    /// Nothing can be written any more.
    DiskFull,
    /// The hub can't be reached from there.
    NoRoute,
}

/// Guests that an agent can't be deployed to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// The first running Ubuntu container without an agent has a full disk.
    pub disk_full: bool,
    /// The last running container without an agent can't reach the hub.
    pub no_route: bool,
}

impl Faults {
    /// All of them.
    pub fn all() -> Self {
        Self { disk_full: true, no_route: true }
    }
}

impl Problem {
    /// Its name in the data folder.
    pub fn key(self) -> &'static str {
        match self {
            Self::OutOfWorkers => "out-of-workers",
            Self::DiskNearlyFull => "disk-nearly-full",
            Self::FailedAtBoot => "failed-at-boot",
            Self::Certificate => "certificate",
            Self::RebootRequired => "reboot-required",
            Self::DiskFull => "disk-full",
            Self::NoRoute => "no-route",
        }
    }
}

/// Which guest has which problem.
pub fn plant(inventory: &Inventory, faults: Faults) -> BTreeMap<u32, Vec<Problem>> {
    let mut running: Vec<&Guest> = inventory.guests.iter().filter(|guest| guest.running() && !guest.template).collect();
    running.sort_by_key(|guest| guest.vmid);
    let production = |guest: &Guest| guest.tags.iter().any(|tag| tag == "production" || tag == "prod");
    let has = |guest: &Guest, names: &[&str]| {
        guest.services.iter().any(|service| names.iter().any(|name| service.contains(name)))
    };
    let first = |fits: &dyn Fn(&Guest) -> bool| running.iter().find(|guest| fits(guest)).map(|guest| guest.vmid);
    let either = |one: Option<u32>, other: &dyn Fn(&Guest) -> bool| one.or_else(|| first(other));
    let systemd = |guest: &Guest| {
        super::catalogue::distribution(&guest.os.id, &guest.os.family).is_some_and(|known| known.init == "systemd")
    };
    let bare = |guest: &Guest| guest.kind == GuestKind::Ct && guest.agent.is_none();
    let databases = ["postgresql", "mariadb", "mysql"];
    let found = [
        (Problem::OutOfWorkers, first(&|guest| production(guest) && has(guest, &["php"]))),
        (Problem::DiskNearlyFull, either(first(&|guest| has(guest, &["prometheus"])), &|guest| has(guest, &databases))),
        (Problem::FailedAtBoot, first(&|guest| !production(guest) && systemd(guest))),
        (
            Problem::Certificate,
            either(first(&|guest| production(guest) && has(guest, &["caddy"])), &|guest| {
                production(guest) && has(guest, &["nginx"])
            }),
        ),
        (Problem::RebootRequired, first(&|guest| guest.os.id == "ubuntu")),
        (Problem::DiskFull, first(&|guest| bare(guest) && guest.os.id == "ubuntu").filter(|_| faults.disk_full)),
        (
            Problem::NoRoute,
            running.iter().rev().find(|guest| bare(guest)).map(|guest| guest.vmid).filter(|_| faults.no_route),
        ),
    ];
    let mut planted: BTreeMap<u32, Vec<Problem>> = BTreeMap::new();
    for (problem, vmid) in found {
        if let Some(vmid) = vmid {
            planted.entry(vmid).or_default().push(problem);
        }
    }
    planted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_is_where_its_rule_says() {
        let inventory: Inventory = serde_json::from_str(include_str!("../../../tests/fixtures/homelab.json")).unwrap();
        let planted = plant(&inventory, Faults::all());
        let of = |vmid: u32| planted.get(&vmid).cloned().unwrap_or_default();
        assert_eq!(of(118), [Problem::OutOfWorkers, Problem::RebootRequired]);
        assert_eq!((of(151), of(110)), (vec![Problem::DiskNearlyFull], vec![Problem::Certificate]));
        assert_eq!((of(101), of(119)), (vec![Problem::FailedAtBoot], vec![Problem::DiskFull]));
        assert_eq!(of(191), [Problem::NoRoute]);
        assert_eq!(plant(&inventory, Faults::default()).len(), 4);
        assert!(plant(&Inventory::default(), Faults::all()).is_empty());
    }
}
