//! Targets: what an operation acts on, as it is written everywhere (`ct/118`, `vm/201`, `node/pve1`, `cluster`,
//! `host/nas`, and `lab:ct/118` where a hub looks after several clusters).

use super::values::GuestKind;
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, fmt, str::FromStr};

/// A Proxmox guest id, 100 to 999,999,999.
pub type Vmid = u32;

/// One thing to act on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    /// The cluster's label; `None` means the only or the default one.
    pub cluster: Option<String>,
    /// What it is.
    pub what: What,
}

/// The kinds of things there are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The whole cluster.
    Cluster,
    /// A Proxmox node by name.
    Node(String),
    /// A container or virtual machine by vmid.
    Guest(GuestKind, Vmid),
    /// A machine outside Proxmox that joined by a join string.
    Host(String),
}

/// A text that is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a target; targets are ct/118, vm/201, node/pve1, cluster or host/NAME, with `lab:` before it for a named cluster"
)]
pub struct TargetError(pub String);

impl Target {
    /// A container of the default cluster.
    pub fn ct(vmid: Vmid) -> Self {
        Self::guest(GuestKind::Ct, vmid)
    }

    /// A virtual machine of the default cluster.
    pub fn vm(vmid: Vmid) -> Self {
        Self::guest(GuestKind::Vm, vmid)
    }

    /// A guest of the default cluster.
    pub fn guest(kind: GuestKind, vmid: Vmid) -> Self {
        Self { cluster: None, what: What::Guest(kind, vmid) }
    }

    /// A node of the default cluster.
    pub fn node(name: impl Into<String>) -> Self {
        Self { cluster: None, what: What::Node(name.into()) }
    }

    /// A machine outside Proxmox.
    pub fn host(name: impl Into<String>) -> Self {
        Self { cluster: None, what: What::Host(name.into()) }
    }

    /// The default cluster itself.
    pub fn cluster() -> Self {
        Self { cluster: None, what: What::Cluster }
    }

    /// The vmid, where it is a guest.
    pub fn vmid(&self) -> Option<Vmid> {
        match self.what {
            What::Guest(_, vmid) => Some(vmid),
            _ => None,
        }
    }

    /// The node's name, where it is a node.
    pub fn node_name(&self) -> Option<&str> {
        match &self.what {
            What::Node(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it is a Proxmox node.
    pub fn is_node(&self) -> bool {
        matches!(self.what, What::Node(_))
    }
}

/// Guests by vmid, nodes by name, the order in which plans name targets.
impl Ord for Target {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_vmid = |target: &Self| target.vmid().unwrap_or_default();
        (&self.cluster, by_vmid(self), &self.what).cmp(&(&other.cluster, by_vmid(other), &other.what))
    }
}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.what {
            What::Cluster => "cluster".to_owned(),
            What::Node(name) => format!("node/{name}"),
            What::Guest(kind, vmid) => format!("{kind}/{vmid}"),
            What::Host(name) => format!("host/{name}"),
        };
        match &self.cluster {
            Some(cluster) => f.pad(&format!("{cluster}:{text}")),
            None => f.pad(&text),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let error = || TargetError(text.to_owned());
        let (cluster, rest) = match text.split_once(':') {
            Some((cluster, rest)) if is_name(cluster) => (Some(cluster.to_owned()), rest),
            Some(_) => return Err(error()),
            None => (None, text),
        };
        let what = match rest.split_once('/') {
            None if rest == "cluster" => What::Cluster,
            Some(("ct", id)) => What::Guest(GuestKind::Ct, vmid(id).ok_or_else(error)?),
            Some(("vm", id)) => What::Guest(GuestKind::Vm, vmid(id).ok_or_else(error)?),
            Some(("node", name)) if is_name(name) => What::Node(name.to_owned()),
            Some(("host", name)) if is_name(name) => What::Host(name.to_owned()),
            _ => return Err(error()),
        };
        Ok(Self { cluster, what })
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;
    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

/// Whether a text can be a node's, host's or cluster's name: a DNS label or several, at most 253 bytes.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

fn vmid(text: &str) -> Option<Vmid> {
    let plain = text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    let vmid: Vmid = plain.then(|| text.parse().ok())??;
    (vmid >= 100).then_some(vmid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_print_as_they_are_written() {
        for text in ["ct/118", "vm/999999999", "node/pve1", "cluster", "host/nas.lan", "lab:ct/118", "lab:cluster"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn hostile_targets_are_no_targets() {
        for text in [
            "",
            "ct/",
            "ct/99",
            "ct/+118",
            "ct/1180000000",
            "node/../etc",
            "node/a b",
            "lab:",
            ":ct/118",
            "node/\u{1b}[2J",
            "host/-x",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn guests_sort_by_vmid_whatever_their_kind() {
        let mut targets = vec![Target::vm(201), Target::ct(300), Target::ct(101)];
        targets.sort();
        assert_eq!(targets, [Target::ct(101), Target::vm(201), Target::ct(300)]);
    }
}
