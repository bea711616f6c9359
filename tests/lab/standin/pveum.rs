//! `pveum`: users, roles, rights and tokens, by way of the node's own daemon.

use super::{
    Failure, Outcome,
    cli::{Parsed, Subcommand, choose},
    daemon::{self, Reply},
    pvesh::table,
};
use serde_json::Value;

const fn subcommand(
    name: &'static str,
    positional: &'static [&'static str],
    options: &'static [&'static str],
    usage: &'static str,
) -> Subcommand {
    Subcommand { name, positional, extra: false, options, usage }
}

const USER_OPTIONS: &[&str] = &["password", "comment", "email", "enable", "expire", "groups"];

const SUBCOMMANDS: &[Subcommand] = &[
    subcommand("acl list", &[], &["output-format"], " [FORMAT_OPTIONS]"),
    subcommand(
        "acl modify",
        &["path"],
        &["roles", "users", "tokens", "groups", "propagate"],
        "<path> --roles <string> [OPTIONS]",
    ),
    subcommand("acl delete", &["path"], &["roles", "users", "tokens", "groups"], "<path> --roles <string> [OPTIONS]"),
    subcommand("role list", &[], &["output-format"], " [FORMAT_OPTIONS]"),
    subcommand("role add", &["roleid"], &["privs"], "<roleid> [OPTIONS]"),
    subcommand("role modify", &["roleid"], &["privs", "append"], "<roleid> [OPTIONS]"),
    subcommand("role delete", &["roleid"], &[], "<roleid>"),
    subcommand("user list", &[], &["output-format", "full", "enabled"], " [OPTIONS] [FORMAT_OPTIONS]"),
    subcommand("user add", &["userid"], USER_OPTIONS, "<userid> [OPTIONS]"),
    subcommand("user delete", &["userid"], &[], "<userid>"),
    subcommand("user permissions", &["userid"], &["path", "output-format"], "[<userid>] [OPTIONS] [FORMAT_OPTIONS]"),
    subcommand(
        "user token add",
        &["userid", "tokenid"],
        &["privsep", "expire", "comment", "output-format"],
        "<userid> <tokenid> [OPTIONS] [FORMAT_OPTIONS]",
    ),
    subcommand("user token list", &["userid"], &["output-format"], "<userid> [FORMAT_OPTIONS]"),
    subcommand("user token remove", &["userid", "tokenid"], &["output-format"], "<userid> <tokenid> [FORMAT_OPTIONS]"),
    subcommand("user token delete", &["userid", "tokenid"], &["output-format"], "<userid> <tokenid> [FORMAT_OPTIONS]"),
];

pub fn run(arguments: &[String]) -> Outcome {
    let (subcommand, rest) = choose("pveum", SUBCOMMANDS, arguments)?;
    let mut parsed = subcommand.parse("pveum", rest)?;
    let format = parsed.options.remove("output-format").and_then(|mut values| values.pop());
    let (method, path, parameters) = request(subcommand.name, &parsed);
    let reply = daemon::call(method, &path, &parameters)?;
    if reply.status != 200 {
        return Err(failure(subcommand, &reply));
    }
    print(subcommand.name, reply.data(), format.as_deref());
    Ok(0)
}

fn request(name: &str, parsed: &Parsed) -> (&'static str, String, Vec<(String, String)>) {
    let given = |place: usize| parsed.positional.get(place).cloned().unwrap_or_default();
    let mut parameters: Vec<(String, String)> =
        parsed.options.keys().filter_map(|name| Some((name.clone(), parsed.option(name)?.to_owned()))).collect();
    let mut with = |name: &str, value: String| parameters.push((name.to_owned(), value));
    let token = || format!("/access/users/{}/token/{}", given(0), given(1));
    let (method, path) = match name {
        "acl list" => ("GET", "/access/acl".to_owned()),
        "acl modify" | "acl delete" => {
            with("path", given(0));
            if name == "acl delete" {
                with("delete", "1".to_owned());
            }
            ("PUT", "/access/acl".to_owned())
        }
        "role list" => ("GET", "/access/roles".to_owned()),
        "role add" => {
            with("roleid", given(0));
            ("POST", "/access/roles".to_owned())
        }
        "role modify" => ("PUT", format!("/access/roles/{}", given(0))),
        "role delete" => ("DELETE", format!("/access/roles/{}", given(0))),
        "user list" => ("GET", "/access/users".to_owned()),
        "user add" => {
            with("userid", given(0));
            ("POST", "/access/users".to_owned())
        }
        "user delete" => ("DELETE", format!("/access/users/{}", given(0))),
        "user permissions" => {
            with("userid", given(0));
            ("GET", "/access/permissions".to_owned())
        }
        "user token add" => ("POST", token()),
        "user token list" => ("GET", format!("/access/users/{}/token", given(0))),
        _ => ("DELETE", token()),
    };
    (method, path, parameters)
}

fn failure(subcommand: &Subcommand, reply: &Reply) -> Failure {
    let message = reply.message();
    if let Some(errors) = reply.body["errors"].as_object() {
        let lines: Vec<String> =
            errors.iter().map(|(name, text)| format!("{name}: {}", text.as_str().unwrap_or_default())).collect();
        let usage = subcommand.usage_line("pveum");
        return Failure::new(format!("400 Parameter verification failed.\n{}\n{usage}", lines.join("\n")));
    }
    // What Perl's last system error happened to be, as recorded.
    let status = if message.starts_with("create user failed") { 2 } else { 255 };
    Failure::with_status(status, message)
}

fn print(name: &str, data: &Value, format: Option<&str>) {
    match (data, format) {
        (Value::Null, _) => {}
        (data, Some("json")) => println!("{data}"),
        (Value::Object(map), _) if name == "user token add" => table(map.iter()),
        (data, _) => println!("{data:#}"),
    }
}
