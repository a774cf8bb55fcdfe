//! Ending from outside what a task carries, which costs it one look each time that it is woken.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;

/// Whether something is to end.
#[derive(Debug, Default)]
pub(super) struct Cut {
    is_cut: AtomicBool,
    /// Whom to wake then.
    waker: Mutex<Option<Waker>>,
}

impl Cut {
    /// It is to end.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        // Whoever leaves a waker after this sees what was stored before: the lock orders the two.
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }

    /// Whether it is to end; if not, the task is woken when it is. `known` is the waker that was left
    /// the last time: tasks seldom move, so the lock is taken once.
    pub(super) fn is_cut(&self, cx: &Context<'_>, known: &mut Option<Waker>) -> bool {
        if !known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *known = Some(cx.waker().clone());
            self.waker.lock().clone_from(known);
        }
        self.is_cut.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_task_that_looked_last_is_woken() {
        let (cut, mut known) = (Cut::default(), None);
        let woken = [(); 2].map(|()| Arc::<Woken>::default());
        for task in &woken {
            let waker = Waker::from(Arc::clone(task));
            assert!(!cut.is_cut(&Context::from_waker(&waker), &mut known));
        }
        cut.cut();
        assert_eq!(woken.map(|task| task.0.load(Ordering::Relaxed)), [false, true]);
        assert!(cut.is_cut(&Context::from_waker(Waker::noop()), &mut known));
    }
}
