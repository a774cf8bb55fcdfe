//! HTTP by TLS, and TLS connections that go to the local service as they are, at one port.

use std::net::SocketAddr;

use tests::http::secure::{connect, trusts_anybody};
use tests::http::{Frames, Line, Multiplexed, Outcome, Recorder};
use tests::{Authority, Local, Peer, RunningClient, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::{APP, world_with};

/// A tunnel of requests and one of TLS connections; the service of the latter has a certificate of
/// the authority and sends back what comes.
struct Scene {
    world: World,
    client: RunningClient,
    https: SocketAddr,
    service: Recorder,
    authority: Authority,
    _database: Local,
}

impl Scene {
    async fn new() -> Self {
        let authority = Authority::new();
        let server = authority.relay("db.t.example").server_config();
        let database = Local::start(move |socket| {
            let acceptor = TlsAcceptor::from(server.clone());
            async move {
                // Visitors come and go, with TLS or without.
                let Ok(tls) = acceptor.accept(socket).await else { return };
                let (mut reader, mut writer) = tokio::io::split(tls);
                drop(tokio::io::copy(&mut reader, &mut writer).await);
                drop(writer.shutdown().await);
            }
        })
        .await;
        let service = Recorder::start().await;
        let tunnels =
            [format!("app=http://{}", service.addr()), format!("db=tls://{}", database.addr())];
        let (world, client, _) = world_with(&tunnels, |settings| {
            settings.web.https = Some("127.0.0.1:0".parse().expect("an address"));
        })
        .await;
        let https = world.addrs.https.expect("a port for TLS");
        Self { world, client, https, service, authority, _database: database }
    }

    async fn stop(self) {
        self.client.finish().await;
        self.world.stop().await;
    }
}

#[tokio::test]
async fn requests_by_tls_are_served_in_the_version_that_both_ends_speak() {
    let scene = Scene::new().await;
    for _ in 0..20 {
        let tls = connect(scene.https, APP, trusts_anybody(&["http/1.1"])).await.unwrap();
        assert_eq!(Line::over(tls).ask(APP, "/one").await.text(), "/one");
        let tls = connect(scene.https, APP, trusts_anybody(&["h2", "http/1.1"])).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(Multiplexed::over(tls).await.get(APP, "/two").await.body(), "/two");
        // Who says nothing of it may speak either.
        let tls = connect(scene.https, APP, trusts_anybody(&[])).await.unwrap();
        assert_eq!(Line::over(tls).ask(APP, "/one").await.text(), "/one");
    }
    let protos = scene.service.seen();
    assert!(protos.iter().all(|seen| seen.headers.of("x-forwarded-proto") == Some("https")));
    scene.stop().await;
}

#[tokio::test]
async fn a_request_for_another_host_than_that_of_its_connection_is_sent_elsewhere() {
    let scene = Scene::new().await;
    let tls = connect(scene.https, APP, trusts_anybody(&["http/1.1"])).await.unwrap();
    let mut line = Line::over(tls);
    for host in ["db.t.example", "other.t.example", "t.example", "evil.example"] {
        assert_eq!(line.ask(host, "/").await.status, 421, "{host}");
    }
    assert_eq!(line.ask("APP.T.EXAMPLE.:443", "/").await.status, 200);
    let tls = connect(scene.https, APP, trusts_anybody(&["h2"])).await.unwrap();
    let mut frames = Frames::over(tls, &[]).await;
    frames.get(1, "other.t.example", "/").await;
    let Outcome::Answered(421, _) = frames.outcome(1).await else { panic!("not refused") };
    frames.get(3, APP, "/").await;
    let Outcome::Answered(200, _) = frames.outcome(3).await else { panic!("not served") };
    // Who names none may ask for any.
    let mut config = trusts_anybody(&["http/1.1"]);
    config.enable_sni = false;
    let tls = connect(scene.https, APP, config).await.unwrap();
    assert_eq!(Line::over(tls).ask(APP, "/").await.status, 200);
    drop((line, frames));
    assert_eq!(scene.service.seen().len(), 3);
    scene.stop().await;
}

#[tokio::test]
async fn a_tls_connection_for_a_tunnel_without_a_client_is_reset() {
    let Scene { world, client, https, authority, .. } = Scene::new().await;
    client.finish().await;
    world.shows("no client", |m| m.value("relay_sessions") == Some(0.0)).await;
    let err = connect(https, "db.t.example", authority.client_config()).await.unwrap_err();
    assert_eq!(err.kind(), std::io::ErrorKind::ConnectionReset, "{err}");
    world.stop().await;
}

#[tokio::test]
async fn a_tls_connection_for_a_tunnel_of_its_own_is_opened_by_the_local_service_alone() {
    let scene = Scene::new().await;
    for _ in 0..20 {
        // It has a certificate of an authority that the relay has nothing of.
        let config = scene.authority.client_config();
        let mut tls = connect(scene.https, "db.t.example", config).await.unwrap();
        tls.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        tests::within("an echo", tls.read_exact(&mut echo)).await.unwrap();
        assert_eq!(&echo, b"hello");
        let web = connect(scene.https, APP, trusts_anybody(&["http/1.1"])).await.unwrap();
        assert_eq!(Line::over(web).ask(APP, "/").await.text(), "/");
    }
    let mut frames = Line::connect(scene.world.addrs.http.unwrap()).await;
    assert_eq!(frames.ask("db.t.example", "/").await.status, 404, "it is for TLS alone");
    drop(frames);
    scene.stop().await;
}

/// A socket that sends byte by byte.
struct Trickle(tokio::net::TcpStream);

impl tokio::io::AsyncRead for Trickle {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Trickle {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, &buf[..buf.len().min(1)])
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_hello_may_come_in_pieces_of_one_byte() {
    let scene = Scene::new().await;
    for (host, config) in
        [(APP, trusts_anybody(&["http/1.1"])), ("db.t.example", scene.authority.client_config())]
    {
        let socket = tokio::net::TcpStream::connect(scene.https).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let name = host.to_owned().try_into().unwrap();
        let connecting = connector.connect(name, Trickle(socket));
        let tls = tests::within("a handshake", connecting).await.unwrap();
        let mut line = Line::over(tls);
        if host == APP {
            assert_eq!(line.ask(APP, "/").await.text(), "/");
        } else {
            line.send("hello").await;
            assert_eq!(line.read(5).await.unwrap(), b"hello");
        }
    }
    scene.stop().await;
}

#[tokio::test]
async fn what_is_no_tls_is_told_so_or_let_go_and_others_are_served() {
    let scene = Scene::new().await;
    for request in
        ["GET / HTTP/1.1\r\nHost: app.t.example\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut line = Line::connect(scene.https).await;
        line.send(request).await;
        let answer = line.answer().await;
        assert_eq!((answer.status, answer.headers.of("x-relay-error")), (400, Some("not_tls")));
        line.expect_end().await;
    }
    for seed in 0..50 {
        let mut peer = Peer::connect(scene.https).await;
        let mut noise = tests::pattern::Pattern::new(seed).take(500);
        // Half of it looks like TLS at first.
        if seed % 2 == 0 {
            noise[..5].copy_from_slice(&[0x16, 3, 1, 1, 0]);
        }
        peer.send(&noise).await;
        peer.read_to_end_or_reset().await;
    }
    // One that leaves in the middle, and one of a host that nobody has.
    Peer::connect(scene.https).await.send(&[0x16, 3, 1]).await;
    drop(connect(scene.https, "nobody.t.example", trusts_anybody(&["http/1.1"])).await);
    let tls = connect(scene.https, APP, trusts_anybody(&["http/1.1"])).await.unwrap();
    assert_eq!(Line::over(tls).ask(APP, "/").await.status, 200);
    scene.stop().await;
}

#[tokio::test]
async fn an_answer_without_a_length_that_breaks_off_does_not_look_whole_by_tls() {
    let service = tests::local::played().await;
    let (world, client, _) = world_with(&super::app(service.addr()), |settings| {
        settings.web.https = Some("127.0.0.1:0".parse().expect("an address"));
    })
    .await;
    let https = world.addrs.https.unwrap();
    let tls = connect(https, APP, trusts_anybody(&["http/1.1"])).await.unwrap();
    let mut line = Line::over(tls);
    line.send(format!("GET / HTTP/1.0\r\nHost: {APP}\r\n\r\n")).await;
    let mut at_service = service.accept().await;
    at_service.expect(b"GET / HTTP/1.1\r\n").await;
    at_service.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n").await;
    assert_eq!(line.head().await.unwrap().unwrap().status, 200);
    assert_eq!(line.read(5).await.unwrap(), b"begun");
    at_service.reset();
    line.some().await.expect_err("an end that TLS does not take for one");
    drop(line);
    client.finish().await;
    world.stop().await;
}
