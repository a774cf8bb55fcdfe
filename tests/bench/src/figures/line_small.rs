//! Small requests beside two downloads, over a line with delay and rate between client and relay.

use anyhow::Result;

use super::{Metric, Reading, Scene};
use crate::load::bulk::Streams;
use crate::load::requests;
use crate::statistics::quantile;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, service, plan } = scene;
    let mut downloads = Streams::start(tunnel.public, service, 2, 0).await?;
    let took = requests::latencies(tunnel.public, 1, plan.line_warm_up, plan.window).await?;
    // Fast answers beside downloads that have ended would mean nothing.
    downloads.arrived().await?;
    Ok(quantile(&took, 0.5).map(|p50| (&P50, p50 / 1e3)).into_iter().collect())
}

pub(super) const MEGABITS_PER_SECOND: u64 = 200;

static P50: Metric = Metric {
    name: "line-small",
    title: "small requests beside 2 downloads, line of 40 ms and 200 Mbit/s, p50",
    unit: "ms",
    more_is_better: false,
    comparable: true,
};
