//! What of remotectl is on this machine: looked at by `up` before it adds, by `down` before it takes away.

use crate::{
    host::install::{self, Parts, Role},
    link::{join::Pointer, wire::AgentRole},
    model::Failure,
    roles::{hub::Place, membership::Home},
    sys::env,
};

/// What there is.
#[derive(Debug, Clone)]
pub struct Here {
    /// Where the hub is, by its configuration.
    pub place: Place,
    /// The id of the hub whose data are here.
    pub hub_id: Option<String>,
    /// The hub's parts.
    pub hub: Parts,
    /// The pve-agent's parts.
    pub pve_agent: Parts,
    /// The hub that the pve-agent belongs to.
    pub member_of: Option<Pointer>,
}

impl Here {
    /// Looks.
    pub fn look(place: Place) -> Result<Self, Failure> {
        let hub_id = place.hub()?;
        Ok(Self {
            hub_id,
            place,
            hub: install::look(Role::Hub),
            pve_agent: install::look(Role::PveAgent),
            member_of: Home::find(AgentRole::PveAgent, None).settings().ok().map(|(_, pointer)| pointer),
        })
    }

    /// Whether there is neither hub nor pve-agent.
    pub fn nothing(&self) -> bool {
        self.hub.none() && self.pve_agent.none() && self.hub_id.is_none()
    }

    /// Refuses where this node's pve-agent obeys a hub that is not this machine's.
    pub fn belongs_here(&self) -> Result<(), Failure> {
        let stranger = self.member_of.as_ref().filter(|pointer| self.hub_id.as_deref() != Some(&pointer.hub));
        let Some(pointer) = stranger else { return Ok(()) };
        let failure = Failure::new(format!("this node's pve-agent belongs to hub {} already", pointer.hub)).detail(
            format!("that hub is at {}; the one of this machine would be another", pointer.addresses.join(", ")),
        );
        Err(failure.help("if that hub is no more: `remotectl pve-agent uninstall --purge`, then `remotectl up`"))
    }
}

/// Services are those of the machine, whatever `REMOTECTL_ROOT` says: with it, one hub would be looked at and another touched.
pub fn this_machine() -> Result<(), Failure> {
    if env::root() == std::path::Path::new("/") {
        return Ok(());
    }
    Err(Failure::usage(format!("{} is set, and this is about the services of this machine", env::ROOT))
        .help(format!("unset {} and call it again", env::ROOT)))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::{link::keys::SigningKey, model::digest::Digest};
    use std::path::PathBuf;

    /// A machine with nothing on it, whose hub would be below that directory.
    pub fn bare(below: &std::path::Path) -> Here {
        let place =
            Place { listen: vec!["127.0.0.1:0".into()], data: below.join("hub"), socket: below.join("hub.sock") };
        Here { place, hub_id: None, hub: Parts::default(), pve_agent: Parts::default(), member_of: None }
    }

    /// The parts of a role that runs.
    pub fn running() -> Parts {
        Parts { there: vec![PathBuf::from("/opt/remotectl/x")], pid: Some(4410), ..Parts::default() }
    }

    /// A pointer to a hub of that id.
    pub fn pointer(hub: &str) -> Pointer {
        Pointer {
            addresses: vec!["10.0.0.5:8443".into()],
            hub: hub.to_owned(),
            fingerprint: Digest::of(b"ca"),
            key: SigningKey::make().0.public(),
            recovery: None,
            epoch: 1,
            token: None,
        }
    }

    #[test]
    fn a_pve_agent_of_another_hub_is_left_alone() {
        let mut here = bare(std::path::Path::new("/nowhere"));
        here.belongs_here().unwrap();
        here.member_of = Some(pointer("h1"));
        let failure = here.belongs_here().unwrap_err();
        assert_eq!(failure.message, "this node's pve-agent belongs to hub h1 already");
        here.hub_id = Some("h1".into());
        here.belongs_here().unwrap();
        here.hub_id = Some("h2".into());
        assert!(here.belongs_here().unwrap_err().help.unwrap().contains("pve-agent uninstall --purge"));
    }
}
