//! `run OPERATION SELECTOR key=value…`: an operation without language, typed before anything is sent.

use super::args::RunArgs;
use crate::model::{Failure, Op, catalogue, messages::RunRequest};
use clap::{
    Arg, Command,
    builder::{PossibleValue, TypedValueParser},
};
use std::ffi::OsStr;

/// The names of operations, for completions. Any text passes: `request` knows better than clap what to say about a wrong one.
#[derive(Debug, Clone, Copy)]
pub struct Name;

impl TypedValueParser for Name {
    type Value = String;

    fn parse_ref(&self, _: &Command, _: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        Ok(value.to_string_lossy().into_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |(name, _): &(&'static str, _)| {
            PossibleValue::new(*name).help(catalogue::spec(name).map_or("", |spec| spec.doc.as_str()))
        };
        Some(Box::new(Op::ALL.iter().map(value)))
    }
}

/// The request that was typed, or what is wrong with it and what the operation takes.
pub fn request(args: &RunArgs) -> Result<RunRequest, Failure> {
    let Some(spec) = catalogue::spec(&args.operation) else { return Err(unknown_operation(&args.operation)) };
    let help = || format!("{} takes {}", spec.name, takes(spec));
    let pairs: Vec<(&str, &str)> = args
        .arguments
        .iter()
        .map(|text| {
            let no_pair = || Failure::usage(format!("`{text}` is not KEY=VALUE")).help(help());
            text.split_once('=').ok_or_else(no_pair)
        })
        .collect::<Result<_, _>>()?;
    let typed = spec.arguments(pairs).map_err(|error| Failure::usage(error.to_string()).help(help()))?;
    // Also says which argument is missing, before anything is sent.
    Op::from_parts(&spec.name, typed.clone()).map_err(|error| Failure::usage(error.to_string()).help(help()))?;
    Ok(RunRequest { op: spec.name.clone(), selector: args.selector.clone(), args: typed })
}

fn unknown_operation(name: &str) -> Failure {
    let mut near: Vec<(f64, &str)> = Op::ALL
        .iter()
        .map(|(known, _)| (strsim::jaro_winkler(name, known), *known))
        .filter(|(like, _)| *like > 0.75)
        .collect();
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    let closest: Vec<&str> = near.iter().take(3).map(|(_, known)| *known).collect();
    let mut failure = Failure::usage(format!("there is no operation `{name}`"));
    if !closest.is_empty() {
        failure = failure.detail(format!("closest: {}", closest.join(", ")));
    }
    let mut groups: Vec<&str> =
        Op::ALL.iter().filter_map(|(known, _)| known.split_once('.').map(|(group, _)| group)).collect();
    groups.dedup();
    failure.help(format!("operations are written GROUP.VERB; the groups are {}", groups.join(", ")))
}

/// `service=STRING [lines=INTEGER]`.
pub fn takes(spec: &catalogue::Spec) -> String {
    let one = |arg: &catalogue::ArgSpec| {
        let text = format!("{}={}", arg.name, arg.kind.to_uppercase().replace(' ', "-"));
        if arg.optional { format!("[{text}]") } else { text }
    };
    match &spec.args[..] {
        [] => "no arguments".to_owned(),
        args => args.iter().map(one).collect::<Vec<_>>().join(" "),
    }
}
