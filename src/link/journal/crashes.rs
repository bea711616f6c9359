//! The journal against a model: an agent and a hub that do random things over a disk that loses what was not synced, tears
//! what was under way, reorders it, is full, is read-only, and fails to sync. Whatever happens, nothing that changes
//! something starts twice, no result is told that is not true, and in the end every command has one.

use super::*;
use crate::model::outcome::Ending;
use proptest::prelude::*;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

/// What a disk does wrong, at one of its operations.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// The power fails while it is done.
    Crash,
    /// A part of it is done, and there is no more room.
    NoSpace,
    /// It is not done; what was not synced may be gone, and no later sync says so.
    Io,
    /// From here on nothing is written, for so many operations.
    ReadOnly(u8),
}

#[derive(Debug, Clone)]
enum Pending {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    cached: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: HashMap<String, usize>,
    durable_names: HashMap<String, usize>,
    pending_names: Vec<(String, usize)>,
    operations: usize,
    faults: HashMap<usize, Fault>,
    read_only_until: usize,
    off: bool,
    random: u64,
    met: Met,
}

/// What came to pass.
#[derive(Debug, Default, Clone, Copy)]
struct Met {
    crashes: usize,
    torn: usize,
    full: usize,
    io: usize,
    read_only: usize,
}

#[derive(Debug, Clone, Default)]
struct Simulated(Arc<Mutex<State>>);

#[derive(Debug)]
struct SimulatedLog {
    disk: Simulated,
    inode: usize,
}

impl State {
    /// A number below `bound`; the same seed gives the same ones.
    fn pick(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % bound.max(1)
    }

    /// Counts an operation; what goes wrong with it.
    fn step(&mut self) -> io::Result<Option<Fault>> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        let fault = self.faults.get(&self.operations).copied();
        if let Some(Fault::ReadOnly(long)) = fault {
            self.read_only_until = self.operations + usize::from(long);
        }
        if self.operations < self.read_only_until {
            self.met.read_only += 1;
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        match fault {
            Some(Fault::Crash) => self.off = true,
            Some(Fault::NoSpace) => self.met.full += 1,
            Some(Fault::Io) => self.met.io += 1,
            _ => {}
        }
        Ok(fault)
    }

    fn write(&mut self, inode: usize, bytes: &[u8]) -> io::Result<()> {
        let fault = self.step()?;
        let done = if fault.is_some() { self.pick(bytes.len() + 1) } else { bytes.len() };
        let file = &mut self.inodes[inode];
        file.pending.push(Pending::Write { at: file.cached.len(), bytes: bytes[..done].to_vec() });
        file.cached.extend(&bytes[..done]);
        match fault {
            Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            Some(_) => Err(io::Error::other("input/output error")),
            None => Ok(()),
        }
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        let fault = self.step()?;
        if fault.is_none() {
            let file = &mut self.inodes[inode];
            let pending = std::mem::take(&mut file.pending);
            for change in pending {
                file.apply(change);
            }
            return Ok(());
        }
        if fault != Some(Fault::Crash) {
            // The kernel has tried, takes the pages for clean, and will not try again.
            let pending = std::mem::take(&mut self.inodes[inode].pending);
            for change in pending {
                let kept = matches!(change, Pending::Truncate(_));
                if kept {
                    self.inodes[inode].pending.push(change);
                } else if self.pick(2) == 0 {
                    self.inodes[inode].apply(change);
                }
            }
        }
        Err(io::Error::other("input/output error"))
    }

    /// The power fails: of what was not synced, some is there, some is not, and some is torn.
    fn lose_power(&mut self) {
        self.met.crashes += 1;
        for inode in 0..self.inodes.len() {
            for change in std::mem::take(&mut self.inodes[inode].pending) {
                let change = match (self.pick(3), change) {
                    (0, _) => continue,
                    (1, Pending::Write { at, bytes }) => {
                        self.met.torn += 1;
                        let cut = self.pick(bytes.len() + 1);
                        Pending::Write { at, bytes: bytes[..cut].to_vec() }
                    }
                    (_, whole) => whole,
                };
                self.inodes[inode].apply(change);
            }
            let file = &mut self.inodes[inode];
            file.cached.clone_from(&file.durable);
        }
        let kept = self.pick(self.pending_names.len() + 1);
        let renamed: Vec<_> = self.pending_names.drain(..).take(kept).collect();
        self.durable_names.extend(renamed);
        self.names.clone_from(&self.durable_names);
        self.off = false;
        self.read_only_until = 0;
    }
}

impl Inode {
    fn apply(&mut self, change: Pending) {
        match change {
            Pending::Truncate(size) => self.durable.truncate(size),
            Pending::Write { at, bytes } => {
                let end = at + bytes.len();
                self.durable.resize(self.durable.len().max(end), 0);
                self.durable[at..end].copy_from_slice(&bytes);
            }
        }
    }
}

impl Simulated {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Disk for Simulated {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        Ok(state.names.get(name).map(|inode| state.inodes[*inode].cached.clone()))
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.names.insert(name.to_owned(), inode);
        state.pending_names.push((name.to_owned(), inode));
        state.write(inode, content)?;
        state.sync(inode)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.step()?;
        if fault.is_none() || state.pick(2) == 0 {
            let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), inode);
            state.pending_names.push((to.to_owned(), inode));
        }
        if fault.is_some() { Err(io::Error::other("input/output error")) } else { Ok(()) }
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.step()?.is_some() {
            return Err(io::Error::other("input/output error"));
        }
        let pending = std::mem::take(&mut state.pending_names);
        state.durable_names.extend(pending);
        Ok(())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Log>> {
        let mut state = self.state();
        if state.step()?.is_some() {
            return Err(io::Error::other("input/output error"));
        }
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimulatedLog { disk: self.clone(), inode }))
    }
}

impl Log for SimulatedLog {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.state().write(self.inode, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.state().sync(self.inode)
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.step()?.is_some() {
            return Err(io::Error::other("input/output error"));
        }
        let (file, size) = (&mut state.inodes[self.inode], usize::try_from(size).unwrap());
        file.cached.truncate(size);
        file.pending.push(Pending::Truncate(size));
        Ok(())
    }
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// The hub has another command, which changes something or only reads.
    Order { changes: bool },
    /// The agent asks, and takes what it is told.
    Poll,
    /// One of those under way ends.
    End(u8),
    /// One result reaches the hub; whether its acknowledgement reaches the agent.
    Tell { which: u8, heard: bool },
    /// The agent is killed and started again.
    Kill,
    /// The machine loses power and comes up again.
    PowerCut,
}

struct Command {
    changes: bool,
    starts: usize,
    /// How it really ended.
    ended: bool,
    /// What the hub has on record.
    told: Option<Ending>,
}

struct World {
    disk: Simulated,
    journal: Option<Journal>,
    running: BTreeSet<u64>,
    commands: BTreeMap<u64, Command>,
    /// The highest mark that no crash may lower.
    kept: u64,
}

impl World {
    fn new(seed: u64, faults: &[(usize, Fault)]) -> Self {
        let disk = Simulated::default();
        disk.state().random = seed;
        disk.state().faults = faults.iter().copied().collect();
        let mut world = Self { disk, journal: None, running: BTreeSet::new(), commands: BTreeMap::new(), kept: 0 };
        world.come_up();
        world
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Order { changes } => {
                let seq = self.commands.len() as u64 + 1;
                self.commands.insert(seq, Command { changes, starts: 0, ended: false, told: None });
            }
            Action::Poll => self.poll(),
            Action::End(which) => self.end(usize::from(which)),
            Action::Tell { which, heard } => self.tell(usize::from(which), heard),
            Action::Kill => self.come_up(),
            Action::PowerCut => self.disk.state().off = true,
        }
        while self.disk.state().off {
            self.disk.state().lose_power();
            self.come_up();
        }
        if let Some(journal) = &self.journal {
            let kept = journal.kept();
            // A journal that can't be written can't say either what of it is durable.
            assert!(kept == 0 || kept >= self.kept, "a mark that was kept fell: {kept} of {}", self.kept);
            self.kept = self.kept.max(kept);
        }
    }

    /// As `Runtime::run` begins.
    fn come_up(&mut self) {
        self.journal = None;
        self.running.clear();
        let Ok(mut journal) = Journal::open_on(Box::new(self.disk.clone()), Path::new("/journal")) else { return };
        for (seq, entry) in journal.entries().clone() {
            let command = self.commands.get_mut(&seq).expect("only what was ordered is on record");
            if entry.outcome.is_some() {
                continue;
            }
            if command.changes {
                let ending = if entry.started { Ending::Unknown } else { Ending::Rejected };
                journal.finish(seq, &Outcome { ending, ..Outcome::failure("") }, true).ok();
            } else {
                self.running.insert(seq);
            }
        }
        self.journal = Some(journal);
    }

    /// As `Runtime::take` does.
    fn poll(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        for (seq, command) in &mut self.commands {
            if command.told.is_some() || *seq <= journal.high_water() {
                continue;
            }
            let signed = Signed { payload: format!("command {seq}"), signature: String::new() };
            match journal.accept(*seq, &signed, command.changes) {
                Ok(()) => {
                    command.starts += 1;
                    self.running.insert(*seq);
                }
                Err(_) if self.disk.state().off => return,
                Err(error) => journal.refuse(*seq, &signed, &Outcome::rejected(error.to_string())),
            }
        }
    }

    fn end(&mut self, which: usize) {
        let Some(journal) = &mut self.journal else { return };
        let Some(seq) = self.running.iter().nth(which % self.running.len().max(1)).copied() else { return };
        self.running.remove(&seq);
        let command = self.commands.get_mut(&seq).unwrap();
        command.ended = true;
        journal.finish(seq, &Outcome::success("done"), command.changes).ok();
    }

    fn tell(&mut self, which: usize, heard: bool) {
        let Some(journal) = &mut self.journal else { return };
        let ended: Vec<_> =
            journal.entries().iter().filter_map(|(seq, entry)| Some((*seq, entry.outcome.clone()?))).collect();
        let Some((seq, outcome)) = ended.get(which % ended.len().max(1)) else { return };
        let command = self.commands.get_mut(seq).unwrap();
        command.told = command.told.filter(|told| *told != Ending::Unknown).or(Some(outcome.ending));
        if heard {
            journal.delivered(*seq).ok();
        }
    }

    /// The disk is well again, and everything goes on until nothing is left to do.
    fn come_to_rest(&mut self) {
        self.disk.state().faults.clear();
        self.disk.state().read_only_until = 0;
        if self.journal.is_none() {
            self.come_up();
        }
        for _ in 0..=3 * self.commands.len() {
            self.act(Action::Poll);
            self.act(Action::End(0));
            self.act(Action::Tell { which: 0, heard: true });
        }
    }

    /// The commands of which the hub has to say by itself that it does not know.
    fn check(&self) -> Tally {
        let mut tally = Tally::default();
        for (seq, command) in &self.commands {
            let Command { changes, starts, ended, told } = *command;
            assert!(!changes || starts <= 1, "{seq} was started {starts} times");
            match told {
                Some(Ending::Succeeded) => assert!(ended, "{seq} was told to have succeeded and did not end"),
                Some(Ending::Rejected) => assert_eq!(starts, 0, "{seq} was told to be refused and was started"),
                Some(Ending::Unknown) => {
                    assert!(changes);
                    tally.needless += usize::from(starts == 0);
                }
                None => {
                    // The line that told of it was not waited for and is lost, and one behind it is not: the agent does not
                    // name it any more, and the hub's lease on it runs out.
                    let journal = self.journal.as_ref().unwrap();
                    assert!(!journal.entries().contains_key(seq), "{seq} has no end");
                    tally.silent += 1;
                }
                other => panic!("{seq} ended as {other:?}"),
            }
            tally.commands += 1;
            tally.unknown += usize::from(told == Some(Ending::Unknown));
            tally.refused += usize::from(told == Some(Ending::Rejected));
        }
        tally
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    commands: usize,
    unknown: usize,
    needless: usize,
    refused: usize,
    silent: usize,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        4 => any::<bool>().prop_map(|changes| Action::Order { changes }),
        6 => Just(Action::Poll),
        5 => any::<u8>().prop_map(Action::End),
        5 => (any::<u8>(), any::<bool>()).prop_map(|(which, heard)| Action::Tell { which, heard }),
        1 => Just(Action::Kill),
        1 => Just(Action::PowerCut),
    ];
    prop::collection::vec(action, 1..60)
}

fn faults() -> impl Strategy<Value = Vec<(usize, Fault)>> {
    let fault =
        prop_oneof![Just(Fault::Crash), Just(Fault::NoSpace), Just(Fault::Io), (1..20_u8).prop_map(Fault::ReadOnly),];
    prop::collection::vec((1..150_usize, fault), 0..8)
}

/// What a run of cases came to, for whoever looks with `--nocapture`.
fn sum(total: &Mutex<(usize, Met, Tally)>, met: Met, tally: Tally) {
    let mut total = total.lock().unwrap();
    let (cases, all, sum) = &mut *total;
    *cases += 1;
    for (of, is) in [
        (&mut all.crashes, met.crashes),
        (&mut all.torn, met.torn),
        (&mut all.full, met.full),
        (&mut all.io, met.io),
        (&mut all.read_only, met.read_only),
        (&mut sum.commands, tally.commands),
        (&mut sum.unknown, tally.unknown),
        (&mut sum.needless, tally.needless),
        (&mut sum.refused, tally.refused),
        (&mut sum.silent, tally.silent),
    ] {
        *of += is;
    }
}

fn run(seed: u64, faults: &[(usize, Fault)], actions: &[Action]) -> (usize, Met, Tally) {
    let mut world = World::new(seed, faults);
    for action in actions {
        world.act(*action);
    }
    world.come_to_rest();
    let tally = world.check();
    let state = world.disk.state();
    (state.operations, state.met, tally)
}

#[test]
fn whatever_the_disk_does_nothing_starts_twice_and_no_result_is_untrue() {
    let total = Mutex::default();
    let cases = ProptestConfig::default().cases.max(2_000);
    let cases = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(cases, |(seed in any::<u64>(), faults in faults(), actions in actions())| {
        let (_, met, tally) = run(seed, &faults, &actions);
        sum(&total, met, tally);
    });
    let (cases, met, tally) = *total.lock().unwrap();
    println!("{cases} histories: {met:?} {tally:?}");
    assert!(met.crashes > 1_000 && met.torn > 100 && met.full > 100 && met.io > 100 && met.read_only > 1_000);
}

/// One history with everything in it, and the power fails at each operation of the disk in turn.
#[test]
fn a_crash_at_each_point_of_a_history_is_survived() {
    let history: Vec<Action> = (0..6_u8)
        .flat_map(|round| {
            let changes = round % 3 != 2;
            let (which, heard) = (0, round % 2 == 0);
            [
                Action::Order { changes },
                Action::Poll,
                Action::Order { changes: true },
                Action::Poll,
                Action::End(0),
                Action::Tell { which, heard },
                if round == 3 { Action::Kill } else { Action::Poll },
            ]
        })
        .collect();
    let (operations, ..) = run(0, &[], &history);
    let total = Mutex::default();
    for point in 1..=operations {
        for fault in [Fault::Crash, Fault::NoSpace, Fault::Io, Fault::ReadOnly(5)] {
            for seed in 0..16 {
                let (_, met, tally) = run(seed, &[(point, fault), (point + 7, Fault::Crash)], &history);
                sum(&total, met, tally);
            }
        }
    }
    let (cases, met, tally) = *total.lock().unwrap();
    println!("{operations} points, {cases} histories: {met:?} {tally:?}");
    assert!(operations > 30 && met.crashes > 1_000);
}

#[test]
fn a_full_disk_refuses_what_changes_and_reads_all_the_same() {
    let disk = Simulated::default();
    let mut journal = Journal::open_on(Box::new(disk.clone()), Path::new("/journal")).unwrap();
    let now = disk.state().operations;
    disk.state().faults.insert(now + 1, Fault::ReadOnly(200));
    let signed = Signed { payload: "x".into(), signature: String::new() };
    let error = journal.accept(1, &signed, true).unwrap_err();
    assert_eq!(error.to_string(), "writing the journal /journal");
    journal.refuse(1, &signed, &Outcome::rejected("no"));
    journal.accept(2, &signed, false).unwrap();
    journal.finish(2, &Outcome::success("read"), false).unwrap_err();
    assert_eq!(journal.entries()[&2].outcome, Some(Outcome::success("read")), "it can be told");
    assert_eq!((journal.high_water(), journal.kept()), (2, 0));
    disk.state().read_only_until = 0;
    disk.state().faults.clear();
    journal.accept(3, &signed, true).unwrap();
    assert_eq!((journal.high_water(), journal.kept()), (3, 3));
}
