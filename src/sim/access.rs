//! Who may do what: users, roles, access-control lists and API tokens, and the question that every endpoint asks.
//! Plain data and its rules; requests are authenticated in `router`, and the endpoints under /access change it.

use std::collections::{BTreeMap, BTreeSet};

/// Privileges of PVE 9, as recorded for root@pam.
pub const PRIVILEGES: &[&str] = &[
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Group.Allocate",
    "Mapping.Audit",
    "Mapping.Modify",
    "Mapping.Use",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "Realm.Allocate",
    "Realm.AllocateUser",
    "SDN.Allocate",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
    "User.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Replicate",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
];

/// A set of privileges' names.
pub type Privileges = BTreeSet<String>;

/// Whoever sent a request: a user, or one of a user's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `root@pam`
    pub user: String,
    /// The token's id, without the user.
    pub token: Option<String>,
}

impl Identity {
    /// A user that logged in.
    pub fn user(user: impl Into<String>) -> Self {
        Self { user: user.into(), token: None }
    }

    /// `root@pam` or `root@pam!full`, as tasks and logs name it.
    pub fn full(&self) -> String {
        self.token.as_ref().map_or_else(|| self.user.clone(), |token| format!("{}!{token}", self.user))
    }
}

/// A user.
#[derive(Debug, Clone, Default)]
pub struct User {
    /// Its password, in the clear: this is a simulator.
    pub password: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// Whether it may log in.
    pub enabled: bool,
    /// Its tokens by id.
    pub tokens: BTreeMap<String, Token>,
}

/// An API token.
#[derive(Debug, Clone)]
pub struct Token {
    /// The UUID that is shown once.
    pub secret: String,
    /// Whether it has rights of its own only.
    pub separated: bool,
    /// The moment of its end; 0 is never.
    pub expire: i64,
    /// Free text.
    pub comment: Option<String>,
}

/// One line of the access-control list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `/`, `/vms/101`, …
    pub path: String,
    /// `user` or `token`.
    pub kind: &'static str,
    /// `op@pve` or `op@pve!tool`.
    pub subject: String,
    /// A role's name.
    pub role: String,
    /// Whether it counts below the path too.
    pub propagate: bool,
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// In the words of the real API.
    #[error("{0}")]
    Refused(String),
}

/// Users, roles and rights of a cluster.
#[derive(Debug, Clone)]
pub struct Access {
    /// By id.
    pub users: BTreeMap<String, User>,
    /// By name.
    pub roles: BTreeMap<String, Privileges>,
    /// In the order of their making.
    pub entries: Vec<Entry>,
}

impl Access {
    /// A fresh node's: root@pam with a password, and the roles that Proxmox brings along.
    pub fn new(root_password: &str) -> Self {
        let root = User { password: Some(root_password.to_owned()), enabled: true, ..User::default() };
        let roles = SPECIAL_ROLES.iter().map(|(name, starts)| ((*name).to_owned(), matching(starts))).collect();
        Self { users: BTreeMap::from([("root@pam".to_owned(), root)]), roles, entries: Vec::new() }
    }

    /// Whether a role is one of Proxmox's own.
    pub fn special(role: &str) -> bool {
        SPECIAL_ROLES.iter().any(|(name, _)| *name == role)
    }

    /// The token behind `user!id=secret`, if all of it is right and nothing has expired.
    pub fn token_holder(&self, text: &str, now: i64) -> Option<Identity> {
        let (full, secret) = text.split_once('=')?;
        let (user_name, id) = full.split_once('!')?;
        let user = self.users.get(user_name).filter(|user| user.enabled)?;
        let token = user.tokens.get(id)?;
        let valid = token.secret == secret && (token.expire == 0 || token.expire > now);
        valid.then(|| Identity { user: user_name.to_owned(), token: Some(id.to_owned()) })
    }

    /// Whether this user may log in with that password.
    pub fn password_fits(&self, user: &str, password: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.enabled && user.password.as_deref() == Some(password))
    }

    /// What somebody may do at a path: the deepest entries count; a separated token has no more than its user.
    pub fn privileges(&self, who: &Identity, path: &str) -> Privileges {
        let of_user = if who.user == "root@pam" { matching(&[""]) } else { self.granted("user", &who.user, path) };
        let separated =
            |id: &String| self.users.get(&who.user).and_then(|user| user.tokens.get(id)).is_none_or(|t| t.separated);
        match &who.token {
            Some(id) if separated(id) => {
                self.granted("token", &who.full(), path).intersection(&of_user).cloned().collect()
            }
            _ => of_user,
        }
    }

    /// Whether one of the privileges is there.
    pub fn allows(&self, who: &Identity, path: &str, any_of: &[&str]) -> bool {
        let have = self.privileges(who, path);
        any_of.iter().any(|wanted| have.contains(*wanted))
    }

    fn granted(&self, kind: &str, subject: &str, path: &str) -> Privileges {
        let mut deepest = 0;
        let mut privileges = Privileges::new();
        for entry in self.entries.iter().filter(|entry| entry.kind == kind && entry.subject == subject) {
            let depth = entry.path.trim_end_matches('/').len() + 1;
            if depth < deepest || !covers(entry, path) {
                continue;
            }
            if depth > deepest {
                privileges.clear();
                deepest = depth;
            }
            privileges.extend(self.roles.get(&entry.role).into_iter().flatten().cloned());
        }
        privileges
    }
}

fn covers(entry: &Entry, path: &str) -> bool {
    let below = path.strip_prefix(entry.path.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
    entry.path == path || (entry.propagate && (below || entry.path == "/"))
}

/// Proxmox's own roles, by what their privileges begin with.
const SPECIAL_ROLES: &[(&str, &[&str])] = &[
    ("Administrator", &[""]),
    ("NoAccess", &[]),
    (
        "PVEAuditor",
        &[
            "Datastore.Audit",
            "Mapping.Audit",
            "Pool.Audit",
            "SDN.Audit",
            "Sys.Audit",
            "VM.Audit",
            "VM.GuestAgent.Audit",
        ],
    ),
    ("PVEDatastoreUser", &["Datastore.AllocateSpace", "Datastore.Audit"]),
    ("PVEVMAdmin", &["VM."]),
    (
        "PVEVMUser",
        &[
            "VM.Audit",
            "VM.Backup",
            "VM.Config.CDROM",
            "VM.Config.Cloudinit",
            "VM.Console",
            "VM.GuestAgent.Audit",
            "VM.PowerMgmt",
        ],
    ),
];

fn matching(starts: &[&str]) -> Privileges {
    let wanted = |privilege: &&&str| starts.iter().any(|start| privilege.starts_with(start));
    PRIVILEGES.iter().filter(wanted).map(|privilege| (*privilege).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, subject: &str, role: &str) -> Entry {
        let kind = if subject.contains('!') { "token" } else { "user" };
        Entry { path: path.to_owned(), kind, subject: subject.to_owned(), role: role.to_owned(), propagate: true }
    }

    #[test]
    fn the_deepest_entry_counts() {
        let mut access = Access::new("secret");
        access.entries.extend([entry("/", "op@pve", "PVEAuditor"), entry("/vms/101", "op@pve", "NoAccess")]);
        let op = Identity::user("op@pve");
        assert!(access.allows(&op, "/vms/102", &["VM.Audit"]));
        assert!(!access.allows(&op, "/vms/101", &["VM.Audit"]));
        assert!(!access.allows(&op, "/vms/102", &["VM.PowerMgmt"]));
    }

    #[test]
    fn a_separated_token_starts_with_nothing_and_never_gets_more_than_its_user() {
        let mut access = Access::new("secret");
        let token = Token { secret: "x".to_owned(), separated: true, expire: 0, comment: None };
        access.users.entry("root@pam".to_owned()).or_default().tokens.insert("sep".to_owned(), token);
        let who = access.token_holder("root@pam!sep=x", 0).unwrap();
        assert!(!access.allows(&who, "/nodes/pve1", &["Sys.Audit"]));
        access.entries.push(entry("/", "root@pam!sep", "PVEAuditor"));
        assert!(access.allows(&who, "/nodes/pve1", &["Sys.Audit"]));
        assert_eq!(access.token_holder("root@pam!sep=y", 0), None);
    }
}
