//! What is known later of what has moved, and of requests and visits: after the relay was stopped, was
//! killed, or could not reach its store.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::Response;
use relay::{HistoryEntry, HistoryFilter, HistoryKind, Point, Scope, Settings, Span};
use shared::control::protocol::HttpOptions;
use shared::token::Hidden;
use tests::kept::Kept;
use tests::process::{Client, visit};
use tests::web::{Visitor, WebClient, WebService, get, whole, with_http};
use tests::{Peer, World, eventually, local};

/// Whoever shows nothing.
const OWNER: &str = "(anybody)";

/// A relay at this store.
async fn start(kept: &Kept, adjust: impl FnOnce(&mut Settings)) -> World {
    World::start_with(|settings| {
        with_http(settings);
        settings.web.hold_requests = Duration::ZERO;
        match &kept.server {
            Some(server) => settings.database = Some(Hidden(server.whole_url())),
            None => settings.data = Some(kept.folder.file("data")),
        }
        adjust(settings);
    })
    .await
}

fn tunnel(name: &str) -> Scope {
    Scope::Tunnel { owner: OWNER.into(), name: name.into() }
}

/// What has moved in the last hours, all together and in these steps.
async fn sum(world: &World, scope: &Scope, step: Duration) -> Point {
    let now = SystemTime::now();
    let hours = Duration::from_secs(2 * 3600);
    let span = Span::new(now - hours, now + Duration::from_secs(60), step).expect("a span");
    let points = world.statistics().of(scope, &span).await.expect("statistics");
    let mut sum = points[0].clone();
    for point in &points[1..] {
        sum.requests += point.requests;
        sum.visits += point.visits;
        sum.bytes_in += point.bytes_in;
        sum.bytes_out += point.bytes_out;
        sum.errors += point.errors;
        sum.first_byte = sum.first_byte.or(point.first_byte);
    }
    sum
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

async fn visits(world: &World) -> u64 {
    sum(world, &Scope::Relay, MINUTE).await.visits
}

async fn history(world: &World) -> Vec<HistoryEntry> {
    let page = world.history().page(&HistoryFilter::default(), None, 500).await;
    page.expect("the history").entries.iter().map(|entry| (**entry).clone()).collect()
}

/// A visitor of an echo who has come, was served, and is gone.
async fn come_and_go(world: &World) {
    let mut visitor = Peer::connect(world.addrs.public).await;
    visitor.expect_echo(b"hello").await;
    visitor.half_close().await;
    visitor.expect_end().await;
}

#[tokio::test]
async fn what_has_moved_and_which_requests_there_were_is_known_after_a_restart() {
    let echo = local::echo().await;
    let service = WebService::start_with(|request| {
        let status = if request.uri().path() == "/bad" { 500 } else { 200 };
        Response::builder().status(status).body(whole("1234567")).expect("an answer")
    })
    .await;
    for kept in Kept::both().await {
        let mut world = start(&kept, |_| ()).await;
        world.expose(echo.addr()).await;
        let client = WebClient::open(&world, HttpOptions::default(), service.addr()).await;
        let mut visitor = Visitor::connect(&world).await;
        for path in ["/a?token=hush", "/bad", "/b"] {
            visitor.ask(get(path).body(Bytes::new()).expect("a request")).await;
        }
        come_and_go(&world).await;
        world.counts("completed", 1).await;
        drop(visitor);
        client.close().await;
        // What there is before anybody looks and writes.
        assert_eq!(history(&world).await.len(), 4);
        world.stop().await;

        let world = start(&kept, |_| ()).await;
        for step in [MINUTE, HOUR] {
            let app = sum(&world, &tunnel("app"), step).await;
            assert_eq!((app.requests, app.visits, app.errors), (3, 0, 1));
            assert_eq!((app.bytes_in, app.bytes_out), (0, 21));
            assert!(app.first_byte.is_some());
            let raw = sum(&world, &tunnel("default"), step).await;
            assert_eq!((raw.requests, raw.visits, raw.errors), (0, 1, 0));
            assert_eq!((raw.bytes_in, raw.bytes_out), (5, 5));
            for scope in [Scope::Owner(OWNER.into()), Scope::Relay] {
                let all = sum(&world, &scope, step).await;
                let counts = (all.requests, all.visits, all.errors, all.bytes_out);
                assert_eq!(counts, (3, 1, 1, 26), "{scope:?}");
            }
        }
        let entries = history(&world).await;
        let mut seen: Vec<_> = entries
            .iter()
            .map(|entry| (&*entry.tunnel, entry.path.as_deref(), entry.status, entry.bytes_out))
            .collect();
        seen.sort_unstable();
        let expected = [
            ("app", Some("/a?token=***"), Some(200), 7),
            ("app", Some("/b"), Some(200), 7),
            ("app", Some("/bad"), Some(500), 7),
            ("default", None, None, 5),
        ];
        assert_eq!(seen, expected);
        assert!(entries.iter().all(|entry| entry.visitor.is_none() && !entry.id.is_empty()));
        assert!(entries.iter().all(|entry| entry.first_byte.is_some_and(|t| t <= entry.length)));
        let raw = entries.iter().find(|entry| entry.kind == HistoryKind::Tcp).expect("a visit");
        assert_eq!(raw.outcome.as_deref(), Some("completed"));
        world.stop().await;
        let contents = kept.contents().await;
        for secret in ["hush", "127.0.0.1"] {
            let is_there = contents.windows(secret.len()).any(|text| text == secret.as_bytes());
            assert!(!is_there, "{secret}");
        }
    }
}

#[tokio::test]
async fn who_came_is_known_only_from_when_on_it_is_wanted() {
    let echo = local::echo().await;
    let mut world = World::start().await;
    world.expose(echo.addr()).await;
    come_and_go(&world).await;
    world.counts("completed", 1).await;
    let apply = |adjust: fn(&mut Settings)| {
        let mut settings = Settings::loopback();
        adjust(&mut settings);
        world.relay_reconfigure.apply(relay::Config::new(settings).expect("settings"));
    };
    apply(|settings| settings.statistics.history_addresses = true);
    come_and_go(&world).await;
    world.counts("completed", 2).await;
    apply(|settings| settings.statistics.history = Duration::ZERO);
    come_and_go(&world).await;
    world.counts("completed", 3).await;
    let entries = history(&world).await;
    let visitors: Vec<_> = entries.iter().map(|entry| entry.visitor).collect();
    assert_eq!(visitors, [Some([127, 0, 0, 1].into()), None]);
    world.stop().await;
}

#[tokio::test]
async fn a_relay_that_is_killed_loses_only_what_moved_last_and_another_adds_to_it() {
    let kept = Kept::in_postgres().await;
    let echo = local::echo().await;
    let mut other = start(&kept, |_| ()).await;
    other.expose(echo.addr()).await;
    let mut killed = kept.relay().await;
    let client = Client::expose(killed.control, echo.addr()).await;
    for _ in 0..5 {
        let mut visitor = visit(killed.public).await;
        visitor.half_close().await;
        visitor.expect_end().await;
    }
    killed.counts(5, "completed").await;
    come_and_go(&other).await;
    eventually("both to have written", async || visits(&other).await == 6).await;
    drop(visit(killed.public).await);
    killed.kill().await;
    drop(client);
    let left = visits(&other).await;
    assert!((6..=7).contains(&left), "{left}");
    come_and_go(&other).await;
    other.stop().await;
    let world = start(&kept, |_| ()).await;
    assert_eq!(visits(&world).await, left + 1);
    world.stop().await;
}

#[tokio::test]
async fn while_the_database_is_away_visits_go_on_and_nothing_of_them_is_forgotten() {
    let kept = Kept::in_postgres().await;
    let server = kept.server.as_ref().expect("a server");
    let echo = local::echo().await;
    let mut world = start(&kept, |_| ()).await;
    world.expose(echo.addr()).await;
    come_and_go(&world).await;
    server.stop().await;
    for _ in 0..3 {
        come_and_go(&world).await;
    }
    for of in ["statistics", "history"] {
        let series = format!("relay_failed_writes_total{{of=\"{of}\"}}");
        world.shows(&series, |metrics| metrics.value(&series) > Some(0.0)).await;
    }
    come_and_go(&world).await;
    world.counts("completed", 5).await;
    server.start_again().await;
    world.stop().await;
    let world = start(&kept, |_| ()).await;
    assert_eq!(visits(&world).await, 5);
    assert_eq!(history(&world).await.len(), 5);
    world.stop().await;
}
