//! The command line of Proxmox's tools, as their Perl modules parse it: subcommand, positional arguments and options
//! mixed, `--` ends the options, and wrong ones are answered with the usage line.

use super::Failure;
use std::collections::BTreeMap;

/// One subcommand.
pub struct Subcommand {
    /// Its words: `exec`, `user token add`.
    pub name: &'static str,
    /// What it must have: `vmid`, …
    pub positional: &'static [&'static str],
    /// Whether more may follow.
    pub extra: bool,
    /// Its options; those that end in `!` take no value.
    pub options: &'static [&'static str],
    /// The rest of its usage line.
    pub usage: &'static str,
}

/// A command line, taken apart.
#[derive(Debug, Default)]
pub struct Parsed {
    /// In their order, extra ones included.
    pub positional: Vec<String>,
    /// By name; options may be given again.
    pub options: BTreeMap<String, Vec<String>>,
}

impl Parsed {
    /// An option's value, the last one given.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).and_then(|values| values.last()).map(String::as_str)
    }
}

impl Subcommand {
    /// `pct exec <vmid> [<extra-args>] [OPTIONS]`
    pub fn usage_line(&self, tool: &str) -> String {
        format!("{tool} {} {}", self.name, self.usage)
    }

    /// Takes a command line apart.
    pub fn parse(&self, tool: &str, arguments: &[String]) -> Result<Parsed, Failure> {
        let mut parsed = Parsed::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                parsed.positional.extend(rest.by_ref().cloned());
                break;
            }
            let Some(option) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
                parsed.positional.push(argument.clone());
                continue;
            };
            let (name, inline) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            let value = match (self.takes_value(name), inline) {
                (None, _) => return Err(self.unknown_option(tool, name)),
                (Some(_), Some(value)) => value.to_owned(),
                (Some(false), None) => "1".to_owned(),
                (Some(true), None) => rest.next().cloned().unwrap_or_default(),
            };
            parsed.options.entry(name.to_owned()).or_default().push(value);
        }
        self.count(tool, &parsed)?;
        Ok(parsed)
    }

    fn takes_value(&self, name: &str) -> Option<bool> {
        let fits = |option: &&&str| option.trim_end_matches('!') == name;
        let any = self.options.contains(&"*").then_some(true);
        self.options.iter().find(fits).map(|option| !option.ends_with('!')).or(any)
    }

    fn unknown_option(&self, tool: &str, name: &str) -> Failure {
        Failure::new(format!("Unknown option: {name}\n400 unable to parse option\n{}", self.usage_line(tool)))
    }

    fn count(&self, tool: &str, parsed: &Parsed) -> Result<(), Failure> {
        let given = parsed.positional.len();
        let problem = match given.cmp(&self.positional.len()) {
            std::cmp::Ordering::Less => "400 not enough arguments",
            std::cmp::Ordering::Greater if !self.extra => "400 too many arguments",
            _ => return Ok(()),
        };
        Err(Failure::new(format!("{problem}\n{}", self.usage_line(tool))))
    }

    /// A wrong parameter.
    pub fn wrong(&self, tool: &str, name: &str, message: &str) -> Failure {
        Failure::new(format!("400 Parameter verification failed.\n{name}: {message}\n{}", self.usage_line(tool)))
    }

    /// The vmid, which is always the first argument.
    pub fn vmid(&self, tool: &str, parsed: &Parsed) -> Result<u32, Failure> {
        let text = parsed.positional.first().map_or("", String::as_str);
        match text.parse::<u32>() {
            Err(_) => Err(self.wrong(tool, "vmid", &format!("type check ('integer') failed - got '{text}'"))),
            Ok(id) if id < 100 => {
                Err(self.wrong(tool, "vmid", "invalid format - value does not look like a valid VM ID\n"))
            }
            Ok(id) => Ok(id),
        }
    }
}

/// The subcommand that a command line begins with, and what follows it.
pub fn choose<'a>(
    tool: &str,
    all: &'a [Subcommand],
    arguments: &'a [String],
) -> Result<(&'a Subcommand, &'a [String]), Failure> {
    for subcommand in all {
        let words: Vec<&str> = subcommand.name.split(' ').collect();
        if arguments.len() >= words.len() && arguments.iter().zip(&words).all(|(argument, word)| argument == word) {
            return Ok((subcommand, &arguments[words.len()..]));
        }
    }
    if arguments.is_empty() {
        return Err(Failure::new(format!("ERROR: no command specified\nUSAGE: {tool} <COMMAND> [ARGS] [OPTIONS]")));
    }
    let given = arguments.join(" ");
    Err(Failure::new(format!("ERROR: unknown command '{tool} {given}'\nUSAGE: {tool} <COMMAND> [ARGS] [OPTIONS]")))
}
