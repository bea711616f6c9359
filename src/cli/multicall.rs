//! One file, several names: called as `agent`, `pve-agent` or `hub` (each also with `remotectl-` before it), the program is
//! that role, and without a subcommand it does what the role is for.

use crate::model::Failure;
use std::{ffi::OsString, path::Path};

/// The names that the program answers to, each with the subcommand that it stands for and that one's default.
const NAMES: &[(&str, Option<(&str, &str)>)] = &[
    ("remotectl", None),
    ("agent", Some(("agent", "run"))),
    ("hub", Some(("hub", "serve"))),
    ("pve-agent", Some(("pve-agent", "run"))),
];

/// The words of the command line, the program's own name first, with the role that the name stands for put in.
/// `override_name` takes the place of the name that the program was called by.
pub fn expand(words: Vec<OsString>, override_name: Option<String>) -> Result<Vec<OsString>, Failure> {
    let mut words = words.into_iter();
    let called = words.next().unwrap_or_default();
    let name = override_name.unwrap_or_else(|| {
        Path::new(&called)
            .file_name()
            .map_or_else(|| "remotectl".to_owned(), |name| name.to_string_lossy().into_owned())
    });
    let rest: Vec<OsString> = words.collect();
    let mut expanded = vec![OsString::from("remotectl")];
    if let Some((role, default)) = role_of(&name)?
        && !asks_version(&rest)
    {
        expanded.push(role.into());
        if rest.first().is_none_or(is_option) {
            expanded.push(default.into());
        }
    }
    expanded.extend(rest);
    Ok(expanded)
}

fn role_of(name: &str) -> Result<Option<(&'static str, &'static str)>, Failure> {
    let bare = name.strip_prefix("remotectl-").unwrap_or(name);
    // A downloaded file carries its target or version: remotectl-x86_64-unknown-linux-musl, remotectl-1.2.0.
    let downloaded = bare.len() < name.len() && bare.contains(|letter: char| letter.is_ascii_digit());
    match NAMES.iter().find(|(known, _)| *known == bare) {
        Some((_, role)) => Ok(*role),
        None if downloaded => Ok(None),
        None => {
            let names: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
            Err(Failure::usage(format!("this program is not called `{name}`"))
                .detail(format!("it is called {}; the last three also with `remotectl-` before them", names.join(", ")))
                .help("call it `remotectl`: `remotectl --help`"))
        }
    }
}

/// All roles are one program, so they have one version.
fn asks_version(rest: &[OsString]) -> bool {
    rest.first().is_some_and(|word| matches!(&*word.to_string_lossy(), "version" | "--version" | "-V"))
}

fn is_option(word: &OsString) -> bool {
    let word = word.to_string_lossy();
    word.starts_with('-') && !matches!(&*word, "-h" | "--help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(words: &[&str], name: Option<&str>) -> Result<Vec<String>, Failure> {
        let words = words.iter().map(OsString::from).collect();
        let expanded = expand(words, name.map(str::to_owned))?;
        Ok(expanded.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn names_stand_for_roles_with_their_defaults() {
        for (words, meaning) in [
            (&["/usr/bin/remotectl", "guests"][..], &["remotectl", "guests"][..]),
            (&["agent"], &["remotectl", "agent", "run"]),
            (&["./remotectl-agent", "status"], &["remotectl", "agent", "status"]),
            (&["hub", "--listen", ":1"], &["remotectl", "hub", "serve", "--listen", ":1"]),
            (&["hub", "--help"], &["remotectl", "hub", "--help"]),
            (&["hub", "version", "--json"], &["remotectl", "version", "--json"]),
            (&["pve-agent", "--version"], &["remotectl", "--version"]),
            (&["remotectl-pve-agent"], &["remotectl", "pve-agent", "run"]),
            (&["remotectl-aarch64-unknown-linux-musl", "version"], &["remotectl", "version"]),
            (&[], &["remotectl"]),
        ] {
            assert_eq!(expanded(words, None).unwrap(), meaning);
        }
    }

    #[test]
    fn the_override_counts_and_unknown_names_list_the_known() {
        assert_eq!(expanded(&["/x/remotectl"], Some("hub")).unwrap(), ["remotectl", "hub", "serve"]);
        for name in ["frobnicate", "remotectl-frob", "Agent"] {
            let failure = expanded(&["/x/remotectl"], Some(name)).unwrap_err();
            assert_eq!(failure.exit, crate::model::Exit::Usage);
            assert!(failure.details[0].contains("remotectl, agent, hub, pve-agent"), "{failure:?}");
        }
    }
}
