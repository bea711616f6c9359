//! The built executable, as somebody types it: help, errors, exit codes, planning without a hub, the names it answers to.

#![allow(clippy::disallowed_methods, reason = "tests start the program that they test")]

use serde_json::Value;
use std::{
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("REMOTECTL_ROOT", self.0.path()).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ended {
        let program = Path::new(env!("CARGO_BIN_EXE_remotectl"));
        Ended::of(self.command(program).args(words).output().expect("the program starts"), self)
    }
}

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output, home: &Home) -> Self {
        let text =
            |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(&home.0.path().display().to_string(), "ROOT");
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Exit code, standard output, standard error.
    fn whole(&self) -> String {
        format!("exit {}\n-- out\n{}-- err\n{}", self.code, self.out, self.err)
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn homelab() -> String {
    fixture("homelab.json").display().to_string()
}

fn run(words: &[&str]) -> Ended {
    Home::new().run(words)
}

#[test]
fn the_help_shows_every_command() {
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    insta::assert_snapshot!(help.out, @r#"
    An AI-powered remote control for Proxmox VE, with agents that deploy themselves

    Usage: remotectl <COMMAND>

    Commands:
      up           Sets up this Proxmox node: hub and pve-agent, installed and running
      down         Takes it all away again, agents in guests included
      ask          Plans a sentence, asks where it must, carries it out and answers
      plan         Shows what would be done; nothing is done
      run          Carries out one operation without language, under the same policy
      guests       Lists containers and virtual machines, and which of them have an agent
      nodes        Lists the Proxmox nodes
      agents       Lists the agents that the hub knows
      deploy       Installs the agent into guests, or the pve-agent onto nodes
      remove       Takes the agent out of guests and nodes again
      approve      Says yes to a plan and carries it out
      deny         Says no to a plan
      cancel       Stops a plan that is under way
      show         Shows a plan with its results
      history      Lists the plans of late, newest first
      login        Keeps the way to a hub, from the string that `hub operator add` prints there
      logout       Forgets the hub again
      hub          The hub: planner, policy, plans, and the agents' counterpart
      agent        The agent of a container, virtual machine or node
      pve-agent    The agent of a Proxmox node
      completions  Prints a completion script
      version      Prints the version

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Examples:
      remotectl ask "restart the web server"
      remotectl guests tag=web
      remotectl run service.status ct/118 service=nginx
    "#);
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let commands = "up down ask plan run guests nodes agents deploy remove approve deny cancel show history login logout completions version \
        hub/serve hub/init hub/install hub/uninstall hub/check hub/join-token hub/operator hub/operator/add hub/operator/list hub/operator/remove \
        agent/run agent/once agent/install agent/uninstall agent/status agent/probe \
        pve-agent/run pve-agent/install pve-agent/uninstall pve-agent/status pve-agent/probe";
    for command in commands.split_whitespace() {
        let words: Vec<&str> = command.split('/').chain(["--help"]).collect();
        let help = run(&words);
        assert_eq!(help.code, 0, "{command}: {}", help.err);
        let example = format!("  remotectl {}", command.replace('/', " "));
        let piped = format!("| remotectl {}", command.replace('/', " "));
        assert!(help.out.contains("Example"), "{command} has no example:\n{}", help.out);
        assert!(help.out.contains(&example) || help.out.contains(&piped), "{command}:\n{}", help.out);
    }
}

#[test]
fn the_help_of_what_is_typed_most() {
    insta::assert_snapshot!(run(&["ask", "--help"]).out, @r#"
    Plans a sentence, asks where it must, carries it out and answers

    Usage: remotectl ask [OPTIONS] <TEXT>...

    Arguments:
      <TEXT>...
              The sentence

    Options:
          --dry-run
              Only show the plan; it is not kept

      -y, --yes
              Do not ask: carry out whatever is not critical

          --confirm <NAME>
              The name of what a critical plan destroys, in place of typing it when asked

          --conversation <ID>
              The conversation that the sentence belongs to

          --planner <PLANNER>
              Who plans

              Possible values:
              - auto:    The grammar where it understands, else the model
              - grammar: The built-in grammar: no network, no model
              - model:   The language model

          --json
              Print one JSON object

      -h, --help
              Print help (see a summary with '-h')

    Example:
      remotectl ask "deploy the agent to all Ubuntu containers"
    "#);
    insta::assert_snapshot!(run(&["run", "--help"]).out, @r#"
    Carries out one operation without language, under the same policy

    Usage: remotectl run [OPTIONS] <OPERATION> <SELECTOR> [KEY=VALUE]...

    Arguments:
      <OPERATION>     The operation's name, such as service.restart
      <SELECTOR>      A target (ct/118), several with commas, or a selector (tag=web and type=ct)
      [KEY=VALUE]...  The operation's arguments

    Options:
          --dry-run         Only show the plan; it is not kept
      -y, --yes             Do not ask: carry out whatever is not critical
          --confirm <NAME>  The name of what a critical plan destroys, in place of typing it when asked
          --json            Print one JSON object
      -h, --help            Print help

    Examples:
      remotectl run service.restart ct/118 service=nginx
      remotectl run exec.run "tag=web and type=ct" command="df -h /"
    "#);
    insta::assert_snapshot!(run(&["agent", "install", "--help"]).out, @"
    Installs the agent as a service of this machine

    Usage: remotectl agent install [OPTIONS]

    Options:
          --join <STRING>    The join string that `remotectl hub join-token` prints; without it, what is
                             missing of a member is put back
          --hub <HOST:PORT>  An address of the hub to try before those of the join string; may be
                             repeated
          --no-service       Join, but install no service: `run` it under a supervisor of your own
          --no-start         Do everything but start it, and print its public key
          --finish           Only start what --no-start has installed, and wait
          --wait <SECONDS>   How many seconds to wait for the hub's first answer [default: 30]
          --json             Print JSON
      -h, --help             Print help

    Example:
      remotectl agent install --join rctl1.eyJhZGRyZXNzZXMi…
    ");
}

#[test]
fn a_wrong_call_is_exit_2_and_says_what_is_right() {
    for words in [
        &[][..],
        &["frob"],
        &["ask"],
        &["plan"],
        &["agent"],
        &["plan", "--batch"],
        &["run", "x"],
        &["history", "--limit", "x"],
    ] {
        let ended = run(words);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{words:?}");
        assert!(ended.err.contains("remotectl") || ended.err.contains("--help"), "{words:?}: {}", ended.err);
    }
    insta::assert_snapshot!(run(&["run", "service.restat", "ct/118"]).whole(), @"
    exit 2
    -- out
    -- err
    error: there is no operation `service.restat`
      closest: service.restart, service.start, service.status
    help: operations are written GROUP.VERB; the groups are service, config, logs, system, exec, package, guest, cluster, node, storage, template, agent, alert
    ");
    insta::assert_snapshot!(run(&["run", "service.restart", "ct/118"]).whole(), @"
    exit 2
    -- out
    -- err
    error: service.restart: missing field `service`
    help: service.restart takes service=STRING
    ");
    insta::assert_snapshot!(run(&["run", "logs.query", "ct/118", "lines=many"]).whole(), @"
    exit 2
    -- out
    -- err
    error: logs.query: `lines` wants integer, not `many`
    help: logs.query takes [service=STRING] [path=STRING] [since=DURATION] [until=TIME] [priority=STRING] [grep=STRING] [lines=INTEGER]
    ");
    insta::assert_snapshot!(run(&["agent", "install"]).whole(), @"
    exit 2
    -- out
    -- err
    error: installing an agent: which hub is it for?
    help: --join STRING, with what `remotectl hub join-token` prints on the hub's machine
    ");
    insta::assert_snapshot!(run(&["hub", "join-token", "--role", "king"]).whole(), @"
    exit 2
    -- out
    -- err
    error: invalid value 'king' for '--role <ROLE>'
      [possible values: agent, pve-agent]

    For more information, try '--help'.
    ");
}

#[test]
fn without_a_hub_it_says_so() {
    insta::assert_snapshot!(run(&["guests"]).whole(), @"
    exit 6
    -- out
    -- err
    error: no hub is known here
      there is no login, and no local hub at ROOT/run/hub.sock
    help: `remotectl login STRING`, with what `remotectl hub operator add NAME` prints on the hub's machine
    ");
    let home = Home::new();
    fs::create_dir_all(home.0.path().join("run")).expect("a directory");
    drop(std::os::unix::net::UnixListener::bind(home.0.path().join("run/hub.sock")).expect("a socket"));
    insta::assert_snapshot!(home.run(&["nodes"]).whole(), @"
    exit 6
    -- out
    -- err
    error: the hub at ROOT/run/hub.sock does not answer: connection refused
      tried for 0.0 s; nothing was sent
    help: is it running? `systemctl status remotectl-hub`, or `remotectl hub serve`
    ");
    insta::assert_snapshot!(home.run(&["login", "rctl1.oops"]).whole(), @"
    exit 1
    -- out
    -- err
    error: logging in: that is not a join string: expected value at line 1 column 1
    help: `remotectl hub operator add NAME` on the hub's machine prints a whole one
    ");
}

#[test]
fn an_inventory_is_planned_over_without_a_hub() {
    let ended = run(&["plan", "--inventory", &homelab(), "--json", "restart", "the", "web", "server"]);
    let answer: Value = serde_json::from_str(&ended.out).expect("one JSON object");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(answer["outcome"], "plan");
    assert!(ended.out.starts_with("{\"outcome\":\"plan\",\"id\":\""), "{}", ended.out);
    assert_eq!(answer["digest"].as_str().map(str::len), Some(64));
    assert_eq!(
        (&answer["risk"], &answer["confirm"], &answer["planner"]),
        (&"high".into(), &true.into(), &"grammar".into())
    );
    insta::assert_snapshot!(answer["steps"], @r#"[{"op":"service.restart","targets":["ct/118"],"args":{"service":"nginx"},"risk":"high","reason":"medium, +1 production","undo":null}]"#);
    let shown = run(&["plan", "--inventory", &homelab(), "restart the web server"]);
    insta::assert_snapshot!(shown.whole(), @"
    exit 0
    -- out
      service.restart nginx    ct/118 web-server on pve1    high: medium, +1 production
      Interrupts nginx on web-server for a moment. Nothing to undo.
    -- err
    ");
}

#[test]
fn questions_and_refusals_have_their_own_exit_codes() {
    let ended = run(&["plan", "--inventory", &homelab(), "restart postgres"]);
    assert!(matches!(ended.code, 0 | 4), "{}", ended.whole());
    let ended = run(&["plan", "--inventory", &homelab(), "--json", "reboot billing-db"]);
    let answer: Value = serde_json::from_str(&ended.out).expect("one JSON object");
    assert_eq!((answer["outcome"].as_str(), ended.code), (Some("refuse"), 5));
    let ended = run(&["plan", "--inventory", &homelab(), "reboot billing-db"]);
    insta::assert_snapshot!(ended.whole(), @"
    exit 5
    -- out
    -- err
    error: no guest or node is called billing-db
      closest: blog, win-build, jellyfin
    ");
}

#[test]
fn a_bad_inventory_is_named() {
    let ended = run(&["plan", "--inventory", "/nowhere/x.json", "list the guests"]);
    insta::assert_snapshot!(ended.whole(), @"
    exit 1
    -- out
    -- err
    error: planning without a hub: reading /nowhere/x.json: No such file or directory (os error 2)
    help: --inventory wants a file of JSON with nodes, storages and guests
    ");
}

#[test]
fn a_batch_answers_line_by_line_and_survives_anything() {
    let home = Home::new();
    let mut child = home
        .command(Path::new(env!("CARGO_BIN_EXE_remotectl")))
        .args(["plan", "--inventory", &homelab(), "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("it is piped");
    let lines = b"\"restart nginx on web-server\"\n{\"no\": \"string\"}\n\n\xff\n\"\\u001b[2J\\u202e\"\n\"is nginx up on ct 118\"";
    input.write_all(lines).expect("the program reads");
    drop(input);
    let ended = Ended::of(child.wait_with_output().expect("the program ends"), &home);
    let answers: Vec<Value> = ended.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((ended.code, answers.len()), (0, 6), "{}", ended.whole());
    for (index, outcome) in [(0, "plan"), (1, "refuse"), (2, "refuse"), (3, "refuse"), (5, "plan")] {
        assert_eq!(answers[index]["outcome"], outcome, "{}", answers[index]);
    }
    assert!(!ended.out.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn the_names_it_is_called_by_are_roles() {
    let home = Home::new();
    let called = |name: &str, words: &[&str]| {
        let link = home.0.path().join(name);
        symlink(env!("CARGO_BIN_EXE_remotectl"), &link).expect("a link");
        Ended::of(home.command(&link).args(words).output().expect("the program starts"), &home)
    };
    for (name, usage) in [
        ("agent", "Usage: remotectl agent <COMMAND>"),
        ("remotectl-agent", "Usage: remotectl agent <COMMAND>"),
        ("pve-agent", "Usage: remotectl pve-agent <COMMAND>"),
        ("remotectl-hub", "Usage: remotectl hub <COMMAND>"),
        ("remotectl", "Usage: remotectl <COMMAND>"),
        ("remotectl-x86_64-unknown-linux-musl", "Usage: remotectl <COMMAND>"),
    ] {
        let ended = called(name, &["--help"]);
        assert!(ended.out.contains(usage) && ended.code == 0, "{name}: {}", ended.whole());
    }
    insta::assert_snapshot!(called("frobnicate", &["--help"]).whole(), @"
    exit 2
    -- out
    -- err
    error: this program is not called `frobnicate`
      it is called remotectl, agent, hub, pve-agent; the last three also with `remotectl-` before them
    help: call it `remotectl`: `remotectl --help`
    ");
    let ended = Ended::of(
        home.command(Path::new(env!("CARGO_BIN_EXE_remotectl")))
            .env("REMOTECTL_ARGV0", "hub")
            .args(["check", "--help"])
            .output()
            .expect("the program starts"),
        &home,
    );
    assert!(ended.out.contains("Usage: remotectl hub check"), "{}", ended.whole());
}

#[test]
fn completions_and_version_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell]);
        assert!(ended.code == 0 && ended.out.contains("join-token"), "{shell}");
    }
    let version: Value = serde_json::from_str(&run(&["version", "--json"]).out).expect("JSON");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]).out, format!("remotectl {}\n", env!("CARGO_PKG_VERSION")));
}
