//! What is seen while a plan is carried out: a moving line a target on a terminal, plain lines elsewhere.

use super::{
    book::Book,
    screen::{Line, Look, Screen},
    table, text,
};
use crate::model::{Target, answer::TargetResult};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{collections::BTreeMap, time::Duration};

/// More targets than these share one line that counts.
const SHOWN: usize = 20;

/// The moving part of the screen.
pub struct Progress {
    moving: Option<MultiProgress>,
    lines: BTreeMap<(usize, Target), ProgressBar>,
    rest: Option<(ProgressBar, usize, usize)>,
    wide: usize,
}

impl Progress {
    /// For a screen and the labels of all targets; `quiet` shows nothing at all.
    pub fn new(screen: &Screen, quiet: bool, wide: usize) -> Self {
        let moving = (screen.live && !quiet).then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { moving, lines: BTreeMap::new(), rest: None, wide }
    }

    /// A step begins on these targets.
    pub fn step(&mut self, step: usize, targets: &[Target], book: &Book) {
        let Some(moving) = &self.moving else { return };
        for target in targets.iter().take(SHOWN) {
            let line = moving
                .add(ProgressBar::new_spinner().with_style(style("  {spinner} {prefix}    {wide_msg} {elapsed}")));
            line.set_prefix(table::padded(&book.label(target), self.wide));
            line.enable_steady_tick(Duration::from_millis(120));
            self.lines.insert((step, target.clone()), line);
        }
        let more = targets.len().saturating_sub(SHOWN);
        if more > 0 {
            let line = moving.add(ProgressBar::new_spinner().with_style(style("  {spinner} {wide_msg}")));
            line.set_message(format!("and {more} more"));
            self.rest = Some((line, more, 0));
        }
    }

    /// A target says how far it is.
    pub fn said(&mut self, screen: &mut Screen, step: usize, target: &Target, line: &str, quiet: bool) {
        match (&self.moving, self.lines.get(&(step, target.clone()))) {
            (Some(_), Some(bar)) => bar.set_message(text::safe(line).into_owned()),
            (Some(_), None) => {}
            (None, _) if quiet => {}
            (None, _) => screen.note(Line::new().and(Look::Dim, format!("  {target}: {line}"))),
        }
    }

    /// A target is done.
    pub fn done(&mut self, result: &TargetResult) {
        if let Some(line) = self.lines.remove(&(result.step, result.target.clone())) {
            line.finish_and_clear();
        } else if let Some((line, more, done)) = &mut self.rest {
            *done += 1;
            line.set_message(format!("and {more} more: {done} done"));
            if done == more {
                line.finish_and_clear();
                self.rest = None;
            }
        }
    }

    /// Prints something while the moving lines are out of the way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.moving {
            Some(moving) => moving.suspend(print),
            None => print(),
        }
    }

    /// Takes what still moves away.
    pub fn clear(&mut self) {
        for line in std::mem::take(&mut self.lines).into_values().chain(self.rest.take().map(|(line, ..)| line)) {
            line.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
