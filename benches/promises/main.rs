//! `make bench`: what the project promises about speed and size, as ratios within one run. Prints a table and writes
//! bench.json. Needs the static executable (REMOTECTL_BENCH_EXE); whatever else is not here is left out with a line.

#![allow(clippy::disallowed_methods, reason = "a bench starts what it measures")]
#![allow(clippy::unwrap_used, reason = "a bench ends where something is not as it should be")]

mod fleet;
mod memory;
mod plans;
mod polls;
mod report;
mod rivals;
mod swarm;

use fleet::Fleet;
use report::{Report, Row};
use rivals::{Ansible, Salt, Ssh};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How often each quick thing is done.
const ROUNDS: usize = 150;
/// How many agents there are in the rows about many.
const MANY: [usize; 2] = [10, 100];
/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_mins(1);

fn main() {
    let Some(exe) = std::env::var_os("REMOTECTL_BENCH_EXE").map(PathBuf::from) else {
        return println!("bench: skipped, REMOTECTL_BENCH_EXE is not set (use `make bench`)");
    };
    let place = tempfile::tempdir().unwrap();
    let mut report = Report::default();
    let ssh = report.optional("the ssh rows", Ssh::start(place.path()));
    let ansible =
        report.optional("the Ansible rows", ssh.as_ref().ok_or("there is no sshd".to_owned()).and_then(Ansible::find));
    let salt = report.optional("the Salt row", ssh.as_ref().ok_or("there is no sshd".to_owned()).and_then(Salt::find));
    let fleet = Fleet::start(&exe, place.path());
    start_up(&exe, &fleet, &mut report);
    one_machine(&fleet, ssh.as_ref(), ansible.as_ref(), salt.as_ref(), &mut report);
    many_machines(&exe, &fleet, ssh.as_ref(), ansible.as_ref(), &mut report);
    polls::measure(&exe, place.path(), &mut report);
    plans::measure(&mut report);
    if let Some(took) = report.optional("the deployment", deployment()) {
        report.milliseconds("deployment", "from the sentence to an answer", took);
    }
    report.bytes("size", "executable", std::fs::metadata(&exe).unwrap().len());
    report.print();
    let out = std::env::var_os("REMOTECTL_BENCH_OUT").map_or_else(|| PathBuf::from("bench.json"), PathBuf::from);
    report.write(&out);
}

/// How long a process takes that does next to nothing.
fn start_up(exe: &Path, fleet: &Fleet, report: &mut Report) {
    let rows = vec![
        Row::new("/bin/true", || assert!(succeeds(&mut Command::new("/bin/true")))),
        Row::new("remotectl version", || assert!(succeeds(Command::new(exe).arg("version")))),
        Row::new("remotectl plan --inventory", || fleet.plan()),
    ];
    report.race("start-up", rows, ROUNDS);
}

/// One command on one machine, from the start of the client's process to its end.
fn one_machine(fleet: &Fleet, ssh: Option<&Ssh>, ansible: Option<&Ansible>, salt: Option<&Salt>, report: &mut Report) {
    let before = fleet.agent_memory();
    let one = Fleet::own_target();
    let mut rows = Vec::new();
    rows.extend(ssh.map(|ssh| Row::new("ssh, ControlMaster", || ssh.run())));
    rows.push(Row::new("remotectl run, TLS, durable", || fleet.run("client", &one)));
    rows.push(Row::new("remotectl run, unix socket", || fleet.run("hub", &one)));
    rows.extend(ansible.map(|ansible| Row::new("ansible -m command", || ansible.run(1)).each(15)));
    rows.extend(salt.map(|salt| Row::new("salt-ssh --raw-shell", || salt.run()).each(30)));
    report.race("one command, one machine", rows, ROUNDS);
    report.memory("hub, 1 agent", fleet.hub_memory());
    report.memory("agent, idle", before);
    report.memory(&format!("agent, after {} commands", 2 * ROUNDS), fleet.agent_memory());
}

/// One command on many machines, and what the hub needs for each of them while they idle.
fn many_machines(exe: &Path, fleet: &Fleet, ssh: Option<&Ssh>, ansible: Option<&Ansible>, report: &mut Report) {
    let mut swarm = swarm::Swarm::new(exe, &fleet.root("hub"));
    let mut idle = Vec::new();
    for count in MANY {
        swarm.grow_to(count);
        fleet.wait_online(count + 1);
        let hub = fleet.hub_memory();
        report.memory(&format!("hub, {count} agents, idle"), hub);
        idle.push((count, hub.resident));
        let targets = swarm.targets();
        let mut rows = Vec::new();
        rows.extend(ssh.map(|ssh| Row::new("ssh, ControlMaster, all at once", move || ssh.run_all(count))));
        rows.push(Row::new("remotectl run, TLS, durable", || fleet.run("client", &targets)));
        rows.extend(
            ansible.map(|ansible| Row::new("ansible -m command", move || ansible.run(count)).each(5 * count / 10)),
        );
        report.race(&format!("one command, {count} machines"), rows, 20);
    }
    if let [(few, least), .., (many, most)] = idle[..] {
        let each = most.saturating_sub(least) / (many - few) as u64;
        report.kib("hub, each further idle agent", each);
    }
}

/// What scripts/deploy-time has found out, in milliseconds: `845.2ms` or `1.2s`.
fn deployment() -> Result<f64, String> {
    let said = std::env::var("REMOTECTL_BENCH_DEPLOY").unwrap_or_default();
    let (number, factor) = said.strip_suffix("ms").map_or((said.trim_end_matches('s'), 1e3), |number| (number, 1.0));
    let number: f64 = number.parse().map_err(|_| "there is no lab (`make lab` says why)".to_owned())?;
    Ok(number * factor)
}

/// Whether a program ends well; its output is nobody's.
fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
