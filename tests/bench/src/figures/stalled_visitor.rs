//! Memory that a visitor holds who asks for an endless download and reads none of it.

use anyhow::Result;

use super::{Metric, Reading, Scene};
use crate::load::visitor::Visitor;
use crate::protocol::Order;
use crate::wait::settled;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let before: u64 = tunnel.resident_bytes()?.iter().sum();
    let mut stalled = Vec::new();
    for _ in 0..plan.stalled_visitors {
        stalled.push(Visitor::order(tunnel.public, Order::Source).await?);
    }
    let after: u64 = settled(|| tunnel.resident_bytes(), plan).await?.iter().sum();
    let held = after.saturating_sub(before) as f64 / stalled.len() as f64;
    Ok(vec![(&HELD, held / 1e3)])
}

static HELD: Metric = Metric {
    name: "memory-per-stalled-visitor",
    title: "memory a stalled visitor holds, both processes",
    unit: "KB",
    more_is_better: false,
    comparable: true,
};
