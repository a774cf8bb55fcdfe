use std::future::ready;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::carry::Role;
use crate::carry::mux::{CLOSE, Running};
use crate::visit::id::VisitIds;
use crate::visit::open::Open;

/// A session over a pipe.
struct Session {
    relay: Running,
    client: Running,
}

/// A visit, with the visitor and the client's end of the stream in the test's hands.
struct Visit<O = Unobserved> {
    visitor: TcpStream,
    bridge: Bridge<TcpStream, O>,
    far: DataStream,
}

impl Session {
    fn start() -> Self {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let relay = Running::start(ready(Ok(near)), Role::Relay, 16);
        relay.mux.link().admit();
        Self { relay, client: Running::start(ready(Ok(far)), Role::Client, 16) }
    }

    async fn visit(&mut self) -> Visit {
        self.visit_observed_by(Unobserved).await
    }

    async fn visit_observed_by<O: Observer + Unpin>(&mut self, observer: O) -> Visit<O> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let visitor = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, addr) = listener.accept().await.unwrap();
        let open = Open::new(VisitIds::new().next(), "default".parse().unwrap(), addr);
        let stream = self.relay.mux.open().await.unwrap();
        let near = DataStream::open(stream, open).await.unwrap();
        let stream = self.client.inbound.next().await.unwrap();
        let (mut far, _) = DataStream::accept(stream).await.unwrap();
        far.connected().await.unwrap();
        let socket = ResetUnlessEnded::new(socket);
        Visit { visitor, bridge: Bridge::new(socket, near, PATIENCE, observer), far }
    }
}

struct Unobserved;

impl Observer for Unobserved {
    fn to_stream(&mut self, _: &[u8]) {}
    fn to_socket(&mut self, _: &[u8]) {}
}

/// Lets nothing through.
struct Limiting;

impl Observer for Limiting {
    fn to_stream(&mut self, _: &[u8]) {}
    fn to_socket(&mut self, _: &[u8]) {}

    fn is_limiting(&self) -> bool {
        true
    }

    fn poll_to_stream(&mut self, _: &mut Context<'_>) -> Poll<usize> {
        Poll::Pending
    }

    fn poll_to_socket(&mut self, _: &mut Context<'_>) -> Poll<usize> {
        Poll::Pending
    }
}

const PATIENCE: Patience =
    Patience { stall: Duration::from_millis(200), half_closed: Duration::from_secs(600) };

/// A busy machine is no failure.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_visit_that_has_nothing_to_send_is_not_held_up_by_a_session_that_is_backed_up() {
    let mut session = Session::start();
    let mut idle = session.visit().await;
    let mut held_up = session.visit().await;
    // As if they waited for a line that takes nothing.
    session.relay.mux.link().queued(128 * 1024 * 1024);
    held_up.visitor.write_all(b"an upload").await.unwrap();
    let ended = timeout(LONG, async {
        tokio::select! {
            biased;
            ended = &mut idle.bridge => panic!("the idle visit ended: {ended}"),
            ended = &mut held_up.bridge => ended,
        }
    });
    assert!(matches!(ended.await.unwrap(), Ended::Stalled));

    // What it may still receive reaches it.
    let greeting = idle.far.write_all(b"a greeting");
    let mut got = [0; 10];
    timeout(LONG, async {
        tokio::select! {
            ended = &mut idle.bridge => panic!("the idle visit ended: {ended}"),
            (sent, read) = async { tokio::join!(greeting, idle.visitor.read_exact(&mut got)) } => {
                sent.unwrap();
                read.unwrap();
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(&got, b"a greeting");
}

#[tokio::test]
async fn a_visit_is_completed_only_when_the_far_end_has_handed_everything_on() {
    let mut session = Session::start();
    let Visit { mut visitor, mut bridge, mut far } = session.visit().await;
    visitor.write_all(b"an upload").await.unwrap();
    visitor.shutdown().await.unwrap();
    far.shutdown().await.unwrap();

    // The visitor waits for nothing: its end is passed on at once.
    let ended = async { timeout(LONG, visitor.read_to_end(&mut Vec::new())).await.unwrap() };
    tokio::select! {
        ended = &mut bridge => panic!("ended before the upload was taken: {ended}"),
        end = ended => assert_eq!(end.unwrap(), 0),
    }
    let early = timeout(Duration::from_millis(100), &mut bridge).await;
    assert!(early.is_err(), "ended before the upload was taken: {early:?}");

    let mut got = Vec::new();
    let (ended, read) =
        timeout(LONG, async { tokio::join!(bridge, far.read_to_end(&mut got)) }).await.unwrap();
    assert_eq!((read.unwrap(), &got[..]), (9, &b"an upload"[..]));
    assert!(matches!(ended, Ended::Completed), "{ended}");
}

#[tokio::test]
async fn a_visit_whose_far_end_goes_before_it_has_handed_everything_on_is_not_completed() {
    let mut session = Session::start();
    let Visit { mut visitor, bridge, mut far } = session.visit().await;
    visitor.write_all(b"an upload").await.unwrap();
    visitor.shutdown().await.unwrap();
    far.shutdown().await.unwrap();
    let goes = async {
        timeout(LONG, visitor.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        drop(far);
    };
    let (ended, ()) = timeout(LONG, async { tokio::join!(bridge, goes) }).await.unwrap();
    assert!(matches!(ended, Ended::Stream(Broken::Lost)), "{ended}");
}

#[tokio::test]
async fn an_answer_that_is_here_in_full_survives_a_session_that_ends() {
    let mut session = Session::start();
    let Visit { mut visitor, bridge, mut far } = session.visit().await;
    visitor.shutdown().await.unwrap();
    let answer = vec![b'a'; 200_000];
    let answering = async {
        far.read_to_end(&mut Vec::new()).await.unwrap();
        far.write_all(&answer).await.unwrap();
        // Ends, and has taken all there was: it has nothing more to say.
        far.shutdown().await.unwrap();
        drop(far);
        session.client.close(CLOSE).await;
    };
    let reading = async {
        let mut got = Vec::new();
        visitor.read_to_end(&mut got).await.map(|_| got.len())
    };
    let all = async { tokio::join!(bridge, answering, reading) };
    let (ended, (), read) = timeout(LONG, all).await.unwrap();
    assert_eq!(read.unwrap(), answer.len());
    assert!(matches!(ended, Ended::Completed), "{ended}");
}

#[tokio::test]
async fn an_answer_that_waits_for_its_bandwidth_is_no_stall_and_ends_with_its_session() {
    let mut session = Session::start();
    let Visit { visitor: _visitor, mut bridge, mut far } =
        session.visit_observed_by(Limiting).await;
    far.write_all(b"an answer").await.unwrap();
    let early = timeout(PATIENCE.stall * 2, &mut bridge).await;
    assert!(early.is_err(), "ended while it waited: {early:?}");

    drop(session.client);
    let ended = timeout(LONG, bridge).await.expect("the loss to be noticed");
    assert!(matches!(ended, Ended::Stream(Broken::Lost)), "{ended}");
}

#[tokio::test]
async fn an_upload_that_waits_for_its_bandwidth_is_no_stall_and_ends_with_its_visitor() {
    let mut session = Session::start();
    let Visit { mut visitor, mut bridge, far: _far } = session.visit_observed_by(Limiting).await;
    visitor.write_all(b"an upload").await.unwrap();
    let early = timeout(PATIENCE.stall * 2, &mut bridge).await;
    assert!(early.is_err(), "ended while it waited: {early:?}");

    // With a reset.
    drop(ResetUnlessEnded::new(visitor));
    let ended = timeout(LONG, bridge).await.expect("the reset to be noticed");
    assert!(matches!(ended, Ended::Socket(_)), "{ended}");
}
