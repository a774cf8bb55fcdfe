//! Control messages over any byte stream: length-delimited JSON.
//!
//! Each message is a length of four bytes, big-endian, and that many bytes of JSON. The limit is
//! checked against the length alone, before anything is allocated for the message; a length of zero
//! is refused.
//!
//! Whoever sends takes in meanwhile what the other end sends: otherwise two ends that both have a
//! lot to say would wait for each other.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::kit::logging::Foreign;

/// How many bytes of messages are taken in while this end sends: about what both ends may have to
/// say of all tunnels at once, beside what fits the windows of the stream.
const MOST_EARLY: usize = 512 * 1024;

/// What a message that is taken in costs beside its bytes: most of what a small one does.
const ENTRY: usize = size_of::<Result<Bytes, ReceiveError>>();

/// A stream of messages: `In` is what the other end says, `Out` what this end says.
pub struct Control<S, In, Out> {
    frames: Framed<S, LengthDelimitedCodec>,
    /// What came while this end was sending.
    early: VecDeque<Result<Bytes, ReceiveError>>,
    /// What they cost.
    early_bytes: usize,
    messages: PhantomData<fn(Out) -> In>,
}

/// Why no message came.
#[derive(Debug)]
pub enum ReceiveError {
    /// The stream ended, between two messages or within one.
    Closed,
    /// The stream failed, or a message was longer than the limit.
    Io(io::Error),
    /// A message is not what the other end may say; these are its bytes.
    Message(serde_json::Error, Bytes),
}

impl<S, In, Out> Control<S, In, Out>
where
    S: AsyncRead + AsyncWrite + Unpin,
    In: DeserializeOwned,
    Out: Serialize,
{
    /// Messages of at most `limit` bytes over `stream`.
    pub fn new(stream: S, limit: usize) -> Self {
        let codec = LengthDelimitedCodec::builder().max_frame_length(limit).new_codec();
        let frames = Framed::new(stream, codec);
        Self { frames, early: VecDeque::new(), early_bytes: 0, messages: PhantomData }
    }

    /// Changes the largest message that is accepted, in bytes.
    pub fn set_limit(&mut self, limit: usize) {
        self.frames.codec_mut().set_max_frame_length(limit);
    }

    /// The next message.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has arrived of a message is kept for the next call.
    ///
    /// # Errors
    ///
    /// After any error the stream is of no more use.
    pub async fn receive(&mut self) -> Result<In, ReceiveError> {
        let frame = match self.early.pop_front() {
            Some(frame) => {
                if self.early.is_empty() {
                    // The room for many small ones is not kept.
                    self.early = VecDeque::new();
                }
                let frame = frame?;
                self.early_bytes -= cost(&frame);
                frame
            }
            None => poll_fn(|cx| self.poll_frame(cx)).await?,
        };
        serde_json::from_slice(&frame).map_err(|err| ReceiveError::Message(err, frame))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, ReceiveError>> {
        self.frames.poll_next_unpin(cx).map(|frame| match frame {
            // No JSON is empty, and a header alone is little for what a message costs.
            Some(Ok(frame)) if frame.is_empty() => {
                let err = serde_json::Error::custom("it is empty");
                Err(ReceiveError::Message(err, Bytes::new()))
            }
            Some(Ok(frame)) => Ok(frame.freeze()),
            Some(Err(err)) => Err(ReceiveError::Io(err)),
            None => Err(ReceiveError::Closed),
        })
    }

    /// Takes in what has come, as far as there is room for it.
    fn take_in(&mut self, cx: &mut Context<'_>) {
        // Nothing comes behind an error.
        while self.early.back().is_none_or(Result::is_ok)
            && self.early_bytes < MOST_EARLY
            && let Poll::Ready(frame) = self.poll_frame(cx)
        {
            self.early_bytes += frame.as_ref().map_or(0, cost);
            self.early.push_back(frame);
        }
    }

    /// Sends one message and flushes it.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a message may be sent in part, after which the stream is of no more use.
    ///
    /// # Errors
    ///
    /// Whatever the stream returns; or the message is over the limit.
    pub async fn send(&mut self, message: &Out) -> io::Result<()> {
        let json = Bytes::from(serde_json::to_vec(message).map_err(io::Error::other)?);
        // Nothing is left of the one before, so there is room.
        self.frames.feed(json).await?;
        poll_fn(|cx| {
            let flushed = SinkExt::<Bytes>::poll_flush_unpin(&mut self.frames, cx);
            if flushed.is_pending() {
                self.take_in(cx);
            }
            flushed
        })
        .await
    }
}

/// What it costs to keep a message.
fn cost(frame: &Bytes) -> usize {
    frame.len() + ENTRY
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the control stream ended"),
            Self::Io(err) => write!(f, "the control stream failed: {err}"),
            // It quotes what it does not understand.
            Self::Message(err, _) => {
                write!(f, "a control message cannot be understood: {}", Foreign(err))
            }
        }
    }
}

impl std::error::Error for ReceiveError {}

impl<S, In, Out> fmt::Debug for Control<S, In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::control::protocol::{FromClient, FromRelay};

    #[tokio::test]
    async fn a_cancelled_receive_loses_nothing() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut control = Control::<_, FromClient, FromRelay>::new(near, 1024);
        let json = br#"{"type":"heartbeat","id":1}"#;
        far.write_u32(json.len() as u32).await.unwrap();
        far.write_all(&json[..9]).await.unwrap();

        let mut receive = Box::pin(control.receive());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(receive.as_mut().poll(&mut cx).is_pending());
        drop(receive);

        far.write_all(&json[9..]).await.unwrap();
        assert_eq!(control.receive().await.unwrap(), FromClient::Heartbeat { id: 1 });
    }

    #[tokio::test]
    async fn two_ends_that_both_have_a_lot_to_say_do_not_wait_for_each_other() {
        const MESSAGES: u64 = 1000;
        let (relay, client) = tokio::io::duplex(64);
        let mut relay = Control::<_, FromClient, FromRelay>::new(relay, 1024);
        let mut client = Control::<_, FromRelay, FromClient>::new(client, 1024);
        let say_and_hear = async {
            let there = async {
                for id in 0..MESSAGES {
                    relay.send(&FromRelay::Heartbeat { id }).await.unwrap();
                }
                for id in 0..MESSAGES {
                    assert_eq!(relay.receive().await.unwrap(), FromClient::HeartbeatAck { id });
                }
            };
            let here = async {
                for id in 0..MESSAGES {
                    client.send(&FromClient::HeartbeatAck { id }).await.unwrap();
                }
                for id in 0..MESSAGES {
                    assert_eq!(client.receive().await.unwrap(), FromRelay::Heartbeat { id });
                }
            };
            tokio::join!(there, here);
        };
        tokio::time::timeout(Duration::from_secs(20), say_and_hear).await.expect("both to be done");
    }

    /// What a relay has taken in of messages like `message` while it could not send: its client goes
    /// on talking, and never listens.
    async fn taken_in(message: &'static [u8]) -> Control<DuplexStream, FromClient, FromRelay> {
        let (relay, client) = tokio::io::duplex(1024);
        let mut relay = Control::<_, FromClient, FromRelay>::new(relay, 100 * 1024);
        let mut client = Control::<_, FromRelay, FromClient>::new(client, 100 * 1024);
        let talk = async {
            loop {
                client.frames.feed(Bytes::from_static(message)).await.unwrap();
            }
        };
        let mut cx = Context::from_waker(Waker::noop());
        let mut talk = Box::pin(talk);
        let goodbye = FromRelay::Goodbye { reason: "y".repeat(2000) };
        let mut send = Box::pin(relay.send(&goodbye));
        // A hundred times as many bytes as there is room for would get through.
        for _ in 0..MOST_EARLY / 10 {
            assert!(talk.as_mut().poll(&mut cx).is_pending());
            assert!(send.as_mut().poll(&mut cx).is_pending());
            tokio::task::yield_now().await;
        }
        drop((talk, send));
        relay
    }

    #[tokio::test]
    async fn what_is_taken_in_while_this_end_sends_is_bounded_however_small_or_large_it_is() {
        for message in [&b"1"[..], b"{}", &[b'x'; 50_000]] {
            let mut relay = taken_in(message).await;
            let cost = message.len() + ENTRY;
            assert_eq!(relay.early.len(), MOST_EARLY.div_ceil(cost), "of {}", message.len());

            while !relay.early.is_empty() {
                assert!(matches!(relay.receive().await, Err(ReceiveError::Message(..))));
            }
            assert_eq!((relay.early_bytes, relay.early.capacity()), (0, 0));
        }
    }

    #[tokio::test]
    async fn a_message_of_no_length_is_refused_and_nothing_is_taken_in_behind_it() {
        let mut relay = taken_in(b"").await;
        assert_eq!(relay.early.len(), 1);
        assert!(matches!(relay.receive().await, Err(ReceiveError::Message(..))));

        let (mut far, near) = tokio::io::duplex(64);
        let mut client = Control::<_, FromRelay, FromClient>::new(near, 1024);
        far.write_u32(0).await.unwrap();
        let err = client.receive().await.unwrap_err();
        assert_eq!(err.to_string(), "a control message cannot be understood: it is empty");
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_refused_by_its_length_alone() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut control = Control::<_, FromClient, FromRelay>::new(near, 1024);
        far.write_u32(1025).await.unwrap();
        assert!(matches!(control.receive().await, Err(ReceiveError::Io(_))));
    }

    #[tokio::test]
    async fn a_message_that_is_none_cannot_forge_lines_of_the_log() {
        let forged = "x\n2026-01-01 INFO client: all is well \u{1b}[2K\u{202e}";
        let (mut far, near) = tokio::io::duplex(1024);
        let mut control = Control::<_, FromRelay, FromClient>::new(near, 1024);
        let json = serde_json::to_vec(&serde_json::json!({ "type": forged })).unwrap();
        far.write_u32(json.len() as u32).await.unwrap();
        far.write_all(&json).await.unwrap();
        let err = control.receive().await.unwrap_err().to_string();
        assert!(err.contains("x\\n2026-01-01 INFO"), "{err}");
        assert!(!err.contains(['\n', '\u{1b}', '\u{202e}']), "{err:?}");
    }
}
