//! What a visitor's connection is doing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a visitor's connection is doing: what hyper does with it cannot be seen from outside.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    /// Requests whose answers have not been handed over yet.
    requests: AtomicUsize,
    /// When the last of them was, in milliseconds after the start.
    rests_since: AtomicU64,
    /// Something has come since.
    has_heard: AtomicBool,
    /// The visitor does not take what there is for it.
    is_blocked: AtomicBool,
}

/// A request whose answer is not over yet.
#[derive(Debug)]
pub(super) struct Request(Arc<Activity>);

/// The body of an answer, which is over when this is dropped.
#[derive(Debug)]
pub(super) struct Answering<B> {
    pub(super) body: B,
    pub(super) _request: Request,
}

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
            requests: AtomicUsize::new(0),
            rests_since: AtomicU64::new(0),
            has_heard: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
        })
    }

    /// A request has come.
    pub(super) fn request(self: &Arc<Self>) -> Request {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Request(Arc::clone(self))
    }

    /// How long there has been no request, if there is none.
    pub(super) fn rests_for(&self) -> Option<Duration> {
        if self.requests.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let since = Duration::from_millis(self.rests_since.load(Ordering::Relaxed));
        Some(self.started.elapsed().saturating_sub(since))
    }

    /// Whether neither end has said anything since the last answer, which has been taken.
    pub(super) fn is_silent(&self) -> bool {
        !self.has_heard.load(Ordering::Relaxed) && !self.is_blocked.load(Ordering::Relaxed)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.rests_since.store(now, Ordering::Relaxed);
        self.0.has_heard.store(false, Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S> Noted<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
