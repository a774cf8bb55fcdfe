//! Local services that speak TLS themselves: `https://HOST:PORT`.

use std::sync::Arc;

use rustls::ServerConfig;
use shared::visit::id::VisitIds;
use shared::visit::open::Open;
use shared::visit::stream::DataStream;
use tests::pattern::Pattern;
use tests::process::Client;
use tests::rogue::{RogueRelay, RogueSession};
use tests::{Authority, Folder, Identity, Local, local, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a web server has to say that it speaks.
const ALPN: &[u8] = b"http/1.1";

/// A server that shows `identity`, speaks HTTP alone and serves each connection by `handle`.
async fn server<F>(
    identity: &Identity,
    handle: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
) -> Local
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut config = ServerConfig::clone(&identity.server_config());
    config.alpn_protocols = vec![ALPN.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Local::start(move |socket| {
        let (accept, handle) = (acceptor.accept(socket), handle.clone());
        async move {
            // A client that does not trust it goes away.
            let Ok(stream) = accept.await else { return };
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(ALPN));
            handle(stream).await;
        }
    })
    .await
}

/// Sends back what comes until that ends, then says that this was all.
async fn echo(stream: TlsStream<TcpStream>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    // A test that ends takes the connection away.
    if tokio::io::copy(&mut reader, &mut writer).await.is_ok() {
        drop(writer.shutdown().await);
    }
}

/// A client whose tunnel `web` leads to `target`, and its session.
async fn client_of(relay: &RogueRelay, target: &str) -> (Client, RogueSession) {
    let client = Client::begin(relay.addr(), &["--tunnel", &format!("web={target}")]);
    (client, relay.welcomed().await)
}

/// A visit, before the local service has answered.
async fn visit(session: &RogueSession, pooled: bool) -> DataStream {
    let visitor = ([127, 0, 0, 1], 1).into();
    let mut open = Open::new(VisitIds::new().next(), "web".parse().expect("a name"), visitor);
    open.pooled = pooled;
    let stream = within("a stream", session.mux.open()).await.expect("a session");
    DataStream::open(stream, open).await.expect("a session")
}

async fn read_to_end(stream: &mut DataStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    within("an end", stream.read_to_end(&mut all)).await.map(|_| all)
}

/// An authority in a file, and what it has issued for `localhost`.
struct Issued {
    folder: Folder,
    authority: Authority,
    identity: Identity,
}

impl Issued {
    fn new() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        folder.write("ca.pem", &authority.pem());
        let identity = authority.relay("localhost");
        Self { folder, authority, identity }
    }

    /// A tunnel's target on this machine that trusts the authority.
    fn target(&self, service: &Local) -> String {
        let ca = self.folder.file("ca.pem");
        format!("https://localhost:{}?ca={}", service.addr().port(), ca.display())
    }
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_end_arrives() {
    let issued = Issued::new();
    let service = server(&issued.identity, echo).await;
    let relay = RogueRelay::start().await;
    let (_client, session) = client_of(&relay, &issued.target(&service)).await;
    for _ in 0..3 {
        let mut stream = visit(&session, false).await;
        stream.write_all(b"all there is to say").await.expect("a session");
        stream.shutdown().await.expect("a session");
        assert_eq!(read_to_end(&mut stream).await.unwrap(), b"all there is to say");
    }
}

#[tokio::test]
async fn much_goes_both_ways_at_once() {
    const MUCH: usize = 4 * 1024 * 1024;
    let issued = Issued::new();
    let service = server(&issued.identity, echo).await;
    let relay = RogueRelay::start().await;
    let (_client, session) = client_of(&relay, &issued.target(&service)).await;
    let stream = visit(&session, false).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = async {
        let (mut pattern, mut left) = (Pattern::new(1), MUCH);
        while left > 0 {
            let piece = pattern.next(left.min(64 * 1024));
            writer.write_all(piece).await.expect("a session");
            left -= piece.len();
        }
        writer.shutdown().await.expect("a session");
    };
    let receiving = async {
        let (mut pattern, mut total, mut buffer) = (Pattern::new(1), 0, vec![0; 64 * 1024]);
        loop {
            match reader.read(&mut buffer).await.expect("bytes") {
                0 => return total,
                n => {
                    pattern.check(&buffer[..n]);
                    total += n;
                }
            }
        }
    };
    let (_, received) = within("all bytes", async { tokio::join!(sending, receiving) }).await;
    assert_eq!(received, MUCH);
}

#[tokio::test]
async fn a_service_that_goes_without_a_word_has_not_said_everything() {
    let issued = Issued::new();
    let service = server(&issued.identity, async |mut stream: TlsStream<TcpStream>| {
        stream.write_all(b"half an ans").await.expect("a connection");
        stream.flush().await.expect("a connection");
    })
    .await;
    let relay = RogueRelay::start().await;
    let (client, session) = client_of(&relay, &issued.target(&service)).await;
    let mut stream = visit(&session, false).await;
    let err = read_to_end(&mut stream).await.expect_err("a reset");
    assert_eq!(err.kind(), std::io::ErrorKind::ConnectionReset, "{err}");
    client.logged("the local service has gone without closing TLS").await;
}

#[tokio::test]
async fn a_connection_for_requests_is_nobodys_visit() {
    let issued = Issued::new();
    let service = server(&issued.identity, echo).await;
    let relay = RogueRelay::start().await;
    let tunnel = format!("web={}", issued.target(&service));
    let args = ["--tunnel", &tunnel, "--log", "debug"];
    let client = Client::begin(relay.addr(), &args);
    let session = relay.welcomed().await;
    let mut pooled = visit(&session, true).await;
    pooled.shutdown().await.expect("a session");
    assert_eq!(read_to_end(&mut pooled).await.unwrap(), b"");
    pooled.close().await.expect("a good end");
    client.logged("a connection for requests has come").await;
    client.logged("a connection for requests is over: completed").await;
    let lines = client.stderr.as_json();
    assert!(lines.iter().all(|line| !line.to_string().contains("visitor arrived")), "{lines:?}");
}

#[tokio::test]
async fn who_is_not_trusted_gets_no_visitors_and_the_log_says_what_to_do() {
    let issued = Issued::new();
    let ca = issued.folder.file("ca.pem");
    let ca = ca.display();
    let good = server(&issued.identity, echo).await;
    let elsewhere = server(&issued.authority.relay("elsewhere.example"), echo).await;
    let expired = server(&issued.authority.issue_expired(), echo).await;
    let plain = local::speaks_first(b"220 no TLS here\r\n").await;
    let port = |service: &Local| service.addr().port();
    let cases = [
        (format!("https://localhost:{}", port(&good)), "name that by ca=FILE"),
        (
            format!("https://localhost:{}?ca={ca}", port(&elsewhere)),
            "its certificate is not for localhost",
        ),
        (format!("https://127.0.0.1:{}?ca={ca}", port(&expired)), "its certificate is not trusted"),
        (format!("https://localhost:{}?ca={ca}", port(&plain)), "it does not speak TLS"),
    ];
    let relay = RogueRelay::start().await;
    for (target, reason) in cases {
        let (client, session) = client_of(&relay, &target).await;
        let err = read_to_end(&mut visit(&session, false).await).await.expect_err("no service");
        assert!(err.to_string().contains(reason), "{target}: {err}");
        client.logged(reason).await;
    }
    for service in [&good, &elsewhere, &expired] {
        let target = format!("https://localhost:{}?verify=off", port(service));
        let (_client, session) = client_of(&relay, &target).await;
        let mut stream = visit(&session, false).await;
        stream.write_all(b"whoever").await.expect("a session");
        stream.shutdown().await.expect("a session");
        assert_eq!(read_to_end(&mut stream).await.unwrap(), b"whoever");
    }
}

#[tokio::test]
async fn a_service_with_tls_is_watched_with_the_same_trust() {
    let issued = Issued::new();
    let service = server(&issued.identity, async |mut stream: TlsStream<TcpStream>| {
        let mut request = [0; 1024];
        let read = stream.read(&mut request).await.unwrap_or_default();
        let is_it = request[..read].starts_with(b"GET /up HTTP/1.1\r\n");
        let answer: &[u8] =
            if is_it { b"HTTP/1.1 204 Up\r\n\r\n" } else { b"HTTP/1.1 404 No\r\n\r\n" };
        if stream.write_all(answer).await.is_ok() {
            drop(stream.shutdown().await);
        }
    })
    .await;
    let port = service.addr().port();
    let watched = |target: &str, path: &str| {
        format!(
            "{target}&check=https://localhost:{port}{path}&check-interval=50ms&check-failures=1"
        )
    };
    let trusting = issued.target(&service);
    let stranger = format!("https://localhost:{port}?path=/");
    let relay = RogueRelay::start().await;
    for (target, reason) in [
        (watched(&trusting, "/down"), "the answer is 404"),
        (watched(&stranger, "/up"), "its certificate is not of an authority"),
    ] {
        let (client, _session) = client_of(&relay, &target).await;
        client.logged("the local service is not healthy").await;
        client.logged(reason).await;
    }
    let tunnel = watched(&trusting, "/up");
    let (client, session) = client_of(&relay, &tunnel).await;
    // It has been looked at by then: the client begins with that.
    let mut stream = visit(&session, false).await;
    stream.write_all(b"GET /up HTTP/1.1\r\n").await.expect("a session");
    assert!(read_to_end(&mut stream).await.unwrap().starts_with(b"HTTP/1.1 204"));
    let lines = client.stderr.as_json();
    assert!(lines.iter().all(|line| !line.to_string().contains("not healthy")), "{lines:?}");
}
