//! Real host operations in simulated guests of each family, and the deployment's story.

use super::*;
use crate::{
    guest::{
        Attest, Deployment, MemoryLog, Patience, Transport as _,
        answers::{HubReach, Installed, Reach},
        deploy, remove,
        staging::Executable,
        story::story,
    },
    host::{self, Task},
    model::{Op, Outcome, facts::Facts, outcome::Ending},
    sim::{Access, Cluster, Request, answer::Answer, backend::Action, tasks::Tasks},
    sys::cancel::Cancel,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const HOMELAB: &str = include_str!("../../../tests/fixtures/homelab.json");
const FIXTURES: [&str; 3] = [
    HOMELAB,
    include_str!("../../../tests/fixtures/harbour.json"),
    include_str!("../../../tests/fixtures/smallshop.json"),
];

/// A world without waiting, in a directory that goes with it.
struct Ground {
    world: Arc<World>,
    directory: tempfile::TempDir,
}

fn ground_of(inventory: &str, options: Options) -> Ground {
    let directory = tempfile::tempdir().unwrap();
    let inventory: Inventory = serde_json::from_str(inventory).unwrap();
    let world = World::new(inventory, &directory.path().join("guests"), options).unwrap();
    Ground { world, directory }
}

fn ground() -> Ground {
    ground_of(HOMELAB, Options { time_scale: 0.0, faults: Faults::default() })
}

impl Ground {
    fn perform(&self, vmid: u32, op: &str, args: Value) -> Outcome {
        let Value::Object(args) = args else { panic!("arguments are an object") };
        let op = Op::from_parts(op, args).unwrap();
        host::perform(&op, &self.world.machine(vmid).unwrap(), &Task::default())
    }

    /// The output of a command that an operator types.
    fn exec(&self, vmid: u32, command: &str) -> (i64, String, String) {
        let outcome = self.perform(vmid, "exec.run", json!({ "command": command }));
        let text = |key: &str| outcome.data[key].as_str().unwrap_or_default().to_owned();
        (outcome.data["exit_code"].as_i64().unwrap_or(-1), text("stdout"), text("stderr"))
    }
}

/// One guest of each family: Ubuntu, Debian, Alpine, Rocky, Fedora, Arch; with a service that it has.
const FAMILIES: [(u32, &str, &str, &str); 6] = [
    (118, "nginx", "systemd", "apt"),
    (130, "postgresql", "systemd", "apt"),
    (110, "caddy", "openrc", "apk"),
    (132, "mariadb", "systemd", "dnf"),
    (190, "httpd", "systemd", "dnf"),
    (191, "sshd", "systemd", "pacman"),
];

#[test]
fn services_are_listed_looked_at_and_restarted() {
    let ground = ground();
    for (vmid, service, ..) in FAMILIES {
        let list = ground.perform(vmid, "service.list", json!({}));
        assert!(list.succeeded(), "{vmid}: {}", list.summary);
        let listed = list.data["services"].as_array().unwrap();
        let own = listed.iter().find(|one| one["name"] == service).unwrap_or_else(|| panic!("{vmid} lists {service}"));
        assert_eq!((&own["state"], &own["startup"]), (&json!("running"), &json!("enabled")), "{vmid}");
        let before = own["pid"].as_u64().unwrap();
        let status = ground.perform(vmid, "service.status", json!({ "service": service }));
        assert!(status.summary.contains(&format!("{service} is running, pid {before}")), "{}", status.summary);
        assert!(status.summary.ends_with("starts at boot"), "{}", status.summary);
        let restarted = ground.perform(vmid, "service.restart", json!({ "service": service }));
        assert!(restarted.succeeded(), "{vmid}: {}", restarted.summary);
        assert!(
            restarted.summary.starts_with(&format!("{service} restarted, pid {before} → ")),
            "{}",
            restarted.summary
        );
        let after = ground.perform(vmid, "service.status", json!({ "service": service }));
        assert_ne!(after.data["service"]["pid"].as_u64().unwrap(), before, "{vmid}");
    }
}

#[test]
fn services_stop_start_reload_and_change_their_boot() {
    let ground = ground();
    for (vmid, service) in [(118, "nginx"), (110, "caddy")] {
        let act = |what: &str| ground.perform(vmid, &format!("service.{what}"), json!({ "service": service }));
        assert!(act("reload").summary.contains("reloaded"), "{vmid}");
        assert!(act("stop").summary.contains("stopped, pid"), "{vmid}");
        assert!(act("status").summary.contains(&format!("{service} is stopped")), "{}", act("status").summary);
        assert!(act("stop").summary.contains("already stopped"));
        assert!(act("start").summary.contains("started"), "{vmid}");
        assert!(act("disable").summary.contains("no longer starts at boot"), "{vmid}");
        assert!(act("status").summary.ends_with("does not start at boot"), "{}", act("status").summary);
        assert!(act("enable").summary.contains("starts at boot"), "{vmid}");
        let unknown = ground.perform(vmid, "service.restart", json!({ "service": "ngnixx" }));
        assert_eq!(unknown.summary, "there is no service `ngnixx` here");
    }
}

#[test]
fn logs_are_believable_and_grow() {
    let ground = ground();
    let query = |vmid, args| ground.perform(vmid, "logs.query", args);
    let journal = query(118, json!({ "service": "nginx" }));
    assert!(
        journal.succeeded() && journal.summary.contains("it also writes /var/log/nginx/access.log"),
        "{}",
        journal.summary
    );
    let access = query(118, json!({ "path": "/var/log/nginx/access.log", "lines": 500 }));
    let lines = access.data["lines"].as_array().unwrap();
    assert!(lines.len() > 100 && lines.iter().all(|line| line["time"] != ""), "{}", access.summary);
    let texts = |outcome: &Outcome| {
        let lines = outcome.data["lines"].as_array().cloned().unwrap_or_default();
        lines.iter().filter_map(|line| line["text"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert!(texts(&access).iter().any(|line| line.contains("GET /") && line.contains(" 200 ")));
    // Alpine has no journal: the same question is answered from syslog's file.
    let syslog = query(110, json!({ "service": "crond" }));
    assert!(syslog.summary.contains("/var/log/messages"), "{}", syslog.summary);
    assert!(
        texts(&syslog).iter().any(|line| line.contains("reverse-proxy daemon.info crond[")),
        "{:?}",
        texts(&syslog)
    );
    let postgres = query(130, json!({ "path": "/var/log/postgresql/postgresql-15-main.log" }));
    assert!(texts(&postgres).iter().any(|line| line.contains("checkpoint")), "{:?}", texts(&postgres));
    // Whatever is restarted says so.
    assert!(ground.perform(130, "service.restart", json!({ "service": "postgresql" })).succeeded());
    let said = query(130, json!({ "service": "postgresql", "since": "1m" }));
    assert!(texts(&said).iter().any(|line| line.contains("ready to accept connections")), "{:?}", texts(&said));
    let outside = query(118, json!({ "path": "/var/log/../../../../etc/passwd" }));
    assert_eq!(outside.ending, Ending::Rejected);
}

#[test]
fn figures_are_those_of_the_guest_and_move() {
    let ground = ground();
    for (vmid, _, init, manager) in FAMILIES {
        let info = ground.perform(vmid, "system.info", json!({}));
        let entry = ground.world.inventory().guest(vmid).unwrap().clone();
        assert_eq!((info.data["init"].as_str(), info.data["package_manager"].as_str()), (Some(init), Some(manager)));
        assert_eq!((&info.data["hostname"], &info.data["addresses"]), (&json!(entry.name), &json!(entry.addresses)));
        assert_eq!(info.data["os"]["id"], json!(entry.os.id), "{vmid}");
        assert_eq!(info.data["os"]["version"], json!(entry.os.version), "{vmid}");
        assert_eq!(info.data["container"], json!("lxc"));
        let metrics = ground.perform(vmid, "system.metrics", json!({}));
        assert_eq!(metrics.data["memory"]["total"], json!(entry.memory_mib << 20), "{vmid}");
        assert_eq!(metrics.data["disk"]["total"], json!(entry.disk_gib << 30));
        let cpu = metrics.data["cpu_percent"].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&cpu), "{vmid}: {}", metrics.summary);
        let network = &metrics.data["network"][0];
        assert!(network["interface"] == "eth0" && network["receiving_per_second"].as_f64() > Some(0.0), "{network}");
    }
}

#[test]
fn processes_and_ports_are_the_services() {
    let ground = ground();
    let processes = ground.perform(118, "system.processes", json!({ "sort": "memory", "limit": 50 }));
    let list = processes.data["processes"].as_array().unwrap();
    let nginx = list.iter().find(|process| process["command"].as_str().unwrap().starts_with("nginx: worker")).unwrap();
    assert_eq!((&nginx["user"], &nginx["name"]), (&json!("www-data"), &json!("nginx")));
    assert!(nginx["memory_bytes"].as_u64().unwrap() > 1 << 20 && nginx["age_seconds"].as_u64().unwrap() > 3_600);
    assert!(list.iter().any(|process| process["pid"] == 1));
    let busiest = ground.perform(118, "system.processes", json!({ "sort": "cpu" }));
    assert!(busiest.summary.contains("busiest php-fpm8.3"), "{}", busiest.summary);
    for (vmid, port, owner) in
        [(118, "80 nginx", "nginx"), (130, "5432 postgres", "postgres"), (110, "443 caddy", "caddy")]
    {
        let ports = ground.perform(vmid, "system.ports", json!({}));
        assert!(ports.summary.contains(port), "{}", ports.summary);
        let sockets = ports.data["sockets"].as_array().unwrap();
        assert!(sockets.iter().any(|socket| socket["process"] == owner && socket["pid"].is_u64()), "{sockets:?}");
    }
    // Nothing of this machine, whose test runner listens to nobody here, shows.
    let facts = host::facts(&ground.world.machine(118).unwrap());
    assert_eq!((facts.hostname.as_str(), facts.addresses), ("web-server", vec!["10.0.10.18".to_owned()]));
    assert_eq!(facts.macs, [hardware_address(118).to_ascii_lowercase()]);
    assert!(
        ["nginx", "php8.3-fpm", "ssh", "cron"].iter().all(|name| facts.services.contains(&(*name).to_owned())),
        "{:?}",
        facts.services
    );
}

#[test]
fn the_planted_problems_show_in_the_answers() {
    let ground = ground();
    let service = json!({ "path": "/var/log/php8.3-fpm.log", "grep": "max_children" });
    assert!(ground.perform(118, "logs.query", service).summary.starts_with("100 lines"));
    let timed_out = json!({ "path": "/var/log/nginx/error.log", "grep": "upstream timed out" });
    assert!(ground.perform(118, "logs.query", timed_out).data["lines"].as_array().unwrap().len() > 20);
    assert_eq!(ground.perform(118, "system.info", json!({})).data["reboot_required"], json!(true));
    let disk = ground.perform(151, "system.disk", json!({}));
    assert!(disk.summary.contains("96.2 % full") && disk.summary.contains("/var/lib/prometheus"), "{}", disk.summary);
    let list = ground.perform(101, "service.list", json!({}));
    assert!(list.summary.ends_with("1 failed: logrotate"), "{}", list.summary);
    let again = ground.perform(101, "service.start", json!({ "service": "logrotate" }));
    assert!(!again.succeeded() && again.summary.contains("unknown option 'dayly'"), "{}", again.summary);
    // It works once it is mended, as it would.
    let file = ground.world.machine(101).unwrap().path("/etc/logrotate.d/apps");
    let text = files::read_text(&file).unwrap().replace("dayly", "daily");
    files::write_atomic(&file, text.as_bytes(), 0o644).unwrap();
    assert!(ground.perform(101, "service.start", json!({ "service": "logrotate" })).succeeded());
    assert!(
        ground.perform(110, "logs.query", json!({ "grep": "could not get certificate" })).data["lines"]
            .as_array()
            .unwrap()
            .len()
            > 3
    );
    assert!(ground.exec(110, "head -n 1 /etc/ssl/example.org/fullchain.pem").1.starts_with("-----BEGIN CERTIFICATE"));
}

#[test]
fn a_broken_configuration_keeps_a_service_down_in_its_own_words() {
    let ground = ground();
    let file = ground.world.machine(118).unwrap().path("/etc/nginx/nginx.conf");
    let good = files::read_text(&file).unwrap();
    files::write_atomic(&file, good.trim_end().trim_end_matches('}').as_bytes(), 0o644).unwrap();
    assert_eq!(ground.exec(118, "nginx -t").0, 1);
    let failed = ground.perform(118, "service.restart", json!({ "service": "nginx" }));
    assert!(
        failed.summary.starts_with("nginx could not be restarted, and is down: nginx: nginx: [emerg]"),
        "{}",
        failed.summary
    );
    files::write_atomic(&file, good.as_bytes(), 0o644).unwrap();
    assert!(ground.exec(118, "nginx -t").2.contains("syntax is ok"));
    assert!(ground.perform(118, "service.start", json!({ "service": "nginx" })).succeeded());
}

#[test]
fn commands_answer_from_the_guest_and_never_from_this_machine() {
    let ground = ground();
    for (vmid, command, expected) in [
        (118, "hostname; uname -r", "web-server\n6.14.11-4-pve\n"),
        (118, "cat /etc/os-release | grep VERSION_ID", "VERSION_ID=\"24.04\"\n"),
        (118, "systemctl is-active nginx", "active\n"),
        (110, "cat /etc/hostname && id -u 2>/dev/null", "reverse-proxy\nuid=0(root) gid=0(root) groups=0(root)\n"),
        (118, "ls /etc/nginx/sites-enabled", "default\n"),
        (118, "cat /etc/nginx/sites-enabled/default | head -n 2 | tail -n 1", "\tlisten 80 default_server;\n"),
    ] {
        assert_eq!(ground.exec(vmid, command).1, expected, "{command}");
    }
    for (command, part) in [
        ("uptime", "load average: "),
        ("df -h", "% /\n"),
        ("free -m", "Mem:            2048"),
        ("ps aux", "nginx: worker process"),
        ("ss -tlnp", "users:((\"nginx\",pid="),
        ("systemctl status nginx", "● nginx.service - A high performance web server"),
        ("journalctl -u nginx -n 5 --no-pager", "systemd[1]: Started nginx.service"),
        ("apt list --upgradable", "Listing...\n"),
        ("ip addr", "inet 10.0.10.18/24"),
    ] {
        let (code, out, err) = ground.exec(118, command);
        assert!(code == 0 && out.contains(part), "{command}: {code} {out}{err}");
    }
    let proof = ground.directory.path().join("proof");
    let attempts = [
        format!("touch {}", proof.display()),
        format!("echo x > {}", proof.display()),
        "curl http://10.0.0.1".to_owned(),
        "reboot".to_owned(),
        "python3 -c 1".to_owned(),
        "echo $(id)".to_owned(),
    ];
    for attempt in attempts {
        let (code, _, err) = ground.exec(118, &attempt);
        assert!(code == 127 && err.starts_with("this guest is simulated: "), "{attempt}: {code} {err}");
    }
    assert!(!proof.exists());
    for way in ["/../../../../etc/shadow", "/etc/../../../../../../etc/hostname", "/proc/self/environ"] {
        let (code, out, _) = ground.exec(118, &format!("cat {way}"));
        assert!(code == 1 && out.is_empty(), "{way}: {out}");
    }
    std::os::unix::fs::symlink("/etc/hostname", ground.world.machine(118).unwrap().path("/root/way")).unwrap();
    assert_eq!(ground.exec(118, "cat /root/way").1, "");
}

#[test]
fn packages_wait_in_each_managers_words_and_can_be_updated() {
    let ground = ground();
    let count = |vmid: u32| ground.world.guests[&vmid].state().updates.len();
    for (vmid, list, part, update) in [
        (130, "apt list --upgradable", "[upgradable from: ", "apt-get -y dist-upgrade"),
        (110, "apk version -l '<'", " < ", "apk upgrade"),
        (132, "dnf -q check-update", ".x86_64", "dnf -y upgrade"),
        (191, "pacman -Qu", " -> ", "pacman -Syu --noconfirm"),
    ] {
        assert!(count(vmid) > 0, "{vmid}");
        let (code, out, _) = ground.exec(vmid, list);
        assert!(out.contains(part) && matches!(code, 0 | 100), "{vmid}: {code} {out}");
        assert_eq!(ground.exec(vmid, update).0, 0, "{vmid}");
        assert_eq!(count(vmid), 0, "{vmid}");
    }
}

#[test]
fn time_is_scaled_and_a_task_ends_what_takes_too_long() {
    let ground = ground_of(HOMELAB, Options { time_scale: 50.0, faults: Faults::default() });
    let machine = ground.world.machine(118).unwrap();
    let restart = Op::ServiceRestart { service: "nginx".to_owned() };
    let late = host::perform(&restart, &machine, &Task { timeout: Duration::from_millis(60), ..Task::default() });
    assert_eq!(late.ending, Ending::TimedOut, "{}", late.summary);
    let cancel = Cancel::new();
    cancel.fire();
    assert_eq!(host::perform(&restart, &machine, &Task { cancel, ..Task::default() }).ending, Ending::Cancelled);
}

#[test]
fn the_transports_story_holds_in_simulated_guests() {
    let ground = ground();
    let program: Program = Arc::new(|_| Reply { code: 127, ..Reply::default() });
    for vmid in [118, 110, 190] {
        let transport = ground.world.transport(vmid, Arc::clone(&program)).unwrap();
        let there = ground.world.machine(vmid).unwrap().path("/tmp/story");
        fs::create_dir(there).unwrap();
        story(&transport, "/tmp/story").unwrap();
        let outside = ground.directory.path().join("secret");
        files::write_atomic(&outside, b"x", 0o600).unwrap();
        let pulled = transport.pull(outside.to_str().unwrap(), &ground.directory.path().join("out"), &Cancel::new());
        assert!(pulled.is_err());
    }
    assert!(matches!(ground.world.transport(210, program).err(), Some(WorldError::NotSimulated { .. })));
}

#[test]
fn every_guest_of_every_fixture_is_made_at_once_and_tells_its_facts() {
    for fixture in FIXTURES {
        let began = Instant::now();
        let ground = ground_of(fixture, Options { time_scale: 0.0, faults: Faults::all() });
        let made = began.elapsed();
        let mut guests = 0;
        for entry in ground.world.inventory().guests {
            let Ok(machine) = ground.world.machine(entry.vmid) else {
                assert!(["windows", "bsd", "haos"].contains(&entry.os.family.as_str()), "{}", entry.label());
                continue;
            };
            guests += 1;
            let facts = host::facts(&machine);
            assert_eq!(facts.hostname, entry.name);
            let named = entry.running() && !entry.template;
            let missing: Vec<&String> = entry.services.iter().filter(|name| !facts.services.contains(name)).collect();
            assert!(!named || missing.is_empty(), "{}: {missing:?} not in {:?}", entry.label(), facts.services);
        }
        assert!(guests > 10 && made < Duration::from_millis(300), "{guests} guests made in {made:?}");
    }
}

/// Registers whatever comes.
struct Everybody;

impl Attest for Everybody {
    fn attest(&self, _: &Target, _: &Installed, _: &Facts) -> Result<(), String> {
        Ok(())
    }

    fn withdraw(&self, _: &Target, _: &Installed) -> Result<(), String> {
        Ok(())
    }
}

/// What the real executable would do, by the world's own help.
fn executable(world: &Arc<World>) -> Program {
    let world = Arc::clone(world);
    Arc::new(move |call: &Call| {
        let good = |stdout: String| Reply { code: 0, stdout, stderr: String::new() };
        let words: Vec<&str> = call.args.iter().map(String::as_str).collect();
        match &words[..] {
            ["agent", "probe", "--json", rest @ ..] => {
                let hubs = rest.iter().filter(|word| word.contains(':'));
                let reached =
                    |address: &&str| HubReach { address: (*address).to_owned(), reached: true, ms: 1, why: None };
                good(serde_json::to_string(&Reach { hubs: hubs.map(reached).collect() }).unwrap())
            }
            ["agent", "install", "--no-start", ..] => {
                world.install_agent(call.vmid, "0.1.0").unwrap();
                let installed = Installed { agent_id: format!("a{}", call.vmid), ..Installed::default() };
                good(serde_json::to_string(&installed).unwrap())
            }
            ["agent", "install", "--finish", ..] => {
                world.start_agent(call.vmid).unwrap();
                good("{}".to_owned())
            }
            ["agent", "uninstall", ..] => {
                world.remove_agent(call.vmid).unwrap();
                good(String::new())
            }
            _ => Reply { code: 2, stdout: String::new(), stderr: "error: unexpected\n".to_owned() },
        }
    })
}

fn deploy_to(ground: &Ground, vmid: u32) -> Outcome {
    let file = ground.directory.path().join("remotectl");
    files::write_atomic(&file, &[7; 3_000], 0o755).unwrap();
    let target = ground.world.inventory().guest(vmid).unwrap().target();
    let deployment = Deployment {
        command: "c1",
        target: &target,
        executable: Executable { path: &file, version: "0.1.0", arch: std::env::consts::ARCH },
        hubs: &["10.0.0.5:8443".to_owned()],
        join: "rctl1.x",
        wanted: true,
        patience: Patience::default(),
    };
    let transport = ground.world.transport(vmid, executable(&ground.world)).unwrap();
    deploy(deployment, &transport, &Everybody, &MemoryLog::default(), &Task::default())
}

#[test]
fn an_agent_is_deployed_lives_as_a_service_and_is_taken_out_again() {
    let ground = ground();
    for (vmid, init) in [(118, "systemd"), (110, "openrc"), (201, "systemd")] {
        let deployed = deploy_to(&ground, vmid);
        assert!(deployed.succeeded(), "{vmid}: {}", deployed.summary);
        assert_eq!(
            (deployed.data["init"].as_str(), deployed.summary.as_str()),
            (Some(init), format!("{init}, direct").as_str())
        );
        let service = ground.perform(vmid, "service.status", json!({ "service": "remotectl-agent" }));
        assert!(service.summary.starts_with("remotectl-agent is running, pid "), "{}", service.summary);
        assert!(service.summary.ends_with("starts at boot"), "{}", service.summary);
        // It does not cut its own branch.
        let stop = ground.perform(vmid, "service.stop", json!({ "service": "remotectl-agent" }));
        assert_eq!(stop.ending, Ending::Rejected, "{}", stop.summary);
        let again = deploy_to(&ground, vmid);
        assert!(again.summary.contains("an agent is there already (remotectl 0.1.0"), "{}", again.summary);
        let transport = ground.world.transport(vmid, executable(&ground.world)).unwrap();
        let target = ground.world.inventory().guest(vmid).unwrap().target();
        let removed = remove(&transport, &target, &Task::default());
        assert_eq!(removed.summary, "removed, nothing left", "{vmid}");
        assert_eq!(ground.world.agent_version(vmid), None);
    }
}

#[test]
fn planted_faults_make_deployments_fail_for_their_reason() {
    let ground = ground_of(HOMELAB, Options { time_scale: 0.0, faults: Faults::all() });
    let full = deploy_to(&ground, 119);
    assert!(full.summary.starts_with("staging: no space left on /opt (0 MiB free"), "{}", full.summary);
    let apart = deploy_to(&ground, 191);
    assert!(
        apart.summary.contains("it reaches the hub at none of its addresses (10.0.0.5:8443: connection timed out)"),
        "{}",
        apart.summary
    );
    assert!(apart.summary.ends_with("nothing was left behind"), "{}", apart.summary);
    assert!(deploy_to(&ground, 102).succeeded());
}

/// A task of the simulated API, to its end.
fn task(world: &Arc<World>, vmid: u32, action: Action) -> (i64, String) {
    let (backend, guest) = (world.backend(), world.inventory().guest(vmid).unwrap().clone());
    let body = move |log: &crate::sim::TaskLog| backend.carry_out(&guest, &action, log);
    let task = Tasks::default().start("pve1", "vztest".to_owned(), vmid.to_string(), "root@pam", body);
    task.wait(Duration::from_secs(20)).unwrap()
}

#[test]
fn power_switches_services_and_whoever_listens() {
    let ground = ground();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    ground.world.on_power(move |vmid, power| hearing.lock().unwrap().push((vmid, power)));
    let boot_id = || host::facts(&ground.world.machine(118).unwrap()).boot_id;
    let before = boot_id();
    assert_eq!(task(&ground.world, 118, Action::Stop).1, "OK");
    assert!(!ground.perform(118, "service.list", json!({})).succeeded());
    let transport = ground.world.transport(118, executable(&ground.world)).unwrap();
    assert!(
        transport
            .exec(crate::guest::Exec::new(["true"]))
            .is_err_and(|error| error.to_string() == "ct/118 is not running")
    );
    assert_eq!((ground.world.usage(ground.world.inventory().guest(118).unwrap()).pid, boot_id().as_str()), (None, ""));
    assert_eq!(task(&ground.world, 118, Action::Start).1, "OK");
    let status = ground.perform(118, "service.status", json!({ "service": "nginx" }));
    assert!(status.summary.starts_with("nginx is running, pid "), "{}", status.summary);
    assert!(ground.perform(118, "system.info", json!({})).data["uptime_seconds"].as_f64().unwrap() < 60.0);
    assert_ne!(boot_id(), before);
    assert_eq!(task(&ground.world, 118, Action::Reboot { timeout: Duration::from_secs(9) }).1, "OK");
    assert_eq!(*heard.lock().unwrap(), [(118, Power::Off), (118, Power::On), (118, Power::Off), (118, Power::On)]);
}

#[test]
fn a_guest_has_one_task_at_a_time() {
    let ground = ground_of(HOMELAB, Options { time_scale: 0.02, faults: Faults::default() });
    ground.world.busy.lock().unwrap().push(118);
    assert_eq!(
        task(&ground.world, 118, Action::Stop).1,
        "can't lock file '/run/lock/lxc/pve-config-118.lock' - got timeout"
    );
    assert_eq!(task(&ground.world, 119, Action::Stop).1, "OK");
}

/// What the simulated API answers root at a path.
fn get(cluster: &Cluster, path: &str) -> Value {
    let request =
        Request { method: "GET".to_owned(), target: format!("/api2/json{path}"), trusted: true, ..Request::default() };
    match cluster.handle("a", &request).0 {
        Ok(Answer::Data(data) | Answer::Page(data, _)) => data,
        _ => panic!("{path} is refused"),
    }
}

/// Checks that every guest and node of an inventory is listed and can be looked into.
fn all_listed(inventory: &Inventory) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { time_scale: 0.0, faults: Faults::all() };
    let world = World::new(inventory.clone(), &directory.path().join("guests"), options).unwrap();
    let cluster = Cluster::new(world.backend(), Access::new("a good password"));
    let listed = get(&cluster, "/cluster/resources");
    for entry in &inventory.guests {
        let id = format!("{}/{}", entry.kind.api(), entry.vmid);
        assert!(listed.as_array().unwrap().iter().any(|line| line["id"] == id.as_str()), "{id}");
        if let Ok(machine) = world.machine(entry.vmid) {
            host::facts(&machine);
            host::perform(&Op::SystemDisk { path: None }, &machine, &Task::default());
            let list = host::perform(&Op::ServiceList {}, &machine, &Task::default());
            // OpenRC's services are listed from files, whether it runs or not.
            let runs = list.succeeded() && !list.summary.contains(", 0 running");
            assert_eq!(runs, entry.running() && !entry.template, "{id}: {}", list.summary);
        }
    }
    for node in &inventory.nodes {
        get(&cluster, &format!("/nodes/{}/lxc", node.name));
        host::facts(&world.node_machine(&node.name).unwrap());
    }
}

#[test]
fn every_fixture_is_listed_and_its_nodes_are_machines() {
    for fixture in FIXTURES {
        all_listed(&serde_json::from_str(fixture).unwrap());
    }
    let ground = ground();
    let node = ground.world.node_machine("pve2").unwrap();
    let services = host::perform(&Op::ServiceList {}, &node, &Task::default());
    assert!(services.data["services"].as_array().unwrap().iter().any(|one| one["name"] == "pveproxy"));
    assert_eq!(host::facts(&node).hostname, "pve2");
}

prop_compose! {
    fn any_guest()(
        name in ".{0,12}", os in prop_oneof![Just("debian"), Just("alpine"), Just("arch"), Just("windows"), Just(""), Just("exotic")],
        version in ".{0,6}", container in any::<bool>(), running in any::<bool>(), template in any::<bool>(),
        cores in prop_oneof![0..64_u32, Just(u32::MAX)], memory_mib in prop_oneof![0..9_000_u64, Just(u64::MAX)],
        disk_gib in prop_oneof![0..500_u64, Just(u64::MAX)], services in prop::collection::vec("[a-z@./ -]{0,9}|nginx|postgresql|php8.2-fpm|.{0,5}", 0..4),
        tags in prop::collection::vec(prop_oneof![Just("production".to_owned()), Just("web".to_owned())], 0..3),
    ) -> Value {
        json!({
            "vmid": 100, "kind": if container { "ct" } else { "vm" }, "name": name, "node": "a", "template": template,
            "status": if running { "running" } else { "stopped" }, "tags": tags, "os": Os::new(os, &version), "cores": cores,
            "memory_mib": memory_mib, "disk_gib": disk_gib, "services": services, "addresses": ["10.0.0.9", "not one"],
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_inventory_is_simulated(guests in prop::collection::vec(any_guest(), 0..6)) {
        let mut guests = guests;
        for (place, guest) in guests.iter_mut().enumerate() {
            guest["vmid"] = json!(100 + place);
        }
        let nodes = json!([{"name": "a", "status": "online", "cores": 4, "memory_mib": u64::MAX}]);
        all_listed(&serde_json::from_value(json!({"cluster": "any", "nodes": nodes, "guests": guests})).unwrap());
    }
}
