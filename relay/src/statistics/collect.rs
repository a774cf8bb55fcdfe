//! Looks at what has moved, and writes it down.

use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use shared::kit::logging::Rate;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::sample::Sample;
use super::scope::Scope;
use super::slots::{HOUR, Kept, MINUTE, SlotRow};
use super::{Shared, Statistics};
use crate::config::StatisticsSettings;
use crate::metrics::{Keeping, KeptAs};
use crate::store::{BATCH, KeptFrom, KeptStatistics, NewStatistics, Store, StoreError, to_millis};

/// How often somebody looks. A crash loses no more than this.
const INTERVAL: Duration = Duration::from_secs(10);

/// Without a store minutes are remembered for so long.
const REMEMBERED_MINUTES: i64 = 3 * HOUR;

/// And hours.
const REMEMBERED_HOURS: i64 = 48 * HOUR;

/// How often it is looked for what is too old.
const FORGET: Duration = Duration::from_secs(600);

/// Between two portions of what is too old others have the store.
const FORGET_PAUSE: Duration = Duration::from_millis(20);

/// A store that cannot be written to, again and again.
static NOT_WRITTEN: Rate = Rate::rare(|more| {
    warn!(left_out = more.count, "statistics were not written down: {more}");
});

/// There is no more room for what cannot be written.
static NO_ROOM: Rate = Rate::rare(|more| {
    warn!(left_out = more.count, "statistics were lost: {more}");
});

impl Statistics {
    /// Looks and writes from time to time until `stop`, and once more then: whoever stops it has seen
    /// to it that nothing moves any more, and does not wait for ever.
    pub(crate) async fn follow(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut looked = Instant::now();
        tokio::select! {
            never = self.look_on(&mut looked) => match never {},
            never = self.0.write_on() => match never {},
            never = self.0.history.write_on() => match never {},
            never = self.0.forget_on() => match never {},
            () = stop.cancelled() => (),
        }
        self.look(&mut looked, SystemTime::now());
        // What was broken off is written again: that does no harm.
        tokio::join!(self.0.write_all(), self.0.history.write_all());
        Ok(())
    }

    /// Looks at the clock's full intervals, so that what is found belongs to one minute.
    async fn look_on(&self, looked: &mut Instant) -> Infallible {
        loop {
            sleep(until_next(SystemTime::now())).await;
            self.look(looked, SystemTime::now());
        }
    }

    /// Adds what has moved to the slots of the time in whose middle it did.
    pub(super) fn look(&self, looked: &mut Instant, now: SystemTime) {
        let Shared { config, metrics, store, history, slots, owes } = &*self.0;
        let settings = config.now().statistics.clone();
        let since = std::mem::replace(looked, Instant::now()).elapsed().min(INTERVAL);
        let time = to_millis(now - since / 2);
        metrics.look_from_now_on(settings.are_kept() || history.is_on());
        let mut lost = 0;
        let mut slots = slots.lock();
        let gone = metrics.look(|labels, moved| {
            history.left_out(labels, moved.noted, now);
            let sample = Sample::from(&moved);
            if settings.are_kept() && !sample.is_empty() {
                lost += slots.add(&Scope::all_of(labels), time, &sample);
            }
        });
        if !settings.are_kept() {
            slots.clear();
        }
        if store.is_none() {
            lost = 0;
            slots.owe_nothing();
        }
        slots.settle(kept(&settings, store.is_some(), to_millis(now)));
        drop(slots);
        let lost = lost as u64 + if settings.are_kept() { gone } else { 0 };
        metrics.statistics_rows(KeptAs::Dropped, lost);
        if lost > 0 && NO_ROOM.allows() {
            warn!(lost, "statistics are lost: there is no room for what cannot be written down");
        }
        owes.notify_one();
        history.look(now, settings.history);
    }
}

impl Shared {
    /// Writes whatever is owed after each look.
    async fn write_on(&self) -> Infallible {
        loop {
            self.owes.notified().await;
            self.write_all().await;
        }
    }

    /// Writes all that is owed. What cannot be written stays here for the next time.
    pub(super) async fn write_all(&self) {
        let Some(store) = &self.store else { return };
        loop {
            let owed = self.slots.lock().owed(BATCH);
            if owed.is_empty() {
                return;
            }
            if let Err(err) = write(store, &owed).await {
                self.metrics.write_failed(Keeping::Statistics);
                if NOT_WRITTEN.allows() {
                    warn!(
                        "statistics are not written down yet, and a crash would lose them: {err}"
                    );
                }
                return;
            }
            self.slots.lock().written(&owed);
            self.metrics.statistics_rows(KeptAs::Written, owed.len() as u64);
        }
    }

    /// Forgets what is too old, a little at a time.
    async fn forget_on(&self) -> Infallible {
        loop {
            sleep(FORGET).await;
            if let Err(err) = self.forget(SystemTime::now()).await {
                debug!("old statistics are not forgotten yet: {err}");
            }
        }
    }

    pub(super) async fn forget(&self, now: SystemTime) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let settings = self.config.now().statistics.clone();
        let from =
            |time: Duration| to_millis(now.checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH));
        let kept = KeptFrom {
            minutes: (MINUTE, from(settings.minutes.min(settings.hours))),
            hours: (HOUR, from(settings.hours)),
            history: from(settings.history),
            most: super::history::MOST_OF_A_TUNNEL,
        };
        let mut after = 0;
        while let Some(last) = store.forget_old(after, kept).await? {
            after = last;
            sleep(FORGET_PAUSE).await;
        }
        Ok(())
    }
}

async fn write(store: &Store, rows: &[SlotRow]) -> Result<(), StoreError> {
    let rows = rows.iter().map(|row| {
        let SlotRow { scope, step, time, part, sample } = row;
        let (owner, tunnel) = scope.as_kept();
        let first_byte = sample.first_byte.encode();
        let kept = KeptStatistics { time: *time, part: *part, counts: sample.counts, first_byte };
        NewStatistics { owner, tunnel, kept, step: *step }
    });
    store.write_statistics(&rows.collect::<Vec<_>>()).await
}

/// What stays in memory although it is written down: what may still grow. Without a store, what
/// somebody may want to see.
fn kept(settings: &StatisticsSettings, has_store: bool, now: i64) -> Kept {
    if has_store {
        return Kept { minutes_from: now, hours_from: now };
    }
    let least =
        |time: Duration, most: i64| i64::try_from(time.as_millis()).unwrap_or(most).min(most);
    Kept {
        minutes_from: now - least(settings.minutes.min(settings.hours), REMEMBERED_MINUTES),
        hours_from: now - least(settings.hours, REMEMBERED_HOURS),
    }
}

/// How long it is until the clock shows the next full interval.
fn until_next(now: SystemTime) -> Duration {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let interval = INTERVAL.as_millis() as u64;
    Duration::from_millis(interval - since.as_millis() as u64 % interval)
}
