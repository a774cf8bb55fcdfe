//! Tunnels that come, change and go while a session runs.

use client::{Config, Event};
use shared::control::protocol::{
    FromClient, FromRelay, RefusalCode, TunnelAnswer, TunnelHealth, TunnelOutcome,
};
use tests::rogue::{RogueClient, hello, request};
use tests::{Peer, RunningClient, World, eventually, local, scrape};

/// A client of these tunnels, and a way to change them.
struct Changing<'a> {
    world: &'a World,
    client: RunningClient,
}

impl<'a> Changing<'a> {
    async fn start(world: &'a World, tunnels: &[String]) -> Self {
        Self { world, client: world.client_for(tunnels).await }
    }

    fn change(&self, tunnels: &[String]) {
        let config = Config::new(self.world.config(tunnels)).expect("a good configuration");
        self.client.reconfigure.apply(config);
    }
}

#[tokio::test]
async fn a_tunnel_comes_and_goes_while_the_others_stay_as_they_are() {
    let service = local::echo().await;
    let world = World::start().await;
    let web = format!("web={}", service.addr());
    let ssh = format!("ssh={}", service.addr());
    let mut changing = Changing::start(&world, std::slice::from_ref(&web)).await;
    let stays = changing.client.public(0);
    let mut early = Peer::connect(stays).await;
    early.expect_echo(b"before").await;

    changing.change(&[web.clone(), ssh]);
    let comes = changing.client.tunnel_is_live("ssh").await;
    let mut open = Peer::connect(comes).await;
    open.expect_echo(b"a new one").await;

    changing.change(&[web]);
    let closed = |event: &Event| matches!(event, Event::Closed(name) if name.as_str() == "ssh");
    changing.client.event("ssh to be closed", closed).await;
    eventually("its port to be closed", async || Peer::try_connect(comes).await.is_err()).await;
    open.expect_echo(b"what is open goes on").await;
    early.expect_echo(b"and so does this").await;
    Peer::connect(stays).await.expect_echo(b"and new visitors").await;

    drop((open, early));
    changing.client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_leads_elsewhere_and_open_visits_stay_where_they_are() {
    let (one, two) = (local::speaks_first(b"one").await, local::speaks_first(b"two").await);
    let world = World::start().await;
    let mut changing = Changing::start(&world, &[format!("web={}", one.addr())]).await;
    let public = changing.client.public(0);
    let mut early = Peer::connect(public).await;
    early.expect(b"one").await;

    changing.change(&[format!("web={}", two.addr())]);
    let moved =
        |event: &Event| matches!(event, Event::Live(live) if live.local == two.addr().to_string());
    changing.client.event("web to lead elsewhere", moved).await;
    assert_eq!(changing.client.public(0), public);
    Peer::connect(public).await.expect(b"two").await;
    let seen = scrape::snapshot(world.addrs.admin).await;
    assert_eq!(seen["tunnels"][1]["local"], two.addr().to_string(), "{seen}");
    early.expect_echo(b"still with the first").await;

    drop(early);
    changing.client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_gets_another_port_when_it_asks_for_one() {
    let service = local::echo().await;
    let world = World::start().await;
    let mut changing = Changing::start(&world, &[format!("web={}", service.addr())]).await;
    let before = changing.client.public(0);
    let port = crate::ports::free_port();
    changing.change(&[format!("web={}?port={port}", service.addr())]);
    let at_port = |event: &Event| matches!(event, Event::Live(live) if live.address().ends_with(&format!(":{port}")));
    changing.client.event("web at its new port", at_port).await;
    Peer::connect(changing.client.public(0)).await.expect_echo(b"here").await;
    eventually("the old port to be closed", async || Peer::try_connect(before).await.is_err())
        .await;
    changing.client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_port_goes_from_one_tunnel_to_another_in_one_change() {
    let service = local::echo().await;
    let world = World::start().await;
    let port = crate::ports::free_port();
    let tunnel = |name: &str| format!("{name}={}?port={port}", service.addr());
    let mut changing = Changing::start(&world, &[tunnel("web")]).await;
    for name in ["db", "web"].into_iter().cycle().take(20) {
        changing.change(&[tunnel(name)]);
        let of_it = |event: &Event| match event {
            Event::Live(live) => live.name.as_str() == name,
            Event::Refused(..) => true,
            _ => false,
        };
        let event = changing.client.event(&format!("{name} to be live"), of_it).await;
        assert!(matches!(event, Event::Live(_)), "{event:?}");
        Peer::connect(changing.client.public(0)).await.expect_echo(b"at the same port").await;
    }
    changing.client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_that_is_given_up_goes_to_the_client_that_stands_by() {
    let (one, two) = (local::speaks_first(b"one").await, local::speaks_first(b"two").await);
    let world = World::start().await;
    let mut older = world.client_for(&[format!("web={}", one.addr())]).await;
    let public = older.public(0);
    let also = format!("also={}", two.addr());
    let newer = Changing::start(&world, &[format!("web={}", two.addr()), also.clone()]).await;
    older.event("to stand by", |event| matches!(event, Event::Standby(_))).await;

    newer.change(&[also]);
    older.event("to be live again", |event| matches!(event, Event::Live(_))).await;
    Peer::connect(public).await.expect(b"one").await;
    older.finish().await;
    newer.client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn the_tunnel_default_stays_open_when_its_client_gives_it_up() {
    let service = local::echo().await;
    let world = World::start().await;
    let (default, web) = (format!("default={}", service.addr()), format!("web={}", service.addr()));
    let mut changing = Changing::start(&world, &[default.clone(), web.clone()]).await;
    let public = changing.client.public(0);

    changing.change(std::slice::from_ref(&web));
    changing.client.event("default to be closed", |e| matches!(e, Event::Closed(_))).await;
    assert_eq!(scrape::get(public, "/").await.0, 503);
    changing.change(&[default, web]);
    assert_eq!(changing.client.tunnel_is_live("default").await, public);
    Peer::connect(public).await.expect_echo(b"again").await;
    changing.client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_that_cannot_be_opened_leaves_the_others_alone_and_opens_when_it_can() {
    let service = local::echo().await;
    let world = World::start().await;
    let web = format!("web={}", service.addr());
    let mut changing = Changing::start(&world, std::slice::from_ref(&web)).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();

    changing.change(&[web, format!("ssh={}?port={port}", service.addr())]);
    let refused = |event: &Event| matches!(event, Event::Refused(name, why) if name.as_str() == "ssh" && why.contains("in use"));
    changing.client.event("ssh to be refused", refused).await;
    Peer::connect(changing.client.public(0)).await.expect_echo(b"as ever").await;

    drop(taken);
    let public = changing.client.tunnel_is_live("ssh").await;
    Peer::connect(public).await.expect_echo(b"at last").await;
    changing.client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn five_hundred_visits_notice_nothing_of_tunnels_that_come_change_and_go_beside_theirs() {
    let service = local::echo().await;
    let world = World::start().await;
    let web = format!("web={}", service.addr());
    let mut changing = Changing::start(&world, std::slice::from_ref(&web)).await;
    let public = changing.client.public(0);
    let mut visitors = Vec::new();
    for _ in 0..500 {
        visitors.push(Peer::connect(public).await);
    }
    for visitor in &mut visitors {
        visitor.expect_echo(b"before").await;
    }

    let elsewhere = local::echo().await;
    for round in 0..5 {
        let to = if round % 2 == 0 { &service } else { &elsewhere };
        changing.change(&[web.clone(), format!("other{round}={}", to.addr())]);
        for visitor in visitors.iter_mut().skip(round).step_by(5) {
            visitor.expect_echo(b"meanwhile").await;
        }
        let other = changing.client.tunnel_is_live(&format!("other{round}")).await;
        Peer::connect(other).await.expect_echo(b"the other").await;
        Peer::connect(public).await.expect_echo(b"one that is new").await;
    }
    for visitor in &mut visitors {
        visitor.expect_echo(b"afterwards").await;
    }
    drop(visitors);
    changing.client.finish().await;
    for outcome in ["lost", "no_client"] {
        let metrics = world.metrics().await;
        let series = format!("relay_visitors_total{{outcome=\"{outcome}\",tunnel=\"web\"}}");
        assert_eq!(metrics.value(&series).unwrap_or_default(), 0.0, "{outcome}");
    }
    world.stop().await;
}

#[tokio::test]
async fn every_connection_of_a_client_has_the_tunnels_that_came_later() {
    let service = local::echo().await;
    let world = World::start().await;
    let web = format!("web={}", service.addr());
    let config = |tunnels: &[String]| {
        let mut config = world.config(tunnels);
        config.connections = 3;
        config
    };
    let mut client = RunningClient::start(config(std::slice::from_ref(&web)));
    client.live().await;
    world.shows("three sessions", |m| m.value("relay_sessions") == Some(3.0)).await;
    let more = config(&[web, format!("ssh={}", service.addr())]);
    client.reconfigure.apply(Config::new(more).unwrap());
    let public = client.tunnel_is_live("ssh").await;
    for _ in 0..10 {
        Peer::connect(public).await.expect_echo(b"through any of them").await;
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn every_connection_of_a_client_follows_a_tunnel_to_another_port() {
    let service = local::echo().await;
    let world = World::start().await;
    let config = |tunnel: String| {
        let mut config = world.config(&[tunnel]);
        config.connections = 3;
        config
    };
    let web = format!("web={}", service.addr());
    let mut client = RunningClient::start(config(web.clone()));
    client.live().await;
    world.shows("three sessions", |m| m.value("relay_sessions") == Some(3.0)).await;
    let port = crate::ports::free_port();
    client.reconfigure.apply(Config::new(config(format!("{web}?port={port}"))).unwrap());
    let at_port =
        |event: &Event| matches!(event, Event::Live(live) if live.public[0].port() == Some(port));
    client.event("web at its new port", at_port).await;
    eventually("all connections to serve it", async || {
        let snapshot = scrape::snapshot(world.addrs.admin).await;
        let tunnels = snapshot["tunnels"].as_array().unwrap();
        let web = tunnels.iter().find(|tunnel| tunnel["name"] == "web");
        let sessions = web.and_then(|web| web["clients"][0]["sessions"].as_array());
        sessions.is_some_and(|sessions| sessions.len() == 3)
    })
    .await;
    Peer::connect(client.public(0)).await.expect_echo(b"there").await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn two_thousand_tunnels_of_one_client_are_opened_and_serve() {
    let service = local::echo().await;
    let world = World::start().await;
    let tunnels: Vec<_> = (0..2000).map(|n| format!("t{n}={}", service.addr())).collect();
    let mut client = RunningClient::start(world.config(&tunnels));
    client.live().await;
    world.shows("all tunnels", |m| m.value("relay_tunnels") == Some(2000.0)).await;
    for index in [0, 63, 64, 1000, 1999] {
        Peer::connect(client.public(index)).await.expect_echo(b"one of many").await;
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn changes_that_make_no_sense_are_refused_one_by_one() {
    let world = World::start().await;
    let mut client = RogueClient::connect(world.addrs.control, hello(&["web"])).await;
    assert!(matches!(client.receive().await, FromRelay::Welcome(_)));
    let name = |name: &str| name.parse().unwrap();
    let wrong = [
        FromClient::Open { id: 0, tunnels: vec![request("web")] },
        FromClient::Update { id: 1, tunnels: vec![request("db")] },
        FromClient::Close { id: 2, tunnels: vec![name("db")] },
        FromClient::Open { id: 3, tunnels: vec![request("a"), request("a")] },
        FromClient::Open { id: 4, tunnels: (0..65).map(|n| request(&format!("t{n}"))).collect() },
    ];
    for (expected, message) in wrong.into_iter().enumerate() {
        client.control.send(&message).await.unwrap();
        let FromRelay::Answer { id, tunnels } = client.receive().await else {
            panic!("no answer to {message:?}")
        };
        assert_eq!(id, expected as u64);
        let is_refused = |answer: &TunnelAnswer| matches!(&answer.outcome, TunnelOutcome::Refused(r) if r.code == RefusalCode::BadRequest);
        assert!(!tunnels.is_empty() && tunnels.iter().all(is_refused), "{message:?}: {tunnels:?}");
    }
    // Of a tunnel that it has just given up.
    let health = vec![TunnelHealth { name: name("gone"), healthy: false }];
    client.control.send(&FromClient::Health { tunnels: health }).await.unwrap();
    client.control.send(&FromClient::Close { id: 5, tunnels: vec![name("web")] }).await.unwrap();
    let answer = client.receive().await;
    let closed = TunnelAnswer { name: name("web"), outcome: TunnelOutcome::Closed };
    assert_eq!(answer, FromRelay::Answer { id: 5, tunnels: vec![closed] });
    world.shows("no tunnel", |m| m.value("relay_tunnels") == Some(0.0)).await;
    world.stop().await;
}

/// Asks for the tunnel `more`, and expects to be refused it.
async fn expect_no_more(client: &mut RogueClient, code: RefusalCode) {
    let more = FromClient::Open { id: 7, tunnels: vec![request("more")] };
    client.control.send(&more).await.expect("a session");
    let FromRelay::Answer { id: 7, tunnels } = client.receive().await else { panic!("no answer") };
    let [TunnelAnswer { outcome: TunnelOutcome::Refused(refusal), .. }] = &tunnels[..] else {
        panic!("not refused but {tunnels:?}")
    };
    assert_eq!(refusal.code, code);
}

#[tokio::test]
async fn a_client_that_stops_gets_no_more_tunnels_and_says_so_once() {
    let world = World::start().await;
    let mut client = RogueClient::admitted(world.addrs.control).await;
    client.control.send(&FromClient::Draining).await.unwrap();
    expect_no_more(&mut client, RefusalCode::BadRequest).await;
    client.control.send(&FromClient::Draining).await.unwrap();
    client.expect_end().await;
    world.stop().await;
}

#[tokio::test]
async fn a_relay_that_stops_opens_no_more_tunnels() {
    let world = World::start_with(|config| config.grace = tests::wait::PATIENCE).await;
    let mut client = RogueClient::admitted(world.addrs.control).await;
    // Its visit keeps the relay there.
    let visitor = Peer::connect(world.addrs.public).await;
    let stream = client.stream().await;
    world.relay_stop.gracefully.cancel();
    assert_eq!(client.receive().await, FromRelay::Draining);
    expect_no_more(&mut client, RefusalCode::ShuttingDown).await;
    drop((visitor, stream, client));
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_stands_by_still_does_after_its_tunnel_has_changed() {
    let (one, two) = (local::speaks_first(b"one").await, local::speaks_first(b"two").await);
    let world = World::start().await;
    let mut older = Changing::start(&world, &[format!("web={}", one.addr())]).await;
    let newer = world.client_for(&[format!("web={}", two.addr())]).await;
    let stands_by = |event: &Event| matches!(event, Event::Standby(_));
    older.client.event("to stand by", stands_by).await;

    older.change(&[format!("web={}", two.addr())]);
    older.client.event("to stand by all the same", stands_by).await;
    newer.finish().await;
    older.client.event("to be live", |event| matches!(event, Event::Live(_))).await;
    Peer::connect(older.client.public(0)).await.expect(b"two").await;
    older.client.finish().await;
    world.stop().await;
}
