//! The TCP end of a bridge, which is reset unless it ended well.

use std::io;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A socket that a bridge can be built on.
///
/// What it has taken to write it passes on by itself: nobody flushes it.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Takes an error that the kernel holds for the socket, such as a reset by its peer, without
    /// reading.
    fn pending_error(&self) -> Option<io::Error>;

    /// Ready when there is something to read, and whether that is data rather than an end or an
    /// error. Takes nothing of it.
    fn poll_has_data(&mut self, cx: &mut Context<'_>) -> Poll<bool>;

    /// Makes a close a reset or an ordinary one, where the socket knows such a thing.
    fn make_close_a_reset(&self, reset: bool);
}

impl Socket for TcpStream {
    fn pending_error(&self) -> Option<io::Error> {
        self.take_error().ok().flatten()
    }

    fn poll_has_data(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &*self;
        let look = || this.try_io(Interest::READABLE, || peek(&SockRef::from(this)));
        poll_look(|| this.poll_read_ready(cx), look)
    }

    fn make_close_a_reset(&self, reset: bool) {
        let linger = reset.then_some(Duration::ZERO);
        // It fails only on a socket that is gone already.
        drop(SockRef::from(self).set_linger(linger));
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn pending_error(&self) -> Option<io::Error> {
        self.take_error().ok().flatten()
    }

    fn poll_has_data(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &*self;
        let look = || this.try_io(Interest::READABLE, || peek(&SockRef::from(this)));
        poll_look(|| this.poll_read_ready(cx), look)
    }

    /// Unix sockets have no reset. The peer of one that closes with unread data gets an error,
    /// any other an end.
    fn make_close_a_reset(&self, _: bool) {}
}

/// Looks when there may be something to read, until that has come to something: whether to data,
/// rather than to an end or an error.
fn poll_look(
    mut poll_ready: impl FnMut() -> Poll<io::Result<()>>,
    look: impl Fn() -> io::Result<usize>,
) -> Poll<bool> {
    loop {
        match ready!(poll_ready()).and_then(|()| look()) {
            Ok(n) => return Poll::Ready(n > 0),
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => (),
            Err(_) => return Poll::Ready(false),
        }
    }
}

/// Looks at what there is to read: the kernel tells when something has come, not that it is still
/// there.
fn peek(socket: &SockRef<'_>) -> io::Result<usize> {
    socket.peek(&mut [MaybeUninit::uninit()])
}

/// A socket that is closed with a reset, until [`ended_well`](Self::ended_well).
///
/// Whatever cuts a visit short, a panic or an aborted task included, its visitor is never told
/// that a truncated answer was complete. The kernel knows it from the start, so that this is true
/// even of a process that is killed.
#[derive(Debug)]
pub struct ResetUnlessEnded<S: Socket>(S);

impl<S: Socket> ResetUnlessEnded<S> {
    /// Guards `socket`.
    pub fn new(socket: S) -> Self {
        socket.make_close_a_reset(true);
        Self(socket)
    }

    /// Both directions have ended: the close is an ordinary one, behind which the kernel goes on
    /// delivering what it has.
    pub fn ended_well(&mut self) {
        self.0.make_close_a_reset(false);
    }
}

impl<S: Socket> Deref for ResetUnlessEnded<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Socket> DerefMut for ResetUnlessEnded<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.0
    }
}
