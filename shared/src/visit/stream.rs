//! One data stream: the records of one visit, over one yamux stream.
//!
//! yamux alone tells neither a reset from an end nor a visitor who says nothing from none, so a
//! [`DataStream`] carries [records](crate::visit::record): an end of one direction is an `END`, a reset
//! an `ABORT`, and a stream that stops without either was lost.
//!
//! yamux's own end (FIN) is sent only after `END` went both ways and all that came has been
//! delivered. The far end's FIN is therefore its word that it has taken everything, and a stream
//! that is dropped before FIN is always reset, so that the far end always learns of it.

mod broken;
mod io;

use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures::{AsyncWrite as _, Stream as _};
use yamux::Packet;

use crate::carry::mux::MuxStream;
use crate::carry::wire::Held;
use crate::visit::open::Open;
use crate::visit::record::{self, Abort, CHUNK, Decoder, Failure, HEADER, Item, Record};

pub use self::broken::Broken;

/// Room for one `DATA` record: a read of a socket goes behind the place for the header, so that
/// header and payload leave in one piece.
#[derive(Debug)]
pub struct Chunk(Box<[u8]>);

/// Which end of the stream this is. The relay opens streams, the client serves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Relay,
    Client,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Nothing has come yet.
    Start,
    /// Relay: `SEEN` has come.
    Seen,
    /// Payload may come.
    Flowing,
    /// `END` has come.
    Ended,
}

/// The word to the far end that all that came has been delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirmation {
    /// It may still be given.
    Due,
    /// yamux's FIN is on its way.
    Given,
    /// Something was thrown away: there is none.
    Withheld,
}

/// A stream that carries one visit.
pub struct DataStream {
    io: yamux::Stream,
    held: Held,
    side: Side,
    phase: Phase,
    decoder: Decoder,
    /// What yamux delivered last, decoded up to `at`.
    packet: Option<Packet>,
    at: usize,
    /// Payload in the packet that has not been consumed.
    data: Range<usize>,
    /// Encoded records from `sent` on that wait for the far end's window.
    unsent: Vec<u8>,
    sent: usize,
    end_sent: bool,
    confirmation: Confirmation,
}

impl DataStream {
    /// Relay: begins a visit on a new stream. `OPEN` goes out at once, so that the client learns
    /// of a visitor who says nothing.
    ///
    /// # Errors
    ///
    /// [`Broken::Lost`] when the session has ended meanwhile.
    pub async fn open(stream: MuxStream, open: Open) -> Result<Self, Broken> {
        let mut stream = Self::new(stream, Side::Relay);
        stream.send(&Record::Open(open)).await?;
        Ok(stream)
    }

    /// Client: takes a stream that the relay opened. `SEEN` goes out at once; the relay opens no
    /// more than a few hundred streams that nobody has seen.
    ///
    /// Waits for `OPEN`, which an honest relay sends together with the stream; callers set a
    /// deadline.
    ///
    /// # Errors
    ///
    /// The stream is lost or begins with something else.
    pub async fn accept(stream: MuxStream) -> Result<(Self, Open), Broken> {
        let mut stream = Self::new(stream, Side::Client);
        let open = loop {
            match poll_fn(|cx| stream.poll_record(cx)).await? {
                Some(Record::Open(open)) => break open,
                Some(_) => return Err(Broken::OutOfOrder),
                None => (),
            }
        };
        stream.send(&Record::Seen).await?;
        Ok((stream, open))
    }

    fn new(stream: MuxStream, side: Side) -> Self {
        Self {
            io: stream.io,
            held: stream.held,
            side,
            phase: Phase::Start,
            decoder: Decoder::default(),
            packet: None,
            at: 0,
            data: 0..0,
            unsent: Vec::new(),
            sent: 0,
            end_sent: false,
            confirmation: Confirmation::Due,
        }
    }

    /// Client: the local service accepted the connection.
    ///
    /// # Errors
    ///
    /// The stream is broken.
    pub async fn connected(&mut self) -> Result<(), Broken> {
        self.send(&Record::Connected).await
    }

    /// Client: there is no connection to the local service. The stream is to be dropped after it.
    ///
    /// # Errors
    ///
    /// The stream is broken.
    pub async fn failed(&mut self, failure: Failure) -> Result<(), Broken> {
        self.send(&Record::Failed(failure)).await
    }

    /// Relay: waits until the local service has accepted the connection.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// The stream is broken: most often, since the local service has not.
    pub async fn wait_connected(&mut self) -> Result<(), Broken> {
        poll_fn(|cx| {
            while !self.is_connected() {
                if ready!(self.poll_record(cx))?.is_some() {
                    return Poll::Ready(Err(Broken::OutOfOrder));
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Waits until the stream breaks off, without taking any payload.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn broken(&mut self) -> Broken {
        poll_fn(|cx| match self.poll_fill(cx) {
            Poll::Ready(Err(broken)) => Poll::Ready(broken),
            Poll::Ready(Ok(_)) | Poll::Pending => self.poll_lost(cx),
        })
        .await
    }

    /// Relay: whether the local service has accepted the connection.
    pub fn is_connected(&self) -> bool {
        self.phase >= Phase::Flowing
    }

    /// Ready when the far end, or the session, is gone before its time, for whoever does not read
    /// from the stream just now. Once the far end has sent all, and has said that it has delivered
    /// all, it cannot be gone too early: what is here is all there is, and may take its time.
    pub fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        let reset = self.held.poll_reset(cx);
        if self.held.peer_finished() {
            return Poll::Pending;
        }
        ready!(reset);
        Poll::Ready(self.why_broken(cx))
    }

    /// Ready when the next record can be sent.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while self.sent < self.unsent.len() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.unsent[self.sent..]));
            match n {
                Ok(n) => {
                    self.sent += n;
                    self.held.link().queued(n);
                }
                Err(_) => return Poll::Ready(Err(self.why_broken(cx))),
            }
        }
        if !self.unsent.is_empty() {
            // Idle streams hold no buffer.
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes of records wait for the far end's window.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len() - self.sent
    }

    /// How many bytes of payload to send at a time: a line that is slow gets smaller pieces, so
    /// that other streams have their turn.
    pub fn chunk(&mut self) -> usize {
        self.held.chunk(CHUNK)
    }

    /// Whether payload may be sent without asking [`poll_room`](Self::poll_room).
    pub fn has_room(&self) -> bool {
        self.held.has_room()
    }

    /// Ready when payload should be read and sent. Pending while so much waits for the line that
    /// it would only wait too; the task is woken when it is its turn.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.poll_room(cx)
    }

    /// Sends the first `length` bytes of payload in `chunk`. Only after
    /// [`poll_ready`](Self::poll_ready) was ready; what does not fit the window is kept.
    ///
    /// # Errors
    ///
    /// The stream is broken.
    pub fn start_send(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Chunk,
        length: usize,
    ) -> Result<(), Broken> {
        self.held.sends(length);
        let bytes = &mut chunk.0[..HEADER + length];
        bytes[..HEADER].copy_from_slice(&record::data_header(length));
        self.write(cx, bytes)
    }

    /// Sends `END`: no more payload this way. Ready when it is on its way.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        ready!(self.poll_ready(cx))?;
        if !self.end_sent {
            self.end_sent = true;
            self.write(cx, &Record::End.encode())?;
        }
        self.poll_ready(cx)
    }

    /// Sends yamux's end, which says that all that came has been delivered, and waits for that of
    /// the far end: then the visit is over. After `END` went both ways.
    ///
    /// # Errors
    ///
    /// The stream has broken off before the far end said so.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        ready!(self.poll_fin(cx));
        match ready!(self.poll_record(cx)) {
            Ok(_) => Poll::Ready(Err(Broken::OutOfOrder)),
            Err(Broken::Lost) if self.held.peer_finished() => Poll::Ready(Ok(())),
            Err(broken) => Poll::Ready(Err(broken)),
        }
    }

    /// Sends yamux's end once. Ready when it is on its way, or no longer needed.
    fn poll_fin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        debug_assert!(self.end_sent && self.phase == Phase::Ended, "END went both ways");
        if self.confirmation == Confirmation::Due {
            self.held.finishing(true);
            let closed = Pin::new(&mut self.io).poll_close(cx);
            self.held.finishing(closed.is_ready());
            // An error means that the session has ended: so has the stream.
            ready!(closed).ok();
            self.confirmation = Confirmation::Given;
        }
        Poll::Ready(())
    }

    /// Ready when payload has arrived, with its length; zero when the far end has sent `END`.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        while self.data.is_empty() && self.phase != Phase::Ended {
            if ready!(self.poll_record(cx))?.is_some() {
                return Poll::Ready(Err(Broken::OutOfOrder));
            }
        }
        Poll::Ready(Ok(self.data.len()))
    }

    /// The payload that [`poll_fill`](Self::poll_fill) found.
    pub fn data(&self) -> &[u8] {
        match &self.packet {
            Some(packet) => &packet.as_ref()[self.data.clone()],
            None => &[],
        }
    }

    /// Ready when the stream has broken off after the far end's `END`: an end of its direction
    /// does not keep its TCP connection from being reset later.
    pub fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        if self.phase != Phase::Ended {
            return Poll::Pending;
        }
        match ready!(self.poll_record(cx)) {
            Ok(_) => Poll::Ready(Broken::OutOfOrder),
            Err(broken) => Poll::Ready(broken),
        }
    }

    /// Marks `n` bytes of [`data`](Self::data) as used.
    pub fn consume(&mut self, n: usize) {
        self.data.start += n;
        if self.data.is_empty() && self.packet.as_ref().is_some_and(|p| self.at == p.as_ref().len())
        {
            self.packet = None;
        }
    }

    /// Tells the far end, if it still can be told, that the stream is about to be dropped and why.
    pub fn abort(&mut self, reason: Abort) {
        if self.confirmation == Confirmation::Given {
            return;
        }
        self.confirmation = Confirmation::Withheld;
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(())) = self.poll_ready(&mut cx) {
            // If it does not fit the window, the reset that follows says enough.
            let record = Record::Abort(reason).encode();
            if let Poll::Ready(Ok(n)) = Pin::new(&mut self.io).poll_write(&mut cx, &record) {
                self.held.link().queued(n);
            }
        }
    }

    /// The reason for a write that failed: the far end may have told before it left. Takes the
    /// payload before that, which has nowhere to go, so that it cannot be confirmed any more.
    pub fn why_broken(&mut self, cx: &mut Context<'_>) -> Broken {
        self.data = 0..0;
        if self.confirmation == Confirmation::Due {
            self.confirmation = Confirmation::Withheld;
        }
        loop {
            match self.poll_record(cx) {
                Poll::Ready(Ok(None)) => (),
                Poll::Ready(Ok(Some(_))) => return Broken::OutOfOrder,
                Poll::Ready(Err(broken)) => return broken,
                Poll::Pending => return Broken::Lost,
            }
        }
    }

    /// Sends one record and waits until it is on its way.
    async fn send(&mut self, record: &Record) -> Result<(), Broken> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        let bytes = record.encode();
        poll_fn(|cx| Poll::Ready(self.write(cx, &bytes))).await?;
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    /// Writes what fits and keeps the rest.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Broken> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        match Pin::new(&mut self.io).poll_write(cx, bytes) {
            Poll::Ready(Ok(n)) => {
                self.held.link().queued(n);
                self.unsent.extend_from_slice(&bytes[n..]);
                Ok(())
            }
            Poll::Pending => {
                self.unsent.extend_from_slice(bytes);
                Ok(())
            }
            Poll::Ready(Err(_)) => Err(self.why_broken(cx)),
        }
    }

    /// Moves on by one step: to the next payload, or over the next record. Returns `OPEN`, which
    /// only [`accept`](Self::accept) can use.
    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Record>, Broken>> {
        loop {
            if let Some(packet) = &self.packet {
                match self.decoder.next(packet.as_ref(), &mut self.at).map_err(Broken::Bad)? {
                    Some(Item::Data(range)) if self.phase == Phase::Flowing => {
                        self.data = range;
                        return Poll::Ready(Ok(None));
                    }
                    Some(Item::Data(_)) => return Poll::Ready(Err(Broken::OutOfOrder)),
                    Some(Item::Record(record)) => return Poll::Ready(self.on_record(record)),
                    None => self.packet = None,
                }
            }
            if self.held.is_overrun() {
                return Poll::Ready(Err(Broken::TinyFrames));
            }
            match ready!(Pin::new(&mut self.io).poll_next(cx)) {
                Some(Ok(packet)) => {
                    self.held.taken(packet.as_ref().len());
                    self.at = 0;
                    self.data = 0..0;
                    self.packet = Some(packet);
                }
                Some(Err(_)) | None => return Poll::Ready(Err(Broken::Lost)),
            }
        }
    }

    fn on_record(&mut self, record: Record) -> Result<Option<Record>, Broken> {
        self.phase = match (record, self.side, self.phase) {
            (record @ Record::Open(_), Side::Client, Phase::Start) => {
                self.phase = Phase::Flowing;
                return Ok(Some(record));
            }
            (Record::Seen, Side::Relay, Phase::Start) => Phase::Seen,
            (Record::Connected, Side::Relay, Phase::Seen) => Phase::Flowing,
            (Record::Failed(failure), Side::Relay, Phase::Seen) => {
                return Err(Broken::Failed(failure));
            }
            (Record::End, _, Phase::Flowing) => Phase::Ended,
            (Record::Abort(abort), _, _) => return Err(Broken::Aborted(abort)),
            _ => return Err(Broken::OutOfOrder),
        };
        Ok(None)
    }
}

impl Chunk {
    /// Room for [`CHUNK`] bytes of payload.
    pub fn new() -> Self {
        Self(vec![0; HEADER + CHUNK].into())
    }

    /// Where a payload of at most `length` bytes goes, [`CHUNK`] at most.
    pub fn payload(&mut self, length: usize) -> &mut [u8] {
        &mut self.0[HEADER..HEADER + length.min(CHUNK)]
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for DataStream {
    /// yamux may not get to send the reset for a while. What has come is freed now; nothing more
    /// gets through.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        self.confirm_now(&mut cx);
        self.held.let_go();
        while let Poll::Ready(Some(Ok(_))) = Pin::new(&mut self.io).poll_next(&mut cx) {}
    }
}

impl fmt::Debug for DataStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataStream")
            .field("io", &self.io)
            .field("phase", &self.phase)
            .field("end_sent", &self.end_sent)
            .finish_non_exhaustive()
    }
}
