//! The bridge: a socket at one side, a data stream at the other, bytes in between, both ways.
//!
//! Each direction ends on its own: an end of file becomes `END` and `END` a shutdown, so a visitor
//! who has said everything still gets the whole answer. Anything else than two ends is a reset of
//! the socket and an abort of the stream.
//!
//! An idle bridge owns no buffer. Reads go through one chunk per thread, and what the far end sent
//! is written from the very memory that yamux read it into.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep};

use crate::visit::record::Abort;
use crate::visit::socket::{ResetUnlessEnded, Socket};
use crate::visit::stream::{Broken, Chunk, DataStream, LOOK};

/// How many chunks one direction moves before the other tasks get their turn.
const TURN: usize = 4;

thread_local! {
    static SCRATCH: RefCell<Chunk> = RefCell::new(Chunk::new());
}

/// Is told what a bridge does while it does it.
pub trait Observer {
    /// `bytes` went from the socket to the stream.
    fn to_stream(&mut self, bytes: usize);
    /// `bytes` went from the stream to the socket.
    fn to_socket(&mut self, bytes: usize);
    /// Relay: the local service has accepted the connection.
    fn connected(&mut self) {}
}

/// How a visit ended.
#[derive(Debug)]
pub enum Ended {
    /// Both directions came to their end.
    Completed,
    /// The socket was reset, or failed otherwise.
    Socket(io::Error),
    /// The stream broke off.
    Stream(Broken),
    /// Data waited, and none moved for the time allowed.
    Stalled,
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
    /// Set while a direction may be blocked or has ended.
    watch: Option<Pin<Box<Sleep>>>,
    /// Whether bytes have moved since the last look.
    moved: bool,
    /// The last look at which they had, or nothing had to.
    still_since: Instant,
    stall: Duration,
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
}

impl<S: Socket, O: Observer + Unpin> Bridge<S, O> {
    /// A bridge between `socket` and `stream`. `stall` is how long data may wait without any
    /// moving in either direction.
    pub fn new(
        socket: ResetUnlessEnded<S>,
        stream: DataStream,
        stall: Duration,
        observer: O,
    ) -> Self {
        let (up, down) = (Direction::Copying, Direction::Copying);
        let still_since = Instant::now();
        let (connected, moved, over) = (false, false, false);
        let watch = None;
        Self {
            socket,
            stream,
            observer,
            up,
            down,
            connected,
            watch,
            moved,
            still_since,
            stall,
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
            if self.stream.poll_finish(cx).is_ready() {
                return Poll::Ready(Ended::Completed);
            }
            return self.poll_watch(cx, true);
        }
        self.poll_watch(cx, up == Pause::Blocked || down == Pause::Blocked)
    }

    /// Copies from the socket to the stream until one of them makes it wait.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<Pause, Ended> {
        for _ in 0..TURN {
            match self.up {
                Direction::Copying => {
                    if self.stream.is_backed_up() {
                        return Ok(Pause::Blocked);
                    }
                    let Poll::Ready(ready) = self.stream.poll_ready(cx) else {
                        return Ok(Pause::Blocked);
                    };
                    ready.map_err(Ended::Stream)?;
                    match self.poll_chunk(cx)? {
                        Poll::Ready(0) => self.up = Direction::Ending,
                        Poll::Ready(n) => {
                            self.observer.to_stream(n);
                            self.moved = true;
                        }
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

    /// Reads one chunk and hands it to the stream.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, Ended> {
        SCRATCH.with_borrow_mut(|chunk| {
            let mut buf = ReadBuf::new(chunk.payload(self.stream.chunk()));
            match Pin::new(&mut *self.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) => {
                    let n = buf.filled().len();
                    if n > 0 {
                        self.stream.start_send(cx, chunk, n).map_err(Ended::Stream)?;
                    }
                    Ok(Poll::Ready(n))
                }
                Poll::Ready(Err(err)) => Err(Ended::Socket(err)),
                Poll::Pending => Ok(Poll::Pending),
            }
        })
    }

    /// Copies from the stream to the socket until one of them makes it wait.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<Pause, Ended> {
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
                        match Pin::new(&mut *self.socket).poll_write(cx, self.stream.data()) {
                            Poll::Ready(Ok(n)) => {
                                self.stream.consume(n);
                                self.observer.to_socket(n);
                                self.moved = true;
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
                Direction::Ended => {
                    return match self.stream.poll_broken(cx) {
                        Poll::Ready(broken) if self.up != Direction::Ended => {
                            Err(Ended::Stream(broken))
                        }
                        Poll::Ready(_) | Poll::Pending => Ok(Pause::Idle),
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

    /// While a direction is blocked or has ended, looks at both ends from time to time: a reset of
    /// the end that is not being read would otherwise go unnoticed.
    fn poll_watch(&mut self, cx: &mut Context<'_>, blocked: bool) -> Poll<Ended> {
        let ended = self.up == Direction::Ended || self.down == Direction::Ended;
        let unread = blocked || ended;
        if !unread && self.watch.is_none() {
            return Poll::Pending;
        }
        let look = LOOK.min(self.stall);
        let watch = self.watch.get_or_insert_with(|| {
            // Time without anything to move is no stall.
            (self.moved, self.still_since) = (false, Instant::now());
            Box::pin(sleep(look))
        });
        while watch.as_mut().poll(cx).is_ready() {
            if !unread {
                self.watch = None;
                return Poll::Pending;
            }
            if let Some(err) = self.socket.pending_error() {
                return Poll::Ready(Ended::Socket(err));
            }
            if !blocked || std::mem::take(&mut self.moved) {
                self.still_since = Instant::now();
            }
            if self.stream.is_lost() && !self.stream.is_complete(cx) {
                return Poll::Ready(Ended::Stream(self.stream.why_broken(cx)));
            }
            if blocked && self.still_since.elapsed() >= self.stall {
                return Poll::Ready(Ended::Stalled);
            }
            watch.as_mut().reset(Instant::now() + look);
        }
        Poll::Pending
    }
}

impl<S: Socket, O: Observer + Unpin> Future for Bridge<S, O> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        let ended = ready!(this.poll_ended(cx));
        this.over = true;
        match &ended {
            Ended::Completed => this.socket.ended_well(),
            Ended::Socket(_) => this.stream.abort(Abort::Reset),
            Ended::Stalled => this.stream.abort(Abort::TimedOut),
            Ended::Stream(_) => (),
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
    fn to_stream(&mut self, bytes: usize) {
        (**self).to_stream(bytes);
    }

    fn to_socket(&mut self, bytes: usize) {
        (**self).to_socket(bytes);
    }

    fn connected(&mut self) {
        (**self).connected();
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Socket(err) => write!(f, "reset: {err}"),
            Self::Stream(broken) => broken.fmt(f),
            Self::Stalled => f.write_str("stalled for too long"),
        }
    }
}
