//! A limit on what is done at once: who comes when all places are taken waits, and says so.

use crate::sys::task::Task;
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often one who waits looks whether they are still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// So many places.
pub(super) struct Turns {
    free: Mutex<usize>,
    given_back: Condvar,
}

/// A place that is taken, given back when dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// That many at once.
    pub fn of(places: usize) -> Self {
        Self { free: Mutex::new(places), given_back: Condvar::new() }
    }

    /// Waits for a place; `None` when the task is cancelled before there is one.
    pub fn wait(&self, task: &Task) -> Option<Turn<'_>> {
        let mut free = self.free();
        if *free == 0 {
            task.report.progress("waiting for its turn: the node is at work on others");
        }
        while *free == 0 {
            if task.cancel.fired() {
                return None;
            }
            free = self.given_back.wait_timeout(free, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Turn(self))
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::Report;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    #[derive(Default)]
    struct Heard(AtomicUsize);

    impl Report for Heard {
        fn progress(&self, _: &str) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        fn output(&self, _: &[u8]) {}
    }

    #[test]
    fn no_more_than_there_are_places_are_at_work() {
        let (turns, now, most) = (Turns::of(2), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let turn = turns.wait(&Task::default()).unwrap();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                    drop(turn);
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 2 && *turns.free() == 2);
    }

    #[test]
    fn who_waits_says_so_and_can_be_cancelled() {
        let (turns, heard) = (Turns::of(1), Heard::default());
        let task = Task { report: &heard, ..Task::default() };
        let taken = turns.wait(&task).unwrap();
        assert_eq!(heard.0.load(Ordering::SeqCst), 0, "a free place is not worth a word");
        let cancel = task.cancel.clone();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.wait(&task).is_none());
            while heard.0.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            cancel.fire();
            assert!(waiting.join().unwrap());
        });
        drop(taken);
        assert!(turns.wait(&Task::default()).is_some());
    }
}
