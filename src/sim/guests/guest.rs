//! One simulated guest: what it is, and what happens to it. Its looks (files, /proc, programs, logs) are in the files
//! beside this one.

use super::{
    catalogue::Distribution,
    logs, noise,
    problems::Problem,
    state::{Entry, Process, Service, State, Up, Update, php},
    tree,
};
use crate::{
    model::inventory::Os,
    sim::lock,
    sys::{clock, files::FileError},
};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// What a guest is and stays.
#[derive(Debug, Clone)]
pub struct Profile {
    /// What all that looks like chance in it depends on.
    pub seed: u64,
    /// Its name.
    pub hostname: String,
    /// Its system, as the inventory has it.
    pub os: Os,
    /// What that is like.
    pub distribution: &'static Distribution,
    /// Whether it is a container.
    pub container: bool,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its network card's address, lower case.
    pub mac: String,
    /// Cores.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Its root disk in GiB.
    pub disk_gib: u64,
    /// The kernel that it runs on.
    pub kernel: String,
    /// The services that are named for it.
    pub services: Vec<String>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// A simulated guest.
pub struct Guest {
    /// What it is.
    pub profile: Profile,
    /// Where its files are.
    pub root: PathBuf,
    /// What simulated waiting times are multiplied with.
    pub scale: f64,
    state: Mutex<State>,
}

/// Why a service could not be started, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

/// Now, in microseconds since the epoch.
pub fn now() -> i64 {
    clock::unix_millis() * 1_000
}

impl Guest {
    /// One that was started a while ago, or is off.
    pub fn new(profile: Profile, root: PathBuf, scale: f64, running: bool) -> Self {
        let seed = profile.seed;
        let mut state = State { next_pid: 40, updates: updates(&profile), ..State::default() };
        let distribution =
            profile.distribution.services.iter().filter(|name| profile.container || !name.contains("getty"));
        for name in distribution.chain(&profile.services) {
            state.services.entry(name.clone()).or_insert_with(|| Service::new(name, true));
        }
        if profile.distribution.init == "systemd" {
            let failing = profile.problems.contains(&Problem::FailedAtBoot);
            state.services.entry("logrotate".to_owned()).or_insert_with(|| Service::new("logrotate", failing));
        }
        let guest = Self { profile, root, scale, state: Mutex::new(state) };
        if running {
            // A day to three months ago.
            let ago = noise::between(&[seed, 1], 86_400, 90 * 86_400);
            guest.boot_at(now() - i64::try_from(ago).unwrap_or_default() * 1_000_000);
        }
        guest
    }

    /// Its state, to look at or to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether it has this problem.
    pub fn has(&self, problem: Problem) -> bool {
        self.profile.problems.contains(&problem)
    }

    /// Whether systemd runs its services; OpenRC does otherwise.
    pub fn systemd(&self) -> bool {
        self.profile.distribution.init == "systemd"
    }

    /// A simulated waiting time.
    pub fn scaled(&self, time: Duration) -> Duration {
        time.mul_f64(self.scale)
    }

    /// Switches it on.
    pub fn boot(&self) {
        self.boot_at(now());
    }

    fn boot_at(&self, when: i64) {
        let mut state = self.state();
        if state.boot.is_some() {
            return;
        }
        (state.boot, state.spent, state.next_pid) = (Some(when), 0.0, 40);
        state.boots += 1;
        // What was written before is of the time before; what is written from now on starts here.
        state.grown = state.grown.max(when / 1_000_000).max(now() / 1_000_000 - logs::HISTORY);
        let names: Vec<String> =
            state.services.values().filter(|service| service.enabled).map(|one| one.name.clone()).collect();
        for (place, name) in names.iter().enumerate() {
            // That a service can't be started is in the journal, as on any machine.
            self.start_in(&mut state, name, when + 900_000 + i64::try_from(place).unwrap_or_default() * 130_000).ok();
        }
    }

    /// Switches it off.
    pub fn shut_down(&self) {
        let mut state = self.state();
        state.boot = None;
        for service in state.services.values_mut() {
            (service.up, service.processes) = (Up::Stopped, Vec::new());
        }
        drop(state);
        self.refresh_run_files();
    }

    /// Starts a service; one that runs is left alone.
    pub fn start(&self, name: &str) -> Result<(), Refusal> {
        let started = self.start_in(&mut self.state(), name, now());
        self.refresh_run_files();
        started
    }

    fn start_in(&self, state: &mut State, name: &str, when: i64) -> Result<(), Refusal> {
        let Some(service) = state.services.get(name) else { return Ok(()) };
        if service.up == Up::Running {
            return Ok(());
        }
        let description = service.description();
        self.manager_says(state, name, when, 6, &format!("Starting {name}.service - {description}..."));
        if let Some(why) = self.refuses(name) {
            let service = state.services.get_mut(name).expect("it was there a line above");
            (service.up, service.since) = (Up::Failed, when);
            let (who, pid) = (service.comm(), state.pid(self.profile.seed));
            let entry = |priority, text: &str| Entry {
                micros: when + 40_000,
                priority,
                unit: name.to_owned(),
                who: who.clone(),
                pid,
                text: text.to_owned(),
            };
            self.write_entry(state, entry(3, &why));
            self.manager_says(
                state,
                name,
                when + 50_000,
                5,
                &format!("{name}.service: Main process exited, code=exited, status=1/FAILURE"),
            );
            self.manager_says(
                state,
                name,
                when + 51_000,
                4,
                &format!("{name}.service: Failed with result 'exit-code'."),
            );
            self.manager_says(
                state,
                name,
                when + 52_000,
                3,
                &format!("Failed to start {name}.service - {description}."),
            );
            return Err(Refusal(why));
        }
        let processes = self.processes_of(state, name, when);
        let service = state.services.get_mut(name).expect("it was there a line above");
        service.up = match (service.once(), service.kind.startup.is_some()) {
            (true, true) => Up::Stopped,
            (true, false) => Up::Exited,
            _ => Up::Running,
        };
        (service.processes, service.since) = (if service.once() { Vec::new() } else { processes }, when);
        let (said, who, pid) = (service.kind.said.clone(), service.comm(), service.pid().unwrap_or_default());
        for text in said {
            let text = self.fill(&text, name, pid, when / 1_000_000, 0);
            self.write_entry(
                state,
                Entry { micros: when + 60_000, priority: 6, unit: name.to_owned(), who: who.clone(), pid, text },
            );
        }
        self.manager_says(state, name, when + 70_000, 6, &format!("Started {name}.service - {description}."));
        Ok(())
    }

    /// Stops a service.
    pub fn stop(&self, name: &str) {
        let mut state = self.state();
        let (when, boot) = (now(), state.boot.unwrap_or_default());
        let Some(service) = state.services.get(name).filter(|service| service.up != Up::Stopped) else { return };
        let description = service.description();
        let used: f64 = service.processes.iter().map(|process| self.core_seconds(process, boot, when)).sum();
        state.spent += used;
        self.manager_says(&mut state, name, when, 6, &format!("Stopping {name}.service - {description}..."));
        self.manager_says(&mut state, name, when, 6, &format!("{name}.service: Deactivated successfully."));
        self.manager_says(&mut state, name, when, 6, &format!("Stopped {name}.service - {description}."));
        if let Some(service) = state.services.get_mut(name) {
            (service.up, service.processes, service.since) = (Up::Stopped, Vec::new(), when);
        }
        drop(state);
        self.refresh_run_files();
    }

    /// Makes a service read its configuration again: its workers are new ones afterwards.
    pub fn reload(&self, name: &str) -> Result<(), Refusal> {
        if let Some(why) = self.refuses(name) {
            return Err(Refusal(why));
        }
        let mut state = self.state();
        let when = now();
        let fresh = self.processes_of(&mut state, name, when);
        if let Some(service) = state.services.get_mut(name) {
            let main = service.pid();
            service.processes.truncate(1);
            service.processes.extend(fresh.into_iter().skip(1));
            for worker in service.processes.iter_mut().skip(1) {
                worker.parent = main.unwrap_or(1);
            }
            let description = service.description();
            self.manager_says(&mut state, name, when, 6, &format!("Reloaded {name}.service - {description}."));
        }
        Ok(())
    }

    /// Whether a service is to start at boot.
    pub fn enable(&self, name: &str, enabled: bool) -> Result<(), FileError> {
        if let Some(service) = self.state().services.get_mut(name) {
            service.enabled = enabled;
        }
        if self.state().written { tree::enabled(self, name, enabled) } else { Ok(()) }
    }

    /// Adds a service that was installed, or takes one away.
    pub fn set_service(&self, name: &str, there: bool) -> Result<(), FileError> {
        if there {
            self.state().services.entry(name.to_owned()).or_insert_with(|| Service::new(name, false));
        } else {
            self.stop(name);
            self.state().services.remove(name);
        }
        if self.state().written { tree::service(self, name, there) } else { Ok(()) }
    }

    /// Writes its files where that has not been done yet.
    pub fn write_once(&self) -> Result<(), FileError> {
        // Held for the whole time: whoever comes second must find everything there.
        let mut state = self.state();
        if state.written {
            return Ok(());
        }
        tree::write(self, &state)?;
        state.written = true;
        Ok(())
    }

    /// What OpenRC keeps of its services in files, brought up to date.
    fn refresh_run_files(&self) {
        let state = self.state();
        if state.written && !self.systemd() {
            // A full disk shows again at the next change; services go on without these files.
            tree::run_files(self, &state).ok();
        }
    }

    /// Why a service would not start, in its own words: what its configuration says counts.
    pub fn refuses(&self, name: &str) -> Option<String> {
        let read = |path: &str| std::fs::read_to_string(self.file(path)).unwrap_or_default();
        if name == "logrotate" && self.has(Problem::FailedAtBoot) {
            // Before the files are written they are as they will be written.
            let mended = self.file("/etc").is_dir() && !read("/etc/logrotate.d/apps").contains("dayly");
            return (!mended)
                .then(|| "error: /etc/logrotate.d/apps:2 unknown option 'dayly' -- ignoring line".to_owned());
        }
        if name == "nginx" {
            let text = read("/etc/nginx/nginx.conf");
            let count = |brace| text.matches(brace).count();
            let line = text.lines().count();
            if count('{') > count('}') {
                return Some(format!(
                    "nginx: [emerg] unexpected end of file, expecting \"}}\" in /etc/nginx/nginx.conf:{line}"
                ));
            }
            if count('{') < count('}') {
                return Some(format!("nginx: [emerg] unexpected \"}}\" in /etc/nginx/nginx.conf:{line}"));
            }
        }
        None
    }

    /// Where a file of it is.
    pub fn file(&self, inside: &str) -> PathBuf {
        self.root.join(Path::new(inside).strip_prefix("/").unwrap_or(Path::new(inside)))
    }

    /// Core-seconds that a process has taken until then.
    pub fn core_seconds(&self, process: &Process, boot: i64, until: i64) -> f64 {
        let paced = |moment: i64| noise::progress(&[self.profile.seed], seconds(moment - boot));
        process.share * (paced(until) - paced(process.started)).max(0.0)
    }

    fn processes_of(&self, state: &mut State, name: &str, when: i64) -> Vec<Process> {
        let Some(service) = state.services.get(name) else { return Vec::new() };
        let (kind, comm) = (service.kind.clone(), service.comm());
        let busy = self.has(Problem::OutOfWorkers) && name.contains("php");
        let cores = kind.cpu / 100.0 * if busy { 7.0 } else { 1.0 };
        let workers = kind.workers.as_ref();
        let count = workers.map_or(0, |workers| workers.busy.filter(|_| busy).unwrap_or(workers.count));
        let main = state.pid(self.profile.seed);
        #[expect(clippy::cast_precision_loss, reason = "a service has a handful of workers")]
        let each = if count == 0 { 0.0 } else { cores * 0.95 / count as f64 };
        let command = |text: &str| self.fill(text, name, main, when / 1_000_000, u64::from(main));
        let user = |user: Option<&str>| tree::user(user.unwrap_or("root"), self.profile.distribution).to_owned();
        let mut processes = vec![Process {
            pid: main,
            parent: 1,
            comm: comm.clone(),
            command: command(&kind.command),
            user: user(kind.user.as_deref()),
            memory: kind.memory.max(1),
            share: if count == 0 { cores } else { cores * 0.05 },
            started: when,
        }];
        for _ in 0..count {
            let Some(workers) = workers else { break };
            processes.push(Process {
                pid: state.pid(self.profile.seed),
                parent: main,
                comm: comm.clone(),
                command: command(&workers.command),
                user: user(Some(&workers.user)),
                memory: workers.memory,
                share: each,
                started: when,
            });
        }
        processes
    }

    fn manager_says(&self, state: &mut State, unit: &str, micros: i64, priority: u8, text: &str) {
        if self.systemd() {
            let (unit, who, text) = (unit.to_owned(), "systemd".to_owned(), text.to_owned());
            self.write_entry(state, Entry { micros, priority, unit, who, pid: 1, text });
        }
    }

    /// Into the journal, and into syslog's file where there is one.
    fn write_entry(&self, state: &mut State, entry: Entry) {
        if state.written {
            // A log that can't be written is no reason to stop.
            logs::to_syslog(self, std::slice::from_ref(&entry)).ok();
        }
        state.note(entry);
    }

    /// Fills in a template of the data folder for one of its services at a moment (seconds since the epoch).
    pub fn fill(&self, template: &str, service: &str, pid: u32, at: i64, number: u64) -> String {
        if !template.contains('@') {
            return template.to_owned();
        }
        let seed = [self.profile.seed, number, u64::from(pid)];
        let instance = service.split_once('@').map_or("", |(_, instance)| instance);
        let urls = [
            "/",
            "/index.php",
            "/products/4711",
            "/cart",
            "/search?q=lamp",
            "/assets/app.4f2c.js",
            "/media/cover.webp",
            "/feed.xml",
        ];
        let mut text = template
            .replace("@NAME@", service)
            .replace("@HOST@", &self.profile.hostname)
            .replace("@PID@", &pid.to_string())
            .replace("@INSTANCE@", instance)
            .replace("@PHP@", &php(service));
        if text.contains('@') {
            text = text
                .replace("@ADDRESS@", self.profile.addresses.first().map_or("127.0.0.1", String::as_str))
                .replace("@URL@", noise::pick(&[&seed[..], &[3]].concat(), &urls).copied().unwrap_or("/"))
                .replace("@CLIENT@", &client(&seed))
                .replace("@PORT@", &noise::between(&[seed[0], seed[1], 5], 32_768, 60_999).to_string())
                .replace("@N@", &noise::between(&[seed[0], seed[1], 6], 120, 9_800).to_string())
                .replace("@MS@", &noise::between(&[seed[0], seed[1], 7], 1, 99).to_string());
            text = logs::times(&text, at);
        }
        text
    }
}

/// Microseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "times since a boot fit well into 53 bits")]
pub fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn client(seed: &[u64]) -> String {
    let part = |number: u64, high: u64| noise::between(&[seed, &[number]].concat(), 1, high);
    match part(10, 3) {
        1 => format!("10.0.10.{}", part(11, 250)),
        2 => format!("203.0.113.{}", part(12, 250)),
        _ => format!("198.51.100.{}", part(13, 250)),
    }
}

fn updates(profile: &Profile) -> Vec<Update> {
    let distribution = profile.distribution;
    let codename = distribution.codenames.get(&profile.os.version).map_or("stable", String::as_str);
    let fill = |text: &String| text.replace("@VERSION@", &profile.os.version).replace("@CODENAME@", codename);
    let waits = |package: &&[String; 4]| noise::hash(&[profile.seed, noise::of_text(&package[0])]) % 5 < 3;
    let update = |[name, installed, newer, archive]: &[String; 4]| Update {
        name: fill(name),
        installed: fill(installed),
        newer: fill(newer),
        archive: fill(archive),
    };
    distribution.packages.iter().filter(waits).map(update).collect()
}
