//! When a new visitor sees the first byte, over a line with delay between client and relay.

use std::time::Instant;

use anyhow::Result;

use super::{Metric, Reading, Scene};
use crate::load::visitor::Visitor;
use crate::statistics::Summary;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let mut took = Vec::with_capacity(plan.first_bytes);
    for _ in 0..plan.first_bytes {
        let start = Instant::now();
        Visitor::first_byte(tunnel.public).await?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let median = Summary::of(&took).map(|summary| (&FIRST_BYTE, summary.median));
    Ok(median.into_iter().collect())
}

static FIRST_BYTE: Metric = Metric {
    name: "first-byte",
    title: "first byte of a new visit, line of 40 ms",
    unit: "ms",
    more_is_better: false,
    comparable: true,
};
