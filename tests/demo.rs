//! The demo as a newcomer starts it: an ordinary process with a home of its own. What it answers, how it ends, and that
//! nothing is left of it.

#![allow(clippy::disallowed_methods, reason = "tests start the program that they test")]

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A home and a place for temporary files, both of which have to be empty in the end.
struct Newcomer {
    home: tempfile::TempDir,
    temporary: tempfile::TempDir,
}

impl Newcomer {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a home"), temporary: tempfile::tempdir().expect("a place") }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remotectl"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path());
        command.env("TMPDIR", self.temporary.path()).env("TERM", "xterm").stdin(Stdio::null()).args(words);
        command
    }

    /// `demo` with these words to its end.
    fn demo(&self, words: &[&str]) -> Ended {
        let words: Vec<&str> = std::iter::once("demo").chain(words.iter().copied()).collect();
        let ended = Ended::of(self.command(&words).output().expect("the demo starts"));
        self.nothing_is_left();
        ended
    }

    fn nothing_is_left(&self) {
        for directory in [self.home.path(), self.temporary.path()] {
            let left: Vec<PathBuf> =
                fs::read_dir(directory).expect("it is there").flatten().map(|entry| entry.path()).collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn whole(&self) -> String {
        format!("exit {:?}\n-- out\n{}-- err\n{}", self.code, self.out, self.err)
    }
}

/// Waits for a process, but not for ever.
fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status;
        }
        assert!(Instant::now() < deadline, "the demo does not end");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A demo that reads lines from a pipe.
struct Piped {
    child: Child,
    lines: Receiver<String>,
    socket: String,
}

impl Piped {
    fn start(newcomer: &Newcomer) -> Self {
        let mut command = newcomer.command(&["demo"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let (sender, lines) = mpsc::channel();
        for stream in [pipe(child.stdout.take()), pipe(child.stderr.take())] {
            let sender = sender.clone();
            thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
        }
        let mut piped = Self { child, lines, socket: String::new() };
        let line = piped.read_until("REMOTECTL_HUB=");
        let socket = line.trim().strip_prefix("REMOTECTL_HUB=").and_then(|rest| rest.strip_suffix(" remotectl guests"));
        socket.expect("the tour names the socket").clone_into(&mut piped.socket);
        piped
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().expect("it is a pipe"), "{line}").expect("the demo reads");
    }

    /// The first line from now on that has this in it.
    fn read_until(&mut self, what: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("no `{what}` ({error}) in:\n{}", before.join("\n")),
            }
        }
    }

    /// The agent of a guest.
    fn agent_of(&self, target: &str) -> Value {
        self.guest(target)["agent"].clone()
    }

    fn wait_until(&self, target: &str, holds: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.guest(target)) {
            assert!(Instant::now() < deadline, "waited in vain: {}", self.guest(target));
        }
    }

    /// A guest, as another process sees it by the demo's socket.
    fn guest(&self, target: &str) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remotectl"));
        let output = command.args(["guests", target, "--json"]).env("REMOTECTL_HUB", &self.socket).output();
        let ended = Ended::of(output.expect("it starts"));
        let rows: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}", ended.whole()));
        rows[0].clone()
    }

    fn kill(&mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("it runs");
        wait(&mut self.child).code()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn pipe<T: Into<OwnedFd>>(stream: Option<T>) -> File {
    File::from(stream.expect("it is a pipe").into())
}

/// A demo on a terminal.
struct Terminal {
    child: Child,
    keys: File,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn start(newcomer: &Newcomer, term: Option<&str>, columns: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("it is ours");
        unlockpt(&ours).expect("it is ours");
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).expect("it has a size");
        let name = ptsname(&ours, Vec::new()).expect("it has a name").into_string().expect("a path");
        let theirs = || Stdio::from(File::options().read(true).write(true).open(&name).expect("the other end"));
        let mut command = newcomer.command(&["demo"]);
        command.stdin(theirs()).stdout(theirs()).stderr(theirs()).env_remove("TERM");
        command.envs(term.map(|term| ("TERM", term)));
        let child = command.spawn().expect("the demo starts");
        drop(command);
        let keys = File::from(ours);
        let mut screen = keys.try_clone().expect("it can be read too");
        let (sender, shown) = mpsc::channel();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut piece) {
                if sender.send(piece[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, shown, text: String::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the demo reads");
    }

    /// Waits until something is shown that was not before, and gives all up to then.
    fn see(&mut self, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.text.find(what) {
                let rest = self.text.split_off(at + what.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(piece) => self.text.push_str(&String::from_utf8_lossy(&piece)),
                Err(error) => panic!("no `{what}` ({error}) in:\n{}", self.text),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const SIGN: &str = "remotectl> ";

#[test]
fn every_exit_code_of_ask_is_told() {
    let newcomer = Newcomer::new();
    for (sentence, code, says) in [
        ("check which VMs have agents installed", 0, "vm/201 docker-host"),
        ("restart the web server", 3, "needs a confirmation"),
        ("restart ssh on the dns server", 4, "Which one?"),
        ("make me a sandwich", 5, "error: "),
        ("run 'ls /etc/nginx' on web-server and grafana", 7, "1 of 2 done"),
    ] {
        let yes: &[&str] = if code == 7 { &["--yes"] } else { &[] };
        let ended = newcomer.demo(&[yes, &["--ask", sentence]].concat());
        assert_eq!(ended.code, Some(code), "{sentence}: {}", ended.whole());
        assert!(ended.out.contains(says) || ended.err.contains(says), "{sentence}: {}", ended.whole());
        assert!(!ended.whole().contains("remotectl approve"), "that hub is gone: {}", ended.whole());
    }
}

#[test]
fn asks_go_on_after_one_that_failed_and_the_first_decides() {
    let newcomer = Newcomer::new();
    let ended =
        newcomer.demo(&["--json", "--ask", "restart ssh on the dns server", "--ask", "check which VMs have agents"]);
    assert_eq!(ended.code, Some(4), "{}", ended.whole());
    let answers: Vec<Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect();
    let outcomes: Vec<&str> = answers.iter().filter_map(|answer| answer["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["clarify", "plan"]);
}

#[test]
fn a_deployed_agent_is_there_and_a_removed_one_is_not() {
    let newcomer = Newcomer::new();
    let mut piped = Piped::start(&newcomer);
    piped.say("install the agent on container 119 on pve2");
    piped.read_until("✓ ct/119 web-staging");
    assert_eq!(piped.agent_of("ct/119")["status"], "online");
    piped.say("remotectl run exec.run ct/119 command=hostname --yes");
    piped.read_until("web-staging");
    piped.say("remotectl remove ct/119 --yes");
    piped.read_until("removed, nothing left");
    assert_eq!(piped.agent_of("ct/119"), Value::Null);
    assert_eq!(piped.kill(Signal::TERM), Some(143), "also in the middle of things nothing is left");
    newcomer.nothing_is_left();
}

#[test]
fn old_agents_come_to_the_hubs_version() {
    let newcomer = Newcomer::new();
    let mut piped = Piped::start(&newcomer);
    let newest = piped.agent_of("ct/118")["version"].clone();
    assert_ne!(piped.agent_of("ct/150")["version"], newest);
    piped.say("remotectl ask --yes update all agents in containers to latest version");
    piped.read_until("Done. Plan");
    for target in ["ct/130", "ct/150"] {
        assert_eq!(piped.agent_of(target)["version"], newest);
    }
    piped.say("quit");
    assert_eq!(wait(&mut piped.child).code(), Some(0));
    newcomer.nothing_is_left();
}

#[test]
fn an_agent_goes_down_and_comes_up_with_its_guest() {
    let newcomer = Newcomer::new();
    let mut piped = Piped::start(&newcomer);
    piped.say("remotectl run guest.stop ct/150 --yes");
    piped.read_until("Done. Plan");
    piped.wait_until("ct/150", |guest| guest["status"] == "stopped");
    piped.say("remotectl run system.info ct/150");
    piped.read_until("is stopped");
    piped.say("remotectl run guest.start ct/150 --yes");
    piped.read_until("Done. Plan");
    piped.wait_until("ct/150", |guest| guest["status"] == "running");
    piped.say("remotectl run service.status ct/150 service=grafana-server");
    piped.read_until("✓ ct/150 grafana");
    piped.say("quit");
    assert_eq!(wait(&mut piped.child).code(), Some(0));
    newcomer.nothing_is_left();
}

#[test]
fn what_a_plan_has_done_is_known_at_once_and_taken_back() {
    let newcomer = Newcomer::new();
    let mut piped = Piped::start(&newcomer);
    let run = |words: &[&str]| -> Value {
        let mut command = newcomer.command(&[words, &["--json"]].concat());
        let ended = Ended::of(command.env("REMOTECTL_HUB", &piped.socket).output().expect("it starts"));
        let answer = ended.out.lines().last().and_then(|line| serde_json::from_str(line).ok());
        answer.unwrap_or_else(|| panic!("{words:?}: {}", ended.whole()))
    };
    let id = |answer: &Value| answer["id"].as_str().expect("a plan").to_owned();
    let status = || run(&["guests", "ct/121"])[0]["status"].clone();
    let started = run(&["run", "guest.start", "ct/121", "--yes"]);
    assert_eq!(status(), "running");
    let undone = run(&["undo", &id(&started), "--yes"]);
    assert_eq!((told(&undone), status()), ("guest.shutdown ct/121".into(), "stopped".into()));
    let copied = run(&["run", "guest.clone", "ct/121", "name=wiki-copy", "--yes"]);
    let copy = copied["results"][0]["data"]["target"].as_str().expect("a vmid was given").to_owned();
    assert_eq!(run(&["guests", &copy])[0]["name"], "wiki-copy");
    let undone = run(&["undo", &id(&copied), "--confirm", "wiki-copy"]);
    assert_eq!(told(&undone), format!("guest.destroy {copy}"));
    assert_eq!(run(&["guests", "name=wiki-copy"]), serde_json::json!([]));
    let mut again = newcomer.command(&["undo", &id(&copied)]);
    let again = Ended::of(again.env("REMOTECTL_HUB", &piped.socket).output().expect("it starts"));
    assert!(
        again.err.contains(&format!("{copy} wiki-copy, which it made, is not there any more")),
        "{}",
        again.whole()
    );
    piped.say("quit");
    assert_eq!(wait(&mut piped.child).code(), Some(0));
    newcomer.nothing_is_left();
}

#[test]
fn signals_leave_nothing() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let newcomer = Newcomer::new();
        let mut piped = Piped::start(&newcomer);
        assert!(Path::new(&piped.socket).exists());
        assert_eq!(piped.kill(signal), Some(code));
        newcomer.nothing_is_left();
    }
}

#[test]
fn a_signal_while_it_starts_leaves_nothing_either() {
    // Wherever in its start each of them comes.
    for delay in [10, 40, 80, 120, 180, 250, 350, 500] {
        let newcomer = Newcomer::new();
        let mut child = newcomer.command(&["demo", "--ask", "which nodes are there"]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the demo starts");
        thread::sleep(Duration::from_millis(delay));
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::TERM).expect("it is not waited for yet");
        wait(&mut child);
        newcomer.nothing_is_left();
    }
}

#[test]
fn other_terminals_reach_the_demo() {
    let newcomer = Newcomer::new();
    let mut piped = Piped::start(&newcomer);
    let output = newcomer.command(&["nodes", "--json"]).env("REMOTECTL_HUB", &piped.socket).output();
    let ended = Ended::of(output.expect("it starts"));
    let rows: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(3), "{}", ended.whole());
    piped.say("quit");
    assert_eq!(wait(&mut piped.child).code(), Some(0));
    newcomer.nothing_is_left();
}

#[test]
fn a_question_is_answered_by_number_or_name() {
    let newcomer = Newcomer::new();
    let mut piped = Piped::start(&newcomer);
    piped.say("restart ssh on the dns server");
    piped.read_until("Type its number or name");
    piped.say("1");
    piped.read_until("service.restart ssh    ct/101 dns-primary");
    piped.say("restart ssh on the dns server");
    piped.read_until("Type its number or name");
    piped.say("DNS-Secondary");
    piped.read_until("service.restart ssh    ct/102 dns-secondary");
    drop(piped.child.stdin.take());
    assert_eq!(wait(&mut piped.child).code(), Some(0), "the end of the input ends the demo");
    newcomer.nothing_is_left();
}

/// What a sentence comes to: the operation and the targets of its steps, or that it is asked about or refused.
fn told(answer: &Value) -> String {
    let Some(steps) = answer["steps"].as_array() else { return answer["outcome"].to_string().replace('"', "") };
    let step = |step: &Value| format!("{} {}", step["op"], step["targets"]).replace(['"', '[', ']'], "");
    steps.iter().map(step).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_conversation_goes_on_from_ask_to_ask() {
    let newcomer = Newcomer::new();
    let mut piped = Piped::start(&newcomer);
    let ask = |conversation: &str, text: &str| -> Value {
        let words = ["ask", "--conversation", conversation, "--dry-run", "--json", text];
        let output = newcomer.command(&words).env("REMOTECTL_HUB", &piped.socket).output();
        let ended = Ended::of(output.expect("it starts"));
        serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{text}: {}", ended.whole()))
    };
    for (text, comes_to) in [
        ("restart ssh on the dns server", "clarify"),
        ("the second one", "service.restart ct/102"),
        ("and dns-primary too", "service.restart ct/101"),
        ("restart ssh on the dns server", "clarify"),
        ("ct 101", "service.restart ct/101"),
        ("restart ssh on the dns server", "clarify"),
        ("both", "service.restart ct/101,ct/102"),
        ("start wiki", "guest.start ct/121"),
        ("undo that", "guest.shutdown ct/121"),
        ("restart nginx on web-server", "service.restart ct/118"),
        ("and the staging one too", "service.restart ct/119"),
        ("undo that", "clarify"),
        ("is it up?", "guest.status ct/119"),
        ("reboot blog", "guest.reboot ct/120"),
        ("frobnicate the flux", "refuse"),
        ("and wiki as well", "guest.reboot ct/121"),
        ("restart postgres", "service.restart ct/130"),
    ] {
        assert_eq!(told(&ask("talk", text)), comes_to, "{text}");
    }
    assert_eq!(told(&ask("another", "and wiki too")), "clarify", "conversations are apart");
    piped.say("quit");
    assert_eq!(wait(&mut piped.child).code(), Some(0));
    newcomer.nothing_is_left();
}

#[test]
fn the_prompt_is_a_conversation() {
    let newcomer = Newcomer::new();
    let mut piped = Piped::start(&newcomer);
    piped.say("restart ssh on dns-primary");
    piped.read_until("service.restart ssh    ct/101 dns-primary");
    piped.say("and dns-secondary too");
    piped.read_until("service.restart ssh    ct/102 dns-secondary");
    piped.say("restart ssh on the dns server");
    piped.read_until("Type its number or name");
    piped.say("the second one");
    piped.read_until("service.restart ssh    ct/102 dns-secondary");
    piped.say("start wiki");
    piped.read_until("guest.start");
    piped.say("undo that");
    piped.read_until("guest.shutdown");
    piped.say("show ZZZZ");
    piped.read_until("error: there is no plan ZZZZ");
    piped.say("quit");
    assert_eq!(wait(&mut piped.child).code(), Some(0));
    newcomer.nothing_is_left();
}

#[test]
fn a_terminal_has_a_line_to_edit_and_a_history() {
    let newcomer = Newcomer::new();
    let mut terminal = Terminal::start(&newcomer, Some("xterm"), 80);
    let tour = terminal.see(SIGN);
    assert!(tour.matches('\n').count() <= 23, "the tour and the prompt fit 24 lines:\n{tour}");
    assert!(tour.contains("Nothing real is touched") && tour.contains("restart the web server"), "{tour}");
    // A typing error, taken back.
    terminal.press("nodex\u{7f}s\r");
    terminal.see("pve3");
    terminal.see(SIGN);
    // The line before.
    terminal.press("\u{1b}[A\r");
    terminal.see("pve3");
    terminal.see(SIGN);
    terminal.press("\u{3}");
    assert_eq!(wait(&mut terminal.child).code(), Some(0));
    newcomer.nothing_is_left();
}

#[test]
fn plans_are_confirmed_at_the_terminal() {
    let newcomer = Newcomer::new();
    let mut terminal = Terminal::start(&newcomer, Some("xterm"), 80);
    terminal.see(SIGN);
    terminal.press("restart the web server\r");
    terminal.see("Carry out? [y/N/?]");
    terminal.press("n\r");
    terminal.see("not confirmed; nothing was done");
    terminal.see(SIGN);
    terminal.press("restart the web server\r");
    terminal.see("Carry out? [y/N/?]");
    terminal.press("y\r");
    terminal.see("nginx restarted");
    terminal.see(SIGN);
    terminal.press("\u{4}");
    assert_eq!(wait(&mut terminal.child).code(), Some(0));
    newcomer.nothing_is_left();
}

#[test]
fn poor_terminals_will_do() {
    for (term, columns) in [(None, 80), (Some("dumb"), 80), (Some("xterm"), 40)] {
        let newcomer = Newcomer::new();
        let mut terminal = Terminal::start(&newcomer, term, columns);
        let tour = terminal.see(SIGN);
        if columns == 40 {
            let plain = tour.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
            let wide = |line: &&str| line.trim_end().chars().count() > 40 && !line.contains("REMOTECTL_HUB");
            assert_eq!(plain.lines().find(wide), None);
        }
        if term != Some("xterm") {
            assert!(!tour.contains('\u{1b}'), "{tour:?}");
        }
        terminal.press("nodes\r");
        terminal.see("pve3");
        terminal.press("quit\r");
        assert_eq!(wait(&mut terminal.child).code(), Some(0));
        newcomer.nothing_is_left();
    }
}

#[test]
fn a_home_that_is_read_only_is_no_hindrance() {
    let newcomer = Newcomer::new();
    fs::set_permissions(newcomer.home.path(), fs::Permissions::from_mode(0o500)).expect("it is ours");
    let ended = newcomer.demo(&["--ask", "which nodes are there"]);
    assert_eq!(ended.code, Some(0), "{}", ended.whole());
}

#[test]
fn an_inventory_that_is_none_is_told_before_anything_starts() {
    let newcomer = Newcomer::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("broken.json");
    for (text, says) in
        [("{\"nodes\": ", "reading the inventory"), ("{}", "it has no node that is online"), ("[1]", "invalid type")]
    {
        fs::write(&path, text).expect("it can be written");
        let ended = newcomer.demo(&["--inventory", &path.display().to_string()]);
        assert_eq!(ended.code, Some(1), "{}", ended.whole());
        assert!(ended.err.contains(says) && ended.err.contains("\nhelp: "), "{}", ended.whole());
    }
    let ended = newcomer.demo(&["--inventory", "/nowhere.json"]);
    assert!(ended.err.contains("/nowhere.json: No such file"), "{}", ended.whole());
}
