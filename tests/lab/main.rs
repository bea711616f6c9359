//! The lab: stories told on real containers, on nodes made of namespaces, with stand-ins for what is Proxmox. One
//! executable that is the tests' runner, and under other names the nodes' `pct`, `qm`, `pvesh`, `pveum`, and the janitor.
//!
//! `make lab` runs it. It needs root and a Debian-like machine; elsewhere it says so and succeeds.
#![allow(clippy::disallowed_methods, reason = "tests drive programs and write files by themselves, past the product")]

mod cluster;
mod container;
mod deploying;
mod ground;
mod installer;
mod lab;
mod logging_in;
mod machine;
mod machines;
mod node;
mod packages;
mod product;
mod reach;
mod recorded;
mod rootfs;
mod run;
mod standin;
mod stories;
mod up;
mod updates;

use libtest_mimic::{Arguments, Trial, run as run_trials};
use rootfs::Base;
use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = env::args();
    let name = arguments.next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let rest: Vec<String> = env::args().skip(1).collect();
    if name == run::JANITOR {
        let cleaned = rest.first().map(|folder| run::janitor(Path::new(folder)));
        return if matches!(cleaned, Some(Ok(()))) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if name == ground::VICTIM {
        ground::victim();
    }
    standin::run(name, &rest).unwrap_or_else(tests)
}

fn tests() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list
        && let Err(why) = fit()
    {
        println!("lab: skipped: {why}");
        return ExitCode::SUCCESS;
    }
    let trial = |(name, story): &stories::Story| {
        let story = *story;
        Trial::test(*name, move || {
            story();
            Ok(())
        })
    };
    let missing = product::executable_is_missing();
    let told = stories::WITH_PRODUCT.iter().map(|story| trial(story).with_ignored_flag(missing));
    run_trials(&arguments, stories::ALL.iter().map(trial).chain(told).collect()).exit_code()
}

/// Whether this machine can have a lab, which installs packages: only where it was asked for by name.
fn fit() -> Result<(), String> {
    if ["REMOTECTL_LAB", "REMOTECTL_LAB_EXE"].iter().all(|name| env::var_os(name).is_none()) {
        return Err("`make lab` runs it (it starts containers as root, and installs what that needs)".to_owned());
    }
    packages::provide()?;
    let made = Base::ALL.iter().try_for_each(|base| base.provide(false).map(drop));
    made.map_err(|error| format!("its root file systems can't be made: {error}"))
}
