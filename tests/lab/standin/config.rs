//! A container's configuration file, /etc/pve/nodes/NODE/lxc/VMID.conf.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Its lines by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config(pub BTreeMap<String, String>);

impl Config {
    /// Where a container's is, below /etc/pve.
    pub fn path(pve: &Path, node: &str, vmid: u32) -> PathBuf {
        pve.join("nodes").join(node).join("lxc").join(format!("{vmid}.conf"))
    }

    /// Reads one; comment lines are the description.
    pub fn read(pve: &Path, node: &str, vmid: u32) -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(Self::path(pve, node, vmid))?))
    }

    /// Reads a virtual machine's.
    pub fn read_machine(pve: &Path, node: &str, vmid: u32) -> io::Result<Self> {
        let path = pve.join("nodes").join(node).join("qemu-server").join(format!("{vmid}.conf"));
        Ok(Self::parse(&fs::read_to_string(path)?))
    }

    /// Reads a file's text.
    pub fn parse(text: &str) -> Self {
        let mut config = BTreeMap::new();
        let mut description = String::new();
        for line in text.lines().take_while(|line| !line.starts_with('[')) {
            if let Some(comment) = line.strip_prefix('#') {
                description.push_str(comment);
                description.push('\n');
            } else if let Some((key, value)) = line.split_once(": ") {
                config.insert(key.to_owned(), value.to_owned());
            }
        }
        if !description.is_empty() {
            config.insert("description".to_owned(), description);
        }
        Self(config)
    }

    /// Writes it back.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let description = self.get("description").unwrap_or_default().lines().map(|line| format!("#{line}\n"));
        let lines =
            self.0.iter().filter(|(key, _)| *key != "description").map(|(key, value)| format!("{key}: {value}\n"));
        fs::write(path, description.chain(lines).collect::<String>())
    }

    /// A value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// One of the `name=value` parts of a value.
    pub fn part(&self, key: &str, name: &str) -> Option<&str> {
        self.get(key)?.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    }

    /// A value's part without a name: the volume.
    pub fn volume(&self, key: &str) -> Option<&str> {
        self.get(key)?.split(',').next()
    }

    /// Whether the container's root is nobody on the node.
    pub fn unprivileged(&self) -> bool {
        self.get("unprivileged") == Some("1")
    }

    /// The size of its root file system in bytes.
    pub fn size(&self) -> u64 {
        self.part("rootfs", "size").and_then(bytes).unwrap_or(0)
    }

    /// The vmids that have a configuration on a node.
    pub fn all(pve: &Path, node: &str) -> Vec<u32> {
        Self::named(&pve.join("nodes").join(node).join("lxc"))
    }

    /// The virtual machines that have one.
    pub fn all_machines(pve: &Path, node: &str) -> Vec<u32> {
        Self::named(&pve.join("nodes").join(node).join("qemu-server"))
    }

    fn named(folder: &Path) -> Vec<u32> {
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut vmids: Vec<u32> =
            names.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".conf")?.parse().ok()).collect();
        vmids.sort_unstable();
        vmids
    }
}

/// `1G`, `3M`
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return text.parse().ok(),
    };
    number.parse::<u64>().ok().map(|number| number << shift)
}
