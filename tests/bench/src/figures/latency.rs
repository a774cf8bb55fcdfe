//! How long a small request takes when there is no other.

use anyhow::Result;

use super::{Metric, Reading, Scene};
use crate::load::requests;
use crate::statistics::quantile;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let took = requests::latencies(tunnel.public, 1, plan.warm_up, plan.window).await?;
    let at = |share| quantile(&took, share);
    Ok([(&P50, at(0.5)), (&P99, at(0.99))]
        .into_iter()
        .filter_map(|(metric, value)| Some((metric, value?)))
        .collect())
}

static P50: Metric = Metric {
    name: "latency-p50",
    title: "latency, 1 connection, p50",
    unit: "us",
    more_is_better: false,
    comparable: true,
};

static P99: Metric = Metric {
    name: "latency-p99",
    title: "latency, 1 connection, p99",
    unit: "us",
    more_is_better: false,
    comparable: true,
};
