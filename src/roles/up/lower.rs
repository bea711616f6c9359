//! `down`: takes away what `up` and the hub have put anywhere, in the order in which each part needs the others: agents in
//! guests while the hub and this node's pve-agent still answer, then the pve-agent with its place in Proxmox, then the hub.
//! It first looks, and what it shows then is what it does.

use super::{
    count, guests,
    guests::Known,
    here::Here,
    node,
    step::{Say, State, Step},
};
use crate::{
    host::{
        facts,
        install::{self, Parts, Role},
    },
    model::{Failure, outcome::chain},
    proxmox::credential::{self, Held, ROLE, USER},
    roles::{
        client::{self, login},
        hub::Place,
    },
    sys::{
        env::{self, Places},
        files,
    },
};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// Everything that there is to take away, and what is known to stay.
pub struct Survey {
    /// This machine's name, typed to confirm a purge.
    pub name: String,
    purge: bool,
    here: Here,
    held: Result<Held, String>,
    hub: Option<client::Hub>,
    agents: Vec<Known>,
    trouble: Option<String>,
    /// Files of ours that no role's removal takes.
    more: Vec<PathBuf>,
}

impl Survey {
    /// Looks; changes nothing.
    pub fn look(purge: bool) -> Result<Self, Failure> {
        // A configuration that does not read must not keep it from being taken away.
        let place = Place::of(&crate::roles::hub::HubOptions::default()).unwrap_or_else(|_| Place::usual());
        let here = Here::look(place)?;
        let name = facts::hostname();
        let held = match node::program(Path::new("/"), "pveum") {
            Some(_) if env::is_root() => credential::held(&credential::System, &name).map_err(|error| chain(&error)),
            _ => Ok(Held::default()),
        };
        let mut survey =
            Self { name, purge, here, held, hub: None, agents: Vec::new(), trouble: None, more: Vec::new() };
        if !survey.nothing() && !env::is_root() {
            return Err(Failure::new("taking remotectl off this machine is for root").help("sudo remotectl down"));
        }
        survey.ask_hub();
        if purge {
            survey.more = more_files(&Places::find(), survey.here.hub_id.as_deref());
        }
        Ok(survey)
    }

    /// Whether there is nothing to take away.
    pub fn nothing(&self) -> bool {
        self.here.nothing() && !self.held.as_ref().is_ok_and(Held::any)
    }

    /// The id of the hub whose identity would be lost for good.
    pub fn destroys(&self) -> Option<&str> {
        self.here.hub_id.as_deref().filter(|_| self.purge)
    }

    fn ask_hub(&mut self) {
        if self.here.hub_id.is_none() {
            return;
        }
        let asked = client::at_socket(&self.here.place.socket).and_then(|hub| {
            let agents = guests::known(&hub, &self.name)?;
            Ok((hub, agents))
        });
        match asked {
            Ok((hub, agents)) => (self.hub, self.agents) = (Some(hub), agents),
            Err(failure) => {
                self.trouble = Some(failure.message);
                match self.here.place.agents() {
                    Ok(agents) => self.agents = guests::on_record(agents, &self.name),
                    Err(failure) => self.trouble = Some(failure.message),
                }
            }
        }
    }

    /// What would be taken away, and what not: a line each.
    pub fn lines(&self) -> Vec<Step> {
        let mut lines = Vec::new();
        if let Some(why) = &self.trouble {
            let step = Step::new("hub", State::Left, format!("it is not there to take agents away: {why}"));
            lines.push(step.help("`systemctl start remotectl-hub`, and `remotectl down` again"));
        }
        for agent in &self.agents {
            let what = format!("{} {}", agent.role, agent.label);
            lines.push(match &agent.why_not {
                None => Step::new(what, State::Would, "is uninstalled, its key and configuration with it"),
                Some(why) => Step::new(what, State::Left, why).help(agent.by_hand()),
            });
        }
        lines.extend(self.parts("pve-agent", &self.here.pve_agent));
        match &self.held {
            Ok(held) if held.any() => lines.push(Step::new("Proxmox", State::Would, in_proxmox(held, &self.name))),
            Ok(_) => {}
            Err(why) => lines.push(Step::new("Proxmox", State::Left, why)),
        }
        lines.extend(self.parts("hub", &self.here.hub));
        if !self.more.is_empty() {
            lines.push(Step::new("files", State::Would, super::paths(&self.more)));
        }
        lines
    }

    fn parts(&self, what: &str, parts: &Parts) -> Option<Step> {
        let goes = if self.purge { [&parts.there[..], &parts.kept[..]].concat() } else { parts.there.clone() };
        let stays = if self.purge || parts.kept.is_empty() {
            String::new()
        } else {
            format!("; {} stay (--purge takes them)", super::paths(&parts.kept))
        };
        let runs = parts.pid.map_or_else(String::new, |pid| format!("pid {pid}; "));
        (!goes.is_empty()).then(|| Step::new(what, State::Would, format!("{runs}{}{stays}", super::paths(&goes))))
    }

    /// Takes it away. Goes on where a part fails: each is told.
    pub fn carry_out(&self, say: &mut Say) {
        if let Some(hub) = &self.hub {
            guests::remove(hub, &self.agents, say);
        } else {
            for agent in &self.agents {
                let why = agent.why_not.as_deref().unwrap_or("the hub does not answer");
                let step = Step::new(format!("{} {}", agent.role, agent.label), State::Left, why);
                say(step.help(agent.by_hand()));
            }
        }
        self.role("pve-agent", Role::PveAgent, &self.here.pve_agent, say);
        self.proxmox(say);
        for path in &self.more {
            if let Err(error) = files::remove(path) {
                say(Step::failed("files", &Failure::of("taking it away", &error)));
            }
        }
        self.role("hub", Role::Hub, &self.here.hub, say);
        self.data_elsewhere(say);
    }

    fn role(&self, what: &str, role: Role, parts: &Parts, say: &mut Say) {
        let to_purge = self.purge && !parts.kept.is_empty();
        if parts.there.is_empty() && !to_purge {
            return;
        }
        let began = Instant::now();
        say(match install::uninstall(role, self.purge) {
            Ok(removed) => {
                let stays = if self.purge || parts.kept.is_empty() { "" } else { "; its data and configuration stay" };
                let told = format!("stopped, {} removed{stays}", count(removed.paths.len(), "path"));
                Step::new(what, State::Done, told).since(began)
            }
            Err(error) => Step::failed(what, &error.into()).since(began),
        });
    }

    fn proxmox(&self, say: &mut Say) {
        let began = Instant::now();
        let again = "when /etc/pve is writable: `remotectl down` again";
        say(match &self.held {
            Ok(held) if !held.any() => return,
            Ok(held) => match credential::remove_credential(&credential::System, &self.name) {
                Ok(()) => Step::new("Proxmox", State::Done, in_proxmox(held, &self.name)).since(began),
                Err(error) => Step::new("Proxmox", State::Failed, chain(&error)).help(again).since(began),
            },
            Err(why) => Step::new("Proxmox", State::Failed, why).help(again),
        });
    }

    /// A data directory that somebody has chosen is somebody's to delete.
    fn data_elsewhere(&self, say: &mut Say) {
        let data = &self.here.place.data;
        if self.purge && *data != Place::usual().data && data.exists() {
            let step =
                Step::new("hub's data", State::Left, format!("are in {}, where hub.toml had them", data.display()));
            say(step.help(format!("rm -r {}", data.display())));
        }
    }
}

/// `token remotectl@pve!node-pve1, user remotectl@pve, role RemotectlAgent`, or only the token while others need the rest.
fn in_proxmox(held: &Held, node: &str) -> String {
    let mut parts = Vec::new();
    if held.token {
        parts.push(format!("token {USER}!{}", credential::token_name(node)));
    }
    if held.others == 0 {
        parts.extend(held.user.then(|| format!("user {USER}")));
        parts.extend(held.role.then(|| format!("role {ROLE}")));
    } else {
        parts.push(format!("user and role stay for {}", count(held.others, "other node")));
    }
    parts.join(", ")
}

/// The policy, and a login to the hub that goes.
fn more_files(places: &Places, hub: Option<&str>) -> Vec<PathBuf> {
    let Some(hub) = hub else { return Vec::new() };
    let policy = Some(places.config.join("policy.toml")).filter(|path| path.exists());
    // One that does not read is left to its owner.
    let login = login::load(places).ok().flatten().filter(|login| login.hub == hub).map(|_| login::file(places));
    policy.into_iter().chain(login).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::here::tests as here, *};
    use crate::model::Target;

    fn survey(purge: bool, here: Here) -> Survey {
        Survey {
            name: "pve1".into(),
            purge,
            here,
            held: Ok(Held::default()),
            hub: None,
            agents: Vec::new(),
            trouble: None,
            more: Vec::new(),
        }
    }

    fn told(survey: &Survey) -> Vec<String> {
        survey.lines().into_iter().map(|line| format!("{} {:?}: {}", line.what, line.state, line.told)).collect()
    }

    #[test]
    fn a_machine_without_anything_has_nothing_to_take_away() {
        let survey = survey(true, here::bare(Path::new("/nowhere")));
        assert!(survey.nothing() && survey.destroys().is_none() && survey.lines().is_empty());
    }

    #[test]
    fn what_stays_without_a_purge_is_said() {
        let mut whole = here::bare(Path::new("/nowhere"));
        whole.hub = here::running();
        whole.hub.kept = vec!["/var/lib/remotectl/hub".into()];
        whole.hub_id = Some("h1".into());
        let kept = survey(false, whole.clone());
        assert_eq!(
            told(&kept),
            ["hub Would: pid 4410; /opt/remotectl/x; /var/lib/remotectl/hub stay (--purge takes them)"]
        );
        assert!(kept.destroys().is_none());
        let purged = survey(true, whole);
        assert_eq!(told(&purged), ["hub Would: pid 4410; /opt/remotectl/x, /var/lib/remotectl/hub"]);
        assert_eq!(purged.destroys(), Some("h1"));
    }

    #[test]
    fn half_of_an_installation_is_taken_away_all_the_same() {
        let mut half = survey(true, here::bare(Path::new("/nowhere")));
        half.held = Ok(Held { role: true, user: true, token: true, others: 0 });
        assert!(!half.nothing(), "only Proxmox still knows of it");
        assert_eq!(
            told(&half),
            ["Proxmox Would: token remotectl@pve!node-pve1, user remotectl@pve, role RemotectlAgent"]
        );
        half.held = Ok(Held { role: true, user: true, token: true, others: 2 });
        assert!(told(&half)[0].ends_with("user and role stay for 2 other nodes"), "{:?}", told(&half));
        half.trouble = Some("connection refused".into());
        half.agents = guests::on_record(
            vec![crate::store::AgentRecord {
                id: "a".into(),
                public_key: String::new(),
                role: "agent".into(),
                target: Target::ct(101),
                version: "1".into(),
                generation: 1,
                joined: "token".into(),
                joined_at: 0,
                facts: None,
                hold: None,
                seal: String::new(),
            }],
            "pve1",
        );
        assert_eq!(told(&half)[1], "agent ct/101 Left: the hub does not answer");
    }

    #[test]
    fn a_login_goes_with_its_own_hub_alone() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places {
            config: directory.path().join("etc"),
            state: directory.path().join("lib"),
            run: directory.path().join("run"),
        };
        assert!(more_files(&places, Some("h1")).is_empty());
        let pointer = crate::link::join::Pointer { token: Some("t".into()), ..here::pointer("h1") };
        login::store(&login::Login::from_string(&pointer.to_string()).unwrap(), &places).unwrap();
        files::write_atomic(&places.config.join("policy.toml"), b"", 0o644).unwrap();
        let names =
            |hub| more_files(&places, hub).iter().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(Some("h1")), ["policy.toml", "client.toml"]);
        assert_eq!(names(Some("h2")), ["policy.toml"]);
        assert!(names(None).is_empty());
    }
}
