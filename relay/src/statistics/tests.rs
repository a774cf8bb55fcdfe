//! From what moves at tunnels to what is told of it, without a store and with one in a file.

use std::time::Instant;

use super::slots::{HOUR, MINUTE};
use super::*;
use crate::config::{Config, Settings};
use crate::data::DataFolder;
use crate::metrics::{Labels, Outcome, RequestOver, TunnelMetrics};
use crate::scratch::Scratch;
use crate::store::{Name, Place};

/// Statistics, and what moves them.
struct Kept {
    statistics: Statistics,
    metrics: Metrics,
    config: CurrentConfig,
    store: Option<Store>,
    looked: Instant,
}

impl Kept {
    fn of(store: Option<Store>) -> Self {
        let metrics = Metrics::new(|| 0).unwrap();
        let config = CurrentConfig::new(Config::loopback());
        let history = History::new(store.clone(), metrics.clone(), &config.now().statistics);
        let statistics = Statistics::new(config.clone(), store.clone(), metrics.clone(), history);
        Self { statistics, metrics, config, store, looked: Instant::now() }
    }

    fn in_memory() -> Self {
        Self::of(None)
    }

    /// Another relay at the same store.
    fn another(&self) -> Self {
        Self::of(self.store.clone())
    }

    fn tunnel(&self, owner: &str, name: &str) -> TunnelMetrics {
        self.metrics.tunnel(labels(owner, name))
    }

    /// Somebody looks a second after this time, at what has just moved.
    fn look(&mut self, at: i64) {
        self.looked = Instant::now();
        self.statistics.look(&mut self.looked, from_millis(at + 1000));
    }

    async fn write(&self) {
        self.statistics.0.write_all().await;
    }

    /// The points of the first hours that are not empty: when each begins, and its visits.
    async fn visits(&self, scope: &Scope, step: i64) -> Vec<(i64, u64)> {
        let points = self.points(scope, step).await.into_iter();
        let points = points.filter(|point| point.visits > 0);
        points.map(|point| (crate::store::to_millis(point.time), point.visits)).collect()
    }

    async fn points(&self, scope: &Scope, step: i64) -> Vec<Point> {
        let step = Duration::from_millis(step.unsigned_abs());
        let span = Span::new(SystemTime::UNIX_EPOCH, from_millis(4 * HOUR), step).unwrap();
        self.statistics.of(scope, &span).await.unwrap()
    }

    fn set(&self, adjust: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::loopback();
        adjust(&mut settings);
        self.config.set(Config::new(settings).unwrap());
    }
}

async fn store(scratch: &Scratch) -> Store {
    let folder = DataFolder::open(&scratch.file("data")).unwrap();
    Store::open(&Place::Folder(folder)).await.unwrap()
}

fn labels(owner: &str, name: &str) -> Labels {
    Labels { tunnel: name.parse().unwrap(), owner: Some(owner.into()) }
}

fn tunnel(owner: &str, name: &str) -> Scope {
    Scope::Tunnel { owner: owner.into(), name: name.into() }
}

fn visit(tunnel: &TunnelMetrics, outcome: Outcome) {
    let _present = tunnel.visitor();
    tunnel.bytes_in(10);
    tunnel.first_byte(Duration::from_millis(20));
    tunnel.bytes_out(1000);
    tunnel.ended(outcome, Duration::from_secs(1));
}

#[tokio::test]
async fn what_moves_counts_for_the_tunnel_its_owner_and_the_relay() {
    let mut kept = Kept::in_memory();
    let [a, b, c] = [("ann", "a"), ("ann", "b"), ("bob", "a")].map(|(o, n)| kept.tunnel(o, n));
    for (tunnel, count) in [(&a, 1), (&b, 2), (&c, 4)] {
        (0..count).for_each(|_| visit(tunnel, Outcome::Completed));
    }
    kept.look(1000);
    for (scope, visits) in [
        (tunnel("ann", "a"), 1),
        (tunnel("bob", "a"), 4),
        (Scope::Owner("ann".into()), 3),
        (Scope::Relay, 7),
    ] {
        assert_eq!(kept.visits(&scope, MINUTE).await, [(0, visits)], "{scope:?}");
        assert_eq!(kept.visits(&scope, HOUR).await, [(0, visits)], "{scope:?}");
    }
    let points = kept.points(&Scope::Relay, MINUTE).await;
    assert_eq!(points.len(), 240, "those without anything are there too");
    let Point { bytes_in, bytes_out, errors, first_byte, .. } = points[0];
    assert_eq!((bytes_in, bytes_out, errors), (70, 7000, 0));
    let Percentiles { p50, p99, .. } = first_byte.unwrap();
    assert!(p50 == p99 && (0.0183..0.0219).contains(&p50.as_secs_f64()), "{p50:?}");
    assert_eq!(points[1].first_byte, None);
}

#[tokio::test]
async fn errors_are_those_that_the_api_tells_of() {
    let mut kept = Kept::in_memory();
    let web = kept.tunnel("ann", "web");
    for outcome in Outcome::ALL {
        visit(&web, outcome);
    }
    let over = RequestOver {
        status: 200,
        fault: None,
        aborted: false,
        timed_out: false,
        length: Duration::from_secs(1),
    };
    for over in [over, RequestOver { status: 404, ..over }, RequestOver { status: 502, ..over }] {
        web.request_begins();
        web.request_over(&over);
    }
    web.request_begins();
    web.request_over(&RequestOver { aborted: true, ..over });
    kept.look(0);
    let point = &kept.points(&tunnel("ann", "web"), HOUR).await[0];
    let visits = Outcome::ALL.len() as u64;
    assert_eq!((point.requests, point.visits, point.errors), (4, visits, visits - 3 + 2));
    assert_eq!(web.totals().errors, point.errors);
}

#[tokio::test]
async fn what_moves_belongs_to_the_minute_in_which_it_did() {
    let mut kept = Kept::in_memory();
    let web = kept.tunnel("ann", "web");
    kept.look(MINUTE - 10_000);
    visit(&web, Outcome::Completed);
    // The look is a moment late; most of the time that it looks back on was before the hour.
    kept.looked = Instant::now() - Duration::from_secs(10);
    let mut looked = kept.looked;
    kept.statistics.look(&mut looked, from_millis(HOUR + 1));
    visit(&web, Outcome::Completed);
    kept.look(HOUR + 10_000);
    let web = tunnel("ann", "web");
    assert_eq!(kept.visits(&web, MINUTE).await, [(HOUR - MINUTE, 1), (HOUR, 1)]);
    assert_eq!(kept.visits(&web, HOUR).await, [(0, 1), (HOUR, 1)]);
}

#[tokio::test]
async fn a_tunnel_that_goes_takes_nothing_with_it_and_its_successor_begins_at_nothing() {
    let mut kept = Kept::in_memory();
    kept.look(0);
    let first = kept.tunnel("ann", "web");
    (0..5).for_each(|_| visit(&first, Outcome::Completed));
    kept.look(0);
    visit(&first, Outcome::Completed);
    drop(first);
    for visits in 1..3 {
        let next = kept.tunnel("ann", "web");
        (0..visits).for_each(|_| visit(&next, Outcome::Completed));
    }
    let last = kept.tunnel("ann", "web");
    (0..10).for_each(|_| visit(&last, Outcome::Completed));
    kept.look(MINUTE);
    let web = tunnel("ann", "web");
    assert_eq!(kept.visits(&web, MINUTE).await, [(0, 5), (MINUTE, 1 + 1 + 2 + 10)]);
    kept.look(2 * MINUTE);
    assert_eq!(kept.visits(&web, HOUR).await, [(0, 19)]);
}

#[tokio::test]
async fn nothing_is_kept_that_is_switched_off_and_from_then_on_everything_again() {
    let mut kept = Kept::in_memory();
    let web = kept.tunnel("ann", "web");
    visit(&web, Outcome::Completed);
    kept.look(0);
    kept.set(|settings| settings.statistics.hours = Duration::ZERO);
    visit(&web, Outcome::Completed);
    kept.look(0);
    assert_eq!(kept.visits(&Scope::Relay, HOUR).await, []);
    kept.set(|_| ());
    visit(&web, Outcome::Completed);
    kept.look(0);
    assert_eq!(kept.visits(&Scope::Relay, HOUR).await, [(0, 1)]);
}

#[tokio::test]
async fn without_a_store_the_last_hours_are_remembered() {
    let mut kept = Kept::in_memory();
    let web = kept.tunnel("ann", "web");
    for minute in 0..=240 {
        visit(&web, Outcome::Completed);
        kept.look(minute * MINUTE);
    }
    let minutes = kept.visits(&Scope::Relay, MINUTE).await;
    assert_eq!(minutes.first(), Some(&(60 * MINUTE, 1)));
    assert_eq!(kept.visits(&Scope::Relay, HOUR).await.len(), 4);
}

#[tokio::test]
async fn what_several_relays_and_runs_have_counted_adds_up_and_is_told_once() {
    let scratch = Scratch::new();
    let mut first = Kept::of(Some(store(&scratch).await));
    let mut second = first.another();
    for kept in [&mut first, &mut second] {
        let web = kept.tunnel("ann", "web");
        for minute in [0, 0, 1, 61] {
            visit(&web, Outcome::Completed);
            kept.look(minute * MINUTE);
            kept.write().await;
        }
    }
    let third = first.another();
    for kept in [&first, &second, &third] {
        for scope in [tunnel("ann", "web"), Scope::Owner("ann".into()), Scope::Relay] {
            let minutes = kept.visits(&scope, MINUTE).await;
            // What another has in its memory is not written yet, but here all is.
            assert_eq!(minutes, [(0, 4), (MINUTE, 2), (61 * MINUTE, 2)], "{scope:?}");
            assert_eq!(kept.visits(&scope, HOUR).await, [(0, 6), (HOUR, 2)], "{scope:?}");
            let point = &kept.points(&scope, HOUR).await[0];
            assert!(point.first_byte.is_some() && point.bytes_out == 6000);
        }
    }
    // Only what still grows is in memory besides.
    assert_eq!(first.statistics.0.slots.lock().owed(100), []);
    let here = first.statistics.0.slots.lock().find(&Scope::Relay, MINUTE, 0..HOUR);
    assert_eq!(here, []);
}

#[tokio::test]
async fn what_is_written_again_counts_once() {
    let scratch = Scratch::new();
    let mut kept = Kept::of(Some(store(&scratch).await));
    let web = kept.tunnel("ann", "web");
    visit(&web, Outcome::Completed);
    kept.look(0);
    // As when nobody heard the end of it.
    let owed = kept.statistics.0.slots.lock().owed(100);
    kept.write().await;
    visit(&web, Outcome::Completed);
    kept.look(0);
    kept.write().await;
    assert_eq!(owed.len(), 6);
    assert_eq!(kept.another().visits(&Scope::Relay, HOUR).await, [(0, 2)]);
}

#[tokio::test]
async fn what_is_too_old_goes_and_what_is_of_a_user_who_has_gone() {
    let scratch = Scratch::new();
    let mut kept = Kept::of(Some(store(&scratch).await));
    let store = kept.store.clone().unwrap();
    let [ann, bob]: [Name; 2] = ["ann", "bob"].map(|name| name.parse().unwrap());
    store.create_user(&ann).await.unwrap();
    store.create_user(&bob).await.unwrap();
    let tunnels = [kept.tunnel("ann", "web"), kept.tunnel("bob", "web")];
    for time in [0, HOUR, 2 * HOUR] {
        tunnels.iter().for_each(|tunnel| visit(tunnel, Outcome::Completed));
        kept.look(time);
        kept.write().await;
    }
    kept.look(4 * HOUR);
    kept.set(|settings| {
        settings.statistics.hours = Duration::from_secs(2 * 3600);
        settings.statistics.minutes = Duration::from_secs(3600);
    });
    kept.statistics.0.forget(from_millis(3 * HOUR)).await.unwrap();
    let web = tunnel("ann", "web");
    assert_eq!(kept.visits(&web, MINUTE).await, [(2 * HOUR, 1)]);
    assert_eq!(kept.visits(&web, HOUR).await, [(HOUR, 1), (2 * HOUR, 1)]);

    store.delete_user(&ann).await.unwrap();
    assert_eq!(kept.visits(&web, HOUR).await, []);
    store.create_user(&ann).await.unwrap();
    assert_eq!(kept.visits(&Scope::Owner("ann".into()), HOUR).await, []);
    assert_eq!(kept.visits(&Scope::Relay, HOUR).await, [(HOUR, 2), (2 * HOUR, 2)]);
    kept.statistics.0.forget(from_millis(3 * HOUR)).await.unwrap();
    let series = store.count_series().await;
    assert_eq!(series, 3, "the relay, bob, and bob's tunnel");
}

#[tokio::test]
async fn percentiles_that_cannot_be_read_leave_the_counts() {
    let scratch = Scratch::new();
    let mut kept = Kept::of(Some(store(&scratch).await));
    visit(&kept.tunnel("ann", "web"), Outcome::Completed);
    kept.look(0);
    kept.write().await;
    kept.store.as_ref().unwrap().spoil_statistics().await;
    let other = kept.another();
    assert_eq!(other.visits(&Scope::Relay, HOUR).await, [(0, 1)]);
    assert_eq!(other.points(&Scope::Relay, HOUR).await[0].first_byte, None);
}

#[tokio::test]
async fn while_the_store_is_locked_everything_waits_and_nothing_is_lost() {
    let scratch = Scratch::new();
    let mut kept = Kept::of(Some(store(&scratch).await));
    let web = kept.tunnel("ann", "web");
    let locked = kept.store.as_ref().unwrap().lock().await;
    for minute in 0..3 {
        visit(&web, Outcome::Completed);
        kept.look(minute * MINUTE);
    }
    kept.write().await;
    let failed = "relay_failed_writes_total{of=\"statistics\"} 1";
    let scraped: String = kept.metrics.scrape().unwrap().collect();
    assert!(scraped.lines().any(|line| line == failed), "{scraped}");
    let other = kept.another();
    assert_eq!(other.visits(&Scope::Relay, HOUR).await, []);
    let minutes = [(0, 1), (MINUTE, 1), (2 * MINUTE, 1)];
    assert_eq!(kept.visits(&Scope::Relay, MINUTE).await, minutes, "it is told from memory");
    drop(locked);
    kept.write().await;
    for kept in [&kept, &other] {
        assert_eq!(kept.visits(&Scope::Relay, MINUTE).await, minutes);
        assert_eq!(kept.visits(&Scope::Relay, HOUR).await, [(0, 3)]);
    }
}
