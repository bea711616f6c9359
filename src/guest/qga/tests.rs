use super::*;
use crate::{guest::story::story, model::outcome::Silent};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// A guest agent in front of this machine: it starts programs, keeps their ends, and tells each of them once.
#[derive(Default)]
struct Here {
    last: AtomicU64,
    running: Mutex<BTreeMap<u64, std::sync::mpsc::Receiver<Finished>>>,
    part: usize,
    without: Vec<&'static str>,
}

impl Line for Here {
    fn tool(&self) -> &'static str {
        "here"
    }

    fn label(&self) -> String {
        "vm/100".to_owned()
    }

    fn state(&self) -> Result<GuestState, TransportError> {
        Ok(GuestState { status: "running".to_owned(), template: false, lock: None, macs: Vec::new() })
    }

    fn commands(&self) -> Result<Vec<GuestCommand>, TransportError> {
        let command = |name: &str| GuestCommand { name: name.to_owned(), enabled: !self.without.contains(&name) };
        Ok(WANTED.map(command).into())
    }

    fn takes(&self, input: &[u8]) -> bool {
        input.len() <= self.part
    }

    fn start(&self, argv: &[String], input: &[u8]) -> Result<u64, TransportError> {
        let program = argv[0].clone();
        let meta = std::fs::metadata(&program);
        if program.starts_with('/') && meta.is_err() {
            return Err(TransportError::NotFound(program));
        }
        if meta.is_ok_and(|meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111 == 0) {
            return Err(TransportError::NotExecutable(program));
        }
        // The number stands in for the process id; the shell replaces itself, so that it is the program's own.
        let pids = tempfile::NamedTempFile::new().unwrap();
        let script = r#"f=$1; shift; echo $$ >"$f"; exec "$@""#;
        let mut words: Vec<String> = ["-c", script, "sh", pids.path().to_str().unwrap()].map(str::to_owned).to_vec();
        words.extend_from_slice(argv);
        let (sender, receiver) = std::sync::mpsc::channel();
        let input = Input::Bytes(input.to_vec());
        std::thread::spawn(move || {
            let run = Run::new("sh", words).clear_env().env("PATH", "/usr/bin:/bin").input(input);
            sender.send(run.limit(64 << 20).run().unwrap()).ok();
        });
        let read = || std::fs::read_to_string(pids.path()).ok()?.trim().parse().ok();
        let pid = std::iter::repeat_with(|| {
            Cancel::new().wait(Duration::from_millis(1));
            read()
        });
        let pid = pid.flatten().next().unwrap();
        self.last.store(pid, Ordering::SeqCst);
        self.running.lock().unwrap().insert(pid, receiver);
        Ok(pid)
    }

    fn status(&self, pid: u64) -> Result<Status, TransportError> {
        let mut running = self.running.lock().unwrap();
        let gone = || TransportError::Refused { tool: "here", said: "Invalid parameter 'pid'".to_owned() };
        let ended = running.get(&pid).ok_or_else(gone)?.try_recv();
        let Ok(ended) = ended else { return Ok(Status::default()) };
        running.remove(&pid);
        let Finished { code, signal, stdout, stderr, truncated, .. } = ended;
        Ok(Status { exited: true, code, signal, stdout, stderr, truncated })
    }

    fn part(&self) -> usize {
        self.part
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), TransportError> {
        files::write_atomic(Path::new(path), bytes, 0o600)
            .map_err(|error| TransportError::Write { path: path.to_owned(), why: error.source.to_string() })
    }
}

#[test]
fn the_story_holds_in_parts_of_any_size() {
    for part in [1 << 20, 30_000] {
        let directory = tempfile::tempdir().unwrap();
        let qga = Qga::by(Here { part, ..Here::default() });
        story(&qga, directory.path().to_str().unwrap()).unwrap_or_else(|why| panic!("{part}: {why}"));
    }
}

#[test]
fn what_can_be_packed_is_and_arrives_whole() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let content: Vec<u8> = (0..200_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
    files::write_atomic(&at("local"), &content, 0o600).unwrap();
    let cancel = Cancel::new();
    let copying = Copying { cancel: &cancel, report: &Silent };
    let qga = Qga::by(Here { part: 46_080, ..Here::default() });
    qga.push(&at("local"), at("remote").to_str().unwrap(), 0o750, &copying).unwrap();
    assert_eq!(files::read(&at("remote")).unwrap(), content);
    assert!(packed(&at("local")).unwrap().len() < content.len() / 2);
    cancel.fire();
    qga.push(&at("local"), at("never").to_str().unwrap(), 0o750, &copying).unwrap_err();
    let mut left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["local", "remote"], "a cancelled copy leaves nothing");
}

#[test]
fn a_guest_agent_that_may_not_start_programs_is_told_by_name() {
    let qga = Qga::by(Here { part: 1, without: vec!["guest-exec"], ..Here::default() });
    let error = qga.ready().unwrap_err();
    assert_eq!(error.to_string(), "its guest agent does not allow guest-exec");
    assert!(error.help("vm/100").contains("--block-rpcs"));
    Qga::by(Here::default()).ready().unwrap();
}

const RECORDED: &str = include_str!("../../../tests/fixtures/pve/client/cli.jsonl");

/// A program that answers as a genuine qm did, whatever it is asked.
fn recorded(directory: &Path, name: &str) -> Qm {
    let lines = RECORDED.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.into_iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("no recorded {name}"));
    saying(directory, line["stdout"].as_str().unwrap().as_bytes(), line["stderr"].as_str().unwrap(), &line["exit"])
}

fn saying(directory: &Path, stdout: &[u8], stderr: &str, exit: &Value) -> Qm {
    for (name, content) in [("stdout", stdout), ("stderr", stderr.as_bytes())] {
        files::write_atomic(&directory.join(name), content, 0o600).unwrap();
    }
    let at = directory.display();
    // Asked to print two bytes, it says so in the encoding of what else it says.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *printf*) cat '{at}/test' ;; *) cat '{at}/stdout' ;; esac\ncat '{at}/stderr' >&2; exit {exit}\n"
    );
    let program = directory.join("qm");
    files::write_atomic(&program, script.as_bytes(), 0o755).unwrap();
    Qm::by(program, 100)
}

fn started(name: &str) -> Result<u64, TransportError> {
    let directory = tempfile::tempdir().unwrap();
    recorded(directory.path(), name).start(&["/nonexistent".to_owned()], &[])
}

#[test]
fn what_qm_says_is_understood() {
    assert_eq!(started("qm.guest.exec.async").unwrap(), 130);
    let error = |name| started(name).unwrap_err().to_string();
    assert_eq!(error("qm.guest.exec.nonexistent"), "there is no program `/nonexistent` in the guest");
    assert_eq!(error("qm.guest.exec.not-running"), "the guest agent of vm/100 does not answer");
    assert_eq!(error("qm.agent.ping.not-configured"), "the guest agent of vm/100 is not enabled");
    assert_eq!(error("qm.config.missing"), "vm/100 is not on this node");
    assert_eq!(error("qm.guest.exec-status.again"), "qm: Agent error: Invalid parameter 'pid'");
    let directory = tempfile::tempdir().unwrap();
    let status = |name| recorded(directory.path(), name).status(130).unwrap();
    assert_eq!(status("qm.guest.exec-status.done").stdout, b"late\n");
    assert!(!status("qm.guest.exec-status.running").exited);
    let config = recorded(directory.path(), "qm.config");
    assert_eq!((config.configured().unwrap(), config.state().unwrap().macs.len()), (true, 1));
}

#[test]
fn bytes_beyond_ascii_read_the_same_in_both_encodings() {
    let told = |bytes: &str| format!("{{\n   \"exited\" : 1,\n   \"out-data\" : \"{bytes}\"\n}}\n");
    let (said, test) = (told("G\u{c3}\u{a4}ste \u{ff}"), told("\u{c3}\u{a4}"));
    let latin = |text: &str| text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
    let encodings: [fn(&str) -> Vec<u8>; 2] = [|text| text.as_bytes().to_vec(), latin];
    for encode in encodings {
        let directory = tempfile::tempdir().unwrap();
        let qm = saying(directory.path(), &encode(&said), "", &Value::from(0));
        files::write_atomic(&directory.path().join("test"), &encode(&test), 0o600).unwrap();
        assert_eq!(qm.status(7).unwrap().stdout, b"G\xc3\xa4ste \xff");
    }
}
