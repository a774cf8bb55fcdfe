//! Small requests on connections that stay.

use anyhow::Result;

use super::{Metric, Reading, Scene};
use crate::load::crowd::Crowd;
use crate::load::requests;
use crate::load::visitor::Visitor;

pub(super) async fn measure(scene: Scene<'_>) -> Result<Vec<Reading>> {
    let Scene { tunnel, plan, .. } = scene;
    let public = tunnel.public;
    let crowd = Crowd::gather_all(|| Visitor::stay(public), VISITORS).await?;
    let rate = requests::kept_alive_rate(crowd.visitors, plan.warm_up, plan.window).await?;
    Ok(vec![(&RATE, rate / 1e3)])
}

const VISITORS: usize = 50;

static RATE: Metric = Metric {
    name: "keep-alive",
    title: "keep-alive, 50 connections, 1 KB answers",
    unit: "k req/s",
    more_is_better: true,
    comparable: true,
};
