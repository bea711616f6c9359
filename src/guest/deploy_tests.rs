use super::*;
use crate::{
    guest::{
        fake::{Fake, Files, Program, Store as _},
        once::once,
        remove::remove,
        saga::{MemoryLog, SagaLog, SagaLogError},
        transport::{Exec, GuestState},
    },
    model::{
        Op,
        outcome::{Report, Silent},
        saga::{Saga, SagaMove},
    },
    store::Sagas,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

const PLACE: &str = "/opt/remotectl";

/// What a real executable would do to a guest, unless it is to fail at that command.
fn program(fails: &'static str) -> Program {
    Box::new(move |args, input, files: &mut Files| {
        let fail = |word: &str| (1, String::new(), format!("error: {word} went wrong\nhelp: try something else\n"));
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        match &words[..] {
            ["agent", "probe", ..] if fails == "route" => (
                1,
                r#"{"hubs":[{"address":"10.0.0.5:8443","reached":false,"why":"connection refused"}]}"#.into(),
                String::new(),
            ),
            ["agent", "probe", ..] => (
                0,
                r#"{"hubs":[{"address":"10.0.0.5:8443","reached":true,"ms":2},{"address":"evil:1","reached":true}]}"#
                    .into(),
                String::new(),
            ),
            ["agent", "install", "--no-start", ..] => {
                files.put(PLACE, b"", 0o755);
                files.put("/etc/remotectl", b"", 0o700);
                if fails == "install" {
                    return fail("installing");
                }
                (0, r#"{"agent_id":"a1","public_key":"a2V5","version":"0.1.0","init":"systemd"}"#.into(), String::new())
            }
            ["agent", "install", "--finish", ..] if fails == "finish" => fail("the first poll"),
            ["agent", "install", "--finish", ..] => (0, "{}".into(), String::new()),
            ["agent", "uninstall", "--purge"] if fails == "uninstall" => fail("uninstalling"),
            ["agent", "uninstall", "--purge"] | ["uninstall", "--purge"] => {
                for path in [PLACE, "/etc/remotectl", "/usr/local/bin/remotectl"] {
                    files.remove(path);
                }
                (0, String::new(), String::new())
            }
            ["agent", "once"] if fails == "once" => (101, "noise\n".into(), "panicked\n".into()),
            ["agent", "once"] => {
                let request: serde_json::Value = serde_json::from_slice(input).unwrap();
                let lines = format!(
                    "noise\n{{\"progress\":\"looking\"}}\n{{\"output\":\"out\"}}\n{{\"outcome\":{{\"ending\":\"succeeded\",\"summary\":\"{}\"}}}}\n",
                    request["op"].as_str().unwrap()
                );
                (0, lines, String::new())
            }
            other => panic!("nobody told the fake what to do for {other:?}"),
        }
    })
}

#[derive(Default)]
struct Register {
    refuses: bool,
    held: Option<PathBuf>,
    said: Mutex<Vec<String>>,
}

impl Attest for Register {
    fn attest(&self, target: &Target, installed: &Installed, facts: &Facts) -> Result<(), String> {
        let (key, os) = (&installed.public_key, &facts.os.id);
        self.said.lock().unwrap().push(format!("attest {target} {key} {os}"));
        if self.refuses { Err("the hub has another nonce".into()) } else { Ok(()) }
    }

    fn executable(&self, arch: &str) -> Result<Option<PathBuf>, String> {
        self.said.lock().unwrap().push(format!("fetch {arch}"));
        Ok(self.held.clone())
    }

    fn withdraw(&self, _: &Target, installed: &Installed) -> Result<(), String> {
        self.said.lock().unwrap().push(format!("withdraw {}", installed.agent_id));
        Ok(())
    }
}

/// A stand-in for our executable.
struct Binary {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Binary {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("remotectl");
        crate::sys::files::write_atomic(&path, &[7; 3_000], 0o755).unwrap();
        Self { _directory: directory, path }
    }

    fn executable(&self) -> Executable<'_> {
        Executable { path: &self.path, version: "0.1.0", arch: std::env::consts::ARCH }
    }
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Report for Lines {
    fn progress(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn output(&self, bytes: &[u8]) {
        self.progress(&String::from_utf8_lossy(bytes));
    }
}

fn deploy_into(fake: &Fake, attest: &Register, report: &dyn Report) -> (Outcome, Vec<String>) {
    let (binary, log) = (Binary::new(), MemoryLog::default());
    let (target, hubs) = (Target::ct(101), ["10.0.0.5:8443".to_owned(), "192.0.2.1:8443".to_owned()]);
    let deployment = Deployment {
        command: "c1",
        target: &target,
        executable: binary.executable(),
        hubs: &hubs,
        join: "rctl1.x",
        wanted: true,
        patience: Patience::default(),
    };
    let outcome = deploy(deployment, fake, attest, &log, &Task { report, ..Task::default() });
    (outcome, log.rows())
}

fn deployed(fake: &Fake) -> Outcome {
    deploy_into(fake, &Register::default(), &Silent).0
}

#[test]
fn an_agent_goes_in_and_nothing_but_it_stays() {
    let fake = Fake::new().with_program(program(""));
    let (attest, lines) = (Register::default(), Lines::default());
    let (outcome, rows) = deploy_into(&fake, &attest, &lines);
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Succeeded, "systemd, direct"));
    assert_eq!(*attest.said.lock().unwrap(), ["attest ct/101 a2V5 debian"]);
    assert_eq!(rows[rows.len() - 3..], ["c1 done finish", "c1 begin tidy", "c1 end"]);
    assert_eq!(lines.0.lock().unwrap()[0], format!("probe: Debian 12, {}, systemd", std::env::consts::ARCH));
    let mut wanted = Fake::new().files();
    wanted.put(PLACE, b"", 0o755);
    wanted.put("/etc/remotectl", b"", 0o700);
    assert_eq!(fake.files(), wanted, "the staged executable is gone");
    let install = fake.calls().into_iter().find(|call| call.contains(&"--no-start".to_owned())).unwrap().join(" ");
    let hubs = "--join rctl1.x --hub 10.0.0.5:8443";
    assert!(install.ends_with(hubs), "reached ones first, strangers never: {install}");
}

#[test]
fn every_failure_is_named_and_leaves_the_guest_as_it_was() {
    for (fails, wanted) in [
        (
            "route",
            "route: it reaches the hub at none of its addresses (10.0.0.5:8443: connection refused); nothing was left behind",
        ),
        ("install", "install: installing went wrong; nothing was left behind"),
        ("finish", "finish: the first poll went wrong; nothing was left behind"),
    ] {
        let fake = Fake::new().with_program(program(fails));
        let (attest, before) = (Register::default(), fake.files());
        let (outcome, rows) = deploy_into(&fake, &attest, &Silent);
        assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Failed, wanted));
        assert!(outcome.help.is_some(), "{fails}");
        assert_eq!(fake.files(), before, "{fails}");
        assert_eq!(rows[rows.len() - 2..], ["c1 undone staging", "c1 end"]);
        let withdrawn = attest.said.lock().unwrap().contains(&"withdraw a1".to_owned());
        assert_eq!(withdrawn, fails == "finish", "{fails}");
    }
}

#[test]
fn a_hub_that_refuses_the_attestation_ends_it() {
    let fake = Fake::new().with_program(program(""));
    let before = fake.files();
    let attest = Register { refuses: true, ..Register::default() };
    let outcome = deploy_into(&fake, &attest, &Silent).0;
    assert_eq!(outcome.summary, "attest: the hub has another nonce; nothing was left behind");
    assert_eq!(fake.files(), before);
    assert_eq!(attest.said.lock().unwrap().len(), 2, "a registration that may have happened is withdrawn");
}

#[test]
fn what_could_not_be_taken_back_is_told() {
    let both: Program = Box::new(|args, input, files| {
        let fails = if args.contains(&"uninstall".to_owned()) { "uninstall" } else { "finish" };
        program(fails)(args, input, files)
    });
    let outcome = deployed(&Fake::new().with_program(both));
    assert_eq!(
        outcome.summary,
        "finish: the first poll went wrong; left behind: install: uninstalling went wrong; /opt/remotectl; /etc/remotectl"
    );
}

#[test]
fn unfit_guests_are_refused_before_anything_is_done() {
    let state = |status: &str, template, lock: Option<&str>| {
        let lock = lock.map(str::to_owned);
        Fake::new().with_state(GuestState { status: status.into(), template, lock, macs: vec![] })
    };
    let probe = |change: (&str, &str)| {
        let lines =
            "os.ID=debian\narch=ARCH\nuid=0\npid1=systemd\nrun.systemd=1\nsha256sum=1\nplace=900000 exec /opt\n"
                .replace(change.0, change.1)
                .replace("ARCH", std::env::consts::ARCH);
        Fake::new().with_probe(&lines)
    };
    let there = Fake::new().with_program(Box::new(|_, _, _| (0, String::new(), String::new())));
    deployed(&there);
    for (fake, wanted, help) in [
        (state("stopped", false, None), "preflight: ct/101 is stopped", "deploy ct/101 --start"),
        (state("stopped", true, None), "preflight: ct/101 is a template", "guest.clone"),
        (state("running", false, Some("backup")), "preflight: ct/101 is locked (backup)", "again"),
        (probe(("ARCH", "riscv64")), "probe: the guest is riscv64, and this remotectl is for", "architecture"),
        (probe(("systemd\nrun.systemd=1", "sleep")), "probe: its process 1 is `sleep`", "ask"),
        (probe(("os.ID=debian", "kernel=FreeBSD")), "probe: FreeBSD is nothing", "Linux"),
        (probe(("uid=0", "uid=1000")), "probe: programs do not run as root there", "root"),
        (
            probe(("900000", "8193")),
            "staging: no space left on /opt (8 MiB free, 1 MiB wanted beside the reserve)",
            "free space",
        ),
        (probe((" exec ", " readonly ")), "staging: /opt is read-only", "ct/101"),
    ] {
        let before = fake.files();
        let outcome = deployed(&fake);
        assert!(outcome.summary.starts_with(wanted), "{}", outcome.summary);
        assert!(outcome.summary.ends_with("nothing was changed"), "{}", outcome.summary);
        assert!(outcome.help.as_deref().unwrap().contains(help), "{:?}", outcome.help);
        assert_eq!(fake.files(), before);
    }
}

/// One that is held by somebody for a while.
struct Held<'a>(&'a Fake, AtomicU32);

impl Transport for Held<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn state(&self) -> Result<GuestState, TransportError> {
        let held = self.1.load(Ordering::Relaxed);
        self.1.store(held.saturating_sub(1), Ordering::Relaxed);
        Ok(GuestState { lock: (held > 0).then(|| "backup".to_owned()), ..self.0.state()? })
    }

    fn exec(&self, exec: Exec<'_>) -> Result<Finished, TransportError> {
        self.0.exec(exec)
    }
}

#[test]
fn a_lock_is_waited_for_and_never_taken_away() {
    let (binary, target, hubs) = (Binary::new(), Target::ct(101), ["10.0.0.5:8443".to_owned()]);
    for (looks, lock, wanted) in [
        (2, 60, "systemd, direct"),
        (u32::MAX, 1, "preflight: ct/101 is locked (backup) for longer than 1 s; nothing was changed"),
    ] {
        let (fake, lines) = (Fake::new().with_program(program("")), Lines::default());
        let patience = Patience { lock: Duration::from_secs(lock), ..Patience::default() };
        let executable = binary.executable();
        let deployment = Deployment {
            command: "c",
            target: &target,
            executable,
            hubs: &hubs,
            join: "rctl1.x",
            wanted: true,
            patience,
        };
        let task = Task { report: &lines, ..Task::default() };
        let held = Held(&fake, AtomicU32::new(looks));
        let outcome = deploy(deployment, &held, &Register::default(), &MemoryLog::default(), &task);
        assert_eq!(outcome.summary, wanted);
        assert_eq!(lines.0.lock().unwrap()[0], "ct/101 is locked (backup): waiting");
    }
}

#[test]
fn a_network_that_comes_up_late_is_waited_for() {
    let tries = AtomicU32::new(0);
    let fake = Fake::new().with_program(Box::new(move |args, input, files| {
        let probe = args.get(1).is_some_and(|word| word == "probe");
        let early = probe && tries.fetch_add(1, Ordering::Relaxed) == 0;
        program(if early { "route" } else { "" })(args, input, files)
    }));
    let (binary, target, hubs) = (Binary::new(), Target::ct(101), ["10.0.0.5:8443".to_owned()]);
    let patience = Patience { network: Duration::from_mins(1), ..Patience::default() };
    let executable = binary.executable();
    let deployment =
        Deployment { command: "c", target: &target, executable, hubs: &hubs, join: "rctl1.x", wanted: true, patience };
    let outcome = deploy(deployment, &fake, &Register::default(), &MemoryLog::default(), &Task::default());
    assert!(outcome.succeeded(), "{}", outcome.summary);
}

#[test]
fn another_architecture_gets_the_hubs_executable() {
    let held = Binary::new();
    crate::sys::files::write_atomic(&held.path, b"for another", 0o755).unwrap();
    let lines = "os.ID=debian\narch=riscv64\nuid=0\npid1=systemd\nrun.systemd=1\nplace=900000 exec /opt\n";
    let fake = Fake::new().with_probe(lines).with_program(Box::new(|args, input, files| {
        let all = files.all.values();
        assert!(all.clone().any(|(content, _)| content.as_deref() == Some(b"for another")));
        program("")(args, input, files)
    }));
    let attest = Register { held: Some(held.path.clone()), ..Register::default() };
    let outcome = deploy_into(&fake, &attest, &Silent).0;
    assert!(outcome.succeeded(), "{}", outcome.summary);
    assert_eq!(attest.said.lock().unwrap()[0], "fetch riscv64");
}

#[test]
fn a_disk_that_fills_up_while_staging_is_told_as_such() {
    let fake = Fake::new().that_is_full();
    let before = fake.files();
    let outcome = deployed(&fake);
    assert!(
        outcome.summary.starts_with("staging: no space left while writing /tmp/.remotectl-"),
        "{}",
        outcome.summary
    );
    assert!(outcome.summary.ends_with("nothing was left behind"), "{}", outcome.summary);
    assert_eq!(fake.files(), before);
}

#[test]
fn cancelling_takes_back_what_there_is() {
    let cancel = Cancel::new();
    let fire = cancel.clone();
    let fake = Fake::new().with_program(Box::new(move |args, input, files| {
        if args.contains(&"--no-start".to_owned()) {
            fire.fire();
        }
        program("")(args, input, files)
    }));
    let (before, binary, target) = (fake.files(), Binary::new(), Target::ct(101));
    let hubs = ["10.0.0.5:8443".to_owned()];
    let deployment = Deployment {
        command: "c",
        target: &target,
        executable: binary.executable(),
        hubs: &hubs,
        join: "rctl1.x",
        wanted: true,
        patience: Patience::default(),
    };
    let task = Task { cancel, ..Task::default() };
    let outcome = deploy(deployment, &fake, &Register::default(), &MemoryLog::default(), &task);
    assert_eq!(
        (outcome.ending, outcome.summary.as_str()),
        (Ending::Cancelled, "install: cancelled; nothing was left behind")
    );
    assert_eq!(fake.files(), before);
}

#[test]
fn a_second_agent_is_not_installed_over_the_first() {
    let fake = Fake::new().with_program(program(""));
    assert!(deployed(&fake).succeeded());
    let before = fake.files();
    let outcome = deployed(&fake);
    assert_eq!(outcome.ending, Ending::Rejected);
    assert!(outcome.summary.contains("an agent is there already"), "{}", outcome.summary);
    assert_eq!(fake.files(), before);
}

#[test]
fn an_agent_goes_out_again() {
    let fake = Fake::new().with_program(program(""));
    let target = Target::ct(101);
    assert_eq!(remove(&fake, &target, &Task::default()).summary, "there was no agent");
    deployed(&fake);
    let outcome = remove(&fake, &target, &Task::default());
    assert!(outcome.summary.starts_with("not all of it is gone"), "nothing was linked: {}", outcome.summary);
    let fake = Fake::new().with_program(Box::new(|args, input, files| {
        if args.contains(&"--no-start".to_owned()) {
            files.put("/usr/local/bin/remotectl", b"", 0o755);
        }
        program("")(args, input, files)
    }));
    let before = fake.files();
    deployed(&fake);
    assert_eq!(remove(&fake, &target, &Task::default()).summary, "removed, nothing left");
    assert_eq!(fake.files(), before);
}

#[test]
fn one_operation_runs_and_leaves_nothing() {
    let (binary, target) = (Binary::new(), Target::ct(102));
    let op = Op::ServiceStatus { service: "nginx".into() };
    let fake = Fake::new().with_program(program(""));
    let (before, lines) = (fake.files(), Lines::default());
    let task = Task { report: &lines, ..Task::default() };
    let outcome = once(&fake, &binary.executable(), &op, &target, &task);
    assert_eq!((outcome.ending, outcome.summary.as_str()), (Ending::Succeeded, "service.status"));
    assert_eq!(*lines.0.lock().unwrap(), ["looking", "out"]);
    assert_eq!(fake.files(), before);
    let fake = Fake::new().with_program(program("once"));
    let outcome = once(&fake, &binary.executable(), &op, &target, &Task::default());
    assert_eq!(
        (outcome.ending, outcome.summary.as_str()),
        (Ending::Unknown, "the operation told no outcome: panicked")
    );
    assert_eq!(fake.files(), before);
}

/// Kills the process, as it were, at a certain moment: before or after something is done in the guest or put on record.
struct Deadly<'a> {
    fake: &'a Fake,
    log: &'a dyn SagaLog,
    left: AtomicU32,
}

impl Deadly<'_> {
    fn moment(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            resume_unwind(Box::new("killed"));
        }
    }
}

impl Transport for Deadly<'_> {
    fn name(&self) -> &'static str {
        "deadly"
    }
    fn state(&self) -> Result<GuestState, TransportError> {
        self.fake.state()
    }
    fn exec(&self, exec: Exec<'_>) -> Result<Finished, TransportError> {
        self.moment();
        let finished = self.fake.exec(exec);
        self.moment();
        finished
    }
}

impl SagaLog for Deadly<'_> {
    fn read(&self, command: &str) -> Result<Option<Saga>, SagaLogError> {
        self.log.read(command)
    }
    fn write(&self, command: &str, kept: &serde_json::Value, moves: &[SagaMove]) -> Result<(), SagaLogError> {
        self.moment();
        let written = self.log.write(command, kept, moves);
        self.moment();
        written
    }
}

/// Deploys until that moment; `None` where the process was killed before the end.
fn until(moment: u32, binary: &Binary, fake: &Fake, log: &dyn SagaLog, wanted: bool) -> Option<Outcome> {
    let (target, hubs) = (Target::ct(101), ["10.0.0.5:8443".to_owned()]);
    let deadly = Deadly { fake, log, left: AtomicU32::new(moment) };
    let executable = binary.executable();
    let deployment = Deployment {
        command: "c1",
        target: &target,
        executable,
        hubs: &hubs,
        join: "rctl1.x",
        wanted,
        patience: Patience::default(),
    };
    let act = || deploy(deployment, &deadly, &Register::default(), &deadly, &Task::default());
    catch_unwind(AssertUnwindSafe(act)).ok()
}

const NEVER: u32 = u32::MAX;

/// Killed at every moment, and the process that comes after it at every moment as well: either the agent is in, or the
/// guest is as it was; and the end that is told is that.
#[test]
fn whenever_it_is_killed_the_agent_is_in_or_nothing_is() {
    let binary = Binary::new();
    let deployed = {
        let fake = Fake::new().with_program(program(""));
        assert!(until(NEVER, &binary, &fake, &MemoryLog::default(), true).unwrap().succeeded());
        fake.files()
    };
    for (fails, wanted) in [("", true), ("", false), ("finish", true), ("install", true)] {
        let mut first = 0;
        loop {
            let (mut second, mut alive) = (0, false);
            loop {
                let (fake, log) = (Fake::new().with_program(program(fails)), MemoryLog::default());
                let before = fake.files();
                alive = alive || until(first, &binary, &fake, &log, true).is_some();
                let again = if alive { None } else { until(second, &binary, &fake, &log, wanted) };
                let outcome = until(NEVER, &binary, &fake, &log, wanted).unwrap();
                let wanted_files = if outcome.succeeded() { &deployed } else { &before };
                assert_eq!(fake.files(), *wanted_files, "{fails:?} {first} {second}: {}", outcome.summary);
                assert!(!outcome.summary.contains("left behind:"), "{first} {second}: {}", outcome.summary);
                assert!(fails.is_empty() || !outcome.succeeded());
                if alive || again.is_some() {
                    break;
                }
                second += 1;
            }
            if alive {
                assert!(first > 25, "there are that many moments: {first}");
                break;
            }
            first += 1;
        }
    }
}

#[test]
fn another_process_goes_on_by_the_rows_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sagas.db");
    let (fake, binary) = (Fake::new().with_program(program("")), Binary::new());
    let mut kills = 0;
    // Each process comes a little further than the one before it.
    let outcome = loop {
        if let Some(outcome) = until(3 + kills, &binary, &fake, &Sagas::at(&path), true) {
            break outcome;
        }
        kills += 1;
    };
    assert!(outcome.succeeded() && kills > 3, "{kills}: {}", outcome.summary);
    let told_again = until(NEVER, &binary, &Fake::new(), &Sagas::at(&path), true).unwrap();
    assert_eq!(told_again, outcome);
}
