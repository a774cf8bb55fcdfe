//! As many open visitors as descriptors allow: how many came, what each holds, and how quickly
//! those who are there are still answered.

use std::time::Instant;

use anyhow::Result;

use super::idle_memory::largest_growth;
use super::{Metric, Reading, Scene};
use crate::load::crowd::Crowd;
use crate::load::requests::Ask;
use crate::load::visitor::Visitor;
use crate::statistics::quantile;
use crate::wait::settled;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let before = tunnel.resident_bytes()?;
    let wanted = plan.open_visitors.min(own_limit()?);
    let public = tunnel.public;
    let mut crowd = Crowd::gather(|| Visitor::stay(public), wanted).await?;
    let after = settled(|| tunnel.resident_bytes(), plan).await;

    let reached = crowd.visitors.len() as f64;
    let mut readings = vec![(&REACHED, reached)];
    // Some do not survive running out of descriptors: then this is all there is to say.
    if reached == 0.0 || tunnel.check_running().is_err() {
        return Ok(readings);
    }
    if tunnel.has_processes() {
        let growth = largest_growth(&before, &after?);
        readings.push((&PER_VISITOR, growth as f64 / 1e3 / reached));
    }
    if let Some(p50) = p50_among(&mut crowd).await {
        readings.push((&P50, p50));
    }
    Ok(readings)
}

/// The median time of an answer in microseconds, asked of visitors all over the crowd in turn;
/// `None` if one of them is not answered.
async fn p50_among(crowd: &mut Crowd<Visitor>) -> Option<f64> {
    let mut took = Vec::with_capacity(ASKED);
    let step = crowd.visitors.len().div_ceil(ASKED).max(1);
    for visitor in crowd.visitors.iter_mut().step_by(step) {
        let start = Instant::now();
        visitor.request().await.ok()?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    quantile(&took, 0.5)
}

/// How many visitors this process, and the local service, can hold.
fn own_limit() -> Result<usize> {
    let (soft, _) = rlimit::Resource::NOFILE.get()?;
    Ok(usize::try_from(soft).unwrap_or(usize::MAX).saturating_sub(KEPT_BACK))
}

/// How many visitors are asked for an answer.
const ASKED: usize = 1_000;

/// Descriptors for everything but visitors.
const KEPT_BACK: usize = 64;

static REACHED: Metric = Metric {
    name: "open-visitors",
    title: "open visitors reached, of 10,000",
    unit: "visitors",
    more_is_better: true,
    comparable: true,
};

static PER_VISITOR: Metric = Metric {
    name: "memory-per-open-visitor",
    title: "memory per open visitor, of those reached",
    unit: "KB",
    more_is_better: false,
    comparable: true,
};

static P50: Metric = Metric {
    name: "latency-among-open-visitors",
    title: "latency among those visitors, p50",
    unit: "us",
    more_is_better: false,
    comparable: true,
};
