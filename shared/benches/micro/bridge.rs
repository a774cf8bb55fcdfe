//! A bridge of the relay between a visitor's connection and a data stream, over a session on a
//! real connection. At the far end of the stream nothing is copied any more.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use shared::carry::mux::Running;
use shared::carry::{Carrier, Role};
use shared::visit::bridge::{Bridge, Ended, Observer};
use shared::visit::id::VisitIds;
use shared::visit::open::Open;
use shared::visit::patience::Patience;
use shared::visit::socket::ResetUnlessEnded;
use shared::visit::stream::{Chunk, DataStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::loopback;

/// Bulk from the visitor to the stream.
#[divan::bench]
fn to_stream(bencher: Bencher<'_, '_>) {
    let runtime = loopback::runtime();
    let mut visit = runtime.block_on(Visit::start());
    let bulk = vec![b'u'; BULK];
    bencher.counter(BytesCount::new(BULK)).bench_local(|| {
        runtime.block_on(async {
            let Visit { visitor, far, .. } = &mut visit;
            let (written, ()) = tokio::join!(visitor.write_all(&bulk), receive(far, BULK));
            written.expect("an open bridge");
        });
    });
}

/// Bulk from the stream to the visitor.
#[divan::bench]
fn to_socket(bencher: Bencher<'_, '_>) {
    let runtime = loopback::runtime();
    let mut visit = runtime.block_on(Visit::start());
    let mut bulk = vec![0; BULK];
    bencher.counter(BytesCount::new(BULK)).bench_local(|| {
        runtime.block_on(async {
            let Visit { visitor, far, chunk, .. } = &mut visit;
            let (read, ()) = tokio::join!(visitor.read_exact(&mut bulk), send(far, chunk, BULK));
            read.expect("an open bridge");
        });
    });
}

/// One small request of the visitor and the answer to it.
#[divan::bench]
fn round_trip(bencher: Bencher<'_, '_>) {
    let runtime = loopback::runtime();
    let mut visit = runtime.block_on(Visit::start());
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        runtime.block_on(async {
            let Visit { visitor, far, chunk, .. } = &mut visit;
            visitor.write_all(&[b'r'; REQUEST]).await.expect("an open bridge");
            receive(far, REQUEST).await;
            send(far, chunk, ANSWER).await;
            visitor.read_exact(&mut [0; ANSWER]).await.expect("an open bridge");
        });
    });
}

/// A visit under way.
struct Visit {
    visitor: TcpStream,
    /// The client's end of the stream.
    far: DataStream,
    /// What it sends from.
    chunk: Chunk,
    _bridge: JoinSet<Ended>,
    _sessions: [Running; 2],
}

impl Visit {
    async fn start() -> Self {
        let (client, relay) = loopback::session().await;
        let mut client = Running::start(Carrier::tcp(client), Role::Client, STREAMS);
        let relay = Running::start(Carrier::tcp(relay), Role::Relay, STREAMS);
        relay.mux.link().admit();

        let (visitor, socket) = loopback::visit().await;
        let open = Open::new(
            VisitIds::new().next(),
            "default".parse().expect("a name"),
            visitor.local_addr().expect("an address"),
        );
        let stream = relay.mux.open().await.expect("a stream");
        let near = DataStream::open(stream, open).await.expect("an open session");
        let stream = client.inbound.next().await.expect("an open session");
        let (mut far, _) = DataStream::accept(stream).await.expect("a visit");
        far.connected().await.expect("an open session");

        let mut bridge = JoinSet::new();
        bridge.spawn(Bridge::new(ResetUnlessEnded::new(socket), near, PATIENCE, Unobserved));
        let chunk = Chunk::new();
        Self { visitor, far, chunk, _bridge: bridge, _sessions: [client, relay] }
    }
}

/// Takes `bytes` of payload from a stream.
async fn receive(stream: &mut DataStream, mut bytes: usize) {
    while bytes > 0 {
        let n = poll_fn(|cx| stream.poll_fill(cx)).await.expect("payload");
        stream.consume(n);
        bytes -= n;
    }
}

/// Sends `bytes` of payload on a stream.
async fn send(stream: &mut DataStream, chunk: &mut Chunk, mut bytes: usize) {
    while bytes > 0 {
        let n = bytes.min(stream.chunk());
        poll_fn(|cx| stream.poll_ready(cx)).await.expect("an open stream");
        poll_fn(|cx| Poll::Ready(stream.start_send(cx, chunk, n))).await.expect("an open stream");
        bytes -= n;
    }
    poll_fn(|cx| stream.poll_ready(cx)).await.expect("an open stream");
}

struct Unobserved;

impl Observer for Unobserved {
    fn to_stream(&mut self, _: &[u8]) {}
    fn to_socket(&mut self, _: &[u8]) {}
}

/// Bytes that are moved at a time.
const BULK: usize = 4 * 1024 * 1024;

/// A request and an answer as `make bench` has them.
const REQUEST: usize = 64;
const ANSWER: usize = 1024;

/// More than one visit needs.
const STREAMS: usize = 16;

/// Nothing waits for so long.
const PATIENCE: Patience =
    Patience { stall: Duration::from_secs(60), half_closed: Duration::from_secs(60) };
