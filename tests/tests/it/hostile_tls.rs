//! Strangers at the control port who speak TLS, or look like it. Clients get in all the same.

use std::time::Duration;

use tests::raw::RawPeer;
use tests::{Peer, Secured, Tasks, World, local, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::interval;

/// Whether a client gets in, and its visitors through.
async fn a_client_gets_in(world: &World) {
    let service = local::echo().await;
    let client = world.client(service.addr()).await;
    Peer::connect(client.public(0)).await.expect_echo(b"as ever").await;
    client.finish().await;
}

/// Waits until so many TLS handshakes have ended in this way.
async fn handshakes(world: &World, outcome: &str, expected: usize) {
    let what = format!("{expected} TLS handshakes that are {outcome}");
    world.shows(&what, |metrics| metrics.tls_handshakes(outcome) == expected as f64).await;
}

/// A `ClientHello` of TLS 1.1, which knows nothing of later versions.
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend_from_slice(&[7; 32]);
    // No session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend_from_slice(&[0, 0, 2, 0, 0x2f, 1, 0]);
    let mut message = vec![1, 0, 0, hello.len() as u8];
    message.extend_from_slice(&hello);
    let mut record = vec![0x16, 3, 1, 0, message.len() as u8];
    record.extend_from_slice(&message);
    record
}

#[tokio::test]
async fn tls_1_1_is_refused_with_an_alert() {
    let secured = Secured::new();
    let world = World::start_secured(&secured).await;
    let mut stranger = Peer::connect(world.addrs.control).await;
    stranger.send(&hello_of_tls_1_1()).await;
    let alert = stranger.read_to_end().await;
    // Fatal: handshake_failure, since it lacks more than a new version.
    assert_eq!((alert[0], &alert[alert.len() - 2..]), (0x15, &[2, 40][..]), "{alert:?}");
    handshakes(&world, "failed", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_request_of_http_is_told_where_it_has_come_to() {
    let world = World::start().await;
    for request in
        ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST /x HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n"]
    {
        let mut stranger = Peer::connect(world.addrs.control).await;
        stranger.send(request.as_bytes()).await;
        stranger.half_close().await;
        let answer = String::from_utf8(stranger.read_to_end().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("control port of a Sallyport relay"), "{answer}");
    }
    a_client_gets_in(&world).await;
    assert_eq!(world.metrics().await.handshakes("invalid"), 3.0);
    world.stop().await;
}

#[tokio::test]
async fn what_only_begins_like_tls_ends_at_once() {
    let secured = Secured::new();
    let world = World::start_secured(&secured).await;
    for seed in 0..20 {
        let mut stranger = RawPeer::connect(world.addrs.control).await;
        let mut noise = tests::pattern::Pattern::new(seed).take(2000);
        noise[0] = 0x16;
        // Whoever is cut off while it speaks has been understood.
        drop(stranger.try_send(&noise).await);
        stranger.hang_up().await;
    }
    handshakes(&world, "failed", 20).await;
    a_client_gets_in(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_stranger_who_talks_for_too_long_in_the_handshake_is_cut_off() {
    let secured = Secured::new();
    let world = World::start_secured(&secured).await;
    let mut stranger = RawPeer::connect(world.addrs.control).await;
    // The beginning of a ClientHello of 16 MB, in records as long as may be.
    let mut record = vec![0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    record.resize(5 + 0x4000, 7);
    for _ in 0..4 {
        drop(stranger.try_send(&record).await);
    }
    stranger.hang_up().await;
    handshakes(&world, "failed", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn handshakes_that_never_end_keep_no_client_out() {
    let secured = Secured::new();
    let world = World::start_secured(&secured).await;
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut stranger = TcpStream::connect(world.addrs.control).await.unwrap();
        stranger.write_all(&hello_of_tls_1_1()[..6]).await.unwrap();
        slow.push(stranger);
    }
    let mut trickle = Tasks::new();
    for mut stranger in slow {
        trickle.spawn(async move {
            let mut beats = interval(Duration::from_secs(1));
            for byte in hello_of_tls_1_1().into_iter().skip(6) {
                beats.tick().await;
                if stranger.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
        });
    }
    a_client_gets_in(&world).await;
    // They have as long as everybody for all of it, and not a byte longer.
    handshakes(&world, "given_up", 300).await;
    drop(trickle);
    world.stop().await;
}

#[tokio::test]
async fn tls_handshakes_that_make_room_for_newer_ones_are_failures() {
    let secured = Secured::new();
    let world = World::start_with(|settings| {
        settings.tls = secured.relay_tls();
        settings.limits.max_handshakes = Some(4);
        settings.limits.penalise_after = Some(5);
    })
    .await;
    // What has said nothing yet may have to make room, and has cost nothing.
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(world.addrs.control).await.unwrap());
    }
    world.shows("six that made room", |m| m.handshakes("evicted") == 6.0).await;
    let mut begun = Vec::new();
    for count in 7..=16 {
        let mut stranger = TcpStream::connect(world.addrs.control).await.unwrap();
        stranger.write_all(&hello_of_tls_1_1()[..6]).await.unwrap();
        begun.push(stranger);
        let what = format!("{count} that made room");
        world.shows(&what, |m| m.handshakes("evicted") == f64::from(count)).await;
    }
    // The silent ones went first, and then six of these: one more than is free.
    handshakes(&world, "given_up", 6).await;
    assert_eq!(world.metrics().await.handshakes("penalised"), 0.0);
    Peer::connect(world.addrs.control).await.read_to_end_or_reset().await;
    world.shows("a penalty", |m| m.handshakes("penalised") == 1.0).await;
    world.stop().await;
}

/// Whoever has seen all that a client sent cannot be that client.
#[tokio::test]
async fn what_a_client_has_sent_is_worth_nothing_to_somebody_else() {
    let secured = Secured::new();
    let mut world = World::start_secured(&secured).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let control = world.addrs.control;
    let (send, said) = tokio::sync::oneshot::channel();
    let mut tap = Tasks::new();
    tap.spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(control).await.unwrap();
        let (mut heard, mut buf, mut back) = (Vec::new(), [0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                n = near.read(&mut buf) => match n {
                    Ok(n) if n > 0 => {
                        heard.extend_from_slice(&buf[..n]);
                        far.write_all(&buf[..n]).await.unwrap();
                    }
                    _ => break,
                },
                n = far.read(&mut back) => match n {
                    Ok(n) if n > 0 => near.write_all(&back[..n]).await.unwrap(),
                    _ => break,
                },
            }
        }
        drop(send.send(heard));
    });
    let service = local::echo().await;
    let mut settings = world.config(&[format!("default={}", service.addr())]);
    settings.server.port = address.port();
    let mut client = tests::RunningClient::start(settings);
    client.live().await;
    client.finish().await;
    let said = within("all that the client said", said).await.unwrap();
    assert!(said.len() > 500, "{}", said.len());

    let mut replay = Peer::connect(control).await;
    replay.send(&said).await;
    replay.half_close().await;
    replay.read_to_end_or_reset().await;
    handshakes(&world, "failed", 1).await;
    let metrics = world.metrics().await;
    assert_eq!((metrics.handshakes("accepted"), metrics.tls_handshakes("full")), (1.0, 1.0));
    world.expose(service.addr()).await;
    world.stop().await;
}
