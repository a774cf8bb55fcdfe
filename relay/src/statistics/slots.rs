//! What has moved of late, in minutes and hours: all that is not written down yet, and all that may
//! still grow.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use shared::kit::backoff::random;

use super::sample::Sample;
use super::scope::Scope;

/// How long a slot lasts, in milliseconds.
pub(super) const MINUTE: i64 = 60_000;
pub(super) const HOUR: i64 = 60 * MINUTE;

/// So many rows are in memory at most, each with some 250 bytes: 12 MiB. A thousand tunnels that all
/// move fill it while the store is away for half an hour or more.
pub(super) const MOST_ROWS: usize = 50_000;

/// What has moved in one slot at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotRow {
    pub(super) scope: Scope,
    pub(super) step: i64,
    pub(super) time: i64,
    pub(super) part: i64,
    pub(super) sample: Sample,
}

/// Rows by their slots. Each change is in its minute and in its hour, so that minutes can go
/// without a loss to their hours.
#[derive(Debug)]
pub(super) struct Slots {
    minutes: BTreeMap<i64, Rows>,
    hours: BTreeMap<i64, Rows>,
    /// What tells rows that begin from now on from those that others write of the same slot, or that
    /// have been let go.
    part: i64,
    /// The latest minute so far.
    latest: i64,
    count: usize,
    most: usize,
}

type Rows = HashMap<Scope, Row>;

#[derive(Debug)]
struct Row {
    part: i64,
    sample: Sample,
    /// It is not written down as it is now.
    is_owed: bool,
}

/// From when on slots are kept that are written down, or never will be, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) minutes_from: i64,
    pub(super) hours_from: i64,
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        let (minutes, hours) = (BTreeMap::new(), BTreeMap::new());
        Self { minutes, hours, part: new_part(), latest: i64::MIN, count: 0, most }
    }

    /// This has moved at that time. How many rows had to go for it that are written nowhere.
    pub(super) fn add(&mut self, scopes: &[Scope], time: i64, sample: &Sample) -> usize {
        let minute = time.div_euclid(MINUTE) * MINUTE;
        if minute < self.latest {
            // The clock was set back: what has been written of this slot may not be here any more,
            // and is not to be replaced.
            self.part = new_part();
        }
        self.latest = minute;
        let mut lost = 0;
        for (step, slot) in [(HOUR, time.div_euclid(HOUR) * HOUR), (MINUTE, minute)] {
            for scope in scopes {
                if self.count >= self.most && !self.has(step, slot, scope) {
                    lost += self.make_room();
                }
                let rows = self.of(step).entry(slot).or_default();
                if let Some(row) = rows.get_mut(scope) {
                    row.sample.merge(sample);
                    row.is_owed = true;
                } else {
                    let part = self.part;
                    let row = Row { part, sample: sample.clone(), is_owed: true };
                    self.of(step).entry(slot).or_default().insert(scope.clone(), row);
                    self.count += 1;
                }
            }
        }
        lost
    }

    fn has(&mut self, step: i64, slot: i64, scope: &Scope) -> bool {
        self.of(step).get(&slot).is_some_and(|rows| rows.contains_key(scope))
    }

    fn of(&mut self, step: i64) -> &mut BTreeMap<i64, Rows> {
        if step == HOUR { &mut self.hours } else { &mut self.minutes }
    }

    /// The oldest minute goes, which its hour knows, or the oldest hour where there is no minute.
    /// How many of its rows are written nowhere.
    fn make_room(&mut self) -> usize {
        let oldest = self.minutes.pop_first().or_else(|| self.hours.pop_first());
        let Some((_, rows)) = oldest else { return 0 };
        self.count -= rows.len();
        // What it had may come again.
        self.part = new_part();
        rows.values().filter(|row| row.is_owed).count()
    }

    /// Rows that are to be written, the oldest first: up to so many.
    pub(super) fn owed(&self, most: usize) -> Vec<SlotRow> {
        let slots = self.hours.iter().map(|slot| (HOUR, slot));
        let slots = slots.chain(self.minutes.iter().map(|slot| (MINUTE, slot)));
        let rows = slots.flat_map(|(step, (time, rows))| {
            let owed = rows.iter().filter(|(_, row)| row.is_owed);
            owed.map(move |(scope, row)| SlotRow {
                scope: scope.clone(),
                step,
                time: *time,
                part: row.part,
                sample: row.sample.clone(),
            })
        });
        rows.take(most).collect()
    }

    /// These are written down as they were given out. What has changed since then is owed on.
    pub(super) fn written(&mut self, written: &[SlotRow]) {
        for done in written {
            let slot = self.of(done.step).get_mut(&done.time);
            let row = slot.and_then(|rows| rows.get_mut(&done.scope));
            if let Some(row) = row.filter(|row| row.part == done.part) {
                row.is_owed = row.sample != done.sample;
            }
        }
    }

    /// Nobody will write anything down.
    pub(super) fn owe_nothing(&mut self) {
        for rows in self.minutes.values_mut().chain(self.hours.values_mut()) {
            rows.values_mut().for_each(|row| row.is_owed = false);
        }
    }

    /// Lets go of slots that nobody needs here any more.
    pub(super) fn settle(&mut self, kept: Kept) {
        for (slots, step, from) in [
            (&mut self.minutes, MINUTE, kept.minutes_from),
            (&mut self.hours, HOUR, kept.hours_from),
        ] {
            slots.retain(|time, rows| {
                let is_over = time.saturating_add(step) <= from;
                let goes = is_over && rows.values().all(|row| !row.is_owed);
                if goes {
                    self.count -= rows.len();
                }
                !goes
            });
        }
    }

    /// Everything goes.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.most);
    }

    /// What there is of a place, slot by slot, with the part that each is.
    pub(super) fn find(&self, scope: &Scope, step: i64, times: Range<i64>) -> Vec<SlotRow> {
        let slots = if step == HOUR { &self.hours } else { &self.minutes };
        let rows = slots.range(times).filter_map(|(time, rows)| {
            let Row { part, sample, .. } = rows.get(scope)?;
            let (scope, sample) = (scope.clone(), sample.clone());
            Some(SlotRow { scope, step, time: *time, part: *part, sample })
        });
        rows.collect()
    }
}

fn new_part() -> i64 {
    random().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Counts;

    fn moved(requests: u64) -> Sample {
        Sample { counts: Counts { requests, ..Counts::default() }, ..Sample::default() }
    }

    fn tunnel(name: &str) -> Scope {
        Scope::Tunnel { owner: "ann".into(), name: name.into() }
    }

    fn sum(rows: &[SlotRow], step: i64) -> u64 {
        let of_step = rows.iter().filter(|row| row.step == step);
        of_step.map(|row| row.sample.counts.requests).sum()
    }

    const NEVER: Kept = Kept { minutes_from: i64::MAX, hours_from: i64::MAX };

    #[test]
    fn what_moves_is_in_its_minute_and_in_its_hour() {
        let mut slots = Slots::new(MOST_ROWS);
        let web = [tunnel("web")];
        for time in [0, MINUTE - 1, MINUTE, HOUR - 1, HOUR] {
            assert_eq!(slots.add(&web, time, &moved(1)), 0);
        }
        let found = |step| -> Vec<_> {
            let rows = slots.find(&web[0], step, 0..2 * HOUR);
            rows.iter().map(|row| (row.time, row.sample.counts.requests)).collect()
        };
        assert_eq!(found(MINUTE), [(0, 2), (MINUTE, 1), (HOUR - MINUTE, 1), (HOUR, 1)]);
        assert_eq!(found(HOUR), [(0, 4), (HOUR, 1)]);
        assert_eq!(slots.find(&web[0], MINUTE, MINUTE..HOUR).len(), 2);
        assert_eq!(slots.find(&Scope::Relay, MINUTE, 0..HOUR), []);
    }

    #[test]
    fn what_changes_while_it_is_written_is_owed_on() {
        let mut slots = Slots::new(MOST_ROWS);
        let web = [tunnel("web")];
        slots.add(&web, 5, &moved(1));
        let owed = slots.owed(10);
        assert_eq!(owed.len(), 2);
        slots.add(&web, MINUTE, &moved(1));
        slots.written(&owed);
        // The hour, and the second minute.
        let owed = slots.owed(10);
        assert_eq!((sum(&owed, HOUR), sum(&owed, MINUTE)), (2, 1));
        slots.settle(NEVER);
        assert_eq!(slots.find(&web[0], MINUTE, 0..HOUR).len(), 1, "one is written and over");
        slots.written(&owed);
        assert_eq!(slots.owed(10), []);
        slots.settle(NEVER);
        assert_eq!(slots.count, 0);
    }

    #[test]
    fn minutes_go_first_where_there_is_no_room_and_their_hours_know_all_of_them() {
        let mut slots = Slots::new(8);
        let web = [tunnel("web")];
        let lost: usize = (0..100).map(|n| slots.add(&web, n * MINUTE, &moved(1))).sum();
        assert_eq!(slots.count, 8);
        let owed = slots.owed(100);
        assert_eq!((sum(&owed, HOUR), sum(&owed, MINUTE)), (100, 6));
        assert_eq!(lost, 94);
        // What was written already is no loss.
        slots.written(&owed);
        assert_eq!(slots.add(&web, 100 * MINUTE, &moved(1)), 0);
    }

    #[test]
    fn what_goes_and_comes_again_replaces_nothing() {
        let mut slots = Slots::new(2);
        let [a, b] = [[tunnel("a")], [tunnel("b")]];
        slots.add(&a, 0, &moved(1));
        let first = slots.owed(10);
        slots.written(&first);
        slots.add(&b, 0, &moved(1));
        slots.add(&a, 0, &moved(1));
        let again = slots.find(&a[0], MINUTE, 0..MINUTE);
        assert_ne!(again[0].part, first[0].part);
    }

    #[test]
    fn a_clock_that_is_set_back_replaces_nothing_either() {
        let mut slots = Slots::new(MOST_ROWS);
        let web = [tunnel("web")];
        slots.add(&web, 0, &moved(7));
        slots.add(&web, MINUTE, &moved(1));
        let before = slots.owed(10);
        slots.written(&before);
        slots.settle(Kept { minutes_from: 2 * MINUTE, hours_from: 0 });
        slots.add(&web, 1, &moved(2));
        let minutes: Vec<_> = before
            .iter()
            .chain(&slots.owed(10))
            .filter(|row| row.step == MINUTE)
            .cloned()
            .collect();
        assert_eq!(sum(&minutes, MINUTE), 10);
        let mut keys: Vec<_> = minutes.iter().map(|row| (row.time, row.part)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 3);
    }
}
