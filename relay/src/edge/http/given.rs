//! What an answer by HTTP/2 has for its visitor, who may never take it.
//!
//! hyper takes a piece of a body and waits with it until the windows of the visitor let it go.
//! Meanwhile it asks the body for nothing, so that no clock in there is ever looked at: the task that
//! hyper runs for a stream is watched from outside, and told by the body when a piece waits.
//!
//! A stream is given up when a piece has waited for as long as data may wait, and nothing went to the
//! visitor meanwhile of any body of its connection; or, whatever [the others](super::turns) do, after
//! four times that. It is dropped, which resets the stream and lets go of the local service.

use std::cell::{Cell, OnceCell};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use shared::visit::patience::{Moved, Patience, Waiting, Watch, poll_passed};
use tokio::task::futures::TaskLocalFuture;
use tokio::task_local;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::activity::Activity;
use super::body::Answering;
use super::ends::Ends;
use super::tasks::Tasks;
use super::turns::Turns;
use crate::web::BodyError;

task_local! {
    /// The stream whose task this is.
    static STREAM: Given;
}

/// What a stream has for its visitor.
#[derive(Debug, Default)]
struct Given {
    /// How many pieces have been asked for.
    asked: Cell<u64>,
    /// The last of them waits to be taken.
    waits: Cell<bool>,
    is_given_up: Cell<bool>,
    /// Ends what the stream becomes once it has changed to another protocol.
    changed: OnceCell<CancellationToken>,
}

/// The stream whose task this is changes to another protocol. Resets it when it fires.
pub(super) fn change() -> CancellationToken {
    let reset = CancellationToken::new();
    // Always called by the task of a stream, and once.
    STREAM.try_with(|given| given.changed.set(reset.clone()).err()).err();
    reset
}

/// The body of an answer by HTTP/2.
pub(super) struct Offered(Ends<Answering>);

impl Offered {
    pub(super) fn new(body: Answering) -> Self {
        Self(Ends::new(body))
    }
}

impl Body for Offered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        let waits = matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_data());
        // Always polled by its stream's task.
        STREAM.try_with(|given| given.asked(waits)).err();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        if self.0.is_without_end() {
            self.0.body().body.broke_off();
        }
        if STREAM.try_with(|given| given.is_given_up.get()).unwrap_or(false) {
            self.0.body().body.timed_out();
        }
    }
}

impl Given {
    /// The piece before has been taken. The next one is there or not.
    fn asked(&self, waits: bool) {
        self.asked.set(self.asked.get().wrapping_add(1));
        self.waits.set(waits);
    }
}

/// Runs the streams of a connection, each until it is over, given up, or cut off with the others.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    tasks: Tasks,
    activity: Arc<Activity>,
    patience: Patience,
}

impl Streams {
    pub(super) fn new(tasks: Tasks, activity: Arc<Activity>, patience: Patience) -> Self {
        Self { tasks, activity, patience }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        match STREAM.try_with(|given| given.changed.get().cloned()) {
            // It is begun by a stream: what that has changed to.
            Ok(Some(reset)) => self.tasks.spawn(async move {
                tokio::select! {
                    // First: hyper would end in order what is dropped meanwhile.
                    biased;
                    () = reset.cancelled() => (),
                    _ = task => (),
                }
            }),
            Ok(None) => self.tasks.spawn(task),
            Err(_) => self.tasks.spawn_short(self.watched(task)),
        }
    }
}

impl Streams {
    fn watched<F: Future>(&self, stream: F) -> TaskLocalFuture<Given, Watched<F>> {
        let (activity, patience) = (Arc::clone(&self.activity), self.patience);
        let clock = Clock { patience, watch: None, turns: Turns::new(activity), asked: 0 };
        STREAM.scope(Given::default(), Watched { stream, clock })
    }
}

pin_project! {
    /// The task of a stream, which ends when the stream is over or given up.
    struct Watched<F> {
        #[pin]
        stream: F,
        clock: Clock,
    }
}

/// How long pieces of a stream wait.
#[derive(Debug)]
struct Clock {
    patience: Patience,
    /// Set when a piece waits, and until it is noticed that none does.
    watch: Option<Box<Watch>>,
    turns: Turns,
    /// How many pieces had been asked for at the last look.
    asked: u64,
}

impl<F: Future> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        STREAM.with(|given| {
            ready!(this.clock.poll(cx, given));
            debug!("a visitor does not take an answer, and its stream is reset");
            given.is_given_up.set(true);
            Poll::Ready(())
        })
    }
}

impl Clock {
    /// Ready when a piece has waited for too long.
    fn poll(&mut self, cx: &mut Context<'_>, given: &Given) -> Poll<()> {
        let (asked, waits) = (given.asked.get(), given.waits.get());
        if self.watch.is_none() {
            if !waits {
                return Poll::Pending;
            }
            self.turns.rest();
            self.turns.wait();
            self.asked = asked;
        }
        let Self { patience, watch, turns, asked: before } = self;
        let waiting = Waiting { down: waits, ..Waiting::default() };
        let passed = poll_passed(watch, cx, *patience, waiting, || {
            let has_moved = asked != std::mem::replace(before, asked);
            Moved { down: turns.look(has_moved, patience.stall), up: false }
        });
        passed.map(drop)
    }
}
