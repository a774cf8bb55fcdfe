//! A relay with very many routes, each to a tunnel of its own: what they hold, and how long requests
//! take beside those of a relay with a few.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;

use crate::contenders::Contender;
use crate::figures::{Metric, Reading};
use crate::load::requests;
use crate::load::web::visitor::WebVisitor;
use crate::plan::Plan;
use crate::routes::RoutedRelay;
use crate::statistics::quantile;
use crate::tunnel::Workshop;
use crate::wait::settled;

pub(in crate::figures) async fn measure(
    contender: Contender,
    workshop: &Workshop<'_>,
    plan: &Plan,
) -> Result<Vec<Reading>> {
    let mut few = RoutedRelay::start(contender, FEW, workshop).await?;
    few.start_clients()?;
    few.until_live().await?;
    let mut many = RoutedRelay::start(contender, plan.routes, workshop).await?;
    let mut readings = vec![(&ROUTES, plan.routes as f64)];
    let watched = watch(&few, &mut many, plan, &mut readings).await;
    // Why a visitor was not answered is told best by the program that ended.
    if watched.is_err() {
        many.check_running()?;
    }
    watched.map(|()| readings)
}

async fn watch(
    few: &RoutedRelay<'_>,
    many: &mut RoutedRelay<'_>,
    plan: &Plan,
    readings: &mut Vec<Reading>,
) -> Result<()> {
    let before = many.private_bytes()?;
    let start = Instant::now();
    many.start_clients()?;
    many.until_live().await?;
    readings.push((&LIVE, start.elapsed().as_secs_f64()));
    let after = settled(|| Ok(vec![many.private_bytes()?]), plan).await?[0];
    let growth = after.saturating_sub(before) as f64 / 1e3;
    readings.push((&PER_ROUTE, growth / plan.routes as f64));

    let visitors = [visitors(many).await?, visitors(few).await?];
    let took = requests::latencies_in_turn(visitors, plan.warm_up, plan.window).await?;
    let [among_many, among_few] = took.map(|took| quantile(&took, 0.5));
    let among_many = among_many.context("no answer among many routes")?;
    let among_few = among_few.context("no answer among few routes")?;
    ensure!(among_few > 0.0, "an answer took no time");
    readings.push((&AMONG_MANY, among_many));
    readings.push((&OVER_FEW, among_many / among_few));
    Ok(())
}

/// One for each of some of the relay's hosts.
async fn visitors(relay: &RoutedRelay<'_>) -> Result<Vec<WebVisitor<TcpStream>>> {
    let mut visitors = Vec::new();
    for host in relay.hosts(FEW) {
        visitors.push(WebVisitor::stay_at(relay.public(), &host).await?);
    }
    Ok(visitors)
}

/// Routes of the relay that the other one is compared with.
const FEW: usize = 10;

static ROUTES: Metric = Metric {
    name: "web-routes",
    title: "web, routes on one relay, each to a tunnel",
    unit: "routes",
    more_is_better: true,
    comparable: false,
};

static LIVE: Metric = Metric {
    name: "web-routes-live",
    title: "web, time until all of them are live",
    unit: "s",
    more_is_better: false,
    comparable: false,
};

static PER_ROUTE: Metric = Metric {
    name: "web-memory-per-route",
    title: "web, relay's private memory per route with its tunnel",
    unit: "KB",
    more_is_better: false,
    comparable: true,
};

static AMONG_MANY: Metric = Metric {
    name: "web-routes-latency",
    title: "web, latency among them, 10 of their hosts in turn, p50",
    unit: "us",
    more_is_better: false,
    comparable: true,
};

static OVER_FEW: Metric = Metric {
    name: "web-routes-look-up",
    title: "web, that over the same of a relay with 10 routes",
    unit: "x",
    more_is_better: false,
    comparable: true,
};
