//! New visitors by TLS: connect, shake hands, one request, end.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use crate::figures::{Metric, Reading, Scene};
use crate::load::requests;
use crate::load::web::tls::{Secure, Wish};
use crate::load::web::visitor::WebVisitor;
use crate::plan::Plan;
use crate::tunnel::Tunnel;

pub(in crate::figures) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let full = rate(tunnel, Wish::Full, plan).await?;
    let resumed = rate(tunnel, Wish::Resumed, plan).await?;
    Ok(vec![(&FULL, full), (&RESUMED, resumed)])
}

/// Handshakes a second.
async fn rate(tunnel: &Tunnel, wish: Wish, plan: &Plan) -> Result<f64> {
    let mut visiting = Vec::new();
    for _ in 0..AT_A_TIME {
        // Each has a memory of its own: what one remembers is good for one time.
        let secure = tunnel.secure(wish)?.context("no TLS to come by")?;
        // The first time there is nothing to remember.
        WebVisitor::visit_once_by_tls(&secure).await?;
        let secure = Arc::new(secure);
        visiting.push(move || visit(Arc::clone(&secure), wish));
    }
    requests::visit_rate(visiting, plan.warm_up, plan.window).await
}

async fn visit(secure: Arc<Secure>, wish: Wish) -> Result<()> {
    let is_resumed = WebVisitor::visit_once_by_tls(&secure).await?;
    ensure!(is_resumed == (wish == Wish::Resumed), "a handshake was not {wish:?}");
    Ok(())
}

const AT_A_TIME: usize = 20;

static FULL: Metric = Metric {
    name: "web-handshakes",
    title: "web, new visitors by TLS, 20 at a time",
    unit: "1/s",
    more_is_better: true,
    comparable: true,
};

static RESUMED: Metric = Metric {
    name: "web-handshakes-resumed",
    title: "web, the same of those who were there before",
    unit: "1/s",
    more_is_better: true,
    comparable: true,
};
