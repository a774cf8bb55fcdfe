//! Streams as fast as they can be, and the CPU time they cost relay and client.

use std::time::Instant;

use anyhow::Result;
use tokio::time::sleep;

use super::{Metric, Reading, Scene};
use crate::load::bulk::Streams;

pub(super) async fn down(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Measured { rate, cpu } = run(scene, 1, 0).await?;
    Ok([(&DOWN, Some(rate)), (&CPU_DOWN, cpu)].into_iter().filter_map(with_value).collect())
}

pub(super) async fn up(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Measured { rate, cpu } = run(scene, 0, 1).await?;
    Ok([(&UP, Some(rate)), (&CPU_UP, cpu)].into_iter().filter_map(with_value).collect())
}

pub(super) async fn four(scene: Scene<'_>) -> Result<Vec<Reading>> {
    Ok(vec![(&FOUR, run(scene, 4, 0).await?.rate)])
}

pub(super) async fn both(scene: Scene<'_>) -> Result<Vec<Reading>> {
    Ok(vec![(&BOTH, run(scene, 1, 1).await?.rate)])
}

struct Measured {
    /// Gbit/s.
    rate: f64,
    /// Seconds per GB, if there are processes to ask.
    cpu: Option<f64>,
}

async fn run(scene: Scene<'_>, downloads: usize, uploads: usize) -> Result<Measured> {
    let Scene { tunnel, service, plan } = scene;
    let mut streams = Streams::start(tunnel.public, service, downloads, uploads).await?;
    sleep(plan.warm_up).await;
    let (start, bytes, cpu) = (Instant::now(), streams.arrived().await?, tunnel.cpu_seconds()?);
    sleep(plan.window).await;
    let (seconds, bytes, cpu) = (
        start.elapsed().as_secs_f64(),
        (streams.arrived().await? - bytes) as f64,
        tunnel.cpu_seconds()? - cpu,
    );
    let cpu = tunnel.has_processes().then_some(cpu / (bytes / 1e9));
    Ok(Measured { rate: bytes * 8.0 / 1e9 / seconds, cpu })
}

fn with_value((metric, value): (&'static Metric, Option<f64>)) -> Option<Reading> {
    Some((metric, value?))
}

static DOWN: Metric = Metric {
    name: "bulk-down",
    title: "bulk, 1 stream, local to visitor",
    unit: "Gbit/s",
    more_is_better: true,
    comparable: true,
};

static UP: Metric = Metric {
    name: "bulk-up",
    title: "bulk, 1 stream, visitor to local",
    unit: "Gbit/s",
    more_is_better: true,
    comparable: true,
};

static FOUR: Metric = Metric {
    name: "bulk-four",
    title: "bulk, 4 streams, local to visitors",
    unit: "Gbit/s",
    more_is_better: true,
    comparable: true,
};

static BOTH: Metric = Metric {
    name: "bulk-both",
    title: "bulk, both directions at once, sum",
    unit: "Gbit/s",
    more_is_better: true,
    comparable: true,
};

static CPU_DOWN: Metric = Metric {
    name: "cpu-down",
    title: "CPU of relay + client, local to visitor",
    unit: "s/GB",
    more_is_better: false,
    comparable: true,
};

static CPU_UP: Metric = Metric {
    name: "cpu-up",
    title: "CPU of relay + client, visitor to local",
    unit: "s/GB",
    more_is_better: false,
    comparable: true,
};
