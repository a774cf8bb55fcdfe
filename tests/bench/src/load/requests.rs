//! Small requests, one after the other, on one or many connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::load::visitor::Visitor;

/// How many requests a second were answered to visitors who stay, each asking again at once.
pub(crate) async fn kept_alive_rate(
    public: SocketAddr,
    visitors: usize,
    warm_up: Duration,
    window: Duration,
) -> Result<f64> {
    let mut waiting = Vec::with_capacity(visitors);
    for _ in 0..visitors {
        waiting.push(Visitor::stay(public).await?);
    }
    let counted = Window::after(warm_up, window);
    let mut tasks = JoinSet::new();
    for mut visitor in waiting {
        tasks.spawn(async move {
            let mut count = 0;
            while !counted.is_over() {
                visitor.request().await?;
                count += u64::from(counted.is_now());
            }
            Ok(count)
        });
    }
    Ok(total(tasks).await? as f64 / window.as_secs_f64())
}

/// How many visits a second were made, each a new connection, a request and the end.
pub(crate) async fn visit_rate(
    public: SocketAddr,
    at_a_time: usize,
    warm_up: Duration,
    window: Duration,
) -> Result<f64> {
    let counted = Window::after(warm_up, window);
    let mut tasks = JoinSet::new();
    for _ in 0..at_a_time {
        tasks.spawn(async move {
            let mut count = 0;
            while !counted.is_over() {
                Visitor::visit_once(public).await?;
                count += u64::from(counted.is_now());
            }
            Ok(count)
        });
    }
    Ok(total(tasks).await? as f64 / window.as_secs_f64())
}

/// Makes one visit to each address; an error unless all are answered.
pub(crate) async fn visit_each(publics: impl Iterator<Item = SocketAddr>) -> Result<()> {
    let mut visits = JoinSet::new();
    for public in publics {
        if visits.len() == EACH_AT_A_TIME
            && let Some(visit) = visits.join_next().await
        {
            visit.context("a visitor's task")??;
        }
        visits.spawn(async move {
            Visitor::visit_once(public).await.with_context(|| format!("a visit at {public}"))
        });
    }
    while let Some(visit) = visits.join_next().await {
        visit.context("a visitor's task")??;
    }
    Ok(())
}

/// How long each answer took to visitors who stay, in microseconds, sorted.
pub(crate) async fn latencies(
    public: SocketAddr,
    visitors: usize,
    warm_up: Duration,
    window: Duration,
) -> Result<Vec<f64>> {
    let mut tasks = JoinSet::new();
    for _ in 0..visitors {
        let visitor = Visitor::stay(public).await?;
        tasks.spawn(latencies_of_one(visitor, Window::after(warm_up, window)));
    }
    let mut all = Vec::new();
    while let Some(took) = tasks.join_next().await {
        all.extend(took.context("a visitor's task")??);
    }
    all.sort_by(f64::total_cmp);
    Ok(all)
}

async fn latencies_of_one(mut visitor: Visitor, counted: Window) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    // At least one, however slow.
    while !counted.is_over() || took.is_empty() {
        let start = Instant::now();
        visitor.request().await?;
        if !counted.is_before() {
            took.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(took)
}

async fn total(mut tasks: JoinSet<Result<u64>>) -> Result<u64> {
    let mut total = 0;
    while let Some(count) = tasks.join_next().await {
        total += count.context("a visitor's task")??;
    }
    Ok(total)
}

/// Enough to be quick, and few enough for any backlog.
const EACH_AT_A_TIME: usize = 20;

/// The time in which answers count.
#[derive(Clone, Copy)]
struct Window {
    start: Instant,
    end: Instant,
}

impl Window {
    fn after(warm_up: Duration, length: Duration) -> Self {
        let start = Instant::now() + warm_up;
        Self { start, end: start + length }
    }

    fn is_before(self) -> bool {
        Instant::now() < self.start
    }

    fn is_over(self) -> bool {
        Instant::now() >= self.end
    }

    fn is_now(self) -> bool {
        let now = Instant::now();
        self.start <= now && now < self.end
    }
}
