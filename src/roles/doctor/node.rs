//! A Proxmox node: whether its programs are there, and the pve-agent's credential has the rights that it needs.

use super::{Verdict, World};
use crate::{
    host::commands::PATH,
    link::wire::AgentRole,
    model::{Failure, outcome::chain},
    proxmox::{Client, rights},
    roles::{membership::Home, pve_agent},
};
use std::path::Path;

/// What the pve-agent runs.
const PROGRAMS: [&str; 4] = ["pct", "qm", "pvesh", "pveum"];

/// Whether the programs are there that the pve-agent runs; nothing where this is no node.
pub fn programs(_: &World) -> Vec<Verdict> {
    if !is_node() {
        return vec![Verdict::skipped("this is no Proxmox node")];
    }
    let there = |name: &str| PATH.split(':').any(|directory| Path::new(directory).join(name).exists());
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|name| !there(name)).collect();
    vec![if missing.is_empty() {
        Verdict::good(format!("{} are here", PROGRAMS.join(", ")))
    } else {
        Verdict::failed(
            format!("not here: {}", missing.join(", ")),
            "`apt install --reinstall pve-manager pve-container qemu-server`",
        )
    }]
}

fn is_node() -> bool {
    ["/etc/pve/local", "/usr/bin/pveversion"].iter().any(|path| Path::new(path).exists())
}

/// Whether the pve-agent's credential may do what it needs to; nothing where none is installed.
pub fn rights(_: &World) -> Vec<Verdict> {
    let home = Home::find(AgentRole::PveAgent, None);
    let configured = home.settings().is_ok_and(|(settings, _)| settings.proxmox.is_some());
    match pve_agent::token_file(&home).try_exists() {
        Ok(there) if there || configured => vec![judge(pve_agent::client(&home))],
        Ok(_) => Vec::new(),
        Err(_) => vec![Verdict::skipped("the pve-agent's credential is for root: `sudo remotectl doctor`")],
    }
}

fn judge(client: Result<Client, Failure>) -> Verdict {
    let client = match client {
        Ok(client) => client,
        Err(failure) => return Verdict::from(&failure),
    };
    match rights::missing(&client) {
        Ok(missing) if missing.is_empty() => {
            Verdict::good(format!("the pve-agent's credential has the {} privileges that it needs", rights::NEEDED))
        }
        Ok(missing) => {
            let found = format!("the pve-agent's credential lacks {} on /", missing.join(", "));
            Verdict::failed(found, rights::mend(&missing, client.user()))
        }
        Err(error) => Verdict::failed(chain(&error), error.help()),
    }
}
