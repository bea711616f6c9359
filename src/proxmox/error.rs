//! What can go wrong with a request, told so that it is clear whether the API may have acted on it.

use super::rights;
use crate::sys::{files::FileError, http::HttpError, text::one_line, tls::TlsError};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A request that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No connection: nothing was sent.
    #[error("{doing}: the Proxmox API does not answer")]
    Unreachable {
        /// `POST /nodes/…`.
        doing: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// Sent, but not answered: it may have been acted upon.
    #[error("{doing}: the request was sent, but the Proxmox API gave no answer")]
    Lost {
        /// `POST /nodes/…`.
        doing: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// Answered with an error.
    #[error("{doing}: {reason} (HTTP {status})")]
    Refused {
        /// `POST /nodes/…`.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// Proxmox's message, its parameter errors included.
        reason: String,
        /// Its complaints about single parameters.
        parameters: BTreeMap<String, String>,
    },
    /// Answered with something that does not read.
    #[error("{doing}: the answer does not read: {why}")]
    Answer {
        /// `GET /nodes/…`.
        doing: String,
        /// What is wrong with it.
        why: String,
    },
    /// The password alone does not do.
    #[error("logging in as {user}: a second factor is asked for")]
    SecondFactor {
        /// `root@pam`.
        user: String,
    },
    /// The CA file that the API is to be verified by is not to be had.
    #[error("verifying the Proxmox API by its cluster's CA")]
    Authority(#[source] FileError),
    /// TLS can't be set up with it.
    #[error("setting up the connection to the Proxmox API")]
    Tls(#[from] TlsError),
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    message: Option<String>,
    #[serde(default)]
    errors: BTreeMap<String, serde_json::Value>,
}

impl ApiError {
    /// The error of an exchange that brought no answer.
    pub(super) fn unanswered(doing: String, source: HttpError) -> Self {
        if source.not_sent() { Self::Unreachable { doing, source } } else { Self::Lost { doing, source } }
    }

    /// The error of an answer that is not 2xx.
    pub(super) fn refused(doing: String, status: u16, phrase: &str, body: &[u8]) -> Self {
        let body: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
        let parameters: BTreeMap<String, String> = body
            .errors
            .iter()
            .map(|(name, why)| (one_line(name, 60), one_line(why.as_str().unwrap_or(&why.to_string()), 300)))
            .collect();
        let said = body.message.as_deref().map(str::trim).filter(|text| !text.is_empty()).unwrap_or(phrase);
        let mut reason = one_line(said, 500);
        if reason.is_empty() {
            canonical(status).clone_into(&mut reason);
        }
        if !parameters.is_empty() {
            let list: Vec<String> = parameters.iter().map(|(name, why)| format!("{name}: {why}")).collect();
            reason = format!("{} {}", reason.trim_end_matches('.').to_owned() + ":", list.join("; "));
        }
        Self::Refused { doing, status, reason, parameters }
    }

    /// Whether the API may have acted on the request.
    pub fn may_have_acted(&self) -> bool {
        // 596 and on: the connection to the node that the request was passed on to broke after it was there.
        matches!(self, Self::Lost { .. } | Self::Answer { .. } | Self::Refused { status: 596..=599, .. })
    }

    /// The HTTP status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Proxmox's own words, where it answered.
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason, .. } => reason,
            _ => "",
        }
    }

    /// What it means for the whole request, where Proxmox's own words are about something else; empty otherwise.
    pub(super) fn plainly(&self) -> String {
        match self {
            Self::Refused { reason, .. } if no_quorum(reason) => "the cluster has no quorum".into(),
            Self::Refused { status: 595, doing, .. } => format!("{} does not answer the other nodes", node_of(doing)),
            Self::Refused { status: 596..=599, doing, .. } => {
                format!("{} was asked, and the connection to it broke or took too long", node_of(doing))
            }
            _ => String::new(),
        }
    }

    /// What to do next.
    pub fn help(&self) -> String {
        match self {
            Self::Unreachable { source: HttpError::Connect { source, .. }, .. } if certificate(source) => {
                "the API's certificate is not the expected one: `remotectl pve-agent install` on the node takes it anew"
                    .into()
            }
            Self::Unreachable { .. } | Self::Lost { .. } => {
                "is it running? `systemctl status pveproxy` on the node".into()
            }
            Self::Refused { status: 401, .. } => {
                "`remotectl pve-agent install` on the node makes a new API token".into()
            }
            Self::Refused { status: 403, doing, reason, .. } => rights::help(doing, reason),
            Self::Refused { reason, .. } if no_quorum(reason) => NO_QUORUM.into(),
            Self::Refused { status: 595..=599, doing, .. } => {
                format!("is {} on, and in its cluster? `remotectl nodes` shows it", node_of(doing))
            }
            Self::SecondFactor { .. } => {
                "give the key of its TOTP (`totp_file` in pve-agent.toml), or use an API token".into()
            }
            Self::Authority(_) | Self::Tls(_) => {
                "is this a Proxmox node? `remotectl pve-agent probe` shows what is there".into()
            }
            Self::Refused { .. } | Self::Answer { .. } => {
                "`remotectl pve-agent probe` on the node checks its API".into()
            }
        }
    }
}

/// What to do about a cluster without a majority.
pub(super) const NO_QUORUM: &str =
    "`pvecm status` on a node shows who is missing: Proxmox changes nothing until most of the nodes see each other";

/// Whether these are Proxmox's words for a cluster whose nodes don't see a majority of each other.
pub(super) fn no_quorum(words: &str) -> bool {
    words.contains("no quorum")
}

/// `node pve3` of `POST /nodes/pve3/lxc/…`.
fn node_of(doing: &str) -> String {
    let mut parts = doing.split('/').skip_while(|part| *part != "nodes").skip(1);
    parts.next().filter(|node| !node.is_empty()).map_or_else(|| "the node".to_owned(), |node| format!("node {node}"))
}

fn certificate(error: &std::io::Error) -> bool {
    error.to_string().contains("certificate")
}

/// What a status says where Proxmox says nothing.
fn canonical(status: u16) -> &'static str {
    match status {
        401 => "authentication failed",
        403 => "permission denied",
        501 => "not implemented",
        595 => "the node can't be connected to",
        596 => "the connection to the node broke",
        597..=599 => "the node did not answer in time",
        _ => "no reason given",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, phrase: &str, body: &str) -> ApiError {
        ApiError::refused("GET /version".into(), status, phrase, body.as_bytes())
    }

    #[test]
    fn a_cluster_without_a_majority_and_a_node_that_is_away_are_said_to_be_that() {
        let quorum = refused(500, "cluster not ready - no quorum?", "");
        assert_eq!(quorum.plainly(), "the cluster has no quorum");
        assert!(quorum.help().starts_with("`pvecm status`") && !quorum.may_have_acted());
        let away = |status| ApiError::refused("POST /nodes/pve3/lxc/121/status/start".into(), status, "", b"");
        assert_eq!(away(595).plainly(), "node pve3 does not answer the other nodes");
        assert_eq!(away(595).help(), "is node pve3 on, and in its cluster? `remotectl nodes` shows it");
        assert_eq!(
            (away(595).may_have_acted(), away(596).may_have_acted(), away(599).may_have_acted()),
            (false, true, true)
        );
        assert!(away(599).plainly().starts_with("node pve3 was asked, and"), "{}", away(599).plainly());
        assert_eq!(refused(500, "x", "").plainly(), "");
    }

    #[test]
    fn the_message_comes_from_wherever_it_is() {
        assert_eq!(refused(401, "No ticket", "").to_string(), "GET /version: No ticket (HTTP 401)");
        assert_eq!(refused(596, "", "").reason(), "the connection to the node broke");
        let body = r#"{"data":null,"message":"CT 101 not running\n"}"#;
        assert_eq!(refused(500, "CT 101 not running", body).reason(), "CT 101 not running");
        let body = r#"{"data":null,"errors":{"vmid":"type check ('integer') failed\n"},"message":"Parameter verification failed.\n"}"#;
        assert_eq!(
            refused(400, "x", body).reason(),
            "Parameter verification failed: vmid: type check ('integer') failed"
        );
        assert_eq!(refused(500, "a\u{1b}[2Jb", "<html>").reason(), "a [2Jb");
    }
}
