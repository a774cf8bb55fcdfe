//! Futures that cost nothing while their task is busy with something else.
//!
//! A task that moves bytes also waits for what nearly never happens: a stop, a time limit. Each time it
//! is polled for its bytes it asks for all of these too, and a lock and a list stand behind each
//! question. Here it is a look at one flag.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// A future that is polled when it has been woken, and not whenever its task is.
///
/// Whatever it waits for has to wake it, as the contract of [`Future`] says: it is not polled just in
/// case. It is as safe to cancel as what it holds. When it has ended it is not to be polled any more.
#[derive(Debug)]
pub struct Seldom<F> {
    future: Pin<Box<F>>,
    /// The task that was told last to whoever wakes the future.
    task: Waker,
    alarm: Arc<Alarm>,
    waker: Waker,
}

/// What the future wakes.
#[derive(Debug)]
struct Alarm {
    is_woken: AtomicBool,
    task: Mutex<Waker>,
}

impl<F: Future> Seldom<F> {
    /// `future`, which is polled once, and whenever it wants to be.
    pub fn new(future: F) -> Self {
        let task = Waker::noop().clone();
        let alarm =
            Arc::new(Alarm { is_woken: AtomicBool::new(true), task: Mutex::new(task.clone()) });
        let waker = Waker::from(Arc::clone(&alarm));
        Self { future: Box::pin(future), task, alarm, waker }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        // Before the look at the flag, so that nobody else is woken behind it.
        if !this.task.will_wake(cx.waker()) {
            this.task.clone_from(cx.waker());
            let before = std::mem::replace(&mut *this.alarm.task.lock(), this.task.clone());
            // Not under the lock, as in `wake_by_ref`.
            drop(before);
        }
        if !this.alarm.is_woken.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Before the poll: what wakes it meanwhile counts.
        this.alarm.is_woken.swap(false, Ordering::AcqRel);
        this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        // Not under the lock: a task may be run, or dropped, by whoever wakes it.
        let task = self.task.lock().clone();
        task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::task::JoinSet;
    use tokio::time::{advance, sleep};

    use super::*;

    /// What wakes nobody, and counts for whom it was told to.
    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_polled_once_and_when_it_is_woken() {
        let mut polls = 0;
        let mut time = Box::pin(sleep(Duration::from_secs(1)));
        let mut seldom = Seldom::new(poll_fn(|cx| {
            polls += 1;
            time.as_mut().poll(cx)
        }));
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        for _ in 0..100 {
            assert!(Pin::new(&mut seldom).poll(&mut cx).is_pending());
        }
        advance(Duration::from_secs(2)).await;
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(Pin::new(&mut seldom).poll(&mut cx).is_ready());
        drop(seldom);
        assert_eq!(polls, 2);
    }

    #[tokio::test]
    async fn it_wakes_the_task_that_has_it_now() {
        let told = Notify::new();
        let mut seldom = Seldom::new(told.notified());
        let [before, now] = [Arc::new(Count::default()), Arc::new(Count::default())];
        for count in [&before, &now] {
            let waker = Waker::from(Arc::clone(count));
            assert!(Pin::new(&mut seldom).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        told.notify_waiters();
        assert_eq!([&before, &now].map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_is_lost_whoever_else_wakes_the_task() {
        const ROUNDS: u32 = 20_000;
        let [bytes, rare, seen] = [(); 3].map(|()| Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        let (noise, told, sees) = (Arc::clone(&bytes), Arc::clone(&rare), Arc::clone(&seen));
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                let mut seldom = Seldom::new(told.notified());
                loop {
                    tokio::select! {
                        () = &mut seldom => break,
                        () = noise.notified() => (),
                    }
                }
                sees.notify_one();
            }
        });
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                bytes.notify_one();
                rare.notify_one();
                seen.notified().await;
            }
        });
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }
}
