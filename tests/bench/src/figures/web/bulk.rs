//! Bodies as fast as they can be, and the CPU time they cost.

use anyhow::Result;

use crate::figures::bulk::watch;
use crate::figures::{Metric, Reading, Scene};
use crate::load::bulk::Streams;
use crate::load::web::endless;

pub(in crate::figures) async fn down(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, service, plan } = scene;
    let mut streams = Streams::counted_at(service).await?;
    streams.download(endless::download(tunnel.public).await?);
    Ok(watch(streams, tunnel, plan).await?.readings([&DOWN, &CPU_DOWN]))
}

pub(in crate::figures) async fn up(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, service, plan } = scene;
    let mut streams = Streams::counted_at(service).await?;
    streams.upload(endless::upload(tunnel.public).await?);
    Ok(watch(streams, tunnel, plan).await?.readings([&UP, &CPU_UP]))
}

static DOWN: Metric = Metric {
    name: "web-bulk-down",
    title: "web, one download",
    unit: "Gbit/s",
    more_is_better: true,
    comparable: true,
};

static UP: Metric = Metric {
    name: "web-bulk-up",
    title: "web, one upload",
    unit: "Gbit/s",
    more_is_better: true,
    comparable: true,
};

static CPU_DOWN: Metric = Metric {
    name: "web-cpu-down",
    title: "web, CPU of both sides, download",
    unit: "s/GB",
    more_is_better: false,
    comparable: true,
};

static CPU_UP: Metric = Metric {
    name: "web-cpu-up",
    title: "web, CPU of both sides, upload",
    unit: "s/GB",
    more_is_better: false,
    comparable: true,
};
