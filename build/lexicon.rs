//! Turns the planner's lexicon, which people edit as TOML, into JSON, which takes a fraction of the time to read: the
//! program reads it whenever it starts. The same file makes the same bytes.

use std::{env, fs, path::Path};

/// Where the lexicon is, from the root of the sources.
const LEXICON: &str = "src/llm/grammar/lexicon.toml";

/// Writes `lexicon.json` where the program includes it from; a file that does not parse stops the build and says where.
pub fn compile() {
    println!("cargo:rerun-if-changed={LEXICON}");
    println!("cargo:rerun-if-changed=build/lexicon.rs");
    let text = fs::read_to_string(LEXICON).unwrap_or_else(|error| panic!("reading {LEXICON}: {error}"));
    let file: toml::Table = text.parse().unwrap_or_else(|error| panic!("{LEXICON}: {error}"));
    let json = serde_json::to_string(&file).expect("a TOML table of strings, numbers and booleans is JSON");
    let out = env::var("OUT_DIR").expect("cargo tells a build script where to write");
    fs::write(Path::new(&out).join("lexicon.json"), json).expect("the build's own directory can be written");
}
