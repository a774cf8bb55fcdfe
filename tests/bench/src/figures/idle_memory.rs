//! Resident memory at start, and what an idle visitor adds.
//!
//! Of the two sides the larger one counts: it is the one that decides what machine is needed.

use anyhow::Result;

use super::{Metric, Reading, Scene};
use crate::load::crowd::Crowd;
use crate::load::visitor::Visitor;
use crate::wait::settled;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let before = tunnel.resident_bytes()?;
    let public = tunnel.public;
    let crowd = Crowd::gather_all(|| Visitor::stay(public), plan.idle_visitors).await?;
    let after = settled(|| tunnel.resident_bytes(), plan).await?;
    let growth = largest_growth(&before, &after);
    let at_start = before.iter().max().copied().unwrap_or_default();
    Ok(vec![
        (&AT_START, at_start as f64 / 1e6),
        (&PER_VISITOR, growth as f64 / 1e3 / crowd.visitors.len() as f64),
    ])
}

/// By how much the process grew that grew most.
pub(super) fn largest_growth(before: &[u64], after: &[u64]) -> u64 {
    let growths = before.iter().zip(after).map(|(before, after)| after.saturating_sub(*before));
    growths.max().unwrap_or_default()
}

static AT_START: Metric = Metric {
    name: "memory-at-start",
    title: "resident memory at start, larger process",
    unit: "MB",
    more_is_better: false,
    comparable: true,
};

static PER_VISITOR: Metric = Metric {
    name: "memory-per-idle-visitor",
    title: "memory per idle visitor, larger process",
    unit: "KB",
    more_is_better: false,
    comparable: true,
};
