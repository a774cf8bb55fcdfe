//! TLS under a session: the carrier, and what both ends agree on.
//!
//! - [`Tls`]: a connection after its handshake, as a carrier
//! - [`ALPN`], [`TlsMin`], [`install_provider`]: what both ends agree on
//! - [`Pin`]: a key that is known beforehand
//! - [`pem`]: certificates and keys in files

mod agreement;
mod ahead;
mod authorities;
pub mod pem;
mod pin;
mod ration;

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin as StdPin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ConnectionCommon, HandshakeKind, ServerConfig, SideData};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use self::ahead::ReadAhead;
use super::{Carry, Channel, PIECE};

pub use self::agreement::{ALPN, TlsMin, install_provider, provider};
pub use self::authorities::system_authorities;
pub use self::pin::{BadPin, Pin};

/// Both ends have to use the same label (RFC 9266).
const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The most bytes that are encrypted ahead of the socket: a piece and the frame's header before it,
/// so that it goes out in one system call.
const MOST_AHEAD: usize = PIECE + 1024;

/// How many records are handed out before the other tasks get their turn: as many take about as
/// long as what the wire above reads in one, however little is in each.
const TURN: usize = 1024;

/// A TCP connection after its TLS handshake.
///
/// It takes the next bytes only when the socket has all that came before: what it holds back is
/// one write at most, so that the wire above knows how fast the line is.
#[derive(Debug)]
pub struct Tls {
    stream: TlsStream<ReadAhead>,
    /// The socket has not taken all that was encrypted.
    holds: bool,
    /// Reads in this turn, each of one record at most.
    reads: usize,
    /// What ended a read that had something to hand out: the next one tells.
    failure: Option<io::Error>,
    channel: Channel,
    kind: Option<HandshakeKind>,
}

impl Tls {
    /// Shakes hands with a relay, which has to be called `name`.
    ///
    /// # Errors
    ///
    /// What keeps the two from agreeing; the source is a [`rustls::Error`] where TLS itself says no.
    pub async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: TcpStream,
    ) -> io::Result<Self> {
        let connector = TlsConnector::from(config);
        let mut stream = connector.connect(name, ReadAhead::new(socket)).await?;
        let (channel, kind) = agreed(stream.get_mut().1)?;
        stream.get_mut().0.has_shaken_hands();
        Ok(Self { stream: stream.into(), holds: false, reads: 0, failure: None, channel, kind })
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect). The client has been told, but what it may still send has
    /// not been read: closing the socket at once can overtake what it was told.
    pub async fn accept(
        config: Arc<ServerConfig>,
        socket: TcpStream,
    ) -> Result<Self, (io::Error, TcpStream)> {
        Self::accept_begun(config, socket, &[]).await
    }

    /// The same with somebody of whom `seen` has been read already.
    ///
    /// # Errors
    ///
    /// As for [`accept`](Self::accept).
    pub async fn accept_begun(
        config: Arc<ServerConfig>,
        socket: TcpStream,
        seen: &[u8],
    ) -> Result<Self, (io::Error, TcpStream)> {
        let ahead = ReadAhead::begun(socket, seen);
        let accept = TlsAcceptor::from(config).accept(ahead).into_fallible();
        let mut stream = accept.await.map_err(|(err, ahead)| (err, ahead.into_socket()))?;
        match agreed(stream.get_mut().1) {
            Ok((channel, kind)) => {
                stream.get_mut().0.has_shaken_hands();
                Ok(Self {
                    stream: stream.into(),
                    holds: false,
                    reads: 0,
                    failure: None,
                    channel,
                    kind,
                })
            }
            Err(err) => Err((err, stream.into_inner().0.into_socket())),
        }
    }

    /// The protocol that the two have agreed on, if they have (RFC 7301).
    pub fn protocol(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    /// The other end may send as much as it likes from now on.
    pub fn admit(&mut self) {
        self.stream.get_mut().0.admit();
    }

    /// Whether the two have met before, and so needed no certificate.
    pub fn is_resumed(&self) -> bool {
        self.kind == Some(HandshakeKind::Resumed)
    }

    /// Ready while the turn lasts.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.reads < TURN {
            return Poll::Ready(());
        }
        self.reads = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads into `buf` until it is full, nothing more is there, or the turn is over.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while buf.remaining() > 0 && self.reads < TURN {
            let read = match self.failure.take() {
                Some(err) => Poll::Ready(Err(err)),
                None => self.poll_record(cx, buf),
            };
            match read {
                Poll::Ready(Ok(n)) if n > 0 => (),
                Poll::Ready(Err(err)) if buf.filled().len() > before => {
                    self.failure = Some(err);
                    break;
                }
                // The next read comes to the same.
                _ if buf.filled().len() > before => break,
                read => return read.map_ok(|_| ()),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what is left of a record, or from the next one.
    // Not by `poll_read`, which goes through any number of records by itself.
    fn poll_record(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let bytes = match StdPin::new(&mut self.stream).poll_fill_buf(cx) {
            Poll::Ready(Ok(record)) => {
                let bytes = record.len().min(buf.remaining());
                buf.put_slice(&record[..bytes]);
                bytes
            }
            Poll::Ready(Err(err)) if err.kind() == io::ErrorKind::UnexpectedEof => {
                // A library's words for this are about libraries.
                let message = "the peer has gone without closing TLS";
                return Poll::Ready(Err(io::Error::new(err.kind(), message)));
            }
            Poll::Ready(Err(err)) => return Poll::Ready(Err(err)),
            Poll::Pending => {
                self.reads = 0;
                return Poll::Pending;
            }
        };
        self.reads += 1;
        StdPin::new(&mut self.stream).consume(bytes);
        self.stream.get_mut().0.gave(bytes);
        Poll::Ready(Ok(bytes))
    }

    /// What the socket has not taken yet goes first.
    fn poll_caught_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.holds {
            ready!(StdPin::new(&mut self.stream).poll_flush(cx))?;
            self.holds = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// What a handshake came to.
fn agreed<S: SideData>(
    connection: &mut ConnectionCommon<S>,
) -> io::Result<(Channel, Option<HandshakeKind>)> {
    connection.set_buffer_limit(Some(MOST_AHEAD));
    let binding = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => {
            let exported = connection.export_keying_material([0; 32], BINDING_LABEL, Some(b""));
            Some(exported.map_err(io::Error::other)?)
        }
        _ => None,
    };
    Ok((Channel::Tls { binding }, connection.handshake_kind()))
}

impl Carry for Tls {
    fn limit_unsent(&self, bytes: usize) {
        self.stream.get_ref().0.socket().limit_unsent(bytes);
    }

    fn channel(&self) -> Channel {
        self.channel
    }

    fn admit(&mut self) {
        Self::admit(self);
    }

    fn poll_read_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        let mut total = 0;
        for buf in bufs {
            let mut buf = ReadBuf::new(buf);
            match self.poll_fill(cx, &mut buf) {
                Poll::Ready(Ok(())) => total += buf.filled().len(),
                Poll::Ready(Err(err)) if total > 0 => {
                    self.failure = Some(err);
                    break;
                }
                _ if total > 0 => break,
                read => return read.map_ok(|()| 0),
            }
            if buf.remaining() > 0 {
                break;
            }
        }
        Poll::Ready(Ok(total))
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        self: StdPin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_turn(cx));
        this.poll_fill(cx, buf)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        self: StdPin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_caught_up(cx))?;
        this.holds = true;
        StdPin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: StdPin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_caught_up(cx))?;
        this.holds = true;
        StdPin::new(&mut this.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: StdPin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_caught_up(cx)
    }

    fn poll_shutdown(self: StdPin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        StdPin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
