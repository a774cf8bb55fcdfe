//! Ports that cannot be had, and addresses where no relay is.

use tests::process::{Client, Program, Relay, own_host, visit};
use tests::{eventually, local};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_relay_names_the_flag_of_a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let _listener = TcpListener::bind(&taken).await;
    for flag in ["--control", "--public", "--admin"] {
        let (status, _, log) = Program::relay().args([flag, &taken]).output().await;
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains(&format!("cannot listen on {taken}")), "{log}");
        assert!(log.contains(&format!("choose another with {flag}")), "{log}");
        assert!(log.contains("Address already in use"), "{log}");
        assert!(log.contains("is it in use?"), "{log}");
    }
    // Nobody has what is not here.
    let (status, _, log) = Program::relay().args(["--control", "192.0.2.1:1"]).output().await;
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("cannot listen on 192.0.2.1:1: choose another with --control"), "{log}");
}

/// Expects a client with these tunnels to be refused for good, with `reason`.
async fn expect_refused(relay: &Relay, args: &[&str], reason: &str) {
    let mut client = Client::begin(relay.control, args);
    assert_eq!(client.exit().await.code(), Some(1));
    client.logged(reason).await;
    let ended = client.event("ended").await;
    assert!(ended["reason"].as_str().is_some_and(|text| text.contains(reason)), "{ended}");
}

#[tokio::test]
async fn a_port_outside_the_range_ends_the_client_and_nobody_else() {
    let relay = Relay::start(&["--ports", "20000-20010"]).await;
    let service = local::echo().await;
    let _other = Client::expose(relay.control, service.addr()).await;
    let reason = "it refused: the relay does not give out port 19999: ask for one of 20000-20010 \
                  or for none";
    for reconnect in ["on-failure", "always"] {
        let args = ["--tunnel", "ssh=22?port=19999", "--reconnect", reconnect];
        expect_refused(&relay, &args, reason).await;
    }
    visit(relay.public).await;
}

#[tokio::test]
async fn a_tunnel_that_has_another_port_already_is_refused_with_that_port() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let tunnel = format!("web={}", service.addr());
    let mut first = Client::begin(relay.control, &["--tunnel", &tunnel]);
    let public = first.live("web").await;
    let (has, wants) = (public.port(), public.port() ^ 1);
    let args = ["--tunnel", &format!("web={}?port={wants}", service.addr())];
    let reason = format!("the tunnel `web` has port {has}, not {wants}: leave the port out");
    expect_refused(&relay, &args, &reason).await;
    visit(public).await;

    // The port that it has is as good as none.
    let args = ["--tunnel", &format!("web={}?port={has}", service.addr())];
    let mut second = Client::begin(relay.control, &args);
    assert_eq!(second.live("web").await, public);
}

#[tokio::test]
async fn a_port_that_is_taken_is_waited_for_if_the_client_always_reconnects() {
    let host = own_host();
    let relay = Relay::start(&["--public", &format!("{host}:0")]).await;
    let service = local::echo().await;
    let taken = TcpListener::bind((host, 0)).await.expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let tunnel = format!("web={}?port={port}", service.addr());
    let reason = format!("the relay cannot open port {port}: Address already in use");
    expect_refused(&relay, &["--tunnel", &tunnel], &reason).await;

    let mut client = Client::begin(relay.control, &["--tunnel", &tunnel, "--reconnect", "always"]);
    client.event("reconnecting").await;
    client.logged(&reason).await;
    drop(taken);
    let live = client.event("live").await;
    assert!(live["public"].as_str().is_some_and(|public| public.ends_with(&format!(":{port}"))));
    visit((host, port).into()).await;
}

#[tokio::test]
async fn a_server_that_is_no_relay_ends_the_client() {
    for service in [local::echo().await, local::speaks_first(b"SSH-2.0-OpenSSH\r\n").await] {
        let server = service.addr();
        let mut client = Client::begin(server, &[]);
        assert_eq!(client.exit().await.code(), Some(1));
        let reason =
            format!("cannot connect to the relay at {server}: the other end is no relay: ");
        client.logged(&reason).await;
    }
}

#[tokio::test]
async fn a_port_is_kept_for_a_tunnel_whose_client_is_away() {
    let relay = Relay::start(&["--hold", "1s"]).await;
    let service = local::echo().await;
    let tunnel = format!("web={}", service.addr());
    let args = ["--tunnel", &tunnel];
    let mut client = Client::begin(relay.control, &args);
    let public = client.live("web").await;
    client.kill().await;
    let mut client = Client::begin(relay.control, &args);
    assert_eq!(client.live("web").await, public);

    client.kill().await;
    relay.logged("closed: no client for too long").await;
    eventually("the port to be closed", async || tests::Peer::try_connect(public).await.is_err())
        .await;
}
