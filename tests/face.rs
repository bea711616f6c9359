//! The face: what the program shows to whoever types at it. Help, manual pages, completions, plans, mistakes, narrow and
//! dumb terminals, and the documents that are made from the program.
//!
//! `INSTA_UPDATE=always cargo test --test face` takes what is shown now as right: look at the difference.
//! `REMOTECTL_WRITE_DOCS=1 cargo test --test face` writes docs/operations.md anew.

#![allow(clippy::disallowed_methods, reason = "tests start the program that they test, and write what it makes")]

use remotectl::{
    cli::help,
    engine,
    model::{
        Op,
        catalogue::{self, Runs},
    },
};
use std::{
    fmt::Write as _,
    fs,
    io::Read as _,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_remotectl");

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn command(root: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("REMOTECTL_ROOT", root).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(words: &[&str]) -> Output {
    let root = tempfile::tempdir().expect("a temporary directory");
    command(root.path()).args(words).output().expect("the program starts")
}

fn printed(words: &[&str]) -> String {
    let output = run(words);
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A program that is not on every machine; says what is left out where it is not.
fn program(name: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/bin", "/usr/local/bin"].iter().map(|place| Path::new(place).join(name));
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        eprintln!("left out: there is no {name} here");
    }
    found
}

fn snapshots() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(project("tests/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

// Help

fn all(command: &clap::Command, typed: &str) -> Vec<String> {
    let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    let inner = inner.flat_map(|inner| all(inner, &format!("{typed} {}", inner.get_name())));
    std::iter::once(typed.to_owned()).chain(inner).collect()
}

#[test]
fn the_help_of_every_command() {
    snapshots().bind(|| {
        for typed in all(&help::command(None), "remotectl") {
            let words: Vec<&str> = typed.split(' ').skip(1).chain(["--help"]).collect();
            insta::assert_snapshot!(format!("help-{}", typed.replace(' ', "-")), printed(&words));
        }
        insta::assert_snapshot!("short-help-remotectl", printed(&["-h"]));
        insta::assert_snapshot!("short-help-remotectl-40", help::command(Some(40)).render_help().to_string());
        let mut narrow = help::command(Some(40));
        narrow.build();
        let narrow = narrow.find_subcommand_mut("ask").expect("it is there").render_help().to_string();
        insta::assert_snapshot!("short-help-remotectl-ask-40", narrow);
    });
}

// Manual pages

#[test]
fn manual_pages_are_accepted_by_those_who_show_them() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let pages = root.path().join("man/man1");
    printed(&["man", &pages.display().to_string()]);
    let names: Vec<PathBuf> =
        fs::read_dir(&pages).expect("it is made").map(|entry| entry.expect("it reads").path()).collect();
    assert_eq!(names.len(), all(&help::command(None), "remotectl").len());
    let own = fs::read_to_string(pages.join("remotectl.1")).expect("it is there");
    assert_eq!(printed(&["man"]), own);
    let of_demo = fs::read_to_string(pages.join("remotectl-demo.1")).expect("it is there");
    assert_eq!(printed(&["man", "demo"]), of_demo, "a command's name is no directory");
    let of_join = fs::read_to_string(pages.join("remotectl-hub-join-token.1")).expect("it is there");
    assert_eq!(printed(&["man", "hub", "join-token"]), of_join);
    let unknown = command(root.path()).args(["man", "bogus"]).output().expect("the program starts");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(own.contains(".SH EXAMPLES\n.nf\n") && !own.contains("202"), "examples, and no date: {own}");
    if let Some(mandoc) = program("mandoc") {
        let output =
            Command::new(mandoc).args(["-T", "lint", "-W", "error"]).args(&names).output().expect("mandoc runs");
        assert!(output.status.success(), "{}", text(&output.stdout));
    }
    if let Some(man) = program("man") {
        for page in &names {
            let output = Command::new(&man)
                .env("MANPAGER", "cat")
                .arg("--warnings")
                .arg("-l")
                .arg(page)
                .output()
                .expect("man runs");
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{}: {}",
                page.display(),
                text(&output.stderr)
            );
        }
    }
}

// Completions

fn script(shell: &str, root: &Path) -> PathBuf {
    let path = root.join(shell);
    fs::write(&path, printed(&["completions", shell])).expect("it is written");
    path
}

/// What bash offers for a line that is being typed.
fn bash_offers(script: &Path, words: &[&str]) -> Vec<String> {
    let typed: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let asking = format!(
        "source '{}'; COMP_WORDS=({}); COMP_CWORD={}; _remotectl remotectl '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        typed.join(" "),
        words.len() - 1,
        words.last().unwrap_or(&""),
        words.get(words.len().wrapping_sub(2)).unwrap_or(&""),
    );
    let output = Command::new("bash").args(["-c", &asking]).output().expect("bash runs");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_takes_its_script_and_completes() {
    if program("bash").is_none() {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let script = script("bash", root.path());
    let output = Command::new("bash").arg("-n").arg(&script).output().expect("bash runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let offers = bash_offers(&script, &["remotectl", "run", "service.re"]);
    assert_eq!(offers, ["service.restart", "service.reload"]);
    assert_eq!(bash_offers(&script, &["remotectl", "ask", "--planner", "g"]), ["grammar"]);
    assert_eq!(bash_offers(&script, &["remotectl", "hub", "join-token", "--role", "pve"]), ["pve-agent"]);
    assert!(bash_offers(&script, &["remotectl", "doc"]).contains(&"doctor".to_owned()));
}

#[test]
fn zsh_and_fish_take_their_scripts() {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (shell, check) in [("zsh", "-n"), ("fish", "--no-execute")] {
        let script = script(shell, root.path());
        let content = fs::read_to_string(&script).expect("it is there");
        assert!(content.contains("service.restart") && content.contains("grammar"), "{shell}");
        if let Some(program) = program(shell) {
            let output = Command::new(program).arg(check).arg(&script).output().expect("the shell runs");
            assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {}", text(&output.stderr));
        }
    }
    if let Some(fish) = program("fish") {
        let asking = format!("source {}; complete -C 'remotectl run service.re'", root.path().join("fish").display());
        let output = Command::new(fish).args(["-c", &asking]).env("HOME", root.path()).output().expect("fish runs");
        assert!(text(&output.stdout).starts_with("service.reload\t"), "{}", text(&output.stdout));
    }
}

// Version and doctor

#[test]
fn the_version_says_what_it_was_built_from() {
    let told: serde_json::Value = serde_json::from_str(&printed(&["version", "--json"])).expect("JSON");
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    let commit = told["commit"].as_str().expect("it is a text").trim_end_matches("-dirty");
    assert!(commit == "unknown" || commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
    assert!(told["target"].as_str().is_some_and(|target| target.split('-').count() >= 3), "{told}");
    assert!(printed(&["version"]).starts_with(&format!("remotectl {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn the_doctor_works_without_any_hub() {
    let output = run(&["doctor"]);
    let told = text(&output.stdout);
    assert!(told.contains("– hub          none is known here\n"), "{told}");
    let hub = told.lines().skip_while(|line| !line.contains(" hub ")).nth(1).unwrap_or_default();
    assert!(hub.trim_start().starts_with("help: `remotectl "), "{told}");
    let told: serde_json::Value = serde_json::from_slice(&run(&["doctor", "--json"]).stdout).expect("JSON");
    let checks = told["checks"].as_array().expect("there are some");
    assert_eq!(output.status.code(), Some(i32::from(told["ok"] != true)));
    assert!(checks.iter().any(|check| check["check"] == "disk" && check["found"].is_string()), "{told}");
}

#[test]
fn the_doctor_does_not_wait_for_a_hub_that_hangs() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let socket = root.path().join("run/hub.sock");
    fs::create_dir_all(root.path().join("run")).expect("a directory");
    let silent = UnixListener::bind(&socket).expect("a socket");
    let listening = std::thread::spawn(move || {
        // Takes what is sent until the other side gives up, and never answers.
        let (mut stream, _) = silent.accept().expect("it calls");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let began = Instant::now();
    let output = command(root.path()).arg("doctor").output().expect("the program starts");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("✗ hub ") && told.contains("no answer in time"), "{told}");
    assert!(told.contains("– clock        the hub does not answer"), "{told}");
    listening.join().expect("it ends");
}

// Terminals

/// What the program shows on a terminal of that width; `None` where this machine can't make one.
fn on_terminal(columns: u16, environment: &[(&str, &str)], words: &str) -> Option<String> {
    let script = program("script")?;
    let root = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(script)
        .args(["-qec", &format!("stty cols {columns}; exec '{PROGRAM}' {words}"), "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("REMOTECTL_ROOT", root.path())
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("script runs");
    Some(text(&output.stdout).replace('\r', ""))
}

#[test]
fn a_narrow_terminal_breaks_lines_between_words() {
    let plan =
        format!("plan --inventory '{}' restart the web server", project("tests/fixtures/homelab.json").display());
    let Some(told) = on_terminal(40, &[("TERM", "dumb")], &plan) else { return };
    insta::assert_snapshot!(told, @"
      service.restart nginx
        ct/118 web-server on pve1
        high: medium, +1 production
      Interrupts nginx on web-server for a
      moment. Nothing to undo.
    ");
}

#[test]
fn colour_is_for_terminals_that_have_it_and_people_who_want_it() {
    let plan =
        format!("plan --inventory '{}' restart the web server", project("tests/fixtures/homelab.json").display());
    let Some(told) = on_terminal(120, &[("TERM", "xterm-256color")], &plan) else { return };
    assert!(told.contains("\u{1b}[33mhigh: medium, +1 production\u{1b}[0m"), "{told:?}");
    let colourless: String = told.replace("\u{1b}[1m", "").replace("\u{1b}[33m", "").replace("\u{1b}[0m", "");
    for environment in [&[("TERM", "dumb")][..], &[], &[("TERM", "xterm"), ("NO_COLOR", "1")]] {
        assert_eq!(on_terminal(120, environment, &plan).as_deref(), Some(colourless.as_str()), "{environment:?}");
    }
}

// Plans and mistakes

#[test]
fn the_missions_sentences_over_the_homelab() {
    let inventory = project("tests/fixtures/homelab.json").display().to_string();
    let mut shown = String::new();
    for sentence in [
        "restart the web server",
        "deploy the agent to all Ubuntu containers",
        "check which VMs have agents installed",
        "update all agents in containers to latest version",
        "install the agent on container 118 on pve2",
        "is nginx up on ct 118",
        "shut down everything on pve1",
        "destroy archbox",
        "restart postgres",
        "reboot billing-db",
        "make me a sandwich",
    ] {
        let output = run(&["plan", "--inventory", &inventory, sentence]);
        let (code, out, err) = (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr));
        let _ = writeln!(shown, "$ remotectl plan \"{sentence}\"    (exit {code})\n{out}{err}");
    }
    snapshots().bind(|| insta::assert_snapshot!("plans", shown));
}

#[test]
fn mistakes_are_told_with_the_next_step() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let not_json = root.path().join("notes.json");
    fs::write(&not_json, "- buy milk\n").expect("it is written");
    let not_inventory = root.path().join("other.json");
    fs::write(&not_inventory, "{\"nodes\": 1}").expect("it is written");
    let (not_json, not_inventory) = (not_json.display().to_string(), not_inventory.display().to_string());
    let calls: &[&[&str]] = &[
        &["ask"],
        &["ask", ""],
        &["restart", "the", "web", "server"],
        &["asc", "hello"],
        &["guests"],
        &["plan", "--inventory", "/nowhere.json", "restart nginx"],
        &["plan", "--inventory", &not_json, "restart nginx"],
        &["plan", "--inventory", &not_inventory, "restart nginx"],
        &["plan", "--inventory", &not_json, "--planner", "model", "x"],
        &["run", "service.restat", "ct/118"],
        &["run", "service.restart", "ct/118"],
        &["run", "service.restart", "ct/118", "nginx"],
        &["run", "service.restart", "ct/118", "unit=nginx"],
        &["login"],
        &["login", "hello"],
        &["login", "rctl1.abc"],
        &["agent", "status"],
        &["pve-agent", "probe"],
        &["hub", "check"],
        &["hub", "serve", "--listen", "here"],
        &["history", "--limit", "many"],
        &["completions", "ksh"],
    ];
    let mut shown = String::new();
    for words in calls {
        let output = command(root.path()).args(*words).output().expect("the program starts");
        let (code, out, err) = (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr));
        assert!(err.starts_with("error: ") && err.contains("\nhelp: "), "{words:?}: {out}{err}");
        let _ = writeln!(shown, "$ remotectl {}    (exit {code})\n{out}{err}", words.join(" "));
    }
    let shown = shown.replace(&root.path().display().to_string(), "ROOT");
    snapshots().bind(|| insta::assert_snapshot!("mistakes", shown));
}

// Documents

/// The words of a command as a document shows it, behind `remotectl`; a comment is none of them.
fn words(line: &str) -> Vec<String> {
    let line = line.split("  #").next().unwrap_or_default();
    let line = line.split(" > ").next().unwrap_or_default();
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for letter in line.trim().chars() {
        match letter {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_commands_in_the_documents_are_right() {
    for document in ["README.md", "docs/security.md", "CONTRIBUTING.md"] {
        let content = fs::read_to_string(project(document)).expect("it is there");
        for line in content.lines() {
            let Some(shown) = line.trim_start_matches("    ").trim_start_matches("./").strip_prefix("remotectl ")
            else {
                continue;
            };
            if line.starts_with("    ") {
                let words = std::iter::once("remotectl".to_owned()).chain(words(shown));
                let parsed = help::command(None).try_get_matches_from(words);
                assert!(parsed.is_ok(), "{document}: {line}: {}", parsed.unwrap_err());
            }
        }
        for quoted in content.split('`').skip(1).step_by(2).filter_map(|text| text.strip_prefix("remotectl ")) {
            let name = quoted.split([' ', '\n']).next().unwrap_or_default();
            let known = name.starts_with('-') || help::command(None).find_subcommand(name).is_some();
            assert!(known, "{document}: `remotectl {quoted}`: there is no such command");
        }
    }
}

/// docs/operations.md, as the catalogue and what is built would have it.
fn operations() -> String {
    let mut page = "# Operations\n\n\
        Everything that remotectl can be asked to do: a plan is made of these and of nothing else. Each can be carried out \
        without language: `remotectl run OPERATION SELECTOR key=value`. This page is made from the catalogue \
        (`src/model/operations.toml`) by `tests/face.rs`, which fails where the two differ.\n\n\
        **Risk** is the base: a target tagged `production` raises it by one, five targets or more by another, and so does a \
        node; what only reads stays `observe`. It rises no further than `high`. From `high` on a plan waits for a yes, `critical` for the target's name typed. \
        **Undo** is the operation that puts things back. An argument with ? may be left out. *Not yet* means: it is planned \
        and shown, and rejected in a plain sentence when carried out.\n"
        .to_owned();
    let mut group = "";
    for (name, _) in Op::ALL {
        let spec = catalogue::spec(name).expect("every operation is in the catalogue");
        let own = name.split('.').next().unwrap_or_default();
        if own != group {
            group = own;
            let _ = write!(
                page,
                "\n## {group}\n\n| operation | what it does | arguments | by | risk | undo | built |\n| --- | --- | --- | --- | --- | --- | --- |\n"
            );
        }
        let arguments: Vec<String> = spec
            .args
            .iter()
            .map(|arg| {
                format!("`{}{}`: {}", arg.name, if arg.optional { "?" } else { "" }, arg.kind.replace('|', "\\|"))
            })
            .collect();
        let by = match spec.runs {
            Runs::Agent => "agent",
            Runs::Pve => "pve-agent",
            Runs::Hub => "hub",
        };
        let undo = spec.undo.as_ref().map(|undo| format!("`{undo}`")).unwrap_or_default();
        let built = if engine::is_built(name) { "yes" } else { "not yet" };
        let _ = writeln!(
            page,
            "| `{name}` | {} | {} | {by} | {} | {undo} | {built} |",
            spec.doc.replace('|', "\\|"),
            arguments.join(", "),
            spec.risk
        );
    }
    page
}

#[test]
fn the_page_of_operations_is_what_the_catalogue_says() {
    let path = project("docs/operations.md");
    let page = operations();
    if std::env::var_os("REMOTECTL_WRITE_DOCS").is_some() {
        fs::write(&path, &page).expect("it is written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/operations.md is not what the catalogue says: `make docs` writes it anew");
}
