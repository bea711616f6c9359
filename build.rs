//! What is made ready when the program is built. Nothing here depends on the time or on the machine: the same sources make
//! the same bytes.

#![allow(clippy::disallowed_methods, reason = "a build script reads and writes files; src/sys belongs to the program")]

#[path = "build/lexicon.rs"]
mod lexicon;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    lexicon::compile();
}
