//! Stand-ins for Proxmox's commands. This same executable under the names `pct`, `qm`, `pvesh`, `pveum`, on the nodes'
//! PATH; what they print and how they exit is what was recorded from the genuine ones, oddities included.

pub mod cli;
pub mod config;
mod daemon;
mod fault;
mod files;
mod lxc;
mod pct;
mod pvesh;
mod pveum;
pub mod qga;
mod qm;
pub mod qmp;

pub use fault::PLANTED;

use std::process::ExitCode;

/// How a command ended that did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// What goes to standard error, whole lines.
    pub message: String,
}

impl Failure {
    /// The ordinary one: 255.
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_status(255, message)
    }

    /// With another exit status.
    pub fn with_status(status: u8, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.push('\n');
        Self { status, message }
    }
}

/// An exit status, or a failure.
pub type Outcome = Result<u8, Failure>;

/// The stand-in of that name, if there is one.
pub fn run(name: &str, arguments: &[String]) -> Option<ExitCode> {
    let outcome = match name {
        "pct" => pct::run(arguments),
        "qm" => qm::run(arguments),
        "pvesh" => pvesh::run(arguments),
        "pveum" => pveum::run(arguments),
        "pveversion" => version(),
        _ => return None,
    };
    Some(ExitCode::from(outcome.unwrap_or_else(|failure| {
        eprint!("{}", failure.message);
        failure.status
    })))
}

#[expect(clippy::unnecessary_wraps, reason = "like the others")]
fn version() -> Outcome {
    let system = rustix::system::uname();
    println!("pve-manager/9.2.11/14a22df3 (running kernel: {})", system.release().to_string_lossy());
    Ok(0)
}

/// The name of the node that this runs on.
pub fn node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
