//! Last pieces of bodies by HTTP/2, which hyper does not see off.
//!
//! With room for one byte of a piece hyper hands all of it on, and with the last one it is done with
//! the stream: whatever the visitor leaves of it waits where no clock is looked at. So the end of what
//! is large and may be the last piece becomes a piece of its own. For that there is no room before all
//! of the rest has some.

use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::body::longer;

/// A last piece of so many bytes goes as it is. As much as a frame takes at first (RFC 9113, section
/// 6.5.2), so that nothing that goes in one frame anyway needs two, and for all streams of a connection
/// together as much as its window for the bodies of requests.
const MOST_AT_ONCE: usize = 16 * 1024;

/// A body of which the end of a large last piece goes on its own.
#[derive(Debug)]
pub(super) struct Ends<B> {
    body: B,
    /// The end of a piece of which the rest has been asked for. Empty most of the time.
    end: Bytes,
}

impl<B: Body<Data = Bytes> + Unpin> Ends<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, end: Bytes::new() }
    }

    pub(super) fn body(&self) -> &B {
        &self.body
    }

    /// Whether the end of a piece has not been asked for yet.
    pub(super) fn is_without_end(&self) -> bool {
        !self.end.is_empty()
    }

    /// Keeps the last byte of what is large and may be the last piece.
    fn keep_end(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut piece) => {
                if piece.len() > MOST_AT_ONCE && self.may_be_over() {
                    self.end = piece.split_off(piece.len() - 1);
                }
                Frame::data(piece)
            }
            Err(frame) => frame,
        }
    }

    /// Whether no more pieces may come. Where the length is not known beforehand, nobody says.
    fn may_be_over(&self) -> bool {
        self.body.is_end_stream() || self.body.size_hint().exact().is_none()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Ends<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if !this.end.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(take(&mut this.end)))));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx)?);
        Poll::Ready(frame.map(|frame| Ok(this.keep_end(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        longer(&self.body.size_hint(), self.end.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::future::poll_fn;

    use super::*;

    /// Pieces of these lengths, of which the whole may be known beforehand.
    struct Pieces {
        left: VecDeque<usize>,
        is_known: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let next = self.left.pop_front();
            Poll::Ready(next.map(|length| Ok(Frame::data(vec![b'x'; length].into()))))
        }

        fn is_end_stream(&self) -> bool {
            self.is_known && self.left.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            let left = self.left.iter().sum::<usize>() as u64;
            if self.is_known { SizeHint::with_exact(left) } else { SizeHint::new() }
        }
    }

    /// The lengths of the pieces in which these go.
    async fn go(pieces: &[usize], is_known: bool) -> Vec<usize> {
        let left = pieces.iter().copied().collect();
        let mut body = Ends::new(Pieces { left, is_known });
        let mut lengths = Vec::new();
        loop {
            if is_known {
                let left = pieces.iter().sum::<usize>() - lengths.iter().sum::<usize>();
                assert_eq!(body.size_hint().exact(), Some(left as u64));
                assert_eq!(body.is_end_stream(), left == 0);
            }
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(frame) => lengths.push(frame.unwrap().into_data().unwrap().len()),
                None => return lengths,
            }
        }
    }

    #[tokio::test]
    async fn the_end_of_a_large_last_piece_goes_on_its_own() {
        const MOST: usize = MOST_AT_ONCE;
        assert_eq!(go(&[MOST + 1], true).await, [MOST, 1]);
        assert_eq!(go(&[100_000, 100_000], true).await, [100_000, 99_999, 1]);
        // Any of these may be the last.
        assert_eq!(go(&[100_000, 100_000], false).await, [99_999, 1, 99_999, 1]);
        for is_known in [true, false] {
            assert_eq!(go(&[MOST, 4, MOST], is_known).await, [MOST, 4, MOST], "{is_known}");
        }
    }
}
