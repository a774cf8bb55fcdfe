//! Small requests, one after the other, on one or many connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::load::visitor::Visitor;

/// A visitor who stays.
pub(crate) trait Ask: Send + 'static {
    /// Sends one more request and waits for its answer. Not cancel safe: what is left of the answer
    /// would be taken for the next one's.
    fn request(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// How many requests a second were answered to visitors who stay, each asking again at once.
pub(crate) async fn kept_alive_rate(
    waiting: Vec<impl Ask>,
    warm_up: Duration,
    window: Duration,
) -> Result<f64> {
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

/// How many visits a second were made, each a new connection, a request and the end. Each of those who
/// visit comes again at once.
pub(crate) async fn visit_rate<V, F>(
    visiting: Vec<V>,
    warm_up: Duration,
    window: Duration,
) -> Result<f64>
where
    V: Fn() -> F + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let counted = Window::after(warm_up, window);
    let mut tasks = JoinSet::new();
    for visit in visiting {
        tasks.spawn(async move {
            let mut count = 0;
            while !counted.is_over() {
                visit().await?;
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

/// How long each answer took to two groups of visitors, of whom one alone asks at a time, a visitor of
/// each group in turn: whatever the machine does meanwhile it does to both. In microseconds, sorted.
pub(crate) async fn latencies_in_turn(
    mut groups: [Vec<impl Ask>; 2],
    warm_up: Duration,
    window: Duration,
) -> Result<[Vec<f64>; 2]> {
    let counted = Window::after(warm_up, window);
    let mut took = [Vec::new(), Vec::new()];
    let mut turn = 0;
    while !counted.is_over() || took[0].is_empty() {
        for (group, took) in groups.iter_mut().zip(&mut took) {
            let place = turn % group.len();
            let start = Instant::now();
            group[place].request().await?;
            if !counted.is_before() {
                took.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        turn += 1;
    }
    took.iter_mut().for_each(|took| took.sort_by(f64::total_cmp));
    Ok(took)
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
