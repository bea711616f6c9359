//! `agent attest`: what a node asks of the agent that is installed here when it vouches for it again. The node calls it by an
//! executable of its own.

use super::install::{reinstated, tell};
use crate::{
    guest::answers::Installed,
    host::Machine,
    link::wire::AgentRole,
    model::{Failure, version::version},
    roles::membership::{Home, Settings},
};

/// How `agent attest` was called.
#[derive(Debug, Clone, Default)]
pub struct AttestOptions {
    /// `--generation N`: take this generation, and start anew; without it only the key is told.
    pub generation: Option<u64>,
    /// `--wait SECONDS`: how long to wait for the first answered poll.
    pub wait: u64,
    /// `--json`.
    pub json: bool,
}

/// Tells the public key of the agent that is installed here, or gives it another generation.
pub fn attest(options: &AttestOptions) -> Result<(), Failure> {
    let home = Home::find(AgentRole::Agent, None);
    match options.generation {
        None => {
            let installed = key_of(&home)?;
            let text = serde_json::to_string(&installed).map_err(|error| Failure::of("printing", &error))?;
            println!("{}", if options.json { &text } else { &installed.public_key });
            Ok(())
        }
        Some(generation) => {
            take_generation(&home, generation)?;
            tell(AgentRole::Agent, options.json, reinstated(&home, options.wait)?)
        }
    }
}

/// The key of an agent that is installed.
pub fn key_of(home: &Home) -> Result<Installed, Failure> {
    home.settings()?;
    let public_key = home.key()?.public();
    Ok(Installed {
        agent_id: public_key.agent_id(),
        public_key: public_key.into(),
        version: version().to_owned(),
        init: Machine::here().init().to_string(),
    })
}

/// From its next start on the agent is of that generation.
pub fn take_generation(home: &Home, generation: u64) -> Result<(), Failure> {
    let (settings, _) = home.settings()?;
    home.configure(&Settings { generation, ..settings })
}
