//! One download over a line with delay and rate between client and relay.

use std::time::Instant;

use anyhow::Result;
use tokio::time::sleep;

use super::{Metric, Reading, Scene};
use crate::load::bulk::Streams;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, service, plan } = scene;
    let mut streams = Streams::start(tunnel.public, service, 1, 0).await?;
    sleep(plan.line_warm_up).await;
    let (start, bytes) = (Instant::now(), streams.arrived().await?);
    sleep(plan.window).await;
    let (seconds, bytes) = (start.elapsed().as_secs_f64(), streams.arrived().await? - bytes);
    Ok(vec![(&RATE, bytes as f64 * 8.0 / 1e6 / seconds)])
}

pub(super) const MEGABITS_PER_SECOND: u64 = 500;

static RATE: Metric = Metric {
    name: "line-bulk",
    title: "bulk, local to visitor, line of 40 ms and 500 Mbit/s",
    unit: "Mbit/s",
    more_is_better: true,
    comparable: true,
};
