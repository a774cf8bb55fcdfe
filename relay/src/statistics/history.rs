//! Which requests and visits there were: what is known of each when it is over, and nothing that it
//! moved.
//!
//! Nobody waits for it. Entries are put into a queue, from which they are written down in batches; the
//! queue is bounded, and so is how many of one tunnel get there in an interval. Without a store the
//! queue is all there is.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use parking_lot::Mutex;
use shared::kit::backoff::random;
use shared::kit::logging::Rate;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::scope::owner_in;
use crate::config::StatisticsSettings;
use crate::metrics::{Entries, Keeping, Labels, Metrics, TunnelMetrics};
use crate::store::{BATCH, HistoryEntry, HistoryFilter, HistoryKind, HistoryPlace, Store};
use crate::web::{Asked, Became, Facts};

/// So many entries of a tunnel are kept in each interval of statistics: those of a page or two with
/// all that belongs to it each second. It is what a thousand busy tunnels may cost the store.
const MOST_IN_INTERVAL: u32 = 300;

/// So many of a tunnel are kept in all: hours of one that is used by people.
pub(super) const MOST_OF_A_TUNNEL: u32 = 10_000;

/// A tunnel has as many more before they are counted again.
const COUNTED_EACH: u32 = 1000;

/// So many wait to be written, or are remembered without a store: with usual addresses 2 MiB, and
/// 12 MiB with the longest ones.
const MOST_WAITING: usize = 4096;

/// How often they are written.
const WRITE: Duration = Duration::from_secs(2);

/// The most entries of a page.
pub(crate) const LONGEST_PAGE: u32 = 500;

/// A store that cannot be written to, again and again.
static NOT_WRITTEN: Rate = Rate::rare(|more| {
    warn!(left_out = more.count, "the history of requests was not written down: {more}");
});

/// What is known of requests and visits that are over. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Option<Store>,
    metrics: Metrics,
    is_on: AtomicBool,
    has_addresses: AtomicBool,
    /// In the order in which they ended. Only who writes takes any away, if there is a store.
    waiting: Mutex<VecDeque<Arc<HistoryEntry>>>,
    /// The number of the next one, which no other run of a relay uses at the same time.
    next: AtomicI64,
    /// How many of each tunnel were written since they were counted.
    written: Mutex<HashMap<Name, u32>>,
}

/// The owner of a tunnel, and its name.
type Name = (Arc<str>, Arc<str>);

/// A visit that is over, as the history has it.
#[derive(Debug)]
pub(crate) struct VisitOver {
    /// The number of the visit.
    pub(crate) id: String,
    pub(crate) visitor: IpAddr,
    pub(crate) outcome: &'static str,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) length: Duration,
    pub(crate) first_byte: Option<Duration>,
}

/// Some entries, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The entries.
    pub entries: Vec<Arc<HistoryEntry>>,
    /// Where the next ones begin, if there are any. It is good whatever comes meanwhile.
    pub next: Option<Cursor>,
}

/// Where a page begins. As text it is nothing to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(HistoryPlace);

/// The text is no [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCursor;

impl History {
    /// The history that is kept in `store`, if there is one, else in memory.
    pub(crate) fn new(
        store: Option<Store>,
        metrics: Metrics,
        settings: &StatisticsSettings,
    ) -> Self {
        // Far from the end of the numbers.
        let first = i64::try_from(random() >> 2).unwrap_or_default();
        let history = Self(Arc::new(Shared {
            store,
            metrics,
            is_on: AtomicBool::new(false),
            has_addresses: AtomicBool::new(false),
            waiting: Mutex::default(),
            next: AtomicI64::new(first),
            written: Mutex::default(),
        }));
        history.set(settings);
        history
    }

    /// What is kept from now on.
    pub(crate) fn set(&self, settings: &StatisticsSettings) {
        self.0.is_on.store(!settings.history.is_zero(), Ordering::Relaxed);
        self.0.has_addresses.store(settings.history_addresses, Ordering::Relaxed);
    }

    /// Whether anything is kept.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Relaxed)
    }

    /// A request for this tunnel is over.
    pub(crate) fn request(&self, tunnel: &TunnelMetrics, asked: &Asked, became: &Became<'_>) {
        if !self.takes_one_of(tunnel) {
            return;
        }
        let Facts { id, method, host, path, fault, outcome, visitor } = Facts::of(asked, became);
        self.push(HistoryEntry {
            method: Some(method),
            host: Some(host),
            path: Some(path),
            status: Some(became.status),
            fault: fault.map(str::to_owned),
            outcome: Some(outcome.to_owned()),
            bytes_in: became.bytes_in,
            bytes_out: became.bytes_out,
            first_byte: became.first_byte,
            ..self.entry(tunnel.labels(), HistoryKind::Http, id, visitor, became.length)
        });
    }

    /// A visit of this tunnel is over. `over` is asked only if it is kept.
    pub(crate) fn visit(&self, tunnel: &TunnelMetrics, over: impl FnOnce() -> VisitOver) {
        if !self.takes_one_of(tunnel) {
            return;
        }
        let VisitOver { id, visitor, outcome, bytes_in, bytes_out, length, first_byte } = over();
        self.push(HistoryEntry {
            outcome: Some(outcome.to_owned()),
            bytes_in,
            bytes_out,
            first_byte,
            ..self.entry(tunnel.labels(), HistoryKind::Tcp, id, visitor, length)
        });
    }

    /// So many were to be kept of a tunnel in an interval that is over.
    pub(super) fn left_out(&self, labels: &Labels, noted: u64, now: SystemTime) {
        let count = noted.saturating_sub(MOST_IN_INTERVAL.into());
        if count == 0 || !self.is_on() {
            return;
        }
        self.0.metrics.history_entries(Entries::LeftOut, count);
        let nobody = IpAddr::from([0, 0, 0, 0]);
        let length = Duration::ZERO;
        let entry = self.entry(labels, HistoryKind::LeftOut, String::new(), nobody, length);
        self.push(HistoryEntry { visitor: None, time: now, count, ..entry });
    }

    fn takes_one_of(&self, tunnel: &TunnelMetrics) -> bool {
        self.is_on() && tunnel.note_one() < MOST_IN_INTERVAL
    }

    /// What all entries have.
    fn entry(
        &self,
        labels: &Labels,
        kind: HistoryKind,
        id: String,
        visitor: IpAddr,
        length: Duration,
    ) -> HistoryEntry {
        let now = SystemTime::now();
        HistoryEntry {
            time: now.checked_sub(length).unwrap_or(now),
            number: self.0.next.fetch_add(1, Ordering::Relaxed),
            owner: owner_in(labels),
            tunnel: labels.tunnel.as_str().into(),
            kind,
            id,
            visitor: self.0.has_addresses.load(Ordering::Relaxed).then_some(visitor),
            method: None,
            host: None,
            path: None,
            status: None,
            fault: None,
            outcome: None,
            bytes_in: 0,
            bytes_out: 0,
            length,
            first_byte: None,
            count: 1,
        }
    }

    fn push(&self, entry: HistoryEntry) {
        let mut waiting = self.0.waiting.lock();
        if waiting.len() >= MOST_WAITING {
            if self.0.store.is_some() {
                drop(waiting);
                self.0.metrics.history_entries(Entries::Dropped, 1);
                return;
            }
            waiting.pop_front();
        }
        waiting.push_back(Arc::new(entry));
    }

    /// Forgets what is too old, where there is no store, and what was kept before it was switched
    /// off.
    pub(super) fn look(&self, now: SystemTime, kept: Duration) {
        if self.0.store.is_none() || kept.is_zero() {
            let from = now.checked_sub(kept).unwrap_or(SystemTime::UNIX_EPOCH);
            self.0.waiting.lock().retain(|entry| entry.time > from);
        }
    }

    /// Writes from time to time.
    pub(super) async fn write_on(&self) -> Infallible {
        loop {
            sleep(WRITE).await;
            self.write_all().await;
        }
    }

    /// Writes all that waits. What cannot be written waits on.
    pub(super) async fn write_all(&self) {
        let Shared { store: Some(store), metrics, waiting, .. } = &*self.0 else { return };
        loop {
            let batch: Vec<_> = waiting.lock().iter().take(BATCH).cloned().collect();
            let Some(last) = batch.last() else { return };
            if let Err(err) = store.add_history(&batch).await {
                metrics.write_failed(Keeping::History);
                if NOT_WRITTEN.allows() {
                    warn!("the history of requests is not written down yet: {err}");
                }
                return;
            }
            self.written(last);
            metrics.history_entries(Entries::Written, batch.len() as u64);
            for (owner, tunnel) in self.with_many_more(&batch) {
                if let Err(err) = store.limit_history((&owner, &tunnel), MOST_OF_A_TUNNEL).await {
                    debug!("the history of a tunnel is longer than it should be: {err}");
                }
            }
        }
    }

    /// All entries as far as this one are written.
    fn written(&self, last: &Arc<HistoryEntry>) {
        let mut waiting = self.0.waiting.lock();
        // Unless it has been switched off meanwhile, and they are gone already.
        if let Some(at) = waiting.iter().take(BATCH).position(|entry| Arc::ptr_eq(entry, last)) {
            waiting.drain(..=at);
        }
    }

    /// Tunnels of which so many entries were written that the oldest may have to go.
    fn with_many_more(&self, batch: &[Arc<HistoryEntry>]) -> Vec<Name> {
        let mut many = Vec::new();
        let mut written = self.0.written.lock();
        for entry in batch {
            let name = (Arc::clone(&entry.owner), Arc::clone(&entry.tunnel));
            let count = written.entry(name.clone()).or_default();
            *count += 1;
            if *count >= COUNTED_EACH {
                written.remove(&name);
                many.push(name);
            }
        }
        if written.len() > MOST_WAITING {
            // Tunnels come and go; those that are forgotten here are counted a little later.
            written.clear();
        }
        many
    }

    /// Entries that `filter` takes, the newest first, from where `from` says: up to `most`, and 500 at
    /// the most.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn page(
        &self,
        filter: &HistoryFilter,
        from: Option<Cursor>,
        most: u32,
    ) -> anyhow::Result<HistoryPage> {
        let most = most.clamp(1, LONGEST_PAGE);
        let before = from.map(|Cursor(place)| place);
        // First what waits: what is written meanwhile is in both.
        let mut entries: Vec<_> = {
            let waiting = self.0.waiting.lock();
            let is_before =
                |entry: &HistoryEntry| before.is_none_or(|before| entry.place() < before);
            let wanted = waiting.iter().filter(|entry| is_before(entry) && filter.takes(entry));
            wanted.cloned().collect()
        };
        if let Some(store) = &self.0.store {
            let kept = store.history(filter, before, most + 1).await;
            entries.extend(kept.context("the history cannot be read")?.into_iter().map(Arc::new));
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.place()));
        entries.dedup_by_key(|entry| entry.place());
        let is_longer = entries.len() > most as usize;
        entries.truncate(most as usize);
        let last = entries.last().filter(|_| is_longer);
        let next = last.map(|entry| Cursor(entry.place()));
        Ok(HistoryPage { entries, next })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(HistoryPlace { millis, number }) = self;
        write!(f, "{millis:x}-{number:x}")
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (millis, number) = text.split_once('-').ok_or(BadCursor)?;
        let hex = |digits: &str| {
            let only = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = u64::from_str_radix(digits, 16).ok().filter(|_| only);
            number.and_then(|number| i64::try_from(number).ok()).ok_or(BadCursor)
        };
        Ok(Self(HistoryPlace { millis: hex(millis)?, number: hex(number)? }))
    }
}

impl fmt::Display for BadCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cursor is what the page before it has said")
    }
}

impl std::error::Error for BadCursor {}

#[cfg(test)]
mod tests;
