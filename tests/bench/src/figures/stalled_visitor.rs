//! Memory that a visitor holds who asks for an endless download and reads none of it.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use super::{Metric, Reading, Scene};
use crate::load::visitor::Visitor;
use crate::plan::Plan;
use crate::protocol::Order;
use crate::tunnel::Tunnel;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let before: u64 = tunnel.resident_bytes()?.iter().sum();
    let mut stalled = Vec::new();
    for _ in 0..plan.stalled_visitors {
        stalled.push(Visitor::order(tunnel.public, Order::Source).await?);
    }
    let after = settled_memory(tunnel, plan).await?;
    let held = after.saturating_sub(before) as f64 / stalled.len() as f64;
    Ok(vec![(&HELD, held / 1e3)])
}

/// Memory of both sides once it has stopped growing.
async fn settled_memory(tunnel: &Tunnel, plan: &Plan) -> Result<u64> {
    let start = Instant::now();
    let mut most = 0;
    let mut since = start;
    loop {
        let now: u64 = tunnel.resident_bytes()?.iter().sum();
        if now > most + NOISE {
            (most, since) = (now, Instant::now());
        } else if since.elapsed() > plan.settled || start.elapsed() > LONGEST {
            return Ok(now.max(most));
        }
        // Nothing tells when a process has stopped growing; one can only look again.
        sleep(BETWEEN_LOOKS).await;
    }
}

/// What resident memory changes by without any reason that matters here.
const NOISE: u64 = 256 * 1024;

/// A process that grows for longer than this is cut short, and its figure is bad enough.
const LONGEST: Duration = Duration::from_secs(30);

const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

static HELD: Metric = Metric {
    name: "memory-per-stalled-visitor",
    title: "memory a stalled visitor holds, both processes",
    unit: "KB",
    more_is_better: false,
    comparable: true,
};
