//! The bridge: a socket at one side, a data stream at the other, bytes in between, both ways.
//!
//! Each direction ends on its own: an end of file becomes `END` and `END` a shutdown, so a visitor
//! who has said everything still gets the whole answer. Anything else than two ends is a reset of
//! the socket and an abort of the stream. A visit is completed when the far end has said that it,
//! too, has delivered everything.
//!
//! An idle bridge owns no buffer. Reads go through one chunk per thread, and what the far end sent
//! is written from the very memory that yamux read it into.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use crate::visit::patience::{Moved, Owed, Passed, Patience, Waiting, Watch, poll_passed};
use crate::visit::record::Abort;
use crate::visit::socket::{ResetUnlessEnded, Socket};
use crate::visit::stream::{Broken, Chunk, DataStream};

/// How many chunks one direction moves before the other tasks get their turn.
const TURN: usize = 4;

thread_local! {
    static SCRATCH: RefCell<Chunk> = RefCell::new(Chunk::new());
}

/// Is told what a bridge does while it does it.
pub trait Observer {
    /// `data` went from the socket to the stream.
    fn to_stream(&mut self, data: &[u8]);
    /// `data` went from the stream to the socket.
    fn to_socket(&mut self, data: &[u8]);
    /// Relay: the local service has accepted the connection.
    fn connected(&mut self) {}

    /// Whether any of what follows has to be asked.
    fn is_limiting(&self) -> bool {
        false
    }

    /// Asked when the socket has something: how many bytes may go to the stream now. While it is
    /// pending none may; that counts as quiet, and not as a stall, but does not outlive the socket or
    /// the stream. Zero: none may ever again, and the visit ends with [`Ended::OverLimit`].
    fn poll_to_stream(&mut self, _cx: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(usize::MAX)
    }

    /// How many bytes may go from the stream to the socket now, in the same way.
    fn poll_to_socket(&mut self, _cx: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(usize::MAX)
    }

    /// Nothing goes from the socket to the stream for now, though it may.
    fn pause_to_stream(&mut self) {}

    /// Nothing goes from the stream to the socket for now, though it may.
    fn pause_to_socket(&mut self) {}
}

/// How a visit ended.
#[derive(Debug)]
pub enum Ended {
    /// Both directions came to their end, and both ends have handed all that came to their
    /// sockets.
    Completed,
    /// The socket was reset, or failed otherwise.
    Socket(io::Error),
    /// The stream broke off.
    Stream(Broken),
    /// Data waited, and none of them moved for the time allowed.
    Stalled,
    /// One direction had ended, and the side that owed the other end moved nothing for the time
    /// allowed.
    HalfClosed,
    /// The observer lets nothing more through.
    OverLimit,
}

/// Copies both ways until both directions have ended, or one has broken off. A future of how it
/// [`Ended`].
///
/// When it is dropped early the socket is reset and the stream too, as after any other end than
/// [`Ended::Completed`].
///
/// A type rather than an `async fn`: thousands of these wait at a time, and in the state of an
/// `async fn` every argument that moves has two places.
#[must_use = "a bridge does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Bridge<S: Socket, O> {
    socket: ResetUnlessEnded<S>,
    stream: DataStream,
    observer: O,
    /// From the socket to the stream.
    up: Direction,
    /// From the stream to the socket.
    down: Direction,
    connected: bool,
    /// Set while there is something to wait for.
    watch: Option<Box<Watch>>,
    /// What has moved since the last look.
    moved: Moved,
    patience: Patience,
    /// Both directions have ended. The far end has not confirmed that yet.
    finishing: bool,
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Copying,
    Ending,
    Ended,
}

/// Why a direction does not go on for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// Nothing to copy.
    Idle,
    /// The taker takes no more.
    Blocked,
    /// The observer lets nothing through for now.
    Limited,
}

impl<S: Socket, O: Observer + Unpin> Bridge<S, O> {
    /// A bridge between `socket` and `stream`.
    pub fn new(
        socket: ResetUnlessEnded<S>,
        stream: DataStream,
        patience: Patience,
        observer: O,
    ) -> Self {
        let (up, down) = (Direction::Copying, Direction::Copying);
        let (connected, finishing, over) = (false, false, false);
        let (watch, moved) = (None, Moved::default());
        Self {
            socket,
            stream,
            observer,
            up,
            down,
            connected,
            watch,
            moved,
            patience,
            finishing,
            over,
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let up = match self.poll_up(cx) {
            Ok(pause) => pause,
            Err(ended) => return Poll::Ready(ended),
        };
        let down = match self.poll_down(cx) {
            Ok(pause) => pause,
            Err(ended) => return Poll::Ready(ended),
        };
        if self.up == Direction::Ended && self.down == Direction::Ended {
            if let Poll::Ready(ended) = self.poll_finish(cx) {
                return Poll::Ready(ended);
            }
        // Whoever waits for data hears of a loss by reading.
        } else if down != Pause::Idle
            && let Poll::Ready(broken) = self.stream.poll_lost(cx)
        {
            return Poll::Ready(Ended::Stream(broken));
        }
        self.poll_watch(cx, self.waiting(up, down))
    }

    /// Both directions have ended here: waits until they have at the far end.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if !self.finishing {
            self.finishing = true;
            // From here on a reset could only destroy what the kernel has yet to deliver, and this
            // end is about to say that it has been.
            self.socket.ended_well();
        }
        match ready!(self.stream.poll_finish(cx)) {
            Ok(()) => Poll::Ready(Ended::Completed),
            Err(broken) => Poll::Ready(Ended::Stream(broken)),
        }
    }

    /// What there is to wait for when the two directions pause like this.
    fn waiting(&self, up: Pause, down: Pause) -> Waiting {
        let reading = self.up == Direction::Copying && up == Pause::Idle;
        let (up, down) = (up == Pause::Blocked, down == Pause::Blocked);
        let owed = match (self.up, self.down) {
            (Direction::Ended, Direction::Ended) => Some(Owed::Confirmation),
            (Direction::Ended, _) => Some(Owed::ByStream),
            (_, Direction::Ended) => Some(Owed::BySocket),
            _ => None,
        };
        // A socket that takes no more tells of a reset as of room.
        Waiting { up, down, owed, unwatched: !reading && !down }
    }

    /// Copies from the socket to the stream until one of them, or the observer, makes it wait.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<Pause, Ended> {
        let pause = self.copy_up(cx)?;
        if pause != Pause::Limited {
            self.observer.pause_to_stream();
        }
        Ok(pause)
    }

    fn copy_up(&mut self, cx: &mut Context<'_>) -> Result<Pause, Ended> {
        for _ in 0..TURN {
            match self.up {
                Direction::Copying => {
                    let unsent = self.stream.unsent();
                    let Poll::Ready(ready) = self.stream.poll_ready(cx) else {
                        self.moved.up |= self.stream.unsent() < unsent;
                        return Ok(Pause::Blocked);
                    };
                    ready.map_err(Ended::Stream)?;
                    if !self.stream.has_room() {
                        // Who has nothing to send is not held up, and an end needs no room.
                        match self.socket.poll_has_data(cx) {
                            Poll::Ready(true) if self.stream.poll_room(cx).is_pending() => {
                                return Ok(Pause::Blocked);
                            }
                            Poll::Ready(_) => (),
                            Poll::Pending => return Ok(Pause::Idle),
                        }
                    }
                    let mut most = usize::MAX;
                    if self.observer.is_limiting() {
                        match self.socket.poll_has_data(cx) {
                            Poll::Ready(true) => {
                                let Poll::Ready(now) = self.observer.poll_to_stream(cx) else {
                                    return Ok(Pause::Limited);
                                };
                                most = now;
                            }
                            // An end costs nothing.
                            Poll::Ready(false) => (),
                            Poll::Pending => return Ok(Pause::Idle),
                        }
                    }
                    if most == 0 {
                        return Err(Ended::OverLimit);
                    }
                    match self.poll_chunk(cx, most)? {
                        Poll::Ready(0) => self.up = Direction::Ending,
                        Poll::Ready(_) => self.moved.up = true,
                        Poll::Pending => return Ok(Pause::Idle),
                    }
                }
                Direction::Ending => {
                    let Poll::Ready(ended) = self.stream.poll_end(cx) else {
                        return Ok(Pause::Blocked);
                    };
                    ended.map_err(Ended::Stream)?;
                    self.up = Direction::Ended;
                }
                Direction::Ended => return Ok(Pause::Idle),
            }
        }
        cx.waker().wake_by_ref();
        Ok(Pause::Idle)
    }

    /// Reads one chunk of at most so many bytes and hands it to the stream.
    fn poll_chunk(&mut self, cx: &mut Context<'_>, most: usize) -> Result<Poll<usize>, Ended> {
        SCRATCH.with_borrow_mut(|chunk| {
            let mut buf = ReadBuf::new(chunk.payload(self.stream.chunk().min(most)));
            match Pin::new(&mut *self.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) => {
                    let n = buf.filled().len();
                    if n > 0 {
                        self.stream.start_send(cx, chunk, n).map_err(Ended::Stream)?;
                        self.observer.to_stream(chunk.payload(n));
                    }
                    Ok(Poll::Ready(n))
                }
                Poll::Ready(Err(err)) => Err(Ended::Socket(err)),
                Poll::Pending => Ok(Poll::Pending),
            }
        })
    }

    /// Copies from the stream to the socket until one of them, or the observer, makes it wait.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<Pause, Ended> {
        let pause = self.copy_down(cx)?;
        if pause != Pause::Limited {
            self.observer.pause_to_socket();
        }
        Ok(pause)
    }

    fn copy_down(&mut self, cx: &mut Context<'_>) -> Result<Pause, Ended> {
        for _ in 0..TURN {
            match self.down {
                Direction::Copying => {
                    let filled = self.stream.poll_fill(cx);
                    self.note_connected();
                    let Poll::Ready(length) = filled else {
                        return Ok(Pause::Idle);
                    };
                    if length.map_err(Ended::Stream)? == 0 {
                        self.down = Direction::Ending;
                    } else {
                        let Poll::Ready(most) = self.observer.poll_to_socket(cx) else {
                            return Ok(Pause::Limited);
                        };
                        if most == 0 {
                            return Err(Ended::OverLimit);
                        }
                        let data = self.stream.data();
                        let data = &data[..data.len().min(most)];
                        match Pin::new(&mut *self.socket).poll_write(cx, data) {
                            Poll::Ready(Ok(n)) => {
                                self.observer.to_socket(&data[..n]);
                                self.stream.consume(n);
                                self.moved.down = true;
                            }
                            Poll::Ready(Err(err)) => return Err(Ended::Socket(err)),
                            Poll::Pending => return Ok(Pause::Blocked),
                        }
                    }
                }
                Direction::Ending => match Pin::new(&mut *self.socket).poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => self.down = Direction::Ended,
                    // The peer is gone already, having reset what it did not want to hear.
                    Poll::Ready(Err(err)) => return Err(Ended::Socket(err)),
                    Poll::Pending => return Ok(Pause::Blocked),
                },
                Direction::Ended if self.up == Direction::Ended => return Ok(Pause::Idle),
                Direction::Ended => {
                    return match self.stream.poll_broken(cx) {
                        Poll::Ready(broken) => Err(Ended::Stream(broken)),
                        Poll::Pending => Ok(Pause::Idle),
                    };
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(Pause::Idle)
    }

    fn note_connected(&mut self) {
        if !self.connected && self.stream.is_connected() {
            self.connected = true;
            self.observer.connected();
        }
    }

    /// While there is something to wait for, looks from time to time whether it has been too long.
    fn poll_watch(&mut self, cx: &mut Context<'_>, waiting: Waiting) -> Poll<Ended> {
        let Self { socket, watch, moved, patience, .. } = self;
        if watch.is_none() {
            *moved = Moved::default();
        }
        let mut failed = None;
        let passed = poll_passed(watch, cx, *patience, waiting, || {
            if waiting.unwatched && failed.is_none() {
                failed = socket.pending_error();
            }
            std::mem::take(moved)
        });
        if let Some(err) = failed {
            return Poll::Ready(Ended::Socket(err));
        }
        passed.map(|passed| match passed {
            Passed::Stall => Ended::Stalled,
            Passed::HalfClosed => Ended::HalfClosed,
        })
    }
}

impl<S: Socket, O: Observer + Unpin> Future for Bridge<S, O> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        let ended = ready!(this.poll_ended(cx));
        this.over = true;
        match &ended {
            Ended::Completed | Ended::Stream(_) => (),
            Ended::Socket(_) | Ended::OverLimit => this.stream.abort(Abort::Reset),
            Ended::Stalled | Ended::HalfClosed => this.stream.abort(Abort::TimedOut),
        }
        Poll::Ready(ended)
    }
}

impl<S: Socket, O> Drop for Bridge<S, O> {
    fn drop(&mut self) {
        if !self.over {
            self.stream.abort(Abort::Stopping);
        }
    }
}

impl<O: Observer> Observer for &mut O {
    fn to_stream(&mut self, data: &[u8]) {
        (**self).to_stream(data);
    }

    fn to_socket(&mut self, data: &[u8]) {
        (**self).to_socket(data);
    }

    fn connected(&mut self) {
        (**self).connected();
    }

    fn is_limiting(&self) -> bool {
        (**self).is_limiting()
    }

    fn pause_to_stream(&mut self) {
        (**self).pause_to_stream();
    }

    fn pause_to_socket(&mut self) {
        (**self).pause_to_socket();
    }

    fn poll_to_stream(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        (**self).poll_to_stream(cx)
    }

    fn poll_to_socket(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        (**self).poll_to_socket(cx)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Socket(err) => write!(f, "reset: {err}"),
            Self::Stream(broken) => broken.fmt(f),
            Self::Stalled => f.write_str("stalled for too long"),
            Self::HalfClosed => f.write_str("half closed for too long"),
            Self::OverLimit => f.write_str("a limit of what it may move was reached"),
        }
    }
}

#[cfg(test)]
mod tests;
