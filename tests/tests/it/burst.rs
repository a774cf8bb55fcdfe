//! Many visits that send at once over a line that takes little or nothing.

use std::future::{poll_fn, ready};
use std::io::ErrorKind;
use std::task::Poll;
use std::time::Duration;

use shared::carry::Role;
use shared::carry::mux::Running;
use shared::visit::bridge::{Bridge, Observer};
use shared::visit::id::VisitIds;
use shared::visit::open::Open;
use shared::visit::patience::Patience;
use shared::visit::record::{HEADER, Record};
use shared::visit::socket::ResetUnlessEnded;
use shared::visit::stream::{Chunk, DataStream};
use tests::raw::RawPeer;
use tests::{Tasks, eventually, within};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

const UPLOADS: usize = 100;
const UPLOAD: usize = 100_000;

/// So much may come before something that does not wait in line. All uploads together are ten
/// times as much, and a piece of each is almost twice as much.
const NOT_IN_LINE: usize = 1_000_000;

/// The largest piece that goes past the line. Whoever sends one waits in line with the next.
const PIECE: usize = 2 * 1024;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A relay's session of whose line nothing is known, and which takes nothing for now. A hundred
/// uploads cannot go on any more.
struct Crowd {
    relay: Running,
    peer: RawPeer<DuplexStream>,
    ids: VisitIds,
    uploads: Tasks,
}

impl Crowd {
    async fn gather() -> Self {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let relay = Running::start(ready(Ok(near)), Role::Relay, 2 * UPLOADS);
        relay.mux.link().admit();
        let peer = RawPeer::new(far);
        let mut crowd = Self { relay, peer, ids: VisitIds::new(), uploads: Tasks::new() };
        for _ in 0..UPLOADS {
            let mut stream = crowd.visit().await;
            crowd.uploads.spawn(async move { upload(&mut stream, UPLOAD).await });
        }
        crowd.settle().await;
        crowd
    }

    async fn visit(&self) -> DataStream {
        let name = "default".parse().expect("a name");
        let open = Open::new(self.ids.next(), name, ([127, 0, 0, 1], 1).into());
        let stream = within("a stream", self.relay.mux.open()).await.expect("a session");
        DataStream::open(stream, open).await.expect("a session")
    }

    /// Waits until nobody can send any more.
    async fn settle(&self) {
        let mut before = 0;
        eventually("everybody to stand still", async || {
            let waiting = self.relay.mux.link().waiting();
            std::mem::replace(&mut before, waiting) == waiting && waiting > 0
        })
        .await;
    }
}

#[tokio::test]
async fn a_small_request_does_not_wait_for_the_whole_burst_of_uploads_that_it_comes_with() {
    let mut crowd = Crowd::gather().await;
    let mut request = crowd.visit().await;
    within("room for a request", upload(&mut request, 100)).await;

    let mut ahead = 0;
    crowd
        .peer
        .expect("the request", |frame| {
            ahead += frame.body.len();
            frame.stream as usize == 2 * UPLOADS + 2 && frame.body.ends_with(b"xxx")
        })
        .await;
    assert!(ahead < NOT_IN_LINE, "{ahead} bytes came before it");

    // All of the uploads come in the end.
    let mut rest = UPLOADS * UPLOAD;
    rest -= ahead.min(rest);
    crowd
        .peer
        .expect("the uploads", |frame| {
            rest = rest.saturating_sub(frame.body.len());
            rest == 0
        })
        .await;
    within("the uploads to be over", crowd.uploads.join()).await;
}

#[tokio::test]
async fn a_visitor_who_has_sent_all_does_not_wait_in_line_to_say_so() {
    let crowd = Crowd::gather().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut visitor = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let stream = crowd.visit().await;
    crowd.settle().await;
    let before = crowd.relay.mux.link().waiting();
    visitor.write_all(&[b'y'; PIECE]).await.unwrap();
    let patience = Patience { stall: DAY, half_closed: DAY };
    let socket = ResetUnlessEnded::new(socket);
    let bridge = Bridge::new(socket, stream, patience, Unobserved);
    let mut tasks = Tasks::new();
    tasks.spawn(async move { drop(bridge.await) });
    visitor.shutdown().await.unwrap();

    // The line takes nothing, and none of the uploads gets in.
    let all = HEADER + PIECE + Record::End.encode().len();
    eventually("the end to be on its way", async || {
        crowd.relay.mux.link().waiting() == before + all as u64
    })
    .await;
}

#[tokio::test]
async fn whoever_waits_for_room_learns_that_the_session_is_lost() {
    let crowd = Crowd::gather().await;
    let (_reader, mut writer) = tokio::io::split(crowd.visit().await);
    let mut tasks = Tasks::new();
    // It never gets in with all of that.
    tasks.spawn(async move {
        let err = writer.write_all(&[b'y'; UPLOAD]).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::ConnectionReset);
    });
    crowd.settle().await;
    drop(crowd.peer);
    within("an error", tasks.join()).await;
}

struct Unobserved;

impl Observer for Unobserved {
    fn to_stream(&mut self, _: &[u8]) {}
    fn to_socket(&mut self, _: &[u8]) {}
}

/// Sends `length` bytes as a bridge does.
async fn upload(stream: &mut DataStream, length: usize) {
    let (mut chunk, mut rest) = (Chunk::new(), length);
    while rest > 0 {
        poll_fn(|cx| stream.poll_ready(cx)).await.expect("an open stream");
        poll_fn(|cx| stream.poll_room(cx)).await;
        let n = rest.min(stream.chunk());
        chunk.payload(n).fill(b'x');
        poll_fn(|cx| Poll::Ready(stream.start_send(cx, &mut chunk, n)))
            .await
            .expect("an open stream");
        rest -= n;
    }
    poll_fn(|cx| stream.poll_ready(cx)).await.expect("an open stream");
}
