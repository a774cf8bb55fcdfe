//! Whole sessions: how their streams end, and how they close.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, advance, interval, timeout};

use super::mux::{MuxStream, Running};
use super::{Carrier, Role};

mod heaviest;

/// As many bytes as the first window of a stream has room for.
const MUCH: usize = 256 * 1024;

const GRACE: Duration = Duration::from_secs(30);

fn over(pipe: DuplexStream, role: Role) -> Running {
    Running::start(std::future::ready(Ok(pipe)), role, 16)
}

/// Puts [`MUCH`] on a new stream.
async fn fill(session: &Running) {
    let mut stream = session.mux.open().await.unwrap();
    stream.io.write_all(&vec![7; MUCH]).await.unwrap();
    stream.io.close().await.unwrap();
}

/// How many sevens there are.
fn payload(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == 7).count()
}

/// Both ends of a session, and of a stream in it.
async fn stream() -> ([Running; 2], [MuxStream; 2]) {
    let (near, far) = tokio::io::duplex(MUCH);
    let (relay, mut client) = (over(near, Role::Relay), over(far, Role::Client));
    relay.mux.link().admit();
    let mut near = relay.mux.open().await.unwrap();
    near.io.write_all(b"hello").await.unwrap();
    let mut far = client.inbound.next().await.unwrap();
    far.io.read_exact(&mut [0; 5]).await.unwrap();
    ([relay, client], [near, far])
}

async fn finish(stream: &mut MuxStream) {
    stream.held.finishing(true);
    stream.io.close().await.unwrap();
}

/// Waits until the stream is reset.
async fn reset(stream: &MuxStream) {
    let reset = poll_fn(|cx| stream.held.poll_reset(cx));
    timeout(GRACE, reset).await.expect("the stream to be reset");
}

/// Waits for the far end's word, whatever it is.
async fn last_word(stream: &mut MuxStream) {
    assert_eq!(stream.io.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stream_that_both_ends_finish_was_not_reset() {
    let (_sessions, [mut near, mut far]) = stream().await;
    finish(&mut near).await;
    last_word(&mut far).await;
    assert!(far.held.peer_finished());
    finish(&mut far).await;
    last_word(&mut near).await;
    assert!(near.held.peer_finished());
    assert!(poll_fn(|cx| Poll::Ready(near.held.poll_reset(cx))).await.is_pending());
}

#[tokio::test]
async fn a_stream_that_is_dropped_behind_the_far_ends_fin_does_not_look_finished() {
    let (_sessions, [mut near, mut far]) = stream().await;
    finish(&mut near).await;
    last_word(&mut far).await;
    drop(far);
    reset(&near).await;
    assert!(!near.held.peer_finished());
}

#[tokio::test]
async fn a_session_that_is_lost_resets_its_streams_and_finishes_none() {
    let ([relay, client], [near, far]) = stream().await;
    drop(relay);
    reset(&near).await;
    reset(&far).await;
    assert!(!near.held.peer_finished() && !far.held.peer_finished());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn closing_takes_as_long_as_the_grace_allows_and_loses_nothing() {
    let (near, mut far) = tokio::io::duplex(4096);
    let mut session = over(near, Role::Relay);
    fill(&session).await;
    let read = async {
        advance(GRACE / 2).await;
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        drop(far);
        got
    };
    let (taken, got) = tokio::join!(session.close(GRACE), read);
    assert!(taken);
    assert_eq!(payload(&got), MUCH);
}

#[tokio::test(start_paused = true)]
async fn two_ends_that_close_at_the_same_moment_do_not_wait_for_each_other() {
    let (near, far) = tokio::io::duplex(4096);
    let (mut relay, mut client) = (over(near, Role::Relay), over(far, Role::Client));
    tokio::join!(fill(&relay), fill(&client));
    let begin = Instant::now();
    let taken = tokio::join!(relay.close(GRACE), client.close(GRACE));
    assert_eq!(taken, (true, true));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_cut_off_when_the_grace_is_over() {
    let (near, _far) = tokio::io::duplex(4096);
    let mut session = over(near, Role::Relay);
    fill(&session).await;
    let begin = Instant::now();
    assert!(!session.close(GRACE).await);
    assert_eq!(begin.elapsed().as_secs(), GRACE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_stops_sending_gets_everything_and_is_cut_off() {
    let (near, far) = tokio::io::duplex(4096);
    let mut session = over(near, Role::Relay);
    fill(&session).await;
    let (mut from, mut to) = tokio::io::split(far);
    let mut beats = interval(Duration::from_millis(10));
    let chatter = async {
        // Until it is cut off.
        while to.write_all(&[0; 12]).await.is_ok() {
            beats.tick().await;
        }
    };
    let mut got = Vec::new();
    let (taken, (), read) = tokio::join!(session.close(GRACE), chatter, from.read_to_end(&mut got));
    read.unwrap();
    assert!(!taken);
    assert_eq!(payload(&got), MUCH);
}

#[tokio::test]
async fn what_the_peer_has_sent_and_nobody_has_read_costs_it_nothing() {
    // A kernel answers such a close with a reset, and throws away what it has yet to send.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    let mut session = Running::start(Carrier::tcp(near), Role::Relay, 16);
    for _ in 0..16 {
        fill(&session).await;
    }
    let (mut from, mut to) = far.into_split();
    let chatter = async move {
        while to.write_all(&[0; 1200]).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let peer = async move {
        let mut got = Vec::new();
        tokio::select! {
            read = from.read_to_end(&mut got) => read.map(|_| got),
            () = chatter => panic!("cut off"),
        }
        // It closes, both halves being dropped.
    };
    let (taken, read) = tokio::join!(session.close(GRACE), peer);
    assert!(taken, "the peer has closed too");
    assert_eq!(payload(&read.unwrap()), 16 * MUCH);
}

#[tokio::test]
async fn a_carrier_that_fails_ends_the_session_with_its_reason() {
    let refused = || std::io::Error::other("no certificate");
    let carrier = async move { Err::<DuplexStream, _>(refused()) };
    let mut session = Running::start(carrier, Role::Relay, 16);
    assert!(session.inbound.next().await.is_none());
    let end = session.driver.join_next().await.unwrap().unwrap();
    assert!(end.to_string().contains("no certificate"), "{end}");
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_carrier_is_not_ready_closes_at_once() {
    let carrier = std::future::pending::<std::io::Result<DuplexStream>>();
    let mut session = Running::start(carrier, Role::Relay, 16);
    assert!(session.close(GRACE).await);
}
