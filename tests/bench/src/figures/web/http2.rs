//! Small requests on one connection of HTTP/2, with and without TLS.

use anyhow::Result;

use crate::figures::{Metric, Reading, Scene};
use crate::load::requests;
use crate::load::web::http2;
use crate::load::web::tls::Wish;

pub(in crate::figures) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let streams = http2::share(tunnel.http2, STREAMS).await?;
    let rate = requests::kept_alive_rate(streams, plan.warm_up, plan.window).await?;
    let mut readings = vec![(&RATE, rate / 1e3)];
    if let Some(secure) = tunnel.secure(Wish::Http2)? {
        let streams = http2::share_by_tls(&secure, STREAMS).await?;
        let rate = requests::kept_alive_rate(streams, plan.warm_up, plan.window).await?;
        readings.push((&TLS_RATE, rate / 1e3));
    }
    Ok(readings)
}

const STREAMS: usize = 100;

static RATE: Metric = Metric {
    name: "web-http2",
    title: "web, HTTP/2, 1 connection of 100 streams, 1 KB answers",
    unit: "k req/s",
    more_is_better: true,
    comparable: true,
};

static TLS_RATE: Metric = Metric {
    name: "web-http2-tls",
    title: "web, the same by TLS",
    unit: "k req/s",
    more_is_better: true,
    comparable: true,
};
