//! Which way leads into a virtual machine: its guest agent where one is enabled and answers, else SSH where there is a way to
//! log in, else the reason why not.

use super::{
    qga::{Qga, Qm},
    ssh::{Login, connect_first},
    transport::{Transport, TransportError},
};
use std::path::Path;

/// The way into a virtual machine of this node. `logins` are asked for only where there is no guest agent;
/// a connection keeps its key below `private`. A machine that does not run, or is a template, has its way all the same: what
/// stands against a deployment is told by that.
pub fn into_machine(
    qm: &Qm,
    logins: impl FnOnce() -> Vec<Login>,
    private: &Path,
) -> Result<Box<dyn Transport>, TransportError> {
    let configured = qm.configured()?;
    let qga = Qga::by(qm.clone());
    let state = qga.state()?;
    if state.status != "running" || state.template {
        return Ok(Box::new(qga));
    }
    let ready = if configured { qga.ready() } else { Err(TransportError::NoGuestAgent(qga.label().to_owned())) };
    match ready {
        Ok(()) => Ok(Box::new(qga)),
        Err(error) => match logins() {
            logins if logins.is_empty() => Err(error),
            logins => Ok(Box::new(connect_first(logins, qm, private)?)),
        },
    }
}
