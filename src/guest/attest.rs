//! The agent of a guest vouched for again: its node reads its public key out of the guest, registers it, and gives it the
//! generation that the hub has raised. The executable is staged for that: the agent's own may be as old as the snapshot.

use super::{
    answers::Installed,
    probe::Probe,
    saga::StepError,
    staging::{Executable, Staged, explained, refused},
    transport::{Copying, SHORT, Transport},
};
use crate::{
    model::{Outcome, Target},
    sys::{process::Finished, random, task::Task, text::one_line},
};
use std::time::Duration;

/// How long the agent may take to have its first poll answered, in seconds.
const FIRST_POLL: u64 = 20;
/// A guest that has just been started is asked so often.
const TRIES: u32 = 15;
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(2);

/// Registers what the guest has: the generation that the hub gives it.
pub type Register<'a> = dyn Fn(&Installed) -> Result<u64, String> + 'a;

/// Attests the agent that is installed in a guest; `None` where there is none.
pub fn attest(
    target: &Target,
    executable: &Executable,
    transport: &dyn Transport,
    register: &Register,
    task: &Task,
) -> Option<Outcome> {
    let name = target.to_string();
    let looked = look(&name, executable, transport, task);
    let staged = match looked {
        Ok(Some(staged)) => staged,
        Ok(None) => return None,
        Err(error) => return Some(failed(error)),
    };
    let called = Called { name, staged: &staged, transport, task };
    let attested = called.vouch(register);
    // The error that matters is the first.
    let removed = Staged::remove(transport, &[staged.directory()]);
    // Vouching again takes no agent there: nothing of it is taken back.
    Some(match (attested, removed) {
        (Ok(generation), Ok(())) => Outcome::success(format!("attested anew, generation {generation}")).unchanged(),
        (Ok(generation), Err(why)) => {
            Outcome::success(format!("attested anew, generation {generation}, but {why}")).unchanged()
        }
        (Err(error), _) => failed(error),
    })
}

fn failed(error: StepError) -> Outcome {
    Outcome { ending: error.ending, ..Outcome::failure(error.why) }.with_help(error.help)
}

/// Looks for an agent, and brings the executable where there is one.
fn look(
    name: &str,
    executable: &Executable,
    transport: &dyn Transport,
    task: &Task,
) -> Result<Option<Staged>, StepError> {
    let state = transport.state().map_err(|error| explained(&error, name))?;
    if state.status != "running" {
        let help = format!("`remotectl run guest.start {name}`, then `remotectl agents attest {name}`");
        return Err(StepError::rejected(format!("{name} is {}", state.status), help));
    }
    let probe = Probe::of(transport, &task.cancel).map_err(|error| explained(&error, name))?;
    if probe.there.is_empty() {
        return Ok(None);
    }
    executable.fits(&probe)?;
    let place = probe.room(executable.bytes()?).map_err(|why| StepError::new(why, format!("free space on {name}")))?;
    task.report.progress("bringing the executable");
    let directory = format!("{}/.remotectl-{}", place.path, random::name(16).to_ascii_lowercase());
    let copying = Copying { cancel: &task.cancel, report: task.report };
    let staged = executable.stage(transport, &directory, &copying);
    staged.map(Some).map_err(|error| explained(&error, name))
}

struct Called<'a> {
    name: String,
    staged: &'a Staged,
    transport: &'a dyn Transport,
    task: &'a Task<'a>,
}

impl Called<'_> {
    fn vouch(&self, register: &Register) -> Result<u64, StepError> {
        let help = || format!("again: `remotectl agents attest {}`", self.name);
        let finished = self.call(&["agent", "attest", "--json"], SHORT * 2)?;
        let parsed: Result<Installed, _> = serde_json::from_slice(&finished.stdout);
        let (Ok(installed), true) = (parsed, finished.success()) else { return Err(refused(&finished, &self.name)) };
        self.task.report.progress("vouching for its key");
        let generation = register(&installed).map_err(|why| StepError::new(one_line(&why, 300), help()))?;
        let (number, wait) = (generation.to_string(), FIRST_POLL.to_string());
        let args = ["agent", "attest", "--generation", &number, "--wait", &wait, "--json"];
        let mut tries = 1;
        loop {
            let finished = self.call(&args, Duration::from_secs(FIRST_POLL) + SHORT)?;
            match finished.success() {
                true => return Ok(generation),
                // Its init system may not be up yet.
                false if tries < TRIES && !self.task.cancel.fired() => drop(self.task.cancel.wait(PAUSE)),
                false => return Err(StepError { help: help(), ..refused(&finished, &self.name) }),
            }
            tries += 1;
        }
    }

    fn call(&self, args: &[&str], timeout: Duration) -> Result<Finished, StepError> {
        let program = self.staged.program();
        let words = [&[program.as_str()], args].concat();
        let finished = Staged::call(self.transport, &words, timeout, &self.task.cancel);
        finished.map_err(|error| explained(&error, &self.name))
    }
}
