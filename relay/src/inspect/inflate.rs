//! Messages of a WebSocket that came compressed (RFC 7692).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use async_compression::tokio::write::DeflateDecoder;
use tokio::io::AsyncWrite;

/// What a decoder takes: its window and its tables.
const COST: usize = 64 * 1024;

/// A message that becomes so many times as long as what is kept of it is none that somebody reads.
const WORST: usize = 16;

/// What each message ends with that is left out of it (section 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What the messages of one direction have in common.
pub(super) struct Inflate(Box<DeflateDecoder<Out>>);

/// Takes what comes out: all of it has to, since what follows may refer to it.
#[derive(Default)]
struct Out {
    kept: Vec<u8>,
    most: usize,
    whole: usize,
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self(Box::new(DeflateDecoder::new(Out::default())))
    }

    /// What a message was before, not longer than `most`, and whether that is all of it. `None`: it
    /// cannot be inflated, nor can any that follows.
    pub(super) fn message(&mut self, encoded: &[u8], most: usize) -> Option<(Vec<u8>, bool)> {
        *self.0.get_mut() = Out { kept: Vec::new(), most, whole: 0 };
        // Nothing here waits.
        let mut cx = Context::from_waker(Waker::noop());
        for mut part in [encoded, &TAIL] {
            while !part.is_empty() {
                match Pin::new(&mut self.0).poll_write(&mut cx, part) {
                    Poll::Ready(Ok(taken)) if taken > 0 => part = &part[taken..],
                    _ => return None,
                }
            }
        }
        let Poll::Ready(Ok(())) = Pin::new(&mut self.0).poll_flush(&mut cx) else { return None };
        let out = std::mem::take(self.0.get_mut());
        Some((out.kept, out.whole <= most))
    }

    pub(super) fn cost(&self) -> usize {
        COST
    }
}

impl AsyncWrite for Out {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.whole += data.len();
        if self.whole > WORST * self.most.max(1) {
            return Poll::Ready(Err(io::ErrorKind::StorageFull.into()));
        }
        let room = self.most - self.kept.len();
        self.kept.extend_from_slice(&data[..data.len().min(room)]);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate").finish_non_exhaustive()
    }
}
