//! Who visits: local services that want to be told, and balancers in front that say so.

use std::net::SocketAddr;

use shared::kit::net::HostPort;
use tests::local::Played;
use tests::proxy::{self, AUTHORITY, Header, SIGNATURE, UNIQUE_ID};
use tests::{Peer, World, local};

/// A visitor far away, and where a balancer was reached.
fn far_away() -> (SocketAddr, SocketAddr) {
    (([203, 0, 113, 7], 1234).into(), ([198, 51, 100, 1], 443).into())
}

/// Where visitors of a relay on loopback come from.
const LOOPBACK: &str = "127.0.0.0/8,::1";

/// A world whose relay takes everybody on this machine for a balancer.
async fn behind_a_balancer() -> World {
    World::start_with(|settings| settings.trust_proxy = LOOPBACK.parse().expect("networks")).await
}

/// Exposes `service`, which wants to know who visits.
async fn expose(world: &mut World, service: &Played, version: &str) -> SocketAddr {
    let tunnel = format!("default={}?proxy={version}", service.addr());
    world.expose_all(&[tunnel]).await[0]
}

#[tokio::test]
async fn a_local_service_is_told_who_visits_before_anything_else() {
    for host in ["127.0.0.1", "::1"] {
        let service = local::played().await;
        let any = HostPort { host: Some(host.into()), port: 0 };
        let mut world = World::start_with(|settings| settings.public = any).await;
        let tunnels =
            ["v1", "v2"].map(|version| format!("{version}={}?proxy={version}", service.addr()));
        world.expose_all(&tunnels).await;
        let client = world.first_client();
        let ports = [0, 1].map(|at| client.public(at).port());
        let public = ports.map(|port| SocketAddr::new(host.parse().unwrap(), port));

        let mut visitor = Peer::connect(public[0]).await;
        visitor.send(b"hello").await;
        let mut inside = service.accept().await;
        inside.expect(proxy::line(visitor.addr(), public[0]).as_bytes()).await;
        inside.expect(b"hello").await;
        inside.send(b"well").await;
        visitor.expect(b"well").await;

        let visitor = Peer::connect(public[1]).await;
        let mut inside = service.accept().await;
        let header = proxy::read(&mut inside).await;
        assert_eq!(header.ends, Some((visitor.addr(), public[1])));
        let [(UNIQUE_ID, visit)] = &header.more[..] else { panic!("{header:?}") };
        let visit = String::from_utf8(visit.clone()).unwrap();
        assert!(visit.split_once('-').is_some_and(|(run, _)| run.len() == 16), "{visit}");
        world.stop().await;
    }
}

#[tokio::test]
async fn whoever_visits_a_balancer_in_front_is_told_to_the_service_behind() {
    let (visitor, entrance) = far_away();
    let service = local::played().await;
    let mut world = behind_a_balancer().await;
    let public = expose(&mut world, &service, "v2").await;
    for header in [
        proxy::line(visitor, entrance).into_bytes(),
        proxy::bytes(visitor, entrance, &[(AUTHORITY, b"shop.example"), (4, &[0; 3000])]),
    ] {
        let mut balancer = Peer::connect(public).await;
        balancer.send(&[&header[..], b"hello"].concat()).await;
        let mut inside = service.accept().await;
        let Header { ends, more } = proxy::read(&mut inside).await;
        assert_eq!(ends, Some((visitor, entrance)));
        let name = more.iter().find(|(kind, _)| *kind == AUTHORITY);
        assert_eq!(name.is_some(), header.starts_with(SIGNATURE));
        inside.expect(b"hello").await;
        inside.send(b"well").await;
        balancer.expect(b"well").await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte_and_nothing_behind_it_is_lost() {
    let (visitor, entrance) = (far_away().0, far_away().1);
    let service = local::played().await;
    let mut world = behind_a_balancer().await;
    let public = expose(&mut world, &service, "v1").await;
    for header in
        [proxy::line(visitor, entrance).into_bytes(), proxy::bytes(visitor, entrance, &[])]
    {
        let mut balancer = Peer::connect(public).await;
        for byte in &header {
            balancer.send(&[*byte]).await;
            tokio::task::yield_now().await;
        }
        balancer.send(b"hello").await;
        let mut inside = service.accept().await;
        inside.expect(proxy::line(visitor, entrance).as_bytes()).await;
        inside.expect(b"hello").await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_balancer_that_looks_whether_the_relay_is_well_visits_for_itself() {
    let service = local::played().await;
    let mut world = behind_a_balancer().await;
    let public = expose(&mut world, &service, "v2").await;
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    for header in [&b"PROXY UNKNOWN\r\n"[..], &local] {
        let mut balancer = Peer::connect(public).await;
        balancer.send(header).await;
        let mut inside = service.accept().await;
        let header = proxy::read(&mut inside).await;
        assert_eq!(header.ends, Some((balancer.addr(), public)));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_header_of_somebody_who_is_no_balancer_is_payload() {
    let (visitor, entrance) = far_away();
    let service = local::echo().await;
    let elsewhere = "10.0.0.0/8".parse().unwrap();
    let mut world = World::start_with(|settings| settings.trust_proxy = elsewhere).await;
    let public = world.expose(service.addr()).await;
    let mut forger = Peer::connect(public).await;
    forger.expect_echo(proxy::line(visitor, entrance).as_bytes()).await;
    let mut forger = Peer::connect(public).await;
    forger.expect_echo(&proxy::bytes(visitor, entrance, &[])).await;
    world.stop().await;
}

#[tokio::test]
async fn a_balancer_that_does_not_say_who_visits_is_reset_and_counted() {
    let (visitor, entrance) = far_away();
    let service = local::echo().await;
    let mut world = behind_a_balancer().await;
    let public = world.expose(service.addr()).await;
    let line = proxy::line(visitor, entrance);
    let half = &line.as_bytes()[..20];
    let oversized = proxy::bytes(visitor, entrance, &[(4, &[0; 5000])]);
    let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
    let bad: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 1.2.3.4\r\n",
        &oversized,
        &endless,
        b"\r\n\r\n\0x",
    ];
    // Slow ones first, which take the longest: one says half, one nothing.
    let mut slow = Peer::connect(public).await;
    slow.send(half).await;
    let mut silent = Peer::connect(public).await;
    for header in bad {
        let mut balancer = Peer::connect(public).await;
        balancer.send(header).await;
        assert_eq!(balancer.expect_reset().await, b"", "{}", header.escape_ascii());
    }
    let mut ended = Peer::connect(public).await;
    ended.send(half).await;
    ended.half_close().await;
    ended.expect_reset().await;
    slow.expect_reset().await;
    silent.expect_reset().await;
    world.counts("bad_header", bad.len() + 3).await;
    world.stop().await;
}

#[tokio::test]
async fn balancers_that_are_trusted_change_while_the_relay_runs() {
    let (visitor, entrance) = far_away();
    let service = local::played().await;
    let mut world = World::start().await;
    let public = expose(&mut world, &service, "v1").await;
    let mut direct = Peer::connect(public).await;
    direct.send(b"hello").await;
    let expected = proxy::line(direct.addr(), public);
    service.accept().await.expect(expected.as_bytes()).await;

    let mut settings = relay::Settings::loopback();
    settings.trust_proxy = LOOPBACK.parse().unwrap();
    world.relay_reconfigure.apply(relay::Config::new(settings).unwrap());
    let mut balancer = Peer::connect(public).await;
    let line = proxy::line(visitor, entrance);
    balancer.send(line.as_bytes()).await;
    service.accept().await.expect(line.as_bytes()).await;
    world.stop().await;
}

#[tokio::test]
async fn a_look_at_the_health_of_a_service_is_nobodys_visit() {
    for (version, header) in
        [("v1", b"PROXY UNKNOWN\r\n".to_vec()), ("v2", [SIGNATURE, &[0x20, 0, 0, 0]].concat())]
    {
        let service = local::played().await;
        let world = World::start().await;
        let address = service.addr();
        for check in ["tcp".to_owned(), format!("http://{address}/healthz")] {
            let tunnel = format!("default={address}?proxy={version}&check={check}");
            let client = world.client_for(&[tunnel]).await;
            let mut probe = service.accept().await;
            probe.expect(&header).await;
            if check != "tcp" {
                probe.expect(b"GET /healthz ").await;
            }
            client.finish().await;
        }
        world.stop().await;
    }
}
