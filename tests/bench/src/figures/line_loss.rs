//! Small requests of many visitors beside two downloads, over a line that loses segments: how much
//! of one connection's loss is felt by the others.

use anyhow::Result;

use super::{Metric, Reading, Scene};
use crate::load::bulk::Streams;
use crate::load::requests;
use crate::statistics::quantile;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, service, plan } = scene;
    let mut downloads = Streams::start(tunnel.public, service, 2, 0).await?;
    let (warm_up, window) = (plan.line_warm_up, plan.window);
    let took = requests::latencies(tunnel.public, VISITORS, warm_up, window).await?;
    downloads.arrived().await?;
    let at = |share| quantile(&took, share);
    Ok([(&P50, at(0.5)), (&P99, at(0.99))]
        .into_iter()
        .filter_map(|(metric, value)| Some((metric, value? / 1e3)))
        .collect())
}

/// Enough for some hundred answers in the window.
const VISITORS: usize = 10;

/// One segment in a thousand, as on a fair mobile line.
pub(super) const LOSSES_PER_MILLION: u64 = 1_000;

static P50: Metric = Metric {
    name: "line-loss-p50",
    title: "small requests beside 2 downloads, same line with 0.1 % loss, p50",
    unit: "ms",
    more_is_better: false,
    comparable: true,
};

static P99: Metric = Metric {
    name: "line-loss-p99",
    title: "small requests beside 2 downloads, same line with 0.1 % loss, p99",
    unit: "ms",
    more_is_better: false,
    comparable: true,
};
