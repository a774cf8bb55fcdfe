//! What a visitor holds who has had an answer and stays connected, with TLS or without.
//!
//! Of the two sides the larger one counts, which is the relay.

use anyhow::{Context, Result};

use crate::figures::idle_memory::largest_growth;
use crate::figures::{Metric, Reading, Scene};
use crate::load::crowd::Crowd;
use crate::load::web::tls::Wish;
use crate::load::web::visitor::WebVisitor;
use crate::plan::Plan;
use crate::tunnel::Tunnel;
use crate::wait::settled;

pub(in crate::figures) async fn plain(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let public = tunnel.public;
    let held = held_by_each(tunnel, || WebVisitor::stay(public), plan).await?;
    Ok(vec![(&PLAIN, held)])
}

pub(in crate::figures) async fn tls(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let secure = tunnel.secure(Wish::Full)?.context("no TLS to come by")?;
    // What the first one costs beside is no visitor's.
    WebVisitor::visit_once_by_tls(&secure).await?;
    let come = || {
        let secure = secure.clone();
        async move { WebVisitor::stay_by_tls(&secure).await }
    };
    let held = held_by_each(tunnel, come, plan).await?;
    Ok(vec![(&TLS, held)])
}

/// In KB.
async fn held_by_each<V, F>(tunnel: &Tunnel, come: impl Fn() -> F, plan: &Plan) -> Result<f64>
where
    V: Send + 'static,
    F: Future<Output = Result<V>> + Send + 'static,
{
    let before = tunnel.private_bytes()?;
    let crowd = Crowd::gather_all(come, plan.idle_visitors).await?;
    let after = settled(|| tunnel.private_bytes(), plan).await?;
    let growth = largest_growth(&before, &after);
    Ok(growth as f64 / 1e3 / crowd.visitors.len() as f64)
}

static PLAIN: Metric = Metric {
    name: "web-memory-per-idle-visitor",
    title: "web, private memory per idle visitor, larger process",
    unit: "KB",
    more_is_better: false,
    comparable: true,
};

static TLS: Metric = Metric {
    name: "web-memory-per-idle-visitor-tls",
    title: "web, the same by TLS",
    unit: "KB",
    more_is_better: false,
    comparable: true,
};
