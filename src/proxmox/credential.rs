//! The pve-agent's own credential: a role with just the privileges that it uses, a user, a privilege-separated token for
//! each node. Made and taken away with `pveum`, which needs root on a node and no password.

use super::client::Token;
use crate::sys::{
    process::{Finished, ProcessError, Run},
    secret::Secret,
    text::one_line,
};
use serde::{Deserialize, de::DeserializeOwned};

/// The role.
pub const ROLE: &str = "RemotectlAgent";
/// The user.
pub const USER: &str = "remotectl@pve";
/// What every version knows of what we need.
pub const PRIVILEGES: [&str; 5] = ["Datastore.Audit", "Pool.Audit", "Sys.Audit", "VM.Audit", "VM.PowerMgmt"];
/// What asks a guest agent for its system and addresses: the first since version 9, the second before.
pub const GUEST_AGENT: [&str; 2] = ["VM.GuestAgent.Audit", "VM.Monitor"];

/// Something that runs `pveum`.
pub trait Pveum {
    /// Runs it with these arguments.
    fn run(&self, args: &[&str]) -> Result<Finished, ProcessError>;
}

/// The real one.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Pveum for System {
    fn run(&self, args: &[&str]) -> Result<Finished, ProcessError> {
        Run::new("pveum", args).run()
    }
}

/// A credential that could not be made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// There is no pveum: no Proxmox node.
    #[error("`pveum {doing}`")]
    Process {
        /// Its arguments.
        doing: String,
        /// Why.
        #[source]
        source: ProcessError,
    },
    /// It refused.
    #[error("`pveum {doing}`: {why}")]
    Refused {
        /// Its arguments.
        doing: String,
        /// Its own words.
        why: String,
    },
    /// It printed something else than expected.
    #[error("`pveum {doing}` printed what does not read: {why}")]
    Printed {
        /// Its arguments.
        doing: String,
        /// What is wrong.
        why: String,
    },
}

impl CredentialError {
    /// What to do next.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Process { .. } => "a pve-agent belongs onto a Proxmox VE node; is this one?",
            Self::Refused { .. } | Self::Printed { .. } => "does `pveum user list` work here, as root?",
        }
    }
}

#[derive(Deserialize)]
struct RoleLine {
    roleid: String,
    #[serde(default)]
    privs: String,
}

#[derive(Deserialize)]
struct UserLine {
    userid: String,
}

#[derive(Deserialize)]
struct TokenLine {
    tokenid: String,
}

#[derive(Deserialize)]
struct NewToken {
    #[serde(rename = "full-tokenid")]
    id: String,
    value: Secret,
}

/// Makes role, user and token, or brings them up to date. A token that is there already is replaced: its secret can't be
/// read again.
pub fn install_credential(pveum: &dyn Pveum, node: &str) -> Result<Token, CredentialError> {
    let roles: Vec<RoleLine> = list(pveum, &["role", "list"])?;
    let privileges = privileges(&roles).join(" ");
    let verb = if roles.iter().any(|role| role.roleid == ROLE) { "modify" } else { "add" };
    call(pveum, &["role", verb, ROLE, "--privs", &privileges])?;
    let users: Vec<UserLine> = list(pveum, &["user", "list"])?;
    if !users.iter().any(|user| user.userid == USER) {
        call(pveum, &["user", "add", USER, "--comment", "remotectl pve-agent"])?;
    }
    // A separated token has what it and its user both have.
    call(pveum, &["acl", "modify", "/", "--users", USER, "--roles", ROLE])?;
    let name = token_name(node);
    if tokens(pveum)?.iter().any(|token| token.tokenid == name) {
        call(pveum, &["user", "token", "remove", USER, &name])?;
    }
    let made: NewToken = list(pveum, &["user", "token", "add", USER, &name, "--privsep", "1"])?;
    let token = Token { id: made.id, secret: made.value };
    call(pveum, &["acl", "modify", "/", "--tokens", &token.id, "--roles", ROLE])?;
    Ok(token)
}

/// What there is of the credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The role.
    pub role: bool,
    /// The user.
    pub user: bool,
    /// This node's token.
    pub token: bool,
    /// How many other nodes have a token.
    pub others: usize,
}

impl Held {
    /// Whether there is anything that belongs to this node alone.
    pub fn any(&self) -> bool {
        self.token || ((self.role || self.user) && self.others == 0)
    }
}

/// Looks what there is of the credential.
pub fn held(pveum: &dyn Pveum, node: &str) -> Result<Held, CredentialError> {
    let users: Vec<UserLine> = list(pveum, &["user", "list"])?;
    let roles: Vec<RoleLine> = list(pveum, &["role", "list"])?;
    let user = users.iter().any(|user| user.userid == USER);
    let tokens = if user { tokens(pveum)? } else { Vec::new() };
    let name = token_name(node);
    let (own, others): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|token| token.tokenid == name);
    let role = roles.iter().any(|role| role.roleid == ROLE);
    Ok(Held { role, user, token: !own.is_empty(), others: others.len() })
}

/// Takes this node's token away, and user and role with the last one. What is not there is no error.
pub fn remove_credential(pveum: &dyn Pveum, node: &str) -> Result<(), CredentialError> {
    let users: Vec<UserLine> = list(pveum, &["user", "list"])?;
    if users.iter().any(|user| user.userid == USER) {
        let name = token_name(node);
        let tokens = tokens(pveum)?;
        if tokens.iter().any(|token| token.tokenid == name) {
            call(pveum, &["user", "token", "remove", USER, &name])?;
        }
        if tokens.iter().any(|token| token.tokenid != name) {
            return Ok(());
        }
        call(pveum, &["user", "delete", USER])?;
    }
    let roles: Vec<RoleLine> = list(pveum, &["role", "list"])?;
    if roles.iter().any(|role| role.roleid == ROLE) {
        call(pveum, &["role", "delete", ROLE])?;
    }
    Ok(())
}

/// Each node has its own token, so that taking one node away leaves the others alone.
pub fn token_name(node: &str) -> String {
    format!("node-{node}")
}

fn tokens(pveum: &dyn Pveum) -> Result<Vec<TokenLine>, CredentialError> {
    list(pveum, &["user", "token", "list", USER])
}

/// Our privileges, with the guest agent's by the name that this version has for it: Administrator has them all.
fn privileges(roles: &[RoleLine]) -> Vec<&'static str> {
    let all = roles.iter().find(|role| role.roleid == "Administrator").map_or("", |role| role.privs.as_str());
    let known = |name: &&&str| all.split([',', ' ']).any(|there| there == **name);
    PRIVILEGES.into_iter().chain(GUEST_AGENT.iter().find(known).copied()).collect()
}

fn list<T: DeserializeOwned>(pveum: &dyn Pveum, args: &[&str]) -> Result<T, CredentialError> {
    let printed = call(pveum, &[args, &["--output-format", "json"]].concat())?;
    let error = |why: serde_json::Error| CredentialError::Printed { doing: args.join(" "), why: why.to_string() };
    serde_json::from_slice(&printed).map_err(error)
}

fn call(pveum: &dyn Pveum, args: &[&str]) -> Result<Vec<u8>, CredentialError> {
    let doing = || args.join(" ");
    let finished = pveum.run(args).map_err(|source| CredentialError::Process { doing: doing(), source })?;
    // It exits 0 for a user of an unknown realm without a word, but everything that we ask is listed afterwards.
    if finished.success() {
        return Ok(finished.stdout);
    }
    let said = String::from_utf8_lossy(&finished.stderr).into_owned();
    // The usage that follows a complaint is no reason.
    let lines = said.lines().take_while(|line| !line.starts_with("pveum ") && !line.starts_with("USAGE"));
    let why = one_line(&lines.collect::<Vec<_>>().join(" "), 300);
    Err(CredentialError::Refused { doing: doing(), why: if why.is_empty() { finished.ending() } else { why } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::{cell::RefCell, collections::HashMap};

    const RECORDED: &str = include_str!("../../tests/fixtures/pve/client/cli.jsonl");

    /// Answers lists from what it has been told to make, and as recorded from a genuine one.
    #[derive(Default)]
    struct Fake {
        tokens: RefCell<Vec<String>>,
        made: RefCell<HashMap<&'static str, bool>>,
        calls: RefCell<Vec<String>>,
    }

    fn recorded(name: &str) -> Value {
        let lines = RECORDED.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.into_iter().find(|line| line["name"] == name).unwrap()
    }

    fn finished(code: i32, stdout: &str, stderr: &str) -> Finished {
        Finished {
            code: Some(code),
            signal: None,
            stdout: stdout.as_bytes().to_vec(),
            stderr: stderr.as_bytes().to_vec(),
            truncated: false,
            timed_out: false,
            cancelled: false,
        }
    }

    impl Fake {
        fn has(&self, what: &'static str) -> bool {
            self.made.borrow().get(what).copied().unwrap_or_default()
        }

        /// A recorded list, with one more line where that has been made.
        fn list(name: &str, more: Option<Value>) -> Finished {
            let mut list: Vec<Value> = serde_json::from_str(recorded(name)["stdout"].as_str().unwrap()).unwrap();
            list.extend(more);
            finished(0, &Value::Array(list).to_string(), "")
        }
    }

    impl Pveum for Fake {
        fn run(&self, args: &[&str]) -> Result<Finished, ProcessError> {
            self.calls.borrow_mut().push(args.join(" "));
            let set = |what, made| self.made.borrow_mut().insert(what, made);
            Ok(match args {
                ["role", "list", ..] => {
                    Self::list("pveum.role.list.json", self.has("role").then(|| json!({"roleid": ROLE, "privs": ""})))
                }
                ["role", "add", ..] if self.has("role") => {
                    let text = recorded("pveum.role.add.exists");
                    finished(255, "", text["stderr"].as_str().unwrap())
                }
                ["user", "list", ..] => {
                    Self::list("pveum.user.list.json", self.has("user").then(|| json!({"userid": USER})))
                }
                ["user", "token", "list", ..] => {
                    let lines: Vec<Value> =
                        self.tokens.borrow().iter().map(|id| json!({"tokenid": id, "privsep": 1})).collect();
                    finished(0, &Value::Array(lines).to_string(), "")
                }
                ["user", "token", "add", _, name, ..] => {
                    self.tokens.borrow_mut().push((*name).to_owned());
                    finished(0, recorded("pveum.token.add.privsep")["stdout"].as_str().unwrap(), "")
                }
                ["user", "token", "remove", _, name] => {
                    self.tokens.borrow_mut().retain(|known| known != name);
                    finished(0, "", "")
                }
                [what @ ("role" | "user"), verb @ ("add" | "delete"), ..] => {
                    set(if *what == "role" { "role" } else { "user" }, *verb == "add");
                    finished(0, "", "")
                }
                _ => finished(0, "", ""),
            })
        }
    }

    #[test]
    fn making_it_twice_gives_one_token_and_a_new_secret() {
        let pveum = Fake::default();
        let token = install_credential(&pveum, "pve1").unwrap();
        assert_eq!((token.id.as_str(), token.secret.reveal()), ("root@pam!sep", "<TOKEN>"));
        let calls = pveum.calls.borrow().clone();
        let privileges = "Datastore.Audit Pool.Audit Sys.Audit VM.Audit VM.PowerMgmt VM.GuestAgent.Audit";
        assert!(calls.contains(&format!("role add RemotectlAgent --privs {privileges}")), "{calls:?}");
        assert!(calls.contains(&"acl modify / --tokens root@pam!sep --roles RemotectlAgent".to_owned()));
        install_credential(&pveum, "pve1").unwrap();
        assert_eq!(*pveum.tokens.borrow(), ["node-pve1"]);
    }

    #[test]
    fn taking_it_away_leaves_other_nodes_alone_and_nothing_in_the_end() {
        let pveum = Fake::default();
        install_credential(&pveum, "pve1").unwrap();
        install_credential(&pveum, "pve2").unwrap();
        let both = Held { role: true, user: true, token: true, others: 1 };
        assert_eq!(held(&pveum, "pve1").unwrap(), both);
        remove_credential(&pveum, "pve1").unwrap();
        assert!(!held(&pveum, "pve1").unwrap().any());
        assert_eq!((pveum.has("user"), pveum.has("role"), pveum.tokens.borrow().len()), (true, true, 1));
        remove_credential(&pveum, "pve2").unwrap();
        remove_credential(&pveum, "pve2").unwrap();
        assert_eq!((pveum.has("user"), pveum.has("role")), (false, false));
        assert_eq!(held(&pveum, "pve2").unwrap(), Held::default());
    }

    #[test]
    fn version_8_has_another_word_for_the_guest_agent() {
        let roles = [RoleLine { roleid: "Administrator".into(), privs: "VM.Audit,VM.Monitor".into() }];
        assert!(privileges(&roles).contains(&"VM.Monitor"));
    }

    /// What a refusal is told as: the complaint, without the usage behind it.
    struct Refusing;

    impl Pveum for Refusing {
        fn run(&self, _: &[&str]) -> Result<Finished, ProcessError> {
            Ok(finished(255, "", recorded("pveum.role.add.bad-priv")["stderr"].as_str().unwrap()))
        }
    }

    #[test]
    fn refusals_are_told_in_pveums_words() {
        let error = install_credential(&Refusing, "pve1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`pveum role list --output-format json`: 400 Parameter verification failed. privs: invalid format - invalid privilege 'VM.Nonsense'"
        );
    }
}
