//! What the program is built from: the git commit, the target, the compiler.

use std::{env, path::Path, process::Command};

/// Tells the program the commit, the target and the compiler.
pub fn tell() {
    println!("cargo:rerun-if-changed=build/origin.rs");
    println!("cargo:rerun-if-env-changed=REMOTECTL_COMMIT");
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    // A debug build does not ask git: it would be made anew with every commit.
    let asked = if variable("PROFILE").as_deref() == Some("debug") { None } else { commit() };
    let commit = variable("REMOTECTL_COMMIT").or(asked).unwrap_or_else(|| "unknown".to_owned());
    let rustc = variable("RUSTC").and_then(|rustc| printed(&rustc, &["--version"])).unwrap_or_default();
    println!("cargo:rustc-env=REMOTECTL_COMMIT={commit}");
    println!("cargo:rustc-env=REMOTECTL_TARGET={}", variable("TARGET").unwrap_or_default());
    println!("cargo:rustc-env=REMOTECTL_RUSTC={}", rustc.split(' ').nth(1).unwrap_or("unknown"));
}

/// The commit of these sources; `None` without git, and where these sources are no repository of their own.
fn commit() -> Option<String> {
    let top = printed("git", &["rev-parse", "--show-toplevel"])?;
    if env::current_dir().ok()?.canonicalize().ok()? != Path::new(&top).canonicalize().ok()? {
        return None;
    }
    let branch = printed("git", &["symbolic-ref", "--quiet", "HEAD"]);
    for file in ["HEAD", "index"].into_iter().chain(branch.as_deref()) {
        // A file that is not there would have this run each time.
        let path = printed("git", &["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists());
        if let Some(path) = path {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    for sources in ["src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={sources}");
    }
    let commit = printed("git", &["rev-parse", "--short=12", "HEAD"])?;
    let changed = printed("git", &["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}-dirty") })
}

/// What a program prints, without the end of its last line; `None` where it is not there or fails.
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
