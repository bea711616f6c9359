//! Whether the pve-agent's credential may do what it needs to, and which `pveum` command mends what is missing.

use super::{
    client::Client,
    credential::{GUEST_AGENT, PRIVILEGES, ROLE, USER},
    error::ApiError,
    requests,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// How many privileges the credential needs: the guest agent's counts once, whichever of its names Proxmox has for it.
pub const NEEDED: usize = PRIVILEGES.len() + 1;

/// The privileges that the client's own token does not have on `/`, by the API's own account.
pub fn missing(client: &Client) -> Result<Vec<&'static str>, ApiError> {
    let granted: BTreeMap<String, BTreeMap<String, Value>> = client.ask(&requests::access::permissions())?;
    let everywhere = granted.get("/");
    let has = |name: &&str| everywhere.is_some_and(|granted| granted.contains_key(*name));
    let mut missing: Vec<&str> = PRIVILEGES.into_iter().filter(|name| !has(name)).collect();
    if !GUEST_AGENT.iter().any(has) {
        missing.push(GUEST_AGENT[0]);
    }
    Ok(missing)
}

/// What gives the missing ones: the role, where some are missing from it; its assignment, where all are.
pub fn mend(missing: &[&str], user: &str) -> String {
    // A user that logs in by a password has whatever role it was given.
    if !user.contains('!') {
        return format!("`pveum acl modify / --users {user} --roles {ROLE}`");
    }
    if missing.len() == NEEDED {
        return format!(
            "`pveum acl modify / --users {USER} --roles {ROLE}`, then `pveum acl modify / --tokens '{user}' --roles {ROLE}`"
        );
    }
    let older = if missing.contains(&GUEST_AGENT[0]) {
        format!(" (before Proxmox VE 9 that one is {})", GUEST_AGENT[1])
    } else {
        String::new()
    };
    format!("`pveum role modify {ROLE} --append 1 --privs \"{}\"`{older}", missing.join(" "))
}

/// What a request takes that was refused for want of a privilege: Proxmox names path and privileges in most cases
/// (`Permission check failed (/vms/118, VM.Snapshot)`), and nothing where guests are made.
pub(super) fn wanted(doing: &str, reason: &str) -> Option<(String, Vec<String>)> {
    let named = || {
        let (path, list) = reason.split_once("check failed (")?.1.split_once(')')?.0.split_once(", ")?;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        let privileges: Vec<String> = list.split('|').map(str::to_owned).collect();
        (plain(path) && privileges.iter().all(|name| plain(name))).then(|| (path.to_owned(), privileges))
    };
    let makes = doing.starts_with("POST /nodes/") && (doing.ends_with("/lxc") || doing.ends_with("/qemu"));
    named().or_else(|| {
        let making = ["VM.Allocate", "Datastore.AllocateSpace", "SDN.Use"].map(str::to_owned).to_vec();
        makes.then(|| ("/vms".to_owned(), making))
    })
}

/// What to do about such a refusal.
pub(super) fn help(doing: &str, reason: &str) -> String {
    let doctor = "`remotectl doctor` on the node names all that are missing";
    let Some((path, privileges)) = wanted(doing, reason) else {
        return format!("`remotectl pve-agent install` on the node renews its role; {doctor}");
    };
    // Where several would do, ours is the one that the role is made with.
    let ours =
        privileges.iter().filter(|name| PRIVILEGES.contains(&name.as_str()) || GUEST_AGENT.contains(&name.as_str()));
    let mut needed: Vec<&str> = ours.map(String::as_str).collect();
    if needed.is_empty() {
        needed = privileges.iter().map(String::as_str).collect();
    }
    let list = needed.join(" ");
    format!(
        "it takes {} on {path}: `pveum role modify {ROLE} --append 1 --privs \"{list}\"` adds it; {doctor}",
        needed.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proxmox::{
            Token,
            wire::{Request, Response, Wire},
        },
        sys::{http::HttpError, secret::Secret},
    };
    use serde_json::json;

    /// Answers every request with this.
    struct Granting(Value);

    impl Wire for Granting {
        fn exchange(&self, request: &Request, _: &[(&str, &str)]) -> Result<Response, HttpError> {
            assert_eq!((request.method, request.path.as_str()), ("GET", "/api2/json/access/permissions"));
            Ok(Response { status: 200, reason: "OK".into(), body: json!({"data": self.0}).to_string().into_bytes() })
        }
    }

    fn lacks(granted: Value) -> Vec<&'static str> {
        let token = Token { id: "remotectl@pve!node-pve1".into(), secret: Secret::new("x") };
        missing(&Client::new(Granting(granted), &token)).unwrap()
    }

    fn granting(names: &[&str]) -> Value {
        names.iter().map(|name| ((*name).to_owned(), json!(1))).collect::<serde_json::Map<_, _>>().into()
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_mends_it() {
        let all = [&PRIVILEGES[..], &GUEST_AGENT[1..]].concat();
        assert!(lacks(json!({"/": granting(&all)})).is_empty(), "the older name counts too");
        let but_power: Vec<&str> = PRIVILEGES.into_iter().filter(|name| *name != "VM.PowerMgmt").collect();
        let some = lacks(json!({"/": granting(&but_power)}));
        assert_eq!(some, ["VM.PowerMgmt", "VM.GuestAgent.Audit"]);
        assert_eq!(
            mend(&some, "remotectl@pve!x"),
            "`pveum role modify RemotectlAgent --append 1 --privs \"VM.PowerMgmt VM.GuestAgent.Audit\"` (before Proxmox VE 9 that one is VM.Monitor)"
        );
    }

    #[test]
    fn a_refusal_names_the_privilege_that_it_takes() {
        let of = |doing: &str, reason: &str| help(doing, reason);
        let snapshot = of("POST /nodes/pve1/lxc/118/snapshot", "Permission check failed (/vms/118, VM.Snapshot)");
        assert_eq!(
            snapshot,
            "it takes VM.Snapshot on /vms/118: `pveum role modify RemotectlAgent --append 1 --privs \"VM.Snapshot\"` adds it; `remotectl doctor` on the node names all that are missing"
        );
        let agent = "Permission check failed (/vms/100, VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted)";
        assert!(
            of("GET /nodes/pve1/qemu/100/agent/get-osinfo", agent).contains("takes VM.GuestAgent.Audit on /vms/100")
        );
        assert!(
            of("POST /nodes/pve1/lxc", "Permission check failed")
                .contains("takes VM.Allocate, Datastore.AllocateSpace")
        );
        for strange in ["Permission check failed", "check failed (/a, `x`)", "check failed (", "(HTTP 403)"] {
            assert!(of("GET /x", strange).starts_with("`remotectl pve-agent install`"), "{strange}");
        }
    }

    #[test]
    fn a_token_without_any_is_assigned_its_role_again() {
        // What counts is `/`: a pool alone is not enough, and an empty answer is no error.
        let none = lacks(json!({"/vms/101": granting(&PRIVILEGES)}));
        assert_eq!(none.len(), NEEDED);
        assert_eq!(lacks(json!({})).len(), NEEDED);
        assert!(mend(&none, "remotectl@pve!node-pve1").contains("--tokens 'remotectl@pve!node-pve1'"));
    }
}
