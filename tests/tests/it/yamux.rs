//! What the code relies on in the yamux crate, so that a version that does otherwise is noticed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite, Stream as _};
use parking_lot::Mutex;
use tests::raw::{ACK, DATA, FIN, Frame, GO_AWAY, PING, RST, RawPeer, SYN, WINDOW, data, header};
use tokio::io::DuplexStream;
use tokio::task::unconstrained;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, ConnectionError, DEFAULT_CREDIT, Mode, Stream};

/// A connection of the crate, and the far end of it in the hands of the test. Nothing happens but
/// when the test polls.
struct Subject {
    connection: Connection<Compat<DuplexStream>>,
    peer: RawPeer<DuplexStream>,
    inbound: Vec<Stream>,
    error: Option<ConnectionError>,
}

impl Subject {
    fn new(mode: Mode, config: Config) -> Self {
        let (near, far) = tokio::io::duplex(4 * 1024 * 1024);
        Self {
            connection: Connection::new(near.compat(), config, mode),
            peer: RawPeer::new(far),
            inbound: Vec::new(),
            error: None,
        }
    }

    fn server() -> Self {
        Self::new(Mode::Server, Config::default())
    }

    /// Does all I/O that can be done now.
    fn turn(&mut self) {
        while self.error.is_none() {
            match self.connection.poll_next_inbound(&mut noop()) {
                Poll::Ready(Some(Ok(stream))) => self.inbound.push(stream),
                Poll::Ready(Some(Err(err))) => self.error = Some(err),
                Poll::Ready(None) => self.error = Some(ConnectionError::Closed),
                Poll::Pending => return,
            }
        }
    }

    fn open(&mut self) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(&mut noop())
    }

    fn opened(&mut self) -> Stream {
        match self.open() {
            Poll::Ready(Ok(stream)) => stream,
            other => panic!("no stream but {other:?}"),
        }
    }

    /// The next frame that is no ping: those measure round trips.
    async fn frame(&mut self) -> Frame {
        self.turn();
        self.peer.expect("a frame", |frame| frame.kind != PING).await
    }

    /// Whether nothing but pings has come.
    fn is_quiet(&mut self) -> bool {
        self.turn();
        std::iter::from_fn(|| self.peer.next_now()).all(|frame| frame.kind == PING)
    }

    async fn says(&mut self, bytes: &[u8]) {
        self.peer.send(bytes).await;
        self.turn();
    }

    /// A stream that the far end has opened, with `hello` in it.
    async fn accepted(&mut self) -> Stream {
        self.says(&data(SYN, 1, b"hello")).await;
        self.inbound.pop().expect("an inbound stream")
    }
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn write(stream: &mut Stream, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
    Pin::new(stream).poll_write(&mut noop(), bytes)
}

fn read(stream: &mut Stream) -> Poll<std::io::Result<usize>> {
    Pin::new(stream).poll_read(&mut noop(), &mut [0; 1024])
}

fn is_ready_with(poll: Poll<std::io::Result<usize>>, n: usize) -> bool {
    poll.map(Result::ok) == Poll::Ready(Some(n))
}

fn with_streams(streams: usize) -> Config {
    let mut config = Config::default();
    config.set_max_connection_receive_window(None);
    config.set_max_num_streams(streams);
    config
}

#[tokio::test]
async fn a_stream_that_is_opened_is_not_announced_before_its_first_write() {
    let mut subject = Subject::server();
    let mut stream = subject.opened();
    assert!(subject.is_quiet());
    assert!(is_ready_with(write(&mut stream, b"x"), 1));
    let frame = subject.frame().await;
    assert_eq!((frame.kind, frame.flags & SYN, frame.stream), (DATA, SYN, 2));
}

#[tokio::test]
async fn two_hundred_and_fifty_six_streams_wait_for_an_acknowledgement_and_no_more() {
    let mut subject = Subject::server();
    let mut streams = Vec::new();
    for _ in 0..256 {
        streams.push(subject.opened());
    }
    assert!(subject.open().is_pending());
    for stream in &mut streams {
        assert!(is_ready_with(write(stream, b"x"), 1));
    }
    // So much I/O in one go would end the turn that tokio gives a task.
    unconstrained(async { subject.turn() }).await;
    assert!(subject.open().is_pending());
    // Any frame with ACK acknowledges one.
    subject.says(&data(ACK, 2, b"SEEN")).await;
    unconstrained(async { subject.turn() }).await;
    streams.push(subject.opened());
    assert!(subject.open().is_pending());
}

#[tokio::test]
async fn the_first_write_acknowledges_a_stream() {
    let mut subject = Subject::server();
    let mut stream = subject.accepted().await;
    assert!(subject.is_quiet());
    assert!(is_ready_with(write(&mut stream, b"SEEN"), 4));
    let frame = subject.frame().await;
    assert_eq!((frame.kind, frame.flags & ACK, &frame.body[..]), (DATA, ACK, &b"SEEN"[..]));
}

#[tokio::test]
async fn a_reset_reads_as_a_clean_end() {
    let mut subject = Subject::server();
    let mut stream = subject.accepted().await;
    assert!(is_ready_with(read(&mut stream), 5));
    subject.says(&header(DATA, RST, 1, 0)).await;
    assert!(is_ready_with(read(&mut stream), 0));
    assert!(stream.is_closed());
    assert!(matches!(write(&mut stream, b"x"), Poll::Ready(Err(_))));
}

#[tokio::test]
async fn a_session_that_ends_reads_as_a_clean_end_after_what_has_come() {
    let mut subject = Subject::server();
    let mut stream = subject.accepted().await;
    drop(subject.connection);
    assert!(is_ready_with(read(&mut stream), 5));
    assert!(is_ready_with(read(&mut stream), 0));
    assert!(stream.is_closed());
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_reset() {
    let mut subject = Subject::server();
    drop(subject.accepted().await);
    assert_eq!(subject.frame().await.flags & RST, RST);

    let mut subject = Subject::server();
    let mut stream = subject.opened();
    assert!(is_ready_with(write(&mut stream, b"x"), 1));
    subject.frame().await;
    drop(stream);
    let frame = subject.frame().await;
    assert_eq!((frame.flags & RST, frame.stream), (RST, 2));
}

#[tokio::test]
async fn a_stream_that_both_ends_have_closed_is_dropped_without_a_reset() {
    let mut subject = Subject::server();
    let mut stream = subject.accepted().await;
    assert!(Pin::new(&mut stream).poll_close(&mut noop()).is_ready());
    let frame = subject.frame().await;
    assert_eq!(frame.flags & FIN, FIN);
    subject.says(&header(DATA, FIN, 1, 0)).await;
    drop(stream);
    assert!(subject.is_quiet());
}

#[tokio::test]
async fn a_stream_that_one_end_has_closed_is_no_longer_reset_when_dropped() {
    // The reason why we send FIN only after END both ways.
    let mut subject = Subject::server();
    let mut stream = subject.accepted().await;
    assert!(Pin::new(&mut stream).poll_close(&mut noop()).is_ready());
    subject.frame().await;
    drop(stream);
    subject.turn();
    assert!(subject.is_quiet());
}

#[tokio::test]
async fn one_stream_too_many_ends_the_whole_session() {
    let mut subject = Subject::new(Mode::Server, with_streams(2));
    for id in [1, 3, 5] {
        subject.says(&data(SYN, id, b"x")).await;
    }
    let frame = subject.frame().await;
    assert_eq!((frame.kind, frame.length), (GO_AWAY, 2));
}

#[tokio::test]
async fn opening_one_stream_too_many_is_an_error_of_the_session() {
    let mut subject = Subject::new(Mode::Server, with_streams(2));
    let _streams = [subject.opened(), subject.opened()];
    let third = subject.open();
    assert!(matches!(third, Poll::Ready(Err(ConnectionError::TooManyStreams))), "{third:?}");
}

#[tokio::test]
async fn a_frame_over_the_window_is_answered_with_a_go_away_but_the_session_goes_on() {
    // The reason why the wire layer ends the session itself.
    let mut subject = Subject::server();
    let mut stream = subject.accepted().await;
    subject.says(&data(0, 1, &vec![0; 300_000])).await;
    let frame = subject.frame().await;
    assert_eq!((frame.kind, frame.length), (GO_AWAY, 1));
    assert!(subject.error.is_none());
    assert!(is_ready_with(read(&mut stream), 5));
    subject.says(&data(0, 1, b"after")).await;
    assert!(is_ready_with(read(&mut stream), 5), "the frame has vanished");
}

#[tokio::test]
async fn a_go_away_ends_running_streams_at_once() {
    let mut subject = Subject::server();
    let mut stream = subject.accepted().await;
    subject.says(&header(GO_AWAY, 0, 0, 0)).await;
    assert!(subject.error.is_some());
    assert!(is_ready_with(read(&mut stream), 5));
    assert!(is_ready_with(read(&mut stream), 0));
}

#[tokio::test]
async fn no_more_than_the_window_is_sent() {
    assert_eq!(DEFAULT_CREDIT, 256 * 1024);
    let mut subject = Subject::server();
    let mut stream = subject.opened();
    let block = vec![7; 64 * 1024];
    let mut sent = 0;
    loop {
        subject.turn();
        match write(&mut stream, &block) {
            Poll::Ready(Ok(n)) => sent += n,
            Poll::Ready(Err(err)) => panic!("{err}"),
            Poll::Pending => break,
        }
    }
    assert_eq!(sent, DEFAULT_CREDIT as usize);
    subject.says(&header(WINDOW, ACK, 2, 1000)).await;
    assert!(is_ready_with(write(&mut stream, &block), 1000));
}

#[tokio::test]
async fn a_frame_is_as_large_as_the_write_up_to_the_size_that_was_set() {
    let mut config = Config::default();
    config.set_split_send_size(64 * 1024 + 4);
    let mut subject = Subject::new(Mode::Server, config);
    let mut stream = subject.opened();
    let block = vec![7; 100_000];
    assert!(is_ready_with(write(&mut stream, &block), 64 * 1024 + 4));
    assert_eq!(subject.frame().await.length, 64 * 1024 + 4);
}

#[tokio::test]
async fn a_frame_arrives_as_one_packet() {
    let mut subject = Subject::server();
    let mut stream = subject.accepted().await;
    subject.says(&data(0, 1, &[1; 10_000])).await;
    for expected in [5, 10_000] {
        match Pin::new(&mut stream).poll_next(&mut noop()) {
            Poll::Ready(Some(Ok(packet))) => assert_eq!(packet.as_ref().len(), expected),
            other => panic!("no packet but {other:?}"),
        }
    }
}

#[tokio::test]
async fn nothing_happens_but_in_poll_next_inbound() {
    let mut subject = Subject::server();
    subject.turn();
    let mut stream = subject.opened();
    assert!(is_ready_with(write(&mut stream, b"x"), 1));
    drop(subject.open());
    assert!(std::iter::from_fn(|| subject.peer.next_now()).all(|frame| frame.kind == PING));
    assert_eq!(subject.frame().await.kind, DATA);
}

#[tokio::test]
async fn closing_sends_what_is_queued_and_a_go_away() {
    let mut subject = Subject::server();
    let mut stream = subject.opened();
    assert!(is_ready_with(write(&mut stream, b"goodbye"), 7));
    assert!(subject.connection.poll_close(&mut noop()).is_ready());
    let next = subject.peer.expect("the data", |frame| frame.kind == DATA).await;
    assert_eq!(next.body, b"goodbye");
    let last = subject.peer.expect("a go-away", |frame| frame.kind == GO_AWAY).await;
    assert_eq!(last.length, 0);
}

#[test]
#[should_panic(expected = "max_connection_receive_window")]
fn windows_smaller_than_the_streams_need_are_a_panic() {
    let mut config = Config::default();
    config.set_max_connection_receive_window(None);
    config.set_max_num_streams(1000);
    config.set_max_connection_receive_window(Some(999 * DEFAULT_CREDIT as usize));
}

/// What the crate does to its socket, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Wrote(usize),
    Flushed,
    Read,
    WaitsToRead,
}

/// A socket that notes what is done to it.
struct Noting {
    io: Compat<DuplexStream>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_read(cx, buf);
        self.calls.lock().push(if poll.is_ready() { Call::Read } else { Call::WaitsToRead });
        poll
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, buf);
        self.calls.lock().push(Call::Wrote(buf.len()));
        poll
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.calls.lock().push(Call::Flushed);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_frame_is_written_as_a_header_and_a_body_and_reading_comes_last() {
    // The wire layer finds the frames by it, and sends what it has collected when reading begins.
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let mut peer = RawPeer::new(far);
    let calls = Arc::<Mutex<Vec<Call>>>::default();
    let io = Noting { io: near.compat(), calls: Arc::clone(&calls) };
    let mut connection = Connection::new(io, Config::default(), Mode::Server);
    let turn = |connection: &mut Connection<Noting>| {
        let poll = connection.poll_next_inbound(&mut noop());
        assert!(poll.is_pending(), "{poll:?}");
        std::mem::take(&mut *calls.lock())
    };
    assert_eq!(turn(&mut connection).last(), Some(&Call::WaitsToRead));

    let Poll::Ready(Ok(mut stream)) = connection.poll_new_outbound(&mut noop()) else {
        panic!("no stream");
    };
    for body in [1, 100, 10_000] {
        assert!(is_ready_with(write(&mut stream, &vec![7; body]), body));
        let calls = turn(&mut connection);
        let writes = calls.iter().filter(|call| matches!(call, Call::Wrote(_)));
        assert!(writes.eq(&[Call::Wrote(12), Call::Wrote(body)]), "{calls:?}");
        assert_eq!(calls.last(), Some(&Call::WaitsToRead), "{calls:?}");
    }
    // So it is when it answers something: here with a reset of a stream that it does not know.
    peer.send(&data(0, 77, b"who?")).await;
    assert_eq!(turn(&mut connection).last(), Some(&Call::WaitsToRead));
}
