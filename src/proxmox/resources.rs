//! The API's records as we use them: every field may be missing, because Proxmox leaves out what it has no right to show
//! or does not know yet.

use super::lenient;
use crate::model::{inventory::Incarnation, target::Vmid, values::GuestKind};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A line of /cluster/resources: a guest, a node, a storage or something else.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Resource {
    #[serde(rename = "type")]
    pub kind: String,
    pub node: String,
    #[serde(deserialize_with = "lenient::number")]
    pub vmid: u64,
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    pub status: String,
    #[serde(deserialize_with = "lenient::flag")]
    pub template: bool,
    #[serde(deserialize_with = "lenient::text")]
    pub tags: String,
    pub pool: Option<String>,
    pub lock: Option<String>,
    pub hastate: Option<String>,
    #[serde(deserialize_with = "lenient::number")]
    pub maxcpu: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub maxmem: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub mem: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub maxdisk: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub disk: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub uptime: u64,
    pub storage: String,
    pub plugintype: String,
    #[serde(deserialize_with = "lenient::text")]
    pub content: String,
    #[serde(deserialize_with = "lenient::flag")]
    pub shared: bool,
}

impl Resource {
    /// Container or virtual machine, with its vmid, where it is a guest.
    pub fn guest(&self) -> Option<(GuestKind, Vmid)> {
        let kind = match self.kind.as_str() {
            "lxc" => GuestKind::Ct,
            "qemu" => GuestKind::Vm,
            _ => return None,
        };
        Some((kind, Vmid::try_from(self.vmid).ok()?))
    }
}

impl Resource {
    /// Takes over what a guest says of itself; what it leaves out stays as it was listed.
    pub fn take_over(&mut self, now: Current) {
        let Current { status, name, uptime, lock, template, cpus, maxmem, maxdisk, tags, ha, .. } = now;
        if !name.is_empty() {
            self.name = name;
        }
        for (listed, told) in [(&mut self.maxcpu, cpus), (&mut self.maxmem, maxmem), (&mut self.maxdisk, maxdisk)] {
            *listed = if told > 0 { told } else { *listed };
        }
        if ha.managed {
            self.hastate = ha.state;
        }
        (self.status, self.uptime, self.lock, self.template, self.tags) = (status, uptime, lock, template, tags);
    }
}

/// A storage of a node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct StorageLine {
    pub storage: String,
    #[serde(deserialize_with = "lenient::flag")]
    pub active: bool,
    #[serde(deserialize_with = "lenient::number")]
    pub avail: u64,
    #[serde(rename = "type")]
    pub kind: String,
}

/// Something that a storage holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Volume {
    pub volid: String,
    #[serde(deserialize_with = "lenient::number")]
    pub size: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub ctime: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub vmid: u64,
    #[serde(deserialize_with = "lenient::text")]
    pub parent: String,
    #[serde(deserialize_with = "lenient::text")]
    pub notes: String,
    #[serde(deserialize_with = "lenient::flag")]
    pub protected: bool,
}

/// A line of /cluster/status: the cluster itself, or a node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct StatusLine {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    pub ip: Option<String>,
    #[serde(deserialize_with = "lenient::flag")]
    pub online: bool,
}

/// A guest's status/current.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Current {
    pub status: String,
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    #[serde(deserialize_with = "lenient::number")]
    pub uptime: u64,
    #[serde(deserialize_with = "lenient::maybe_number")]
    pub pid: Option<u64>,
    pub lock: Option<String>,
    #[serde(deserialize_with = "lenient::flag")]
    pub template: bool,
    #[serde(deserialize_with = "lenient::number")]
    pub cpus: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub mem: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub maxmem: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub maxdisk: u64,
    #[serde(deserialize_with = "lenient::text")]
    pub tags: String,
    pub qmpstatus: Option<String>,
    pub ha: Ha,
}

/// What the HA manager says of a guest.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Ha {
    #[serde(deserialize_with = "lenient::flag")]
    pub managed: bool,
    pub state: Option<String>,
}

impl Ha {
    /// Whether the HA manager has given up on it.
    pub fn given_up(&self) -> bool {
        self.managed && self.state.as_deref() == Some("error")
    }

    /// Whether it is at work on the guest now.
    pub fn at_work(&self) -> bool {
        let busy = ["migrate", "relocate", "fence", "recovery", "request_stop", "request_start", "queued"];
        self.managed && self.state.as_deref().is_some_and(|state| busy.iter().any(|word| state.starts_with(word)))
    }
}

impl Current {
    /// Whether it runs, paused or not.
    pub fn running(&self) -> bool {
        self.status == "running"
    }

    /// Whether it is a virtual machine that stands still in memory.
    pub fn paused(&self) -> bool {
        self.running() && self.qmpstatus.as_deref() == Some("paused")
    }
}

/// A guest's configuration: whatever keys there are.
pub type Config = BTreeMap<String, serde_json::Value>;

/// A key's value as text.
pub fn setting(config: &Config, key: &str) -> String {
    match config.get(key) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// An option of a comma-separated setting: `option("name=eth0,ip=dhcp", "ip")` is `dhcp`.
pub fn option<'a>(setting: &'a str, name: &str) -> Option<&'a str> {
    setting
        .split(',')
        .filter_map(|part| part.split_once('='))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value)
}

/// The address of a container's interface as its configuration fixes it; `None` for DHCP.
pub fn fixed_addresses(config: &Config) -> Vec<String> {
    let nets = config.keys().filter(|key| key.starts_with("net")).map(|key| setting(config, key));
    let values = nets.flat_map(|net| ["ip", "ip6"].map(|name| option(&net, name).map(str::to_owned)));
    values
        .flatten()
        .filter_map(|value| value.split('/').next()?.parse::<std::net::IpAddr>().ok())
        .map(|ip| ip.to_string())
        .collect()
}

/// Which incarnation of a guest a configuration is of.
pub fn incarnation(kind: GuestKind, config: &Config) -> Incarnation {
    let card = |key: &String| key.strip_prefix("net").is_some_and(|number| number.parse::<u8>().is_ok());
    let cards = config.keys().filter(|key| card(key)).map(|key| setting(config, key));
    // `hwaddr=…` of a container's, `virtio=…` or any other model of a virtual machine's.
    let address = |card: &str| {
        let mut values = card.split(',').filter_map(|part| Some(part.split_once('=')?.1.trim()));
        values.find(|value| is_hardware_address(value)).map(str::to_lowercase)
    };
    let mut macs: Vec<String> = cards.filter_map(|card| address(&card)).collect();
    macs.sort_unstable();
    let uuid = |text: &str| if is_uuid(text) { text.to_lowercase() } else { String::new() };
    let (smbios, generation) = match kind {
        GuestKind::Ct => (String::new(), String::new()),
        GuestKind::Vm => {
            let smbios = setting(config, "smbios1");
            (option(&smbios, "uuid").map(uuid).unwrap_or_default(), uuid(&setting(config, "vmgenid")))
        }
    };
    Incarnation { smbios, generation, macs }
}

fn is_hardware_address(text: &str) -> bool {
    let mut bytes = 0;
    let hex = |part: &str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
    text.split(':').inspect(|_| bytes += 1).all(hex) && bytes == 6
}

fn is_uuid(text: &str) -> bool {
    let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| if dash(at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// Tags as a list: Proxmox separates them by `;`, takes `,` and blanks, and keeps them in lower case.
pub fn tags(text: &str) -> Vec<String> {
    let mut tags: Vec<String> = text
        .split([';', ',', ' ', '\t', '\n'])
        .filter(|tag| !tag.is_empty())
        .map(|tag| crate::sys::text::one_line(tag, 128).to_lowercase())
        .collect();
    tags.dedup();
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_split_at_everything_that_proxmox_takes() {
        assert_eq!(tags("prod;web"), ["prod", "web"]);
        assert_eq!(tags(" a,b  C;"), ["a", "b", "c"]);
        assert!(tags("").is_empty());
    }

    #[test]
    fn options_are_found_by_name() {
        assert_eq!(option("name=eth0,bridge=vmbr0,ip=10.0.0.5/24", "ip"), Some("10.0.0.5/24"));
        assert_eq!(option("virtio=BC:24:11,bridge=vmbr0", "ip"), None);
    }

    #[test]
    fn an_incarnation_is_read_off_a_configuration() {
        let read = |kind, json: &str| incarnation(kind, &serde_json::from_str(json).unwrap());
        let machine = read(
            GuestKind::Vm,
            r#"{"net1":"e1000=bc:24:11:0c:74:ae,bridge=vmbr0","net0":"virtio=BC:24:11:0C:74:AD,bridge=vmbr0","nets":"x=1",
                "smbios1":"base64=1,uuid=6803C38D-28cd-438a-9a79-c6b40484fbb2","vmgenid":"4c66d381-bf74-4ac4-a309-7ce3d7105349"}"#,
        );
        assert_eq!(machine.smbios, "6803c38d-28cd-438a-9a79-c6b40484fbb2");
        assert_eq!(machine.generation, "4c66d381-bf74-4ac4-a309-7ce3d7105349");
        assert_eq!(machine.macs, ["bc:24:11:0c:74:ad", "bc:24:11:0c:74:ae"]);
        let card =
            r#"{"net0":"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:12:3E:9E,ip=10.99.0.101/24,type=veth","vmgenid":"x"}"#;
        let container = read(GuestKind::Ct, card);
        assert_eq!(container, Incarnation { macs: vec!["bc:24:11:12:3e:9e".into()], ..Incarnation::default() });
        assert_eq!(
            read(GuestKind::Vm, r#"{"smbios1":"uuid=; rm","vmgenid":"1","net0":"virtio"}"#),
            Incarnation::default()
        );
    }

    proptest::proptest! {
        #[test]
        fn options_of_a_line_are_found_whatever_stands_beside_them(
            before in "([a-z]{1,8}=[A-Za-z0-9:/.]{0,12},){0,4}", value in "[A-Za-z0-9:/.;-]{0,20}",
            after in "(,[a-z]{1,8}=[A-Za-z0-9:/.]{0,12}){0,4}",
        ) {
            let line = format!("{before}WANTED={value}{after}");
            proptest::prop_assert_eq!(option(&line, "WANTED"), Some(value.as_str()));
            proptest::prop_assert_eq!(option(&line, "ABSENT"), None);
        }

        #[test]
        fn no_line_panics(line in "\\PC{0,80}", name in "[a-z0-9]{0,8}") {
            let config = Config::from([("net0".to_owned(), serde_json::Value::from(line.as_str()))]);
            for address in fixed_addresses(&config) {
                proptest::prop_assert!(address.parse::<std::net::IpAddr>().is_ok());
            }
            proptest::prop_assert!(tags(&line).iter().all(|tag| !tag.is_empty() && !tag.contains(';')));
            proptest::prop_assert!(option(&line, &name).is_none_or(|value| line.contains(value)));
        }
    }

    #[test]
    fn a_guest_without_a_report_still_reads() {
        let line: Resource =
            serde_json::from_str(r#"{"id":"lxc/104","node":"pve1","status":"unknown","type":"lxc","vmid":104}"#)
                .unwrap();
        assert_eq!((line.guest(), line.name.as_str()), (Some((GuestKind::Ct, 104)), ""));
    }
}
