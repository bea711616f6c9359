//! What comes of a plan, as it comes: a line a target, its data, what to do about failures, and the last word.

use super::{
    book::Book,
    data, listing,
    progress::Progress,
    screen::{Line, Look, Screen},
    table,
};
use crate::model::{
    Answer, Exit, Failure, Op, Risk, Target,
    answer::{PlanView, TargetResult},
    messages::{Event, GuestRow},
    policy,
    state::PlanState,
};
use std::collections::{BTreeMap, BTreeSet};

/// The results of one plan while they come in.
pub struct Results<'a> {
    screen: &'a mut Screen,
    view: &'a PlanView,
    book: &'a Book,
    json: bool,
    progress: Progress,
    wide: usize,
    seen: BTreeSet<(usize, Target)>,
    streamed: BTreeSet<(usize, Target)>,
    partial: BTreeMap<(usize, Target), String>,
    helps: Vec<String>,
    /// What `guest.list` told, for one table of all targets.
    listed: Vec<GuestRow>,
    succeeded: usize,
    /// Answers that came before those that the plan has before them.
    waiting: BTreeMap<(usize, Target), TargetResult>,
    /// The plan's order, and how far it has been told.
    order: Vec<(usize, Target)>,
    due: usize,
}

impl<'a> Results<'a> {
    /// Nothing has come yet.
    pub fn new(screen: &'a mut Screen, view: &'a PlanView, book: &'a Book, json: bool) -> Self {
        let labels = view.steps.iter().flat_map(|step| &step.targets).map(|target| table::width(&book.label(target)));
        let wide = labels.max().unwrap_or_default();
        let progress = Progress::new(screen, json, wide);
        Self {
            screen,
            view,
            book,
            json,
            progress,
            wide,
            seen: BTreeSet::new(),
            streamed: BTreeSet::new(),
            partial: BTreeMap::new(),
            helps: Vec::new(),
            listed: Vec::new(),
            succeeded: 0,
            waiting: BTreeMap::new(),
            order: planned(view),
            due: 0,
        }
    }

    /// Takes an event; the last one gives the plan's state and its answer.
    pub fn take(&mut self, event: Event) -> Option<(PlanState, Answer)> {
        if event.plan() != self.view.id {
            return None;
        }
        match event {
            Event::Step { step, targets, .. } => self.progress.step(step, &targets, self.book),
            Event::Progress { step, target, line, .. } => {
                self.progress.said(self.screen, step, &target, &line, self.json);
            }
            Event::Output { step, target, text, .. } => self.output(step, target, &text),
            Event::Result { result, .. } => self.result(&result),
            Event::Ended { state, answer, .. } => return Some((state, answer)),
        }
        None
    }

    /// The last word, and the exit code.
    pub fn end(&mut self, state: PlanState, answer: &Answer) -> Exit {
        self.progress.clear();
        if let Answer::Plan(view) = answer {
            for result in &view.results {
                self.result(result);
            }
        }
        // Behind a target that never answered.
        for result in std::mem::take(&mut self.waiting).into_values() {
            self.tell(&result);
        }
        if self.json {
            self.screen.json(answer);
        } else {
            self.list();
            self.last_word(state);
        }
        match state {
            PlanState::Done => Exit::Done,
            PlanState::PartlyFailed => Exit::Partly,
            PlanState::Denied => Exit::Denied,
            PlanState::Failed | PlanState::Cancelled | PlanState::Proposed | PlanState::Running => Exit::Failed,
        }
    }

    /// The connection is gone; the plan is not.
    pub fn abandoned(&mut self, failure: Failure) -> Failure {
        self.progress.clear();
        failure.help(format!("`remotectl show {}` shows how it went on", self.view.id))
    }

    fn op(&self, step: usize) -> Option<&'a Op> {
        self.view.steps.get(step).map(|step| &step.op)
    }

    fn several(&self) -> bool {
        self.view.steps.iter().map(|step| step.targets.len()).sum::<usize>() > 1
    }

    /// Whether the data of this step is the answer, beside which the line that announces it is a note.
    fn speaks_for_itself(&self, step: usize) -> bool {
        !self.several()
            && matches!(self.op(step), Some(Op::ExecRun { .. } | Op::LogsQuery { .. } | Op::ConfigShow { .. }))
    }

    fn output(&mut self, step: usize, target: Target, text: &str) {
        if self.json {
            return;
        }
        let several = self.several();
        let key = (step, target);
        self.streamed.insert(key.clone());
        let screen = &mut *self.screen;
        if !several {
            self.progress.aside(|| screen.piece(text));
            return;
        }
        let partial = self.partial.entry(key.clone()).or_default();
        partial.push_str(text);
        if let Some(end) = partial.rfind('\n') {
            let lines: String = partial.drain(..=end).collect();
            self.progress.aside(|| lines.lines().for_each(|line| screen.line(format!("{}: {line}", key.1))));
        }
    }

    fn result(&mut self, result: &TargetResult) {
        let key = (result.step, result.target.clone());
        if !self.seen.insert(key.clone()) {
            return;
        }
        self.succeeded += usize::from(result.succeeded());
        self.progress.done(result);
        if self.json {
            return;
        }
        // Answers are told in the plan's order, whoever is the quickest; what changes something, when it happens.
        if self.view.risk > Risk::Observe {
            return self.tell(result);
        }
        self.waiting.insert(key, result.clone());
        self.tell_those_due();
    }

    /// Tells what has come, up to the first target of the plan that has not answered.
    fn tell_those_due(&mut self) {
        while let Some(result) = self.order.get(self.due).and_then(|key| self.waiting.remove(key)) {
            self.due += 1;
            self.tell(&result);
        }
    }

    fn tell(&mut self, result: &TargetResult) {
        let key = (result.step, result.target.clone());
        if self.is_listed(result) {
            return;
        }
        if let Some(help) = result.help.clone().filter(|help| !self.helps.contains(help)) {
            self.helps.push(help);
        }
        let rest = self.partial.remove(&key).unwrap_or_default();
        let streamed = self.streamed.contains(&key);
        let (op, aside) = (self.op(result.step), self.speaks_for_itself(result.step) && result.succeeded());
        let line = line(result, &self.book.label(&result.target), self.wide);
        let screen = &mut *self.screen;
        self.progress.aside(|| {
            rest.lines().for_each(|line| screen.line(format!("{}: {line}", result.target)));
            if aside {
                screen.note(line);
            } else {
                screen.line(line);
            }
            if let Some(op) = op.filter(|op| told_by_data(op, result.succeeded())) {
                data::print(screen, op, &result.data, streamed);
            }
            screen.flush();
        });
    }

    /// Keeps the rows of a listing until all have come.
    fn is_listed(&mut self, result: &TargetResult) -> bool {
        if !matches!(self.op(result.step), Some(Op::GuestList {})) || !result.succeeded() {
            return false;
        }
        let rows = serde_json::from_value::<Vec<GuestRow>>(result.data.clone());
        rows.map(|rows| self.listed.extend(rows)).is_ok()
    }

    fn list(&mut self) {
        if self.listed.is_empty() {
            return;
        }
        let rows = std::mem::take(&mut self.listed);
        self.screen.table(&listing::guest_table(&rows));
        self.screen.note(listing::running(&rows));
    }

    fn last_word(&mut self, state: PlanState) {
        let (id, total) = (&self.view.id, self.seen.len());
        let word = match state {
            PlanState::Done if self.view.risk == Risk::Observe => None,
            PlanState::Done => Some(format!("Done. Plan {id}.")),
            PlanState::PartlyFailed => Some(format!("{} of {total} done. Plan {id}.", self.succeeded)),
            PlanState::Cancelled => Some(format!("Cancelled after {} of {total}. Plan {id}.", self.succeeded)),
            _ => Some(format!("Failed. Plan {id}.")),
        };
        if let Some(word) = word {
            self.screen.note(Line::new().and(Look::Bold, word));
        }
        for help in std::mem::take(&mut self.helps) {
            self.screen.help(&help);
        }
    }
}

/// Every target of every step, in the plan's order.
fn planned(view: &PlanView) -> Vec<(usize, Target)> {
    let steps = view.steps.iter().enumerate();
    steps.flat_map(|(step, planned)| planned.targets.iter().map(move |target| (step, target.clone()))).collect()
}

/// Whether the data says more than the line: what was asked for, or a service's log where it failed. That something was
/// changed is all in the line, and so is what is asked of an agent.
fn told_by_data(op: &Op, succeeded: bool) -> bool {
    let asked =
        policy::base(op) == Risk::Observe && !matches!(op, Op::AgentCheck {}) || matches!(op, Op::ExecRun { .. });
    asked || (!succeeded && op.service().is_some())
}

/// `  ✓ ct/118 web-server    nginx restarted    1.4 s`
pub fn line(result: &TargetResult, label: &str, wide: usize) -> Line {
    let (look, mark) = match result.state.as_str() {
        "succeeded" => (Look::Good, "✓"),
        "skipped" => (Look::Dim, "–"),
        "unknown" => (Look::Warn, "?"),
        _ => (Look::Bad, "✗"),
    };
    let summary = match (result.state.as_str(), result.summary.as_str()) {
        (state, "") => state.to_owned(),
        ("succeeded" | "failed", summary) => summary.to_owned(),
        (state, summary) if summary.contains(state) => summary.to_owned(),
        (state, summary) => format!("{state}: {summary}"),
    };
    let took = if result.took_ms == 0 { String::new() } else { format!("    {}", seconds(result.took_ms)) };
    Line::from("  ")
        .and(look, mark)
        .plain(format!(" {}    {summary}", table::padded(label, wide)))
        .and(Look::Dim, took)
        .folding()
}

/// `12 ms`, `1.4 s`, `3 min 20 s`.
pub fn seconds(milliseconds: u64) -> String {
    let tenths = milliseconds.saturating_add(50) / 100;
    match milliseconds {
        ..100 => format!("{milliseconds} ms"),
        100..60_000 => format!("{}.{} s", tenths / 10, tenths % 10),
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds / 1000 % 60),
    }
}
