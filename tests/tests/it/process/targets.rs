//! What a tunnel can lead to, and how a relay can be named.

use std::path::PathBuf;

use tests::process::{Client, Program, Relay, visit};
use tests::{Peer, local};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

/// A path for a socket, which is removed again.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("sallyport-{name}-{}.sock", std::process::id())))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // There is none if the test failed early.
        drop(std::fs::remove_file(&self.0));
    }
}

#[tokio::test]
async fn a_tunnel_leads_to_a_unix_socket_and_back_with_half_closes() {
    let path = SocketPath::new("half");
    let listener = UnixListener::bind(&path.0).expect("a Unix socket");
    let relay = Relay::start(&[]).await;
    let tunnel = format!("app=unix:{}", path.0.display());
    let mut client = Client::begin(relay.control, &["--tunnel", &tunnel]);
    let mut visitor = Peer::connect(client.live("app").await).await;
    visitor.send(b"all there is to say").await;
    visitor.half_close().await;

    let (mut socket, _) = listener.accept().await.expect("a connection");
    let mut heard = String::new();
    socket.read_to_string(&mut heard).await.expect("a clean end");
    assert_eq!(heard, "all there is to say");
    socket.write_all(b"understood").await.expect("an open connection");
    drop(socket);
    assert_eq!(visitor.read_to_end().await, b"understood");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named_in_both_logs() {
    let path = SocketPath::new("missing");
    let relay = Relay::start(&[]).await;
    let cases = [
        (format!("unix:{}", path.0.display()), "No such file or directory"),
        (local::nobody().await.to_string(), "Connection refused"),
    ];
    for (visits, (local, why)) in (1..).zip(cases) {
        let client = Client::live_with(relay.control, &["--local", &local]).await;
        Peer::connect(relay.public).await.expect_reset().await;
        relay.counts(visits, "local_refused").await;
        let named = format!("the local service cannot be reached: {local}: {why}");
        client.logged(&named).await;
        relay.logged(&named).await;
    }
}

#[tokio::test]
async fn relay_and_service_can_be_named() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let server = format!("localhost:{}", relay.control.port());
    let local = format!("tcp://localhost:{}", service.addr().port());
    let mut client = Client::of(Program::client().args(["--server", &server, "--local", &local]));
    let live = client.event("live").await;
    assert_eq!(live["public"], format!("tcp://localhost:{}", relay.public.port()));
    visit(relay.public).await;
}

#[tokio::test]
async fn everything_works_over_ipv6() {
    let Ok(service) = TcpListener::bind("[::1]:0").await else {
        return; // A machine without IPv6.
    };
    let relay = Relay::start(&["--control", "[::1]:0", "--public", "[::1]:0"]).await;
    let local = service.local_addr().expect("an address").to_string();
    let args = ["--local", &local, "--tunnel", &format!("more={local}")];
    let mut client = Client::begin(relay.control, &args);
    for tunnel in ["default", "more"] {
        let public = client.live(tunnel).await;
        assert!(public.is_ipv6());
        let mut visitor = Peer::connect(public).await;
        let mut service = Peer::from(service.accept().await.expect("a connection").0);
        visitor.send(b"ping").await;
        service.expect(b"ping").await;
        service.send(b"pong").await;
        visitor.expect(b"pong").await;
    }
}

#[tokio::test]
async fn a_bare_port_is_open_for_ipv4_and_ipv6() {
    let relay = Relay::start(&["--public", "0", "--control", "0"]).await;
    let service = local::echo().await;
    let control = (std::net::Ipv4Addr::LOCALHOST, relay.control.port()).into();
    let local = service.addr().port().to_string();
    let _client = Client::live_with(control, &["--local", &local]).await;
    visit(([127, 0, 0, 1], relay.public.port()).into()).await;
    if TcpListener::bind("[::1]:0").await.is_ok() {
        visit((std::net::Ipv6Addr::LOCALHOST, relay.public.port()).into()).await;
    }
}
