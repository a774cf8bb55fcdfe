//! How long it takes to tell what a thousand tunnels have moved in a month, and what a tunnel costs.
//! `SALLYPORT_STATISTICS=1000 cargo test -p relay --lib -- statistics::measured --nocapture` prints the
//! times; otherwise there are a few tunnels, and it is seen only that all of it is told.

use std::env;
use std::time::Instant;

use super::slots::{HOUR, MINUTE};
use super::*;
use crate::config::Config;
use crate::data::DataFolder;
use crate::scratch::Scratch;
use crate::store::{BATCH, NewStatistics, Place};

const HOURS: i64 = 30 * 24;

/// Writes a month of so many tunnels of twenty owners, each of which moves something in every hour.
async fn fill(store: &Store, tunnels: i64) {
    let mut spread = Spread::default();
    (20..32).for_each(|bucket| spread.add(bucket, 1000));
    let counts = Counts { requests: 12_000, visits: 1, bytes_in: 1, bytes_out: 1, errors: 1 };
    let row = |owner, tunnel, time, times: i64| {
        let counts = Counts { requests: counts.requests * times.unsigned_abs(), ..counts };
        let kept = KeptStatistics { time, part: 7, counts, first_byte: spread.encode() };
        NewStatistics { owner, tunnel, kept, step: HOUR }
    };
    let names: Vec<_> =
        (0..tunnels).map(|n| (format!("owner{}", n % 20), format!("t{n}"))).collect();
    for (owner, tunnel) in &names {
        let rows: Vec<_> = (0..HOURS).map(|hour| row(owner, tunnel, hour * HOUR, 1)).collect();
        for batch in rows.chunks(BATCH) {
            store.write_statistics(batch).await.unwrap();
        }
    }
    let rows: Vec<_> = (0..HOURS).map(|hour| row("", "", hour * HOUR, tunnels)).collect();
    for batch in rows.chunks(BATCH) {
        store.write_statistics(batch).await.unwrap();
    }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "the times are what it is for")]
async fn a_month_of_many_tunnels_is_told() {
    let tunnels = env::var("SALLYPORT_STATISTICS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let scratch = Scratch::new();
    let folder = DataFolder::open(&scratch.file("data")).unwrap();
    let store = Store::open(&Place::Folder(folder)).await.unwrap();
    let began = Instant::now();
    fill(&store, tunnels).await;
    eprintln!("{} rows written in {:?}", HOURS * (tunnels + 1), began.elapsed());
    let size = std::fs::metadata(scratch.file("data/relay.db")).unwrap().len();
    eprintln!("{} bytes a row", size / (HOURS * (tunnels + 1)).unsigned_abs());

    let metrics = Metrics::new(|| 0).unwrap();
    let config = CurrentConfig::new(Config::loopback());
    let history = History::new(Some(store.clone()), metrics.clone(), &config.now().statistics);
    let statistics = Statistics::new(config, Some(store), metrics, history);
    let month = |step: i64| {
        let step = Duration::from_millis(step.unsigned_abs());
        Span::new(SystemTime::UNIX_EPOCH, from_millis(HOURS * HOUR), step).unwrap()
    };
    let one = Scope::Tunnel { owner: "owner1".into(), name: "t1".into() };
    for (scope, times) in [(Scope::Relay, tunnels), (one, 1)] {
        for span in [month(HOUR), month(24 * HOUR)] {
            let began = Instant::now();
            let points = statistics.of(&scope, &span).await.unwrap();
            eprintln!("{scope:?} in {} points: {:?}", points.len(), began.elapsed());
            let requests: u64 = points.iter().map(|point| point.requests).sum();
            assert_eq!(requests, 12_000 * (HOURS * times).unsigned_abs());
            assert!(points.iter().all(|point| point.first_byte.is_some()));
        }
    }
    let hours = Span::new(from_millis(0), from_millis(24 * HOUR), Duration::from_secs(60)).unwrap();
    assert_eq!(hours.slot(), MINUTE);
    assert!(statistics.of(&Scope::Relay, &hours).await.unwrap().iter().all(|p| p.requests == 0));
}
