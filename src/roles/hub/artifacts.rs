//! `hub artifact`: the executables that this hub holds for its agents. Works on the data directory, so that it needs no
//! running hub; one that runs sees at once what has changed.

use super::{Data, HubOptions, Settings};
use crate::{
    engine::artifacts::{ArtifactError, Artifacts, Held},
    model::{Failure, outcome::chain},
};
use std::path::Path;

/// `hub artifact add FILE`.
pub fn add_artifact(options: &HubOptions, file: &Path, json: bool) -> Result<(), Failure> {
    let held = open(options)?.add(file).map_err(|error| not_added(&error))?;
    if json {
        return print(&held);
    }
    println!("remotectl {} for {} is held, {} bytes, SHA-256 {}", held.version, held.arch, held.size, held.sha256);
    eprintln!("help: `remotectl update SELECTOR` brings agents to the newest version of their architecture");
    Ok(())
}

/// `hub artifact remove VERSION`.
pub fn remove_artifact(options: &HubOptions, version: &str) -> Result<(), Failure> {
    let gone = open(options)?.remove(version);
    let gone =
        gone.map_err(|error| Failure::of("taking an executable away", &error).help("as the hub's user (sudo?)"))?;
    if gone.is_empty() {
        let failure = Failure::new(format!("the hub holds no remotectl {version}"));
        return Err(failure.help("`remotectl hub artifact list` lists what it holds"));
    }
    for Held { arch, version, .. } in &gone {
        println!("remotectl {version} for {arch} is held no more");
    }
    Ok(())
}

/// `hub artifact list`.
pub fn list_artifacts(options: &HubOptions, json: bool) -> Result<(), Failure> {
    let held = open(options)?.list();
    if json {
        return print(&held);
    }
    if held.is_empty() {
        eprintln!(
            "none; a hub that is started holds its own executable, `remotectl hub artifact add FILE` adds others"
        );
    }
    for Held { arch, version, sha256, size, .. } in &held {
        println!("{arch:12} {version:14} {size:>10}  {sha256}");
    }
    Ok(())
}

fn open(options: &HubOptions) -> Result<Artifacts, Failure> {
    let settings = Settings::load(options)?;
    if !Data::exists(&settings.data) {
        let failure = Failure::new(format!("there is no hub in {}", settings.data.display()));
        return Err(failure.help("on the hub's machine, as its user (sudo?); --data DIRECTORY where it is elsewhere"));
    }
    Ok(Artifacts::new(settings.data.join("artifacts")))
}

fn not_added(error: &ArtifactError) -> Failure {
    let failure = Failure::new(format!("adding an executable: {}", chain(error)));
    match error {
        ArtifactError::File(_) => failure.help("may this user read it, and write the hub's data? is the disk full?"),
        ArtifactError::NotOurs(_) => failure.help("a remotectl of 0.1.0 or later; was it packed or encrypted?"),
        ArtifactError::Large(_) => failure.help("`make dist` builds one below 12 MB"),
        ArtifactError::NotElf(_) | ArtifactError::Machine { .. } => {
            failure.help("a remotectl as `make dist` builds it, for the machines that the agents run on")
        }
    }
}

fn print(value: &impl serde::Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(value).map_err(|error| Failure::of("printing", &error))?);
    Ok(())
}
