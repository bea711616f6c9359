//! The floors of the house: a file imports only from floors below its own, and some things only where they belong.
//! Reads the sources, each ban with its reason, so that a breach says why it is one.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The floors, topmost first; modules that share a floor are siblings and do not import each other.
const FLOORS: &[&[&str]] = &[
    &["cli"],
    &["roles"],
    &["api", "sim"],
    &["engine"],
    &["guest", "host"],
    &["proxmox", "llm"],
    &["store", "link"],
    &["sys"],
    &["model"],
];

/// Siblings that do import each other, each with its reason.
const KNOWN: &[(&str, &str, &str)] =
    &[("store/commands.rs", "link", "envelopes are kept and given back as they are signed: data without behaviour")];

/// A ban: in files below these folders, none of these texts, because.
struct Ban {
    below: &'static [&'static str],
    except: &'static [&'static str],
    texts: &'static [&'static str],
    because: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        below: &["model"],
        except: &[],
        texts: &[
            "std::fs",
            "std::net",
            "std::process",
            "std::env",
            "std::thread",
            "std::time::SystemTime",
            "Instant::now",
            "tokio",
            "ring::rand",
        ],
        because: "the model is pure: what an operator approves is a function of its arguments",
    },
    Ban {
        below: &["llm"],
        except: &[],
        texts: &["std::process", "std::net", "std::fs", "rusqlite"],
        because: "a planner proposes and never acts: it has no way to a guest, a file or the store",
    },
    Ban {
        below: &["cli", "roles/client", "roles/agent", "guest", "host", "proxmox"],
        except: &[],
        texts: &["tokio::", "axum", "async fn", ".await"],
        because: "agents and the client are synchronous: an agent stays small, a client starts at once",
    },
    Ban {
        below: &[""],
        except: &["sys/"],
        texts: &["process::Command", "SystemTime::now", "fs::write(", "env::var(", "env::var_os("],
        because: "processes, files, clock and environment are reached through sys alone",
    },
    Ban {
        below: &[""],
        except: &["store/"],
        texts: &["rusqlite"],
        because: "SQLite belongs to the store, which has one writer",
    },
    Ban {
        below: &[""],
        // A role tells of its own machine in its own words.
        // And a test tells how many histories it has seen.
        except: &["cli/screen.rs", "roles/agent/", "roles/hub/", "roles/pve_agent.rs", "link/journal/crashes.rs"],
        texts: &["println!", "eprintln!", "print!(", "dbg!("],
        because: "what reaches a terminal goes through cli::screen, which makes it safe",
    },
    Ban {
        below: &[""],
        except: &[],
        texts: &["unsafe {", "unsafe fn", "unsafe impl", "todo!(", "unimplemented!("],
        because: "there is no unsafe code and nothing half done",
    },
    Ban {
        below: &["cli", "roles/client", "engine", "api", "guest", "host", "llm", "link", "store", "proxmox", "model"],
        except: &["sim/"],
        texts: &["crate::sim"],
        because: "the simulator is constructed by the demo role and by tests alone",
    },
];

/// A source file: its path below src, and its text without tests and comments.
struct Source {
    path: String,
    code: String,
}

#[test]
fn imports_go_down() {
    let mut breaches = Vec::new();
    for source in sources() {
        let Some(own) = module(&source.path).and_then(floor) else { continue };
        for (number, imported) in imports(&source.code) {
            let Some(other) = floor(&imported) else { continue };
            let same = module(&source.path) == Some(imported.as_str());
            let known = KNOWN.iter().any(|(path, module, _)| *path == source.path && *module == imported);
            if !known && (other < own || (other == own && !same)) {
                let why =
                    if other == own { "siblings in one row do not import each other" } else { "that floor is above" };
                breaches.push(format!("src/{}:{number} imports crate::{imported}: {why}", source.path));
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn what_is_banned_is_not_there() {
    let sources = sources();
    let mut breaches = Vec::new();
    for ban in BANS {
        let concerned = |source: &&Source| {
            let path = source.path.as_str();
            ban.below.iter().any(|folder| path.starts_with(folder))
                && !ban.except.iter().any(|folder| path.starts_with(folder))
        };
        for source in sources.iter().filter(concerned) {
            for (number, line) in source.code.lines().enumerate() {
                for text in ban.texts.iter().filter(|text| has_word(line, text)) {
                    breaches.push(format!("src/{}:{} has `{text}`: {}", source.path, number + 1, ban.because));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn every_module_has_its_floor_and_every_file_its_why() {
    for source in sources() {
        if !matches!(source.path.as_str(), "main.rs" | "lib.rs") {
            let module = module(&source.path).unwrap_or_default();
            assert!(floor(module).is_some(), "src/{}: module `{module}` has no floor", source.path);
        }
        let text = fs::read_to_string(root().join(&source.path)).expect("it was read before");
        assert!(text.starts_with("//! "), "src/{} does not open with its why", source.path);
    }
}

/// The checks themselves can fail.
#[test]
fn a_breach_is_seen() {
    let code = "use crate::{\n    cli::text,\n    sys::{env, files},\n};\nlet x = crate::model::Op::ALL;\n";
    let found: Vec<String> = imports(code).into_iter().map(|(_, module)| module).collect();
    assert_eq!(found, ["cli", "sys", "model"]);
    assert!(floor("sys") < floor("model") && floor("cli") < floor("roles"));
    assert!(has_word("a; println!(\"\")", "println!") && !has_word("eprintln!(\"\")", "println!"));
    assert!(has_word("x.await?", ".await") && !has_word("x.await_state()", ".await"));
    assert_eq!(
        code_of("let a = 1; // crate::cli\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n"),
        "let a = 1; \n"
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root(), &mut paths);
    assert!(paths.len() > 30, "the sources were not found");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file is readable");
        let path = path.strip_prefix(root()).expect("it was found below src").to_string_lossy().replace('\\', "/");
        Source { path, code: code_of(&text) }
    };
    paths.into_iter().map(read).filter(|source| !is_test(&source.path)).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Files that are compiled for tests alone: their modules are declared under `#[cfg(test)]`.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
        || path.contains("/tests/")
        || path.ends_with("/fake.rs")
        || path.ends_with("/fakes.rs")
}

/// The code before the tests, line by line, without comments.
fn code_of(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let before_tests = before_tests.split("#[cfg(test)]\npub mod tests").next().unwrap_or_default();
    before_tests.lines().fold(String::new(), |mut code, line| {
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
        code
    })
}

fn module(path: &str) -> Option<&str> {
    let first = path.split('/').next()?;
    (path.contains('/')).then_some(first)
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|row| row.contains(&module))
}

/// Every top module that `crate::…` names, with its line: `crate::a::b` and the first words of `crate::{ … }`.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push((line, word(rest))),
            Some(group) => found.extend(first_words(group).into_iter().map(|module| (line, module))),
        }
    }
    found.retain(|(_, module)| !module.is_empty());
    found
}

/// The first words of a group's members, up to its closing brace.
fn first_words(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut words) = (0_usize, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                words.push(word(group[start..at].trim_start()));
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    words
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

fn has_word(line: &str, text: &str) -> bool {
    let in_a_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(text).any(|(at, _)| {
        let before = text.starts_with(in_a_word) && line[..at].ends_with(in_a_word);
        let behind = text.ends_with(in_a_word) && line[at + text.len()..].starts_with(in_a_word);
        !before && !behind
    })
}
