//! The TCP end of a bridge, which is reset unless it ended well.

use std::io;
use std::ops::{Deref, DerefMut};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A socket that a bridge can be built on.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Takes an error that the kernel holds for the socket, such as a reset by its peer, without
    /// reading.
    fn pending_error(&self) -> Option<io::Error>;

    /// Makes the coming close a reset, where the socket knows such a thing.
    fn make_close_a_reset(&self);
}

impl Socket for TcpStream {
    fn pending_error(&self) -> Option<io::Error> {
        self.take_error().ok().flatten()
    }

    fn make_close_a_reset(&self) {
        // It fails only on a socket that is gone already.
        drop(self.set_zero_linger());
    }
}

impl Socket for UnixStream {
    fn pending_error(&self) -> Option<io::Error> {
        self.take_error().ok().flatten()
    }

    /// Unix sockets have no reset. The peer of one that closes with unread data gets an error,
    /// any other an end.
    fn make_close_a_reset(&self) {}
}

/// A socket that is closed with a reset when dropped, until [`ended_well`](Self::ended_well).
///
/// Whatever cuts a visit short, a panic or an aborted task included, its visitor is never told
/// that a truncated answer was complete.
#[derive(Debug)]
pub struct ResetOnDrop<S: Socket> {
    socket: S,
    reset: bool,
}

impl<S: Socket> ResetOnDrop<S> {
    /// Guards `socket`.
    pub fn new(socket: S) -> Self {
        Self { socket, reset: true }
    }

    /// Both directions have ended: the close is an ordinary one.
    pub fn ended_well(&mut self) {
        self.reset = false;
    }
}

impl<S: Socket> Deref for ResetOnDrop<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.socket
    }
}

impl<S: Socket> DerefMut for ResetOnDrop<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.socket
    }
}

impl<S: Socket> Drop for ResetOnDrop<S> {
    fn drop(&mut self) {
        if self.reset {
            self.socket.make_close_a_reset();
        }
    }
}
