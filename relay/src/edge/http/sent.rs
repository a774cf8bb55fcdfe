//! What goes to a visitor by HTTP/2, told by the frames that it goes in.
//!
//! hyper does not say how far an answer has come, and what it writes is no sign of it: pings are
//! written too, as often as the visitor likes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;

/// What each frame begins with (RFC 9113, section 4.1): the length of its payload in three bytes, its
/// kind, and what does not matter here.
const HEAD: usize = 9;

/// The kind of frames that carry bodies.
const DATA: u8 = 0;

/// A stream of which is noted what of answers goes to the visitor.
#[derive(Debug)]
pub(super) struct Sent<S> {
    stream: S,
    frames: Frames,
    activity: Arc<Activity>,
}

/// Where in the frames a connection is.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD],
    /// So much of it has come.
    known: usize,
    /// So much of the payload behind it has not.
    left: usize,
}

impl<S> Sent<S> {
    /// A stream to which nothing has been written yet.
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, frames: Frames::default(), activity }
    }

    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.note_stall(&written);
        written
    }
}

impl Frames {
    /// Goes on by these bytes. Returns how many of them belong to bodies.
    fn pass(&mut self, mut bytes: &[u8]) -> u64 {
        let mut of_bodies = 0;
        while !bytes.is_empty() {
            if self.known < HEAD {
                let more = bytes.len().min(HEAD - self.known);
                self.head[self.known..][..more].copy_from_slice(&bytes[..more]);
                self.known += more;
                bytes = &bytes[more..];
                if self.known == HEAD {
                    let [a, b, c, ..] = self.head;
                    self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                }
            }
            let payload = bytes.len().min(self.left);
            if self.head[3] == DATA {
                of_bodies += payload as u64;
            }
            self.left -= payload;
            bytes = &bytes[payload..];
            if self.known == HEAD && self.left == 0 {
                self.known = 0;
            }
        }
        of_bodies
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sent<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sent<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(length)) = written {
            let of_bodies = self.frames.pass(&buf[..length]);
            self.activity.sends(of_bodies);
        }
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(mut left)) = written {
            let mut of_bodies = 0;
            for buf in bufs {
                let length = buf.len().min(left);
                of_bodies += self.frames.pass(&buf[..length]);
                left -= length;
            }
            self.activity.sends(of_bodies);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of this kind.
    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let size = u32::try_from(length).unwrap().to_be_bytes();
        let head = [size[1], size[2], size[3], kind, 0, 0, 0, 0, 1];
        [&head[..], &vec![0; length]].concat()
    }

    #[test]
    fn bodies_are_told_from_all_else_however_they_are_written() {
        let frames = [(4, 12), (4, 0), (1, 300), (0, 70_000), (0, 0), (6, 8), (0, 1), (7, 8)];
        let bytes: Vec<_> =
            frames.iter().flat_map(|(kind, length)| frame(*kind, *length)).collect();
        for piece in [1, 2, 8, 9, 10, 17, 1000, bytes.len()] {
            let mut seen = Frames::default();
            let of_bodies: u64 = bytes.chunks(piece).map(|piece| seen.pass(piece)).sum();
            assert_eq!(of_bodies, 70_001, "in pieces of {piece}");
        }
    }
}
