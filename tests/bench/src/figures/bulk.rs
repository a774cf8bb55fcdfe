//! Streams as fast as they can be, and the CPU time they cost relay and client.

use std::time::Instant;

use anyhow::Result;
use tokio::time::sleep;

use super::{Metric, Reading, Scene};
use crate::load::bulk::Streams;
use crate::plan::Plan;
use crate::tunnel::Tunnel;

pub(super) async fn down(scene: Scene<'_>) -> Result<Vec<Reading>> {
    Ok(run(scene, 1, 0).await?.readings([&DOWN, &CPU_DOWN]))
}

pub(super) async fn up(scene: Scene<'_>) -> Result<Vec<Reading>> {
    Ok(run(scene, 0, 1).await?.readings([&UP, &CPU_UP]))
}

pub(super) async fn four(scene: Scene<'_>) -> Result<Vec<Reading>> {
    Ok(vec![(&FOUR, run(scene, 4, 0).await?.rate)])
}

pub(super) async fn both(scene: Scene<'_>) -> Result<Vec<Reading>> {
    Ok(vec![(&BOTH, run(scene, 1, 1).await?.rate)])
}

/// How fast streams were, and what they cost.
pub(super) struct Measured {
    /// Gbit/s.
    pub(super) rate: f64,
    /// Seconds per GB, if there are processes to ask.
    pub(super) cpu: Option<f64>,
}

async fn run(scene: Scene<'_>, downloads: usize, uploads: usize) -> Result<Measured> {
    let Scene { tunnel, service, plan } = scene;
    let streams = Streams::start(tunnel.public, service, downloads, uploads).await?;
    watch(streams, tunnel, plan).await
}

/// What streams carry that have been started through the tunnel.
pub(super) async fn watch(mut streams: Streams, tunnel: &Tunnel, plan: &Plan) -> Result<Measured> {
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

impl Measured {
    /// As metrics of a rate and of what it costs.
    pub(super) fn readings(self, [rate, cpu]: [&'static Metric; 2]) -> Vec<Reading> {
        let cost = self.cpu.map(|seconds| (cpu, seconds));
        [(rate, self.rate)].into_iter().chain(cost).collect()
    }
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
