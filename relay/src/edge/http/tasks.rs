//! Tasks that HTTP needs beside those of connections, with an owner.

use std::future::Future;

use hyper::rt::Executor;
use shared::kit::seldom::Seldom;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where tasks of one owner run: none of them outlives the token. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    cut: CancellationToken,
}

impl Tasks {
    /// Tasks that end when `cut` fires.
    pub(super) fn new(cut: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), cut }
    }

    /// Runs `task` to its end, or until it is cut off.
    pub(super) fn spawn<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let cut = self.cut.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = Seldom::new(cut.cancelled()) => (),
                _ = task => (),
            }
        });
    }

    /// The same for one that is over soon, most likely: for that it costs less to begin.
    pub(super) fn spawn_short<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let cut = self.cut.clone();
        self.tracker.spawn(async move { cut.run_until_cancelled(task).await.is_some() });
    }

    /// Waits until none is left. No more come.
    pub(super) async fn finish(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// How hyper runs what requests by HTTP/2 to local services need.
impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn_short(task);
    }
}
