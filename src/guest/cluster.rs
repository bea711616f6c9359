//! Another node of the cluster, over the keys that the cluster's nodes have of each other: as Proxmox's own tools go there.
//! Whose host key the cluster does not know is a stranger, and nothing is sent to it.

use super::transport::{Exec, GuestState, Transport, TransportError};
use crate::{
    model::target::is_name,
    sys::{
        process::{Finished, ProcessError, Run},
        text::one_line,
    },
};
use std::path::PathBuf;

/// What a program finds there: nothing of this machine's.
const ENVIRONMENT: [&str; 6] = [
    "env",
    "-i",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "TERM=linux",
    "LC_ALL=C",
];

/// No questions, no unknown host keys, no forwarding; a node that does not answer is given up.
const OPTIONS: [&str; 9] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
];

/// Another node.
#[derive(Debug, Clone)]
pub struct ClusterNode {
    program: PathBuf,
    name: String,
    address: String,
}

impl ClusterNode {
    /// That node; its address is what the cluster has for it, else its name has to do.
    pub fn new(name: &str, address: Option<&str>) -> Result<Self, TransportError> {
        Self::by("ssh", name, address)
    }

    /// By another program than `ssh`.
    pub fn by(program: impl Into<PathBuf>, name: &str, address: Option<&str>) -> Result<Self, TransportError> {
        let address = address.unwrap_or(name);
        // Neither may be taken for an option.
        let plain =
            |text: &str| !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || ".:-".contains(c));
        if !is_name(name) || !plain(name) || !plain(address) {
            let said = format!("`{}` is no name of a node", one_line(name, 60));
            return Err(TransportError::Refused { tool: "ssh", said });
        }
        Ok(Self { program: program.into(), name: name.to_owned(), address: address.to_owned() })
    }

    /// What `ssh` is called with, the command aside.
    fn arguments(&self) -> Vec<String> {
        // Proxmox keeps host keys by the nodes' names: a file each since 8.2, all in one before.
        let known =
            format!("/etc/pve/nodes/{}/ssh_known_hosts /etc/pve/priv/known_hosts /root/.ssh/known_hosts", self.name);
        let mut arguments: Vec<String> = ["-T", "-e", "none"].map(str::to_owned).into();
        let own = [
            format!("HostKeyAlias={}", self.name),
            format!("UserKnownHostsFile={known}"),
            "GlobalKnownHostsFile=/etc/ssh/ssh_known_hosts".to_owned(),
        ];
        for option in OPTIONS.iter().map(|option| (*option).to_owned()).chain(own) {
            arguments.extend(["-o".to_owned(), option]);
        }
        arguments.extend(["-l".to_owned(), "root".to_owned(), "--".to_owned(), self.address.clone()]);
        arguments
    }

    /// What ssh itself complains about, where it is ssh that has failed.
    fn trouble(&self, finished: &Finished) -> Option<TransportError> {
        let text = String::from_utf8_lossy(&finished.stderr);
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let has = |words: &str| text.contains(words);
        let refused = |said: String| Some(TransportError::Refused { tool: "ssh", said });
        let name = &self.name;
        if finished.code != Some(255) {
            return None;
        }
        if has("Host key verification failed") || has("host key is known for") || has("IDENTIFICATION HAS CHANGED") {
            return refused(format!("the host key of {name} is not one that the cluster knows: a stranger"));
        }
        if has("Permission denied (") {
            return refused(format!("{name} does not let this node's key in"));
        }
        let away = [
            "ssh: connect to host",
            "ssh: Could not resolve",
            "Connection timed out",
            "Connection closed by",
            "kex_exchange_identification",
            "Connection reset by",
            "Timeout, server",
        ];
        if away.iter().any(|words| has(words)) {
            return refused(format!("{name} does not answer: {}", one_line(last, 200)));
        }
        None
    }
}

impl Transport for ClusterNode {
    fn name(&self) -> &'static str {
        "ssh"
    }

    /// A node has no hypervisor above it: it is asked itself.
    fn state(&self) -> Result<GuestState, TransportError> {
        self.exec(Exec::new(["true"]))?;
        Ok(GuestState { status: "running".to_owned(), template: false, lock: None, macs: Vec::new() })
    }

    fn exec(&self, exec: Exec<'_>) -> Result<Finished, TransportError> {
        let program = exec.program();
        // The only way in is root's shell there: each word stands in quotes that nothing in it can end.
        let words: Vec<String> =
            ENVIRONMENT.iter().map(|word| (*word).to_owned()).chain(exec.argv).map(|word| quoted(&word)).collect();
        let arguments = self.arguments().into_iter().chain([words.join(" ")]);
        let mut run = Run::new(&self.program, arguments)
            .input(exec.input)
            .timeout(exec.timeout)
            .cancel(exec.cancel)
            .limit(exec.limit);
        if let Some(on_output) = exec.on_output {
            run = run.on_output(on_output);
        }
        let finished = run.run().map_err(|error| match error {
            ProcessError::Missing(program) => TransportError::NoTool(program),
            error @ ProcessError::Start { .. } => TransportError::Start(error),
        })?;
        if let Some(trouble) = self.trouble(&finished) {
            return Err(trouble);
        }
        let said = String::from_utf8_lossy(&finished.stderr);
        match finished.code {
            Some(127) if said.starts_with("env: ") => Err(TransportError::NotFound(program)),
            Some(126) if said.starts_with("env: ") => Err(TransportError::NotExecutable(program)),
            _ => Ok(finished),
        }
    }
}

/// A word for a POSIX shell: whatever it holds, it stays one word and nothing in it has a meaning.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files;

    /// A program in ssh's place: hands the command to this machine's own shell, as sshd would.
    fn here(directory: &tempfile::TempDir) -> ClusterNode {
        let program = directory.path().join("ssh");
        let script = b"#!/bin/sh\nfor last in \"$@\"; do :; done\nexec sh -c \"$last\"\n";
        files::write_atomic(&program, script, 0o755).unwrap();
        ClusterNode::by(program, "pve2", Some("10.0.0.2")).unwrap()
    }

    #[test]
    fn the_story_holds_through_a_shell() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("story");
        files::create_directory(&place, 0o700).unwrap();
        crate::guest::story::story(&here(&directory), place.to_str().unwrap()).unwrap();
    }

    #[test]
    fn words_stay_words() {
        for word in ["a b", "", "$(reboot)", "`x`", "it's", "'; reboot; '", "\\", "\n", "*", "-x", "é\u{1b}"] {
            let directory = tempfile::tempdir().unwrap();
            let node = here(&directory);
            assert_eq!(node.exec(Exec::new(["printf", "%s", word])).unwrap().stdout_text(), word);
        }
    }

    #[test]
    fn strangers_and_nodes_that_are_away_are_told_apart() {
        for (complaint, wanted) in [
            (
                "No ED25519 host key is known for pve2 and you have requested strict checking.\nHost key verification failed.",
                "ssh: the host key of pve2 is not one that the cluster knows: a stranger",
            ),
            ("root@10.0.0.2: Permission denied (publickey).", "ssh: pve2 does not let this node's key in"),
            (
                "ssh: connect to host 10.0.0.2 port 22: No route to host",
                "ssh: pve2 does not answer: ssh: connect to host 10.0.0.2 port 22: No route to host",
            ),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let program = directory.path().join("ssh");
            let script = format!("#!/bin/sh\ncat >&2 <<'END'\n{complaint}\nEND\nexit 255\n");
            files::write_atomic(&program, script.as_bytes(), 0o755).unwrap();
            let node = ClusterNode::by(program, "pve2", None).unwrap();
            assert_eq!(node.state().unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn nothing_is_left_to_chance() {
        let node = ClusterNode::new("pve2", Some("10.0.0.2")).unwrap();
        let arguments = node.arguments().join(" ");
        for part in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "HostKeyAlias=pve2",
            "/etc/pve/priv/known_hosts",
            "-l root -- 10.0.0.2",
        ] {
            assert!(arguments.contains(part), "{part}: {arguments}");
        }
        for name in ["-oProxyCommand=x", "a b", "", "../x", "pve2;reboot"] {
            assert!(
                ClusterNode::new(name, None).is_err() && ClusterNode::new("pve2", Some(&format!("-{name}"))).is_err(),
                "{name}"
            );
        }
    }
}
