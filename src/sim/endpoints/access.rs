//! /access: log-in, permissions, roles and the access-control list. Users and tokens are in `users`.

use super::{data, done, index, users};
use crate::sim::{
    access::{Access, Entry, Identity, PRIVILEGES, Privileges},
    answer::{Answer, Fault},
    params::{Kind, optional, required},
    router::Call,
};
use serde_json::{Map, Value, json};

pub(super) fn dispatch(call: &Call, rest: &[&str]) -> Result<Answer, Fault> {
    match (call.method, rest) {
        ("GET", []) => {
            index("subdir", &["users", "groups", "roles", "acl", "domains", "openid", "tfa", "ticket", "password"])
        }
        ("GET", ["ticket"]) => done(),
        ("POST", ["ticket"]) => log_in(call),
        ("GET", ["permissions"]) => permissions(call),
        ("GET", ["roles"]) => list_roles(call),
        ("POST", ["roles"]) => create_role(call),
        ("GET", ["roles", role]) => show_role(call, role),
        ("PUT", ["roles", role]) => change_role(call, role),
        ("DELETE", ["roles", role]) => delete_role(call, role),
        ("GET", ["acl"]) => list_entries(call),
        ("PUT", ["acl"]) => change_entries(call),
        (_, ["users", rest @ ..]) => users::dispatch(call, rest),
        _ => Err(call.unknown()),
    }
}

fn log_in(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[
        required("username", Kind::Text),
        required("password", Kind::Text),
        optional("realm", Kind::Text),
        optional("tfa-challenge", Kind::Text),
        optional("otp", Kind::Text),
        optional("new-format", Kind::Boolean),
    ])?;
    let name = params.text("username").unwrap_or_default();
    let user = params.text("realm").map_or_else(|| name.to_owned(), |realm| format!("{name}@{realm}"));
    let password = params.text("password").unwrap_or_default();
    let refused = || Fault::Message(401, "authentication failure".to_owned());
    if params.given("tfa-challenge") {
        return Err(refused());
    }
    let holder = call.cluster.tickets.user_of(password);
    let renewed = holder.is_some_and(|holder| holder == user || holder == "root@pam");
    let known = call.cluster.access().users.get(&user).is_some_and(|user| user.enabled);
    if !(known && (renewed || call.cluster.access().password_fits(&user, password))) {
        return Err(refused());
    }
    let privileges = call.cluster.access().privileges(&Identity::user(&user), "/");
    data(json!({
        "CSRFPreventionToken": call.cluster.tickets.csrf(&user),
        "cap": capabilities(&privileges),
        "ticket": call.cluster.tickets.ticket(&user),
        "username": user,
    }))
}

/// What the web interface shows and hides by.
fn capabilities(privileges: &Privileges) -> Value {
    let groups: [(&str, &[&str], bool); 7] = [
        ("access", &["Group.Allocate", "User.Modify"], true),
        ("dc", &["SDN.", "Sys.Audit", "Sys.Modify"], false),
        ("mapping", &["Mapping."], true),
        ("nodes", &["Sys."], true),
        ("sdn", &["SDN."], true),
        ("storage", &["Datastore."], true),
        ("vms", &["VM."], true),
    ];
    let of = |starts: &[&str], modify: bool| -> Value {
        let wanted = |name: &&String| {
            starts.iter().any(|start| name.starts_with(start)) || (modify && *name == "Permissions.Modify")
        };
        as_map(privileges.iter().filter(wanted))
    };
    groups.iter().map(|(group, starts, modify)| ((*group).to_owned(), of(starts, *modify))).collect()
}

fn as_map<'a>(names: impl Iterator<Item = &'a String>) -> Value {
    Value::Object(names.map(|name| (name.clone(), json!(1))).collect::<Map<_, _>>())
}

const SHOWN_PATHS: [&str; 8] = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];

fn permissions(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[optional("userid", Kind::Text), optional("path", Kind::Text)])?;
    let who = match params.text("userid") {
        Some(text) if text != call.who.full() => {
            call.need("/access", &["Sys.Audit"])?;
            identity(text)
        }
        _ => call.who.clone(),
    };
    let access = call.cluster.access();
    let mut paths: Vec<String> = match params.text("path") {
        Some(path) => vec![path.to_owned()],
        None => SHOWN_PATHS.iter().map(|path| (*path).to_owned()).collect(),
    };
    if params.text("path").is_none() {
        paths.extend(access.entries.iter().map(|entry| entry.path.clone()));
    }
    let shown = paths.into_iter().filter_map(|path| {
        let privileges = access.privileges(&who, &path);
        (!privileges.is_empty()).then(|| (path, as_map(privileges.iter())))
    });
    let shown: Map<String, Value> = shown.collect();
    drop(access);
    data(Value::Object(shown))
}

fn identity(text: &str) -> Identity {
    match text.split_once('!') {
        Some((user, token)) => Identity { user: user.to_owned(), token: Some(token.to_owned()) },
        None => Identity::user(text),
    }
}

fn list_roles(call: &Call) -> Result<Answer, Fault> {
    call.params(&[])?;
    let access = call.cluster.access();
    let line = |(name, privileges): (&String, &Privileges)| {
        let names: Vec<&str> = privileges.iter().map(String::as_str).collect();
        json!({"privs": names.join(","), "roleid": name, "special": u8::from(Access::special(name))})
    };
    data(access.roles.iter().map(line).collect())
}

fn privileges_of(text: &str) -> Result<Privileges, Fault> {
    let names = text.split([',', ';', ' ']).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let known = PRIVILEGES.contains(&name).then(|| name.to_owned());
            known.ok_or_else(|| Fault::parameter("privs", &format!("invalid format - invalid privilege '{name}'\n")))
        })
        .collect()
}

fn create_role(call: &Call) -> Result<Answer, Fault> {
    call.need("/access", &["Sys.Modify"])?;
    let params = call.params(&[required("roleid", Kind::Text), optional("privs", Kind::Text)])?;
    let name = params.text("roleid").unwrap_or_default();
    let privileges = privileges_of(params.text("privs").unwrap_or_default())?;
    let mut access = call.cluster.access();
    if access.roles.contains_key(name) {
        return Err(Fault::failed(format!("create role failed: role '{name}' already exists")));
    }
    access.roles.insert(name.to_owned(), privileges);
    done()
}

fn show_role(call: &Call, role: &str) -> Result<Answer, Fault> {
    let access = call.cluster.access();
    let privileges = access.roles.get(role).ok_or_else(|| Fault::failed(format!("role '{role}' does not exist")))?;
    data(as_map(privileges.iter()))
}

fn change_role(call: &Call, role: &str) -> Result<Answer, Fault> {
    call.need("/access", &["Sys.Modify"])?;
    let params = call.params(&[optional("privs", Kind::Text), optional("append", Kind::Boolean)])?;
    let privileges = privileges_of(params.text("privs").unwrap_or_default())?;
    let mut access = call.cluster.access();
    if Access::special(role) {
        return Err(Fault::failed(format!("auto-generated role '{role}' cannot be modified")));
    }
    let missing = || Fault::failed(format!("role '{role}' does not exist"));
    let entry = access.roles.get_mut(role).ok_or_else(missing)?;
    if !params.flag("append") {
        entry.clear();
    }
    entry.extend(privileges);
    done()
}

fn delete_role(call: &Call, role: &str) -> Result<Answer, Fault> {
    call.need("/access", &["Sys.Modify"])?;
    let mut access = call.cluster.access();
    if Access::special(role) {
        return Err(Fault::failed(format!("auto-generated role '{role}' cannot be deleted")));
    }
    access.entries.retain(|entry| entry.role != role);
    match access.roles.remove(role) {
        Some(_) => done(),
        None => Err(Fault::failed(format!("delete role failed: role '{role}' does not exist"))),
    }
}

fn list_entries(call: &Call) -> Result<Answer, Fault> {
    let access = call.cluster.access();
    let mut entries: Vec<&Entry> = access.entries.iter().collect();
    entries.sort_by(|one, other| (&one.path, &one.subject).cmp(&(&other.path, &other.subject)));
    let line = |entry: &Entry| {
        json!({
            "path": entry.path, "propagate": u8::from(entry.propagate), "roleid": entry.role, "type": entry.kind,
            "ugid": entry.subject,
        })
    };
    data(entries.into_iter().map(line).collect())
}

fn change_entries(call: &Call) -> Result<Answer, Fault> {
    let params = call.params(&[
        required("path", Kind::Text),
        required("roles", Kind::Text),
        optional("users", Kind::Text),
        optional("tokens", Kind::Text),
        optional("groups", Kind::Text),
        optional("propagate", Kind::Boolean),
        optional("delete", Kind::Boolean),
    ])?;
    let path = params.text("path").unwrap_or_default();
    if !["/access", "/nodes", "/pool", "/sdn", "/storage", "/vms", "/mapping"].iter().any(|top| path.starts_with(top))
        && path != "/"
    {
        return Err(Fault::parameter("path", &format!("invalid ACL path '{path}'")));
    }
    call.need(path, &["Permissions.Modify"])?;
    let subjects = [("user", "users"), ("token", "tokens")]
        .into_iter()
        .flat_map(|(kind, name)| words(params.text(name)).map(move |subject| (kind, subject.to_owned())));
    let subjects: Vec<(&'static str, String)> = subjects.collect();
    if subjects.is_empty() {
        let message = "either 'users', 'groups' or 'tokens' is required.".to_owned();
        let names = ["groups", "tokens", "users"].map(|name| (name.to_owned(), message.clone()));
        return Err(Fault::Parameters(names.into()));
    }
    let propagate = !params.given("propagate") || params.flag("propagate");
    let mut entries = Vec::new();
    for role in words(params.text("roles")) {
        for (kind, subject) in &subjects {
            entries.push(Entry {
                path: path.to_owned(),
                kind,
                subject: subject.clone(),
                role: role.to_owned(),
                propagate,
            });
        }
    }
    store_entries(call, entries, params.flag("delete"))
}

fn store_entries(call: &Call, entries: Vec<Entry>, delete: bool) -> Result<Answer, Fault> {
    let mut access = call.cluster.access();
    for entry in &entries {
        if !access.roles.contains_key(&entry.role) {
            return Err(Fault::failed(format!("ACL update failed: role '{}' does not exist", entry.role)));
        }
        let user = entry.subject.split('!').next().unwrap_or_default();
        if !access.users.contains_key(user) {
            return Err(Fault::failed(format!("ACL update failed: user '{user}' does not exist")));
        }
    }
    for entry in entries {
        access.entries.retain(|old| (&old.path, &old.subject, &old.role) != (&entry.path, &entry.subject, &entry.role));
        if !delete {
            access.entries.push(entry);
        }
    }
    done()
}

fn words(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split([',', ';', ' ']).filter(|word| !word.is_empty())
}
