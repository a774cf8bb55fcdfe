//! What has moved at tunnels, minute by minute and hour by hour, and the history of their requests.
//!
//! Visits and requests count as they do for Prometheus, and nothing more. [`collect`] looks at these
//! numbers from time to time, adds what has moved to the [`slots`] of that minute and that hour, for
//! the tunnel, its owner and the relay as a whole, and writes them down. What several relays, or
//! several runs of one, have counted in a slot stands side by side in the store and is added up when
//! it is read: so each writes over its own rows, as often as it likes.
//!
//! - [`scope`], [`span`]: of what, and of which time
//! - [`sample`], [`spread`]: what has moved, and how long it took
//! - [`history`]: what is kept of each request and visit

mod collect;
mod history;
#[cfg(test)]
mod measured;
mod sample;
mod scope;
mod slots;
mod span;
mod spread;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use self::history::VisitOver;
pub use self::history::{BadCursor, Cursor, History, HistoryPage};
pub use self::scope::Scope;
pub use self::span::{BadSpan, Span};

use self::sample::Sample;
use self::slots::{MOST_ROWS, Slots};
use self::spread::Spread;
use crate::config::CurrentConfig;
use crate::metrics::Metrics;
use crate::store::{Counts, KeptStatistics, Store, from_millis};

/// What has moved at tunnels. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Statistics(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: CurrentConfig,
    metrics: Metrics,
    store: Option<Store>,
    history: History,
    slots: Mutex<Slots>,
    /// There is something to be written.
    owes: Notify,
}

/// What has moved in one step of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// When the step begins.
    pub time: SystemTime,
    /// Requests that have ended.
    pub requests: u64,
    /// Visits that have ended.
    pub visits: u64,
    /// Payload from visitors.
    pub bytes_in: u64,
    /// Payload to visitors.
    pub bytes_out: u64,
    /// Requests and visits that did not get what they came for, through no fault of their visitor.
    pub errors: u64,
    /// How long it took until the first byte went back, if any has.
    pub first_byte: Option<Percentiles>,
}

/// The times that so many percent of all were not longer than, each with an error of 9.1 % at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// 50 %.
    pub p50: Duration,
    /// 95 %.
    pub p95: Duration,
    /// 99 %.
    pub p99: Duration,
}

impl Statistics {
    /// Statistics that are kept in `store`, if there is one, else in memory.
    pub(crate) fn new(
        config: CurrentConfig,
        store: Option<Store>,
        metrics: Metrics,
        history: History,
    ) -> Self {
        let slots = Mutex::new(Slots::new(MOST_ROWS));
        // Before the first tunnel comes and goes.
        metrics.look_from_now_on(config.now().statistics.are_kept() || history.is_on());
        Self(Arc::new(Shared { config, metrics, store, history, slots, owes: Notify::new() }))
    }

    /// What has moved in each step of `span`, those without anything included. What is not kept any
    /// more counts as nothing, as minutes do after `--statistics-minutes`; the last seconds may be
    /// missing.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn of(&self, scope: &Scope, span: &Span) -> anyhow::Result<Vec<Point>> {
        // First what is here: what goes to the store meanwhile is the same.
        let here = self.0.slots.lock().find(scope, span.slot(), span.times());
        let mut steps: Vec<_> = span.starts().map(|start| (start, Sample::default())).collect();
        let mut add = |time: i64, sample: &Sample| {
            if let Some((_, step)) = steps.get_mut(span.index(time)) {
                step.merge(sample);
            }
        };
        let known: HashSet<_> = here.iter().map(|row| (row.time, row.part)).collect();
        here.iter().for_each(|row| add(row.time, &row.sample));
        if let Some(store) = &self.0.store {
            let kept = store.statistics(scope.as_kept(), span.slot(), span.times()).await;
            for row in kept.context("statistics cannot be read")? {
                if !known.contains(&(row.time, row.part)) {
                    add(row.time, &Sample::from(&row));
                }
            }
        }
        Ok(steps.into_iter().map(|(start, sample)| Point::new(start, &sample)).collect())
    }
}

impl Point {
    fn new(start: i64, sample: &Sample) -> Self {
        let Counts { requests, visits, bytes_in, bytes_out, errors } = sample.counts;
        let [p50, p95, p99] = [0.50, 0.95, 0.99].map(|share| sample.first_byte.percentile(share));
        let percentiles = |((p50, p95), p99)| Percentiles { p50, p95, p99 };
        let first_byte = p50.zip(p95).zip(p99).map(percentiles);
        let time = from_millis(start);
        Self { time, requests, visits, bytes_in, bytes_out, errors, first_byte }
    }
}

impl From<&KeptStatistics> for Sample {
    fn from(kept: &KeptStatistics) -> Self {
        // Whatever a later relay or a broken disk has left there: the counts are good.
        let first_byte = Spread::decode(&kept.first_byte).unwrap_or_default();
        Self { counts: kept.counts, first_byte }
    }
}
