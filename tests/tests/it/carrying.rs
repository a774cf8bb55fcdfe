//! Bytes arrive unchanged, and with whom they were meant for.

use std::time::Duration;

use tests::pattern::Pattern;
use tests::{Local, Peer, Tasks, World, local, within_time};

const MEGABYTE: usize = 1_000_000;

#[tokio::test]
async fn a_hundred_megabytes_each_way_arrive_unchanged() {
    let length = 100 * MEGABYTE;
    let service = Local::start(move |socket| async move {
        Peer::from(socket).exchange_patterns(1, 2, length).await;
    })
    .await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    visitor.exchange_patterns(2, 1, length).await;
    visitor.half_close().await;
    visitor.expect_end().await;

    world.counts("completed", 1).await;
    let metrics = world.metrics().await;
    assert_eq!(metrics.bytes("default", "in"), length as f64);
    assert_eq!(metrics.bytes("default", "out"), length as f64);
    world.stop().await;
}

#[tokio::test]
async fn two_thousand_visitors_at_once_each_get_their_own_bytes() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitors = Vec::new();
    for seed in 0..2000 {
        let mut visitor = Peer::connect(public).await;
        visitor.send(&Pattern::new(seed).take(300)).await;
        visitors.push(visitor);
    }
    // All are here, and each has said something before the first looks at its answer.
    world.shows("2000 visitors", |m| visitors_now(m) == 2000.0).await;
    for (seed, visitor) in visitors.iter_mut().enumerate() {
        visitor.expect(&Pattern::new(seed).take(300)).await;
        visitor.half_close().await;
    }
    for visitor in &mut visitors {
        visitor.expect_end().await;
    }

    world.counts("completed", 2000).await;
    world.stop().await;
}

#[tokio::test]
async fn several_tunnels_of_one_client_are_never_mixed_up() {
    let services = [
        local::speaks_first(b"the mail").await,
        local::speaks_first(b"the shop").await,
        local::speaks_first(b"the site").await,
    ];
    let greetings: [&[u8]; 3] = [b"the mail", b"the shop", b"the site"];
    let names = ["mail", "shop", "default"];
    let tunnels = names.iter().zip(&services);
    let tunnels: Vec<_> =
        tunnels.map(|(name, service)| format!("{name}={}", service.addr())).collect();
    let mut world = World::start().await;
    let public = world.expose_all(&tunnels).await;

    let mut all = Tasks::new();
    for round in 0..20 {
        for (i, addr) in public.iter().copied().enumerate() {
            let greeting = greetings[i];
            all.spawn(async move {
                let mut visitor = Peer::connect(addr).await;
                visitor.expect(greeting).await;
                visitor.expect_echo(&Pattern::new(100 * round + i).take(5_000)).await;
                visitor.half_close().await;
                visitor.expect_end().await;
            });
        }
    }
    within_time(Duration::from_secs(60), "all visits", all.join()).await;

    let metrics = world.metrics().await;
    for name in names {
        assert_eq!(metrics.visits(name, "completed"), 20.0, "{name}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_unix_socket_is_a_local_service_like_any_other() {
    let folder = std::env::temp_dir().join(format!("sallyport-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("echo.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut service = Tasks::new();
    service.spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = socket.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    });
    let mut world = World::start().await;
    let public = world.expose_all(&[format!("default=unix:{}", path.display())]).await[0];

    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"through a file").await;
    visitor.half_close().await;
    visitor.expect_end().await;

    world.stop().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_link_that_both_directions_saturate_does_not_lock_up() {
    let time = soak().unwrap_or(Duration::from_secs(2));
    let service = Local::start(move |socket| async move {
        Peer::from(socket).saturate(1, 2, time).await;
    })
    .await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;
    world.wire.slow_down(8 * 1024 * 1024);

    let mut visitors = Tasks::new();
    for _ in 0..4 {
        visitors.spawn(async move {
            let received = Peer::connect(public).await.saturate(2, 1, time).await;
            assert!(received > MEGABYTE / 2, "only {received} bytes came through");
        });
    }
    let patience = time + Duration::from_secs(120);
    within_time(patience, "everything to get through", visitors.join()).await;

    world.counts("completed", 4).await;
    world.stop().await;
}

/// A longer time for tests that get better by it: `SALLYPORT_SOAK=60` for a minute.
fn soak() -> Option<Duration> {
    let seconds = std::env::var("SALLYPORT_SOAK").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("SALLYPORT_SOAK in seconds")))
}

fn visitors_now(metrics: &tests::scrape::Scrape) -> f64 {
    metrics.visitors("default")
}
