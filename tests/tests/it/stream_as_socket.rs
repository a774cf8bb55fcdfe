//! A data stream is as good as a socket: hyper speaks HTTP over it, at both ends of a session.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, TE, TRAILER, UPGRADE};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode, client, server};
use hyper_util::rt::TokioIo;
use shared::carry::mux::Running;
use shared::carry::{Carrier, Role};
use shared::visit::bridge::{Bridge, Ended, Observer};
use shared::visit::id::VisitIds;
use shared::visit::open::Open;
use shared::visit::patience::Patience;
use shared::visit::record::Abort;
use shared::visit::socket::ResetUnlessEnded;
use shared::visit::stream::{Broken, DataStream};
use tests::pattern::Pattern;
use tests::{Tasks, Wire, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Both ends of a session, and the wire between them.
struct Session {
    relay: Running,
    client: Running,
    wire: Wire,
    ids: VisitIds,
}

impl Session {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let wire = Wire::to(listener.local_addr().expect("an address")).await;
        let near = TcpStream::connect(wire.addr()).await.expect("a connection");
        let (far, _) = within("a connection", listener.accept()).await.expect("a connection");
        let relay = Running::start(Carrier::tcp(far), Role::Relay, 16);
        relay.mux.link().admit();
        Self {
            relay,
            client: Running::start(Carrier::tcp(near), Role::Client, 16),
            wire,
            ids: VisitIds::new(),
        }
    }

    /// The relay's and the client's end of a new visit. The local service has answered.
    async fn visit(&mut self) -> (DataStream, DataStream) {
        let visitor = ([127, 0, 0, 1], 1).into();
        let open = Open::new(self.ids.next(), "default".parse().expect("a name"), visitor);
        let stream = self.relay.mux.open().await.expect("a stream");
        let relay = DataStream::open(stream, open).await.expect("an open session");
        let stream = within("a stream", self.client.inbound.next()).await.expect("a stream");
        let (mut client, _) = DataStream::accept(stream).await.expect("a visit");
        client.connected().await.expect("an open session");
        (relay, client)
    }

    /// A connection of hyper's client over the relay's end, and of its server over the client's.
    async fn http(&mut self) -> Http {
        let (relay, client) = self.visit().await;
        let mut tasks = Tasks::new();
        tasks.spawn(serve(client, mpsc::channel(1).0));
        let requests = requests(relay, &mut tasks).await;
        Http { requests, tasks }
    }
}

/// HTTP over a stream.
struct Http {
    requests: SendRequest<Full<Bytes>>,
    tasks: Tasks,
}

/// Serves HTTP over `io` until its far end has no more requests.
async fn serve(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    up: mpsc::Sender<OnUpgrade>,
) {
    let answer = service_fn(|request| answer(request, up.clone()));
    let serving = server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), answer);
    serving.with_upgrades().await.expect("a good end of the server");
}

/// Makes requests over the relay's end of a stream, until nobody has one any more.
async fn requests(stream: DataStream, tasks: &mut Tasks) -> SendRequest<Full<Bytes>> {
    let handshake = client::conn::http1::handshake(TokioIo::new(stream));
    let (requests, connection) =
        within("a handshake", handshake).await.expect("a connection of HTTP");
    tasks.spawn(async move {
        if let Ok(parts) = connection.without_shutdown().await {
            parts.io.into_inner().close().await.expect("a good end of the client");
        }
    });
    requests
}

/// What the server does: sends back what came, with trailers or upgraded if asked to.
async fn answer(
    mut request: Request<Incoming>,
    upgraded: mpsc::Sender<OnUpgrade>,
) -> hyper::Result<Response<BoxBody<Bytes, Infallible>>> {
    if request.headers().contains_key(UPGRADE) {
        upgraded.send(hyper::upgrade::on(&mut request)).await.expect("a test that waits for it");
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(UPGRADE, "echo")
            .header(CONNECTION, "upgrade");
        return Ok(response.body(Full::default().boxed()).expect("a response"));
    }
    let with_trailers = request.headers().contains_key(TE);
    let body = request.into_body().collect().await?.to_bytes();
    if !with_trailers {
        return Ok(Response::new(Full::new(body).boxed()));
    }
    let length = HeaderValue::from(body.len());
    let trailers = HeaderMap::from_iter([(LENGTH, length)]);
    let frames = [Frame::data(body), Frame::trailers(trailers)].map(Ok);
    let body = StreamBody::new(futures::stream::iter(frames)).boxed();
    Ok(Response::builder().header(TRAILER, LENGTH).body(body).expect("a response"))
}

const LENGTH: HeaderName = HeaderName::from_static("x-length");

fn request(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/").header("host", "test").body(Full::new(body.into())).expect("a request")
}

#[tokio::test]
async fn a_connection_is_kept_alive_for_many_requests_of_any_size() {
    let mut session = Session::start().await;
    let mut http = session.http().await;
    for (seed, length) in [0, 1, 100, 2_000, 3_000, 100_000, 3_000_000, 10].into_iter().enumerate()
    {
        let body = Bytes::from(Pattern::new(seed).take(length));
        let response = http.requests.send_request(request(body.clone()));
        let response = within("an answer", response).await.unwrap();
        let got = within("its body", response.into_body().collect()).await.unwrap().to_bytes();
        assert!(got == body, "{} bytes instead of {length}", got.len());
        within("the connection to be ready again", http.requests.ready()).await.unwrap();
    }
    drop(http.requests);
    within("a good end at both ends", http.tasks.join()).await;
}

#[tokio::test]
async fn http_over_a_stream_reaches_a_service_behind_a_bridge() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let mut session = Session::start().await;
    let (relay, client) = session.visit().await;
    let mut tasks = Tasks::new();
    tasks.spawn(async move {
        let socket = ResetUnlessEnded::new(socket);
        let ended = Bridge::new(socket, client, PATIENT, Unobserved).await;
        assert!(matches!(ended, Ended::Completed), "{ended}");
    });
    tasks.spawn(serve(service, mpsc::channel(1).0));

    let mut requests = requests(relay, &mut tasks).await;
    for _ in 0..3 {
        let response = within("an answer", requests.send_request(request("hello"))).await.unwrap();
        let body = within("its body", response.into_body().collect()).await.unwrap().to_bytes();
        assert_eq!(body, "hello");
        within("the connection to be ready again", requests.ready()).await.unwrap();
    }
    drop(requests);
    within("a good end of all", tasks.join()).await;
}

#[tokio::test]
async fn trailers_follow_a_body() {
    let mut session = Session::start().await;
    let mut http = session.http().await;
    let mut request = request("hello");
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    let response = within("an answer", http.requests.send_request(request)).await.unwrap();
    let collected = within("its body", response.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers().and_then(|trailers| trailers.get(LENGTH)).unwrap(), "5");
    assert_eq!(collected.to_bytes(), "hello");
    drop(http.requests);
    within("a good end at both ends", http.tasks.join()).await;
}

#[tokio::test]
async fn a_connection_that_was_upgraded_carries_bytes_both_ways_until_both_ends_have_ended() {
    let mut session = Session::start().await;
    let (relay, client) = session.visit().await;
    let (upgraded, mut upgrades) = mpsc::channel(1);
    let mut tasks = Tasks::new();
    tasks.spawn(serve(client, upgraded));
    let handshake = client::conn::http1::handshake(TokioIo::new(relay));
    let (mut requests, connection) = within("a handshake", handshake).await.unwrap();
    tasks.spawn(async move {
        connection.with_upgrades().await.expect("an upgrade");
    });

    let mut request = request("");
    request.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    let response = within("an answer", requests.send_request(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let near = within("the client to be upgraded", hyper::upgrade::on(response)).await.unwrap();
    let upgrade = within("the server's side", upgrades.recv()).await.unwrap();
    let far = within("the server to be upgraded", upgrade).await.unwrap();
    let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));

    let bytes = Pattern::new(1).take(1_000_000);
    let expected = bytes.clone();
    tasks.spawn(async move {
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.expect("an end");
        far.write_all(&got).await.expect("an open stream");
        far.shutdown().await.expect("an open stream");
    });
    within("bytes to be taken", near.write_all(&bytes)).await.unwrap();
    near.shutdown().await.unwrap();
    let mut got = Vec::new();
    within("all of them back", near.read_to_end(&mut got)).await.unwrap();
    assert!(got == expected);
    within("a good end at both ends", tasks.join()).await;
}

#[tokio::test]
async fn each_end_ends_on_its_own_and_both_know_when_all_has_been_taken() {
    let mut session = Session::start().await;
    let (mut relay, mut client) = session.visit().await;
    relay.write_all(b"a question").await.unwrap();
    relay.shutdown().await.unwrap();
    let mut question = Vec::new();
    within("the question", client.read_to_end(&mut question)).await.unwrap();
    assert_eq!(question, b"a question");

    let refused = relay.write_all(b"more").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
    let answer = Pattern::new(1).take(100_000);
    client.write_all(&answer).await.unwrap();
    client.shutdown().await.unwrap();
    let mut confirmed = poll_fn(|cx| client.poll_finish(cx));
    let early = timeout(Duration::from_millis(100), &mut confirmed).await;
    assert!(early.is_err(), "confirmed although nobody has taken the answer");

    let mut got = Vec::new();
    within("the answer", relay.read_to_end(&mut got)).await.unwrap();
    assert!(got == answer);
    within("confirmation at the client", confirmed).await.unwrap();
    within("confirmation at the relay", poll_fn(|cx| relay.poll_finish(cx))).await.unwrap();
}

#[tokio::test]
async fn a_lost_session_is_an_error_for_whoever_reads_or_writes_at_either_end() {
    let mut session = Session::start().await;
    let (relay, client) = session.visit().await;
    session.wire.cut();
    for stream in [relay, client] {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let read = within("an error", reader.read_to_end(&mut Vec::new())).await.unwrap_err();
        assert_eq!(read.kind(), ErrorKind::ConnectionReset);
        assert_eq!(broken(&read), Broken::Lost);
        let write = within("an error", writer.write_all(b"more")).await.unwrap_err();
        assert_eq!(write.kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_with_the_session_is_no_whole_answer() {
    let mut session = Session::start().await;
    let (relay, mut client) = session.visit().await;
    let mut tasks = Tasks::new();
    let mut requests = requests(relay, &mut tasks).await;
    // An answer without a length: its end is the end of the connection.
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf of the ans").await.unwrap();
    let response = within("an answer", requests.send_request(request(""))).await.unwrap();
    session.wire.cut();
    within("an error", response.into_body().collect()).await.unwrap_err();
}

#[tokio::test]
async fn a_stream_that_is_dropped_or_aborted_is_a_reset_at_the_other_end() {
    let mut session = Session::start().await;
    let (mut relay, mut client) = session.visit().await;
    client.write_all(b"half of the ans").await.unwrap();
    drop(client);
    let mut got = Vec::new();
    let err = within("an error", relay.read_to_end(&mut got)).await.unwrap_err();
    assert_eq!((err.kind(), &got[..]), (ErrorKind::ConnectionReset, &b"half of the ans"[..]));
    assert_eq!(broken(&err), Broken::Lost);

    let (mut relay, mut client) = session.visit().await;
    relay.abort(Abort::Stopping);
    let err = within("an error", client.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::ConnectionReset);
    assert_eq!(broken(&err), Broken::Aborted(Abort::Stopping));
}

#[tokio::test]
async fn a_stream_that_is_closed_is_a_reset_only_if_more_comes() {
    for more in [false, true] {
        let mut session = Session::start().await;
        let (relay, mut client) = session.visit().await;
        let mut tasks = Tasks::new();
        tasks.spawn(async move {
            let closed = relay.close().await;
            assert_eq!(closed, if more { Err(Broken::Unwanted) } else { Ok(()) });
        });
        within("the end", client.read_to_end(&mut Vec::new())).await.unwrap();
        if more {
            client.write_all(b"more").await.unwrap();
            let err = within("an error", poll_fn(|cx| client.poll_broken(cx))).await;
            assert_eq!(err, Broken::Aborted(Abort::Reset));
        } else {
            within("a good end", client.close()).await.unwrap();
        }
        within("the other end as well", tasks.join()).await;
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_behind_both_ends_is_no_reset() {
    let mut session = Session::start().await;
    let (mut relay, mut client) = session.visit().await;
    relay.shutdown().await.unwrap();
    within("the end", client.read_to_end(&mut Vec::new())).await.unwrap();
    client.write_all(b"an answer").await.unwrap();
    client.shutdown().await.unwrap();
    relay.read_exact(&mut [0; 9]).await.unwrap();
    // It has taken everything, and need not look whether that was all.
    within("the end", poll_fn(|cx| relay.poll_fill(cx))).await.unwrap();
    drop(relay);
    within("confirmation", poll_fn(|cx| client.poll_finish(cx))).await.unwrap();
}

#[tokio::test]
async fn whoever_does_not_read_holds_the_writer_up_and_loses_nothing() {
    const LENGTH: usize = 8_000_000;
    let mut session = Session::start().await;
    let (mut relay, mut client) = session.visit().await;
    let mut pattern = Pattern::new(1);
    let mut sent = 0;
    let pause = Duration::from_millis(200);
    while let Ok(written) = timeout(pause, relay.write(pattern.clone().next(64 * 1024))).await {
        let written = written.unwrap();
        pattern.next(written);
        sent += written;
    }
    assert!(sent < 1_000_000, "{sent} bytes were taken that nobody has read");

    let writing = async {
        while sent < LENGTH {
            let written = relay.write(pattern.clone().next(64 * 1024)).await.unwrap();
            pattern.next(written);
            sent += written;
        }
        relay.shutdown().await.unwrap();
        sent
    };
    let reading = async {
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        Pattern::new(1).check(&got);
        got.len()
    };
    let (sent, got) = within("all of it", async { tokio::join!(writing, reading) }).await;
    assert_eq!(sent, got);
}

#[tokio::test]
async fn pieces_that_are_written_together_arrive_together() {
    let mut session = Session::start().await;
    let (mut relay, mut client) = session.visit().await;
    let all = Pattern::new(1).take(12_000);
    within("all pieces are taken", write(&mut relay, &all, &[100, 10_000, 0, 1_900])).await;
    let mut got = vec![0; all.len()];
    within("all pieces", client.read_exact(&mut got)).await.unwrap();
    assert!(got == all);
}

#[tokio::test]
async fn a_session_does_not_suffer_from_how_what_is_written_is_cut() {
    // A chunk as hyper writes it, with its length in front and the end of the line behind; what is
    // left of a body; and pieces that fill a frame but for a byte.
    for sizes in [&[6, 3000, 2][..], &[3000, 1], &[2047, 3, 1], &[1, 2049, 1, 2049, 3]] {
        let mut session = Session::start().await;
        let (mut relay, mut client) = session.visit().await;
        let mut pattern = Pattern::new(1);
        let writing = async {
            for _ in 0..3_000 {
                let piece = pattern.take(sizes.iter().sum());
                write(&mut relay, &piece, sizes).await;
            }
            relay.shutdown().await.unwrap();
        };
        let reading = async {
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            Pattern::new(1).check(&got);
            got.len()
        };
        let ((), got) = within("all of it", async { tokio::join!(writing, reading) }).await;
        assert_eq!(got, 3_000 * sizes.iter().sum::<usize>());
    }
}

/// Writes all of `bytes`, in pieces of these sizes.
async fn write(to: &mut DataStream, bytes: &[u8], sizes: &[usize]) {
    let mut rest = bytes;
    let mut pieces: Vec<_> =
        sizes.iter().map(|size| IoSlice::new(rest.split_off(..*size).expect("so many"))).collect();
    let mut pieces = pieces.as_mut_slice();
    while pieces.iter().any(|piece| !piece.is_empty()) {
        let written = to.write_vectored(pieces).await.expect("a stream that takes it");
        IoSlice::advance_slices(&mut pieces, written);
    }
}

/// Why a stream broke off, from the error that told of it.
fn broken(err: &std::io::Error) -> Broken {
    let reason = err.get_ref().and_then(|reason| reason.downcast_ref::<Broken>());
    reason.expect("an error of a stream").clone()
}

struct Unobserved;

impl Observer for Unobserved {
    fn to_stream(&mut self, _: &[u8]) {}
    fn to_socket(&mut self, _: &[u8]) {}
}

/// Longer than any test takes.
const PATIENT: Patience =
    Patience { stall: Duration::from_secs(600), half_closed: Duration::from_secs(600) };
