//! Containers through `pct exec` on their node. `--keep-env 0`, because pct leaks the caller's environment otherwise; `--`,
//! because it would take the command's options for its own; input given always, because it fails on a closed one.
//!
//! Its exit code is the program's, 255 and 2 are also its own, 126 and 127 also lxc-attach's: what stands on standard error
//! tells them apart, as far as that goes.

use super::{
    config,
    transport::{Exec, GuestState, Transport, TransportError},
};
use crate::{
    model::target::Vmid,
    sys::{
        process::{Finished, ProcessError, Run},
        text::one_line,
    },
};
use std::{ffi::OsString, thread};

/// How often lxc-attach may fail to come up before that is told.
const TRIES: u32 = 4;

/// A container of this node.
#[derive(Debug, Clone)]
pub struct Pct {
    program: OsString,
    vmid: Vmid,
}

impl Pct {
    /// By the `pct` of this node.
    pub fn new(vmid: Vmid) -> Self {
        Self::by("pct", vmid)
    }

    /// By another program that behaves like it.
    pub fn by(program: impl Into<OsString>, vmid: Vmid) -> Self {
        Self { program: program.into(), vmid }
    }

    fn label(&self) -> String {
        format!("ct/{}", self.vmid)
    }

    fn failed(error: ProcessError) -> TransportError {
        match error {
            ProcessError::Missing(program) => TransportError::NoTool(program),
            error @ ProcessError::Start { .. } => TransportError::Start(error),
        }
    }

    /// `pct status` and `pct config`: their output, or pct's own complaint.
    fn ask(&self, what: &str) -> Result<String, TransportError> {
        let finished = Run::new(&self.program, [what, &self.vmid.to_string()]).run().map_err(Self::failed)?;
        if finished.success() {
            return Ok(finished.stdout_text());
        }
        let said = one_line(&finished.complaint(), 300);
        Err(self.own(&said).unwrap_or(TransportError::Refused { tool: "pct", said }))
    }

    /// What pct says for itself when a container is not there or does not run.
    fn own(&self, said: &str) -> Option<TransportError> {
        let vmid = self.vmid;
        if said.contains(&format!("lxc/{vmid}.conf' does not exist")) {
            return Some(TransportError::NoGuest(self.label()));
        }
        (said == format!("container '{vmid}' not running!")).then(|| TransportError::NotRunning(self.label()))
    }

    /// Tells pct's and lxc-attach's own failures from the program's.
    fn judge(&self, finished: Finished, program: String) -> Result<Finished, TransportError> {
        if !matches!(finished.code, Some(2 | 126 | 127 | 255)) || !finished.stdout.is_empty() {
            return Ok(finished);
        }
        let said = one_line(&finished.complaint(), 300);
        let attach = said.starts_with("lxc-attach: ") && said.contains("Failed to exec");
        match finished.code {
            Some(127) if attach => Err(TransportError::NotFound(program)),
            Some(126) if attach => Err(TransportError::NotExecutable(program)),
            Some(2 | 255) => self.own(&said).map_or(Ok(finished), Err),
            _ => Ok(finished),
        }
    }
}

impl Transport for Pct {
    fn name(&self) -> &'static str {
        "pct"
    }

    fn state(&self) -> Result<GuestState, TransportError> {
        // Each of them takes a noticeable while to start; together they take one.
        let (status, config) = thread::scope(|scope| {
            let config = scope.spawn(|| self.ask("config"));
            (self.ask("status"), config.join())
        });
        let config =
            config.map_err(|_| TransportError::Refused { tool: "pct", said: "config: panicked".to_owned() })??;
        Ok(config::state(&status?, &config))
    }

    fn exec(&self, mut exec: Exec<'_>) -> Result<Finished, TransportError> {
        let program = exec.program();
        let vmid = self.vmid.to_string();
        let mut argv: Vec<String> = ["exec", &vmid, "--keep-env", "0", "--"].map(str::to_owned).to_vec();
        argv.append(&mut exec.argv);
        let mut tries = 0;
        loop {
            tries += 1;
            let input = exec
                .input
                .again()
                .map_err(|source| Self::failed(ProcessError::Start { program: program.clone(), source }))?;
            let mut run = Run::new(&self.program, &argv).input(input).timeout(exec.timeout).cancel(exec.cancel.clone());
            if let Some(on_output) = exec.on_output.as_deref_mut() {
                run = run.on_output(on_output);
            }
            let finished = run.limit(exec.limit).run().map_err(Self::failed)?;
            if tries == TRIES || !never_attached(&finished) {
                return self.judge(finished, program);
            }
        }
    }
}

/// Whether lxc-attach gave up before it entered the container, as it does now and then when it copies itself into memory
/// (EBUSY): the program was not started and has read nothing, so it may be tried again.
fn never_attached(finished: &Finished) -> bool {
    !finished.success() && finished.stdout.is_empty() && finished.complaint().contains("Failed to rexec as memfd")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files;
    use serde_json::Value;
    use std::path::Path;

    const RECORDED: &str = include_str!("../../tests/fixtures/pve/client/cli.jsonl");

    /// A program that answers as a genuine pct did: what it prints stands in files beside it.
    fn recorded(directory: &Path, name: &str) -> Pct {
        let lines = RECORDED.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let line = lines.into_iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("no recorded {name}"));
        for stream in ["stdout", "stderr"] {
            files::write_atomic(&directory.join(stream), line[stream].as_str().unwrap().as_bytes(), 0o600).unwrap();
        }
        let at = directory.display();
        let script = format!("#!/bin/sh\ncat '{at}/stdout'; cat '{at}/stderr' >&2; exit {}\n", line["exit"]);
        let program = directory.join("pct");
        files::write_atomic(&program, script.as_bytes(), 0o755).unwrap();
        let vmid = line["argv"].as_array().unwrap().iter().find_map(|word| word.as_str()?.parse().ok()).unwrap();
        Pct::by(program, vmid)
    }

    fn exec(name: &str) -> Result<Finished, TransportError> {
        let directory = tempfile::tempdir().unwrap();
        recorded(directory.path(), name).exec(Exec::new(["/nonexistent"]))
    }

    #[test]
    fn codes_that_mean_several_things_are_told_apart() {
        assert_eq!(exec("pct.exec.exit-7").unwrap().code, Some(7));
        assert_eq!(exec("pct.exec.signal").unwrap().code, Some(137));
        assert_eq!(exec("pct.exec.exit-255").unwrap().code, Some(255), "the program's own");
        let error = |name| exec(name).unwrap_err().to_string();
        assert_eq!(error("pct.exec.stopped"), "ct/101 is not running");
        assert_eq!(error("pct.exec.missing-guest"), "ct/999 is not on this node");
        assert_eq!(error("pct.exec.not-found"), "there is no program `/nonexistent` in the guest");
        assert!(matches!(exec("pct.exec.not-executable"), Err(TransportError::NotExecutable(_))));
    }

    #[test]
    fn the_state_comes_from_status_and_config() {
        let directory = tempfile::tempdir().unwrap();
        let state = recorded(directory.path(), "pct.config").state().unwrap();
        assert_eq!((state.template, state.lock, state.macs), (false, None, vec!["bc:24:11:12:3e:9e".to_owned()]));
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(recorded(directory.path(), "pct.status.running").state().unwrap().status, "running");
        let directory = tempfile::tempdir().unwrap();
        let error = recorded(directory.path(), "pct.status.missing").state().unwrap_err();
        assert_eq!(error.to_string(), "ct/999 is not on this node");
    }

    #[test]
    fn an_attach_that_did_not_come_up_is_tried_again_with_the_same_input() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let script = format!(
            "#!/bin/sh\n[ -e '{at}/second' ] && exec cat\n: >'{at}/second'\necho 'Device or resource busy - Failed to rexec as memfd' >&2\nexit 1\n"
        );
        let program = directory.path().join("pct");
        files::write_atomic(&program, script.as_bytes(), 0o755).unwrap();
        let exec = Exec::new(["cat"]).input(crate::sys::process::Input::Bytes(b"told once".to_vec()));
        assert_eq!(Pct::by(program, 101).exec(exec).unwrap().stdout, b"told once");
    }

    #[test]
    fn a_machine_without_pct_says_so() {
        let error = Pct::by("no-such-pct", 101).exec(Exec::new(["true"])).unwrap_err();
        assert_eq!(error.to_string(), "there is no `no-such-pct` on this machine");
        assert!(error.help("ct/101").contains("Proxmox VE node"));
    }
}
