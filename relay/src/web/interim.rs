//! What a local service says before it answers (1xx; RFC 9110, section 15.2).
//!
//! hyper passes over any number of such heads, and no limit of what moves counts them. So what comes
//! from a service before an answer is bounded where it is read.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much comes from a local service before its answer is there, in bytes: a head of the longest, as
/// much again that is read with it, and hundreds or thousands of heads before that.
const MOST: usize = 512 * 1024;

/// What a head of HTTP/2 counts as at least, in bytes: h2 holds as much of one that takes ten on the
/// wire.
const SMALLEST_HEAD: usize = 256;

/// So many answers by HTTP/2 are followed, of those that have begun last. Those that are given up are
/// not known to be over.
const MOST_BEGUN: usize = 16 * 1024;

/// What the header of a frame takes (RFC 9113, section 4.1).
const FRAME_HEADER: usize = 9;

/// A stream to a local service, which breaks off if that says too much before an answer.
#[derive(Debug)]
pub(crate) struct Interim<S> {
    stream: S,
    counted: Counted,
}

#[derive(Debug)]
enum Counted {
    Http1(Arc<AwaitedHead>),
    Http2(Frames),
}

/// Whether an answer by HTTP/1 is awaited, and how much may come before it is there.
#[derive(Debug)]
pub(crate) struct AwaitedHead(AtomicUsize);

/// What stands for any amount.
const ANY: usize = usize::MAX;

impl Default for AwaitedHead {
    fn default() -> Self {
        Self(AtomicUsize::new(ANY))
    }
}

impl AwaitedHead {
    /// A request is about to be sent.
    pub(crate) fn begins(&self) {
        self.0.store(MOST, Ordering::Relaxed);
    }

    /// Its answer is there.
    pub(crate) fn is_here(&self) {
        self.0.store(ANY, Ordering::Relaxed);
    }

    /// So many bytes have come. Whether they are not too many.
    fn allows(&self, bytes: usize) -> bool {
        // Whoever waits for the head may have it in this moment.
        let less = |left| (left != ANY).then(|| usize::saturating_sub(left, bytes));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        before.map_or(true, |left| left >= bytes)
    }
}

/// The frames of HTTP/2 that come, as far as they are heads.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; FRAME_HEADER],
    /// How much of it is here.
    have: usize,
    /// How much of the frame's payload is still to come.
    payload: usize,
    /// What has come of heads, by stream.
    begun: BTreeMap<u32, usize>,
}

impl Frames {
    /// These bytes come next. Whether no stream has too much of heads.
    fn allow(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = &bytes[skipped..];
            let more = (FRAME_HEADER - self.have).min(bytes.len());
            if more == 0 {
                return true;
            }
            self.header[self.have..self.have + more].copy_from_slice(&bytes[..more]);
            self.have += more;
            bytes = &bytes[more..];
            if self.have == FRAME_HEADER {
                self.have = 0;
                if !self.begins() {
                    return false;
                }
            }
        }
    }

    /// A frame with this header begins.
    fn begins(&mut self) -> bool {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        const CONTINUATION: u8 = 9;
        const END_STREAM: u8 = 1;
        let [a, b, c, kind, flags, stream @ ..] = self.header;
        self.payload = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        match kind {
            RST_STREAM => drop(self.begun.remove(&stream)),
            DATA | HEADERS if flags & END_STREAM != 0 => drop(self.begun.remove(&stream)),
            HEADERS | CONTINUATION => {
                let said = self.begun.entry(stream).or_default();
                *said += SMALLEST_HEAD.max(FRAME_HEADER + self.payload);
                if *said > MOST {
                    return false;
                }
                if self.begun.len() > MOST_BEGUN {
                    self.begun.pop_first();
                }
            }
            _ => (),
        }
        true
    }
}

impl<S> Interim<S> {
    /// A stream by which one request comes after the other. `head` has to know of each.
    pub(crate) fn http1(stream: S, head: Arc<AwaitedHead>) -> Self {
        Self { stream, counted: Counted::Http1(head) }
    }

    /// A stream by which many come at once.
    pub(crate) fn http2(stream: S) -> Self {
        Self { stream, counted: Counted::Http2(Frames::default()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Interim<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let new = &buf.filled()[before..];
        let allowed = match &mut self.counted {
            Counted::Http1(head) => head.allows(new.len()),
            Counted::Http2(frames) => frames.allow(new),
        };
        let too_much = || io::Error::new(io::ErrorKind::InvalidData, "too much before an answer");
        Poll::Ready(allowed.then_some(()).ok_or_else(too_much))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Interim<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of this kind, with these flags, on this stream.
    fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
        let length = u32::try_from(length).unwrap().to_be_bytes();
        let header = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [header, vec![1; u32::from_be_bytes(length) as usize]].concat()
    }

    #[test]
    fn an_answer_is_as_long_as_it_likes_once_its_head_is_there() {
        let head = AwaitedHead::default();
        assert!(head.allows(2 * MOST), "nothing has been asked for");
        head.begins();
        assert!(head.allows(MOST) && !head.allows(1));
        head.begins();
        assert!(head.allows(MOST));
        head.is_here();
        assert!(head.allows(ANY - 1));
    }

    #[test]
    fn heads_are_counted_by_stream_however_they_are_cut() {
        let many = MOST / SMALLEST_HEAD;
        for cut in [1, 7, 4096] {
            let mut frames = Frames::default();
            let mut come = |frame: Vec<u8>| frame.chunks(cut).all(|piece| frames.allow(piece));
            for _ in 0..many {
                assert!(come(frame(1, 4, 1, 3)) && come(frame(1, 4, 3, 3)));
                // Whatever comes of other streams, and of none, is no head.
                assert!(come(frame(0, 0, 5, 300)) && come(frame(6, 0, 0, 8)));
            }
            assert!(!come(frame(1, 4, 1, 3)), "cut after {cut}");
        }
    }

    #[test]
    fn what_is_over_counts_no_longer_and_what_is_given_up_is_forgotten() {
        let mut frames = Frames::default();
        for stream in 0..3 * MOST_BEGUN as u32 {
            assert!(frames.allow(&frame(1, 4, 4 * stream + 1, 50)));
            assert!(frames.allow(&frame(1, 4, 4 * stream + 3, 50)));
            assert!(frames.allow(&frame(0, 1, 4 * stream + 3, 1)));
        }
        assert!(frames.begun.len() <= MOST_BEGUN);
        frames = Frames::default();
        for ends in [frame(1, 5, 1, 10), frame(3, 0, 1, 4)] {
            assert!(frames.allow(&frame(1, 4, 1, 10)) && frames.allow(&ends));
            assert!(frames.begun.is_empty());
        }
    }

    #[test]
    fn one_long_head_in_many_frames_counts_too() {
        let mut frames = Frames::default();
        assert!(frames.allow(&frame(1, 0, 1, 16_384)));
        let allowed = (0..100).take_while(|_| frames.allow(&frame(9, 0, 1, 16_384))).count();
        assert!((20..40).contains(&allowed), "{allowed}");
    }
}
