//! Those who have shaken hands by TLS and then send records that cost far more than they carry.
//! Each loses its session, for a reason that is counted; short records alone are no reason.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use shared::control::protocol::MAX_HELLO;
use tests::raw::{ACK, PING, RawPeer, SYN, data, header, message};
use tests::rogue::hello;
use tests::{Peer, Secured, World, local};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// TLS with records as short as a test wants.
struct Records {
    tls: TlsStream<TcpStream>,
    /// The most bytes of each.
    longest: Arc<AtomicUsize>,
    /// Each is preceded by one that asks for new keys of both ends.
    rekeys: bool,
}

impl Records {
    async fn connect(world: &World, secured: &Secured, rekeys: bool) -> Self {
        let socket = TcpStream::connect(world.addrs.control).await.expect("a connection");
        let connector = TlsConnector::from(Arc::new(secured.authority.client_config()));
        let name = "127.0.0.1".try_into().expect("a name");
        let tls = connector.connect(name, socket).await.expect("TLS");
        Self { tls, longest: Arc::new(usize::MAX.into()), rekeys }
    }
}

impl AsyncRead for Records {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Records {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let longest = self.longest.load(Ordering::Relaxed);
        if self.rekeys && longest < usize::MAX {
            self.tls.get_mut().1.refresh_traffic_keys().expect("TLS 1.3");
        }
        Pin::new(&mut self.tls).poll_write(cx, &buf[..buf.len().min(longest)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

/// A message as long as an admitted client's may be, which the relay takes and does nothing about.
fn long_message() -> Vec<u8> {
    let json = format!(r#"{{"type":"heartbeat_ack","id":0{}}}"#, " ".repeat(60_000));
    data(0, 1, &message(json.as_bytes()))
}

/// Waits until so many have been sent away for this.
async fn floods(world: &World, expected: u32) {
    let series = "relay_breaches_total{kind=\"tls_flood\"}";
    let counted = f64::from(expected);
    world.shows("a flood that is counted", |m| m.value(series) == Some(counted)).await;
}

#[tokio::test]
async fn a_stranger_has_no_more_records_than_its_handshake_needs() {
    let secured = Secured::new();
    let mut world = World::start_secured(&secured).await;
    for (count, rekeys) in [(1, true), (2, false)] {
        let records = Records::connect(&world, &secured, rekeys).await;
        records.longest.store(1, Ordering::Relaxed);
        let mut stranger = RawPeer::new(records);
        // The beginning of the longest message that it may send.
        let mut hello = (MAX_HELLO as u32).to_be_bytes().to_vec();
        hello.resize(MAX_HELLO, b' ');
        drop(stranger.try_send(&data(SYN, 1, &hello)).await);
        stranger.expect_closed().await;
        floods(&world, count).await;
        let count = f64::from(count);
        world.shows("no client", |metrics| metrics.handshakes("invalid") == count).await;
    }
    world.expose(local::echo().await.addr()).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_whose_records_cost_far_more_than_they_carry_loses_its_session() {
    let secured = Secured::new();
    let mut world = World::start_secured(&secured).await;
    let service = local::echo().await;
    let public = world.expose_all(&[format!("good={}", service.addr())]).await[0];
    for (count, rekeys) in [(1, true), (2, false)] {
        let records = Records::connect(&world, &secured, rekeys).await;
        let longest = Arc::clone(&records.longest);
        let mut rogue = RawPeer::new(records);
        rogue.say_hello(hello(&["rogue"])).await;
        longest.store(1, Ordering::Relaxed);
        let mut visitor = Peer::connect(public).await;
        drop(rogue.try_send(&long_message()).await);
        rogue.expect_closed().await;
        visitor.expect_echo(b"undisturbed").await;
        floods(&world, count).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn whoever_sends_each_header_in_a_record_of_its_own_stays() {
    let secured = Secured::new();
    let world = World::start_secured(&secured).await;
    let records = Records::connect(&world, &secured, false).await;
    let longest = Arc::clone(&records.longest);
    let mut client = RawPeer::new(records);
    client.say_hello(hello(&["default"])).await;
    longest.store(12, Ordering::Relaxed);
    for ping in 0..5 {
        client.send(&long_message()).await;
        client.send(&header(PING, SYN, 0, ping)).await;
        let is_answer = |kind, flags| (kind, flags) == (PING, ACK);
        client.expect("an answer", |frame| is_answer(frame.kind, frame.flags)).await;
    }
    floods(&world, 0).await;
    world.stop().await;
}
