//! A body that is compressed on its way.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use async_compression::{Level, brotli, zstd};
use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::compress::Coding;
use crate::web::BodyError;

/// How hard each tries: about where more effort costs much and saves little.
const GZIP: Level = Level::Precise(5);

/// See [`GZIP`].
const BROTLI: Level = Level::Precise(4);

/// See [`GZIP`].
const ZSTD: Level = Level::Precise(3);

/// How far back brotli and zstd look for what comes again: 256 kiB, as a power of two. It is what most
/// of an encoder's memory is for.
const WINDOW: u32 = 18;

/// What comes out of an encoder goes on when it is about so much, in bytes.
const CHUNK: usize = 16 * 1024;

/// So much goes in before others have their turn, in bytes: a tenth of a millisecond of work. The runtime
/// looks at its sockets only after some 60 such turns while nobody else has any.
const MOST_AT_ONCE: usize = 8 * 1024;

/// A body that is compressed on its way. When there is nothing to compress for the moment, what has
/// gone in comes out, so that a slow stream is as slow as it was.
pub(crate) struct Compressed<B> {
    body: B,
    encoder: Box<dyn Encoder>,
    /// What is still to go in.
    input: Bytes,
    /// Something has gone in that may not have come out.
    is_dirty: bool,
    phase: Phase,
    /// What comes behind the body.
    trailers: Option<Frame<Bytes>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// All has gone in.
    Ending,
    /// All has come out.
    Ended,
}

/// Compresses what is written to it. It is never full.
trait Encoder: AsyncWrite + Send + Unpin {
    /// What has come out.
    fn output(&mut self) -> &mut Vec<u8>;
}

impl Encoder for GzipEncoder<Vec<u8>> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

impl Encoder for BrotliEncoder<Vec<u8>> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

impl Encoder for ZstdEncoder<Vec<u8>> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

impl<B> Compressed<B> {
    pub(crate) fn new(body: B, coding: Coding) -> Self {
        let out = Vec::new();
        let encoder: Box<dyn Encoder> = match coding {
            Coding::Gzip => Box::new(GzipEncoder::with_quality(out, GZIP)),
            Coding::Brotli => {
                let params = brotli::EncoderParams::default().quality(BROTLI);
                Box::new(BrotliEncoder::with_params(out, params.window_size(WINDOW as i32)))
            }
            Coding::Zstd => {
                let params = [zstd::CParameter::window_log(WINDOW)];
                Box::new(ZstdEncoder::with_quality_and_params(out, ZSTD, &params))
            }
        };
        Self {
            body,
            encoder,
            input: Bytes::new(),
            is_dirty: false,
            phase: Phase::Open,
            trailers: None,
        }
    }

    /// What has come out, if it is so much.
    fn output(&mut self, least: usize) -> Option<Frame<Bytes>> {
        let output = self.encoder.output();
        (output.len() >= least).then(|| Frame::data(std::mem::take(output).into()))
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Compressed<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut gone_in = 0;
        loop {
            if let Some(frame) = this.output(CHUNK) {
                return Poll::Ready(Some(Ok(frame)));
            }
            if !this.input.is_empty() {
                if gone_in >= MOST_AT_ONCE {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let chunk = &this.input[..this.input.len().min(MOST_AT_ONCE - gone_in)];
                let n = ready!(Pin::new(&mut this.encoder).poll_write(cx, chunk))?;
                this.input.advance(n);
                this.is_dirty = true;
                gone_in += n;
                continue;
            }
            match this.phase {
                Phase::Open => match Pin::new(&mut this.body).poll_frame(cx)? {
                    Poll::Ready(Some(frame)) => match frame.into_data() {
                        Ok(data) => this.input = data,
                        Err(trailers) => this.trailers = Some(trailers),
                    },
                    Poll::Ready(None) => this.phase = Phase::Ending,
                    Poll::Pending => {
                        if this.is_dirty {
                            ready!(Pin::new(&mut this.encoder).poll_flush(cx))?;
                            this.is_dirty = false;
                        }
                        return this.output(1).map_or(Poll::Pending, |frame| {
                            // It was asked, and will not be again before this is gone.
                            Poll::Ready(Some(Ok(frame)))
                        });
                    }
                },
                Phase::Ending => {
                    ready!(Pin::new(&mut this.encoder).poll_shutdown(cx))?;
                    this.phase = Phase::Ended;
                }
                Phase::Ended => {
                    let frame = this.output(1).or_else(|| this.trailers.take());
                    return Poll::Ready(frame.map(Ok));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
    use futures::FutureExt;
    use http_body_util::BodyExt;
    use hyper::HeaderMap;
    use tokio::io::AsyncReadExt;
    use tokio::sync::mpsc;

    use super::*;

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// A body whose pieces a test sends.
    struct Sent(mpsc::Receiver<Result<Frame<Bytes>, BodyError>>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.0.poll_recv(cx)
        }
    }

    type Pieces = mpsc::Sender<Result<Frame<Bytes>, BodyError>>;

    fn compressed(coding: Coding) -> (Pieces, Compressed<Sent>) {
        let (send, receive) = mpsc::channel(64);
        (send, Compressed::new(Sent(receive), coding))
    }

    /// What `bytes` are, as far as they have come.
    async fn expanded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // It breaks off where the bytes do.
        drop(match coding {
            Coding::Zstd => ZstdDecoder::new(bytes).read_to_end(&mut out).await,
            Coding::Brotli => BrotliDecoder::new(bytes).read_to_end(&mut out).await,
            Coding::Gzip => GzipDecoder::new(bytes).read_to_end(&mut out).await,
        });
        out
    }

    /// Bytes that do not shrink, always the same.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[tokio::test]
    async fn what_comes_out_is_what_has_gone_in() {
        let text = "0123456789abcdef ".repeat(30_000).into_bytes();
        for coding in ALL {
            for whole in [text.clone(), noise(200_000), b"a".to_vec(), Vec::new()] {
                let (pieces, body) = compressed(coding);
                for piece in whole.chunks(33_333) {
                    pieces.try_send(Ok(Frame::data(Bytes::copy_from_slice(piece)))).unwrap();
                }
                drop(pieces);
                let bytes = body.collect().await.unwrap().to_bytes();
                assert!(expanded(coding, &bytes).await == whole, "{coding:?} {}", whole.len());
            }
            let (pieces, body) = compressed(coding);
            pieces.try_send(Ok(Frame::data(text.clone().into()))).unwrap();
            drop(pieces);
            assert!(body.collect().await.unwrap().to_bytes().len() < text.len() / 100);
        }
    }

    #[tokio::test]
    async fn a_slow_stream_is_not_held_back() {
        for coding in ALL {
            let (pieces, mut body) = compressed(coding);
            let (mut sent, mut came) = (Vec::new(), Vec::new());
            for piece in ["one", "two", "three"] {
                assert!(body.frame().now_or_never().is_none());
                pieces.try_send(Ok(Frame::data(piece.into()))).unwrap();
                sent.extend_from_slice(piece.as_bytes());
                while let Some(frame) = body.frame().now_or_never() {
                    came.extend(frame.unwrap().unwrap().into_data().unwrap());
                }
                assert_eq!(expanded(coding, &came).await, sent, "{coding:?}");
            }
        }
    }

    #[tokio::test]
    async fn no_piece_is_much_longer_than_a_chunk() {
        for coding in ALL {
            let (pieces, mut body) = compressed(coding);
            pieces.try_send(Ok(Frame::data(noise(1_000_000).into()))).unwrap();
            drop(pieces);
            while let Some(frame) = body.frame().await {
                let length = frame.unwrap().into_data().unwrap().len();
                // An encoder lets go of a block at a time.
                assert!(length <= 512 * 1024, "{coding:?} {length}");
            }
        }
    }

    #[tokio::test]
    async fn trailers_come_last_and_what_breaks_off_breaks_off() {
        for coding in ALL {
            let (pieces, body) = compressed(coding);
            let trailers: HeaderMap =
                [("x-sum".parse().unwrap(), "1".parse().unwrap())].into_iter().collect();
            pieces.try_send(Ok(Frame::data("text".into()))).unwrap();
            pieces.try_send(Ok(Frame::trailers(trailers.clone()))).unwrap();
            drop(pieces);
            let collected = body.collect().await.unwrap();
            assert_eq!(collected.trailers(), Some(&trailers));
            assert_eq!(expanded(coding, &collected.to_bytes()).await, b"text");

            let (pieces, body) = compressed(coding);
            pieces.try_send(Ok(Frame::data("text".into()))).unwrap();
            pieces.try_send(Err("broken".into())).unwrap();
            assert!(body.collect().await.is_err());
        }
    }
}
