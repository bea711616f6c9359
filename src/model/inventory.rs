//! What there is: nodes, guests, storages, with what is known of each. The JSON form is that of inventory files
//! (`plan --inventory FILE`), of the pve-agent's reports and of the hub's API alike.

use super::{
    hold::HoldKind,
    target::{Target, Vmid, What},
    values::GuestKind,
};
use serde::{Deserialize, Serialize};

/// One cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// The cluster's label.
    #[serde(default)]
    pub cluster: String,
    /// The Proxmox nodes.
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// The storages, each once.
    #[serde(default)]
    pub storages: Vec<Storage>,
    /// Containers and virtual machines, templates included.
    #[serde(default)]
    pub guests: Vec<Guest>,
}

/// A Proxmox node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name in the cluster.
    pub name: String,
    /// `online`, `offline` or `unknown`.
    pub status: String,
    /// Its address in the cluster network, where known.
    #[serde(default)]
    pub address: Option<String>,
    /// Logical cores.
    #[serde(default)]
    pub cores: u32,
    /// Memory in MiB.
    #[serde(default)]
    pub memory_mib: u64,
    /// Proxmox VE's version, where known.
    #[serde(default)]
    pub version: Option<String>,
    /// The pve-agent that runs on it.
    #[serde(default)]
    pub pve_agent: Option<AgentInfo>,
}

/// A storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    /// Its id.
    pub name: String,
    /// Proxmox's type: `dir`, `zfspool`, `nfs`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// What it may hold: `images`, `rootdir`, `iso`, `vztmpl`, `backup`, …
    #[serde(default)]
    pub content: Vec<String>,
    /// Used space in GiB.
    #[serde(default)]
    pub used_gib: u64,
    /// Size in GiB.
    #[serde(default)]
    pub total_gib: u64,
    /// The nodes that have it.
    #[serde(default)]
    pub nodes: Vec<String>,
}

/// A container or virtual machine.
#[expect(clippy::struct_field_names, reason = "`guest_agent` is QEMU's name for it")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// Its id, unique in the cluster, but reused.
    pub vmid: Vmid,
    /// Container or virtual machine.
    pub kind: GuestKind,
    /// Its name; empty until Proxmox has reported one.
    pub name: String,
    /// The node that it is on.
    pub node: String,
    /// `running`, `stopped`, `paused`, `suspended` or `unknown`.
    pub status: String,
    /// Whether it is a template.
    #[serde(default)]
    pub template: bool,
    /// Its tags, lower case as Proxmox keeps them.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its resource pool.
    #[serde(default)]
    pub pool: Option<String>,
    /// Its operating system, where known.
    #[serde(default)]
    pub os: Os,
    /// Its addresses, where known.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Cores.
    #[serde(default)]
    pub cores: u32,
    /// Memory in MiB.
    #[serde(default)]
    pub memory_mib: u64,
    /// Size of its root disk in GiB.
    #[serde(default)]
    pub disk_gib: u64,
    /// Names of its snapshots.
    #[serde(default)]
    pub snapshots: Vec<String>,
    /// The agent that runs in it.
    #[serde(default)]
    pub agent: Option<AgentInfo>,
    /// Names of its services, where an agent or a probe has told.
    #[serde(default)]
    pub services: Vec<String>,
    /// Whether the QEMU guest agent is configured and answering (virtual machines).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_agent: Option<bool>,
    /// The lock that Proxmox holds on it (`backup`, `migrate`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// What the HA manager makes of it (`started`, `stopped`, `error`, …), where it is under HA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha: Option<String>,
    /// Which guest it is, beside its vmid; `None` until its configuration has been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
}

/// What the hypervisor knows of one incarnation of a guest: a vmid is given to another guest once it is free. A clone
/// differs in all of it; a guest that was destroyed and made anew too. Going back to a snapshot or restoring a backup over
/// the guest leaves it as it is but for the generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// A virtual machine's SMBIOS UUID, in lower case; empty where it has none, and for containers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub smbios: String,
    /// A virtual machine's generation id, in lower case: another one after each rollback and restore; empty where it has none,
    /// and for containers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generation: String,
    /// The hardware addresses of its network cards, in lower case as agents tell them, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<String>,
}

/// An operating system, in os-release's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// os-release's ID: `debian`, `ubuntu`, `alpine`, …; empty where unknown.
    #[serde(default)]
    pub id: String,
    /// os-release's VERSION_ID.
    #[serde(default)]
    pub version: String,
    /// The family: `debian`, `rhel`, `alpine`, `arch`, `suse`, `bsd`, `windows`, …
    #[serde(default)]
    pub family: String,
}

/// An agent as the hub knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its remotectl version.
    pub version: String,
    /// `online`, `offline`, `locked` or `quarantined`.
    pub status: String,
}

impl AgentInfo {
    /// Whether it polled lately.
    pub fn online(&self) -> bool {
        self.status == "online"
    }

    /// What keeps the hub from listening to it, where something does.
    pub fn held(&self) -> Option<HoldKind> {
        HoldKind::parse(&self.status)
    }
}

impl Os {
    /// An os-release ID with its family filled in.
    pub fn new(id: &str, version: &str) -> Self {
        Self { id: id.to_owned(), version: version.to_owned(), family: family(id).to_owned() }
    }

    /// Whether the agent can run there: it is a Linux program that needs a writable system. Nothing is known against a
    /// system that nobody has told.
    pub fn takes_agent(&self) -> bool {
        const WITHOUT: [&str; 4] = ["bsd", "haos", "windows", "darwin"];
        // Inventories differ in what they call a family; the id tells too.
        let names = [self.id.as_str(), &self.family, family(&self.id), family(&self.family)];
        !names.iter().any(|name| WITHOUT.contains(name))
    }

    /// For people: `Ubuntu 24.04`; empty where unknown.
    pub fn label(&self) -> String {
        let name = match self.id.as_str() {
            "" => return String::new(),
            "almalinux" => "AlmaLinux".to_owned(),
            "centos" => "CentOS".to_owned(),
            "freebsd" => "FreeBSD".to_owned(),
            "haos" => "HAOS".to_owned(),
            "opensuse" => "openSUSE".to_owned(),
            other => capitalised(other),
        };
        format!("{name} {}", self.version).trim_end().to_owned()
    }
}

impl Guest {
    /// How plans name it.
    pub fn target(&self) -> Target {
        Target::guest(self.kind, self.vmid)
    }

    /// Whether Proxmox says that it runs.
    pub fn running(&self) -> bool {
        self.status == "running"
    }

    /// `ct/118 web-server`, for messages.
    pub fn label(&self) -> String {
        format!("{} {}", self.target(), self.name)
    }
}

impl Inventory {
    /// The guest with that vmid. Inventories are mostly sorted by it, which makes a look-up in ten thousand a short one.
    pub fn guest(&self, vmid: Vmid) -> Option<&Guest> {
        let sorted = self.guests.binary_search_by_key(&vmid, |guest| guest.vmid);
        sorted.ok().map(|at| &self.guests[at]).or_else(|| self.guests.iter().find(|guest| guest.vmid == vmid))
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The guest that a target names, its kind being right too.
    pub fn guest_of(&self, target: &Target) -> Option<&Guest> {
        match target.what {
            What::Guest(kind, vmid) => self.guest(vmid).filter(|guest| guest.kind == kind),
            _ => None,
        }
    }

    /// The name that people know a target by; empty for the cluster or a stranger.
    pub fn name_of(&self, target: &Target) -> &str {
        match &target.what {
            What::Guest(..) => self.guest_of(target).map_or("", |guest| guest.name.as_str()),
            What::Node(name) => self.node(name).map_or("", |node| node.name.as_str()),
            What::Cluster | What::Host(_) => "",
        }
    }
}

/// The family that an os-release ID (or Proxmox ostype) belongs to.
pub fn family(id: &str) -> &str {
    match id {
        "debian" | "ubuntu" | "devuan" | "raspbian" | "linuxmint" => "debian",
        "rocky" | "almalinux" | "centos" | "rhel" | "fedora" | "ol" | "amzn" => "rhel",
        "opensuse" | "opensuse-leap" | "opensuse-tumbleweed" | "sles" => "suse",
        "freebsd" | "openbsd" | "netbsd" | "dragonfly" | "opnsense" | "pfsense" => "bsd",
        "arch" | "archlinux" | "manjaro" => "arch",
        other => other,
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_for_linux() {
        for (id, takes) in [("debian", true), ("", true), ("haos", false), ("opnsense", false), ("windows", false)] {
            assert_eq!(Os::new(id, "").takes_agent(), takes, "{id}");
        }
        let told = |id: &str, family: &str| Os { id: id.into(), version: String::new(), family: family.into() };
        assert!(!told("pfsense", "other").takes_agent() && !told("win11", "windows").takes_agent());
    }
}
