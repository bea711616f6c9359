//! What the executable does when it is called inside a simulated guest: the same as the real one does there, with the
//! guest's files for its files and a thread for its service.

use super::{machines::Machines, setting::NEWEST};
use crate::{
    guest::answers::Installed,
    link::wire::AgentRole,
    model::{Exit, Failure, target::Vmid},
    roles::{
        agent::{InstallOptions, key_of, look, once_on, pointer_of, take_generation},
        membership::Settings,
    },
    sim::guests::{Call, Reply},
};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// The executable in guests.
pub struct Executable {
    machines: Arc<Machines>,
}

impl Executable {
    /// The one that these machines are given.
    pub fn new(machines: Arc<Machines>) -> Self {
        Self { machines }
    }

    /// What a call of it comes to.
    pub fn called(&self, call: &Call) -> Reply {
        let args: Vec<&str> = call.args.iter().map(String::as_str).collect();
        let printed = match &args[..] {
            ["version", ..] => Ok(format!("remotectl {NEWEST}")),
            ["agent", "probe", rest @ ..] => self.probe(call.vmid, rest),
            ["agent", "once"] => self.once(call.vmid, call.input),
            ["agent", "install", rest @ ..] if rest.contains(&"--finish") => self.finish(call.vmid),
            ["agent", "install", rest @ ..] => self.install(call.vmid, rest),
            ["agent", "attest", "--generation", number, ..] => self.take_generation(call.vmid, number),
            ["agent", "attest", ..] => self.machines.home(call.vmid).and_then(|home| printed(&key_of(&home)?)),
            ["agent", "uninstall", ..] => self.machines.remove(call.vmid).map(|()| String::new()),
            other => Err(Failure::usage(format!("the demo's executable does not know `{}`", other.join(" ")))),
        };
        match printed {
            Ok(text) => Reply { code: 0, stdout: text + "\n", stderr: String::new() },
            Err(failure) => {
                Reply { code: i32::from(failure.exit as u8), stdout: String::new(), stderr: told(&failure) }
            }
        }
    }

    fn probe(&self, vmid: Vmid, args: &[&str]) -> Result<String, Failure> {
        printed(&look(&self.machines.machine(vmid)?, &values(args, "--hub")))
    }

    fn once(&self, vmid: Vmid, input: &[u8]) -> Result<String, Failure> {
        let lines = Mutex::new(Vec::new());
        once_on(&String::from_utf8_lossy(input), &self.machines.machine(vmid)?, &|line| {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
        })?;
        Ok(lines.into_inner().unwrap_or_else(PoisonError::into_inner).join("\n"))
    }

    /// Key and configuration, everything but the start.
    fn install(&self, vmid: Vmid, args: &[&str]) -> Result<String, Failure> {
        let hubs = values(args, "--hub");
        let join = values(args, "--join").into_iter().next();
        let options = InstallOptions { join, hubs, no_start: true, ..InstallOptions::default() };
        let mut pointer = pointer_of(AgentRole::Agent, &options)?;
        let others: Vec<String> =
            pointer.addresses.iter().filter(|address| !options.hubs.contains(address)).cloned().collect();
        pointer.addresses = options.hubs.into_iter().chain(others).collect();
        self.machines.install(vmid, NEWEST)?;
        let home = self.machines.home(vmid)?;
        let public_key = home.key()?.public();
        home.configure(&Settings { hub: pointer.to_string(), generation: 1, proxmox: None })?;
        printed(&Installed {
            agent_id: public_key.agent_id(),
            public_key: public_key.into(),
            version: NEWEST.to_owned(),
            init: self.machines.machine(vmid)?.init().to_string(),
        })
    }

    /// Another generation, from a new start on.
    fn take_generation(&self, vmid: Vmid, number: &str) -> Result<String, Failure> {
        let generation = number.parse().map_err(|error| Failure::of("--generation", &error).exit(Exit::Usage))?;
        take_generation(&self.machines.home(vmid)?, generation)?;
        self.finish(vmid)
    }

    /// The start, and the hub's first answer.
    fn finish(&self, vmid: Vmid) -> Result<String, Failure> {
        self.machines.start(vmid)?.wait()?;
        printed(&self.machines.home(vmid)?.standing()?)
    }
}

/// The values of an option that may be repeated.
fn values(args: &[&str], option: &str) -> Vec<String> {
    args.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].to_owned()).collect()
}

fn printed(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::of("printing", &error))
}

/// A failure as the program prints it.
fn told(failure: &Failure) -> String {
    let help = failure.help.as_ref().map(|help| format!("help: {help}\n")).unwrap_or_default();
    format!("error: {failure}\n{help}")
}
