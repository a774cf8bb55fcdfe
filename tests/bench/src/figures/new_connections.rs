//! New connections: connect, one request, end.

use anyhow::Result;

use super::{Metric, Reading, Scene};
use crate::load::requests;
use crate::load::visitor::Visitor;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let public = tunnel.public;
    let visiting = vec![move || Visitor::visit_once(public); AT_A_TIME];
    let rate = requests::visit_rate(visiting, plan.warm_up, plan.window).await?;
    Ok(vec![(&RATE, rate / 1e3)])
}

const AT_A_TIME: usize = 20;

static RATE: Metric = Metric {
    name: "new-connections",
    title: "new connections, 20 at a time",
    unit: "k/s",
    more_is_better: true,
    comparable: true,
};
