//! Many clients on one relay: how soon they are there, how soon they are back when the relay was
//! killed, and what they cost while nobody visits.

use std::time::Instant;

use anyhow::Result;
use tokio::time::sleep;

use super::{Metric, Reading};
use crate::contenders::Contender;
use crate::fleet::Fleet;
use crate::load::requests;
use crate::plan::Plan;
use crate::scrape::Scrape;
use crate::statistics::Summary;
use crate::tunnel::Workshop;
use crate::wait::settled;

pub(super) async fn measure(
    contender: Contender,
    workshop: &Workshop<'_>,
    plan: &Plan,
) -> Result<Vec<Reading>> {
    let clients = plan.clients.min(contender.most_clients());
    let tunnels = clients * TUNNELS_EACH;
    let mut fleet = Fleet::start(contender, tunnels, TUNNELS_EACH, workshop).await?;
    let mut readings = vec![(&CLIENTS, clients as f64)];
    let watched = watch(&mut fleet, clients, plan, &mut readings).await;
    // Why a visitor was not answered is told best by the program that ended.
    if watched.is_err() {
        fleet.check_running()?;
    }
    watched.map(|()| readings)
}

async fn watch(
    fleet: &mut Fleet<'_>,
    clients: usize,
    plan: &Plan,
    readings: &mut Vec<Reading>,
) -> Result<()> {
    let before = fleet.relay_resident_bytes()?;
    let start = Instant::now();
    fleet.start_clients()?;
    fleet.until_live().await?;
    readings.push((&LIVE, start.elapsed().as_secs_f64()));

    settled(|| Ok(vec![fleet.relay_resident_bytes()?]), plan).await?;
    readings.push((&IDLE_CPU, idle_cpu(fleet, plan).await?));
    let growth = fleet.relay_resident_bytes()?.saturating_sub(before) as f64 / 1e3;
    readings.push((&PER_SESSION, growth / clients as f64));
    readings.push((&PER_TUNNEL, growth / (clients * TUNNELS_EACH) as f64));

    readings.extend(scrape(fleet, [&SCRAPE_TIME, &SCRAPE_SIZE]).await?);
    requests::visit_each(fleet.publics()).await?;
    readings.extend(scrape(fleet, [&USED_SCRAPE_TIME, &USED_SCRAPE_SIZE]).await?);

    let start = Instant::now();
    fleet.restart_relay()?;
    fleet.until_live().await?;
    readings.push((&BACK, start.elapsed().as_secs_f64()));
    Ok(())
}

/// In per cent of a core.
async fn idle_cpu(fleet: &Fleet<'_>, plan: &Plan) -> Result<f64> {
    let (start, used) = (Instant::now(), fleet.relay_cpu_seconds()?);
    sleep(plan.idle_window).await;
    Ok((fleet.relay_cpu_seconds()? - used) / start.elapsed().as_secs_f64() * 100.0)
}

/// The middle of the times that some scrapes take, and the size of the last one; nothing of a relay
/// that does not tell metrics.
async fn scrape(fleet: &Fleet<'_>, [time, size]: [&'static Metric; 2]) -> Result<Vec<Reading>> {
    let Some(admin) = fleet.admin() else { return Ok(Vec::new()) };
    let mut took = Vec::with_capacity(SCRAPES);
    let mut bytes = 0;
    for _ in 0..SCRAPES {
        let scrape = Scrape::take(admin).await?;
        took.push(scrape.took.as_secs_f64() * 1e3);
        bytes = scrape.text.len();
    }
    let time = Summary::of(&took).map(|summary| (time, summary.median));
    Ok(time.into_iter().chain([(size, bytes as f64 / 1e3)]).collect())
}

const TUNNELS_EACH: usize = 10;

const SCRAPES: usize = 5;

static CLIENTS: Metric = Metric {
    name: "many-clients",
    title: "clients of 10 tunnels each on one relay",
    unit: "clients",
    more_is_better: true,
    comparable: false,
};

static LIVE: Metric = Metric {
    name: "many-clients-live",
    title: "time until all of them are live",
    unit: "s",
    more_is_better: false,
    comparable: false,
};

static BACK: Metric = Metric {
    name: "many-clients-back",
    title: "time until all are back after the relay was killed",
    unit: "s",
    more_is_better: false,
    comparable: false,
};

static PER_SESSION: Metric = Metric {
    name: "memory-per-session",
    title: "relay's memory per idle client with its 10 tunnels",
    unit: "KB",
    more_is_better: false,
    comparable: true,
};

static PER_TUNNEL: Metric = Metric {
    name: "memory-per-tunnel",
    title: "relay's memory per idle tunnel with its share of the client's",
    unit: "KB",
    more_is_better: false,
    comparable: true,
};

static IDLE_CPU: Metric = Metric {
    name: "idle-cpu",
    title: "CPU of the relay with those clients and no visitor",
    unit: "% of a core",
    more_is_better: false,
    comparable: false,
};

static SCRAPE_TIME: Metric = Metric {
    name: "scrape-time",
    title: "a scrape of those tunnels",
    unit: "ms",
    more_is_better: false,
    comparable: false,
};

static SCRAPE_SIZE: Metric = Metric {
    name: "scrape-size",
    title: "what it brings",
    unit: "KB",
    more_is_better: false,
    comparable: false,
};

static USED_SCRAPE_TIME: Metric = Metric {
    name: "scrape-time-used",
    title: "a scrape of those tunnels after a visit of each",
    unit: "ms",
    more_is_better: false,
    comparable: false,
};

static USED_SCRAPE_SIZE: Metric = Metric {
    name: "scrape-size-used",
    title: "what that one brings",
    unit: "KB",
    more_is_better: false,
    comparable: false,
};
