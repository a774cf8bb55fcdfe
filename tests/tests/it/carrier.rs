//! What a session may run over.

use std::future::{poll_fn, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready as ready_or};

use futures::AsyncWriteExt;
use shared::carry::mux::{CLOSE, Running};
use shared::carry::tls::Tls;
use shared::carry::{Carrier, Carry, Channel, Role};
use shared::visit::id::VisitIds;
use shared::visit::open::Open;
use shared::visit::stream::{Chunk, DataStream};
use tests::{Authority, within};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// A carrier that sends nothing before it is flushed, or holds as much as it can: so does TLS.
#[derive(Debug)]
struct Reluctant {
    pipe: DuplexStream,
    held: Vec<u8>,
}

/// As much as it can hold.
const MOST_HELD: usize = 64 * 1024;

impl Reluctant {
    /// Both ends. The line between them holds far less than they do.
    fn pair() -> (Self, Self) {
        let (near, far) = tokio::io::duplex(8 * 1024);
        let new = |pipe| Self { pipe, held: Vec::new() };
        (new(near), new(far))
    }
}

impl Carry for Reluctant {}

impl AsyncRead for Reluctant {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for Reluctant {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() == MOST_HELD {
            ready_or!(self.as_mut().poll_flush(cx))?;
        }
        let n = buf.len().min(MOST_HELD - self.held.len());
        self.held.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.held.is_empty() {
            let n = ready_or!(Pin::new(&mut this.pipe).poll_write(cx, &this.held))?;
            this.held.drain(..n);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready_or!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn visits_get_through_a_carrier_that_has_to_be_flushed() {
    let (near, far) = Reluctant::pair();
    let relay = Running::start(ready(Ok(near)), Role::Relay, 16);
    let client = Running::start(ready(Ok(far)), Role::Client, 16);
    visits_get_through(relay, client).await;
}

#[tokio::test]
async fn visits_get_through_tls() {
    let (relay, client) = tls_session(&Authority::new()).await;
    visits_get_through(relay, client).await;
}

/// What proves that somebody is at the other end of one session proves nothing in another.
#[tokio::test]
async fn both_ends_of_a_tls_session_know_what_ties_them_together_and_no_other_session_has_it() {
    let (authority, mut seen) = (Authority::new(), Vec::new());
    for _ in 0..2 {
        let (mut relay, client) = tls_session(&authority).await;
        let mut stream = within("a stream", client.mux.open()).await.expect("a session").io;
        within("a byte", stream.write_all(b"x")).await.expect("a session");
        within("the stream at the far end", relay.inbound.next()).await.expect("a session");
        let [near, far] = [&client, &relay].map(|end| end.mux.link().channel());
        let Channel::Tls { binding: Some(binding) } = near else { panic!("no binding: {near:?}") };
        assert_eq!(near, far);
        seen.push(binding);
    }
    assert_ne!(seen[0], seen[1]);
}

/// Both ends of a session over TLS.
async fn tls_session(authority: &Authority) -> (Running, Running) {
    let server = authority.relay("localhost").server_config();
    let config = Arc::new(authority.client_config());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let near = async move {
        let (socket, _) = listener.accept().await?;
        Tls::accept(server, socket).await.map(Carrier::from).map_err(|(err, _)| err)
    };
    let far = async move {
        let name = "localhost".try_into().expect("a name");
        let socket = TcpStream::connect(address).await?;
        Tls::connect(config, name, socket).await.map(Carrier::from)
    };
    let relay = Running::start(near, Role::Relay, 16);
    let client = Running::start(far, Role::Client, 16);
    (relay, client)
}

/// Small things and large ones, one after the other and at once, then a good end.
async fn visits_get_through(mut relay: Running, mut client: Running) {
    relay.mux.link().admit();

    let (ids, mut visits) = (VisitIds::new(), Vec::new());
    for _ in 0..4 {
        let near = visit_on(&relay, &ids).await;
        let stream =
            within("the stream at the far end", client.inbound.next()).await.expect("a session");
        let (mut far, _) = within("OPEN", DataStream::accept(stream)).await.expect("a visit");
        within("CONNECTED to be taken", far.connected()).await.expect("a visit");
        visits.push((near, far));
    }
    for (near, far) in &mut visits {
        for length in [1, 100, 1_000_000] {
            within("what goes there", pass(near, far, length)).await;
            within("what comes back", pass(far, near, length)).await;
        }
    }
    let all = visits.iter_mut().map(|(near, far)| pass(near, far, 1_000_000));
    within("all at once", futures::future::join_all(all)).await;

    for (near, far) in &mut visits {
        end(near, far).await;
        end(far, near).await;
    }
    let closed = async { tokio::join!(relay.close(CLOSE), client.close(CLOSE)) };
    assert_eq!(within("both ends to close", closed).await, (true, true));
}

/// A visit on a session whose far end has not said anything of it.
async fn visit_on(relay: &Running, ids: &VisitIds) -> DataStream {
    let name = "default".parse().expect("a name");
    let open = Open::new(ids.next(), name, ([127, 0, 0, 1], 1).into());
    let stream = within("a stream", relay.mux.open()).await.expect("a session");
    DataStream::open(stream, open).await.expect("a session")
}

/// Passes `length` bytes from one end of a visit to the other.
async fn pass(from: &mut DataStream, to: &mut DataStream, length: usize) {
    let send = async {
        let (mut chunk, mut rest) = (Chunk::new(), length);
        while rest > 0 {
            let n = rest.min(from.chunk());
            chunk.payload(n).fill(b'x');
            poll_fn(|cx| from.poll_ready(cx)).await.expect("an open stream");
            poll_fn(|cx| Poll::Ready(from.start_send(cx, &mut chunk, n)))
                .await
                .expect("an open stream");
            rest -= n;
        }
        poll_fn(|cx| from.poll_ready(cx)).await.expect("an open stream");
    };
    let receive = async {
        let mut rest = length;
        while rest > 0 {
            let n = poll_fn(|cx| to.poll_fill(cx)).await.expect("an open stream");
            assert!(to.data().iter().all(|byte| *byte == b'x'));
            to.consume(n);
            rest -= n;
        }
    };
    tokio::join!(send, receive);
}

/// Ends one direction of a visit.
async fn end(from: &mut DataStream, to: &mut DataStream) {
    within("END to go", poll_fn(|cx| from.poll_end(cx))).await.expect("an open stream");
    let length =
        within("END to come", poll_fn(|cx| to.poll_fill(cx))).await.expect("an open stream");
    assert_eq!(length, 0);
}
