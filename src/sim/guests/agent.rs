//! The agent in a simulated guest: the files and the service that a real installation leaves there, for whoever plays the
//! agent's part.

use super::{World, WorldError, guest::Guest, tree};
use crate::sys::files::{self, FileError};

/// The agent's service.
const SERVICE: &str = "remotectl-agent";

/// Why an agent could not be put into a guest or taken out of it.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no such guest.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Its files.
    #[error("in the simulated guest")]
    File(#[from] FileError),
}

impl World {
    /// Leaves what an installation leaves: the executable's place, its configuration, a service that starts at boot and does
    /// not run yet.
    pub fn install_agent(&self, vmid: u32, version: &str) -> Result<(), AgentError> {
        let guest = self.guest(vmid)?;
        guest.write_once()?;
        install(guest, version)?;
        guest.state().agent = Some(version.to_owned());
        Ok(())
    }

    /// Starts the agent's service: it has a process from now on.
    pub fn start_agent(&self, vmid: u32) -> Result<(), AgentError> {
        // It has nothing that could keep it from starting.
        self.guest(vmid)?.start(SERVICE).ok();
        Ok(())
    }

    /// Takes all of it away.
    pub fn remove_agent(&self, vmid: u32) -> Result<(), AgentError> {
        let guest = self.guest(vmid)?;
        guest.set_service(SERVICE, false)?;
        guest.state().agent = None;
        for place in
            ["/usr/local/bin/remotectl", "/etc/remotectl", "/var/lib/remotectl", "/run/remotectl", "/opt/remotectl"]
        {
            let at = guest.file(place);
            match at.symlink_metadata() {
                Ok(meta) if meta.is_dir() => files::remove_tree(&at)?,
                Ok(_) => files::remove(&at)?,
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The version of the agent in a guest.
    pub fn agent_version(&self, vmid: u32) -> Option<String> {
        self.guest(vmid).ok()?.state().agent.clone()
    }
}

fn install(guest: &Guest, version: &str) -> Result<(), FileError> {
    // A version is a directory's name; whatever else it is becomes one.
    let version: String =
        version.chars().filter(|char| char.is_ascii_alphanumeric() || ".-+".contains(*char)).collect();
    let version = version.trim_start_matches('.');
    let executable = format!("/opt/remotectl/versions/{version}/remotectl");
    files::create_directory(guest.file(&executable).parent().unwrap_or(&guest.root), 0o755)?;
    files::write_atomic(&guest.file(&executable), b"", 0o755)?;
    for (to, at) in [
        (format!("versions/{version}/remotectl"), "/opt/remotectl/agent"),
        (format!("../../..{executable}"), "/usr/local/bin/remotectl"),
    ] {
        files::symlink_atomic(to.as_ref(), &guest.file(at))?;
    }
    tree::put(
        guest,
        "/etc/remotectl/agent.toml",
        "# The agent's configuration; its key is in /var/lib/remotectl/agent.\n",
    )?;
    files::create_directory(&guest.file("/var/lib/remotectl/agent"), 0o700)?;
    guest.set_service(SERVICE, true)?;
    guest.enable(SERVICE, true)
}
