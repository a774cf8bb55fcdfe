//! Work on a thread and a runtime of its own.

use std::convert::Infallible;
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Does `work` on a thread of that name until it returns. It is told to when `stop` fires, or when
/// this future is dropped; either way the thread is gone afterwards.
///
/// # Errors
///
/// What `work` failed with, that it panicked, or that there is no thread to be had.
pub(super) async fn on_own_thread<W>(
    name: &str,
    stop: CancellationToken,
    work: W,
) -> anyhow::Result<()>
where
    W: AsyncFnOnce(CancellationToken) -> anyhow::Result<()> + Send + 'static,
{
    let stop = stop.child_token();
    // Nothing is ever sent: the thread's end drops the sender, a panic included.
    let (running, ended) = oneshot::channel::<Infallible>();
    let told = stop.clone();
    let body = move || {
        let _running = running;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start the runtime")?.block_on(work(told))
    };
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
    let thread = thread.with_context(|| format!("cannot start the thread `{name}`"))?;
    let mut thread = Thread { stop, handle: Some(thread) };
    drop(ended.await);
    thread.join().with_context(|| format!("the thread `{name}` failed"))
}

/// A thread that is stopped and waited for when this is dropped.
struct Thread {
    stop: CancellationToken,
    handle: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Thread {
    fn join(&mut self) -> anyhow::Result<()> {
        match self.handle.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(anyhow!("it panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.cancel();
        // Whoever drops it does not ask how it ended.
        drop(self.join());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_not_a_silence() {
        let stop = CancellationToken::new();
        let outcome = on_own_thread("doomed", stop, async |_| panic!("on purpose")).await;
        let err = format!("{:#}", outcome.unwrap_err());
        assert!(err.contains("doomed") && err.contains("panicked"), "{err}");
    }

    #[tokio::test]
    async fn the_thread_ends_with_the_future_that_owns_it() {
        let (alive, gone) = mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        let work = on_own_thread("short-lived", CancellationToken::new(), async move |stop| {
            let _alive = alive;
            started.send(()).unwrap();
            stop.cancelled().await;
            Ok(())
        });
        tokio::select! {
            _ = work => panic!("nobody has told it to stop"),
            started = has_started => started.unwrap(),
        }
        assert_eq!(gone.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }
}
