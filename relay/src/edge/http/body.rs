//! Bodies on their way: piece by piece, as fast as the other end takes them, and never whole.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::account::{Account, UsedUp};
use super::activity::{self, Upload};
use super::shrink::Shrunk;
use super::trailers::checked;
use super::upstream::Kept;
use crate::web::BodyError;

/// The body of a request, from the visitor.
pub(super) struct FromVisitor {
    body: Incoming,
    /// The visitor's connection does not rest until all of it is here.
    upload: Upload,
    account: Arc<Account>,
    /// How many bytes have come.
    came: u64,
    /// Those that may not go on yet.
    rest: Bytes,
}

/// The body of an answer, to the visitor.
pub(super) enum ToVisitor {
    /// The relay's own.
    Own(Option<Bytes>),
    /// From a local service.
    Relayed(Relayed),
    /// The same, compressed.
    Compressed(Box<Shrunk>),
    /// From whoever answers for the relay itself.
    OfRelay(Box<axum::body::Body>),
    /// None: what comes is no body but another protocol.
    Changed,
}

/// An answer's body on its way to the visitor, whose account learns whether it came to its end.
pub(super) struct Accounted {
    body: ToVisitor,
    account: Arc<Account>,
}

/// The body of an answer, which is over when this is dropped.
pub(super) struct Answering {
    pub(super) body: Accounted,
    pub(super) request: activity::Request,
}

/// The body of an answer, from a local service.
pub(super) struct Relayed {
    /// First, so that the connection is cut off before hyper ends it.
    connection: Kept,
    body: Incoming,
    /// What has come of it, and may not go on yet.
    rest: Bytes,
    account: Arc<Account>,
    /// Told if it breaks off, if that concerns the whole of the visitor's connection.
    broke_off: Option<Arc<AtomicBool>>,
}

/// Why the relay lets a body go no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It is longer than the tunnel takes.
    TooLarge,
    /// A limit of what may move is reached.
    OverLimit,
}

impl FromVisitor {
    /// The body of a request, of which as many bytes may come as its account says.
    pub(super) fn new(body: Incoming, upload: Upload, account: Arc<Account>) -> Self {
        Self { body, upload, account, came: 0, rest: Bytes::new() }
    }
}

impl Relayed {
    pub(super) fn new(
        body: Incoming,
        account: Arc<Account>,
        mut connection: Kept,
        broke_off: Option<Arc<AtomicBool>>,
    ) -> Self {
        if body.is_end_stream() {
            connection.give_back();
        }
        Self { connection, body, rest: Bytes::new(), account, broke_off }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)?);
            if frame.is_none() || self.body.is_end_stream() {
                self.connection.give_back();
            }
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(trailers)) => {
                    // Nothing comes behind them, and nobody asks.
                    self.connection.give_back();
                    let trailers = checked(trailers);
                    if let (Some(tap), Some(fields)) = (self.account.tap(), trailers.trailers_ref())
                    {
                        tap.outward_trailers(fields);
                    }
                    return Poll::Ready(Some(Ok(trailers)));
                }
                None => return Poll::Ready(None),
            }
        }
        let piece = ready!(self.account.poll_outward(cx, &mut self.rest)).map_err(Stopped::from)?;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl ToVisitor {
    /// What whoever answers for the relay itself says.
    pub(super) fn of_relay(body: axum::body::Body) -> Self {
        Self::OfRelay(Box::new(body))
    }
}

impl Accounted {
    pub(super) fn new(body: ToVisitor, account: Arc<Account>) -> Self {
        let this = Self { body, account };
        this.look();
        this
    }

    /// The visitor has not taken it for too long.
    pub(super) fn timed_out(&self) {
        self.account.timed_out();
    }

    /// The visitor does not get the end of it.
    pub(super) fn broke_off(&self) {
        self.account.aborted();
    }

    /// A body that is over may not be asked for its end: hyper knows it beforehand.
    fn look(&self) {
        if self.body.is_end_stream() && !matches!(self.body, ToVisitor::Changed) {
            self.account.completed();
        }
    }
}

impl From<UsedUp> for Stopped {
    fn from(_: UsedUp) -> Self {
        Self::OverLimit
    }
}

impl Drop for FromVisitor {
    fn drop(&mut self) {
        // A local service may answer while it waits, and the answer may go on for long.
        self.account.pause_inward();
    }
}

impl Body for FromVisitor {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        // Whoever is silent asks for nothing, and has no part in what others may move.
        if this.rest.is_empty() {
            let frame = Pin::new(&mut this.body).poll_frame(cx)?;
            this.account.set_awaits_body(frame.is_pending());
            let Some(frame) = ready!(frame) else {
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(trailers) => {
                    let trailers = checked(trailers);
                    if let (Some(tap), Some(fields)) = (this.account.tap(), trailers.trailers_ref())
                    {
                        tap.inward_trailers(fields);
                    }
                    return Poll::Ready(Some(Ok(trailers)));
                }
            }
            this.came = this.came.saturating_add(this.rest.len() as u64);
            if this.came > this.account.max_body() {
                return Poll::Ready(Some(Err(Stopped::TooLarge.into())));
            }
        }
        let piece = ready!(this.account.poll_inward(cx, &mut this.rest)).map_err(Stopped::from)?;
        this.upload.heard();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        longer(&self.body.size_hint(), self.rest.len())
    }
}

impl Body for ToVisitor {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Relayed(relayed) => Pin::new(relayed).poll_frame(cx),
            Self::Compressed(shrunk) => Pin::new(&mut shrunk.body).poll_frame(cx),
            Self::OfRelay(body) => Pin::new(&mut **body).poll_frame(cx).map_err(Into::into),
            Self::Changed => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(text) => text.is_none(),
            Self::Relayed(relayed) => relayed.is_end_stream(),
            Self::Compressed(shrunk) => shrunk.body.is_end_stream(),
            Self::OfRelay(body) => body.is_end_stream(),
            Self::Changed => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Self::Relayed(relayed) => relayed.size_hint(),
            Self::Compressed(shrunk) => shrunk.body.size_hint(),
            Self::OfRelay(body) => body.size_hint(),
            Self::Changed => SizeHint::with_exact(0),
        }
    }
}

impl Body for Accounted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let is_own = matches!(this.body, ToVisitor::Own(_) | ToVisitor::OfRelay(_));
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            None => this.account.completed(),
            Some(Err(_)) => this.account.aborted(),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref().filter(|_| is_own) {
                    this.account.said(data.len());
                }
                // Behind trailers nobody asks for an end.
                if frame.is_trailers() {
                    this.account.completed();
                }
                this.look();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if self.request.has_stalled() {
            self.body.timed_out();
        }
    }
}

impl Body for Answering {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(this.poll_next(cx));
        if let (Some(Err(_)), Some(broke_off)) = (&frame, &this.broke_off) {
            broke_off.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        longer(&self.body.size_hint(), self.rest.len())
    }
}

/// What a body has left of which a piece of so many bytes has been read, and not gone on.
pub(super) fn longer(body: &SizeHint, by: usize) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_lower(body.lower() + by as u64);
    if let Some(upper) = body.upper() {
        hint.set_upper(upper + by as u64);
    }
    hint
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the body is larger than the tunnel takes",
            Self::OverLimit => "a limit of what may move is reached",
        })
    }
}

impl std::error::Error for Stopped {}
