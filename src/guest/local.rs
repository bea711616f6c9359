//! This machine itself, as if it were a guest: for `host/…` targets, and for trying everything else out.

use super::transport::{Exec, GuestState, Transport, TransportError};
use crate::sys::process::{Finished, ProcessError, Run};
use std::io;

/// What a program finds in PATH, as `pct exec --keep-env 0` sets it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// This machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Local;

impl Transport for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn state(&self) -> Result<GuestState, TransportError> {
        Ok(GuestState { status: "running".to_owned(), template: false, lock: None, macs: Vec::new() })
    }

    fn exec(&self, exec: Exec<'_>) -> Result<Finished, TransportError> {
        let program = exec.program();
        let (first, rest) = exec.argv.split_first().ok_or_else(|| TransportError::NotFound(String::new()))?;
        let mut run = Run::new(first, rest)
            .clear_env()
            .env("PATH", PATH)
            .env("TERM", "linux")
            .input(exec.input)
            .timeout(exec.timeout)
            .cancel(exec.cancel)
            .limit(exec.limit);
        if let Some(on_output) = exec.on_output {
            run = run.on_output(on_output);
        }
        run.run().map_err(|error| match error {
            ProcessError::Missing(_) => TransportError::NotFound(program),
            ProcessError::Start { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                TransportError::NotExecutable(program)
            }
            error @ ProcessError::Start { .. } => TransportError::Start(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_holds_here() {
        let directory = tempfile::tempdir().unwrap();
        crate::guest::story::story(&Local, directory.path().to_str().unwrap()).unwrap();
    }
}
