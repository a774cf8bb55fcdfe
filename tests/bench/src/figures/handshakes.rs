//! What it costs the relay to let in a client: sessions with one tunnel that begin, by all that
//! belongs to it, and end at once.

use anyhow::Result;
use tokio::time::sleep;

use super::{Metric, Reading};
use crate::contenders::Contender;
use crate::contenders::ours::Made;
use crate::fleet::Fleet;
use crate::load::arrivals::Arrivals;
use crate::load::client::{Agreement, Client, Pass};
use crate::plan::Plan;
use crate::tunnel::Workshop;

pub(super) async fn measure(
    contender: Contender,
    workshop: &Workshop<'_>,
    plan: &Plan,
) -> Result<Vec<Reading>> {
    let mut fleet = Fleet::start(contender, AT_A_TIME, 1, workshop).await?;
    let mut readings = Vec::new();
    for agreement in agreements(contender) {
        let pass = pass(contender, &fleet, workshop, *agreement)?;
        let rate = rate(&fleet, pass, *agreement, plan).await;
        // Why a client was not let in is told best by a relay that ended.
        if rate.is_err() {
            fleet.check_running()?;
        }
        readings.push((metric(*agreement), rate?));
    }
    Ok(readings)
}

/// In which ways clients of that contender come in.
fn agreements(contender: Contender) -> &'static [Agreement] {
    if contender.has_tls() { &[Agreement::Full, Agreement::Resumed] } else { &[Agreement::Plain] }
}

fn metric(agreement: Agreement) -> &'static Metric {
    match agreement {
        Agreement::Plain | Agreement::Full => &FIRST,
        Agreement::Resumed => &RESUMED,
    }
}

fn pass(
    contender: Contender,
    fleet: &Fleet<'_>,
    workshop: &Workshop<'_>,
    agreement: Agreement,
) -> Result<Option<Pass>> {
    if agreement == Agreement::Plain {
        return Ok(None);
    }
    let made = Made::kept_in(&fleet.place().directory, contender, workshop.programs)?;
    let remembers = agreement == Agreement::Resumed;
    Pass::new(&made.certificate(), &made.token, remembers).map(Some)
}

/// How many clients come and go for each second that the relay computes.
async fn rate(
    fleet: &Fleet<'_>,
    pass: Option<Pass>,
    agreement: Agreement,
    plan: &Plan,
) -> Result<f64> {
    let control = fleet.place().control;
    let tunnels = fleet.place().tunnels();
    let clients = tunnels.map(|tunnel| Client::new(control, &tunnel, pass.clone()));
    let mut arrivals = Arrivals::start(clients.collect::<Result<_>>()?, agreement).await?;
    sleep(plan.warm_up).await;
    let (count, cpu) = (arrivals.count()?, fleet.relay_cpu_seconds()?);
    sleep(plan.window).await;
    let (count, cpu) = (arrivals.count()? - count, fleet.relay_cpu_seconds()? - cpu);
    // The kernel counts in steps, of which a tiny run may see none.
    Ok(count as f64 / cpu.max(SMALLEST))
}

/// Enough to keep a relay busy that has a core for itself.
const AT_A_TIME: usize = 8;

/// The step in which the kernel counts CPU time, in seconds.
const SMALLEST: f64 = 0.01;

static FIRST: Metric = Metric {
    name: "handshakes",
    title: "clients that come and go, for each second of the relay's CPU",
    unit: "clients",
    more_is_better: true,
    comparable: true,
};

static RESUMED: Metric = Metric {
    name: "handshakes-resumed",
    title: "the same for clients that were there before",
    unit: "clients",
    more_is_better: true,
    comparable: true,
};
