//! gRPC, as real programs speak it: calls of every kind, what they end with, and how they are given
//! up. By TLS and without it.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tests::grpc::{BEFORE_IT_BREAKS, Caller, Notes, Plain, path};
use tests::http::frames::{END_STREAM, kind};
use tests::http::secure::{connect, trusts_anybody};
use tests::http::{Frames, Multiplexed};
use tests::pattern::Pattern;
use tests::{RunningClient, World, eventually, within};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use super::{APP, turn_clock, world_with};

/// Messages of a stream.
const MANY: usize = 100;

/// A time that is over soon.
const SOON: Duration = Duration::from_millis(100);

/// A relay, and a tunnel to a service that speaks gRPC.
struct Scene {
    world: World,
    client: RunningClient,
    http: SocketAddr,
    service: Notes,
}

impl Scene {
    async fn new() -> Self {
        let service = Notes::start().await;
        let tunnels = [format!("app=h2c://{}", service.addr())];
        let (world, client, http) = world_with(&tunnels, |settings| {
            settings.web.https = Some("127.0.0.1:0".parse().expect("an address"));
        })
        .await;
        Self { world, client, http, service }
    }

    /// One who calls without TLS, and one who calls by TLS.
    async fn callers(&self) -> [Caller; 2] {
        let plain = within("a connection", TcpStream::connect(self.http)).await;
        let https = self.world.addrs.https.expect("a port for TLS");
        let tls = connect(https, APP, trusts_anybody(&["h2"])).await.expect("TLS");
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        [
            Caller::over(plain.expect("a connection"), &format!("http://{APP}")).await,
            Caller::over(tls, &format!("https://{APP}")).await,
        ]
    }

    /// Waits until the service has so many calls that are not over.
    async fn has_now(&self, calls: usize) {
        eventually(&format!("{calls} calls at the service"), async || self.service.now() == calls)
            .await;
    }

    /// Nothing is left of the calls that were given up, and all came by one connection.
    async fn stop(self) {
        self.has_now(0).await;
        self.world.shows("nobody", |metrics| metrics.visitors("app") == 0.0).await;
        assert_eq!(self.service.connections(), 1);
        self.client.finish().await;
        self.world.stop().await;
    }
}

fn text(number: usize) -> Bytes {
    number.to_string().into()
}

#[tokio::test]
async fn calls_of_every_kind_are_carried_by_tls_and_without() {
    let scene = Scene::new().await;
    for caller in scene.callers().await {
        // What is larger than all windows on the way, and nothing at all.
        for length in [3 * 1024 * 1024, 0] {
            let message = Bytes::from(Pattern::new(length).take(length));
            let mut request = Request::new(message.clone());
            request.metadata_mut().insert("x-note", "as it is".parse().unwrap());
            let binary = MetadataValue::from_bytes(&[0, 255, 10, 13]);
            request.metadata_mut().insert_bin("x-note-bin", binary.clone());
            let answer = caller.ask("Same", request).await.unwrap();
            assert_eq!(answer.metadata().get("x-note").unwrap(), "as it is");
            assert_eq!(answer.metadata().get_bin("x-note-bin"), Some(&binary));
            assert!(answer.into_inner() == message, "the message is another");
        }

        let messages = stream::iter((0..MANY).map(text));
        let joining = Request::new(messages);
        let mut grpc = caller.ready().await;
        let joined = grpc.client_streaming(joining, path("Join"), Plain);
        let joined = within("an answer", joined).await.unwrap().into_inner();
        assert_eq!(joined, (0..MANY).map(text).collect::<Vec<_>>().concat());

        let mut grpc = caller.ready().await;
        let counted = grpc.server_streaming(Request::new(text(MANY)), path("Count"), Plain);
        let counted = within("an answer", counted).await.unwrap().into_inner();
        let counted: Vec<_> = within("the end", counted.map(Result::unwrap).collect()).await;
        assert!(counted.into_iter().eq((0..MANY).map(text)));

        // Each message waits for the answer to the one before it.
        let (say, said) = mpsc::channel(1);
        let mut answers = echoes(&caller, said).await.into_inner();
        for number in 0..MANY {
            say.send(text(number)).await.unwrap();
            let answer = within("an answer", answers.message()).await.unwrap();
            assert_eq!(answer, Some(text(number)));
        }
        drop(say);
        assert_eq!(within("the end", answers.message()).await.unwrap(), None);
        assert!(answers.trailers().await.unwrap().is_some());
    }
    scene.stop().await;
}

/// Begins a call of a stream each way.
async fn echoes(
    caller: &Caller,
    said: mpsc::Receiver<Bytes>,
) -> tonic::Response<tonic::Streaming<Bytes>> {
    let messages = stream::unfold(said, async |mut said| Some((said.recv().await?, said)));
    let mut grpc = caller.ready().await;
    let echoes = grpc.streaming(Request::new(messages), path("Echo"), Plain);
    within("an answer", echoes).await.expect("an answer")
}

/// Checks that a status has come with everything that belongs to it.
fn check(status: &Status, code: Code) {
    assert_eq!((status.code(), status.message()), (code, "not now: 100 % \u{fc}"));
    assert_eq!(status.details(), [0, 255]);
    assert_eq!(status.metadata().get("x-why").expect("metadata"), "because");
}

#[tokio::test]
async fn a_call_ends_with_the_status_that_the_service_gives_it() {
    let scene = Scene::new().await;
    for caller in scene.callers().await {
        check(&caller.ask("Refuse", Bytes::new()).await.unwrap_err(), Code::FailedPrecondition);
        let unknown = caller.ask("Unknown", Bytes::new()).await.unwrap_err();
        assert_eq!((unknown.code(), unknown.message()), (Code::Unimplemented, "Unknown"));
        let mut grpc = caller.ready().await;
        let broken = grpc.server_streaming(Request::new(Bytes::new()), path("Break"), Plain);
        let mut broken = within("an answer", broken).await.unwrap().into_inner();
        for number in 0..BEFORE_IT_BREAKS {
            let message = within("a message", broken.message()).await.unwrap();
            assert_eq!(message, Some(text(number)));
        }
        check(&within("a status", broken.message()).await.unwrap_err(), Code::DataLoss);
    }
    scene.stop().await;
}

/// The fields of a call.
fn fields(at: &str) -> [(&str, &str); 6] {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", APP),
        (":path", at),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
}

#[tokio::test]
async fn a_status_stands_where_the_service_puts_it() {
    let scene = Scene::new().await;
    let mut frames = Frames::connect(scene.http).await;
    let kinds = [
        // A status alone is one block of fields, and the end.
        ("/test.Notes/Refuse", vec![kind::HEADERS]),
        // One of a stream stands behind it.
        ("/test.Notes/Break", vec![kind::HEADERS, kind::DATA, kind::HEADERS]),
    ];
    for (stream, (at, expected)) in [1, 3].into_iter().zip(kinds) {
        frames.headers(stream, &fields(at), false).await;
        frames.data(stream, &[0; 5], true).await;
        let mut kinds = Vec::new();
        loop {
            let frame = frames.next_of(stream).await.expect("a frame");
            kinds.push(frame.kind);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        // How messages are cut into frames is not the service's.
        kinds.dedup();
        assert_eq!(kinds, expected, "{at}");
    }
    drop(frames);

    let visitor = Multiplexed::connect(scene.http).await;
    let request = hyper::Request::post(format!("http://{APP}/test.Notes/Refuse"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Bytes::from_static(&[0; 5]));
    let answer = visitor.ask(request.unwrap()).await;
    let header = |name| answer.headers()[name].to_str().unwrap();
    assert_eq!((answer.status().as_u16(), header("grpc-status")), (200, "9"));
    assert_eq!(header("content-type"), "application/grpc");
    // As it is written, and not as it is read.
    assert_eq!(header("grpc-message"), "not%20now:%20100%20%25%20%C3%BC");
    drop(visitor);
    scene.stop().await;
}

#[tokio::test]
async fn a_deadline_is_known_to_the_service_and_ends_the_call() {
    let scene = Scene::new().await;
    for caller in scene.callers().await {
        let mut request = Request::new(Bytes::new());
        request.set_timeout(SOON);
        let status = within("an answer", caller.ask("Deadline", request)).await.unwrap_err();
        // As the caller wrote it.
        let found = (status.code(), status.message());
        assert_eq!(found, (Code::DeadlineExceeded, "100000u"));

        // A caller waits no longer than that, whatever the service does.
        let mut request = Request::new(Bytes::new());
        request.set_timeout(SOON);
        {
            let mut waiting = pin!(caller.ask("Wait", request));
            tokio::select! {
                answer = &mut waiting => panic!("{answer:?}"),
                () = scene.has_now(1) => (),
            }
            let mut waiting = pin!(timeout(SOON, waiting));
            turn_clock(SOON).await;
            let answer = waiting.as_mut().await;
            assert!(answer.is_err(), "{answer:?}");
        }
        scene.has_now(0).await;
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_call_that_is_given_up_is_over_at_the_service_and_others_go_on() {
    let scene = Scene::new().await;
    for caller in scene.callers().await {
        let (say, said) = mpsc::channel(1);
        let mut stays = echoes(&caller, said).await.into_inner();
        scene.has_now(1).await;

        // Before its answer.
        let waiting = async { drop(caller.ask("Wait", Bytes::new()).await) };
        tokio::select! {
            () = waiting => panic!("an answer"),
            () = scene.has_now(2) => (),
        }
        scene.has_now(1).await;

        // In the middle of many messages, most of which nobody has taken.
        let mut grpc = caller.ready().await;
        let counting = Request::new(text(10_000_000));
        let counting = grpc.server_streaming(counting, path("Count"), Plain);
        let mut counted = within("an answer", counting).await.unwrap().into_inner();
        for number in 0..MANY {
            let message = within("a message", counted.message()).await.unwrap();
            assert_eq!(message, Some(text(number)));
        }
        scene.has_now(2).await;
        drop(counted);
        scene.has_now(1).await;

        say.send(text(1)).await.unwrap();
        assert_eq!(within("an answer", stays.message()).await.unwrap(), Some(text(1)));
    }
    // While the caller could say more.
    let mut frames = Frames::connect(scene.http).await;
    frames.headers(1, &fields("/test.Notes/Echo"), false).await;
    frames.data(1, b"\0\0\0\0\x01x", false).await;
    let kinds = [frames.next_of(1).await, frames.next_of(1).await];
    assert_eq!(
        kinds.map(|frame| frame.map(|frame| frame.kind)),
        [kind::HEADERS, kind::DATA].map(Some)
    );
    scene.has_now(1).await;
    frames.cancel(1).await;
    scene.has_now(0).await;
    drop(frames);
    scene.stop().await;
}
