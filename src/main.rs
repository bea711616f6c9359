//! The one executable. `main` hands what was typed to `cli::run` and turns its answer into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    remotectl::cli::run(std::env::args_os())
}
