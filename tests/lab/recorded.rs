//! Replays what was recorded from genuine Proxmox commands against the stand-ins: same arguments, same exit status, same
//! output. What differs is listed with its reason; everything else has to be equal to the byte.

use super::lab::Lab;
use serde_json::Value;
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Output, Stdio},
};

const RECORDED: &str = include_str!("../fixtures/pve/cli.jsonl");

/// How much of an exchange is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// The exit status and nothing else.
    Status,
    /// The exit status and the first line of standard error.
    FirstLine,
}

/// What can't be equal, and why.
const DIFFERENCES: &[(&str, Compared, &str)] = &[
    ("pct.exec.not-found", Compared::Status, "Debian's LXC numbers its source lines differently"),
    ("pct.exec.not-executable", Compared::Status, "Debian's LXC numbers its source lines differently"),
    (
        "pct.exec.keep-env-0",
        Compared::Status,
        "Debian's LXC sets PATH and container too, in another order and without TERM",
    ),
    ("pct.exec.unprivileged", Compared::Status, "Debian's id prints the groups"),
    ("pct.df", Compared::Status, "another disk"),
    ("pct.bad-subcommand", Compared::FirstLine, "the stand-in does not know all of pct's usage"),
    ("qm.bad-subcommand", Compared::FirstLine, "the stand-in does not know all of qm's usage"),
    ("pveum.bad-subcommand", Compared::FirstLine, "the stand-in does not know all of pveum's usage"),
    ("pveversion", Compared::Status, "another kernel"),
    ("pvesh.create.lxc.stop", Compared::Status, "another UPID"),
    ("pvesh.create.lxc.start", Compared::Status, "another UPID"),
    ("pvesh.create.lxc.start.missing", Compared::FirstLine, "another UPID on standard output"),
];

/// One recorded exchange.
struct Exchange {
    name: String,
    argv: Vec<String>,
    stdin: Option<String>,
    exit: i64,
    stdout: String,
    stderr: String,
}

fn exchanges() -> Vec<Exchange> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let read = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("the fixture is JSON");
        Exchange {
            name: text(&value["name"]),
            argv: value["argv"].as_array().into_iter().flatten().map(text).collect(),
            stdin: value["stdin"].as_str().map(str::to_owned),
            exit: value["exit"].as_i64().unwrap_or(0),
            stdout: text(&value["stdout"]),
            stderr: text(&value["stderr"]),
        }
    };
    RECORDED.lines().map(read).collect()
}

/// The fixture is a part of the recording that the project was given; where that is at hand, it is still the same.
pub fn fixture_is_what_was_recorded() {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pve/golden/cli.jsonl");
    let Ok(whole) = fs::read_to_string(whole) else { return };
    for line in RECORDED.lines() {
        assert!(whole.lines().any(|recorded| recorded == line), "not recorded: {line}");
    }
}

struct Replay<'a> {
    lab: &'a Lab,
    recorded: Vec<Exchange>,
    failures: Vec<String>,
    played: usize,
}

impl Replay<'_> {
    /// Plays the exchanges of these names, in this order.
    fn play(&mut self, names: &[&str]) {
        for name in names {
            let exchange = self.recorded.iter().find(|exchange| exchange.name == *name);
            let exchange = exchange.unwrap_or_else(|| panic!("{name} is not in the fixture"));
            let output = execute(self.lab, exchange);
            self.played += 1;
            // An init system that has only begun to start does not hear that it is to stop.
            if matches!(*name, "pct.start" | "pct.reboot") {
                self.lab.container(101).wait_until_up();
            }
            if let Some(failure) = compare(exchange, &output) {
                self.failures.push(failure);
            }
        }
    }
}

/// 103, which was stopped at the recording, is 105 here; 104, the unprivileged one, is on pve2.
fn execute(lab: &Lab, exchange: &Exchange) -> Output {
    let node = if exchange.argv.iter().any(|argument| argument == "104") { "pve2" } else { "pve1" };
    let mut command = lab.node(node).command(&exchange.argv[0]);
    command.args(exchange.argv[1..].iter().map(|argument| if argument == "103" { "105" } else { argument }));
    if exchange.name == "pct.exec.env" {
        command.env("FOO", "bar");
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = exchange.stdin.clone().map(|text| {
        let described = text.starts_with("1 MiB:");
        if described { (0..=255_u8).cycle().take(1 << 20).collect() } else { text.into_bytes() }
    });
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().expect("nsenter can be run");
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        pipe.write_all(&input).expect("the command reads its input");
    }
    child.wait_with_output().expect("the command ends")
}

fn compare(exchange: &Exchange, output: &Output) -> Option<String> {
    let (stdout, stderr) = (masked(&output.stdout), masked(&output.stderr));
    let exit = i64::from(output.status.code().unwrap_or(-1));
    let difference = DIFFERENCES.iter().find(|(name, ..)| *name == exchange.name).map(|(_, compared, _)| *compared);
    let first = |text: &str| text.trim_start().lines().next().unwrap_or_default().to_owned();
    let same = exit == exchange.exit
        && match difference {
            Some(Compared::Status) => true,
            Some(Compared::FirstLine) => first(&stderr) == first(&exchange.stderr),
            None => stdout == exchange.stdout && stderr == exchange.stderr,
        };
    let Exchange { name, argv, exit: wanted, stdout: out, stderr: err, .. } = exchange;
    let told =
        || format!("{name} {argv:?}\n  recorded {wanted} {out:?} {err:?}\n  here     {exit} {stdout:?} {stderr:?}");
    (!same).then(told)
}

/// Tokens' secrets are placeholders in the recording.
fn masked(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.split_once("\"value\":\"") {
        Some((before, after)) => {
            format!("{before}\"value\":\"<TOKEN>\"{}", after.split_once('"').map_or("", |(_, rest)| rest))
        }
        None => text.into_owned(),
    }
}

const STOPPED: &[&str] = &[
    "pct.status.stopped",
    "pct.status.missing",
    "pct.status.bad-id",
    "pct.status.no-id",
    "pct.status.vm-id",
    "pct.config.missing",
    "pct.start.missing",
    "pct.shutdown.stopped",
    "pct.exec.stopped",
    "pct.exec.missing-guest",
    "pct.push.stopped",
    "pct.pull.stopped",
    "pct.stop.stopped",
    "pct.reboot.stopped",
    "pct.bad-subcommand",
];
const LOCKED: &[&str] = &["pct.start.locked", "pct.unlock", "pct.unlock.not-locked"];
const RUNNING: &[&str] = &[
    "pct.start",
    "pct.start.running",
    "pct.status.running",
    "pct.exec.ok",
    "pct.exec.exit-7",
    "pct.exec.signal",
    "pct.exec.term",
    "pct.exec.not-found",
    "pct.exec.not-executable",
    "pct.exec.no-command",
    "pct.exec.without-dashes",
    "pct.exec.option-without-dashes",
    "pct.exec.exit-255",
    "pct.exec.stdin",
    "pct.exec.args",
    "pct.exec.binary-stdin",
    "pct.exec.env",
    "pct.exec.keep-env-0",
    "pct.exec.pwd",
    "pct.exec.unprivileged",
];
const FILES: &[&str] = &[
    "pct.push",
    "pct.push.result",
    "pct.push.perms",
    "pct.push.perms.result",
    "pct.push.unknown-user",
    "pct.push.no-directory",
    "pct.push.onto-directory",
    "pct.push.missing-source",
    "pct.push.relative",
    "pct.push.overwrite",
    "pct.push.overwrite.result",
    "pct.push.running-binary",
    "pct.push.unprivileged",
    "pct.push.unprivileged.result",
    "pct.pull",
    "pct.pull.missing",
    "pct.pull.directory",
    "pct.pull.perms",
    "pct.df",
    "pct.reboot",
    "pct.shutdown",
];
const OTHERS: &[&str] = &[
    "pveversion",
    "qm.status.missing",
    "qm.config.missing",
    "qm.config.container-id",
    "qm.agent.ping.missing",
    "qm.guest.exec.missing",
    "qm.start.missing",
    "qm.bad-subcommand",
    "pvesh.get.version",
    "pvesh.get.version.table",
    "pvesh.get.json-pretty",
    "pvesh.get.missing",
    "pvesh.get.unknown-path",
    "pvesh.get.bad-param",
    "pvesh.unknown-node",
    "pvesh.create.lxc.start",
    "pvesh.create.lxc.start.running",
    "pvesh.create.lxc.start.missing",
    "pvesh.create.lxc.stop",
    "pvesh.create.lxc.stop.stopped",
    "pvesh.create.pool",
    "pvesh.create.pool.exists",
    "pvesh.delete.pool",
];
const USERS: &[&str] = &[
    "pveum.role.add",
    "pveum.role.add.exists",
    "pveum.role.add.bad-priv",
    "pveum.user.add",
    "pveum.user.add.exists",
    "pveum.user.add.bad-realm",
    "pveum.user.add.short-password",
    "pveum.acl.modify",
    "pveum.acl.modify.one-guest",
    "pveum.acl.modify.bad-role",
    "pveum.acl.modify.bad-path",
    "pveum.acl.list.json",
    "pveum.user.list.json",
    "pveum.token.add.json",
    "pveum.token.add.privsep",
    "pveum.token.add.exists",
    "pveum.token.remove.missing",
    "pveum.user.permissions.json",
    "pveum.bad-subcommand",
];

/// The whole replay, on one lab.
pub fn commands_answer_as_recorded() {
    let lab = Lab::up(&[104]);
    let mut replay = Replay { lab: &lab, recorded: exchanges(), failures: Vec::new(), played: 0 };
    replay.play(STOPPED);
    let configuration = lab.pve("nodes/pve1/lxc/101.conf");
    let text = fs::read_to_string(&configuration).expect("101 is defined");
    fs::write(&configuration, format!("{text}lock: backup\n")).expect("it can be locked");
    replay.play(LOCKED);
    replay.play(RUNNING);
    prepare_files(&lab);
    replay.play(FILES);
    replay.play(OTHERS);
    for user in ["audit@pve", "op@pve"] {
        let added = lab.node("pve1").command("pveum").args(["user", "add", user]).status().expect("pveum runs");
        assert!(added.success(), "{user}");
    }
    replay.play(USERS);
    eprintln!("{} exchanges played, {} of them with a listed difference", replay.played, DIFFERENCES.len());
    assert!(replay.failures.is_empty(), "not as recorded:\n{}", replay.failures.join("\n"));
}

/// The files that the recording pushes, and a running program to push onto.
fn prepare_files(lab: &Lab) {
    let node = lab.node("pve1");
    let script = "printf 'hello\n' >/root/f; chmod 640 /root/f; head -c 300000 /dev/zero >/root/r1; cp /root/f /tmp/f";
    assert!(node.command("sh").args(["-c", script]).status().expect("sh runs").success());
    let pve2 = lab.node("pve2").command("sh").args(["-c", "printf 'hello\n' >/root/f; chmod 640 /root/f"]).status();
    assert!(pve2.expect("sh runs").success());
    let web = lab.container(101);
    let start = "cp /bin/sleep /tmp/bb; chmod 755 /tmp/bb; setsid /tmp/bb 60 >/dev/null 2>&1 </dev/null &";
    assert!(web.exec(["sh", "-c", start]).status.success());
}
