//! The trial: a version that is to take the running one's place shows that it could, before anything is switched.

use crate::{
    host::{Machine, facts},
    link::{
        PROTOCOL,
        journal::Journal,
        runtime::{Link, LinkError},
        wire::{AgentRole, PollRequest},
    },
    model::{Failure, outcome::chain, version::version},
    roles::membership::Home,
    sys::cancel::Cancel,
};
use serde::{Deserialize, Serialize};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// How long a trial asks the hub, so that it can say why it failed before it is ended.
pub const ASKING: Duration = Duration::from_secs(50);
/// Between two questions.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a trial prints when it has succeeded.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tried {
    /// Its version.
    pub version: String,
}

/// `agent trial`: whether this executable could take the place of the agent that runs here.
pub fn trial(config: Option<PathBuf>) -> Result<(), Failure> {
    trial_of(&Home::find(AgentRole::Agent, config))
}

/// Tries everything that an agent needs to be heard, and changes nothing: configuration, key, journal, the machine's facts,
/// an answer of the hub.
pub fn trial_of(home: &Home) -> Result<(), Failure> {
    let (link, _) = home.link()?;
    let journal = home.state.join("journal");
    let high_water = Journal::peek(&journal).map_err(|error| Failure::of("reading the agent's journal", &error))?;
    facts::facts(&Machine::here());
    let request = PollRequest {
        protocol: PROTOCOL,
        version: version().to_owned(),
        high_water,
        kept: 0,
        process: String::new(),
        running: Vec::new(),
        capabilities: Vec::new(),
        trial: true,
        epoch: 0,
    };
    ask(&link, &request)?;
    let tried = serde_json::to_string(&Tried { version: version().to_owned() });
    println!("{}", tried.map_err(|error| Failure::of("printing", &error))?);
    Ok(())
}

fn ask(link: &Link, request: &PollRequest) -> Result<(), Failure> {
    let (begun, pause) = (Instant::now(), Cancel::new());
    loop {
        match link.poll(request) {
            Ok(_) => return Ok(()),
            Err(LinkError::Http(error)) if begun.elapsed() < ASKING => {
                tracing::debug!(error = chain(&error), "the hub does not answer");
                pause.wait(ASK_AGAIN);
            }
            Err(error) => return Err(Failure::of("asking the hub", &error)),
        }
    }
}
