//! What both ends of a session do alike beside its visits: heartbeats, noticing that the other end
//! is gone, and understanding why.

use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncWrite};
use tokio::task::JoinError;
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval_at, sleep, timeout};
use tokio_util::compat::Compat;

use super::channel::{Control, ReceiveError};
use super::protocol::{Common, DEAD_AFTER_HEARTBEATS, Message};
use crate::carry::mux::{CLOSE, End, MuxStream, Running};
use crate::carry::wire::Breach;
use crate::kit::logging::Foreign;

/// How long a message may wait for room. Whoever does not read its control stream is as good as
/// dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// A control stream that breaks is the end of the session more often than not. The driver, which
/// knows why, ends within this time.
const DRIVER_END: Duration = Duration::from_millis(100);

/// One end of a session: its control stream, its heartbeats and its driver.
///
/// Dropping it ends the session.
pub struct Conversation<S, In, Out> {
    running: Running,
    control: Control<Compat<S>, In, Out>,
    beat: Interval,
    /// A peer that is silent for so long is dead.
    dead: Duration,
    /// When to look whether it is.
    watch: Pin<Box<Sleep>>,
    heartbeats: u64,
    /// The heartbeat that has not been answered yet.
    unanswered: Option<(u64, Instant)>,
}

/// What came up in a conversation, to be [settled](Conversation::settle).
#[derive(Debug)]
pub enum Happening<In> {
    /// The peer has said something.
    Said(In),
    /// The peer has opened a stream.
    Stream(MuxStream),
    /// A heartbeat is due.
    Beat,
    /// Nothing has been heard of the peer for too long, perhaps.
    Silence,
    /// The control stream cannot be read any more.
    Unreadable(ReceiveError),
    /// The driver has ended.
    Ended(Result<End, JoinError>),
}

/// What of a happening is left to the owner of the conversation.
#[derive(Debug)]
pub enum Left<In> {
    /// Nothing.
    Nothing,
    /// The peer has said something.
    Said(In),
    /// The peer has answered this heartbeat, so long after it was sent, if it is the one that was
    /// awaited.
    Acknowledged(u64, Option<Duration>),
    /// The peer has opened a stream.
    Stream(MuxStream),
    /// A heartbeat was sent: time for whatever is done regularly.
    Beat,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// The peer ended it on purpose, and said why.
    Goodbye(String),
    /// The peer broke the protocol.
    Broken(String),
    /// It is gone.
    Lost(String),
}

impl<S, In, Out> Conversation<S, In, Out>
where
    S: AsyncRead + AsyncWrite + Unpin,
    In: Message,
    Out: Message,
{
    /// A conversation over `control`, a stream of the session `running`, with a heartbeat every
    /// `beat`.
    pub fn new(running: Running, control: Control<Compat<S>, In, Out>, beat: Duration) -> Self {
        let dead = beat * DEAD_AFTER_HEARTBEATS;
        let mut interval = interval_at(tokio::time::Instant::now() + beat, beat);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            running,
            control,
            beat: interval,
            dead,
            watch: Box::pin(sleep(dead)),
            heartbeats: 0,
            unanswered: None,
        }
    }

    /// Waits for whatever comes next.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Happening<In> {
        tokio::select! {
            Some(end) = self.running.driver.join_next() => Happening::Ended(end),
            message = self.control.receive() => match message {
                Ok(message) => Happening::Said(message),
                Err(err) => Happening::Unreadable(err),
            },
            Some(stream) = self.running.inbound.next() => Happening::Stream(stream),
            _ = self.beat.tick() => Happening::Beat,
            () = &mut self.watch => Happening::Silence,
        }
    }

    /// Does what both ends do alike about a happening, and returns the rest.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: an answer may be sent in part.
    ///
    /// # Errors
    ///
    /// The session is over.
    pub async fn settle(&mut self, happening: Happening<In>) -> Result<Left<In>, Over> {
        match happening {
            Happening::Said(message) => return self.on_message(message).await,
            Happening::Stream(stream) => return Ok(Left::Stream(stream)),
            Happening::Beat => {
                self.ask().await?;
                return Ok(Left::Beat);
            }
            Happening::Silence => {
                let silence = self.running.mux.link().silence();
                if silence >= self.dead {
                    return Err(Over::Lost(format!("nothing heard for {:?}", self.dead)));
                }
                let again = tokio::time::Instant::now() + (self.dead - silence);
                self.watch.as_mut().reset(again);
            }
            Happening::Unreadable(err) => return Err(self.broken(&err.to_string()).await),
            Happening::Ended(end) => return Err(self.last_words(end).await),
        }
        Ok(Left::Nothing)
    }

    /// Sends a message.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe.
    ///
    /// # Errors
    ///
    /// The session is over.
    pub async fn send(&mut self, message: &Out) -> Result<(), Over> {
        match timeout(SEND_TIMEOUT, self.control.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(err)) => Err(self.broken(&err.to_string()).await),
            Err(_) => Err(Over::Lost("the other end does not read its control stream".into())),
        }
    }

    /// Sends a heartbeat out of turn and returns its number: its answer comes after all that the
    /// peer has done before.
    ///
    /// # Errors
    ///
    /// The session is over.
    pub async fn ask(&mut self) -> Result<u64, Over> {
        let id = self.heartbeats;
        self.heartbeats += 1;
        // One whose answer takes longer than the interval is measured all the same.
        self.unanswered.get_or_insert_with(|| (id, Instant::now()));
        self.send(&Out::from_common(Common::Heartbeat(id))).await?;
        Ok(id)
    }

    /// Says goodbye. The session is to be [closed](Self::close) behind it.
    pub async fn goodbye(&mut self, reason: &str) {
        let goodbye = Out::from_common(Common::Goodbye(reason.to_owned()));
        // The session ends either way.
        drop(self.send(&goodbye).await);
    }

    /// The next stream, if the peer has opened one already.
    pub fn try_stream(&mut self) -> Option<MuxStream> {
        self.running.inbound.try_next()
    }

    /// Closes the session: returns when everything has been sent and the peer has closed too, or
    /// has had its time for it. The visits are over, and so taken by the peer: only last words are
    /// left to send.
    pub async fn close(&mut self) {
        self.running.close(CLOSE).await;
    }

    /// Gives the session up, because the peer does not play by the rules.
    pub fn break_off(&self, breach: Breach) -> Over {
        let over = Over::Broken(breach.to_string());
        self.running.mux.link().break_off(breach);
        over
    }

    /// Waits until the peer has closed the connection.
    pub async fn closed(&mut self) {
        self.running.driver.join_next().await;
    }

    async fn on_message(&mut self, message: In) -> Result<Left<In>, Over> {
        match message.common() {
            Ok(Common::Heartbeat(id)) => {
                self.send(&Out::from_common(Common::HeartbeatAck(id))).await?;
                Ok(Left::Nothing)
            }
            Ok(Common::HeartbeatAck(id)) => Ok(self.on_ack(id)),
            Ok(Common::Goodbye(reason)) => Err(Over::Goodbye(reason)),
            Err(message) => Ok(Left::Said(message)),
        }
    }

    fn on_ack(&mut self, id: u64) -> Left<In> {
        let awaited = self.unanswered.take_if(|(expected, _)| *expected == id);
        Left::Acknowledged(id, awaited.map(|(_, sent)| sent.elapsed()))
    }

    /// The driver has ended. A peer that says goodbye closes the session right behind it, so the
    /// goodbye may not have been read yet.
    async fn last_words(&mut self, end: Result<End, JoinError>) -> Over {
        while let Ok(message) = self.control.receive().await {
            if let Ok(Common::Goodbye(reason)) = message.common() {
                return Over::Goodbye(reason);
            }
        }
        match end {
            Ok(end @ (End::Breach(_) | End::Yamux(_))) => Over::Broken(end.to_string()),
            Ok(end) => Over::Lost(end.to_string()),
            Err(err) => Over::Lost(err.to_string()),
        }
    }

    /// The control stream is broken: why, if the driver knows better.
    async fn broken(&mut self, reason: &str) -> Over {
        match timeout(DRIVER_END, self.running.driver.join_next()).await {
            Ok(Some(end)) => self.last_words(end).await,
            Ok(None) | Err(_) => Over::Broken(reason.to_owned()),
        }
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodbye(reason) => write!(f, "the other end said goodbye: {}", Foreign(reason)),
            Self::Broken(reason) | Self::Lost(reason) => f.write_str(reason),
        }
    }
}
