//! How long a small request takes when there is no other, and by how much longer than without anything
//! in between.

use anyhow::Result;

use crate::figures::{Metric, Reading, Scene};
use crate::load::requests;
use crate::load::web::visitor::WebVisitor;
use crate::statistics::quantile;

pub(in crate::figures) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, service, plan } = scene;
    let through = vec![WebVisitor::stay(tunnel.public).await?];
    let direct = vec![WebVisitor::stay(service).await?];
    let (warm_up, window) = (plan.warm_up, plan.window);
    let [through, direct] = requests::latencies_in_turn([through, direct], warm_up, window).await?;
    let p50 = quantile(&through, 0.5);
    let added = p50.zip(quantile(&direct, 0.5)).map(|(through, direct)| through - direct);
    let added = added.filter(|_| tunnel.has_processes());
    Ok([(&P50, p50), (&P99, quantile(&through, 0.99)), (&ADDED, added)]
        .into_iter()
        .filter_map(|(metric, value)| Some((metric, value?)))
        .collect())
}

static P50: Metric = Metric {
    name: "web-latency-p50",
    title: "web, latency, 1 connection, p50",
    unit: "us",
    more_is_better: false,
    comparable: true,
};

static P99: Metric = Metric {
    name: "web-latency-p99",
    title: "web, latency, 1 connection, p99",
    unit: "us",
    more_is_better: false,
    comparable: true,
};

static ADDED: Metric = Metric {
    name: "web-latency-added",
    title: "web, what is added to the direct p50",
    unit: "us",
    more_is_better: false,
    comparable: true,
};
