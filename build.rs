//! What is made ready when the program is built. Nothing here depends on the time or on the machine: the same sources and
//! compiler make the same bytes.

#![allow(clippy::disallowed_methods, reason = "a build script asks git and rustc; src/sys belongs to the program")]

#[path = "build/lexicon.rs"]
mod lexicon;
#[path = "build/origin.rs"]
mod origin;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    lexicon::compile();
    origin::tell();
}
