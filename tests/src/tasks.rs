//! The harness's own tasks, told from those of relay and client.

use std::cell::Cell;
use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::wait::eventually;

thread_local! {
    static OURS: Cell<usize> = const { Cell::new(0) };
}

/// Tasks of a test or of the harness. They end when this is dropped.
#[derive(Debug, Default)]
pub struct Tasks(JoinSet<()>);

impl Tasks {
    /// No task yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` until it ends or this is dropped.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        let ours = Ours::new();
        self.0.spawn(async move {
            let _ours = ours;
            future.await;
        });
        // Long-lived owners do not pile up what has ended.
        while let Some(ended) = self.0.try_join_next() {
            ended.expect("a task of the test does not panic");
        }
    }

    /// Waits until all have ended.
    ///
    /// # Panics
    ///
    /// One of them panicked.
    pub async fn join(mut self) {
        while let Some(ended) = self.0.join_next().await {
            ended.expect("a task of the test does not panic");
        }
    }
}

/// One task of ours, for as long as it lives.
struct Ours;

impl Ours {
    fn new() -> Self {
        OURS.set(OURS.get() + 1);
        Self
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        OURS.set(OURS.get() - 1);
    }
}

/// Waits until the runtime has no task but the harness's.
pub async fn none_left() {
    let metrics = Handle::current().metrics();
    eventually("every task of relay and client to end", async || {
        metrics.num_alive_tasks() == OURS.get()
    })
    .await;
}
