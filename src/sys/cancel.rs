//! Cancelling work in another thread: a flag that can also call back, so that nobody has to poll it.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

type Callback = Box<dyn FnOnce() + Send>;

/// A cancellation that many hold and one fires. Clones are the same cancellation.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    fired: Condvar,
}

#[derive(Default)]
struct State {
    fired: bool,
    callbacks: Vec<Callback>,
}

impl Cancel {
    /// One that has not fired.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fires: every registered callback runs once, in this thread. Firing again does nothing.
    pub fn fire(&self) {
        let callbacks = {
            let mut state = self.state();
            state.fired = true;
            self.0.fired.notify_all();
            std::mem::take(&mut state.callbacks)
        };
        for callback in callbacks {
            callback();
        }
    }

    /// Whether it has fired.
    pub fn fired(&self) -> bool {
        self.state().fired
    }

    /// Waits until it fires, at most so long; whether it has fired.
    pub fn wait(&self, timeout: Duration) -> bool {
        let waited = self.0.fired.wait_timeout_while(self.state(), timeout, |state| !state.fired);
        waited.unwrap_or_else(PoisonError::into_inner).0.fired
    }

    /// Runs the callback when it fires, at once if it has.
    pub fn on_fire(&self, callback: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        if state.fired {
            drop(state);
            callback();
        } else {
            state.callbacks.push(Box::new(callback));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Cancel;
    use std::sync::mpsc;

    #[test]
    fn callbacks_run_once_whether_registered_before_or_after() {
        let (sender, receiver) = mpsc::channel();
        let cancel = Cancel::new();
        let early = sender.clone();
        cancel.on_fire(move || early.send("early").unwrap());
        cancel.clone().fire();
        cancel.fire();
        cancel.on_fire(move || sender.send("late").unwrap());
        assert!(cancel.fired());
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["early", "late"]);
    }
}
