//! Limits of visitors, bandwidth and traffic: what happens at them, and to whom it does not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use shared::control::protocol::{EntranceRequest, FromClient, FromRelay, TunnelOutcome};
use shared::token::Secret;
use tests::rogue::{RogueClient, hello};
use tests::secret::{SECRET, narrowed};
use tests::{Peer, RunningClient, World, eventually, local, proxy};

async fn world() -> World {
    World::start_with(|settings| settings.access.token = SECRET.parse().ok()).await
}

async fn client(world: &World, secret: Secret, tunnels: &[String]) -> RunningClient {
    let settings = client::Settings { token: Some(secret), ..world.config(tunnels) };
    let mut client = RunningClient::start(settings);
    client.live().await;
    client
}

/// Waits until so many have come up against this limit.
async fn counts(world: &World, limit: &str, count: usize) {
    let series = format!("relay_limits_total{{limit=\"{limit}\"}}");
    let what = format!("{count} at the limit {limit}");
    world.shows(&what, |metrics| metrics.value(&series) == Some(count as f64)).await;
}

#[tokio::test]
async fn a_source_has_so_many_visitors_and_one_that_leaves_makes_room() {
    let service = local::echo().await;
    let mut world =
        World::start_with(|settings| settings.limits.max_visitors_per_source = Some(2)).await;
    let public = world.expose(service.addr()).await;
    let mut first = Peer::connect(public).await;
    let mut second = Peer::connect(public).await;
    first.expect_echo(b"first").await;
    second.expect_echo(b"second").await;
    Peer::connect(public).await.expect_reset().await;
    counts(&world, "visitors_per_source", 1).await;
    first.expect_echo(b"unharmed").await;
    drop(second);
    eventually("room for another", async || Peer::connect(public).await.tries_echo(b"x").await)
        .await;
    world.stop().await;
}

#[tokio::test]
async fn visitors_come_no_more_often_than_they_may() {
    let service = local::echo().await;
    type Adjust = fn(&mut relay::Settings);
    let per_source: Adjust =
        |settings| settings.limits.new_visitors_per_source = "3/1h".parse().ok();
    let per_tunnel: Adjust =
        |settings| settings.limits.new_visitors_per_tunnel = "3/1h".parse().ok();
    for (adjust, limit) in
        [(per_source, "new_visitors_per_source"), (per_tunnel, "new_visitors_per_tunnel")]
    {
        let mut world = World::start_with(adjust).await;
        let public = world.expose(service.addr()).await;
        for _ in 0..3 {
            Peer::connect(public).await.expect_echo(b"in time").await;
        }
        for _ in 0..5 {
            Peer::connect(public).await.expect_reset().await;
        }
        counts(&world, limit, 5).await;
        world.stop().await;
    }
}

#[tokio::test]
async fn whoever_is_not_let_in_does_not_count_as_one_that_has_come() {
    let service = local::echo().await;
    let unwanted = [127, 0, 0, 2];
    let mut world = World::start_with(|settings| {
        settings.limits.new_visitors_per_tunnel = "3/1h".parse().ok();
        settings.limits.new_visitors_per_source = "1/1h".parse().ok();
        settings.rules.deny = "127.0.0.2".parse().expect("a network");
    })
    .await;
    let public = world.expose(service.addr()).await;
    for _ in 0..5 {
        Peer::connect_from(unwanted, public).await.expect_reset().await;
    }
    for source in 3..6 {
        Peer::connect_from([127, 0, 0, source], public).await.expect_echo(b"wanted").await;
        // It has come once, and that is all there is for it.
        Peer::connect_from([127, 0, 0, source], public).await.expect_reset().await;
    }
    Peer::connect_from([127, 0, 0, 6], public).await.expect_reset().await;
    counts(&world, "new_visitors_per_source", 3).await;
    counts(&world, "new_visitors_per_tunnel", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn many_quiet_visits_leave_the_bandwidth_to_those_who_move_something() {
    let service = local::echo().await;
    let mut world =
        World::start_with(|settings| settings.limits.rate_per_tunnel = "8mbit".parse().ok()).await;
    let public = world.expose(service.addr()).await;
    // By shares of 10 ms they would have two seconds of the line before anybody else.
    let mut quiet = Vec::new();
    for _ in 0..200 {
        let mut visitor = Peer::connect(public).await;
        visitor.send(b"x").await;
        quiet.push(visitor);
    }
    for visitor in &mut quiet {
        visitor.expect(b"x").await;
    }
    let taken = Instant::now();
    for _ in 0..20 {
        for visitor in &mut quiet {
            visitor.send(b"x").await;
        }
        for visitor in &mut quiet {
            visitor.expect(b"x").await;
        }
    }
    // 4,000 bytes each way, for which shares would have taken 40 s each way.
    assert!(taken.elapsed() < Duration::from_secs(20), "{:?}", taken.elapsed());
    drop(quiet);
    world.stop().await;
}

#[tokio::test]
async fn what_a_token_may_have_is_shared_by_all_who_hold_it() {
    let service = local::echo().await;
    let world = world().await;
    let tunnel = |name: &str| [format!("{name}={}", service.addr())];
    let secret = narrowed(r#"{"max-visitors":2,"max-tunnels":2}"#);
    let [a, b] = ["a", "b"].map(tunnel);
    let first = client(&world, secret.clone(), &a).await;
    let second = client(&world, secret.clone(), &b).await;
    let other = client(&world, SECRET.parse().expect("a secret"), &tunnel("other")).await;
    let mut visits = [Peer::connect(first.public(0)).await, Peer::connect(second.public(0)).await];
    for visit in &mut visits {
        visit.expect_echo(b"within").await;
    }
    for full in [&first, &second] {
        Peer::connect(full.public(0)).await.expect_reset().await;
    }
    counts(&world, "visitors_per_token", 2).await;
    Peer::connect(other.public(0)).await.expect_echo(b"not concerned").await;

    let settings = client::Settings {
        token: Some(secret.clone()),
        reconnect: client::Reconnect::Never,
        ..world.config(&tunnel("c"))
    };
    let refused = RunningClient::start(settings).ended().await.expect_err("a refusal");
    assert!(format!("{refused:#}").contains("too many tunnels for the token"), "{refused:#}");
    // A tunnel that the token has already is none more.
    client(&world, secret, &b).await.finish().await;
    for client in [first, second, other] {
        client.finish().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn an_owner_has_so_many_sessions_and_one_that_comes_back_has_its_own() {
    let mut world =
        World::start_with(|settings| settings.limits.max_sessions_per_owner = Some(1)).await;
    let tunnels = ["a=1".to_owned()];
    let mut first = world.client_for(&tunnels).await;
    let settings = client::Settings {
        reconnect: client::Reconnect::Never,
        ..world.config(&["b=1".to_owned()])
    };
    let refused = RunningClient::start(settings).ended().await.expect_err("a refusal");
    assert!(format!("{refused:#}").contains("too many sessions of one owner"), "{refused:#}");
    counts(&world, "sessions_per_owner", 1).await;
    world.wire.cut();
    first.lost().await;
    world.wire.mend();
    first.live().await;
    first.finish().await;
    world.relay_stop.gracefully.cancel();
    world.relay_ended().await;
}

/// A world in which so many ports are held for a source.
async fn holding_world(most: u32) -> World {
    World::start_with(|settings| {
        settings.limits.max_held_ports_per_source = Some(most);
        settings.hold_visitors = Duration::ZERO;
    })
    .await
}

/// Where these tunnels are, each of which a client of its own has left.
async fn left(world: &World, names: &[&str]) -> Vec<SocketAddr> {
    let mut left = Vec::new();
    for name in names {
        let client = world.client_for(&[format!("{name}=1")]).await;
        left.push(client.public(0));
        client.finish().await;
    }
    left
}

#[tokio::test]
async fn so_many_ports_are_held_for_a_source_and_the_one_that_was_left_first_goes() {
    let world = holding_world(2).await;
    let left = left(&world, &["a", "b", "c"]).await;
    counts(&world, "held_ports", 1).await;
    eventually("the first to be closed", async || !is_open(left[0]).await).await;
    assert!(is_open(left[1]).await && is_open(left[2]).await);
    world.stop().await;
}

#[tokio::test]
async fn those_who_are_turned_away_count_until_they_have_gone() {
    // Room for 160 visitors, and for half of them from one source.
    let world = World::start_with(|settings| settings.descriptors = 256).await;
    let mut visitors = Vec::new();
    for _ in 0..81 {
        let mut visitor = Peer::connect(world.addrs.public).await;
        visitor.send(b"GET / HTTP/1.1\r\n\r\n").await;
        // Has its answer, and does not go.
        visitors.push(visitor);
    }
    counts(&world, "visitors_per_source", 1).await;
    drop(visitors);
    world.stop().await;
}

#[tokio::test]
async fn whoever_comes_by_a_balancer_counts_where_it_goes() {
    let service = local::echo().await;
    let world = World::start_with(|settings| {
        settings.access.token = SECRET.parse().ok();
        settings.trust_proxy = "127.0.0.0/8".parse().expect("a network");
    })
    .await;
    let tunnel = [format!("default={}", service.addr())];
    let older = client(&world, narrowed(r#"{"max-visitors":1}"#), &tunnel).await;
    let newer = client(&world, SECRET.parse().expect("a secret"), &tunnel).await;
    let mut visitors = Vec::new();
    for _ in 0..2 {
        visitors.push(Peer::connect(older.public(0)).await);
    }
    world.shows("both of them", |m| m.visitors("default") == 2.0).await;
    newer.finish().await;
    let entrance = ([198, 51, 100, 1], 443).into();
    let header = proxy::line(([203, 0, 113, 7], 1).into(), entrance);
    visitors[0].send(header.as_bytes()).await;
    visitors[0].expect_echo(b"the one that may").await;
    visitors[1].send(header.as_bytes()).await;
    visitors[1].expect_reset().await;
    counts(&world, "visitors_per_token", 1).await;
    older.finish().await;
    world.stop().await;
}

/// Whether somebody listens there.
async fn is_open(addr: SocketAddr) -> bool {
    Peer::try_connect(addr).await.is_ok()
}

#[tokio::test]
async fn each_port_of_a_tunnel_counts_among_those_that_are_held() {
    let world = holding_world(10).await;
    let mut many = hello(&["a", "b", "c"]);
    for tunnel in &mut many.tunnels {
        tunnel.entrances = vec![EntranceRequest::Tcp { port: None, prefer: None }; 8];
    }
    let mut client = RogueClient::connect(world.addrs.control, many).await;
    let FromRelay::Welcome(welcome) = client.receive().await else { panic!("no welcome") };
    let tunnels = welcome.tunnels.iter().map(|tunnel| match &tunnel.outcome {
        TunnelOutcome::Open { public } => {
            let ports = public.iter().map(|address| address.port().expect("a port"));
            ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    });
    let tunnels: Vec<_> = tunnels.collect();
    client.close().await;
    // Two go, so that there are 8 of 24.
    counts(&world, "held_ports", 2).await;
    let held = async || {
        let mut held = Vec::new();
        for ports in &tunnels {
            let mut open = 0;
            for port in ports {
                open += usize::from(is_open(*port).await);
            }
            held.push(open);
        }
        held.sort_unstable();
        held
    };
    eventually("all but one to be closed", async || held().await == [0, 0, 8]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_that_is_given_up_and_the_default_take_no_place_among_held_ports() {
    let world = holding_world(2).await;
    let held = left(&world, &["a", "b"]).await;
    let mut other = RogueClient::connect(world.addrs.control, hello(&["c", "default"])).await;
    let FromRelay::Welcome(_) = other.receive().await else { panic!("no welcome") };
    let name = "c".parse().expect("a name");
    other.say(&FromClient::Close { id: 1, tunnels: vec![name] }).await;
    let FromRelay::Answer { .. } = other.receive().await else { panic!("no answer") };
    other.close().await;
    world.shows("nobody is there", |m| m.value("relay_sessions") == Some(0.0)).await;
    // Only now is there one too many.
    let last = left(&world, &["d"]).await[0];
    counts(&world, "held_ports", 1).await;
    eventually("the first to be closed", async || !is_open(held[0]).await).await;
    assert!(is_open(held[1]).await && is_open(last).await);
    world.stop().await;
}

/// How many bytes a second come from `public` in `time`, once they flow.
async fn rate_of(public: SocketAddr, time: Duration) -> f64 {
    let mut visitor = Peer::connect(public).await;
    // What may be made up for, and what is buffered on the way.
    visitor.take(64 * 1024).await;
    let start = Instant::now();
    let mut bytes = 0;
    while start.elapsed() < time {
        visitor.take(10_000).await;
        bytes += 10_000;
    }
    f64::from(bytes) / start.elapsed().as_secs_f64()
}

#[tokio::test]
async fn a_bandwidth_is_kept_and_fair_and_others_are_not_slowed_down() {
    let service = local::endless().await;
    let world = world().await;
    let tunnel = |name: &str| [format!("{name}={}", service.addr())];
    let slow = client(&world, narrowed(r#"{"rate":"8mbit"}"#), &tunnel("slow")).await;
    let fast = client(&world, SECRET.parse().expect("a secret"), &tunnel("fast")).await;
    let time = Duration::from_secs(2);
    // Two visits share what the token has.
    let (one, two, free) = tokio::join!(
        rate_of(slow.public(0), time),
        rate_of(slow.public(0), time),
        rate_of(fast.public(0), time)
    );
    // A busy machine makes it less, and nothing may make it more.
    assert!(one + two <= 1_050_000.0, "{one} + {two} bytes a second");
    assert!(one <= 2.0 * two && two <= 2.0 * one, "{one} and {two} bytes a second");
    assert!(free > 2.0 * (one + two), "{free} beside {one} + {two} bytes a second");
    counts(&world, "rate_per_token", 2).await;
    slow.finish().await;
    fast.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_visit_that_waits_for_its_bandwidth_ends_with_the_session_of_a_token_that_is_no_longer_good()
 {
    let service = local::endless().await;
    let world = world().await;
    let tunnels = [format!("a={}", service.addr())];
    let client = client(&world, narrowed(r#"{"rate":"8kbit"}"#), &tunnels).await;
    let mut visitor = Peer::connect(client.public(0)).await;
    visitor.take(1000).await;

    let mut settings = relay::Settings::loopback();
    settings.access.token = "quite another secret".parse().ok();
    world.relay_reconfigure.apply(relay::Config::new(settings).expect("settings that can run"));
    // What has come for it would take minutes.
    visitor.expect_reset().await;
    let ended = format!("{:#}", client.ended().await.expect_err("a refusal"));
    assert!(ended.contains("does not know this token"), "{ended}");
    world.stop().await;
}

#[tokio::test]
async fn a_quota_that_is_used_up_ends_the_visit_and_lets_no_other_in() {
    let service = local::endless().await;
    let world = world().await;
    let tunnels = [format!("a={}", service.addr())];
    let client = client(&world, narrowed(r#"{"quota":"1MB/month"}"#), &tunnels).await;
    let mut visitor = Peer::connect(client.public(0)).await;
    let received = visitor.expect_reset().await.len();
    // Chunks that were on the way count too.
    assert!((500_000..2_000_000).contains(&received), "{received} bytes");
    Peer::connect(client.public(0)).await.expect_reset().await;
    // The one that was cut, and the one that was not let in.
    counts(&world, "quota", 2).await;
    client.finish().await;
    world.stop().await;
}
