//! The public ports of tunnels: asked for, refused, kept and given back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tests::{Peer, RunningClient, World, eventually, local, scrape};

/// A port that nobody uses just now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// What a client of these tunnels is refused with.
async fn refusal(world: &World, tunnels: &[String]) -> String {
    let client = RunningClient::start(world.config(tunnels));
    format!("{:#}", client.ended().await.expect_err("a refusal"))
}

#[tokio::test]
async fn a_tunnel_gets_the_port_that_it_asks_for() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let port = free_port();
    let public = world.expose_all(&[format!("web={}?port={port}", service.addr())]).await[0];

    assert_eq!(public.port(), port);
    Peer::connect(public).await.expect_echo(b"here").await;
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_without_a_wish_gets_a_port_of_the_range() {
    let service = local::echo().await;
    let port = free_port();
    let range = format!("{port}-{port}");
    let mut world = World::start_with(|config| config.ports = range.parse().unwrap()).await;
    let public = world.expose_all(&[format!("web={}", service.addr())]).await[0];
    assert_eq!(public.port(), port);

    let refused = refusal(&world, &["mail=1".to_owned()]).await;
    assert!(refused.contains(&range) && refused.contains("taken"), "{refused}");
    world.stop().await;
}

#[tokio::test]
async fn a_port_that_cannot_be_had_is_refused_to_its_client_and_nobody_else() {
    let service = local::echo().await;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let by_other = taken.local_addr().unwrap().port();
    let mut world = World::start().await;
    let public = world.expose_all(&[format!("web={}", service.addr())]).await[0];
    let by_tunnel = public.port();

    for (port, why) in
        [(by_other, "in use"), (by_tunnel, "in use"), (80, "port 80: ask for one from 1024 on")]
    {
        let refused = refusal(&world, &[format!("mail=1?port={port}")]).await;
        assert!(refused.contains("refused") && refused.contains(why), "{port}: {refused}");
        assert!(refused.contains(&port.to_string()), "{refused}");
    }
    let refused = refusal(&world, &[format!("web=1?port={}", free_port())]).await;
    assert!(refused.contains("`web` has port"), "{refused}");

    Peer::connect(public).await.expect_echo(b"undisturbed").await;
    assert_eq!(world.metrics().await.handshakes("refused"), 4.0);
    world.stop().await;
}

/// The first of two ports in a row that are free, which is held as long as the listener is kept.
fn two_free_ports() -> (TcpListener, u16) {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = first.local_addr().expect("an address").port();
        if port < u16::MAX && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return (first, port);
        }
    }
}

#[tokio::test]
async fn a_port_that_is_insisted_on_is_not_given_to_another_tunnel_of_the_same_client() {
    let service = local::echo().await;
    let (free, port) = two_free_ports();
    drop(free);
    let range = format!("{port}-{}", port + 1);
    let mut world = World::start_with(|config| config.ports = range.parse().unwrap()).await;
    // The name of the first leads to the port that the second must have.
    let addr = service.addr();
    let tunnels = [format!("web={addr}"), format!("zoo={addr}?port={port}")];
    let public = world.expose_all(&tunnels).await;
    assert_eq!(public.iter().map(SocketAddr::port).collect::<Vec<_>>(), [port + 1, port]);
    world.stop().await;
}

#[tokio::test]
async fn a_port_of_the_range_that_another_program_has_is_passed_over() {
    let service = local::echo().await;
    let (_taken, port) = two_free_ports();
    let range = format!("{port}-{}", port + 1);
    let mut world = World::start_with(|config| config.ports = range.parse().unwrap()).await;
    // Of two ports its name leads to the first.
    let public = world.expose_all(&[format!("web={}", service.addr())]).await[0];
    assert_eq!(public.port(), port + 1);
    Peer::connect(public).await.expect_echo(b"behind it").await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_back_may_ask_for_another_port() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let client = world.client_for(&[format!("web={}", service.addr())]).await;
    let before = client.public(0);
    client.finish().await;
    world.shows("no client", |m| m.value("relay_sessions") == Some(0.0)).await;

    let port = free_port();
    let public = world.expose_all(&[format!("web={}?port={port}", service.addr())]).await[0];
    assert_eq!(public.port(), port);
    Peer::connect(public).await.expect_echo(b"here").await;
    eventually("the old port to be closed", async || Peer::try_connect(before).await.is_err())
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_is_refused_one_tunnel_holds_none_of_the_others() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let hold = Duration::from_millis(10);
    let world = World::start_with(|config| config.hold = hold).await;

    refusal(&world, &["good=1".to_owned(), format!("bad=1?port={port}")]).await;
    world.shows("no tunnel", |m| m.value("relay_tunnels") == Some(0.0)).await;
    world.shows("no series", |m| !m.text.contains("good") && !m.text.contains("bad\"")).await;
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_has_the_same_port_after_a_reconnect() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let tunnels = [format!("web={}", service.addr()), format!("mail={}", service.addr())];
    let before = world.expose_all(&tunnels).await;

    world.wire.cut();
    world.first_client().lost().await;
    world.wire.mend();
    world.first_client().live().await;
    let client = world.first_client();
    assert_eq!([client.public(0), client.public(1)], before[..]);
    for addr in before {
        Peer::connect(addr).await.expect_echo(b"same place").await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_gets_its_port_again_although_it_was_given_back_meanwhile() {
    let service = local::echo().await;
    let hold = Duration::from_millis(10);
    let mut world = World::start_with(|config| config.hold = hold).await;
    let before = world.expose_all(&[format!("web={}", service.addr())]).await[0];

    world.wire.cut();
    eventually("the port to be closed", async || Peer::try_connect(before).await.is_err()).await;
    world.wire.mend();
    world.first_client().live().await;
    assert_eq!(world.first_client().public(0), before);
    Peer::connect(before).await.expect_echo(b"same place").await;
    world.stop().await;
}

#[tokio::test]
async fn a_port_is_held_for_a_while_and_then_given_back() {
    let service = local::echo().await;
    let hold = Duration::from_millis(500);
    let world = World::start_with(|config| config.hold = hold).await;
    let client = world.client_for(&[format!("web={}", service.addr())]).await;
    let public = client.public(0);
    Peer::connect(public).await.expect_echo(b"here").await;
    let since = tokio::time::Instant::now();
    client.finish().await;

    let (status, _) = scrape::get(public, "/").await;
    assert!(status == 503 || since.elapsed() >= hold, "held, so that visitors are told");
    eventually("the port to be closed", async || Peer::try_connect(public).await.is_err()).await;
    assert!(since.elapsed() >= hold, "given back after {:?}", since.elapsed());
    world.shows("no series of the tunnel", |m| !m.text.contains("web")).await;
    drop(TcpListener::bind(public).unwrap());
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_at_the_wrong_moment_does_not_keep_a_port_for_ever() {
    let service = local::echo().await;
    let hold = Duration::from_millis(300);
    let world = World::start_with(|config| config.hold = hold).await;
    let client = world.client_for(&[format!("web={}", service.addr())]).await;
    let public = client.public(0);
    client.finish().await;

    // Has its answer and does not leave: it is there when the time is over.
    let mut visitor = Peer::connect(public).await;
    visitor.send(b"GET / HTTP/1.1\r\n\r\n").await;
    visitor.expect(b"HTTP/1.1 503").await;
    eventually("the port to be closed", async || Peer::try_connect(public).await.is_err()).await;
    world.shows("no series of the tunnel", |m| !m.text.contains("web")).await;
    drop(visitor);
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_back_in_time_keeps_its_port() {
    let service = local::echo().await;
    let hold = Duration::from_secs(30);
    let world = World::start_with(|config| config.hold = hold).await;
    let tunnels = [format!("web={}", service.addr())];
    let mut before: Option<SocketAddr> = None;
    for _ in 0..3 {
        let client = world.client_for(&tunnels).await;
        assert_eq!(*before.get_or_insert_with(|| client.public(0)), client.public(0));
        client.finish().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_whose_client_has_come_back_outlasts_one_that_was_left_later() {
    let service = local::echo().await;
    let hold = Duration::from_millis(500);
    let mut world = World::start_with(|config| config.hold = hold).await;
    let tunnels = |name: &str| [format!("{name}={}", service.addr())];
    world.client_for(&tunnels("web")).await.finish().await;
    let web = world.expose_all(&tunnels("web")).await[0];
    let client = world.client_for(&tunnels("mail")).await;
    let mail = client.public(0);
    client.finish().await;
    // They are given back in the order in which they were left.
    eventually("the port of mail to be closed", async || Peer::try_connect(mail).await.is_err())
        .await;
    Peer::connect(web).await.expect_echo(b"still here").await;
    world.stop().await;
}

#[tokio::test]
async fn a_restarted_relay_gives_tunnels_their_ports_whoever_comes_first() {
    let service = local::echo().await;
    let mut ports = Vec::new();
    for order in [["alice", "bob"], ["bob", "alice"]] {
        let world = World::start_with(|config| config.ports = "21000-21999".parse().unwrap()).await;
        let mut found = Vec::new();
        let mut clients = Vec::new();
        for name in order {
            let client = world.client_for(&[format!("{name}={}", service.addr())]).await;
            found.push((name, client.public(0).port()));
            clients.push(client);
        }
        for client in clients {
            client.finish().await;
        }
        world.stop().await;
        found.sort_unstable();
        ports.push(found);
    }
    assert_eq!(ports[0], ports[1]);
}

#[tokio::test]
async fn clients_show_the_name_that_the_relay_was_told_and_else_the_one_that_they_dialled() {
    for (name, shown) in [(Some("tunnels.example"), "tunnels.example"), (None, "127.0.0.1")] {
        let world = World::start_with(|config| {
            config.public_name = name.map(|name| name.parse().unwrap());
        })
        .await;
        let client = world.client(local::nobody().await).await;
        let expected = format!("tcp://{shown}:{}", world.addrs.public.port());
        assert_eq!(client.status.borrow().public_addresses(), [expected]);
        client.finish().await;
        world.stop().await;
    }
}
