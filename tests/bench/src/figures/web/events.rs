//! How late events are that the local service sends as they happen, and by how much later than without
//! anything in between.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::figures::{Metric, Reading, Scene};
use crate::load::web::events::Listener;
use crate::statistics::quantile;

pub(in crate::figures) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, service, plan } = scene;
    // At once: whatever the machine does meanwhile it does to both.
    let (through, direct) = tokio::try_join!(
        delays(tunnel.public, plan.warm_up, plan.window),
        delays(service, plan.warm_up, plan.window),
    )?;
    let p99 = quantile(&through, 0.99);
    let added = p99.zip(quantile(&direct, 0.99)).map(|(through, direct)| through - direct);
    let added = added.filter(|_| tunnel.has_processes());
    Ok([(&P50, quantile(&through, 0.5)), (&P99, p99), (&ADDED, added)]
        .into_iter()
        .filter_map(|(metric, value)| Some((metric, value? / 1e3)))
        .collect())
}

/// How long each event was under way to any of the listeners, in microseconds, sorted.
async fn delays(public: SocketAddr, warm_up: Duration, window: Duration) -> Result<Vec<f64>> {
    let mut tasks = JoinSet::new();
    for _ in 0..LISTENERS {
        let listener = Listener::come(public).await?;
        tasks.spawn(delays_of_one(listener, warm_up, window));
    }
    let mut all = Vec::new();
    while let Some(delays) = tasks.join_next().await {
        all.extend(delays.context("a listener's task")??);
    }
    all.sort_by(f64::total_cmp);
    Ok(all)
}

async fn delays_of_one(
    mut listener: Listener,
    warm_up: Duration,
    window: Duration,
) -> Result<Vec<f64>> {
    let (mut delays, mut early) = (Vec::new(), Vec::new());
    let start = Instant::now();
    // At least one, however late.
    while start.elapsed() < warm_up + window || delays.is_empty() {
        let counted = if start.elapsed() < warm_up { &mut early } else { &mut delays };
        listener.listen(counted).await?;
    }
    Ok(delays)
}

/// Enough for a thousand events a second.
const LISTENERS: usize = 10;

static P50: Metric = Metric {
    name: "web-events-p50",
    title: "web, an event under way, 10 listeners, p50",
    unit: "ms",
    more_is_better: false,
    comparable: true,
};

static P99: Metric = Metric {
    name: "web-events-p99",
    title: "web, an event under way, 10 listeners, p99",
    unit: "ms",
    more_is_better: false,
    comparable: true,
};

static ADDED: Metric = Metric {
    name: "web-events-added",
    title: "web, what is added to the direct p99",
    unit: "ms",
    more_is_better: false,
    comparable: true,
};
