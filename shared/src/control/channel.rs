//! Control messages over any byte stream: length-delimited JSON.
//!
//! Each message is a length of four bytes, big-endian, and that many bytes of JSON. The limit is
//! checked against the length alone, before anything is allocated for the message.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::kit::logging::Foreign;

/// A stream of messages: `In` is what the other end says, `Out` what this end says.
pub struct Control<S, In, Out> {
    frames: Framed<S, LengthDelimitedCodec>,
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
        Self { frames: Framed::new(stream, codec), messages: PhantomData }
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
        match self.frames.next().await {
            Some(Ok(frame)) => {
                let frame = frame.freeze();
                serde_json::from_slice(&frame).map_err(|err| ReceiveError::Message(err, frame))
            }
            Some(Err(err)) => Err(ReceiveError::Io(err)),
            None => Err(ReceiveError::Closed),
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
        let json = serde_json::to_vec(message).map_err(io::Error::other)?;
        self.frames.send(Bytes::from(json)).await
    }
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
    use std::task::{Context, Waker};

    use tokio::io::AsyncWriteExt;

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
