//! What a visitor's connection is doing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::impatient::is_stall;

/// What a visitor's connection is doing: what hyper does with it cannot be seen from outside.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    /// Answers that have not been handed over yet.
    answers: AtomicUsize,
    /// Bodies of requests that are not here yet.
    uploads: AtomicUsize,
    /// What has changed to another protocol and goes on beside the rest.
    changed: AtomicUsize,
    /// When the last of them was, in milliseconds after the start.
    rests_since: AtomicU64,
    /// When something of a body came last, in the same way.
    heard: AtomicU64,
    /// Something has come since the last answer was handed over.
    has_heard: AtomicBool,
    /// The visitor does not take what there is for it.
    is_blocked: AtomicBool,
    /// It is being closed.
    is_closing: AtomicBool,
    /// So many bytes of answers have gone to it by HTTP/2.
    sent: AtomicU64,
    /// It has taken nothing for too long.
    has_stalled: AtomicBool,
}

/// A request whose answer is not over yet.
#[derive(Debug)]
pub(super) struct Request(Arc<Activity>);

/// A request whose body is not here yet.
#[derive(Debug)]
pub(super) struct Upload(Arc<Activity>);

/// A request that has become another protocol, for as long as that is spoken.
#[derive(Debug)]
pub(super) struct Changed(Arc<Activity>);

/// A stream of which is noted what it does.
#[derive(Debug)]
pub(super) struct Noted<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            answers: AtomicUsize::new(0),
            uploads: AtomicUsize::new(0),
            changed: AtomicUsize::new(0),
            rests_since: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            has_heard: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            has_stalled: AtomicBool::new(false),
        })
    }

    /// A request has come.
    pub(super) fn request(self: &Arc<Self>) -> Request {
        self.answers.fetch_add(1, Ordering::Relaxed);
        Request(Arc::clone(self))
    }

    /// A request has a body.
    pub(super) fn upload(self: &Arc<Self>) -> Upload {
        self.uploads.fetch_add(1, Ordering::Relaxed);
        Upload(Arc::clone(self))
    }

    /// A request becomes another protocol. It has clocks of its own from then on.
    pub(super) fn changes(self: &Arc<Self>) -> Changed {
        self.changed.fetch_add(1, Ordering::Relaxed);
        Changed(Arc::clone(self))
    }

    /// How long there has been no request, if there is none: nothing to answer, nothing that is still
    /// to come of one that has been answered, and nothing that one has become.
    pub(super) fn rests_for(&self) -> Option<Duration> {
        let is_none = |count: &AtomicUsize| count.load(Ordering::Relaxed) == 0;
        let is_idle = is_none(&self.answers) && is_none(&self.uploads) && is_none(&self.changed);
        is_idle.then(|| self.since(&self.rests_since))
    }

    /// How long nothing has come of a body that is still to come, although all has been answered.
    pub(super) fn stalls_for(&self) -> Option<Duration> {
        let is_owed =
            self.answers.load(Ordering::Relaxed) == 0 && self.uploads.load(Ordering::Relaxed) > 0;
        is_owed.then(|| self.since(&self.heard).min(self.since(&self.rests_since)))
    }

    /// Whether that is at least so long.
    pub(super) fn is_stalled(&self, patience: Duration) -> bool {
        self.stalls_for().is_some_and(|stalls_for| stalls_for >= patience)
    }

    /// So many bytes of answers go to the visitor by HTTP/2.
    pub(super) fn sends(&self, bytes: u64) {
        // Zero for most of what is written.
        if bytes > 0 {
            self.sent.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// How many have gone so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Notes whether a write failed because nothing was taken for too long.
    pub(super) fn note_stall<T>(&self, written: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(err)) = written
            && is_stall(err)
        {
            self.has_stalled.store(true, Ordering::Relaxed);
        }
    }

    fn since(&self, moment: &AtomicU64) -> Duration {
        let moment = Duration::from_millis(moment.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(moment)
    }

    fn note(&self, moment: &AtomicU64) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        moment.store(now, Ordering::Relaxed);
    }

    /// Whether neither end has said anything since the last answer, which has been taken, and the
    /// connection is to go on.
    pub(super) fn is_silent(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        !is(&self.has_heard) && !is(&self.is_blocked) && !is(&self.is_closing)
    }
}

impl Request {
    /// Whether its visitor has taken nothing for too long.
    pub(super) fn has_stalled(&self) -> bool {
        self.0.has_stalled.load(Ordering::Relaxed)
    }
}

impl Upload {
    /// More of it has come.
    pub(super) fn heard(&self) {
        self.0.note(&self.0.heard);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.note(&self.0.rests_since);
        self.0.has_heard.store(false, Ordering::Relaxed);
        self.0.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.note(&self.0.rests_since);
        self.0.uploads.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        self.0.note(&self.0.rests_since);
        self.0.changed.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Noted<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.note_stall(&written);
        self.activity.is_blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.activity.has_heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.is_closing.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_connection_that_is_being_closed_does_not_rest() {
        let activity = Activity::new();
        let (near, _far) = duplex(1);
        let mut near = Noted::new(near, Arc::clone(&activity));
        assert!(activity.is_silent());
        near.shutdown().await.unwrap();
        assert!(!activity.is_silent());
    }
}
