//! How the demo ends: whatever it has made is taken away again, last made first, once, also when a signal asks for it in
//! the middle of something.

use crate::{model::Failure, sys::cancel::Cancel};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

/// How long an end that comes early waits for the start.
const STARTING: Duration = Duration::from_secs(5);

type Act = Box<dyn FnOnce() -> Result<(), Failure> + Send>;

/// What is to be done at the end. Clones are the same end.
#[derive(Clone, Default)]
pub struct Ending(Arc<Shared>);

#[derive(Default)]
struct Shared {
    begun: AtomicBool,
    /// Whether what was asked for has been done.
    over: AtomicBool,
    started: Cancel,
    acts: Mutex<Vec<Act>>,
    failures: Mutex<Vec<Failure>>,
}

impl Ending {
    /// At the end this is to be done, before what was asked for earlier; at once where the end is over.
    pub fn then(&self, act: impl FnOnce() -> Result<(), Failure> + Send + 'static) {
        self.0.acts.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(act));
        if self.0.over.load(Ordering::Acquire) {
            self.run();
        }
    }

    /// Everything is made that is to be taken away: an end need wait for nothing more.
    pub fn started(&self) {
        self.0.started.fire();
    }

    /// Whether the end has begun: what fails from now on fails because of it.
    pub fn begun(&self) -> bool {
        self.0.begun.load(Ordering::Acquire)
    }

    /// Ends; returns when everything is done, whoever had begun. What can't be done is told in the log, and stops nothing.
    pub fn run(&self) {
        self.0.begun.store(true, Ordering::Release);
        let mut acts = self.0.acts.lock().unwrap_or_else(PoisonError::into_inner);
        for act in acts.drain(..).rev() {
            if let Err(failure) = act() {
                tracing::error!(error = %failure, "ending the demo");
                self.0.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
            }
        }
        self.0.over.store(true, Ordering::Release);
    }

    /// What could not be done, the first of it.
    pub fn failure(&self) -> Option<Failure> {
        self.0.failures.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }

    /// From now on a signal that ends a process ends the demo first, and leaves the terminal as it was.
    pub fn on_signals(&self, runtime: &Handle) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::of("handling signals", &error);
        let guard = runtime.enter();
        let listen = |kind| signal(kind).map_err(failed);
        let [mut interrupt, mut terminate] = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?];
        let [mut hang_up, mut quit] = [listen(SignalKind::hangup())?, listen(SignalKind::quit())?];
        drop(guard);
        let (ending, runtime, terminal) = (self.clone(), runtime.clone(), terminal());
        let wait = move || {
            let number = runtime.block_on(async move {
                tokio::select! {
                    _ = interrupt.recv() => 2,
                    _ = terminate.recv() => 15,
                    _ = hang_up.recv() => 1,
                    _ = quit.recv() => 3,
                }
            });
            ending.0.begun.store(true, Ordering::Release);
            // What is still being made would be made after all was taken away.
            ending.0.started.wait(STARTING);
            ending.run();
            if let Some(terminal) = terminal {
                // Where the terminal is gone there is nothing to be put right.
                tcsetattr(io::stdin(), OptionalActions::Now, &terminal).ok();
            }
            // As a shell tells of a process that a signal has ended.
            std::process::exit(128 + number);
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop).map_err(failed)
    }
}

/// How the terminal behaves now, if there is one.
fn terminal() -> Option<Termios> {
    isatty(io::stdin()).then(|| tcgetattr(io::stdin()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_was_made_last_goes_first_and_once() {
        let (sender, receiver) = mpsc::channel();
        let ending = Ending::default();
        for name in ["directory", "hub", "agents"] {
            let sender = sender.clone();
            ending.then(move || {
                sender.send(name).unwrap();
                Err(Failure::new(name))
            });
        }
        assert!(!ending.begun());
        ending.run();
        ending.clone().run();
        assert_eq!(ending.failure().unwrap().message, "agents");
        ending.then(move || {
            sender.send("late").unwrap();
            Ok(())
        });
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["agents", "hub", "directory", "late"]);
    }
}
