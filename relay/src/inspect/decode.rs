//! Bodies that came compressed, as they were before.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use async_compression::tokio::write::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use async_compression::zstd::DParameter;
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use tokio::io::AsyncWrite;

/// The window of zstd that is taken, as a power of two: 8 MiB, as what is sent by HTTP may have at most
/// (RFC 9659). It is there for as long as one body is decoded.
const WINDOW: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Takes what is decoded, up to a bound.
struct Bounded {
    decoded: Vec<u8>,
    most: usize,
}

impl Coding {
    /// That of a body, if it has one. An error if it has one that is not known, or several.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, ()> {
        let fields = headers.get_all(CONTENT_ENCODING).iter();
        let mut found = Ok(None);
        for field in fields {
            for name in field.to_str().map_err(drop)?.split(',').map(str::trim) {
                found = match (name.to_ascii_lowercase().as_str(), found) {
                    ("identity" | "", found) => found,
                    ("gzip" | "x-gzip", Ok(None)) => Ok(Some(Self::Gzip)),
                    ("deflate", Ok(None)) => Ok(Some(Self::Deflate)),
                    ("br", Ok(None)) => Ok(Some(Self::Brotli)),
                    ("zstd", Ok(None)) => Ok(Some(Self::Zstd)),
                    _ => Err(()),
                };
            }
        }
        found
    }

    /// As HTTP calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// What a body was before, as far as it is here and not longer than `most`; and whether that is
    /// all of it.
    pub(super) fn decode(self, body: &[u8], most: usize) -> (Vec<u8>, bool) {
        let out = || Bounded { decoded: Vec::new(), most };
        match self {
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(out());
                let is_whole = through(&mut decoder, body);
                (decoder.into_inner().decoded, is_whole)
            }
            Self::Brotli => {
                let mut decoder = BrotliDecoder::new(out());
                let is_whole = through(&mut decoder, body);
                (decoder.into_inner().decoded, is_whole)
            }
            Self::Zstd => {
                let window = [DParameter::window_log_max(WINDOW)];
                let mut decoder = ZstdDecoder::with_params(out(), &window);
                let is_whole = through(&mut decoder, body);
                (decoder.into_inner().decoded, is_whole)
            }
            // With a header around it, as it should be (RFC 9110, section 8.4.1.2), or without.
            Self::Deflate if body.first().is_some_and(|first| first & 0x0f == 8) => {
                let mut decoder = ZlibDecoder::new(out());
                let is_whole = through(&mut decoder, body);
                (decoder.into_inner().decoded, is_whole)
            }
            Self::Deflate => {
                let mut decoder = DeflateDecoder::new(out());
                let is_whole = through(&mut decoder, body);
                (decoder.into_inner().decoded, is_whole)
            }
        }
    }
}

/// Whether all of it goes through, and there is an end of it.
fn through(decoder: &mut (impl AsyncWrite + Unpin), mut body: &[u8]) -> bool {
    // Nothing here waits.
    let mut cx = Context::from_waker(Waker::noop());
    let mut decoder = Pin::new(decoder);
    while !body.is_empty() {
        match decoder.as_mut().poll_write(&mut cx, body) {
            Poll::Ready(Ok(taken)) if taken > 0 => body = &body[taken..],
            _ => {
                // What is in front of the fault has not all come out.
                drop(decoder.as_mut().poll_flush(&mut cx));
                return false;
            }
        }
    }
    let is_flushed = matches!(decoder.as_mut().poll_flush(&mut cx), Poll::Ready(Ok(())));
    is_flushed && matches!(decoder.as_mut().poll_shutdown(&mut cx), Poll::Ready(Ok(())))
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = self.most - self.decoded.len();
        if room == 0 {
            return Poll::Ready(Err(io::ErrorKind::StorageFull.into()));
        }
        let taken = data.len().min(room);
        self.decoded.extend_from_slice(&data[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::write::{
        BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder,
    };
    use hyper::header::HeaderValue;
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn all(text: &[u8]) -> Vec<(Coding, Vec<u8>)> {
        macro_rules! encoded {
            ($encoder:ident) => {{
                let mut encoder = $encoder::new(Vec::new());
                encoder.write_all(text).await.unwrap();
                encoder.shutdown().await.unwrap();
                encoder.into_inner()
            }};
        }
        vec![
            (Coding::Gzip, encoded!(GzipEncoder)),
            (Coding::Brotli, encoded!(BrotliEncoder)),
            (Coding::Zstd, encoded!(ZstdEncoder)),
            (Coding::Deflate, encoded!(ZlibEncoder)),
            (Coding::Deflate, encoded!(DeflateEncoder)),
        ]
    }

    #[tokio::test]
    async fn a_body_is_what_it_was_and_no_longer_than_it_may_be() {
        let text: Vec<u8> = (0..20_000u32).flat_map(u32::to_be_bytes).collect();
        for (coding, encoded) in all(&text).await {
            assert_eq!(coding.decode(&encoded, 1 << 20), (text.clone(), true), "{coding:?}");
            let (cut, is_whole) = coding.decode(&encoded, 1000);
            assert!(!is_whole && cut == text[..1000], "{coding:?}");
            let (part, is_whole) = coding.decode(&encoded[..encoded.len() / 2], 1 << 20);
            assert!(!is_whole && text.starts_with(&part), "{coding:?}");
        }
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd, Coding::Deflate] {
            assert!(!coding.decode(b"what is none", 1 << 20).1, "{coding:?}");
        }
    }

    #[tokio::test]
    async fn a_bomb_takes_no_more_than_it_may() {
        for (coding, encoded) in all(&vec![0; 4 << 20]).await {
            let (decoded, is_whole) = coding.decode(&encoded, 10_000);
            assert!(decoded.len() == 10_000 && !is_whole, "{coding:?}");
        }
    }

    #[test]
    fn codings_that_are_not_known_are_told_apart_from_none() {
        let of = |value| {
            let field = (CONTENT_ENCODING, HeaderValue::from_static(value));
            Coding::of(&HeaderMap::from_iter([field]))
        };
        assert_eq!(Coding::of(&HeaderMap::new()), Ok(None));
        assert_eq!((of("identity"), of("GZIP")), (Ok(None), Ok(Some(Coding::Gzip))));
        assert_eq!((of("gzip, br"), of("compress")), (Err(()), Err(())));
    }
}
